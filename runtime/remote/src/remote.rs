//! One model at one server, from a home folder.
//!
//! Relies on [`Client`] for all that is secret. Promises: the secret key is on disk before any key made with it is sent; every
//! step of a set-up that broke off goes on where it was; nothing is sent to a server whose manifest is not the pinned one; what
//! the user names and the home does not have is an error; processes change a home one after the other.

use crate::connection::{Connection, Submission};
use crate::error::{Kind, RemoteError};
use crate::home::Home;
use crate::passphrase::Passphrase;
use crate::server::Server;
use cipherloom_client::{Client, OutsideRange, Scores, SecretKey};
use cipherloom_ir::printable::one_line;
use cipherloom_ir::scheme::SecurityPolicy;
use cipherloom_ir::wire::{ClientData, Forgotten};
use cipherloom_ir::{Digest, Manifest};
use serde::Serialize;
use std::io::Cursor;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a longer step tells of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// Waits for another process that changes the home.
    Waiting,
    /// Makes so many evaluation keys.
    MakingKeys {
        /// How many.
        keys: usize,
    },
    /// Sends evaluation keys.
    Sending {
        /// Bytes that have arrived.
        sent: u64,
        /// All bytes.
        of: u64,
    },
}

/// Hears of progress.
pub type Listener<'a> = &'a (dyn Fn(Progress) + Sync);

/// What a home is set up with.
pub struct Setup<'a> {
    /// The server.
    pub server: Server,
    /// Name of the model, or the beginning of its digest; needed where the server offers several.
    pub model: Option<&'a str>,
    /// The manifest's bytes as the model's owner gave them; else the server's are pinned.
    pub manifest: Option<Vec<u8>>,
    /// Seals the secret key's file, also one that was written without.
    pub passphrase: Option<&'a Passphrase>,
}

/// What a prediction took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exchange {
    /// The server's name of the job.
    pub job: String,
    /// Encrypted input, bytes.
    pub upload_bytes: u64,
    /// Encrypted output, bytes.
    pub download_bytes: u64,
    /// Encryption here, seconds.
    pub encrypt_s: f64,
    /// From sending to having the answer, seconds.
    pub server_s: f64,
    /// Evaluation, as the server tells, milliseconds.
    pub evaluation_ms: Option<f64>,
    /// Decryption here, seconds.
    pub decrypt_s: f64,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// For each image of the batch its decrypted outputs, in the manifest's order.
    pub images: Vec<Vec<Scores>>,
    /// Where the input left the range that the circuit was made for.
    pub outside: Vec<OutsideRange>,
    /// What it took.
    pub exchange: Exchange,
}

/// A model at a server, with this client's keys.
pub struct Remote {
    connection: Connection,
    home: Home,
    client: Client,
    secret: SecretKey,
    /// Digest of the file that the secret key was read from.
    secret_digest: Digest,
    /// The registered keys; changed when they have to be registered again.
    keys: Mutex<Option<Digest>>,
}

impl Remote {
    /// Sets up a home: pins the manifest, makes the secret key and the evaluation keys, and registers them. What an earlier
    /// try has done is kept, but for server, token and authority, which are taken from `setup`.
    pub fn init(
        home: &Home,
        setup: Setup<'_>,
        policy: &SecurityPolicy,
        listener: Listener<'_>,
    ) -> Result<Remote, RemoteError> {
        let Setup { server, model, manifest, passphrase } = setup;
        let connection = Connection::new(&server)?;
        home.create()?;
        let lock = home.lock(|| listener(Progress::Waiting))?;
        home.remove_temporary()?;
        let pinned = match home.manifest()? {
            Some(pinned) if manifest.as_ref().is_some_and(|given| *given != pinned) => {
                return Err(other_model(home, "is set up with another manifest than the given one"));
            }
            Some(pinned) => pinned,
            None => manifest.map_or_else(|| choose(&connection, model), Ok)?,
        };
        let client = client(&connection, &pinned, policy)?;
        let (circuit, name) = (client.manifest().circuit, &client.manifest().name);
        if let Some(wanted) = model.filter(|wanted| !fits(wanted, &circuit, name)) {
            let what = format!("is for model {name} ({}), not for {wanted}", circuit.short());
            return Err(other_model(home, &what));
        }
        check_server(&connection, &circuit, &pinned)?;
        home.pin_manifest(&pinned)?;
        if !home.has_secret() {
            let secret = client.generate_secret().map_err(|e| RemoteError::client("secret key", &e))?;
            // Before it stands here: keys of an earlier secret must never be used with it.
            home.forget_keys()?;
            home.write_secret(&client, &secret, passphrase)?;
        }
        let secret = home.secret(&client, passphrase)?;
        if let Some(passphrase) = passphrase {
            home.seal_secret(&client, &secret, passphrase)?;
        }
        let secret_digest = home.secret_digest()?;
        let keys = home.registered(&circuit)?;
        home.write(&server, &circuit, keys)?;
        drop(lock);
        let keys = Mutex::new(keys);
        let remote = Remote { connection, home: home.clone(), client, secret, secret_digest, keys };
        remote.ensure_registered(listener)?;
        Ok(remote)
    }

