//! The steps between compilation and answer, for client and server, in memory or through files.
//!
//! Everything secret stays in `Client` and `SecretKey`; [`Server`] holds neither and takes neither.

mod server;

use crate::data::Sample;
use crate::error::{Error, Kind};
use crate::files::{self, Access, Existing, Pending};
use crate::model::slot_values;
use cipherloom_ckks::{Ciphertext, EvaluationKey, PublicKey};
use cipherloom_client::{
    Client, ClientError, EncryptedInput, EncryptedOutput, Release, Released, Scores, SecretKey,
};
use cipherloom_ir::scheme::SecurityPolicy;
use cipherloom_ir::{Circuit, Exact, Layout, Manifest, Preprocessing};
use cipherloom_ring::Path as KernelPath;
use std::path::Path;
use zeroize::Zeroizing;

pub use server::Server;

/// The client of a manifest; refuses parameters below 128 bits. `place` names the manifest in errors.
pub fn client(place: &str, manifest: Manifest) -> Result<Client, Error> {
    Client::new(manifest, &SecurityPolicy::standard_128(), KernelPath::best())
        .map_err(|e| client_error(place, &e))
}

/// All evaluation keys in memory, in the circuit's order.
pub fn evaluation_keys(client: &Client, secret: &SecretKey) -> Result<Vec<EvaluationKey>, Error> {
    let place = &client.manifest().name;
    let keys = client.evaluation_keys(secret).map_err(|e| client_error(place, &e))?;
    keys.map(|k| k.map_err(|e| client_error(place, &e))).collect()
}

/// Encrypts samples, as many as the circuit's batch or fewer (the last one then fills the other places); the second part
/// says which inputs leave the range the circuit was made for.
pub fn encrypt(
    client: &Client,
    secret: &SecretKey,
    samples: &[Sample],
) -> Result<(EncryptedInput, Vec<String>), Error> {
    encrypt_by(client, samples, |values| client.encrypt(secret, values))
}

/// The same under a public key.
pub fn encrypt_public(
    client: &Client,
    key: &PublicKey,
    samples: &[Sample],
) -> Result<(EncryptedInput, Vec<String>), Error> {
    encrypt_by(client, samples, |values| client.encrypt_public(key, values))
}

fn encrypt_by(
    client: &Client,
    samples: &[Sample],
    encrypt: impl FnOnce(&[Vec<f64>]) -> Result<EncryptedInput, ClientError>,
) -> Result<(EncryptedInput, Vec<String>), Error> {
    let manifest = client.manifest();
    let input =
        manifest.inputs.first().ok_or_else(|| Error::new(Kind::BadInput, &manifest.name, "has no input"))?;
    let values = vec![batch_values(&manifest.name, samples, &input.preprocessing, &input.layout)?];
    let outside = client.outside_range(&values);
    let elements = input.layout.elements();
    let warnings = outside.iter().map(|o| {
        let (image, index) = (o.index / elements, o.index % elements);
        let of = if manifest.batch() > 1 { format!(" of image {image}") } else { String::new() };
        format!(
            "element {index}{of} of input {} lies outside [{}, {}]: do not trust the answer",
            o.input, o.range[0], o.range[1]
        )
    });
    let encrypted = encrypt(&values).map_err(|e| client_error(&manifest.name, &e))?;
    Ok((encrypted, warnings.collect()))
}

/// What the circuit reads for samples: their values one after the other, the last sample again in places that are left.
pub fn batch_values(
    place: &str,
    samples: &[Sample],
    preprocessing: &Preprocessing,
    layout: &Layout,
) -> Result<Vec<f64>, Error> {
    let batch = layout.batch as usize;
    if samples.is_empty() || samples.len() > batch {
        let what = format!("takes 1 to {batch} images at once, {} were given", samples.len());
        return Err(Error::new(Kind::BadInput, place, what));
    }
    let places = (0..batch).map(|image| &samples[image.min(samples.len() - 1)]);
    Ok(places.flat_map(|sample| slot_values(sample, preprocessing, &layout.shape)).collect())
}

/// Decrypts an answer: for each image of the batch its outputs, in the manifest's order.
pub fn decrypt(
    client: &Client,
    secret: &SecretKey,
    answer: Vec<Vec<Ciphertext>>,
) -> Result<Vec<Vec<Scores>>, Error> {
    let circuit = client.manifest().circuit;
    let ciphertexts = answer.into_iter().flatten().collect();
    by_image(client, secret, &EncryptedOutput { circuit, ciphertexts })
}

fn by_image(
    client: &Client,
    secret: &SecretKey,
    answer: &EncryptedOutput,
) -> Result<Vec<Vec<Scores>>, Error> {
    let name = &client.manifest().name;
    let scores = client.decrypt(secret, answer).map_err(|e| client_error(name, &e))?;
    Ok(client.by_image(scores))
}

/// Scores of the exact meaning of a circuit on a sample, which fills the batch: what encrypted evaluation aims at.
pub fn exact_scores(circuit: &Circuit, exact: &Exact, sample: &Sample) -> Result<Vec<f64>, Error> {
    let name = &circuit.name;
    let input = circuit.inputs.first().ok_or_else(|| Error::new(Kind::BadInput, name, "has no input"))?;
    let values =
        batch_values(name, std::slice::from_ref(sample), &input.preprocessing, circuit.layout(input.layout))?;
    let outputs = exact.run(circuit, &[values]).map_err(|e| Error::new(Kind::Internal, name, e))?;
    let mut first =
        outputs.into_iter().next().ok_or_else(|| Error::new(Kind::BadInput, name, "has no output"))?;
    first.truncate(circuit.layout(circuit.outputs[0].layout).elements());
    Ok(first)
}

