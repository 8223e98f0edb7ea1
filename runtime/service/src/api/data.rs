//! All that the server holds of a client: shown, and deleted.

use super::jobs::JobFacts;
use super::keys::KeyFacts;
use super::{Caller, Shared, blocking};
use crate::error::{Problem, Refusal};
use crate::tokens::Scope;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

/// The server's view of a client.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientData {
    /// Its name.
    client: String,
    /// Bytes that it stores.
    stored_bytes: u64,
    /// Bytes that it may store.
    quota_bytes: u64,
    /// Its keys.
    keys: Vec<KeyFacts>,
    /// Its jobs.
    jobs: Vec<JobFacts>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Forgotten {
    /// Sets of keys.
    keys: usize,
    /// Jobs, with inputs and results.
    jobs: usize,
}

/// What the server holds of the client.
#[utoipa::path(get, path = "/v1/me", tag = "data", security(("bearer" = ["jobs"])),
    responses((status = 200, body = ClientData), (status = "4XX", body = Problem)))]
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
    responses((status = 200, body = Forgotten), (status = "4XX", body = Problem)))]
pub(crate) async fn forget(State(service): Shared, caller: Caller) -> Result<Json<Forgotten>, Refusal> {
    let client = caller.may(Scope::Jobs)?;
    blocking(move || {
        let jobs = service.ledger.drop_jobs(|j| j.client == client)?;
        let keys = service.drop_keys(|(owner, _), _| *owner == client)?;
        jobs.iter().for_each(|id| service.remove_job_files(*id));
        let facts = [("client", json!(client)), ("keys", json!(keys.len())), ("jobs", json!(jobs.len()))];
        crate::log::event("forgotten", &facts);
        Ok(Json(Forgotten { keys: keys.len(), jobs: jobs.len() }))
    })
    .await
}