    /// Opens a home that has been set up.
    pub fn open(
        home: &Home,
        passphrase: Option<&Passphrase>,
        policy: &SecurityPolicy,
    ) -> Result<Remote, RemoteError> {
        let (server, circuit, keys) = home.read()?;
        let connection = Connection::new(&server)?;
        let pinned = home.manifest()?.ok_or_else(|| {
            RemoteError::new(Kind::BadInput, home.folder().display(), "has no manifest")
                .remedy("run `cipherloom client init` again")
        })?;
        let client = client(&connection, &pinned, policy)?;
        if client.manifest().circuit != circuit {
            let what = "manifest and client.json are of different circuits";
            return Err(RemoteError::new(Kind::Mismatch, home.folder().display(), what));
        }
        let (secret, secret_digest) = (home.secret(&client, passphrase)?, home.secret_digest()?);
        let keys = Mutex::new(keys);
        Ok(Remote { connection, home: home.clone(), client, secret, secret_digest, keys })
    }

    /// The same, but an answer is waited for so long ([`crate::RESULT_WAIT`] otherwise).
    pub fn wait_at_most(self, limit: Duration) -> Remote {
        Remote { connection: self.connection.wait_at_most(limit), ..self }
    }

    /// The client of the model.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The server.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The registered keys; registers them if they are not, or if the server no longer has them.
    pub fn ensure_registered(&self, listener: Listener<'_>) -> Result<Digest, RemoteError> {
        let mut known = self.keys.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(keys) = *known
            && self.holds(&keys)?
        {
            return Ok(keys);
        }
        let circuit = self.client.manifest().circuit;
        let _lock = self.home.lock(|| listener(Progress::Waiting))?;
        if self.home.secret_digest()? != self.secret_digest {
            let what = "was set up anew while this command ran";
            return Err(RemoteError::new(Kind::Mismatch, self.home.folder().display(), what)
                .remedy("start the command again"));
        }
        // Another process may have registered keys before it let this one go on.
        let noted = self.home.registered(&circuit)?;
        if let Some(keys) = noted.filter(|_| noted != *known)
            && self.holds(&keys)?
        {
            *known = noted;
            return Ok(keys);
        }
        let path = self.home.keys_path();
        if !path.exists() {
            listener(Progress::MakingKeys { keys: self.client.key_shapes().len() });
            self.home.write_keys(&self.client, &self.secret)?;
        }
        let mut progress = |sent, of| listener(Progress::Sending { sent, of });
        let keys = self.connection.register(&circuit, &path, &mut progress)?;
        self.home.note_keys(keys)?;
        *known = Some(keys);
        Ok(keys)
    }

    /// Whether the server still has these keys.
    fn holds(&self, keys: &Digest) -> Result<bool, RemoteError> {
        Ok(self.connection.data()?.keys.iter().any(|k| k.digest == *keys && k.complete))
    }

    /// Encrypts preprocessed elements (one slice an input, row-major, the images of a batch one after the other), has the
    /// server evaluate, decrypts.
    pub fn predict(&self, inputs: &[Vec<f64>], listener: Listener<'_>) -> Result<Prediction, RemoteError> {
        let wrong = |e| RemoteError::client("input", &e);
        let outside = self.client.outside_range(inputs);
        let known = *self.keys.lock().unwrap_or_else(|e| e.into_inner());
        let keys = known.map_or_else(|| self.ensure_registered(listener), Ok)?;
        let start = Instant::now();
        let encrypted = self.client.encrypt(&self.secret, inputs).map_err(wrong)?;
        let mut input = Cursor::new(Vec::new());
        self.client.write_input(&encrypted, &mut input).map_err(wrong)?;
        let input = input.into_inner();
        let encrypt_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let (job, answer, evaluation_ms) = match self.evaluate(keys, &input) {
            // The server no longer has the keys (they expire): they are made and sent again.
            Err(e) if e.kind == Kind::Mismatch && e.place == "keys" => {
                self.evaluate(self.ensure_registered(listener)?, &input)?
            }
            other => other?,
        };
        let server_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let wrong = |e| RemoteError::client("answer", &e);
        let download_bytes = answer.len() as u64;
        let answer = self.client.read_output(Cursor::new(answer)).map_err(wrong)?;
        let mut scores = self.client.decrypt(&self.secret, &answer).map_err(wrong)?;
        // Labels are words of whoever made the manifest.
        scores.iter_mut().filter_map(|s| s.label.as_mut()).for_each(|label| *label = one_line(label));
        let exchange = Exchange {
            job,
            upload_bytes: input.len() as u64,
            download_bytes,
            encrypt_s,
            server_s,
            evaluation_ms,
            decrypt_s: start.elapsed().as_secs_f64(),
        };
        Ok(Prediction { images: self.client.by_image(scores), outside, exchange })
    }

