//! Payload bytes of ciphertexts, evaluation keys and public keys, for any `Read` and `Write`.
//!
//! Little endian; a header of counts, a seed where there is one, then polynomials limb by limb in evaluation form, each
//! residue in the bytes its prime needs ([`residue_bytes`]). Magic, version, checksums and digests belong to the
//! container around a payload. A reader checks every count against the context before it allocates and every residue
//! against its prime; bytes from outside yield an error, never a panic. One object is in memory at a time.
//!
//! | payload | header | body |
//! |---|---|---|
//! | ciphertext | form (u8: 1 full, 2 seeded), parts (u8), limbs (u16) | full: the parts; seeded: seed, first part |
//! | evaluation key | code of the target (u64: [`KeyTarget::code`]), limbs, digit limbs, special limbs (u16 each), seed | b of each digit |
//! | public key | limbs (u16), seed | b |

use crate::key::{EvaluationKey, KeyError, KeyShape, KeyTarget, PublicKey};
use crate::seed::{Domain, Purpose, SEED_BYTES, Seed, residue_bytes, uniform_poly};
use crate::{Ciphertext, CkksError, Context, Gadget, Limbs};
use cipherloom_ring::{Evaluation, Limb, Poly};
use std::io::{ErrorKind, Read, Write};

/// Why a payload could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The data ends too early.
    #[error("the data ends inside {what}")]
    Truncated {
        /// The object being read.
        what: &'static str,
    },
    /// Bytes follow a complete payload.
    #[error("bytes follow the end of the payload")]
    Trailing,
    /// A count or tag lies outside what the context allows.
    #[error("{what} is {found}, allowed are {min} to {max}")]
    OutOfRange {
        /// Which field.
        what: &'static str,
        /// Its value.
        found: u64,
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// A residue is not below its prime.
    #[error("a residue modulo {q} is {word}")]
    NotReduced {
        /// The prime.
        q: u64,
        /// The residue found.
        word: u64,
    },
    /// The header asks for a key that the context cannot hold.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The polynomials do not make a value of the scheme.
    #[error(transparent)]
    Ckks(#[from] CkksError),
    /// The stream failed.
    #[error("cannot transfer {what}")]
    Io {
        /// The object in transfer.
        what: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

const CIPHERTEXT: &str = "a ciphertext";
const EVALUATION_KEY: &str = "an evaluation key";
const PUBLIC_KEY: &str = "a public key";

const FORM_FULL: u8 = 1;
const FORM_SEEDED: u8 = 2;
/// A product before its relinearization has three parts; more never leave the engine.
const PARTS_MAX: usize = 3;

/// A secret-key encryption as it is sent: the second part is the uniform polynomial of the seed.
#[derive(Clone, Debug)]
pub struct SeededCiphertext {
    /// Seed of the second part; used once.
    pub seed: Seed,
    /// First part.
    pub first: Poly<Evaluation>,
}

impl SeededCiphertext {
    /// The second part over the first `limbs` primes of the chain.
    pub fn second(context: &Context, seed: &Seed, limbs: Limbs) -> Poly<Evaluation> {
        let domain = Domain { purpose: Purpose::Ciphertext, id: &[], digit: 0 };
        uniform_poly(seed, &domain, context.degree(), &chain(context, limbs.0))
    }

    /// The whole ciphertext.
    ///
    /// # Errors
    /// [`CkksError::TooManyLimbs`] and those of [`Ciphertext::new`].
    pub fn expand(self, context: &Context) -> Result<Ciphertext, CkksError> {
        let (have, max) = (self.first.limbs(), context.chain().len());
        if have > max {
            return Err(CkksError::TooManyLimbs { have, max });
        }
        let second = SeededCiphertext::second(context, &self.seed, Limbs(self.first.limbs()));
        Ciphertext::new(vec![self.first, second])
    }
}

fn chain(context: &Context, limbs: usize) -> Vec<&Limb> {
    context.chain()[..limbs].iter().map(AsRef::as_ref).collect()
}

/// Bytes of one packed polynomial.
fn poly_bytes(context: &Context, basis: &[&Limb]) -> usize {
    basis.iter().map(|limb| context.n() * residue_bytes(limb.modulus())).sum()
}

/// Bytes of a full ciphertext payload.
pub fn ciphertext_bytes(context: &Context, limbs: Limbs, parts: usize) -> usize {
    4 + parts * poly_bytes(context, &chain(context, limbs.0))
}

/// Bytes of a seeded ciphertext payload.
pub fn seeded_ciphertext_bytes(context: &Context, limbs: Limbs) -> usize {
    4 + SEED_BYTES + poly_bytes(context, &chain(context, limbs.0))
}

/// Bytes of an evaluation key payload; the shape must have passed [`KeyShape::check`].
pub fn evaluation_key_bytes(context: &Context, shape: &KeyShape) -> usize {
    14 + SEED_BYTES + shape.digits() * poly_bytes(context, &shape.basis(context))
}

/// Writes a full ciphertext.
pub fn write_ciphertext(
    context: &Context,
    ciphertext: &Ciphertext,
    out: &mut impl Write,
) -> Result<(), WireError> {
    let (parts, limbs) = (ciphertext.degree() + 1, ciphertext.limbs().0);
    let mut to = Writer { what: CIPHERTEXT, out };
    to.bytes(&[FORM_FULL, parts as u8])?;
    to.count(limbs)?;
    (0..parts).try_for_each(|part| to.poly(&chain(context, limbs), ciphertext.part(part)))
}

/// Writes a seeded ciphertext: about half the bytes of a full one.
pub fn write_seeded_ciphertext(
    context: &Context,
    ciphertext: &SeededCiphertext,
    out: &mut impl Write,
) -> Result<(), WireError> {
    let limbs = ciphertext.first.limbs();
    let mut to = Writer { what: CIPHERTEXT, out };
    to.bytes(&[FORM_SEEDED, 2])?;
    to.count(limbs)?;
    to.bytes(&ciphertext.seed.0)?;
    to.poly(&chain(context, limbs), &ciphertext.first)
}

/// Reads a ciphertext of either form.
pub fn read_ciphertext(context: &Context, input: &mut impl Read) -> Result<Ciphertext, WireError> {
    let mut from = Reader { what: CIPHERTEXT, input };
    let [form, parts] = from.bytes()?;
    let seeded = from.within("form of a ciphertext", form.into(), FORM_FULL.into(), FORM_SEEDED.into())?
        == usize::from(FORM_SEEDED);
    let parts = from.within("parts of a ciphertext", parts.into(), 2, if seeded { 2 } else { PARTS_MAX })?;
    let limbs = from.count("limbs of a ciphertext", context.chain().len())?;
    let basis = chain(context, limbs);
    if seeded {
        let seed = Seed(from.bytes()?);
        return Ok(SeededCiphertext { seed, first: from.poly(context, &basis)? }.expand(context)?);
    }
    let parts = (0..parts).map(|_| from.poly(context, &basis)).collect::<Result<_, _>>()?;
    Ok(Ciphertext::new(parts)?)
}

/// Writes an evaluation key.
pub fn write_evaluation_key(
    context: &Context,
    key: &EvaluationKey,
    out: &mut impl Write,
) -> Result<(), WireError> {
    let mut to = Writer { what: EVALUATION_KEY, out };
    to.bytes(&key.target().code().to_le_bytes())?;
    to.count(key.limbs().0)?;
    to.count(key.gadget().digit_limbs)?;
    to.count(key.gadget().special_limbs)?;
    to.bytes(&key.seed().0)?;
    let basis = key.shape().basis(context);
    (0..key.digits()).try_for_each(|digit| to.poly(&basis, key.b(digit)))
}

/// Reads an evaluation key and expands its uniform halves.
pub fn read_evaluation_key(context: &Context, input: &mut impl Read) -> Result<EvaluationKey, WireError> {
    let (shape, seed, b) = read_key_halves(context, input)?;
    Ok(EvaluationKey::new(context, shape, seed, b)?)
}

/// Reads an evaluation key without expanding it: every check of [`read_evaluation_key`], and what the key switches.
pub fn check_evaluation_key(context: &Context, input: &mut impl Read) -> Result<KeyShape, WireError> {
    read_key_halves(context, input).map(|(shape, ..)| shape)
}

/// What travels of a key.
type KeyHalves = (KeyShape, Seed, Vec<Poly<Evaluation>>);

fn read_key_halves(context: &Context, input: &mut impl Read) -> Result<KeyHalves, WireError> {
    let mut from = Reader { what: EVALUATION_KEY, input };
    let kind = KeyTarget::of(u64::from_le_bytes(from.bytes()?));
    let limbs = from.count("limbs of a key", context.chain().len())?;
    let digit_limbs = from.count("limbs per digit of a key", context.chain().len())?;
    let special_limbs = from.count("special primes of a key", context.special().len())?;
    let shape = KeyShape { target: kind, limbs: Limbs(limbs), gadget: Gadget { digit_limbs, special_limbs } };
    shape.check(context)?;
    let seed = Seed(from.bytes()?);
    let basis = shape.basis(context);
    let b = (0..shape.digits()).map(|_| from.poly(context, &basis)).collect::<Result<_, _>>()?;
    Ok((shape, seed, b))
}

/// Writes a public key.
pub fn write_public_key(context: &Context, key: &PublicKey, out: &mut impl Write) -> Result<(), WireError> {
    let mut to = Writer { what: PUBLIC_KEY, out };
    to.count(key.limbs().0)?;
    to.bytes(&key.seed().0)?;
    to.poly(&chain(context, key.limbs().0), key.b())
}

/// Reads a public key and expands its uniform half.
pub fn read_public_key(context: &Context, input: &mut impl Read) -> Result<PublicKey, WireError> {
    let mut from = Reader { what: PUBLIC_KEY, input };
    let limbs = from.count("limbs of a public key", context.chain().len())?;
    let seed = Seed(from.bytes()?);
    let b = from.poly(context, &chain(context, limbs))?;
    Ok(PublicKey::new(context, seed, b)?)
}

/// Checks that nothing follows a payload.
pub fn expect_end(input: &mut impl Read) -> Result<(), WireError> {
    match (Reader { what: "the end", input }).bytes::<1>() {
        Err(WireError::Truncated { .. }) => Ok(()),
        Err(other) => Err(other),
        Ok(_) => Err(WireError::Trailing),
    }
}

/// Residues are moved as whole words; a buffer ends with one spare word.
const WORD_BYTES: usize = size_of::<u64>();

struct Writer<'a, W> {
    what: &'static str,
    out: &'a mut W,
}

impl<W: Write> Writer<'_, W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.out.write_all(bytes).map_err(|source| WireError::Io { what: self.what, source })
    }

    /// Counts are checked against their context when the object is made; a chain has far fewer than 2^16 primes.
    fn count(&mut self, count: usize) -> Result<(), WireError> {
        debug_assert!(count <= usize::from(u16::MAX));
        self.bytes(&(count as u16).to_le_bytes())
    }

    fn poly(&mut self, basis: &[&Limb], poly: &Poly<Evaluation>) -> Result<(), WireError> {
        let mut packed = Vec::new();
        for (limb, words) in basis.iter().zip(poly.limbs_iter()) {
            let width = residue_bytes(limb.modulus());
            packed.resize(words.len() * width + WORD_BYTES, 0);
            for (k, word) in words.iter().enumerate() {
                // The zero bytes above a residue are overwritten by the next one.
                packed[k * width..k * width + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
            }
            self.bytes(&packed[..words.len() * width])?;
        }
        Ok(())
    }
}

struct Reader<'a, R> {
    what: &'static str,
    input: &'a mut R,
}

