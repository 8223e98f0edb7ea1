//! Stage 7, rescale by equality saturation: where a circuit relinearises, rescales, scales and comes down.
//!
//! Does: puts the emitted circuit in an e-graph, saturates the laws ([`laws`]), extracts the cheapest equal circuit,
//! shared nodes paid once ([`extract`](super::extract)), and builds it anew. Needs: a circuit that obeys the op laws, a
//! cost model. Leaves: that circuit, or the one that came where nothing is cheaper. Why here: levels and kernels have
//! been decided, and the trace that picks the scale must see the final operations. Types of classes are exact, so every
//! choice obeys the laws; the builder checks them again. Bootstraps come behind this stage
//! (decision 0012).

pub mod laws;
mod rebuild;
pub mod term;

use super::extract::{Alternative, Class, ExtractError, Problem};
use crate::cost::CostModel;
use crate::error::CompileError;
use crate::forecast::{node_ns, op_ns};
use cipherloom_ir::scheme::Gadget;
use cipherloom_ir::{Circuit, Op, ValueId, ValueType};
use egg::{Id, Language, Rewrite, Runner, SimpleScheduler, StopReason};
use rebuild::Rebuild;
use std::collections::BTreeMap;
use std::time::Duration;
use term::{Division, Graph, Sign, Tables, Term, Unary};

/// Terms of the e-graph, for each operation of the circuit: where sums of many parts are gathered, orders multiply.
const TERMS_PER_NODE_MAX: usize = 8;
/// Most rounds of laws.
const ROUNDS_MAX: usize = 100;
/// Most frontiers of the extraction.
const BEAM: usize = 256;

/// What a saturation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Terms of the e-graph.
    pub terms: usize,
    /// Classes of the e-graph.
    pub classes: usize,
    /// Rounds of laws.
    pub rounds: usize,
    /// Whether nothing was left to add.
    pub saturated: bool,
    /// Most frontiers of the extraction that were alive at once.
    pub widest: usize,
    /// Whether no equal circuit of the e-graph is cheaper.
    pub proved: bool,
}

/// Price of an operation on operands of these types.
pub type Price<'a> = dyn Fn(&Op, &[ValueType]) -> u64 + 'a;

/// The cheapest equal circuit, the same where none is cheaper; and what the saturation did, if there was one.
pub fn improve(circuit: &Circuit, cost: &CostModel) -> Result<(Circuit, Option<Statistics>), CompileError> {
    improve_by(circuit, cost, &laws::all())
}

/// The same by other laws.
pub fn improve_by(
    circuit: &Circuit,
    cost: &CostModel,
    laws: &[Rewrite<Term, Tables>],
) -> Result<(Circuit, Option<Statistics>), CompileError> {
    let price = |op: &Op, operands: &[ValueType]| op_ns(op, operands, cost);
    let Some((found, statistics)) = rewritten(circuit, laws, &price)? else {
        return Ok((circuit.clone(), None));
    };
    let is_better = total_ns(&found, cost)? < total_ns(circuit, cost)?;
    Ok((if is_better { found } else { circuit.clone() }, Some(statistics)))
}

/// Predicted time of a circuit.
pub fn total_ns(circuit: &Circuit, cost: &CostModel) -> Result<u64, CompileError> {
    Ok(node_ns(circuit, cost)?.iter().sum())
}

/// The equal circuit of least price by these laws, each operation paid once; `None` where keys have several gadgets,
/// which terms do not tell apart.
pub fn rewritten(
    circuit: &Circuit,
    laws: &[Rewrite<Term, Tables>],
    price: &Price<'_>,
) -> Result<Option<(Circuit, Statistics)>, CompileError> {
    let mut gadgets: Vec<Gadget> = circuit.keys.iter().map(|k| k.gadget).collect();
    gadgets.dedup();
    if gadgets.len() > 1 || circuit.outputs.is_empty() {
        return Ok(None);
    }
    let (graph, root) = loaded(circuit)?;
    let runner = Runner::<Term, Tables>::new(graph.analysis.clone())
        .with_egraph(graph)
        .with_scheduler(SimpleScheduler)
        .with_time_limit(Duration::MAX)
        .with_iter_limit(ROUNDS_MAX)
        .with_node_limit(64 + TERMS_PER_NODE_MAX * circuit.nodes.len())
        .run(laws);
    let graph = &runner.egraph;
    let choices = Choices::of(graph, graph.find(root), price);
    let problem = Problem {
        classes: &choices.alternatives,
        root: 0,
        levels: 0,
        cost: &|class: Class, alternative: usize, _| Some(choices.prices[class][alternative]),
        adjust: &|_, _| 0,
        beam: BEAM,
    };
    let answer = match problem.solve() {
        Ok(answer) => answer,
        // Two laws that undo each other: the circuit that came is still right.
        Err(ExtractError::Cycle(_)) => return Ok(None),
        Err(error) => return Err(CompileError::Internal(format!("rescale: {error}"))),
    };
    let statistics = Statistics {
        terms: graph.total_number_of_nodes(),
        classes: graph.number_of_classes(),
        rounds: runner.iterations.len(),
        saturated: matches!(runner.stop_reason, Some(StopReason::Saturated)),
        widest: answer.widest,
        proved: answer.lower_bound == answer.cost,
    };
    let mut rebuild = Rebuild::new(circuit, &graph.analysis)?;
    let mut made: BTreeMap<Class, Vec<ValueId>> = BTreeMap::new();
    for decision in &answer.decisions {
        let term = &choices.terms[decision.class][decision.alternative];
        let way = &choices.alternatives[decision.class][decision.alternative];
        let operands: Vec<ValueId> = match term {
            Term::Part(k, _) => vec![made[&way.children[0]][*k as usize]],
            _ => way.children.iter().map(|c| made[c][0]).collect(),
        };
        let origin = graph[choices.ids[decision.class]].data.origin;
        made.insert(decision.class, rebuild.term(term, operands, origin)?);
    }
    Ok(Some((rebuild.finish(&made[&0])?, statistics)))
}

