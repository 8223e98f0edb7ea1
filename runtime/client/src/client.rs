//! The client of one circuit: from its manifest to keys, encrypted inputs and decrypted scores.
//!
//! Relies on the manifest alone, which may come from a file: everything in it is checked here, and the parameters are
//! held against the security policy that the caller names. Promises that what it encrypts is finite, belongs to the
//! circuit and fits the modulus, and that a decryption under the wrong key is an error, not an answer.

use crate::release::{Release, Released, release};
use crate::scores::{Scores, scores};
use crate::{
    ClientError, KeyGenerator, Randomness, SecretKey, decrypt_slots, encrypt_public, encrypt_secret,
};
use cipherloom_ckks::{
    Ciphertext, CkksError, Complex, Context, EvaluationKey, KeyShape, Limbs, Plaintext, PublicKey,
    SeededCiphertext,
};
use cipherloom_ir::scheme::{KeySpec, Scale, SecurityPolicy, SecurityReport};
use cipherloom_ir::{Digest, LawError, Manifest, ManifestInput, ManifestOutput, VerifyError};
use cipherloom_ring::Path;

/// An input element may exceed the largest magnitude of its range by this factor before encryption refuses it: the base
/// prime has room for outputs 8 times their range, and an output that grows with the input leaves it beyond that.
const RANGE_MARGIN: f64 = 8.0;

/// Everything that a client does for one circuit.
#[derive(Debug)]
pub struct Client {
    manifest: Manifest,
    context: Context,
    keys: Vec<KeyShape>,
    security: SecurityReport,
}

/// A fresh ciphertext, in the form in which it was made.
#[derive(Clone, Debug)]
pub enum FreshCiphertext {
    /// Under the secret key: half of it is a seed.
    Seeded(SeededCiphertext),
    /// Under the public key.
    Full(Ciphertext),
}

impl FreshCiphertext {
    /// The ciphertext in the form that a server computes with.
    pub fn expand(self, context: &Context) -> Result<Ciphertext, CkksError> {
        match self {
            FreshCiphertext::Seeded(seeded) => seeded.expand(context),
            FreshCiphertext::Full(full) => Ok(full),
        }
    }
}

/// Input tensors as they are sent: inputs in the manifest's order, their ciphertexts in order.
#[derive(Clone, Debug)]
pub struct EncryptedInput {
    /// The circuit that they are for.
    pub circuit: Digest,
    /// The ciphertexts of all inputs.
    pub ciphertexts: Vec<FreshCiphertext>,
}

/// Output tensors as they come back: outputs in the manifest's order, their ciphertexts in order.
#[derive(Clone, Debug)]
pub struct EncryptedOutput {
    /// The circuit that they come from.
    pub circuit: Digest,
    /// The ciphertexts of all outputs.
    pub ciphertexts: Vec<Ciphertext>,
}

/// Where an input leaves the range that the circuit was made for. What it holds there is secret and not told.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideRange {
    /// Name of the input tensor.
    pub input: String,
    /// Row-major index of the first element outside.
    pub index: usize,
    /// The range.
    pub range: [f64; 2],
}

/// Decrypted slots of a real circuit are real. Where their imaginary parts have more than this part of the size of
/// the real ones, and of the output's range, the key was the wrong one: wrong keys give both parts the same size.
const IMAGINARY_PART_MAX: f64 = 1.0 / 8.0;

impl Client {
    /// Checks the manifest, and its parameters against `policy`.
    pub fn new(manifest: Manifest, policy: &SecurityPolicy, path: Path) -> Result<Client, ClientError> {
        // Its bounds hold everything that follows.
        manifest.verify(policy).map_err(insecure_or_unsound)?;
        let parameters = &manifest.parameters;
        let security = policy.check(parameters, &manifest.keys)?;
        let primes = parameters.ciphertext_primes();
        let context = Context::new(parameters.log_n, &primes, &parameters.special, path)?;
        let shape = |spec: &KeySpec| {
            let shape = key_shape(spec, context.n());
            shape.check(&context).map(|()| shape)
        };
        let keys = manifest.keys.iter().map(shape).collect::<Result<_, _>>()?;
        Ok(Client { manifest, context, keys, security })
    }

