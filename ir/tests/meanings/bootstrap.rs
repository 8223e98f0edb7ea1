//! What a bootstrap means: itself exactly, its plan's noise in the trace, and drawn errors that agree.

use crate::bootstrapped::{SMALL, bootstrapped, meaning};
use cipherloom_ir::{Draw, Encryption, Exact, Magnitudes, MapNorms, Noisy, Op, Trace, TraceError};

fn values(slots: usize) -> Vec<f64> {
    (0..slots).map(|s| (s * 37 % 101) as f64 / 50.0 - 1.0).collect()
}

#[test]
fn exactly_it_changes_nothing() {
    let circuit = bootstrapped(SMALL);
    let x = values(circuit.slots());
    let found = Exact::new(&circuit).unwrap().run(&circuit, &[&x]).unwrap().remove(0);
    for (found, x) in found.iter().zip(&x) {
        assert!((found - meaning(*x)).abs() < 1e-12, "{found} of {x}");
    }
}

#[test]
fn noise_is_that_of_the_plan() {
    let circuit = bootstrapped(SMALL);
    let norms = MapNorms::of(&circuit).unwrap();
    let exact = Exact::new(&circuit).unwrap();
    let x = values(circuit.slots());
    let magnitudes = Magnitudes::measure(&circuit, &exact, &[vec![&x]], 1.0).unwrap();
    let traced = Trace::new(&circuit, &norms).measured(&magnitudes).values(&circuit).unwrap();
    let plan = SMALL.plan().unwrap();
    for node in circuit.nodes.iter().filter(|n| matches!(n.op, Op::Bootstrap(_))) {
        let noise = traced[node.first.0 as usize].slots.noise;
        assert!(noise >= plan.noise() && noise < 4.0 * plan.noise(), "{noise:e}, plan {:e}", plan.noise());
    }
    let noisy = Noisy::new(&circuit, Encryption::SecretKey).unwrap();
    let (mut squares, mut count) = (0.0, 0.0);
    for draw in 0..8 {
        let found = noisy.run(&circuit, &[&x], Draw(3).numbered(draw)).unwrap().remove(0);
        for (found, x) in found.iter().zip(&x) {
            squares += (found - meaning(*x)).powi(2);
            count += 1.0;
        }
    }
    let (drawn, last) = ((squares / count).sqrt(), traced.last().unwrap().slots.noise);
    assert!(drawn < 2.0 * last && last < 2.0 * drawn, "drawn {drawn:e}, traced {last:e}");
}

/// Measured slots beyond the bound are refused; the noisy meaning shows what would become of them.
#[test]
fn slots_beyond_the_bound_are_told() {
    let circuit = bootstrapped(SMALL);
    let norms = MapNorms::of(&circuit).unwrap();
    let exact = Exact::new(&circuit).unwrap();
    let x = vec![1.5; circuit.slots()];
    let magnitudes = Magnitudes::measure(&circuit, &exact, &[vec![&x]], 1.0).unwrap();
    let error = Trace::new(&circuit, &norms).measured(&magnitudes).values(&circuit).unwrap_err();
    assert!(matches!(error, TraceError::MessageBound { largest, .. } if largest > 3.0), "{error}");
    let noisy = Noisy::new(&circuit, Encryption::SecretKey).unwrap();
    let found = noisy.run(&circuit, &[&x], Draw(1)).unwrap().remove(0);
    assert!((found[0] - meaning(1.5)).abs() > 1e-3, "{} and {}", found[0], meaning(1.5));
}
