//! What the compiler tells about a circuit: figures of the whole, one row per layer, warnings.

use crate::cost::CostModel;
use crate::error::CompileError;
use crate::forecast::node_ns;
use crate::stages::Stage;
use cipherloom_ir::{Circuit, Op};

/// Figures of one compiled circuit.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// log2 of the largest modulus, special primes included.
    pub log_qp: f64,
    /// Largest log2 QP at 128 bits of security.
    pub log_qp_bound: u32,
    /// Source of that bound.
    pub citation: &'static str,
    /// Rescales available after encryption.
    pub levels: u32,
    /// Applications of Galois keys, hoisted ones included.
    pub rotations: u64,
    /// Rotation keys.
    pub rotation_keys: u64,
    /// Layers of the model, in order.
    pub layers: Vec<Layer>,
    /// What stages chose and saved, in order.
    pub choices: Vec<(Stage, String)>,
    /// What the stages of saturation chose from, in order.
    pub egraphs: Vec<EGraph>,
    /// Things the user should know.
    pub warnings: Vec<String>,
}

/// Size of the e-graph from which a stage extracted its choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EGraph {
    /// The stage.
    pub stage: Stage,
    /// Terms.
    pub terms: usize,
    /// Classes of equal terms.
    pub classes: usize,
    /// Rounds of rules until nothing was added, or too much.
    pub rounds: usize,
}

/// Figures of the nodes that belong to one tensor of the model.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Layer {
    /// ONNX tensor name.
    pub name: String,
    /// Products with diagonals, or with pairs of them.
    pub diagonals: u64,
    /// Applications of Galois keys, hoisted ones included.
    pub rotations: u64,
    /// Predicted time.
    pub predicted_ns: u64,
}

/// Rows of a circuit, in order of first appearance; the unnamed origin is left out if nothing belongs to it. Their
/// rotations and times add up to those of the circuit.
pub fn layers(circuit: &Circuit, cost: &CostModel) -> Result<Vec<Layer>, CompileError> {
    let mut out: Vec<Layer> =
        circuit.origins.iter().map(|name| Layer { name: name.clone(), ..Layer::default() }).collect();
    let times = node_ns(circuit, cost)?;
    let mut used = vec![false; out.len()];
    for (node, ns) in circuit.nodes.iter().zip(times) {
        let layer = &mut out[node.origin as usize];
        used[node.origin as usize] = true;
        layer.predicted_ns += ns;
        layer.diagonals += node.op.diagonals() as u64;
        layer.rotations += node.op.rotations() as u64;
    }
    Ok(out.into_iter().zip(used).filter(|(_, used)| *used).map(|(layer, _)| layer).collect())
}

/// Relinearisations and rescales of a circuit; one operation may be both.
pub(crate) fn divisions(circuit: &Circuit) -> [usize; 2] {
    let count = |which: fn(&Op) -> bool| circuit.nodes.iter().filter(|n| which(&n.op)).count();
    let relinearisations = count(|op| matches!(op, Op::Relinearize(..) | Op::RelinearizeRescale(..)));
    let rescales = count(|op| match op {
        Op::Rescale(_) | Op::RelinearizeRescale(..) | Op::Adjust(..) => true,
        Op::Linear(plan) => plan.rescale,
        _ => false,
    });
    [relinearisations, rescales]
}

/// What rescale saved of the emitted circuit.
pub(crate) fn saved_by_rescale(
    emitted: &Circuit,
    taken: &Circuit,
    cost: &CostModel,
) -> Result<String, CompileError> {
    let ms = |c: &Circuit| Ok::<f64, CompileError>(node_ns(c, cost)?.iter().sum::<u64>() as f64 / 1e6);
    let ([r, s], [before_r, before_s]) = (divisions(taken), divisions(emitted));
    Ok(format!(
        "{:.2} ms of {:.2} ms as emitted, {r} relinearisations of {before_r}, {s} rescales of {before_s}",
        ms(taken)?,
        ms(emitted)?
    ))
}

/// The bootstraps of a circuit, and what they take of its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstraps {
    /// How many.
    pub count: usize,
    /// Predicted seconds of all of them.
    pub seconds: f64,
    /// Predicted seconds of the whole circuit.
    pub of_seconds: f64,
}

impl std::fmt::Display for Bootstraps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Bootstraps { count, seconds, of_seconds } = *self;
        let share = 100.0 * seconds / of_seconds;
        let s = if count == 1 { "" } else { "s" };
        write!(f, "{count} bootstrap{s}, {seconds:.2} s of {of_seconds:.2} s ({share:.0} %)")
    }
}

/// The bootstraps of a circuit, `None` where it has none.
pub fn bootstraps(circuit: &Circuit, cost: &CostModel) -> Result<Option<Bootstraps>, CompileError> {
    let times = node_ns(circuit, cost)?;
    let all = circuit.nodes.iter().zip(&times).filter(|(node, _)| matches!(node.op, Op::Bootstrap(_)));
    let (count, ns) = all.fold((0, 0), |(count, sum), (_, ns)| (count + 1, sum + ns));
    let seconds = |ns: u64| ns as f64 / 1e9;
    let of_seconds = seconds(times.iter().sum());
    Ok((count > 0).then_some(Bootstraps { count, seconds: seconds(ns), of_seconds }))
}
