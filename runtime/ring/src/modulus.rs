//! One prime modulus and arithmetic on single residues.
//!
//! Products are reduced by Barrett's method: with `r = floor(2^128 / q)` the estimate `floor(x r / 2^128)` is at
//! most one below `floor(x / q)` for every `x < 2^128`.

use crate::RingError;
#[cfg(target_arch = "x86_64")]
use crate::roots::{RADIX, inverse52};

/// A prime `q` below `2^60`, not in `[2^50, 2^51)`, with the constants of its reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modulus {
    q: u64,
    bits: u32,
    /// `floor(2^128 / q)`.
    ratio: u128,
    #[cfg(target_arch = "x86_64")]
    words52: Words52,
}

/// What kernels on words of 52 bits multiply by; meaningful for `q < 2^52`.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words52 {
    /// `1/q mod 2^52`.
    pub(crate) inverse: u64,
    /// `2^52`.
    pub(crate) radix: Factor,
    /// `2^104`.
    pub(crate) radix_squared: Factor,
}

/// A factor that meets many residues: `floor(w 2^b / q)` for the word widths of the kernels (Shoup's method).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Factor {
    pub(crate) value: u64,
    /// `floor(value * 2^64 / q)`.
    pub(crate) quotient64: u64,
    /// `floor(value * 2^52 / q)`; meaningful for `q < 2^52`.
    #[cfg(target_arch = "x86_64")]
    pub(crate) quotient52: u64,
}

#[cfg(target_arch = "x86_64")]
impl Words52 {
    fn new(modulus: &Modulus) -> Words52 {
        let radix = modulus.reduce(RADIX);
        Words52 {
            inverse: inverse52(modulus.q),
            radix: modulus.factor(radix),
            radix_squared: modulus.factor(modulus.mul(radix, radix)),
        }
    }
}

impl Modulus {
    /// Moduli are below `2^BITS_MAX`.
    pub const BITS_MAX: u32 = 60;

    /// Checks `q`.
    ///
    /// # Errors
    /// [`RingError::ModulusTooLarge`] from `2^60` on, [`RingError::ModulusInGap`] in `[2^50, 2^51)`,
    /// [`RingError::NotPrime`] for composite or even `q`.
    pub fn new(q: u64) -> Result<Modulus, RingError> {
        if q >> Self::BITS_MAX != 0 {
            return Err(RingError::ModulusTooLarge { q, bits_max: Self::BITS_MAX });
        }
        if q >> 50 == 1 {
            return Err(RingError::ModulusInGap { q });
        }
        if q < 3 || !is_prime(q) {
            return Err(RingError::NotPrime { q });
        }
        // q is odd, so floor((2^128 - 1) / q) = floor(2^128 / q).
        let modulus = Modulus {
            q,
            bits: u64::BITS - q.leading_zeros(),
            ratio: u128::MAX / u128::from(q),
            #[cfg(target_arch = "x86_64")]
            words52: Words52::default(),
        };
        #[cfg(target_arch = "x86_64")]
        let modulus = Modulus { words52: Words52::new(&modulus), ..modulus };
        Ok(modulus)
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn words52(&self) -> &Words52 {
        &self.words52
    }

    /// The prime.
    pub fn value(&self) -> u64 {
        self.q
    }

    /// Number of bits of the prime.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// in [0, q), out [0, q): `a + b`.
    #[inline]
    pub fn add(&self, a: u64, b: u64) -> u64 {
        debug_assert!(a < self.q && b < self.q);
        reduce_once(a + b, self.q)
    }

    /// in [0, q), out [0, q): `a - b`.
    #[inline]
    pub fn sub(&self, a: u64, b: u64) -> u64 {
        debug_assert!(a < self.q && b < self.q);
        let d = a.wrapping_sub(b);
        d.min(d.wrapping_add(self.q))
    }

    /// in [0, q), out [0, q): `-a`.
    #[inline]
    pub fn neg(&self, a: u64) -> u64 {
        debug_assert!(a < self.q);
        if a == 0 { 0 } else { self.q - a }
    }

    /// in any, out [0, q): `a b`.
    #[inline]
    pub fn mul(&self, a: u64, b: u64) -> u64 {
        self.reduce_u128(u128::from(a) * u128::from(b))
    }

    /// in any, out [0, q): `a^exponent`.
    pub fn pow(&self, a: u64, exponent: u64) -> u64 {
        let (mut base, mut left, mut out) = (self.reduce(a), exponent, 1);
        while left > 0 {
            if left & 1 == 1 {
                out = self.mul(out, base);
            }
            base = self.mul(base, base);
            left >>= 1;
        }
        out
    }

    /// in any, out [0, q): `1 / a`, or `None` where `a = 0 mod q`.
    pub fn inv(&self, a: u64) -> Option<u64> {
        let a = self.reduce(a);
        (a != 0).then(|| self.pow(a, self.q - 2))
    }

    /// in any, out [0, q).
    #[inline]
    pub fn reduce(&self, a: u64) -> u64 {
        self.reduce_u128(u128::from(a))
    }

    /// in any, out [0, q).
    #[inline]
    pub fn reduce_u128(&self, a: u128) -> u64 {
        self.divide(a).1
    }

    /// in any: the quotient modulo `2^64` and the remainder in [0, q).
    #[inline]
    fn divide(&self, a: u128) -> (u64, u64) {
        let (a0, a1) = (a as u64, (a >> 64) as u64);
        let (r0, r1) = (self.ratio as u64, (self.ratio >> 64) as u64);
        let wide = |x: u64, y: u64| u128::from(x) * u128::from(y);
        // Word 2 of a * ratio: the sum below may pass 2^128, but that carry belongs to word 3, and the remainder needs
        // the quotient modulo 2^64 only.
        let middle = wide(a1, r0).wrapping_add(wide(a0, r1)).wrapping_add(wide(a0, r0) >> 64);
        let estimate = a1.wrapping_mul(r1).wrapping_add((middle >> 64) as u64);
        let rest = a0.wrapping_sub(estimate.wrapping_mul(self.q));
        let reduced = reduce_once(rest, self.q);
        (estimate.wrapping_add(u64::from(reduced != rest)), reduced)
    }

    /// in any, out [0, q).
    pub fn from_i64(&self, a: i64) -> u64 {
        let magnitude = self.reduce(a.unsigned_abs());
        if a < 0 { self.neg(magnitude) } else { magnitude }
    }

    /// in [0, q), out (-q/2, q/2).
    #[inline]
    pub fn center(&self, a: u64) -> i64 {
        debug_assert!(a < self.q);
        if a > self.q / 2 { a as i64 - self.q as i64 } else { a as i64 }
    }

    /// `floor(2^exponent / q)` for `exponent <= 128`, which must fit a word.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn power_of_two_quotient(&self, exponent: u32) -> u64 {
        debug_assert!(exponent <= 128 && exponent < self.bits + 64);
        (self.ratio >> (128 - exponent)) as u64
    }

