//! The verifier: the laws of circuits, one function per law, in the order of this list.
//!
//! 1. **Bounds**: every table and list is within its named bound ([`bounds`]); inputs, and outputs, have names of their own.
//! 2. **Parameters**: ring degree supported; primes usable, distinct; canonical scales sane (`parameters`).
//! 3. **Keys**: sorted, distinct; level, gadget and step exist (`parameters`).
//! 4. **Security**: the policy allows ring degree and modulus, counted over the largest key (not for drafts).
//! 5. **Tensors**: values fill the shape and are finite (`tables`).
//! 6. **Layouts**: cover their axes, stay inside, no two elements or copies in one slot; slots are the ring's; equally many
//!    images in all.
//! 7. **Maps**: operators compose, weights fit, layouts fit.
//! 8. **Inputs**: layouts exist, preprocessing is finite and divides by no zero.
//! 9. **Order**: operands stand before their use, values are numbered consecutively, origins exist.
//! 10. **Operations**: levels, degrees and scales, exactly, row by row of the specification (`value`, `plan`), and
//!     in bits (`sizes`, not for drafts). Exact functions stand only in drafts. A plan has one product for every
//!     diagonal of its maps and no other (`support`, where the map's structure tells without its weights).
//! 11. **Outputs**: one canonical value per ciphertext of the layout, all at one level; labels fit.
//! 12. **Records**: certificate and forecast are finite; a forecast takes no negative time.
//! 13. **Uses**: every key is used.
//! 14. **Memory**: the ciphertexts alive at once stay within a bound (`memory`).
//! 15. **Bootstrapping**: what the circuit asks for has a plan of all slots, whose parameters the circuit has and whose keys it lists
//!     (`bootstrap`).
//!
//! Not checked: that slots which are bootstrapped are within its bound; that the gaps of every value hold what its layout says, and that a fold is gathered before its result
//! is read; the compiler's tests compare meanings for that.
//!
//! Broken laws are collected, with their places; an operation on a value whose own operation is broken is not
//! reported again. Promises: a [`Verified`] circuit can be executed without a panic, in bounded memory.

mod bootstrap;
pub mod bounds;
mod error;
mod manifest;
mod memory;
mod parameters;
mod plan;
mod sizes;
mod support;
mod tables;
mod value;

use crate::circuit::{Circuit, Node};
use crate::op::{Op, ValueId};
use crate::scheme::{BootstrapPlan, SecurityPolicy};
pub use bootstrap::MAX_FACTOR_DIAGONALS;
pub(crate) use bootstrap::uses as bootstraps;
pub use error::LawError;
pub(crate) use error::{entry, shown};
pub use parameters::check_key_spec;
pub(crate) use value::check_output_values;
pub use value::{Degree, MAX_PRODUCT_TERMS, MAX_SCALE_EXPONENT, ValueType, result_types};

use sizes::Sizes;
use std::fmt;
use std::ops::Deref;
use support::Supports;

/// Most violations that one report lists.
pub const MAX_VIOLATIONS: usize = 32;

/// Where a law is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The circuit as a whole.
    Circuit,
    /// Its parameters.
    Parameters,
    /// How it bootstraps.
    Bootstrap,
    /// A key.
    Key(usize),
    /// A tensor.
    Tensor(usize),
    /// A layout.
    Layout(usize),
    /// A map.
    Map(usize),
    /// An input.
    Input(usize),
    /// A node.
    Node {
        /// Its number.
        index: usize,
        /// Its operation.
        op: &'static str,
        /// The layer of the model that it belongs to.
        origin: String,
    },
    /// An output.
    Output(usize),
    /// An entry of the certificate.
    Certificate(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Circuit => f.write_str("circuit"),
            Place::Parameters => f.write_str("parameters"),
            Place::Bootstrap => f.write_str("bootstrapping"),
            Place::Key(k) => write!(f, "key k{k}"),
            Place::Tensor(k) => write!(f, "tensor {k}"),
            Place::Layout(k) => write!(f, "layout {k}"),
            Place::Map(k) => write!(f, "map {k}"),
            Place::Input(k) => write!(f, "input {k}"),
            Place::Node { index, op, origin } if origin.is_empty() => write!(f, "node {index} ({op})"),
            Place::Node { index, op, origin } => write!(f, "node {index} ({op}, layer '{origin}')"),
            Place::Output(k) => write!(f, "output {k}"),
            Place::Certificate(k) => write!(f, "certificate {k}"),
        }
    }
}

/// A broken law and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Where.
    pub place: Place,
    /// Which law, expected and found.
    pub law: LawError,
}

