//! A simulated run: its network, its connections, its story, and all events on a time axis.

use maud::{Markup, html};

use crate::html::{events, json_island, key, links, shown, story, topology};
use crate::model::{Candidate, Case, Flow, Pair, Simulation, Topology, Verdict};
use crate::result::Results;
use crate::standing::{self, Standing};
use crate::text::thousands;

/// Maximum bytes of packed events on a page, so that it opens quickly.
const EVENT_BYTES_MAX: usize = 14 << 20;
/// Maximum number of a result's runs shown in full.
const RUNS_MAX: usize = 12;

/// The runs of result number `number`.
pub(super) fn section(results: &Results, number: usize) -> Markup {
    let full: Vec<_> = results.cases.iter().filter(|case| topology_of(case).is_some()).collect();
    let mut room = EVENT_BYTES_MAX;
    html! {
        @for (index, case) in full.iter().take(RUNS_MAX).enumerate() {
            @if let Some(simulation) = &case.simulation { (run((results, number), case, simulation, index == 0, &mut room)) }
        }
        @if full.len() > RUNS_MAX {
            p.more { "… and " (full.len() - RUNS_MAX) " more runs: " code { "report" } " shows a run on its own if its result has its own folder." }
        }
    }
}

fn topology_of(case: &Case) -> Option<&crate::model::Topology> {
    case.simulation.as_ref()?.topology.as_ref()
}

fn run(
    (results, number): (&Results, usize),
    case: &Case,
    simulation: &Simulation,
    is_open: bool,
    room: &mut usize,
) -> Markup {
    let passed = case.verdict == Verdict::Pass;
    html! {
        details.run data-case=(key(number, &case.id)) open[is_open] {
            summary { h2 { (shown(&simulation.scenario)) " " span.faint { "seed " (simulation.seed) } } }
            @if let Some(topology) = &simulation.topology {
                div.card {
                    h3 { "Network" }
                    (topology::drawing(case, topology))
                    (details(case, topology))
                }
            }
            @if !simulation.pairs.is_empty() { div.card {
                h3 { "Connections" }
                @if let Some(population) = &simulation.population {
                    p { (population.words()) ". " span.faint { "NATs: " (shown(&population.source)) } }
                }
                (pairs(&simulation.pairs, passed))
            } }
            @if !simulation.media.is_empty() { div.card { h3 { "Media" } (media(&simulation.media)) } }
            @if !simulation.not_tested.is_empty() {
                p.probes {
                    span.label { "Not tested, because this server did not bring it about" } " "
                    @for probe in &simulation.not_tested { span.tag { (shown(probe)) } " " }
                }
            }
            @if !simulation.probes.is_empty() {
                p.probes {
                    span.label { "Rare situations met" } " "
                    @for (probe, hits) in &simulation.probes { span.tag { (shown(probe)) " " b { "×" (thousands(*hits)) } } " " }
                }
            }
            (story::card(case))
            @if let Some(file) = &simulation.events_file { (explorer(results, case, simulation, file, room)) }
        }
    }
}

// ---- connections

fn pairs(pairs: &[Pair], passed: bool) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Connections" {
            table.pairs {
                thead { tr { th scope="col" { "Pair" } th.number scope="col" { "Since" } th scope="col" { "Path" } th scope="col" { "Addresses" } th.number scope="col" { "Attempts" } } }
                tbody { @for pair in pairs { (pair_row(pair, passed)) } }
            }
        }
    }
}

fn media(flows: &[Flow]) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Media" {
            table.media {
                thead { tr { th scope="col" { "Track" } th scope="col" { "Kind" } th.number scope="col" { "Packets" } th.number scope="col" { "Lost" } th.number scope="col" { "Longest gap" } } }
                tbody {
                    @for flow in flows {
                        tr {
                            th scope="row" { (shown(&flow.from)) " → " (shown(&flow.to)) }
                            td { (shown(&flow.kind)) }
                            td.number { (thousands(flow.packets as usize)) }
                            td.number { (thousands(flow.lost as usize)) }
                            td.number { (format!("{:.1} s", flow.longest_gap)) }
                        }
                    }
                }
            }
        }
    }
}

fn pair_row(pair: &Pair, passed: bool) -> Markup {
    let [a, b] = &pair.between;
    let is_red = Standing::of(pair).is_odd() && !passed;
    let ended = pair.past.as_ref().filter(|_| pair.since.is_none());
    html! {
        tr.unconnected[is_red] {
            th scope="row" {
                @match &pair.candidates {
                    Some(candidates) => details {
                        summary { (shown(a)) " ⇄ " (shown(b)) }
                        (candidate_pairs(pair, candidates))
                    },
                    None => { (shown(a)) " ⇄ " (shown(b)) },
                }
            }
            td.number {
                @match (pair.since, ended) {
                    (Some(since), _) => (format!("{since:.3} s")),
                    (None, Some(past)) => (format!("{:.1}–{:.1} s", past.since, past.until)),
                    (None, None) => "–",
                }
            }
            @match &pair.selected {
                Some([local, remote]) => {
                    td { span.candidate.(local.kind.word()) { (local.kind.word()) } " ↔ " span.candidate.(remote.kind.word()) { (remote.kind.word()) } }
                    td.addresses {
                        (local.address) " ↔ " (remote.address)
                        @if ended.is_some() { ", " span.no { (standing::state(pair)) } }
                    }
                }
                None => { td.no { (standing::state(pair)) } td {} }
            }
            td.number { (pair.attempts) }
        }
    }
}

