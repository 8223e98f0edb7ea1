//! The cost meaning of a circuit: predicted time and memory, before anything is run.
//!
//! Relies on [`cost`](crate::cost) and on the levels that the op laws give. Promises: integers from the committed
//! profile; the same circuit has the same forecast everywhere.

use crate::cost::{CostModel, PlanCounts, Work};
use crate::error::CompileError;
use cipherloom_ir::scheme::{BootstrapPlan, KeyKind, KeySpec, Level, Parameters};
use cipherloom_ir::{
    Circuit, Degree, Forecast, Hoisting, LinearPlan, Node, Op, PLAINTEXT_BYTES, Plain, PlaintextBudget,
    PlaintextPlace, Read, Switches, ValueType, value_types,
};
use std::collections::BTreeSet;

/// Bytes of code and buffers that every evaluation needs.
const FIXED_BYTES: u64 = 20 << 20;
/// Limbs of the tables of one prime: roots and their quotients, both ways.
const TABLE_LIMBS: u64 = 4;
/// Bytes of the seed that stands for uniform polynomials on disk and wire.
const SEED_BYTES: u64 = 32;

/// What a node of a circuit takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeCost {
    /// Predicted nanoseconds.
    pub ns: u64,
    /// Bytes of its prepared plaintexts, under the runtime's default budget.
    pub plaintext_bytes: u64,
}

/// What the peak memory of an evaluation consists of, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryParts {
    /// Evaluation keys.
    pub keys: u64,
    /// Prepared plaintexts.
    pub plaintexts: u64,
    /// Ciphertexts alive at once, and the scratch space of the operation that runs.
    pub working: u64,
    /// Tables of the transforms.
    pub tables: u64,
    /// Weights.
    pub weights: u64,
    /// Code and buffers of every evaluation.
    pub fixed: u64,
}

impl MemoryParts {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each part with its name.
    pub fn parts(&self) -> [(&'static str, u64); 6] {
        let MemoryParts { keys, plaintexts, working, tables, weights, fixed } = *self;
        [
            ("evaluation keys", keys),
            ("prepared plaintexts", plaintexts),
            ("ciphertexts and scratch space", working),
            ("transform tables", tables),
            ("weights", weights),
            ("code and buffers", fixed),
        ]
    }
}

/// What a circuit's forecast adds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What each node takes, in order.
    pub nodes: Vec<NodeCost>,
    /// What the memory consists of.
    pub memory: MemoryParts,
}

impl Account {
    /// Predicted time of the circuit.
    pub fn nanoseconds(&self) -> u64 {
        self.nodes.iter().map(|n| n.ns).sum()
    }
}

/// The account of a circuit that verifies, at least as a draft.
pub fn account(circuit: &Circuit, cost: &CostModel) -> Result<Account, CompileError> {
    let types = value_types(circuit)?;
    let plan = circuit.bootstrap.and_then(|request| request.plan().ok());
    let nodes = nodes(circuit, &types, cost);
    let p = &circuit.parameters;
    let primes = (p.chain.len() + p.raised.len() + p.special.len()) as u64;
    let transforms = plan.as_ref().map_or(0, BootstrapPlan::plaintext_bytes);
    let memory = MemoryParts {
        keys: circuit.keys.iter().map(|k| cost.with_gadget(k.gadget).key_bytes(k.level)).sum(),
        plaintexts: nodes.iter().map(|n| n.plaintext_bytes).sum::<u64>() + transforms,
        working: working_limbs(circuit, &types, cost, plan.as_ref()) * cost.limb_bytes(),
        tables: primes * TABLE_LIMBS * cost.limb_bytes(),
        weights: circuit.tensors.iter().map(|t| 4 * t.values.len() as u64).sum(),
        fixed: FIXED_BYTES,
    };
    Ok(Account { nodes, memory })
}

/// Predicted nanoseconds of every node, in order.
pub fn node_ns(circuit: &Circuit, cost: &CostModel) -> Result<Vec<u64>, CompileError> {
    let types = value_types(circuit)?;
    Ok(nodes(circuit, &types, cost).into_iter().map(|n| n.ns).collect())
}

fn nodes(circuit: &Circuit, types: &[ValueType], cost: &CostModel) -> Vec<NodeCost> {
    let mut budget = PlaintextBudget::new(circuit, PLAINTEXT_BYTES);
    let plan = circuit.bootstrap.and_then(|request| request.plan().ok());
    let bootstrap = plan.map_or(0, |plan| cost.bootstrap(&plan));
    let one = |node: &Node| {
        let level = operand_level(&node.op, types);
        let special = match &node.op {
            Op::Linear(plan) => plan.special_limbs(circuit) as usize,
            _ => 0,
        };
        let limbs = level.limbs() + special;
        let own = match &node.op {
            Op::Bootstrap(_) => bootstrap,
            op => op_ns(op, types, cost),
        };
        let (mut ns, mut bytes) = (own, 0);
        for _ in 0..node.plaintexts() {
            let place = budget.place(limbs);
            bytes += match place {
                PlaintextPlace::Kept => limbs as u64 * cost.limb_bytes(),
                PlaintextPlace::Compact => cost.limb_bytes(),
                PlaintextPlace::Described => 0,
            };
            ns += match place {
                PlaintextPlace::Kept => 0,
                PlaintextPlace::Compact => cost.expansion(level, special > 0),
                PlaintextPlace::Described => {
                    cost.expansion(level, special > 0) + cost.ns(Work::Encode, level)
                }
            };
        }
        NodeCost { ns, plaintext_bytes: bytes }
    };
    circuit.nodes.iter().map(one).collect()
}

