//! Where, and the comparisons that it reads.
//!
//! A constant mask is linear. A mask that compares an encrypted tensor with a number is taken where the whole is one known
//! function of that tensor: two lines that meet (Relu, LeakyRelu, a bound), a line above a threshold and zero below, and the
//! guard that exporters put around Softplus.

use super::arithmetic::{common_shape, spread, sum_of};
use super::view::broadcast;
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Comparison, Value};
use crate::frontend::draft::{Draft, DraftKind, TensorRef};
use crate::frontend::error::{Refusal, refuse};
use crate::graph::{Function, Kind};
use cipherloom_ir::Activation;

/// From here on Softplus is its argument, to the precision of float32.
const SOFTPLUS_IS_LINEAR: f64 = 15.0;
/// Largest difference of numbers that exporters round to float32.
const TOLERANCE: f64 = 1e-6;

const REMEDY: &str = "train with Relu, LeakyRelu or Clip in its place";

/// Greater and GreaterOrEqual.
pub(in crate::frontend) fn greater(call: &mut Call<'_>) -> Lowered {
    compared(call, true)
}

/// Less and LessOrEqual.
pub(in crate::frontend) fn less(call: &mut Call<'_>) -> Lowered {
    compared(call, false)
}

/// A comparison costs nothing by itself: what reads it decides.
fn compared(call: &mut Call<'_>, above: bool) -> Lowered {
    let left = matches!(call.operands.first(), Some(Some(Value::Constant(_))));
    let (t, c) = if left { (1, 0) } else { (0, 1) };
    if !matches!(call.operands.get(c), Some(Some(Value::Constant(_)))) {
        return refuse("it compares two encrypted tensors", "use Max or Min");
    }
    let (x, c) = (call.tensor(t)?, call.weights(c)?);
    let Some(&threshold) = c.values.first() else { return refuse("it compares with nothing", EXPORT_AGAIN) };
    if c.values.iter().any(|v| *v != threshold) || common_shape(&x.shape, &c.shape)? != x.shape {
        return refuse("it compares with different numbers", "compare with one number");
    }
    // The tensor is read again where the comparison is.
    let x = TensorRef { shared: true, ..x };
    Ok(Value::Comparison(Comparison { x, threshold, above: above != left }))
}

/// Where.
pub(in crate::frontend) fn select(call: &mut Call<'_>) -> Lowered {
    let comparison = match call.operands.first() {
        Some(Some(Value::Constant(_))) => return masked(call),
        Some(Some(Value::Comparison(comparison))) => comparison.clone(),
        _ => return refuse("its condition is no constant and no comparison with a number", REMEDY),
    };
    let (yes, no) = if comparison.above { (1, 2) } else { (2, 1) };
    let (above, below) = (branch(call, yes, &comparison)?, branch(call, no, &comparison)?);
    bent(call, &comparison, above, below)
}

/// `mask · x + (1 - mask) · y`
fn masked(call: &mut Call<'_>) -> Lowered {
    let mask = call.weights(0)?;
    let mut shape = mask.shape.clone();
    for operand in call.operands.iter().skip(1).flatten() {
        shape = match operand {
            Value::Constant(c) => common_shape(&shape, &c.shape)?,
            Value::Tensor(t) => common_shape(&shape, &t.shape)?,
            _ => shape,
        };
    }
    super::holds(&shape)?;
    let mask: Vec<f64> = spread(&mask, &shape).iter().map(|v| f64::from(u8::from(*v != 0.0))).collect();
    let rest = mask.iter().map(|m| 1.0 - m).collect();
    let mut constant: Option<Vec<f64>> = None;
    let mut total: Option<TensorRef> = None;
    for (k, mask) in [(1, mask), (2, rest)] {
        if let Some(Some(Value::Constant(_))) = call.operands.get(k) {
            let values = spread(&call.weights(k)?, &shape);
            constant = Some(values.iter().zip(mask).map(|(v, m)| v * m).collect());
            continue;
        }
        let x = call.tensor(k)?;
        if mask.iter().all(|m| *m == 0.0) {
            continue;
        }
        let x = broadcast(call.draft, &x, &shape)?;
        let part = call.draft.multiplied(&x, mask);
        total = Some(match total {
            Some(sum) => sum_of(call, &sum, &part),
            None => part,
        });
    }
    match (total, constant) {
        (Some(total), Some(constant)) => Ok(Value::Tensor(call.draft.shifted(&total, constant))),
        (Some(total), None) => Ok(Value::Tensor(total)),
        (None, _) => refuse("its mask takes nothing of the encrypted tensor", "remove the node"),
    }
}

/// `slope · x + shift` of a node's tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    slope: f64,
    shift: f64,
}

impl Line {
    fn at(self, x: f64) -> f64 {
        self.slope * x + self.shift
    }

    /// This line of another.
    fn of(self, inner: Line) -> Line {
        Line { slope: self.slope * inner.slope, shift: self.at(inner.shift) }
    }
}

/// What stands on one side of the threshold, as a function of one tensor.
enum Branch {
    Line(Line),
    /// `outer(Softplus(inner(x)))`
    Softplus {
        outer: Line,
        inner: Line,
        y: TensorRef,
    },
}

