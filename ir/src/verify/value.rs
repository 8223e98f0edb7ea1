//! Laws of operations: what level, degree and scale each result has, and what the operands must have.
//!
//! Relies on: tables (parameters, layouts, maps, tensors) whose own laws hold. Used by the verifier and by the
//! builder alike; the table in the crate documentation is what this file says in code, row by row.

use super::error::{LawError, at_least, at_most, count, entry, finite};
use super::plan::check_plan;
use crate::circuit::Circuit;
use crate::op::{Activation, KeyId, KeyedStep, Op, Plain};
use crate::scheme::{KeyKind, Level, Scale};
use std::fmt;

/// Largest magnitude of an exponent in a scale: far above any use, far below overflow.
pub const MAX_SCALE_EXPONENT: i32 = 64;
/// Largest number of pairs in one sum of products.
pub const MAX_PRODUCT_TERMS: u64 = 1024;

/// Degree of a ciphertext in the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Degree {
    /// Two polynomials.
    One,
    /// Three polynomials: a product before relinearization.
    Two,
}

impl fmt::Display for Degree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Degree::One => "1",
            Degree::Two => "2",
        })
    }
}

/// What the laws know of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueType {
    /// Primes left.
    pub level: Level,
    /// Degree in the secret.
    pub degree: Degree,
    /// Exact scale.
    pub scale: Scale,
}

impl ValueType {
    /// A fresh value or one in canonical form: degree 1, canonical scale of its level.
    pub fn canonical(level: Level) -> ValueType {
        ValueType { level, degree: Degree::One, scale: Scale::canonical(level) }
    }

    fn with_scale(&self, scale: Scale) -> ValueType {
        ValueType { scale, ..self.clone() }
    }

    fn of_degree(&self, degree: Degree) -> Result<&ValueType, LawError> {
        if self.degree == degree {
            Ok(self)
        } else {
            Err(LawError::WrongDegree { expected: degree, found: self.degree })
        }
    }

    /// Level at or above 1: a prime is left to rescale by.
    fn divisible(&self) -> Result<&ValueType, LawError> {
        if self.level.0 == 0 { Err(LawError::NoLevel) } else { Ok(self) }
    }

    fn at_level_of(&self, other: &ValueType) -> Result<(), LawError> {
        if self.level == other.level {
            Ok(())
        } else {
            Err(LawError::LevelsDiffer { first: other.level, second: self.level })
        }
    }

    fn at_scale(&self, expected: &Scale) -> Result<(), LawError> {
        if self.scale == *expected {
            Ok(())
        } else {
            Err(LawError::WrongScale { expected: expected.clone(), found: self.scale.clone() })
        }
    }
}

/// Types of the results of `op` on operands of these types (in the order of [`Op::operands`]), or the law that
/// it breaks. Operand types must have been made by this function.
pub fn result_types(circuit: &Circuit, op: &Op, operands: &[&ValueType]) -> Result<Vec<ValueType>, LawError> {
    let results = match (op, operands) {
        (Op::Linear(plan), _) => {
            check_plan(circuit, plan, operands)?;
            vec![linear(plan.rescale, uniform(operands)?)?; plan.outputs as usize]
        }
        (Op::SumOfProducts(_), _) => vec![sum_of_products(operands)?],
        (Op::Input { input, ciphertext }, []) => vec![fresh(circuit, *input, *ciphertext)?],
        (Op::Add(..) | Op::Sub(..), [x, y]) => vec![sum(x, y)?],
        (Op::Mul(..), [x, y]) => vec![sum_of_products(&[x, y])?],
        (_, [x]) => vec![unary(circuit, op, x)?],
        _ => return Err(operand_count(op, operands)),
    };
    results.iter().try_for_each(bounded_scale)?;
    Ok(results)
}

fn operand_count(op: &Op, operands: &[&ValueType]) -> LawError {
    LawError::Count { what: "operands", expected: op.operands().len() as u64, found: operands.len() as u64 }
}

