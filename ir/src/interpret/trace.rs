//! The trace: for every value its level, degree and exact scale, a bound of its slots, and its expected error.
//!
//! Relies on the op laws ([`result_types`]) for level, degree and scale, and on [`crate::scheme::noise`] for the
//! errors. Bounds of slots come from input ranges and row norms unless measured ones are given
//! ([`Magnitudes::measure`]): products of L1 norms soon exceed by far what data ever reach, and errors grow with
//! the values. Errors are counted by their real parts; the imaginary parts that paired diagonals mix in, half a bit for each
//! such plan at most, are left out, as the four deviations of the largest error are more than what is met. Promises:
//! average-case figures, for parameter choice and forecasts; never for hiding anything. Above the soft cap: one function for each row of
//! the specification, over the same formulas.

use super::Interpretation;
use super::magnitudes::Magnitudes;
use super::norms::{Kind, MapNorms};
use crate::circuit::{Circuit, Node, OutputSpec};
use crate::map::MapError;
use crate::op::{Activation, Hoisting, KeyId, KeyedStep, LinearPlan, Op, Plain, Product, ValueId};
use crate::scheme::noise::{KeySwitchNoise, NoiseModel, SlotEstimate};
use crate::scheme::{BootstrapPlan, CanonicalScales, Level, Scale};
use crate::verify::{Degree, LawError, ValueType, result_types};
use std::collections::BTreeMap;
use thiserror::Error;

/// The largest of some hundred errors lies within this many standard deviations.
pub const LARGEST_ERROR_DEVIATIONS: f64 = 4.0;

/// Standard deviation of rounding to an integer.
const ROUNDING_STD: f64 = 0.288_675_134_594_812_9;

/// Why a circuit has no trace.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TraceError {
    /// An op law is broken.
    #[error(transparent)]
    Law(#[from] LawError),
    /// A map has no meaning.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Measured slots are beyond what a bootstrap keeps.
    #[error("v{} reaches {largest} where it is bootstrapped, which keeps slots of at most 1", .value.0)]
    MessageBound {
        /// The value.
        value: ValueId,
        /// Its largest slot.
        largest: f64,
    },
}

/// How inputs are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encryption {
    /// With the secret key (seeded ciphertexts): little noise.
    #[default]
    SecretKey,
    /// With the public key.
    PublicKey,
}

/// What the trace knows of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// Level, degree and exact scale.
    pub kind: ValueType,
    /// Bound, typical size and error of the slots, in message units.
    pub slots: SlotEstimate,
}

/// The trace meaning of one circuit.
#[derive(Debug)]
pub struct Trace<'a> {
    norms: &'a MapNorms,
    magnitudes: Option<&'a Magnitudes>,
    encryption: Encryption,
    scales: CanonicalScales,
    noise: NoiseModel,
    /// The bootstrapping's plan and its noise.
    bootstrap: Option<(BootstrapPlan, f64)>,
}

