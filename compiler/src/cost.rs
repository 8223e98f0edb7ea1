//! Cost model: integer nanoseconds and bytes of every operation, for one ring degree and one gadget.
//!
//! Relies on a [`Profile`]: each kind of work costs a sum over counts that follow from the numbers of primes (limbs, extended
//! digits, pairs of primes that are converted). Promises: integers only, so that the same choices are made on every
//! machine; no measurement happens at compile time.

mod bootstrap;
mod profile;
mod work;

pub use profile::{Costs, Origin, Profile, ProfileError, RINGS};
pub use work::{Shape, Term, Work};

use cipherloom_ir::scheme::{Gadget, Level};
use cipherloom_ir::{Circuit, Digest, Hoisting};
use std::fmt;

/// Price of a kibibyte of evaluation keys or prepared plaintexts that stay in memory, nanoseconds: what the planner pays
/// to need less of it. No measurement: an exchange rate.
const KIBIBYTE_NS: u64 = 10;

/// Nanoseconds for each coefficient that an encryption samples: 384 ciphertexts of N = 2^13 take 1.23 s, 192 of 2^14 1.03 s on one thread
/// (AMD EPYC family 26, 2026-11-29).
const ERROR_NS: u64 = 350;

/// Costs at one ring degree, with one gadget for all keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CostModel {
    costs: Costs,
    digest: Digest,
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Gadget of every key.
    pub gadget: Gadget,
    /// Levels above it cost what it does.
    highest: Option<Level>,
}

impl fmt::Debug for CostModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let highest =
            self.highest.map_or_else(String::new, |level| format!(", none above level {}", level.0));
        write!(f, "CostModel(profile {}{highest})", self.digest.short())
    }
}

/// What a linear plan consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanCounts {
    /// Inputs that are rotated.
    pub hoisted: u64,
    /// Rotated inputs, one per input and baby step.
    pub babies: u64,
    /// Diagonals.
    pub products: u64,
    /// Rotated sums, one per output and giant step.
    pub giants: u64,
    /// Outputs, rescaled.
    pub outputs: u64,
}

impl CostModel {
    /// Costs by a profile.
    pub fn new(profile: &Profile, log_n: u32, gadget: Gadget) -> CostModel {
        CostModel { costs: profile.costs(log_n), digest: profile.digest(), log_n, gadget, highest: None }
    }

    /// The same costs, where no level costs more than this one: of a chain that bootstraps will cut, so that nothing is computed as
    /// high as it stands. For choosing only: times and bytes of higher levels are not what they would take.
    pub fn up_to(&self, highest: Level) -> CostModel {
        CostModel { highest: Some(highest), ..*self }
    }

    /// Limbs of what is computed at a level.
    fn limbs(&self, level: Level) -> u64 {
        level.min(self.highest.unwrap_or(level)).limbs() as u64
    }

    /// Costs of a circuit by a profile; its own keys have one gadget, that of its bootstrapping where there is one. Where there are no keys it
    /// does not matter.
    pub fn of_circuit(profile: &Profile, circuit: &Circuit) -> CostModel {
        let none = Gadget { digit_limbs: 1, special_limbs: 1 };
        let planned = circuit.bootstrap.and_then(|request| request.plan().ok()).map(|plan| plan.gadget);
        let gadget = planned.or(circuit.keys.first().map(|k| k.gadget)).unwrap_or(none);
        CostModel::new(profile, circuit.parameters.log_n, gadget)
    }

    /// Which profile the costs are from.
    pub fn profile(&self) -> Digest {
        self.digest
    }

    /// Nanoseconds of some work on operands of this level.
    pub fn ns(&self, work: Work, level: Level) -> u64 {
        self.at(work, level, self.special())
    }

    fn at(&self, work: Work, level: Level, special: u64) -> u64 {
        let digit_limbs = u64::from(self.gadget.digit_limbs);
        let terms = Shape { limbs: self.limbs(level), special, digit_limbs }.terms();
        self.costs[work as usize].iter().zip(terms).map(|(ns, count)| ns * count).sum()
    }

    fn special(&self) -> u64 {
        u64::from(self.gadget.special_limbs)
    }

