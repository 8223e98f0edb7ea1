//! Follows a compilation: checks what every stage leaves, keeps the texts that were asked for, and stops it.
//!
//! Relies on the checkers of graphs, arranged networks and circuits. Promises: an error names the stage that left
//! something broken; a text ends with one line of costs.

use crate::cost::CostModel;
use crate::error::CompileError;
use crate::forecast::{node_ns, rotations};
use crate::graph::{Kind, TensorGraph, verify};
use crate::packing::Arranged;
use crate::report::divisions;
use crate::stages::Stage;
use cipherloom_ir::scheme::SecurityPolicy;
use cipherloom_ir::{Circuit, Verified, verify_draft};
use std::collections::{BTreeMap, BTreeSet};

/// What a caller wants to see of a compilation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Stages whose text is kept.
    pub print: BTreeSet<Stage>,
    /// The last stage that is walked; its text is kept too.
    pub stop: Option<Stage>,
}

/// Why a compilation does not go on.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It failed.
    Failed(CompileError),
    /// The stage was reached after which it was to stop.
    Stopped,
    /// All that it arranged costs more than a circuit that is known.
    Dearer,
}

impl<E: Into<CompileError>> From<E> for Halt {
    fn from(error: E) -> Halt {
        Halt::Failed(error.into())
    }
}

/// One compilation on its way.
pub(crate) struct Trail<'a> {
    watch: &'a Watch,
    /// By stage; where a stage is tried several times, what was left last.
    pub(crate) texts: BTreeMap<Stage, String>,
}

impl<'a> Trail<'a> {
    pub(crate) fn new(watch: &'a Watch) -> Trail<'a> {
        Trail { watch, texts: BTreeMap::new() }
    }

    /// One that nobody watches.
    pub(crate) fn blind() -> Trail<'static> {
        static NOTHING: Watch = Watch { print: BTreeSet::new(), stop: None };
        Trail::new(&NOTHING)
    }

    /// Whether anything is to be seen of it.
    pub(crate) fn is_watched(&self) -> bool {
        *self.watch != Watch::default()
    }

    /// The same up to here, for another way on.
    pub(crate) fn again(&self) -> Trail<'a> {
        Trail { watch: self.watch, texts: self.texts.clone() }
    }

    /// A stage has left this.
    pub(crate) fn left(&mut self, stage: Stage, text: impl FnOnce() -> String) -> Result<(), Halt> {
        if self.watch.print.contains(&stage) || self.watch.stop == Some(stage) {
            self.texts.insert(stage, text());
        }
        if self.watch.stop == Some(stage) { Err(Halt::Stopped) } else { Ok(()) }
    }

    /// A stage has left a graph.
    pub(crate) fn graph(&mut self, stage: Stage, graph: &TensorGraph) -> Result<(), Halt> {
        verify::check(graph).map_err(|what| CompileError::Broken { stage: stage.name(), what })?;
        self.left(stage, || graph_text(graph))
    }

    /// Packing has left a network.
    pub(crate) fn arranged(&mut self, arranged: &Arranged) -> Result<(), Halt> {
        let broken = |what| CompileError::Broken { stage: Stage::Packing.name(), what };
        arranged.check().map_err(broken)?;
        self.left(Stage::Packing, || packing_text(arranged))
    }

    /// A stage has left a circuit, which a policy allows, or a draft.
    pub(crate) fn circuit(
        &mut self,
        stage: Stage,
        circuit: &Circuit,
        policy: Option<&SecurityPolicy>,
        cost: &CostModel,
    ) -> Result<(), Halt> {
        let verified = match policy {
            Some(policy) => Verified::new(circuit.clone(), policy).map(drop),
            None => verify_draft(circuit),
        };
        verified.map_err(|e| CompileError::Broken { stage: stage.name(), what: e.to_string() })?;
        self.unchanged(stage, circuit, cost)
    }

    /// A stage has left the circuit that another left.
    pub(crate) fn unchanged(
        &mut self,
        stage: Stage,
        circuit: &Circuit,
        cost: &CostModel,
    ) -> Result<(), Halt> {
        let line = cost_line(circuit, cost)?;
        self.left(stage, || format!("{}{line}\n", circuit.to_text()))
    }
}

fn graph_text(graph: &TensorGraph) -> String {
    let linear = graph.order().filter(|id| matches!(graph.node(*id).kind, Kind::Linear { .. })).count();
    let weights: usize = graph.tensors.iter().map(|t| t.values.len()).sum();
    format!("{graph}cost: {} tensors, {linear} linear maps, {weights} weights\n", graph.order().count())
}

fn packing_text(arranged: &Arranged) -> String {
    let ciphertexts: u32 = arranged.packed.layouts.iter().map(|p| p.layout.ciphertexts).sum();
    format!(
        "{arranged}cost: {} us with the price of memory, {} rotations, {} levels, {ciphertexts} ciphertexts\n",
        arranged.packed.priced_ns / 1000,
        arranged.rotations(),
        arranged.levels.top().0,
    )
}

/// The costs of a circuit in one line.
pub fn cost_line(circuit: &Circuit, cost: &CostModel) -> Result<String, CompileError> {
    let (rotations, keys) = rotations(circuit);
    let nanoseconds: u64 = node_ns(circuit, cost)?.iter().sum();
    let [relinearisations, rescales] = divisions(circuit);
    Ok(format!(
        "cost: {} us, {} nodes, {rotations} rotations by {keys} keys, {relinearisations} relinearisations, {rescales} rescales",
        nanoseconds / 1000,
        circuit.nodes.len(),
    ))
}
