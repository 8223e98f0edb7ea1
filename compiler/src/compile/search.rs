//! The stages that depend on the ring degree: for each degree a guessed frame and an arranged network, the cheapest
//! first until one is precise enough; then emission, rescale and forecast.
//!
//! Relies on balanced layers and on what arranges them. Promises: the first network in the order of predicted cost that
//! reaches the precision; or the best precision found; or how many levels are missing, where
//! [`bootstrapped`](super::bootstrapped) may go on. Above the soft cap: every step reads the
//! same job.

use super::scale::{Fit, Scales};
use super::{Compiled, Packer};
use crate::activation::Lowered;
use crate::cost::CostModel;
use crate::emission::{Plan, emit};
use crate::error::CompileError;
use crate::forecast::{PrecisionBits, forecast, rotations};
use crate::graph::TensorGraph;
use crate::options::{Bootstrapping, CompileOptions, Packing};
use crate::outputs;
use crate::packing::{Arranged, Target, pack};
use crate::parameters::{Frame, MAX_PRIME_BITS, Sizes, base_bits, largest_scale, output_range};
use crate::report::{EGraph, Report, saved_by_rescale};
use crate::saturate::rescale::{Statistics, improve};
use crate::saturate::rotation::{Rotated, rotate};
use crate::stages::Stage;
use crate::trail::{Halt, Trail};
use cipherloom_ir::scheme::{Level, SecurityPolicy};
use cipherloom_ir::{Circuit, Encryption};

/// Ring degrees that are tried, log2.
const LOG_N: std::ops::RangeInclusive<u32> = 12..=16;
/// Smallest secure ring degrees that are arranged and compared.
const COMPARED_RINGS: u32 = 2;
/// Levels that are tried beyond the fewest that layers need: gaps that must be cleaned take some.
const MORE_LEVELS_MAX: u32 = 8;
/// A rescale leaves an error of about 2^(log N − 2) in the slots; a scale above it by the wanted precision and this
/// many bits is assumed before the trace is known, and a ring must have room for it.
const GUESSED_MARGIN_BITS: u32 = 3;
/// Largest scale: the base prime must hold the output besides.
pub(super) const MAX_SCALE_BITS: u32 = 45;
/// Predicted precision exceeds the wanted one by this; the trace already takes four standard deviations as the largest
/// error, on values that are larger than the samples' by a margin.
pub(super) const PRECISION_MARGIN_BITS: f64 = 0.5;
/// Ring degree of drafts: the largest, so that the fewest ciphertexts are needed.
const DRAFT_LOG_N: u32 = 16;

/// A graph whose levels are planned.
pub(super) struct Job<'a> {
    pub(super) graph: &'a TensorGraph,
    pub(super) packer: &'a Packer,
    pub(super) packing: Packing,
    /// Packings of a higher price are given up.
    pub(super) ceiling_ns: u64,
    pub(super) output_scales: &'a [f64],
    pub(super) options: &'a CompileOptions,
    pub(super) notes: &'a Lowered,
}

/// A circuit, and the ring degree from which on there is room for its levels, log2.
pub(super) struct Found {
    pub(super) compiled: Compiled,
    pub(super) least_log_n: u32,
}

impl Found {
    /// Where no smaller ring is of interest.
    fn only(compiled: Compiled) -> Found {
        let least_log_n = compiled.circuit.parameters.log_n;
        Found { compiled, least_log_n }
    }
}