/// Level of an op's first operand.
fn operand_level(op: &Op, types: &[ValueType]) -> Level {
    op.operands().first().map_or(Level(0), |v| types[v.0 as usize].level)
}

/// Predicted nanoseconds of an operation, its plaintexts kept; its operands name entries of `types`. A bootstrap's cost is its
/// plan's ([`CostModel::bootstrap`]), of which an operation alone knows nothing: it is not counted here.
pub(crate) fn op_ns(op: &Op, types: &[ValueType], cost: &CostModel) -> u64 {
    let level = operand_level(op, types);
    match op {
        Op::Input { .. } | Op::DropLevel(..) | Op::Activation(..) | Op::Bootstrap(_) => 0,
        Op::Add(..) | Op::Sub(..) | Op::Neg(_) => cost.ns(Work::Add, level),
        Op::AddPlain(..) => cost.ns(Work::AddPlain, level),
        Op::MulScalar(..) | Op::MulPlain(_, Plain::Constant(_)) => cost.ns(Work::MulScalar, level),
        Op::MulPlain(..) => cost.ns(Work::MulPlain, level),
        Op::Mul(..) => cost.ns(Work::Mul, level),
        Op::SumOfProducts(pairs) => pairs.len() as u64 * cost.ns(Work::Mul, level),
        Op::Relinearize(..) | Op::RelinearizeRescale(..) => cost.key_switch(level),
        Op::Rescale(_) => cost.rescale(level),
        Op::Adjust(_, to) => {
            let above = Level(to.0 + 1);
            cost.ns(Work::MulScalar, above) + cost.rescale(above)
        }
        Op::Rotate(_, step) if step.key.is_none() => 0,
        Op::Rotate(..) | Op::Conjugate(..) => cost.rotate(level),
        Op::Linear(plan) => {
            let switches = plan.switches();
            let pairing = cost.pairing(switches.halves as u64, switches.conjugated as u64, level);
            cost.linear(&counts(plan, &switches), level, plan.hoisting) + pairing
        }
    }
}

/// What a plan consists of.
fn counts(plan: &LinearPlan, switches: &Switches) -> PlanCounts {
    let hoisted: BTreeSet<Read> = switches.babies.iter().map(|(read, _)| *read).collect();
    PlanCounts {
        hoisted: hoisted.len() as u64,
        babies: switches.babies.len() as u64,
        products: plan.products.len() as u64,
        giants: switches.giants.len() as u64,
        outputs: u64::from(plan.outputs),
    }
}

/// Most limbs of ciphertexts and scratch space at once: what lives while a node runs, and what the node takes. Values live
/// from their node to their last use, inputs and outputs throughout.
fn working_limbs(
    circuit: &Circuit,
    types: &[ValueType],
    cost: &CostModel,
    plan: Option<&BootstrapPlan>,
) -> u64 {
    let raised = plan.map_or(0, |plan| plan.working_bytes() / cost.limb_bytes());
    let mut last = vec![0; types.len()];
    for (index, node) in circuit.nodes.iter().enumerate() {
        node.op.operands().iter().for_each(|v| last[v.0 as usize] = index);
    }
    circuit.outputs.iter().flat_map(|o| &o.values).for_each(|v| last[v.0 as usize] = usize::MAX);
    let limbs = |v: usize| {
        let parts = if types[v].degree == Degree::Two { 3 } else { 2 };
        parts * types[v].level.limbs() as u64
    };
    let (mut alive, mut most, mut inputs) = (0, 0, 0);
    for (index, node) in circuit.nodes.iter().enumerate() {
        let first = node.first.0 as usize;
        let results: u64 = (first..first + node.results as usize).map(limbs).sum();
        if let Op::Input { .. } = node.op {
            inputs += results;
        }
        alive += results;
        let scratch = match &node.op {
            Op::Bootstrap(_) => raised,
            op => scratch_limbs(op, types, cost),
        };
        most = most.max(alive + scratch);
        let mut dying: Vec<usize> = node.op.operands().iter().map(|v| v.0 as usize).collect();
        dying.sort_unstable();
        dying.dedup();
        alive -= dying.into_iter().filter(|v| last[*v] == index).map(limbs).sum::<u64>();
    }
    most + inputs
}

