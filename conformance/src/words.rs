//! How values stand in messages for people.

use std::time::Duration;

/// A duration as a person reads it.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// The word that is most like `wrong`, if one is so like that it may be meant.
pub(crate) fn nearest<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes quadratic time: a text of such length is no slip of the finger.
    if wrong.chars().count() > 64 {
        return None;
    }
    let wrong = wrong.to_lowercase().replace('_', "-");
    let near = |word: &str| {
        let distance = strsim::damerau_levenshtein(&wrong, word);
        let begins = wrong.len() >= 3 && (word.starts_with(&wrong) || wrong.starts_with(word));
        (if begins { distance.min(2) } else { distance }, (word.chars().count().max(wrong.len()) * 2 / 5).max(1))
    };
    let near = right.into_iter().map(|word| (near(word), word)).filter(|((distance, limit), _)| distance <= limit);
    near.min_by_key(|((distance, _), _)| *distance).map(|(_, word)| word)
}

/// `; did you mean …?`, or nothing, and then what there is.
pub(crate) fn instead<'a>(wrong: &str, what: &str, right: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let mean = nearest(wrong, right.clone()).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
    let all: Vec<_> = right.into_iter().map(|word| format!("`{word}`")).collect();
    let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    format!("{mean} ({what}: {all})")
}

/// Text from outside as a message shows it: on one line, not endless.
pub(crate) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}
