//! Answers that must not be trusted, and answers that are made fit to be given away.

use crate::circuit::{answer, client, manifest_of};
use cipherloom_client::sample::{WIDE_DEVIATION, wide_gaussian};
use cipherloom_client::{Alarm, Client, ClientError, EncryptedOutput, Randomness, Release, SecretKey};
use cipherloom_ir::WorstError;
use cipherloom_ir::scheme::ChainRequest;

/// The identity (times 2) with this proved error, a secret, and its answer to these preprocessed elements.
fn answered(bound: f64, values: &[f64]) -> (Client, SecretKey, EncryptedOutput) {
    // Flooding is of use where bounds, and so units of the scale, are very small.
    let mut manifest = manifest_of(ChainRequest { log_n: 10, log_scale: 45, base_bits: 48, levels: 1 });
    manifest.outputs[0].worst_error = WorstError { secret_key: bound / 2.0, public_key: bound };
    let client = client(manifest);
    let secret = client.generate_secret().unwrap();
    let output = answer(&client, &client.encrypt(&secret, &[values]).unwrap());
    (client, secret, output)
}

/// Twelve scores in [−2, 3] after the factor 2 of the output.
fn values() -> Vec<f64> {
    (0..12).map(|k| f64::from(k) * 0.2 - 0.9).collect()
}

#[test]
fn scores_outside_the_certificate_are_not_to_be_trusted() {
    let alarm = |values: &[f64]| {
        let (client, secret, output) = answered(1.0, values);
        client.decrypt(&secret, &output).unwrap().remove(0).alarm
    };
    assert_eq!(alarm(&values()), None);
    let mut far = values();
    // 3.2 is within a quarter of the range's width of [−2, 3]; 10 is not.
    far[5] = 1.6;
    assert_eq!(alarm(&far), None);
    far[5] = 5.0;
    assert_eq!(alarm(&far), Some(Alarm { index: 5, range: [-2.0, 3.0] }));
    let text = alarm(&far).unwrap().to_string();
    assert!(text.contains("do not trust") && text.contains("[-2, 3]"), "{text}");
    far[2] = -5.0;
    assert_eq!(alarm(&far).unwrap().index, 2);
}

#[test]
fn rounded_scores_are_multiples_of_a_step_beyond_the_bound() {
    let (client, secret, output) = answered(0.001, &values());
    let released = client.release(&secret, &output, Release::Round).unwrap().remove(0);
    assert_eq!((released.bound, released.step, released.flood), (0.001, 1.0 / 32.0, 0.0));
    for (score, x) in released.scores.values.iter().zip(values()) {
        assert_eq!(score % released.step, 0.0, "{score}");
        assert!((score - 2.0 * x).abs() <= released.step / 2.0 + released.bound, "{score} for {x}");
    }
    assert_eq!(released.scores.class, 11);
    let again = client.release(&secret, &output, Release::Round).unwrap().remove(0);
    assert_eq!(released, again);
}

#[test]
fn flooded_scores_are_spread_as_the_bound_asks() {
    let (client, secret, output) = answered(1e-10, &values());
    let flood = Release::Flood { decryptions: 4 };
    let expected = (24.0 * 12.0 * 4.0f64).sqrt() * 20f64.exp2() * 2e-10;
    let mut errors = vec![];
    for _ in 0..100 {
        let released = client.release(&secret, &output, flood).unwrap().remove(0);
        assert!((released.flood / expected - 1.0).abs() < 1e-12, "{released:?}");
        let pairs = released.scores.values.iter().zip(values());
        errors.extend(pairs.map(|(score, x)| (score - 2.0 * x) / expected));
    }
    let n = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / n;
    let variance = errors.iter().map(|e| e * e).sum::<f64>() / n;
    assert!(mean.abs() < 6.0 / n.sqrt(), "mean {mean}");
    assert!((variance - 1.0).abs() < 6.0 * (2.0 / n).sqrt(), "variance {variance}");
}

#[test]
fn what_is_not_proved_is_not_released() {
    for (bound, how) in [
        (f64::INFINITY, Release::Round),
        (f64::INFINITY, Release::Flood { decryptions: 1 }),
        (0.1, Release::Round),
        (1e-6, Release::Flood { decryptions: 1 }),
        // Within reach for one decryption, not for many.
        (1e-10, Release::Flood { decryptions: 1 << 30 }),
    ] {
        let (client, secret, output) = answered(bound, &values());
        let refused = client.release(&secret, &output, how).unwrap_err();
        assert!(matches!(refused, ClientError::Release { .. }), "{bound} {how:?}: {refused}");
        assert!(refused.to_string().contains("worst-case error"), "{refused}");
    }
}

#[test]
fn wide_gaussians_have_their_deviation() {
    let mut randomness = Randomness::from_system().unwrap();
    let drawn: Vec<f64> =
        (0..2_000).map(|_| wide_gaussian(&mut randomness) as f64 / WIDE_DEVIATION).collect();
    let n = drawn.len() as f64;
    let mean = drawn.iter().sum::<f64>() / n;
    let variance = drawn.iter().map(|x| x * x).sum::<f64>() / n;
    assert!(mean.abs() < 6.0 / n.sqrt(), "mean {mean}");
    assert!((variance - 1.0).abs() < 6.0 * (2.0 / n).sqrt(), "variance {variance}");
    assert!(drawn.iter().all(|x| x.abs() < 7.0));
}
