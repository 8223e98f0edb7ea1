//! Operators that tract means otherwise than ONNX does, written in operators on which they agree.
//!
//! Of tract 0.23: Celu lacks its factor alpha, Swish its alpha. Only the clear result that ours is compared with needs this.

use super::names::Names;
use super::proto::is_onnx_domain;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto};

/// Writes them out.
pub(super) fn restate(graph: &mut GraphProto) {
    let mut names = Names::of(graph);
    for node in std::mem::take(&mut graph.node) {
        match restated(&node, &mut names) {
            Some((factor, steps)) => {
                graph.initializer.push(factor);
                graph.node.extend(steps);
            }
            None => graph.node.push(node),
        }
    }
}

/// A constant, and the nodes that read it; `None` for nodes on which tract agrees.
fn restated(node: &NodeProto, names: &mut Names) -> Option<(TensorProto, [NodeProto; 3])> {
    let operator = node.op_type.as_str();
    let alpha = node.attribute.iter().find(|a| a.name == "alpha").map_or(1.0, |a| a.f);
    if !is_onnx_domain(&node.domain) || !matches!(operator, "Celu" | "Swish") || alpha == 1.0 {
        return None;
    }
    let (x, y) = (node.input.first()?, node.output.first()?);
    let [factor, inner, outer] = [0, 1, 2].map(|k| names.fresh(&format!("{y} restated {k}")));
    let steps = match operator {
        "Celu" => [
            step("Div", &[x, &factor], &inner),
            step("Elu", &[&inner], &outer),
            step("Mul", &[&outer, &factor], y),
        ],
        _ => [
            step("Mul", &[x, &factor], &inner),
            step("Sigmoid", &[&inner], &outer),
            step("Mul", &[x, &outer], y),
        ],
    };
    Some((scalar(factor, alpha), steps))
}

fn step(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn scalar(name: String, value: f32) -> TensorProto {
    let data_type = tensor_proto::DataType::Float as i32;
    TensorProto { name, data_type, float_data: vec![value], ..TensorProto::default() }
}
