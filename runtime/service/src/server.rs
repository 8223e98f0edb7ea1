//! Listens, with TLS or on loopback alone, and ends gracefully.

use crate::service::{Service, Settings};
use crate::tokens::TokenError;
use crate::{ModelError, api, engine, log};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use cipherloom_ir::scheme::SecurityPolicy;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Time between two sweeps for what has expired.
const SWEEP: Duration = Duration::from_secs(60);
/// Time that open connections have when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// `.loom` files, and folders of them.
    pub models: Vec<PathBuf>,
    /// Data folder: keys, jobs, tokens.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key; without, only loopback is listened on.
    pub tls: Option<Tls>,
    /// Threads of an evaluation.
    pub threads: usize,
    /// What else may be chosen.
    pub settings: Settings,
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificate chain, the server's first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a server does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Plain HTTP would leave this machine.
    #[error("{0} is no loopback address, and tokens would travel in the clear")]
    Plain(SocketAddr),
    /// Certificate or key.
    #[error("{path}: {what}")]
    Tls {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A model cannot be evaluated within the budget.
    #[error("model {name} takes {needed} bytes of memory, the budget is {budget}")]
    Memory {
        /// Its name.
        name: String,
        /// Forecast.
        needed: u64,
        /// The budget.
        budget: u64,
    },
    /// The token file.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The data folder has its server.
    #[error("another server is at work in this data folder")]
    InUse,
    /// The database is not what a server left.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// The database, or what else stands in the data folder, cannot be opened or made.
    #[error("{}: {what}", path.display())]
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// Threads, files.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT; `ready` is told the address once connections are taken. Blocks.
pub fn serve(
    options: Options,
    policy: &SecurityPolicy,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), StartError> {
    if options.tls.is_none() && !options.listen.ip().is_loopback() {
        return Err(StartError::Plain(options.listen));
    }
    let tls = options.tls.as_ref().map(tls_config).transpose()?;
    let service = Arc::new(Service::open(&options.models, &options.data, policy, options.settings.clone())?);
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(options.threads).build().map_err(io::Error::other)?;
    let listener = TcpListener::bind(options.listen).map_err(|e| StartError::Listen(options.listen, e))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let worker = {
        let service = service.clone();
        std::thread::Builder::new().name("evaluate".into()).spawn(move || engine::work(&service, &pool))?
    };
    log::event(
        "listening",
        &[
            ("address", json!(address.to_string())),
            ("tls", json!(tls.is_some())),
            ("models", json!(service.models.all().count())),
            ("queued", json!(service.ledger.queued())),
        ],
    );
    ready(address);
    let served = runtime.block_on(listen(service.clone(), listener, tls));
    service.stop();
    runtime.shutdown_timeout(Duration::from_secs(1));
    // The job at hand is finished; the others wait on disk for the next start.
    let _ = worker.join();
    log::event("stopped", &[("queued", json!(service.ledger.queued()))]);
    Ok(served?)
}

async fn listen(service: Arc<Service>, listener: TcpListener, tls: Option<RustlsConfig>) -> io::Result<()> {
    let handle = Handle::new();
    tokio::spawn(stop_on_signal(service.clone(), handle.clone()));
    tokio::spawn(sweep(service.clone()));
    let app = api::router(service.clone()).into_make_service();
    let head = service.settings.silence;
    // HTTP/1 alone: which version a client speaks would be waited for without end, and so would HTTP/2's next request.
    match tls {
        Some(tls) => {
            let mut server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle).http1_only();
            server.http_builder().http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(head);
            server.serve(app).await
        }
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle).http1_only();
            server.http_builder().http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(head);
            server.serve(app).await
        }
    }
}

async fn sweep(service: Arc<Service>) {
    loop {
        let swept = {
            let service = service.clone();
            tokio::task::spawn_blocking(move || service.sweep()).await
        };
        if let Ok(Err(e)) = swept {
            log::event("sweep_failed", &[("error", json!(e))]);
        }
        tokio::time::sleep(SWEEP).await;
    }
}

async fn stop_on_signal(service: Arc<Service>, handle: Handle<SocketAddr>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return log::event("no_signals", &[]);
    };
    std::future::poll_fn(|cx| {
        let (a, b) = (terminate.poll_recv(cx), interrupt.poll_recv(cx));
        if a.is_ready() || b.is_ready() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    log::event("stopping", &[]);
    service.stop();
    handle.graceful_shutdown(Some(GRACE));
}

fn tls_config(tls: &Tls) -> Result<RustlsConfig, StartError> {
    let wrong = |path: &Path, what: String| StartError::Tls { path: path.display().to_string(), what };
    let bytes = |path: &Path| std::fs::read(path).map_err(|e| wrong(path, e.to_string()));
    let chain = CertificateDer::pem_slice_iter(&bytes(&tls.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| wrong(&tls.certificate, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes(&tls.key)?).map_err(|e| wrong(&tls.key, e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|c| c.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| wrong(&tls.certificate, e.to_string()))?;
    Ok(RustlsConfig::from_config(Arc::new(config)))
}
