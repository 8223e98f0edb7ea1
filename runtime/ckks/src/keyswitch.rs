//! Key switching: digits of a polynomial, and their inner product with a key.
//!
//! Hybrid, with digits (Han and Ki, ePrint 2019/688): the residues modulo the primes of digit `j` are lifted to the
//! whole key basis; the sum of lifts times the key's pairs is `P` times the polynomial under the new secret, plus
//! noise. The lift is only defined modulo the digit's primes, so the approximate conversion adds noise, never error.
//! Digits come from one inverse transform of the polynomial; every limb of the key basis is then an independent task.

use std::ops::Range;
use std::sync::Arc;

use cipherloom_ring::{Evaluation, Poly, Words};

use crate::conversion::{Basis, Conversion};
use crate::division::{Source, transposed};
use crate::{CkksError, Context, EvaluationKey, Gadget, KeyShape, KeyTarget, Limbs};

/// A polynomial's digits at each prime of a key basis.
pub(crate) trait Digits: Sync {
    /// Number of digits.
    fn count(&self) -> usize;
    /// Limbs of scratch space that [`Digits::prepare`] needs for each target.
    fn scratch_limbs(&self) -> usize;
    /// Makes in `scratch` what [`Digits::load`] gives, for all of `targets`: chain primes are numbered first, then
    /// special primes.
    fn prepare(&self, targets: &[usize], scratch: &mut [u64]);
    /// Every digit at prime `target`, from the part of the scratch space that was prepared for it.
    fn load<'a>(&'a self, target: usize, scratch: &'a mut [u64]) -> Vec<&'a [u64]>;
}

/// Digits that are lifted when they are needed.
pub(crate) struct FreshDigits<'a> {
    context: &'a Context,
    gadget: Gadget,
    limbs: usize,
    input: &'a Poly<Evaluation>,
    /// Coefficients of each limb, scaled for conversion.
    scaled: Words,
    conversions: Vec<Arc<Conversion>>,
}

/// The decomposed digits of one ciphertext's part 1 over a key basis: what rotations of that ciphertext share.
#[derive(Clone, Debug)]
pub struct Hoisted {
    pub(crate) gadget: Gadget,
    pub(crate) limbs: usize,
    /// One polynomial per digit, over chain and special primes.
    digits: Vec<Poly<Evaluation>>,
}

impl Hoisted {
    /// The gadget of the decomposition.
    pub fn gadget(&self) -> Gadget {
        self.gadget
    }

    /// Number of chain primes.
    pub fn limbs(&self) -> Limbs {
        Limbs(self.limbs)
    }
}

impl Digits for Hoisted {
    fn count(&self) -> usize {
        self.digits.len()
    }
    fn scratch_limbs(&self) -> usize {
        0
    }
    fn prepare(&self, _targets: &[usize], _scratch: &mut [u64]) {}
    fn load<'a>(&'a self, target: usize, _scratch: &'a mut [u64]) -> Vec<&'a [u64]> {
        self.digits.iter().map(|digit| digit.limb(target)).collect()
    }
}

impl Digits for FreshDigits<'_> {
    fn count(&self) -> usize {
        self.conversions.len()
    }

    fn scratch_limbs(&self) -> usize {
        self.count()
    }

    fn prepare(&self, targets: &[usize], scratch: &mut [u64]) {
        let (n, count) = (self.context.n(), self.count());
        let mut buffers: Vec<_> =
            scratch.chunks_exact_mut(count * n).map(|buffers| buffers.chunks_exact_mut(n)).collect();
        for digit in 0..count {
            let places = targets.iter().copied().zip(buffers.iter_mut().filter_map(Iterator::next));
            for (target, place) in self.lift(digit, places) {
                self.context.basis_limb(self.limbs, target).forward(place);
            }
        }
    }

    fn load<'a>(&'a self, target: usize, scratch: &'a mut [u64]) -> Vec<&'a [u64]> {
        let buffers = scratch.chunks_exact_mut(self.context.n()).enumerate().take(self.count());
        let load = |(digit, buffer): (usize, &'a mut [u64])| -> &'a [u64] {
            if self.range(digit).contains(&target) { self.input.limb(target) } else { buffer }
        };
        buffers.map(load).collect()
    }
}

