//! The TCP connections between clients and the server: what is in flight, what is lost, and when the server last
//! received data from each client.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scenarios::Addresses;

use crate::event::TransportAddress;
use crate::event::{Event, NodeId, PacketEvent, PacketId, PacketView, Protocol};

/// Control bits of a segment that opens a connection: only SYN is set.
const SYN: u8 = 2;
/// The control bit of a segment that ends a connection at once.
const RST: u8 = 4;

/// A TCP connection between a client and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TcpFlow {
    client: NodeId,
    /// The client's own endpoint.
    endpoint: TransportAddress,
    /// Tells apart successive connections from that endpoint: a machine that has lost power may dial from the same port
    /// again.
    number: u32,
}

/// Number of flows so far of each endpoint of a client.
#[derive(Debug, Default)]
pub(crate) struct FlowNumbers(BTreeMap<(NodeId, TransportAddress), u32>);

impl FlowNumbers {
    /// The flow that a client's packet belongs to.
    pub(crate) fn of(&mut self, client: NodeId, view: &PacketView) -> TcpFlow {
        let number = self.0.entry((client, view.src)).or_default();
        *number += u32::from(is_syn(view));
        TcpFlow { client, endpoint: view.src, number: *number }
    }

    /// Whether a node has sent a packet from this endpoint before.
    fn knows(&self, client: NodeId, endpoint: TransportAddress) -> bool {
        self.0.contains_key(&(client, endpoint))
    }
}

/// Whether a packet opens a TCP connection.
pub(crate) fn is_syn(view: &PacketView) -> bool {
    view.protocol == Protocol::Tcp && view.flags == SYN
}

#[derive(Debug, Default)]
struct Traffic {
    /// Where the server's machine saw the connection come from. What comes from elsewhere, because a NAT has moved the
    /// port, belongs to no connection that it knows.
    opened_from: Option<TransportAddress>,
    in_flight: BTreeSet<(Duration, PacketId)>,
    last_received: Option<Duration>,
    /// When the server last received data after it had received none for a `silence`.
    heard_again: Option<Duration>,
    lost: Option<Duration>,
    /// Whether the server received or sent an RST.
    is_reset: bool,
}

/// All flows.
#[derive(Debug)]
pub(crate) struct TcpTraffic {
    server: Option<NodeId>,
    addresses: Addresses,
    /// Time without data after which the server may think that a client is gone.
    silence: Duration,
    numbers: FlowNumbers,
    traffic: BTreeMap<TcpFlow, Traffic>,
    /// The flow of each endpoint as seen by the server, and the port at which the server sees it: a NAT may give one of its
    /// ports to connections to several ports of a server.
    seen_as: BTreeMap<(TransportAddress, u16), TcpFlow>,
    packets: BTreeMap<PacketId, (TcpFlow, Duration)>,
}

impl TcpTraffic {
    pub(crate) fn new(server: Option<NodeId>, addresses: Addresses, silence: Duration) -> Self {
        Self {
            server,
            addresses,
            silence,
            numbers: FlowNumbers::default(),
            traffic: BTreeMap::new(),
            seen_as: BTreeMap::new(),
            packets: BTreeMap::new(),
        }
    }

    pub(crate) fn advance(&mut self, event: &Event, packet: &PacketEvent) {
        match packet {
            PacketEvent::Sent(view) if view.protocol == Protocol::Tcp => {
                let flow = if Some(event.node) == self.server {
                    self.seen_as.get(&(view.dst, view.src.port())).copied()
                } else if self.addresses.has(view.dst.ip()) {
                    // A router may reset a client's connection.
                    let seen = self.seen_as.get(&(view.src, view.dst.port()));
                    let of_router = seen.filter(|_| view.flags & RST != 0).copied();
                    match of_router {
                        Some(flow) => Some(flow),
                        // So may one behind another NAT, which sends from an address that the server never sees.
                        None if view.flags & RST != 0 && !self.numbers.knows(event.node, view.src) => None,
                        None => Some(self.numbers.of(event.node, view)),
                    }
                } else {
                    None
                };
                let Some(flow) = flow else { return };
                self.packets.insert(view.packet, (flow, event.at));
                let traffic = self.traffic.entry(flow).or_default();
                traffic.in_flight.insert((event.at, view.packet));
                // Its machine answers so to data of a connection that it no longer has.
                traffic.is_reset |= Some(event.node) == self.server && view.flags & RST != 0;
            }
            PacketEvent::Delivered(view) => {
                let is_server = Some(event.node) == self.server;
                let of_inner_router = is_server && view.protocol == Protocol::Tcp && view.flags & RST != 0;
                let flow = match self.ended(view.packet) {
                    None if of_inner_router => self.seen_as.get(&(view.src, view.dst.port())).copied(),
                    flow => flow,
                };
                let Some(flow) = flow else { return };
                if is_server {
                    self.seen_as.insert((view.src, view.dst.port()), flow);
                    let traffic = self.traffic.entry(flow).or_default();
                    if is_syn(view) {
                        traffic.opened_from = Some(view.src);
                    }
                    if view.bytes > 0 && traffic.opened_from.is_none_or(|from| from == view.src) {
                        if traffic.last_received.is_some_and(|last| event.at >= last + self.silence) {
                            traffic.heard_again = Some(event.at);
                        }
                        traffic.last_received = Some(event.at);
                    }
                    traffic.is_reset |= view.flags & RST != 0;
                }
            }
            PacketEvent::Dropped { packet, .. } => {
                if let Some(flow) = self.ended(*packet) {
                    self.traffic.entry(flow).or_default().lost = Some(event.at);
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, packet: PacketId) -> Option<TcpFlow> {
        let (flow, sent) = self.packets.remove(&packet)?;
        self.traffic.entry(flow).or_default().in_flight.remove(&(sent, packet));
        Some(flow)
    }

    /// When the server last received data from the client over this flow.
    pub(crate) fn last_received(&self, flow: TcpFlow) -> Option<Duration> {
        self.traffic.get(&flow)?.last_received
    }

    /// When the server last received data from the client after a silence in which it may have dropped the client.
    pub(crate) fn heard_again(&self, flow: TcpFlow) -> Option<Duration> {
        self.traffic.get(&flow)?.heard_again
    }

    /// Whether the server received an RST, which ended the connection on its side.
    pub(crate) fn is_reset(&self, flow: TcpFlow) -> bool {
        self.traffic.get(&flow).is_some_and(|traffic| traffic.is_reset)
    }

    /// Whether a segment, in either direction, has been in flight for longer than `patience`.
    pub(crate) fn is_late(&self, flow: TcpFlow, now: Duration, patience: Duration) -> bool {
        let oldest = self.traffic.get(&flow).and_then(|traffic| traffic.in_flight.first());
        oldest.is_some_and(|(sent, _)| *sent + patience < now)
    }

    /// Whether a segment, in either direction, was lost for good at `since` or later.
    pub(crate) fn has_lost_since(&self, flow: TcpFlow, since: Duration) -> bool {
        self.traffic.get(&flow).and_then(|traffic| traffic.lost).is_some_and(|lost| lost >= since)
    }
}
