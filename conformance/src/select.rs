//! Selects the cases to run, by globs over slugs, by group and by level.

use std::collections::BTreeSet;
use std::fmt;

use crate::case::{Case, Level};
use crate::cases;

/// Which cases to run. Default: all that are not slow.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Globs over slugs: `*` stands for any characters, `?` for one. Empty: all cases.
    pub patterns: Vec<String>,
    /// Groups: the part of the slug before the slash. Empty: all groups.
    pub groups: Vec<String>,
    /// Only cases at or above this level.
    pub level: Option<Level>,
    /// Also slow cases, which wait out a lifetime. A slow case whose full slug is a pattern runs in any case.
    pub slow: bool,
}

/// The selection matches no case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchCase {
    /// The pattern or group that matches nothing, if that is the reason.
    pub pattern: Option<String>,
    /// The slug most similar to it.
    pub nearest: &'static str,
}

/// The cases whose slug matches a glob.
pub(crate) fn matching(pattern: &str, all: &[&'static Case]) -> Vec<&'static Case> {
    all.iter().copied().filter(|case| glob(pattern, case.slug)).collect()
}

/// The slug most similar to a pattern.
pub(crate) fn nearest(pattern: &str, all: &[&'static Case]) -> &'static str {
    let near = |slug: &str| strsim::jaro_winkler(pattern, slug);
    let slugs = all.iter().map(|case| case.slug);
    slugs.max_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or_default()
}

/// Selects cases for a signaling server, as [`select_from`] does.
///
/// # Errors
/// A pattern or a group matches nothing, or no case is left.
pub fn select(selection: &Selection) -> Result<Vec<&'static Case>, NoSuchCase> {
    select_from(cases::all(), selection)
}

/// Selects from these cases, adds all that the selected ones need, and keeps the order.
///
/// # Errors
/// A pattern or a group matches nothing: a misspelt case must not count as passed. Or no case is left.
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

/// Whether a text matches a glob: `*` stands for any characters, `?` for one.
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
            None => f.write_str("no case matches --case, --group and --level together"),
        }
    }
}

impl std::error::Error for NoSuchCase {}
