//! The pipeline: from a tensor graph to a circuit, stage by stage.
//!
//! ```text
//! activation → compose → balance → levels → for each ring degree: parameters → packing (with rotation) → rescale
//!            → scale from the trace → forecast
//! ```
//!
//! Above the soft cap: the search over rings, levels and scales is one loop whose parts share their state.

use crate::activation::{self, Lowered, input_range};
use crate::balance::{Balanced, balance};
use crate::compose::{Merge, compose};
use crate::error::CompileError;
use crate::forecast::{PrecisionBits, forecast, rotations};
use crate::graph::{Kind, TensorGraph};
use crate::levels::Levels;
use crate::options::{CompileOptions, Packing, Purpose};
use crate::packing::{Arranged, Target, pack};
use crate::parameters::{Frame, Sizes, base_bits, output_range};
use crate::report::Report;
use crate::rescale::{Plan, emit};
use crate::samples::drawings;
use crate::saturate::packing::Logical;
use cipherloom_ir::scheme::{Level, SCALE_BITS, SecurityPolicy};
use cipherloom_ir::{
    Circuit, Encryption, Exact, Magnitudes, MapNorms, RangeCertificate, Tensor, Trace, Verified, verify_draft,
};

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
const MAX_SCALE_BITS: u32 = 45;
/// Predicted precision exceeds the wanted one by this; the trace already takes four standard deviations as the largest
/// error, on values that are larger than the drawings' by [`MAGNITUDE_MARGIN`].
const PRECISION_MARGIN_BITS: f64 = 0.5;
/// Real inputs may exceed the drawings' values by this factor.
const MAGNITUDE_MARGIN: f64 = 1.5;
/// Ring degree of drafts: the largest, so that the fewest ciphertexts are needed.
const DRAFT_LOG_N: u32 = 16;

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The circuit.
    pub circuit: Circuit,
    /// What was decided, and what the user should know.
    pub report: Report,
}

/// Compiles a model.
pub fn compile(model: &TensorGraph, options: &CompileOptions) -> Result<Compiled, CompileError> {
    if model.input.is_none() {
        return Err(CompileError::Incomplete { what: "input" });
    }
    if model.outputs.is_empty() {
        return Err(CompileError::Incomplete { what: "output" });
    }
    let (lowered, notes) = match options.purpose {
        Purpose::Encrypted => activation::lower(model, options.activation_degree)?,
        Purpose::Draft => (model.clone(), Lowered::default()),
    };
    match options.packing {
        Packing::Saturated => cheaper(&lowered, options, &notes),
        packing => compiled(&lowered, options, packing, &notes),
    }
}

/// The saturated circuit, unless the dynamic program's is forecast to be faster: candidates are ranked by trees, and
/// networks whose compositions multiply are given up. Drafts have no forecast.
fn cheaper(graph: &TensorGraph, options: &CompileOptions, notes: &Lowered) -> Result<Compiled, CompileError> {
    let saturated = compiled(graph, options, Packing::Saturated, notes);
    if let (Purpose::Draft, Ok(_)) | (_, Err(CompileError::NeedsBootstrapping { .. })) =
        (options.purpose, &saturated)
    {
        return saturated;
    }
    let Ok(mut walked) = compiled(graph, options, Packing::DynamicProgram, notes) else { return saturated };
    match saturated {
        Ok(saturated) if saturated.circuit.forecast.seconds <= walked.circuit.forecast.seconds => {
            Ok(saturated)
        }
        saturated => {
            let why = match saturated {
                Ok(_) => "its forecast is better".to_owned(),
                Err(error) => format!("saturation gave up: {error}"),
            };
            walked.report.warnings.push(format!("packing: the dynamic program's circuit was taken; {why}"));
            Ok(walked)
        }
    }
}

/// The circuit by one of the packings.
fn compiled(
    graph: &TensorGraph,
    options: &CompileOptions,
    packing: Packing,
    notes: &Lowered,
) -> Result<Compiled, CompileError> {
    let merge = if packing == Packing::Saturated { Merge::Free } else { Merge::All };
    let composed = compose(graph, merge)?;
    let Balanced { graph, output_scales } = balance(&composed);
    check_weights(&graph)?;
    let packer = Packer::new(&graph, packing)?;
    let job = Job { graph: &graph, packer: &packer, packing, output_scales: &output_scales, options, notes };
    match options.purpose {
        Purpose::Encrypted => job.encrypted(),
        Purpose::Draft => job.draft(),
    }
}

