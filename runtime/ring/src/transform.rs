//! Number-theoretic transforms: our own where a path has it, else the transform crate, which only this file names.
//!
//! Our own run on IFMA and on AVX2 for primes below `2^50` and degrees from `2^7` and `2^5`; the crate is their twin in the
//! tests and serves every other path and size. The crate picks its instructions from the processor by itself; its output is exact, so
//! every path agrees. It is not exact for many primes in `[2^50, 2^51)`, which [`Modulus`] refuses. Order and root are
//! pinned by tests against the definition: index `i` holds the value at `psi^(2 * bitrev(i) + 1)`.

use crate::kernel::Kernel;
use crate::{Degree, Modulus, RingError};
#[cfg(target_arch = "x86_64")]
use crate::{
    kernel::{Avx2Detected, IfmaDetected},
    roots::{FloatRoots, Roots},
};

/// Tables of the negacyclic transform of one prime at one degree.
pub(crate) struct Transform {
    tables: Tables,
    root: u64,
}

enum Tables {
    #[cfg(target_arch = "x86_64")]
    Ifma(IfmaDetected, Roots),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2Detected, FloatRoots),
    Library(tfhe_ntt::prime64::Plan),
}

impl Transform {
    /// Tables for `q = 1 mod 2N`.
    pub(crate) fn new(degree: Degree, modulus: &Modulus, kernel: Kernel) -> Result<Transform, RingError> {
        let two_n = 2 * degree.n() as u64;
        let missing = RingError::NoRootOfUnity { q: modulus.value(), two_n };
        let root = modulus.root_of_unity(two_n).ok_or(missing.clone())?;
        let tables = match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Ifma(detected) if degree.log_n() >= Roots::LOG_N_MIN => {
                Tables::Ifma(detected, Roots::new(degree, modulus, root))
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(detected) if degree.log_n() >= FloatRoots::LOG_N_MIN => {
                Tables::Avx2(detected, FloatRoots::new(degree, modulus, root))
            }
            _ => {
                let plan = tfhe_ntt::prime64::Plan::try_new(degree.n(), modulus.value());
                Tables::Library(plan.ok_or(missing)?)
            }
        };
        Ok(Transform { tables, root })
    }

    /// The root `psi` of order `2N`.
    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    /// in [0, q), out [0, q): coefficients to values.
    pub(crate) fn forward(&self, a: &mut [u64]) {
        match &self.tables {
            #[cfg(target_arch = "x86_64")]
            Tables::Ifma(detected, roots) => detected.forward(roots, a),
            #[cfg(target_arch = "x86_64")]
            Tables::Avx2(detected, roots) => detected.forward(roots, a),
            Tables::Library(plan) => plan.fwd(a),
        }
    }

    /// in [0, q), out [0, q): values to coefficients, divided by `N`.
    pub(crate) fn inverse(&self, a: &mut [u64]) {
        match &self.tables {
            #[cfg(target_arch = "x86_64")]
            Tables::Ifma(detected, roots) => detected.inverse(roots, a),
            #[cfg(target_arch = "x86_64")]
            Tables::Avx2(detected, roots) => detected.inverse(roots, a),
            Tables::Library(plan) => {
                plan.inv(a);
                plan.normalize(a);
            }
        }
    }
}
