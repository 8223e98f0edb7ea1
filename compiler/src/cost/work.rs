//! The kinds of work whose cost a profile knows, and the counts that their cost grows with.
//!
//! Promises: one table each, from which the file form, its checks and the model take their names.

use serde::{Deserialize, Serialize};

/// What the engine does in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Sum or difference of two values, negation.
    Add,
    /// Sum with a plaintext that is kept.
    AddPlain,
    /// Product with a plaintext that is kept.
    MulPlain,
    /// Product with a number.
    MulScalar,
    /// Product of two values, of degree 2.
    Mul,
    /// Relinearization, with or without its rescale.
    Relinearize,
    /// Division by the last prime.
    Rescale,
    /// A rotation by itself.
    Rotate,
    /// What a plan takes besides the following.
    Plan,
    /// Digits of an input of a plan.
    Decompose,
    /// A baby step that stays extended by P.
    ExtendedBaby,
    /// A baby step that is divided by P.
    ReducedBaby,
    /// A diagonal that is kept, times a baby step.
    KeptProduct,
    /// A diagonal of one word per coefficient, times a baby step.
    CompactProduct,
    /// A giant step of a sum over chain and special primes.
    ExtendedGiant,
    /// A giant step of a sum over the chain primes.
    ReducedGiant,
    /// Division of an output by P, and by its last prime.
    Divide,
    /// Encoding of a plaintext, to one word per coefficient.
    Encode,
}

impl Work {
    /// Every kind, in order.
    pub const ALL: [Work; 18] = [
        Work::Add,
        Work::AddPlain,
        Work::MulPlain,
        Work::MulScalar,
        Work::Mul,
        Work::Relinearize,
        Work::Rescale,
        Work::Rotate,
        Work::Plan,
        Work::Decompose,
        Work::ExtendedBaby,
        Work::ReducedBaby,
        Work::KeptProduct,
        Work::CompactProduct,
        Work::ExtendedGiant,
        Work::ReducedGiant,
        Work::Divide,
        Work::Encode,
    ];
}

/// What a cost is a sum over: nanoseconds stand per unit of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// One.
    Call,
    /// Chain primes.
    Limbs,
    /// Chain and special primes.
    Basis,
    /// Digits times chain and special primes: limbs of all extended digits.
    Digits,
    /// Pairs of primes between which digits are lifted.
    Lifts,
    /// Pairs of primes between which a division by P converts.
    Drops,
}

impl Term {
    /// Every term, in order.
    pub const ALL: [Term; 6] = [Term::Call, Term::Limbs, Term::Basis, Term::Digits, Term::Lifts, Term::Drops];
}

/// Sizes of the operands of some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Chain primes.
    pub limbs: u64,
    /// Special primes of the keys (of a product: those that the diagonal carries).
    pub special: u64,
    /// Primes of a digit.
    pub digit_limbs: u64,
}

impl Shape {
    /// How much of each term there is, in the order of [`Term::ALL`].
    pub fn terms(&self) -> [u64; Term::ALL.len()] {
        let Shape { limbs, special, digit_limbs } = *self;
        let basis = limbs + special;
        let digit_limbs = digit_limbs.max(1);
        let (digits, last) = (limbs.div_ceil(digit_limbs), limbs % digit_limbs);
        let within = limbs / digit_limbs * digit_limbs * digit_limbs + last * last;
        [1, limbs, basis, digits * basis, limbs * basis - within, limbs * special]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_the_order_of_their_numbers() {
        assert!(Work::ALL.iter().enumerate().all(|(k, work)| *work as usize == k));
        assert!(Term::ALL.iter().enumerate().all(|(k, term)| *term as usize == k));
    }

    #[test]
    fn terms_count_what_the_engine_does() {
        // Digits of 3, 3 and 2 primes, lifted to 11, 11 and 12 primes each.
        let shape = Shape { limbs: 8, special: 6, digit_limbs: 3 };
        assert_eq!(shape.terms(), [1, 8, 14, 42, 3 * 11 + 3 * 11 + 2 * 12, 48]);
    }
}
