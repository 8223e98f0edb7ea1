//! A server's REST interface as calls.
//!
//! Relies on ureq with rustls. Promises: what is repeated after a broken connection is safe to repeat (reads, deletions,
//! pieces of keys by their offset, jobs by their idempotency key); answers are bounded in size and time; a server that gets
//! nowhere is given up or asked slowly; a job is not waited for without end; the token is never shown.

mod result;

use crate::error::{Kind, RemoteError};
use crate::server::Server;
use cipherloom_ir::Digest;
use cipherloom_ir::wire::{Announcement, ClientData, Forgotten, JobFacts, KeyFacts, ModelFacts, Problem};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

/// Bytes of a piece of keys: what is lost at most when a connection breaks.
const PIECE_BYTES: usize = 4 << 20;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// How long a request waits for a job before it asks again.
const WAIT: Duration = Duration::from_secs(30);
/// How long a call is repeated while the server is busy or away.
const PATIENCE: Duration = Duration::from_secs(120);
/// Shortest pause before a question is repeated.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest silence within a call; a server that waits for a job is silent for [`WAIT`].
const SILENCE: Duration = Duration::from_secs(WAIT.as_secs() + 60);
/// Longest time until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time that an answer's body takes: the largest one at 300 kB/s.
const BODY: Duration = Duration::from_secs(3600);
/// How long the end of a job is waited for, unless the user says otherwise ([`Connection::wait_at_most`]).
pub const RESULT_WAIT: Duration = Duration::from_secs(3600);

/// A server that can be asked.
pub struct Connection {
    agent: Agent,
    base: String,
    authorization: String,
    /// Whether the server has answered: then it is waited for when it restarts.
    reached: AtomicBool,
    /// Longest silence within a call.
    silence: Duration,
    /// How long the end of a job is waited for.
    result_wait: Duration,
}

/// What to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The model.
    pub model: Digest,
    /// The registered keys.
    pub keys: Digest,
    /// The encrypted input's file.
    pub input: &'a [u8],
    /// Names the request: a repeated one is answered with the job of the first.
    pub idempotency: &'a str,
}

impl std::fmt::Debug for Connection {
    /// The address alone: the rest holds the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What one try of a call comes to.
type Answer = Result<Response<Body>, ureq::Error>;
/// One try of a call.
type Try<'a> = &'a mut dyn FnMut() -> Answer;

impl Connection {
    /// Prepares to ask a server; nothing is sent yet.
    pub fn new(server: &Server) -> Result<Connection, RemoteError> {
        Connection::with_silence(server, SILENCE)
    }

