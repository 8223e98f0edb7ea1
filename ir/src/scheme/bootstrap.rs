//! What a bootstrapping consists of: levels, primes, transform factors, the program of the modular reduction, keys.
//!
//! [`BootstrapRequest::plan`] is the one place that chooses; engine and runtime carry out what it yields. Five steps, in the
//! order of docs/bootstrapping.md:
//!
//! 1. *slots to coefficients*, at low levels: `factors` of [`BootstrapPlan::to_coefficients`], down to level 0, where
//!    the message `m` stands in the coefficients as `m q_0 / 2^ratio_bits`;
//! 2. *mod-raise* under an ephemeral sparse secret (ePrint 2022/024): coefficients become `q_0 (m / 2^ratio_bits + I)` with an
//!    integer I, bounded by [`RANGE`] without exception;
//! 3. *coefficients to slots*: [`BootstrapPlan::to_slots`], which also brings real and imaginary parts to `y = (m /
//!    2^ratio_bits + I) / RANGE` in [-1, 1];
//! 4. *modular reduction*: [`BootstrapPlan::reduction`];
//! 5. *scales*: none of these steps has a scale that a circuit could see. A transform factor is encoded at exactly the
//!    prime that its rescale removes; constants between the scales stand in the factors; the reduction's own scales are
//!    computed upwards from the output's, so that it ends at the canonical scale of [`BootstrapPlan::output`] exactly.
//!
//! Fewer slots than N/2, repeated, take the same steps with smaller transforms and a single reduction, and two more:
//! [`SparseSteps`], [`BootstrapPlan::sparse`].
//!
//! Circuits use levels 0 to `output`; the primes above belong to the bootstrapping. Promises: pure functions, the same
//! bits on every machine.

mod iteration;
mod noise;
mod reduction;
mod sets;
mod sparse;
mod transform;

pub use iteration::Iteration;
pub use reduction::{Factor, Reduction, ReductionProduct, ReductionStep, ReductionTerm};
pub use sets::BOOTSTRAP_SETS;
pub use sparse::SparseSteps;
pub use transform::{FactorProduct, SlotVector, Transform, TransformFactor};

use super::params::{Gadget, KeyKind, KeySpec, Level, Parameters};
use super::primes::{
    ChainRequest, MAX_PRIME, PrimeError, SPECIAL_MARGIN_MIN_BITS, nearest_prime, special_primes,
};
use super::scale::Scale;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Coefficients of the ephemeral secret that are not zero.
pub const EPHEMERAL_WEIGHT: u32 = 32;

/// Bound of `|m / 2^ratio_bits + I|`: a raised coefficient is `c_0 + Σ ± c_1`, over `EPHEMERAL_WEIGHT` terms, each of at
/// most `q_0 / 2` in magnitude. It is never exceeded, whatever message and keys are.
pub const RANGE: f64 = (EPHEMERAL_WEIGHT + 1) as f64 / 2.0;

/// Chain primes per digit of the keys of slots-to-coefficients.
const LOW_DIGIT_LIMBS: u32 = 2;

/// Most usable levels: more than any secure chain has.
const LEVELS_MAX: u32 = 64;

/// What a bootstrapping must offer, and how its steps are cut. The default is empty and has no plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapRequest {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// log2 of the number of slots, which repeat through all of the ring's; `None` is all, `log_n - 1`. Files of circuits do not hold
    /// it, since circuits bootstrap all slots: the verifier refuses others.
    #[serde(skip)]
    pub sparse_log_slots: Option<u32>,
    /// Canonical scales of circuits stay near `2^log_scale`.
    pub log_scale: u32,
    /// Bits of the base prime `q_0`.
    pub base_bits: u32,
    /// Bits of the primes of mod-raise's levels, all that are above the circuits'.
    pub prime_bits: u32,
    /// Usable levels: the output's level less the level that slots-to-coefficients needs at the next input.
    pub levels: u32,
    /// Factors, and so levels, of slots-to-coefficients.
    pub to_coefficients: u32,
    /// Factors, and so levels, of coefficients-to-slots.
    pub to_slots: u32,
    /// The exponential is a polynomial of degree `2^log_degree - 1`, in `log_degree` levels …
    pub log_degree: u32,
    /// … of an angle divided by `2^squarings`; each squaring takes a level.
    pub squarings: u32,
    /// The message ratio: coefficients hold `m q_0 / 2^ratio_bits` before mod-raise, for |Re m|, |Im m| ≤ 1.
    pub ratio_bits: u32,
    /// Chain primes per digit of the keys at high levels.
    pub digit_limbs: u32,
}

