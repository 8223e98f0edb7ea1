//! The noisy meaning: f64 slots with the errors that encrypted evaluation would leave, drawn at random.
//!
//! # What is drawn
//! Every operation adds to its slots an error of the deviation that [`crate::scheme::noise`] states for it; errors of
//! earlier operations go through later ones by themselves, products of errors included. What the circuit fixes is not
//! drawn: numbers by which all slots are multiplied (scalars, adjust factors) are rounded as the engine rounds them. A
//! diagonal's rounding meets the inputs of *this* run, slot by slot; so does a bootstrap's modular reduction, which keeps slots of
//! at most 1 and loses others. Slots are real, so that the imaginary parts of errors,
//! which matter in products of two errors alone, are left out; so is that equal operations make equal errors.
//!
//! Relies on the op laws (for scales) and on materialised diagonals. Promises: a pure function of circuit, inputs and
//! [`Draw`], with the same bits on every machine and for any number of threads: integers make the errors, no
//! transcendental (the modular reduction's sines are libm's). Predicted errors are samples, for predicting accuracy; they must not size what hides something.
//! Above the soft cap: what is drawn and what each op draws read the same deviations.

use super::exact::{Exact, ExactError, ExactRun, SlotVector};
use super::norms::{Kind, MapNorms};
use super::trace::Encryption;
use super::{Interpretation, interpret};
use crate::circuit::{Circuit, Node};
use crate::map::{Diagonals, MapId};
use crate::op::{Hoisting, KeyId, KeyedStep, LinearPlan, Op, Plain, ValueId};
use crate::scheme::noise::{KeySwitchNoise, NoiseModel};
use crate::scheme::{BootstrapPlan, CanonicalScales, Level, Scale};
use crate::verify::{Degree, LawError, ValueType, value_types};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

/// Why a circuit has no noisy meaning.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum NoisyError {
    /// An op law is broken.
    #[error(transparent)]
    Law(#[from] LawError),
    /// It has no exact meaning.
    #[error(transparent)]
    Exact(#[from] ExactError),
}

/// Which of the possible errors a run gets: equal draws, equal errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(pub u64);

impl Draw {
    /// An independent draw of the same series.
    pub fn numbered(self, index: u64) -> Draw {
        Draw(mixed(self.0 ^ mixed(index.wrapping_add(GOLDEN))))
    }
}

/// What one operation adds to its results.
#[derive(Debug)]
enum Added {
    /// An error of this deviation in every slot.
    Error(f64),
    /// A factor that rounding gives to all slots, then an error.
    Rounded { factor: f64, deviation: f64 },
    /// An error that grows with the slot: rounding of a plaintext that the value is multiplied by.
    Proportional(f64),
    /// A constant: rounding of a number that is added.
    Shift(f64),
    /// A factor that rounding gives to all slots, what the modular reduction makes of them, then an error.
    Reduced { factor: f64, plan: Arc<BootstrapPlan>, deviation: f64 },
    /// A linear plan's, by output.
    Plan(Vec<PlanErrors>),
}

/// Errors of one output of a plan.
#[derive(Debug)]
struct PlanErrors {
    /// Variance by slot of what does not depend on the inputs: baby and giant rotations, divisions.
    own: Vec<f64>,
    /// Variance that rounding of a diagonal adds to a slot, over the square of the input slot that it meets.
    rounding: f64,
    /// Diagonals: operand, total step, how many of them.
    diagonals: Vec<(usize, u32, f64)>,
    /// Diagonals that are rounded alike: lists of operand and total step.
    alike: Vec<Vec<(usize, u32)>>,
}

/// The noisy meaning of one circuit; made once, used for any number of runs.
#[derive(Debug)]
pub struct Noisy {
    exact: Exact,
    added: BTreeMap<ValueId, Added>,
}

impl Noisy {
    /// Materialises what `circuit` needs, for inputs encrypted like this.
    pub fn new(circuit: &Circuit, encryption: Encryption) -> Result<Noisy, NoisyError> {
        let types = value_types(circuit)?;
        let (exact, maps) = Exact::with_maps(circuit)?;
        let bootstrap = circuit.bootstrap.and_then(|request| request.plan().ok()).map(|plan| {
            let noise = plan.noise();
            (Arc::new(plan), noise)
        });
        let model = Model { bootstrap, ..Model::of(circuit, &types, &maps, encryption) };
        let added = circuit.nodes.par_iter().filter_map(|node| Some((node.first, model.added(node)?)));
        Ok(Noisy { added: added.collect(), exact })
    }

    /// The same for inputs encrypted like this; `circuit` is the one it was made for.
    pub fn encrypted(mut self, circuit: &Circuit, encryption: Encryption) -> Result<Noisy, NoisyError> {
        let (types, maps) = (value_types(circuit)?, BTreeMap::new());
        let model = Model::of(circuit, &types, &maps, encryption);
        let inputs = circuit.nodes.iter().filter(|node| matches!(node.op, Op::Input { .. }));
        self.added.extend(inputs.filter_map(|node| Some((node.first, model.added(node)?))));
        Ok(self)
    }

    /// The exact meaning that this one disturbs.
    pub fn exact(&self) -> &Exact {
        &self.exact
    }

    /// The meaning for these input tensors: one per circuit input, row-major, after preprocessing.
    pub fn with_inputs<'a, T: AsRef<[f64]>>(
        &'a self,
        circuit: &Circuit,
        inputs: &[T],
        draw: Draw,
    ) -> Result<NoisyRun<'a>, ExactError> {
        let exact = self.exact.with_inputs(circuit, inputs)?;
        Ok(NoisyRun { exact, added: &self.added, draw })
    }

    /// Output tensors (row-major, with each output's client-side factor) for one set of input tensors.
    pub fn run<T: AsRef<[f64]>>(
        &self,
        circuit: &Circuit,
        inputs: &[T],
        draw: Draw,
    ) -> Result<Vec<Vec<f64>>, ExactError> {
        let values = interpret(circuit, &self.with_inputs(circuit, inputs, draw)?)?;
        Ok(Exact::tensors(circuit, &values))
    }
}

