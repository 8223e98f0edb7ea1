//! Words and figures for the page: names made harmless, times and shares as people read them.
//!
//! Relies on nothing. Promises: whatever a name holds, it neither ends an element or attribute nor turns the text around
//! it, and it takes bounded room; the same figure is always the same text.

use std::fmt;

/// Most characters of a name, and of a sentence, that are shown.
const NAME_CHARACTERS_MAX: usize = 120;
const PARAGRAPH_CHARACTERS_MAX: usize = 1_000;

/// A name from a file, as it may stand in an element or in a quoted attribute.
pub(super) struct Name<'a>(pub(super) &'a str);

/// A sentence that may hold such names.
pub(super) struct Paragraph<'a>(pub(super) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, NAME_CHARACTERS_MAX)
    }
}

impl fmt::Display for Paragraph<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, PARAGRAPH_CHARACTERS_MAX)
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str, characters_max: usize) -> fmt::Result {
    for (k, c) in text.chars().enumerate() {
        match c {
            _ if k == characters_max => return f.write_str("…"),
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' => f.write_str("&quot;")?,
            '\'' => f.write_str("&#39;")?,
            c if is_hidden(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    Ok(())
}

/// Controls, and characters that turn the direction of what follows or take no room.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A time: `12.3 ms`.
pub(super) fn time(ns: u64) -> String {
    let (value, unit) = match ns {
        0 => return "0".into(),
        n if n < 1_000_000 => (n as f64 / 1e3, "µs"),
        n if n < 1_000_000_000 => (n as f64 / 1e6, "ms"),
        n => (n as f64 / 1e9, "s"),
    };
    format!("{} {unit}", three_figures(value))
}

/// A number of bytes: `12.3 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    let (value, unit) = match bytes {
        b if b < 1_000 => return format!("{b} B"),
        b if b < 1_000_000 => (b as f64 / 1e3, "kB"),
        b if b < 1_000_000_000 => (b as f64 / 1e6, "MB"),
        b => (b as f64 / 1e9, "GB"),
    };
    format!("{} {unit}", three_figures(value))
}

/// Three figures that count.
fn three_figures(value: f64) -> String {
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// A part of a whole in percent: `12.3 %`.
pub(super) fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", percent(part, whole))
}

/// A part of a whole in percent; of nothing, nothing.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// `1 node`, `2 nodes`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A shape: `16×32×32`.
pub(super) fn shape(shape: &[u32]) -> String {
    shape.iter().map(u32::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_nothing_and_turn_nothing() {
        let hostile = "<script>\"'&\u{202e}\n";
        assert_eq!(Name(hostile).to_string(), "&lt;script&gt;&quot;&#39;&amp;\\u{202e}\\u{a}");
        let long = "é".repeat(500);
        assert_eq!(Name(&long).to_string().chars().count(), NAME_CHARACTERS_MAX + 1);
    }

    #[test]
    fn figures_keep_three_places() {
        assert_eq!(
            [0, 999, 12_345, 9_999_999, 1_500_000_000].map(time),
            ["0", "1.00 µs", "12.3 µs", "10.0 ms", "1.50 s"]
        );
        assert_eq!([999, 1_000, 99_960_000].map(bytes), ["999 B", "1.00 kB", "100 MB"]);
        assert_eq!((share(1, 8), share(1, 0)), ("12.5 %".into(), "0.0 %".into()));
    }
}
