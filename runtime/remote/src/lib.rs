//! The client's side of a service: keys and images stay here, ciphertexts travel.
//!
//! - [`Connection`]: the server's REST interface, with resumable uploads and repeats that are safe.
//! - [`Remote`]: one model at one server from the client's home folder, which alone has the secret key: register, predict,
//!   see what the server holds, make it forget.
//! - [`ui`]: the same for a browser on this machine.
//!
//! # Promises
//! Nothing that a server says is trusted with more than it can decide: the manifest is pinned at the first meeting and held
//! against the 128-bit bound here; keys, inputs and answers are bound to its circuit; an answer that was not computed with this
//! client's keys is an error. Tokens travel over TLS or on loopback alone.
#![forbid(unsafe_code)]

mod connection;
mod error;
mod home;
mod passphrase;
mod remote;
mod server;
pub mod ui;

pub use cipherloom_ir::wire::{ClientData, Forgotten, JobFacts, KeyFacts, ModelFacts};
pub use connection::{Connection, RESULT_WAIT, Submission};
pub use error::{Kind, RemoteError};
pub use home::Home;
pub use passphrase::Passphrase;
pub use remote::{Exchange, Listener, Prediction, Progress, Remote, Setup};
pub use server::{Server, Token};
