//! How values are written in messages for people.

use std::time::Duration;

pub(crate) use crate::dialect::words::quote;

/// A duration, rounded for people.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

/// The beginning of a text, at most `chars_max` characters.
pub(crate) fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// A text wrapped at spaces into lines of at most `room` characters, of which all but the first begin with `gap`. With too
/// little room for readable lines it stays whole, and the terminal wraps it.
pub(crate) fn wrapped(text: &str, room: usize, gap: &str) -> String {
    const READABLE: usize = 24;
    if room < READABLE {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            out.push('\n');
            out.push_str(gap);
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_words_stay_whole() {
        let text = "a sentence that is long, and has averyverylongwordindeeditis in it";
        let lines = wrapped(text, 24, "  ");
        assert_eq!(lines, "a sentence that is long,\n  and has\n  averyverylongwordindeeditis\n  in it");
        assert_eq!(wrapped(text, 23, "  "), text, "too little room");
        assert_eq!(wrapped(text, usize::MAX, "  "), text);
        assert_eq!(wrapped("", 30, "  "), "");
    }
}
