//! Division by dropped primes, rounded to nearest: rescaling, mod-down, and both at once.
//!
//! A value `x` over kept and dropped primes, `D` the product of the dropped: its residues modulo `D` are lifted to the
//! centre by base conversion in its nearest form, and `(x - [x]_D) / D` is exact modulo the kept primes. Dropped limbs go back to
//! coefficients first; then every kept limb is one independent task, the first of which makes the conversion's quotients.
//! Limbs of `x` are made when they are needed, by a [`Source`]. Kept limbs wait for the dropped ones only after they have
//! prepared what does not depend on them.
//! Cheon, Han, Kim, Kim, Song (ePrint 2018/931), section 3.2; merging mod-down with rescale: Bossuat et al. (ePrint
//! 2020/1203), section 4.

use std::sync::{Arc, OnceLock};

use cipherloom_ring::{Automorphism, Evaluation, Poly, Words};

use crate::conversion::{Basis, Conversion};
use crate::parallel::{self, GROUP_ITEMS_MAX, Handover};
use crate::{Ciphertext, CkksError, Context, Extended};

/// A value whose limbs are stored or made on demand.
pub(crate) trait Source: Sync {
    /// What a limb is made from.
    type Ready<'a>
    where
        Self: 'a;
    /// Number of polynomials.
    fn parts(&self) -> usize;
    /// Limbs of scratch space that [`Source::prepare`] needs for each target.
    fn scratch_limbs(&self) -> usize;
    /// Prepares limb `target` of every part, for each of `targets`; chain primes are numbered first, then special primes.
    fn prepare<'a>(&'a self, targets: &[usize], scratch: &'a mut [u64]) -> Vec<Self::Ready<'a>>;
    /// A prepared limb of every part, canonical. There is room for all of them, which a value that is stored does not
    /// need.
    fn load<'a>(&'a self, target: usize, ready: &Self::Ready<'_>, room: &'a mut [u64]) -> Vec<&'a [u64]>;
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
    type Ready<'a>
        = ()
    where
        Self: 'a;
    fn parts(&self) -> usize {
        self.0.len()
    }
    fn scratch_limbs(&self) -> usize {
        0
    }
    fn prepare<'a>(&'a self, targets: &[usize], _scratch: &'a mut [u64]) -> Vec<()> {
        vec![(); targets.len()]
    }
    fn load<'a>(&'a self, target: usize, _ready: &(), _room: &'a mut [u64]) -> Vec<&'a [u64]> {
        self.0.iter().map(|part| part.limb(target)).collect()
    }
}

/// A division under way.
struct Dividing<'a, S> {
    context: &'a Context,
    division: Division,
    source: &'a S,
    conversion: Arc<Conversion>,
    automorphism: Option<&'a Automorphism>,
    /// Quotients of the conversion for each part.
    quotients: OnceLock<Words>,
}

/// Limbs of a division that are made together.
enum Task<'r> {
    /// The `number`-th group of dropped primes, by their place in the basis of the conversion.
    Dropped { number: usize, group: Vec<usize> },
    /// Kept primes and the limbs of the result.
    Kept(Vec<(usize, Vec<&'r mut [u64]>)>),
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
        let quotients = OnceLock::new();
        let dividing = Dividing { context: self, division, source, conversion, automorphism, quotients };
        let parts = source.parts();
        let mut result: Vec<_> = (0..parts).map(|_| Poly::unspecified(self.degree(), kept)).collect();
        let groups: Vec<_> = parallel::groups(0..special + rescales).collect();
        let dropped = Handover::new(groups.len());
        let tasks = groups.into_iter().enumerate().map(|(number, group)| Task::Dropped { number, group });
        let tasks = tasks.chain(parallel::groups(transposed(&mut result).enumerate()).map(Task::Kept));
        let lift_limbs = if automorphism.is_some() { parts } else { 0 };
        let scratch_limbs = parts + GROUP_ITEMS_MAX * (source.scratch_limbs() + lift_limbs);
        self.for_each(tasks, scratch_limbs, |task, scratch| match task {
            Task::Dropped { number, group } => dropped.make(number, || dividing.dropped(&group, scratch)),
            Task::Kept(items) => dividing.kept(items, &dropped, scratch),
        });
        Ok(result)
    }
}