    /// [`Client::new`] with the fastest kernels of this CPU.
    pub fn on_this_cpu(manifest: Manifest, policy: &SecurityPolicy) -> Result<Client, ClientError> {
        Client::new(manifest, policy, Path::best())
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    /// Primes and tables of the parameters.
    pub fn context(&self) -> &Context {
        &self.context
    }
    /// The bound that the parameters were held against.
    pub fn security(&self) -> &SecurityReport {
        &self.security
    }
    /// Shapes of the evaluation keys, in the manifest's order.
    pub fn key_shapes(&self) -> &[KeyShape] {
        &self.keys
    }

    /// Draws a secret key.
    pub fn generate_secret(&self) -> Result<SecretKey, ClientError> {
        Ok(SecretKey::generate(self.context.degree(), &mut Randomness::from_system()?))
    }

    /// Makes the evaluation keys in the manifest's order, one at a time.
    pub fn evaluation_keys(
        &self,
        secret: &SecretKey,
    ) -> Result<impl ExactSizeIterator<Item = Result<EvaluationKey, ClientError>>, ClientError> {
        let generator = KeyGenerator::new(&self.context, secret)?;
        let mut randomness = Randomness::from_system()?;
        Ok(self.keys.iter().map(move |shape| generator.evaluation_key(*shape, &mut randomness)))
    }

    /// Makes a public key: whoever has it can encrypt inputs of this circuit.
    pub fn public_key(&self, secret: &SecretKey) -> Result<PublicKey, ClientError> {
        let limbs = self.fresh_limbs();
        KeyGenerator::new(&self.context, secret)?.public_key(limbs, &mut Randomness::from_system()?)
    }

    /// Slot values of raw elements, one slice per input in row-major order, the images of a batch one after the other:
    /// `(x · scale − mean) / std` by channel.
    pub fn preprocess(&self, inputs: &[&[f64]]) -> Result<Vec<Vec<f64>>, ClientError> {
        self.check_inputs(inputs)?;
        let pairs = self.manifest.inputs.iter().zip(inputs);
        let one = |(input, values): (&ManifestInput, &&[f64])| {
            let images = values.chunks_exact(input.layout.elements());
            let one = |image: &[f64]| input.preprocessing.apply(&input.layout.shape, image.iter().copied());
            images.flat_map(one).collect()
        };
        Ok(pairs.map(one).collect())
    }

    /// The first element of each input that lies outside the range the circuit was made for; it voids the answer.
    pub fn outside_range(&self, preprocessed: &[Vec<f64>]) -> Vec<OutsideRange> {
        let pairs = self.manifest.inputs.iter().zip(preprocessed);
        let outside = pairs.filter_map(|(input, values)| {
            let [min, max] = input.range;
            let index = values.iter().position(|v| !(min..=max).contains(v))?;
            Some(OutsideRange { input: input.name.clone(), index, range: input.range })
        });
        outside.collect()
    }

    /// Encrypts preprocessed elements, one slice per input in row-major order, the images of a batch
    /// ([`Manifest::batch`]) one after the other. Elements outside their range are accepted
    /// (see [`Client::outside_range`]) up to 8 times its largest magnitude; what lies beyond would not decode.
    pub fn encrypt(
        &self,
        secret: &SecretKey,
        inputs: &[impl AsRef<[f64]>],
    ) -> Result<EncryptedInput, ClientError> {
        let mut randomness = Randomness::from_system()?;
        self.encrypt_by(inputs, |plaintext| {
            encrypt_secret(&self.context, secret, plaintext, &mut randomness).map(FreshCiphertext::Seeded)
        })
    }

    /// [`Client::encrypt`] under a public key: twice the bytes, and √(4N/3) times the noise of a fresh ciphertext (100 times
    /// at N = 2^13); the circuit's forecast states the precision of both.
    pub fn encrypt_public(
        &self,
        key: &PublicKey,
        inputs: &[impl AsRef<[f64]>],
    ) -> Result<EncryptedInput, ClientError> {
        let mut randomness = Randomness::from_system()?;
        self.encrypt_by(inputs, |plaintext| {
            encrypt_public(&self.context, key, plaintext, &mut randomness).map(FreshCiphertext::Full)
        })
    }

    fn encrypt_by(
        &self,
        inputs: &[impl AsRef<[f64]>],
        mut encrypt: impl FnMut(&Plaintext) -> Result<FreshCiphertext, ClientError>,
    ) -> Result<EncryptedInput, ClientError> {
        let inputs: Vec<&[f64]> = inputs.iter().map(AsRef::as_ref).collect();
        self.check_inputs(&inputs)?;
        let (limbs, scale) = (self.fresh_limbs(), self.input_scale());
        let mut ciphertexts = Vec::new();
        for (input, values) in self.manifest.inputs.iter().zip(inputs) {
            self.check_magnitude(input, values, scale)?;
            check_range(input, values)?;
            for ciphertext in 0..input.layout.ciphertexts {
                let elements = input.layout.elements();
                let slots =
                    input.layout.fill(ciphertext, |image, element| values[image * elements + element]);
                let plaintext = self.context.encoder().encode(&slots, scale, limbs, 0)?;
                ciphertexts.push(encrypt(&plaintext)?);
            }
        }
        Ok(EncryptedInput { circuit: self.manifest.circuit, ciphertexts })
    }

    /// Preprocesses and encrypts raw elements, one slice per input in row-major order.
    pub fn encrypt_raw(&self, secret: &SecretKey, inputs: &[&[f64]]) -> Result<EncryptedInput, ClientError> {
        self.encrypt(secret, &self.preprocess(inputs)?)
    }

    /// Decrypts the outputs, in the manifest's order, of each the images of the batch in turn.
    pub fn decrypt(
        &self,
        secret: &SecretKey,
        encrypted: &EncryptedOutput,
    ) -> Result<Vec<Scores>, ClientError> {
        if encrypted.circuit != self.manifest.circuit {
            let (found, expected) = (encrypted.circuit, self.manifest.circuit);
            return Err(ClientError::Foreign { found, expected });
        }
        let (found, expected) = (encrypted.ciphertexts.len(), self.output_ciphertexts().len());
        if found != expected {
            return Err(ClientError::Count { what: "ciphertexts", found, expected });
        }
        let mut rest = encrypted.ciphertexts.as_slice();
        let mut all = Vec::new();
        for output in &self.manifest.outputs {
            let (own, after) = rest.split_at(output.layout.ciphertexts as usize);
            rest = after;
            all.extend(self.decrypt_output(secret, output, own)?);
        }
        Ok(all)
    }

    /// Decrypts the outputs for somebody else's eyes: their errors, which depend on the secret key, are rounded away or
    /// flooded. An error where the manifest proves too little of them.
    pub fn release(
        &self,
        secret: &SecretKey,
        encrypted: &EncryptedOutput,
        how: Release,
    ) -> Result<Vec<Released>, ClientError> {
        let scores = self.decrypt(secret, encrypted)?;
        scores.into_iter().map(|own| release(&self.manifest, own, how)).collect()
    }

    /// What [`Client::decrypt`] and [`Client::release`] return, by image of the batch: of each its outputs, in the manifest's order.
    pub fn by_image<T>(&self, outputs: Vec<T>) -> Vec<Vec<T>> {
        let batch = self.manifest.batch() as usize;
        let mut images: Vec<Vec<T>> = (0..batch).map(|_| Vec::new()).collect();
        outputs.into_iter().enumerate().for_each(|(k, one)| images[k % batch].push(one));
        images
    }

    /// Limbs of every ciphertext that comes back.
    pub fn output_ciphertexts(&self) -> Vec<Limbs> {
        let outputs = self.manifest.outputs.iter();
        outputs.flat_map(|o| vec![Limbs(o.level.limbs()); o.layout.ciphertexts as usize]).collect()
    }

    fn decrypt_output(
        &self,
        secret: &SecretKey,
        output: &ManifestOutput,
        ciphertexts: &[Ciphertext],
    ) -> Result<Vec<Scores>, ClientError> {
        let scale = Scale::canonical(output.level).value(&self.manifest.parameters);
        let mut slots = Vec::new();
        for ciphertext in ciphertexts {
            let (found, max) = (ciphertext.limbs().0, output.level.limbs());
            if found != max {
                return Err(ClientError::Limbs { what: "an output ciphertext", found, max });
            }
            let all = decrypt_slots(&self.context, secret, ciphertext, scale)?;
            check_real(output, &all)?;
            slots.push(all[..output.layout.slots as usize].iter().map(|z| z.re).collect::<Vec<_>>());
        }
        let values: Vec<f64> = output.layout.unpack(&slots).into_iter().map(|x| x * output.scale).collect();
        let images = values.chunks_exact(output.layout.elements());
        Ok(images.map(|image| scores(output, image.to_vec())).collect())
    }

    /// Limbs of a fresh encryption: those of the circuit's top level, below the primes of mod-raise.
    pub(crate) fn fresh_limbs(&self) -> Limbs {
        Limbs(self.manifest.parameters.top().limbs())
    }

    /// Scale of the inputs: the canonical one of the top level.
    fn input_scale(&self) -> f64 {
        let parameters = &self.manifest.parameters;
        Scale::canonical(parameters.top()).value(parameters)
    }

    fn check_inputs(&self, inputs: &[&[f64]]) -> Result<(), ClientError> {
        let (found, expected) = (inputs.len(), self.manifest.inputs.len());
        if found != expected {
            return Err(ClientError::Count { what: "input tensors", found, expected });
        }
        for (input, values) in self.manifest.inputs.iter().zip(inputs) {
            let (found, layout) = (values.len(), &input.layout);
            if found != layout.elements() * layout.batch as usize {
                let (tensor, shape, batch) = (input.name.clone(), layout.shape.clone(), layout.batch);
                return Err(ClientError::InputShape { tensor, found, shape, batch });
            }
            if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                return Err(ClientError::NotFinite { tensor: input.name.clone(), index });
            }
        }
        Ok(())
    }

