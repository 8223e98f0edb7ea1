//! The worst case: how far an encrypted evaluation can be from the exact meaning, at every output.
//!
//! # What is bounded
//! `|decrypted − exact|` of every element of every output, for every input inside the range that the circuit states,
//! except with probability 2^-128 over keys and encryptions. It counts encryption, encoding of plaintexts and
//! rounding of scalars, key switching, rescaling, adjusting, and products of errors. It does not count what the exact
//! meaning itself leaves out: polynomials in place of activations, weights as float32; nor the double precision of the
//! client's encoder (relative 2^-45). It rests on the assumption that [`crate::scheme::noise`] states.
//!
//! # How
//! Per slot an interval holds the exact value (from the input's range, by interval arithmetic through the weights),
//! and two parts hold the error. *Random* parts are vectors `Σ_o root[s + o]`, `o` from a set of rotations, of errors
//! that an operation has just made: linear operations combine them by their deviations, and what comes from different
//! roots by sums of squares. Everything else is *settled*: a bound of |error|, which grows by |weights|, by the other
//! factor's magnitude, and by plain addition. A random part is settled (as [`RADIUS`] deviations) where an operation
//! is not linear in it. Equal computations make equal errors ([`roots`]). Errors are complex; where diagonals are paired their
//! imaginary parts get into the result ([`rows`]).
//!
//! # Wrap-around
//! The bound is infinite where an output may leave the modulus ([`output`]). Values in between may leave theirs: every
//! operation computes on integers modulo Q, and a rescale, a dropped prime or a key switch of m + k·Q is that of m plus a
//! multiple of the modulus that remains, so that an output that fits is right whatever happened before. Bootstrapping
//! does not have this property, and its own errors have no bound here yet: behind a bootstrap every error is infinite.
//!
//! Relies on the op laws and on materialised diagonals. Promises: a pure function of the circuit with the same bits on
//! every machine; plans are materialised one at a time.

mod bounded;
mod output;
mod roots;
mod rows;

use super::Interpretation;
use super::trace::TraceError;
use crate::circuit::{Circuit, Node};
use crate::map::plain_values;
use crate::op::{Hoisting, KeyId, KeyedStep, LinearPlan, Op, Plain, ValueId};
use crate::scheme::noise::{KeySwitchNoise, NoiseModel, TAIL_DEVIATIONS};
use crate::scheme::{CanonicalScales, Level, Scale};
use crate::verify::{Degree, LawError, ValueType, result_types};
use bounded::Bounded;
pub use output::{OutputBound, WorstError, output_bounds};
use rayon::prelude::*;
use roots::roots;
use rows::Rows;
use std::collections::BTreeMap;

/// Bound of a complex slot over the deviation of its real part.
const RADIUS: f64 = std::f64::consts::SQRT_2 * TAIL_DEVIATIONS;

/// Both ways, in this order.
type Both = [f64; 2];

/// The meaning.
struct WorstCase {
    scales: CanonicalScales,
    noise: NoiseModel,
    /// Names of the values' errors.
    roots: Vec<ValueId>,
}

impl WorstCase {
    fn of(circuit: &Circuit) -> WorstCase {
        WorstCase {
            scales: CanonicalScales::new(&circuit.parameters),
            noise: NoiseModel::worst_case(&circuit.parameters),
            roots: roots(circuit),
        }
    }

    fn root(&self, value: ValueId) -> ValueId {
        self.roots[value.0 as usize]
    }

    fn input(
        &self,
        circuit: &Circuit,
        (input, ciphertext): (u32, u32),
        root: ValueId,
        scale: f64,
    ) -> Bounded {
        let spec = &circuit.inputs[input as usize];
        let layout = circuit.layout(spec.layout);
        let [low, high] = spec.range.map(|bound| layout.fill(ciphertext, |_, _| bound));
        let zero = vec![0.0; low.len()];
        let fresh = [self.noise.fresh_secret_key(), self.noise.fresh_public_key()].map(|e| e / scale);
        let kind = ValueType::canonical(circuit.parameters.top());
        Bounded { kind, low, high, settled: [zero.clone(), zero], random: vec![] }.with_random(root, fresh)
    }

    fn simple(
        &self,
        circuit: &Circuit,
        node: &Node,
        operands: &[&Bounded],
        scale: f64,
    ) -> Result<Bounded, TraceError> {
        Ok(match (&node.op, operands) {
            (Op::Input { input, ciphertext }, _) => {
                self.input(circuit, (*input, *ciphertext), self.root(node.first), scale)
            }
            (Op::Add(..), [x, y]) => (*x).clone().plus((*y).clone()),
            (Op::Sub(..), [x, y]) => (*x).clone().plus((*y).clone().scaled(-1.0)),
            (Op::Mul(a, b), [x, y]) => x.times(y, a == b),
            (Op::SumOfProducts(pairs), all) => {
                let term = |((a, b), xy): (&(ValueId, ValueId), &[&Bounded])| xy[0].times(xy[1], a == b);
                let mut terms = pairs.iter().zip(all.chunks_exact(2)).map(term);
                let first = terms.next().ok_or(LawError::NoLevel)?;
                terms.fold(first, Bounded::plus)
            }
            (_, [x]) => self.unary(circuit, node, (*x).clone(), scale)?,
            _ => return Err(LawError::Draft.into()),
        })
    }

