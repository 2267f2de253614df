//! A NAT as RFC 4787 describes one: which external endpoint a packet leaves with, and where one that comes back goes.
//!
//! A pure state machine. Time and randomness are passed in, addresses go in and come out; whoever moves the packets rewrites them.
//! It translates UDP and TCP over IPv4. **A mapping is gone from the very instant at which it has been idle for its lifetime**, whether
//! or not [`Nat::expire`] was called.
//!
//! Where RFC 4787 and RFC 5382 leave a choice:
//! - *Filters age.* A filter entry is refreshed and ends as a mapping does, by the same lifetimes. With [`FilterState::PerMapping`] it
//!   dies with its mapping, with [`FilterState::PerEndpoint`] with the last mapping of its internal endpoint. What is filtered refreshes
//!   nothing (RFC 7857 §7).
//! - *TCP is not followed* beyond its first segment: a mapping is made by a SYN without ACK, refreshed by any segment either way, and
//!   ends by idling alone. FIN and RST do not end it.
//! - *Hairpinning with the internal source* creates the sender's mapping and passes the filters as with the external source; only the
//!   source the receiver sees differs.
//! - *Paired pooling* gives the external addresses to internal ones in turn. One that is out of ports stays with its address: it is
//!   refused, while arbitrary pooling tries the next address.
//!
//! [`FilterState::PerMapping`]: scenarios::FilterState::PerMapping
//! [`FilterState::PerEndpoint`]: scenarios::FilterState::PerEndpoint

mod filter;
mod ports;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use scenarios::{Hairpinning, NatBehavior, Pooling};
use serde::Serialize;

use ports::Ports;
use table::{Slot, Table};

/// A transport protocol; each has ports and mappings of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// RFC 768.
    Udp,
    /// RFC 9293.
    Tcp,
}

/// An internal endpoint and the external one that stands for it outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mapping {
    /// The protocol whose packets it translates.
    pub protocol: Protocol,
    /// The endpoint inside: X:x in RFC 4787.
    pub internal: SocketAddrV4,
    /// The endpoint seen outside: X':x' in RFC 4787.
    pub external: SocketAddrV4,
    /// To whom the packet went that made it. How much of it binds the mapping is the mapping behaviour's to say.
    pub remote: SocketAddrV4,
}

/// Something that happened to the table; refusals and refreshes are told by what a packet's own call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A packet from the inside made a mapping.
    Created(Mapping),
    /// A mapping was idle for its lifetime.
    Expired {
        /// When its lifetime was over, which is before the call that noticed if [`Nat::expire`] was not called in time.
        at: Duration,
        /// What is no longer translated.
        mapping: Mapping,
    },
    /// A reboot lost every mapping.
    Flushed {
        /// How many there were.
        mappings: usize,
    },
}

/// Why a packet goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// From outside, to an external endpoint that stands for nobody.
    NoMapping,
    /// From outside, by somebody the inside has not sent to.
    Filtered,
    /// A new mapping would be one too many.
    TableFull,
    /// A new mapping finds no free port.
    PortsExhausted,
    /// The NAT passes no UDP.
    UdpBlocked,
    /// From the inside to the NAT's own external address, which it does not turn round.
    HairpinOff,
    /// A TCP segment from the inside that opens no connection and belongs to none the NAT knows. It gets no new mapping, for its peer
    /// would see it come from a stranger.
    TcpMidStream,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMapping => "no mapping",
            Self::Filtered => "filtered",
            Self::TableFull => "mapping table full",
            Self::PortsExhausted => "no port left",
            Self::UdpBlocked => "UDP blocked",
            Self::HairpinOff => "no hairpinning",
            Self::TcpMidStream => "TCP segment of an unknown connection",
        })
    }
}

/// One NAT: a behaviour, external addresses and the mappings that live.
///
/// `now` is virtual time since the start and never goes back from one call to the next.
#[derive(Debug)]
pub struct Nat {
    behavior: NatBehavior,
    external: Vec<(Ipv4Addr, Ports)>,
    /// With paired pooling, which external address an internal one has.
    paired: BTreeMap<Ipv4Addr, usize>,
    table: Table,
    changes: Vec<Change>,
}

