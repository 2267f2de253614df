//! The network of a simulation as a drawing: the internet with the server on top, NATs below it, machines below those.

use maud::{Markup, html};

use crate::html::shown;
use crate::model::Topology;

const COLUMN: f64 = 148.0;
const BOX: f64 = 132.0;
const NAT_HEIGHT: f64 = 58.0;
const MACHINE_HEIGHT: f64 = 40.0;
const TOP: f64 = 74.0;
const LEVEL: f64 = 92.0;

/// The position of a box.
struct Place {
    x: f64,
    y: f64,
}

pub(super) fn drawing(topology: &Topology) -> Markup {
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
    let center = |column: usize| COLUMN * (column as f64 + 0.5);
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
    let width = COLUMN * columns as f64;
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
                text.title x="24" y="30" { "internet · server " (shown(&topology.server)) }
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
                        text.title x=(BOX / 2.0) y="18" text-anchor="middle" { (shown(&network.profile)) }
                        text x=(BOX / 2.0) y="34" text-anchor="middle" { (external(&network.external)) }
                        text.faint x=(BOX / 2.0) y="49" text-anchor="middle" { (behavior(network)) }
                        title { (words_of(network)) }
                    }
                }
                @for (machine, place) in topology.machines.iter().zip(&machines) {
                    g.machine transform=(format!("translate({:.1} {:.1})", place.x - BOX / 2.0, place.y)) {
                        rect width=(BOX) height=(MACHINE_HEIGHT) rx="8" {}
                        text.title x=(BOX / 2.0) y="17" text-anchor="middle" { (shown(&machine.name)) }
                        text x=(BOX / 2.0) y="32" text-anchor="middle" { (shown(&machine.address)) }
                    }
                }
            }
        }
    }
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
        [only] => shown(only),
        [first, rest @ ..] => format!("{} +{}", shown(first), rest.len()),
    }
}

/// Mapping and filtering with the usual abbreviations: `EIM · APDF`.
fn behavior(network: &crate::model::Network) -> String {
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

fn words_of(network: &crate::model::Network) -> String {
    network
        .behavior
        .iter()
        .map(|(key, value)| format!("{}: {}", shown(key), shown(value)))
        .collect::<Vec<_>>()
        .join("\n")
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
