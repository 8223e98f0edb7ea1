//! `serve`: models for clients over HTTP; `serve token`: who may use it.

use super::report::{Output, Report, bytes_text};
use cipherloom::compiler::CompileOptions;
use cipherloom::ir::{Digest, scheme::SecurityPolicy};
use cipherloom::service::{
    self, Options, Scope, Settings, StartError, Tls, TokenError, TokenFile, TokenRecord,
};
use cipherloom::{Access, Error, Kind, Model, files};
use clap::value_parser;
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time that anything can be kept: a hundred years.
const HOURS_MAX: u64 = 100 * 366 * 24;
/// Requests a second that can be asked for.
const RATES: RangeInclusive<f64> = 0.1..=1e6;

/// Arguments of `serve`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Add, revoke or list tokens; a running server obeys at once.
    Token(TokenArguments),
    /// Print the OpenAPI 3.1 description of the interface.
    Openapi,
}

#[derive(clap::Args)]
struct Serve {
    /// Circuits (.loom), folders of them, or ONNX models, which are compiled first.
    models: Vec<PathBuf>,
    /// Data folder: keys, jobs, tokens.
    #[arg(long, value_name = "DIR", default_value = "service-data")]
    data: PathBuf,
    /// Address to listen on; without TLS it must be a loopback address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8750")]
    listen: SocketAddr,
    /// Certificate chain, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Memory for circuits and keys, MiB, by their forecasts (default: half of the machine's).
    #[arg(long, value_name = "MIB", value_parser = value_parser!(u64).range(1..))]
    memory: Option<u64>,
    /// Waiting jobs of all clients.
    #[arg(long, value_name = "N", default_value_t = Settings::default().queue as u32, value_parser = value_parser!(u32).range(1..))]
    queue: u32,
    /// Unfinished jobs of one client.
    #[arg(long, value_name = "N", default_value_t = Settings::default().queue_per_client as u32, value_parser = value_parser!(u32).range(1..))]
    queue_per_client: u32,
    /// What one client may store, MiB.
    #[arg(long, value_name = "MIB", default_value_t = Settings::default().quota_bytes >> 20, value_parser = value_parser!(u64).range(1..))]
    quota: u64,
    /// Hours until unused keys are removed.
    #[arg(long, value_name = "HOURS", default_value_t = Settings::default().keys_kept.as_secs() / 3600, value_parser = value_parser!(u64).range(1..=HOURS_MAX))]
    keep_keys: u64,
    /// Hours until ended jobs and their results are removed.
    #[arg(long, value_name = "HOURS", default_value_t = Settings::default().results_kept.as_secs() / 3600, value_parser = value_parser!(u64).range(1..=HOURS_MAX))]
    keep_results: u64,
    /// Requests a second of one client.
    #[arg(long, value_name = "N", default_value_t = Settings::default().requests_per_second, value_parser = rate)]
    rate: f64,
}

#[derive(clap::Args)]
struct TokenArguments {
    #[command(subcommand)]
    action: TokenAction,
}

