//! Where no leveled parameters are long enough: the network at as many levels as it takes, and then each bootstrapping.
//!
//! Relies on emission and rescale, which do not ask for security, and on [`bootstrap`](crate::bootstrap), which makes the circuit one
//! of a chain that is secure. The network is arranged once for each ring degree; scales and levels are the cut's.
//!
//! Promises: the fastest of the circuits that are precise enough in the noisy meaning; or the best
//! precision found; or that no bootstrapping has room.

use super::Compiled;
use super::scale::measured;
use super::search::{Job, PRECISION_MARGIN_BITS};
use crate::bootstrap::{MARGIN, insert};
use crate::cost::CostModel;
use crate::error::CompileError;
use crate::forecast::{PrecisionBits, account, forecast};
use crate::outputs;
use crate::packing::Arranged;
use crate::parameters::{Frame, base_bits};
use crate::report::{Report, bootstraps};
use crate::samples;
use crate::saturate::rotation::{Rotated, rotate_at_usual_price};
use crate::stages::Stage;
use crate::trail::{Halt, Trail};
use cipherloom_ir::scheme::{BootstrapPlan, BootstrapRequest, Level};
use cipherloom_ir::{
    Circuit, Draw, Encryption, Exact, ExactError, LARGEST_ERROR_DEVIATIONS, Magnitudes, Noisy,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Samples that a circuit is simulated on.
const SIMULATED: usize = 4;

/// A bootstrapping with its costs.
struct Set<'a> {
    name: &'a str,
    plan: BootstrapPlan,
    cost: CostModel,
    /// Time of a bootstrap for each of its usable levels.
    level_ns: u64,
}

/// The network at as many levels as it takes.
struct Unbounded {
    frame: Frame,
    circuit: Circuit,
    /// Of the circuit, with the margin of bootstraps.
    magnitudes: Magnitudes,
    report: Report,
}

