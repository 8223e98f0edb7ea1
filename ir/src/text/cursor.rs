//! Reads one line from left to right.

use super::TextProblem;
use crate::digest::Digest;
use crate::layout::Digit;
use crate::op::{KeyId, KeyedStep, Step};
use std::str::FromStr;

/// The rest of a line; blanks before each token are skipped.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    line: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// A line without its comment.
    pub(super) fn new(line: &'a str) -> Cursor<'a> {
        let line = without_comment(line).trim_end();
        Cursor { line, rest: line.trim_start() }
    }

    /// Column of the next token, from 1.
    pub(super) fn column(&self) -> usize {
        let passed = &self.line[..self.line.len() - self.rest.len()];
        passed.chars().count() + 1
    }

    /// Whether the line is read.
    pub(super) fn done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses anything left on the line.
    pub(super) fn end(&self) -> Result<(), TextProblem> {
        if self.done() { Ok(()) } else { Err(self.expected("the end of the line")) }
    }

    /// The error that something else should stand here.
    pub(super) fn expected(&self, what: &str) -> TextProblem {
        let token = self.rest.split_whitespace().next().unwrap_or("");
        let found = token.chars().take(40).collect();
        TextProblem::Expected { expected: what.to_owned(), found }
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    /// Whether this token stands here; a word ends where letters, digits and `_` end.
    pub(super) fn at(&self, token: &str) -> bool {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.rest.strip_prefix(token).is_some_and(|after| !token.ends_with(word) || !after.starts_with(word))
    }

    /// Takes the token if it stands here.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        let here = self.at(token);
        if here {
            self.advance(token.len());
        }
        here
    }

    /// Takes the token that must stand here.
    pub(super) fn expect(&mut self, token: &str) -> Result<(), TextProblem> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(&format!("'{token}'"))) }
    }

    /// One of several words.
    pub(super) fn choice<T: Clone>(&mut self, what: &str, choices: &[(&str, T)]) -> Result<T, TextProblem> {
        match choices.iter().find(|(token, _)| self.at(token)) {
            Some((token, value)) => {
                self.advance(token.len());
                Ok(value.clone())
            }
            None => Err(self.expected(what)),
        }
    }

    /// The word that stands here, without taking it.
    pub(super) fn word(&self) -> &'a str {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        &self.rest[..end.unwrap_or(self.rest.len())]
    }

    /// Takes the word that stands here.
    pub(super) fn take_word(&mut self) -> &'a str {
        let word = self.word();
        self.advance(word.len());
        word
    }

    /// An unsigned whole number.
    pub(super) fn number<T: FromStr>(&mut self) -> Result<T, TextProblem> {
        self.parsed("a whole number", |c| c.is_ascii_digit())
    }

    /// A whole number with an optional sign.
    pub(super) fn signed(&mut self) -> Result<i64, TextProblem> {
        self.parsed("a whole number", |c| c.is_ascii_digit() || c == '-')
    }

    /// A floating-point number.
    pub(super) fn float<T: FromStr>(&mut self) -> Result<T, TextProblem> {
        self.parsed("a number", |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'))
    }

    /// A digest in hexadecimal.
    pub(super) fn digest(&mut self) -> Result<Digest, TextProblem> {
        self.parsed("64 hexadecimal digits", |c| c.is_ascii_hexdigit())
    }

    fn parsed<T: FromStr>(&mut self, what: &str, part: impl Fn(char) -> bool) -> Result<T, TextProblem> {
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let value = self.rest[..end].parse().map_err(|_| self.expected(what))?;
        self.advance(end);
        Ok(value)
    }

    /// A number behind a letter, like `v12`.
    pub(super) fn numbered(&mut self, letter: &str) -> Result<u32, TextProblem> {
        let error = self.expected(&format!("'{letter}' and a number"));
        match self.rest.strip_prefix(letter) {
            Some(after) if after.starts_with(|c: char| c.is_ascii_digit()) => {
                self.rest = after;
                self.number().map_err(|_| error)
            }
            _ => Err(error),
        }
    }

    /// Two numbers with a dot between, like `0.3`.
    pub(super) fn dotted(&mut self) -> Result<(u32, u32), TextProblem> {
        let first = self.number()?;
        self.expect(".")?;
        Ok((first, self.number()?))
    }

    /// Two numbers with an `x` between, like `3x3`.
    pub(super) fn pair(&mut self) -> Result<[u32; 2], TextProblem> {
        Ok([self.number_before_x()?, self.number()?])
    }

    /// A number and the `x` behind it.
    pub(super) fn number_before_x(&mut self) -> Result<u32, TextProblem> {
        let number = self.number()?;
        match self.rest.strip_prefix('x') {
            Some(after) => self.rest = after,
            None => return Err(self.expected("'x'")),
        }
        Ok(number)
    }

    /// A quoted string.
    pub(super) fn string(&mut self) -> Result<String, TextProblem> {
        let error = self.expected("a quoted string");
        let Some(body) = self.rest.strip_prefix('"') else { return Err(error) };
        let mut out = String::new();
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.advance(at + 2);
                    return Ok(out);
                }
                '\\' => out.push(escaped(&mut chars).ok_or_else(|| error.clone())?),
                c => out.push(c),
            }
        }
        Err(error)
    }

    /// Items up to a closing token; commas between them are skipped.
    pub(super) fn until<T>(
        &mut self,
        close: &str,
        item: impl Fn(&mut Cursor<'a>) -> Result<T, TextProblem>,
    ) -> Result<Vec<T>, TextProblem> {
        let mut out = vec![];
        while !self.eat(close) {
            out.push(item(self)?);
            self.eat(",");
        }
        Ok(out)
    }

    /// Items in brackets.
    pub(super) fn bracketed<T>(
        &mut self,
        item: impl Fn(&mut Cursor<'a>) -> Result<T, TextProblem>,
    ) -> Result<Vec<T>, TextProblem> {
        self.expect("[")?;
        self.until("]", item)
    }

    /// A fixed number of items in brackets.
    pub(super) fn array<T, const N: usize>(
        &mut self,
        what: &str,
        item: impl Fn(&mut Cursor<'a>) -> Result<T, TextProblem>,
    ) -> Result<[T; N], TextProblem> {
        let error = self.expected(what);
        self.bracketed(item)?.try_into().map_err(|_| error)
    }

    /// Digits in parentheses, like `(2@32 2@1)`.
    pub(super) fn digits(&mut self) -> Result<Vec<Digit>, TextProblem> {
        self.expect("(")?;
        self.until(")", |c| {
            let extent = c.number()?;
            c.expect("@")?;
            Ok(Digit { extent, stride: c.number()? })
        })
    }

    /// A rotation step with its key, like `5:k1`.
    pub(super) fn keyed_step(&mut self) -> Result<KeyedStep, TextProblem> {
        let step = Step(self.number()?);
        let key = if self.eat(":") { Some(KeyId(self.numbered("k")?)) } else { None };
        Ok(KeyedStep { step, key })
    }
}

/// The character of an escape sequence as Rust writes it, behind its backslash.
fn escaped(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    match chars.next()?.1 {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        '0' => Some('\0'),
        'u' => {
            chars.next().filter(|(_, c)| *c == '{')?;
            let digits: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '}').take(7).collect();
            u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
        }
        c @ ('"' | '\'' | '\\') => Some(c),
        _ => None,
    }
}

/// The part of a line before `;`, unless that stands in a string or a product list.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0i32);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth -= 1,
            ';' if !quoted && depth <= 0 => return &line[..at],
            _ => {}
        }
    }
    line
}
