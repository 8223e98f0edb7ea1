//! The error that a bootstrapping leaves in a slot, by the model of docs/bootstrapping.md.
//!
//! Counted, as there: rounding and key switch before mod-raise, those of sparse slots' trace, the last rescale and the conjugation of
//! coefficients-to-slots, the rescale of every step of the reduction, and the last one; and how far the program is from the sines that it stands for. What each leaves at the end follows from the program itself: the
//! derivative of its result by the value that a step makes, at a grid of messages and at the multiples of `q_0` by how
//! probable they are. So the figure is a pure function of the plan, where the study draws. Beside the noise stands the
//! error of the sine series, which depends on the message alone.
//!
//! Promises: averages, for precision and predicted accuracy. They hold for |Re m|, |Im m| ≤ 1; beyond, [`BootstrapPlan::reduced`]
//! says what becomes of a message. Nothing here bounds the worst case.

use super::reduction::{Factor, ReductionProduct, ReductionStep, sine_series};
use super::{BootstrapPlan, EPHEMERAL_WEIGHT, RANGE, Reduction};
use crate::scheme::noise::NoiseModel;
use crate::scheme::{Gadget, Level, Scale};
use std::f64::consts::TAU;

/// The messages looked at are multiples of 1 over this.
const MESSAGES_PER_UNIT: i32 = 4;
/// Largest multiple of `q_0` that is looked at, nearly five deviations.
const MULTIPLE_MAX: i32 = 8;

type Complex = [f64; 2];

impl BootstrapPlan {
    /// Standard deviation of the error of a slot's real part (or its imaginary part) in message units, without that of the
    /// operand and without [`BootstrapPlan::series_error`].
    pub fn noise(&self) -> f64 {
        let model = NoiseModel::new(&self.parameters);
        let scales = &self.reduction.log2_scales;
        let slots = self.parameters.slots() as f64;
        // A coefficient's error is that of a slot over sqrt(N/2); x counts units of q_0.
        let q_0 = self.parameters.chain[0] as f64;
        let encapsulation = model.key_switch(self.encapsulation_gadget(), Level(0)).inner;
        // A sweep and a relinearization divide by the special primes and a chain prime at once.
        let merged = |gadget: Gadget| model.division(gadget.special_limbs + 1);
        let lowest = merged(self.to_coefficients.gadget);
        let mut raised = libm::hypot(lowest, encapsulation) / slots.sqrt() / q_0 / RANGE;
        if self.sparse.is_some() {
            // The switch of the trace's rotation k of g is added up by those behind it, 2^(g-k) slots to one, where the
            // message grows to 2^g times itself: (2^g - 1) / 4^g in all, over the n slots that a coefficient is made of.
            let switch = model.key_switch(self.gadget, self.parameters.top()).total() / slots.sqrt();
            let trace = switch * (1.0 - 1.0 / self.request.repeats()).sqrt();
            raised = libm::hypot(raised, trace / q_0 / RANGE);
        }
        // The conjugation sums two values that carry the last factor's rounding.
        let switch = model.key_switch(self.gadget, self.reduced_from).total();
        let halves = libm::hypot(2.0 * merged(self.gadget), switch) / libm::exp2(scales[0]);
        let input = libm::hypot(raised, halves);
        let output_scale = Scale::canonical(self.output).value(&self.circuit());
        // The result is -2 Im F at the last scale.
        let reduced_scale = self.sparse.as_ref().map_or(output_scale, |sparse| sparse.join_scale);
        let last = 2.0 * libm::exp2(scales[scales.len() - 1]) / reduced_scale;
        let step = |k: usize, depth: usize| {
            let rounding = match self.reduction.steps[k - 1].product {
                Some(_) => merged(self.gadget),
                None => model.division(1),
            };
            rounding / libm::exp2(scales[depth])
        };
        let (mut variance, mut weights) = (0.0, 0.0);
        for multiple in -MULTIPLE_MAX..=MULTIPLE_MAX {
            // A sum of 33 uniform numbers.
            let spread = f64::from(EPHEMERAL_WEIGHT + 1) / 12.0;
            let weight = libm::exp(-f64::from(multiple * multiple) / 2.0 / spread);
            for message in -MESSAGES_PER_UNIT..=MESSAGES_PER_UNIT {
                let m = f64::from(message) / f64::from(MESSAGES_PER_UNIT);
                let y = (m / self.ratio() + f64::from(multiple)) / RANGE;
                let (derivatives, depths) = self.reduction.derivatives(y);
                // The input is real; the other values have errors in both parts.
                let parts =
                    derivatives.iter().zip(depths).enumerate().map(|(k, ([re, im], depth))| match k {
                        0 => sq(im * input),
                        _ => (sq(*re) + sq(*im)) * sq(step(k, depth)),
                    });
                let [_, made] = self.reduction.evaluate([y, 0.0], |_| [0.0; 2]);
                let approximation = -last * made - self.reduced(m);
                variance += weight * (sq(last) * parts.sum::<f64>() + sq(approximation));
                weights += weight;
            }
        }
        let end = match &self.sparse {
            None => model.division(1) / output_scale,
            // A part of a slot that the join makes is a sum of two values, each with the rounding of its own slot.
            Some(sparse) => libm::hypot(
                merged(self.gadget) / output_scale,
                2.0f64.sqrt() * model.division(1) / sparse.join_scale,
            ),
        };
        libm::hypot((variance / weights).sqrt(), end)
    }

