//! Stage 2, composition of linear maps.
//!
//! Does: replaces `Concat` by sums of padded views, and merges a linear node into the linear node before it where that
//! one has no other consumer. Needs: lowered activations (their scalings are linear nodes). Leaves: a graph in which
//! linear nodes never follow each other on a private edge ([`Merge::All`]), or do so only where both have a cost of
//! their own, so that a later stage may choose ([`Merge::Free`]); every merge saves one level. Why here: levels are
//! counted next. The composition stays a descriptor, weights are stored once; only the bias is computed.

use crate::activation::{empty_copy, relink};
use crate::error::CompileError;
use crate::graph::{Kind, NodeId, TensorGraph, TensorNode};
use cipherloom_ir::{MapError, Operator, Tensor, TensorId, ViewAxis, matrix_rows};

/// Which neighbours are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// All.
    All,
    /// Those of which one is a scaling or a view: merging these never costs anything.
    Free,
    /// None.
    Nothing,
}

/// Merges adjacent linear nodes.
pub fn compose(graph: &TensorGraph, merge: Merge) -> Result<TensorGraph, CompileError> {
    let split = split_concat(graph);
    let mut out = empty_copy(&split);
    let mut renamed: Vec<NodeId> = Vec::new();
    for id in split.order() {
        let node = split.node(id).clone();
        let sources = split.operands(id);
        let operands: Vec<NodeId> = sources.iter().map(|o| renamed[o.0 as usize]).collect();
        let private = sources.len() == 1
            && split.consumers(sources[0]).len() == 1
            && !split.outputs.iter().any(|o| o.node == sources[0]);
        let inner = operands.first().map(|o| out.node(*o).clone());
        let merged = match inner.filter(|inner| private && wanted(merge, inner, &node)) {
            Some(inner) => Some(composed(&mut out.tensors, &inner, &node)?),
            None => None,
        };
        renamed.push(match merged {
            Some(merged) => {
                *out.node_mut(operands[0]) = merged;
                operands[0]
            }
            None => out.add(node, &operands),
        });
    }
    relink(&split, &mut out, &renamed);
    Ok(out)
}

/// Whether two neighbours are linear and to be merged.
fn wanted(merge: Merge, first: &TensorNode, second: &TensorNode) -> bool {
    let (Kind::Linear { operators: f, .. }, Kind::Linear { operators: s, .. }) = (&first.kind, &second.kind)
    else {
        return false;
    };
    let free = |list: &[Operator]| list.iter().all(|o| matches!(o, Operator::View { .. }));
    match merge {
        Merge::All => true,
        Merge::Free => free(f) || free(s),
        Merge::Nothing => false,
    }
}

/// The linear node that does what `first` and then `second` do; its other attributes are the second's.
///
/// # Errors
/// Where one is not linear, the maps do not fit each other, or the composition is too large.
pub(crate) fn composed(
    tensors: &mut Vec<Tensor>,
    first: &TensorNode,
    second: &TensorNode,
) -> Result<TensorNode, CompileError> {
    let (
        Kind::Linear { operators: f, scale: s1, bias: b1 },
        Kind::Linear { operators: g, scale: s2, bias: b2 },
    ) = (&first.kind, &second.kind)
    else {
        return Err(CompileError::Internal(format!("`{}` is not a composition of linear maps", second.name)));
    };
    let bias = match b1 {
        None => *b2,
        Some(b1) => {
            let before = Before { tensor: *b1, shape: &first.shape, then: g, scale: *s2 };
            let values = combined_bias(tensors, &before, *b2)
                .map_err(|e| CompileError::map("composition", &second.name, &e))?;
            let (values, shape) = channel_form(values, &second.shape);
            tensors.push(Tensor { name: format!("{}.bias", second.name), shape, values });
            Some(TensorId(tensors.len() as u32 - 1))
        }
    };
    let operators = f.iter().chain(g).cloned().collect();
    Ok(TensorNode { kind: Kind::Linear { operators, scale: s1 * s2, bias }, ..second.clone() })
}

/// A bias and what happens to it.
struct Before<'a> {
    tensor: TensorId,
    shape: &'a [u32],
    then: &'a [Operator],
    scale: f64,
}

/// `scale · then(before) + after`, over the whole output.
fn combined_bias(
    tensors: &[Tensor],
    before: &Before<'_>,
    after: Option<TensorId>,
) -> Result<Vec<f64>, MapError> {
    let full = broadcast(&tensors[before.tensor.0 as usize], before.shape);
    let (rows, _) = matrix_rows(before.then, before.scale, before.shape, tensors)?;
    let mut values = rows.apply(&full);
    if let Some(after) = after {
        let tensor = &tensors[after.0 as usize];
        let per = values.len() / tensor.values.len();
        values.iter_mut().enumerate().for_each(|(k, v)| *v += f64::from(tensor.values[k / per]));
    }
    Ok(values)
}

/// A bias `[channels]` or of full shape as a full tensor.
fn broadcast(bias: &Tensor, shape: &[u32]) -> Vec<f64> {
    let elements = shape.iter().product::<u32>() as usize;
    let per = elements / bias.values.len();
    (0..elements).map(|k| f64::from(bias.values[k / per])).collect()
}

/// One value per channel where the bias is constant on channels (keeps files small), else the full shape.
fn channel_form(values: Vec<f64>, shape: &[u32]) -> (Vec<f32>, Vec<u32>) {
    let per = (values.len() / shape[0] as usize).max(1);
    let uniform = values.chunks(per).all(|c| c.iter().all(|v| (*v as f32) == (c[0] as f32)));
    let kept: Vec<f32> = values.iter().step_by(if uniform { per } else { 1 }).map(|v| *v as f32).collect();
    (kept, if uniform { vec![shape[0]] } else { shape.to_vec() })
}

/// Replaces each `Concat` by a sum of zero-padded views of its operands.
fn split_concat(graph: &TensorGraph) -> TensorGraph {
    let mut out = empty_copy(graph);
    let mut renamed: Vec<NodeId> = Vec::new();
    for id in graph.order() {
        let node = graph.node(id).clone();
        let sources: Vec<NodeId> = graph.operands(id).iter().map(|o| renamed[o.0 as usize]).collect();
        let Kind::Concat { axis } = node.kind else {
            renamed.push(out.add(node, &sources));
            continue;
        };
        let mut sum: Option<NodeId> = None;
        let mut offset = 0i64;
        for source in sources {
            let shape = out.node(source).shape.clone();
            let view = Operator::View { input: shape.clone(), axes: padded_axes(&node.shape, axis, offset) };
            offset += i64::from(shape[axis as usize]);
            let kind = Kind::Linear { operators: vec![view], scale: 1.0, bias: None };
            let part = out.add(TensorNode { kind, ..node.clone() }, &[source]);
            sum = Some(match sum {
                None => part,
                Some(sum) => out.add(TensorNode { kind: Kind::Add, ..node.clone() }, &[sum, part]),
            });
        }
        renamed.push(sum.expect("a concatenation has operands"));
    }
    relink(graph, &mut out, &renamed);
    out
}

fn padded_axes(shape: &[u32], axis: u32, offset: i64) -> Vec<ViewAxis> {
    (0u32..)
        .zip(shape)
        .map(|(k, extent)| ViewAxis {
            extent: *extent,
            input_axis: Some(k),
            start: if k == axis { -offset } else { 0 },
            step: 1,
        })
        .collect()
}
