//! One prime at one degree: transforms and pointwise kernels over slices of `N` words.
//!
//! Every function here checks lengths and debug-checks ranges, then calls the kernel of the limb's path.

use std::sync::OnceLock;

use crate::kernel::Kernel;
use crate::transform::Transform;
use crate::{Degree, Modulus, Path, RingError, Wide};

/// A prime with the tables of its transform and the kernels that suit it. Built once, shared as `Arc<Limb>`.
pub struct Limb {
    degree: Degree,
    modulus: Modulus,
    kernel: Kernel,
    transform: Transform,
    /// Transforms of the subrings of smaller degree, from [`SUBRING_WORDS_MIN`] on, each made when it is first used.
    subrings: Box<[OnceLock<Transform>]>,
}

/// Words of the smallest subring that has a transform: below it IFMA has none of its own.
pub const SUBRING_WORDS_MIN: usize = 1 << 7;

impl Limb {
    /// Checks `q` and prepares its tables.
    ///
    /// # Errors
    /// Those of [`Modulus::new`], [`RingError::NoRootOfUnity`] unless `q = 1 mod 2N`, and
    /// [`RingError::PathUnavailable`] where the processor lacks `path`.
    pub fn new(degree: Degree, q: u64, path: Path) -> Result<Limb, RingError> {
        let modulus = Modulus::new(q)?;
        let kernel = Kernel::detect(path).ok_or(RingError::PathUnavailable { path })?.for_modulus(&modulus);
        let transform = Transform::new(degree, &modulus, kernel)?;
        let subrings =
            (SUBRING_WORDS_MIN.trailing_zeros()..degree.log_n()).map(|_| OnceLock::new()).collect();
        Ok(Limb { degree, modulus, kernel, transform, subrings })
    }

    /// Ring degree.
    pub fn degree(&self) -> Degree {
        self.degree
    }

    /// The prime.
    pub fn modulus(&self) -> &Modulus {
        &self.modulus
    }

    /// The path of the pointwise kernels. Primes above 50 bits are always [`Path::Scalar`].
    pub fn path(&self) -> Path {
        self.kernel.path()
    }

