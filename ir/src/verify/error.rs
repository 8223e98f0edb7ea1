//! What a broken law looks like: one enum whose messages name what was expected and what was found.

use crate::layout::LayoutError;
use crate::map::MapError;
use crate::op::{Step, ValueId};
use crate::scheme::{Gadget, KeyKind, KeySpec, Level, PrimeError, Scale, SecurityError};
use crate::verify::value::Degree;
use thiserror::Error;

/// A law of circuits that does not hold.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LawError {
    /// An index points outside its table.
    #[error("{table} {index} does not exist, there are {count}")]
    Reference {
        /// Which table.
        table: &'static str,
        /// The index.
        index: u64,
        /// Entries of the table.
        count: u64,
    },
    /// A size is above its named bound.
    #[error("{what}: {found}, at most {bound} are allowed")]
    Bound {
        /// What is counted.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The bound.
        bound: u64,
    },
    /// A count or size differs from what the law asks.
    #[error("{what}: expected {expected}, found {found}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// What the law asks.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// A size is below what the law asks.
    #[error("{what}: expected at least {least}, found {found}")]
    TooSmall {
        /// What is counted.
        what: &'static str,
        /// The least that the law asks.
        least: u64,
        /// What stands there.
        found: u64,
    },
    /// A shape differs from what the law asks.
    #[error("{what}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Whose shape.
        what: &'static str,
        /// What the law asks.
        expected: Vec<u32>,
        /// What stands there.
        found: Vec<u32>,
    },
    /// A number is NaN or infinite, or zero where it divides.
    #[error("{what} is {found}, expected a finite number{}", if *.nonzero { " other than 0" } else { "" })]
    Number {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: f64,
        /// Whether zero is refused as well.
        nonzero: bool,
    },
    /// A range is not finite or not ordered.
    #[error("{what} [{}, {}] is not a finite, ordered range", .found[0], .found[1])]
    Range {
        /// Which range.
        what: &'static str,
        /// Its value.
        found: [f64; 2],
    },
    /// Two ports have one name.
    #[error("the name {name:?} of {what} stands twice")]
    SameName {
        /// Which port.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A bound of an error is too small to be one.
    #[error("{what} is {found:e}, less than one unit of the output's scale, {least:e}")]
    ErrorBound {
        /// Which bound.
        what: &'static str,
        /// Its value.
        found: f64,
        /// One unit.
        least: f64,
    },
    /// A value is used before it is defined.
    #[error("v{} is used before it is defined", .0.0)]
    Undefined(ValueId),
    /// Values are not numbered consecutively.
    #[error("defines {found_results} values from v{found}, expected {expected_results} from v{expected}")]
    Numbering {
        /// Next free value.
        expected: u32,
        /// First value of the node.
        found: u32,
        /// Results of the operation.
        expected_results: u32,
        /// Results of the node.
        found_results: u32,
    },
    /// The level has no prime to spare.
    #[error("needs level 1 or more, the value is at level 0")]
    NoLevel,
    /// Two operands stand at different levels.
    #[error("operands stand at levels {} and {}", .first.0, .second.0)]
    LevelsDiffer {
        /// Level of the first operand.
        first: Level,
        /// Level of the other operand.
        second: Level,
    },
    /// A drop or adjust does not go down.
    #[error("level {} is not below level {}", .to.0, .from.0)]
    NotBelow {
        /// Level of the operand.
        from: Level,
        /// Level asked for.
        to: Level,
    },
    /// A value has the wrong degree.
    #[error("expected degree {expected}, found {found}")]
    WrongDegree {
        /// What the operation asks.
        expected: Degree,
        /// What the value has.
        found: Degree,
    },
    /// A value has the wrong scale.
    #[error("expected scale {}, found {}", shown(.expected), shown(.found))]
    WrongScale {
        /// What the operation asks.
        expected: Scale,
        /// What the value has.
        found: Scale,
    },
    /// A scale is too large or too small to be a scale.
    #[error("scale {} has an exponent beyond {bound}", shown(.found))]
    ScaleExponent {
        /// The scale.
        found: Scale,
        /// Largest magnitude of an exponent.
        bound: i32,
    },
    /// A scale does not fit where it is used.
    #[error("{what} {} is 2^{log2_found:.1}, expected between 2^{log2_least:.1} and 2^{log2_most:.1}", shown(.scale))]
    ScaleSize {
        /// Which scale.
        what: &'static str,
        /// The scale.
        scale: Scale,
        /// Its size.
        log2_found: f64,
        /// Smallest size allowed.
        log2_least: f64,
        /// Largest size allowed.
        log2_most: f64,
    },
    /// A key switches something else than the operation needs.
    #[error("key k{key} is for {found}, expected {expected}")]
    KeyKind {
        /// The key.
        key: u32,
        /// What the operation needs.
        expected: KeyKind,
        /// What the key does.
        found: KeyKind,
    },
    /// A key reaches less high than the value that it is used on.
    #[error("key k{key} reaches level {}, the value is at level {}", .found.0, .needed.0)]
    KeyLevel {
        /// The key.
        key: u32,
        /// Level of the value.
        needed: Level,
        /// Level of the key.
        found: Level,
    },
    /// A rotation has a key where it needs none, or none where it needs one.
    #[error("step {step} {}", if *.keyed { "needs no key but names one" } else { "needs a key" })]
    StepKey {
        /// The step.
        step: u32,
        /// Whether it names a key.
        keyed: bool,
    },
    /// Keys that must share a gadget do not.
    #[error("{what} use gadgets {} and {}", shown_gadget(.first), shown_gadget(.second))]
    GadgetsDiffer {
        /// Which keys.
        what: &'static str,
        /// Gadget of the first.
        first: Gadget,
        /// Gadget of another.
        second: Gadget,
    },
    /// No operation uses the key.
    #[error("key for {} at level {} is used by no operation", .0.kind, .0.level.0)]
    UnusedKey(KeySpec),
    /// A list is not sorted, or has an entry twice.
    #[error("{what} must be sorted without duplicates; entry {index} is not above the one before")]
    Unsorted {
        /// Which list.
        what: &'static str,
        /// First entry out of order.
        index: usize,
    },
    /// An entry of a list serves nothing.
    #[error("{what} {index} is used by no product")]
    Unused {
        /// Which list.
        what: &'static str,
        /// The entry.
        index: usize,
    },
    /// A plan does not have exactly the products of its map's diagonals.
    #[error(
        "source {source_index}: the diagonal of step {} from ciphertext {input} to {output} {}",
        step.0,
        if *missing { "has no product" } else { "does not exist or has two products" }
    )]
    Support {
        /// Source of the plan.
        source_index: usize,
        /// Output ciphertext.
        output: u32,
        /// Input ciphertext.
        input: u32,
        /// Total step.
        step: Step,
        /// Whether the diagonal lacks its product, or the product its diagonal.
        missing: bool,
    },
    /// A modulus is not a usable prime.
    #[error("{prime} is not a usable prime: {reason}")]
    Prime {
        /// The number.
        prime: u64,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A layout is inconsistent.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A map has no meaning.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The modulus is too large for the ring at 128 bits, or no bound is known.
    #[error("not secure: {0}")]
    Security(#[from] SecurityError),
    /// A bootstrap in a circuit that does not say how.
    #[error("the circuit does not say how it bootstraps")]
    NoBootstrapping,
    /// The circuit says how it bootstraps, and never does.
    #[error("the circuit says how it bootstraps, and no operation does")]
    UnusedBootstrapping,
    /// What the circuit's bootstrapping asks for does not exist.
    #[error("no plan for the bootstrapping: {0}")]
    NoPlan(#[from] PrimeError),
    /// The circuit's parameters are not those of the bootstrapping's plan.
    #[error("the {what} is not that of the bootstrapping's plan")]
    BootstrapParameters {
        /// What differs.
        what: &'static str,
    },
    /// The op bootstraps all slots; the request is for fewer.
    #[error("the bootstrapping is one of 2^{log_slots} slots, those of circuits take all")]
    SparseBootstrapping {
        /// log2 of the request's slots.
        log_slots: u32,
    },
    /// The bootstrapping's plan uses a key that the circuit does not list.
    #[error(
        "the bootstrapping uses a key for {} with gadget {} up to level {}, which the circuit does not list",
        .0.kind, shown_gadget(&.0.gadget), .0.level.0
    )]
    MissingKey(KeySpec),
    /// Only drafts hold exact functions.
    #[error("an exact function stands only in drafts; a circuit that runs has a polynomial here")]
    Draft,
}

