//! The primes of a parameter set with their tables, shared by everything that computes.
//!
//! Chain primes `q_0, q_1, ..` carry values, `q_0` last to go; special primes `p_0, p_1, ..` appear in key switches only.
//! A key basis of `limbs` chain and `special` special primes is `q_0 .. q_{limbs-1}, p_0 .. p_{special-1}`, in one
//! [`Poly`](cipherloom_ring::Poly). Mathematics only is checked here: security is the business of verifier and client.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use cipherloom_ring::{Automorphism, Degree, Evaluation, Limb, Path, Poly, Words};

use crate::conversion::{Basis, Conversion};
use crate::parallel;
use crate::{CkksError, CompactPlaintext, Encoder, GaloisElement, Limbs, Plaintext};

/// Ring degree, primes and tables of a parameter set. Built once, shared by `Arc`.
pub struct Context {
    degree: Degree,
    path: Path,
    chain: Vec<Arc<Limb>>,
    special: Vec<Arc<Limb>>,
    encoder: Encoder,
    conversions: Cache<Basis, Conversion>,
    automorphisms: Cache<GaloisElement, Automorphism>,
}

type Cache<K, V> = RwLock<BTreeMap<K, Arc<V>>>;

impl Context {
    /// Checks the primes and prepares their tables: `N = 2^log_n`, each prime `1 mod 2N`.
    ///
    /// # Errors
    /// [`CkksError::EmptyChain`], [`CkksError::RepeatedPrime`], and [`CkksError::Ring`] for a degree, prime or path
    /// that the ring layer refuses.
    pub fn new(log_n: u32, chain: &[u64], special: &[u64], path: Path) -> Result<Context, CkksError> {
        let degree = Degree::new(log_n)?;
        if chain.is_empty() {
            return Err(CkksError::EmptyChain);
        }
        let mut sorted: Vec<u64> = chain.iter().chain(special).copied().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(CkksError::RepeatedPrime { q: pair[0] });
        }
        let limbs = |primes: &[u64]| -> Result<Vec<Arc<Limb>>, CkksError> {
            primes.iter().map(|&q| Ok(Arc::new(Limb::new(degree, q, path)?))).collect()
        };
        let (chain, special) = (limbs(chain)?, limbs(special)?);
        let encoder = Encoder::new(degree, chain.clone(), special.clone());
        Ok(Context {
            degree,
            path,
            chain,
            special,
            encoder,
            conversions: RwLock::default(),
            automorphisms: RwLock::default(),
        })
    }

    /// Ring degree.
    pub fn degree(&self) -> Degree {
        self.degree
    }

    /// Number of coefficients `N`.
    pub fn n(&self) -> usize {
        self.degree.n()
    }

    /// Number of complex slots, `N/2`.
    pub fn slots(&self) -> usize {
        self.n() / 2
    }

    /// The path of the kernels.
    pub fn path(&self) -> Path {
        self.path
    }

    /// The chain primes, `q_0` first.
    pub fn chain(&self) -> &[Arc<Limb>] {
        &self.chain
    }

    /// The special primes.
    pub fn special(&self) -> &[Arc<Limb>] {
        &self.special
    }

    /// Chain prime `i`.
    ///
    /// # Panics
    /// Where there is no such prime.
    pub fn limb(&self, i: usize) -> &Limb {
        &self.chain[i]
    }

    /// Slots to plaintexts and back.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// A plaintext of `limbs` chain and `special` special primes: [`Encoder::expand`].
    ///
    /// # Errors
    /// Those of [`Encoder::expand`].
    pub fn expand(
        &self,
        compact: &CompactPlaintext,
        limbs: Limbs,
        special: usize,
    ) -> Result<Plaintext, CkksError> {
        self.encoder.expand(compact, limbs, special)
    }

    /// Prime `target` of a basis of `limbs` chain primes followed by special primes.
    pub(crate) fn basis_limb(&self, limbs: usize, target: usize) -> &Limb {
        if target < limbs { &self.chain[target] } else { &self.special[target - limbs] }
    }

    /// A buffer of `limbs` limbs, its content unspecified.
    pub(crate) fn scratch(&self, limbs: usize) -> Words {
        Words::unspecified(limbs * self.n())
    }

    /// Does `work` for each item, in parallel where the items are limbs enough. Each thread has `scratch_limbs` limbs.
    pub(crate) fn for_each<T: Send>(
        &self,
        items: impl Iterator<Item = T>,
        scratch_limbs: usize,
        work: impl Fn(T, &mut [u64]) + Sync,
    ) {
        parallel::for_each(self.n(), items, scratch_limbs, work);
    }

    /// As [`Context::for_each`] with the items in small groups of neighbours, and `scratch_limbs` limbs for each item
    /// of a group.
    pub(crate) fn for_each_group<T: Send>(
        &self,
        items: impl Iterator<Item = T>,
        scratch_limbs: usize,
        work: impl Fn(Vec<T>, &mut [u64]) + Sync,
    ) {
        parallel::for_each_group(self.n(), items, scratch_limbs, work);
    }

    /// Polynomials of `limbs` limbs, each limb written by `fill(part, limb, words)`: it must
    /// write all of its words, which are unspecified before.
    pub(crate) fn fill(
        &self,
        parts: usize,
        limbs: usize,
        fill: impl Fn(usize, usize, &mut [u64]) + Sync,
    ) -> Vec<Poly<Evaluation>> {
        let mut polys: Vec<_> = (0..parts).map(|_| Poly::unspecified(self.degree, limbs)).collect();
        let items = polys.iter_mut().enumerate().flat_map(|(part, poly)| {
            poly.limbs_mut().enumerate().map(move |(limb, words)| (part, limb, words))
        });
        self.for_each(items, 0, |(part, limb, words), _| fill(part, limb, words));
        polys
    }

    /// Conversion from `basis` to every prime.
    pub(crate) fn conversion(&self, basis: Basis) -> Result<Arc<Conversion>, CkksError> {
        cached(&self.conversions, basis, || Conversion::new(self, basis))
    }

    /// The automorphism of `element`.
    pub(crate) fn automorphism(&self, element: GaloisElement) -> Result<Arc<Automorphism>, CkksError> {
        cached(&self.automorphisms, element, || {
            Ok(Automorphism::with_path(self.degree, element.0, self.path)?)
        })
    }
}

/// The value under `key`, made on first use. Two threads may both make it; they make the same.
fn cached<K: Ord + Copy, V>(
    cache: &Cache<K, V>,
    key: K,
    make: impl FnOnce() -> Result<V, CkksError>,
) -> Result<Arc<V>, CkksError> {
    // A poisoned map is a whole map: nothing panics between its changes.
    if let Some(value) = cache.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(value.clone());
    }
    let value = Arc::new(make()?);
    Ok(cache.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(value).clone())
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (chain, special) = (self.chain.len(), self.special.len());
        write!(f, "Context(N = {}, {chain} chain primes, {special} special primes)", self.n())
    }
}
