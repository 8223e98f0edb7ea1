//! Whether the server lives, takes work, and what it has done.

use super::{Caller, Shared};
use crate::error::{Kind, Problem, Refusal};
use crate::tokens::Scope;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
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
    responses((status = 200, body = Status), (status = 503, body = Problem, description = "stopping")))]
pub(crate) async fn ready(State(service): Shared) -> Result<Json<Status>, Refusal> {
    match service.is_stopping() {
        false => Ok(Json(OK)),
        true => Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Kind::Resources,
            "server",
            "the server is stopping",
        )),
    }
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
