//! What can go wrong between client and server, in the words of whoever noticed it.

use cipherloom_client::ClientError;
use cipherloom_ir::container::ContainerError;
pub use cipherloom_ir::wire::Kind;
use cipherloom_ir::wire::Problem;
use std::path::Path;

/// A failure with its place and remedy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct RemoteError {
    /// Kind.
    pub kind: Kind,
    /// File, address or part of a request.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

impl From<Problem> for RemoteError {
    /// A refusal in the server's words.
    fn from(Problem { kind, place, what, remedy }: Problem) -> RemoteError {
        RemoteError { kind, place, what, remedy }
    }
}

impl RemoteError {
    /// An error of this kind at this place.
    pub fn new(kind: Kind, place: impl ToString, what: impl ToString) -> RemoteError {
        RemoteError { kind, place: place.to_string(), what: what.to_string(), remedy: String::new() }
    }

    /// The same with advice.
    pub fn remedy(self, remedy: &str) -> RemoteError {
        RemoteError { remedy: remedy.to_owned(), ..self }
    }

    pub(crate) fn io(path: &Path, error: &std::io::Error) -> RemoteError {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::BadInput,
            _ => Kind::Resources,
        };
        RemoteError::new(kind, path.display(), error.kind())
    }

    /// What the client's mathematics refuses about something that came from `place`.
    pub(crate) fn client(place: impl ToString, error: &ClientError) -> RemoteError {
        let kind = match error {
            ClientError::WrongKey { .. }
            | ClientError::Foreign { .. }
            | ClientError::File(ContainerError::Foreign { .. }) => Kind::Mismatch,
            ClientError::Entropy { .. } | ClientError::File(ContainerError::Io(_)) => Kind::Resources,
            _ => Kind::BadInput,
        };
        RemoteError::new(kind, place, error)
    }
}