/// The noisy meaning with inputs bound and errors drawn.
#[derive(Debug)]
pub struct NoisyRun<'a> {
    exact: ExactRun<'a>,
    added: &'a BTreeMap<ValueId, Added>,
    draw: Draw,
}

impl Interpretation for NoisyRun<'_> {
    type Value = SlotVector;
    type Error = ExactError;

    fn apply(
        &self,
        circuit: &Circuit,
        node: &Node,
        operands: &[&SlotVector],
    ) -> Result<Vec<SlotVector>, ExactError> {
        let mut results = self.exact.apply(circuit, node, operands)?;
        let Some(added) = self.added.get(&node.first) else { return Ok(results) };
        for (k, result) in results.iter_mut().enumerate() {
            let mut errors = Errors::of(self.draw, ValueId(node.first.0 + k as u32));
            let slots = Arc::make_mut(result).iter_mut();
            match added {
                Added::Error(deviation) => slots.for_each(|x| *x += deviation * errors.next()),
                Added::Rounded { factor, deviation } => {
                    slots.for_each(|x| *x = *x * factor + deviation * errors.next());
                }
                // The operand's slot times the rounding; its own product with the plaintext is the result.
                Added::Proportional(deviation) => {
                    let from = operands.first().map_or(&[][..], |x| x.as_slice()).iter();
                    slots.zip(from).for_each(|(x, y)| *x += y * deviation * errors.next());
                }
                Added::Shift(shift) => slots.for_each(|x| *x += shift),
                Added::Reduced { factor, plan, deviation } => {
                    slots.for_each(|x| *x = plan.reduced(*x * factor) + deviation * errors.next());
                }
                Added::Plan(outputs) => {
                    let variances = outputs[k].variances(operands);
                    slots.zip(variances).for_each(|(x, v)| *x += v.sqrt() * errors.next());
                }
            }
        }
        Ok(results)
    }
}

