//! The cost profile: measures every kind of work at every ring degree on one thread, and fits what each takes per term.
//!
//! `cargo bench --bench profile -- [12 13 14 15 16] [--record]`; with `--record` the rings that were measured replace those
//! of `compiler/profiles/default.json`. Two minutes for all rings; each can be measured by itself.

#![allow(clippy::print_stdout, reason = "a bench prints its rows")]

#[path = "profile/fit.rs"]
mod fit;
#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom::measure::{Effort, Sample, Size, samples};
use cipherloom_compiler::cost::{Costs, Origin, Profile, RINGS, Term, Work};
use std::collections::BTreeMap;
use std::time::Duration;

/// Chain primes and primes of a digit, by ring degree: from a few levels to what 128 bits of security allow.
fn sizes(log_n: u32) -> &'static [(u32, u32)] {
    match log_n {
        12 => &[(2, 1), (3, 1), (3, 3), (4, 2)],
        13 => &[(2, 1), (3, 1), (6, 1), (6, 2), (6, 3)],
        14 => &[(2, 1), (4, 2), (8, 2), (8, 4), (12, 3)],
        15 => &[(2, 1), (6, 2), (10, 3), (15, 4), (18, 6)],
        _ => &[(3, 1), (8, 3), (16, 4), (24, 8)],
    }
}

/// Time of a sample, and its calls at least.
const EFFORT: Effort = Effort { time: Duration::from_millis(150), calls_min: 5 };
/// Fits that are further off are told.
const MISFIT: f64 = 0.15;

fn main() {
    let arguments = harness::Arguments::parse();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let path = harness::root().join("compiler/profiles/default.json");
    let known = std::fs::read_to_string(&path).expect("the default profile is a file");
    let known = Profile::read(&known).expect("the default profile is sound");
    let mut rings: BTreeMap<u32, Costs> = RINGS.map(|log_n| (log_n, known.costs(log_n))).collect();
    for log_n in RINGS.filter(|log_n| arguments.wants(&log_n.to_string())) {
        let measured: Vec<Sample> = sizes(log_n)
            .iter()
            .flat_map(|&(limbs, digit_limbs)| {
                let size = Size { log_n, limbs, digit_limbs };
                pool.install(|| samples(size, EFFORT)).expect("the engine takes made-up operands")
            })
            .collect();
        let fitted = fit::fit(log_n, &measured);
        report(log_n, &measured, &fitted);
        rings.insert(log_n, fitted);
    }
    let (commit, date) = (harness::commit(), harness::date());
    let profile = Profile::new(Origin { machine: harness::machine(), date, commit }, rings);
    let profile = profile.expect("every kind of work has been measured");
    println!("profile {}", profile.digest());
    if arguments.record {
        std::fs::write(path, profile.to_json()).expect("compiler/profiles is writable");
    }
}

/// Prints samples beside what the fit says of them, and the fit.
fn report(log_n: u32, measured: &[Sample], fitted: &Costs) {
    for sample in measured {
        let predicted = fit::predicted(fitted, &sample.counts);
        let ratio = sample.ns / predicted;
        let mark = if (ratio.ln()).abs() > MISFIT { " <-" } else { "" };
        println!("{:<60} {:>12.1} us {ratio:>7.3}{mark}", sample.name, sample.ns / 1e3);
    }
    for (work, terms) in Work::ALL.iter().zip(fitted) {
        let terms: Vec<String> = Term::ALL
            .iter()
            .zip(terms)
            .filter(|(_, ns)| **ns > 0)
            .map(|(term, ns)| format!("{term:?} {ns}"))
            .collect();
        println!("2^{log_n} {work:?}: {}", terms.join(", "));
    }
}