/// What arranges the layers, as far as that does not depend on the ring degree.
enum Packer {
    /// By fixed rules or a dynamic program, at levels counted beforehand.
    Walk(Levels),
    /// By equality saturation.
    Saturation(Box<Logical>),
}

impl Packer {
    fn new(graph: &TensorGraph, packing: Packing) -> Result<Packer, CompileError> {
        Ok(match packing {
            Packing::Saturated => Packer::Saturation(Box::new(Logical::new(graph)?)),
            Packing::Multiplexed | Packing::DynamicProgram => Packer::Walk(Levels::of(graph)),
        })
    }

    /// Fewest levels of the circuit, or fewer.
    fn top(&self) -> Level {
        match self {
            Packer::Walk(levels) => levels.top(),
            Packer::Saturation(logical) => logical.top(),
        }
    }

    /// How many level counts are compared.
    fn compared_tops(&self) -> usize {
        match self {
            Packer::Saturation(logical) if logical.may_stay_apart() => 2,
            _ => 1,
        }
    }
}

/// Composing and balancing multiply weights and biases of neighbours, which may leave float32.
fn check_weights(graph: &TensorGraph) -> Result<(), CompileError> {
    let used = |id| match &graph.node(id).kind {
        Kind::Linear { bias, .. } => bias.map(|b| &graph.tensors[b.0 as usize]),
        _ => None,
    };
    let broken = |id| used(id).is_some_and(|t: &Tensor| t.values.iter().any(|v| !v.is_finite()));
    let Some(id) = graph.order().find(|id| broken(*id)) else { return Ok(()) };
    Err(CompileError::Unsupported {
        stage: "balance",
        tensor: graph.node(id).name.clone(),
        reason: "the bias of its layer leaves the range of float32".into(),
        remedy: "scale the weights down".into(),
    })
}

/// A graph whose levels are planned.
struct Job<'a> {
    graph: &'a TensorGraph,
    packer: &'a Packer,
    packing: Packing,
    output_scales: &'a [f64],
    options: &'a CompileOptions,
    notes: &'a Lowered,
}

