//! The language of the packing e-graph: layers of the network, and demands for them in layouts.
//!
//! Payloads are indices into [`Tables`](super::tables::Tables). Three strata, each referring to the ones before it
//! alone, so that no class can need itself: *logical* terms name tensors; `Made(x, layout)` is a tensor as a kernel
//! yields it, read from `Have`s of other tensors; `Have(x, layout)` is a made tensor, or a repack of one. `Any(x)` is a
//! tensor in whatever layout is cheapest, and `Deliver` is the circuit.

use egg::{Id, Language};

/// Index of a tensor node: what computes it, its name, shape and range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u32);

/// Index of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutIndex(pub u32);

/// Index of a step: a linear map from one layout by one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub u32);

/// A term of the e-graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// Logical: the model's input.
    Input(NodeIndex),
    /// Logical: a linear map of a tensor.
    Linear(NodeIndex, [Id; 1]),
    /// Logical: an elementwise function of a tensor.
    Function(NodeIndex, [Id; 1]),
    /// Logical: sum, difference or product of two tensors.
    Pair(NodeIndex, [Id; 2]),
    /// Demand: a logical tensor in a layout, possibly repacked.
    Have(LayoutIndex, [Id; 1]),
    /// Demand: a logical tensor in a layout, straight from a kernel.
    Made(LayoutIndex, [Id; 1]),
    /// Demand: a logical tensor in any layout.
    Any([Id; 1]),
    /// Implementation: the client encrypts the input in this layout.
    Fresh(NodeIndex, LayoutIndex),
    /// Implementation: a linear map, or a repack, by a kernel.
    Kernel(StepIndex, [Id; 1]),
    /// Implementation: a function of every slot; the result is in this layout.
    Slotwise(NodeIndex, LayoutIndex, [Id; 1]),
    /// Implementation: a slotwise sum, difference or product in this layout.
    Both(NodeIndex, LayoutIndex, [Id; 2]),
    /// Implementation: the demanded value is that one.
    Use([Id; 1]),
    /// Implementation: all outputs.
    Deliver(Box<[Id]>),
}

impl Term {
    /// Whether extraction may choose it: neither logical nor a demand.
    pub fn is_implementation(&self) -> bool {
        use Term::{Both, Deliver, Fresh, Kernel, Slotwise, Use};
        matches!(self, Fresh(..) | Kernel(..) | Slotwise(..) | Both(..) | Use(_) | Deliver(_))
    }
}

impl Language for Term {
    type Discriminant = std::mem::Discriminant<Term>;

    fn discriminant(&self) -> Self::Discriminant {
        std::mem::discriminant(self)
    }

    fn matches(&self, other: &Term) -> bool {
        use Term::{
            Any, Both, Deliver, Fresh, Function, Have, Input, Kernel, Linear, Made, Pair, Slotwise, Use,
        };
        match (self, other) {
            (Input(a), Input(b)) => a == b,
            (Linear(a, _), Linear(b, _)) | (Function(a, _), Function(b, _)) => a == b,
            (Pair(a, _), Pair(b, _)) => a == b,
            (Have(a, _), Have(b, _)) | (Made(a, _), Made(b, _)) => a == b,
            (Fresh(a, k), Fresh(b, l)) => (a, k) == (b, l),
            (Kernel(a, _), Kernel(b, _)) => a == b,
            (Slotwise(a, k, _), Slotwise(b, l, _)) => (a, k) == (b, l),
            (Both(a, k, _), Both(b, l, _)) => (a, k) == (b, l),
            (Any(_), Any(_)) | (Use(_), Use(_)) => true,
            (Deliver(a), Deliver(b)) => a.len() == b.len(),
            _ => false,
        }
    }

    fn children(&self) -> &[Id] {
        use Term::{
            Any, Both, Deliver, Fresh, Function, Have, Input, Kernel, Linear, Made, Pair, Slotwise, Use,
        };
        match self {
            Input(_) | Fresh(..) => &[],
            Linear(_, x) | Function(_, x) | Have(_, x) | Made(_, x) | Kernel(_, x) | Slotwise(_, _, x) => x,
            Any(x) | Use(x) => x,
            Pair(_, xs) | Both(_, _, xs) => xs,
            Deliver(xs) => xs,
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        use Term::{
            Any, Both, Deliver, Fresh, Function, Have, Input, Kernel, Linear, Made, Pair, Slotwise, Use,
        };
        match self {
            Input(_) | Fresh(..) => &mut [],
            Linear(_, x) | Function(_, x) | Have(_, x) | Made(_, x) | Kernel(_, x) | Slotwise(_, _, x) => x,
            Any(x) | Use(x) => x,
            Pair(_, xs) | Both(_, _, xs) => xs,
            Deliver(xs) => xs,
        }
    }
}