/// Limbs that the evaluation of an op takes besides its operands and results.
fn scratch_limbs(op: &Op, types: &[ValueType], cost: &CostModel) -> u64 {
    let limbs = operand_level(op, types).limbs() as u64;
    let special = u64::from(cost.gadget.special_limbs);
    let digits = limbs.div_ceil(u64::from(cost.gadget.digit_limbs));
    let basis = limbs + special;
    match op {
        Op::Linear(plan) => {
            let PlanCounts { hoisted, babies, outputs, .. } = counts(plan, &plan.switches());
            // Paired inputs, and sums that wait for their conjugates.
            let paired = plan.pairing.map_or(0, |_| 2 * limbs * (plan.reads().len() as u64 + outputs));
            let groups: BTreeSet<(u32, u32)> = plan.products.iter().map(|p| (p.output, p.giant)).collect();
            let groups = groups.len() as u64;
            paired
                + match plan.hoisting {
                    Hoisting::Double => {
                        hoisted * (digits * basis + 2 * limbs)
                            + (2 * groups + 2 * outputs) * basis
                            + 2 * groups * limbs
                    }
                    Hoisting::Single => {
                        digits * basis + 2 * babies * limbs + 4 * groups * limbs + 2 * outputs * basis
                    }
                }
        }
        Op::Rotate(..) | Op::Conjugate(..) | Op::Relinearize(..) | Op::RelinearizeRescale(..) => {
            limbs + 2 * special + 2 * (digits + 2)
        }
        _ => 0,
    }
}

/// Precision that the trace predicts, for inputs encrypted under the secret key and under a public key.
#[derive(Clone, Copy, Debug)]
pub struct PrecisionBits {
    /// With the secret key.
    pub secret_key: f64,
    /// With a public key.
    pub public_key: f64,
}

/// The forecast of a circuit, with the precision that its trace predicts.
pub fn forecast(
    circuit: &Circuit,
    cost: &CostModel,
    precision: PrecisionBits,
) -> Result<Forecast, CompileError> {
    let types = value_types(circuit)?;
    let account = account(circuit, cost)?;
    let top = circuit.parameters.top();
    let ciphertexts: u64 =
        circuit.inputs.iter().map(|i| u64::from(circuit.layout(i.layout).ciphertexts)).sum();
    let wire = Wire(&circuit.parameters);
    let outputs = circuit.outputs.iter().flat_map(|o| &o.values);
    let download_bytes = outputs.map(|v| wire.ciphertext_bytes(types[v.0 as usize].level)).sum();
    Ok(Forecast {
        seconds: account.nanoseconds() as f64 / 1e9,
        memory_bytes: account.memory.bytes(),
        key_bytes: circuit.keys.iter().map(|k| wire.key_bytes(k)).sum(),
        upload_bytes: ciphertexts * wire.seeded_bytes(top),
        download_bytes,
        precision_bits: precision.secret_key,
        public_key_precision_bits: precision.public_key,
        profile: Some(cost.profile()),
    })
}

/// Sizes on disk and wire, without headers: a residue takes the whole bytes that its prime needs.
struct Wire<'a>(&'a Parameters);

impl Wire<'_> {
    fn poly_bytes(&self, primes: &[u64]) -> u64 {
        let residues: u64 =
            primes.iter().map(|q| u64::from((u64::BITS - q.leading_zeros()).div_ceil(8))).sum();
        residues << self.0.log_n
    }

    fn chain(&self, level: Level) -> Vec<u64> {
        self.0.ciphertext_primes().into_iter().take(level.limbs()).collect()
    }

    /// A ciphertext of two polynomials.
    fn ciphertext_bytes(&self, level: Level) -> u64 {
        2 * self.poly_bytes(&self.chain(level))
    }

    /// A fresh ciphertext: one polynomial, and the seed of the other.
    fn seeded_bytes(&self, level: Level) -> u64 {
        SEED_BYTES + self.poly_bytes(&self.chain(level))
    }

    /// An evaluation key: one polynomial per digit over the chain and P, and the seed of the others.
    fn key_bytes(&self, key: &KeySpec) -> u64 {
        let digits = (key.level.limbs() as u64).div_ceil(u64::from(key.gadget.digit_limbs));
        let special = &self.0.special[..key.gadget.special_limbs as usize];
        SEED_BYTES + digits * (self.poly_bytes(&self.chain(key.level)) + self.poly_bytes(special))
    }
}

/// Rotations that a circuit applies, hoisted ones included, and the rotation keys it needs.
pub fn rotations(circuit: &Circuit) -> (u64, u64) {
    let keys = circuit.keys.iter().filter(|k| matches!(k.kind, KeyKind::Rotation(_))).count();
    (circuit.nodes.iter().map(|n| n.op.rotations() as u64).sum(), keys as u64)
}