impl FreshDigits<'_> {
    fn range(&self, digit: usize) -> Range<usize> {
        self.gadget.digit_range(digit, Limbs(self.limbs))
    }

    /// The coefficients of a digit at each prime that is given with its place, unless the prime is in the digit: returns
    /// the primes and places that were filled.
    fn lift<'a>(
        &self,
        digit: usize,
        places: impl Iterator<Item = (usize, &'a mut [u64])>,
    ) -> Vec<(usize, &'a mut [u64])> {
        let (n, chain, range) = (self.context.n(), self.context.chain().len(), self.range(digit));
        let scaled: Vec<&[u64]> = self.scaled[range.start * n..range.end * n].chunks_exact(n).collect();
        let number = |target: usize| if target < self.limbs { target } else { chain + target - self.limbs };
        let mut places: Vec<_> = places.filter(|(target, _)| !range.contains(target)).collect();
        let outs = places.iter_mut().map(|(target, place)| (number(*target), &mut **place));
        self.conversions[digit].base.convert_centred(&scaled, &mut outs.collect::<Vec<_>>());
        places
    }
}

/// What is added to one part of a switched value.
#[derive(Clone, Copy)]
pub(crate) enum Addend<'a> {
    /// Nothing.
    None,
    /// `P` times a polynomial over the chain primes.
    Plain(&'a Poly<Evaluation>),
}

/// Inner product of digits with a key, plus addends: `P` times the switched value, made limb by limb.
pub(crate) struct Switched<'a, D: Digits> {
    pub(crate) context: &'a Context,
    pub(crate) digits: &'a D,
    pub(crate) key: &'a EvaluationKey,
    pub(crate) limbs: usize,
    /// For part 0 and part 1.
    pub(crate) addends: [Addend<'a>; 2],
    /// For `P` modulo the chain primes.
    pub(crate) special: Arc<Conversion>,
}

/// A limb of a switched value, ready for its sums.
pub(crate) struct Ready<'a> {
    digits: Vec<&'a [u64]>,
    key: [Vec<&'a [u64]>; 2],
}

impl<D: Digits> Source for Switched<'_, D> {
    type Ready<'a>
        = Ready<'a>
    where
        Self: 'a;

    fn parts(&self) -> usize {
        2
    }

    fn scratch_limbs(&self) -> usize {
        self.digits.scratch_limbs()
    }

    fn prepare<'a>(&'a self, targets: &[usize], scratch: &'a mut [u64]) -> Vec<Ready<'a>> {
        self.digits.prepare(targets, scratch);
        let mut rest = scratch;
        let ready = |&target: &usize| {
            let (lifted, left) =
                std::mem::take(&mut rest).split_at_mut(self.digits.scratch_limbs() * self.context.n());
            rest = left;
            Ready { digits: self.digits.load(target, lifted), key: key_limbs(self.key, target, self.limbs) }
        };
        targets.iter().map(ready).collect()
    }

    fn load<'a>(&'a self, target: usize, ready: &Ready<'_>, room: &'a mut [u64]) -> Vec<&'a [u64]> {
        let limb = self.context.basis_limb(self.limbs, target);
        let (first, second) = room.split_at_mut(self.context.n());
        limb.pair_of_sums([first, second], &ready.digits, [&ready.key[0], &ready.key[1]]);
        for (addend, sum) in self.addends.iter().zip([&mut *first, &mut *second]) {
            match addend {
                Addend::Plain(addend) if target < self.limbs => {
                    limb.mul_scalar_add(sum, addend.limb(target), self.special.product[target]);
                }
                Addend::Plain(_) | Addend::None => {}
            }
        }
        vec![first, second]
    }
}

/// The two halves of a key at prime `target` of a basis of `limbs` chain primes, digit by digit, as far as values of so
/// many limbs have digits.
pub(crate) fn key_limbs(key: &EvaluationKey, target: usize, limbs: usize) -> [Vec<&[u64]>; 2] {
    let number = if target < limbs { target } else { key.limbs().0 + target - limbs };
    let digits = key.gadget().digits(Limbs(limbs));
    let half = |half: fn(&EvaluationKey, usize) -> &Poly<Evaluation>| {
        (0..digits).map(|digit| half(key, digit).limb(number)).collect()
    };
    [half(EvaluationKey::b), half(EvaluationKey::a)]
}

