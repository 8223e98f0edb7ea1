//! The command line: arguments, dispatch, exit codes. Each subcommand is one file of one shape: `Arguments` and
//! `run`, which returns the report that is printed as text or, under `--json`, as one object.

mod check;
#[cfg(feature = "service")]
mod client;
mod compile;
mod decrypt;
mod doctor;
mod encrypt;
mod explain;
mod inspect;
mod keygen;
mod predict;
mod report;
mod run;
#[cfg(feature = "service")]
mod serve;
mod shell;

use cipherloom::{Error, Kind};
use clap::{Parser, Subcommand};
use report::{Output, Report};
use std::io::Write;
use std::process::ExitCode;

/// Most worker threads.
const THREADS_MAX: u16 = 1024;

/// Compiles CNNs to circuits that run on encrypted images.
#[derive(Parser)]
#[command(name = "cipherloom", version = version(), max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 2 usage, 3 bad input, 4 unsupported model \
    (of `check`: a circuit that does not follow its model), 5 files that do not belong together, 6 resources or I/O, 70 internal error.")]
pub(crate) struct Cli {
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Worker threads (default: RAYON_NUM_THREADS, else all cores).
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(THREADS_MAX)))]
    threads: Option<u16>,
    /// More about what is done, on standard error.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// No progress and no remarks.
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Classify one image end to end: compile, make keys, encrypt, run, decrypt.
    Predict(predict::Arguments),
    /// Turn an ONNX model into a circuit (for the server) and a manifest (for the client).
    Compile(compile::Arguments),
    /// Compare a model's circuit with the model on data: accuracy, layers, ranges.
    Check(check::Arguments),
    /// Show what a circuit or a manifest holds.
    Inspect(inspect::Arguments),
    /// Make a secret key and the evaluation keys that a manifest lists.
    Keygen(keygen::Arguments),
    /// Encrypt an image or array for a circuit.
    Encrypt(encrypt::Arguments),
    /// Evaluate a circuit on an encrypted input; needs no secret key.
    Run(run::Arguments),
    /// Decrypt the answer.
    Decrypt(decrypt::Arguments),
    /// Serve circuits to clients over HTTP, or manage their tokens; needs no secret key.
    #[cfg(feature = "service")]
    Serve(serve::Arguments),
    /// Use a server: set up, predict, see what it holds, make it forget; the secret key stays here.
    #[cfg(feature = "service")]
    Client(client::Arguments),
    /// Tell what this machine offers, and how far its speed is from the cost profile.
    Doctor(doctor::Arguments),
    /// Print shell completions.
    Completions(shell::CompletionArguments),
    /// Print the man page.
    Man(shell::ManArguments),
}

/// Parses the arguments, runs the subcommand, prints its report or error.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            // Help or version.
            return report::finish(e.print().and_then(|()| std::io::stdout().flush()), ExitCode::SUCCESS);
        }
        Err(e) => {
            let json = std::env::args_os().any(|a| a == "--json");
            if json {
                return Output { json, quiet: true, verbose: 0 }.error(&usage_error(&e));
            }
            let _ = e.print();
            return ExitCode::from(Kind::Usage.exit_code());
        }
    };
    let output = Output { json: cli.json, quiet: cli.quiet, verbose: cli.verbose };
    match run_on_pool(&cli, &output) {
        Ok(report) => output.report(&report),
        Err(error) => output.error(&error),
    }
}

/// Clap's message in the form of ours: its first paragraph says what is wrong, the others how it is used.
fn usage_error(error: &clap::Error) -> Error {
    let place = "command line";
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::new(Kind::Usage, place, "no subcommand is given").remedy("see `cipherloom --help`");
    }
    let text = error.to_string();
    let mut paragraphs = text
        .split("\n\n")
        .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|p| !p.is_empty());
    let what = paragraphs.next().unwrap_or_default();
    let remedy = paragraphs.collect::<Vec<_>>().join("; ");
    Error::new(Kind::Usage, place, what.strip_prefix("error: ").unwrap_or(&what)).remedy(remedy)
}

/// Refuses more threads from the environment, which rayon would obey, than `--threads` takes.
fn check_environment() -> Result<(), Error> {
    for name in ["RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS"] {
        let asked = std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
        if let Some(asked) = asked.filter(|n| *n > usize::from(THREADS_MAX)) {
            let what = format!("asks for {asked} threads, at most {THREADS_MAX} are taken");
            return Err(Error::new(Kind::Usage, name, what).remedy("give a smaller number, or --threads"));
        }
    }
    Ok(())
}

fn run_on_pool(cli: &Cli, output: &Output) -> Result<Report, Error> {
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = cli.threads {
        pool = pool.num_threads(usize::from(threads));
    } else {
        check_environment()?;
    }
    let pool = pool.build().map_err(|e| Error::new(Kind::Resources, "threads", e))?;
    // A panic is a bug of ours: it ends in exit code 70 and one line; the panic's own message stands above it.
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.install(|| dispatch(cli, output))));
    outcome.unwrap_or_else(|_| {
        Err(Error::new(Kind::Internal, "cipherloom", "internal error (the lines above say where)")
            .remedy("please report it with the command that caused it"))
    })
}

fn dispatch(cli: &Cli, output: &Output) -> Result<Report, Error> {
    match &cli.command {
        Command::Predict(a) => predict::run(a, output),
        Command::Compile(a) => compile::run(a, output),
        Command::Check(a) => check::run(a, output),
        Command::Inspect(a) => inspect::run(a),
        Command::Keygen(a) => keygen::run(a, output),
        Command::Encrypt(a) => encrypt::run(a, output),
        Command::Run(a) => run::run(a, output),
        Command::Decrypt(a) => decrypt::run(a),
        #[cfg(feature = "service")]
        Command::Serve(a) => serve::run(a, output),
        #[cfg(feature = "service")]
        Command::Client(a) => client::run(a, output),
        Command::Doctor(a) => doctor::run(a),
        Command::Completions(a) => shell::completions(a),
        Command::Man(a) => shell::man(a),
    }
}

/// Version with the commit it was built from (if the build knew it) and the kernel path of this CPU.
fn version() -> &'static str {
    static VERSION: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    VERSION.get_or_init(|| {
        let commit = option_env!("CIPHERLOOM_COMMIT").unwrap_or("unknown commit");
        format!("{} ({commit}, {:?} kernels)", env!("CARGO_PKG_VERSION"), cipherloom::ring::Path::best())
    })
}
