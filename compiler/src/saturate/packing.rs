//! Stage 5, packing by equality saturation: the layout of every tensor and the kernel of every linear map.
//!
//! Does: puts the layers in an e-graph and saturates the logical laws ([`Logical`]); ranks candidate layouts
//! ([`candidates`]); saturates the physical rules ([`demand`]) from the demand for the outputs; and extracts the cheapest
//! implementation, shared work counted once, levels respected ([`extract`](super::extract)). Needs: balanced
//! layers, a cost model. Leaves: an [`Arranged`] network. Why here: rotations, levels and plaintexts follow from it. Both
//! saturations end by themselves: compositions are finite, and demands only go towards the input.

pub mod candidates;
pub mod demand;
pub mod laws;
mod logical;
pub mod tables;
pub mod term;

pub use logical::Logical;

use super::extract::{Alternative, Answer, Class, Decision, ExtractError, Problem};
use crate::cost::CostModel;
use crate::error::CompileError;
use crate::graph::{Kind, NodeId, TensorGraph, TensorNode};
use crate::levels::Levels;
use crate::packing::{Arranged, Choice, LinearChoice, Packed, elementwise_ns, layouts, read_as};
use candidates::{Ranking, is_scaling};
use cipherloom_ir::scheme::Level;
use egg::{Id, Language, Rewrite};
use laws::Graph;
use logical::{depth, saturated};
use std::collections::{BTreeMap, BTreeSet};
use tables::Tables;
use term::{LayoutIndex, Term};

/// Most terms of the e-graph.
const TERMS_MAX: usize = 200_000;
/// Families of input layouts, the most promising by the cheapest trees, that are saturated.
const FAMILIES_MAX: usize = 1;
/// Most frontiers of the extraction; with 2,048 one of two forms of ResNet-20 takes 829 rotations for 775.
const BEAM: usize = 4_096;

/// What a saturation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Terms of the e-graph.
    pub terms: usize,
    /// Classes of the e-graph.
    pub classes: usize,
    /// Rounds of rules, logical and physical.
    pub rounds: usize,
    /// Most frontiers of the extraction that were alive at once.
    pub widest: usize,
    /// Cost of the answer, price of memory included.
    pub priced_ns: u64,
    /// No answer is cheaper than this.
    pub lower_bound_ns: u64,
}

impl Logical {
    /// Arranges the network for a ring degree and a number of levels; `None` where these are too few, which
    /// [`Logical::top`] may be: gaps that must be cleaned take a level too.
    pub fn pack(
        &self,
        slots: u32,
        cost: &CostModel,
        top: Level,
    ) -> Result<Option<(Arranged, Statistics)>, CompileError> {
        self.pack_with_rules(slots, cost, top, &demand::rules())
    }

    /// The same with other physical rules.
    pub fn pack_with_rules(
        &self,
        slots: u32,
        cost: &CostModel,
        top: Level,
        rules: &[Rewrite<Term, Tables>],
    ) -> Result<Option<(Arranged, Statistics)>, CompileError> {
        let mut found: Option<(Arranged, Statistics)> = None;
        for graph in self.ranked(slots, cost, top)?.into_iter().take(FAMILIES_MAX) {
            let Some(new) = self.pack_ranked(graph, cost, top, rules)? else { continue };
            if found.as_ref().is_none_or(|(_, best)| new.1.priced_ns < best.priced_ns) {
                found = Some(new);
            }
        }
        Ok(found)
    }

    /// The e-graph with candidate layouts, for each family of layouts of the input; the most promising first.
    fn ranked(&self, slots: u32, cost: &CostModel, top: Level) -> Result<Vec<Graph>, CompileError> {
        let sent = match &self.source.input {
            Some(input) => {
                let shape = &self.source.node(input.node).shape;
                layouts::inputs(shape, &read_as(&self.source, input.node), slots)
            }
            None => vec![vec![]],
        };
        let mut out: Vec<(u64, Graph)> = Vec::new();
        let mut stuck: Option<CompileError> = None;
        for family in sent {
            let mut graph = self.graph.clone();
            (graph.analysis.slots, graph.analysis.sent) = (slots, family);
            let ranking = Ranking { cost, top: top.0, heights: &self.heights };
            let cheapest = candidates::rank(&mut graph, &self.order, &ranking);
            match self.order.iter().find(|x| !cheapest.contains_key(x)) {
                Some(x) => stuck = stuck.or_else(|| refused(&graph, *x)),
                None => out.push((self.outputs.iter().map(|x| cheapest[x]).sum(), graph)),
            }
        }
        if out.is_empty() {
            return Err(stuck.unwrap_or_else(|| self.does_not_fit(slots)));
        }
        out.sort_by_key(|(total, _)| *total);
        Ok(out.into_iter().map(|(_, graph)| graph).collect())
    }

