//! Assigns addresses to all machines of a scenario.

use std::net::Ipv4Addr;

use crate::address::{self, Realm, Use};
use crate::draft::{Draft, INTERNET, Net};
use crate::error::{Problems, quote};
use crate::expand::LAN;
use crate::file::{External, File, NewAddress, Verb};
use crate::link::Link;
use crate::nat::{Hairpinning, NatBehavior};
use crate::scenario::{Move, Network, NetworkIndex, ServerSetup};
use crate::table::Lined;
use crate::value::Subnet;

/// Maximum number of external addresses of a NAT.
const EXTERNAL_MAX: u32 = 256;

/// Assigns addresses to all machines: first those that the file gives, then the others. Reports problems.
pub(crate) fn addresses(
    file: &File,
    nets: &[Net<'_>],
    link: Link,
    server: &ServerSetup,
    draft: Draft,
    problems: &Problems,
) -> Option<Draft> {
    let mut internet = Realm::internet();
    let server_line = file.server.address.as_ref().map_or(1, |address| address.line);
    internet.reserve(server.address, "the server").unwrap_or_else(|wrong| problems.report(server_line, wrong));
    for (entry, server) in file.ice_servers.iter().zip(&draft.ice_servers) {
        if let Some(given) = &entry.value.address {
            internet
                .reserve(given.value, &quote(&server.name))
                .unwrap_or_else(|wrong| problems.report(given.line, wrong));
        }
    }
    let subnets = subnets(nets, &draft, &mut internet, problems)?;
    let insides = nets.iter().zip(&subnets).map(|(net, subnet)| Realm::inside(*subnet, &net.name)).collect();
    let outer = |net: &Net<'_>| net.behind.and_then(|behind| draft.network_names.get(&behind.value).copied());
    let behind = nets.iter().map(outer).collect();
    let reboots = reboots(file, &draft, nets, problems);
    let mut assignment = Assignment { nets, subnets, behind, internet, insides, draft, problems };
    assignment.keep_external();
    assignment.keep_hosts(file);
    assignment.keep_new_external(&reboots);
    assignment.add_networks(link)?;
    assignment.assign_ice_servers()?;
    assignment.assign_hosts()?;
    assignment.assign_new_external(&reboots);
    assignment.assign_moves(file, link);
    problems.none().then_some(assignment.draft)
}

/// The state of the assignment: addresses that are taken, and machines that still need one.
struct Assignment<'a> {
    nets: &'a [Net<'a>],
    /// The subnet inside each network.
    subnets: Vec<Subnet>,
    /// For each network: the network outside its NAT; `None` is the internet.
    behind: Vec<Option<NetworkIndex>>,
    internet: Realm,
    /// The addresses inside each network.
    insides: Vec<Realm>,
    draft: Draft,
    problems: &'a Problems,
}

