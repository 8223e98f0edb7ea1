//! The stages of the compiler, as one table: what each does, needs and leaves, and what stands in for it when it is off.
//!
//! [`compile`](crate::compile()) walks the table from the top; `--print-after`, `--stop-after` and `--off` take the
//! names; `docs/passes.md` is made from it ([`crate::passes`]). Promises: every stage stands here once, in order.

use std::fmt;
use std::str::FromStr;

/// A stage, in the order in which the compiler walks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From ONNX to tensors.
    Frontend,
    /// Activations become polynomials.
    Activation,
    /// Neighbouring linear maps become one.
    Compose,
    /// Magnitudes of intermediate values.
    Balance,
    /// Levels of all tensors.
    Levels,
    /// Layouts and kernels.
    Packing,
    /// Baby and giant steps of every linear map.
    Rotation,
    /// Ring degree, primes, gadget.
    Parameters,
    /// The circuit, eager.
    Emission,
    /// The circuit, with its relinearisations and rescales where they are cheapest.
    Rescale,
    /// The circuit, bootstrapped where levels do not suffice.
    Bootstrap,
    /// What it costs.
    Forecast,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageInfo {
    /// The stage.
    pub stage: Stage,
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What must have been decided before.
    pub needs: &'static str,
    /// What later stages find.
    pub leaves: &'static str,
    /// What stands in for it when it is off; `None`: it cannot be off.
    pub off: Option<&'static str>,
}

const fn row(stage: Stage, name: &'static str, cells: [&'static str; 3], off: &'static str) -> StageInfo {
    let [does, needs, leaves] = cells;
    StageInfo { stage, name, does, needs, leaves, off: if off.is_empty() { None } else { Some(off) } }
}

/// All stages, in order: does, needs, leaves, and what stands in when off.
#[rustfmt::skip]
pub const STAGES: [StageInfo; 12] = [
    row(Stage::Frontend, "frontend",
        ["reads layers, shapes and constants", "an ONNX file", "a graph of tensors"], ""),
    row(Stage::Activation, "activation",
        ["fits a polynomial to every activation", "ranges", "a graph of linear maps and polynomials"], ""),
    row(Stage::Compose, "compose",
        ["merges linear maps that follow each other", "scalings as linear maps", "fewer linear maps"],
        "neighbours stay apart"),
    row(Stage::Balance, "balance",
        ["brings inputs of squares and outputs near one magnitude", "composed maps", "the same function, less error"],
        "values as the model has them"),
    row(Stage::Levels, "levels",
        ["counts the fewest levels", "all layers", "the length of the chain"], ""),
    row(Stage::Packing, "packing",
        ["chooses layouts, kernels, compositions and levels", "slots, costs", "an arranged network"],
        "one multiplexed layout for every tensor"),
    row(Stage::Rotation, "rotation",
        ["chooses baby and giant steps of all maps, steps of folds and sums in one plan", "diagonals, costs", "rotations and keys"],
        "as many baby steps as giant steps, nearly"),
    row(Stage::Parameters, "parameters",
        ["finds the smallest scale that is precise enough", "a trace of the circuit", "ring, primes, gadget"], ""),
    row(Stage::Emission, "emission",
        ["writes every layer down, rescaling at once", "an arranged network, primes", "a circuit"], ""),
    row(Stage::Rescale, "rescale",
        ["moves relinearisations, rescales, scalars and adjusts", "a circuit, costs", "an equal, cheaper circuit"],
        "the circuit as it was emitted"),
    row(Stage::Bootstrap, "bootstrap",
        ["cuts levels where they run out and bootstraps what crosses", "a circuit, slots' sizes, a bootstrapping", "a circuit of the bootstrapping's levels; leveled ones as they were"], ""),
    row(Stage::Forecast, "forecast",
        ["adds up time, memory, keys and bytes", "a circuit, its trace", "the circuit that is written"], ""),
];

impl Stage {
    /// Its row of the table.
    pub fn info(self) -> &'static StageInfo {
        &STAGES[self as usize]
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The same stage, where it may be switched off.
    pub fn switchable(self) -> Result<Stage, StageError> {
        self.info().off.map(|_| self).ok_or(StageError::AlwaysOn { stage: self })
    }
}

/// Why a stage cannot be named so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// No such stage.
    #[error("no stage is called `{name}`; there are {}", names(|_| true))]
    Unknown {
        /// What was named.
        name: String,
    },
    /// The stage cannot be switched off.
    #[error("`{stage}` cannot be off: nothing could stand in for it; these can: {}", names(|s| s.off.is_some()))]
    AlwaysOn {
        /// The stage.
        stage: Stage,
    },
}

fn names(which: fn(&StageInfo) -> bool) -> String {
    STAGES.iter().filter(|s| which(s)).map(|s| s.name).collect::<Vec<_>>().join(", ")
}

impl FromStr for Stage {
    type Err = StageError;
    fn from_str(name: &str) -> Result<Stage, StageError> {
        let found = STAGES.iter().find(|s| s.name == name);
        found.map(|s| s.stage).ok_or_else(|| StageError::Unknown { name: name.to_owned() })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_are_found() {
        for (k, row) in STAGES.iter().enumerate() {
            assert_eq!(row.stage as usize, k);
            assert_eq!(row.name.parse(), Ok(row.stage));
        }
        assert_eq!("nothing".parse::<Stage>(), Err(StageError::Unknown { name: "nothing".into() }));
        let refused = Stage::Levels.switchable().expect_err("levels are needed").to_string();
        assert!(refused.ends_with("compose, balance, packing, rotation, rescale"), "{refused}");
    }
}