    /// Saturates the physical rules and extracts.
    fn pack_ranked(
        &self,
        mut graph: Graph,
        cost: &CostModel,
        top: Level,
        rules: &[Rewrite<Term, Tables>],
    ) -> Result<Option<(Arranged, Statistics)>, CompileError> {
        let wanted: Box<[Id]> = self.outputs.iter().map(|x| graph.add(Term::Any([*x]))).collect();
        let root = graph.add(Term::Deliver(wanted));
        let (graph, rounds) = saturated(graph, rules, TERMS_MAX)?;
        let choices = Choices::of(&graph, root);
        let Some(answer) = self.cheapest(&graph, &choices, cost, top)? else { return Ok(None) };
        let statistics = Statistics {
            terms: graph.total_number_of_nodes(),
            classes: graph.number_of_classes(),
            rounds: self.rounds + rounds,
            widest: answer.widest,
            priced_ns: answer.cost,
            lower_bound_ns: answer.lower_bound,
        };
        let arranged = self.rebuilt(&graph, &choices, &answer, cost)?;
        Ok(Some((Arranged { saturation: Some(statistics), ..arranged }, statistics)))
    }

    /// The cheapest answer over the layouts in which the client may encrypt: it sends the input in one of them.
    fn cheapest(
        &self,
        graph: &Graph,
        choices: &Choices,
        cost: &CostModel,
        top: Level,
    ) -> Result<Option<Answer>, CompileError> {
        let adjust = |_: Class, level: u32| cost.rescale(Level(level));
        let solve = |classes: &[Vec<Alternative>]| {
            let price = |class: Class, alternative: usize, level: u32| {
                let term = &choices.terms[class][alternative];
                let before = Level(level + choices.alternatives[class][alternative].depth);
                Some(match term {
                    Term::Kernel(step, _) => {
                        let (split, folds) = graph.analysis.best(*step, cost, before)?;
                        split.priced_ns + folds
                    }
                    Term::Slotwise(node, layout, _) | Term::Both(node, layout, _) => {
                        let values = u64::from(graph.analysis.layout(*layout).layout.ciphertexts);
                        values * slotwise_ns(&graph.analysis.node(*node).kind, cost, before)
                    }
                    Term::Fresh(_, layout) => {
                        cost.encryption(graph.analysis.layout(*layout).layout.ciphertexts, top)
                    }
                    _ => 0,
                })
            };
            let problem =
                Problem { classes, root: 0, levels: top.0, cost: &price, adjust: &adjust, beam: BEAM };
            match problem.solve() {
                Ok(answer) => Ok(Some(answer)),
                Err(ExtractError::Impossible(_)) => Ok(None),
                Err(error) => Err(CompileError::Internal(format!("packing: {error}"))),
            }
        };
        // Mostly the free choice sends one layout, and then it is the best.
        let Some(free) = solve(&choices.alternatives)? else { return Ok(None) };
        if choices.sent(&free).len() < 2 {
            return Ok(Some(free));
        }
        let mut best: Option<Answer> = None;
        for sent in choices.fresh() {
            if let Some(answer) = solve(&choices.sending(sent, top.0))?
                && best.as_ref().is_none_or(|b| answer.cost < b.cost)
            {
                best = Some(answer);
            }
        }
        Ok(best)
    }

    /// The error of a network of which some tensor has no layout.
    fn does_not_fit(&self, slots: u32) -> CompileError {
        let input = self.source.input.as_ref().map(|input| self.source.node(input.node));
        CompileError::Unsupported {
            stage: "packing",
            tensor: input.map_or_else(String::new, |node| node.name.clone()),
            reason: format!(
                "images of shape {:?} do not fit {slots} slots",
                input.map_or(&[][..], |node| &node.shape)
            ),
            remedy: "use smaller images or a smaller batch".into(),
        }
    }

    /// The network that an answer chose.
    fn rebuilt(
        &self,
        graph: &Graph,
        choices: &Choices,
        answer: &Answer,
        cost: &CostModel,
    ) -> Result<Arranged, CompileError> {
        let mut out = TensorGraph::new(self.source.name.clone());
        out.tensors = graph.analysis.tensors.clone();
        let (mut levels, mut layouts, mut picked) = (Vec::new(), Vec::new(), Vec::new());
        let mut made: BTreeMap<Class, NodeId> = BTreeMap::new();
        let mut delivered: Vec<NodeId> = Vec::new();
        for decision in &answer.decisions {
            let term = &choices.terms[decision.class][decision.alternative];
            let way = &choices.alternatives[decision.class][decision.alternative];
            let operands: Vec<NodeId> = way.children.iter().map(|c| made[c]).collect();
            let (node, layout, choice) = match term {
                Term::Use(_) => {
                    made.insert(decision.class, operands[0]);
                    continue;
                }
                Term::Deliver(_) => {
                    delivered = operands;
                    continue;
                }
                Term::Fresh(node, layout) | Term::Slotwise(node, layout, _) | Term::Both(node, layout, _) => {
                    (graph.analysis.node(*node).clone(), graph.analysis.layout(*layout).clone(), Choice::Keep)
                }
                Term::Kernel(step, _) => {
                    let node = match graph.analysis.step(*step).node {
                        Some(node) => graph.analysis.node(node).clone(),
                        None => repack(out.node(operands[0])),
                    };
                    let choice = linear_choice(&graph.analysis, *step, cost, Level(decision.level + 1))?;
                    (node, choice.kernel.result.clone(), Choice::Linear(Box::new(choice)))
                }
                other => return Err(CompileError::Internal(format!("packing chose {other:?}"))),
            };
            made.insert(decision.class, out.add(node, &operands));
            levels.push(Level(decision.level));
            layouts.push(layout);
            picked.push(choice);
        }
        out.input = self.source.input.clone();
        let node = out.order().find(|id| matches!(out.node(*id).kind, Kind::Input));
        if let Some(input) = &mut out.input {
            input.node = node.ok_or_else(|| CompileError::Internal("packing lost the input".into()))?;
        }
        out.outputs = self.source.outputs.clone();
        out.outputs.iter_mut().zip(delivered).for_each(|(output, node)| output.node = node);
        let packed = Packed { layouts, choices: picked, priced_ns: answer.cost };
        Ok(Arranged { graph: out, levels: Levels::new(levels), packed, saturation: None })
    }
}

