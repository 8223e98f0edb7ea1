//! Models and their manifests.

use super::{Caller, Named, Shared, digest, octets, schema};
use crate::error::Refusal;
use crate::models::Model;
use crate::tokens::Scope;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use cipherloom_ir::wire::ModelFacts;

/// What a client is told of a model.
fn facts(model: &Model) -> ModelFacts {
    let (manifest, forecast) = (&model.manifest, &model.manifest.forecast);
    ModelFacts {
        id: manifest.circuit,
        name: manifest.name.clone(),
        keys: manifest.keys.len() as u64,
        key_bytes: forecast.key_bytes,
        upload_bytes: forecast.upload_bytes,
        download_bytes: forecast.download_bytes,
        seconds: forecast.seconds,
        precision_bits: forecast.precision_bits,
    }
}

/// All models.
#[utoipa::path(get, path = "/v1/models", tag = "models", security(("bearer" = ["models"])),
    responses((status = 200, body = Vec<schema::ModelFacts>), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn list(State(service): Shared, caller: Caller) -> Result<Json<Vec<ModelFacts>>, Refusal> {
    caller.may(Scope::Models)?;
    Ok(Json(service.models.all().map(|m| facts(m)).collect()))
}

/// A model's manifest: all that a client needs, without weights.
#[utoipa::path(get, path = "/v1/models/{id}/manifest", tag = "models", security(("bearer" = ["models"])),
    params(("id" = String, Path, description = "digest of the circuit")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = "4XX", body = schema::Problem)))]
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
