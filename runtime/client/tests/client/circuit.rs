//! The client of a circuit: preprocessing, layouts, security policy, foreign and impossible inputs.

use cipherloom_ckks::{Ciphertext, KeyTarget, Limbs};
use cipherloom_client::{Client, ClientError, EncryptedInput, EncryptedOutput, SecretKey};
use cipherloom_ir::scheme::{ChainRequest, Gadget, KeyKind, KeySpec, Level, SecurityPolicy};
use cipherloom_ir::{
    ClientStep, Digest, Digit, Forecast, Gap, Layout, Manifest, ManifestInput, ManifestOutput, Preprocessing,
    WorstError,
};
use cipherloom_ring::Path;

/// Two channels of 2x3 elements, in two copies.
fn image_layout(slots: u32) -> Layout {
    let digit = |extent, stride| Digit { extent, stride };
    Layout {
        shape: vec![2, 2, 3],
        slots,
        ciphertexts: 1,
        axes: vec![vec![digit(2, 16)], vec![digit(2, 4)], vec![digit(3, 1)]],
        replicas: vec![digit(2, slots / 2)],
        gap: Gap::Zero,
        batch: 1,
    }
}

/// A circuit that returns its input: the identity on one image.
pub fn manifest(log_n: u32) -> Manifest {
    manifest_of(ChainRequest { log_n, log_scale: 25, base_bits: 35, levels: 1 })
}

/// The same over a chain of one's own.
pub fn manifest_of(request: ChainRequest) -> Manifest {
    let parameters = request.parameters(1).unwrap();
    let gadget = Gadget { digit_limbs: 1, special_limbs: parameters.special.len() as u32 };
    let key = |kind| KeySpec { kind, level: Level(1), gadget };
    let layout = image_layout(parameters.slots() as u32);
    Manifest {
        name: "identity".into(),
        circuit: Digest::of(b"identity"),
        keys: [KeyKind::Relinearization, KeyKind::Rotation(1), KeyKind::Conjugation].map(key).into(),
        inputs: vec![ManifestInput {
            name: "image".into(),
            layout: layout.clone(),
            preprocessing: Preprocessing { scale: 1.0 / 255.0, mean: vec![0.5, 0.25], std: vec![0.5] },
            range: [-1.0, 1.5],
        }],
        outputs: vec![ManifestOutput {
            name: "scores".into(),
            layout,
            level: parameters.top(),
            scale: 2.0,
            range: [-2.0, 3.0],
            worst_error: WorstError { secret_key: 1e-4, public_key: 1e-3 },
            labels: (0..12).map(|k| format!("class {k}")).collect(),
            client_steps: vec![ClientStep::Softmax],
        }],
        certificate: vec![],
        forecast: Forecast::default(),
        parameters,
    }
}

pub fn client(manifest: Manifest) -> Client {
    Client::new(manifest, &SecurityPolicy::insecure_for_tests(), Path::best()).unwrap()
}

/// What a server that evaluates the identity sends back.
pub fn answer(client: &Client, input: &EncryptedInput) -> EncryptedOutput {
    let expand = |c: &cipherloom_client::FreshCiphertext| c.clone().expand(client.context()).unwrap();
    EncryptedOutput { circuit: input.circuit, ciphertexts: input.ciphertexts.iter().map(expand).collect() }
}

fn image() -> Vec<f64> {
    (0..12).map(|k| f64::from(k * 37 % 256)).collect()
}

#[test]
fn an_image_comes_back_as_scores() {
    let client = client(manifest(10));
    let secret = client.generate_secret().unwrap();
    let input = client.encrypt_raw(&secret, &[&image()]).unwrap();
    assert_eq!(input.ciphertexts.len(), 1);
    let scores = client.decrypt(&secret, &answer(&client, &input)).unwrap().remove(0);
    let mean = |k| if k < 6 { 0.5 } else { 0.25 };
    let expected: Vec<f64> =
        image().iter().enumerate().map(|(k, x)| 2.0 * (x / 255.0 - mean(k)) / 0.5).collect();
    for (k, (found, expected)) in scores.values.iter().zip(&expected).enumerate() {
        assert!((found - expected).abs() < 1e-4, "element {k}: {found}, expected {expected}");
    }
    assert_eq!((scores.class, scores.label.as_deref()), (6, Some("class 6")));
    let probabilities = scores.probabilities.unwrap();
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert_eq!(scores.shape, [2, 2, 3]);
}

#[test]
fn keys_are_those_that_the_manifest_lists() {
    let client = client(manifest(10));
    let secret = client.generate_secret().unwrap();
    let keys: Vec<_> = client.evaluation_keys(&secret).unwrap().map(Result::unwrap).collect();
    let targets: Vec<KeyTarget> = keys.iter().map(|key| key.target()).collect();
    let galois = |g| KeyTarget::Galois(cipherloom_ckks::GaloisElement(g));
    assert_eq!(targets, [KeyTarget::Relinearization, galois(5), galois(2047)]);
    assert!(keys.iter().zip(client.key_shapes()).all(|(key, shape)| key.shape() == shape));
    assert!(keys.iter().all(|key| key.limbs() == Limbs(2) && key.digits() == 2));
}

#[test]
fn the_policy_refuses_small_rings() {
    let refused = Client::new(manifest(10), &SecurityPolicy::standard_128(), Path::best());
    assert!(matches!(refused, Err(ClientError::Security(_))));
    let accepted = Client::new(manifest(12), &SecurityPolicy::standard_128(), Path::best());
    assert!(accepted.unwrap().security().log_qp <= 106.0);
}

