//! The table of kernels: one line each, from which the calls into the paths are derived.
//!
//! [`Kernel`] is the proof that the processor has a path's instructions: only [`Kernel::detect`] makes one, and its
//! methods are the only calls into the paths.

use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, ifma};
use crate::modulus::Factor;
#[cfg(target_arch = "x86_64")]
use crate::roots::{self, FloatRoots, Roots};
use crate::{Modulus, Path};

/// A path that this processor was seen to have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Ifma(ifma::Detected),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Detected),
    Scalar,
}

/// In-block orders of an automorphism on groups of eight evaluation words, by the group's rotation.
pub(crate) type BlockOrders = [[u64; 8]; 8];

/// A source's part in a fixed-point sum: a word's upper bits, below `2^28`, by a factor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fraction {
    pub(crate) shift: u32,
    pub(crate) factor: u32,
}

impl Kernel {
    /// The path, if the processor has it.
    pub(crate) fn detect(path: Path) -> Option<Kernel> {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Ifma => ifma::Detected::new().map(Kernel::Ifma),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => avx2::Detected::new().map(Kernel::Avx2),
            Path::Scalar => Some(Kernel::Scalar),
            #[cfg(not(target_arch = "x86_64"))]
            Path::Ifma | Path::Avx2 => None,
        }
    }

    /// The path whose instructions run.
    pub(crate) fn path(self) -> Path {
        match self {
            #[cfg(target_arch = "x86_64")]
            Kernel::Ifma(_) => Path::Ifma,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(_) => Path::Avx2,
            Kernel::Scalar => Path::Scalar,
        }
    }

    /// The kernels for operands below this prime: vector paths end at 50 bits.
    pub(crate) fn for_modulus(self, modulus: &Modulus) -> Kernel {
        if modulus.bits() > 50 { Kernel::Scalar } else { self }
    }

    /// Products that a wide sum holds beside one reduced residue.
    pub(crate) fn wide_terms_max(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Kernel::Ifma(_) => ifma::WIDE_TERMS_MAX,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(_) => avx2::TERMS_MAX,
            Kernel::Scalar => scalar::WIDE_TERMS_MAX,
        }
    }

    /// in [0, q), out [0, q): the weight of a base conversion in the form that [`Kernel::convert`] reads.
    pub(crate) fn prepare_weight(self, modulus: &Modulus, weight: u64) -> u64 {
        let _ = modulus;
        match self {
            #[cfg(target_arch = "x86_64")]
            Kernel::Ifma(_) => modulus.mul(weight, roots::RADIX),
            _ => weight,
        }
    }
}

/// One line per kernel; the dispatch to the paths is derived from it.
macro_rules! kernels {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*);)*) => {
        impl Kernel {
            $($(#[$doc])* pub(crate) fn $name(self, $($arg: $type),*) {
                match self {
                    // SAFETY: a `Detected` is made only after its instructions were found on this processor.
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Ifma(_) => unsafe { ifma::$name($($arg),*) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx2(_) => unsafe { avx2::$name($($arg),*) },
                    Kernel::Scalar => scalar::$name($($arg),*),
                }
            })*
        }
    };
}

kernels! {
    /// in [0, q), out [0, q): `a += b`.
    fn add_limbs(m: &Modulus, a: &mut [u64], b: &[u64]);
    /// in [0, q), out [0, q): `a -= b`.
    fn sub_limbs(m: &Modulus, a: &mut [u64], b: &[u64]);
    /// in [0, q), out [0, q): `a = -a`.
    fn neg_limb(m: &Modulus, a: &mut [u64]);
    /// in [0, q), out [0, q): `a *= b`.
    fn mul(m: &Modulus, a: &mut [u64], b: &[u64]);
    /// in [0, q), out [0, q): `acc += a b`.
    fn mul_add(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]);
    /// in [0, q), out [0, q): `a = s a + c`.
    fn scale_offset(m: &Modulus, a: &mut [u64], s: &Factor, c: u64);
    /// in [0, q), out [0, q): `acc += s a`.
    fn mul_scalar_add(m: &Modulus, acc: &mut [u64], a: &[u64], s: &Factor);
    /// in [0, q), out [0, q): `a = s (a - b)`.
    fn sub_mul_scalar(m: &Modulus, a: &mut [u64], b: &[u64], s: &Factor);
    /// in [0, from), out [0, q): the centred lift of `a`, reduced.
    fn reduce_from(m: &Modulus, out: &mut [u64], a: &[u64], from: &Modulus);
    /// in [0, q), out: the sum with one more product per coefficient.
    fn accumulate(m: &Modulus, low: &mut [u64], high: &mut [u64], a: &[u64], b: &[u64]);
    /// in: any sum, out: the same sum modulo q in a form that counts as no term.
    fn fold(m: &Modulus, low: &mut [u64], high: &mut [u64]);
    /// in: any sum, out [0, q); the sum becomes zero.
    fn reduce_wide(m: &Modulus, low: &mut [u64], high: &mut [u64], out: &mut [u64]);
    /// in [0, q), out [0, q): `out = sum a_k b_k`.
    fn sum_of_products(m: &Modulus, out: &mut [u64], terms: &[(&[u64], &[u64])]);
    /// in [0, q), out [0, q): `outs[i] = starts[i] + sum a_k b[i]_k`; an empty start is zero.
    fn pair_of_sums(m: &Modulus, outs: [&mut [u64]; 2], starts: [&[u64]; 2], a: &[&[u64]], b: [&[&[u64]]; 2]);
    /// in: inputs below 2^60 (vector paths: 2^50), out [0, q): `out = offset + sum inputs_i weights_i`.
    fn convert(m: &Modulus, out: &mut [u64], inputs: &[&[u64]], weights: &[u64], offset: u64);
    /// in: at most 64 inputs, below `2^28` once shifted, `bits` at most 56 and sums below `64 2^bits`, out [0, 64]:
    /// `out = round(sum (inputs_i >> shift_i) factor_i / 2^bits)`.
    fn rounded_sum(out: &mut [u64], inputs: &[&[u64]], fractions: &[Fraction], bits: u32);
    /// in any, out the same words in another order: `out[8b + r] = a[8 (blocks[b] / 8) + orders[blocks[b] % 8][r]]`, the
    /// index modulo the length of `a`, a power of two.
    fn permute(out: &mut [u64], a: &[u64], blocks: &[u32], orders: &BlockOrders);
}

/// The transform kernels of the vector paths; the portable one takes the transform crate.
macro_rules! transforms {
    ($path:ident, $roots:ty) => {
        #[cfg(target_arch = "x86_64")]
        impl $path::Detected {
            /// in [0, q), out [0, q): coefficients to values in bit-reversed order.
            pub(crate) fn forward(self, roots: &$roots, a: &mut [u64]) {
                // SAFETY: a `Detected` is made only after its instructions were found on this processor.
                unsafe { $path::transform::forward(roots, a) }
            }

            /// in [0, q), out [0, q): values in bit-reversed order to coefficients.
            pub(crate) fn inverse(self, roots: &$roots, a: &mut [u64]) {
                // SAFETY: as above.
                unsafe { $path::transform::inverse(roots, a) }
            }
        }
    };
}

transforms!(ifma, Roots);
transforms!(avx2, FloatRoots);