    /// Digits of one polynomial, extended to the key basis.
    pub fn decompose(&self, level: Level) -> u64 {
        self.ns(Work::Decompose, level)
    }
    /// Division of a plan's output by P, and by its last prime.
    pub fn divide(&self, level: Level) -> u64 {
        self.ns(Work::Divide, level)
    }
    /// A whole key switch.
    pub fn key_switch(&self, level: Level) -> u64 {
        self.ns(Work::Relinearize, level)
    }
    /// One rotation.
    pub fn rotate(&self, level: Level) -> u64 {
        self.ns(Work::Rotate, level)
    }
    /// Encryption of an input beyond its first ciphertext. It is the client's time, and part of no forecast; but a choice that saves
    /// the server less than it costs the client is none.
    pub fn encryption(&self, ciphertexts: u32, top: Level) -> u64 {
        let one = (ERROR_NS << self.log_n) + self.rescale(top);
        u64::from(ciphertexts.saturating_sub(1)) * one
    }
    /// A product of two values with relinearisation and rescale.
    pub fn multiply(&self, level: Level) -> u64 {
        self.ns(Work::Mul, level) + self.key_switch(level)
    }
    /// Rescale of one ciphertext.
    pub fn rescale(&self, level: Level) -> u64 {
        self.ns(Work::Rescale, level)
    }
    /// A sum, a product with a number, or an addition of a plaintext.
    pub fn pass(&self, level: Level) -> u64 {
        self.ns(Work::Add, level)
    }
    /// A whole linear plan, its diagonals kept.
    pub fn linear(&self, plan: &PlanCounts, level: Level, hoisting: Hoisting) -> u64 {
        let PlanCounts { hoisted, babies, products, giants, outputs } = *plan;
        let steps = match hoisting {
            Hoisting::Double if babies + giants > 0 => {
                babies * self.extended_baby(level)
                    + products * self.extended_product(level)
                    + giants * self.extended_giant(level)
            }
            _ => {
                babies * self.reduced_baby(level)
                    + products * self.reduced_product(level)
                    + giants * self.reduced_giant(level)
            }
        };
        let extended = giants > 0 || hoisting == Hoisting::Double && babies > 0;
        let output = if extended { self.divide(level) } else { self.rescale(level) };
        self.ns(Work::Plan, level) + hoisted * self.decompose(level) + steps + outputs * output
    }
    /// What pairing diagonals takes: inputs that are rotated to be paired, outputs whose real part is taken before their
    /// rescale.
    pub fn pairing(&self, turned: u64, conjugated: u64, level: Level) -> u64 {
        turned * (self.rotate(level) + self.pass(level))
            + conjugated * (self.rotate(level) + self.pass(level) + self.rescale(level))
    }
    /// A rotated baby step that stays extended by P.
    pub fn extended_baby(&self, level: Level) -> u64 {
        self.ns(Work::ExtendedBaby, level)
    }
    /// A rotated baby step that is brought back.
    pub fn reduced_baby(&self, level: Level) -> u64 {
        self.ns(Work::ReducedBaby, level)
    }
    /// A diagonal times an extended ciphertext.
    pub fn extended_product(&self, level: Level) -> u64 {
        self.at(Work::KeptProduct, level, self.special())
    }
    /// A diagonal times a ciphertext.
    pub fn reduced_product(&self, level: Level) -> u64 {
        self.at(Work::KeptProduct, level, 0)
    }
    /// What a diagonal of one word per coefficient takes more than a kept one, with the special limbs or without.
    pub fn expansion(&self, level: Level, special: bool) -> u64 {
        let special = if special { self.special() } else { 0 };
        self.at(Work::CompactProduct, level, special).saturating_sub(self.at(
            Work::KeptProduct,
            level,
            special,
        ))
    }
    /// A giant step of an extended sum.
    pub fn extended_giant(&self, level: Level) -> u64 {
        self.ns(Work::ExtendedGiant, level)
    }
    /// A giant step of a sum over the chain primes.
    pub fn reduced_giant(&self, level: Level) -> u64 {
        self.ns(Work::ReducedGiant, level)
    }

    /// Bytes of one evaluation key in memory, both halves.
    pub fn key_bytes(&self, level: Level) -> u64 {
        let limbs = self.limbs(level);
        let digits = limbs.div_ceil(u64::from(self.gadget.digit_limbs));
        2 * digits * (limbs + self.special()) * self.limb_bytes()
    }
    /// Bytes of one ciphertext.
    pub fn ciphertext_bytes(&self, level: Level) -> u64 {
        2 * self.limbs(level) * self.limb_bytes()
    }
    /// Bytes of one prepared diagonal of a plan with keys.
    pub fn diagonal_bytes(&self, level: Level, hoisting: Hoisting) -> u64 {
        let special = if hoisting == Hoisting::Double { self.special() } else { 0 };
        (self.limbs(level) + special) * self.limb_bytes()
    }
    /// Price of memory held for keys and plaintexts.
    pub fn memory_price(&self, bytes: u64) -> u64 {
        bytes / 1024 * KIBIBYTE_NS
    }
    /// Bytes of one limb.
    pub fn limb_bytes(&self) -> u64 {
        8 << self.log_n
    }
}