#[test]
fn wrong_data_is_refused() {
    let client = client(manifest(10));
    let secret = client.generate_secret().unwrap();
    let encrypt = |values: &[&[f64]]| client.encrypt_raw(&secret, values).unwrap_err();
    assert!(matches!(encrypt(&[]), ClientError::Count { found: 0, expected: 1, .. }));
    assert!(matches!(encrypt(&[&[1.0; 11]]), ClientError::InputShape { found: 11, .. }));
    assert!(matches!(encrypt(&[&[1.0; 13]]), ClientError::InputShape { found: 13, .. }));
    for value in [f64::NAN, f64::INFINITY] {
        let mut values = image();
        values[7] = value;
        assert!(matches!(encrypt(&[&values]), ClientError::NotFinite { index: 7, .. }));
        let refused = client.encrypt(&secret, &[values]);
        assert!(matches!(refused, Err(ClientError::NotFinite { index: 7, .. })));
    }
    let mut values = image();
    values[3] = -1e30;
    assert!(matches!(encrypt(&[&values]), ClientError::TooLarge { index: 3, .. }));
    values[3] = 1e300;
    assert!(matches!(encrypt(&[&values]), ClientError::TooLarge { index: 3, .. }));
    // Up to 8 times the range's largest magnitude, 12 after preprocessing, passes with a warning.
    values[3] = 255.0 * (0.5 + 0.5 * 12.1);
    let far = encrypt(&[&values]);
    assert!(matches!(far, ClientError::OutOfRange { index: 3, .. }));
    assert!(!far.to_string().contains("12.1"), "what the client encrypts is secret: {far}");
    values[3] = 255.0 * (0.5 + 0.5 * 11.9);
    assert!(client.encrypt_raw(&secret, &[&values]).is_ok());
    let outside = client.outside_range(&client.preprocess(&[&values]).unwrap());
    assert_eq!((outside.len(), outside[0].index), (1, 3));
    assert!(client.outside_range(&client.preprocess(&[&image()]).unwrap()).is_empty());
}

#[test]
fn a_wrong_key_gives_no_answer() {
    let client = client(manifest(10));
    let [secret, other] = [0, 1].map(|_| client.generate_secret().unwrap());
    let output = answer(&client, &client.encrypt_raw(&secret, &[&image()]).unwrap());
    assert!(matches!(client.decrypt(&other, &output), Err(ClientError::WrongKey { .. })));
    let foreign = EncryptedOutput { circuit: Digest::of(b"another"), ..output.clone() };
    assert!(matches!(client.decrypt(&secret, &foreign), Err(ClientError::Foreign { .. })));
    let none = EncryptedOutput { ciphertexts: vec![], ..output.clone() };
    assert!(matches!(client.decrypt(&secret, &none), Err(ClientError::Count { found: 0, expected: 1, .. })));
    let mut parts = output.ciphertexts[0].clone().into_parts();
    parts.iter_mut().for_each(|part| part.truncate(1));
    let low = EncryptedOutput { ciphertexts: vec![Ciphertext::new(parts).unwrap()], ..output };
    assert!(matches!(client.decrypt(&secret, &low), Err(ClientError::Limbs { found: 1, max: 2, .. })));
    let small = SecretKey::generate(cipherloom_ring::Degree::new(9).unwrap(), &mut randomness());
    assert!(matches!(
        client.decrypt(&small, &low),
        Err(ClientError::Limbs { .. } | ClientError::RingDegree { .. })
    ));
}

fn randomness() -> cipherloom_client::Randomness {
    cipherloom_client::Randomness::from_system().unwrap()
}

#[test]
fn impossible_manifests_are_refused() {
    let refused = |edit: fn(&mut Manifest), place: &str| {
        let mut manifest = manifest(10);
        edit(&mut manifest);
        let error = Client::new(manifest, &SecurityPolicy::insecure_for_tests(), Path::best())
            .unwrap_err()
            .to_string();
        assert!(error.contains(place), "{error}");
    };
    refused(|m| m.inputs[0].layout.slots = 3, "input 0: slots of the layout");
    refused(|m| m.outputs[0].layout.slots *= 2, "output 0: slots of the layout");
    refused(|m| m.inputs[0].preprocessing.std = vec![0.0], "input 0: standard deviation");
    refused(|m| m.inputs[0].preprocessing.mean = vec![], "input 0: means");
    refused(|m| m.inputs[0].preprocessing.scale = f64::NAN, "input 0: preprocessing scale");
    refused(|m| m.outputs[0].scale = 0.0, "output 0: scale of the output");
    refused(|m| m.outputs[0].level = Level(7), "output 0: level of the output");
    refused(|m| m.outputs[0].labels.truncate(3), "output 0: labels");
    refused(|m| m.outputs[0].worst_error.secret_key = 0.0, "output 0: worst error");
    refused(|m| m.outputs[0].worst_error.public_key = 1e-30, "output 0: worst error under a public key");
    refused(|m| m.outputs = vec![m.outputs[0].clone(); 257], "circuit: outputs");
    refused(|m| m.outputs.push(m.outputs[0].clone()), "circuit: the name");
    refused(|m| m.keys[1].kind = KeyKind::Rotation(0), "key k1");
    refused(|m| m.keys[1].gadget.digit_limbs = 0, "key k1");
    refused(|m| m.keys[1].level = Level(u32::MAX), "a key at level 4294967295");
    refused(|m| m.parameters.chain[0] += 2, "parameters");
    refused(|m| m.parameters.chain.clear(), "circuit: chain primes");
    refused(|m| m.parameters.log_n = 60, "parameters");
}