impl<R: Read> Reader<'_, R> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), WireError> {
        let what = self.what;
        self.input.read_exact(out).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => WireError::Truncated { what },
            _ => WireError::Io { what, source },
        })
    }

    fn bytes<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], WireError> {
        let mut out = [0; COUNT];
        self.fill(&mut out)?;
        Ok(out)
    }

    fn within(&self, what: &'static str, found: u64, min: usize, max: usize) -> Result<usize, WireError> {
        let (min, max) = (min as u64, max as u64);
        match (min..=max).contains(&found) {
            true => Ok(found as usize),
            false => Err(WireError::OutOfRange { what, found, min, max }),
        }
    }

    fn count(&mut self, what: &'static str, max: usize) -> Result<usize, WireError> {
        let found = u16::from_le_bytes(self.bytes()?);
        self.within(what, found.into(), 1, max)
    }

    fn poly(&mut self, context: &Context, basis: &[&Limb]) -> Result<Poly<Evaluation>, WireError> {
        let mut poly = Poly::zero(context.degree(), basis.len());
        let mut packed = Vec::new();
        for (limb, words) in basis.iter().zip(poly.limbs_mut()) {
            let (q, width) = (limb.modulus().value(), residue_bytes(limb.modulus()));
            packed.resize(words.len() * width + WORD_BYTES, 0);
            self.fill(&mut packed[..words.len() * width])?;
            let mask = u64::MAX >> (u64::BITS as usize - 8 * width);
            for (k, word) in words.iter_mut().enumerate() {
                let window = packed[k * width..k * width + WORD_BYTES].try_into();
                *word = u64::from_le_bytes(window.expect("a window of WORD_BYTES")) & mask;
            }
            if let Some(&word) = words.iter().find(|word| **word >= q) {
                return Err(WireError::NotReduced { q, word });
            }
        }
        Ok(poly)
    }
}