    /// in any: a factor prepared for many products.
    pub(crate) fn factor(&self, value: u64) -> Factor {
        let value = self.reduce(value);
        let quotient = |bits: u32| self.divide(u128::from(value) << bits).0;
        Factor {
            value,
            quotient64: quotient(64),
            #[cfg(target_arch = "x86_64")]
            quotient52: quotient(52),
        }
    }

    /// in any x, out [0, q): `x * factor`.
    #[inline]
    pub(crate) fn mul_factor(&self, x: u64, factor: &Factor) -> u64 {
        let estimate = (u128::from(x) * u128::from(factor.quotient64)) >> 64;
        let r = x.wrapping_mul(factor.value).wrapping_sub((estimate as u64).wrapping_mul(self.q));
        reduce_once(r, self.q)
    }

    /// A primitive root of unity of order `order`, a power of two: the result of repeated square roots of -1 by
    /// Tonelli and Shanks with the least non-residue. It is a function of `q` and `order` alone.
    pub(crate) fn root_of_unity(&self, order: u64) -> Option<u64> {
        debug_assert!(order.is_power_of_two() && order >= 2);
        if !(self.q - 1).is_multiple_of(order) {
            return None;
        }
        let non_residue = (2..self.q).find(|&z| self.pow(z, (self.q - 1) / 2) == self.q - 1)?;
        let halvings = order.trailing_zeros() - 1;
        (0..halvings).try_fold(self.q - 1, |root, _| self.square_root(root, non_residue))
    }

    /// in [0, q), out [0, q): a square root of `a` (Tonelli and Shanks), or `None` for a non-residue.
    fn square_root(&self, a: u64, non_residue: u64) -> Option<u64> {
        let two_adicity = (self.q - 1).trailing_zeros();
        let odd = (self.q - 1) >> two_adicity;
        let mut order = two_adicity;
        let mut c = self.pow(non_residue, odd);
        let mut t = self.pow(a, odd);
        let mut root = self.pow(a, odd.div_ceil(2));
        while t != 1 {
            let (mut i, mut square) = (0, t);
            while square != 1 {
                square = self.mul(square, square);
                i += 1;
                if i == order {
                    return None;
                }
            }
            let b = self.pow(c, 1 << (order - i - 1));
            order = i;
            c = self.mul(b, b);
            t = self.mul(t, c);
            root = self.mul(root, b);
        }
        Some(root)
    }
}

/// in [0, 2q), out [0, q).
#[inline(always)]
pub(crate) fn reduce_once(a: u64, q: u64) -> u64 {
    debug_assert!(a < 2 * q);
    a.min(a.wrapping_sub(q))
}

/// Whether `n` is prime; exact for every 64-bit number (Miller and Rabin with the first twelve primes as bases).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    if let Some(p) = BASES.iter().find(|&&p| n.is_multiple_of(p)) {
        return n == *p;
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    BASES.iter().all(|&base| {
        let (mut x, mut power, mut left) = (1, base, odd);
        while left > 0 {
            if left & 1 == 1 {
                x = mul(x, power);
            }
            power = mul(power, power);
            left >>= 1;
        }
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            x = mul(x, x);
            x == n - 1
        })
    })
}