    fn with_silence(server: &Server, silence: Duration) -> Result<Connection, RemoteError> {
        let base = server.url.trim_end_matches('/').to_owned();
        let scheme = check_address(&base)?;
        let mut tls = TlsConfig::builder();
        if let Some(pem) = &server.ca {
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates(pem)?));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(silence))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .timeout_recv_body(Some(BODY))
            .tls_config(tls.build());
        if scheme == Scheme::Loopback {
            config = config.proxy(None); // a proxy of the environment would see the token in the clear
        }
        let authorization = format!("Bearer {}", server.token.secret());
        let (agent, reached) = (config.build().into(), AtomicBool::new(false));
        Ok(Connection { agent, base, authorization, reached, silence, result_wait: RESULT_WAIT })
    }

    /// The same, but the end of a job is waited for so long.
    pub fn wait_at_most(self, result_wait: Duration) -> Connection {
        Connection { result_wait, ..self }
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The models that it offers.
    pub fn models(&self) -> Result<Vec<ModelFacts>, RemoteError> {
        self.json(&mut self.get("/v1/models"))
    }

    /// The bytes of a model's manifest, as the server tells them.
    pub fn manifest(&self, model: &Digest) -> Result<Vec<u8>, RemoteError> {
        let mut ask = self.get(&format!("/v1/models/{model}/manifest"));
        bytes(&self.base, &mut self.call(PATIENCE, &mut ask)?)
    }

    /// Registers a file of evaluation keys, sending what has not arrived yet; `progress` hears of sent and all bytes.
    pub fn register(
        &self,
        model: &Digest,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Digest, RemoteError> {
        let wrong = |e: std::io::Error| RemoteError::io(path, &e);
        let mut file = File::open(path).map_err(wrong)?;
        let mut hasher = blake3::Hasher::new();
        let size = std::io::copy(&mut file, &mut hasher).map_err(wrong)?;
        let digest = Digest(*hasher.finalize().as_bytes());
        let announcement = Announcement { model: *model, digest, bytes: size };
        let text = serde_json::to_string(&announcement)
            .map_err(|e| RemoteError::new(Kind::Internal, path.display(), e))?;
        let url = format!("{}/v1/keys", self.base);
        let mut announce = || self.with_token(self.agent.post(&url)).send(text.as_bytes());
        let mut facts = self.check_keys(self.json(&mut announce)?, &digest, 0..=size)?;
        let start = Instant::now();
        while !facts.complete {
            progress(facts.offset, size);
            file.seek(SeekFrom::Start(facts.offset)).map_err(wrong)?;
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(wrong)?;
            match self.append(&digest, facts.offset, &piece) {
                Ok(next) => facts = self.check_keys(next, &digest, facts.offset + 1..=size)?,
                // What has arrived of the piece decides where to go on.
                Err(e) if e.kind == Kind::Resources && start.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                    let arrived = self.json(&mut self.get(&format!("/v1/keys/{digest}")))?;
                    facts = self.check_keys(arrived, &digest, 0..=size)?;
                }
                Err(e) => return Err(e),
            }
        }
        progress(size, size);
        Ok(digest)
    }

    /// Refuses what cannot be true of keys, so that every piece brings their end nearer.
    fn check_keys(
        &self,
        facts: KeyFacts,
        keys: &Digest,
        possible: RangeInclusive<u64>,
    ) -> Result<KeyFacts, RemoteError> {
        if facts.digest == *keys && (facts.complete || possible.contains(&facts.offset)) {
            return Ok(facts);
        }
        let (found, of) = (facts.digest.short(), possible.end());
        let what = format!("claims {} of {of} bytes of keys {found}, which cannot be", facts.offset);
        Err(RemoteError::new(Kind::Mismatch, &self.base, what).remedy("ask the server's operator"))
    }

    /// Sends one piece of keys, once.
    pub fn append(&self, keys: &Digest, offset: u64, piece: &[u8]) -> Result<KeyFacts, RemoteError> {
        let request = self.with_token(self.agent.patch(format!("{}/v1/keys/{keys}", self.base)));
        let sent = request.header("upload-offset", offset.to_string()).send(piece);
        parse(&self.base, &mut self.accepted(sent)?)
    }

    /// Submits a job; repeated until the server has acknowledged it, which the request's name makes safe.
    pub fn submit(&self, submission: &Submission<'_>) -> Result<JobFacts, RemoteError> {
        let Submission { model, keys, input, idempotency } = submission;
        let url = format!("{}/v1/jobs?model={model}&keys={keys}", self.base);
        let job: JobFacts = self.json(&mut || {
            let request = self.with_token(self.agent.post(&url)).header("idempotency-key", *idempotency);
            request.content_type("application/octet-stream").send(*input)
        })?;
        // It becomes part of addresses.
        match !job.id.is_empty() && job.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            true => Ok(job),
            false => {
                let what = format!("calls the job {:?}, which is no name of one", job.id);
                Err(RemoteError::new(Kind::Mismatch, &self.base, what).remedy("ask the server's operator"))
            }
        }
    }

    /// Where a job stands.
    pub fn job(&self, job: &str) -> Result<JobFacts, RemoteError> {
        self.json(&mut self.get(&format!("/v1/jobs/{job}")))
    }

    /// Cancels a job that has not ended.
    pub fn cancel(&self, job: &str) -> Result<JobFacts, RemoteError> {
        let url = format!("{}/v1/jobs/{job}", self.base);
        self.json(&mut || self.with_token(self.agent.delete(&url)).call())
    }

    /// What the server holds of this client.
    pub fn data(&self) -> Result<ClientData, RemoteError> {
        self.json(&mut self.get("/v1/me"))
    }

    /// Makes the server delete all that it holds of this client; says what that was.
    pub fn forget(&self) -> Result<Forgotten, RemoteError> {
        let url = format!("{}/v1/me", self.base);
        self.json(&mut || self.with_token(self.agent.delete(&url)).call())
    }

    fn with_token<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        request.header("authorization", &self.authorization)
    }

    fn get(&self, path: &str) -> impl FnMut() -> Answer + use<'_> {
        let url = format!("{}{path}", self.base);
        move || self.with_token(self.agent.get(&url)).call()
    }

    fn json<T: DeserializeOwned>(&self, ask: Try<'_>) -> Result<T, RemoteError> {
        parse(&self.base, &mut self.call(PATIENCE, ask)?)
    }

    /// Tries until an answer comes that is not "busy", for so long; at the end of it for the last time.
    fn call(&self, patience: Duration, ask: Try<'_>) -> Result<Response<Body>, RemoteError> {
        let start = Instant::now();
        loop {
            let (error, wait) = match ask() {
                Ok(mut response) => {
                    self.reached.store(true, Ordering::Relaxed);
                    match (self.refused(&mut response), retry_after(&response)) {
                        (Ok(()), _) => return Ok(response),
                        (Err(e), Some(wait)) => (e, wait),
                        (Err(e), None) => return Err(e),
                    }
                }
                Err(e) if is_broken(&e) && self.reached.load(Ordering::Relaxed) => {
                    (self.unreachable(&e), Duration::from_millis(300))
                }
                Err(e) => return Err(self.unreachable(&e)),
            };
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(error);
            }
            std::thread::sleep(wait.min(left));
        }
    }

    /// One try that takes so long at most.
    fn json_within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        request: RequestBuilder<WithoutBody>,
    ) -> Result<T, RemoteError> {
        let answer = self.with_token(request).config().timeout_per_call(Some(limit)).build().call();
        parse(&self.base, &mut self.accepted(answer)?)
    }

    /// The response of one try, unless it refuses.
    fn accepted(&self, answer: Answer) -> Result<Response<Body>, RemoteError> {
        let mut response = answer.map_err(|e| self.unreachable(&e))?;
        self.refused(&mut response).map(|()| response)
    }

    /// The server's refusal, if the response is one.
    fn refused(&self, response: &mut Response<Body>) -> Result<(), RemoteError> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text = bytes(&self.base, response).unwrap_or_default();
        Err(serde_json::from_slice(&text).map(Problem::into).unwrap_or_else(|_| {
            RemoteError::new(Kind::Resources, &self.base, format!("answers {status}"))
                .remedy("is this a Cipherloom server?")
        }))
    }

    fn unreachable(&self, error: &ureq::Error) -> RemoteError {
        RemoteError::new(Kind::Resources, &self.base, format!("cannot be reached: {error}"))
            .remedy("check address, network and --ca")
    }
}