    /// Has the server evaluate a file of encrypted inputs.
    fn evaluate(&self, keys: Digest, input: &[u8]) -> Result<(String, Vec<u8>, Option<f64>), RemoteError> {
        let mut name = [0; 16];
        getrandom::fill(&mut name)
            .map_err(|_| RemoteError::new(Kind::Resources, "request", "the system gives no randomness"))?;
        let idempotency: String = name.iter().map(|b| format!("{b:02x}")).collect();
        let model = self.client.manifest().circuit;
        let job = self.connection.submit(&Submission { model, keys, input, idempotency: &idempotency })?;
        if (job.model, job.keys, job.input) != (model, keys, Digest::of(input)) {
            let what = "the server accepted another job than was submitted";
            return Err(RemoteError::new(Kind::Mismatch, self.connection.url(), what));
        }
        let (answer, evaluation_ms) = self.connection.result(&job.id)?;
        Ok((job.id, answer, evaluation_ms))
    }

    /// What the server holds of this client.
    pub fn status(&self) -> Result<ClientData, RemoteError> {
        self.connection.data()
    }
}

impl Home {
    /// What the server holds of this client; needs no secret key.
    pub fn status(&self) -> Result<ClientData, RemoteError> {
        Connection::new(&self.server()?)?.data()
    }

    /// Makes the server delete all that it holds of this client, then removes what stands here, the secret key with it.
    pub fn forget(&self) -> Result<Forgotten, RemoteError> {
        // Without a home there is nothing to lock; while waiting, another command may set it up for another server.
        self.server()?;
        let _lock = self.lock(|| ())?;
        let connection = Connection::new(&self.server()?)?;
        let gone = connection.forget()?;
        self.remove()?;
        Ok(gone)
    }
}

/// A client that holds the manifest against the policy itself.
fn client(connection: &Connection, pinned: &[u8], policy: &SecurityPolicy) -> Result<Client, RemoteError> {
    let place = format!("manifest from {}", connection.url());
    let manifest = Manifest::from_bytes(pinned).map_err(|e| RemoteError::new(Kind::BadInput, &place, e))?;
    Client::on_this_cpu(manifest, policy)
        .map_err(|e| RemoteError::client(&place, &e).remedy("take a model whose compiler enforces 128 bits"))
}

/// Whether a user means this model: by its name, or the beginning of its digest.
fn fits(wanted: &str, circuit: &Digest, name: &str) -> bool {
    name == wanted || wanted.len() >= 8 && circuit.to_string().starts_with(wanted)
}

/// The refusal of a home that is for another model than the user names.
fn other_model(home: &Home, what: &str) -> RemoteError {
    RemoteError::new(Kind::Mismatch, home.folder().display(), what)
        .remedy("use a new home (--home) for another model, or leave --model and --manifest away")
}

/// The manifest of the model that was asked for.
fn choose(connection: &Connection, wanted: Option<&str>) -> Result<Vec<u8>, RemoteError> {
    let models = connection.models()?;
    let names: Vec<&str> = models.iter().map(|m| m.name.as_str()).collect();
    let mut matching = models.iter().filter(|m| wanted.is_none_or(|w| fits(w, &m.id, &m.name)));
    match (matching.next(), matching.next()) {
        (Some(model), None) => connection.manifest(&model.id),
        (None, _) => Err(RemoteError::new(Kind::Mismatch, connection.url(), "has no such model")
            .remedy(&format!("it offers {}", names.join(", ")))),
        (Some(_), Some(_)) => {
            Err(RemoteError::new(Kind::Usage, connection.url(), "offers several models that fit")
                .remedy(&format!("choose one with --model: {}", names.join(", "))))
        }
    }
}

/// Refuses a server that does not have the pinned circuit, or describes it otherwise.
fn check_server(connection: &Connection, circuit: &Digest, pinned: &[u8]) -> Result<(), RemoteError> {
    let theirs = connection.manifest(circuit).map_err(|e| {
        let e = e.at(connection.url());
        match e.kind {
            Kind::Mismatch => RemoteError { what: "does not serve the pinned model".into(), ..e }
                .remedy("start over in a new home (--home) to use what it serves now"),
            _ => e,
        }
    })?;
    match theirs == pinned {
        true => Ok(()),
        false => {
            let what = "describes the model otherwise than the pinned manifest";
            Err(RemoteError::new(Kind::Mismatch, connection.url(), what)
                .remedy("do not send it anything; ask the model's owner for the manifest"))
        }
    }
}
