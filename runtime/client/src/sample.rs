//! Small random polynomials: uniform and sparse ternary secrets, discrete Gaussian errors, drawn with integers alone.
//!
//! Promises that neither branches nor addresses depend on the values drawn (the number of rejected ternary candidates
//! is independent of the accepted ones), and that a polynomial is wiped when dropped.

use crate::randomness::Randomness;
use rayon::prelude::*;
use zeroize::Zeroizing;

/// Coefficients of a small polynomial.
pub type SmallPoly = Zeroizing<Vec<i8>>;

/// Standard deviation of the errors, times 100.
pub const SIGMA_HUNDREDTHS: u32 = 319;

/// `⌊2^127 · Pr(|x| ≤ k)⌋` for the discrete Gaussian of standard deviation 3.19 on the integers, k = 0, 1, ….
///
/// The law is `Pr(x) ∝ exp(−x²/2σ²)`. Entries stop where the tail beyond falls below 2^-121: what is drawn never
/// exceeds 41 = 12.8 σ, and the statistical distance from the untruncated law is below 2^-120. A test derives the
/// table anew in 320-bit arithmetic.
const CUMULATIVE: [u128; 41] = [
    0x1001f9a1_b2ca9468_7d7697c5_0b544918,
    0x2e7cf3ef_07836cb5_d9a4bfe5_b8e648af,
    0x48ca7e85_d834a579_d04638a6_8050d8e3,
    0x5d5d5177_8f760880_a29c1adf_90486271,
    0x6bf35598_550421b0_387996d1_bd8c9679,
    0x7552dc90_807bbed5_d4a4f261_c1aa7a59,
    0x7ac88205_61a4c974_da6f4bcc_cb8d91f2,
    0x7daa6596_524b7ffd_3881f3dd_327f9af2,
    0x7f0b8114_bba4ecb9_35fe043d_2ca59820,
    0x7fa4a9fc_5ea574e8_bb2c9fb7_c16c975f,
    0x7fe0e107_7aef3919_f507a817_a368a318,
    0x7ff6563f_810f15d0_106026e4_46869208,
    0x7ffd4490_999bc594_d4bc7918_34114abf,
    0x7fff4c08_04cd386d_a57bc4e1_95062c8b,
    0x7fffd5e1_8e7fda18_37e0216d_aa52c40a,
    0x7ffff709_c679c2ed_fe88363f_d122c605,
    0x7ffffe44_5c790f6b_ec4bb4df_649a4aaa,
    0x7fffffb2_0f7aa54a_7f53d251_83ccfb5d,
    0x7ffffff3_903d235d_4193489b_e593eef1,
    0x7ffffffe_32b06d1d_7640635d_5edf8b84,
    0x7fffffff_c35125cc_6a62eb39_239da216,
    0x7fffffff_f8c11764_bfb5d88a_e22bc86e,
    0x7fffffff_ff36fe33_490f4840_a7f430af,
    0x7fffffff_ffec3bf7_fe6400c6_5e8d04a5,
    0x7fffffff_fffe3c8b_355c24d8_c3787653,
    0x7fffffff_ffffdb75_41682294_2514f504,
    0x7fffffff_fffffd51_1eaab0ab_e823585c,
    0x7fffffff_ffffffd2_40aab06b_663a0bff,
    0x7fffffff_fffffffd_3c8cd6ab_74185a59,
    0x7fffffff_ffffffff_d93dfabe_84828443,
    0x7fffffff_ffffffff_fe130984_93f65029,
    0x7fffffff_ffffffff_ffe9ca28_3a36bd57,
    0x7fffffff_ffffffff_ffff17b4_36680fb7,
    0x7fffffff_ffffffff_fffff764_fd243dfe,
    0x7fffffff_ffffffff_ffffffb6_005f3ce9,
    0x7fffffff_ffffffff_fffffffd_bf10c282,
    0x7fffffff_ffffffff_ffffffff_f011c0a5,
    0x7fffffff_ffffffff_ffffffff_ff99e732,
    0x7fffffff_ffffffff_ffffffff_fffdaec8,
    0x7fffffff_ffffffff_ffffffff_fffff3cb,
    0x7fffffff_ffffffff_ffffffff_ffffffc5,
];

/// Largest error that is ever drawn.
pub const ERROR_MAX: i8 = CUMULATIVE.len() as i8;

const MAGNITUDE_MASK: u128 = u128::MAX >> 1;

