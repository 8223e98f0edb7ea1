//! A page for a person without a terminal, served on loopback from the client's own machine, so that the key never leaves it.
//!
//! Promises: only this machine is listened to; every call needs the token that stands in the printed address (after `#`, so that it
//! is in no request line); a foreign Host (DNS rebinding) or Origin (another site's page) is refused; nothing is loaded from
//! elsewhere, which the content security policy also says.

use crate::error::{Kind, RemoteError};
use crate::remote::Remote;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cipherloom_ir::wire::Problem;
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

const PAGE: &str = include_str!("ui/page.html");
const SCRIPT: &str = include_str!("ui/page.js");
const STYLE: &str = include_str!("ui/page.css");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Page {
    remote: Remote,
    token: String,
    hosts: [String; 2],
}

type Shared = State<Arc<Page>>;

/// Serves the page until the process ends; `ready` is told the address to open. Port 0 takes a free one.
pub fn serve(remote: Remote, port: u16, ready: impl FnOnce(&str)) -> Result<(), RemoteError> {
    let wrong = |e: std::io::Error| RemoteError::new(Kind::Resources, format!("port {port}"), e);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(wrong)?;
    listener.set_nonblocking(true).map_err(wrong)?;
    let address: SocketAddr = listener.local_addr().map_err(wrong)?;
    let mut secret = [0; 16];
    getrandom::fill(&mut secret)
        .map_err(|_| RemoteError::new(Kind::Resources, "token", "the system gives no randomness"))?;
    let token: String = secret.iter().map(|b| format!("{b:02x}")).collect();
    ready(&format!("http://{address}/#{token}"));
    let hosts = [address.to_string(), format!("localhost:{}", address.port())];
    let page = Arc::new(Page { remote, token, hosts });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(wrong)?;
    runtime
        .block_on(async { axum_server::from_tcp(listener)?.serve(router(page).into_make_service()).await })
        .map_err(wrong)
}

fn router(page: Arc<Page>) -> Router {
    let file = |kind: &'static str, text: &'static str| {
        get(move || std::future::ready(([(header::CONTENT_TYPE, kind)], text)))
    };
    let calls = Router::new()
        .route("/api/facts", get(facts))
        .route("/api/predict", post(predict))
        .route("/api/server", get(server))
        .layer(axum::middleware::from_fn_with_state(page.clone(), with_token));
    Router::new()
        .route("/", file("text/html; charset=utf-8", PAGE))
        .route("/page.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/page.css", file("text/css; charset=utf-8", STYLE))
        .merge(calls)
        .layer(axum::middleware::from_fn_with_state(page.clone(), from_here))
        .with_state(page)
}

fn refused(what: &str) -> Response {
    (StatusCode::FORBIDDEN, Json(json!({ "kind": "usage", "where": "page", "what": what, "remedy": "" })))
        .into_response()
}

