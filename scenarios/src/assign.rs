//! Gives every machine of a scenario its addresses.

use std::net::Ipv4Addr;

use crate::address::{self, Realm, Use};
use crate::error::Problems;
use crate::expand::{Cast, Net};
use crate::file::{External, File, NewAddress, Verb};
use crate::scenario::{Link, Network, ServerSetup};
use crate::table::Lined;
use crate::value::Subnet;

/// External addresses of one NAT at most.
const EXTERNAL_MAX: u32 = 256;

/// Gives every machine its addresses: first those that the file names, then the others.
pub(crate) fn assign(
    file: &File,
    nets: &[Net<'_>],
    link: Link,
    server: &ServerSetup,
    mut cast: Cast,
    problems: &Problems,
) -> Option<Cast> {
    let mut internet = Realm::internet();
    let server_line = file.server.address.as_ref().map_or(1, |address| address.line);
    keep(&mut internet, server.address, "the server", server_line, problems);
    let subnets = subnets(nets, &cast, &mut internet, problems)?;
    let mut insides: Vec<Realm> =
        nets.iter().zip(&subnets).map(|(net, subnet)| Realm::inside(*subnet, &net.name)).collect();
    let behind: Vec<Option<usize>> =
        nets.iter().map(|net| net.behind.and_then(|behind| cast.network_names.get(&behind.value).copied())).collect();
    /// The realm that a network, or its absence, is about.
    macro_rules! realm {
        ($network:expr) => {
            match $network {
                Some(network) => &mut insides[network],
                None => &mut internet,
            }
        };
    }

    for (net, behind) in nets.iter().zip(&behind) {
        if let Some(Lined { value: External::These(given), .. }) = net.external {
            for address in given {
                keep(realm!(*behind), address.value, &router(&net.name), address.line, problems);
            }
            if let Some(twice) = given
                .iter()
                .enumerate()
                .find(|(at, address)| given[..*at].iter().any(|other| other.value == address.value))
            {
                problems.report(twice.1.line, format!("{} is named twice", twice.1.value));
            }
        }
    }
    for entry in file.actors.iter().map(|entry| &entry.value) {
        let Some(given) = &entry.address else { continue };
        let Some(range) = cast.actor_names.get(&entry.name.value.0).cloned() else { continue };
        for actor in &mut cast.actors[range] {
            actor.address = given.value;
            keep(realm!(actor.network), given.value, &format!("`{}`", actor.name), given.line, problems);
        }
    }
    let reboots = reboots(file, &cast, nets, problems);
    for Reboot { network, new, line, .. } in &reboots {
        if let NewAddress::This(address) = new {
            keep(realm!(behind[*network]), *address, &router(&nets[*network].name), *line, problems);
        }
    }

    let nowhere = |network: Option<usize>| match network {
        Some(network) => {
            format!("`{}` ({}) has no address left: give it a larger `subnet`", nets[network].name, subnets[network])
        }
        None => "the internet has no address left: it has room for some 65000 hosts and NATs".to_owned(),
    };
    for (index, net) in nets.iter().enumerate() {
        let outer = behind[index];
        let external = match net.external {
            Some(Lined { value: External::These(given), .. }) => given.iter().map(|address| address.value).collect(),
            given => {
                let (count, line) = match given {
                    Some(Lined { value: External::Count(count), line }) => (*count, *line),
                    _ => (net.profile.external, net.line),
                };
                if count > EXTERNAL_MAX {
                    problems.report(line, format!("`external`: {count} are more than {EXTERNAL_MAX} addresses"));
                    return None;
                }
                let assign = |_| realm!(outer).assign(index, Use::Nat, &router(&net.name));
                let Some(given) = (0..count).map(assign).collect() else {
                    problems.report(line, nowhere(outer));
                    return None;
                };
                given
            }
        };
        cast.networks.push(Network {
            name: net.name.clone(),
            behind: outer,
            external,
            gateway: subnets[index].address(1),
            profile: net.profile.name.clone(),
            nat: net.nat.clone(),
            link: net.link.over(link),
        });
    }
    for (index, actor) in cast.actors.iter_mut().enumerate().filter(|(_, actor)| actor.address.is_unspecified()) {
        let Some(address) = realm!(actor.network).assign(index, Use::Host, &actor.name) else {
            problems.report(cast.actor_lines[index], nowhere(actor.network));
            return None;
        };
        actor.address = address;
    }
    for (at, Reboot { step, network, new, line }) in reboots.into_iter().enumerate() {
        /// After what the first networks of a file are given, so that a new address is known by sight.
        const FIRST_NEW: usize = 190;
        let address = match new {
            NewAddress::Same => None,
            NewAddress::This(address) => Some(address),
            NewAddress::Another => {
                let address = realm!(behind[network]).assign(FIRST_NEW + at, Use::Nat, &router(&nets[network].name));
                if address.is_none() {
                    problems.report(line, nowhere(behind[network]));
                }
                address
            }
        };
        cast.new_addresses.extend(address.map(|address| (step, address)));
    }
    problems.none().then_some(cast)
}

/// What messages call a network's NAT.
fn router(network: &str) -> String {
    format!("the NAT of `{network}`")
}

fn keep(realm: &mut Realm, address: Ipv4Addr, who: &str, line: usize, problems: &Problems) {
    if let Err(wrong) = realm.reserve(address, who) {
        problems.report(line, wrong);
    }
}

/// The inside of each network.
fn subnets(nets: &[Net<'_>], cast: &Cast, internet: &mut Realm, problems: &Problems) -> Option<Vec<Subnet>> {
    // Those that are given come first, so that the others keep out of their way.
    for net in nets.iter().filter(|net| net.nat.is_none()) {
        if let Some(subnet) = net.subnet {
            internet.route(subnet.value).unwrap_or_else(|wrong| problems.report(subnet.line, wrong));
        }
    }
    let mut subnets: Vec<Subnet> = Vec::with_capacity(nets.len());
    let mut outer: Vec<Vec<Subnet>> = Vec::with_capacity(nets.len());
    for net in nets {
        let mut around = Vec::new();
        if let Some(behind) = net.behind.and_then(|behind| cast.network_names.get(&behind.value)) {
            around.clone_from(&outer[*behind]);
            around.push(subnets[*behind]);
        }
        let clash = |subnet: Subnet| around.iter().find(|outer| outer.overlaps(subnet));
        let subnet = match net.subnet {
            Some(subnet) => {
                if net.nat.is_some() && !address::is_private(subnet.value) {
                    let message =
                        format!("{} is not private, as the inside of a NAT is; 192.168.1.0/24 would be", subnet.value);
                    problems.report(subnet.line, message);
                }
                if let Some(outer) = clash(subnet.value) {
                    let message = format!(
                        "{} overlaps {outer}, in which the NAT's outside is: a NAT cannot tell them apart",
                        subnet.value
                    );
                    problems.report(subnet.line, message);
                }
                subnet.value
            }
            None => {
                let default = match net.nat {
                    None => internet.route_any(),
                    Some(_) => {
                        net.profile.subnet.filter(|subnet| clash(*subnet).is_none()).or_else(|| address::home(&around))
                    }
                };
                let Some(default) = default else {
                    problems.report(net.line, format!("no subnet is left for `{}`: give it a `subnet`", net.name));
                    return None;
                };
                default
            }
        };
        subnets.push(subnet);
        outer.push(around);
    }
    Some(subnets)
}

/// The reboots of NATs that say something of the address after.
struct Reboot {
    /// The number of the step in the file.
    step: usize,
    network: usize,
    new: NewAddress,
    line: usize,
}

fn reboots(file: &File, cast: &Cast, nets: &[Net<'_>], problems: &Problems) -> Vec<Reboot> {
    let mut reboots = Vec::new();
    for (step, entry) in file.steps.iter().enumerate() {
        let Verb::NatReboot { network, new_address: Some(new), .. } = &entry.value.verb else { continue };
        // An unknown network is reported when the story is told.
        let Some(index) = cast.network_names.get(&network.value).copied() else { continue };
        let addresses = match nets[index].external {
            Some(Lined { value: External::These(given), .. }) => given.len(),
            Some(Lined { value: External::Count(count), .. }) => *count as usize,
            None => nets[index].profile.external as usize,
        };
        if addresses > 1 && !matches!(new.value, NewAddress::Same) {
            let message = format!(
                "`new-address`: `{}` has {addresses} external addresses; only a NAT with one can change it",
                network.value
            );
            problems.report(new.line, message);
        }
        reboots.push(Reboot { step, network: index, new: new.value, line: new.line });
    }
    reboots
}