/// A bootstrapping, ready to be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct BootstrapPlan {
    /// What was asked for.
    pub request: BootstrapRequest,
    /// Ring and all primes; canonical scales are those of [`BootstrapPlan::circuit`].
    pub parameters: Parameters,
    /// Level of what is bootstrapped.
    pub input: Level,
    /// Level of the result, at its canonical scale: the top of circuits.
    pub output: Level,
    /// Level of coefficients-to-slots' result, where the reduction begins.
    pub reduced_from: Level,
    /// Slots to coefficients.
    pub to_coefficients: Transform,
    /// Coefficients to slots.
    pub to_slots: Transform,
    /// The modular reduction of real and of imaginary parts.
    pub reduction: Reduction,
    /// What sparse slots need beside: none for full slots.
    pub sparse: Option<SparseSteps>,
    /// Gadget of all keys at high levels.
    pub gadget: Gadget,
    /// Every key, each once: sorted.
    pub keys: Vec<KeySpec>,
}

impl BootstrapPlan {
    /// Ring and primes as circuits see them: a chain up to the output's level, at which the scale is `2^log_scale`, and the
    /// primes above it apart.
    pub fn circuit(&self) -> Parameters {
        let (chain, raised) = self.parameters.chain.split_at(self.output.limbs());
        Parameters { chain: chain.to_vec(), raised: raised.to_vec(), ..self.parameters.clone() }
    }

    /// Slots of a message, each repeated through all slots of the ring.
    pub fn slots(&self) -> usize {
        1 << self.request.log_slots()
    }

    /// How many real values are reduced: real and imaginary parts apart, or, of sparse slots, side by side.
    pub fn reductions(&self) -> usize {
        if self.sparse.is_some() { 1 } else { 2 }
    }

    /// Levels that a circuit can use between two bootstraps.
    pub fn usable_levels(&self) -> u32 {
        self.output.0 - self.input.0
    }

    /// Gadget of the key that encapsulates: as small as the ephemeral secret's security asks for.
    pub fn encapsulation_gadget(&self) -> Gadget {
        Gadget { digit_limbs: 1, special_limbs: 1 }
    }

    /// Factors of both transforms and the join of sparse slots, in the order of evaluation.
    pub fn factors(&self) -> impl Iterator<Item = &TransformFactor> {
        let transforms = self.to_coefficients.factors.iter().chain(&self.to_slots.factors);
        transforms.chain(self.sparse.iter().map(|sparse| &sparse.join))
    }

    /// Bytes of the factors' diagonals, encoded as one word per coefficient of the subring that they repeat in.
    pub fn plaintext_bytes(&self) -> u64 {
        let bytes = |factor: &TransformFactor| (factor.products.len() as u64 * 16) << factor.log_period();
        self.factors().map(bytes).sum()
    }

    /// Bytes of the values that live at once while the steps run, at most: the raised value, its halves, and the results of
    /// the reduction's steps, which are all kept until the last.
    pub fn working_bytes(&self) -> u64 {
        let ciphertext = |level: Level| 2 * level.limbs() as u64 * self.limb_bytes();
        let steps = self.reduction.steps.iter().chain([&self.reduction.last]);
        4 * ciphertext(self.parameters.top()) + steps.map(|step| ciphertext(step.level)).sum::<u64>()
    }

    fn limb_bytes(&self) -> u64 {
        8 * self.parameters.n() as u64
    }
}

impl BootstrapRequest {
    /// Level of what is bootstrapped: what slots-to-coefficients takes.
    pub fn input(&self) -> Level {
        Level(self.to_coefficients)
    }

    /// Chooses everything.
    ///
    /// # Errors
    /// [`PrimeError`] where there are not enough primes or a size is outside what the engine takes.
    pub fn plan(&self) -> Result<BootstrapPlan, PrimeError> {
        self.check()?;
        let output = Level(self.levels + self.to_coefficients);
        // Joining sparse slots takes a level.
        let reduced = Level(output.0 + u32::from(self.log_repeats() > 0));
        let (input, reduced_from) =
            (self.input(), Level(reduced.0 + Reduction::levels(self.log_degree, self.squarings)));
        let parameters = self.parameters(output, Level(reduced_from.0 + self.to_slots))?;
        let circuit = Parameters { chain: parameters.chain[..output.limbs()].to_vec(), ..parameters.clone() };
        let scale = |level| Scale::canonical(level).value(&circuit);
        let sparse = (reduced > output)
            .then(|| SparseSteps::new(self, output, scale(output), parameters.chain[reduced.0 as usize]));
        let reduced_scale = sparse.as_ref().map_or(scale(output), |sparse| sparse.join_scale);
        let reduction = Reduction::new(self, &parameters.chain, reduced_from, reduced_scale);
        let gadget = Gadget { digit_limbs: self.digit_limbs, special_limbs: parameters.special.len() as u32 };
        let q_0 = parameters.chain[0] as f64;
        let low = low_gadget(&parameters, input);
        let ratio = libm::exp2(f64::from(self.ratio_bits));
        let to_coefficients = Transform::to_coefficients(self, input, q_0 / ratio / scale(input), low);
        // Each of the two parts is a sum with a conjugate, which doubles it.
        let to_y = reduction.input_scale / (2.0 * q_0 * RANGE) / self.repeats();
        let to_slots = Transform::to_slots(self, parameters.top(), to_y, gadget);
        let mut plan = BootstrapPlan {
            request: *self,
            parameters,
            input,
            output,
            reduced_from,
            to_coefficients,
            to_slots,
            reduction,
            sparse,
            gadget,
            keys: vec![],
        };
        plan.keys = keys(&plan);
        Ok(plan)
    }

