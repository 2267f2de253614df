//! The failures: each failing case with its findings, the rule, the story that shows it, and the command that replays
//! it.

use maud::{Markup, html};

use crate::html::{FAILURES_MAX, anchor, copyable, link, prose, shown, verdict_chip};
use crate::model::{Case, Citation, Finding, Layer, PartyKind, Step, Tone};
use crate::result::Results;

pub(super) fn section(results: &[Results]) -> Markup {
    let bad: Vec<_> = results.iter().flat_map(|result| result.bad().map(move |case| (result, case))).collect();
    html! {
        @if !bad.is_empty() {
            section #failures aria-labelledby="failures-title" {
                h2 #failures-title { "Failures" }
                @for (number, (result, case)) in bad.iter().take(FAILURES_MAX).enumerate() {
                    (article(case, (results.len() > 1).then_some(result.opening.target.as_str()), number < OPEN_MAX))
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

fn article(case: &Case, target: Option<&str>, open: bool) -> Markup {
    html! {
        details.failure id=(anchor(&case.id)) data-case=(shown(&case.id)) open[open] {
            summary {
                (verdict_chip(case.verdict))
                h3 { (shown(&case.id)) }
                @if let Some(level) = &case.level { span.level { (level.word()) } }
                @if let Some(target) = target { span.target { (shown(target)) } }
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
            @if !steps.is_empty() { (sequence(case, &steps, finding.step, "Evidence")) }
            @if let Some(evidence) = &finding.evidence {
                details { summary { "Event" } pre tabindex="0" { (shown(evidence)) } }
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

/// A sequence diagram: the time, a lane per party with arrows for messages, and the text.
pub(super) fn sequence(case: &Case, steps: &[(usize, &Step)], marked: Option<usize>, name: &str) -> Markup {
    let lanes = Lanes::of(case, steps);
    // A layer that is the same in every row is not shown.
    let layers = steps.windows(2).any(|pair| pair[0].1.layer != pair[1].1.layer);
    html! {
        div.sequence role="group" aria-label=(name) tabindex="0" style={ "--lanes:" (lanes.0.len()) } {
            div.row.head aria-hidden="true" {
                span.time { "s" }
                span.lanes {
                    @for &party in &lanes.0 {
                        span.lane.(kind_class(case, party)) title=(party_name(case, party)) { (party_name(case, party)) }
                    }
                }
                span.text {}
            }
            ol {
                @for &(index, step) in steps { (row(case, &lanes, (index, step), layers, marked == Some(index))) }
            }
        }
    }
}

fn row(case: &Case, lanes: &Lanes, (index, step): (usize, &Step), layers: bool, marked: bool) -> Markup {
    let layer = step.layer.word();
    let who: Vec<_> = step.who.iter().map(|&party| party_name(case, party)).collect();
    html! {
        li.row.(layer).(tone_class(step.tone)).marked[marked] data-step=(index) {
            span.time { (format!("{:.3}", step.at)) }
            span.lanes aria-hidden="true" { (marks(lanes, step)) }
            span.text {
                span.who { (who.join(", ")) @if let Some(to) = step.to { " → " (party_name(case, to)) } }
                " "
                @if layers { span.layer { (layer) } " " }
                @match step.event {
                    Some(event) => a.what href={ "#event-" (event) } data-event=(event) { (shown(&step.text)) },
                    None => span.what { (shown(&step.text)) },
                }
                @if let Some(bytes) = step.bytes { span.cut { " … " (bytes) " bytes" } }
                @if let Some(frame) = &step.frame {
                    " " span.frame title={ "Frame " (frame.number) " of the capture" } { "#" (frame.number) " " (shown(&frame.interface)) }
                }
            }
        }
    }
}

/// An arrow between two lanes, or a dot on each affected lane.
fn marks(lanes: &Lanes, step: &Step) -> Markup {
    let from = step.who.first().and_then(|&party| lanes.place(party));
    let to = step.to.and_then(|party| lanes.place(party));
    html! {
        @match (from, to) {
            (Some(from), Some(to)) if from != to => {
                @let (left, span) = (from.min(to), from.abs_diff(to));
                i.arrow.back[to < from] style={ "--a:" (left) ";--n:" (span) } {}
            }
            _ => {
                @for &party in &step.who {
                    @if let Some(place) = lanes.place(party) { i.dot style={ "--a:" (place) } {} }
                }
            }
        }
    }
}

/// The parties in a part of a story, in the order of the case: the server first.
struct Lanes(Vec<usize>);

impl Lanes {
    fn of(case: &Case, steps: &[(usize, &Step)]) -> Self {
        let mut parties: Vec<usize> = (0..case.parties.len())
            .filter(|party| steps.iter().any(|(_, step)| step.who.contains(party) || step.to == Some(*party)))
            .collect();
        parties.sort_by_key(|&party| match case.parties[party].kind {
            PartyKind::World => 0,
            PartyKind::Server => 1,
            PartyKind::Client => 2,
            PartyKind::Nat => 3,
        });
        Self(parties)
    }

    fn place(&self, party: usize) -> Option<usize> {
        self.0.iter().position(|&other| other == party)
    }
}

fn party_name(case: &Case, party: usize) -> String {
    case.parties.get(party).map_or_else(|| "?".to_owned(), |party| shown(&party.name))
}

fn kind_class(case: &Case, party: usize) -> &'static str {
    match case.parties[party].kind {
        PartyKind::World => "world",
        PartyKind::Server => "server",
        PartyKind::Client => "client",
        PartyKind::Nat => "nat",
    }
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Fault => "step",
    }
}

/// The layers in the order of the legend.
pub(super) const LAYERS: [Layer; 8] =
    [Layer::Signaling, Layer::Stun, Layer::Ice, Layer::Dtls, Layer::Data, Layer::Nat, Layer::Machine, Layer::Fault];
