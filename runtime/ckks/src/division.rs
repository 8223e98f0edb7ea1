//! Division by dropped primes, rounded to nearest: rescaling, mod-down, and both at once.
//!
//! A value `x` over kept and dropped primes, `D` the product of the dropped: its residues modulo `D` are lifted to the
//! centre by base conversion, and `(x - [x]_D) / D` is exact modulo the kept primes. Dropped limbs go back to coefficients first; then every
//! kept limb is one independent task. Limbs of `x` are made when they are needed, by a [`Source`].
//! Cheon, Han, Kim, Kim, Song (ePrint 2018/931), section 3.2; merging mod-down with rescale: Bossuat et al. (ePrint
//! 2020/1203), section 4.

use cipherloom_ring::{Automorphism, Evaluation, Poly};

use crate::conversion::Basis;
use crate::{Ciphertext, CkksError, Context, Extended};

/// A value whose limbs are stored or made on demand.
pub(crate) trait Source: Sync {
    /// Number of polynomials.
    fn parts(&self) -> usize;
    /// Limbs of scratch space that [`Source::load`] needs for each target.
    fn scratch_limbs(&self) -> usize;
    /// Limb `target` of every part, canonical, for each of `targets`; chain primes are numbered first, then special
    /// primes.
    fn load_all<'a>(&'a self, targets: &[usize], scratch: &'a mut [u64]) -> Vec<Vec<&'a [u64]>>;
    /// Limb `target` of every part.
    fn load<'a>(&'a self, target: usize, scratch: &'a mut [u64]) -> Vec<&'a [u64]> {
        self.load_all(&[target], scratch).pop().unwrap_or_default()
    }
}

/// Which primes a division drops: the special primes and the last `rescales` of `limbs` chain primes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Division {
    pub(crate) limbs: usize,
    pub(crate) special: usize,
    pub(crate) rescales: usize,
}

/// Stored polynomials as a source.
pub(crate) struct Stored<'a>(pub(crate) &'a [Poly<Evaluation>]);

impl Source for Stored<'_> {
    fn parts(&self) -> usize {
        self.0.len()
    }
    fn scratch_limbs(&self) -> usize {
        0
    }
    fn load_all<'a>(&'a self, targets: &[usize], _scratch: &'a mut [u64]) -> Vec<Vec<&'a [u64]>> {
        targets.iter().map(|&target| self.0.iter().map(|part| part.limb(target)).collect()).collect()
    }
}

