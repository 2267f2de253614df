//! A NAT in the terms of RFC 4787: the external endpoint with which a packet leaves, and the internal endpoint to which
//! a reply goes.
//!
//! It is a pure state machine. The caller passes in time and randomness, and rewrites the packets. It translates UDP
//! and TCP. **A mapping ends at the very instant at which it has been idle for its lifetime**, whether or not
//! [`Nat::expire`] was called.
//!
//! Where RFC 4787 and RFC 5382 leave a choice:
//! - *Filters age.* A filter entry is refreshed and ends like a mapping, with the same lifetimes. With
//!   [`FilterState::PerMapping`] it ends with its mapping, with [`FilterState::PerEndpoint`] with the last mapping of
//!   its internal endpoint. A packet that is filtered refreshes nothing (RFC 7857 §7).
//! - *TCP connections are tracked* by their flags alone, not by their sequence numbers. A connection is opening until
//!   the third segment of its handshake, closing from its first FIN on, and reset after an RST. Each state has its
//!   lifetime, which any segment in either direction starts anew. A mapping lives as long as one of its connections.
//! - *Overloaded ports* are what Linux has: a mapping for each remote endpoint, with the port of the internal endpoint's
//!   newest mapping, or else the internal port, unless another mapping has that port towards the same remote endpoint.
//! - *Hairpinning with the internal source* creates the sender's mapping and passes the filters just as with the
//!   external source; only the source that the receiver sees differs.
//! - *Hairpinning with the router's source* does so too. Its address inside stands for the external one: what is sent to a
//!   port there goes to the mapping with that external port, and shows the sender's external endpoint.
//! - *Paired pooling* assigns the external addresses to the internal ones in turn. An internal address whose external
//!   one has no free port is refused, while arbitrary pooling tries the next address.
//!
//! [`FilterState::PerMapping`]: scenarios::FilterState::PerMapping
//! [`FilterState::PerEndpoint`]: scenarios::FilterState::PerEndpoint

mod filter;
mod ports;
mod table;
mod timer;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use scenarios::{Hairpinning, NatBehavior, NatReboot, Pooling, PortAllocation, Unsolicited};

pub use crate::mapping::FiveTuple;
use crate::mapping::{Mapping, Protocol, Refusal, TransportAddress};
use ports::Ports;
use table::{Slot, Table};

/// What a NAT needs from its caller to translate a packet.
#[derive(Debug)]
pub struct NatCx<'a> {
    /// Virtual time since the start. It must never decrease from one call to the next.
    pub now: Duration,
    /// Used to choose ports and external addresses where the behaviour is random.
    pub rng: &'a mut ChaCha8Rng,
}

/// What a packet says about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Nothing: a datagram, or a segment in the middle of a connection.
    Data,
    /// It opens the connection: a SYN without ACK.
    Open,
    /// It answers the opening: a SYN with ACK.
    Accept,
    /// It closes one direction: a FIN.
    Close,
    /// It ends the connection: an RST.
    Reset,
}

/// A change in the mapping table. Refusals and refreshes are not included: the return value of the call for a packet
/// shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A packet from the inside created a mapping.
    Created(Mapping),
    /// A mapping was idle for its lifetime.
    Expired {
        /// When its lifetime ended. This is earlier than the call that noticed it, if [`Nat::expire`] was not called in
        /// time.
        at: Duration,
        /// The mapping.
        mapping: Mapping,
    },
    /// A reboot lost every mapping.
    Flushed {
        /// How many mappings there were.
        mappings: usize,
    },
}

/// A NAT: its behaviour, its external addresses and its live mappings.
#[derive(Debug)]
pub struct Nat {
    behavior: NatBehavior,
    external: Vec<(IpAddr, Ports)>,
    /// Its address inside, if packets to it are hairpinned.
    inside: Option<IpAddr>,
    /// With paired pooling, the index of the external address that each internal address uses.
    paired: BTreeMap<IpAddr, usize>,
    table: Table,
    picks_up: bool,
    changes: Vec<Change>,
}

impl Nat {
    /// A NAT without mappings.
    ///
    /// # Panics
    /// `external` is empty.
    pub fn new(behavior: NatBehavior, external: &[Ipv4Addr]) -> Self {
        assert!(!external.is_empty(), "a NAT needs an external address");
        let external = external.iter().map(|&address| (address.into(), Ports::new())).collect();
        Self { external, ..Self::firewall(behavior) }
    }