impl Nat {
    /// A NAT without mappings.
    ///
    /// # Panics
    /// If there is no external address.
    pub fn new(behavior: NatBehavior, external: &[Ipv4Addr]) -> Self {
        assert!(!external.is_empty(), "a NAT needs an external address");
        Self {
            table: Table::new(&behavior),
            behavior,
            external: external.iter().map(|&address| (address, Ports::new())).collect(),
            paired: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// Whether `address` is one of the external addresses. A packet from the inside to one of them is for [`Nat::hairpin`].
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.external.iter().any(|(own, _)| *own == address)
    }

    /// A packet from the inside: tells the external endpoint it leaves with.
    ///
    /// `opens` is whether a TCP segment is a SYN without ACK; any UDP datagram opens.
    ///
    /// # Errors
    /// [`Refusal::UdpBlocked`], [`Refusal::TcpMidStream`], [`Refusal::TableFull`] and [`Refusal::PortsExhausted`].
    pub fn outbound(
        &mut self,
        now: Duration,
        rng: &mut ChaCha8Rng,
        protocol: Protocol,
        internal: SocketAddrV4,
        remote: SocketAddrV4,
        opens: bool,
    ) -> Result<SocketAddrV4, Refusal> {
        self.expire(now);
        self.admit(protocol)?;
        let slot = match self.table.find_internal(protocol, internal, remote) {
            Some(slot) => slot,
            None if protocol == Protocol::Tcp && !opens => return Err(Refusal::TcpMidStream),
            None => self.create(now, rng, protocol, internal, remote)?,
        };
        Ok(self.table.sent(slot, now, remote))
    }

    /// A packet from outside to an external endpoint: tells the internal endpoint it goes to.
    ///
    /// # Errors
    /// [`Refusal::UdpBlocked`], [`Refusal::NoMapping`] and [`Refusal::Filtered`].
    pub fn inbound(
        &mut self,
        now: Duration,
        protocol: Protocol,
        external: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<SocketAddrV4, Refusal> {
        self.expire(now);
        self.admit(protocol)?;
        let slot = self.table.find_external(protocol, external).ok_or(Refusal::NoMapping)?;
        self.table.received(slot, now, remote).ok_or(Refusal::Filtered)
    }

    /// A packet from the inside to one of the NAT's own external endpoints: tells the source and the destination with which it comes out
    /// on the inside again.
    ///
    /// It is as if it had gone out and come back: the sender gets a mapping, and may be answered, even if the receiver's filter then
    /// stops it. So two insiders can open their filters for one another.
    ///
    /// # Errors
    /// [`Refusal::HairpinOff`], and all of [`Nat::outbound`]'s and [`Nat::inbound`]'s.
    //= https://www.rfc-editor.org/rfc/rfc4787#section-6
    //# REQ-9:  A NAT MUST support "Hairpinning".
    pub fn hairpin(
        &mut self,
        now: Duration,
        rng: &mut ChaCha8Rng,
        protocol: Protocol,
        internal: SocketAddrV4,
        external: SocketAddrV4,
        opens: bool,
    ) -> Result<(SocketAddrV4, SocketAddrV4), Refusal> {
        self.expire(now);
        self.admit(protocol)?;
        if self.behavior.hairpinning == Hairpinning::Off {
            return Err(Refusal::HairpinOff);
        }
        let source = self.outbound(now, rng, protocol, internal, external, opens)?;
        let destination = self.inbound(now, protocol, external, source)?;
        match self.behavior.hairpinning {
            Hairpinning::InternalSource => Ok((internal, destination)),
            Hairpinning::Off | Hairpinning::ExternalSource => Ok((source, destination)),
        }
    }

    /// Loses every mapping and filter, and with `new_address` every external address for that one.
    ///
    /// Where ports are sequential or in blocks, those of before the reboot are the last to be given out again.
    pub fn reboot(&mut self, now: Duration, new_address: Option<Ipv4Addr>) {
        self.expire(now);
        self.changes.push(Change::Flushed { mappings: self.table.len() });
        self.table.clear();
        self.paired.clear();
        for (_, ports) in &mut self.external {
            ports.clear();
        }
        if let Some(address) = new_address {
            self.external.truncate(1);
            self.external[0].0 = address;
        }
    }

    /// Removes the mappings whose lifetime is over.
    pub fn expire(&mut self, now: Duration) {
        while let Some((at, mapping)) = self.table.pop_ended(now) {
            let (_, ports) = self
                .external
                .iter_mut()
                .find(|(address, _)| address == mapping.external.ip())
                .expect("addresses change only when no mapping is left");
            ports.give_back(mapping.protocol, mapping.external.port());
            self.changes.push(Change::Expired { at, mapping });
        }
    }

    /// When the next mapping expires, unless a packet refreshes it.
    pub fn next_expiry(&mut self) -> Option<Duration> {
        self.table.next_end()
    }

    /// The mappings, by protocol and external endpoint. [`Nat::expire`] first: one whose lifetime is over is among them until then.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.table.iter()
    }

    /// What happened to the table since the last call, in order of time. To be called after every other call: it is kept until then.
    pub fn drain_changes(&mut self) -> impl Iterator<Item = Change> {
        self.changes.drain(..)
    }

    fn admit(&self, protocol: Protocol) -> Result<(), Refusal> {
        if protocol == Protocol::Udp && self.behavior.udp_blocked { Err(Refusal::UdpBlocked) } else { Ok(()) }
    }

    fn create(
        &mut self,
        now: Duration,
        rng: &mut ChaCha8Rng,
        protocol: Protocol,
        internal: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<Slot, Refusal> {
        if self.table.len() >= self.behavior.max_mappings {
            return Err(Refusal::TableFull);
        }
        let count = self.external.len();
        let (first, tries) = match self.behavior.pooling {
            Pooling::Paired => {
                let in_turn = self.paired.len() % count;
                (*self.paired.entry(*internal.ip()).or_insert(in_turn), 1)
            }
            Pooling::Arbitrary if count == 1 => (0, 1),
            Pooling::Arbitrary => (rng.next_u32() as usize % count, count),
        };
        for index in (first..first + tries).map(|index| index % count) {
            let (address, ports) = &mut self.external[index];
            if let Some(port) = ports.take(self.behavior.port_allocation, rng, protocol, internal) {
                let mapping = Mapping { protocol, internal, external: SocketAddrV4::new(*address, port), remote };
                self.changes.push(Change::Created(mapping));
                return Ok(self.table.insert(mapping, now));
            }
        }
        Err(Refusal::PortsExhausted)
    }
}
