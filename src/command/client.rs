//! `client`: a model at a server, from a home folder that alone has the secret key.

use super::decrypt::{Detail, answer_facts, answer_text};
use super::report::{Output, Report, bytes_text, line};
use cipherloom::ir::scheme::SecurityPolicy;
use cipherloom::remote::{self, Home, Passphrase, Progress, Remote, RemoteError, Server, Setup, Token};
use cipherloom::{Error, Kind, data, files, session};
use clap::value_parser;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest time that an answer can be waited for: a year.
const WAIT_SECONDS_MAX: u64 = 366 * 24 * 3600;

/// Arguments of `client`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Set up a home: make keys, and register the evaluation keys with the server. Goes on where it broke off.
    Init {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        target: Target,
    },
    /// Encrypt images, have the server evaluate them, decrypt the answers.
    Predict {
        /// Images or arrays (PNG, JPEG, npy, npz, IDX).
        #[arg(required = true)]
        images: Vec<PathBuf>,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        patience: Patience,
    },
    /// Show what the server holds of this client.
    Status {
        #[command(flatten)]
        place: Place,
    },
    /// Make the server delete all that it holds of this client, and remove the home's keys.
    Forget {
        #[command(flatten)]
        place: Place,
    },
    /// Serve a page for this machine's browser.
    Ui {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        patience: Patience,
        /// Port on 127.0.0.1 (default: a free one).
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
}

#[derive(clap::Args)]
struct Place {
    /// Home folder: secret key, manifest, server (default: CIPHERLOOM_HOME, else .cipherloom in the user's home).
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// File with the passphrase of the secret key (`-`: standard input; default: CIPHERLOOM_PASSPHRASE, else none).
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Patience {
    /// Seconds until an answer that does not come is given up, and its job cancelled.
    #[arg(long, value_name = "SECONDS", default_value_t = remote::RESULT_WAIT.as_secs(),
        value_parser = value_parser!(u64).range(1..=WAIT_SECONDS_MAX))]
    wait: u64,
}

/// Which server and model; sets up the home where that has not been done, and else changes its server, token and authority.
#[derive(clap::Args)]
struct Target {
    /// Address of the server, https://host:port (http:// on loopback; default: the home's, with its token and authority).
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// File with the token (default: CIPHERLOOM_TOKEN).
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// PEM file with the certificate that vouches for the server, in place of the public authorities.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Model: its name or the beginning of its digest, where the server offers several; the home's, where it has one.
    #[arg(long)]
    model: Option<String>,
    /// Manifest that the model's owner gave you; the home's, where it has one (default: the server's, pinned at the first
    /// meeting).
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

impl Place {
    fn home(&self) -> Result<Home, Error> {
        let given = self.home.clone().or_else(|| std::env::var_os("CIPHERLOOM_HOME").map(PathBuf::from));
        let user = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cipherloom"));
        let folder = given.or_else(user).ok_or_else(|| {
            Error::new(Kind::Usage, "home", "no home folder is known").remedy("give --home")
        })?;
        Ok(Home::at(&folder))
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, Error> {
        let (place, bytes) = match &self.passphrase_file {
            Some(path) => (path.display().to_string(), files::read_secret(path)?),
            None => match variable(PASSPHRASE)? {
                Some(text) => (PASSPHRASE.to_owned(), Zeroizing::new(text.into_bytes())),
                None => return Ok(None),
            },
        };
        Passphrase::new(&bytes).map(Some).map_err(|e| remote_error(e.at(place)))
    }

    /// The home as it is, or set up with what `target` names.
    fn open(&self, target: &Target, output: &Output) -> Result<Remote, Error> {
        let home = self.home()?;
        if !home.exists() || target.names_something() {
            return self.set_up(target, output);
        }
        let policy = SecurityPolicy::standard_128();
        Remote::open(&home, self.passphrase()?.as_ref(), &policy).map_err(remote_error)
    }

    fn set_up(&self, target: &Target, output: &Output) -> Result<Remote, Error> {
        let (home, passphrase) = (self.home()?, self.passphrase()?);
        let setup = Setup {
            server: target.server(&home)?,
            model: target.model.as_deref(),
            manifest: target.manifest.as_deref().map(files::read).transpose()?,
            passphrase: passphrase.as_ref(),
        };
        let policy = SecurityPolicy::standard_128();
        Remote::init(&home, setup, &policy, &|p| tell(output, p)).map_err(remote_error)
    }
}

impl Patience {
    fn apply(&self, remote: Remote) -> Remote {
        remote.wait_at_most(Duration::from_secs(self.wait))
    }
}

impl Target {
    fn names_something(&self) -> bool {
        let Target { server, token, ca, model, manifest } = self;
        server.is_some() || token.is_some() || ca.is_some() || model.is_some() || manifest.is_some()
    }

