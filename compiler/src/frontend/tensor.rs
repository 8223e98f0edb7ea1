//! Tensors in files of their own: the `.pb` files of ONNX test data, as values or as constants for inputs of a model.
//!
//! Promises: what [`TensorFile::read`] accepts is whole and of a known type; values are finite where they are floats.

use super::error::{BadTensor, FrontendError};
use super::proto::check_tensor;
use ndarray::ArrayD;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::tensor::proto_from_reader;

/// A tensor as ONNX stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorFile {
    proto: TensorProto,
}

impl TensorFile {
    /// Reads a serialized tensor.
    ///
    /// # Errors
    /// Bytes that are no tensor, data that do not fit the dimensions, a type that no circuit takes, or values that are not
    /// finite.
    pub fn read(bytes: &[u8]) -> Result<TensorFile, FrontendError> {
        let proto = proto_from_reader(bytes).map_err(|e| FrontendError::NotOnnx {
            reason: format!("the tensor does not decode ({})", e.root_cause()),
        })?;
        match check_tensor(&proto) {
            Ok(()) => Ok(TensorFile { proto }),
            Err(reason) => {
                let tensor = proto.name;
                Err(FrontendError::Weights { tensors: vec![BadTensor { tensor, reason }] })
            }
        }
    }

    /// Its values, if it is of type float32.
    pub fn floats(&self) -> Option<ArrayD<f32>> {
        if self.proto.data_type != DataType::Float as i32 {
            return None;
        }
        let shape: Vec<usize> = self.proto.dims.iter().map(|d| *d as usize).collect();
        let raw = self.proto.raw_data.chunks_exact(4);
        let raw = raw.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let values: Vec<f32> = raw.chain(self.proto.float_data.iter().copied()).collect();
        ArrayD::from_shape_vec(shape, values).ok()
    }

    /// The tensor under another name.
    pub(super) fn named(&self, name: &str) -> TensorProto {
        TensorProto { name: name.to_owned(), ..self.proto.clone() }
    }
}
