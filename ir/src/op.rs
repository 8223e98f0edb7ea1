//! The operations of a circuit. Their laws stand in the crate documentation.

mod activation;
mod pairing;

pub use activation::Activation;
pub(crate) use activation::FORMS;
pub use pairing::{Read, RealDiagonal, Switches};

use crate::layout::LayoutId;
use crate::map::{MapId, TensorId};
use crate::scheme::Level;
use serde::{Deserialize, Serialize};

/// A ciphertext in a circuit: the `k`-th result produced, counted over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValueId(pub u32);

/// Index of an evaluation key in its circuit's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(pub u32);

/// Rotation to the left: `rotate(x, k)[s] = x[(s + k) mod slots]`. Always in `[0, slots)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Step(pub u32);

/// A described plaintext.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Plain {
    /// The same real number in every slot.
    Constant(f64),
    /// `scale ·` a tensor in a layout (all replicas, zero elsewhere). A tensor `[c]` in a layout of shape
    /// `[c, …]` is broadcast along the other axes.
    Tensor {
        /// Values.
        tensor: TensorId,
        /// Where they stand.
        layout: LayoutId,
        /// Which ciphertext of the layout.
        ciphertext: u32,
        /// Uniform factor.
        scale: f64,
    },
    /// A diagonal of a linear map, rotated right by `giant`: `p[s] = diagonal_step[(s - giant) mod slots]`.
    Diagonal {
        /// The map.
        map: MapId,
        /// Output ciphertext.
        output: u32,
        /// Input ciphertext.
        input: u32,
        /// Total step of the diagonal (baby + giant, modulo slots).
        step: Step,
        /// Giant step.
        giant: Step,
    },
}

/// How a linear plan rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hoisting {
    /// Baby steps share one decomposition; each is brought back to Q before the products.
    Single,
    /// Baby steps stay extended by P; products and giant steps are summed in QP; one mod-down per giant step
    /// and one at the end.
    Double,
}

/// A rotation with the key that performs it. Step 0 needs no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyedStep {
    /// Rotation amount.
    pub step: Step,
    /// Key; `None` only for step 0.
    pub key: Option<KeyId>,
}

/// One input tensor of a plan: the ciphertexts of `map`'s input layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The map applied to it.
    pub map: MapId,
    /// Its ciphertexts, in layout order.
    pub values: Vec<ValueId>,
}

/// How a plan applies two diagonals by one product, its slots being complex (see [`LinearPlan::diagonals`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pairing {
    /// Not 0: every input ciphertext is paired with itself, rotated by this. 0: the ciphertexts of a source are paired
    /// in order, a last one without a partner stays alone.
    pub half: KeyedStep,
    /// Conjugation key, for the real part of every output.
    pub conjugate: KeyId,
}

/// One product of a plan: `giant`-rotated sum of `diagonal(source.map, output, input, baby + giant)` times the
/// `baby`-rotated input ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Product {
    /// Output ciphertext.
    pub output: u32,
    /// Index into the plan's giant steps.
    pub giant: u32,
    /// Index of the source.
    pub source: u32,
    /// Ciphertext of the source; with pairing by ciphertexts, pair of them.
    pub input: u32,
    /// Index into the plan's baby steps.
    pub baby: u32,
}

