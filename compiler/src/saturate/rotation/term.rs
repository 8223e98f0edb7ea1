//! The language of the rotation e-graph: maps, folds and sums of a network, plans for them, and the keys of plans.
//!
//! Payloads are indices into [`Tables`](super::tables::Tables). Demands read ciphertexts or demands, implementations read
//! keys or demands, and keys read nothing: no class can need itself. A key that several plans name is one class.

use egg::{Id, Language};

/// A term of the e-graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// Demand: a linear map of the network, by its number.
    Map(u32),
    /// Demand: a rotation of a fold, by its number.
    Turn(u32),
    /// Demand: the sum of two maps, by its number.
    Sum(u32, [Id; 2]),
    /// The key of a rotation.
    Key(u32),
    /// Implementation: a plan for a map, by its number, with its keys.
    Plan(u32, Box<[Id]>),
    /// Implementation: a rotation by the keys of one or more steps in turn.
    Turned(u32, Box<[Id]>),
    /// Implementation: both maps of a sum, then the sum.
    Apart([Id; 2]),
    /// Implementation: the map of both operands in one plan.
    Merged([Id; 1]),
    /// Implementation: all of the network.
    Circuit(Box<[Id]>),
}

impl Term {
    /// Whether extraction may choose it: no demand.
    pub fn is_implementation(&self) -> bool {
        !matches!(self, Term::Map(_) | Term::Turn(_) | Term::Sum(..))
    }
}

impl Language for Term {
    type Discriminant = std::mem::Discriminant<Term>;

    fn discriminant(&self) -> Self::Discriminant {
        std::mem::discriminant(self)
    }

    fn matches(&self, other: &Term) -> bool {
        use Term::{Apart, Circuit, Key, Map, Merged, Plan, Sum, Turn, Turned};
        match (self, other) {
            (Map(a), Map(b)) | (Turn(a), Turn(b)) | (Key(a), Key(b)) => a == b,
            (Sum(a, _), Sum(b, _)) => a == b,
            (Plan(a, k), Plan(b, l)) | (Turned(a, k), Turned(b, l)) => a == b && k.len() == l.len(),
            (Circuit(k), Circuit(l)) => k.len() == l.len(),
            (Apart(_), Apart(_)) | (Merged(_), Merged(_)) => true,
            _ => false,
        }
    }

    fn children(&self) -> &[Id] {
        use Term::{Apart, Circuit, Key, Map, Merged, Plan, Sum, Turn, Turned};
        match self {
            Map(_) | Turn(_) | Key(_) => &[],
            Sum(_, xs) | Apart(xs) => xs,
            Merged(xs) => xs,
            Plan(_, xs) | Turned(_, xs) | Circuit(xs) => xs,
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        use Term::{Apart, Circuit, Key, Map, Merged, Plan, Sum, Turn, Turned};
        match self {
            Map(_) | Turn(_) | Key(_) => &mut [],
            Sum(_, xs) | Apart(xs) => xs,
            Merged(xs) => xs,
            Plan(_, xs) | Turned(_, xs) | Circuit(xs) => xs,
        }
    }
}