    /// A coefficient is at most the largest slot times the scale, and must stay below half the modulus.
    fn check_magnitude(&self, input: &ManifestInput, values: &[f64], scale: f64) -> Result<(), ClientError> {
        let modulus = self.manifest.parameters.chain.iter().fold(1.0, |q, prime| q * *prime as f64);
        let max = modulus / 4.0 / scale;
        match values.iter().position(|v| v.abs() > max) {
            Some(index) => Err(ClientError::TooLarge { tensor: input.name.clone(), index, max }),
            None => Ok(()),
        }
    }
}

/// Insecure parameters are told apart from what else a manifest may break.
fn insecure_or_unsound(error: VerifyError) -> ClientError {
    let insecure = error.violations.iter().find_map(|violation| match &violation.law {
        LawError::Security(own) => Some(own.clone()),
        _ => None,
    });
    insecure.map_or(ClientError::Manifest(error), ClientError::Security)
}

/// The shape of a key that a circuit lists.
fn key_shape(spec: &KeySpec, n: usize) -> KeyShape {
    let KeySpec { kind, level, gadget } = spec;
    KeyShape::of(kind.code(n), level.limbs(), gadget.digit_limbs, gadget.special_limbs)
}

/// Refuses elements so far outside the range that the answer could not be decoded.
fn check_range(input: &ManifestInput, values: &[f64]) -> Result<(), ClientError> {
    let max = RANGE_MARGIN * input.range[0].abs().max(input.range[1].abs());
    match values.iter().position(|v| v.abs() > max) {
        Some(index) if max > 0.0 => Err(ClientError::OutOfRange {
            tensor: input.name.clone(),
            index,
            range: input.range,
            factor: RANGE_MARGIN,
        }),
        _ => Ok(()),
    }
}

/// Refuses slots whose imaginary parts are too large for noise.
fn check_real(output: &ManifestOutput, slots: &[Complex]) -> Result<(), ClientError> {
    let mean_square =
        |part: fn(&Complex) -> f64| slots.iter().map(|z| part(z) * part(z)).sum::<f64>() / slots.len() as f64;
    let (real, imaginary) = (mean_square(|z| z.re).sqrt(), mean_square(|z| z.im).sqrt());
    let range = output.range.iter().fold(0.0, |r: f64, x| r.max(x.abs())) / output.scale.abs();
    let bound = IMAGINARY_PART_MAX * real.max(range);
    match imaginary > bound || !imaginary.is_finite() {
        true => Err(ClientError::WrongKey { tensor: output.name.clone(), bound }),
        false => Ok(()),
    }
}
