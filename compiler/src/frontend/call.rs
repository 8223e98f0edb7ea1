//! One ONNX node as an operator's function sees it: operands, attributes, and the draft to write into.

use super::draft::{Draft, TensorRef};
use super::error::{Refusal, refuse};
use super::reference::Constant;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto};

/// Largest integer attribute that is taken seriously; keeps geometry far from overflow.
const MAX_EXTENT: i64 = 1 << 24;

/// What an ONNX name stands for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Known at compile time.
    Constant(Constant),
    /// Depends on the input.
    Tensor(TensorRef),
    /// Which elements of a tensor exceed a number: read by Where alone.
    Comparison(Comparison),
    /// Does not depend on the input, but was not folded.
    Unfolded,
    /// Behind an unsupported node.
    Unknown,
}

impl Value {
    /// Whether it is the same for every input.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Value::Constant(_) | Value::Unfolded)
    }
}

/// A tensor compared with a number, element by element.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub x: TensorRef,
    pub threshold: f64,
    /// Whether larger elements are meant, or smaller ones.
    pub above: bool,
}

/// A node with its operands.
pub(super) struct Call<'a> {
    pub node: &'a NodeProto,
    pub operands: Vec<Option<Value>>,
    /// Which of the node's outputs is wanted.
    pub output: usize,
    pub opset: i64,
    pub draft: &'a mut Draft,
}

impl Call<'_> {
    /// An operand that depends on the input.
    pub fn tensor(&self, k: usize) -> Result<TensorRef, Refusal> {
        match self.operands.get(k) {
            Some(Some(Value::Tensor(t))) => {
                if t.client.is_empty() {
                    return Ok(t.clone());
                }
                refuse(
                    format!("operand {k} comes from Softmax or ArgMax, which only the client can compute"),
                    "cut the model before the Softmax with `--output TENSOR`",
                )
            }
            Some(Some(Value::Constant(_))) => {
                refuse(format!("operand {k} is a constant"), "swap the operands or fold the constant")
            }
            Some(Some(Value::Comparison(_))) => refuse(
                format!("operand {k} compares encrypted values, which only Where can read"),
                "train with Relu, LeakyRelu or Clip in its place",
            ),
            _ => refuse(format!("operand {k} is missing"), "export the model again"),
        }
    }

    /// A constant operand, if given.
    pub fn optional_constant(&self, k: usize) -> Result<Option<&Constant>, Refusal> {
        match self.operands.get(k) {
            None | Some(None) => Ok(None),
            Some(Some(Value::Constant(c))) => {
                if c.values.iter().any(|v| v.is_nan()) {
                    return refuse(format!("constant operand {k} holds NaN"), "export the model again");
                }
                Ok(Some(c))
            }
            Some(Some(_)) => refuse(
                format!("operand {k} depends on the encrypted input, and must be a constant"),
                "make it an initializer",
            ),
        }
    }

    /// A constant operand.
    pub fn constant(&self, k: usize) -> Result<&Constant, Refusal> {
        match self.optional_constant(k)? {
            Some(c) => Ok(c),
            None => refuse(format!("operand {k} is missing"), "export the model again"),
        }
    }

    /// A constant operand that becomes weights: finite and not empty.
    pub fn weights(&self, k: usize) -> Result<Constant, Refusal> {
        let c = self.constant(k)?;
        if c.values.is_empty() || c.values.iter().any(|v| !v.is_finite()) {
            return refuse(format!("constant operand {k} is empty or not finite"), "export the model again");
        }
        Ok(c.clone())
    }

    /// A constant operand of integers, if given.
    pub fn integers(&self, k: usize) -> Result<Option<Vec<i64>>, Refusal> {
        Ok(self.optional_constant(k)?.map(|c| c.values.iter().map(|v| *v as i64).collect()))
    }

    /// Axes listed by the attribute `axes`, or by operand `k` where the attribute has become one; counted from the front.
    pub fn axes(&self, k: usize, rank: usize) -> Result<Option<Vec<usize>>, Refusal> {
        let listed = match self.ints("axes")? {
            Some(axes) => Some(axes),
            None => self.integers(k)?,
        };
        listed.map(|list| list.iter().map(|a| self.axis(*a, rank)).collect()).transpose()
    }

    /// ONNX name of operand `k`.
    pub fn operand_name(&self, k: usize) -> String {
        self.node.input.get(k).cloned().unwrap_or_default()
    }

    fn attribute(&self, name: &str, kind: AttributeType) -> Result<Option<&AttributeProto>, Refusal> {
        let Some(found) = self.node.attribute.iter().find(|a| a.name == name) else { return Ok(None) };
        if found.r#type == kind as i32 || found.r#type == AttributeType::Undefined as i32 {
            return Ok(Some(found));
        }
        refuse(format!("attribute `{name}` is not of type {}", kind.as_str_name()), "export the model again")
    }

    /// An integer attribute.
    pub fn int(&self, name: &str, default: i64) -> Result<i64, Refusal> {
        Ok(self.attribute(name, AttributeType::Int)?.map_or(default, |a| a.i))
    }

    /// A float attribute; finite.
    pub fn float(&self, name: &str, default: f32) -> Result<f64, Refusal> {
        let value = self.attribute(name, AttributeType::Float)?.map_or(default, |a| a.f);
        if value.is_finite() {
            return Ok(f64::from(value));
        }
        refuse(format!("attribute `{name}` is not finite"), "export the model again")
    }

    /// A float attribute, if given (infinities allowed).
    pub fn optional_float(&self, name: &str) -> Result<Option<f64>, Refusal> {
        Ok(self.attribute(name, AttributeType::Float)?.map(|a| f64::from(a.f)))
    }

    /// An integer list, if given.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
        Ok(self.attribute(name, AttributeType::Ints)?.map(|a| a.ints.clone()))
    }

    /// A string attribute.
    pub fn string(&self, name: &str, default: &str) -> Result<String, Refusal> {
        let found = self.attribute(name, AttributeType::String)?;
        Ok(found.map_or_else(|| default.to_owned(), |a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    /// A list of positive sizes, one per spatial axis, if given.
    pub fn sizes(&self, name: &str, axes: usize) -> Result<Option<Vec<u32>>, Refusal> {
        let Some(list) = self.ints(name)? else { return Ok(None) };
        let fits = |v: &i64| (1..=MAX_EXTENT).contains(v);
        if list.len() == axes && list.iter().all(fits) {
            return Ok(Some(list.iter().map(|v| *v as u32).collect()));
        }
        refuse(
            format!("attribute `{name}` is {list:?}; {axes} positive sizes are needed"),
            "export the model again",
        )
    }

    /// Integer bounds that cannot overflow in sums.
    pub fn bounded(&self, what: &str, list: &[i64]) -> Result<(), Refusal> {
        match list.iter().find(|v| v.unsigned_abs() > MAX_EXTENT as u64) {
            Some(v) => refuse(format!("{what} holds {v}, which is out of range"), "export the model again"),
            None => Ok(()),
        }
    }

    /// An axis of a tensor of this rank, counted from the front.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, Refusal> {
        let signed = rank as i64;
        if (-signed..signed).contains(&axis) {
            return Ok(axis.rem_euclid(signed) as usize);
        }
        refuse(format!("axis {axis} is out of range for {rank} axes"), "export the model again")
    }
}
