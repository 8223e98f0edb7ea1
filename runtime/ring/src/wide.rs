//! Sums of products that are reduced once.

use crate::Words;

/// Two words per coefficient that hold a sum of products modulo one prime, not yet reduced.
///
/// [`Limb::accumulate`](crate::Limb::accumulate) adds to it, [`Limb::reduce_wide`](crate::Limb::reduce_wide) takes the
/// sum out and clears it. Between the two it belongs to one limb; what the words mean depends on the limb's path.
#[derive(Clone, Debug)]
pub struct Wide {
    pub(crate) low: Words,
    pub(crate) high: Words,
    /// Products added since the last reduction.
    pub(crate) terms: usize,
    /// The prime that the sum belongs to; 0 while the sum is empty.
    pub(crate) q: u64,
}

impl Wide {
    /// An empty sum for `n` coefficients.
    pub fn zeroed(n: usize) -> Wide {
        Wide { low: Words::zeroed(n), high: Words::zeroed(n), terms: 0, q: 0 }
    }

    /// Number of coefficients.
    pub fn n(&self) -> usize {
        self.low.len()
    }
}
