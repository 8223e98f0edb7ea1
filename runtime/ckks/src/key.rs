//! Evaluation keys and public keys: pairs of polynomials whose uniform halves come from a seed.
//!
//! A key that switches `s_from` to `s_to` holds per digit j a pair with `b_j + a_j · s_to = e_j + w_j · s_from` over its
//! key basis `q_0 … q_{limbs-1}, p_0 … p_{special-1}`; the gadget factor `w_j` is P modulo the chain primes of digit j and
//! 0 modulo all others. The relinearization key switches s² to s; the key of Galois element g switches s to φ_g⁻¹(s), so
//! that φ_g applied to the two results yields the rotated value under s and no digit is ever permuted. Encapsulation and
//! decapsulation switch s to the sparse secret of one bootstrapping key set and back (ePrint 2022/024).
//! A key is valid at its limbs and below. Only `b` and the seed travel; `a` is expanded here, in parallel.

use crate::seed::{Domain, Purpose, Seed, uniform_poly};
use crate::{Context, Gadget, GaloisElement, Limbs};
use cipherloom_ring::{Evaluation, Limb, Poly};

/// What an evaluation key switches from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyTarget {
    /// From s² to s.
    Relinearization,
    /// For the automorphism of this element: a rotation, or the conjugation.
    Galois(GaloisElement),
    /// From s to the ephemeral sparse secret of bootstrapping.
    Encapsulation,
    /// From the ephemeral sparse secret back to s.
    Decapsulation,
}

impl KeyTarget {
    /// The number that stands for this target in formats: the Galois element, which is odd, or 0 for relinearization, 2
    /// for encapsulation, 4 for decapsulation.
    pub fn code(self) -> u64 {
        match self {
            KeyTarget::Relinearization => 0,
            KeyTarget::Encapsulation => 2,
            KeyTarget::Decapsulation => 4,
            KeyTarget::Galois(element) => element.0,
        }
    }

    /// The target of a code; [`KeyShape::check`] says whether a context has it.
    pub fn of(code: u64) -> KeyTarget {
        match code {
            0 => KeyTarget::Relinearization,
            2 => KeyTarget::Encapsulation,
            4 => KeyTarget::Decapsulation,
            element => KeyTarget::Galois(GaloisElement(element)),
        }
    }
}

/// All that fixes the size and the identity of an evaluation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyShape {
    /// What it switches.
    pub target: KeyTarget,
    /// Chain primes of its basis: the largest number of limbs at which it is used.
    pub limbs: Limbs,
    /// Its decomposition.
    pub gadget: Gadget,
}

/// Why a key does not fit its context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A count lies outside what the context has.
    #[error("a key with {found} {what}: the context allows {min} to {max}")]
    OutOfRange {
        /// Which count.
        what: &'static str,
        /// Its value.
        found: u64,
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// Automorphisms are odd powers below 2N.
    #[error("Galois element {element} is not an odd number between 3 and {two_n} - 1")]
    NoAutomorphism {
        /// The element.
        element: u64,
        /// 2N.
        two_n: u64,
    },
    /// The polynomials do not have the degree, limbs or number that the shape asks for.
    #[error("a key half has {found} {what}, its shape asks for {expected}")]
    HalfMismatch {
        /// What was counted.
        what: &'static str,
        /// What the half has.
        found: usize,
        /// What the shape asks for.
        expected: usize,
    },
}

impl KeyShape {
    /// The shape that plain numbers describe: the target's code, chain primes, chain primes per digit, special primes.
    /// [`KeyShape::check`] says whether a context has it.
    pub fn of(code: u64, limbs: usize, digit_limbs: u32, special_limbs: u32) -> KeyShape {
        let target = KeyTarget::of(code);
        let gadget = Gadget { digit_limbs: digit_limbs as usize, special_limbs: special_limbs as usize };
        KeyShape { target, limbs: Limbs(limbs), gadget }
    }

    /// Digits of the decomposition at full limbs, one pair of polynomials each.
    pub fn digits(&self) -> usize {
        self.gadget.digits(self.limbs)
    }

    /// Limbs of each polynomial.
    pub fn basis_limbs(&self) -> usize {
        self.limbs.0 + self.gadget.special_limbs
    }

    /// Checks that `context` has the primes and the automorphism.
    pub fn check(&self, context: &Context) -> Result<(), KeyError> {
        let within = |what, found: usize, max: usize| match (1..=max).contains(&found) {
            true => Ok(()),
            false => Err(KeyError::OutOfRange { what, found: found as u64, min: 1, max: max as u64 }),
        };
        within("limbs", self.limbs.0, context.chain().len())?;
        within("special primes", self.gadget.special_limbs, context.special().len())?;
        within("limbs per digit", self.gadget.digit_limbs, context.chain().len())?;
        let two_n = 2 * context.n() as u64;
        match self.target {
            KeyTarget::Galois(GaloisElement(element))
                if element % 2 == 0 || element < 3 || element >= two_n =>
            {
                Err(KeyError::NoAutomorphism { element, two_n })
            }
            _ => Ok(()),
        }
    }