/// Why a circuit is not verified: all violations found, up to [`MAX_VIOLATIONS`].
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyError {
    /// At least one, in the order of the laws.
    pub violations: Vec<Violation>,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, Violation { place, law }) in self.violations.iter().enumerate() {
            let separator = if k > 0 { "\n" } else { "" };
            write!(f, "{separator}{place}: {law}")?;
        }
        Ok(())
    }
}

impl std::error::Error for VerifyError {}

/// A circuit that obeys every law; only this can be run. Nothing but the verifier makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    circuit: Circuit,
    known: Known,
}

/// What the verifier finds out.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    types: Vec<ValueType>,
    bootstrap: Option<BootstrapPlan>,
    peak_value_bytes: u64,
}

impl Verified {
    /// Checks every law under this security policy.
    pub fn new(circuit: Circuit, policy: &SecurityPolicy) -> Result<Verified, VerifyError> {
        let known = verify(&circuit, Form::Final, Some(policy))?;
        Ok(Verified { circuit, known })
    }

    /// Level, degree and scale of a value.
    pub fn value_type(&self, value: ValueId) -> &ValueType {
        &self.known.types[value.0 as usize]
    }

    /// How its bootstraps are carried out, where it has any.
    pub fn bootstrap_plan(&self) -> Option<&BootstrapPlan> {
        self.known.bootstrap.as_ref()
    }

    /// Ciphertext bytes alive at once when the nodes run in order; keys, plaintexts and working space come on top.
    pub fn peak_value_bytes(&self) -> u64 {
        self.known.peak_value_bytes
    }

    /// The circuit, no longer protected.
    pub fn into_inner(self) -> Circuit {
        self.circuit
    }
}

impl Deref for Verified {
    type Target = Circuit;
    fn deref(&self) -> &Circuit {
        &self.circuit
    }
}

/// Checks a draft: the same laws, except those of a real modulus (primes, sizes in bits, security); exact
/// functions are allowed.
pub fn verify_draft(circuit: &Circuit) -> Result<(), VerifyError> {
    verify(circuit, Form::Draft, None).map(drop)
}

/// Types of all values of a circuit in order, or the first broken op law.
pub fn value_types(circuit: &Circuit) -> Result<Vec<ValueType>, LawError> {
    let mut types: Vec<ValueType> = vec![];
    for node in &circuit.nodes {
        let operands = node
            .op
            .operands()
            .into_iter()
            .map(|v| types.get(v.0 as usize).ok_or(LawError::Undefined(v)))
            .collect::<Result<Vec<_>, _>>()?;
        let results = result_types(circuit, &node.op, &operands)?;
        types.extend(results);
    }
    Ok(types)
}

/// Whether the laws of a real modulus apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Draft,
    Final,
}

/// Collects violations.
struct Report {
    violations: Vec<Violation>,
}

impl Report {
    /// Runs a check; yields its result, or records the violation.
    fn value<T>(&mut self, place: Place, check: impl FnOnce() -> Result<T, LawError>) -> Option<T> {
        match check() {
            Ok(value) => return Some(value),
            Err(law) if self.violations.len() < MAX_VIOLATIONS => {
                self.violations.push(Violation { place, law });
            }
            Err(_) => {}
        }
        None
    }

    fn check(&mut self, place: Place, check: impl FnOnce() -> Result<(), LawError>) {
        self.value(place, check);
    }

    /// Ends a group of laws on which the next ones rely.
    fn barrier(&self) -> Result<(), VerifyError> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(VerifyError { violations: self.violations.clone() })
        }
    }
}

/// The list.
fn verify(circuit: &Circuit, form: Form, policy: Option<&SecurityPolicy>) -> Result<Known, VerifyError> {
    let mut report = Report { violations: vec![] };
    bounds::check(circuit, form, &mut report);
    report.barrier()?;
    parameters::check(&circuit.parameters, form, &mut report);
    report.barrier()?;
    if form == Form::Final {
        parameters::check_scales(&circuit.parameters, &mut report);
        report.barrier()?;
    }
    parameters::check_keys(&circuit.parameters, &circuit.keys, &mut report);
    if let Some(policy) = policy {
        report.check(Place::Parameters, || check_security(circuit, policy));
    }
    let bootstrap = bootstrap::check(circuit, &mut report);
    tables::check_tensors(circuit, &mut report);
    tables::check_layouts(circuit, &mut report);
    report.barrier()?;
    tables::check_maps(circuit, &mut report);
    tables::check_inputs(circuit, &mut report);
    tables::check_records(&circuit.certificate, &circuit.forecast, &mut report);
    report.barrier()?;
    let types = check_nodes(circuit, form, &mut report);
    check_outputs(circuit, &types, &mut report);
    check_uses(circuit, bootstrap.as_ref(), &mut report);
    report.barrier()?;
    let types: Vec<ValueType> = types.into_iter().flatten().collect();
    let peak = report.value(Place::Circuit, || memory::check_peak(circuit, &types, bootstrap.as_ref()));
    report.barrier()?;
    Ok(Known { types, bootstrap, peak_value_bytes: peak.unwrap_or(0) })
}