/// `Δ5²·Δ4⁻¹` for people.
pub(crate) fn shown(scale: &Scale) -> String {
    let factors: Vec<String> = scale
        .exponents()
        .map(|(level, e)| if e == 1 { format!("Δ{}", level.0) } else { format!("Δ{}^{e}", level.0) })
        .collect();
    if factors.is_empty() { "1".into() } else { factors.join("·") }
}

fn shown_gadget(gadget: &Gadget) -> String {
    format!("{}+{}", gadget.digit_limbs, gadget.special_limbs)
}

/// Entry `index` of a table, or the error that names both.
pub(crate) fn entry<'a, T>(table: &'static str, items: &'a [T], index: u32) -> Result<&'a T, LawError> {
    let missing = LawError::Reference { table, index: index.into(), count: items.len() as u64 };
    items.get(index as usize).ok_or(missing)
}

/// Refuses sizes above a bound.
pub(crate) fn at_most(what: &'static str, found: u64, bound: u64) -> Result<(), LawError> {
    if found > bound { Err(LawError::Bound { what, found, bound }) } else { Ok(()) }
}

/// Refuses sizes below the least.
pub(crate) fn at_least(what: &'static str, found: u64, least: u64) -> Result<(), LawError> {
    if found < least { Err(LawError::TooSmall { what, found, least }) } else { Ok(()) }
}

/// Refuses a count that is not the expected one.
pub(crate) fn count(what: &'static str, found: u64, expected: u64) -> Result<(), LawError> {
    if found != expected { Err(LawError::Count { what, expected, found }) } else { Ok(()) }
}

/// Refuses NaN and infinities.
pub(crate) fn finite(what: &'static str, found: f64) -> Result<(), LawError> {
    if found.is_finite() { Ok(()) } else { Err(LawError::Number { what, found, nonzero: false }) }
}

/// Refuses NaN, infinities and zero.
pub(crate) fn finite_nonzero(what: &'static str, found: f64) -> Result<(), LawError> {
    let good = found.is_finite() && found != 0.0;
    if good { Ok(()) } else { Err(LawError::Number { what, found, nonzero: true }) }
}

/// Refuses ranges that are not finite and ordered.
pub(crate) fn ordered_range(what: &'static str, found: [f64; 2]) -> Result<(), LawError> {
    let good = found.iter().all(|x| x.is_finite()) && found[0] <= found[1];
    if good { Ok(()) } else { Err(LawError::Range { what, found }) }
}