    /// Primes of the key in order; the shape must have passed [`KeyShape::check`].
    pub fn basis<'a>(&self, context: &'a Context) -> Vec<&'a Limb> {
        let chain = context.chain()[..self.limbs.0].iter();
        chain.chain(&context.special()[..self.gadget.special_limbs]).map(AsRef::as_ref).collect()
    }

    /// Identity of the key in the domains of its seed streams.
    pub fn id(&self) -> [u8; 20] {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&self.target.code().to_le_bytes());
        let counts = [self.limbs.0, self.gadget.digit_limbs, self.gadget.special_limbs];
        for (slot, count) in id[8..].chunks_exact_mut(4).zip(counts) {
            slot.copy_from_slice(&(count as u32).to_le_bytes());
        }
        id
    }

    /// Uniform half of digit `digit`.
    pub fn uniform_half(&self, context: &Context, seed: &Seed, digit: usize) -> Poly<Evaluation> {
        let id = self.id();
        let domain = Domain { purpose: Purpose::EvaluationKey, id: &id, digit: digit as u32 };
        uniform_poly(seed, &domain, context.degree(), &self.basis(context))
    }
}

/// A key that the server holds: it switches ciphertexts and reveals nothing.
#[derive(Clone)]
pub struct EvaluationKey {
    shape: KeyShape,
    seed: Seed,
    a: Vec<Poly<Evaluation>>,
    b: Vec<Poly<Evaluation>>,
}

impl EvaluationKey {
    /// Completes the halves `b`, one per digit, by the uniform halves of `seed`.
    pub fn new(
        context: &Context,
        shape: KeyShape,
        seed: Seed,
        b: Vec<Poly<Evaluation>>,
    ) -> Result<EvaluationKey, KeyError> {
        let mut b = b.into_iter();
        let found = b.len();
        let expected = shape.digits();
        if found != expected {
            return Err(KeyError::HalfMismatch { what: "digits", found, expected });
        }
        EvaluationKey::generate(context, shape, seed, |_, _| b.next().expect("as many halves as digits"))
    }

    /// Makes the half `b` of each digit from its index and its uniform half.
    pub fn generate(
        context: &Context,
        shape: KeyShape,
        seed: Seed,
        mut half: impl FnMut(usize, &Poly<Evaluation>) -> Poly<Evaluation>,
    ) -> Result<EvaluationKey, KeyError> {
        shape.check(context)?;
        let digits = 0..shape.digits();
        let a: Vec<_> = digits.map(|digit| shape.uniform_half(context, &seed, digit)).collect();
        let b: Vec<_> = a.iter().enumerate().map(|(digit, a)| half(digit, a)).collect();
        let same = |what, found, expected| match found == expected {
            true => Ok(()),
            false => Err(KeyError::HalfMismatch { what, found, expected }),
        };
        for half in &b {
            same("coefficients", half.degree().n(), context.n())?;
            same("limbs", half.limbs(), shape.basis_limbs())?;
        }
        Ok(EvaluationKey { shape, seed, a, b })
    }

    /// What it switches, its limbs and gadget.
    pub fn shape(&self) -> &KeyShape {
        &self.shape
    }
    /// What it switches from.
    pub fn target(&self) -> KeyTarget {
        self.shape.target
    }
    /// Chain primes of its basis.
    pub fn limbs(&self) -> Limbs {
        self.shape.limbs
    }
    /// Its decomposition.
    pub fn gadget(&self) -> Gadget {
        self.shape.gadget
    }
    /// Number of digits.
    pub fn digits(&self) -> usize {
        self.b.len()
    }
    /// Seed of the uniform halves.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }
    /// Uniform half of a digit, over the key basis.
    pub fn a(&self, digit: usize) -> &Poly<Evaluation> {
        &self.a[digit]
    }
    /// The other half of a digit.
    pub fn b(&self, digit: usize) -> &Poly<Evaluation> {
        &self.b[digit]
    }
    /// Bytes that the key takes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.a.iter().chain(&self.b).map(|half| size_of_val(half.as_slice())).sum()
    }
}

impl std::fmt::Debug for EvaluationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EvaluationKey({:?}, {} digits, {} bytes)", self.shape, self.digits(), self.memory_bytes())
    }
}

/// A key that anyone may encrypt with: `b + a · s = e`.
#[derive(Clone)]
pub struct PublicKey {
    seed: Seed,
    a: Poly<Evaluation>,
    b: Poly<Evaluation>,
}

impl PublicKey {
    /// Completes `b`, over the first limbs of the chain, by the uniform half of `seed`.
    pub fn new(context: &Context, seed: Seed, b: Poly<Evaluation>) -> Result<PublicKey, KeyError> {
        let (found, expected) = (b.degree().n(), context.n());
        if found != expected {
            return Err(KeyError::HalfMismatch { what: "coefficients", found, expected });
        }
        let (found, max) = (b.limbs(), context.chain().len());
        if found == 0 || found > max {
            return Err(KeyError::OutOfRange { what: "limbs", found: found as u64, min: 1, max: max as u64 });
        }
        let a = PublicKey::uniform_half(context, &seed, Limbs(found));
        Ok(PublicKey { seed, a, b })
    }

    /// Uniform half over the first `limbs` primes of the chain.
    pub fn uniform_half(context: &Context, seed: &Seed, limbs: Limbs) -> Poly<Evaluation> {
        let basis: Vec<&Limb> = context.chain()[..limbs.0].iter().map(AsRef::as_ref).collect();
        let domain = Domain { purpose: Purpose::PublicKey, id: &[], digit: 0 };
        uniform_poly(seed, &domain, context.degree(), &basis)
    }

    /// Chain primes of the key; encryptions have at most as many.
    pub fn limbs(&self) -> Limbs {
        Limbs(self.b.limbs())
    }
    /// Seed of the uniform half.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }
    /// Uniform half.
    pub fn a(&self) -> &Poly<Evaluation> {
        &self.a
    }
    /// The other half.
    pub fn b(&self) -> &Poly<Evaluation> {
        &self.b
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({} limbs, {} bytes)", self.b.limbs(), 2 * size_of_val(self.b.as_slice()))
    }
}
