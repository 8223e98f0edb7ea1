//! The ONNX backend tests: which there are, how one is judged, and the committed lists of those that pass.
//!
//! Needs the data folder (`CIPHERLOOM_DATA`, else `../shared/data` beside the workspace) and the system's `tar` with xz;
//! without them there are no tests to judge, and a message says so. A test passes when every output is within
//! [`RELATIVE_TOLERANCE`] (ONNX's own) and [`ABSOLUTE_TOLERANCE`] of what it expects. It is judged by the exact slots of
//! the draft circuit, else, where no draft can be packed, by the exact meaning of the tensor graph; the list names which.

use cipherloom_compiler::frontend::{FirstAxis, LoadOptions, Model, TensorFile, load_bytes};
use cipherloom_compiler::graph::evaluate;
use cipherloom_compiler::{CompileOptions, Packing, Purpose, compile};
use cipherloom_ir::Exact;
use ndarray::ArrayD;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Largest error relative to an expected value.
pub const RELATIVE_TOLERANCE: f64 = 1e-3;
/// Largest error that is always allowed: expected values are float32.
pub const ABSOLUTE_TOLERANCE: f64 = 1e-5;

/// Elements of all tensors of a test that is drafted, so that all tests take a minute.
pub const MAX_ELEMENTS: usize = 1 << 10;
/// Ring degree of drafts: small tensors need few slots.
const LOG_N: u32 = 12;

/// What a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Linear maps, shapes, polynomials.
    Linear,
    /// A function that is no polynomial; drafts hold it exactly.
    NonPolynomial,
}

impl Tier {
    pub const ALL: [Tier; 2] = [Tier::Linear, Tier::NonPolynomial];

    /// Name of its committed list, and of its rows.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Linear => "linear",
            Tier::NonPolynomial => "nonpoly",
        }
    }
}

/// By which meaning a test passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// The exact slots of the draft circuit.
    Circuit,
    /// The exact meaning of the tensor graph.
    Graph,
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Meaning::Circuit => "circuit",
            Meaning::Graph => "graph",
        })
    }
}

/// One test.
#[derive(Clone, Debug)]
pub struct Case {
    /// Suite and name.
    pub name: String,
    /// ONNX operators that it tests.
    pub operators: String,
    pub tier: Tier,
    folder: PathBuf,
}

/// How a test went: the meaning by which it passes, or why it does not.
pub type Verdict = Result<Meaning, String>;

fn workspace() -> PathBuf {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut roots = folders.filter(|folder| folder.join("benches/results").is_dir());
    roots.next().expect("the workspace holds benches/results").to_owned()
}

/// The tests of both tiers, unpacked below `scratch`; none, with a message, where the machine does not have them.
pub fn cases(scratch: &Path) -> Option<Vec<Case>> {
    let data =
        std::env::var_os("CIPHERLOOM_DATA").map_or_else(|| workspace().join("../shared/data"), PathBuf::from);
    let (archive, index) = (data.join("onnx-backend-tests-cnn.tar.xz"), data.join("onnx-node-tests.txt"));
    let Ok(index) = std::fs::read_to_string(&index) else {
        eprintln!("skipped: {} is absent (set CIPHERLOOM_DATA)", index.display());
        return None;
    };
    std::fs::create_dir_all(scratch).expect("the folder for scratch is writable");
    let tar = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(scratch).status();
    if !tar.as_ref().is_ok_and(|status| status.success()) {
        eprintln!("skipped: `tar -xJf {}` does not work here ({tar:?})", archive.display());
        return None;
    }
    Some(listed(&index, &scratch.join("onnx-backend-tests")))
}

/// The index: headers `## suite S, tier T …`, lines `Operators (count): names`, marks for what is not float32 inference.
fn listed(index: &str, folder: &Path) -> Vec<Case> {
    let mut place: Option<(String, Tier)> = None;
    let mut out = Vec::new();
    for line in index.lines() {
        if let Some(header) = line.strip_prefix("## suite ") {
            let (suite, rest) = header.split_once(", tier ").unwrap_or((header, ""));
            let tier = match rest.chars().next() {
                Some('1') => Some(Tier::Linear),
                Some('2') => Some(Tier::NonPolynomial),
                _ => None,
            };
            place = tier.map(|tier| (suite.to_owned(), tier));
        } else if let (Some((suite, tier)), Some((operators, names))) = (&place, line.split_once(": ")) {
            let operators = operators.split(" (").next().unwrap_or(operators);
            for name in names.split_whitespace().filter(|name| !name.ends_with(']')) {
                out.push(Case {
                    name: format!("{suite}/{name}"),
                    operators: operators.to_owned(),
                    tier: *tier,
                    folder: folder.join(suite).join(name),
                });
            }
        }
    }
    out
}

/// Judges all, in order.
pub fn judge_all(cases: &[Case]) -> Vec<Verdict> {
    let one = |case: &Case| {
        let found = catch_unwind(AssertUnwindSafe(|| judge(case)));
        found.unwrap_or_else(|_| Err("the compiler panicked".into()))
    };
    cases.par_iter().map(one).collect()
}

