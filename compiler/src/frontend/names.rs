//! Names of tensors that the frontend adds to a graph.
//!
//! Promises: a name that is given out was free, in subgraphs too, however hostile the names of the file are; and all tries together are
//! no more than the names that are taken.

use super::inline::subgraphs;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::GraphProto;

/// Names that are taken.
pub(super) struct Names {
    taken: BTreeSet<String>,
    /// Given out, by the names that were wanted.
    derived: BTreeMap<String, String>,
    /// Stands behind the next name that is taken already. It only rises, so that each name of the file is in the way once.
    number: usize,
}

impl Names {
    /// All names of a graph, those that its subgraphs define or read among them.
    pub fn of(graph: &GraphProto) -> Names {
        let mut taken = BTreeSet::new();
        let mut graphs = vec![graph];
        while let Some(graph) = graphs.pop() {
            taken.extend(graph.input.iter().chain(&graph.output).map(|v| v.name.clone()));
            taken.extend(graph.initializer.iter().map(|t| t.name.clone()));
            taken.extend(graph.node.iter().flat_map(|n| n.input.iter().chain(&n.output)).cloned());
            graphs.extend(graph.node.iter().flat_map(subgraphs));
        }
        Names { taken, derived: BTreeMap::new(), number: 1 }
    }

    /// The name that is wanted, or one like it that is free.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let mut free = wanted.to_owned();
        while !self.taken.insert(free.clone()) {
            free = format!("{wanted}_{}", self.number);
            self.number += 1;
        }
        free
    }

    /// As [`Names::fresh`], but the same name every time; whether this is the first.
    pub fn derived(&mut self, wanted: &str) -> (String, bool) {
        if let Some(known) = self.derived.get(wanted) {
            return (known.clone(), false);
        }
        let free = self.fresh(wanted);
        self.derived.insert(wanted.to_owned(), free.clone());
        (free, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::TensorProto;

    /// Names with numbers are in the way of the first only.
    #[test]
    fn tries_are_no_more_than_names() {
        let names = ["n".to_owned()].into_iter().chain((1..1000).map(|k| format!("n_{k}")));
        let initializer = names.map(|name| TensorProto { name, ..TensorProto::default() }).collect();
        let mut names = Names::of(&GraphProto { initializer, ..GraphProto::default() });
        assert_eq!(names.fresh("m"), "m");
        assert_eq!(names.derived("n"), ("n_1000".to_owned(), true));
        assert_eq!(names.fresh("n"), "n_1001");
        assert_eq!(names.derived("n"), ("n_1000".to_owned(), false));
        assert_eq!(names.number, 1002);
    }
}
