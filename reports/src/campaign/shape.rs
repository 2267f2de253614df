//! The shape of a sentence: what is left without names and numbers, so that the same defect has the same shape in
//! every story.

use std::collections::BTreeSet;

/// The sentence with `…` in place of each name, number and quotation. A list of names is one name.
pub fn shape(sentence: &str, names: &BTreeSet<&str>) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut quoted: Option<char> = None;
    for word in sentence.split_whitespace() {
        if let Some(end) = quoted {
            if word.contains(end) {
                quoted = None;
            }
            continue;
        }
        let opened = word.chars().find(|c| matches!(c, '`' | '"'));
        if let Some(mark) = opened {
            if word.matches(mark).count() == 1 {
                quoted = Some(mark);
            }
            words.push("…".to_owned());
        } else {
            words.push(of_word(word, names));
        }
        let length = words.len();
        let is_gap = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '…') == "…";
        // "…, … and …" is one list.
        if length >= 2 && is_gap(&words[length - 1]) {
            if words[length - 2].ends_with("…,") || words[length - 2] == "…" {
                let last = words.pop().expect("there are two");
                words[length - 2] = last;
            } else if length >= 3 && words[length - 2] == "and" && is_gap(&words[length - 3]) {
                let last = words.pop().expect("there are three");
                words.truncate(length - 2);
                words[length - 3] = last;
            }
        }
    }
    words.join(" ")
}

/// A word, or `…` with the punctuation around it.
fn of_word(word: &str, names: &BTreeSet<&str>) -> String {
    let is_edge = |c: char| matches!(c, ',' | '.' | ':' | ';' | '(' | ')' | '?' | '!' | '\'' | '’');
    let inner = word.trim_matches(is_edge);
    let (stem, rest) = inner.split_at(inner.find(['\'', '’']).unwrap_or(inner.len()));
    if inner.is_empty() || !(names.contains(stem) || stem.contains(|c: char| c.is_ascii_digit())) {
        return word.to_owned();
    }
    let start = word.find(inner).unwrap_or_default();
    format!("{}…{rest}{}", &word[..start], &word[start + inner.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sentence: &str) -> String {
        shape(sentence, &["ana", "ben", "cam", "server"].into())
    }

    #[test]
    fn names_numbers_and_quotations_do_not_matter() {
        assert_eq!(
            of("ben's roster lists ana (id bch7wvzc69), who left at 12.056 s"),
            "…'s roster lists … (id …), who left at … s"
        );
        assert_eq!(
            of("cam's roster lists ben (id k2), who left at 3 s"),
            of("ben's roster lists ana (id bch7wvzc69), who left at 12.056 s")
        );
        assert_eq!(
            of("the scenario expects `nat-rebooted`, which never occurred"),
            "the scenario expects … which never occurred"
        );
        assert_eq!(of("it printed \"a b c\" and ended"), "it printed … and ended");
        assert_eq!(of("3 tasks and 10 sockets are left"), "… tasks and … sockets are left");
    }

    #[test]
    fn a_list_of_names_is_one_name() {
        let one = of("ana is not connected");
        assert_eq!(one, "… is not connected");
        for list in
            ["ana and ben is not connected", "ana, ben and cam is not connected", "ana, ben, cam is not connected"]
        {
            assert_eq!(of(list), one, "{list}");
        }
        assert_ne!(of("ana is connected"), one);
    }
}
