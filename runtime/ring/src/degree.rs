//! The ring degree `N = 2^log_n`, checked once.

use crate::RingError;

/// A ring degree that every kernel supports: a power of two from `2^4` to `2^17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Degree {
    log_n: u32,
}

impl Degree {
    /// Smallest supported `log_n`.
    pub const LOG_N_MIN: u32 = 4;
    /// Largest supported `log_n`.
    pub const LOG_N_MAX: u32 = 17;

    /// The degree `2^log_n`.
    ///
    /// # Errors
    /// [`RingError::DegreeOutOfRange`] unless `4 <= log_n <= 17`.
    pub fn new(log_n: u32) -> Result<Degree, RingError> {
        if !(Self::LOG_N_MIN..=Self::LOG_N_MAX).contains(&log_n) {
            return Err(RingError::DegreeOutOfRange { log_n, min: Self::LOG_N_MIN, max: Self::LOG_N_MAX });
        }
        Ok(Degree { log_n })
    }

    /// Binary logarithm of the degree.
    pub fn log_n(self) -> u32 {
        self.log_n
    }

    /// Number of coefficients.
    pub fn n(self) -> usize {
        1 << self.log_n
    }

    /// Reverses the low `log_n` bits of `i < N`.
    pub(crate) fn reverse_bits(self, i: usize) -> usize {
        debug_assert!(i < self.n());
        i.reverse_bits() >> (usize::BITS - self.log_n)
    }
}
