//! All that the server holds of a client: shown, and deleted.

use super::{Caller, Shared, blocking, schema};
use crate::error::Refusal;
use crate::tokens::Scope;
use axum::Json;
use axum::extract::State;
use cipherloom_ir::wire::{ClientData, Forgotten};
use serde_json::json;

/// What the server holds of the client.
#[utoipa::path(get, path = "/v1/me", tag = "data", security(("bearer" = ["jobs"])),
    responses((status = 200, body = schema::ClientData), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn show(State(service): Shared, caller: Caller) -> Result<Json<ClientData>, Refusal> {
    let client = caller.may(Scope::Jobs)?;
    Ok(Json(ClientData {
        stored_bytes: service.ledger.stored_bytes(&client),
        quota_bytes: service.settings.quota_bytes,
        keys: super::keys::all(&service, &client),
        jobs: super::jobs::all(&service, &client),
        client,
    }))
}

/// Deletes all of the client's data: keys, inputs, results, records. What waits is not evaluated any more.
#[utoipa::path(delete, path = "/v1/me", tag = "data", security(("bearer" = ["jobs"])),
    responses((status = 200, body = schema::Forgotten), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn forget(State(service): Shared, caller: Caller) -> Result<Json<Forgotten>, Refusal> {
    let client = caller.may(Scope::Jobs)?;
    blocking(move || {
        let jobs = service.ledger.drop_jobs(|j| j.client == client)?;
        let keys = service.drop_keys(|(owner, _), _| *owner == client)?;
        jobs.iter().for_each(|id| service.remove_job_files(*id));
        let facts = [("client", json!(client)), ("keys", json!(keys.len())), ("jobs", json!(jobs.len()))];
        crate::log::event("forgotten", &facts);
        Ok(Json(Forgotten { keys: keys.len() as u64, jobs: jobs.len() as u64 }))
    })
    .await
}
