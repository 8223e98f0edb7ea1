//! Single operations of Poulpy on one thread, timed for `benches/peers/measure.py`.
//!
//! Relies on nightly Rust, on one of the features `ifma` and `avx2`, and on `key=value` arguments (log_n, base2k, k, dsize,
//! seconds, operations); prints one JSON object like the other programs beside it. Multiplications rescale by
//! themselves; a rotation of many steps has no entry of its own outside linear transformations, so that `rotate8` is eight rotations.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use poulpy_ckks::test_suite::{CKKSTestParams, helpers::*};
use poulpy_ckks::{api::*, encoding::*, layouts::*, *};
use poulpy_core::layouts::*;
use poulpy_hal::{api::*, layouts::*, source::Source};

#[cfg(not(feature = "ifma"))]
type Backend = poulpy_cpu_avx::NTT4x30Avx;
#[cfg(feature = "ifma")]
type Backend = poulpy_cpu_avx512::NTT3x42Ifma;

const STEPS: i64 = 8;
const CALLS_MIN: usize = 3;
/// Bits of the scale, and of head room above it in plaintexts.
const SCALE_BITS: usize = 40;
const BUDGET_BITS: usize = 10;

type Secret = GLWESecretPrepared<<Backend as poulpy_hal::layouts::Backend>::OwnedBuf, Backend>;
type AutomorphismKey =
    GLWEAutomorphismKeyPrepared<<Backend as poulpy_hal::layouts::Backend>::OwnedBuf, Backend>;
type Plaintext = CKKSPlaintextOwned<Backend>;
type Ciphertext = CKKSCiphertextOwned<Backend>;

