//! Stage 4, levels.
//!
//! Does: gives every tensor its level, counted from the outputs (level 0) backwards; rescaling is eager, so a linear
//! map and a square take one level each and a polynomial its depth. Needs: the composed graph. Leaves: [`Levels`].
//! Why here: the cost of every kernel depends on the level it runs at.

use crate::activation::form::Form;
use crate::graph::{Function, Kind, NodeId, TensorGraph};
use cipherloom_ir::scheme::Level;

/// Level of each tensor, by node.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels(Vec<Level>);

impl Levels {
    /// Plans the levels of all tensors.
    pub fn of(graph: &TensorGraph) -> Levels {
        let ids: Vec<NodeId> = graph.order().collect();
        let mut levels = vec![Level(0); ids.len()];
        for id in ids.iter().rev() {
            let own = levels[id.0 as usize].0 + depth(&graph.node(*id).kind);
            for operand in graph.operands(*id) {
                let level = &mut levels[operand.0 as usize];
                *level = Level(level.0.max(own));
            }
        }
        Levels(levels)
    }

    /// Levels that have been decided, by node.
    pub fn new(levels: Vec<Level>) -> Levels {
        Levels(levels)
    }

    /// Level of a tensor.
    pub fn at(&self, id: NodeId) -> Level {
        self.0[id.0 as usize]
    }

    /// Level at which a node starts to compute.
    pub fn before(&self, graph: &TensorGraph, id: NodeId) -> Level {
        Level(self.at(id).0 + depth(&graph.node(id).kind))
    }

    /// Level of the input: the rescales that the circuit needs.
    pub fn top(&self) -> Level {
        self.0.iter().copied().max().unwrap_or(Level(0))
    }
}

impl std::fmt::Display for Levels {
    /// The level of every tensor.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().enumerate().try_for_each(|(k, level)| writeln!(f, "#{k} level {}", level.0))
    }
}

/// Levels that a node takes.
pub fn depth(kind: &Kind) -> u32 {
    match kind {
        Kind::Input | Kind::Add | Kind::Sub | Kind::Concat { .. } => 0,
        Kind::Linear { .. } | Kind::Mul => 1,
        Kind::Elementwise(Function::Square) => 1,
        Kind::Elementwise(Function::Exact(_)) => 0,
        Kind::Elementwise(Function::Polynomial { coefficients, .. }) => Form::depth(coefficients.len() - 1),
    }
}
