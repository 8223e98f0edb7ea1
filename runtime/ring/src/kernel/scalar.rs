//! Portable kernels, for every prime below `2^60`: the readable twin of the vector paths.
//!
//! A wide sum is one `u128` per coefficient, low and high word. A product is below `2^120`, so 128 products and one
//! residue stay below `2^128`.

use super::{BlockOrders, Fraction};
use crate::Modulus;
use crate::modulus::Factor;

/// Products that a wide sum holds beside one reduced residue.
pub(super) const WIDE_TERMS_MAX: usize = 128;

pub(super) fn add_limbs(m: &Modulus, a: &mut [u64], b: &[u64]) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = m.add(*a, b));
}

pub(super) fn sub_limbs(m: &Modulus, a: &mut [u64], b: &[u64]) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = m.sub(*a, b));
}

pub(super) fn neg_limb(m: &Modulus, a: &mut [u64]) {
    a.iter_mut().for_each(|a| *a = m.neg(*a));
}

pub(super) fn mul(m: &Modulus, a: &mut [u64], b: &[u64]) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = m.mul(*a, b));
}

pub(super) fn mul_add(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    for ((acc, &a), &b) in acc.iter_mut().zip(a).zip(b) {
        *acc = m.reduce_u128(u128::from(a) * u128::from(b) + u128::from(*acc));
    }
}

pub(super) fn mul_scalar_add(m: &Modulus, acc: &mut [u64], a: &[u64], s: &Factor) {
    acc.iter_mut().zip(a).for_each(|(acc, &a)| *acc = m.add(*acc, m.mul_factor(a, s)));
}

pub(super) fn sub_mul_scalar(m: &Modulus, a: &mut [u64], b: &[u64], s: &Factor) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = m.mul_factor(m.sub(*a, b), s));
}

pub(super) fn scale_offset(m: &Modulus, a: &mut [u64], s: &Factor, c: u64) {
    a.iter_mut().for_each(|a| *a = m.add(m.mul_factor(*a, s), c));
}

pub(super) fn reduce_from(m: &Modulus, out: &mut [u64], a: &[u64], from: &Modulus) {
    let (half, from_reduced) = (from.value() / 2, m.reduce(from.value()));
    for (out, &a) in out.iter_mut().zip(a) {
        let r = m.reduce(a);
        *out = if a > half { m.sub(r, from_reduced) } else { r };
    }
}

fn join(low: u64, high: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

pub(super) fn accumulate(_m: &Modulus, low: &mut [u64], high: &mut [u64], a: &[u64], b: &[u64]) {
    for (((low, high), &a), &b) in low.iter_mut().zip(high).zip(a).zip(b) {
        let sum = join(*low, *high) + u128::from(a) * u128::from(b);
        (*low, *high) = (sum as u64, (sum >> 64) as u64);
    }
}

pub(super) fn fold(m: &Modulus, low: &mut [u64], high: &mut [u64]) {
    for (low, high) in low.iter_mut().zip(high) {
        (*low, *high) = (m.reduce_u128(join(*low, *high)), 0);
    }
}

pub(super) fn reduce_wide(m: &Modulus, low: &mut [u64], high: &mut [u64], out: &mut [u64]) {
    for ((low, high), out) in low.iter_mut().zip(high).zip(out) {
        *out = m.reduce_u128(join(*low, *high));
        (*low, *high) = (0, 0);
    }
}

pub(super) fn sum_of_products(m: &Modulus, out: &mut [u64], terms: &[(&[u64], &[u64])]) {
    for (j, out) in out.iter_mut().enumerate() {
        *out = terms.chunks(WIDE_TERMS_MAX).fold(0, |residue, chunk| {
            let product = |&(a, b): &(&[u64], &[u64])| u128::from(a[j]) * u128::from(b[j]);
            m.reduce_u128(u128::from(residue) + chunk.iter().map(product).sum::<u128>())
        });
    }
}

pub(super) fn pair_of_sums(
    m: &Modulus,
    outs: [&mut [u64]; 2],
    starts: [&[u64]; 2],
    a: &[&[u64]],
    b: [&[&[u64]]; 2],
) {
    for ((out, start), b) in outs.into_iter().zip(starts).zip(b) {
        let terms: Vec<_> = a.iter().copied().zip(b.iter().copied()).collect();
        sum_of_products(m, out, &terms);
        add_limbs(m, out, start);
    }
}

pub(super) fn convert(m: &Modulus, out: &mut [u64], inputs: &[&[u64]], weights: &[u64], offset: u64) {
    debug_assert!(inputs.len() <= WIDE_TERMS_MAX);
    for (j, out) in out.iter_mut().enumerate() {
        let products = inputs.iter().zip(weights).map(|(x, &w)| u128::from(x[j]) * u128::from(w));
        *out = m.reduce_u128(u128::from(offset) + products.sum::<u128>());
    }
}

/// Products of 32 bits and sums of 64, which every path has: the others compile this for themselves.
#[inline]
pub(super) fn rounded_sum(out: &mut [u64], inputs: &[&[u64]], fractions: &[Fraction], bits: u32) {
    debug_assert!(inputs.len() <= 64 && bits <= 56);
    out.fill(1 << (bits - 1));
    for (input, fraction) in inputs.iter().zip(fractions) {
        for (sum, &x) in out.iter_mut().zip(*input) {
            debug_assert!(x >> fraction.shift < 1 << 28);
            let product = u64::from((x >> fraction.shift) as u32) * u64::from(fraction.factor);
            *sum = sum.wrapping_add(product);
        }
    }
    out.iter_mut().for_each(|sum| *sum >>= bits);
}

pub(super) fn permute(out: &mut [u64], a: &[u64], blocks: &[u32], orders: &BlockOrders) {
    let (sources, _) = a.as_chunks::<8>();
    let (targets, _) = out.as_chunks_mut::<8>();
    for (target, &block) in targets.iter_mut().zip(blocks) {
        let source = &sources[(block as usize / 8) & (sources.len() - 1)];
        *target = orders[block as usize % 8].map(|r| source[r as usize % 8]);
    }
}
