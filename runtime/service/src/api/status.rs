//! Whether the server lives, takes work, and what it has done.

use super::{Caller, Shared, blocking};
use crate::error::{Problem, Refusal};
use crate::ledger::LedgerError;
use crate::log;
use crate::tokens::Scope;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

/// State of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// Always "ok".
    status: &'static str,
    /// Version of the server.
    version: &'static str,
}

const OK: Status = Status { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// Lives.
#[utoipa::path(get, path = "/v1/health", tag = "status", responses((status = 200, body = Status)))]
pub(crate) async fn health() -> Json<Status> {
    Json(OK)
}

/// Takes work.
#[utoipa::path(get, path = "/v1/ready", tag = "status",
    responses((status = 200, body = Status), (status = 503, body = Problem, description = "stopping, or no record can be written")))]
pub(crate) async fn ready(State(service): Shared) -> Result<Json<Status>, Refusal> {
    if service.is_stopping() {
        return Err(Refusal::unavailable("the server is stopping"));
    }
    let unwritable = |e: LedgerError| {
        log::event("not_ready", &[("error", e.to_string().into())]);
        Refusal::unavailable("no record can be written; the server's disk may be full")
    };
    blocking(move || service.ledger.check().map(|()| Json(OK)).map_err(unwritable)).await
}

/// Counters for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "status", security(("bearer" = ["metrics"])),
    responses((status = 200, content_type = "text/plain", body = String),
        (status = "4XX", body = Problem)))]
pub(crate) async fn metrics(State(service): Shared, caller: Caller) -> Result<impl IntoResponse, Refusal> {
    caller.may(Scope::Metrics)?;
    let text = service.metrics.text(service.ledger.queued(), service.settings.memory_bytes);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