    /// What becomes of the part `m` of a message, but for noise: itself up to the fifth order while |m| ≤ 1.
    pub fn reduced(&self, m: f64) -> f64 {
        let [b_1, b_2] = sine_series(TAU / self.ratio());
        let angle = TAU * m / self.ratio();
        (b_1 * libm::sin(angle) + b_2 * libm::sin(2.0 * angle)) * self.ratio() / TAU
    }

    /// Root mean square of `reduced(m) - m` over |m| ≤ `largest`.
    pub fn series_error(&self, largest: f64) -> f64 {
        let steps = 8 * MESSAGES_PER_UNIT;
        let error = |k: i32| {
            let m = largest * f64::from(k) / f64::from(steps);
            sq(self.reduced(m) - m)
        };
        ((1..=steps).map(error).sum::<f64>() / f64::from(steps)).sqrt()
    }

    fn ratio(&self) -> f64 {
        libm::exp2(f64::from(self.request.ratio_bits))
    }
}

impl Reduction {
    /// Derivatives of the last sum by each value of the program, the input first, where the input is `y`; and the values'
    /// depths.
    fn derivatives(&self, y: f64) -> (Vec<Complex>, Vec<usize>) {
        let mut values: Vec<(Complex, usize)> = vec![([y, 0.0], 0)];
        for step in &self.steps {
            let depth = self.depth(step);
            let mut value = self.sum(step, depth, &values);
            if let Some(addend) = step.addend {
                value = plus(value, values[addend as usize].0);
            }
            values.push((value, depth + 1));
        }
        let mut derivatives = vec![[0.0; 2]; values.len()];
        self.propagate(&self.last, [1.0, 0.0], &values, &mut derivatives);
        for (k, step) in self.steps.iter().enumerate().rev() {
            self.propagate(step, derivatives[k + 1], &values, &mut derivatives);
        }
        (derivatives, values.into_iter().map(|(_, depth)| depth).collect())
    }

    /// Adds to the derivatives by a step's operands what its result's derivative gives them.
    fn propagate(
        &self,
        step: &ReductionStep,
        outer: Complex,
        values: &[(Complex, usize)],
        derivatives: &mut [Complex],
    ) {
        let mut add = |value: u32, inner: Complex| {
            let place = &mut derivatives[value as usize];
            *place = plus(*place, times(outer, inner));
        };
        let depth = self.depth(step);
        if let Some(ReductionProduct { left, right, copies }) = step.product {
            let copies = f64::from(copies);
            for (by, other) in [(left, right), (right, left)] {
                add(by, values[other as usize].0.map(|part| copies * part));
            }
        }
        for term in &step.terms {
            let unit = self.unit(values[term.value as usize].1, depth);
            add(
                term.value,
                match term.factor {
                    Factor::Real(k) => [k as f64 * unit, 0.0],
                    Factor::Imaginary(k) => [0.0, k as f64 * unit],
                },
            );
        }
        if let Some(addend) = step.addend {
            add(addend, [1.0, 0.0]);
        }
    }
}

fn plus([a, b]: Complex, [c, d]: Complex) -> Complex {
    [a + c, b + d]
}

fn times([a, b]: Complex, [c, d]: Complex) -> Complex {
    [a * c - b * d, a * d + b * c]
}

fn sq(x: f64) -> f64 {
    x * x
}

#[cfg(test)]
mod tests {
    use crate::scheme::BOOTSTRAP_SETS;

    /// Mean precision of uniform complex messages in docs/bootstrapping.md, which draws where this derives.
    #[test]
    fn the_figure_is_that_of_the_study() {
        for ((name, request), mean_bits) in BOOTSTRAP_SETS.iter().zip([22.9, 23.4, 19.0, 15.5, 23.0]) {
            let plan = request.plan().expect("the sets exist");
            let both = libm::hypot(plan.noise(), plan.series_error(1.0));
            // The mean of the modulus of a complex error is sqrt(pi/2) deviations of a part; that of the secret's value at a slot,
            // which multiplies it, sqrt(pi)/2 of its root mean square.
            let bits = -libm::log2(both * std::f64::consts::PI / 8.0f64.sqrt());
            assert!((bits - mean_bits).abs() < 0.3, "{name}: {bits:.2} bits, the study has {mean_bits}");
        }
    }

    #[test]
    fn messages_within_the_bound_stay_what_they_are() {
        let plan = BOOTSTRAP_SETS[0].1.plan().expect("the set exists");
        let error = |m: f64| (plan.reduced(m) - m).abs();
        assert!((-20..=20).all(|k| error(f64::from(k) / 20.0) < 2e-7));
        assert!(error(2.0) > 1e-6 && error(2.0) < 1e-4);
        // Half the ratio away everything is lost.
        assert!(error(64.0) > 60.0);
    }
}