/// One error: its magnitude is the number of table entries not above 127 uniform bits; the last bit is the sign.
fn gaussian(randomness: &mut Randomness) -> i8 {
    let drawn = u128::from_le_bytes(randomness.bytes());
    let uniform = drawn & MAGNITUDE_MASK;
    // Both are below 2^127, so the sign bit of the difference is the comparison.
    let below = CUMULATIVE.iter().map(|entry| (uniform.wrapping_sub(*entry) >> 127) as u8).sum::<u8>();
    let magnitude = (CUMULATIVE.len() as u8 - below) as i8;
    let sign = -((drawn >> 127) as i8);
    (magnitude ^ sign) - sign
}

/// Narrow Gaussians that a wide one starts from, and the factors by which it is widened.
const WIDE_SUM: usize = 16;
const WIDE_FACTORS: [i64; 4] = [4, 17, 297, 88_404];

/// Standard deviation of [`wide_gaussian`]: `3.19 · √16 · Π √(1 + k²)`.
pub const WIDE_DEVIATION: f64 = 23_523_663_645.716;

/// An integer from a discrete Gaussian of standard deviation [`WIDE_DEVIATION`], about 2^34.5.
///
/// Convolution after D. Micciancio, M. Walter (*Gaussian Sampling over the Integers: Efficient, Generic, Constant-Time*,
/// ePrint 2017/259): the sum of 16 narrow Gaussians, then four times `x + k·y` of two independent ones, with
/// `k ≤ √(2π)·σ / (√2·η)` and η = 5.34, the smoothing parameter of the integers for ε = 2^-128; a test derives the
/// factors. Integers only, no branch on what is drawn.
pub fn wide_gaussian(randomness: &mut Randomness) -> i64 {
    widened(randomness, &WIDE_FACTORS)
}

fn widened(randomness: &mut Randomness, factors: &[i64]) -> i64 {
    match factors.split_last() {
        None => (0..WIDE_SUM).map(|_| i64::from(gaussian(randomness))).sum(),
        Some((factor, below)) => widened(randomness, below) + factor * widened(randomness, below),
    }
}

/// Errors that one stream draws; the pieces of a polynomial are drawn in parallel.
const PIECE: usize = 1 << 12;

/// `n` independent errors.
pub fn gaussian_poly(randomness: &mut Randomness, n: usize) -> SmallPoly {
    let mut out = Zeroizing::new(vec![0; n]);
    let mut streams: Vec<Randomness> = (0..n.div_ceil(PIECE)).map(|_| randomness.fork()).collect();
    let pieces = out.par_chunks_mut(PIECE).zip(&mut streams);
    pieces.for_each(|(piece, stream)| piece.iter_mut().for_each(|x| *x = gaussian(stream)));
    out
}

/// `n` independent uniform elements of {−1, 0, 1}.
pub fn ternary_poly(randomness: &mut Randomness, n: usize) -> SmallPoly {
    let mut out = Zeroizing::new(vec![0i8; n]);
    let mut filled = 0;
    while filled < n {
        let [byte] = randomness.bytes::<1>();
        for pair in [byte, byte >> 2, byte >> 4, byte >> 6] {
            let candidate = (pair & 3) as i8;
            if candidate < 3 && filled < n {
                out[filled] = candidate - 1;
                filled += 1;
            }
        }
    }
    out
}

/// `n` elements of {−1, 0, 1} of which `weight` are not zero, at places drawn uniformly, with uniform signs.
///
/// One place after the other is taken with the probability of the places still to fill over the places left (selection
/// sampling, D. Knuth, The Art of Computer Programming 2, algorithm S). A draw of 96 bits below `left` has a bias below
/// `left / 2^96`.
pub fn sparse_ternary_poly(randomness: &mut Randomness, n: usize, weight: usize) -> SmallPoly {
    let mut out = Zeroizing::new(vec![0i8; n]);
    let mut wanted = weight.min(n) as u128;
    for (i, x) in out.iter_mut().enumerate() {
        let bytes = Zeroizing::new(randomness.bytes::<13>());
        let mut wide = [0; 16];
        wide[..12].copy_from_slice(&bytes[..12]);
        let drawn = (u128::from_le_bytes(wide) * (n - i) as u128) >> 96;
        // Both are at most N, so the sign bit of the difference is the comparison.
        let taken = (drawn.wrapping_sub(wanted) >> 127) as u8;
        wanted -= u128::from(taken);
        *x = taken as i8 * ((bytes[12] & 1) as i8 * 2 - 1);
    }
    out
}

