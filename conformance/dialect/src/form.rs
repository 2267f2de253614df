//! The form of names that the suite chooses: `########-####-4###-8###-############`.

use crate::shape::{Values, plain};

/// A name needs at least this many digits of its own, or two runs at the same time could choose the same.
pub const DIGITS_MIN: usize = 8;
/// The digits that count the names of a run; those before them are of the run.
const COUNT_BITS: u32 = 20;

/// How many digits the suite chooses in a name of this form.
pub fn digits(form: &str) -> usize {
    form.matches('#').count()
}

/// The name of this form for a number that is unique in the run. Names of different runs differ by the seed.
pub fn fill(form: &str, seed: u64, number: usize) -> String {
    let number = (u128::from(seed) << COUNT_BITS) | (number as u128 & ((1 << COUNT_BITS) - 1));
    let wide = digits(form);
    let text = format!("{number:0wide$x}");
    // The last digits differ from name to name.
    let mut digits = text.chars().skip(text.len() - wide);
    form.chars().map(|c| if c == '#' { digits.next().unwrap_or('0') } else { c }).collect()
}

/// The text with the values of its variables in it, and the variables that have none left as they are.
pub fn with_values(text: &str, values: &Values) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        out.push_str(before);
        match values.get(&after[..end]) {
            Some(value) => out.push_str(&plain(value)),
            None => out.push_str(&rest[at..=at + end]),
        }
        rest = &after[end..];
    }
    out + rest
}

/// The variables in a text, without their `$`.
pub fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('$').map(|(at, _)| {
        let rest = &text[at + 1..];
        &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_form_and_differ() {
        assert_eq!(fill("-GL0001-############", 0xabc, 1), "-GL0001-0000abc00001");
        assert_eq!(fill("########-####-4###-8###-############", 7, 0x12), "00000000-0000-4000-8000-000000700012");
        assert_eq!(fill("########", 0x1234_5678, 2), "67800002");
        assert_ne!(fill("########", 1, 1), fill("########", 1, 2));
        assert_ne!(fill("########", 1, 1), fill("########", 2, 1));
    }

    #[test]
    fn values_stand_in_a_text() {
        let values = Values::from([("self".to_owned(), "\"a\"".to_owned()), ("to".to_owned(), "7".to_owned())]);
        assert_eq!(with_values("call:$self>$to/$room", &values), "call:a>7/$room");
        assert_eq!(variables("$self-$to").collect::<Vec<_>>(), ["self", "to"]);
    }
}
