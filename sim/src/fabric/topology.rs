//! What is attached where: realms, the routers between them, and hosts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{Index, IndexMut};

use crate::event::TransportAddress;
use scenarios::Addresses;

use crate::event::{NodeId, Protocol};
use crate::fabric::index::{HostIndex, RealmIndex, RouterIndex};
use crate::fabric::link::LinkState;
use crate::fabric::path_mtu::PathMtus;
use crate::fabric::router::Router;
use crate::fabric::tcp::Life;
use crate::fabric::udp::UdpPorts;

/// The owner of an address in a realm, and so of the link that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attachment {
    /// A host.
    Host(HostIndex),
    /// The outside of a router: its NAT owns the address, or the router forwards it to the inside.
    Router(RouterIndex),
}

/// Where a packet goes next in a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextHop {
    /// Over the link of the owner of the address.
    Attached(Attachment),
    /// To the inside of the realm's router, which has no link there.
    Gateway(RouterIndex),
}

pub(crate) struct Host {
    pub(crate) node: NodeId,
    pub(crate) realm: RealmIndex,
    pub(crate) addresses: Addresses,
    pub(crate) link: LinkState,
    pub(crate) udp: UdpPorts,
    pub(crate) path_mtus: PathMtus,
    /// `None` while the host has no power.
    pub(crate) life: Option<Life>,
}

#[derive(Debug, Default)]
struct Realm {
    attached: BTreeMap<IpAddr, Attachment>,
    /// The router to which packets for all other addresses go. The internet has none.
    gateway: Option<RouterIndex>,
}

pub(crate) struct Topology {
    realms: Vec<Realm>,
    routers: Vec<Router>,
    hosts: Vec<Host>,
}

impl Topology {
    /// A topology that consists of the internet alone.
    pub(crate) fn new() -> Self {
        Self { realms: vec![Realm::default()], routers: Vec::new(), hosts: Vec::new() }
    }

    /// The index of the realm that the next router will add.
    pub(crate) fn next_realm(&self) -> RealmIndex {
        RealmIndex(self.realms.len())
    }

    /// Adds a router, and the realm on its inside.
    pub(crate) fn add_router(&mut self, router: Router, external: &[Ipv4Addr]) -> RouterIndex {
        let index = RouterIndex(self.routers.len());
        for address in external {
            self.realms[router.outer.0].attached.insert((*address).into(), Attachment::Router(index));
        }
        self.realms.push(Realm { gateway: Some(index), ..Realm::default() });
        self.routers.push(router);
        index
    }

    pub(crate) fn add_host(&mut self, host: Host) -> HostIndex {
        let index = HostIndex(self.hosts.len());
        let (realm, addresses) = (host.realm, host.addresses);
        self.hosts.push(host);
        self.attach(index, realm, addresses);
        index
    }

    fn attach(&mut self, host: HostIndex, realm: RealmIndex, addresses: Addresses) {
        for address in addresses.all() {
            self.realms[realm.0].attached.insert(address, Attachment::Host(host));
            // Behind a router that does not translate, hosts are part of the outer realm as well.
            let mut inside = realm;
            while let Some(router) = self.realms[inside.0].gateway.filter(|&router| !self[router].translates(address)) {
                inside = self[router].outer;
                self.realms[inside.0].attached.insert(address, Attachment::Router(router));
            }
        }
    }

    /// Moves a host to another realm, where it has other addresses.
    pub(crate) fn move_host(&mut self, host: HostIndex, realm: RealmIndex, addresses: Addresses) {
        let Host { realm: left, addresses: old, .. } = self[host];
        for address in old.all() {
            let mut at = Some(left);
            while let Some(realm) = at {
                self.realms[realm.0].attached.remove(&address);
                let router = self.realms[realm.0].gateway.filter(|&router| !self[router].translates(address));
                at = router.map(|router| self[router].outer);
            }
        }
        (self[host].realm, self[host].addresses) = (realm, addresses);
        self.attach(host, realm, addresses);
    }

    /// The host that is this node.
    pub(crate) fn host_of(&self, node: NodeId) -> Option<HostIndex> {
        self.hosts.iter().position(|host| host.node == node).map(HostIndex)
    }

    /// Replaces all external addresses of a router with one.
    pub(crate) fn readdress(&mut self, router: RouterIndex, address: Ipv4Addr) {
        let outer = self[router].outer;
        let attached = &mut self.realms[outer.0].attached;
        attached.retain(|address, attachment| address.is_ipv6() || *attachment != Attachment::Router(router));
        attached.insert(address.into(), Attachment::Router(router));
    }

