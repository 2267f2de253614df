//! The network of a simulation as a drawing: the internet with the server on top, NATs below it, machines below those.

use maud::{Markup, html};

use crate::html::{links, shown};
use crate::model::{Case, Network, PartyKind, Topology};

const COLUMN: f64 = 148.0;
const BOX: f64 = 132.0;
const NAT_HEIGHT: f64 = 88.0;
const MACHINE_HEIGHT: f64 = 55.0;
const TOP: f64 = 74.0;
const LEVEL: f64 = 122.0;
/// The least width, which the line about the server needs.
const WIDTH_MIN: f64 = 380.0;
/// Maximum number of characters in a line of a box; the table below the drawing has all of them.
const LINE_CHARS_MAX: usize = 19;

/// The position of a box.
struct Place {
    x: f64,
    y: f64,
}

pub(super) fn drawing(case: &Case, topology: &Topology) -> Markup {
    let depth = |mut network: usize| {
        let mut depth = 0;
        // An outer network precedes those behind it. A file that breaks this rule must not cause an endless loop.
        while let Some(outer) = topology.networks[network].behind.filter(|outer| *outer < network) {
            network = outer;
            depth += 1;
        }
        depth
    };
    let leaves = leaves(topology);
    let columns = leaves.len().max(1);
    let deepest = (0..topology.networks.len()).map(depth).max().unwrap_or(0);
    let mut networks: Vec<Place> = (0..topology.networks.len()).map(|_| Place { x: 0.0, y: 0.0 }).collect();
    let mut machines: Vec<Place> = topology.machines.iter().map(|_| Place { x: 0.0, y: 0.0 }).collect();
    let width = (COLUMN * columns as f64).max(WIDTH_MIN);
    let left = (width - COLUMN * columns as f64) / 2.0;
    let center = |column: usize| left + COLUMN * (column as f64 + 0.5);
    for (column, leaf) in leaves.iter().enumerate() {
        match *leaf {
            Leaf::Machine(machine) => machines[machine].x = center(column),
            Leaf::Network(network) => networks[network].x = center(column),
        }
    }
    let machine_y = TOP + LEVEL * (deepest as f64 + 1.0);
    for (machine, place) in topology.machines.iter().zip(&mut machines) {
        place.y = if machine.network.is_none() { TOP } else { machine_y };
    }
    // Inner networks first: an outer one is centered over the networks behind it.
    for network in (0..topology.networks.len()).rev() {
        let inside: Vec<f64> = (network + 1..topology.networks.len())
            .filter(|&inner| topology.networks[inner].behind == Some(network))
            .map(|inner| networks[inner].x)
            .chain(
                topology.machines.iter().zip(&machines).filter(|(m, _)| m.network == Some(network)).map(|(_, p)| p.x),
            )
            .collect();
        if !inside.is_empty() {
            networks[network].x = inside.iter().sum::<f64>() / inside.len() as f64;
        }
        networks[network].y = TOP + LEVEL * depth(network) as f64;
    }
    let height = machine_y + MACHINE_HEIGHT + 8.0;
    let words = format!(
        "The network: a server on the internet, {} NATs and {} machines; the tables below show which is behind which",
        topology.networks.len(),
        topology.machines.len()
    );
    html! {
        div.scroll tabindex="0" role="group" aria-label="Topology" {
            svg.topology viewBox=(format!("0 0 {width} {height}")) width=(width) role="img" aria-label=(words) {
                rect.internet x="4" y="4" width=(width - 8.0) height="42" rx="21" {}
                text.title x="24" y="30" {
                    "internet · server " (shown(&topology.server))
                    @if let Some(link) = &topology.server_link { " · " (links::brief(link)) }
                }
                @for (network, place) in topology.networks.iter().zip(&networks) {
                    @let outer = network.behind.and_then(|outer| networks.get(outer)).map_or((place.x, 46.0), |outer| (outer.x, outer.y + NAT_HEIGHT));
                    (wire(outer, (place.x, place.y)))
                }
                @for (machine, place) in topology.machines.iter().zip(&machines) {
                    @let outer = machine.network.and_then(|network| networks.get(network)).map_or((place.x, 46.0), |nat| (nat.x, nat.y + NAT_HEIGHT));
                    (wire(outer, (place.x, place.y)))
                }
                @for (network, place) in topology.networks.iter().zip(&networks) {
                    g.nat transform=(format!("translate({:.1} {:.1})", place.x - BOX / 2.0, place.y)) {
                        rect width=(BOX) height=(NAT_HEIGHT) rx="8" {}
                        (line(18, "title", &nat_name(case, network)))
                        (line(34, "", &network.profile))
                        (line(49, "", &external(&network.external)))
                        (line(64, "faint", &behavior(network)))
                        @if let Some(link) = &network.link { (line(79, "faint", &links::brief(link))) }
                        title { (words_of(network)) }
                    }
                }
                @for (machine, place) in topology.machines.iter().zip(&machines) {
                    g.machine transform=(format!("translate({:.1} {:.1})", place.x - BOX / 2.0, place.y)) {
                        rect width=(BOX) height=(MACHINE_HEIGHT) rx="8" {}
                        (line(17, "title", &machine.stack.as_ref().map_or_else(|| machine.name.clone(), |stack| format!("{} · {stack}", machine.name))))
                        (line(32, "", &machine.address))
                        @if let Some(link) = &machine.link { (line(47, "faint", &links::brief(link))) }
                        title { (shown(&machine.name)) @if let Some(stack) = &machine.stack { " with " (shown(stack)) } @if let Some(link) = &machine.link { ": " (links::words(link)) } }
                    }
                }
            }
        }
    }
}