/// The implementations of every class that the root reaches, as a problem of extraction; the root is class 0.
struct Choices {
    alternatives: Vec<Vec<Alternative>>,
    terms: Vec<Vec<Term>>,
}

impl Choices {
    /// Layouts in which the input may be encrypted.
    fn fresh(&self) -> BTreeSet<LayoutIndex> {
        let fresh = |t: &Term| if let Term::Fresh(_, layout) = t { Some(*layout) } else { None };
        self.terms.iter().flatten().filter_map(fresh).collect()
    }

    /// Layouts of the input that an answer reads.
    fn sent(&self, answer: &Answer) -> BTreeSet<LayoutIndex> {
        let fresh = |d: &Decision| match self.terms[d.class][d.alternative] {
            Term::Fresh(_, layout) => Some(layout),
            _ => None,
        };
        answer.decisions.iter().filter_map(fresh).collect()
    }

    /// The alternatives where the input is encrypted in one layout: other layouts take more levels than there are.
    fn sending(&self, sent: LayoutIndex, levels: u32) -> Vec<Vec<Alternative>> {
        let mut out = self.alternatives.clone();
        for (ways, terms) in out.iter_mut().zip(&self.terms) {
            for (way, term) in ways.iter_mut().zip(terms) {
                if matches!(term, Term::Fresh(_, layout) if *layout != sent) {
                    way.depth = levels + 1;
                }
            }
        }
        out
    }

    fn of(graph: &Graph, root: Id) -> Choices {
        let mut out = Choices { alternatives: vec![], terms: vec![] };
        let mut ids = vec![graph.find(root)];
        let mut index: BTreeMap<Id, Class> = BTreeMap::from([(ids[0], 0)]);
        let mut next = 0;
        while next < ids.len() {
            let mut terms: Vec<Term> =
                graph[ids[next]].nodes.iter().filter(|t| t.is_implementation()).cloned().collect();
            terms.sort();
            terms.dedup();
            let mut ways = Vec::with_capacity(terms.len());
            for term in &terms {
                let number = |id: &Id| {
                    *index.entry(graph.find(*id)).or_insert_with(|| {
                        ids.push(graph.find(*id));
                        ids.len() - 1
                    })
                };
                let children = term.children().iter().map(number).collect();
                ways.push(Alternative { children, depth: depth(graph, term) });
            }
            out.alternatives.push(ways);
            out.terms.push(terms);
            next += 1;
        }
        out
    }
}

/// Predicted time of a slotwise layer on one ciphertext.
fn slotwise_ns(kind: &Kind, cost: &CostModel, before: Level) -> u64 {
    if is_scaling(kind) {
        cost.pass(before) + cost.rescale(before)
    } else {
        elementwise_ns(kind, cost, before)
    }
}

/// Why the linear layers of a class have no plan in any layout, where they are too large for one.
fn refused(graph: &Graph, class: Id) -> Option<CompileError> {
    graph[class].nodes.iter().find_map(|term| {
        let Term::Linear(index, _) = term else { return None };
        let reason = graph.analysis.refusal(*index)?;
        Some(CompileError::Unsupported {
            stage: "packing",
            tensor: graph.analysis.node(*index).name.clone(),
            reason: reason.to_string(),
            remedy: "use smaller images, fewer channels or a smaller batch".into(),
        })
    })
}

/// The identity on a tensor.
fn repack(source: &TensorNode) -> TensorNode {
    TensorNode { kind: Kind::Linear { operators: vec![], scale: 1.0, bias: None }, ..source.clone() }
}

fn linear_choice(
    tables: &Tables,
    step: term::StepIndex,
    cost: &CostModel,
    level: Level,
) -> Result<LinearChoice, CompileError> {
    let missing = || CompileError::Internal("packing chose a step without a plan".into());
    let planned = tables.plan_of(step).ok_or_else(missing)?;
    let (best, turns_ns) = tables.best(step, cost, level).ok_or_else(missing)?;
    let split = planned.family.split(&planned.support, &best);
    Ok(LinearChoice { kernel: tables.kernel(step).clone(), split, turns_ns })
}
