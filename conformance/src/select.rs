//! Which cases to run: globs over slugs.

use std::collections::BTreeSet;
use std::fmt;

use crate::Dialect;
use crate::case::Case;

/// A pattern that matches no case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchCase {
    /// The pattern.
    pub pattern: String,
    /// The slug that looks most like it.
    pub nearest: &'static str,
}

/// The cases whose slug matches one of the patterns, with all that they need, in the order of the catalogue; all cases for
/// no pattern. `*` stands for any characters, `?` for one.
///
/// # Errors
/// A pattern matches nothing: a misspelt case must not count as passed.
pub fn select(dialect: Dialect, patterns: &[String]) -> Result<Vec<&'static Case>, NoSuchCase> {
    let all = dialect.cases();
    if patterns.is_empty() {
        return Ok(all.to_vec());
    }
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    for pattern in patterns {
        let matching = all.iter().map(|case| case.slug).filter(|slug| matches(pattern.as_bytes(), slug.as_bytes()));
        let matching: Vec<_> = matching.collect();
        wanted.extend(&matching);
        if matching.is_empty() {
            let near = |slug: &str| strsim::jaro_winkler(pattern, slug);
            let nearest = all.iter().map(|case| case.slug).max_by(|a, b| near(a).total_cmp(&near(b)));
            return Err(NoSuchCase { pattern: pattern.clone(), nearest: nearest.unwrap_or_default() });
        }
    }
    loop {
        let needed = all.iter().filter(|case| wanted.contains(case.slug)).flat_map(|case| case.needs).copied();
        let needed: BTreeSet<_> = needed.collect();
        if needed.is_subset(&wanted) {
            return Ok(all.iter().filter(|case| wanted.contains(case.slug)).copied().collect());
        }
        wanted.extend(needed);
    }
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        ([b'?', rest @ ..], [_, text @ ..]) => matches(rest, text),
        ([want, rest @ ..], [got, text @ ..]) => want == got && matches(rest, text),
        _ => false,
    }
}

impl fmt::Display for NoSuchCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no case matches `{}`; the nearest is `{}`", self.pattern, self.nearest)
    }
}

impl std::error::Error for NoSuchCase {}
