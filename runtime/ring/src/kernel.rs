//! The table of kernels and the choice between their paths.
//!
//! Each path is a file with the same functions; [`Kernel`] is the proof that the processor has a path's
//! instructions, and its methods are the only calls into them. All unsafe code of the workspace stands in this folder.

mod scalar;

use crate::modulus::Factor;
use crate::{Modulus, Path};

/// A path that this processor was seen to have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel {
    Scalar,
}

/// In-block orders of an automorphism on groups of eight evaluation words, by the group's rotation.
pub(crate) type BlockOrders = [[u64; 8]; 8];

impl Kernel {
    /// The path, if the processor has it.
    pub(crate) fn detect(path: Path) -> Option<Kernel> {
        match path {
            Path::Scalar => Some(Kernel::Scalar),
            _ => None,
        }
    }

    /// The path whose instructions run.
    pub(crate) fn path(self) -> Path {
        match self {
            Kernel::Scalar => Path::Scalar,
        }
    }

    /// The kernels for primes of this size: vector paths end at 50 bits.
    pub(crate) fn for_modulus(self, modulus: &Modulus) -> Kernel {
        if modulus.bits() > 50 { Kernel::Scalar } else { self }
    }

    /// Products that a wide sum holds beside one reduced residue.
    pub(crate) fn wide_terms_max(self) -> usize {
        match self {
            Kernel::Scalar => scalar::WIDE_TERMS_MAX,
        }
    }

    /// in [0, q), out [0, q): the weight of a base conversion in the form that [`Kernel::convert`] reads.
    pub(crate) fn prepare_weight(self, modulus: &Modulus, weight: u64) -> u64 {
        let _ = modulus;
        weight
    }
}

macro_rules! kernels {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*);)*) => {
        impl Kernel {
            $($(#[$doc])* #[inline] pub(crate) fn $name(self, $($arg: $type),*) {
                match self {
                    Kernel::Scalar => scalar::$name($($arg),*),
                }
            })*
        }
    };
}

kernels! {
    /// in [0, q), out [0, q): `a += b`.
    fn add(m: &Modulus, a: &mut [u64], b: &[u64]);
    /// in [0, q), out [0, q): `a -= b`.
    fn sub(m: &Modulus, a: &mut [u64], b: &[u64]);
    /// in [0, q), out [0, q): `a = -a`.
    fn neg(m: &Modulus, a: &mut [u64]);
    /// in [0, q), out [0, q): `a *= b`.
    fn mul(m: &Modulus, a: &mut [u64], b: &[u64]);
    /// in [0, q), out [0, q): `acc += a b`.
    fn mul_add(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]);
    /// in [0, q), out [0, q): `a *= s`.
    fn mul_scalar(m: &Modulus, a: &mut [u64], s: &Factor);
    /// in [0, q), out [0, q): `acc += s a`.
    fn mul_scalar_add(m: &Modulus, acc: &mut [u64], a: &[u64], s: &Factor);
    /// in [0, q), out [0, q): `a = s (a - b)`.
    fn sub_mul_scalar(m: &Modulus, a: &mut [u64], b: &[u64], s: &Factor);
    /// in [0, q), out [0, q): `a = s a + c`.
    fn scale_offset(m: &Modulus, a: &mut [u64], s: &Factor, c: u64);
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
    /// in: inputs below 2^60 (vector paths: 2^50), out [0, q): `out = offset + sum inputs_i weights_i`.
    fn convert(m: &Modulus, out: &mut [u64], inputs: &[&[u64]], weights: &[u64], offset: u64);
    /// in any, out the same words in another order: `out[8b + r] = a[8 (blocks[b] / 8) + orders[blocks[b] % 8][r]]`.
    fn permute(out: &mut [u64], a: &[u64], blocks: &[u32], orders: &BlockOrders);
}