impl<S: Source> Dividing<'_, S> {
    /// The coefficients of these dropped primes, scaled for conversion: each part of the first, and so on.
    fn dropped(&self, group: &[usize], scratch: &mut [u64]) -> Words {
        let Division { limbs, special, rescales } = self.division;
        let (parts, n) = (self.source.parts(), self.context.n());
        // In the order of the basis: special primes, then chain primes.
        let target = |i: usize| if i < special { limbs + i } else { limbs - rescales + i - special };
        let targets: Vec<usize> = group.iter().map(|&i| target(i)).collect();
        let mut result = self.context.scratch(group.len() * parts);
        let (room, scratch) = scratch.split_at_mut(parts * n);
        let ready = self.source.prepare(&targets, scratch);
        for (((&i, &target), out), ready) in
            group.iter().zip(&targets).zip(result.chunks_exact_mut(parts * n)).zip(&ready)
        {
            let loaded = self.source.load(target, ready, room);
            for (out, words) in out.chunks_exact_mut(n).zip(loaded) {
                out.copy_from_slice(words);
                self.context.basis_limb(limbs, target).inverse(out);
                self.conversion.base.scale_input_nearest(i, out);
            }
        }
        result
    }

    /// Writes the image of `(x - [x]_D) / D` at each target to its place.
    fn kept(&self, items: Vec<(usize, Vec<&mut [u64]>)>, dropped: &Handover<Words>, scratch: &mut [u64]) {
        let (parts, n) = (self.source.parts(), self.context.n());
        let (targets, mut outs): (Vec<usize>, Vec<Vec<&mut [u64]>>) = items.into_iter().unzip();
        let (room, scratch) = scratch.split_at_mut(parts * n);
        let lift_words = if self.automorphism.is_some() { targets.len() * parts * n } else { 0 };
        let (lifts, scratch) = scratch.split_at_mut(lift_words);
        let ready = self.source.prepare(&targets, scratch);

        let mut places: Vec<Vec<&mut [u64]>> = match self.automorphism {
            None => std::mem::take(&mut outs),
            Some(_) => {
                lifts.chunks_exact_mut(parts * n).map(|lifts| lifts.chunks_exact_mut(n).collect()).collect()
            }
        };
        self.lift(&targets, &dropped.wait(), &mut places);
        for (k, (&target, ready)) in targets.iter().zip(&ready).enumerate() {
            let limb = self.context.limb(target);
            for (part, words) in self.source.load(target, ready, room).into_iter().enumerate() {
                let place = &mut *places[k][part];
                limb.sub_mul_scalar(place, words, self.conversion.minus_inverse[target]);
                if let Some(automorphism) = self.automorphism {
                    automorphism.apply_evaluation(place, outs[k][part]);
                }
            }
        }
    }

    /// `[x]_D` of each part at each target.
    fn lift(&self, targets: &[usize], dropped: &[&Words], places: &mut [Vec<&mut [u64]>]) {
        let (parts, n) = (self.source.parts(), self.context.n());
        let limbs: Vec<&[u64]> = dropped.iter().flat_map(|words| words.chunks_exact(n)).collect();
        let dropped = |part| limbs.iter().skip(part).step_by(parts).copied();
        let base = &self.conversion.base;
        let quotients = self.quotients.get_or_init(|| {
            let mut quotients = self.context.scratch(parts * base.quotient_limbs());
            for (part, out) in quotients.chunks_exact_mut(n).enumerate() {
                base.quotients(&dropped(part).collect::<Vec<_>>(), out);
            }
            quotients
        });
        for part in 0..parts {
            let sources: Vec<&[u64]> = dropped(part).chain(quotients.chunks_exact(n).nth(part)).collect();
            let outs = targets.iter().zip(&mut *places).map(|(&target, places)| (target, &mut *places[part]));
            base.convert_nearest(&sources, &mut outs.collect::<Vec<_>>());
            for (&target, places) in targets.iter().zip(&mut *places) {
                self.context.limb(target).forward(places[part]);
            }
        }
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
