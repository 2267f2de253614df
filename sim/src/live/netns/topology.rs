//! The machines and routers of a scenario as network namespaces, and the cables between them.
//!
//! Every network is an Ethernet bridge: the internet in a namespace of its own, the others in their routers' namespaces.
//! All addresses are single ones (`/32`). Hosts of one network reach each other directly, everything else through the
//! router's internal address.

use std::io;
use std::net::Ipv4Addr;

use scenarios::{NetworkIndex, Scenario};

use super::namespace::Namespace;
use super::rules::Rules;

/// The bridge of a network, in the namespace of its router.
pub(super) const INSIDE: &str = "lan";
/// A router's interface to the outer network.
pub(super) const OUTSIDE: &str = "wan";
/// The only interface of a machine.
pub(super) const MACHINE: &str = "eth0";

/// The namespaces of a scenario.
pub(super) struct Topology {
    /// Has the bridge of the internet. It must live as long as the others.
    _internet: Namespace,
    /// By the index of the network.
    pub(super) routers: Vec<Namespace>,
    pub(super) server: Namespace,
    /// By the index of the actor.
    pub(super) actors: Vec<Namespace>,
}

/// A network's end of the cables.
struct Switch {
    namespace: Namespace,
    /// Its router's internal address; `None` on the internet.
    gateway: Option<Ipv4Addr>,
    /// The addresses of its machines and routers, each with its namespace and the interface there.
    plugged: Vec<(Vec<Ipv4Addr>, Namespace, &'static str)>,
}

impl Switch {
    fn new(namespace: Namespace, gateway: Option<Ipv4Addr>) -> io::Result<Self> {
        let mut commands = vec![
            "link set dev lo up".to_owned(),
            format!("link add name {INSIDE} type bridge forward_delay 0"),
            format!("link set dev {INSIDE} up"),
        ];
        commands.extend(gateway.map(|gateway| format!("addr add {gateway}/32 dev {INSIDE}")));
        prepare(&namespace)?;
        namespace.ip(&commands)?;
        Ok(Self { namespace, gateway, plugged: Vec::new() })
    }

    /// Connects an interface of a new machine or router with these addresses.
    fn plug(&mut self, namespace: &Namespace, interface: &'static str, addresses: &[Ipv4Addr]) -> io::Result<()> {
        let port = format!("port{}", self.plugged.len());
        self.namespace.ip(&[
            format!("link add name {port} type veth peer name {interface} netns {}", namespace.path()),
            format!("link set dev {port} master {INSIDE}"),
            format!("link set dev {port} up"),
        ])?;
        let mut commands = vec!["link set dev lo up".to_owned(), format!("link set dev {interface} up")];
        commands.extend(addresses.iter().map(|address| format!("addr add {address}/32 dev {interface}")));
        commands.extend(self.gateway.map(|gateway| format!("route add default via {gateway} dev {interface} onlink")));
        namespace.ip(&commands)?;
        self.plugged.push((addresses.to_vec(), namespace.clone(), interface));
        Ok(())
    }

    /// Tells everybody in the network which addresses need no router.
    fn introduce(&self) -> io::Result<()> {
        for (own, namespace, interface) in &self.plugged {
            let others = self.plugged.iter().flat_map(|(addresses, ..)| addresses).filter(|other| !own.contains(other));
            let routes: Vec<_> = others.map(|other| format!("route add {other}/32 dev {interface}")).collect();
            namespace.ip(&routes)?;
        }
        let inside = self.plugged.iter().flat_map(|(addresses, ..)| addresses).filter(|_| self.gateway.is_some());
        let routes: Vec<_> = inside.map(|address| format!("route add {address}/32 dev {INSIDE}")).collect();
        self.namespace.ip(&routes)
    }
}

impl Topology {
    /// Makes the namespaces, cables, addresses and routes of a scenario, and loads the rules of its NATs, by the index of
    /// the network.
    pub(super) fn new(scenario: &Scenario, rules: &[Rules]) -> io::Result<Self> {
        let internet = Namespace::new()?;
        let mut switches = vec![Switch::new(internet.clone(), None)?];
        let mut routers = Vec::new();
        // An outer network comes before those behind it.
        let at = |network: Option<NetworkIndex>| network.map_or(0, |network| network.0 + 1);
        for (network, rules) in scenario.networks.iter().zip(rules) {
            let router = Namespace::new()?;
            let inside = Switch::new(router.clone(), Some(network.gateway))?;
            switches[at(network.behind)].plug(&router, OUTSIDE, &network.external)?;
            for (parameter, value) in &rules.parameters {
                router.set(parameter, value)?;
            }
            router.nft(&rules.text)?;
            switches.push(inside);
            routers.push(router);
        }
        let mut machine = |network, address| {
            let namespace = Namespace::new()?;
            prepare(&namespace)?;
            switches[at(network)].plug(&namespace, MACHINE, &[address])?;
            io::Result::Ok(namespace)
        };
        let server = machine(None, scenario.server.address)?;
        let actors =
            scenario.actors.iter().map(|actor| machine(actor.network, actor.address)).collect::<Result<_, _>>()?;
        for switch in &switches {
            switch.introduce()?;
        }
        Ok(Self { _internet: internet, routers, server, actors })
    }
}

/// Sets what a new namespace inherits from this machine and a scenario must not depend on.
fn prepare(namespace: &Namespace) -> io::Result<()> {
    for of in ["all", "default"] {
        // Packets may come from an address without a route back.
        namespace.set(&format!("net/ipv4/conf/{of}/rp_filter"), 0)?;
        // A router that hairpins must not tell its hosts to do without it.
        namespace.set(&format!("net/ipv4/conf/{of}/send_redirects"), 0)?;
        // Scenarios have no IPv6, whose neighbour discovery would only add packets.
        match namespace.set(&format!("net/ipv6/conf/{of}/disable_ipv6"), 1) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // This kernel has no IPv6, or it is off now.
            _ => {}
        }
    }
    // What a bridge carries from host to host is no business of the router's rules. The parameter exists if anybody on this
    // machine needed it.
    match namespace.set("net/bridge/bridge-nf-call-iptables", 0) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