impl Assignment<'_> {
    /// The addresses inside a network, or those of the internet.
    fn realm(&mut self, network: Option<NetworkIndex>) -> &mut Realm {
        match network {
            Some(network) => &mut self.insides[network],
            None => &mut self.internet,
        }
    }

    /// Reserves an address that the file gives.
    fn keep(&mut self, network: Option<NetworkIndex>, address: Ipv4Addr, owner: &str, line: usize) {
        if let Err(wrong) = self.realm(network).reserve(address, owner) {
            self.problems.report(line, wrong);
        }
    }

    fn keep_external(&mut self) {
        for (index, net) in self.nets.iter().enumerate() {
            let Some(Lined { value: External::These(given), .. }) = net.external else { continue };
            for (number, address) in given.iter().enumerate() {
                self.keep(self.behind[index], address.value, &router(&net.name), address.line);
                if given[..number].iter().any(|other| other.value == address.value) {
                    self.problems.report(address.line, format!("{} is listed twice", address.value));
                }
            }
        }
    }

    fn keep_hosts(&mut self, file: &File) {
        for entry in file.actors.iter().map(|entry| &entry.value) {
            let Some(given) = &entry.address else { continue };
            for index in self.draft.actor_names.get(&entry.name.value.0).cloned().unwrap_or_default() {
                let actor = &mut self.draft.actors[index];
                actor.address = given.value;
                let (network, owner) = (actor.network, quote(&actor.name));
                self.keep(network, given.value, &owner, given.line);
            }
        }
    }

    fn keep_new_external(&mut self, reboots: &[Reboot]) {
        for reboot in reboots {
            if let NewAddress::This(address) = reboot.new {
                let owner = router(&self.nets[reboot.network].name);
                self.keep(self.behind[reboot.network], address, &owner, reboot.line);
            }
        }
    }

    /// Adds the networks to the draft, with the addresses of their NATs.
    fn add_networks(&mut self, link: Link) -> Option<()> {
        for index in 0..self.nets.len() {
            let behind = self.behind[index];
            let external = self.external(index, behind)?;
            let net = &self.nets[index];
            let is_router_source = |nat: &NatBehavior| nat.hairpinning == Hairpinning::RouterSource;
            if external.len() > 1 && net.nat.as_ref().is_some_and(is_router_source) {
                let message = format!(
                    "`{}`: with `hairpinning = \"router-source\"`, a port at the router's address must belong to one \
                     external address: give it one `external`",
                    net.name
                );
                self.problems.report(net.line, message);
            }
            let network = Network {
                name: net.name.clone(),
                behind,
                external,
                gateway: self.subnets[index].address(1),
                profile: net.profile.name.clone(),
                nat: net.nat.clone(),
                ipv6: net.ipv6.and_then(|ipv6| ipv6.value.network(net.nat.as_ref())),
                link: net.link.over(link),
            };
            self.draft.networks.push(network);
        }
        Some(())
    }

    /// The external addresses of a network's NAT.
    fn external(&mut self, index: usize, behind: Option<NetworkIndex>) -> Option<Vec<Ipv4Addr>> {
        let net = &self.nets[index];
        let (count, line) = match net.external {
            Some(Lined { value: External::These(given), .. }) => {
                return Some(given.iter().map(|address| address.value).collect());
            }
            Some(Lined { value: External::Count(count), line }) => (*count, *line),
            None => (net.profile.external, net.line),
        };
        if count > EXTERNAL_MAX {
            self.problems.report(line, format!("`external`: {count} addresses are too many: at most {EXTERNAL_MAX}"));
            return None;
        }
        (0..count).map(|_| self.assign(behind, index, Use::Nat, &router(&net.name), line)).collect()
    }

    /// The first gets the second address of the internet, below those of the actors.
    fn assign_ice_servers(&mut self) -> Option<()> {
        for index in 0..self.draft.ice_servers.len() {
            let server = &self.draft.ice_servers[index];
            if server.address.is_unspecified() {
                let name = server.name.clone();
                self.draft.ice_servers[index].address = self.assign(None, index, Use::IceServer, &name, 1)?;
            }
        }
        Some(())
    }

    fn assign_hosts(&mut self) -> Option<()> {
        for index in 0..self.draft.actors.len() {
            let actor = &self.draft.actors[index];
            if actor.address.is_unspecified() {
                let (network, name, line) = (actor.network, actor.name.clone(), actor.line);
                self.draft.actors[index].address = self.assign(network, index, Use::Host, &name, line)?;
            }
        }
        Some(())
    }

    fn assign_new_external(&mut self, reboots: &[Reboot]) {
        /// Far above the numbers of the first networks, so that a new address is easy to recognise.
        const FIRST_NEW: usize = 190;
        for (number, reboot) in reboots.iter().enumerate() {
            let address = match reboot.new {
                NewAddress::Same => None,
                NewAddress::This(address) => Some(address),
                NewAddress::Another => {
                    let owner = router(&self.nets[reboot.network].name);
                    let behind = self.behind[reboot.network];
                    self.assign(behind, FIRST_NEW + number, Use::Nat, &owner, reboot.line)
                }
            };
            self.draft.new_addresses.extend(address.map(|address| (reboot.step, address)));
        }
    }

    /// Gives actors addresses where they move to. Who comes back has the same one as before.
    fn assign_moves(&mut self, file: &File, link: Link) {
        let lan = file.lan.over(LAN);
        for (step, entry) in file.steps.iter().enumerate() {
            let Verb::Move { actors, network: to, address: given, link: changed } = &entry.value.verb else { continue };
            let network = match self.draft.network_names.get(&to.value) {
                Some(network) => Some(*network),
                None if to.value == INTERNET => None,
                // Reported with the steps.
                None => continue,
            };
            let named = actors.iter().filter_map(|name| self.draft.actor_names.get(&name.value).cloned());
            for index in named.flatten().collect::<Vec<_>>() {
                let actor = &self.draft.actors[index];
                let before = self.draft.moves.iter().filter(|((_, moved), _)| *moved == index).map(|(_, to)| *to);
                let mut known: Vec<_> = before.map(|to| (to.network, to.address)).collect();
                known.push((actor.network, actor.address));
                let known = known.into_iter().find(|(there, _)| *there == network).map(|(_, address)| address);
                let name = actor.name.clone();
                let address = match (given, known) {
                    (Some(given), known) => {
                        if known != Some(given.value) {
                            self.keep(network, given.value, &quote(&name), given.line);
                        }
                        given.value
                    }
                    (None, Some(known)) => known,
                    (None, None) => match self.assign(network, index, Use::Host, &name, entry.line) {
                        Some(address) => address,
                        None => return,
                    },
                };
                let link = changed.over(if network.is_some() { lan } else { link });
                self.draft.moves.insert((step, index), Move { network, address, link });
            }
        }
    }

    /// Assigns an address to the `index`th actor or network. Reports a problem if no address is left.
    fn assign(
        &mut self,
        network: Option<NetworkIndex>,
        index: usize,
        purpose: Use,
        owner: &str,
        line: usize,
    ) -> Option<Ipv4Addr> {
        let address = self.realm(network).assign(index, purpose, owner);
        if address.is_none() {
            let message = match network {
                Some(network) => format!(
                    "`{}` ({}) has no address left: give it a larger `subnet`",
                    self.nets[network].name, self.subnets[network]
                ),
                None => "the internet has no address left: it has room for about 65000 hosts and NATs".to_owned(),
            };
            self.problems.report(line, message);
        }
        address
    }
}