#[derive(clap::Subcommand)]
enum TokenAction {
    /// Make a token for a client, and print it once.
    Add {
        /// Name of the client whose data the token reaches.
        client: String,
        /// What it allows: models, keys, jobs, metrics.
        #[arg(long, value_delimiter = ',', value_parser = scope, default_value = "models,keys,jobs")]
        scope: Vec<Scope>,
        /// Days until it expires (default: never).
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
        /// Data folder of the server.
        #[arg(long, value_name = "DIR", default_value = "service-data")]
        data: PathBuf,
        /// Write the token to this file, for its owner alone, in place of printing it.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// End a token, by its id.
    Revoke {
        /// Id, as `list` shows it.
        id: String,
        /// Data folder of the server.
        #[arg(long, value_name = "DIR", default_value = "service-data")]
        data: PathBuf,
    },
    /// List tokens, without their secrets.
    List {
        /// Data folder of the server.
        #[arg(long, value_name = "DIR", default_value = "service-data")]
        data: PathBuf,
    },
}

fn scope(name: &str) -> Result<Scope, String> {
    let names = || Scope::ALL.map(Scope::name).join(", ");
    Scope::of_name(name).ok_or_else(|| format!("is none of {}", names()))
}

fn rate(text: &str) -> Result<f64, String> {
    let wanted = || format!("is no number from {} to {}", RATES.start(), RATES.end());
    text.parse().ok().filter(|rate| RATES.contains(rate)).ok_or_else(wanted)
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    match &arguments.action {
        Some(Action::Token(a)) => token(&a.action),
        Some(Action::Openapi) => openapi(),
        None => serve(&arguments.serve, output),
    }
}

fn serve(arguments: &Serve, output: &Output) -> Result<Report, Error> {
    if arguments.models.is_empty() {
        return Err(Error::new(Kind::Usage, "serve", "no model is named")
            .remedy("name circuits (.loom), folders of them, or ONNX models"));
    }
    arguments.models.iter().try_for_each(|m| exists(m))?;
    service::log::set(match output.quiet {
        true => service::log::Verbosity::Quiet,
        false => service::log::Verbosity::Events,
    });
    let local = local_token(arguments, output)?;
    let models = arguments.models.iter().map(|m| circuit_of(m, &arguments.data, output));
    let mib = |n: u64| n.saturating_mul(1 << 20);
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let half = cipherloom::memory::machine_bytes().map_or(Settings::default().memory_bytes, |b| b / 2);
    let tls = arguments.tls_cert.clone().zip(arguments.tls_key.clone());
    let options = Options {
        models: models.collect::<Result<_, _>>()?,
        data: arguments.data.clone(),
        listen: arguments.listen,
        tls: tls.map(|(certificate, key)| Tls { certificate, key }),
        threads: rayon::current_num_threads(),
        settings: Settings {
            memory_bytes: arguments.memory.map_or(half, mib),
            queue: arguments.queue as usize,
            queue_per_client: arguments.queue_per_client as usize,
            quota_bytes: mib(arguments.quota),
            keys_kept: hours(arguments.keep_keys),
            results_kept: hours(arguments.keep_results),
            requests_per_second: arguments.rate,
            ..Settings::default()
        },
    };
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let (json, budget) = (output.json, bytes_text(options.settings.memory_bytes));
    let ready = |address: SocketAddr| {
        let url = format!("{scheme}://{address}");
        let line = match json {
            true => json!({ "listening": url, "token_file": local }).to_string(),
            false => {
                let token = local.map_or(String::new(), |t| format!(", token in {}", t.display()));
                format!("listening on {url}{token}, memory budget {budget}; end it with Ctrl-C")
            }
        };
        // A reader that has gone is no reason to end the server.
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    };
    service::serve(options, &SecurityPolicy::standard_128(), ready)
        .map_err(|e| start_error(&arguments.data, &e))?;
    Ok(Report::new("stopped".into(), json!({ "stopped": true })))
}

/// On loopback, a data folder without tokens gets one for this machine's user, in a file that only they read.
fn local_token(arguments: &Serve, output: &Output) -> Result<Option<PathBuf>, Error> {
    let place = arguments.data.join("local.token");
    if !arguments.listen.ip().is_loopback() {
        return Ok(None);
    }
    let wrong = |e: TokenError| token_error(&arguments.data, &e);
    let file = TokenFile::open(&arguments.data).map_err(wrong)?;
    if file.list().map_err(wrong)?.is_empty() {
        let (record, token) = file.add("local", &Scope::ALL, None).map_err(wrong)?;
        hand_over(&file, &record, &token, &place)?;
        output.step(&format!("made a token for this machine's user: {}", place.display()));
    }
    Ok(place.exists().then_some(place))
}

/// Writes a new token for its owner alone; one that could not be written does not stay valid.
fn hand_over(file: &TokenFile, record: &TokenRecord, token: &str, place: &Path) -> Result<(), Error> {
    files::write_bytes(place, Access::Owner, format!("{token}\n").as_bytes()).or_else(|e| {
        file.revoke(&record.id).map_err(|revoking| token_error(place, &revoking))?;
        Err(e)
    })
}

/// Refuses what is no file or folder, before anything is made; a subcommand after flags is taken for a model.
fn exists(model: &Path) -> Result<(), Error> {
    let subcommand = ["token", "openapi"].into_iter().find(|name| model.as_os_str() == *name);
    match (model.exists(), subcommand) {
        (true, _) => Ok(()),
        (false, Some(name)) => {
            Err(Error::new(Kind::Usage, name, "stands after a flag and is taken for a model; there is none")
                .remedy(format!("put the subcommand first: `cipherloom serve {name} … [flags]`")))
        }
        (false, None) => Err(Error::io(model, &std::io::ErrorKind::NotFound.into())
            .remedy("name circuits (.loom), folders of them, or ONNX models")),
    }
}

/// A circuit as it is; an ONNX model is compiled into the data folder.
fn circuit_of(path: &Path, data: &Path, output: &Output) -> Result<PathBuf, Error> {
    if path.extension().is_none_or(|e| e != "onnx") {
        return Ok(path.to_path_buf());
    }
    let name = path.file_stem().map_or("model".into(), |s| s.to_string_lossy().into_owned());
    output.step(&format!("compiling {}", path.display()));
    let compiled = Model::open(path)?.compile(&CompileOptions::default())?;
    let folder = data.join("compiled");
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, &e))?;
    let bytes = compiled.circuit.to_bytes();
    // Models of one name stand side by side.
    let place = folder.join(format!("{name}-{}.loom", Digest::of(&bytes).short()));
    files::write_bytes(&place, Access::Shared, &bytes)?;
    Ok(place)
}

