//! Text of linear plans.
//!
//! `m0(v1 v2) + m1(v3) babies [0 1:k0] giants [0 8:k1] products [o0 g0 0.0: 0-3 6; o0 g1 0.0: 0] double rescale`:
//! the products are listed by output `o`, giant step `g` (by index) and `source.input`, then the indices of the
//! baby steps; `all` is every combination. `outputs` is the number of results. `pairs 64:k2 k5` before `products`: two
//! diagonals to a product, the second on the input rotated by 64 with key 2; key 5 conjugates.

use super::cursor::Cursor;
use super::print::step;
use super::{Spaced, TextProblem};
use crate::map::MapId;
use crate::op::{Hoisting, KeyId, LinearPlan, Pairing, Product, Source, ValueId};
use crate::verify::bounds::MAX_DIAGONALS;
use std::fmt;

/// A plan, displayed.
pub(super) struct Plan<'a>(pub(super) &'a LinearPlan);

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        for (k, source) in plan.sources.iter().enumerate() {
            let values = Spaced(source.values.iter().map(|v| format!("v{}", v.0)));
            write!(f, "{}m{}({values})", if k > 0 { " + " } else { "" }, source.map.0)?;
        }
        let (babies, giants) = (Spaced(plan.babies.iter().map(step)), Spaced(plan.giants.iter().map(step)));
        write!(f, " babies [{babies}] giants [{giants}]")?;
        if let Some(pairing) = &plan.pairing {
            write!(f, " pairs {} k{}", step(&pairing.half), pairing.conjugate.0)?;
        }
        f.write_str(" products ")?;
        if all_products(plan).is_some_and(|all| all == plan.products) {
            f.write_str("all")?;
        } else {
            write!(f, "[{}]", listed(plan))?;
        }
        f.write_str(match plan.hoisting {
            Hoisting::Single => " single",
            Hoisting::Double => " double",
        })?;
        f.write_str(if plan.rescale { " rescale" } else { "" })
    }
}

/// Every combination, if there are not too many.
fn all_products(plan: &LinearPlan) -> Option<Vec<Product>> {
    let inputs = (0..plan.sources.len()).map(|s| u64::from(plan.inputs(s))).sum::<u64>();
    let rows = u64::from(plan.outputs).checked_mul(plan.giants.len() as u64)?.checked_mul(inputs)?;
    // Without babies there is nothing to list, but the rows would be walked.
    if rows.checked_mul(plan.babies.len().max(1) as u64)? > MAX_DIAGONALS {
        return None;
    }
    let mut all = vec![];
    for output in 0..plan.outputs {
        for giant in 0..plan.giants.len() as u32 {
            for source in 0..plan.sources.len() as u32 {
                for input in 0..plan.inputs(source as usize) {
                    let babies = 0..plan.babies.len() as u32;
                    all.extend(babies.map(|baby| Product { output, giant, source, input, baby }));
                }
            }
        }
    }
    Some(all)
}

/// Products in their order; a new group wherever something but the baby step changes.
fn listed(plan: &LinearPlan) -> String {
    let row = |p: &Product| (p.output, p.giant, p.source, p.input);
    let group = |products: &[Product]| {
        let (output, giant, source, input) = row(&products[0]);
        let runs = products.chunk_by(|a, b| a.baby.checked_add(1) == Some(b.baby)).map(|run| {
            let (first, last) = (run[0].baby, run[run.len() - 1].baby);
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        });
        format!("o{output} g{giant} {source}.{input}: {}", runs.collect::<Vec<_>>().join(" "))
    };
    plan.products.chunk_by(|a, b| row(a) == row(b)).map(group).collect::<Vec<_>>().join("; ")
}

/// Reads a plan with this number of results.
pub(super) fn parse(cursor: &mut Cursor<'_>, outputs: u32) -> Result<LinearPlan, TextProblem> {
    let mut sources = vec![];
    loop {
        let map = MapId(cursor.numbered("m")?);
        cursor.expect("(")?;
        let values = cursor.until(")", |c| c.numbered("v").map(ValueId))?;
        sources.push(Source { map, values });
        if !cursor.eat("+") {
            break;
        }
    }
    cursor.expect("babies")?;
    let babies = cursor.bracketed(Cursor::keyed_step)?;
    cursor.expect("giants")?;
    let giants = cursor.bracketed(Cursor::keyed_step)?;
    let pairing = match cursor.eat("pairs") {
        true => Some(Pairing { half: cursor.keyed_step()?, conjugate: KeyId(cursor.numbered("k")?) }),
        false => None,
    };
    let hoisting = Hoisting::Single;
    let mut plan =
        LinearPlan { sources, babies, giants, products: vec![], pairing, outputs, hoisting, rescale: false };
    cursor.expect("products")?;
    plan.products = if cursor.eat("all") {
        all_products(&plan).ok_or(TextProblem::TooManyProducts)?
    } else {
        products(cursor)?
    };
    plan.hoisting =
        cursor.choice("single or double", &[("single", Hoisting::Single), ("double", Hoisting::Double)])?;
    plan.rescale = cursor.eat("rescale");
    Ok(plan)
}

fn products(cursor: &mut Cursor<'_>) -> Result<Vec<Product>, TextProblem> {
    cursor.expect("[")?;
    let mut out: Vec<Product> = vec![];
    while !cursor.eat("]") {
        let (output, giant) = (cursor.numbered("o")?, cursor.numbered("g")?);
        let (source, input) = cursor.dotted()?;
        cursor.expect(":")?;
        while !cursor.eat(";") && !cursor.at("]") {
            let first: u32 = cursor.number()?;
            let last = if cursor.eat("-") { cursor.number()? } else { first };
            if u64::from(last.saturating_sub(first)) + out.len() as u64 >= MAX_DIAGONALS {
                return Err(TextProblem::TooManyProducts);
            }
            out.extend((first..=last).map(|baby| Product { output, giant, source, input, baby }));
        }
    }
    Ok(out)
}