/// Law 4.
fn check_security(circuit: &Circuit, policy: &SecurityPolicy) -> Result<(), LawError> {
    policy.check(&circuit.parameters, &circuit.keys)?;
    Ok(())
}

/// Laws 9 and 10; a value is `None` where its operation broke a law.
fn check_nodes(circuit: &Circuit, form: Form, report: &mut Report) -> Vec<Option<ValueType>> {
    let sizes = (form == Form::Final).then(|| Sizes::new(&circuit.parameters));
    let mut supports = Supports::new();
    let mut types: Vec<Option<ValueType>> = vec![];
    for (index, node) in circuit.nodes.iter().enumerate() {
        let next = types.len();
        let origin = circuit.origins.get(node.origin as usize).cloned().unwrap_or_default();
        let place = Place::Node { index, op: node.op.name(), origin };
        report.check(place.clone(), || check_order(circuit, node, next));
        let operands: Option<Vec<&ValueType>> =
            node.op.operands().iter().map(|v| types.get(v.0 as usize).and_then(Option::as_ref)).collect();
        let results = operands.and_then(|operands| {
            report.value(place.clone(), || {
                if form == Form::Final && matches!(node.op, Op::Activation(..)) {
                    return Err(LawError::Draft);
                }
                let results = result_types(circuit, &node.op, &operands)?;
                if let Op::Linear(plan) = &node.op {
                    supports.check(circuit, plan)?;
                }
                sizes.as_ref().map_or(Ok(()), |s| s.check(&node.op, &operands, &results))?;
                Ok(results)
            })
        });
        // Numbering goes on by what the law yields, so that one wrong count is reported once.
        match results {
            Some(results) => {
                report.check(place, || check_numbering(node, results.len()));
                types.extend(results.into_iter().map(Some));
            }
            None => types.extend((0..node.results).map(|_| None)),
        }
    }
    types
}

/// Law 9: the node defines the next values from earlier ones and belongs to a known layer.
fn check_order(circuit: &Circuit, node: &Node, next: usize) -> Result<(), LawError> {
    entry("origin", &circuit.origins, node.origin)?;
    if node.first.0 as usize != next {
        let (expected, found) = (next as u32, node.first.0);
        return Err(LawError::Numbering {
            expected,
            found,
            expected_results: node.results,
            found_results: node.results,
        });
    }
    match node.op.operands().into_iter().find(|v| v.0 as usize >= next) {
        Some(value) => Err(LawError::Undefined(value)),
        None => Ok(()),
    }
}

fn check_numbering(node: &Node, results: usize) -> Result<(), LawError> {
    if node.results as usize == results {
        return Ok(());
    }
    let (expected, found) = (node.first.0, node.first.0);
    let (expected_results, found_results) = (results as u32, node.results);
    Err(LawError::Numbering { expected, found, expected_results, found_results })
}

/// Law 11.
fn check_outputs(circuit: &Circuit, types: &[Option<ValueType>], report: &mut Report) {
    for (k, output) in circuit.outputs.iter().enumerate() {
        report.check(Place::Output(k), || {
            let layout = entry("layout", &circuit.layouts, output.layout.0)?;
            tables::check_output(layout, output.scale, output.range, &output.labels)?;
            let mut values = vec![];
            for v in &output.values {
                match entry("value", types, v.0)? {
                    Some(known) => values.push(known),
                    None => return Ok(()),
                }
            }
            check_output_values(layout.ciphertexts, &values)
        });
    }
}

/// Law 13.
fn check_uses(circuit: &Circuit, plan: Option<&BootstrapPlan>, report: &mut Report) {
    let mut used = vec![false; circuit.keys.len()];
    for key in circuit.nodes.iter().flat_map(|n| n.op.keys()) {
        if let Some(flag) = used.get_mut(key.0 as usize) {
            *flag = true;
        }
    }
    for key in plan.iter().flat_map(|plan| &plan.keys) {
        if let Ok(k) = bootstrap::find_key(&circuit.keys, key) {
            used[k] = true;
        }
    }
    for (k, key) in circuit.keys.iter().enumerate().filter(|(k, _)| !used[*k]) {
        report.check(Place::Key(k), || Err(LawError::UnusedKey(*key)));
    }
}
