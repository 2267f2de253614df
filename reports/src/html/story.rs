//! The whole story of a run, which can be filtered by layer and by actor.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::html::sequence::{LAYERS, View, sequence};
use crate::html::shown;
use crate::model::{Case, PartyKind, Step};
use crate::text::thousands;

/// Maximum number of steps shown.
const STEPS_MAX: usize = 1_500;

pub(super) fn card(case: &Case) -> Markup {
    let steps: Vec<(usize, &Step)> = case.story.iter().enumerate().take(STEPS_MAX).collect();
    let wrong: Vec<usize> = case.findings.iter().filter_map(|finding| finding.step).collect();
    let causes: Vec<usize> = case.findings.iter().flat_map(|finding| finding.causes.iter().copied()).collect();
    html! {
        @if !steps.is_empty() {
            div.card.story {
                h3 { "Story " span.faint { (thousands(steps.len())) " steps" } }
                (filters(case, &steps))
                (sequence(case, &steps, &View { name: "Story of the run", wrong: &wrong, causes: &causes, is_excerpt: false }))
                @if case.story.len() > STEPS_MAX { p.more { "… and " (thousands(case.story.len() - STEPS_MAX)) " more steps" } }
            }
        }
    }
}

/// Buttons: with none pressed, all steps are shown; otherwise those of the pressed layers and actors.
fn filters(case: &Case, steps: &[(usize, &Step)]) -> Markup {
    let layers: BTreeSet<_> = steps.iter().map(|(_, step)| step.layer).collect();
    let acting: BTreeSet<_> = steps.iter().flat_map(|(_, step)| step.who.iter().chain(&step.to).copied()).collect();
    let kinds = [PartyKind::Server, PartyKind::Client, PartyKind::Nat, PartyKind::World];
    let parties = || case.parties.iter().enumerate().filter(|(party, _)| acting.contains(party));
    html! {
        div.tools.only role="group" aria-label="Filter the story" {
            fieldset {
                legend { "Only layer" }
                @for layer in LAYERS.into_iter().filter(|layer| layers.contains(layer)) {
                    button.layer.(layer.word()) type="button" aria-pressed="false" data-layer=(layer.word()) { (layer.word()) }
                }
            }
            fieldset {
                legend { "Only" }
                @for kind in kinds {
                    @for (index, party) in parties().filter(|(_, party)| party.kind == kind) {
                        button type="button" aria-pressed="false" data-party=(index) { (shown(&party.name)) }
                    }
                }
            }
            button.clear type="button" hidden { "Show all" }
            output.count {}
        }
    }
}
