//! Cipherloom: CNNs on encrypted images.
//!
//! A model owner compiles an ONNX model to a circuit; a client encrypts an image; a server that never has the secret
//! key evaluates the circuit; the client decrypts the scores.
//!
//! ```
//! use cipherloom::{Model, compiler::CompileOptions, data, session};
//!
//! # fn main() -> Result<(), cipherloom::Error> {
//! // Model owner: the circuit goes to the server, the manifest to the client.
//! let model = Model::open("models/lola.onnx")?;
//! let compiled = model.compile(&CompileOptions::default())?;
//!
//! // Client: keys and an encrypted image. The secret key stays here.
//! let client = session::client("lola", compiled.manifest.clone())?;
//! let secret = client.generate_secret().map_err(|e| session::client_error("lola", &e))?;
//! let keys = session::evaluation_keys(&client, &secret)?;
//! let image = data::read("models/samples/digit-3.png".as_ref(), &model.input_shape())?;
//! let (encrypted, _) = session::encrypt(&client, &secret, &image.samples[..1])?;
//!
//! // Server: ciphertexts in, ciphertexts out.
//! let mut server = session::Server::new("lola", compiled.circuit, keys, Default::default())?;
//! let input = server.receive(encrypted)?;
//! let (answer, _seconds) = server.run(&input, 1, None)?;
//!
//! // Client: the answer.
//! let answers = session::decrypt(&client, &secret, answer)?;
//! assert_eq!(answers[0][0].class, 3); // first image, first output
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

pub mod check;
pub mod circuits;
pub mod data;
mod error;
pub mod files;
pub mod measure;
pub mod memory;
mod model;
pub mod page;
pub mod session;

pub use cipherloom_ckks as ckks;
pub use cipherloom_client as client;
pub use cipherloom_compiler as compiler;
pub use cipherloom_ir as ir;
#[cfg(feature = "service")]
pub use cipherloom_remote as remote;
pub use cipherloom_ring as ring;
pub use cipherloom_runtime as runtime;
#[cfg(feature = "service")]
pub use cipherloom_service as service;
pub use error::{Error, Kind};
pub use files::Access;
pub use model::{Compiled, Draft, Model, slot_values};