    /// The next hop of a packet to `address`. It has entered the realm over the link of `from`, or, if `None`, from the
    /// realm's own router. Returns `None` if there is no route.
    pub(crate) fn next_hop(&self, realm: RealmIndex, from: Option<Attachment>, address: IpAddr) -> Option<NextHop> {
        let realm = &self.realms[realm.0];
        match realm.attached.get(&address) {
            // If a router without a NAT would get its own packet back, the packet has no route.
            Some(&to @ Attachment::Router(router)) if from == Some(to) && !self[router].translates(address) => {}
            Some(&to) => return Some(NextHop::Attached(to)),
            None => {}
        }
        realm.gateway.filter(|_| from.is_some()).map(NextHop::Gateway)
    }

    /// The host to which a packet from this realm leads now, through the routers whose mappings lead there. `None` if it
    /// leads nowhere. Whether a filter lets it through is not asked.
    pub(crate) fn receiver(
        &self,
        mut realm: RealmIndex,
        protocol: Protocol,
        mut destination: TransportAddress,
    ) -> Option<HostIndex> {
        // Out through every router, and in through every router.
        for _ in 0..=2 * self.routers.len() {
            let here = &self.realms[realm.0];
            match here.attached.get(&destination.ip()) {
                Some(Attachment::Host(host)) => return Some(*host),
                Some(Attachment::Router(router)) => {
                    let router = &self[*router];
                    destination = router.leads_to(protocol, destination)?;
                    realm = router.inner;
                }
                None if self[here.gateway?].hairpins(destination.ip()) => {
                    let router = &self[here.gateway?];
                    destination = router.leads_to(protocol, destination)?;
                    realm = router.inner;
                }
                None => realm = self[here.gateway?].outer,
            }
        }
        None
    }

    pub(crate) fn link_mut(&mut self, owner: Attachment) -> &mut LinkState {
        match owner {
            Attachment::Host(host) => &mut self[host].link,
            Attachment::Router(router) => &mut self[router].link,
        }
    }

    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Index<HostIndex> for Topology {
    type Output = Host;
    fn index(&self, host: HostIndex) -> &Host {
        &self.hosts[host.0]
    }
}

impl IndexMut<HostIndex> for Topology {
    fn index_mut(&mut self, host: HostIndex) -> &mut Host {
        &mut self.hosts[host.0]
    }
}

impl Index<RouterIndex> for Topology {
    type Output = Router;
    fn index(&self, router: RouterIndex) -> &Router {
        &self.routers[router.0]
    }
}

impl IndexMut<RouterIndex> for Topology {
    fn index_mut(&mut self, router: RouterIndex) -> &mut Router {
        &mut self.routers[router.0]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scenarios::{Link, OneWay};

    use super::*;

    const LINK: Link = Link::both(OneWay::with_latency(Duration::ZERO));
    const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);

    /// A topology with a host behind a router that does not translate, and a host on the internet.
    fn two_realms() -> (Topology, RouterIndex, [HostIndex; 2]) {
        let mut topology = Topology::new();
        let inner = topology.next_realm();
        let router = topology.add_router(Router::new(NodeId(0), inner, RealmIndex::INTERNET, LINK), &[]);
        let mut host = |realm, address: Ipv4Addr| {
            let (link, udp, path_mtus) = (LinkState::new(LINK), UdpPorts::default(), PathMtus::default());
            topology.add_host(Host {
                node: NodeId(1),
                realm,
                addresses: address.into(),
                link,
                udp,
                path_mtus,
                life: None,
            })
        };
        let hosts = [host(inner, INSIDE), host(RealmIndex::INTERNET, OUTSIDE)];
        (topology, router, hosts)
    }

    #[test]
    fn a_packet_goes_to_the_owner_of_its_address_or_to_the_gateway() {
        let (topology, router, [inside, outside]) = two_realms();
        let (inner, from_inside) = (RealmIndex(1), Some(Attachment::Host(inside)));
        assert_eq!(topology.next_hop(inner, from_inside, OUTSIDE.into()), Some(NextHop::Gateway(router)));
        let owner = |owner| Some(NextHop::Attached(owner));
        let from_outside = Some(Attachment::Host(outside));
        assert_eq!(
            topology.next_hop(RealmIndex::INTERNET, from_outside, INSIDE.into()),
            owner(Attachment::Router(router)),
            "its hosts are part of the realm outside"
        );
        assert_eq!(topology.next_hop(inner, None, INSIDE.into()), owner(Attachment::Host(inside)));
    }

    #[test]
    fn a_packet_does_not_turn_back_without_a_nat() {
        let (topology, router, _) = two_realms();
        let from_router = Some(Attachment::Router(router));
        assert_eq!(topology.next_hop(RealmIndex::INTERNET, from_router, INSIDE.into()), None);
        assert_eq!(
            topology.next_hop(RealmIndex::INTERNET, from_router, ELSEWHERE.into()),
            None,
            "the internet has no gateway"
        );
        assert_eq!(
            topology.next_hop(RealmIndex(1), None, ELSEWHERE.into()),
            None,
            "nor does a packet from the gateway"
        );
    }
}