    /// The server that is named, or the home's with what is named instead. A home's token is for its own server alone.
    fn server(&self, home: &Home) -> Result<Server, Error> {
        let token = self.token.as_deref().map(token_file).transpose()?;
        let ca = self.ca.as_deref().map(files::read).transpose()?;
        match &self.server {
            Some(url) => {
                let token = token.map_or_else(token_variable, Ok)?;
                Ok(Server { url: url.clone(), token, ca })
            }
            None if home.exists() => {
                let known = home.server().map_err(remote_error)?;
                Ok(Server { url: known.url, token: token.unwrap_or(known.token), ca: ca.or(known.ca) })
            }
            None => Err(Error::new(Kind::Usage, home.folder().display(), "is not set up")
                .remedy("give --server and --token")),
        }
    }
}

const PASSPHRASE: &str = "CIPHERLOOM_PASSPHRASE";
const TOKEN: &str = "CIPHERLOOM_TOKEN";

fn token_file(path: &Path) -> Result<Token, Error> {
    let bytes = files::read_secret(path)?;
    Token::new(&String::from_utf8_lossy(&bytes)).map_err(|e| remote_error(e.at(path.display())))
}

fn token_variable() -> Result<Token, Error> {
    let text = variable(TOKEN)?.ok_or_else(|| {
        Error::new(Kind::Usage, "token", "none is given")
            .remedy("give --token FILE, or CIPHERLOOM_TOKEN in the environment")
    })?;
    Token::new(&text).map_err(|e| remote_error(e.at(TOKEN)))
}

/// A variable of the environment, if it is set.
fn variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::new(Kind::Usage, name, "is not UTF-8").remedy("give it in a file"))
        }
    }
}

/// Refuses standard input for two things at once.
fn refuse_shared_input(images: &[PathBuf], place: &Place, target: &Target) -> Result<(), Error> {
    let others = [&place.passphrase_file, &target.token, &target.ca, &target.manifest];
    let paths = images.iter().chain(others.into_iter().flatten());
    files::one_stream(&paths.map(PathBuf::as_path).collect::<Vec<_>>())
}

fn tell(output: &Output, progress: Progress) {
    match progress {
        Progress::Waiting => output.remark("waiting for another command that changes this home"),
        Progress::MakingKeys { keys } => output.step(&format!("making {keys} evaluation keys")),
        Progress::Sending { sent, of } => {
            output.step(&format!("sending keys: {} of {}", bytes_text(sent), bytes_text(of)));
        }
    }
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    match &arguments.action {
        Action::Init { place, target } => init(place, target, output),
        Action::Predict { images, place, target, patience } => {
            refuse_shared_input(images, place, target)?;
            predict(images, patience.apply(place.open(target, output)?), output)
        }
        Action::Status { place } => {
            let view = place.home()?.status().map_err(remote_error)?;
            let view = object(&view)?;
            Ok(Report::new(format!("{view:#}"), view))
        }
        Action::Forget { place } => {
            let gone = place.home()?.forget().map_err(remote_error)?;
            let text = format!("the server forgot {} sets of keys and {} jobs", gone.keys, gone.jobs);
            Ok(Report::new(text, object(&gone)?))
        }
        Action::Ui { place, target, patience, port } => {
            refuse_shared_input(&[], place, target)?;
            let remote = patience.apply(place.open(target, output)?);
            remote.ensure_registered(&|p| tell(output, p)).map_err(remote_error)?;
            let ready = |url: &str| {
                let line =
                    if output.json { json!({ "page": url }).to_string() } else { format!("open {url}") };
                let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes());
            };
            remote::ui::serve(remote, *port, ready).map_err(remote_error)?;
            Ok(Report::new(String::new(), json!({})))
        }
    }
}

