//! Tensor graphs as text: what `--print-after` shows of the stages that leave one.

use super::{Function, Kind, TensorGraph};
use std::fmt;

impl fmt::Display for TensorGraph {
    /// One line per tensor: name, shape, range, how it is computed, operands; then outputs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.order() {
            let node = self.node(id);
            let operands: Vec<String> = self.operands(id).iter().map(|o| format!("#{}", o.0)).collect();
            write!(f, "#{} {:?} {:?}", id.0, node.name, node.shape)?;
            if let Some([low, high]) = node.range {
                write!(f, " in [{low:.4}, {high:.4}]")?;
            }
            writeln!(f, " = {}({})", node.kind, operands.join(" "))?;
        }
        for output in &self.outputs {
            writeln!(f, "output {:?} #{}", output.name, output.node.0)?;
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    /// What is computed, without operands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Linear { operators, scale, bias } => {
                let mut parts: Vec<String> = operators.iter().map(|o| o.kind().to_owned()).collect();
                if *scale != 1.0 || parts.is_empty() {
                    parts.push(format!("times {scale}"));
                }
                if bias.is_some() {
                    parts.push("bias".into());
                }
                f.write_str(&parts.join(", then "))
            }
            Kind::Elementwise(function) => function.fmt(f),
            Kind::Input => f.write_str("input"),
            Kind::Add => f.write_str("add"),
            Kind::Sub => f.write_str("sub"),
            Kind::Mul => f.write_str("mul"),
            Kind::Concat { axis } => write!(f, "concat along {axis}"),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Function::Square => f.write_str("square"),
            Function::Exact(function) => write!(f, "{function:?}"),
            Function::Polynomial { coefficients, range: [low, high], max_error, of } => write!(
                f,
                "{of:?} as polynomial of degree {} on [{low:.4}, {high:.4}], error {max_error:.2e}",
                coefficients.len().saturating_sub(1)
            ),
        }
    }
}