/// Host and Origin are this page's own.
async fn from_here(State(page): Shared, request: Request, next: Next) -> Response {
    if !is_local(&page.hosts, request.headers()) {
        return refused("this page is for this machine alone");
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_local(hosts: &[String], headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let host = text(header::HOST).is_some_and(|h| hosts.iter().any(|own| own == h));
    let origin = text(header::ORIGIN)
        .is_none_or(|o| o.strip_prefix("http://").is_some_and(|o| hosts.iter().any(|own| own == o)));
    host && origin
}

async fn with_token(State(page): Shared, request: Request, next: Next) -> Response {
    let given = request.headers().get("x-token").map_or(&[][..], HeaderValue::as_bytes);
    // Hashes are compared, so that the time tells nothing about the token.
    match blake3::hash(given) == blake3::hash(page.token.as_bytes()) {
        true => next.run(request).await,
        false => refused("the token of this start is missing; open the address that the command printed"),
    }
}

fn problem(error: &RemoteError) -> Response {
    let RemoteError { kind, place, what, remedy } = error.clone();
    (StatusCode::BAD_GATEWAY, Json(Problem { kind, place, what, remedy })).into_response()
}

/// Model, parameters and forecasts.
async fn facts(State(page): Shared) -> Json<Value> {
    let client = page.remote.client();
    let (manifest, security) = (client.manifest(), client.security());
    let shape = manifest.inputs.first().map_or(&[][..], |i| &i.layout.shape);
    Json(json!({
        "model": manifest.name, "circuit": manifest.circuit, "shape": shape,
        "server": page.remote.connection().url(),
        "log_n": manifest.parameters.log_n, "log_qp": security.log_qp, "bound": security.bound,
        "key_bytes": manifest.forecast.key_bytes,
        "labels": manifest.outputs.first().map_or(&[][..], |o| &o.labels),
    }))
}

/// Raw elements (a byte each, channel first) to scores.
async fn predict(State(page): Shared, body: Body) -> Response {
    let client = page.remote.client();
    let elements = client.manifest().inputs.first().map_or(0, |i| i.layout.elements());
    let Ok(bytes) = Limited::new(body, elements).collect().await.map(|b| b.to_bytes()) else {
        return refused("too many bytes");
    };
    if bytes.len() != elements {
        return refused("the picture does not have the model's size");
    }
    let work = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let client = page.remote.client();
        // One picture in every place of a batch.
        let raw: Vec<f64> = bytes
            .iter()
            .map(|b| f64::from(*b))
            .collect::<Vec<_>>()
            .repeat(client.manifest().batch() as usize);
        let inputs = client.preprocess(&[&raw]).map_err(|e| RemoteError::client("picture", &e))?;
        let prediction = page.remote.predict(&inputs, &|_| {})?;
        // The page shows classes: those of the first output.
        let scores = prediction.images.into_iter().flatten().next();
        let scores = scores.ok_or_else(|| RemoteError::new(Kind::BadInput, "answer", "has no output"))?;
        Ok((scores, prediction.outside, prediction.exchange, start.elapsed().as_secs_f64()))
    });
    match work.await {
        Ok(Ok((scores, outside, exchange, seconds))) => Json(json!({
            "class": scores.class, "label": scores.label, "scores": scores.values,
            "probabilities": scores.probabilities, "outside": !outside.is_empty(),
            "warning": scores.alarm.as_ref().map(ToString::to_string),
            "exchange": exchange, "seconds": seconds,
        }))
        .into_response(),
        Ok(Err(e)) => problem(&e),
        Err(_) => problem(&RemoteError::new(Kind::Internal, "page", "internal error")),
    }
}

/// What the server holds of this client.
async fn server(State(page): Shared) -> Response {
    match tokio::task::spawn_blocking(move || page.remote.status()).await {
        Ok(Ok(view)) => Json(view).into_response(),
        Ok(Err(e)) => problem(&e),
        Err(_) => problem(&RemoteError::new(Kind::Internal, "page", "internal error")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_the_words_of_the_service() {
        let error = RemoteError::new(Kind::BadInput, "here", "this").remedy("that");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(problem(&error).into_body().collect()).unwrap().to_bytes();
        let said: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(said, json!({ "kind": "bad-input", "where": "here", "what": "this", "remedy": "that" }));
    }

    #[test]
    fn foreign_hosts_and_origins_are_refused() {
        let hosts = ["127.0.0.1:80".to_owned(), "localhost:80".to_owned()];
        let is = |host: Option<&'static str>, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            host.map(|h| headers.insert(header::HOST, HeaderValue::from_static(h)));
            origin.map(|o| headers.insert(header::ORIGIN, HeaderValue::from_static(o)));
            is_local(&hosts, &headers)
        };
        assert!(is(Some("127.0.0.1:80"), None) && is(Some("localhost:80"), Some("http://localhost:80")));
        assert!(!is(None, None) && !is(Some("evil.example:80"), None) && !is(Some("127.0.0.1:81"), None));
        for origin in ["http://evil.example", "null", "https://localhost:80", ""] {
            assert!(!is(Some("localhost:80"), Some(origin)), "{origin}");
        }
    }
}
