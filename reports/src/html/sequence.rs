//! A story as a sequence diagram.

use maud::{Markup, html};

use crate::html::shown;
use crate::model::{Case, Layer, PartyKind, Step, Tone};

/// Number of steps shown up to the one that is wrong; earlier ones are folded.
const STEPS_SHOWN: usize = 7;
/// Characters of a step's text shown before the one that is wrong.
const TEXT_CHARS_SHOWN: usize = 200;
/// The shortest time between two steps of an excerpt that is mentioned, in seconds.
const GAP_MIN: f64 = 1.0;

/// How a sequence diagram is shown.
pub(super) struct View<'a> {
    /// Its name, for those who hear it.
    pub(super) name: &'a str,
    /// The steps that are wrong.
    pub(super) wrong: &'a [usize],
    /// What was done before.
    pub(super) causes: &'a [usize],
    /// Whether it is a part of the story that shows a finding: it begins a few steps before the one that is wrong, and the
    /// earlier ones are folded.
    pub(super) is_excerpt: bool,
}

/// A sequence diagram: the time, a lane per party with arrows for messages, and the text.
pub(super) fn sequence(case: &Case, steps: &[(usize, &Step)], view: &View<'_>) -> Markup {
    let lanes = Lanes::of(case, steps);
    // A layer that is the same in every row is not shown.
    let layers = steps.windows(2).any(|pair| pair[0].1.layer != pair[1].1.layer);
    let (earlier, rest) = steps.split_at(if view.is_excerpt { first_shown(steps, view) } else { 0 });
    let rows = |steps: &[(usize, &Step)]| {
        html! {
            @for (place, &(index, step)) in steps.iter().enumerate() {
                @if let Some(gap) = place.checked_sub(1).and_then(|before| gap(steps[before], (index, step))).filter(|_| view.is_excerpt) {
                    li.gap { (gap) }
                }
                (row(case, &lanes, (index, step), layers, view))
            }
        }
    };
    html! {
        div.sequence.excerpt[view.is_excerpt] role="group" aria-label=(view.name) tabindex="0" style={ "--lanes:" (lanes.0.len()) } {
            div.row.head aria-hidden="true" {
                span.time { "s" }
                span.lanes {
                    @for &party in &lanes.0 {
                        span.lane.(kind_class(case, party)) title=(party_name(case, party)) { (party_name(case, party)) }
                    }
                }
                span.text {}
            }
            @if !earlier.is_empty() {
                details.earlier { summary { (earlier.len()) " earlier steps" } ol { (rows(earlier)) } }
            }
            ol { (rows(rest)) }
        }
    }
}

/// The first step that is not folded.
fn first_shown(steps: &[(usize, &Step)], view: &View<'_>) -> usize {
    let place = |step: &usize| steps.iter().position(|(index, _)| index == step);
    let wrong = view.wrong.iter().filter_map(place).min().map_or(steps.len(), |wrong| wrong + 1);
    let first = wrong.saturating_sub(STEPS_SHOWN);
    let first = view.causes.iter().filter_map(place).min().map_or(first, |cause| cause.min(first));
    // A fold that hides one or two rows saves nothing.
    if first <= 2 { 0 } else { first }
}

/// The time between two steps of an excerpt, if steps between them are left out and it is long.
fn gap((before, earlier): (usize, &Step), (index, step): (usize, &Step)) -> Option<String> {
    let seconds = step.at - earlier.at;
    (index > before + 1 && seconds >= GAP_MIN).then(|| format!("{seconds:.1} s later"))
}

fn row(case: &Case, lanes: &Lanes, (index, step): (usize, &Step), layers: bool, view: &View<'_>) -> Markup {
    let layer = step.layer.word();
    let who: Vec<_> = step.who.iter().map(|&party| party_name(case, party)).collect();
    let parties: Vec<_> = step.who.iter().chain(&step.to).map(ToString::to_string).collect();
    let is_wrong = view.wrong.contains(&index);
    html! {
        li.row.(layer).(tone_class(step.tone)).marked[is_wrong].cause[view.causes.contains(&index)] data-step=(index) data-who=(parties.join(" ")) {
            span.time { (format!("{:.3}", step.at)) }
            span.lanes aria-hidden="true" { (marks(lanes, step)) }
            span.text {
                span.who { (who.join(", ")) @if let Some(to) = step.to { " → " (party_name(case, to)) } }
                " "
                @if layers { span.layer { (layer) } " " }
                (text(step, view.is_excerpt && !is_wrong))
                @if let Some(bytes) = step.bytes { span.cut { " … " (bytes) " bytes" } }
                @if let Some(frame) = &step.frame {
                    " " span.frame title={ "Frame " (frame.number) " of the capture" } { "#" (frame.number) " " (shown(&frame.interface)) }
                }
            }
        }
    }
}

/// The text of a step. If it would push the row that is wrong out of view, its end is folded.
fn text(step: &Step, folds: bool) -> Markup {
    let text = shown(&step.text);
    html! {
        @match (step.event, text.char_indices().nth(TEXT_CHARS_SHOWN)) {
            (Some(event), _) => a.what href={ "#event-" (event) } data-event=(event) { (text) },
            (None, Some((end, _))) if folds => details.long { summary { span.what { (text[..end]) } span.fold { "…" } } span.what { (text[end..]) } },
            (None, _) => span.what { (text) },
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
