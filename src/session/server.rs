//! The server's side: keys in memory or paged, encrypted inputs, evaluations, answers.

use crate::error::{Error, Kind};
use crate::files::{self, Access};
use cipherloom_ckks::{Ciphertext, Context, EvaluationKey};
use cipherloom_client::{EncryptedInput, FreshCiphertext};
use cipherloom_ir::{Digest, Verified};
use cipherloom_runtime::files::{FileError, read_keys};
use cipherloom_runtime::{
    Evaluator, KeySet, MemoryDemand, Options, Paging, RuntimeError, Silent, Trace, expanded_key_bytes,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The server's side of one circuit.
pub struct Server {
    place: String,
    /// Where keys came from, if that is a file.
    keys: Option<PathBuf>,
    digest: Digest,
    context: Arc<Context>,
    evaluator: Evaluator,
}

impl Server {
    /// Takes a verified circuit and its evaluation keys, in the circuit's order.
    pub fn new(
        place: &str,
        circuit: Verified,
        keys: Vec<EvaluationKey>,
        options: Options,
    ) -> Result<Server, Error> {
        refuse_too_large(place, &circuit, expanded_key_bytes(&circuit))?;
        Server::with_keys(place, circuit, options, |circuit, _, context| {
            KeySet::new(context, &circuit.keys, keys).map_err(|e| runtime_error(place, &e))
        })
    }

    /// The same with the keys from a file; `-` is standard input. Of the memory that is given, expanded keys take what is left
    /// beside everything else; where that is not enough for all of them, they are paged.
    pub fn open(
        place: &str,
        circuit: Verified,
        keys: &Path,
        options: Options,
        max_memory_bytes: Option<u64>,
    ) -> Result<Server, Error> {
        let demand = MemoryDemand::of(&circuit, options.plaintext_budget_bytes as u64);
        let stdin = keys.as_os_str() == "-";
        // What comes from standard input stands in memory whole, keys without the halves that their seeds stand for.
        let streamed = if stdin { demand.keys / 2 } else { 0 };
        let paged = max_memory_bytes.filter(|max| *max < demand.whole().saturating_add(streamed));
        let key_limit = paged.map(|max| key_limit(place, &demand, max)).transpose()?;
        refuse_too_large(place, &circuit, key_limit.unwrap_or(demand.keys))?;
        let open = || std::fs::File::open(keys).map_err(|e| Error::io(keys, &e));
        let read = |circuit: &Verified, digest: &Digest, context: &Arc<Context>| {
            if let Some(limit) = key_limit {
                cipherloom_ring::limit_idle_bytes(demand.idle_bytes() as usize);
                return KeySet::paged(open()?, circuit, digest, context, limit)
                    .map_err(|e| file_error(keys, &e));
            }
            let read = match stdin {
                true => read_keys(std::io::Cursor::new(files::read(keys)?), circuit, digest, context),
                false => {
                    let file = std::io::BufReader::with_capacity(1 << 20, open()?);
                    read_keys(file, circuit, digest, context)
                }
            };
            let read = read.map_err(|e| file_error(keys, &e))?;
            KeySet::new(context, &circuit.keys, read).map_err(|e| runtime_error(place, &e))
        };
        if stdin && key_limit.is_some() {
            let what = "keys on standard input cannot be read again, which --max-memory would need";
            return Err(Error::new(Kind::Usage, "-", what).remedy("give the keys as a file"));
        }
        let server = Server::with_keys(place, circuit, options, read)?;
        Ok(Server { keys: Some(keys.to_path_buf()), ..server })
    }

    fn with_keys(
        place: &str,
        circuit: Verified,
        options: Options,
        keys: impl FnOnce(&Verified, &Digest, &Arc<Context>) -> Result<KeySet, Error>,
    ) -> Result<Server, Error> {
        let digest = circuit.digest();
        let context = Evaluator::context(&circuit, &options).map_err(|e| runtime_error(place, &e))?;
        let keys = keys(&circuit, &digest, &context)?;
        let evaluator = Evaluator::with_keys(circuit, context.clone(), keys, options);
        Ok(Server { place: place.to_owned(), keys: None, digest, context, evaluator })
    }

    /// Bytes of all evaluation keys in memory, and how they were paged, if they were.
    pub fn paging(&self) -> (u64, Option<Paging>) {
        (expanded_key_bytes(self.evaluator.circuit()), self.evaluator.keys().paging())
    }

    fn run_error(&self, error: &RuntimeError) -> Error {
        match (error, &self.keys) {
            (RuntimeError::KeyPage { .. }, Some(path)) => runtime_error(&path.display().to_string(), error),
            _ => runtime_error(&self.place, error),
        }
    }

    /// Encodes the circuit's plaintexts.
    pub fn prepare(&mut self) -> Result<(), Error> {
        self.evaluator.prepare().map_err(|e| runtime_error(&self.place, &e))
    }

    /// Reads an encrypted input.
    pub fn read_input(&self, path: &Path) -> Result<Vec<Vec<Ciphertext>>, Error> {
        let bytes = files::read(path)?;
        let circuit = self.evaluator.circuit();
        cipherloom_runtime::files::read_inputs(&bytes, circuit, &self.digest, &self.context)
            .map_err(|e| file_error(path, &e))
    }

    /// Takes an encrypted input in memory, expanding its seeds.
    pub fn receive(&self, input: EncryptedInput) -> Result<Vec<Vec<Ciphertext>>, Error> {
        let circuit = self.evaluator.circuit();
        let expand = |c: FreshCiphertext| {
            c.expand(&self.context).map_err(|e| Error::new(Kind::BadInput, &self.place, e))
        };
        let mut ciphertexts = input.ciphertexts.into_iter().map(expand);
        let take = |i: &cipherloom_ir::InputSpec| {
            ciphertexts.by_ref().take(circuit.layout(i.layout).ciphertexts as usize).collect()
        };
        circuit.inputs.iter().map(take).collect()
    }

    /// Evaluates `repeat` times; the median time in seconds stands beside the answer. With `trace`, times per op of
    /// the last evaluation are written there.
    pub fn run(
        &mut self,
        input: &[Vec<Ciphertext>],
        repeat: u32,
        trace: Option<&Path>,
    ) -> Result<(Vec<Vec<Ciphertext>>, f64), Error> {
        let mut seconds = Vec::new();
        let mut answer = Vec::new();
        for last in (0..repeat.max(1)).rev() {
            let rows = Trace::default();
            let start = Instant::now();
            answer = match trace {
                Some(_) if last == 0 => self.evaluator.run(input, &rows),
                _ => self.evaluator.run(input, &Silent),
            }
            .map_err(|e| self.run_error(&e))?;
            seconds.push(start.elapsed().as_secs_f64());
            if let Some(path) = trace.filter(|_| last == 0) {
                let text =
                    serde_json::to_vec(&rows.rows()).map_err(|e| Error::new(Kind::Internal, "trace", e))?;
                files::write_bytes(path, Access::Shared, &text)?;
            }
        }
        seconds.sort_by(f64::total_cmp);
        Ok((answer, seconds[(seconds.len() - 1) / 2]))
    }

    /// Writes an answer.
    pub fn write_output(&self, path: &Path, answer: &[Vec<Ciphertext>]) -> Result<(), Error> {
        let bytes = std::io::Cursor::new(Vec::new());
        let bytes = cipherloom_runtime::files::write_outputs(bytes, &self.digest, &self.context, answer)
            .map_err(|e| file_error(path, &e))?;
        files::write_bytes(path, Access::Shared, bytes.get_ref())
    }
}

/// Bytes for expanded keys under a limit that is below what all of them would take.
fn key_limit(place: &str, demand: &MemoryDemand, max_memory_bytes: u64) -> Result<u64, Error> {
    demand.key_limit(max_memory_bytes).ok_or_else(|| {
        let MemoryDemand { largest_key, .. } = demand;
        let least = demand.least();
        let what = format!(
            "takes at least {least} bytes of memory with its keys paged ({} beside a key of {largest_key}), \
             --max-memory is {max_memory_bytes}",
            least - largest_key
        );
        Error::new(Kind::Resources, place, what)
            .remedy(format!("give --max-memory {least} or more, or less --plaintext-memory"))
    })
}

/// Refuses a circuit whose values, transforms of bootstrapping and so many bytes of keys exceed the memory of this machine.
fn refuse_too_large(place: &str, circuit: &Verified, keys: u64) -> Result<(), Error> {
    let transforms = circuit.bootstrap_plan().map_or(0, |plan| plan.plaintext_bytes());
    let needed = circuit.peak_value_bytes().saturating_add(keys).saturating_add(transforms);
    match crate::memory::machine_bytes().filter(|have| needed > *have) {
        Some(have) => Err(Error::new(
            Kind::Resources,
            place,
            format!("needs at least {needed} bytes for keys and values, this machine has {have}"),
        )
        .remedy("page the keys (`run --max-memory`), or run it on a larger machine")),
        None => Ok(()),
    }
}

fn runtime_error(place: &str, error: &RuntimeError) -> Error {
    let kind = match error {
        RuntimeError::KeyCount { .. } | RuntimeError::WrongKey { .. } => Kind::Mismatch,
        RuntimeError::InputCount { .. } | RuntimeError::WrongInput { .. } => Kind::Mismatch,
        RuntimeError::Parameters(_) | RuntimeError::Draft { .. } => Kind::BadInput,
        RuntimeError::KeyPage { .. } => {
            let remedy = "leave the file as it is while it is used, and run again; if it is damaged, make or transfer it again";
            return Error::new(Kind::Resources, place, error).remedy(remedy);
        }
        RuntimeError::Plaintext { .. } | RuntimeError::Engine { .. } => Kind::Internal,
    };
    Error::new(kind, place, error)
}

/// A file that the server refuses: foreign to the circuit, or broken.
fn file_error(path: &Path, error: &FileError) -> Error {
    use cipherloom_ir::container::ContainerError;
    let (kind, remedy) = match error {
        FileError::Container(ContainerError::Foreign { .. }) | FileError::Count { .. } => {
            (Kind::Mismatch, "use the files that were made with this circuit's manifest")
        }
        FileError::Container(ContainerError::Io(e)) => return Error::io(path, e),
        _ => (Kind::BadInput, "make or transfer the file again"),
    };
    Error::new(kind, path.display(), error).remedy(remedy)
}
