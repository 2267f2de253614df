//! Which cases to run: globs over slugs, groups, levels.

use std::collections::BTreeSet;
use std::fmt;

use crate::case::{Case, Level};
use crate::cases;

/// Which cases are wanted; all that run by themselves, unless told otherwise.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Globs over slugs: `*` stands for any characters, `?` for one. None: all.
    pub patterns: Vec<String>,
    /// Groups, the part before the slash. None: all.
    pub groups: Vec<String>,
    /// Only what is at least so binding.
    pub level: Option<Level>,
    /// Also those that wait out a lifetime. One that is called by its full name runs anyway.
    pub slow: bool,
}

/// No case is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchCase {
    /// The pattern or group that matches nothing, if one does.
    pub pattern: Option<String>,
    /// The name that looks most like it.
    pub nearest: &'static str,
}

/// Whether a glob matches a slug.
pub(crate) fn matching(pattern: &str, all: &[&'static Case]) -> Vec<&'static Case> {
    all.iter().copied().filter(|case| glob(pattern, case.slug)).collect()
}

/// The slug that looks most like a pattern.
pub(crate) fn nearest(pattern: &str, all: &[&'static Case]) -> &'static str {
    let near = |slug: &str| strsim::jaro_winkler(pattern, slug);
    let slugs = all.iter().map(|case| case.slug);
    slugs.max_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or_default()
}

/// The wanted cases for a signaling server, as [`select_from`] says.
///
/// # Errors
/// As there.
pub fn select(selection: &Selection) -> Result<Vec<&'static Case>, NoSuchCase> {
    select_from(cases::all(), selection)
}

/// The wanted ones of these cases with all that they need, in their order.
///
/// # Errors
/// A pattern or a group matches nothing: a misspelt case must not count as passed. Or nothing is left.
pub fn select_from(all: &[&'static Case], selection: &Selection) -> Result<Vec<&'static Case>, NoSuchCase> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    for pattern in &selection.patterns {
        let matching = matching(pattern, all);
        if matching.is_empty() {
            return Err(NoSuchCase { pattern: Some(pattern.clone()), nearest: nearest(pattern, all) });
        }
        wanted.extend(matching.iter().map(|case| case.slug));
    }
    if selection.patterns.is_empty() {
        wanted.extend(all.iter().map(|case| case.slug));
    }
    for group in &selection.groups {
        if all.iter().all(|case| case.group() != group) {
            return Err(NoSuchCase { pattern: Some(group.clone()), nearest: nearest(group, all) });
        }
    }
    let is_wanted = |case: &&&'static Case| {
        wanted.contains(case.slug)
            && (selection.groups.is_empty() || selection.groups.iter().any(|group| group == case.group()))
            && selection.level.is_none_or(|level| case.level.binds_like(level))
            && (!case.slow || selection.slow || selection.patterns.iter().any(|pattern| pattern == case.slug))
    };
    let mut wanted: BTreeSet<&str> = all.iter().filter(is_wanted).map(|case| case.slug).collect();
    if wanted.is_empty() {
        return Err(NoSuchCase { pattern: None, nearest: "" });
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

/// Whether a glob matches a text: `*` stands for any characters, `?` for one.
pub fn glob(pattern: &str, text: &str) -> bool {
    matches(pattern.as_bytes(), text.as_bytes())
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
        match &self.pattern {
            Some(pattern) => write!(f, "no case matches `{pattern}`; the nearest is `{}`", self.nearest),
            None => f.write_str("no case is of all that was asked for: --case, --group, --level"),
        }
    }
}

impl std::error::Error for NoSuchCase {}
