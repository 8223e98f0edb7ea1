//! Positive reals with a 128-bit mantissa, in integer arithmetic: the same bits on every machine.
//!
//! Every operation truncates, with relative error below 2^-127. Used for canonical scales, whose recurrence
//! doubles relative errors at each level: after L levels they are below 2^(L + 2 - 127), far beyond `f64` for
//! every chain that fits a secure ring (at most about 70 primes).

use std::cmp::Ordering;

/// `mantissa · 2^exponent` with the mantissa's top bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SoftFloat {
    mantissa: u128,
    exponent: i32,
}

impl From<u64> for SoftFloat {
    /// Exact, for a positive number (0 is read as 1).
    fn from(value: u64) -> SoftFloat {
        let value = u128::from(value.max(1));
        let shift = value.leading_zeros();
        SoftFloat { mantissa: value << shift, exponent: -(shift as i32) }
    }
}

impl SoftFloat {
    pub(crate) fn power_of_two(exponent: i32) -> SoftFloat {
        SoftFloat { mantissa: 1 << 127, exponent: exponent - 127 }
    }

    pub(crate) fn times(self, other: SoftFloat) -> SoftFloat {
        let halves = |x: u128| (x >> 64, x & u128::from(u64::MAX));
        let ((ah, al), (bh, bl)) = (halves(self.mantissa), halves(other.mantissa));
        let middle =
            ((ah * bl) & u128::from(u64::MAX)) + ((al * bh) & u128::from(u64::MAX)) + ((al * bl) >> 64);
        let high = ah * bh + ((ah * bl) >> 64) + ((al * bh) >> 64) + (middle >> 64);
        let low = middle << 64;
        let exponent = self.exponent + other.exponent + 128;
        if high >> 127 == 1 {
            SoftFloat { mantissa: high, exponent }
        } else {
            SoftFloat { mantissa: high << 1 | low >> 127, exponent: exponent - 1 }
        }
    }

    pub(crate) fn over(self, other: SoftFloat) -> SoftFloat {
        // Long division, bit by bit: the quotient of the mantissas lies in (1/2, 2).
        let (mut rest, divisor) = (self.mantissa, other.mantissa);
        let mut exponent = self.exponent - other.exponent - 127;
        let mut overflow = false;
        if rest < divisor {
            exponent -= 1;
            (rest, overflow) = (rest << 1, true);
        }
        let mut quotient = 0u128;
        for _ in 0..128 {
            quotient <<= 1;
            if overflow || rest >= divisor {
                rest = rest.wrapping_sub(divisor);
                quotient |= 1;
            }
            overflow = rest >> 127 == 1;
            rest <<= 1;
        }
        SoftFloat { mantissa: quotient, exponent }
    }

    /// Integer power, by repeated products.
    pub(crate) fn power(self, exponent: i32) -> SoftFloat {
        let one = SoftFloat::power_of_two(0);
        let power = (0..exponent.unsigned_abs()).fold(one, |p, _| p.times(self));
        if exponent < 0 { one.over(power) } else { power }
    }

    /// Nearest integer, saturating.
    pub(crate) fn round(self) -> u64 {
        match self.exponent {
            e if e > -64 => u64::MAX,
            e if e < -128 => 0,
            -128 => u64::from(self.mantissa >> 127 == 1),
            e => {
                let shift = -e as u32;
                let floor = self.mantissa >> shift;
                let up = self.mantissa >> (shift - 1) & 1;
                u64::try_from(floor + up).unwrap_or(u64::MAX)
            }
        }
    }

    /// Nearest `f64` (infinite or zero beyond its range).
    pub(crate) fn value(self) -> f64 {
        libm::ldexp(self.mantissa as f64, self.exponent)
    }

    pub(crate) fn log2(self) -> f64 {
        libm::log2(libm::ldexp(self.mantissa as f64, -127)) + f64::from(self.exponent + 127)
    }
}

impl PartialOrd for SoftFloat {
    fn partial_cmp(&self, other: &SoftFloat) -> Option<Ordering> {
        Some((self.exponent, self.mantissa).cmp(&(other.exponent, other.mantissa)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exact_where_the_result_fits(a in 1u64.., b in 1u64..) {
            let (x, y) = (SoftFloat::from(a), SoftFloat::from(b));
            let product = x.times(y);
            prop_assert_eq!(product.over(y).round(), a);
            let exact = u128::from(a) * u128::from(b);
            let shift = exact.leading_zeros();
            prop_assert_eq!(product, SoftFloat { mantissa: exact << shift, exponent: -(shift as i32) });
            let quotient = (a as f64) / (b as f64);
            prop_assert!((x.over(y).value() / quotient - 1.0).abs() < 1e-15);
            prop_assert!((x.log2() - (a as f64).log2()).abs() < 1e-13);
            prop_assert_eq!(x.value(), a as f64);
            prop_assert_eq!(x.round(), a);
            prop_assert!((x.over(y).times(y).value() / (a as f64) - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn rounding_and_powers() {
        let half = SoftFloat::power_of_two(-1);
        assert_eq!((half.round(), SoftFloat::power_of_two(-2).round()), (1, 0));
        assert_eq!(SoftFloat::from(7).over(SoftFloat::from(2)).round(), 4);
        assert_eq!(SoftFloat::from(3).power(20).round(), 3u64.pow(20));
        assert_eq!(SoftFloat::from(4).power(-3).value(), 1.0 / 64.0);
        assert_eq!(SoftFloat::power_of_two(64).round(), u64::MAX);
        assert!(SoftFloat::from(3) > SoftFloat::from(2));
    }
}