fn init(place: &Place, target: &Target, output: &Output) -> Result<Report, Error> {
    refuse_shared_input(&[], place, target)?;
    let remote = place.set_up(target, output)?;
    let keys = remote.ensure_registered(&|p| tell(output, p)).map_err(remote_error)?;
    let (client, home) = (remote.client(), place.home()?);
    let (manifest, security) = (client.manifest(), client.security());
    let text = format!(
        "model {} ({}) at {}; log QP {} of at most {} for 128 bits\nhome {} (it holds the secret key: keep it)",
        line(&manifest.name),
        manifest.circuit.short(),
        remote.connection().url(),
        security.log_qp,
        security.bound,
        home.folder().display()
    );
    Ok(Report::new(
        text,
        json!({
            "model": manifest.name, "circuit": manifest.circuit, "keys": keys,
            "server": remote.connection().url(), "home": home.folder(),
            "log_qp": security.log_qp, "log_qp_bound": security.bound,
        }),
    ))
}

fn predict(images: &[PathBuf], remote: Remote, output: &Output) -> Result<Report, Error> {
    let manifest = remote.client().manifest();
    let name = &manifest.name;
    let input = manifest.inputs.first().ok_or_else(|| Error::new(Kind::BadInput, name, "has no input"))?;
    // All are read before the first is sent, so that no answer is lost by a file that cannot be read.
    let mut batches = Vec::new();
    for paths in images.chunks(manifest.batch() as usize) {
        let read = |path: &PathBuf| data::read_one(path, &input.layout.shape, 0);
        let samples = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let values = session::batch_values(name, &samples, &input.preprocessing, &input.layout)?;
        batches.push((paths, [values]));
    }
    let (mut lines, mut answers) = (Vec::new(), Vec::new());
    for (paths, values) in batches {
        let prediction = remote.predict(&values, &|p| tell(output, p)).map_err(remote_error)?;
        if !prediction.outside.is_empty() {
            let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
            output.remark(&format!(
                "warning: {} leaves the range of the model: do not trust the answer",
                names.join(", ")
            ));
        }
        let e = &prediction.exchange;
        for (path, outputs) in paths.iter().zip(&prediction.images) {
            lines.push(format!("{}: {}", path.display(), answer_text(outputs, Detail::Scores)));
            let mut facts = answer_facts(outputs, Detail::Scores);
            facts["image"] = json!(path);
            facts["outside_range"] = json!(!prediction.outside.is_empty());
            facts["exchange"] = json!(e);
            answers.push(facts);
        }
        lines.push(format!(
            "sent {}, received {}; encrypt {:.3} s, server {:.3} s, decrypt {:.3} s",
            bytes_text(e.upload_bytes),
            bytes_text(e.download_bytes),
            e.encrypt_s,
            e.server_s,
            e.decrypt_s
        ));
    }
    Ok(Report::new(lines.join("\n"), json!({ "answers": answers })))
}

/// What a server told, for the report.
fn object(told: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(told).map_err(|e| Error::new(Kind::Internal, "answer", e))
}

fn remote_error(e: RemoteError) -> Error {
    let kind = match e.kind {
        remote::Kind::Usage => Kind::Usage,
        remote::Kind::BadInput => Kind::BadInput,
        remote::Kind::Mismatch => Kind::Mismatch,
        remote::Kind::Resources => Kind::Resources,
        remote::Kind::Internal => Kind::Internal,
    };
    Error::new(kind, e.place, e.what).remedy(e.remedy)
}