fn token(action: &TokenAction) -> Result<Report, Error> {
    match action {
        TokenAction::Add { client, scope, days, data, output } => {
            let lifetime = days.map(|d| Duration::from_secs(u64::from(d) * 24 * 3600));
            let wrong = |e: TokenError| token_error(data, &e);
            let kept =
                ["tokens.json", "tokens.lock", "service.lock", "service.redb"].map(|name| data.join(name));
            files::check(&kept.each_ref().map(PathBuf::as_path), output.as_deref().as_slice())?;
            let file = TokenFile::open(data).map_err(wrong)?;
            let (record, token) = file.add(client, scope, lifetime).map_err(wrong)?;
            let mut facts = json!({ "id": record.id, "client": record.client, "scopes": record.scopes });
            let text = match output {
                Some(path) => {
                    hand_over(&file, &record, &token, path)?;
                    facts["token_file"] = json!(path);
                    format!("token {} for {client}: {}", record.id, path.display())
                }
                None => {
                    facts["token"] = json!(token);
                    token
                }
            };
            Ok(Report::new(text, facts).beside(output.as_deref().as_slice()))
        }
        TokenAction::Revoke { id, data } => {
            let wrong = |e: TokenError| token_error(data, &e);
            match TokenFile::existing(data).and_then(|f| f.revoke(id)).map_err(wrong)? {
                true => Ok(Report::new(format!("token {id} is revoked"), json!({ "revoked": id }))),
                false => Err(Error::new(Kind::Usage, id, "is no token of this data folder")
                    .remedy("see `cipherloom serve token list`")),
            }
        }
        TokenAction::List { data } => {
            let all = TokenFile::existing(data).and_then(|f| f.list()).map_err(|e| token_error(data, &e))?;
            let line = |t: &TokenRecord| {
                let scopes: Vec<&str> = t.scopes.iter().map(|s| s.name()).collect();
                format!("{}  {:<20} {}", t.id, t.client, scopes.join(","))
            };
            let facts: Vec<_> = all
                .iter()
                .map(|t| {
                    json!({ "id": t.id, "client": t.client, "scopes": t.scopes, "created_ms": t.created_ms,
                        "expires_ms": t.expires_ms })
                })
                .collect();
            let text = all.iter().map(line).collect::<Vec<_>>().join("\n");
            Ok(Report::new(text, json!({ "tokens": facts })))
        }
    }
}

fn openapi() -> Result<Report, Error> {
    let value =
        serde_json::to_value(service::openapi()).map_err(|e| Error::new(Kind::Internal, "openapi", e))?;
    Ok(Report::new(format!("{value:#}"), value))
}

fn token_error(data: &Path, error: &TokenError) -> Error {
    let of = |kind| Error::new(kind, data.display(), error);
    match error {
        TokenError::ClientName(_) => of(Kind::Usage),
        TokenError::NoTokens => of(Kind::Usage)
            .remedy("name the server's data folder with --data; `serve token add` makes the first token"),
        TokenError::Damaged(_) => of(Kind::BadInput)
            .remedy("copy tokens.json back from a backup, or remove it and make tokens anew"),
        TokenError::Io(_) | TokenError::Entropy => of(Kind::Resources),
    }
}

fn start_error(data: &Path, error: &StartError) -> Error {
    match error {
        StartError::Plain(address) => Error::new(Kind::Usage, address, error)
            .remedy("give --tls-cert and --tls-key, or listen on 127.0.0.1"),
        StartError::Tls { path, what } => {
            Error::new(Kind::BadInput, path, what).remedy("give PEM files of a certificate and its key")
        }
        StartError::Model(e) => Error::new(Kind::BadInput, e.path.display(), &e.what)
            .remedy("give circuits that `cipherloom compile` wrote"),
        StartError::Memory { .. } => Error::new(Kind::Resources, data.display(), error)
            .remedy("give --memory more, or leave the model out"),
        StartError::Token(e) => token_error(data, e),
        StartError::Listen(address, e) => {
            Error::new(Kind::Resources, address, format!("cannot be listened on: {e}"))
                .remedy("end what listens there, or give --listen another port (0: a free one)")
        }
        StartError::InUse => Error::new(Kind::Resources, data.display(), error)
            .remedy("end the other server, or give --data another folder"),
        StartError::Damaged { path, what } => Error::new(Kind::BadInput, path.display(), what).remedy(
            "copy the data folder back from a backup; or move this file away: clients register their keys again",
        ),
        StartError::Storage { path, what } => Error::new(Kind::Resources, path.display(), what)
            .remedy("free space, and see that the server's user may write there"),
        StartError::Io(_) => Error::new(Kind::Resources, data.display(), error),
    }
}
