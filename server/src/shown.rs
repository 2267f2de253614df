//! Text from clients, as logs show it.

use std::fmt::{self, Write};

/// A text without characters that could forge a line, move the cursor, or reverse the direction: they are escaped.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\'' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;

    #[test]
    fn what_could_forge_a_line_is_escaped() {
        for (text, shown) in [
            ("Ana's \"room\" é 日本", "Ana's \"room\" é 日本"),
            ("a\nINFO forged", "a\\nINFO forged"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\\u{202e}b\\u{2066}c\\u{200f}"),
            ("\u{2028}\u{85}\u{9b}\\n", "\\u{2028}\\u{85}\\u{9b}\\\\n"),
        ] {
            assert_eq!(Shown(text).to_string(), shown);
        }
    }
}