/// Makes the evaluation keys one at a time into a file that waits for its name; `written` is told the bytes so far.
pub fn keys_file(
    path: &Path,
    client: &Client,
    secret: &SecretKey,
    written: impl FnMut(u64),
) -> Result<Pending, Error> {
    files::prepare(path, Access::Shared, |out| {
        client.write_evaluation_keys(secret, out, written).map_err(|e| client_error_at(path, &e))
    })
}

/// Writes the secret key, readable by its owner alone; without a wish to replace it, no other is.
pub fn write_secret(
    path: &Path,
    client: &Client,
    secret: &SecretKey,
    existing: Existing,
) -> Result<(), Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(cipherloom_client::SECRET_KEY_BYTES_MAX));
    client
        .write_secret_key(secret, std::io::Cursor::new(&mut *bytes))
        .map_err(|e| client_error_at(path, &e))?;
    files::write_secret(path, &bytes, existing)
}

/// A public key, in a file that waits for its name.
pub fn public_file(path: &Path, client: &Client, secret: &SecretKey) -> Result<Pending, Error> {
    let wrong = |e: ClientError| client_error_at(path, &e);
    let key = client.public_key(secret).map_err(wrong)?;
    files::prepare(path, Access::Shared, |out| client.write_public_key(&key, out).map_err(wrong))
}

/// Reads a public key.
pub fn read_public(path: &Path, client: &Client) -> Result<PublicKey, Error> {
    let bytes = files::read(path)?;
    client.read_public_key(std::io::Cursor::new(bytes)).map_err(|e| client_error_at(path, &e))
}

/// Reads a secret key.
pub fn read_secret(path: &Path, client: &Client) -> Result<SecretKey, Error> {
    let bytes = files::read_secret(path)?;
    client.read_secret_key(std::io::Cursor::new(bytes.as_slice())).map_err(|e| client_error_at(path, &e))
}

/// Writes an encrypted input and returns its size in bytes.
pub fn write_input(path: &Path, client: &Client, input: &EncryptedInput) -> Result<u64, Error> {
    let mut whole = std::io::Cursor::new(Vec::new());
    client.write_input(input, &mut whole).map_err(|e| client_error_at(path, &e))?;
    files::write_bytes(path, Access::Shared, whole.get_ref())?;
    Ok(whole.get_ref().len() as u64)
}

/// Reads an encrypted answer and decrypts it: for each image of the batch its outputs.
pub fn decrypt_file(path: &Path, client: &Client, secret: &SecretKey) -> Result<Vec<Vec<Scores>>, Error> {
    let bytes = files::read(path)?;
    let answer = client.read_output(std::io::Cursor::new(bytes)).map_err(|e| client_error_at(path, &e))?;
    by_image(client, secret, &answer).map_err(|e| Error { place: path.display().to_string(), ..e })
}

/// Reads an encrypted answer and decrypts it to scores that may be given away: for each image of the batch its outputs.
pub fn release_file(
    path: &Path,
    client: &Client,
    secret: &SecretKey,
    how: Release,
) -> Result<Vec<Vec<Released>>, Error> {
    let bytes = files::read(path)?;
    let answer = client.read_output(std::io::Cursor::new(bytes)).map_err(|e| client_error_at(path, &e))?;
    let released = client.release(secret, &answer, how).map_err(|e| client_error_at(path, &e))?;
    Ok(client.by_image(released))
}

/// An error of the client at a place.
pub fn client_error(place: &str, error: &ClientError) -> Error {
    use cipherloom_ir::container::ContainerError;
    let (kind, remedy) = match error {
        ClientError::WrongKey { .. } => (
            Kind::Mismatch,
            "decrypt with the secret key whose evaluation keys were used; if it was, encrypt warned of the input",
        ),
        ClientError::OutOfRange { .. } => {
            (Kind::BadInput, "scale the data as the model's input wants it (see `inspect`)")
        }
        ClientError::Release { .. } => (
            Kind::UnsupportedModel,
            "keep the scores with the holder of the secret key, or compile a smaller circuit with more --precision, whose \
             error can be proved (docs/security.md)",
        ),
        ClientError::Foreign { .. }
        | ClientError::RingDegree { .. }
        | ClientError::File(ContainerError::Foreign { .. }) => {
            (Kind::Mismatch, "use the files that were made with this circuit's manifest")
        }
        ClientError::File(ContainerError::Io(e)) => (Kind::Resources, Error::io_remedy(e.kind())),
        ClientError::Entropy { .. } => (Kind::Resources, ""),
        ClientError::Security(_) => {
            (Kind::BadInput, "take a manifest from a compiler that enforces 128 bits")
        }
        _ => (Kind::BadInput, ""),
    };
    Error::new(kind, place, error).remedy(remedy)
}

fn client_error_at(path: &Path, error: &ClientError) -> Error {
    client_error(&path.display().to_string(), error)
}