/// Residues of a small polynomial modulo `q`, in coefficient form.
pub fn residues(small: &[i8], q: u64, out: &mut [u64]) {
    for (word, x) in out.iter_mut().zip(small) {
        let x = i64::from(*x);
        *word = (x as u64).wrapping_add((x >> 63) as u64 & q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fixed point with 320 fraction bits below 32 integer bits, least significant word first.
    const WORDS: usize = 11;
    type Fixed = [u32; WORDS];

    fn one() -> Fixed {
        let mut x = [0; WORDS];
        x[WORDS - 1] = 1;
        x
    }

    fn add(a: &Fixed, b: &Fixed) -> Fixed {
        let (mut out, mut carry) = ([0; WORDS], 0);
        for i in 0..WORDS {
            let sum = u64::from(a[i]) + u64::from(b[i]) + carry;
            (out[i], carry) = (sum as u32, sum >> 32);
        }
        out
    }

    fn sub(a: &Fixed, b: &Fixed) -> Fixed {
        let (mut out, mut borrow) = ([0; WORDS], 0);
        for i in 0..WORDS {
            let difference = i64::from(a[i]) - i64::from(b[i]) - borrow;
            (out[i], borrow) = (difference as u32, i64::from(difference < 0));
        }
        out
    }

    fn mul(a: &Fixed, b: &Fixed) -> Fixed {
        let mut wide = [0u32; 2 * WORDS];
        for i in 0..WORDS {
            let mut carry = 0;
            for j in 0..WORDS {
                let sum = u64::from(wide[i + j]) + u64::from(a[i]) * u64::from(b[j]) + carry;
                (wide[i + j], carry) = (sum as u32, sum >> 32);
            }
            wide[i + WORDS] = carry as u32;
        }
        wide[WORDS - 1..2 * WORDS - 1].try_into().unwrap()
    }

    fn scale(a: &Fixed, numerator: u32, denominator: u32) -> Fixed {
        let (mut wide, mut carry) = ([0; WORDS + 1], 0);
        for i in 0..WORDS {
            let product = u64::from(a[i]) * u64::from(numerator) + carry;
            (wide[i], carry) = (product as u32, product >> 32);
        }
        wide[WORDS] = carry as u32;
        let (mut out, mut rest) = ([0; WORDS], 0);
        for i in (0..=WORDS).rev() {
            let part = rest << 32 | u64::from(wide[i]);
            rest = part % u64::from(denominator);
            if i < WORDS {
                out[i] = (part / u64::from(denominator)) as u32;
            }
        }
        out
    }

    /// `⌊2^bits · a / b⌋` for a < b, bit by bit.
    fn ratio(a: &Fixed, b: &Fixed, bits: u32) -> u128 {
        let (mut rest, mut out) = (*a, 0);
        for _ in 0..bits {
            rest = add(&rest, &rest);
            out <<= 1;
            if rest.iter().rev().ge(b.iter().rev()) {
                rest = sub(&rest, b);
                out |= 1;
            }
        }
        out
    }

    #[test]
    fn wide_factors_keep_the_smoothing_condition() {
        let smoothing = (2.0 * (1.0 + 128f64.exp2())).ln() / std::f64::consts::PI;
        let mut deviation = f64::from(SIGMA_HUNDREDTHS) / 100.0 * (WIDE_SUM as f64).sqrt();
        for factor in WIDE_FACTORS {
            let most = deviation * std::f64::consts::TAU.sqrt() / (2.0 * smoothing).sqrt();
            assert!((factor as f64) <= most && factor as f64 > 0.9 * most, "{factor}, at most {most}");
            deviation *= (1.0 + (factor * factor) as f64).sqrt();
        }
        assert!((WIDE_DEVIATION / deviation - 1.0).abs() < 1e-6, "{deviation}");
    }

    #[test]
    fn table_is_the_cumulative_gaussian() {
        // exp(−1/2σ²) with 1/2σ² = 10^4 / (2 · 319²), by its alternating series.
        let denominator = 2 * SIGMA_HUNDREDTHS * SIGMA_HUNDREDTHS;
        let (mut base, mut term) = (one(), one());
        for k in 1..60 {
            term = scale(&term, 10_000, denominator * k);
            base = if k % 2 == 1 { sub(&base, &term) } else { add(&base, &term) };
        }
        // w_k = base^(k²), w_k = w_{k-1} · base^(2k-1).
        let square = mul(&base, &base);
        let (mut weights, mut step) = (vec![one()], base);
        for k in 1..90 {
            weights.push(mul(&weights[k - 1], &step));
            step = mul(&step, &square);
        }
        let partial: Vec<Fixed> = weights[1..]
            .iter()
            .scan(one(), |sum, w| {
                let before = *sum;
                *sum = add(&add(sum, w), w);
                Some(before)
            })
            .collect();
        let total = partial.last().unwrap();
        let derived: Vec<u128> = partial[..CUMULATIVE.len()].iter().map(|p| ratio(p, total, 127)).collect();
        assert_eq!(derived, CUMULATIVE);
    }
}
