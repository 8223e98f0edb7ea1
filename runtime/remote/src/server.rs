//! Where a server is, and how one is let in.
//!
//! Promises: a token is never printed, and only what can stand in a request's header becomes one.

use crate::error::{Kind, RemoteError};

/// Longest token; ours have 68 bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// A bearer token; it is not printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token as the operator gave it, without white space around it; the characters are those of RFC 6750, section 2.1.
    pub fn new(text: &str) -> Result<Token, RemoteError> {
        let token = text.trim();
        let wrong = |what| {
            Err(RemoteError::new(Kind::Usage, "token", what)
                .remedy("give the token that the server's operator made (`cipherloom serve token add`)"))
        };
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        match token.len() {
            0 => wrong("holds no token"),
            1..=TOKEN_BYTES_MAX if token.bytes().all(fits) => Ok(Token(token.to_owned())),
            _ => wrong("is no token"),
        }
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where a server is, and how one is let in.
#[derive(Clone, Debug)]
pub struct Server {
    /// `https://host[:port]`, or `http://` on loopback.
    pub url: String,
    /// Token.
    pub token: Token,
    /// Certificates (PEM) that vouch for the server in place of the public authorities.
    pub ca: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_tokens_form_and_is_not_printed() {
        let token = Token::new(" cl1-secret\n").unwrap();
        assert_eq!(format!("{token:?}{}", token.secret()), "Token(..)cl1-secret");
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        for bad in ["", " \n", "two words", "a\u{1b}b", "a\r\nb", "LOOM\u{fffd}\0", "é", &long] {
            assert_eq!(Token::new(bad).unwrap_err().kind, Kind::Usage, "{bad:?}");
        }
    }
}