/// The name of a network's NAT in messages.
fn router(network: &str) -> String {
    format!("the NAT of `{network}`")
}

/// The subnet inside each network.
fn subnets(nets: &[Net<'_>], draft: &Draft, internet: &mut Realm, problems: &Problems) -> Option<Vec<Subnet>> {
    // Subnets that the file gives come first, so that the assigned ones do not overlap them.
    for net in nets.iter().filter(|net| net.nat.is_none()) {
        if let Some(subnet) = net.subnet {
            internet.route(subnet.value).unwrap_or_else(|wrong| problems.report(subnet.line, wrong));
        }
    }
    let mut subnets: Vec<Subnet> = Vec::with_capacity(nets.len());
    let mut outer: Vec<Vec<Subnet>> = Vec::with_capacity(nets.len());
    for net in nets {
        let mut around = Vec::new();
        if let Some(behind) = net.behind.and_then(|behind| draft.network_names.get(&behind.value)) {
            around.clone_from(&outer[*behind]);
            around.push(subnets[*behind]);
        }
        let clash = |subnet: Subnet| around.iter().find(|outer| outer.overlaps(subnet));
        let subnet = match net.subnet {
            Some(subnet) => {
                if net.nat.is_some() && !address::is_private(subnet.value) {
                    let message = format!(
                        "{} is not private, as the inside of a NAT must be: use one such as 192.168.1.0/24",
                        subnet.value
                    );
                    problems.report(subnet.line, message);
                }
                if let Some(outer) = clash(subnet.value) {
                    let message = format!(
                        "{} overlaps {outer}, the network outside the NAT: a NAT cannot distinguish them",
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

/// A reboot of a NAT with the key `new-address`.
struct Reboot {
    /// The number of the step in the file.
    step: usize,
    network: NetworkIndex,
    new: NewAddress,
    line: usize,
}

fn reboots(file: &File, draft: &Draft, nets: &[Net<'_>], problems: &Problems) -> Vec<Reboot> {
    let mut reboots = Vec::new();
    for (step, entry) in file.steps.iter().enumerate() {
        let Verb::NatReboot { network, new_address: Some(new), .. } = &entry.value.verb else { continue };
        // An unknown network is reported with the steps.
        let Some(index) = draft.network_names.get(&network.value).copied() else { continue };
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
