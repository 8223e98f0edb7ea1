//! Reading circuits and manifests, verified.

use crate::error::{Error, Kind};
use cipherloom_ir::scheme::SecurityPolicy;
use cipherloom_ir::{Circuit, Manifest, Verified};

/// Reads and verifies a circuit file's bytes; `place` names it in errors.
pub fn circuit(place: &str, bytes: &[u8]) -> Result<Verified, Error> {
    let circuit = Circuit::from_bytes(bytes).map_err(|e| bad(place, e, "a circuit (.loom)"))?;
    Verified::new(circuit, &SecurityPolicy::standard_128())
        .map_err(|e| Error::new(Kind::BadInput, place, e).remedy("compile the model again"))
}

/// Reads a manifest file's bytes; `place` names it in errors.
pub fn manifest(place: &str, bytes: &[u8]) -> Result<Manifest, Error> {
    Manifest::from_bytes(bytes).map_err(|e| bad(place, e, "a manifest"))
}

/// The manifest of a verified circuit.
pub fn manifest_of(place: &str, circuit: &Verified) -> Result<Manifest, Error> {
    Manifest::of(circuit).map_err(|e| Error::new(Kind::Internal, place, e))
}

fn bad(place: &str, error: impl ToString, wanted: &str) -> Error {
    Error::new(Kind::BadInput, place, error).remedy(format!("give {wanted} that `cipherloom compile` wrote"))
}
