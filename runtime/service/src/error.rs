//! What a client is told when something is refused: an HTTP status and {kind, where, what, remedy}, the same four fields and
//! kinds as the command's own errors. Promises: no payload, no path of the server, no other client's name.

use crate::ledger::LedgerError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
pub(crate) use cipherloom_ir::wire::Kind;
use cipherloom_ir::wire::Problem;

/// A refused request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) problem: Problem,
    retry_after_s: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, kind: Kind, place: &str, what: impl ToString) -> Refusal {
        let problem =
            Problem { kind, place: place.to_owned(), what: what.to_string(), remedy: String::new() };
        Refusal { status, problem, retry_after_s: None }
    }

    pub(crate) fn remedy(mut self, remedy: &str) -> Refusal {
        self.problem.remedy = remedy.to_owned();
        self
    }

    /// The bytes or arguments of the request are wrong.
    pub(crate) fn bad(place: &str, what: impl ToString) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::BadInput, place, what)
    }

    /// No such thing, or another client's.
    pub(crate) fn absent(place: &str, what: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, Kind::Mismatch, place, format!("this client has no such {what}"))
    }

    /// The state of the thing forbids it.
    pub(crate) fn conflict(place: &str, what: impl ToString) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, Kind::Mismatch, place, what)
    }

    /// Larger than allowed.
    pub(crate) fn too_large(place: &str, limit_bytes: u64) -> Refusal {
        let what = format!("at most {limit_bytes} bytes are taken here");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::BadInput, place, what)
    }

    /// Too much at once: the client waits and tries again.
    pub(crate) fn busy(place: &str, what: impl ToString, retry_after_s: u32) -> Refusal {
        let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Kind::Resources, place, what);
        Refusal { retry_after_s: Some(retry_after_s.max(1)), ..refusal }
            .remedy("wait as long as Retry-After says and try again")
    }

    /// The disk refuses. The system's words go to the log, not to the client.
    pub(crate) fn disk(error: &std::io::Error) -> Refusal {
        crate::log::event("disk_error", &[("error", error.kind().to_string().into())]);
        Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            Kind::Resources,
            "storage",
            format!("the server cannot store this: {}", error.kind()),
        )
        .remedy("try again later, or tell the operator")
    }

    /// The client would store more than it may.
    pub(crate) fn quota(quota_bytes: u64) -> Refusal {
        let what = format!("the client may store {quota_bytes} bytes in all");
        Refusal::new(StatusCode::INSUFFICIENT_STORAGE, Kind::Resources, "quota", what)
            .remedy("delete jobs whose results you have, or old keys, or ask the operator")
    }

    /// The server takes no work now.
    pub(crate) fn unavailable(what: &str) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Resources, "server", what)
            .remedy("try again later")
    }

    /// A bug.
    pub(crate) fn internal(error: impl ToString) -> Refusal {
        crate::log::event("internal_error", &[("error", error.to_string().into())]);
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal, "server", "internal error")
            .remedy("tell the operator when it happened")
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Refusal {
        match error {
            LedgerError::Disk(e) => Refusal::disk(&e),
            other => Refusal::internal(other),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
