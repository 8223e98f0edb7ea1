//! The ring automorphisms `X -> X^g`.
//!
//! Evaluation domain: index `i` holds the value at `psi^e`, `e = 2 bitrev(i) + 1`, and the image's value there is the
//! input's value at `psi^(g e)`: a permutation, the same for every prime. Eight neighbours `8b .. 8b+8` differ in the
//! top three bits of `bitrev(i)`, so their exponents are `e_b + t N/4`; multiplied by `g` they are again the eight
//! neighbours of one block, rotated. The table therefore holds one word per block: source block and rotation.

use crate::kernel::{BlockOrders, Kernel};
use crate::{Degree, Modulus, Path, RingError};

/// `X -> X^g` for one odd `g < 2N`.
pub struct Automorphism {
    degree: Degree,
    galois_element: u64,
    kernel: Kernel,
    /// Per block of eight outputs: `8 * source block + rotation`.
    blocks: Vec<u32>,
    orders: BlockOrders,
}

impl Automorphism {
    /// The automorphism by `galois_element`, on the best path of this processor.
    ///
    /// # Errors
    /// [`RingError::GaloisElement`] unless it is odd and below `2N`.
    pub fn new(degree: Degree, galois_element: u64) -> Result<Automorphism, RingError> {
        Automorphism::with_path(degree, galois_element, Path::best())
    }

    /// The automorphism by `galois_element`, on this path.
    ///
    /// # Errors
    /// [`RingError::GaloisElement`] unless it is odd and below `2N`; [`RingError::PathUnavailable`] where the
    /// processor lacks `path`.
    pub fn with_path(degree: Degree, galois_element: u64, path: Path) -> Result<Automorphism, RingError> {
        let two_n = 2 * degree.n() as u64;
        if galois_element.is_multiple_of(2) || galois_element >= two_n {
            return Err(RingError::GaloisElement { element: galois_element, two_n });
        }
        let kernel = Kernel::detect(path).ok_or(RingError::PathUnavailable { path })?;
        let g = galois_element as usize;
        let eighth = degree.n() / 8;
        let block = |b: usize| {
            let exponent = 2 * degree.reverse_bits(8 * b) + 1;
            let rank = (g * exponent - 1) / 2 % degree.n();
            // The rank's low bits name the source block, its top three bits the rotation.
            (degree.reverse_bits(rank % eighth) + rank / eighth) as u32
        };
        let reverse3 = |r: usize| (r & 1) << 2 | (r & 2) | (r & 4) >> 2;
        let order =
            |rotation: usize| std::array::from_fn(|r| reverse3((rotation + g * reverse3(r)) % 8) as u64);
        Ok(Automorphism {
            degree,
            galois_element,
            kernel,
            blocks: (0..eighth).map(block).collect(),
            orders: std::array::from_fn(order),
        })
    }

    /// Ring degree.
    pub fn degree(&self) -> Degree {
        self.degree
    }

    /// The exponent `g`.
    pub fn galois_element(&self) -> u64 {
        self.galois_element
    }

    /// in any, out the same words: the image of evaluation words, for every prime alike.
    pub fn apply_evaluation(&self, input: &[u64], output: &mut [u64]) {
        self.check(input, output);
        self.permute_from(0, input, output);
    }

    /// The image's words from index `start` on, out of the words around their sources: see `tile.rs`.
    pub(crate) fn permute_from(&self, start: usize, input: &[u64], output: &mut [u64]) {
        let blocks = &self.blocks[start / 8..][..output.len() / 8];
        self.kernel.permute(output, input, blocks, &self.orders);
    }

    /// The first of the eight neighbours that become those from index `start` on.
    pub(crate) fn source_of(&self, start: usize) -> usize {
        self.blocks[start / 8] as usize & !7
    }

    /// in [0, q), out [0, q): the image of coefficients.
    pub fn apply_coefficient(&self, modulus: &Modulus, input: &[u64], output: &mut [u64]) {
        self.check(input, output);
        let n = self.degree.n();
        let step = self.galois_element as usize;
        let mut exponent = 0;
        for &a in input {
            // X^N = -1.
            output[exponent % n] = if exponent >= n { modulus.neg(a) } else { a };
            exponent = (exponent + step) % (2 * n);
        }
    }

    fn check(&self, input: &[u64], output: &[u64]) {
        assert_eq!(input.len(), self.degree.n(), "a limb has N words");
        assert_eq!(output.len(), self.degree.n(), "a limb has N words");
    }
}

impl std::fmt::Debug for Automorphism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Automorphism(X -> X^{}, N = {})", self.galois_element, self.degree.n())
    }
}