/// Operations on one ciphertext.
fn unary(circuit: &Circuit, op: &Op, x: &ValueType) -> Result<ValueType, LawError> {
    match op {
        Op::AddPlain(_, plain) => check_plain(circuit, plain).map(|()| x.clone()),
        Op::MulPlain(_, plain) => {
            check_plain(circuit, plain)?;
            x.of_degree(Degree::One)?.divisible()?;
            Ok(x.with_scale(Scale::product(x.level)))
        }
        Op::MulScalar(_, factor) => {
            finite("factor", *factor)?;
            x.divisible()?;
            Ok(x.with_scale(Scale::product(x.level)))
        }
        Op::Relinearize(_, key) => relinearized(circuit, x, *key),
        Op::Rescale(_) => rescaled(x),
        Op::RelinearizeRescale(_, key) => rescaled(&relinearized(circuit, x, *key)?),
        Op::DropLevel(_, to) => below(x, *to).map(|()| ValueType { level: *to, ..x.clone() }),
        Op::Adjust(_, to) => adjusted(x, *to),
        Op::Rotate(_, step) => {
            check_step(circuit, step, x.level)?;
            x.of_degree(Degree::One).cloned()
        }
        Op::Conjugate(_, key) => {
            check_key(circuit, *key, KeyKind::Conjugation, x.level)?;
            x.of_degree(Degree::One).cloned()
        }
        Op::Bootstrap(_) => bootstrapped(circuit, x),
        Op::Activation(_, activation) => {
            check_activation(activation)?;
            x.of_degree(Degree::One).cloned()
        }
        _ => Ok(x.clone()),
    }
}

/// input: the client's data at the top level.
fn fresh(circuit: &Circuit, input: u32, ciphertext: u32) -> Result<ValueType, LawError> {
    let spec = entry("input", &circuit.inputs, input)?;
    let layout = entry("layout", &circuit.layouts, spec.layout.0)?;
    if ciphertext >= layout.ciphertexts {
        let count = layout.ciphertexts.into();
        return Err(LawError::Reference { table: "ciphertext", index: ciphertext.into(), count });
    }
    Ok(ValueType::canonical(circuit.parameters.top()))
}

/// add, sub: same level, same scale, the larger degree.
fn sum(x: &ValueType, y: &ValueType) -> Result<ValueType, LawError> {
    y.at_level_of(x)?;
    y.at_scale(&x.scale)?;
    Ok(ValueType { degree: x.degree.max(y.degree), ..x.clone() })
}

/// mul, sum_of_products: pairs of degree 1 at one level, all products of one scale.
fn sum_of_products(operands: &[&ValueType]) -> Result<ValueType, LawError> {
    at_least("products", operands.len() as u64 / 2, 1)?;
    at_most("products", operands.len() as u64 / 2, MAX_PRODUCT_TERMS)?;
    let first = operands[0].divisible()?;
    let scale = first.scale.times(&operands[1].scale);
    for pair in operands.chunks_exact(2) {
        for x in pair {
            x.of_degree(Degree::One)?.at_level_of(first)?;
        }
        ValueType { scale: pair[0].scale.times(&pair[1].scale), ..first.clone() }.at_scale(&scale)?;
    }
    Ok(ValueType { degree: Degree::Two, scale, level: first.level })
}

/// relinearize: degree 2, a relinearization key that reaches the level.
fn relinearized(circuit: &Circuit, x: &ValueType, key: KeyId) -> Result<ValueType, LawError> {
    x.of_degree(Degree::Two)?;
    check_key(circuit, key, KeyKind::Relinearization, x.level)?;
    Ok(ValueType { degree: Degree::One, ..x.clone() })
}

/// rescale: one level down, scale divided by the level's prime.
fn rescaled(x: &ValueType) -> Result<ValueType, LawError> {
    let scale = x.divisible()?.scale.rescaled(x.level);
    Ok(ValueType { level: Level(x.level.0 - 1), degree: x.degree, scale })
}

fn below(x: &ValueType, to: Level) -> Result<(), LawError> {
    if to < x.level { Ok(()) } else { Err(LawError::NotBelow { from: x.level, to }) }
}

/// adjust: from the canonical scale of one level to that of a lower one.
fn adjusted(x: &ValueType, to: Level) -> Result<ValueType, LawError> {
    below(x, to)?;
    x.at_scale(&Scale::canonical(x.level))?;
    Ok(ValueType { level: to, degree: x.degree, scale: Scale::canonical(to) })
}

/// bootstrap: from a canonical value that has the levels which slots-to-coefficients takes, to the top.
fn bootstrapped(circuit: &Circuit, x: &ValueType) -> Result<ValueType, LawError> {
    let request = circuit.bootstrap.as_ref().ok_or(LawError::NoBootstrapping)?;
    x.of_degree(Degree::One)?.at_scale(&Scale::canonical(x.level))?;
    at_least("level of what is bootstrapped", x.level.0.into(), request.input().0.into())?;
    Ok(ValueType::canonical(circuit.parameters.top()))
}

