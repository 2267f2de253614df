//! A router between two realms: with or without a NAT for IPv4, and with or without a firewall for IPv6.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use scenarios::{Link, NatBehavior, NatReboot};

use crate::event::TransportAddress;
use crate::event::{Mapping, NatEvent, NodeId, Protocol, Refusal};
use crate::fabric::index::RealmIndex;
use crate::fabric::link::LinkState;
use crate::fabric::nat::{Change, FiveTuple, Nat, NatCx};
use crate::fabric::packet::Packet;

pub(crate) struct Router {
    pub(crate) node: NodeId,
    pub(crate) inner: RealmIndex,
    pub(crate) outer: RealmIndex,
    /// Its link to the outer realm.
    pub(crate) link: LinkState,
    nat: Option<Nat>,
    /// What lets packets of IPv6 in and out, which no router translates.
    firewall: Option<Nat>,
    /// Whether TCP segments without a mapping are answered with RST.
    pub(crate) resets_tcp: bool,
    /// When the next check for expired mappings is scheduled. A check that an earlier one has replaced stays in the
    /// schedule, and finds nothing.
    expiry_check: Option<Duration>,
}

/// Where a router forwards a packet that came from the inside.
pub(crate) enum Exit {
    /// To the outer realm.
    Outside,
    /// To the outer realm, translated by the NAT or let out by the firewall.
    Translated(Mapping),
    /// Back to the inner realm, because the destination was the NAT's own external address.
    Hairpin,
}

impl Router {
    pub(crate) fn new(node: NodeId, inner: RealmIndex, outer: RealmIndex, link: Link) -> Self {
        Self {
            node,
            inner,
            outer,
            link: LinkState::new(link),
            nat: None,
            firewall: None,
            resets_tcp: false,
            expiry_check: None,
        }
    }

    pub(crate) fn with_nat(self, behavior: Option<NatBehavior>, external: &[Ipv4Addr]) -> Self {
        Self { nat: behavior.map(|behavior| Nat::new(behavior, external)), ..self }
    }

    /// Tells its NAT its address inside.
    pub(crate) fn set_inside(&mut self, address: Ipv4Addr) {
        if let Some(nat) = &mut self.nat {
            nat.set_inside(address);
        }
    }

    /// Whether packets from the inside to this address come back.
    pub(crate) fn hairpins(&self, address: IpAddr) -> bool {
        self.nat.as_ref().is_some_and(|nat| nat.owns(address))
    }

    /// Gives it a firewall for IPv6, or takes it away.
    pub(crate) fn set_firewall(&mut self, behavior: Option<NatBehavior>) {
        self.firewall = behavior.map(Nat::firewall);
    }

    /// Whether inside and outside use different addresses in place of this one.
    pub(crate) fn translates(&self, address: IpAddr) -> bool {
        self.nat.is_some() && address.is_ipv4()
    }

    /// What lets packets of a family in and out.
    fn guard(&mut self, is_ipv6: bool) -> Option<&mut Nat> {
        if is_ipv6 { self.firewall.as_mut() } else { self.nat.as_mut() }
    }

    fn guards(&self) -> impl Iterator<Item = &Nat> {
        self.nat.iter().chain(&self.firewall)
    }

    /// Translates a packet that came from the inside.
    pub(crate) fn outward(&mut self, packet: &mut Packet, cx: &mut NatCx<'_>) -> Result<Exit, Refusal> {
        let Some(nat) = self.guard(packet.dst.is_ipv6()) else { return Ok(Exit::Outside) };
        let five_tuple = FiveTuple { protocol: packet.protocol(), internal: packet.src, remote: packet.dst };
        let FiveTuple { protocol, internal, remote } = five_tuple;
        if nat.owns(remote.ip()) {
            (packet.src, packet.dst) = nat.hairpin(five_tuple, packet.signal(), cx)?;
            return Ok(Exit::Hairpin);
        }
        packet.src = nat.outbound(five_tuple, packet.signal(), cx)?;
        Ok(Exit::Translated(Mapping { protocol, internal, external: packet.src, remote }))
    }

    /// Translates a packet that came from the outside; returns the mapping that it used.
    pub(crate) fn inward(&mut self, packet: &mut Packet, now: Duration) -> Result<Option<Mapping>, Refusal> {
        let Some(nat) = self.guard(packet.dst.is_ipv6()) else { return Ok(None) };
        let (protocol, external, remote) = (packet.protocol(), packet.dst, packet.src);
        packet.dst = nat.inbound(now, protocol, external, remote, packet.signal())?;
        Ok(Some(Mapping { protocol, internal: packet.dst, external, remote }))
    }

    /// Where a packet from the outside to this endpoint leads inside, if there is a mapping. Changes nothing.
    pub(crate) fn leads_to(&self, protocol: Protocol, destination: TransportAddress) -> Option<TransportAddress> {
        let Some(nat) = self.nat.as_ref().filter(|_| !destination.is_ipv6()) else { return Some(destination) };
        nat.leads_to(protocol, destination)
    }

    /// Reboots the NAT and the firewall, and returns the number of mappings that are lost; `None` if there is neither.
    pub(crate) fn reboot(&mut self, reboot: NatReboot, now: Duration) -> Option<usize> {
        let lost = self.nat.iter_mut().chain(&mut self.firewall).map(|guard| guard.reboot(now, reboot));
        let lost = lost.reduce(|one, other| one + other)?;
        self.resets_tcp = reboot.resets_tcp;
        Some(lost)
    }

    /// The changes in the NAT's table since the last call.
    pub(crate) fn nat_events(&mut self, now: Duration) -> impl Iterator<Item = NatEvent> {
        let mut guards: Vec<_> = self.nat.iter_mut().chain(&mut self.firewall).collect();
        for guard in &mut guards {
            guard.expire(now);
        }
        let changes = guards.into_iter().flat_map(Nat::drain_changes);
        changes.map(|change| match change {
            Change::Created(mapping) => NatEvent::Created(mapping),
            Change::Expired { mapping, .. } => NatEvent::Expired(mapping),
            Change::Flushed { mappings } => NatEvent::Rebooted { lost: mappings },
        })
    }

    /// When to check for expired mappings; `None` if a check is already scheduled by then, or not needed. When that
    /// time comes, call [`Router::expiry_reached`].
    pub(crate) fn await_expiry(&mut self) -> Option<Duration> {
        let check = self.expiry_check;
        let is_covered = |at: Duration| check.is_some_and(|check| check <= at);
        if is_covered(self.guards().filter_map(Nat::no_expiry_before).min()?) {
            return None;
        }
        let next = self.nat.iter_mut().chain(&mut self.firewall).filter_map(Nat::next_expiry).min();
        let next = next.filter(|next| !is_covered(*next))?;
        self.expiry_check = Some(next);
        Some(next)
    }

    pub(crate) fn expiry_reached(&mut self, now: Duration) {
        self.expiry_check = self.expiry_check.filter(|check| *check > now);
    }

    /// Whether a TCP connection of the outside may still come through, once the inside has sent a segment of it.
    pub(crate) fn picks_up(&mut self, is_ipv6: bool) -> bool {
        self.guard(is_ipv6).is_some_and(|guard| guard.picks_up())
    }

    /// Whether it answers what comes from the outside and belongs to no mapping.
    pub(crate) fn answers_unsolicited(&mut self, is_ipv6: bool) -> bool {
        self.guard(is_ipv6).is_some_and(|guard| guard.answers_unsolicited())
    }
}
