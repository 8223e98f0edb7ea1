//! Linear sweeps of several forms: what their parts take follows from the differences.

use super::{Bench, Counts, SCALE, internal};
use crate::error::Error;
use cipherloom_ckks::{
    CkksError, CompactPlaintext, Hoisting, LinearSweep, RotationStep, SweepPlaintext, SweepProduct, SweepStep,
};
use cipherloom_compiler::cost::Work;
use std::sync::Arc;

/// A sweep of one input: every output sums the products of all babies under every giant step.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    hoisting: Hoisting,
    /// Rotated babies; the input itself is one more.
    babies: usize,
    /// Rotated giants; the identity is one more.
    giants: usize,
    outputs: usize,
    compact: bool,
}

const fn double(name: &'static str, babies: usize, giants: usize, outputs: usize) -> Form {
    Form { name, hoisting: Hoisting::Double, babies, giants, outputs, compact: false }
}

const fn single(name: &'static str, babies: usize, giants: usize, outputs: usize) -> Form {
    Form { name, hoisting: Hoisting::Single, babies, giants, outputs, compact: false }
}

const FORMS: [Form; 12] = [
    double("double 2x1", 1, 0, 1),
    double("double 8x1", 7, 0, 1),
    double("double 8x1, 4 outputs", 7, 0, 4),
    double("double 4x4", 3, 3, 1),
    double("double 16x4", 15, 3, 1),
    Form { compact: true, ..double("double 8x1, 4 outputs, compact", 7, 0, 4) },
    Form { compact: true, ..double("double 4x4, compact", 3, 3, 1) },
    single("single 2x1", 1, 0, 1),
    single("single 8x1", 7, 0, 1),
    single("single 8x1, 4 outputs", 7, 0, 4),
    single("single 4x4", 3, 3, 1),
    single("single 16x4", 15, 3, 1),
];

impl Form {
    fn counts(&self, bench: &Bench) -> Counts {
        let (all, special) = (bench.shape(bench.gadget.special_limbs), bench.gadget.special_limbs);
        let double = self.hoisting == Hoisting::Double;
        let diagonal = bench.shape(if double { special } else { 0 });
        let product = if self.compact { Work::CompactProduct } else { Work::KeptProduct };
        let products = (self.babies + 1) * (self.giants + 1) * self.outputs;
        let extended = double || self.giants > 0;
        [
            (Work::Plan, all, 1),
            (Work::Decompose, all, 1),
            (if double { Work::ExtendedBaby } else { Work::ReducedBaby }, all, self.babies),
            (product, diagonal, products),
            (if double { Work::ExtendedGiant } else { Work::ReducedGiant }, all, self.giants * self.outputs),
            (if extended { Work::Divide } else { Work::Rescale }, all, self.outputs),
        ]
        .into_iter()
        .filter(|(_, _, times)| *times > 0)
        .map(|(work, shape, times)| (work, shape, times as u64))
        .collect()
    }
}

impl Bench {
    /// Measures all forms.
    pub(super) fn sweeps(&mut self) -> Result<(), Error> {
        if self.size.limbs < 2 {
            return Ok(());
        }
        let slots: Vec<f64> = (0..self.context.slots()).map(|i| (i % 5) as f64 / 5.0).collect();
        let compact = self.context.encoder().compact(&slots, SCALE).map_err(internal)?;
        let words = 8 * self.context.n();
        let pool: Vec<Arc<CompactPlaintext>> =
            (0..super::POOL_BYTES / words).map(|_| Arc::new(compact.clone())).collect();
        for form in FORMS {
            let ns = self.time(|| self.sweep(&form, &pool))?;
            self.record(form.name, "linear maps", form.counts(self), ns);
        }
        Ok(())
    }

    fn sweep(
        &self,
        form: &Form,
        compact: &[Arc<CompactPlaintext>],
    ) -> Result<Vec<cipherloom_ckks::Ciphertext>, CkksError> {
        let (count, first) = (self.keys.len(), self.next(form.babies + form.giants));
        let step = |k: usize| -> SweepStep<'_> {
            let index = (first + k) % count;
            (RotationStep(index as u32 + 1), Some((&self.keys[index]).into()))
        };
        let still = || [(RotationStep(0), None)].into_iter();
        let products = (0..form.outputs).flat_map(|output| {
            let giants = move |giant| {
                (0..=form.babies).map(move |baby| SweepProduct { output, giant, input: 0, baby })
            };
            (0..=form.giants).flat_map(giants)
        });
        let products: Vec<SweepProduct> = products.collect();
        let turn = self.next(products.len());
        let plaintext = |k: usize| {
            let at = turn + k;
            Ok(match form.compact {
                true => SweepPlaintext::Compact(compact[at % compact.len()].clone()),
                false => SweepPlaintext::Encoded(self.plaintexts[at % self.plaintexts.len()].clone()),
            })
        };
        self.context.linear(&LinearSweep {
            inputs: vec![&self.x],
            babies: still().chain((0..form.babies).map(step)).collect(),
            giants: still().chain((form.babies..form.babies + form.giants).map(step)).collect(),
            onto: vec![],
            products,
            outputs: form.outputs,
            hoisting: form.hoisting,
            rescale: true,
            plaintext: &plaintext,
        })
    }
}
