//! Arithmetic in `R_q = Z_q[X]/(X^N + 1)` for residue number systems: word-sized primes, one limb per prime.
//!
//! - [`Degree`], [`Modulus`], [`Path`]: checked numbers. `N = 2^4 ..= 2^17`; `q` prime, below `2^60`, never in
//!   `[2^50, 2^51)`; `q = 1 mod 2N` where it is transformed.
//! - [`Limb`]: one prime at one degree, with its tables: transforms and pointwise kernels on slices of `N` words.
//! - Tiles (`tile.rs`): the same kernels on aligned parts of a limb, and automorphisms of them.
//! - [`Wide`]: sums of products that are reduced once.
//! - [`Automorphism`]: `X -> X^g`, in either domain.
//! - [`BaseConversion`]: residues modulo some primes to residues modulo others.
//! - [`Poly`]: limbs of one polynomial in one aligned buffer, its domain in the type.
//!
//! # Promises
//! Every operand and every result is canonical, in `[0, q)`. Results are the same bits on every path, machine and
//! thread. Index `i` of the evaluation domain holds the value at `psi^(2 * bitrev(i) + 1)`, where `bitrev` reverses
//! `log_n` bits and `psi` is [`Limb::root`]; `psi` depends on `q` and `N` alone.
//!
//! # Panics
//! Slices of a length other than `N`, or other than what an item's own `Panics` section says, are a bug of the caller and
//! panic. Operands out of range are checked in debug builds only. Nothing else panics.

mod automorphism;
mod conversion;
mod degree;
mod error;
mod kernel;
mod limb;
mod modulus;
mod path;
mod poly;
#[cfg(target_arch = "x86_64")]
mod roots;
mod tile;
mod transform;
mod wide;
mod words;

pub use automorphism::Automorphism;
pub use conversion::BaseConversion;
pub use degree::Degree;
pub use error::RingError;
pub use limb::{Limb, SUBRING_WORDS_MIN, repeat_each};
pub use modulus::{Modulus, is_prime};
pub use path::Path;
pub use poly::{Coefficient, Domain, Evaluation, Poly};
pub use tile::TILE_WORDS_MIN;
pub use wide::Wide;
pub use words::{Words, limit_idle_bytes};