    /// The primitive root `psi` of order `2N` that the evaluation domain is built on.
    pub fn root(&self) -> u64 {
        self.transform.root()
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// in [0, q), out [0, q): coefficients to values in bit-reversed order.
    pub fn forward(&self, a: &mut [u64]) {
        self.check(a);
        self.transform.forward(a);
    }

    /// in [0, q), out [0, q): coefficients of a polynomial in `X^(N/len)`, `len` words, to its different values in bit-reversed
    /// order.
    ///
    /// They are those of the ring of degree `len` at the root `psi^(N/len)`: what [`Limb::forward`] makes of the whole polynomial
    /// holds each of them `N/len` times, side by side ([`repeat_each`]).
    ///
    /// # Panics
    /// Unless `len` is a power of two, from [`SUBRING_WORDS_MIN`] or `N` on, up to `N`.
    pub fn forward_subring(&self, a: &mut [u64]) {
        let (len, n) = (a.len(), self.degree.n());
        assert!(
            len.is_power_of_two() && (SUBRING_WORDS_MIN.min(n)..=n).contains(&len),
            "a subring has a degree that divides N"
        );
        if len == n {
            return self.forward(a);
        }
        self.check_range(a);
        let transform =
            self.subrings[(len / SUBRING_WORDS_MIN).trailing_zeros() as usize].get_or_init(|| {
                let degree =
                    Degree::new(len.trailing_zeros()).expect("a degree between two that are supported");
                Transform::new(degree, &self.modulus, self.kernel)
                    .expect("psi^(N/len) is a root of order 2 len")
            });
        transform.forward(a);
    }

    /// in [0, q), out [0, q): values in bit-reversed order to coefficients.
    pub fn inverse(&self, a: &mut [u64]) {
        self.check(a);
        self.transform.inverse(a);
    }

    /// in [0, q), out [0, q): `a += b`.
    pub fn add(&self, a: &mut [u64], b: &[u64]) {
        self.check(a);
        self.check(b);
        self.kernel.add_limbs(&self.modulus, a, b);
    }

    /// in [0, q), out [0, q): `a -= b`.
    pub fn sub(&self, a: &mut [u64], b: &[u64]) {
        self.check(a);
        self.check(b);
        self.kernel.sub_limbs(&self.modulus, a, b);
    }

    /// in [0, q), out [0, q): `a = -a`.
    pub fn neg(&self, a: &mut [u64]) {
        self.check(a);
        self.kernel.neg_limb(&self.modulus, a);
    }

    /// in [0, q), out [0, q): `a *= b`, index by index.
    pub fn mul(&self, a: &mut [u64], b: &[u64]) {
        self.check(a);
        self.check(b);
        self.kernel.mul(&self.modulus, a, b);
    }

    /// in [0, q), out [0, q): `acc += a b`, index by index.
    pub fn mul_add(&self, acc: &mut [u64], a: &[u64], b: &[u64]) {
        self.check(acc);
        self.check(a);
        self.check(b);
        self.kernel.mul_add(&self.modulus, acc, a, b);
    }

    /// in [0, q) and any `s`, out [0, q): `a *= s`.
    pub fn mul_scalar(&self, a: &mut [u64], s: u64) {
        self.check(a);
        self.kernel.scale_offset(&self.modulus, a, &self.modulus.factor(s), 0);
    }

    /// in [0, q) and any `s`, out [0, q): `acc += s a`.
    pub fn mul_scalar_add(&self, acc: &mut [u64], a: &[u64], s: u64) {
        self.check(acc);
        self.check(a);
        self.kernel.mul_scalar_add(&self.modulus, acc, a, &self.modulus.factor(s));
    }

    /// in [0, q) and any `s`, out [0, q): `a = s (a - b)`, the last step of rescale and mod-down.
    pub fn sub_mul_scalar(&self, a: &mut [u64], b: &[u64], s: u64) {
        self.check(a);
        self.check(b);
        self.kernel.sub_mul_scalar(&self.modulus, a, b, &self.modulus.factor(s));
    }

    /// in [0, from), out [0, q): the representative of `a` in `(-from/2, from/2)`, modulo `q`.
    pub fn reduce_from(&self, out: &mut [u64], a: &[u64], from: &Modulus) {
        self.check_length(out);
        self.check_length(a);
        debug_assert!(a.iter().all(|&a| a < from.value()));
        self.kernel.for_modulus(from).reduce_from(&self.modulus, out, a, from);
    }

    /// in [0, q), out [0, q): `out = sum of a_k b_k`, index by index, each index reduced once; no terms give zero.
    pub fn sum_of_products(&self, out: &mut [u64], terms: &[(&[u64], &[u64])]) {
        self.check_length(out);
        for (a, b) in terms {
            self.check(a);
            self.check(b);
        }
        self.kernel.sum_of_products(&self.modulus, out, terms);
    }

    /// in [0, q), out [0, q): `outs[i] = sum of a_k b[i]_k`: two sums that share a factor, which is read once from
    /// memory.
    ///
    /// # Panics
    /// Where `a` and each of `b` are not equally many.
    pub fn pair_of_sums(&self, outs: [&mut [u64]; 2], a: &[&[u64]], b: [&[&[u64]]; 2]) {
        outs.iter().for_each(|out| self.check_length(out));
        for terms in b {
            assert_eq!(a.len(), terms.len(), "one product per shared factor");
            terms.iter().chain(a).for_each(|words| self.check(words));
        }
        self.kernel.pair_of_sums(&self.modulus, outs, [&[], &[]], a, b);
    }

    /// in [0, q): adds `a b` to the sum, index by index. Any number of terms.
    ///
    /// # Panics
    /// Where the sum holds terms of another prime.
    pub fn accumulate(&self, wide: &mut Wide, a: &[u64], b: &[u64]) {
        self.check_length(&wide.low);
        self.check(a);
        self.check(b);
        assert!(wide.q == 0 || wide.q == self.modulus.value(), "a wide sum belongs to one prime");
        wide.q = self.modulus.value();
        if wide.terms == self.kernel.wide_terms_max() {
            self.kernel.fold(&self.modulus, &mut wide.low, &mut wide.high);
            wide.terms = 0;
        }
        wide.terms += 1;
        self.kernel.accumulate(&self.modulus, &mut wide.low, &mut wide.high, a, b);
    }

    /// out [0, q): takes the sum out, reduced, and leaves it empty.
    ///
    /// # Panics
    /// Where the sum holds terms of another prime.
    pub fn reduce_wide(&self, wide: &mut Wide, out: &mut [u64]) {
        self.check_length(&wide.low);
        self.check_length(out);
        assert!(wide.q == 0 || wide.q == self.modulus.value(), "a wide sum belongs to one prime");
        self.kernel.reduce_wide(&self.modulus, &mut wide.low, &mut wide.high, out);
        (wide.q, wide.terms) = (0, 0);
    }

    fn check_length(&self, a: &[u64]) {
        assert_eq!(a.len(), self.degree.n(), "a limb has N words");
    }

    pub(crate) fn check(&self, a: &[u64]) {
        self.check_length(a);
        self.check_range(a);
    }

    pub(crate) fn check_range(&self, a: &[u64]) {
        debug_assert!(a.iter().all(|&a| a < self.modulus.value()), "operands are canonical");
    }
}

/// Writes each of `values` equally often, side by side, so that all of `out` is written.
///
/// # Panics
/// Unless the length of `out` is a multiple of that of `values`.
pub fn repeat_each(values: &[u64], out: &mut [u64]) {
    assert!(out.len().is_multiple_of(values.len()), "every value is repeated as often");
    match out.len() / values.len() {
        1 => out.copy_from_slice(values),
        2 => repeat::<2>(values, out),
        4 => repeat::<4>(values, out),
        8 => repeat::<8>(values, out),
        times => out.chunks_exact_mut(times).zip(values).for_each(|(out, &value)| out.fill(value)),
    }
}

fn repeat<const TIMES: usize>(values: &[u64], out: &mut [u64]) {
    out.as_chunks_mut().0.iter_mut().zip(values).for_each(|(out, &value)| *out = [value; TIMES]);
}

impl std::fmt::Debug for Limb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Limb(q = {}, N = {}, {})", self.modulus.value(), self.degree.n(), self.path())
    }
}
