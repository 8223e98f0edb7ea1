//! The pipeline: from a tensor graph to a circuit, by the stages of [`STAGES`](crate::stages::STAGES).
//!
//! ```text
//! activation (with output ranges) → compose → balance → levels → for each ring degree: parameters (guess) → packing with rotation
//!            → cheapest first: emission → rescale → parameters (scale from the trace) → forecast
//! ```
//!
//! Where no ring holds the levels, for each bootstrapping: packing → emission → rescale → bootstrap → forecast.
//!
//! This file walks the stages that leave graphs; [`search`] walks those that depend on the ring degree, [`scale`]
//! asks the trace for the scale, and [`bootstrapped`] walks on where levels do not suffice.

mod bootstrapped;
mod scale;
mod search;

use crate::activation::{self, Lowered};
use crate::balance::{Balanced, balance};
use crate::compose::{Merge, compose};
use crate::error::CompileError;
use crate::graph::{Kind, TensorGraph};
use crate::levels::Levels;
use crate::options::{CompileOptions, Packing, Purpose};
use crate::outputs;
use crate::report::Report;
use crate::saturate::packing::{Logical, laws};
use crate::stages::Stage;
use crate::trail::{Halt, Trail, Watch};
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Circuit, Tensor};
use search::{Found, Job};
use std::collections::BTreeMap;

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The circuit.
    pub circuit: Circuit,
    /// What was decided, and what the user should know.
    pub report: Report,
}

/// A compilation that was watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What the stages left that were to be printed, as text.
    pub texts: BTreeMap<Stage, String>,
    /// The result, unless the compilation was stopped before.
    pub compiled: Option<Compiled>,
}

/// Compiles a model.
pub fn compile(model: &TensorGraph, options: &CompileOptions) -> Result<Compiled, CompileError> {
    let watched = compile_watched(model, options, &Watch::default())?;
    watched
        .compiled
        .ok_or_else(|| CompileError::Internal("nothing stops a compilation without a watch".into()))
}

/// Compiles a model, keeps what stages leave, and stops after one of them where that is wanted.
pub fn compile_watched(
    model: &TensorGraph,
    options: &CompileOptions,
    watch: &Watch,
) -> Result<Watched, CompileError> {
    let mut trail = Trail::new(watch);
    let ended = walk(model, options, &mut trail);
    let texts = trail.texts;
    match ended {
        Ok(compiled) => Ok(Watched { texts, compiled: Some(compiled) }),
        Err(Halt::Stopped) => Ok(Watched { texts, compiled: None }),
        Err(Halt::Failed(error)) => Err(error),
        Err(Halt::Dearer) => Err(CompileError::Internal("the cheapest circuit was given up".into())),
    }
}

/// All stages.
fn walk(model: &TensorGraph, options: &CompileOptions, trail: &mut Trail<'_>) -> Result<Compiled, Halt> {
    if model.input.is_none() {
        return Err(CompileError::Incomplete { what: "input" }.into());
    }
    if model.outputs.is_empty() {
        return Err(CompileError::Incomplete { what: "output" }.into());
    }
    options.check()?;
    trail.graph(Stage::Frontend, model)?;
    let (lowered, notes) = match options.purpose {
        Purpose::Encrypted => {
            let (mut lowered, mut notes) = activation::lower(model, options.activation_degree)?;
            notes.assumed = outputs::assume(&mut lowered);
            (lowered, notes)
        }
        Purpose::Draft => (model.clone(), Lowered::default()),
    };
    trail.graph(Stage::Activation, &lowered)?;
    match options.layouts() {
        Packing::Saturated => cheaper(&lowered, options, &notes, trail),
        packing => compiled(&lowered, options, (packing, u64::MAX), &notes, trail).map(|f| f.compiled),
    }
}

/// The dynamic program's circuit is not emitted where its packing is priced at more than this many times the forecast of the
/// saturated one. A margin: prices hold memory and forecasts what follows packing, and a factor of two between them was seen.
const DEARER: u64 = 4;

