//! How what is wrong in a text from outside is shown to people.

/// The longest text that is quoted, and the most words in a list.
const QUOTED_CHARS_MAX: usize = 60;
const LISTED_MAX: usize = 20;
/// A longer text is not a typing error, and comparing it takes quadratic time.
const WRONG_CHARS_MAX: usize = 64;
/// The most words that are suggested.
const SUGGESTED_MAX: usize = 3;

/// Text from outside, as a message quotes it: on one line, without control characters, and cut.
pub fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        quoted.push('…');
    }
    format!("`{}`", quoted.replace("\\\"", "\"").replace("\\'", "'"))
}

/// A suggestion after a wrong word: `; did you mean …? (what: …)`.
///
/// Scenario files use the same rules (`scenarios/src/error.rs`). Neither crate depends on the other, so there are two
/// copies.
pub fn instead<'a>(wrong: &str, what: &str, right: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let near: Vec<String> = nearest(wrong, right.clone()).into_iter().map(|word| format!("`{word}`")).collect();
    let near = match near.split_last() {
        None => String::new(),
        Some((only, [])) => format!("; did you mean {only}?"),
        Some((last, others)) => format!("; did you mean {} or {last}?", others.join(", ")),
    };
    let mut shown: Vec<String> = right.clone().into_iter().take(LISTED_MAX).map(|word| format!("`{word}`")).collect();
    if shown.is_empty() {
        shown.push("none".to_owned());
    }
    let more = right.into_iter().skip(LISTED_MAX).count();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{near} ({what}: {}{more})", shown.join(", "))
}

/// The words most similar to `wrong`; none if no word is similar enough to be meant.
fn nearest<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let length = wrong.chars().count();
    if length > WRONG_CHARS_MAX {
        return Vec::new();
    }
    let wrong = wrong.to_lowercase().replace('_', "-");
    let near = right.into_iter().filter_map(|word| {
        let distance = strsim::damerau_levenshtein(&wrong, word);
        // The beginning of a word counts like a typing error.
        let begins = length >= 3 && word.starts_with(&wrong);
        let distance = if begins { distance.min(1) } else { distance };
        (distance <= (word.chars().count().max(length) * 2 / 5).max(1)).then_some((distance, word))
    });
    let near: Vec<(usize, &str)> = near.collect();
    let least = near.iter().map(|(distance, _)| *distance).min();
    near.into_iter()
        .filter(|(distance, _)| Some(*distance) == least)
        .map(|(_, word)| word)
        .take(SUGGESTED_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_gets_those_that_are_most_like_it() {
        assert_eq!(instead("mehs", "names", ["mesh", "call"]), "; did you mean `mesh`? (names: `mesh`, `call`)");
        assert_eq!(instead("bat", "names", ["cat", "hat"]), "; did you mean `cat` or `hat`? (names: `cat`, `hat`)");
        assert_eq!(
            instead("send", "names", ["sender-viewer"]),
            "; did you mean `sender-viewer`? (names: `sender-viewer`)"
        );
        assert_eq!(instead("nonsense", "names", ["mesh"]), " (names: `mesh`)");
        assert_eq!(instead("x", "names", []), " (names: none)");
        let many: Vec<String> = (0..25).map(|number| format!("word-{number}")).collect();
        assert!(instead("nonsense", "words", many.iter().map(String::as_str)).ends_with("`word-19` and 5 more)"));
    }

    #[test]
    fn text_from_outside_is_one_line_with_an_end() {
        assert_eq!(quote("a\nb\"'"), "`a\\nb\"'`");
        assert_eq!(quote(&"x".repeat(61)), format!("`{}…`", "x".repeat(60)));
    }
}
