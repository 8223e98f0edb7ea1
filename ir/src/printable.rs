//! Text out of files, models and answers, made fit for a terminal.

/// As one line: no name moves the cursor, turns the direction of writing, or looks like a line of ours. Such characters are
/// written out (`\u001b`), as JSON would.
pub fn one_line(text: &str) -> String {
    escaped(text, &[])
}

/// The same for several lines.
pub fn lines(text: &str) -> String {
    escaped(text, &['\n', '\t'])
}

fn escaped(text: &str, kept: &[char]) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match (c.is_control() || turns(c)) && !kept.contains(&c) {
            true => out += &format!("\\u{:04x}", u32::from(c)),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(one_line("\u{1b}[2J\n\u{9b}m\u{202e}ok"), r"\u001b[2J\u000a\u009bm\u202eok");
        assert_eq!(lines("a\n\u{1b}b"), "a\n\\u001bb");
        assert_eq!(one_line("C:\\ü 'é' 日本"), "C:\\ü 'é' 日本");
    }
}