impl PlanErrors {
    /// Variance by slot: `own[s] + rounding · Σ x[s + step]²` over the diagonals, and `rounding · (Σ x[s + step])²` over
    /// those that are rounded alike.
    fn variances(&self, operands: &[&SlotVector]) -> Vec<f64> {
        let slots = self.own.len();
        let mut sums = vec![0.0; slots];
        // Squares twice in a row, so that a rotation is a slice.
        let mut squares = vec![0.0; 2 * slots];
        let mut squared = None;
        for (operand, step, count) in &self.diagonals {
            if squared != Some(operand) {
                let (low, high) = squares.split_at_mut(slots);
                low.iter_mut().zip(operands[*operand].iter()).for_each(|(s, x)| *s = x * x);
                high.copy_from_slice(low);
                squared = Some(operand);
            }
            let rotated = &squares[*step as usize..*step as usize + slots];
            sums.iter_mut().zip(rotated).for_each(|(sum, x)| *sum += count * x);
        }
        for list in &self.alike {
            let mut met = vec![0.0; slots];
            for (operand, step) in list {
                let (low, high) = operands[*operand].split_at(*step as usize);
                met.iter_mut().zip(high.iter().chain(low)).for_each(|(sum, x)| *sum += x);
            }
            sums.iter_mut().zip(met).for_each(|(sum, x)| *sum += x * x);
        }
        sums.iter_mut().zip(&self.own).for_each(|(sum, own)| *sum = own + self.rounding * *sum);
        sums
    }
}

/// What the deviations follow from.
struct Model<'a> {
    circuit: &'a Circuit,
    types: &'a [ValueType],
    maps: &'a BTreeMap<MapId, Diagonals>,
    norms: MapNorms,
    scales: CanonicalScales,
    noise: NoiseModel,
    /// The bootstrapping's plan and its noise.
    bootstrap: Option<(Arc<BootstrapPlan>, f64)>,
    encryption: Encryption,
}

