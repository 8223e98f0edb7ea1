//! Complex slots to plaintexts, and coefficients back to slots.
//!
//! Any power of two up to `N/2` slots: fewer slots are the same values repeated, and live in a subring. Coefficients
//! are rounded to nearest, ties to even. Relies on the embedding of `encoder/embedding.rs` for bits that do not depend
//! on the machine; the transforms behind an expansion run over the limbs in parallel.

mod embedding;

use std::sync::Arc;

use cipherloom_ring::{Coefficient, Degree, Limb, Poly, repeat_each};

use self::embedding::{Embedding, bit_reversed};
use crate::{CkksError, CompactPlaintext, Limbs, Plaintext, parallel};

/// Coefficients to encode are below this in magnitude.
const COEFFICIENT_MAX: f64 = (1u64 << 62) as f64;

/// A complex number: the content of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Complex {
    /// Real part.
    pub re: f64,
    /// Imaginary part.
    pub im: f64,
}

/// Encodes and decodes for one ring degree and chain.
pub struct Encoder {
    degree: Degree,
    chain: Vec<Arc<Limb>>,
    special: Vec<Arc<Limb>>,
    embedding: Embedding,
}

impl Encoder {
    pub(crate) fn new(degree: Degree, chain: Vec<Arc<Limb>>, special: Vec<Arc<Limb>>) -> Encoder {
        Encoder { degree, chain, special, embedding: Embedding::new(degree.n() / 2) }
    }

    /// Real slots times `scale` as a plaintext of `limbs` chain and `special` special primes.
    ///
    /// # Errors
    /// Those of [`Encoder::compact`] and [`Encoder::expand`].
    pub fn encode(
        &self,
        values: &[f64],
        scale: f64,
        limbs: Limbs,
        special: usize,
    ) -> Result<Plaintext, CkksError> {
        self.expand(&self.compact(values, scale)?, limbs, special)
    }

    /// Complex slots times `scale` as a plaintext of `limbs` chain and `special` special primes.
    ///
    /// # Errors
    /// Those of [`Encoder::compact`] and [`Encoder::expand`].
    pub fn encode_complex(
        &self,
        values: &[Complex],
        scale: f64,
        limbs: Limbs,
        special: usize,
    ) -> Result<Plaintext, CkksError> {
        self.expand(&self.compact_complex(values, scale)?, limbs, special)
    }

    /// Real slots times `scale`, rounded to integers.
    ///
    /// # Errors
    /// [`CkksError::SlotCount`], [`CkksError::Scale`], and [`CkksError::Coefficient`] where a rounded coefficient
    /// is not finite and below `2^62`.
    pub fn compact(&self, values: &[f64], scale: f64) -> Result<CompactPlaintext, CkksError> {
        self.interpolate(values.to_vec(), vec![0.0; values.len()], scale)
    }

    /// Complex slots times `scale`, rounded to integers.
    ///
    /// # Errors
    /// As [`Encoder::compact`].
    pub fn compact_complex(&self, values: &[Complex], scale: f64) -> Result<CompactPlaintext, CkksError> {
        let (re, im) = values.iter().map(|v| (v.re, v.im)).unzip();
        self.interpolate(re, im, scale)
    }

    /// A plaintext of `limbs` chain and `special` special primes.
    ///
    /// # Errors
    /// [`CkksError::TooFewLimbs`] for no limbs, [`CkksError::TooManyLimbs`] for more limbs than primes,
    /// [`CkksError::SlotCount`] for a plaintext of a larger ring.
    pub fn expand(
        &self,
        compact: &CompactPlaintext,
        Limbs(limbs): Limbs,
        special: usize,
    ) -> Result<Plaintext, CkksError> {
        if limbs == 0 {
            return Err(CkksError::TooFewLimbs { have: 0, need: 1 });
        }
        for (have, max) in [(limbs, self.chain.len()), (special, self.special.len())] {
            if have > max {
                return Err(CkksError::TooManyLimbs { have, max });
            }
        }
        self.check_compact(compact)?;
        let n = self.degree.n();
        let basis: Vec<&Limb> =
            self.chain[..limbs].iter().chain(&self.special[..special]).map(AsRef::as_ref).collect();
        let mut poly = Poly::unspecified(self.degree, basis.len());
        let count = compact.value_count(n);
        let scratch_limbs = usize::from(count < n);
        parallel::for_each(n, poly.limbs_mut().zip(&basis), scratch_limbs, |(words, limb), scratch| {
            if count == n {
                return compact.values(limb, words);
            }
            compact.values(limb, &mut scratch[..count]);
            repeat_each(&scratch[..count], words);
        });
        Plaintext::new(poly, special)
    }

