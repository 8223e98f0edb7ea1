//! The contract between Cipherloom's compiler and runtime: circuits, their laws and file formats.
