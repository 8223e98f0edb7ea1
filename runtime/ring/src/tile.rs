//! Kernels on part of a limb: a tile is an aligned run of evaluation words, a power of two of at least eight.
//!
//! An automorphism takes tiles to tiles: the top bits of an index are the low bits of the exponent that it stands for, and
//! an odd factor keeps which exponents share their low bits. So a sum of products can be rotated, and meet other products,
//! tile by tile, without leaving the nearest cache in between.

use crate::{Automorphism, Limb};

/// Tiles have at least so many words.
pub const TILE_WORDS_MIN: usize = 8;

impl Limb {
    /// in [0, q), out [0, q): `outs[i] = starts[i] + sum of a_k b[i]_k`, index by index, all of one length; an empty start
    /// is zero.
    ///
    /// # Panics
    /// Where `a` and each of `b` are not equally many, or not all of one length, a multiple of [`TILE_WORDS_MIN`].
    pub fn pair_of_sums_tile(
        &self,
        outs: [&mut [u64]; 2],
        starts: [&[u64]; 2],
        a: &[&[u64]],
        b: [&[&[u64]]; 2],
    ) {
        let len = outs[0].len();
        assert!(len.is_multiple_of(TILE_WORDS_MIN) && outs[1].len() == len, "both sums have a tile");
        assert!(
            starts.iter().all(|start| start.is_empty() || start.len() == len),
            "starts have the tile's length"
        );
        starts.iter().for_each(|start| self.check_range(start));
        for terms in b {
            assert_eq!(a.len(), terms.len(), "one product per shared factor");
        }
        for words in a.iter().chain(b[0]).chain(b[1]) {
            assert_eq!(words.len(), len, "factors have the tile's length");
            self.check_range(words);
        }
        self.kernel().pair_of_sums(self.modulus(), outs, starts, a, b);
    }

    /// in [0, q) and any `s`, out [0, q): `acc += s a`.
    ///
    /// # Panics
    /// Where lengths differ or are no multiple of [`TILE_WORDS_MIN`].
    pub fn mul_scalar_add_tile(&self, acc: &mut [u64], a: &[u64], s: u64) {
        assert!(acc.len().is_multiple_of(TILE_WORDS_MIN) && acc.len() == a.len(), "tiles of one length");
        self.check_range(acc);
        self.check_range(a);
        self.kernel().mul_scalar_add(self.modulus(), acc, a, &self.modulus().factor(s));
    }

    /// in [0, q), out [0, q): `a += b`.
    ///
    /// # Panics
    /// Where lengths differ or are no multiple of [`TILE_WORDS_MIN`].
    pub fn add_tile(&self, a: &mut [u64], b: &[u64]) {
        assert!(a.len().is_multiple_of(TILE_WORDS_MIN) && a.len() == b.len(), "tiles of one length");
        self.check_range(a);
        self.check_range(b);
        self.kernel().add_limbs(self.modulus(), a, b);
    }
}

impl Automorphism {
    /// Where the tile begins whose words become those of the tile of `len` words at `start`.
    ///
    /// # Panics
    /// Unless `len` is a power of two from [`TILE_WORDS_MIN`] on, `start` a multiple of it, and the tile within the limb.
    pub fn tile_source(&self, start: usize, len: usize) -> usize {
        assert!(
            len.is_power_of_two() && len >= TILE_WORDS_MIN && start.is_multiple_of(len),
            "an aligned tile"
        );
        self.source_of(start) & !(len - 1)
    }

    /// in any, out the same words: the image's tile at `start`, from the tile of the input at
    /// [`Automorphism::tile_source`].
    ///
    /// # Panics
    /// As [`Automorphism::tile_source`]; where the lengths differ or the tile ends beyond the limb.
    pub fn apply_tile(&self, start: usize, input: &[u64], output: &mut [u64]) {
        let len = output.len();
        assert!(
            len.is_power_of_two() && len >= TILE_WORDS_MIN && start.is_multiple_of(len),
            "an aligned tile"
        );
        assert_eq!(input.len(), len, "a tile comes from one tile");
        self.permute_from(start, input, output);
    }
}
