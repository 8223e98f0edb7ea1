//! What can go wrong between client and server, in the words of whoever noticed it.

use cipherloom_client::ClientError;
use cipherloom_ir::container::ContainerError;
use cipherloom_ir::printable::one_line;
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
        RemoteError::new(kind, place, what).remedy(&remedy)
    }
}

impl RemoteError {
    /// An error of this kind at this place. All texts become harmless lines: a server may have had a hand in each.
    pub fn new(kind: Kind, place: impl ToString, what: impl ToString) -> RemoteError {
        let (place, what) = (one_line(&place.to_string()), one_line(&what.to_string()));
        RemoteError { kind, place, what, remedy: String::new() }
    }

    /// The same at another place.
    pub fn at(self, place: impl ToString) -> RemoteError {
        RemoteError { place: one_line(&place.to_string()), ..self }
    }

    /// The same with advice.
    pub fn remedy(self, remedy: &str) -> RemoteError {
        RemoteError { remedy: one_line(remedy), ..self }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_cannot_steer_the_terminal() {
        let evil = "\u{1b}[2J\n\u{9b}m\u{202e}ok".to_owned();
        let problem =
            Problem { kind: Kind::Usage, place: evil.clone(), what: evil.clone(), remedy: evil.clone() };
        let said = RemoteError::from(problem);
        let harmless = r"\u001b[2J\u000a\u009bm\u202eok";
        assert_eq!([&said.place, &said.what, &said.remedy], [harmless; 3]);
        let ours = RemoteError::new(Kind::Usage, "C:\\ü 'é'", &evil).at(&evil).remedy(&evil);
        assert_eq!([&ours.place, &ours.what, &ours.remedy], [harmless; 3]);
    }
}