    fn unary(&self, circuit: &Circuit, node: &Node, x: Bounded, scale: f64) -> Result<Bounded, TraceError> {
        let (before, level) = (self.scales.value(&x.kind.scale), x.kind.level);
        let root = self.root(node.first);
        let plain_scale = scale / before;
        let both = |deviation: f64| [deviation; 2];
        let switched = |key: KeyId| self.key_switch(circuit, key, level);
        Ok(match &node.op {
            Op::Neg(_) => x.scaled(-1.0),
            Op::AddPlain(_, plain) => self.add_plain(circuit, x, plain, scale)?,
            Op::MulPlain(_, plain) => self.mul_plain(circuit, x, plain, plain_scale)?,
            Op::MulScalar(_, c) => x.scaled_with_rounding(*c, 0.5 / plain_scale),
            Op::Relinearize(_, key) | Op::Conjugate(_, key) => {
                x.with_random(root, both(switched(*key).total() / scale))
            }
            Op::Rotate(_, KeyedStep { step, key: Some(key) }) => {
                x.rotated(step.0).with_random(root, both(switched(*key).total() / scale))
            }
            Op::Rescale(_) => {
                let rounding = self.rescale(x.kind.degree) / scale;
                x.with_random(root, both(rounding))
            }
            Op::RelinearizeRescale(_, key) => {
                let division = self.noise.division(special_limbs(circuit, *key) + 1) / scale;
                x.with_random(root, both(libm::hypot(switched(*key).inner / before, division)))
            }
            Op::Adjust(_, to) => {
                let factor = self.scales.adjust_factor(&x.kind.scale, *to) as f64;
                let rounding = self.rescale(x.kind.degree) / scale;
                x.scaled_with_rounding(1.0, 0.5 / factor).with_random(root, both(rounding))
            }
            Op::Bootstrap(_) => x.unbounded(),
            Op::Activation(..) => return Err(LawError::Draft.into()),
            _ => x,
        })
    }

    fn add_plain(
        &self,
        circuit: &Circuit,
        mut x: Bounded,
        plain: &Plain,
        scale: f64,
    ) -> Result<Bounded, TraceError> {
        let values = plain_values(circuit, plain)?;
        let rounding = RADIUS * self.noise.encoding() / scale;
        for bound in [&mut x.low, &mut x.high] {
            bound.iter_mut().zip(&values).for_each(|(a, p)| *a += p);
        }
        x.settled.iter_mut().flatten().for_each(|e| *e += rounding);
        Ok(x)
    }

    fn mul_plain(
        &self,
        circuit: &Circuit,
        x: Bounded,
        plain: &Plain,
        plain_scale: f64,
    ) -> Result<Bounded, TraceError> {
        let values = plain_values(circuit, plain)?;
        let rounding = RADIUS * self.noise.encoding() / plain_scale;
        let zero = vec![0.0; values.len()];
        let plain = Bounded {
            kind: x.kind.clone(),
            low: values.clone(),
            high: values,
            settled: [zero.clone(), zero].map(|z| z.into_iter().map(|_| rounding).collect()),
            random: vec![],
        };
        Ok(x.times(&plain, false))
    }

