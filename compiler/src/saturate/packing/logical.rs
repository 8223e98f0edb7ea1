//! The layers of a network in an e-graph, saturated with the logical laws.
//!
//! Relies on the laws of [`laws`]: compositions are finite, but in networks that branch between linear layers they multiply.
//! Promises: saturated, with all laws or with as many of the first as come to an end; classes in reading order, with the
//! fewest levels below each.

use super::super::extract::{self, Alternative, Class, ExtractError};
use super::laws::{self, Graph};
use super::tables::Tables;
use super::term::{NodeIndex, Term};
use crate::error::CompileError;
use crate::graph::{Kind, TensorGraph, TensorNode};
use crate::levels::{self, Levels};
use crate::rotation::Policy;
use cipherloom_ir::scheme::Level;
use egg::{EGraph, Id, Language, Rewrite, Runner, SimpleScheduler, StopReason};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most logical terms for each tensor: compositions of networks that branch between linear layers multiply.
const TERMS_PER_TENSOR_MAX: usize = 8;
/// Most rounds of rules.
const ROUNDS_MAX: usize = 1_000;

/// The layers in an e-graph, saturated with the logical laws; independent of ring degree and costs.
#[derive(Clone)]
pub struct Logical {
    pub(super) graph: Graph,
    pub(super) source: TensorGraph,
    pub(super) outputs: Vec<Id>,
    /// Logical classes, operands first.
    pub(super) order: Vec<Id>,
    /// Levels between the input and each class.
    pub(super) heights: BTreeMap<Id, u32>,
    pub(super) rounds: usize,
    left_out: Vec<String>,
}

/// Why rules were stopped before nothing changed any more.
pub(super) struct Unsaturated(Option<StopReason>);

impl From<Unsaturated> for CompileError {
    fn from(stopped: Unsaturated) -> CompileError {
        CompileError::Internal(format!("packing did not saturate: {:?}", stopped.0))
    }
}

impl Logical {
    /// Saturates the logical laws on a network.
    pub fn new(source: &TensorGraph) -> Result<Logical, CompileError> {
        Logical::with_laws(source, &laws::logical())
    }

    /// The same with other laws.
    pub fn with_laws(source: &TensorGraph, laws: &[Rewrite<Term, Tables>]) -> Result<Logical, CompileError> {
        Logical::attempt(source, laws)?.map_err(CompileError::from)
    }

    /// The same with as many laws, from the first, as come to an end.
    pub fn with_first_laws(
        source: &TensorGraph,
        laws: &[Rewrite<Term, Tables>],
    ) -> Result<Logical, CompileError> {
        for count in (0..laws.len()).rev() {
            if let Ok(mut logical) = Logical::attempt(source, &laws[..count + 1])? {
                logical.left_out = laws[count + 1..].iter().map(|law| law.name.to_string()).collect();
                return Ok(logical);
            }
        }
        let left_out = laws.iter().map(|law| law.name.to_string()).collect();
        Ok(Logical { left_out, ..Logical::with_laws(source, &[])? })
    }

    /// The e-graph, unless it has too many terms before the laws come to an end.
    fn attempt(
        source: &TensorGraph,
        laws: &[Rewrite<Term, Tables>],
    ) -> Result<Result<Logical, Unsaturated>, CompileError> {
        let mut tables = Tables::default();
        tables.tensors.clone_from(&source.tensors);
        let mut graph: Graph = EGraph::new(tables);
        let mut classes: Vec<Id> = Vec::new();
        for id in source.order() {
            let node = source.node(id).clone();
            let operands: Vec<Id> = source.operands(id).iter().map(|o| classes[o.0 as usize]).collect();
            let term = term_of(&node, graph.analysis.add_node(node.clone()), &operands)?;
            classes.push(graph.add(term));
        }
        let (graph, rounds) = match saturated(graph, laws, 64 + TERMS_PER_TENSOR_MAX * classes.len()) {
            Ok(done) => done,
            Err(unsaturated) => return Ok(Err(unsaturated)),
        };
        let outputs: Vec<Id> =
            source.outputs.iter().map(|o| graph.find(classes[o.node.0 as usize])).collect();
        let (order, heights) = ordered(&graph, &outputs)?;
        let (source, left_out) = (source.clone(), vec![]);
        Ok(Ok(Logical { graph, source, outputs, order, heights, rounds, left_out }))
    }

