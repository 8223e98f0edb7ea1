//! Tables of our own transforms: roots of unity in the forms that the vector kernels multiply by.
//!
//! Root index `k = 2^l + j` belongs to group `j` of layer `l` and stands for `psi^bitrev(k)` over `log_n` bits. For IFMA
//! the upper table holds the layers above blocks of 64 words; the lower one a single root per block, from which the kernels
//! make the roots of its six layers: together three words per 64 that are transformed. For AVX2 the upper table
//! holds all layers but the last two, whose roots are made from one per group of four words.

use crate::modulus::Factor;
use crate::{Degree, Modulus};

/// A factor in Montgomery's form for 52-bit words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MontgomeryFactor {
    /// `w 2^52 mod q`.
    pub(crate) value: u64,
    /// `value / q mod 2^52`.
    pub(crate) quotient: u64,
}

/// A factor in Shoup's form for 52-bit words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root {
    /// `w`.
    pub(crate) value: u64,
    /// `floor(w 2^52 / q)`.
    pub(crate) quotient: u64,
}

/// Tables of one prime below `2^50` at one degree, for IFMA.
#[derive(Debug)]
pub(crate) struct Roots {
    pub(crate) q: u64,
    /// `1/q mod 2^52`.
    pub(crate) inverse_q: u64,
    /// Roots `0 .. N/64` by index, with `floor(w 2^52 / q)`; index 0 is 1.
    pub(crate) upper: Vec<Root>,
    /// Per block `b` of 64 words the root of index `N/2 + 32 b`, times `2^52`; at least eight words.
    pub(crate) lower: Vec<[u64; 8]>,
    /// Per group of eight words of a block the root of index `4g`: what the block's root is multiplied by.
    pub(crate) groups: [MontgomeryFactor; 8],
    /// `i = psi^(N/2)`, a square root of -1.
    pub(crate) i: MontgomeryFactor,
    /// `z = psi^(N/4)`, a square root of `i`.
    pub(crate) z: MontgomeryFactor,
    /// `z i`.
    pub(crate) zi: MontgomeryFactor,
    /// 1.
    pub(crate) one: MontgomeryFactor,
    /// `1/N`.
    pub(crate) inverse_n: Root,
    /// `1/N` times root 1.
    pub(crate) inverse_n_root: Root,
}

impl Roots {
    /// Smallest `log_n` of the kernels: one pass above a block of 64 words.
    pub(crate) const LOG_N_MIN: u32 = 7;
    /// The kernels' primes are below this power of two.
    pub(crate) const BITS_MAX: u32 = 50;

    /// Tables for the root `psi` of order `2N`.
    pub(crate) fn new(degree: Degree, modulus: &Modulus, psi: u64) -> Roots {
        debug_assert!(degree.log_n() >= Self::LOG_N_MIN && modulus.bits() <= Self::BITS_MAX);
        let n = degree.n();
        let inverse_q = inverse52(modulus.value());
        let factor = |w: u64| {
            let value = modulus.mul(w, RADIX);
            MontgomeryFactor { value, quotient: value.wrapping_mul(inverse_q) & (RADIX - 1) }
        };
        let powers = powers(degree, modulus, psi);
        let power = |k: usize| powers[degree.reverse_bits(k)];
        let shoup = |w: u64| {
            let Factor { value, quotient52, .. } = modulus.factor(w);
            Root { value, quotient: quotient52 }
        };
        let inverse_n = inverse_of_degree(degree, modulus);
        let blocks = n / 64;
        let lower = |lane: usize| if lane < blocks { factor(power(n / 2 + 32 * lane)).value } else { 0 };
        Roots {
            q: modulus.value(),
            inverse_q,
            upper: (0..blocks).map(|k| shoup(power(k))).collect(),
            lower: (0..blocks.div_ceil(8))
                .map(|chunk| std::array::from_fn(|i| lower(8 * chunk + i)))
                .collect(),
            groups: std::array::from_fn(|g| factor(power(4 * g))),
            one: factor(1),
            i: factor(powers[n / 2]),
            z: factor(powers[n / 4]),
            zi: factor(powers[n / 2 + n / 4]),
            inverse_n: shoup(inverse_n),
            inverse_n_root: shoup(modulus.mul(inverse_n, powers[n / 2])),
        }
    }
}

/// Tables of one prime below `2^50` at one degree as floats: integers in `[-q/2, q/2]`.
#[derive(Debug)]
pub(crate) struct FloatRoots {
    pub(crate) q: u64,
    /// Roots `0 .. N/4` by index; index 0 is 1.
    pub(crate) upper: Vec<f64>,
    /// Per group of four words, by leaves of four groups, the root of index `N/2 + 2g`.
    pub(crate) groups: Vec<[f64; 4]>,
    /// `psi^(N/2)`, a square root of -1.
    pub(crate) i: f64,
    /// `1/N`.
    pub(crate) inverse_n: f64,
    /// `1/N` times root 1.
    pub(crate) inverse_n_root: f64,
}

impl FloatRoots {
    /// Smallest `log_n` of the kernels: one pass above a leaf of 16 words.
    pub(crate) const LOG_N_MIN: u32 = 5;

    /// Tables for the root `psi` of order `2N`.
    pub(crate) fn new(degree: Degree, modulus: &Modulus, psi: u64) -> FloatRoots {
        debug_assert!(degree.log_n() >= Self::LOG_N_MIN && modulus.bits() <= Roots::BITS_MAX);
        let n = degree.n();
        let powers = powers(degree, modulus, psi);
        let float = |w: u64| modulus.center(w) as f64;
        let power = |k: usize| float(powers[degree.reverse_bits(k)]);
        let inverse_n = inverse_of_degree(degree, modulus);
        FloatRoots {
            q: modulus.value(),
            upper: (0..n / 4).map(power).collect(),
            groups: (0..n / 16)
                .map(|leaf| std::array::from_fn(|g| power(n / 2 + 2 * (4 * leaf + g))))
                .collect(),
            i: float(powers[n / 2]),
            inverse_n: float(inverse_n),
            inverse_n_root: float(modulus.mul(inverse_n, powers[n / 2])),
        }
    }
}

/// `psi^0 .. psi^(N-1)`.
fn powers(degree: Degree, modulus: &Modulus, psi: u64) -> Vec<u64> {
    std::iter::successors(Some(1), |&w| Some(modulus.mul(w, psi))).take(degree.n()).collect()
}

/// `1/N`: `n (q - (q-1)/n) = nq - q + 1 = 1` modulo q.
fn inverse_of_degree(degree: Degree, modulus: &Modulus) -> u64 {
    modulus.value() - (modulus.value() - 1) / degree.n() as u64
}

/// `2^52`, the radix of Montgomery's form.
pub(crate) const RADIX: u64 = 1 << 52;

/// `1/q mod 2^52` by Newton's iteration: an odd `q` is its own inverse modulo 8, each step doubles the bits.
pub(crate) fn inverse52(q: u64) -> u64 {
    let inverse = (0..5).fold(q, |x, _| x.wrapping_mul(2u64.wrapping_sub(q.wrapping_mul(x))));
    inverse & (RADIX - 1)
}