/// The circuit as terms, and the class of all its outputs.
fn loaded(circuit: &Circuit) -> Result<(Graph, Id), CompileError> {
    let mut graph = Graph::new(Tables::of(circuit));
    let mut values: Vec<Id> = Vec::new();
    for node in &circuit.nodes {
        graph.analysis.origin = node.origin;
        let of = |v: &ValueId| values[v.0 as usize];
        let operands: Vec<Id> = node.op.operands().iter().map(of).collect();
        let term = term_of(&mut graph.analysis, &node.op, &operands)?;
        let class = graph.add(term);
        match &node.op {
            Op::Linear(_) => values.extend((0..node.results).map(|k| graph.add(Term::Part(k, [class])))),
            _ => values.push(class),
        }
    }
    let outputs: Box<[Id]> =
        circuit.outputs.iter().flat_map(|o| &o.values).map(|v| values[v.0 as usize]).collect();
    let root = graph.add(Term::Deliver(outputs));
    graph.rebuild();
    Ok((graph, root))
}

/// The term of an operation.
fn term_of(tables: &mut Tables, op: &Op, operands: &[Id]) -> Result<Term, CompileError> {
    let unary = match op {
        Op::Input { input, ciphertext } => return Ok(Term::Input(*input, *ciphertext)),
        Op::Add(..) => return pair(Sign::Plus, operands),
        Op::Sub(..) => return pair(Sign::Minus, operands),
        Op::Mul(..) | Op::SumOfProducts(_) => return Ok(Term::Products(operands.into())),
        Op::Linear(plan) => return Ok(Term::Plan(tables.plan(plan.clone()), operands.into())),
        Op::Neg(_) => Unary::Neg,
        Op::AddPlain(_, plain) => Unary::AddPlain(tables.plain(plain.clone())),
        Op::MulPlain(_, plain) => Unary::MulPlain(tables.plain(plain.clone())),
        Op::MulScalar(_, factor) => Unary::MulScalar(factor.to_bits()),
        Op::Relinearize(..) => Unary::Divide(Division::Relinearize),
        Op::Rescale(_) => Unary::Divide(Division::Rescale),
        Op::RelinearizeRescale(..) => Unary::Divide(Division::Both),
        Op::DropLevel(_, to) => Unary::Drop(to.0),
        Op::Adjust(_, to) => Unary::Adjust(to.0),
        Op::Rotate(_, keyed) => Unary::Rotate(keyed.step.0),
        Op::Conjugate(..) => Unary::Conjugate,
        // No stage before this one bootstraps.
        Op::Bootstrap(_) => return Err(CompileError::Internal("rescale met a bootstrap".into())),
        Op::Activation(_, function) => Unary::Activation(tables.function(function.clone())),
    };
    match operands {
        [x] => Ok(Term::Unary(unary, [*x])),
        _ => Err(CompileError::Internal(format!("{} has {} operands", op.name(), operands.len()))),
    }
}

fn pair(sign: Sign, operands: &[Id]) -> Result<Term, CompileError> {
    match operands {
        [x, y] => Ok(Term::Sum(sign, [*x, *y])),
        _ => Err(CompileError::Internal(format!("a sum has {} operands", operands.len()))),
    }
}

/// The terms of every class that the outputs reach, with their prices, as a problem of extraction; class 0 is the root.
struct Choices {
    ids: Vec<Id>,
    terms: Vec<Vec<Term>>,
    alternatives: Vec<Vec<Alternative>>,
    prices: Vec<Vec<u64>>,
}

impl Choices {
    fn of(graph: &Graph, root: Id, price: &Price<'_>) -> Choices {
        let mut out = Choices { ids: vec![root], terms: vec![], alternatives: vec![], prices: vec![] };
        let mut index: BTreeMap<Id, Class> = BTreeMap::from([(root, 0)]);
        while out.terms.len() < out.ids.len() {
            let mut terms: Vec<Term> = graph[out.ids[out.terms.len()]].nodes.clone();
            terms.sort_unstable();
            let mut ways = Vec::new();
            for term in &terms {
                let mut children = Vec::new();
                for child in term.children() {
                    let id = graph.find(*child);
                    children.push(*index.entry(id).or_insert_with(|| {
                        out.ids.push(id);
                        out.ids.len() - 1
                    }));
                }
                ways.push(Alternative { children, depth: 0 });
            }
            out.prices.push(terms.iter().map(|t| priced(graph, t, price)).collect());
            out.alternatives.push(ways);
            out.terms.push(terms);
        }
        out
    }
}

fn priced(graph: &Graph, term: &Term, price: &Price<'_>) -> u64 {
    let kinds: Option<Vec<ValueType>> = term.children().iter().map(|x| graph[*x].data.kind.clone()).collect();
    // What is read twice has one name: a plan rotates it once.
    let classes: Vec<Id> = term.children().iter().map(|x| graph.find(*x)).collect();
    let first = |x: &Id| classes.iter().position(|y| y == x).unwrap_or(0) as u32;
    let operands: Vec<ValueId> = classes.iter().map(|x| ValueId(first(x))).collect();
    match (graph.analysis.op(term, &operands), kinds) {
        (Some(op), Some(kinds)) => price(&op, &kinds),
        _ => 0,
    }
}
