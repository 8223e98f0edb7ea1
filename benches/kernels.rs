//! The kernels of the ring layer beside the machine's limits: clock, bytes per second, and microseconds per limb.
//!
//! `cargo bench -p cipherloom-ring --bench kernels -- [NAME..] [--record]`; rows go to `benches/results/kernels.json`.
//! `.._hot` works on one limb again and again, with operands and tables in the second cache; `.._cold` goes round the
//! primes of a key basis, as a key switch does. docs/kernels.md sets the rows beside instruction counts.

#![allow(clippy::print_stdout, reason = "a bench prints its rows")]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cipherloom_ring::{Automorphism, BaseConversion, Degree, Limb, Path, Words, is_prime};
use harness::{Arguments, Row};
use serde_json::json;

/// log N, and the primes of a key basis at that degree with its digit.
const SHAPES: [(u32, usize, usize); 3] = [(16, 35, 9), (15, 18, 5), (14, 9, 2)];
/// Seconds per row.
const ROW_S: f64 = 0.4;

struct Bench {
    arguments: Arguments,
    rows: Vec<Row>,
}

impl Bench {
    /// Median of `call`'s time, divided by `parts`, in microseconds.
    fn row(&mut self, name: String, log_n: u32, parts: usize, mut call: impl FnMut()) {
        if !self.arguments.wants(&name) {
            return;
        }
        let mut time = || {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64()
        };
        let once = time().min(time());
        let calls = ((ROW_S / once) as usize).clamp(5, 20_000);
        let value = harness::median((0..calls).map(|_| time()).collect()) * 1e6 / parts as f64;
        self.push(name, value, "us", log_n);
    }

    fn push(&mut self, name: String, value: f64, unit: &'static str, log_n: u32) {
        let more = if log_n > 0 { json!({ "log_n": log_n }) } else { json!({}) };
        let row = Row { name, value, unit, threads: 1, more };
        harness::print(&row);
        self.rows.push(row);
    }
}

fn main() {
    let mut bench = Bench { arguments: Arguments::parse(), rows: vec![] };
    if bench.arguments.wants("clock") {
        let value = clock_ghz();
        bench.push("clock".into(), value, "GHz", 0);
    }
    memory(&mut bench);
    for (log_n, primes, digit) in SHAPES {
        limbs(&mut bench, log_n, primes, digit);
    }
    harness::finish(&bench.arguments, "kernels", &bench.rows);
}

/// A chain of a multiplication and an exclusive or, four cycles.
fn clock_ghz() -> f64 {
    const STEPS: u64 = 50_000_000;
    let run = || {
        let start = Instant::now();
        let mut x = black_box(3u64);
        let by = black_box(5u64);
        for _ in 0..STEPS {
            x = x.wrapping_mul(by) ^ by;
        }
        black_box(x);
        4.0 * STEPS as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    harness::median((0..5).map(|_| run()).collect())
}

/// Bytes per second of one thread beyond the caches: reading, and copying (bytes read and bytes written).
fn memory(bench: &mut Bench) {
    const WORDS: usize = 1 << 25;
    let bytes = (WORDS * 8) as f64;
    if bench.arguments.wants("stream") {
        let source = Words::zeroed(WORDS);
        let mut target = Words::zeroed(WORDS);
        let time = |call: &mut dyn FnMut()| {
            let sample = |call: &mut dyn FnMut()| {
                let start = Instant::now();
                call();
                start.elapsed().as_secs_f64()
            };
            harness::median((0..9).map(|_| sample(call)).collect())
        };
        let read = time(&mut || {
            black_box(source.iter().fold(0u64, |sum, word| sum.wrapping_add(*word)));
        });
        bench.push("stream_read".into(), bytes / read / 1e9, "GB/s", 0);
        let copied = time(&mut || target.copy_from_slice(&source));
        bench.push("stream_copy".into(), 2.0 * bytes / copied / 1e9, "GB/s", 0);
    }
}

fn limbs(bench: &mut Bench, log_n: u32, count: usize, digit: usize) {
    let degree = Degree::new(log_n).expect("a degree");
    let n = degree.n();
    let step = 2 * n as u64;
    let candidates = (1..).map(|k| (1u64 << 48) - k * step + 1).filter(|&q| is_prime(q));
    let limbs: Vec<Arc<Limb>> = candidates
        .take(count)
        .map(|q| Arc::new(Limb::new(degree, q, Path::best()).expect("a limb")))
        .collect();
    let mut data: Vec<Words> = (0..3 * count).map(|i| filled(n, i as u64)).collect();
    let name = |kernel: &str| format!("{kernel}_2p{log_n}");

    let limb = &limbs[0];
    bench.row(name("forward_hot"), log_n, 1, || limb.forward(&mut data[0]));
    bench.row(name("inverse_hot"), log_n, 1, || limb.inverse(&mut data[0]));
    bench.row(name("forward_cold"), log_n, count, || {
        limbs.iter().zip(&mut data).for_each(|(limb, words)| limb.forward(words));
    });
    bench.row(name("inverse_cold"), log_n, count, || {
        limbs.iter().zip(&mut data).for_each(|(limb, words)| limb.inverse(words));
    });

    // 50 bits: a reduction in every layer. 46 bits: none.
    for bits in [50, 46] {
        let prime = (1..).map(|k| (1u64 << bits) - k * step + 1).find(|&q| is_prime(q)).expect("a prime");
        let limb = Limb::new(degree, prime, Path::best()).expect("a limb");
        bench.row(name(&format!("forward{bits}_hot")), log_n, 1, || limb.forward(&mut data[0]));
    }

    let base = BaseConversion::new(&limbs[..digit], &limbs).expect("a conversion");
    let mut out = Words::zeroed(n);
    {
        let scaled: Vec<&[u64]> = data[..digit].iter().map(|words| &words[..]).collect();
        bench.row(name(&format!("convert{digit}")), log_n, count - digit, || {
            (digit..count).for_each(|target| base.convert_centred_to(target, &scaled, &mut out));
        });
    }
    bench.row(name("scale_input"), log_n, digit, || {
        (0..digit).for_each(|i| base.scale_input_centred(i, &mut data[i]));
    });
    let mut second = Words::zeroed(n);
    let views: Vec<&[u64]> = data.iter().map(|words| &words[..]).collect();
    bench.row(name("pair3_hot"), log_n, 1, || {
        limb.pair_of_sums([&mut out, &mut second], &views[..3], [&views[3..6], &views[6..9]]);
    });
    let automorphism = Automorphism::new(degree, 5).expect("an automorphism");
    bench.row(name("permute"), log_n, 1, || automorphism.apply_evaluation(&second, &mut out));
    bench.row(name("sub_mul_scalar"), log_n, 1, || limb.sub_mul_scalar(&mut out, &second, 12345));
    bench.row(name("copy"), log_n, 1, || out.copy_from_slice(black_box(&second)));
}

/// Words below every prime in use.
fn filled(n: usize, seed: u64) -> Words {
    let mut words = Words::zeroed(n);
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in words.iter_mut() {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *word = x >> 17; // below 2^47
    }
    words
}