impl<'a> Model<'a> {
    /// Without bootstraps.
    fn of(
        circuit: &'a Circuit,
        types: &'a [ValueType],
        maps: &'a BTreeMap<MapId, Diagonals>,
        encryption: Encryption,
    ) -> Model<'a> {
        let scales = CanonicalScales::new(&circuit.parameters);
        let noise = NoiseModel::new(&circuit.parameters);
        Model {
            circuit,
            types,
            maps,
            norms: MapNorms::of_maps(maps),
            scales,
            noise,
            bootstrap: None,
            encryption,
        }
    }

    /// What a node adds, by the formulas that [`super::Trace`] uses.
    fn added(&self, node: &Node) -> Option<Added> {
        let scale = self.scale_of(node.first);
        let operand = node.op.operands().first().copied();
        let kind = operand.map(|v| &self.types[v.0 as usize]);
        let (before, level) =
            kind.map_or((scale, Level(0)), |kind| (self.scales.value(&kind.scale), kind.level));
        let switched = |key: KeyId| self.key_switch(key, level);
        let rounded = |value: f64, at: f64| (value * at).round() / at;
        Some(match &node.op {
            Op::Input { .. } => Added::Error(self.fresh() / scale),
            Op::AddPlain(_, Plain::Constant(value)) => Added::Shift(rounded(*value, scale) - value),
            Op::AddPlain(..) => Added::Error(self.noise.encoding() / scale),
            Op::MulPlain(_, Plain::Constant(c)) | Op::MulScalar(_, c) if *c != 0.0 => {
                Added::Rounded { factor: rounded(*c, scale / before) / c, deviation: 0.0 }
            }
            Op::MulPlain(_, Plain::Constant(_)) | Op::MulScalar(..) => return None,
            Op::MulPlain(..) => Added::Proportional(self.noise.encoding() * before / scale),
            Op::Relinearize(_, key) | Op::Conjugate(_, key) => Added::Error(switched(*key).total() / scale),
            Op::Rotate(_, KeyedStep { key: Some(key), .. }) => Added::Error(switched(*key).total() / scale),
            Op::Rescale(_) => Added::Error(self.rescale(kind?.degree) / scale),
            Op::RelinearizeRescale(_, key) => {
                let division = self.noise.division(self.special_limbs(*key) + 1);
                Added::Error(libm::hypot(switched(*key).inner / before, division / scale))
            }
            Op::Adjust(_, to) => {
                let (factor, deviation) = self.adjusted(kind?, *to)?;
                Added::Rounded { factor, deviation }
            }
            Op::Bootstrap(_) => {
                let (plan, noise) = self.bootstrap.as_ref()?;
                let (factor, adjusted) = match level > plan.input {
                    true => self.adjusted(kind?, plan.input)?,
                    false => (1.0, 0.0),
                };
                Added::Reduced { factor, plan: plan.clone(), deviation: libm::hypot(*noise, adjusted) }
            }
            Op::Linear(plan) => Added::Plan(self.plan(plan, (before, level), scale)),
            _ => return None,
        })
    }

    /// What adjusting a value of this kind to a level multiplies it by, and the deviation of its rescale.
    fn adjusted(&self, kind: &ValueType, to: Level) -> Option<(f64, f64)> {
        let (before, scale) = (self.scales.value(&kind.scale), self.scales.value(&Scale::canonical(to)));
        let factor = self.scales.adjust_factor(&kind.scale, to) as f64;
        let prime = *self.circuit.parameters.chain.get(to.0 as usize + 1)? as f64;
        Some((factor * (before / prime) / scale, self.rescale(Degree::One) / scale))
    }

    /// A plan's errors: noise of baby rotations goes through the weights, giant rotations act on the product scale,
    /// divisions on the result's.
    fn plan(&self, plan: &LinearPlan, (before, level): (f64, Level), after: f64) -> Vec<PlanErrors> {
        let product = self.scales.value(&Scale::product(level));
        let switch = |keyed: &KeyedStep| keyed.key.map(|key| self.key_switch(key, level));
        let baby = |keyed: &KeyedStep| match (switch(keyed), plan.hoisting) {
            (None, _) => 0.0,
            (Some(noise), Hoisting::Single) => noise.total() / before,
            (Some(noise), Hoisting::Double) => noise.inner / before,
        };
        let babies: Vec<f64> = plan.babies.iter().map(|b| sq(baby(b))).collect();
        let giants: Vec<f64> =
            plan.giants.iter().map(|g| switch(g).map_or(0.0, |n| sq(n.total() / product))).collect();
        let half =
            plan.pairing.as_ref().and_then(|p| switch(&p.half)).map_or(0.0, |n| sq(n.total() / before));
        let special = plan.special_limbs(self.circuit);
        // The real part of a paired plan is the sum of a halved value and its conjugate: errors before it are doubled.
        let (twice, divisions) = match &plan.pairing {
            None => (1.0, sq(self.noise.division(special + u32::from(plan.rescale)) / after)),
            Some(pairing) => {
                let conjugation = self.key_switch(pairing.conjugate, level).total();
                let rescale = if plan.rescale { self.noise.rescale() } else { 0.0 };
                let before_it = 4.0 * sq(self.noise.division(special) / product);
                (4.0, before_it + sq(conjugation / product) + sq(rescale / after))
            }
        };
        let encoding = sq(self.noise.encoding() * before / product);
        let one = |output: u32| {
            let mut own = vec![divisions; self.circuit.slots()];
            let (mut used, mut diagonals) = (BTreeSet::new(), BTreeMap::new());
            let mut alike: BTreeMap<(u32, Kind, usize), Vec<(usize, u32)>> = BTreeMap::new();
            for p in plan.products.iter().filter(|p| p.output == output) {
                used.insert(p.giant);
                let kind = self.norms.kind(plan, p, self.circuit.slots());
                let first: usize = plan.sources[..p.source as usize].iter().map(|s| s.values.len()).sum();
                let halves = plan.diagonals(p, self.circuit.slots() as u32).into_iter().enumerate();
                for (k, (input, step)) in halves.filter_map(|(k, d)| Some((k, d?))) {
                    alike.entry((p.source, kind, k)).or_default().push((first + input as usize, step.0));
                    let variance = babies[p.baby as usize] + if k == 1 { half } else { 0.0 };
                    let map = self.maps.get(&plan.sources[p.source as usize].map);
                    let entries = map.and_then(|m| Some(m.entries(m.find(output, input, step)?)));
                    for (s, w) in entries.into_iter().flat_map(|(at, w)| at.iter().zip(w)) {
                        own[*s as usize] += w * w * variance;
                    }
                }
            }
            let turned: f64 = used.iter().map(|g| giants[*g as usize]).sum();
            own.iter_mut().for_each(|v| *v += twice * turned);
            alike.retain(|(_, kind, _), list| {
                let kept = list.len() > 1 && *kind != Kind::default();
                if !kept {
                    list.iter().for_each(|at| *diagonals.entry(*at).or_insert(0.0) += 1.0);
                }
                kept
            });
            let diagonals = diagonals.into_iter().map(|((operand, step), count)| (operand, step, count));
            let (diagonals, alike) = (diagonals.collect(), alike.into_values().collect());
            PlanErrors { own, rounding: twice * encoding, diagonals, alike }
        };
        (0..plan.outputs).map(one).collect()
    }

    fn scale_of(&self, value: ValueId) -> f64 {
        self.scales.value(&self.types[value.0 as usize].scale)
    }

    fn fresh(&self) -> f64 {
        match self.encryption {
            Encryption::SecretKey => self.noise.fresh_secret_key(),
            Encryption::PublicKey => self.noise.fresh_public_key(),
        }
    }

    fn rescale(&self, degree: Degree) -> f64 {
        match degree {
            Degree::One => self.noise.rescale(),
            Degree::Two => self.noise.rescale_degree_2(),
        }
    }

    fn special_limbs(&self, key: KeyId) -> u32 {
        self.circuit.keys.get(key.0 as usize).map_or(0, |k| k.gadget.special_limbs)
    }

    fn key_switch(&self, key: KeyId, level: Level) -> KeySwitchNoise {
        let gadget = self.circuit.keys.get(key.0 as usize).map(|k| k.gadget);
        gadget.map_or(KeySwitchNoise { inner: f64::INFINITY, rounding: 0.0 }, |g| {
            self.noise.key_switch(g, level)
        })
    }
}

