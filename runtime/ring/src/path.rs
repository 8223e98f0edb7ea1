//! Which instructions the kernels use. Results do not depend on it.

use crate::kernel::Kernel;

/// A set of kernels. All give the same bits; they differ in speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// AVX-512 with 52-bit multiply-add.
    Ifma,
    /// AVX2.
    Avx2,
    /// Portable code.
    Scalar,
}

impl Path {
    /// Every path, fastest first.
    pub const ALL: [Path; 3] = [Path::Ifma, Path::Avx2, Path::Scalar];

    /// The fastest path of this processor.
    pub fn best() -> Path {
        Self::ALL.into_iter().find(|path| path.is_available()).unwrap_or(Path::Scalar)
    }

    /// The paths of this processor, fastest first; [`Path::Scalar`] is always among them.
    pub fn available() -> Vec<Path> {
        Self::ALL.into_iter().filter(|path| path.is_available()).collect()
    }

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        Kernel::detect(self).is_some()
    }

    /// A name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Path::Ifma => "ifma",
            Path::Avx2 => "avx2",
            Path::Scalar => "scalar",
        }
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
