//! Standard output and standard error. If nobody reads any further, as behind `| head`, the program goes on to its
//! verdict, which is its exit code, without a word.
//!
//! Whatever is printed may contain names and messages of others. They must not move the cursor or reverse the direction.

use std::borrow::Cow;
use std::io::{self, Write};

/// Prints a text, without its colors if the terminal has none.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::print(&format!($($text)*)) };
}

/// Prints a text and a line feed.
macro_rules! outln {
    () => { $crate::output::print("\n") };
    ($($text:tt)*) => { $crate::output::print(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints a text and a line feed on standard error.
macro_rules! errln {
    ($($text:tt)*) => { $crate::output::print_error(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints on standard output.
pub(crate) fn print(text: &str) {
    write(anstream::stdout().lock(), &harmless(text));
}

/// Prints on standard error.
pub(crate) fn print_error(text: &str) {
    write(anstream::stderr().lock(), &harmless(text));
}

fn write(mut stream: impl Write, text: &str) {
    let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    if let Err(error) = unless_reader_gone(written) {
        // There is nowhere else to say it.
        let _ = writeln!(io::stderr(), "error: cannot print: {error}");
        std::process::exit(i32::from(crate::exit::USAGE));
    }
}

/// A text without control characters and bidirectional marks, except for line feeds, tabs and the colors of this program.
/// The others become escapes that mean the same in JSON.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        let is_mark =
            matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        is_mark || c.is_control() && !matches!(c, '\n' | '\t')
    };
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        if is_harmful(c) && !is_style(&text[at..]) {
            harmless.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            harmless.push(c);
        }
    }
    Cow::Owned(harmless)
}

/// Whether a text begins with an escape sequence that sets a style, such as a color.
fn is_style(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return false };
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
}

/// Treats what was written as written if nobody reads any further.
fn unless_reader_gone(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Standard output as a stream, for results that programs read.
#[derive(Default)]
pub(crate) struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_reader_gone(io::stdout().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_reader_gone(io::stdout().flush())
    }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn what_could_move_the_cursor_is_escaped_and_colors_stay() {
        for (text, shown) in [
            ("fine: é 日本\n\tindented", "fine: é 日本\n\tindented"),
            ("\u{1b}[1m\u{1b}[31mred\u{1b}[0m", "\u{1b}[1m\u{1b}[31mred\u{1b}[0m"),
            ("a\u{1b}[2Jb\u{1b}]0;title\u{7}", "a\\u001b[2Jb\\u001b]0;title\\u0007"),
            ("a\rb\u{9b}2J\u{202e}c\u{2066}", "a\\u000db\\u009b2J\\u202ec\\u2066"),
            ("{\"name\":\"\u{202e}\"}", "{\"name\":\"\\u202e\"}"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }
}