/// The NAT of a network as the story calls it.
pub(super) fn nat_name(case: &Case, network: &Network) -> String {
    let nats = || case.parties.iter().filter(|party| party.kind == PartyKind::Nat).map(|party| &party.name);
    let suffixed = format!("{}’s NAT", network.name);
    let is_its = |name: &&String| **name == network.name || **name == suffixed;
    shown(nats().find(is_its).unwrap_or(&network.name))
}

/// A line of a box, cut to its width.
fn line(y: u32, class: &str, text: &str) -> Markup {
    let text = shown(text);
    let text = match text.char_indices().nth(LINE_CHARS_MAX) {
        Some(_) => text.chars().take(LINE_CHARS_MAX - 1).chain(['…']).collect(),
        None => text,
    };
    html! { text class=[(!class.is_empty()).then_some(class)] x=(BOX / 2.0) y=(y) text-anchor="middle" { (text) } }
}

fn wire(from: (f64, f64), to: (f64, f64)) -> Markup {
    let middle = f64::midpoint(from.1, to.1);
    let path = format!(
        "M{:.1} {:.1}C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {:.1}",
        from.0, from.1, from.0, to.0, to.0, to.1
    );
    html! { path.wire d=(path) {} }
}

fn external(addresses: &[String]) -> String {
    match addresses {
        [] => String::new(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

/// Mapping and filtering with the usual abbreviations: `EIM · APDF`.
fn behavior(network: &Network) -> String {
    let letters = |key: &str, what: &str| {
        network.behavior.get(key).map(|value| match value.as_str() {
            "endpoint-independent" => format!("EI{what}"),
            "address-dependent" => format!("AD{what}"),
            "address-and-port-dependent" => format!("APD{what}"),
            _ => "?".to_owned(),
        })
    };
    match (letters("mapping", "M"), letters("filtering", "F")) {
        (Some(mapping), Some(filtering)) => format!("{mapping} · {filtering}"),
        _ => "no translation".to_owned(),
    }
}

fn words_of(network: &Network) -> String {
    let behavior = network.behavior.iter().map(|(key, value)| format!("{}: {}", shown(key), shown(value)));
    let link = network.link.as_ref().map(|link| format!("link: {}", links::words(link)));
    behavior.chain(link).collect::<Vec<_>>().join("\n")
}

enum Leaf {
    Machine(usize),
    /// A network without machines.
    Network(usize),
}

/// From left to right, so that no lines cross: machines on the internet, then each outer network with everything behind
/// it.
fn leaves(topology: &Topology) -> Vec<Leaf> {
    fn inside(topology: &Topology, network: Option<usize>, into: &mut Vec<Leaf>) {
        let before = into.len();
        let machines = topology.machines.iter().enumerate().filter(|(_, machine)| machine.network == network);
        into.extend(machines.map(|(machine, _)| Leaf::Machine(machine)));
        let first = network.map_or(0, |network| network + 1);
        for inner in first..topology.networks.len() {
            if topology.networks[inner].behind == network {
                inside(topology, Some(inner), into);
            }
        }
        if let Some(network) = network
            && into.len() == before
        {
            into.push(Leaf::Network(network));
        }
    }
    let mut leaves = Vec::new();
    inside(topology, None, &mut leaves);
    leaves
}
