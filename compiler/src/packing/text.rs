//! Packings as text: what `--print-after packing` shows and snapshots compare.

use super::{Arranged, Choice, LinearChoice};
use crate::graph::{Function, Kind, NodeId};
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Digit, Gap, Hoisting, Layout};
use std::fmt;

impl fmt::Display for Arranged {
    /// One line per tensor: level, name, layout, and how it is computed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.graph.order() {
            let node = self.graph.node(id);
            let Level(level) = self.levels.at(id);
            let layout = &self.packed.layouts[id.0 as usize].layout;
            let operands: Vec<String> = self.graph.operands(id).iter().map(|o| format!("#{}", o.0)).collect();
            write!(f, "#{} {:?} level {level} ", id.0, node.name)?;
            write_layout(f, layout)?;
            write!(f, " = {}({})", self.how(id), operands.join(" "))?;
            writeln!(f)?;
        }
        for output in &self.graph.outputs {
            writeln!(f, "output {:?} #{}", output.name, output.node.0)?;
        }
        Ok(())
    }
}

impl Arranged {
    fn how(&self, id: NodeId) -> String {
        match (&self.packed.choices[id.0 as usize], &self.graph.node(id).kind) {
            (Choice::Linear(choice), Kind::Linear { operators, .. }) => {
                let what = match operators.as_slice() {
                    [] => "repack".to_owned(),
                    list => list.iter().map(|o| o.kind()).collect::<Vec<_>>().join(", then "),
                };
                format!("{what} by {}", linear(choice))
            }
            (_, Kind::Linear { .. }) => "scaling".to_owned(),
            (_, Kind::Input) => "input".to_owned(),
            (_, Kind::Elementwise(Function::Square)) => "square".to_owned(),
            (_, Kind::Elementwise(Function::Exact(function))) => format!("{function:?}"),
            (_, Kind::Elementwise(Function::Polynomial { coefficients, .. })) => {
                format!("polynomial of degree {}", coefficients.len().saturating_sub(1))
            }
            (_, kind) => format!("{kind:?}").to_lowercase(),
        }
    }
}

fn linear(choice: &LinearChoice) -> String {
    let split = &choice.split;
    let form = match split.hoisting {
        Hoisting::Single => "single",
        Hoisting::Double => "double",
    };
    let listed = |word: &str, list: &[Digit]| match list {
        [] => String::new(),
        list => format!(", {word} {}", digits(list)),
    };
    let folds = listed("fold", &choice.kernel.fold) + &listed("copy", &choice.kernel.copied);
    format!(
        "{} diagonals, {} babies x {} giants {form}{folds}",
        split.products.len(),
        split.babies.len(),
        split.giants.len()
    )
}

fn write_layout(f: &mut fmt::Formatter<'_>, layout: &Layout) -> fmt::Result {
    write!(f, "{:?} in {} x {}", layout.shape, layout.ciphertexts, layout.slots)?;
    layout.axes.iter().try_for_each(|axis| write!(f, " ({})", digits(axis)))?;
    if !layout.replicas.is_empty() {
        write!(f, " copies ({})", digits(&layout.replicas))?;
    }
    write!(f, "{}", if layout.gap == Gap::Junk { " junk" } else { "" })
}

fn digits(list: &[Digit]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
