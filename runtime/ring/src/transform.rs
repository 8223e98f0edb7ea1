//! Number-theoretic transforms; the one place that names the transform crate.
//!
//! The crate picks its instructions from the processor by itself; its output is exact, so every path agrees. It is
//! not exact for many primes in `[2^50, 2^51)`, which [`Modulus`] refuses. Order and root are pinned by tests against
//! the definition: index `i` holds the value at `psi^(2 * bitrev(i) + 1)`.

use crate::{Degree, Modulus, RingError};

/// Tables of the negacyclic transform of one prime at one degree.
pub(crate) struct Transform {
    plan: tfhe_ntt::prime64::Plan,
    root: u64,
}

impl Transform {
    /// Tables for `q = 1 mod 2N`.
    pub(crate) fn new(degree: Degree, modulus: &Modulus) -> Result<Transform, RingError> {
        let two_n = 2 * degree.n() as u64;
        let missing = RingError::NoRootOfUnity { q: modulus.value(), two_n };
        let root = modulus.root_of_unity(two_n).ok_or(missing.clone())?;
        let plan = tfhe_ntt::prime64::Plan::try_new(degree.n(), modulus.value()).ok_or(missing)?;
        Ok(Transform { plan, root })
    }

    /// The root `psi` of order `2N`.
    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    /// in [0, q), out [0, q): coefficients to values.
    pub(crate) fn forward(&self, a: &mut [u64]) {
        self.plan.fwd(a);
    }

    /// in [0, q), out [0, q): values to coefficients, divided by `N`.
    pub(crate) fn inverse(&self, a: &mut [u64]) {
        self.plan.inv(a);
        self.plan.normalize(a);
    }
}