    /// A firewall without state: it lets out and in what a NAT with this behavior would, but translates nothing, so that
    /// external endpoints are the internal ones. RFC 6092.
    pub fn firewall(behavior: NatBehavior) -> Self {
        Self {
            table: Table::new(&behavior),
            picks_up: behavior.tcp_pick_up,
            behavior,
            external: Vec::new(),
            inside: None,
            paired: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// Gives it an address inside, which it shows as the source of what it hairpins with [`Hairpinning::RouterSource`].
    pub fn set_inside(&mut self, address: Ipv4Addr) {
        self.inside = Some(address.into()).filter(|_| self.behavior.hairpinning == Hairpinning::RouterSource);
    }

    /// Whether `address` is one of its own: an external one, or with [`Hairpinning::RouterSource`] the one inside. Packets
    /// from the inside to such an address must go to [`Nat::hairpin`].
    pub fn owns(&self, address: IpAddr) -> bool {
        self.inside == Some(address) || self.external.iter().any(|(own, _)| *own == address)
    }

    /// The external endpoint that an endpoint of its own stands for.
    fn external_of(&self, own: TransportAddress) -> TransportAddress {
        if self.inside == Some(own.ip()) { TransportAddress::new(self.external[0].0, own.port()) } else { own }
    }

    /// Translates a packet from the inside; returns the external endpoint that becomes its source.
    ///
    /// # Errors
    /// [`Refusal::UdpBlocked`], [`Refusal::TcpPortBlocked`], [`Refusal::TcpMidStream`], [`Refusal::TableFull`] and
    /// [`Refusal::PortsExhausted`].
    pub fn outbound(
        &mut self,
        packet: FiveTuple,
        signal: Signal,
        cx: &mut NatCx<'_>,
    ) -> Result<TransportAddress, Refusal> {
        self.expire(cx.now);
        self.admit(packet.protocol)?;
        if packet.protocol == Protocol::Tcp && self.behavior.tcp_ports_blocked.contains(&packet.remote.port()) {
            return Err(Refusal::TcpPortBlocked);
        }
        let slot = match self.table.find_internal(packet) {
            Some(slot) => slot,
            None if packet.protocol == Protocol::Tcp && !self.may_create(signal) => return Err(Refusal::TcpMidStream),
            None => self.create(packet, signal, cx)?,
        };
        Ok(self.table.sent(slot, cx.now, packet.remote, signal))
    }

    /// Translates a packet from the outside to an external endpoint; returns the internal endpoint that becomes its
    /// destination.
    ///
    /// # Errors
    /// [`Refusal::UdpBlocked`], [`Refusal::NoMapping`] and [`Refusal::Filtered`].
    pub fn inbound(
        &mut self,
        now: Duration,
        protocol: Protocol,
        external: TransportAddress,
        remote: TransportAddress,
        signal: Signal,
    ) -> Result<TransportAddress, Refusal> {
        self.expire(now);
        self.admit(protocol)?;
        let Some(slot) = self.table.find_external(protocol, external, remote) else {
            if protocol == Protocol::Udp && self.behavior.unsolicited == Unsolicited::Accept {
                self.table.accept_own(external, remote, now);
            }
            let why = if self.table.uses(protocol, external) { Refusal::Filtered } else { Refusal::NoMapping };
            return Err(why);
        };
        self.table.received(slot, now, remote, signal).ok_or(Refusal::Filtered)
    }

    /// Whether a TCP segment of a connection without a mapping may create one.
    pub fn picks_up(&self) -> bool {
        self.picks_up
    }

    /// Whether the router itself answers what comes from the outside and belongs to no mapping.
    pub fn answers_unsolicited(&self) -> bool {
        self.behavior.unsolicited != Unsolicited::Drop
    }

    /// Translates a packet from the inside whose remote is one of the NAT's own external endpoints. Returns the source
    /// and the destination that it has when it comes back to the inside.
    ///
    /// The effect is as if the packet had gone out and come back: the sender gets a mapping and may receive replies,
    /// even if the receiver's filter then stops the packet. So two internal hosts can open their filters for each
    /// other.
    ///
    /// # Errors
    /// [`Refusal::HairpinOff`], and those of [`Nat::outbound`] and [`Nat::inbound`].
    //= https://www.rfc-editor.org/rfc/rfc4787#section-6
    //# REQ-9:  A NAT MUST support "Hairpinning".
    pub fn hairpin(
        &mut self,
        packet: FiveTuple,
        signal: Signal,
        cx: &mut NatCx<'_>,
    ) -> Result<(TransportAddress, TransportAddress), Refusal> {
        self.expire(cx.now);
        self.admit(packet.protocol)?;
        if self.behavior.hairpinning == Hairpinning::Off {
            return Err(Refusal::HairpinOff);
        }
        let asked = packet.remote;
        let packet = FiveTuple { remote: self.external_of(asked), ..packet };
        let source = self.outbound(packet, signal, cx)?;
        let destination = self.inbound(cx.now, packet.protocol, packet.remote, source, signal)?;
        let source = match (self.behavior.hairpinning, self.inside) {
            (Hairpinning::InternalSource, _) => packet.internal,
            // Who was sent to at an external endpoint answers the router, and the answer comes from that endpoint.
            (Hairpinning::RouterSource, Some(inside)) if packet.remote == asked => {
                TransportAddress::new(inside, source.port())
            }
            _ => source,
        };
        Ok((source, destination))
    }

    /// Removes every mapping and filter, and returns the number of mappings. `new_address`, if given, replaces all
    /// external addresses. If `resets_tcp`, TCP connections of before are not picked up.
    ///
    /// If ports are allocated sequentially or in blocks, those used before the reboot are the last to be assigned
    /// again.
    pub fn reboot(&mut self, now: Duration, reboot: NatReboot) -> usize {
        let NatReboot { resets_tcp, new_address } = reboot;
        self.expire(now);
        self.picks_up = self.behavior.tcp_pick_up && !resets_tcp;
        let mappings = self.table.len();
        self.changes.push(Change::Flushed { mappings });
        self.table.clear();
        self.paired.clear();
        for (_, ports) in &mut self.external {
            ports.clear();
        }
        if let Some(address) = new_address.filter(|_| self.translates()) {
            self.external.truncate(1);
            self.external[0].0 = address.into();
        }
        mappings
    }

    /// Removes the mappings whose lifetime has ended.
    pub fn expire(&mut self, now: Duration) {
        while let Some((at, mapping)) = self.table.pop_ended(now) {
            if self.overloads() || !self.translates() {
                self.changes.push(Change::Expired { at, mapping });
                continue;
            }
            let (_, ports) = self
                .external
                .iter_mut()
                .find(|(address, _)| *address == mapping.external.ip())
                .expect("addresses change only when no mapping is left");
            ports.give_back(mapping.protocol, mapping.external.port());
            self.changes.push(Change::Expired { at, mapping });
        }
    }

    /// When the next mapping expires, unless a packet refreshes it.
    pub fn next_expiry(&mut self) -> Option<Duration> {
        self.table.next_end()
    }

    /// A time before which no mapping expires. It costs nothing, and may be earlier than [`Nat::next_expiry`].
    pub fn no_expiry_before(&self) -> Option<Duration> {
        self.table.no_end_before()
    }

    /// The mappings, by protocol and external endpoint. Call [`Nat::expire`] first to remove those whose lifetime has
    /// ended.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.table.iter()
    }

    /// The changes in the table since the last call, in order of time. Call this after every other call: changes are
    /// kept until then.
    pub fn drain_changes(&mut self) -> impl Iterator<Item = Change> {
        self.changes.drain(..)
    }

    /// The internal endpoint of a mapping with this external endpoint, towards whichever remote. It passes no filter and
    /// changes nothing.
    pub fn leads_to(&self, protocol: Protocol, external: TransportAddress) -> Option<TransportAddress> {
        self.table.first_with(protocol, self.external_of(external)).map(|mapping| mapping.internal)
    }

    fn admit(&self, protocol: Protocol) -> Result<(), Refusal> {
        if protocol == Protocol::Udp && self.behavior.udp_blocked { Err(Refusal::UdpBlocked) } else { Ok(()) }
    }

    fn may_create(&self, signal: Signal) -> bool {
        signal == Signal::Open || signal == Signal::Data && self.picks_up
    }

    /// Whether it is a NAT, and not a firewall.
    fn translates(&self) -> bool {
        !self.external.is_empty()
    }

    fn overloads(&self) -> bool {
        self.behavior.port_allocation == PortAllocation::PreserveOverloading
    }

    fn create(&mut self, packet: FiveTuple, signal: Signal, cx: &mut NatCx<'_>) -> Result<Slot, Refusal> {
        if self.table.len() >= self.behavior.max_mappings {
            return Err(Refusal::TableFull);
        }
        let FiveTuple { protocol, internal, remote } = packet;
        if !self.translates() {
            let mapping = Mapping { protocol, internal, external: internal, remote };
            self.changes.push(Change::Created(mapping));
            return Ok(self.table.insert(mapping, cx.now, signal));
        }
        let (overloads, count) = (self.overloads(), self.external.len());
        let (first, tries) = match self.behavior.pooling {
            Pooling::Paired => {
                let in_turn = self.paired.len() % count;
                (*self.paired.entry(internal.ip()).or_insert(in_turn), 1)
            }
            // Without a choice nothing is drawn, because the random stream is shared with the rest of the network.
            Pooling::Arbitrary if count == 1 => (0, 1),
            Pooling::Arbitrary => (cx.rng.next_u32() as usize % count, count),
        };
        for index in (first..first + tries).map(|index| index % count) {
            let (address, ports) = &mut self.external[index];
            let port = if overloads {
                let endpoint = |port| TransportAddress::new(*address, port);
                let is_taken = |port| self.table.is_taken(protocol, endpoint(port), remote, cx.now);
                let newest = self.table.newest(protocol, internal, *address);
                ports::overload(cx.rng, internal.port(), newest, is_taken)
            } else {
                ports.take(self.behavior.port_allocation, cx.rng, protocol, internal)
            };
            if let Some(port) = port {
                let mapping = Mapping { protocol, internal, external: TransportAddress::new(*address, port), remote };
                self.changes.push(Change::Created(mapping));
                return Ok(self.table.insert(mapping, cx.now, signal));
            }
        }
        Err(Refusal::PortsExhausted)
    }
}
