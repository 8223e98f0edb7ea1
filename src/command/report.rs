//! What a subcommand prints: text for people, one JSON object for programs, errors with their remedy.

use cipherloom::ir::printable::lines;
pub(super) use cipherloom::ir::printable::one_line as line;
use cipherloom::{Error, Kind, files};
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// The outcome of a subcommand.
pub(super) struct Report {
    /// Text for people, without a trailing newline; empty prints nothing.
    pub(super) text: String,
    /// The same for programs.
    pub(super) json: Map<String, Value>,
    /// Standard output carries the result itself: the report goes to standard error.
    pub(super) aside: bool,
    /// What the report itself says is wrong: it decides the exit code.
    pub(super) verdict: Option<Kind>,
}

impl Report {
    pub(super) fn new(text: String, json: Value) -> Report {
        let Value::Object(json) = json else { unreachable!("reports are JSON objects") };
        Report { text, json, aside: false, verdict: None }
    }

    /// The same with the exit code of what it says is wrong.
    pub(super) fn ending_with(self, verdict: Option<Kind>) -> Report {
        Report { verdict, ..self }
    }

    /// The same for a command whose results went to `outputs`.
    pub(super) fn beside(mut self, outputs: &[&Path]) -> Report {
        self.aside = outputs.iter().any(|path| files::is_stdout(path));
        self
    }
}

/// How to print.
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: u8,
}

impl Output {
    /// Prints a report and ends with code 0, or that of its verdict (or 6 if standard output cannot be written).
    pub(super) fn report(&self, report: &Report) -> ExitCode {
        let code = report.verdict.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code()));
        let text = match self.json {
            true => line(&Value::Object(report.json.clone()).to_string()),
            false if report.text.is_empty() => return code,
            false => lines(&report.text),
        };
        match report.aside {
            true => finish(writeln!(std::io::stderr(), "{text}"), code),
            false => finish(writeln!(std::io::stdout(), "{text}"), code),
        }
    }

    /// Prints an error, on standard error (text) or standard output (JSON).
    pub(super) fn error(&self, error: &Error) -> ExitCode {
        if self.json {
            let _ = writeln!(std::io::stdout(), "{}", line(&json!(error).to_string()));
        } else {
            print_error(error);
        }
        ExitCode::from(error.kind.exit_code())
    }

    /// A remark on standard error, one line.
    pub(super) fn remark(&self, text: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(std::io::stderr(), "{}", line(text));
        }
    }

    /// A step of a longer command: a line where a person is watching, or with `--verbose`.
    pub(super) fn step(&self, text: &str) {
        if !self.quiet && !self.json && (self.verbose > 0 || std::io::stderr().is_terminal()) {
            let _ = writeln!(std::io::stderr(), "{}", lines(text));
        }
    }
}

/// The exit code of a command whose report has been written, or of one whose report could not be.
pub(super) fn finish(written: std::io::Result<()>, code: ExitCode) -> ExitCode {
    let Err(e) = written else { return code };
    let error = files::unwritable("standard output".as_ref(), &e);
    // Whoever has closed a pipe wants to hear no more.
    if e.kind() != std::io::ErrorKind::BrokenPipe {
        print_error(&error);
    }
    ExitCode::from(error.kind.exit_code())
}

fn print_error(error: &Error) {
    let mut err = std::io::stderr();
    let _ = writeln!(err, "error: {}: {}", line(&error.place), lines(&error.what));
    if !error.remedy.is_empty() {
        let _ = writeln!(err, "  help: {}", line(&error.remedy));
    }
}

/// Bytes for people.
pub(super) fn bytes_text(bytes: u64) -> String {
    match bytes {
        b if b < 10_000 => format!("{b} B"),
        b if b < 10_000_000 => format!("{:.1} kB", b as f64 / 1e3),
        b if b < 10_000_000_000 => format!("{:.1} MB", b as f64 / 1e6),
        b => format!("{:.1} GB", b as f64 / 1e9),
    }
}

/// Rows of cells as columns of equal width, two spaces apart, one line each.
pub(super) fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|r| r.as_ref().iter().map(|c| line(c)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| Some(r.get(c)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