impl Job<'_> {
    fn encrypted(&self) -> Result<Compiled, CompileError> {
        let mut waiting: Vec<(Frame, Arranged)> = Vec::new();
        let (mut rings, mut best_bits) = (0, None);
        for log_n in LOG_N.filter(|n| self.options.log_n.is_none_or(|wanted| wanted == *n)) {
            let found = self.at_ring(|top| self.guessed_frame(log_n, top))?;
            rings += u32::from(!found.is_empty());
            waiting.extend(found);
            // Small rings are compared; larger ones follow where those are not precise enough.
            let last = self.options.log_n == Some(log_n) || log_n == *LOG_N.end();
            if waiting.is_empty() || (rings < COMPARED_RINGS && !last) {
                continue;
            }
            match self.first_precise(std::mem::take(&mut waiting))? {
                Ok(compiled) => return Ok(compiled),
                Err(bits) => best_bits = Some(best_bits.map_or(bits, |best: f64| best.max(bits))),
            }
        }
        match best_bits {
            Some(best_bits) if !self.is_limited_by_levels() => {
                Err(CompileError::Precision { wanted_bits: self.options.precision_bits, best_bits })
            }
            _ => Err(self.too_deep()),
        }
    }

    /// The cheapest of some arranged networks that is precise enough; else the best precision of all.
    fn first_precise(&self, mut list: Vec<(Frame, Arranged)>) -> Result<Result<Compiled, f64>, CompileError> {
        list.sort_by_key(|(frame, arranged)| (arranged.packed.priced_ns, frame.log_n, frame.top));
        let mut best_bits = f64::NEG_INFINITY;
        for (frame, arranged) in list {
            match self.scaled(frame, arranged)? {
                Ok(compiled) => return Ok(Ok(compiled)),
                Err(bits) => best_bits = best_bits.max(bits),
            }
        }
        Ok(Err(best_bits))
    }

    /// Whether fewer levels would leave room for a larger scale.
    fn is_limited_by_levels(&self) -> bool {
        let log_n = self.options.log_n.unwrap_or(*LOG_N.end());
        matches!(self.frame(log_n, self.packer.top(), MAX_SCALE_BITS), Fit::Insecure)
    }

    /// The network arranged in the frames of the fewest levels that do.
    fn at_ring(
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

    fn draft(&self) -> Result<Compiled, CompileError> {
        let log_n = self.options.log_n.unwrap_or(DRAFT_LOG_N);
        let found = self.at_ring(|top| Some(Frame::draft(log_n, top, &self.options.profile)))?;
        let best = found.into_iter().min_by_key(|(_, arranged)| arranged.packed.priced_ns);
        let (frame, packed) = best.ok_or_else(|| self.too_deep())?;
        let circuit = self.emitted(&frame, &packed)?;
        verify_draft(&circuit).map_err(|e| CompileError::Internal(e.to_string()))?;
        let report = Report::of(&circuit, &frame, self.notes)?;
        Ok(Compiled { circuit, report })
    }

    /// Largest output of the model.
    fn range(&self) -> [f64; 2] {
        let ranges = self.graph.outputs.iter().map(|o| output_range(self.graph, o.node));
        ranges.fold([0.0, 0.0], |a, b| [a[0].min(b[0]), a[1].max(b[1])])
    }

    fn frame(&self, log_n: u32, top: Level, log_scale: u32) -> Fit<Frame> {
        let base_bits = base_bits(log_scale, self.range());
        let sizes = Sizes { log_n, top, log_scale, base_bits };
        let cheapest = |bound| Frame::cheapest(sizes, bound, &self.options.profile);
        match SecurityPolicy::standard_128().bound(log_n).and_then(cheapest) {
            None => Fit::Insecure,
            Some(frame) if frame.parameters().is_ok() => Fit::Sound(frame),
            Some(_) => Fit::TooFewPrimes,
        }
    }

    fn packed(&self, frame: &Frame) -> Result<Option<Arranged>, CompileError> {
        let (slots, cost) = (1 << (frame.log_n - 1), frame.cost());
        match self.packer {
            Packer::Saturation(logical) => Ok(logical.pack(slots, cost, frame.top)?.map(|p| p.0)),
            Packer::Walk(levels) => {
                let packing = self.packing;
                let packed = pack(&Target { graph: self.graph, levels, cost, slots, packing })?;
                Ok(Some(Arranged { graph: self.graph.clone(), levels: levels.clone(), packed }))
            }
        }
    }

    fn emitted(&self, frame: &Frame, arranged: &Arranged) -> Result<Circuit, CompileError> {
        let certificate: &[RangeCertificate] = &self.notes.certificate;
        let plan = Plan { arranged, gadget: frame.gadget, certificate, output_scales: self.output_scales };
        emit(&plan, &frame.parameters()?)
    }

    /// The circuit with the smallest scale that the precision allows; `Err(bits)`: what the ring's largest scale gives.
    fn scaled(&self, guess: Frame, packed: Arranged) -> Result<Result<Compiled, f64>, CompileError> {
        let wanted = self.options.precision_bits + PRECISION_MARGIN_BITS;
        let mut packed = packed;
        let mut gadget = guess.gadget;
        let mut repacked = false;
        loop {
            let scales = Scales::of(self, &guess, &packed)?;
            let (frame, bits) = match scales.smallest(wanted)? {
                Ok(found) => found,
                Err(best) => return Ok(Err(best)),
            };
            if frame.gadget != gadget && !repacked {
                // Other digits, other costs: pack again for them, but only once, so that this ends.
                repacked = true;
                gadget = frame.gadget;
                if let Some(again) = self.packed(&frame)? {
                    packed = again;
                    continue;
                }
            }
            let mut circuit = self.emitted(&frame, &packed)?;
            let public_key = scales.bits(&circuit, Encryption::PublicKey)?;
            let precision = PrecisionBits { secret_key: bits, public_key };
            circuit.forecast = forecast(&circuit, frame.cost(), precision)?;
            let circuit = Verified::new(circuit, &SecurityPolicy::standard_128())
                .map_err(|e| CompileError::Internal(e.to_string()))?
                .into_inner();
            let report = Report::of(&circuit, &frame, self.notes)?;
            return Ok(Ok(Compiled { circuit, report }));
        }
    }

    /// The smallest scale that is worth trying and for which the levels do not fit the largest ring.
    fn too_deep(&self) -> CompileError {
        let log_n = *LOG_N.end();
        let bound = SecurityPolicy::standard_128().bound(log_n).unwrap_or(0);
        let needed = self.packer.top();
        let fits = |levels: u32, log_scale: u32| {
            let base_bits = base_bits(log_scale, self.range());
            let sizes = Sizes { log_n, top: Level(levels), log_scale, base_bits };
            Frame::cheapest(sizes, bound, &self.options.profile).is_some()
        };
        let scales = self.guessed_scale(log_n)..MAX_SCALE_BITS;
        let log_scale = scales.into_iter().find(|bits| !fits(needed.0, *bits)).unwrap_or(MAX_SCALE_BITS);
        CompileError::NeedsBootstrapping {
            levels_needed: needed.0,
            levels_available: (1..=needed.0).rev().find(|levels| fits(*levels, log_scale)).unwrap_or(0),
            bits_per_level: log_scale,
            log_n,
        }
    }
}

