//! Which values of a circuit have the same random error: equal computations give equal errors, not independent ones.
//!
//! Relies on the order of nodes. Promises: values whose freshly made errors are equal, or each other's negative, have one
//! name. What is given one name without need is only counted as if its errors added up, which bounds every case; so
//! operations that keep the second half of a ciphertext (sums with plaintexts, dropped primes), which alone decides how
//! keys switch and most of how divisions round, do not make a new name.

use crate::circuit::{Circuit, Node};
use crate::digest::Digest;
use crate::format::encode;
use crate::op::{LinearPlan, Op, Product, ValueId};
use std::collections::BTreeMap;

/// The name of every value: the first value with its errors.
pub(super) fn roots(circuit: &Circuit) -> Vec<ValueId> {
    let mut names: Vec<ValueId> = vec![];
    let mut known: BTreeMap<Digest, ValueId> = BTreeMap::new();
    for node in &circuit.nodes {
        let name = |v: ValueId| names.get(v.0 as usize).copied().unwrap_or(v);
        let results: Vec<ValueId> = match &node.op {
            Op::Neg(x) | Op::AddPlain(x, _) | Op::DropLevel(x, _) => vec![name(*x)],
            op => {
                let mut op = op.clone();
                op.operands_mut().into_iter().for_each(|v| *v = name(*v));
                own(node, &op).map(|(digest, first)| *known.entry(digest).or_insert(first)).collect()
            }
        };
        names.extend(results);
    }
    names
}

/// What tells the errors of each result from others, with the result's own name.
fn own<'a>(node: &'a Node, op: &'a Op) -> impl Iterator<Item = (Digest, ValueId)> + 'a {
    let results = (0..node.results).map(|k| ValueId(node.first.0 + k));
    results.enumerate().map(move |(k, value)| {
        let bytes = match op {
            Op::Linear(plan) => encode(&one_output(plan, k as u32)),
            op => encode(&unsigned(op)),
        };
        (Digest::of(&bytes), value)
    })
}

/// An operation that makes the same error up to its sign.
fn unsigned(op: &Op) -> Op {
    let pair = |a: &ValueId, b: &ValueId| (*a.min(b), *a.max(b));
    match op {
        Op::Add(a, b) | Op::Sub(a, b) => Op::SumOfProducts(vec![pair(a, b)]),
        Op::Mul(a, b) => Op::Mul(*a.min(b), *a.max(b)),
        Op::SumOfProducts(pairs) => {
            let mut pairs: Vec<_> = pairs.iter().map(|(a, b)| pair(a, b)).collect();
            pairs.sort_unstable();
            Op::SumOfProducts(pairs)
        }
        Op::MulScalar(x, c) => Op::MulScalar(*x, c.abs()),
        Op::RelinearizeRescale(x, key) => Op::Relinearize(*x, *key),
        op => op.clone(),
    }
}

/// The part of a plan that leads to one of its outputs, whichever that is.
fn one_output(plan: &LinearPlan, output: u32) -> Op {
    // Products are sorted by output.
    let (from, to) = [output, output + 1].map(|o| plan.products.partition_point(|p| p.output < o)).into();
    let products = plan.products[from..to].iter().map(|p| Product { output: 0, ..*p }).collect();
    let LinearPlan { sources, babies, giants, pairing, hoisting, rescale, .. } = plan;
    let (sources, babies, giants) = (sources.clone(), babies.clone(), giants.clone());
    Op::Linear(LinearPlan {
        sources,
        babies,
        giants,
        products,
        pairing: *pairing,
        outputs: 1,
        hoisting: *hoisting,
        rescale: *rescale,
    })
}
