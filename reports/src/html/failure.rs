//! The failures: each failing case with its findings, the rule, the story that shows it, and the command that replays
//! it.

use maud::{Markup, html};

use crate::evidence;
use crate::html::changes::{Changes, tag};
use crate::html::sequence::{View, sequence};
use crate::html::{FAILURES_MAX, anchor, column_name, copyable, key, link, prose, shown, verdict_chip};
use crate::model::{Case, Citation, Finding, Step};
use crate::result::Results;

pub(super) fn section(results: &[Results], changes: Option<&Changes>) -> Markup {
    let bad: Vec<_> =
        results.iter().enumerate().flat_map(|(number, result)| result.bad().map(move |case| (number, case))).collect();
    html! {
        @if !bad.is_empty() {
            section #failures aria-labelledby="failures-title" {
                h2 #failures-title { "Failures" }
                @for (index, &(number, case)) in bad.iter().take(FAILURES_MAX).enumerate() {
                    @let change = changes.and_then(|changes| changes.of_case(number, &case.id));
                    @let of = (results.len() > 1).then(|| column_name(results, number));
                    (article(case, number, html! { @if let Some(change) = change { (tag(change)) } @if let Some(of) = of { span.target { (of) } } }, index < OPEN_MAX))
                }
                @if bad.len() > FAILURES_MAX {
                    p.more { "… and " (bad.len() - FAILURES_MAX) " more, listed below" }
                }
            }
        }
    }
}

/// Failures that are expanded initially. With hundreds of failures, an overview is more useful.
const OPEN_MAX: usize = 3;

/// A failing case of result number `number`, with the marks of that result.
fn article(case: &Case, number: usize, marks: Markup, open: bool) -> Markup {
    html! {
        details.failure id=(anchor(number, &case.id)) data-case=(key(number, &case.id)) open[open] {
            summary {
                (verdict_chip(case.verdict))
                h3 { (shown(&case.id)) }
                @if let Some(level) = &case.level { span.level { (level.word()) } }
                (marks)
                @if let Some(finding) = case.findings.first() { span.first { (prose(&finding.message)) } }
            }
            p.asks { (prose(&case.title)) }
            @for finding in &case.findings { (found(case, finding)) }
            @if !case.citations.is_empty() { div.citations { @for citation in &case.citations { (cited(citation)) } } }
            @for remark in &case.remarks { p.remark { (shown(remark)) } }
            p.again { span.label { "Replay" } " " (copyable(&case.replay)) }
        }
    }
}

fn found(case: &Case, finding: &Finding) -> Markup {
    let steps: Vec<(usize, &Step)> =
        finding.steps.iter().filter_map(|&index| Some((index, case.story.get(index)?))).collect();
    html! {
        div.finding {
            p.message {
                // A conformance case is itself the rule, and its name is already shown above.
                @if finding.rule != case.id { strong.rule { (shown(&finding.rule)) } " " }
                (prose(&finding.message))
                @if let Some(at) = finding.at { " " span.at { "at " (format!("{at:.3} s")) } }
            }
            @if let Some(promise) = finding.promise.as_ref().filter(|promise| **promise != case.title) {
                blockquote.promise { (prose(promise)) }
            }
            (causes(case, finding))
            @if !steps.is_empty() {
                (sequence(case, &steps, &View { name: "Evidence", wrong: finding.step.as_slice(), causes: &finding.causes, is_excerpt: true }))
            }
            @if let Some(evidence) = &finding.evidence {
                details { summary { "Event" } pre tabindex="0" { (shown(evidence)) } }
            }
        }
    }
}

/// What was done to the parties of a finding before it.
pub(super) fn causes(case: &Case, finding: &Finding) -> Markup {
    let steps = finding.causes.iter().filter_map(|&index| case.story.get(index));
    let causes: Vec<_> = steps.map(|step| (step.event, evidence::of_step(case, step))).collect();
    html! {
        @if !causes.is_empty() {
            p.cause {
                span.label { "Before it" } " "
                @for (index, (event, words)) in causes.iter().enumerate() {
                    @if index > 0 { "; " }
                    @match event {
                        Some(event) => a href={ "#event-" (event) } data-event=(event) { (shown(words)) },
                        None => (shown(words)),
                    }
                }
            }
        }
    }
}

pub(super) fn cited(citation: &Citation) -> Markup {
    html! {
        figure.citation {
            @if let Some(quote) = &citation.quote { blockquote { (shown(quote)) } }
            figcaption {
                @match citation.url.as_deref().and_then(link) {
                    Some(url) => a href=(url) rel="noreferrer" { (shown(&citation.section)) },
                    None => (shown(&citation.section)),
                }
            }
        }
    }
}