    /// A plan. Random parts of the operands and of the baby rotations go through the rows; the diagonals' rounding
    /// meets whatever the input is, so that a sum of its absolute values is bounded: by its mean and, being convex in
    /// bounded numbers, by deviations above it (M. Ledoux, *On Talagrand's deviation inequalities for product measures*,
    /// 1997); giant rotations and the final division make the result's random part.
    fn linear(
        &self,
        circuit: &Circuit,
        (plan, first): (&LinearPlan, ValueId),
        operands: &[&Bounded],
        kinds: &[ValueType],
    ) -> Result<Vec<Bounded>, TraceError> {
        let (Some(x), Some(kind)) = (operands.first(), kinds.first()) else { return Ok(vec![]) };
        let (level, before) = (x.kind.level, self.scales.value(&x.kind.scale));
        let product = self.scales.value(&Scale::product(level));
        let switch = |keyed: &KeyedStep| keyed.key.map(|key| self.key_switch(circuit, key, level));
        let babies: Vec<f64> = plan
            .babies
            .iter()
            .map(|keyed| match (switch(keyed), plan.hoisting) {
                (None, _) => 0.0,
                (Some(noise), Hoisting::Single) => noise.total() / before,
                (Some(noise), Hoisting::Double) => noise.inner / before,
            })
            .collect();
        let names: Vec<ValueId> =
            plan.sources.iter().flat_map(|s| s.values.iter().map(|v| self.root(*v))).collect();
        // The rotation of half of what a pair reads is counted as if it were all of it.
        let half = plan.pairing.as_ref().and_then(|p| switch(&p.half)).map_or(0.0, |n| n.total() / before);
        let babies: Vec<f64> = babies.into_iter().map(|baby| libm::hypot(baby, half)).collect();
        let baby = babies.iter().copied().fold(0.0, f64::max);
        let rows = Rows::of(circuit, plan, (operands, &names), baby)?;
        let encoding = self.rounding_of_diagonals(plan, operands, &babies, before / product);
        let giants: f64 = plan.giants.iter().filter_map(switch).map(|n| sq(n.total() / product)).sum();
        let special = plan.special_limbs(circuit);
        let after = self.scales.value(&kind.scale);
        let own = match &plan.pairing {
            None => giants + sq(self.noise.division(special + u32::from(plan.rescale)) / after),
            // Errors before the real part are doubled.
            Some(pairing) => {
                let conjugation = self.key_switch(circuit, pairing.conjugate, level).total();
                let rescale = if plan.rescale { self.noise.rescale() } else { 0.0 };
                4.0 * (giants + sq(self.noise.division(special) / product))
                    + sq(conjugation / product)
                    + sq(rescale / after)
            }
        }
        .sqrt();
        let bounded = |output: u32| {
            let mut out = rows.apply(output as usize, operands, kind);
            for way in [0, 1] {
                out.settled[way].iter_mut().for_each(|e| *e += encoding[output as usize][way]);
            }
            out.with_random(self.root(ValueId(first.0 + output)), [own; 2])
        };
        Ok((0..plan.outputs).into_par_iter().map(bounded).collect())
    }

    /// Per output: bound of `Σ |rounding of a diagonal| · |rotated input|`.
    fn rounding_of_diagonals(
        &self,
        plan: &LinearPlan,
        operands: &[&Bounded],
        babies: &[f64],
        unit: f64,
    ) -> Vec<Both> {
        let values = plan.sources.iter().flat_map(|s| &s.values);
        let peaks: BTreeMap<&ValueId, Both> =
            values.zip(operands).map(|(v, x)| (v, [0, 1].map(|way| x.peak(way)))).collect();
        let mut sums = vec![[(0.0, 0.0); 2]; plan.outputs as usize];
        for p in &plan.products {
            // A pair's rounding meets the modulus of its complex input, and is doubled.
            let (x, y) = plan.read(p);
            let baby = RADIUS * babies[p.baby as usize];
            for (way, sum) in sums[p.output as usize].iter_mut().enumerate() {
                let size = match plan.pairing {
                    None => peaks[&x][way] + baby,
                    Some(_) => {
                        let imaginary = y.map_or(0.0, |y| peaks[&y][way]);
                        2.0 * (libm::hypot(peaks[&x][way], imaginary) + std::f64::consts::SQRT_2 * baby)
                    }
                };
                *sum = (sum.0 + size, sum.1 + size * size);
            }
        }
        // The mean of a complex slot's modulus is at most √2 deviations; a rounding has deviation 1/√12 and bound 1/2.
        let deviation = self.noise.encoding() * unit;
        let (mean, above) = (std::f64::consts::SQRT_2, TAIL_DEVIATIONS * 12f64.sqrt());
        sums.into_iter().map(|s| s.map(|(l1, l2)| deviation * (mean * l1 + above * l2.sqrt()))).collect()
    }

    fn rescale(&self, degree: Degree) -> f64 {
        match degree {
            Degree::One => self.noise.rescale(),
            Degree::Two => self.noise.rescale_degree_2(),
        }
    }

    fn key_switch(&self, circuit: &Circuit, key: KeyId, level: Level) -> KeySwitchNoise {
        self.noise.key_switch(circuit.keys[key.0 as usize].gadget, level)
    }
}

fn special_limbs(circuit: &Circuit, key: KeyId) -> u32 {
    circuit.keys[key.0 as usize].gadget.special_limbs
}

fn sq(x: f64) -> f64 {
    x * x
}

impl Interpretation for WorstCase {
    type Value = Bounded;
    type Error = TraceError;

    fn apply(
        &self,
        circuit: &Circuit,
        node: &Node,
        operands: &[&Bounded],
    ) -> Result<Vec<Bounded>, TraceError> {
        let kinds: Vec<&ValueType> = operands.iter().map(|x| &x.kind).collect();
        let kinds = result_types(circuit, &node.op, &kinds)?;
        let mut results = match (&node.op, kinds.first()) {
            (Op::Linear(plan), _) => self.linear(circuit, (plan, node.first), operands, &kinds)?,
            (_, Some(kind)) => {
                vec![self.simple(circuit, node, operands, self.scales.value(&kind.scale))?]
            }
            _ => vec![],
        };
        results.iter_mut().zip(kinds).for_each(|(x, kind)| x.kind = kind);
        Ok(results)
    }
}