impl Job<'_> {
    /// The circuit for ciphertexts.
    pub(super) fn encrypted(&self, trail: &mut Trail<'_>) -> Result<Found, Halt> {
        if self.options.bootstrapping == Bootstrapping::Always {
            return self.bootstrapped(trail).map(Found::only);
        }
        let mut waiting: Vec<(Frame, Arranged)> = Vec::new();
        let (mut rings, mut best_bits, mut least_log_n) = (0, None, None);
        for log_n in LOG_N.filter(|n| self.options.log_n.is_none_or(|wanted| wanted == *n)) {
            let found = self.at_ring(|top| self.guessed_frame(log_n, top))?;
            rings += u32::from(!found.is_empty());
            least_log_n = least_log_n.or_else(|| found.first().map(|(frame, _)| frame.log_n));
            waiting.extend(found);
            // Small rings are compared; larger ones follow where those are not precise enough.
            let last = self.options.log_n == Some(log_n) || log_n == *LOG_N.end();
            if waiting.is_empty() || (rings < COMPARED_RINGS && !last) {
                continue;
            }
            match self.first_precise(std::mem::take(&mut waiting), trail)? {
                Ok(compiled) => return Ok(Found { compiled, least_log_n: least_log_n.unwrap_or(log_n) }),
                Err(bits) => best_bits = Some(best_bits.map_or(bits, |best: f64| best.max(bits))),
            }
        }
        match best_bits {
            Some(best_bits) if !self.is_limited_by_levels() => {
                Err(CompileError::Precision { wanted_bits: self.options.precision_bits, best_bits }.into())
            }
            _ => match (self.too_deep(), self.options.bootstrapping) {
                (CompileError::NeedsBootstrapping { .. }, Bootstrapping::Auto) => {
                    self.bootstrapped(trail).map(Found::only)
                }
                (refusal, _) => Err(refusal.into()),
            },
        }
    }

    /// The cheapest of some arranged networks that is precise enough; else the best precision of all.
    fn first_precise(
        &self,
        mut list: Vec<(Frame, Arranged)>,
        trail: &mut Trail<'_>,
    ) -> Result<Result<Compiled, f64>, Halt> {
        let arranged = list.len();
        list.retain(|(_, arranged)| arranged.packed.priced_ns <= self.ceiling_ns);
        if list.is_empty() && arranged > 0 {
            return Err(Halt::Dearer);
        }
        list.sort_by_key(|(frame, arranged)| (arranged.packed.priced_ns, frame.log_n, frame.top));
        let mut best_bits = f64::NEG_INFINITY;
        let mut fewest_keys: Option<u64> = None;
        for (frame, arranged) in list {
            match self.scaled(frame, arranged, trail) {
                Ok(Ok(compiled)) => return Ok(Ok(compiled)),
                Ok(Err(bits)) => best_bits = best_bits.max(bits),
                Err(Halt::Failed(CompileError::KeyMemory { least_bytes, .. })) => {
                    fewest_keys = Some(fewest_keys.map_or(least_bytes, |known| known.min(least_bytes)));
                }
                Err(halt) => return Err(halt),
            }
        }
        match (fewest_keys, self.options.max_key_bytes) {
            (Some(least_bytes), Some(limit_bytes)) => {
                Err(CompileError::KeyMemory { limit_bytes, least_bytes }.into())
            }
            _ => Ok(Err(best_bits)),
        }
    }

    /// Whether fewer levels would leave room for a larger scale.
    fn is_limited_by_levels(&self) -> bool {
        let log_n = self.options.log_n.unwrap_or(*LOG_N.end());
        let largest = MAX_SCALE_BITS.min(largest_scale(self.range()));
        matches!(self.frame(log_n, self.packer.top(), largest), Fit::Insecure)
    }

    /// The network arranged in the frames of the fewest levels that do.
    pub(super) fn at_ring(
        &self,
        frame: impl Fn(Level) -> Option<Frame>,
    ) -> Result<Vec<(Frame, Arranged)>, CompileError> {
        let mut found = Vec::new();
        let fewest = self.packer.top().0;
        for top in (fewest..=fewest + MORE_LEVELS_MAX).map(Level) {
            let Some(frame) = frame(top) else { break };
            if let Some(arranged) = self.packed(&frame)? {
                found.push((frame, arranged));
            }
            if !found.is_empty() && found.len() + usize::from(top.0 > fewest) >= self.packer.compared_tops() {
                break;
            }
        }
        Ok(found)
    }

    fn guessed_scale(&self, log_n: u32) -> u32 {
        let wanted = libm::ceil(self.options.precision_bits + PRECISION_MARGIN_BITS).clamp(1.0, 30.0) as u32;
        log_n - 2 + wanted + GUESSED_MARGIN_BITS
    }

    /// The frame of the guessed scale, or of the next larger one that has primes.
    fn guessed_frame(&self, log_n: u32, top: Level) -> Option<Frame> {
        for log_scale in self.guessed_scale(log_n)..=MAX_SCALE_BITS {
            match self.frame(log_n, top, log_scale) {
                Fit::Sound(frame) => return Some(frame),
                Fit::TooFewPrimes => {}
                Fit::Insecure => break,
            }
        }
        None
    }

    /// The circuit for looking at.
    pub(super) fn draft(&self, trail: &mut Trail<'_>) -> Result<Found, Halt> {
        let log_n = self.options.log_n.unwrap_or(DRAFT_LOG_N);
        let found = self.at_ring(|top| Some(Frame::draft(log_n, top, &self.options.profile)))?;
        let best = found.into_iter().min_by_key(|(_, arranged)| arranged.packed.priced_ns);
        let (frame, arranged) = best.ok_or_else(|| self.too_deep())?;
        let rotated = self.rotated(&frame, arranged, self.options.max_key_bytes, trail)?;
        trail.left(Stage::Parameters, || parameters_text(&frame))?;
        let (circuit, report) = self.finished((&frame, &rotated), frame.cost(), None, trail)?;
        Ok(Found::only(Compiled { circuit, report }))
    }

    /// Largest output of the model.
    pub(super) fn range(&self) -> [f64; 2] {
        let ranges = self.graph.outputs.iter().map(|o| output_range(self.graph, o.node));
        ranges.fold([0.0, 0.0], |a, b| [a[0].min(b[0]), a[1].max(b[1])])
    }

    /// A frame of the standard security bound.
    pub(super) fn frame(&self, log_n: u32, top: Level, log_scale: u32) -> Fit<Frame> {
        let base_bits = base_bits(log_scale, self.range());
        let sizes = Sizes { log_n, top, log_scale, base_bits };
        let Some(bound) = SecurityPolicy::standard_128().bound(log_n) else { return Fit::Insecure };
        let Some(frame) = Frame::cheapest(sizes, bound, &self.options.profile) else { return Fit::Insecure };
        match frame.is_within(bound) {
            Ok(true) => Fit::Sound(frame),
            Ok(false) => Fit::Insecure,
            Err(_) => Fit::TooFewPrimes,
        }
    }

    fn packed(&self, frame: &Frame) -> Result<Option<Arranged>, CompileError> {
        // Packing sees the slots of one image; the emission interleaves the images of a batch.
        let (slots, cost) = ((1 << (frame.log_n - 1)) / self.options.batch, frame.cost());
        match self.packer {
            Packer::Saturation(logical) => Ok(logical.pack(slots, cost, frame.top)?.map(|p| p.0)),
            Packer::Walk(levels) => {
                let packing = self.packing;
                let rotation = self.options.splits();
                let packed = pack(&Target { graph: self.graph, levels, cost, slots, packing, rotation })?;
                let (graph, levels) = (self.graph.clone(), levels.clone());
                Ok(Some(Arranged { graph, levels, packed, saturation: None }))
            }
        }
    }

    /// The arranged network with its rotations chosen, watched; the baselines keep the splits of their packing.
    pub(super) fn rotated(
        &self,
        frame: &Frame,
        arranged: Arranged,
        max_key_bytes: Option<u64>,
        trail: &mut Trail<'_>,
    ) -> Result<Rotated, Halt> {
        trail.arranged(&arranged)?;
        let rotated = match (self.chooses_rotations(), max_key_bytes) {
            (false, None) => Rotated::unchanged(arranged),
            (_, limit) => rotate(arranged, frame.cost(), limit)?,
        };
        trail.left(Stage::Rotation, || rotated.to_string())?;
        Ok(rotated)
    }

    /// Whether rotations are chosen after packing.
    pub(super) fn chooses_rotations(&self) -> bool {
        self.options.packing == Packing::Saturated && !self.options.is_off(Stage::Rotation)
    }

    /// The keys of a circuit fit, also where the gadget changed after they were chosen.
    pub(super) fn check_keys(&self, circuit: &Circuit, cost: &CostModel) -> Result<(), CompileError> {
        let least_bytes = circuit.keys.iter().map(|k| cost.with_gadget(k.gadget).key_bytes(k.level)).sum();
        match self.options.max_key_bytes {
            Some(limit_bytes) if least_bytes > limit_bytes => {
                Err(CompileError::KeyMemory { limit_bytes, least_bytes })
            }
            _ => Ok(()),
        }
    }

    /// The circuit in a frame, eager.
    fn eager(&self, frame: &Frame, rotated: &Rotated) -> Result<Circuit, CompileError> {
        let plan = Plan {
            arranged: &rotated.arranged,
            rotation: &rotated.rotation,
            gadget: frame.gadget,
            certificate: &self.notes.certificate,
            output_scales: self.output_scales,
        };
        emit(&plan, &frame.parameters()?)
    }

    /// The circuit in a frame: emission, then rescale as it is cheapest by `cost`, so that one cost model gives the
    /// same operations in all frames.
    pub(super) fn emitted(
        &self,
        frame: &Frame,
        rotated: &Rotated,
        cost: &CostModel,
    ) -> Result<Circuit, CompileError> {
        Ok(self.rescaled(&self.eager(frame, rotated)?, cost)?.0)
    }

    /// What rescale makes of an eager circuit.
    fn rescaled(
        &self,
        eager: &Circuit,
        cost: &CostModel,
    ) -> Result<(Circuit, Option<Statistics>), CompileError> {
        if self.options.is_off(Stage::Rescale) { Ok((eager.clone(), None)) } else { improve(eager, cost) }
    }

    /// The same, watched.
    pub(super) fn finished(
        &self,
        (frame, rotated): (&Frame, &Rotated),
        cost: &CostModel,
        policy: Option<&SecurityPolicy>,
        trail: &mut Trail<'_>,
    ) -> Result<(Circuit, Report), Halt> {
        let eager = self.eager(frame, rotated)?;
        trail.circuit(Stage::Emission, &eager, policy, frame.cost())?;
        let (circuit, statistics) = self.rescaled(&eager, cost)?;
        trail.circuit(Stage::Rescale, &circuit, policy, frame.cost())?;
        let mut report =
            Report::of(&circuit, (frame, frame.cost()), self.notes, &SecurityPolicy::standard_128())?;
        if let Some(saved) = rotated.saved() {
            report.choices.push((Stage::Rotation, saved));
        }
        report.choices.push((Stage::Rescale, saved_by_rescale(&eager, &circuit, frame.cost())?));
        report.egraphs = egraphs(rotated, statistics);
        Ok((circuit, report))
    }

    /// The frame with a base prime as large as a proof takes that assumed outputs fit it, or as costs no time.
    fn with_room(&self, frame: Frame, rotated: &Rotated, cost: &CostModel) -> Result<Frame, CompileError> {
        if self.notes.assumed.is_empty() {
            return Ok(frame);
        }
        let circuit = self.emitted(&frame, rotated, cost)?;
        let missing = outputs::missing_bits(&circuit, &self.notes.assumed)?;
        let bound = SecurityPolicy::standard_128().bound(frame.log_n).unwrap_or(0);
        Ok(frame.widened(missing, bound))
    }

    /// The circuit with the smallest scale that the precision allows; `Err(bits)`: what the ring's largest scale gives.
    fn scaled(
        &self,
        guess: Frame,
        arranged: Arranged,
        trail: &mut Trail<'_>,
    ) -> Result<Result<Compiled, f64>, Halt> {
        let wanted = self.options.precision_bits + PRECISION_MARGIN_BITS;
        let mut rotated = self.rotated(&guess, arranged, self.options.max_key_bytes, trail)?;
        let mut guess = guess;
        let mut gadget = guess.gadget;
        let mut repacked = false;
        loop {
            let scales = Scales::of(self, &guess, &rotated)?;
            let (frame, bits) = match scales.smallest(wanted)? {
                Ok(found) => found,
                Err(best) => return Ok(Err(best)),
            };
            if frame.gadget != gadget && !repacked {
                // Other digits, other costs: pack again for them, but only once, so that this ends.
                repacked = true;
                gadget = frame.gadget;
                if let Some(again) = self.packed(&frame)? {
                    (rotated, guess) =
                        (self.rotated(&frame, again, self.options.max_key_bytes, trail)?, frame);
                    continue;
                }
            }
            let frame = self.with_room(frame, &rotated, guess.cost())?;
            trail.left(Stage::Parameters, || parameters_text(&frame))?;
            let policy = SecurityPolicy::standard_128();
            let (mut circuit, mut report) =
                self.finished((&frame, &rotated), guess.cost(), Some(&policy), trail)?;
            trail.unchanged(Stage::Bootstrap, &circuit, frame.cost())?;
            self.check_keys(&circuit, frame.cost())?;
            let public_key = scales.bits(&circuit, Encryption::PublicKey)?;
            let precision = PrecisionBits { secret_key: bits, public_key };
            circuit.forecast = forecast(&circuit, frame.cost(), precision)?;
            trail.circuit(Stage::Forecast, &circuit, Some(&policy), frame.cost())?;
            report.warnings.extend(outputs::warnings(&circuit, &self.notes.assumed)?);
            return Ok(Ok(Compiled { circuit, report }));
        }
    }

    /// The smallest scale that is worth trying and for which the levels, or the outputs, do not fit the largest ring.
    fn too_deep(&self) -> CompileError {
        let log_n = *LOG_N.end();
        let bound = SecurityPolicy::standard_128().bound(log_n).unwrap_or(0);
        let needed = self.packer.top();
        let (guess, range) = (self.guessed_scale(log_n), self.range());
        let fits = |levels: u32, log_scale: u32| {
            let base_bits = base_bits(log_scale, range).min(MAX_PRIME_BITS);
            let sizes = Sizes { log_n, top: Level(levels), log_scale, base_bits };
            Frame::cheapest(sizes, bound, &self.options.profile).is_some()
        };
        if guess > largest_scale(range) && fits(needed.0, MAX_SCALE_BITS) {
            return CompileError::OutputRange {
                largest: range[0].abs().max(range[1].abs()),
                log_scale: guess,
                base_bits: base_bits(guess, range),
                max_bits: MAX_PRIME_BITS,
            };
        }
        let scales = guess..MAX_SCALE_BITS;
        let log_scale = scales.into_iter().find(|bits| !fits(needed.0, *bits)).unwrap_or(MAX_SCALE_BITS);
        CompileError::NeedsBootstrapping {
            levels_needed: needed.0,
            levels_available: (1..=needed.0).rev().find(|levels| fits(*levels, log_scale)).unwrap_or(0),
            bits_per_level: log_scale,
            log_n,
        }
    }
}