impl<'a> Trace<'a> {
    /// The trace under the circuit's parameters.
    pub fn new(circuit: &Circuit, norms: &'a MapNorms) -> Trace<'a> {
        Trace {
            norms,
            magnitudes: None,
            encryption: Encryption::default(),
            scales: CanonicalScales::new(&circuit.parameters),
            noise: NoiseModel::new(&circuit.parameters),
            bootstrap: circuit.bootstrap.and_then(|request| request.plan().ok()).map(|plan| {
                let noise = plan.noise();
                (plan, noise)
            }),
        }
    }

    /// With measured instead of bounded slots.
    pub fn measured(self, magnitudes: &'a Magnitudes) -> Trace<'a> {
        Trace { magnitudes: Some(magnitudes), ..self }
    }

    /// For inputs encrypted like this.
    pub fn encrypted(self, encryption: Encryption) -> Trace<'a> {
        Trace { encryption, ..self }
    }

    /// The trace of every value, in order.
    pub fn values(&self, circuit: &Circuit) -> Result<Vec<Traced>, TraceError> {
        let mut values: Vec<Traced> = vec![];
        for node in &circuit.nodes {
            let known = |v: ValueId| values.get(v.0 as usize).ok_or(LawError::Undefined(v));
            let operands = node.op.operands().into_iter().map(known).collect::<Result<Vec<_>, _>>()?;
            let results = self.apply(circuit, node, &operands)?;
            values.extend(results);
        }
        Ok(values)
    }

    /// `−log2(largest error / largest output)` of the worst output tensor. The largest output is taken from the
    /// output's range where it has one; without ranges and measured slots the figure is a guess, since bounds by
    /// row norms flatter the output. An output that is zero in all samples counts as large as its range; where measured
    /// values diverge there are no bits, −∞.
    pub fn precision_bits(&self, circuit: &Circuit) -> Result<f64, TraceError> {
        let values = self.values(circuit)?;
        let bits = |output: &OutputSpec| {
            let traced = output.values.iter().filter_map(|v| values.get(v.0 as usize));
            let (noise, bound) =
                traced.fold((0f64, 0f64), |(n, m), t| (n.max(t.slots.noise), m.max(t.slots.magnitude)));
            let range = output.range[0].abs().max(output.range[1].abs()) / output.scale.abs();
            let ranged = range > 0.0 && range.is_finite();
            let largest = match bound > 0.0 {
                true if ranged => range.min(bound),
                false if ranged => range,
                _ => bound,
            };
            let bits = libm::log2(largest / (LARGEST_ERROR_DEVIATIONS * noise));
            let diverges = self.magnitudes.is_some() && !bound.is_finite();
            if diverges || bits.is_nan() { f64::NEG_INFINITY } else { bits }
        };
        Ok(circuit.outputs.iter().map(bits).fold(f64::INFINITY, f64::min))
    }

    /// Expected error of one op's single result, from the operands' estimates.
    fn simple(
        &self,
        circuit: &Circuit,
        op: &Op,
        operands: &[&Traced],
        result: &ValueType,
    ) -> Result<SlotEstimate, TraceError> {
        let all: Vec<SlotEstimate> = operands.iter().map(|t| t.slots).collect();
        let scale = self.scales.value(&result.scale);
        Ok(match (op, &all[..]) {
            (Op::Input { input, .. }, _) => {
                let range = circuit.inputs[*input as usize].range;
                let noise = match self.encryption {
                    Encryption::SecretKey => self.noise.fresh_secret_key(),
                    Encryption::PublicKey => self.noise.fresh_public_key(),
                };
                SlotEstimate::bounded(range[0].abs().max(range[1].abs()), noise / scale)
            }
            (Op::Add(a, b) | Op::Sub(a, b), [x, _]) if a == b => x.scaled(2.0),
            (Op::Add(..) | Op::Sub(..), [x, y]) => x.plus(*y),
            (Op::Mul(a, b), [x, _]) if a == b => x.squared(),
            (Op::Mul(..), [x, y]) => x.times(*y),
            (Op::SumOfProducts(pairs), all) => {
                let zero = SlotEstimate::bounded(0.0, 0.0);
                let term = |(pair, slots): (&(ValueId, ValueId), &[SlotEstimate])| {
                    if pair.0 == pair.1 { slots[0].squared() } else { slots[0].times(slots[1]) }
                };
                pairs.iter().zip(all.chunks_exact(2)).map(term).fold(zero, SlotEstimate::plus)
            }
            (_, [x]) => self.unary(circuit, op, (operands[0], *x), scale)?,
            (_, _) => SlotEstimate::bounded(0.0, 0.0),
        })
    }

    fn unary(
        &self,
        circuit: &Circuit,
        op: &Op,
        (traced, x): (&Traced, SlotEstimate),
        scale: f64,
    ) -> Result<SlotEstimate, TraceError> {
        let (before, level) = (self.scales.value(&traced.kind.scale), traced.kind.level);
        let plain_scale = scale / before;
        let switched = |key: KeyId| self.key_switch(circuit, key, level);
        Ok(match op {
            Op::AddPlain(_, plain) => {
                let bound = self.plain_bound(circuit, plain)?;
                x.plus(SlotEstimate::bounded(bound, self.noise.encoding() / scale))
            }
            Op::MulPlain(_, plain) => {
                let rounding = x.typical * self.noise.encoding() / plain_scale;
                x.scaled(self.plain_bound(circuit, plain)?).with_noise(rounding)
            }
            Op::MulScalar(_, c) => x.scaled(*c).with_noise(x.typical * ROUNDING_STD / plain_scale),
            Op::Relinearize(_, key) | Op::Conjugate(_, key) => x.with_noise(switched(*key).total() / scale),
            Op::Rotate(_, KeyedStep { key: Some(key), .. }) => x.with_noise(switched(*key).total() / scale),
            Op::Rescale(_) => x.with_noise(self.rescale(traced.kind.degree) / scale),
            Op::RelinearizeRescale(_, key) => {
                let division = self.noise.division(self.special_limbs(circuit, *key) + 1);
                x.with_noise(switched(*key).inner / before).with_noise(division / scale)
            }
            Op::Adjust(_, to) => self.adjusted(x, &traced.kind.scale, *to),
            Op::Bootstrap(value) => self.bootstrapped(*value, (traced, x))?,
            Op::Activation(_, function) => activated(x, function),
            _ => x,
        })
    }

    fn adjusted(&self, x: SlotEstimate, from: &Scale, to: Level) -> SlotEstimate {
        let factor = self.scales.adjust_factor(from, to) as f64;
        let scale = self.scales.value(&Scale::canonical(to));
        x.with_noise(x.typical * ROUNDING_STD / factor).with_noise(self.rescale(Degree::One) / scale)
    }

    fn bootstrapped(
        &self,
        value: ValueId,
        (traced, x): (&Traced, SlotEstimate),
    ) -> Result<SlotEstimate, TraceError> {
        let (plan, noise) = self.bootstrap.as_ref().ok_or(LawError::NoBootstrapping)?;
        if self.magnitudes.is_some() && x.magnitude > 1.0 {
            return Err(TraceError::MessageBound { value, largest: x.magnitude });
        }
        let x = match traced.kind.level > plan.input {
            true => self.adjusted(x, &traced.kind.scale, plan.input),
            false => x,
        };
        Ok(x.with_noise(*noise).with_noise(plan.series_error(x.typical)))
    }

    /// A plan: the inputs' noise and that of baby rotations go through the weights; encodings multiply the inputs;
    /// giant rotations act on the product scale.
    fn linear(
        &self,
        circuit: &Circuit,
        plan: &LinearPlan,
        operands: &[&Traced],
        result: &ValueType,
    ) -> Result<SlotEstimate, TraceError> {
        let zero = SlotEstimate::bounded(0.0, 0.0);
        let Some(first) = operands.first() else { return Ok(zero) };
        let level = first.kind.level;
        let before = self.scales.value(&first.kind.scale);
        let product = self.scales.value(&Scale::product(level));
        let switch = |keyed: &KeyedStep| keyed.key.map(|key| self.key_switch(circuit, key, level));
        let baby = |keyed: &KeyedStep| match (switch(keyed), plan.hoisting) {
            (None, _) => 0.0,
            (Some(noise), Hoisting::Single) => noise.total() / before,
            (Some(noise), Hoisting::Double) => noise.inner / before,
        };
        let babies: Vec<f64> = plan.babies.iter().map(baby).collect();
        let encoding = self.noise.encoding() * before / product;
        let mut out = zero;
        let mut operands = operands.iter();
        for (index, source) in plan.sources.iter().enumerate() {
            let x = operands.by_ref().take(source.values.len()).fold(zero, |a, t| largest(a, t.slots));
            let half = plan.pairing.as_ref().and_then(|p| switch(&p.half));
            let x = half.map_or(x, |noise| x.with_noise(noise.total() / before));
            let through =
                Through::of(plan, index as u32, &babies, |p| self.norms.kind(plan, p, circuit.slots()));
            let norms = self.norms.rows(source.map)?;
            // A folded map spreads a row's products over partial sums, whose errors the folds add up again.
            let map = circuit.maps.get(source.map.0 as usize).ok_or(MapError::UnknownMap(source.map.0))?;
            let parts: f64 = map.fold.iter().map(|d| f64::from(d.extent)).product();
            out = out.plus(SlotEstimate {
                magnitude: norms.l1 * x.magnitude,
                typical: x.typical * norms.l1.min(norms.l2 * LARGEST_ERROR_DEVIATIONS),
                noise: libm::hypot(
                    norms.l2 / parts.sqrt() * libm::hypot(x.noise, through.baby),
                    through.diagonals.sqrt() * x.typical * encoding,
                ),
            });
        }
        // The real part is the sum of a halved value and its conjugate: errors before it are doubled.
        let twice = if plan.pairing.is_some() { 2.0 } else { 1.0 };
        for noise in plan.giants.iter().filter_map(switch) {
            out = out.with_noise(twice * noise.total() / product);
        }
        let special = plan.special_limbs(circuit);
        let after = self.scales.value(&result.scale);
        let Some(pairing) = &plan.pairing else {
            let division = self.noise.division(special + u32::from(plan.rescale));
            return Ok(out.with_noise(division / after));
        };
        let conjugation = self.key_switch(circuit, pairing.conjugate, level).total();
        let out = out.with_noise(libm::hypot(twice * self.noise.division(special), conjugation) / product);
        Ok(if plan.rescale { out.with_noise(self.noise.rescale() / after) } else { out })
    }

    fn rescale(&self, degree: Degree) -> f64 {
        match degree {
            Degree::One => self.noise.rescale(),
            Degree::Two => self.noise.rescale_degree_2(),
        }
    }

    fn special_limbs(&self, circuit: &Circuit, key: KeyId) -> u32 {
        circuit.keys.get(key.0 as usize).map_or(0, |k| k.gadget.special_limbs)
    }

    fn key_switch(&self, circuit: &Circuit, key: KeyId, level: Level) -> KeySwitchNoise {
        let gadget = circuit.keys.get(key.0 as usize).map(|k| k.gadget);
        gadget.map_or(KeySwitchNoise { inner: f64::INFINITY, rounding: 0.0 }, |g| {
            self.noise.key_switch(g, level)
        })
    }

    /// Bound of a plaintext's slots.
    fn plain_bound(&self, circuit: &Circuit, plain: &Plain) -> Result<f64, TraceError> {
        Ok(match plain {
            Plain::Constant(value) => value.abs(),
            Plain::Tensor { tensor, scale, .. } => {
                let values =
                    circuit.tensors.get(tensor.0 as usize).map(|t| &t.values[..]).unwrap_or_default();
                values.iter().fold(0f64, |m, v| m.max(f64::from(*v).abs())) * scale.abs()
            }
            Plain::Diagonal { map, .. } => self.norms.rows(*map)?.l2,
        })
    }
}

/// What one source of a plan goes through.
struct Through {
    /// Diagonals of the output that has most, weighed by the square of what multiplies their rounding.
    diagonals: f64,
    /// Root mean square over products of the noise of their baby rotation.
    baby: f64,
}

impl Through {
    /// `kind`: equal for products by equal plaintexts.
    fn of(plan: &LinearPlan, source: u32, babies: &[f64], kind: impl Fn(&Product) -> Kind) -> Through {
        // Equal plaintexts are rounded alike: what they multiply adds up before it is squared.
        let mut alike: BTreeMap<(u32, Kind), f64> = BTreeMap::new();
        let (mut squares, mut products) = (0.0, 0.0);
        for product in plan.products.iter().filter(|p| p.source == source) {
            *alike.entry((product.output, kind(product))).or_default() += 1.0;
            squares += babies[product.baby as usize] * babies[product.baby as usize];
            products += 1.0;
        }
        // A pair's rounding meets both of its inputs, and is doubled.
        let each = if plan.pairing.is_some() { 8.0 } else { 1.0 };
        let mut used = vec![0f64; plan.outputs as usize];
        for ((output, kind), count) in alike {
            used[output as usize] += each * if kind == Kind::default() { count } else { count * count };
        }
        let baby = if products > 0.0 { (squares / products).sqrt() } else { 0.0 };
        Through { diagonals: used.into_iter().fold(0.0, f64::max), baby }
    }
}

/// The larger of each figure.
fn largest(a: SlotEstimate, b: SlotEstimate) -> SlotEstimate {
    SlotEstimate {
        magnitude: a.magnitude.max(b.magnitude),
        typical: a.typical.max(b.typical),
        noise: a.noise.max(b.noise),
    }
}

/// Largest magnitude that an exact function is taken to reach (an exponential would leave f64).
const REACH_MAX: f64 = 1e12;

/// Exact functions of drafts: most have a slope of at most about 1.1, which is what counts as the growth of noise.
fn activated(x: SlotEstimate, function: &Activation) -> SlotEstimate {
    let reach = function
        .value(x.magnitude)
        .abs()
        .max(function.value(-x.magnitude).abs())
        .max(function.value(0.0).abs())
        .min(REACH_MAX);
    SlotEstimate {
        magnitude: reach,
        typical: x.typical.max(function.value(0.0).abs()).min(reach),
        noise: 1.1 * x.noise,
    }
}

impl Interpretation for Trace<'_> {
    type Value = Traced;
    type Error = TraceError;

    fn apply(&self, circuit: &Circuit, node: &Node, operands: &[&Traced]) -> Result<Vec<Traced>, TraceError> {
        let kinds: Vec<&ValueType> = operands.iter().map(|t| &t.kind).collect();
        let results = result_types(circuit, &node.op, &kinds)?;
        let traced = |(k, kind): (usize, ValueType)| {
            let mut slots = match &node.op {
                Op::Linear(plan) => self.linear(circuit, plan, operands, &kind)?,
                op => self.simple(circuit, op, operands, &kind)?,
            };
            if let Some((largest, typical)) =
                self.magnitudes.and_then(|m| m.of(ValueId(node.first.0 + k as u32)))
            {
                (slots.magnitude, slots.typical) = (largest, typical);
            }
            Ok(Traced { kind, slots })
        };
        results.into_iter().enumerate().map(traced).collect()
    }
}
