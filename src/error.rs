//! One error for all that a user can meet: what kind, where, what, and what to do.

use serde::Serialize;
use std::io::ErrorKind;

/// Kind of a failure; decides the exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Wrong arguments.
    Usage,
    /// A file, image or model that cannot be read.
    BadInput,
    /// A model that is understood but cannot be compiled.
    UnsupportedModel,
    /// Files that do not belong together.
    Mismatch,
    /// Memory, disk, permissions.
    Resources,
    /// A bug of ours.
    Internal,
}

impl Kind {
    /// Exit code of the command.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::BadInput => 3,
            Kind::UnsupportedModel => 4,
            Kind::Mismatch => 5,
            Kind::Resources => 6,
            Kind::Internal => 70,
        }
    }
}

/// A failure as a user sees it.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Error {
    /// Kind.
    pub kind: Kind,
    /// File, node or argument.
    #[serde(rename = "where")]
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; empty where `what` says it.
    pub remedy: String,
}

impl Error {
    /// An error of this kind at this place.
    pub fn new(kind: Kind, place: impl ToString, what: impl ToString) -> Error {
        Error { kind, place: place.to_string(), what: what.to_string(), remedy: String::new() }
    }

    /// The same with advice.
    pub fn remedy(mut self, remedy: impl ToString) -> Error {
        self.remedy = remedy.to_string();
        self
    }

    /// The same with one more way out.
    pub fn or(mut self, other: &str) -> Error {
        self.remedy =
            if self.remedy.is_empty() { other.to_owned() } else { format!("{}, or {other}", self.remedy) };
        self
    }

    /// An I/O failure on a path: missing or oversized input is bad input, the rest are resources.
    pub fn io(path: &std::path::Path, error: &std::io::Error) -> Error {
        let kind = match error.kind() {
            ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::FileTooLarge => Kind::BadInput,
            _ => Kind::Resources,
        };
        Error::new(kind, path.display(), error).remedy(Error::io_remedy(error.kind()))
    }

    /// What to do about a failure of the system; empty where nothing is known.
    pub(crate) fn io_remedy(kind: ErrorKind) -> &'static str {
        match kind {
            ErrorKind::NotFound => "check the spelling, and the folder that the command runs in",
            ErrorKind::PermissionDenied => "check who owns the file and its folder, and their permissions",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space",
            ErrorKind::ReadOnlyFilesystem => "make the file system writable",
            ErrorKind::IsADirectory => "name a file, not a folder",
            ErrorKind::FileTooLarge => "give a smaller file",
            _ => "",
        }
    }
}

impl From<crate::data::DataError> for Error {
    fn from(e: crate::data::DataError) -> Error {
        use crate::data::DataError;
        match &e {
            DataError::Io { path, source } => Error::io(path, source),
            DataError::UnknownFormat { path, .. }
            | DataError::Malformed { path, .. }
            | DataError::Shape { path, .. }
            | DataError::NotFinite { path, .. } => {
                let text = e.to_string();
                let what = text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned();
                Error::new(Kind::BadInput, path.display(), what)
            }
        }
    }
}
