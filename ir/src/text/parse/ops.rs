//! Parsing operations and their plaintexts.

use super::super::cursor::Cursor;
use super::super::{TextProblem, plan};
use super::{layout_id, value};
use crate::map::{MapId, TensorId};
use crate::op::{Activation, FORMS, KeyId, Op, Plain, Step, ValueId};
use crate::scheme::Level;

/// Reads the operation of a node with this number of results.
pub(super) fn op(c: &mut Cursor<'_>, results: u32) -> Result<Op, TextProblem> {
    let start = c.clone();
    let name = c.take_word();
    if name == "linear" {
        return Ok(Op::Linear(plan::parse(c, results)?));
    }
    if results != 1 {
        *c = start;
        return Err(c.expected("'linear', which alone has several results"));
    }
    let key = |c: &mut Cursor<'_>| c.numbered("k").map(KeyId);
    let level = |c: &mut Cursor<'_>| c.expect("to").and_then(|()| c.number()).map(Level);
    Ok(match name {
        "input" => {
            let input = c.numbered("i")?;
            c.expect(".")?;
            Op::Input { input, ciphertext: c.number()? }
        }
        "add" => Op::Add(value(c)?, value(c)?),
        "sub" => Op::Sub(value(c)?, value(c)?),
        "neg" => Op::Neg(value(c)?),
        "add_plain" => Op::AddPlain(value(c)?, plain(c)?),
        "mul_plain" => Op::MulPlain(value(c)?, plain(c)?),
        "mul_scalar" => Op::MulScalar(value(c)?, c.float()?),
        "mul" => Op::Mul(value(c)?, value(c)?),
        "sum_of_products" => Op::SumOfProducts(pairs(c)?),
        "relinearize" => Op::Relinearize(value(c)?, key(c)?),
        "rescale" => Op::Rescale(value(c)?),
        "relinearize_rescale" => Op::RelinearizeRescale(value(c)?, key(c)?),
        "drop_level" => Op::DropLevel(value(c)?, level(c)?),
        "adjust" => Op::Adjust(value(c)?, level(c)?),
        "rotate" => Op::Rotate(value(c)?, c.keyed_step()?),
        "conjugate" => Op::Conjugate(value(c)?, key(c)?),
        "bootstrap" => Op::Bootstrap(value(c)?),
        "activation" => Op::Activation(value(c)?, activation(c)?),
        _ => {
            *c = start;
            return Err(c.expected("an operation"));
        }
    })
}

fn pairs(c: &mut Cursor<'_>) -> Result<Vec<(ValueId, ValueId)>, TextProblem> {
    let mut out = vec![];
    while !c.done() {
        if !out.is_empty() {
            c.expect("+")?;
        }
        let first = value(c)?;
        c.expect("*")?;
        out.push((first, value(c)?));
    }
    Ok(out)
}

fn plain(c: &mut Cursor<'_>) -> Result<Plain, TextProblem> {
    if c.eat("constant") {
        return Ok(Plain::Constant(c.float()?));
    }
    if !c.eat("diagonal") {
        let tensor = TensorId(c.numbered("t")?);
        c.expect("in")?;
        let layout = layout_id(c)?;
        c.expect(".")?;
        let ciphertext = c.number()?;
        c.expect("times")?;
        return Ok(Plain::Tensor { tensor, layout, ciphertext, scale: c.float()? });
    }
    let map = MapId(c.numbered("m")?);
    let mut part = |what| {
        c.expect(what)?;
        c.number()
    };
    let (output, input) = (part("output")?, part("input")?);
    Ok(Plain::Diagonal { map, output, input, step: Step(part("step")?), giant: Step(part("giant")?) })
}

fn activation(c: &mut Cursor<'_>) -> Result<Activation, TextProblem> {
    let names = FORMS.each_ref().map(|form| (form.name, form));
    let form = c.choice("a function", &names)?;
    let mut parameters = [0.0; 2];
    for parameter in parameters.iter_mut().take(form.parameters) {
        *parameter = c.float()?;
    }
    Ok((form.make)(parameters))
}
