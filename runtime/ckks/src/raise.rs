//! Mod-raise: a value of one prime, read as a value of many.
//!
//! The parts of a value modulo `q_0` are lifted to their centred representatives, which exist modulo every prime. Under a
//! secret with `h` coefficients 1 or -1 and no others the sum `c_0 + c_1 s` over the integers is the message plus `q_0 I`,
//! and since each of its `h + 1` terms is at most `q_0 / 2`, `|message + q_0 I| <= q_0 (h + 1) / 2`: no tail, no failure.
//! Source of bootstrapping: J. Cheon, K. Han, A. Kim, M. Kim and Y. Song, *Bootstrapping for approximate homomorphic
//! encryption* (ePrint 2018/153).

use crate::{Ciphertext, CkksError, Context, Limbs};

impl Context {
    /// `a`, of one limb, over the first `to` chain primes: its message plus a multiple of `q_0`.
    ///
    /// # Errors
    /// [`CkksError::LimbMismatch`] unless `a` has one limb, [`CkksError::TooFewLimbs`] and [`CkksError::TooManyLimbs`].
    pub fn raise(&self, a: &Ciphertext, Limbs(to): Limbs) -> Result<Ciphertext, CkksError> {
        let have = self.check(a)?;
        if have != 1 {
            return Err(CkksError::LimbMismatch { left: have, right: 1 });
        }
        let max = self.chain().len();
        match to {
            0 => return Err(CkksError::TooFewLimbs { have: 0, need: 1 }),
            _ if to > max => return Err(CkksError::TooManyLimbs { have: to, max }),
            _ => {}
        }
        let mut coefficients = self.scratch(a.parts().len());
        let parts = coefficients.chunks_exact_mut(self.n()).zip(a.parts());
        self.for_each(parts, 0, |(words, part), _| {
            words.copy_from_slice(part.limb(0));
            self.limb(0).inverse(words);
        });
        let n = self.n();
        Ciphertext::new(self.fill(a.parts().len(), to, |part, i, out| {
            out.copy_from_slice(a.part(part).limb(0));
            if i > 0 {
                let words = &coefficients[part * n..(part + 1) * n];
                self.limb(i).reduce_from(out, words, self.limb(0).modulus());
                self.limb(i).forward(out);
            }
        }))
    }
}
