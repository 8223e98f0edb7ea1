//! Models and their manifests.

use super::{Caller, Named, Shared, digest, octets};
use crate::error::{Problem, Refusal};
use crate::models::Model;
use crate::tokens::Scope;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// A model that the server evaluates.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelFacts {
    /// Digest of the circuit, 64 hexadecimal digits; names the model everywhere.
    id: String,
    /// Name that its maker gave it.
    name: String,
    /// Evaluation keys that a client registers.
    keys: usize,
    /// Forecast of their size.
    key_bytes: u64,
    /// Forecast of an encrypted input's size.
    upload_bytes: u64,
    /// Forecast of an encrypted output's size.
    download_bytes: u64,
    /// Forecast of an evaluation on one thread.
    seconds: f64,
    /// Forecast of the precision of the output.
    precision_bits: f64,
}

impl ModelFacts {
    fn of(model: &Model) -> ModelFacts {
        let (manifest, forecast) = (&model.manifest, &model.manifest.forecast);
        ModelFacts {
            id: manifest.circuit.to_string(),
            name: manifest.name.clone(),
            keys: manifest.keys.len(),
            key_bytes: forecast.key_bytes,
            upload_bytes: forecast.upload_bytes,
            download_bytes: forecast.download_bytes,
            seconds: forecast.seconds,
            precision_bits: forecast.precision_bits,
        }
    }
}

/// All models.
#[utoipa::path(get, path = "/v1/models", tag = "models", security(("bearer" = ["models"])),
    responses((status = 200, body = Vec<ModelFacts>), (status = "4XX", body = Problem)))]
pub(crate) async fn list(State(service): Shared, caller: Caller) -> Result<Json<Vec<ModelFacts>>, Refusal> {
    caller.may(Scope::Models)?;
    Ok(Json(service.models.all().map(|m| ModelFacts::of(m)).collect()))
}

/// A model's manifest: all that a client needs, without weights.
#[utoipa::path(get, path = "/v1/models/{id}/manifest", tag = "models", security(("bearer" = ["models"])),
    params(("id" = String, Path, description = "digest of the circuit")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = "4XX", body = Problem)))]
pub(crate) async fn manifest(
    State(service): Shared,
    caller: Caller,
    Named(id): Named,
) -> Result<Response, Refusal> {
    caller.may(Scope::Models)?;
    let id = digest("model", &id)?;
    let model = service.models.get(&id).ok_or_else(|| Refusal::absent("model", "model"))?;
    Ok(octets(model.manifest_bytes.clone()))
}