/// `out_o = Σ_g rot_g( Σ diagonal ⊙ rot_b(in_i) )`, all inputs at one level and scale, executed in one sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearPlan {
    /// Input tensors; their maps share one output layout, the results are summed.
    pub sources: Vec<Source>,
    /// Baby steps, applied to every input ciphertext that uses them.
    pub babies: Vec<KeyedStep>,
    /// Giant steps.
    pub giants: Vec<KeyedStep>,
    /// Sorted by (output, giant, source, input, baby), no duplicates: the diagonals that are there by structure.
    pub products: Vec<Product>,
    /// Two diagonals to a product; without it one.
    pub pairing: Option<Pairing>,
    /// Number of output ciphertexts.
    pub outputs: u32,
    /// Rotation form.
    pub hoisting: Hoisting,
    /// Whether the final mod-down also divides by the level's prime (result one level lower).
    pub rescale: bool,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Ciphertext `ciphertext` of the circuit's input `input`, fresh at the circuit's top level.
    Input {
        /// Index into the circuit's inputs.
        input: u32,
        /// Ciphertext of its layout.
        ciphertext: u32,
    },
    /// Slotwise sum.
    Add(ValueId, ValueId),
    /// Slotwise difference.
    Sub(ValueId, ValueId),
    /// Slotwise negation.
    Neg(ValueId),
    /// Slotwise sum with a plaintext.
    AddPlain(ValueId, Plain),
    /// Slotwise product with a plaintext.
    MulPlain(ValueId, Plain),
    /// Product with one real number.
    MulScalar(ValueId, f64),
    /// Slotwise product, degree 2.
    Mul(ValueId, ValueId),
    /// `Σ x_k · y_k`, degree 2, reduced once.
    SumOfProducts(Vec<(ValueId, ValueId)>),
    /// Degree 2 to degree 1.
    Relinearize(ValueId, KeyId),
    /// Division by the level's prime.
    Rescale(ValueId),
    /// Relinearize and rescale in one mod-down.
    RelinearizeRescale(ValueId, KeyId),
    /// Forgets limbs; the scale stays.
    DropLevel(ValueId, Level),
    /// Brings a value to the canonical scale of a lower level (one multiplication by an integer, one rescale).
    Adjust(ValueId, Level),
    /// Rotation to the left.
    Rotate(ValueId, KeyedStep),
    /// Complex conjugation of every slot.
    Conjugate(ValueId, KeyId),
    /// Exact elementwise function (drafts only).
    Activation(ValueId, Activation),
    /// Linear plan; as many results as it has outputs.
    Linear(LinearPlan),
    /// The same slots at the circuit's top level, by the plan of [`Circuit::bootstrap`](crate::Circuit) and with that plan's
    /// keys; real and imaginary parts of slots must be at most 1 in magnitude. The result is real: imaginary parts vanish.
    Bootstrap(ValueId),
}

impl Op {
    /// Name of the operation, as in the specification and the text form.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Add(..) => "add",
            Op::Sub(..) => "sub",
            Op::Neg(..) => "neg",
            Op::AddPlain(..) => "add_plain",
            Op::MulPlain(..) => "mul_plain",
            Op::MulScalar(..) => "mul_scalar",
            Op::Mul(..) => "mul",
            Op::SumOfProducts(..) => "sum_of_products",
            Op::Relinearize(..) => "relinearize",
            Op::Rescale(..) => "rescale",
            Op::RelinearizeRescale(..) => "relinearize_rescale",
            Op::DropLevel(..) => "drop_level",
            Op::Adjust(..) => "adjust",
            Op::Rotate(..) => "rotate",
            Op::Conjugate(..) => "conjugate",
            Op::Activation(..) => "activation",
            Op::Linear(..) => "linear",
            Op::Bootstrap(..) => "bootstrap",
        }
    }

    /// Evaluation keys that the operation names, mutably, in order, repeated where one is named twice.
    pub(crate) fn keys_mut(&mut self) -> Vec<&mut KeyId> {
        match self {
            Op::Relinearize(_, key) | Op::RelinearizeRescale(_, key) | Op::Conjugate(_, key) => vec![key],
            Op::Rotate(_, keyed) => keyed.key.iter_mut().collect(),
            Op::Linear(plan) => {
                let steps = plan.babies.iter_mut().chain(&mut plan.giants);
                let mut keys: Vec<&mut KeyId> = steps.filter_map(|s| s.key.as_mut()).collect();
                if let Some(Pairing { half, conjugate }) = &mut plan.pairing {
                    keys.extend(half.key.as_mut().into_iter().chain([conjugate]));
                }
                keys
            }
            _ => vec![],
        }
    }

    /// Evaluation keys that the operation names, in order, repeated where one is named twice. A bootstrap names none: its keys
    /// are its plan's.
    pub fn keys(&self) -> Vec<KeyId> {
        match self {
            Op::Relinearize(_, key) | Op::RelinearizeRescale(_, key) | Op::Conjugate(_, key) => vec![*key],
            Op::Rotate(_, keyed) => keyed.key.into_iter().collect(),
            Op::Linear(plan) => {
                let steps = plan.babies.iter().chain(&plan.giants);
                let paired = plan.pairing.iter().flat_map(|p| p.half.key.into_iter().chain([p.conjugate]));
                steps.filter_map(|s| s.key).chain(paired).collect()
            }
            _ => vec![],
        }
    }
}