impl Context {
    /// Divides by the last chain prime of `a`, rounded to nearest: the scale is divided by it.
    ///
    /// # Errors
    /// [`CkksError::TooFewLimbs`] for a value of one limb.
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check(a)?;
        let division = Division { limbs, special: 0, rescales: 1 };
        Ciphertext::new(self.divide(division, &Stored(a.parts()), None)?)
    }

    /// Divides an extended value by `P`, rounded to nearest.
    ///
    /// # Errors
    /// Where the value does not belong to this context.
    pub fn mod_down(&self, a: &Extended) -> Result<Ciphertext, CkksError> {
        self.divide_extended(a, 0)
    }

    /// Divides an extended value by `P` and its last chain prime at once, rounded to nearest.
    ///
    /// # Errors
    /// [`CkksError::TooFewLimbs`] for a value of one limb.
    pub fn mod_down_rescale(&self, a: &Extended) -> Result<Ciphertext, CkksError> {
        self.divide_extended(a, 1)
    }

    fn divide_extended(&self, a: &Extended, rescales: usize) -> Result<Ciphertext, CkksError> {
        self.check_extended(a)?;
        let division = Division { limbs: a.limbs().0, special: a.special(), rescales };
        Ciphertext::new(self.divide(division, &Stored(a.parts()), None)?)
    }

    /// `x / D` for each part of the source, then its image under `automorphism`.
    pub(crate) fn divide(
        &self,
        division: Division,
        source: &impl Source,
        automorphism: Option<&Automorphism>,
    ) -> Result<Vec<Poly<Evaluation>>, CkksError> {
        let Division { limbs, special, rescales } = division;
        if limbs <= rescales {
            return Err(CkksError::TooFewLimbs { have: limbs, need: rescales + 1 });
        }
        let kept = limbs - rescales;
        let (start, end) = if rescales == 0 { (0, 0) } else { (kept, limbs) };
        let conversion = self.conversion(Basis { special, start, end })?;
        let (parts, n) = (source.parts(), self.n());

        let mut dropped = self.scratch(parts * (special + rescales));
        let items = dropped.chunks_exact_mut(parts * n).enumerate();
        self.for_each_group(items, source.scratch_limbs(), |items, scratch| {
            // In the order of the basis: special primes, then chain primes.
            let target = |i: usize| if i < special { limbs + i } else { kept + i - special };
            let targets: Vec<usize> = items.iter().map(|&(i, _)| target(i)).collect();
            let loaded = source.load_all(&targets, scratch);
            for ((i, out), loaded) in items.into_iter().zip(loaded) {
                for (out, words) in out.chunks_exact_mut(n).zip(loaded) {
                    out.copy_from_slice(words);
                    self.basis_limb(limbs, target(i)).inverse(out);
                    conversion.base.scale_input_centred(i, out);
                }
            }
        });

        let dropped: Vec<Vec<&[u64]>> =
            (0..parts).map(|part| dropped.chunks_exact(n).skip(part).step_by(parts).collect()).collect();
        let mut result: Vec<_> = (0..parts).map(|_| Poly::unspecified(self.degree(), kept)).collect();
        let lift_limbs = if automorphism.is_some() { parts } else { 0 };
        // Writes `(x - [x]_D) / D` of each part at each target to its place.
        let quotients = |targets: &[usize], scratch: &mut [u64], places: &mut [Vec<&mut [u64]>]| {
            for (part, dropped) in dropped.iter().enumerate() {
                let outs =
                    targets.iter().zip(&mut *places).map(|(&target, places)| (target, &mut *places[part]));
                conversion.base.convert_centred(dropped, &mut outs.collect::<Vec<_>>());
            }
            let loaded = source.load_all(targets, scratch);
            for ((&target, places), loaded) in targets.iter().zip(places).zip(&loaded) {
                for (place, words) in places.iter_mut().zip(loaded) {
                    self.limb(target).forward(place);
                    self.limb(target).sub_mul_scalar(place, words, conversion.minus_inverse[target]);
                }
            }
        };
        let items = transposed(&mut result).enumerate();
        self.for_each_group(items, source.scratch_limbs() + lift_limbs, |items, scratch| {
            let (targets, mut outs): (Vec<usize>, Vec<_>) = items.into_iter().unzip();
            let Some(automorphism) = automorphism else {
                return quotients(&targets, scratch, &mut outs);
            };
            let (lifts, scratch) = scratch.split_at_mut(targets.len() * lift_limbs * n);
            let mut lifts: Vec<Vec<&mut [u64]>> =
                lifts.chunks_exact_mut(parts * n).map(|lifts| lifts.chunks_exact_mut(n).collect()).collect();
            quotients(&targets, scratch, &mut lifts);
            for (out, lift) in outs.into_iter().flatten().zip(lifts.iter().flatten()) {
                automorphism.apply_evaluation(lift, out);
            }
        });
        Ok(result)
    }
}

/// The limbs of several polynomials, by limb: item `i` holds limb `i` of each.
pub(crate) fn transposed(polys: &mut [Poly<Evaluation>]) -> impl Iterator<Item = Vec<&mut [u64]>> {
    let mut limbs: Vec<_> = polys.iter_mut().map(|poly| poly.limbs_mut()).collect();
    std::iter::from_fn(move || limbs.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>())
}

/// The two limbs of an item of two polynomials.
pub(crate) fn pair(limbs: Vec<&mut [u64]>) -> [&mut [u64]; 2] {
    limbs.try_into().expect("values that are summed have two parts")
}
