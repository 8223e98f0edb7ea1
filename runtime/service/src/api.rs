//! The REST interface, version 1. Every route stands once: its attribute makes the router and the OpenAPI description.
//!
//! Promises: a caller reaches its own data alone; another client's names are answered like unknown ones; every refusal is a
//! [`Problem`](cipherloom_ir::wire::Problem).

mod data;
mod jobs;
mod keys;
mod models;
mod schema;
mod status;

use crate::error::{Kind, Refusal};
use crate::log;
use crate::service::Service;
use crate::tokens::{Denied, Scope, TokenRecord};
use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cipherloom_ir::Digest;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

type Shared = State<Arc<Service>>;

/// All routes with their description.
fn described() -> (Router<Arc<Service>>, OpenApi) {
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let info = InfoBuilder::new()
        .title("Cipherloom service")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Neural networks on encrypted data: keys, jobs, results. Not audited."))
        .build();
    let components =
        ComponentsBuilder::new().security_scheme("bearer", bearer).schema_from::<schema::Problem>().build();
    let start = OpenApiBuilder::new().info(info).components(Some(components)).build();
    OpenApiRouter::with_openapi(start)
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(status::metrics))
        .routes(routes!(models::list))
        .routes(routes!(models::manifest))
        .routes(routes!(keys::announce, keys::list))
        .routes(routes!(keys::append, keys::show, keys::remove))
        .routes(routes!(jobs::submit, jobs::list))
        .routes(routes!(jobs::show, jobs::cancel))
        .routes(routes!(jobs::result))
        .routes(routes!(data::show, data::forget))
        .split_for_parts()
}

/// The OpenAPI 3.1 description that the server serves.
pub fn openapi() -> OpenApi {
    described().1
}

/// The whole interface.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let (router, description) = described();
    let description = axum::Json(description);
    router
        .route("/openapi.json", axum::routing::get(move || std::future::ready(description.clone())))
        .fallback(|| std::future::ready(Refusal::absent("path", "route")))
        .method_not_allowed_fallback(|| {
            let what = "this route does not take this method";
            std::future::ready(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Usage, "method", what))
        })
        .layer(axum::middleware::from_fn_with_state(service.clone(), observe))
        .with_state(service)
}

/// Counts and logs every request: route, status, time; no query, no header, no body.
async fn observe(State(service): Shared, request: Request, next: Next) -> Response {
    let (start, method) = (Instant::now(), request.method().clone());
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "none".to_owned(), |p| p.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    service.metrics.request(&route, status);
    let ms = start.elapsed().as_secs_f64() * 1e3;
    log::event(
        "request",
        &[
            ("method", json!(method.as_str())),
            ("route", json!(route)),
            ("status", json!(status)),
            ("ms", json!(ms)),
        ],
    );
    response
}

/// Who calls: the record of a valid token, within its rate.
pub(crate) struct Caller(TokenRecord);

impl Caller {
    /// The client's name, if the token has this scope.
    pub(crate) fn may(self, scope: Scope) -> Result<String, Refusal> {
        match self.0.scopes.contains(&scope) {
            true => Ok(self.0.client),
            false => {
                let what = format!("the token does not have the scope '{}'", scope.name());
                Err(Refusal::new(StatusCode::FORBIDDEN, Kind::Usage, "token", what)
                    .remedy("ask the operator for a token with this scope"))
            }
        }
    }
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Caller, Refusal> {
        let denied = |what: &str| {
            Refusal::new(StatusCode::UNAUTHORIZED, Kind::Usage, "token", what)
                .remedy("send a token that the operator made with `cipherloom serve token add`")
        };
        let header = parts.headers.get(header::AUTHORIZATION).ok_or_else(|| denied("no token was sent"))?;
        let sent = header.to_str().ok().and_then(|h| h.split_once(' '));
        let token = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, t)| t);
        let record = service.tokens.find(token.trim()).map_err(|e| match e {
            Denied::Unknown => denied("the token is unknown or revoked"),
            Denied::Expired => denied("the token has expired"),
        })?;
        service.rates.take(&record.client).map_err(|s| Refusal::busy("rate", "too many requests", s))?;
        Ok(Caller(record))
    }
}

/// The one name in a path.
pub(crate) struct Named(String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Refusal> {
        let name = Path::from_request_parts(parts, state).await;
        name.map(|Path(name)| Named(name)).map_err(|e| Refusal::bad("path", e.body_text()))
    }
}

/// What a query asks for.
pub(crate) struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked<T>, Refusal> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(asked)| Asked(asked)).map_err(|e| Refusal::bad("query", e.body_text()))
    }
}

/// A digest in a path or query.
fn digest(place: &str, text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|()| Refusal::bad(place, "a digest has 64 hexadecimal digits"))
}

/// A header that is text.
fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// Runs what blocks (files, the database) beside the threads that serve requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(Refusal::internal(e)))
}

/// Bytes as they are.
fn octets(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")], bytes)
        .into_response()
}
