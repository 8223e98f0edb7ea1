//! How large the slots of a circuit's values are on real data.
//!
//! Relies on the exact meaning. Promises: the same figures on every machine and for any number of threads.

use super::exact::{Exact, ExactError, ExactRun, SlotVector};
use super::{Interpretation, interpret};
use crate::circuit::{Circuit, Node};
use crate::op::ValueId;
use rayon::prelude::*;
use std::sync::Mutex;

/// Largest and typical slot of every value, measured on samples in the exact meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Magnitudes(Vec<(f64, f64)>);

impl Magnitudes {
    /// Runs `samples` (each: one tensor per input, after preprocessing) and keeps per value the largest |slot|
    /// and the root mean square over non-zero slots (the largest of the samples' ones), times `margin`; both are infinite where a slot
    /// is no finite number.
    pub fn measure<T: AsRef<[f64]> + Sync>(
        circuit: &Circuit,
        exact: &Exact,
        samples: &[Vec<T>],
        margin: f64,
    ) -> Result<Magnitudes, ExactError> {
        let one = |inputs: &Vec<T>| {
            let run = exact.with_inputs(circuit, inputs)?;
            let peaks = Mutex::new(vec![(0.0, 0.0); circuit.values()]);
            interpret(circuit, &Measuring { run, peaks: &peaks })?;
            Ok(peaks.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
        };
        let all: Vec<Vec<(f64, f64)>> = samples.par_iter().map(one).collect::<Result<_, ExactError>>()?;
        let mut peaks = vec![(0f64, 0f64); circuit.values()];
        for sample in all {
            for (peak, own) in peaks.iter_mut().zip(sample) {
                *peak = (peak.0.max(own.0 * margin), peak.1.max(own.1 * margin));
            }
        }
        Ok(Magnitudes(peaks))
    }

    /// Largest |slot| and typical slot of a value.
    pub(crate) fn of(&self, value: ValueId) -> Option<(f64, f64)> {
        self.0.get(value.0 as usize).copied()
    }

    /// Largest |slot| of a value.
    pub fn largest(&self, value: ValueId) -> f64 {
        self.of(value).map_or(0.0, |m| m.0)
    }
}

struct Measuring<'a> {
    run: ExactRun<'a>,
    peaks: &'a Mutex<Vec<(f64, f64)>>,
}

impl Interpretation for Measuring<'_> {
    type Value = SlotVector;
    type Error = ExactError;

    fn apply(
        &self,
        circuit: &Circuit,
        node: &Node,
        operands: &[&SlotVector],
    ) -> Result<Vec<SlotVector>, ExactError> {
        let results = self.run.apply(circuit, node, operands)?;
        let mut peaks = self.peaks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (k, result) in results.iter().enumerate() {
            if result.iter().any(|x| !x.is_finite()) {
                peaks[node.first.0 as usize + k] = (f64::INFINITY, f64::INFINITY);
                continue;
            }
            let used = result.iter().filter(|x| **x != 0.0).count().max(1) as f64;
            let largest = result.iter().fold(0f64, |m, x| m.max(x.abs()));
            let squares: f64 = result.iter().map(|x| x * x).sum();
            peaks[node.first.0 as usize + k] = (largest, (squares / used).sqrt());
        }
        Ok(results)
    }
}