    /// Checks that a plaintext is not of a larger ring.
    pub(crate) fn check_compact(&self, compact: &CompactPlaintext) -> Result<(), CkksError> {
        let (n, len) = (self.degree.n(), compact.coefficients().len());
        if len > n { Err(CkksError::SlotCount { slots: len / 2, max: n / 2 }) } else { Ok(()) }
    }

    /// Slots of the polynomial with these `N` real coefficients, divided by `scale`.
    ///
    /// # Errors
    /// [`CkksError::SlotCount`], [`CkksError::RingDegree`] for another number of coefficients, [`CkksError::Scale`].
    pub fn decode(&self, coefficients: &[f64], scale: f64, slots: usize) -> Result<Vec<Complex>, CkksError> {
        self.check_slots(slots)?;
        check_scale(scale)?;
        let n = self.degree.n();
        if coefficients.len() != n {
            return Err(CkksError::RingDegree { found: coefficients.len(), expected: n });
        }
        let gap = n / (2 * slots);
        let take = |from: usize| (0..slots).map(|j| coefficients[from + j * gap] / scale).collect::<Vec<_>>();
        let (mut re, mut im) = (take(0), take(n / 2));
        self.embedding.evaluate(&mut re, &mut im);
        Ok(re.into_iter().zip(im).map(|(re, im)| Complex { re, im }).collect())
    }

    /// Slots of a polynomial over the first chain primes, its coefficients taken centred, divided by `scale`.
    ///
    /// # Errors
    /// Those of [`Encoder::decode`] and of [`Encoder::centred`].
    pub fn decode_poly(
        &self,
        poly: &Poly<Coefficient>,
        scale: f64,
        slots: usize,
    ) -> Result<Vec<Complex>, CkksError> {
        self.decode(&self.centred(poly)?, scale, slots)
    }

    /// The centred coefficients of a polynomial over the first chain primes, each rounded to a double.
    ///
    /// # Errors
    /// [`CkksError::RingDegree`], [`CkksError::TooFewLimbs`], [`CkksError::TooManyLimbs`].
    pub fn centred(&self, poly: &Poly<Coefficient>) -> Result<Vec<f64>, CkksError> {
        let (found, expected) = (poly.degree().n(), self.degree.n());
        if found != expected {
            return Err(CkksError::RingDegree { found, expected });
        }
        let (have, max) = (poly.limbs(), self.chain.len());
        if have == 0 {
            return Err(CkksError::TooFewLimbs { have, need: 1 });
        }
        if have > max {
            return Err(CkksError::TooManyLimbs { have, max });
        }
        let radix = MixedRadix::new(&self.chain[..have]);
        let mut residues = vec![0; have];
        let coefficient = |j: usize| {
            residues.iter_mut().zip(poly.limbs_iter()).for_each(|(r, limb)| *r = limb[j]);
            radix.centred(&mut residues)
        };
        Ok((0..expected).map(coefficient).collect())
    }