fn tensors(case: &Case, kind: &str) -> Result<Vec<TensorFile>, String> {
    let mut out = Vec::new();
    loop {
        let path = case.folder.join(format!("test_data_set_0/{kind}_{}.pb", out.len()));
        if !path.exists() {
            return Ok(out);
        }
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        out.push(TensorFile::read(&bytes).map_err(|e| format!("{kind} {}: {e}", out.len()))?);
    }
}

/// A test's model, its input and the outputs that it expects.
pub struct Loaded {
    pub model: Model,
    pub input: ArrayD<f32>,
    pub expected: Vec<Vec<f64>>,
}

/// Reads a test; all inputs but the first are bound.
pub fn load(case: &Case) -> Result<Loaded, String> {
    let mut inputs = tensors(case, "input")?.into_iter();
    let input = inputs.next().and_then(|t| t.floats()).ok_or("its first input is not float32")?;
    let expected: Vec<Vec<f64>> = tensors(case, "output")?
        .iter()
        .map(|t| Some(t.floats()?.iter().map(|v| f64::from(*v)).collect()))
        .collect::<Option<_>>()
        .ok_or("an output is not float32")?;
    let options = LoadOptions {
        first_axis: FirstAxis::Data,
        input_shape: Some(input.shape().to_vec()),
        bound: (1..).zip(inputs).collect(),
        ..LoadOptions::default()
    };
    let file = case.folder.join("model.onnx");
    let bytes = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let model = load_bytes(&bytes, &options).map_err(|e| e.to_string())?;
    Ok(Loaded { model, input, expected })
}

fn judge(case: &Case) -> Verdict {
    let Loaded { model, input, expected } = load(case)?;
    let x: Vec<f64> = input.iter().map(|v| f64::from(*v)).collect();
    let values = evaluate::graph(&model.graph, &x);
    let graph: Vec<Vec<f64>> =
        model.graph.outputs.iter().map(|o| values[o.node.0 as usize].clone()).collect();
    agree("the tensor graph", &graph, &expected)?;
    match slots(&model, x) {
        Ok(found) => agree("the draft circuit", &found, &expected).map(|()| Meaning::Circuit),
        Err(_) => Ok(Meaning::Graph),
    }
}

/// The exact slots of the draft circuit's outputs, or why there is no draft.
fn slots(model: &Model, x: Vec<f64>) -> Result<Vec<Vec<f64>>, String> {
    let elements = |id| model.graph.node(id).shape.iter().map(|d| *d as usize).product::<usize>();
    let total: usize = model.graph.order().map(elements).sum();
    if total > MAX_ELEMENTS {
        return Err(format!("its tensors have {total} elements together"));
    }
    let packing = Packing::Multiplexed;
    let options =
        CompileOptions { purpose: Purpose::Draft, packing, log_n: Some(LOG_N), ..CompileOptions::default() };
    let circuit = compile(&model.graph, &options).map_err(|e| e.to_string())?.circuit;
    let exact = Exact::new(&circuit).map_err(|e| e.to_string())?;
    exact.run(&circuit, &[x]).map_err(|e| e.to_string())
}

fn agree(whose: &str, found: &[Vec<f64>], expected: &[Vec<f64>]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{whose} has {} outputs, the test {}", found.len(), expected.len()));
    }
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        if found.len() != expected.len() {
            return Err(format!("{whose}: output {k} has {} values, not {}", found.len(), expected.len()));
        }
        for (at, (f, e)) in found.iter().zip(expected).enumerate() {
            let close = (f - e).abs() <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * e.abs();
            if !close {
                return Err(format!("{whose}: value {at} of output {k} is {f}, not {e}"));
            }
        }
    }
    Ok(())
}

fn list_path(tier: Tier) -> PathBuf {
    workspace().join(format!("compiler/tests/conformance/{}.txt", tier.name()))
}

/// The committed list of a tier: test and meaning.
pub fn committed(tier: Tier) -> BTreeMap<String, Meaning> {
    let text = std::fs::read_to_string(list_path(tier)).unwrap_or_default();
    let entry = |line: &str| {
        let (name, meaning) = line.split_once(' ')?;
        let all = [Meaning::Circuit, Meaning::Graph];
        let meaning = all.into_iter().find(|m| m.to_string() == meaning)?;
        Some((name.to_owned(), meaning))
    };
    text.lines().map(|l| entry(l).unwrap_or_else(|| panic!("{l}: not `TEST circuit|graph`"))).collect()
}

/// Writes a list.
pub fn commit(tier: Tier, list: &BTreeMap<String, Meaning>) {
    let lines: String = list.iter().map(|(name, meaning)| format!("{name} {meaning}\n")).collect();
    std::fs::write(list_path(tier), lines).expect("the list of passing tests is writable");
}
