//! Max, Min and max pools, by `max(a, b) = b + Relu(a - b)`.
//!
//! A maximum over n candidates takes rounds of pairs, ceil(log2 n) of them, each as deep as one Relu; the error of the result is
//! at most the rounds' times that of the Relu's polynomial on the range of the differences. What a model asks for is noted.

use super::along::{Row, along, copies};
use super::arithmetic::{common_shape, spread};
use super::reduce::reduction;
use super::view::{broadcast, walked};
use super::window::{Axis, geometry, spatial};
use super::{EXPORT_AGAIN, Lowered, holds};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{TensorRef, size};
use crate::frontend::error::{Refusal, refuse};
use crate::frontend::reference::Constant;
use crate::graph::Kind;
use cipherloom_ir::{Activation, ViewAxis};

/// Candidates of one maximum, at most.
const MAX_CANDIDATES: usize = 1 << 12;

/// Which of two is taken.
#[derive(Clone, Copy, PartialEq)]
enum Pick {
    Larger,
    Smaller,
}

impl Pick {
    fn of(self, a: f64, b: f64) -> f64 {
        if self == Pick::Larger { a.max(b) } else { a.min(b) }
    }
}

/// The larger or smaller of two tensors of one shape.
fn pick(call: &mut Call<'_>, a: &TensorRef, b: &TensorRef, which: Pick) -> TensorRef {
    let (a, b) = (TensorRef { shared: true, ..a.clone() }, TensorRef { shared: true, ..b.clone() });
    let (first, second) = if which == Pick::Larger { (&a, &b) } else { (&b, &a) };
    let difference = call.draft.binary(Kind::Sub, first, second);
    let excess = call.draft.activation(&difference, Activation::Relu);
    let kind = if which == Pick::Larger { Kind::Add } else { Kind::Sub };
    call.draft.binary(kind, &b, &excess)
}

/// The larger or smaller of a tensor and a constant.
fn bounded(call: &mut Call<'_>, x: &TensorRef, c: Vec<f64>, which: Pick) -> TensorRef {
    if c.iter().all(|v| *v == 0.0) && which == Pick::Larger {
        return call.draft.activation(x, Activation::Relu);
    }
    let signed = |sign: f64| -> Vec<f64> { c.iter().map(|v| sign * v).collect() };
    let sign = if which == Pick::Larger { 1.0 } else { -1.0 };
    let turned = match which {
        Pick::Larger => x.clone(),
        Pick::Smaller => call.draft.multiplied(x, vec![-1.0; x.elements()]),
    };
    let above = call.draft.shifted(&turned, signed(-sign));
    let excess = call.draft.activation(&above, Activation::Relu);
    let y = call.draft.shifted(&excess, signed(sign));
    match which {
        Pick::Larger => y,
        Pick::Smaller => call.draft.multiplied(&y, vec![-1.0; x.elements()]),
    }
}

fn extreme(call: &mut Call<'_>, which: Pick) -> Lowered {
    let mut tensors: Vec<TensorRef> = Vec::new();
    let mut constant: Option<Constant> = None;
    for k in 0..call.operands.len() {
        if !matches!(call.operands[k], Some(Value::Constant(_))) {
            tensors.push(call.tensor(k)?);
            continue;
        }
        let next = call.weights(k)?;
        constant = Some(match constant {
            None => next,
            Some(known) => {
                let shape = common_shape(&known.shape, &next.shape)?;
                holds(&shape)?;
                let pairs = spread(&known, &shape).into_iter().zip(spread(&next, &shape));
                Constant { values: pairs.map(|(a, b)| which.of(a, b)).collect(), shape }
            }
        });
    }
    let Some(first) = tensors.first() else { return refuse("it has no operands", EXPORT_AGAIN) };
    let mut shape = first.shape.clone();
    for other in &tensors[1..] {
        shape = common_shape(&shape, &other.shape)?;
    }
    if let Some(c) = &constant {
        shape = common_shape(&shape, &c.shape)?;
    }
    let full = tensors.iter().map(|t| broadcast(call.draft, t, &shape)).collect::<Result<Vec<_>, _>>()?;
    let y = tournament(call, full, which);
    Ok(Value::Tensor(match constant {
        Some(c) => bounded(call, &y, spread(&c, &shape), which),
        None => y,
    }))
}

/// Rounds of pairs until one is left.
fn tournament(call: &mut Call<'_>, mut list: Vec<TensorRef>, which: Pick) -> TensorRef {
    while list.len() > 1 {
        let mut next = Vec::new();
        for pair in list.chunks(2) {
            next.push(match pair {
                [a, b] if a.node != b.node => pick(call, a, b, which),
                _ => pair[0].clone(),
            });
        }
        list = next;
    }
    list.swap_remove(0)
}

/// Max.
pub(in crate::frontend) fn max(call: &mut Call<'_>) -> Lowered {
    extreme(call, Pick::Larger)
}

/// Min.
pub(in crate::frontend) fn min(call: &mut Call<'_>) -> Lowered {
    extreme(call, Pick::Smaller)
}