impl Job<'_> {
    /// The fastest circuit with bootstraps that is precise enough.
    pub(super) fn bootstrapped(&self, trail: &mut Trail<'_>) -> Result<Compiled, Halt> {
        let mut rings: BTreeMap<u32, Vec<Set<'_>>> = BTreeMap::new();
        let fits = |request: &BootstrapRequest| self.options.log_n.is_none_or(|n| n == request.log_n);
        for (name, request) in self.options.bootstrap_sets.iter().filter(|(_, request)| fits(request)) {
            let plan = request.plan()?;
            let cost = CostModel::new(&self.options.profile, request.log_n, plan.gadget);
            let level_ns = cost.bootstrap(&plan) / u64::from(plan.usable_levels().max(1));
            rings.entry(request.log_n).or_default().push(Set { name, plan, cost, level_ns });
        }
        let (mut networks, mut found) = (vec![], vec![]);
        // What is stopped early shows the largest ring.
        for sets in rings.values().rev() {
            networks.push(self.unbounded(sets, trail)?);
            for set in sets {
                let ring = networks.len() - 1;
                if let Some(circuit) = self.cut(set, &networks[ring])? {
                    found.push((account(&circuit, &set.cost)?.nanoseconds(), set, ring, circuit));
                }
            }
        }
        // Simulations take longest: the first circuit that is good enough is the one.
        found.sort_by_key(|(nanoseconds, ..)| *nanoseconds);
        let (mut best_bits, mut least_bytes) = (None, None);
        for (_, set, ring, circuit) in found {
            let unbounded = &networks[ring];
            // Nobody watches the search; what is to be seen is this set's way alone.
            let again = trail.is_watched().then(|| circuit.clone());
            match (self.by_set(set, circuit, unbounded, &mut Trail::blind()), again) {
                (Ok(_), Some(again)) => return self.by_set(set, again, unbounded, trail),
                (Err(Halt::Failed(CompileError::KeyMemory { least_bytes: bytes, .. })), _) => {
                    least_bytes = Some(least_bytes.map_or(bytes, |least: u64| least.min(bytes)));
                }
                (Err(Halt::Failed(CompileError::Precision { best_bits: bits, .. })), _) => {
                    best_bits = Some(best_bits.map_or(bits, |best: f64| best.max(bits)));
                }
                (ended, _) => return ended,
            }
        }
        match (least_bytes, best_bits, self.options.max_key_bytes) {
            (Some(least_bytes), _, Some(limit_bytes)) => {
                Err(CompileError::KeyMemory { limit_bytes, least_bytes }.into())
            }
            (_, Some(best_bits), _) => {
                Err(CompileError::Precision { wanted_bits: self.options.precision_bits, best_bits }.into())
            }
            _ => {
                let sets = self.options.bootstrap_sets.iter().filter(|(_, request)| fits(request));
                let sets = sets.map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                Err(CompileError::NoCut { sets }.into())
            }
        }
    }

    /// The network in a ring, arranged by the costs of the set whose levels are cheapest.
    fn unbounded(&self, sets: &[Set<'_>], trail: &mut Trail<'_>) -> Result<Unbounded, Halt> {
        let cheapest = sets.iter().min_by_key(|set| set.level_ns);
        let set = cheapest.ok_or_else(|| CompileError::Internal("a ring without bootstrapping".into()))?;
        let found = self.at_ring(|top| Some(Frame::unbounded(&set.plan, top, &self.options.profile)))?;
        let total = |(frame, arranged): &(Frame, Arranged)| {
            arranged.packed.priced_ns + u64::from(frame.top.0) * set.level_ns
        };
        let best = found.into_iter().min_by_key(total);
        let best = best.ok_or_else(|| CompileError::Internal("no packing has levels enough".into()))?;
        let (frame, arranged) = best;
        trail.arranged(&arranged)?;
        let rotated = match self.chooses_rotations() {
            true => rotate_at_usual_price(arranged, frame.cost())?,
            false => Rotated::unchanged(arranged),
        };
        trail.left(Stage::Rotation, || rotated.to_string())?;
        let (circuit, report) = self.finished((&frame, &rotated), frame.cost(), None, trail)?;
        let exact = Exact::new(&circuit).map_err(|e| CompileError::Internal(e.to_string()))?;
        let magnitudes = measured(self, &circuit, &exact, MARGIN)?;
        Ok(Unbounded { frame, circuit, magnitudes, report })
    }

    /// The circuit by one bootstrapping, unless there is no room.
    fn cut(&self, set: &Set<'_>, unbounded: &Unbounded) -> Result<Option<Circuit>, CompileError> {
        let request = set.plan.request;
        // Outputs that the base prime does not hold end one level higher.
        let is_small = base_bits(request.log_scale, self.range()) <= request.base_bits;
        let last = Level(u32::from(!is_small));
        insert(&unbounded.circuit, request, &unbounded.magnitudes, last, &set.cost)
    }

    /// The circuit of one bootstrapping, judged and told of; `Precision` where it is not precise enough.
    fn by_set(
        &self,
        Set { name, plan, cost, .. }: &Set<'_>,
        mut circuit: Circuit,
        unbounded: &Unbounded,
        trail: &mut Trail<'_>,
    ) -> Result<Compiled, Halt> {
        let Unbounded { frame, report, .. } = unbounded;
        trail.left(Stage::Parameters, || parameters_text(name, &plan.request, &circuit))?;
        trail.circuit(Stage::Bootstrap, &circuit, Some(&self.options.policy), cost)?;
        let precision = self.simulated(&circuit)?;
        if precision.secret_key < self.options.precision_bits + PRECISION_MARGIN_BITS {
            let (wanted_bits, best_bits) = (self.options.precision_bits, precision.secret_key);
            return Err(CompileError::Precision { wanted_bits, best_bits }.into());
        }
        // Of sets that are precise enough only: what `KeyMemory` asks for must do.
        self.check_keys(&circuit, cost)?;
        circuit.forecast = forecast(&circuit, cost, precision)?;
        trail.circuit(Stage::Forecast, &circuit, Some(&self.options.policy), cost)?;
        let own = Report::of(&circuit, (frame, cost), self.notes, &self.options.policy)?;
        let levels = frame.top.0;
        let choices = report.choices.iter();
        let choices = choices
            .map(|(stage, text)| {
                (*stage, format!("before bootstraps, {levels} levels at the cost of the middle ones: {text}"))
            })
            .collect();
        let egraphs = report.egraphs.clone();
        let mut report = Report { choices, egraphs, ..own };
        let told = bootstraps(&circuit, cost)?.map(|b| (Stage::Bootstrap, format!("set {name}: {b}")));
        report.choices.extend(told);
        report.warnings.extend(outputs::warnings(&circuit, &self.notes.assumed)?);
        if self.graph.input.as_ref().is_some_and(|input| input.samples.is_empty()) {
            report.warnings.push(UNCALIBRATED.to_owned());
        }
        Ok(Compiled { circuit, report })
    }

    /// `−log2(largest error / largest output)` of the worst output under each key, by the noisy meaning on some samples.
    ///
    /// The trace multiplies the row norms of all layers: over dozens of them it is off by a dozen bits.
    fn simulated(&self, circuit: &Circuit) -> Result<PrecisionBits, CompileError> {
        let internal = |e: &dyn Display| CompileError::Internal(format!("simulation: {e}"));
        let batch = self.options.batch as usize;
        let samples: Vec<_> =
            samples::of(self.graph).into_iter().take(SIMULATED).map(|x| [x.repeat(batch)]).collect();
        let each = |run: &(dyn Fn(usize) -> Result<Vec<Vec<f64>>, ExactError> + Sync)| {
            let runs = (0..samples.len()).into_par_iter().map(run);
            runs.collect::<Result<Vec<_>, _>>().map_err(|e| internal(&e))
        };
        let noisy = Noisy::new(circuit, Encryption::SecretKey).map_err(|e| internal(&e))?;
        let wanted = each(&|k| noisy.exact().run(circuit, &samples[k]))?;
        let bits = |noisy: &Noisy| -> Result<f64, CompileError> {
            let found = each(&|k| noisy.run(circuit, &samples[k], Draw(0).numbered(k as u64)))?;
            let output = |output: usize| {
                let pairs = || wanted.iter().zip(&found).flat_map(|(w, f)| w[output].iter().zip(&f[output]));
                bits_of(circuit.outputs[output].range, pairs)
            };
            Ok((0..circuit.outputs.len()).map(output).fold(f64::INFINITY, f64::min))
        };
        let secret_key = bits(&noisy)?;
        let noisy = noisy.encrypted(circuit, Encryption::PublicKey).map_err(|e| internal(&e))?;
        Ok(PrecisionBits { secret_key, public_key: bits(&noisy)? })
    }
}

