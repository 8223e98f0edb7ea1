//! Compiles ONNX CNNs to CKKS circuits.