fn main() {
    let pairs = std::env::args().skip(1).map(|word| {
        let (key, value) = word.split_once('=').expect("arguments are key=value");
        (key.to_owned(), value.to_owned())
    });
    let arguments: BTreeMap<String, String> = pairs.collect();
    let number = |key: &str| -> usize { arguments[key].parse().expect("a number") };
    let mut bench = Bench::new(number("log_n"), number("base2k"), number("k"), number("dsize"));
    let seconds = arguments["seconds"].parse().expect("seconds");
    let mut operations = Vec::new();
    for operation in arguments["operations"].split(',') {
        let (ms, calls, precision) = bench.run(operation, seconds);
        let precision = precision.map_or("null".to_owned(), |bits| format!("{bits:.1}"));
        operations
            .push(format!(r#""{operation}":{{"ms":{ms:.4},"calls":{calls},"precision_bits":{precision}}}"#));
    }
    println!(
        r#"{{"library":"poulpy","version":"0.10.0","parameters":{},"operations":{{{}}}}}"#,
        bench.parameters(),
        operations.join(",")
    );
}

/// Median milliseconds of calls after a first one that is not counted, and their number.
fn time(seconds: f64, mut call: impl FnMut()) -> (f64, usize) {
    call();
    let mut samples = Vec::new();
    let begin = Instant::now();
    while samples.len() < CALLS_MIN || begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        call();
        samples.push(start.elapsed().as_secs_f64() * 1e3);
    }
    samples.sort_by(f64::total_cmp);
    (samples[(samples.len() - 1) / 2], samples.len())
}

struct Bench {
    parameters: CKKSTestParams,
    module: Module<Backend>,
    scratch: ScratchOwned<Backend>,
    encoding_scratch: ScratchOwned<Backend>,
    secret_raw: BackendGLWESecret<Backend>,
    secret: Secret,
    values: [Vec<f64>; 2],
    plaintexts: Vec<Plaintext>,
    inputs: Vec<Ciphertext>,
}

type Measured = (f64, usize, Option<f64>);

impl Bench {
    fn new(log_n: usize, base2k: usize, k: usize, dsize: usize) -> Bench {
        let n = 1usize << log_n;
        let prec_meta =
            GLWEPlaintextMeta { scale: Scale::Log(SCALE_BITS), slots: SlotsKind::Complex, log_sparsity: 0 };
        // The weight of an average uniform ternary secret.
        let hw = 2 * n / 3;
        let parameters =
            CKKSTestParams { n, base2k, k, prec_meta, prec_log_budget: BUDGET_BITS, hw, dsize, rank: 1 };
        let module = Module::<Backend>::new(n as u64);
        let host = Module::<HostBytesBackend>::new(n as u64);
        let scratch = alloc_scratch(&parameters, &module);
        let encoding_bytes =
            CKKSEncodingHostOps::<Backend, f64>::ckks_encoding_host_tmp_bytes(&module, n / 2);
        let encoding_scratch = ScratchOwned::<Backend>::alloc(encoding_bytes + (1 << 24));
        let (secret_raw, secret) = gen_sk_with_raw(&parameters, &module, &host, [0; 32]);
        let values = [1, 2].map(|seed| noise(seed, n / 2));
        let mut bench = Bench {
            parameters,
            module,
            scratch,
            encoding_scratch,
            secret_raw,
            secret,
            values,
            plaintexts: vec![],
            inputs: vec![],
        };
        let mut sources = (Source::new([3; 32]), Source::new([4; 32]));
        for i in 0..2 {
            let plain = bench.encode(i);
            let mut out = bench.ciphertext();
            bench
                .module
                .ckks_encrypt_sk(
                    &mut out,
                    &plain,
                    &bench.secret,
                    &mut sources.1,
                    &mut sources.0,
                    &mut bench.scratch.borrow(),
                )
                .expect("an encryption");
            bench.plaintexts.push(plain);
            bench.inputs.push(out);
        }
        bench
    }

    fn ciphertext(&self) -> Ciphertext {
        alloc_ct(&self.parameters, &self.module, self.parameters.k)
    }

    fn plaintext(&self, bits: usize) -> Plaintext {
        let slots = self.parameters.n / 2;
        self.module.ckks_plaintext_alloc_from_slots(slots, self.parameters.base2k.into(), bits.into())
    }

    fn encode(&mut self, input: usize) -> Plaintext {
        let mut plain = self.plaintext(SCALE_BITS + BUDGET_BITS);
        plain.set_meta(self.parameters.prec_meta);
        let zero = vec![0.0; self.parameters.n / 2];
        self.module
            .ckks_encode_slots_host_into(
                &mut plain,
                &self.values[input],
                &zero,
                &mut self.encoding_scratch.borrow(),
            )
            .expect("an encoding");
        plain
    }

    fn automorphism_key(&mut self, element: i64) -> AutomorphismKey {
        gen_atk(&self.parameters, &self.module, element, &self.secret_raw, &mut self.scratch.borrow())
    }

    fn run(&mut self, operation: &str, seconds: f64) -> Measured {
        let slots = self.parameters.n / 2;
        match operation {
            "rotate" | "rotate8" => {
                let steps: Vec<i64> = if operation == "rotate" { vec![1] } else { (1..=STEPS).collect() };
                let mut keys = HashMap::new();
                for &step in &steps {
                    let element = self.module.ckks_galois_element(step);
                    let key = self.automorphism_key(element);
                    keys.insert(element, key);
                }
                let mut out: Vec<Ciphertext> = steps.iter().map(|_| self.ciphertext()).collect();
                let Bench { module, inputs, scratch, .. } = self;
                let (ms, calls) = time(seconds, || {
                    for (&step, out) in steps.iter().zip(&mut out) {
                        module
                            .ckks_rotate_into(step, out, &inputs[0], &keys, &mut scratch.borrow())
                            .expect("a rotation");
                    }
                });
                let (v, step) = (self.values[0].clone(), steps.len());
                let bits = self.precision(&out[step - 1], |i| v[(i + step) % slots]);
                (ms, calls, Some(bits))
            }
            "multiply" => {
                let key =
                    gen_tsk(&self.parameters, &self.module, &self.secret_raw, &mut self.scratch.borrow());
                let mut out = self.ciphertext();
                let Bench { module, inputs, scratch, .. } = self;
                let (ms, calls) = time(seconds, || {
                    module
                        .ckks_mul_into(&mut out, &inputs[0], &inputs[1], &key, &mut scratch.borrow())
                        .expect("a product")
                });
                (ms, calls, Some(self.product_precision(&out)))
            }
            "multiply_plain" => {
                let mut out = self.ciphertext();
                let Bench { module, inputs, plaintexts, scratch, .. } = self;
                let (ms, calls) = time(seconds, || {
                    module
                        .ckks_mul_pt_vec_into(&mut out, &inputs[0], &plaintexts[1], &mut scratch.borrow())
                        .expect("a product")
                });
                (ms, calls, Some(self.product_precision(&out)))
            }
            "encode" => {
                let (ms, calls) = time(seconds, || drop(self.encode(1)));
                (ms, calls, None)
            }
            "linear64" => self.linear(seconds),
            _ => panic!("no operation is named {operation}"),
        }
    }

    fn linear(&mut self, seconds: f64) -> Measured {
        let (count, slots) = ((STEPS * STEPS) as usize, self.parameters.n / 2);
        let base2k = self.parameters.base2k;
        let (mut re, mut im) = (Diagonals::<f64>::new(slots), Diagonals::<f64>::new(slots));
        for d in 0..count {
            re.set(d as i64, noise(100 + d as u64, slots).into_iter().map(|v| v / count as f64).collect());
            im.set(d as i64, vec![0.0; slots]);
        }
        let diagonals = ComplexDiagonals::new(re, im);
        let strategy = LinearTransformationStrategy::Bsgs { giant_step: STEPS as usize };
        let map = ckks_linear_transformation_encode_from_diagonals(
            &self.module,
            base2k.into(),
            self.parameters.prec().into(),
            &diagonals,
            strategy,
            false,
            &mut self.encoding_scratch.borrow(),
        )
        .expect("an encoding");
        let mut keys = HashMap::new();
        for element in map.galois_elements(self.module.cyclotomic_order()) {
            let key = self.automorphism_key(element);
            keys.insert(element, key);
        }
        let first = map.first_diagonal_plaintext().expect("a diagonal");
        let mut prepared = LinearTransformationPrepared::<Backend>::alloc_prepared_from_index(
            &self.module,
            &map.index(),
            first,
        );
        let bytes = self.module.ckks_linear_transformation_rhs_prepare_tmp_bytes(first) + (1 << 20);
        let mut scratch = ScratchOwned::<Backend>::alloc(bytes);
        self.module
            .ckks_linear_transformation_rhs_prepare(&mut prepared, &map, &mut scratch.borrow())
            .expect("a prepared map");
        let (key, x) = (self.parameters.atk_layout(), &self.inputs[0]);
        let bytes = self.module.ckks_linear_transformation_eval_self_tmp_bytes(
            false,
            x,
            &ckks_plaintext_diagonal_layout(x),
            &prepared.index(),
            &key,
            &key,
        );
        let mut scratch = ScratchOwned::<Backend>::alloc(bytes + (1 << 20));
        let mut out = self.ciphertext();
        let k = self.parameters.k;
        let (ms, calls) = time(seconds, || {
            out.set_k(k.into());
            self.module
                .ckks_linear_transformation_eval_self_into(
                    &mut out,
                    x,
                    &prepared,
                    &keys,
                    &mut scratch.borrow(),
                )
                .expect("a transformation");
        });
        let zero = vec![0.0; slots];
        let (expected, _) = diagonals.evaluate((self.values[0].as_slice(), zero.as_slice()), strategy);
        let bits = self.precision(&out, |i| expected[i]);
        (ms, calls, Some(bits))
    }

    fn product_precision(&mut self, out: &Ciphertext) -> f64 {
        let [v, w] = self.values.clone();
        self.precision(out, |i| v[i] * w[i])
    }

    /// Bits of the worst slot.
    fn precision(&mut self, out: &Ciphertext, expected: impl Fn(usize) -> f64) -> f64 {
        let slots = self.parameters.n / 2;
        let mut plain = self.plaintext(out.log_delta() + BUDGET_BITS);
        plain.set_meta(GLWEPlaintextMeta {
            scale: Scale::Log(out.log_delta()),
            slots: SlotsKind::Complex,
            log_sparsity: 0,
        });
        self.module
            .ckks_decrypt(&mut plain, out, &self.secret, &mut self.scratch.borrow())
            .expect("a decryption");
        let (mut re, mut im) = (vec![0.0; slots], vec![0.0; slots]);
        self.module
            .ckks_decode_slots_host_into(&plain, &mut re, &mut im, &mut self.encoding_scratch.borrow())
            .expect("slots");
        -re.iter().enumerate().map(|(i, re)| (re - expected(i)).abs()).fold(0.0, f64::max).log2()
    }

    fn parameters(&self) -> String {
        let CKKSTestParams { base2k, k, dsize, hw, .. } = self.parameters;
        let key = self.parameters.tsk_layout();
        let digits = key.dnum.as_usize();
        let log_qp = digits * base2k * dsize + key.k_aux.as_usize();
        let path = if cfg!(feature = "ifma") { "NTT3x42Ifma" } else { "NTT4x30Avx" };
        format!(
            r#"{{"log_q":{k},"log_qp":{log_qp},"secret":"ternary, weight {hw}","chain":"{k} bits in words of {base2k}, scale {SCALE_BITS} bits","key":"{digits} digits of {dsize} words","path":"{path}"}}"#
        )
    }
}

/// Reproducible values in [-1, 1).
fn noise(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