/// The saturated circuit, with or without pairs of diagonals, unless the dynamic program's is forecast to be faster:
/// candidates are ranked by trees, and networks whose compositions multiply are saturated with fewer laws. Drafts have no
/// forecast.
fn cheaper(
    graph: &TensorGraph,
    options: &CompileOptions,
    notes: &Lowered,
    trail: &mut Trail<'_>,
) -> Result<Compiled, Halt> {
    let unlimited = u64::MAX;
    let saturated =
        compiled(graph, options, (Packing::Saturated, unlimited), notes, trail).map(|f| f.compiled);
    match (options.purpose, &saturated) {
        // Deep networks take long to compile, and most of their time is bootstraps.
        (_, Ok(Compiled { circuit: Circuit { bootstrap: Some(_), .. }, .. }))
        | (Purpose::Draft, Ok(_))
        | (
            _,
            Err(
                Halt::Stopped
                | Halt::Failed(CompileError::NeedsBootstrapping { .. } | CompileError::NoCut { .. }),
            ),
        ) => {
            return saturated;
        }
        _ => {}
    }
    let ms = |c: &Compiled| c.circuit.forecast.seconds * 1e3;
    let ceiling_ns = match &saturated {
        Ok(known) => ((ms(known) * 1e6) as u64).saturating_mul(DEARER),
        Err(_) => unlimited,
    };
    let (mut best, mut dearer): (Option<(Compiled, Trail<'_>, bool)>, bool) = (None, false);
    for pairs in [true, false].into_iter().filter(|pairs| options.pairs || !pairs) {
        let (options, mut other) = (CompileOptions { pairs, ..options.clone() }, trail.again());
        match compiled(graph, &options, (Packing::DynamicProgram, ceiling_ns), notes, &mut other) {
            Ok(Found { compiled: walked, least_log_n }) => {
                let smallest = walked.circuit.parameters.log_n == least_log_n;
                if best.as_ref().is_none_or(|(b, ..)| ms(&walked) < ms(b)) {
                    best = Some((walked, other, pairs));
                }
                // Pairs of diagonals are a little less precise, which may take a larger ring; in the smallest they stay.
                if smallest {
                    break;
                }
            }
            Err(Halt::Failed(_)) => {}
            Err(Halt::Dearer) => {
                dearer = true;
                break;
            }
            Err(Halt::Stopped) => {
                *trail = other;
                return Err(Halt::Stopped);
            }
        }
    }
    let mut saturated = saturated;
    let Some((mut walked, other, pairs)) = best else {
        if let (Ok(known), true) = (&mut saturated, dearer) {
            let text =
                format!("{:.2} ms, the dynamic program's circuit above {DEARER} times that", ms(known));
            known.report.choices.insert(0, (Stage::Packing, text));
        }
        return saturated;
    };
    if !pairs && options.pairs {
        let (apart, mut again) = (CompileOptions { pairs, ..options.clone() }, trail.again());
        if let Ok(Found { compiled: found, .. }) =
            compiled(graph, &apart, (Packing::Saturated, unlimited), notes, &mut again)
            && saturated.as_ref().map_or(true, |s| ms(&found) < ms(s))
        {
            saturated = Ok(found);
            *trail = again;
        }
    }
    match saturated {
        Ok(mut saturated) if ms(&saturated) <= ms(&walked) => {
            let text =
                format!("{:.2} ms, the dynamic program's circuit {:.2} ms", ms(&saturated), ms(&walked));
            saturated.report.choices.insert(0, (Stage::Packing, text));
            Ok(saturated)
        }
        saturated => {
            let why = match saturated {
                Err(Halt::Failed(error)) => format!("saturation gave up: {error}"),
                _ => "its forecast is better".to_owned(),
            };
            walked.report.warnings.push(format!("packing: the dynamic program's circuit was taken; {why}"));
            *trail = other;
            Ok(walked)
        }
    }
}

/// The circuit by one of the packings; none whose packing is priced above the ceiling.
fn compiled(
    graph: &TensorGraph,
    options: &CompileOptions,
    (packing, ceiling_ns): (Packing, u64),
    notes: &Lowered,
    trail: &mut Trail<'_>,
) -> Result<Found, Halt> {
    let merge = match packing {
        _ if options.is_off(Stage::Compose) => Merge::Nothing,
        Packing::Saturated => Merge::Free,
        Packing::DynamicProgram | Packing::Multiplexed => Merge::All,
    };
    let composed = compose(graph, merge)?;
    check_weights(Stage::Compose, &composed)?;
    trail.graph(Stage::Compose, &composed)?;
    let Balanced { graph, output_scales } = match options.is_off(Stage::Balance) {
        true => Balanced::unchanged(composed),
        false => balance(&composed),
    };
    check_weights(Stage::Balance, &graph)?;
    trail.graph(Stage::Balance, &graph)?;
    let packer = Packer::new(&graph, packing, options)?;
    trail.left(Stage::Levels, || format!("{packer}cost: at least {} levels\n", packer.top().0))?;
    let (graph, packer, output_scales) = (&graph, &packer, &output_scales[..]);
    let job = Job { graph, packer, packing, ceiling_ns, output_scales, options, notes };
    let mut found = match options.purpose {
        Purpose::Encrypted => job.encrypted(trail),
        Purpose::Draft => job.draft(trail),
    }?;
    if let Packer::Saturation(logical) = packer
        && !logical.left_out().is_empty()
    {
        let text = format!("compositions multiply: without the law {}", logical.left_out().join(" and "));
        found.compiled.report.choices.insert(0, (Stage::Packing, text));
    }
    Ok(found)
}

/// Composing and balancing multiply weights and biases of neighbours, which may leave float32.
fn check_weights(stage: Stage, graph: &TensorGraph) -> Result<(), CompileError> {
    let used = |id| match &graph.node(id).kind {
        Kind::Linear { bias, .. } => bias.map(|b| &graph.tensors[b.0 as usize]),
        _ => None,
    };
    let broken = |id| used(id).is_some_and(|t: &Tensor| t.values.iter().any(|v| !v.is_finite()));
    let Some(id) = graph.order().find(|id| broken(*id)) else { return Ok(()) };
    Err(CompileError::Unsupported {
        stage: stage.name(),
        tensor: graph.node(id).name.clone(),
        reason: "the bias of its layer leaves the range of float32".into(),
        remedy: "scale the weights down".into(),
    })
}

/// What arranges the layers, as far as that does not depend on the ring degree.
enum Packer {
    /// By fixed rules or a dynamic program, at levels counted beforehand.
    Walk(Levels),
    /// By equality saturation.
    Saturation(Box<Logical>),
}

impl Packer {
    fn new(graph: &TensorGraph, packing: Packing, options: &CompileOptions) -> Result<Packer, CompileError> {
        let laws = if options.is_off(Stage::Compose) { vec![] } else { laws::logical() };
        Ok(match packing {
            Packing::Saturated => {
                let logical = Logical::with_first_laws(graph, &laws)?;
                Packer::Saturation(Box::new(logical.splitting(options.splits())))
            }
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

impl std::fmt::Display for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Packer::Walk(levels) => levels.fmt(f),
            Packer::Saturation(_) => writeln!(f, "packing decides the level of every tensor"),
        }
    }
}
