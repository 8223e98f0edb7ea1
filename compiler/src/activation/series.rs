//! Polynomials of higher degrees in the Chebyshev basis, by doubling.
//!
//! `p = high · T_m + low` with m a power of two, and again for both parts: a polynomial of degree below `2^k` takes k levels. Basis
//! values stay in [−1, 1] and coefficients near those of the polynomial, so that nothing large cancels, which
//! [nested squares](super::form) of high degree do. Of one value, the products with T_m, T_(m/2), … T_2 are summed before they
//! are relinearised.
//! Promises: [`divide`] is exact up to rounding (tested); [`relinearisations`] counts those of the emission.

/// Levels that a polynomial of this degree takes, its variable being in [−1, 1] already.
pub fn depth(degree: usize) -> u32 {
    (degree + 1).next_power_of_two().trailing_zeros()
}

/// `[high, low]` with `Σ c_k T_k = high · T_m + low`, both in the Chebyshev basis; `m <= degree < 2m`.
pub fn divide(coefficients: &[f64], m: usize) -> [Vec<f64>; 2] {
    let mut low = coefficients[..m].to_vec();
    let mut high: Vec<f64> = coefficients[m..].iter().map(|c| 2.0 * c).collect();
    high[0] = coefficients[m];
    // 2 T_m T_i = T_(m+i) + T_(m−i)
    for (i, c) in coefficients[m..].iter().enumerate().skip(1) {
        low[m - i] -= c;
    }
    [high, low]
}

/// Relinearisations on the k-th level from the top, the first being 0, of a polynomial of this degree.
pub fn relinearisations(degree: usize, k: u32) -> u32 {
    let depth = depth(degree);
    let doubled = u32::from(k + 2 <= depth);
    let parts = match (depth - k, k) {
        (_, 0) => 0,
        (1, _) => 1,
        (left, _) => 1 << (left - 2),
    };
    doubled + parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::fit::chebyshev;

    #[test]
    fn parts_make_up_the_whole() {
        for (degree, m) in [(2, 2), (3, 2), (5, 4), (7, 4), (14, 8), (31, 16)] {
            let c: Vec<f64> = (0..=degree).map(|k| (f64::from(k) * 1.7).sin()).collect();
            let [high, low] = divide(&c, m);
            assert!(low.len() == m && high.len() == c.len() - m);
            let t_m: Vec<f64> = (0..=m).map(|k| if k == m { 1.0 } else { 0.0 }).collect();
            for k in 0..=20 {
                let t = f64::from(k) / 10.0 - 1.0;
                let whole = chebyshev(&high, t) * chebyshev(&t_m, t) + chebyshev(&low, t);
                assert!((whole - chebyshev(&c, t)).abs() < 1e-12, "{degree} {m} {t}");
            }
        }
    }

    #[test]
    fn depths_and_products() {
        assert_eq!([1, 2, 3, 4, 7, 8, 15, 31].map(depth), [1, 2, 2, 3, 3, 4, 4, 5]);
        let all = |degree| (0..depth(degree)).map(|k| relinearisations(degree, k)).sum::<u32>();
        assert_eq!([3, 7, 15, 31, 63].map(all), [2, 4, 7, 12, 21]);
    }
}