    fn check(&self) -> Result<(), PrimeError> {
        let log_slots_max = self.log_n.saturating_sub(1);
        // Two factors of no layers are constants, which fewer would have to hold in fewer bits.
        let layers = self.log_slots().max(2);
        for (what, bits, least, most) in [
            ("ring degree", self.log_n, 4, 17),
            ("slots", self.log_slots(), 0, log_slots_max),
            ("usable levels", self.levels, 1, LEVELS_MAX),
            ("message ratio", self.ratio_bits, 2, 20),
            ("primes of bootstrapping", self.prime_bits, 30, 50),
            ("factors of slots-to-coefficients", self.to_coefficients, 1, layers),
            ("factors of coefficients-to-slots", self.to_slots, 1, layers),
            ("degree of the exponential", self.log_degree, 2, 6),
            ("squarings", self.squarings, 1, 8),
            ("primes per digit", self.digit_limbs, 1, 32),
        ] {
            if !(least..=most).contains(&bits) {
                return Err(PrimeError::Size { what, bits, least, most });
            }
        }
        Ok(())
    }

    /// The circuits' chain, and above it primes of one size, which the scales of the bootstrapping follow.
    fn parameters(&self, output: Level, top: Level) -> Result<Parameters, PrimeError> {
        let request = ChainRequest {
            log_n: self.log_n,
            log_scale: self.log_scale,
            base_bits: self.base_bits,
            levels: output.0,
        };
        let mut chain = request.chain()?;
        let target = (1 << self.prime_bits).min(MAX_PRIME - 1);
        while chain.len() < top.limbs() {
            chain.push(nearest_prime(target, self.log_n, &chain)?);
        }
        let special = special_primes(self.log_n, &chain, self.digit_limbs)?;
        Ok(Parameters { log_n: self.log_n, chain, raised: vec![], special, log_scale: self.log_scale })
    }
}

/// Digits of [`LOW_DIGIT_LIMBS`] primes and as few special primes as leave the margin above a digit.
fn low_gadget(parameters: &Parameters, level: Level) -> Gadget {
    let log2 = |primes: &[u64]| primes.iter().map(|q| libm::log2(*q as f64)).sum::<f64>();
    let digits = parameters.chain[..level.limbs()].chunks(LOW_DIGIT_LIMBS as usize);
    let wanted = digits.map(log2).fold(0.0, f64::max) + f64::from(SPECIAL_MARGIN_MIN_BITS);
    let all = parameters.special.len();
    let enough = (1..=all).find(|count| log2(&parameters.special[..*count]) >= wanted);
    match enough {
        Some(special) => Gadget { digit_limbs: LOW_DIGIT_LIMBS, special_limbs: special as u32 },
        None => Gadget { digit_limbs: 1, special_limbs: all as u32 },
    }
}

/// Each key once, at the highest level at which its gadget is used.
fn keys(plan: &BootstrapPlan) -> Vec<KeySpec> {
    let mut levels: BTreeMap<(KeyKind, Gadget), Level> = BTreeMap::new();
    let mut need = |kind, gadget, level: Level| {
        let highest = levels.entry((kind, gadget)).or_insert(level);
        *highest = (*highest).max(level);
    };
    let mut rotate = |factor: &TransformFactor, gadget| {
        let carries = (0..factor.giants.len()).map(|giant| factor.carry(giant));
        for step in factor.babies.iter().copied().chain(carries).filter(|step| *step != 0) {
            need(KeyKind::Rotation(step), gadget, factor.level);
        }
    };
    for transform in [&plan.to_coefficients, &plan.to_slots] {
        transform.factors.iter().for_each(|factor| rotate(factor, transform.gadget));
    }
    if let Some(sparse) = &plan.sparse {
        rotate(&sparse.join, plan.gadget);
        for step in &sparse.trace {
            need(KeyKind::Rotation(*step), plan.gadget, plan.parameters.top());
        }
    }
    need(KeyKind::Encapsulation, plan.encapsulation_gadget(), Level(0));
    need(KeyKind::Decapsulation, plan.gadget, plan.parameters.top());
    need(KeyKind::Conjugation, plan.gadget, plan.reduced_from);
    need(KeyKind::Relinearization, plan.gadget, plan.reduced_from);
    let mut keys: Vec<_> =
        levels.into_iter().map(|((kind, gadget), level)| KeySpec { kind, level, gadget }).collect();
    keys.sort_unstable();
    keys
}

#[cfg(test)]
mod tests;
