//! `docs/passes.md`, made from the tables of stages and laws.
//!
//! Relies on [`STAGES`] and on the tables beside the laws themselves. Promises: nothing is listed here that is not in
//! a table; a test compares the document.

use crate::saturate::packing::{demand, laws};
use crate::saturate::rescale;
use crate::saturate::rotation::rules;
use crate::stages::STAGES;
use std::fmt::Write;

/// One law as the document shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LawText {
    /// Its name.
    pub name: &'static str,
    /// What is found.
    pub left: &'static str,
    /// What is joined to it.
    pub right: &'static str,
    /// Under which condition.
    pub holds: &'static str,
}

const HEAD: &str = "# Stages and laws

Made from the tables in `compiler/src/stages.rs` and in `compiler/src/saturate/`:
`UPDATE_PASSES=1 cargo test -p cipherloom-compiler --test backend passes` rewrites this file.

`cipherloom compile model.onnx --print-after STAGE` shows what a stage leaves, with one line of costs at the end;
`--stop-after STAGE` ends there and writes no file; `--off STAGE` leaves one out. Every stage's result is checked: graphs
(`compiler/src/graph/verify.rs`), arranged networks (`compiler/src/packing/verify.rs`), circuits (`ir/src/verify.rs`); an error
names the stage.

## Stages

";

/// The whole document.
pub fn document() -> String {
    let mut out = HEAD.to_owned();
    out += "| stage | does | needs | leaves | when off |\n|---|---|---|---|---|\n";
    for s in STAGES {
        let off = s.off.unwrap_or("cannot be off");
        row(&mut out, &[s.name, s.does, s.needs, s.leaves, off]);
    }
    let tables: [(&str, &str, Vec<LawText>); 4] = [
        (
            "Logical laws of packing",
            "Different layers that compute the same tensors (`compiler/src/saturate/packing/laws.rs`).",
            laws::LOGICAL.iter().map(|l| l.text).collect(),
        ),
        (
            "Physical rules of packing",
            "How a demanded tensor in a layout is implemented, and what that demands in turn\n(`compiler/src/saturate/packing/demand.rs`).",
            demand::RULES.iter().map(|l| l.text).collect(),
        ),
        (
            "Rules of rotation",
            "How a map, a rotation of a fold or a sum of two maps is computed, and by which keys\n(`compiler/src/saturate/rotation/rules.rs`).",
            rules::RULES.iter().map(|l| l.text).collect(),
        ),
        (
            "Laws of rescale",
            "Equal operations; both sides have the same level, degree and exact scale\n(`compiler/src/saturate/rescale/laws.rs`).",
            rescale::laws::LAWS.iter().map(|l| l.text).collect(),
        ),
    ];
    for (title, about, laws) in tables {
        out += &format!("\n## {title}\n\n{about}\n\n| law | from | to | holds |\n|---|---|---|---|\n");
        for law in laws {
            row(&mut out, &[law.name, law.left, law.right, law.holds]);
        }
    }
    out
}

fn row(out: &mut String, cells: &[&str]) {
    writeln!(out, "| {} |", cells.join(" | ")).expect("strings take text");
}