/// MaxPool, axis by axis.
pub(in crate::frontend) fn pool(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len().saturating_sub(2);
    let Some(kernel) = call.sizes("kernel_shape", rank)? else {
        return refuse("attribute `kernel_shape` is missing", EXPORT_AGAIN);
    };
    let geometry = geometry(call, &x, &kernel)?;
    let empty = |a: &Axis| (0..a.outputs()).any(|o| a.inside(o).is_empty());
    if geometry.axes.iter().any(empty) {
        return refuse("one of its windows holds padding only", EXPORT_AGAIN);
    }
    let mut y = x;
    let mut rounds = 0;
    for k in 3 - rank..3 {
        let axis = &geometry.axes[k];
        let candidates = candidates(axis)?;
        rounds += candidates.len().next_power_of_two().ilog2();
        y.shared |= candidates.len() > 1;
        let read = |draft: &mut _, rows: &Vec<Row>| along(draft, &y, k + rank - 1, rows);
        let list = candidates.iter().map(|rows| read(call.draft, rows)).collect::<Result<Vec<_>, _>>()?;
        y = tournament(call, list, Pick::Larger);
    }
    note(call, rounds);
    Ok(Value::Tensor(y))
}

/// For each tap what every window reads there. A tap outside the image reads one inside, which changes no maximum.
fn candidates(axis: &Axis) -> Result<Vec<Vec<Row>>, Refusal> {
    let windows: Vec<Vec<usize>> = (0..axis.outputs()).map(|o| axis.inside(o)).collect();
    let most = windows.iter().map(Vec::len).max().unwrap_or(0);
    if most > MAX_CANDIDATES {
        return refuse(format!("its windows have {most} positions"), "use a smaller window");
    }
    let whole = most == axis.kernel as usize;
    let position = |o: u32, tap: usize| {
        let inside = &windows[o as usize];
        let own = axis.position(o, tap as u32);
        let own = usize::try_from(own).ok().filter(|p| whole && *p < axis.extent as usize);
        Some(own.unwrap_or(inside[tap.min(inside.len() - 1)]))
    };
    let tap = |tap: usize| copies(&(0..axis.outputs()).map(|o| position(o, tap)).collect::<Vec<_>>());
    Ok((0..most).map(tap).collect())
}

fn note(call: &mut Call<'_>, rounds: u32) {
    let text = format!(
        "{}: its maximum takes {rounds} rounds of max(a, b) = b + Relu(a - b), each as deep as a Relu and with its error",
        call.draft.origin
    );
    call.draft.notes.push(text);
}

/// GlobalMaxPool.
pub(in crate::frontend) fn global(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    spatial(&x)?;
    let mut shape = x.shape.clone();
    shape[2..].fill(1);
    let axes: Vec<usize> = (2..x.shape.len()).collect();
    Ok(Value::Tensor(extreme_over(call, &x, &axes, Pick::Larger)?.reshaped(shape)))
}

/// ReduceMax.
pub(in crate::frontend) fn reduce_max(call: &mut Call<'_>) -> Lowered {
    reduced(call, Pick::Larger)
}

/// ReduceMin.
pub(in crate::frontend) fn reduce_min(call: &mut Call<'_>) -> Lowered {
    reduced(call, Pick::Smaller)
}

fn reduced(call: &mut Call<'_>, which: Pick) -> Lowered {
    let x = call.tensor(0)?;
    let (axes, shape) = reduction(call, &x.shape)?;
    Ok(Value::Tensor(extreme_over(call, &x, &axes, which)?.reshaped(shape)))
}

/// The largest or smallest over axes, in order: halves of what is left of each run of neighbours are compared.
fn extreme_over(
    call: &mut Call<'_>,
    x: &TensorRef,
    axes: &[usize],
    which: Pick,
) -> Result<TensorRef, Refusal> {
    let mut y = x.clone();
    let mut rounds = 0;
    for run in axes.chunk_by(|a, b| a + 1 == *b) {
        let (first, end) = (run[0], run[run.len() - 1] + 1);
        let behind = x.shape[end..].iter().product::<usize>();
        let mut left = x.shape[first..end].iter().product::<usize>();
        // Runs before this one have left one element each.
        let before = y.elements() / (left * behind);
        y = y.reshaped(vec![before, left, behind]);
        while left > 1 {
            let half = left.div_ceil(2);
            y.shared = true;
            let whole = |k: usize| ViewAxis {
                extent: size(y.shape[k]),
                input_axis: Some(size(k)),
                start: 0,
                step: 1,
            };
            let part = |start: usize| {
                vec![whole(0), ViewAxis { extent: size(half), start: start as i64, ..whole(1) }, whole(2)]
            };
            let (first, second) = (part(0), part(left - half));
            let (first, second) = (walked(call.draft, &y, first)?, walked(call.draft, &y, second)?);
            y = pick(call, &first, &second, which);
            (left, rounds) = (half, rounds + 1);
        }
    }
    if rounds > 0 {
        note(call, rounds);
    }
    Ok(y)
}
