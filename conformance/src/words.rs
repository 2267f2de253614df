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
