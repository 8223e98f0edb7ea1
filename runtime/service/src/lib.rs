//! Serves circuits to clients over HTTP.
//!
//! Clients register evaluation keys, submit encrypted inputs and fetch encrypted outputs; this crate depends on runtime and
//! contract alone, so that it cannot name a secret key. [`serve`] runs a server; [`TokenFile`] says who may use it.
//!
//! | part | what |
//! |---|---|
//! | `api` | routes, and their OpenAPI description from the same attributes |
//! | `ledger`, `record`, `queue` | what is promised: records in a transactional database, fair order |
//! | `engine`, `pages` | the one evaluating thread, and what is in memory for it |
//! | `tokens`, `limits` | who, how fast, how much |
//! | `files`, `disk` | the data folder; files that are whole or absent |
//!
//! What is on disk when, and what an acknowledgement means: docs/decisions/0009-service.md.
#![forbid(unsafe_code)]

mod api;
mod clock;
mod disk;
mod engine;
mod error;
mod files;
mod ledger;
mod limits;
pub mod log;
mod metrics;
mod models;
mod pages;
mod queue;
mod record;
mod server;
mod service;
mod tokens;

pub use api::openapi;
pub use models::ModelError;
pub use server::{Options, StartError, Tls, serve};
pub use service::Settings;
pub use tokens::{Scope, TokenError, TokenFile, TokenRecord};