/// Bits of an output from its exact and noisy elements; −∞ where they diverge. One that is zero in all samples counts as large as
/// its range.
fn bits_of<'a, I: Iterator<Item = (&'a f64, &'a f64)>>(range: [f64; 2], pairs: impl Fn() -> I) -> f64 {
    if pairs().any(|(exact, found)| !exact.is_finite() || !found.is_finite()) {
        return f64::NEG_INFINITY;
    }
    let largest = pairs().fold(0f64, |m, (exact, _)| m.max(exact.abs()));
    let largest = if largest > 0.0 { largest } else { range[0].abs().max(range[1].abs()) };
    let errors = || pairs().map(|(exact, found)| (exact - found).abs());
    let deviation = (errors().map(|e| e * e).sum::<f64>() / errors().count().max(1) as f64).sqrt();
    libm::log2(largest / errors().fold(LARGEST_ERROR_DEVIATIONS * deviation, f64::max))
}

const UNCALIBRATED: &str = "bootstraps keep slots of at most 1, and how large slots are was measured on made-up inputs: calibrate with \
    data, lest answers be imprecise where real inputs reach more than twice as far";

fn parameters_text(name: &str, request: &BootstrapRequest, circuit: &Circuit) -> String {
    let BootstrapRequest { log_n, log_scale, base_bits, .. } = request;
    format!(
        "N = 2^{log_n}, {} levels of {log_scale} bits above a base prime of {base_bits}\n\
         bootstrapping {name}: from level {}, {} usable levels\ncost: {} primes above the chain\n",
        circuit.parameters.top().0,
        request.input().0,
        request.levels,
        circuit.parameters.raised.len(),
    )
}
