//! `client`: a model at a server, from a home folder that alone has the secret key.

use super::decrypt::{Detail, answer_facts, answer_text};
use super::report::{Output, Report, bytes_text};
use cipherloom::ir::scheme::SecurityPolicy;
use cipherloom::remote::{self, Home, Passphrase, Progress, Remote, RemoteError, Server, Setup, Token};
use cipherloom::{Error, Kind, data, files, session};
use serde_json::{Value, json};
use std::path::PathBuf;

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

/// Which server and model; sets up the home where that has not been done.
#[derive(clap::Args)]
struct Target {
    /// Address of the server, https://host:port (http:// on loopback).
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// File with the token (default: CIPHERLOOM_TOKEN).
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// PEM file with the certificate that vouches for the server, in place of the public authorities.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Model: its name or the beginning of its digest, where the server offers several.
    #[arg(long)]
    model: Option<String>,
    /// Manifest that the model's owner gave you (default: the server's, pinned at the first meeting).
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
        match &self.passphrase_file {
            Some(path) => Ok(Some(Passphrase::new(files::read(path)?))),
            None => Ok(std::env::var("CIPHERLOOM_PASSPHRASE").ok().map(|p| Passphrase::new(p.into_bytes()))),
        }
    }

    fn open(&self, target: &Target, output: &Output) -> Result<Remote, Error> {
        let (home, passphrase) = (self.home()?, self.passphrase()?);
        let policy = SecurityPolicy::standard_128();
        let server = match (&target.server, home.exists()) {
            (None, true) => {
                return Remote::open(&home, passphrase.as_ref(), &policy).map_err(remote_error);
            }
            (Some(url), _) => target.server(url)?,
            (None, false) => {
                return Err(Error::new(Kind::Usage, home.folder().display(), "is not set up")
                    .remedy("give --server and --token"));
            }
        };
        let setup = Setup {
            server,
            model: target.model.as_deref(),
            manifest: target.manifest.as_deref().map(files::read).transpose()?,
            passphrase: passphrase.as_ref(),
        };
        Remote::init(&home, setup, &policy, &|p| tell(output, p)).map_err(remote_error)
    }
}

impl Target {
    fn server(&self, url: &str) -> Result<Server, Error> {
        let token = match &self.token {
            Some(path) => String::from_utf8_lossy(&files::read(path)?).into_owned(),
            None => std::env::var("CIPHERLOOM_TOKEN").map_err(|_| {
                Error::new(Kind::Usage, "token", "none is given")
                    .remedy("give --token FILE, or CIPHERLOOM_TOKEN in the environment")
            })?,
        };
        let ca = self.ca.as_deref().map(files::read).transpose()?;
        Ok(Server { url: url.to_owned(), token: Token::new(&token), ca })
    }
}

fn tell(output: &Output, progress: Progress) {
    match progress {
        Progress::MakingKeys { keys } => output.step(&format!("making {keys} evaluation keys")),
        Progress::Sending { sent, of } => {
            output.step(&format!("sending keys: {} of {}", bytes_text(sent), bytes_text(of)));
        }
    }
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    match &arguments.action {
        Action::Init { place, target } => init(place, target, output),
        Action::Predict { images, place, target } => predict(images, place, target, output),
        Action::Status { place } => {
            let view = place.home()?.status().map_err(remote_error)?;
            Ok(Report::new(format!("{view:#}"), object(view)))
        }
        Action::Forget { place } => {
            let gone = place.home()?.forget().map_err(remote_error)?;
            let text = format!("the server forgot {} sets of keys and {} jobs", gone["keys"], gone["jobs"]);
            Ok(Report::new(text, object(gone)))
        }
        Action::Ui { place, target, port } => {
            let remote = place.open(target, output)?;
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
    let remote = place.open(target, output)?;
    let keys = remote.ensure_registered(&|p| tell(output, p)).map_err(remote_error)?;
    let (client, home) = (remote.client(), place.home()?);
    let (manifest, security) = (client.manifest(), client.security());
    let text = format!(
        "model {} ({}) at {}; log QP {} of at most {} for 128 bits\nhome {} (it holds the secret key: keep it)",
        manifest.name,
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

fn predict(images: &[PathBuf], place: &Place, target: &Target, output: &Output) -> Result<Report, Error> {
    files::one_stream(&images.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let remote = place.open(target, output)?;
    let manifest = remote.client().manifest();
    let input =
        manifest.inputs.first().ok_or_else(|| Error::new(Kind::BadInput, &manifest.name, "has no input"))?;
    let (mut lines, mut answers) = (Vec::new(), Vec::new());
    for paths in images.chunks(manifest.batch() as usize) {
        let read = |path: &PathBuf| data::read_one(path, &input.layout.shape, 0);
        let samples = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let values =
            vec![session::batch_values(&manifest.name, &samples, &input.preprocessing, &input.layout)?];
        let prediction = remote.predict(&values, &|p| tell(output, p)).map_err(remote_error)?;
        if !prediction.outside.is_empty() {
            let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
            output.remark(&format!(
                "warning: {} leaves the range of the model: do not trust the answer",
                names.join(", ")
            ));
        }
        let e = &prediction.exchange;
        for (path, scores) in paths.iter().zip(&prediction.scores) {
            lines.push(format!("{}: {}", path.display(), answer_text(scores, Detail::Scores)));
            let mut facts = answer_facts(scores, Detail::Scores);
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

/// A server's object, for the report.
fn object(value: Value) -> Value {
    if value.is_object() { value } else { json!({ "answer": value }) }
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