/// linear: the product scale of the level, or with rescale the canonical scale one level down.
fn linear(rescale: bool, x: &ValueType) -> Result<ValueType, LawError> {
    let product = x.of_degree(Degree::One)?.divisible()?.with_scale(Scale::product(x.level));
    if rescale { rescaled(&product) } else { Ok(product) }
}

/// Operands that share level and scale; the first of them.
fn uniform<'a>(operands: &[&'a ValueType]) -> Result<&'a ValueType, LawError> {
    at_least("operands", operands.len() as u64, 1)?;
    for x in &operands[1..] {
        x.of_degree(operands[0].degree)?.at_level_of(operands[0])?;
        x.at_scale(&operands[0].scale)?;
    }
    Ok(operands[0])
}

fn bounded_scale(x: &ValueType) -> Result<(), LawError> {
    let bound = MAX_SCALE_EXPONENT;
    if x.scale.exponents().all(|(_, e)| (-bound..=bound).contains(&e)) {
        Ok(())
    } else {
        Err(LawError::ScaleExponent { found: x.scale.clone(), bound })
    }
}

fn check_activation(activation: &Activation) -> Result<(), LawError> {
    match activation {
        Activation::Clip(low, high) if low <= high => Ok(()),
        Activation::Clip(low, high) => Err(LawError::Range { what: "clip", found: [*low, *high] }),
        other => other.parameters().into_iter().try_for_each(|p| finite("parameter", p)),
    }
}

/// A key exists, switches what is needed and reaches the level of the value.
pub(crate) fn check_key(circuit: &Circuit, key: KeyId, kind: KeyKind, level: Level) -> Result<(), LawError> {
    let spec = entry("key", &circuit.keys, key.0)?;
    if spec.kind != kind {
        return Err(LawError::KeyKind { key: key.0, expected: kind, found: spec.kind });
    }
    if spec.level < level {
        return Err(LawError::KeyLevel { key: key.0, needed: level, found: spec.level });
    }
    Ok(())
}

/// A step is below the slot count and has a key exactly when it is not 0.
pub(crate) fn check_step(circuit: &Circuit, keyed: &KeyedStep, level: Level) -> Result<(), LawError> {
    at_most("rotation step", keyed.step.0.into(), circuit.slots() as u64 - 1)?;
    match (keyed.step.0, keyed.key) {
        (0, None) => Ok(()),
        (step @ 1.., Some(key)) => check_key(circuit, key, KeyKind::Rotation(step), level),
        (step, key) => Err(LawError::StepKey { step, keyed: key.is_some() }),
    }
}

/// A described plaintext names existing things that fit together.
fn check_plain(circuit: &Circuit, plain: &Plain) -> Result<(), LawError> {
    let slots = circuit.slots() as u64;
    match plain {
        Plain::Constant(value) => finite("constant", *value),
        Plain::Tensor { tensor, layout, ciphertext, scale } => {
            finite("scale of the plaintext", *scale)?;
            let tensor = entry("tensor", &circuit.tensors, tensor.0)?;
            let layout = entry("layout", &circuit.layouts, layout.0)?;
            index("ciphertext", *ciphertext, layout.ciphertexts)?;
            let broadcast = tensor.shape.len() == 1 && layout.shape.first() == tensor.shape.first();
            if tensor.shape == layout.shape || broadcast {
                Ok(())
            } else {
                let (expected, found) = (layout.shape.clone(), tensor.shape.clone());
                Err(LawError::Shape { what: "tensor of the plaintext", expected, found })
            }
        }
        Plain::Diagonal { map, output, input, step, giant } => {
            let map = entry("map", &circuit.maps, map.0)?;
            let layout = |id: crate::LayoutId| entry("layout", &circuit.layouts, id.0);
            index("output ciphertext", *output, layout(map.output)?.ciphertexts)?;
            index("input ciphertext", *input, layout(map.input)?.ciphertexts)?;
            at_most("step", step.0.into(), slots - 1)?;
            at_most("giant step", giant.0.into(), slots - 1)
        }
    }
}

/// An index below its count.
pub(crate) fn index(table: &'static str, index: u32, count: u32) -> Result<(), LawError> {
    if index < count {
        Ok(())
    } else {
        Err(LawError::Reference { table, index: index.into(), count: count.into() })
    }
}

/// Ciphertexts of an output: as many as its layout has, canonical, at one level.
pub(crate) fn check_output_values(layout_ciphertexts: u32, values: &[&ValueType]) -> Result<(), LawError> {
    count("ciphertexts of the output", values.len() as u64, layout_ciphertexts.into())?;
    let first = uniform(values)?.of_degree(Degree::One)?;
    first.at_scale(&Scale::canonical(first.level))
}