    fn interpolate(
        &self,
        mut re: Vec<f64>,
        mut im: Vec<f64>,
        scale: f64,
    ) -> Result<CompactPlaintext, CkksError> {
        self.check_slots(re.len())?;
        check_scale(scale)?;
        let slots = re.len();
        self.embedding.interpolate(&mut re, &mut im);
        let factor = scale / slots as f64;
        let mut coefficients = vec![0; 2 * slots];
        let (first, second) = coefficients.split_at_mut(slots);
        let (first, second) =
            rayon::join(|| round_all(first, &re, factor), || round_all(second, &im, factor));
        first.and(second)?;
        Ok(CompactPlaintext::new(coefficients))
    }

    fn check_slots(&self, slots: usize) -> Result<(), CkksError> {
        let max = self.degree.n() / 2;
        if slots.is_power_of_two() && slots <= max {
            Ok(())
        } else {
            Err(CkksError::SlotCount { slots, max })
        }
    }
}

fn check_scale(scale: f64) -> Result<(), CkksError> {
    if scale.is_finite() && scale > 0.0 { Ok(()) } else { Err(CkksError::Scale { scale }) }
}

/// The integers next to `values`, which are in bit-reversed order, times `factor`.
fn round_all(integers: &mut [i64], values: &[f64], factor: f64) -> Result<(), CkksError> {
    for (i, integer) in integers.iter_mut().enumerate() {
        let value = values[bit_reversed(i, values.len())] * factor;
        if value.is_nan() || value.abs() >= COEFFICIENT_MAX {
            return Err(CkksError::Coefficient { value });
        }
        *integer = round(value);
    }
    Ok(())
}

/// in (-2^62, 2^62): the nearest integer, ties to even.
#[inline]
fn round(x: f64) -> i64 {
    /// Adding it leaves no room for a fraction; integers of 51 bits keep their value.
    const SHIFT: f64 = 1.5 * (1u64 << 52) as f64;
    if x.abs() < (1u64 << 51) as f64 { ((x + SHIFT) - SHIFT) as i64 } else { x.round_ties_even() as i64 }
}

/// Residues modulo several primes to one number, by Garner's mixed radix: exact, no big integers.
struct MixedRadix<'a> {
    limbs: &'a [Arc<Limb>],
    /// `inverses[i][j] = 1/q_j mod q_i`, `j < i`.
    inverses: Vec<Vec<u64>>,
}

impl<'a> MixedRadix<'a> {
    fn new(limbs: &'a [Arc<Limb>]) -> MixedRadix<'a> {
        let inverse = |i: usize, j: usize| {
            let modulus = limbs[i].modulus();
            modulus.inv(limbs[j].modulus().value()).expect("primes of a chain are distinct")
        };
        let inverses = (0..limbs.len()).map(|i| (0..i).map(|j| inverse(i, j)).collect()).collect();
        MixedRadix { limbs, inverses }
    }

    /// The centred number with these residues; uses the residues up.
    fn centred(&self, residues: &mut [u64]) -> f64 {
        if let [limb] = self.limbs {
            return limb.modulus().center(residues[0]) as f64;
        }
        let mut negated = residues.to_vec();
        negated.iter_mut().zip(self.limbs).for_each(|(r, limb)| *r = limb.modulus().neg(*r));
        self.digits(residues);
        self.digits(&mut negated);
        // x and Q - x: the smaller one is the magnitude; digits compare from the top.
        if residues.iter().rev().le(negated.iter().rev()) { self.sum(residues) } else { -self.sum(&negated) }
    }

    /// Residues to digits `v_i < q_i` of `v_0 + q_0 (v_1 + q_1 (v_2 + ..))`, in place.
    fn digits(&self, residues: &mut [u64]) {
        for i in 1..residues.len() {
            let modulus = self.limbs[i].modulus();
            for j in 0..i {
                let difference = modulus.sub(residues[i], modulus.reduce(residues[j]));
                residues[i] = modulus.mul(difference, self.inverses[i][j]);
            }
        }
    }

    fn sum(&self, digits: &[u64]) -> f64 {
        digits
            .iter()
            .zip(self.limbs)
            .rev()
            .fold(0.0, |sum, (&digit, limb)| sum * limb.modulus().value() as f64 + digit as f64)
    }
}
