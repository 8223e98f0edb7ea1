//! Operators that tract means otherwise than ONNX does, written in operators on which they agree.
//!
//! Of tract 0.23: Celu lacks its factor alpha, Swish its alpha. Only the clear result that ours is compared with needs this.

use super::names::Names;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto};

/// Writes them out.
pub(super) fn restate(graph: &mut GraphProto) {
    let mut names = Names::of(graph);
    let nodes = std::mem::take(&mut graph.node);
    for node in nodes {
        let alpha = node.attribute.iter().find(|a| a.name == "alpha").map_or(1.0, |a| a.f);
        let (Some(x), Some(y)) = (node.input.first(), node.output.first()) else {
            graph.node.push(node);
            continue;
        };
        let [factor, inner, outer] = [0, 1, 2].map(|k| names.fresh(&format!("{y} restated {k}")));
        let steps = match node.op_type.as_str() {
            "Celu" if alpha != 1.0 => [
                step("Div", &[x, &factor], &inner),
                step("Elu", &[&inner], &outer),
                step("Mul", &[&outer, &factor], y),
            ],
            "Swish" if alpha != 1.0 => [
                step("Mul", &[x, &factor], &inner),
                step("Sigmoid", &[&inner], &outer),
                step("Mul", &[x, &outer], y),
            ],
            _ => {
                graph.node.push(node);
                continue;
            }
        };
        graph.initializer.push(scalar(factor, alpha));
        graph.node.extend(steps);
    }
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