/// Whether a connection was lost or refused, as when a server restarts.
fn is_broken(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Io(e) => matches!(
            e.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
        ),
        ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(30)).max(PAUSE))
}

fn bytes(base: &str, response: &mut Response<Body>) -> Result<Vec<u8>, RemoteError> {
    response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(|e| {
        RemoteError::new(Kind::Resources, base, format!("the answer broke off: {e}")).remedy("try again")
    })
}

fn parse<T: DeserializeOwned>(base: &str, response: &mut Response<Body>) -> Result<T, RemoteError> {
    serde_json::from_slice(&bytes(base, response)?)
        .map_err(|e| RemoteError::new(Kind::BadInput, base, format!("an answer that is none of ours: {e}")))
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, RemoteError> {
    let wrong = |what: &str| {
        RemoteError::new(Kind::BadInput, "--ca", what).remedy("give a PEM file with the server's authority")
    };
    let mut all = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        if let ureq::tls::PemItem::Certificate(c) = item.map_err(|_| wrong("is no PEM file"))? {
            all.push(c);
        }
    }
    if all.is_empty() { Err(wrong("holds no certificate")) } else { Ok(all) }
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scheme {
    Tls,
    /// Plain HTTP, which is for this machine alone.
    Loopback,
}

/// Reads an address as the HTTP client will, so that both see the same host.
fn check_address(base: &str) -> Result<Scheme, RemoteError> {
    let wrong = |what: &str, remedy: &str| Err(RemoteError::new(Kind::Usage, base, what).remedy(remedy));
    let uri = base.parse::<Uri>().ok().filter(|uri| uri.query().is_none());
    let Some((uri, authority)) = uri.as_ref().and_then(|uri| Some((uri, uri.authority()?))) else {
        return wrong("is no address of a server", "write https://host:port");
    };
    if authority.as_str().contains('@') {
        return wrong("names a user, which no server here has", "write https://host:port, and give --token");
    }
    if authority.port_u16().is_none() && authority.as_str() != authority.host() {
        // It would be left out, and the scheme's own port be asked.
        return wrong("has a port that is none", "write https://host:port, with a port up to 65535");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    match uri.scheme_str() {
        Some("https") => Ok(Scheme::Tls),
        Some("http") if host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) => {
            Ok(Scheme::Loopback)
        }
        Some("http") => wrong(
            "would carry the token in the clear",
            "use https://, with --ca for a certificate of your own",
        ),
        _ => wrong("is no address of a server", "write https://host:port"),
    }
}

#[cfg(test)]
mod tests;