/// Every pair of the two sides' candidates, with the selected one marked. RFC 8445 §6.1.2.2.
fn candidate_pairs(pair: &Pair, [ours, theirs]: &[Vec<Candidate>; 2]) -> Markup {
    let chosen = |local: &Candidate, remote: &Candidate| {
        // A peer behind a NAT may see the other's reflexive address as peer-reflexive.
        pair.selected.as_ref().is_some_and(|[l, r]| l.address == local.address && r.address == remote.address)
    };
    let listed = ours.iter().any(|local| theirs.iter().any(|remote| chosen(local, remote)));
    html! {
        table.candidates {
            caption { "Candidate pairs" }
            thead { tr { th.named scope="col" { (shown(&pair.between[0])) } th.named scope="col" { (shown(&pair.between[1])) } th scope="col" { "Outcome" } } }
            tbody {
                @for local in ours { @for remote in theirs { (candidate_row(local, remote, chosen(local, remote))) } }
                @if let Some([local, remote]) = pair.selected.as_ref().filter(|_| !listed) { (candidate_row(local, remote, true)) }
            }
        }
    }
}

fn candidate_row(local: &Candidate, remote: &Candidate, chosen: bool) -> Markup {
    html! {
        tr.chosen[chosen] {
            td { span.candidate.(local.kind.word()) { (local.kind.word()) } " " (local.address) }
            td { span.candidate.(remote.kind.word()) { (remote.kind.word()) } " " (remote.address) }
            td { @if chosen { "selected" } @else { "" } }
        }
    }
}

// ---- networks

/// All that the drawing has no room for.
fn details(case: &Case, topology: &Topology) -> Markup {
    let outer = |network: Option<usize>| match network.and_then(|network| topology.networks.get(network)) {
        Some(network) => topology::nat_name(case, network),
        None => "internet".to_owned(),
    };
    html! {
        details.nats {
            summary { "NATs and links" }
            p.hint { "Times and losses of a link are for each direction, and those at the start." }
            @if !topology.networks.is_empty() {
                div.scroll tabindex="0" role="group" aria-label="NATs" {
                    table.wide {
                        thead { tr { th scope="col" { "NAT" } th scope="col" { "Profile" } th scope="col" { "External" } th scope="col" { "Behind" } th scope="col" { "Link" } th scope="col" { "Behavior" } } }
                        tbody {
                            @for network in &topology.networks {
                                tr {
                                    th scope="row" { (topology::nat_name(case, network)) }
                                    td { (shown(&network.profile)) }
                                    td.external { @for address in &network.external { (shown(address)) " " } }
                                    td { (outer(network.behind)) }
                                    td.link { @if let Some(link) = &network.link { (links::words(link)) } }
                                    td.behavior {
                                        @for (key, value) in &network.behavior { span.tag { (shown(key)) " " b { (shown(value)) } } " " }
                                        @if network.behavior.is_empty() { "no translation" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            div.scroll tabindex="0" role="group" aria-label="Machines" {
                table.narrow {
                    thead { tr { th scope="col" { "Machine" } th scope="col" { "Address" } th scope="col" { "Behind" } th scope="col" { "Link" } th scope="col" { "Room" } } }
                    tbody {
                        @for machine in &topology.machines {
                            tr {
                                th scope="row" { (shown(&machine.name)) }
                                td.external { (shown(&machine.address)) }
                                td { (outer(machine.network)) }
                                td.link { @if let Some(link) = &machine.link { (links::words(link)) } }
                                td { (shown(&machine.room)) }
                            }
                        }
                        tr {
                            th scope="row" { "server" }
                            td { (shown(&topology.server)) }
                            td { "internet" }
                            td.link { @if let Some(link) = &topology.server_link { (links::words(link)) } }
                            td {}
                        }
                    }
                }
            }
        }
    }
}

// ---- events

fn explorer(results: &Results, case: &Case, simulation: &Simulation, file: &str, room: &mut usize) -> Markup {
    let capture = simulation.capture.as_ref();
    let frames = capture.and_then(|capture| capture.frames_file.as_deref());
    let packed = match events::load(&results.dir, case, file, frames) {
        Ok(packed) => packed,
        Err(why) => return html! { p.warning { "The events cannot be shown: " (shown(&why.to_string())) } },
    };
    let json = packed.json();
    if json.len() > *room {
        return html! {
            p.more { (thousands(packed.len())) " events are too many for this page; see " code { (shown(file)) } "." }
        };
    }
    *room -= json.len();
    html! {
        div.card.explorer data-explorer {
            h3 { "Events " span.faint { (thousands(packed.len())) } }
            div.tools {
                fieldset.layers { legend { "Layers" } }
                fieldset.parties { legend { "Peers" } }
                label { "Search " input.search type="search" placeholder="words, #packet" autocomplete="off"; }
            }
            div.axis {
                canvas role="img" aria-label="Events over time, one row per peer" {}
                div.brush hidden {}
            }
            div.cursor {
                button.zoom-in type="button" aria-label="Zoom in" { "+" }
                button.zoom-out type="button" aria-label="Zoom out" { "−" }
                button.zoom-all type="button" { "All" }
                label { span.at { "0.000 s" } input.position type="range" min="0" max="1000" value="1000" step="1" aria-label="Time"; }
                button.to-story type="button" { "Show in the story" }
                output.window {}
            }
            div.tables {
                div.list tabindex="0" role="group" aria-label="Events" { div.spacer {} }
                div.mappings tabindex="0" role="group" aria-label="NAT tables" { h4 { "NAT tables at " span.at { "0.000 s" } } div.tables-of-nats {} }
            }
            p.hint {
                "Drag over the axis to zoom in. "
                @match capture {
                    Some(capture) => { "#7 is frame 7 of " code { (shown(&capture.file)) } ", followed by the network in which it was captured; search for it to find all events of its packet." }
                    None => { "In a capture made with " code { "--pcap" } ", the comment of each frame has the packet’s number." }
                }
            }
            script type="application/json" { (json_island(&json)) }
        }
    }
}