    /// Laws that were left out, since with them compositions multiply.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The same with diagonals split like this.
    pub fn splitting(mut self, rotation: Policy) -> Logical {
        self.graph.analysis.rotation = rotation;
        self
    }

    /// Fewest levels that the network needs.
    pub fn top(&self) -> Level {
        Level(self.outputs.iter().map(|o| self.heights[o]).max().unwrap_or(0))
    }

    /// Whether some neighbours may stay apart for one more level.
    pub fn may_stay_apart(&self) -> bool {
        Levels::of(&self.source).top() > self.top()
    }
}

/// The term of a tensor node.
fn term_of(node: &TensorNode, index: NodeIndex, operands: &[Id]) -> Result<Term, CompileError> {
    Ok(match (&node.kind, operands) {
        (Kind::Input, []) => Term::Input(index),
        (Kind::Linear { .. }, [x]) => Term::Linear(index, [*x]),
        (Kind::Elementwise(_), [x]) => Term::Function(index, [*x]),
        (Kind::Add | Kind::Sub | Kind::Mul, [x, y]) => Term::Pair(index, [*x, *y]),
        _ => return Err(CompileError::Internal(format!("packing has no term for `{}`", node.name))),
    })
}

/// Applies rules until nothing changes.
pub(super) fn saturated(
    graph: Graph,
    rules: &[Rewrite<Term, Tables>],
    terms_max: usize,
) -> Result<(Graph, usize), Unsaturated> {
    let runner = Runner::<Term, Tables>::new(Tables::default())
        .with_egraph(graph)
        .with_scheduler(SimpleScheduler)
        .with_time_limit(Duration::MAX)
        .with_iter_limit(ROUNDS_MAX)
        .with_node_limit(terms_max)
        .run(rules);
    match runner.stop_reason {
        Some(StopReason::Saturated) => Ok((runner.egraph, runner.iterations.len())),
        reason => Err(Unsaturated(reason)),
    }
}

/// Logical classes that the outputs need, operands first, and the fewest levels below each.
fn ordered(graph: &Graph, outputs: &[Id]) -> Result<(Vec<Id>, BTreeMap<Id, u32>), CompileError> {
    let mut classes: Vec<Id> = Vec::new();
    let mut index: BTreeMap<Id, Class> = BTreeMap::new();
    let mut alternatives: Vec<Vec<Alternative>> = vec![vec![]];
    let mut number = |id: Id, classes: &mut Vec<Id>| {
        *index.entry(id).or_insert_with(|| {
            classes.push(id);
            classes.len()
        })
    };
    let roots: Vec<Class> = outputs.iter().map(|o| number(*o, &mut classes)).collect();
    alternatives[0].push(Alternative { children: roots, depth: 0 });
    let mut next = 0;
    while next < classes.len() {
        let mut terms: Vec<&Term> = graph[classes[next]].nodes.iter().collect();
        terms.sort();
        let way = |term: &&Term| {
            let children = term.children().iter().map(|c| number(graph.find(*c), &mut classes)).collect();
            Alternative { children, depth: depth(graph, term) }
        };
        alternatives.push(terms.iter().map(way).collect());
        next += 1;
    }
    let internal = |e: ExtractError| CompileError::Internal(format!("packing: {e}"));
    let order = extract::reading_order(&alternatives, 0).map_err(internal)?;
    let heights = extract::heights(&alternatives, &order);
    let below = classes.iter().zip(&heights[1..]).filter_map(|(id, h)| h.map(|h| (*id, h))).collect();
    Ok((order.into_iter().rev().filter(|c| *c > 0).map(|c| classes[c - 1]).collect(), below))
}

/// Levels that a term takes.
pub(super) fn depth(graph: &Graph, term: &Term) -> u32 {
    match term {
        Term::Linear(node, _)
        | Term::Function(node, _)
        | Term::Pair(node, _)
        | Term::Slotwise(node, ..)
        | Term::Both(node, ..) => levels::depth(&graph.analysis.node(*node).kind),
        Term::Kernel(..) => 1,
        _ => 0,
    }
}