/// Whether a scale can be used at a ring degree.
enum Fit<T> {
    /// It can.
    Sound(T),
    /// Small scales at large ring degrees run out of primes; larger ones may do.
    TooFewPrimes,
    /// The modulus exceeds the security bound, or a prime the engine's largest; smaller scales may do.
    Insecure,
}

/// Precision as a function of the scale, for one packing.
struct Scales<'a> {
    job: &'a Job<'a>,
    log_n: u32,
    top: Level,
    packed: &'a Arranged,
    norms: MapNorms,
    magnitudes: Magnitudes,
}

impl<'a> Scales<'a> {
    fn of(job: &'a Job<'a>, frame: &Frame, packed: &'a Arranged) -> Result<Scales<'a>, CompileError> {
        let circuit = job.emitted(frame, packed)?;
        let internal = |e: String| CompileError::Internal(e);
        let exact = Exact::new(&circuit).map_err(|e| internal(e.to_string()))?;
        let input = job.graph.input.as_ref().ok_or(CompileError::Incomplete { what: "input" })?;
        let shape = &job.graph.node(input.node).shape;
        let samples: Vec<Vec<Vec<f64>>> =
            drawings(shape, input_range(job.graph)).into_iter().map(|x| vec![x]).collect();
        let magnitudes = Magnitudes::measure(&circuit, &exact, &samples, MAGNITUDE_MARGIN)
            .map_err(|e| internal(e.to_string()))?;
        let norms = MapNorms::of(&circuit).map_err(|e| internal(e.to_string()))?;
        Ok(Scales { job, log_n: frame.log_n, top: frame.top, packed, norms, magnitudes })
    }

    /// Frame and precision at a scale.
    fn at(&self, log_scale: u32) -> Result<Fit<(Frame, f64)>, CompileError> {
        let frame = match self.job.frame(self.log_n, self.top, log_scale) {
            Fit::Sound(frame) => frame,
            Fit::TooFewPrimes => return Ok(Fit::TooFewPrimes),
            Fit::Insecure => return Ok(Fit::Insecure),
        };
        let circuit = self.job.emitted(&frame, self.packed)?;
        let bits = self.bits(&circuit, Encryption::SecretKey)?;
        Ok(Fit::Sound((frame, bits)))
    }

    /// Precision that the trace predicts.
    fn bits(&self, circuit: &Circuit, encryption: Encryption) -> Result<f64, CompileError> {
        let trace = Trace::new(circuit, &self.norms).measured(&self.magnitudes).encrypted(encryption);
        trace.precision_bits(circuit).map_err(|e| CompileError::Internal(e.to_string()))
    }

    /// Smallest scale of `wanted` bits; else the best precision found.
    fn smallest(&self, wanted: f64) -> Result<Result<(Frame, f64), f64>, CompileError> {
        let (mut low, mut high) = (SCALE_BITS.0, MAX_SCALE_BITS);
        let mut found = None;
        let mut best = f64::NEG_INFINITY;
        // Precision grows with the scale until it is no longer secure.
        while low <= high {
            let middle = (low + high) / 2;
            match self.at(middle)? {
                Fit::Insecure => high = middle - 1,
                Fit::TooFewPrimes => low = middle + 1,
                Fit::Sound((frame, bits)) if bits >= wanted => {
                    found = Some((frame, bits));
                    high = middle - 1;
                }
                Fit::Sound((_, bits)) => {
                    best = best.max(bits);
                    low = middle + 1;
                }
            }
        }
        Ok(found.ok_or(best))
    }
}

impl Report {
    fn of(circuit: &Circuit, frame: &Frame, notes: &Lowered) -> Result<Report, CompileError> {
        let (rotations, rotation_keys) = rotations(circuit);
        let policy = SecurityPolicy::standard_128();
        Ok(Report {
            log_n: frame.log_n,
            log_qp: policy
                .check(&circuit.parameters, &circuit.keys)
                .map_or(f64::from(frame.log_qp()), |r| r.log_qp),
            log_qp_bound: policy.bound(frame.log_n).unwrap_or(0),
            citation: policy.citation(),
            levels: frame.top.0,
            rotations,
            rotation_keys,
            layers: crate::report::layers(circuit, frame.cost())?,
            warnings: notes.warnings.clone(),
        })
    }
}
