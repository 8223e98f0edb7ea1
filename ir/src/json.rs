//! A circuit as one JSON object: its summary and its nodes, for tools that draw or count.
//!
//! Promises: the same bytes always (entries in fixed order). It is for reading only; nothing parses it back.

use crate::circuit::{Circuit, Node};
use crate::summary::Summary;
use crate::verify::{ValueType, shown, value_types};
use serde_json::{Value, json};

impl Circuit {
    /// The summary's entries, and `nodes`: a list of {value, results, op, operands, keys, layer, level,
    /// scale, rotations, diagonals}.
    pub fn to_json(&self) -> Value {
        let types = value_types(self).unwrap_or_default();
        let nodes: Vec<Value> =
            self.nodes.iter().map(|n| node(self, n, types.get(n.first.0 as usize))).collect();
        let mut object = json!(Summary::of(self));
        object["nodes"] = Value::Array(nodes);
        object
    }
}

fn node(circuit: &Circuit, node: &Node, known: Option<&ValueType>) -> Value {
    json!({
        "value": node.first.0,
        "results": node.results,
        "op": node.op.name(),
        "operands": node.op.operands().iter().map(|v| v.0).collect::<Vec<_>>(),
        "keys": node.op.keys().iter().map(|k| k.0).collect::<Vec<_>>(),
        "layer": circuit.origins.get(node.origin as usize),
        "level": known.map(|t| t.level.0),
        "scale": known.map(|t| shown(&t.scale)),
        "rotations": node.op.rotations(),
        "diagonals": node.op.diagonals(),
    })
}
