//! Whether the server lives, takes work, and what it has done.

use super::{Caller, Shared, blocking, schema};
use crate::error::Refusal;
use crate::tokens::Scope;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use cipherloom_ir::wire::Status;

/// All is well.
fn fine() -> Json<Status> {
    Json(Status { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
}

/// Lives.
#[utoipa::path(get, path = "/v1/health", tag = "status", responses((status = 200, body = schema::Status)))]
pub(crate) async fn health() -> Json<Status> {
    fine()
}

/// Takes work.
#[utoipa::path(get, path = "/v1/ready", tag = "status",
    responses((status = 200, body = schema::Status),
        (status = 503, body = schema::Problem, description = "stopping, or the disk is full")))]
pub(crate) async fn ready(State(service): Shared) -> Result<Json<Status>, Refusal> {
    if service.is_stopping() {
        return Err(Refusal::unavailable("the server is stopping"));
    }
    blocking(move || match service.takes_work() {
        true => Ok(fine()),
        false => Err(Refusal::unavailable("the server's disk is full, or takes no records")),
    })
    .await
}

/// Counters for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "status", security(("bearer" = ["metrics"])),
    responses((status = 200, content_type = "text/plain", body = String),
        (status = "4XX", body = schema::Problem)))]
pub(crate) async fn metrics(State(service): Shared, caller: Caller) -> Result<impl IntoResponse, Refusal> {
    caller.may(Scope::Metrics)?;
    let text = service.metrics.text(service.ledger.queued(), service.settings.memory_bytes);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