/// A node as a line of what stands before it.
fn line(draft: &Draft, node: usize) -> Option<(usize, Line)> {
    let DraftKind::Graph(Kind::Linear { operators, scale, bias }) = &draft.nodes[node].kind else {
        return None;
    };
    let shift = match bias {
        Some(id) => {
            let values = &draft.values(*id).values;
            values.iter().all(|v| *v == values[0]).then(|| f64::from(values[0]))?
        }
        None => 0.0,
    };
    operators.is_empty().then(|| (draft.nodes[node].operands[0], Line { slope: *scale, shift }))
}

/// A node as a line of `base`.
fn line_of(draft: &Draft, mut node: usize, base: usize) -> Option<Line> {
    let mut outer = Line { slope: 1.0, shift: 0.0 };
    while node != base {
        let (before, inner) = line(draft, node)?;
        (node, outer) = (before, outer.of(inner));
    }
    Some(outer)
}

/// What the compared tensor is a line of.
fn base(draft: &Draft, mut node: usize) -> usize {
    while let Some((before, _)) = line(draft, node) {
        node = before;
    }
    node
}

fn branch(call: &Call<'_>, k: usize, compared: &Comparison) -> Result<Branch, Refusal> {
    let unknown = || refuse("its branches are not functions of the compared tensor that are known", REMEDY);
    if let Some(Some(Value::Constant(_))) = call.operands.get(k) {
        let c = call.weights(k)?;
        let shift = c.values.first().copied().filter(|first| c.values.iter().all(|v| v == first));
        let fits = common_shape(&compared.x.shape, &c.shape)? == compared.x.shape;
        return match shift.filter(|_| fits) {
            Some(shift) => Ok(Branch::Line(Line { slope: 0.0, shift })),
            None => unknown(),
        };
    }
    let y = call.tensor(k)?;
    let (draft, base) = (&*call.draft, base(call.draft, compared.x.node));
    if y.shape != compared.x.shape {
        return unknown();
    }
    if let Some(line) = line_of(draft, y.node, base) {
        return Ok(Branch::Line(line));
    }
    let (node, outer) = match line(draft, y.node) {
        Some(found) => found,
        None => (y.node, Line { slope: 1.0, shift: 0.0 }),
    };
    let DraftKind::Graph(Kind::Elementwise(Function::Exact(Activation::Softplus))) = draft.nodes[node].kind
    else {
        return unknown();
    };
    match line_of(draft, draft.nodes[node].operands[0], base) {
        Some(inner) => Ok(Branch::Softplus { outer, inner, y }),
        None => unknown(),
    }
}

/// The function that is `above` where the compared tensor exceeds the threshold, else `below`.
fn bent(call: &mut Call<'_>, compared: &Comparison, above: Branch, below: Branch) -> Lowered {
    let node = base(call.draft, compared.x.node);
    let near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * (1.0 + b.abs());
    let Some(own) = line_of(call.draft, compared.x.node, node).filter(|own| own.slope > 0.0) else {
        return refuse("it compares a tensor that is turned around", "compare the tensor itself");
    };
    let threshold = (compared.threshold - own.shift) / own.slope;
    let x = TensorRef { node, shared: true, ..compared.x.clone() };
    let n = x.elements();
    match (above, below) {
        (Branch::Line(high), Branch::Line(low)) if near(high.at(threshold), low.at(threshold)) => {
            if high == (Line { slope: 1.0, shift: 0.0 }) && low.shift == 0.0 && threshold == 0.0 {
                return Ok(Value::Tensor(call.draft.activation(&x, Activation::LeakyRelu(low.slope))));
            }
            let moved = call.draft.shifted(&x, vec![-threshold; n]);
            let bend = call.draft.activation(&moved, Activation::Relu);
            let bend = call.draft.multiplied(&bend, vec![high.slope - low.slope; n]);
            if low.slope == 0.0 {
                return Ok(Value::Tensor(call.draft.shifted(&bend, vec![low.shift; n])));
            }
            let straight = call.draft.multiplied(&x, vec![low.slope; n]);
            let straight = call.draft.shifted(&straight, vec![low.shift; n]);
            Ok(Value::Tensor(sum_of(call, &straight, &bend)))
        }
        (Branch::Line(high), Branch::Line(low))
            if high == (Line { slope: 1.0, shift: 0.0 }) && low == (Line { slope: 0.0, shift: 0.0 }) =>
        {
            let text = format!(
                "{}: it jumps at {threshold}, which no polynomial follows; `compile --explain activations` shows the errors",
                call.draft.origin
            );
            call.draft.notes.push(text);
            Ok(Value::Tensor(call.draft.activation(&x, Activation::ThresholdedRelu(threshold))))
        }
        (Branch::Line(high), Branch::Softplus { outer, inner, y })
            if inner.slope > 0.0 && inner.at(threshold) >= SOFTPLUS_IS_LINEAR =>
        {
            let guarded = outer.of(inner);
            match near(high.slope, guarded.slope) && near(high.shift, guarded.shift) {
                true => Ok(Value::Tensor(y)),
                false => refuse("above its threshold it is not what Softplus tends to", EXPORT_AGAIN),
            }
        }
        _ => refuse("its branches do not make a function that is known", REMEDY),
    }
}