fn sq(x: f64) -> f64 {
    x * x
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64 (G. Steele, D. Lea, C. Flood, *Fast splittable pseudorandom number generators*, 2014).
fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of errors of mean 0 and deviation 1: sums of eight uniform 16-bit numbers, which reach 4.9 deviations. Not for
/// cryptography.
struct Errors(u64);

impl Errors {
    /// The stream of one value in one draw.
    fn of(draw: Draw, value: ValueId) -> Errors {
        Errors(draw.numbered(u64::from(value.0)).0)
    }

    fn next(&mut self) -> f64 {
        /// `1 / sqrt(8 · (2^32 − 1) / 12)`.
        const UNIT: f64 = 1.868_812_365e-5;
        let mut sum = 0;
        for _ in 0..2 {
            self.0 = self.0.wrapping_add(GOLDEN);
            let z = mixed(self.0);
            sum += (z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48);
        }
        (sum as f64 - 4.0 * 65_535.0) * UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_errors_have_mean_0_and_deviation_1() {
        let mut errors = Errors::of(Draw(7), ValueId(3));
        let drawn: Vec<f64> = (0..100_000).map(|_| errors.next()).collect();
        let n = drawn.len() as f64;
        let mean = drawn.iter().sum::<f64>() / n;
        let variance = drawn.iter().map(|x| x * x).sum::<f64>() / n;
        let beyond = drawn.iter().filter(|x| x.abs() > 2.0).count() as f64 / n;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!((0.040..0.050).contains(&beyond), "a Gaussian has 4.6 % beyond 2 deviations, not {beyond}");
        let mut other = Errors::of(Draw(8), ValueId(3));
        let product: f64 = drawn.iter().map(|x| x * other.next()).sum::<f64>() / n;
        assert!(product.abs() < 0.02, "draws are independent: {product}");
    }
}
