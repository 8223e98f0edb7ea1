//! What a subcommand prints: text for people, one JSON object for programs, errors with their remedy.

use cipherloom::{Error, Kind};
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Write};
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

    /// The same for a command whose result went to `output`.
    pub(super) fn beside(mut self, output: &std::path::Path) -> Report {
        self.aside = output.as_os_str() == "-";
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
            true => Value::Object(report.json.clone()).to_string(),
            false if report.text.is_empty() => return code,
            false => report.text.clone(),
        };
        let written = match report.aside {
            true => writeln!(std::io::stderr(), "{text}"),
            false => writeln!(std::io::stdout(), "{text}"),
        };
        match written {
            Ok(()) => code,
            Err(_) => ExitCode::from(6),
        }
    }

    /// Prints an error, on standard error (text) or standard output (JSON).
    pub(super) fn error(&self, error: &Error) -> ExitCode {
        if self.json {
            let _ = writeln!(std::io::stdout(), "{}", json!(error));
        } else {
            let mut err = std::io::stderr();
            let _ = writeln!(err, "error: {}: {}", error.place, error.what);
            if !error.remedy.is_empty() {
                let _ = writeln!(err, "  help: {}", error.remedy);
            }
        }
        ExitCode::from(error.kind.exit_code())
    }

    /// A remark on standard error.
    pub(super) fn remark(&self, text: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// A step of a longer command: a line where a person is watching, or with `--verbose`.
    pub(super) fn step(&self, text: &str) {
        if !self.quiet && !self.json && (self.verbose > 0 || std::io::stderr().is_terminal()) {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
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
    let columns = rows.iter().map(|r| r.as_ref().len()).max().unwrap_or(0);
    let width =
        |c: usize| rows.iter().filter_map(|r| Some(r.as_ref().get(c)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &R| {
        let cells = row.as_ref().iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