impl Context {
    /// The digits of `input`, to be lifted when needed.
    pub(crate) fn digits<'a>(
        &'a self,
        input: &'a Poly<Evaluation>,
        gadget: Gadget,
    ) -> Result<FreshDigits<'a>, CkksError> {
        self.check_gadget(gadget)?;
        let (limbs, n) = (input.limbs(), self.n());
        let ranges = (0..gadget.digits(Limbs(limbs))).map(|digit| gadget.digit_range(digit, Limbs(limbs)));
        let conversions = ranges
            .map(|range| self.conversion(Basis { special: 0, start: range.start, end: range.end }))
            .collect::<Result<Vec<_>, _>>()?;
        let mut scaled = self.scratch(limbs);
        self.for_each(scaled.chunks_exact_mut(n).enumerate(), 0, |(i, words), _| {
            words.copy_from_slice(input.limb(i));
            self.limb(i).inverse(words);
            conversions[i / gadget.digit_limbs].base.scale_input_centred(i % gadget.digit_limbs, words);
        });
        Ok(FreshDigits { context: self, gadget, limbs, input, scaled, conversions })
    }

    /// The digits of `input` over the whole key basis.
    pub(crate) fn decompose(&self, input: &Poly<Evaluation>, gadget: Gadget) -> Result<Hoisted, CkksError> {
        let fresh = self.digits(input, gadget)?;
        let limbs = input.limbs();
        let basis_limbs = limbs + gadget.special_limbs;
        let mut digits: Vec<_> =
            (0..fresh.count()).map(|_| Poly::unspecified(self.degree(), basis_limbs)).collect();
        self.for_each_group(transposed(&mut digits).enumerate(), 0, |mut items, _| {
            for digit in 0..fresh.count() {
                let places = items.iter_mut().map(|(target, outs)| (*target, &mut *outs[digit]));
                for (target, out) in fresh.lift(digit, places) {
                    self.basis_limb(limbs, target).forward(out);
                }
                for (target, outs) in
                    items.iter_mut().filter(|(target, _)| fresh.range(digit).contains(target))
                {
                    outs[digit].copy_from_slice(input.limb(*target));
                }
            }
        });
        Ok(Hoisted { gadget, limbs, digits })
    }

    /// The switched value of `digits` as a source of limbs.
    pub(crate) fn switched<'a, D: Digits>(
        &'a self,
        digits: &'a D,
        key: &'a EvaluationKey,
        limbs: usize,
        addends: [Addend<'a>; 2],
    ) -> Result<Switched<'a, D>, CkksError> {
        let special = self.special_product(key.gadget().special_limbs)?;
        Ok(Switched { context: self, digits, key, limbs, addends, special })
    }

    /// The product of the first `special` special primes, modulo each chain prime.
    pub(crate) fn special_product(&self, special: usize) -> Result<Arc<Conversion>, CkksError> {
        self.conversion(Basis { special, start: 0, end: 0 })
    }

    pub(crate) fn check_gadget(&self, gadget: Gadget) -> Result<(), CkksError> {
        let Gadget { digit_limbs, special_limbs } = gadget;
        let special = self.special().len();
        if digit_limbs == 0 || special_limbs == 0 || special_limbs > special {
            return Err(CkksError::Gadget { digit_limbs, special_limbs, special });
        }
        Ok(())
    }

    /// Checks that `key` does `expected` for values of `limbs` limbs.
    pub(crate) fn check_key(
        &self,
        key: &EvaluationKey,
        expected: KeyTarget,
        limbs: usize,
    ) -> Result<(), CkksError> {
        self.check_shape(key.shape(), expected, limbs)?;
        match (key.b(0).degree().n(), self.n()) {
            (found, expected) if found != expected => Err(CkksError::RingDegree { found, expected }),
            _ => Ok(()),
        }
    }

    /// The part of [`Context::check_key`] that needs no key in memory.
    pub(crate) fn check_shape(
        &self,
        shape: &KeyShape,
        expected: KeyTarget,
        limbs: usize,
    ) -> Result<(), CkksError> {
        if shape.target != expected {
            return Err(CkksError::KeyTarget { found: shape.target, expected });
        }
        if shape.limbs < Limbs(limbs) {
            return Err(CkksError::KeyLimbs { key: shape.limbs.0, value: limbs });
        }
        self.check_gadget(shape.gadget)
    }
}
