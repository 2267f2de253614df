//! Texts about a case that several reports share.

use std::fmt::Write as _;

use crate::evidence;
use crate::model::{Case, Finding};
use crate::summary::clean;

/// Maximum number of characters of one text in a report; the result contains the whole text.
const TEXT_CHARS_MAX: usize = 2_000;

/// The first finding in one line: `everyone-connected: ana and ben are not connected`.
pub(crate) fn headline(case: &Case) -> String {
    match case.findings.first() {
        Some(finding) if finding.rule == case.id => text(&finding.message),
        Some(finding) => format!("{}: {}", text(&finding.rule), text(&finding.message)),
        None => text(&case.title),
    }
}

/// A case with its findings, their evidence, the specification and the replay command, as lines of text.
pub(crate) fn account(case: &Case) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", text(&case.title));
    for finding in &case.findings {
        let _ = writeln!(out, "\n{}: {}", text(&finding.rule), text(&finding.message));
        if let Some(promise) = finding.promise.as_ref().filter(|promise| **promise != case.title) {
            let _ = writeln!(out, "promised: {}", text(promise));
        }
        let causes = evidence::causes(case, finding);
        if !causes.is_empty() {
            let _ = writeln!(out, "before it: {}", text(&causes.join("; ")));
        }
        out.push_str(&transcript(case, finding));
        if let Some(evidence) = &finding.evidence {
            let _ = writeln!(out, "event: {}", text(evidence));
        }
    }
    for citation in &case.citations {
        let quote = citation.quote.as_ref().map(|quote| format!(": \"{}\"", text(quote))).unwrap_or_default();
        let _ = writeln!(out, "\n{}{quote}", text(&citation.section));
    }
    let _ = writeln!(out, "\nreplay: {}", text(&case.replay));
    out
}

/// The steps that show a finding, one line per step.
pub(crate) fn transcript(case: &Case, finding: &Finding) -> String {
    let name = |party: &usize| case.parties.get(*party).map_or("?", |party| party.name.as_str());
    let mut out = String::new();
    for index in &finding.steps {
        let Some(step) = case.story.get(*index) else { continue };
        let who: Vec<_> = step.who.iter().map(name).collect();
        let to = step.to.as_ref().map(|to| format!(" → {}", name(to))).unwrap_or_default();
        let mark = if finding.step == Some(*index) { '!' } else { ' ' };
        let (who, what) = (text(&format!("{}{to}", who.join(", "))), text(&step.text));
        let _ = writeln!(out, "{mark}{:>9.3} s  {who:<16} {what}", step.at);
    }
    out
}

/// A text of a result in one line: of limited length, without control characters and bidirectional marks.
pub(crate) fn text(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", clean(&text[..end]), text.len()),
        None => clean(text),
    }
}