impl Report {
    pub(super) fn of(
        circuit: &Circuit,
        (frame, cost): (&Frame, &CostModel),
        notes: &Lowered,
        policy: &SecurityPolicy,
    ) -> Result<Report, CompileError> {
        let (rotations, rotation_keys) = rotations(circuit);
        Ok(Report {
            log_n: frame.log_n,
            log_qp: policy
                .check(&circuit.parameters, &circuit.keys)
                .map_or(f64::from(frame.log_qp()), |r| r.log_qp),
            log_qp_bound: policy.bound(frame.log_n).unwrap_or(0),
            citation: policy.citation(),
            levels: circuit.parameters.top().0,
            rotations,
            rotation_keys,
            layers: crate::report::layers(circuit, cost)?,
            choices: vec![],
            egraphs: vec![],
            warnings: notes.warnings.clone(),
        })
    }
}

/// Sizes of the e-graphs that a circuit was extracted from.
fn egraphs(rotated: &Rotated, rescale: Option<Statistics>) -> Vec<EGraph> {
    let packing = rotated.arranged.saturation.map(|s| (Stage::Packing, [s.terms, s.classes, s.rounds]));
    let s = rotated.statistics;
    let rotation = (s.terms > 0).then_some((Stage::Rotation, [s.terms, s.classes, s.rounds]));
    let rescale = rescale.map(|s| (Stage::Rescale, [s.terms, s.classes, s.rounds]));
    let size =
        |(stage, [terms, classes, rounds]): (Stage, [usize; 3])| EGraph { stage, terms, classes, rounds };
    [packing, rotation, rescale].into_iter().flatten().map(size).collect()
}

/// Sizes of a frame, and a line of what they leave within the bound.
fn parameters_text(frame: &Frame) -> String {
    let Frame { log_n, top, log_scale, base_bits, gadget, special_bits, .. } = frame;
    let bound = SecurityPolicy::standard_128().bound(*log_n).unwrap_or(0);
    format!(
        "N = 2^{log_n}, {} levels of {log_scale} bits above a base prime of {base_bits}, P of {special_bits} bits\n\
         gadget: {} primes in a digit, {} special primes\n\
         cost: log QP {} of {bound}\n",
        top.0,
        gadget.digit_limbs,
        gadget.special_limbs,
        frame.log_qp(),
    )
}
