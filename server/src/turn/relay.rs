//! Relays data: ChannelData and Send indications to peers, peers' datagrams to clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use tokio::time::Instant;

use super::allocation::Inbound;
use super::counters::Flow;
use super::{Allocation, Entry, FiveTuple, Transport, Turn};
use crate::net::{Batch, Datagram, Network, Outgoing, Sent, Udp};
use crate::stun::message::{HEADER_BYTES, Message, Writer, attribute, method, u16_at};

/// Maximum length of a datagram from a client or a peer: that of a jumbo frame. A longer one is dropped, never
/// truncated.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 9216;
pub(crate) const CHANNEL_HEADER_BYTES: usize = 4;
/// What precedes data in an indication: a STUN header, XOR-PEER-ADDRESS for IPv6, and DATA's type and length.
const HEADROOM: usize = HEADER_BYTES + 4 + 20 + 4;

/// Data on its way from clients to peers, collected so that the data of one allocation leaves together.
pub(crate) struct Relaying<N: Network> {
    flows: Vec<ToPeers<N>>,
    /// How many of them are in use. The others keep their memory for the next time.
    used: usize,
    /// The time of what is collected.
    now: Option<Instant>,
}

/// What one client sends.
struct ToPeers<N: Network> {
    five_tuple: FiveTuple,
    /// Of each of its allocations; mostly there is one.
    relays: [(Option<Arc<Allocation<N>>>, Outgoing); 2],
}

impl<N: Network> Default for Relaying<N> {
    fn default() -> Self {
        Self { flows: Vec::new(), used: 0, now: None }
    }
}

impl<N: Network> Relaying<N> {
    /// Read once for all that has arrived together.
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    /// The allocation of a 5-tuple, if there is one, and what it sends. If there are two, the one that fits.
    fn of(
        &mut self,
        five_tuple: FiveTuple,
        turn: &Turn<N>,
        fits: impl Fn(&Allocation<N>) -> bool,
    ) -> Option<(&Allocation<N>, &mut Outgoing)> {
        // The last one first: data comes in bursts.
        let known = self.flows[..self.used].iter().rposition(|flow| flow.five_tuple == five_tuple);
        let at = match known {
            Some(at) => at,
            None => {
                let table = turn.table();
                let Entry { first, additional } = table.by_five_tuple.get(&five_tuple)?;
                if self.used == self.flows.len() {
                    self.flows.push(ToPeers { five_tuple, relays: Default::default() });
                }
                let flow = &mut self.flows[self.used];
                flow.five_tuple = five_tuple;
                (flow.relays[0].0, flow.relays[1].0) = (Some(Arc::clone(first)), additional.clone());
                self.used += 1;
                self.used - 1
            }
        };
        let relays = &mut self.flows[at].relays;
        let is_second = relays[1].0.as_deref().is_some_and(fits);
        let (allocation, outgoing) = &mut relays[usize::from(is_second)];
        allocation.as_deref().map(|allocation| (allocation, outgoing))
    }
}

impl<N: Network> Turn<N> {
    /// Relays a ChannelData message, if its channel is bound (RFC 8656 §12.6).
    pub(crate) fn on_channel_data(&self, datagram: &[u8], five_tuple: FiveTuple, relaying: &mut Relaying<N>) {
        let now = relaying.now();
        let (Some(number), Some(length)) = (u16_at(datagram, 0), u16_at(datagram, 2)) else { return };
        let is_bound = |allocation: &Allocation<N>| allocation.state().is_bound(number, now);
        let Some((allocation, outgoing)) = relaying.of(five_tuple, self, is_bound) else { return };
        //= https://www.rfc-editor.org/rfc/rfc8656#section-12.6-2
        //# if the UDP datagram is too short to contain the claimed length of the
        //# ChannelData message [...], then the message is silently discarded.
        let data = datagram.get(CHANNEL_HEADER_BYTES..CHANNEL_HEADER_BYTES + usize::from(length));
        let Some(data) = data else { return };
        let peer = allocation.state().peer_of(number, now);
        match peer {
            Some(peer) => self.send_to_peer(allocation, data, peer, outgoing),
            None => _ = self.counters.forbidden.fetch_add(1, Relaxed),
        }
    }

    /// Relays a Send indication, if there is a permission for its peer (RFC 8656 §11.2).
    pub(super) fn on_send(&self, message: &Message<'_>, five_tuple: FiveTuple, relaying: &mut Relaying<N>) {
        let now = relaying.now();
        // Where the network cannot do it, DONT-FRAGMENT counts as unknown (§11.2): an indication with it is discarded.
        let can_be_whole = N::Udp::CAN_FORBID_FRAGMENTS;
        let unknown = message.unknown(|kind| match kind {
            attribute::DONT_FRAGMENT => can_be_whole,
            kind => matches!(kind, attribute::XOR_PEER_ADDRESS | attribute::DATA),
        });
        if !unknown.as_slice().is_empty() {
            return;
        }
        let peer = message.attribute(attribute::XOR_PEER_ADDRESS).and_then(|value| message.xor_address(value));
        let (Some(peer), Some(data)) = (peer, message.attribute(attribute::DATA)) else { return };
        let reaches = |allocation: &Allocation<N>| allocation.relayed.is_ipv4() == peer.is_ipv4();
        let Some((allocation, outgoing)) = relaying.of(five_tuple, self, reaches) else { return };
        let is_permitted = allocation.state().is_permitted(peer.ip(), now);
        if is_permitted {
            self.send_to_peer(allocation, data, peer, outgoing);
            if message.attribute(attribute::DONT_FRAGMENT).is_some() {
                outgoing.keep_last_whole();
            }
        } else {
            self.counters.forbidden.fetch_add(1, Relaxed);
        }
    }

    /// Collects data for a peer.
    fn send_to_peer(&self, allocation: &Allocation<N>, data: &[u8], peer: SocketAddr, outgoing: &mut Outgoing) {
        if !allocation.hold.may_relay(data.len()) {
            self.counters.throttled.fetch_add(1, Relaxed);
            return;
        }
        // A permission is for an IP address, and that of the relays may also be that of other services.
        if self.peers.is_relay(peer.ip()) && !self.table().by_relayed.contains_key(&peer) {
            self.counters.forbidden.fetch_add(1, Relaxed);
            return;
        }
        if let Some(other) = self.behind_external_address(peer) {
            self.counters.to_peers.add(1, data.len());
            return self.deliver_inside(&other, data, allocation.relayed);
        }
        outgoing.push(&[data], data.len(), None, peer);
    }

    /// Sends what was collected. Never waits for a full socket, because that would block the task that serves all clients.
    pub(crate) fn relay(&self, relaying: &mut Relaying<N>) {
        let relays = relaying.flows[..relaying.used].iter_mut().flat_map(|flow| &mut flow.relays);
        for (allocation, outgoing) in relays {
            let Some(allocation) = allocation.take() else { continue };
            if outgoing.is_empty() {
                continue;
            }
            let sent = allocation.socket.send_all(outgoing);
            if let Some(error) = &sent.error {
                tracing::trace!(relayed = %allocation.relayed, %error, "failed to relay to a peer");
            }
            self.count(&self.counters.to_peers, &sent);
            outgoing.clear();
        }
        (relaying.used, relaying.now) = (0, None);
    }

    fn count(&self, flow: &Flow, sent: &Sent) {
        flow.add(sent.datagrams, sent.payload);
        self.counters.dropped.fetch_add(sent.failed as u64, Relaxed);
    }

    /// The allocation of a peer whose address is an external one of this server. The NAT that has the address may not
    /// send a packet from inside back inside.
    fn behind_external_address(&self, peer: SocketAddr) -> Option<Arc<Allocation<N>>> {
        let mut addresses = self.settings.relay_addresses.iter();
        addresses.find(|address| address.advertised == peer.ip() && address.advertised != address.bind)?;
        self.table().by_relayed.get(&peer).cloned()
    }

    /// Relays data from one allocation to another, as if it had come from the relayed transport address `from`.
    fn deliver_inside(&self, to: &Allocation<N>, data: &[u8], from: SocketAddr) {
        let how = to.state().inbound(from, Instant::now());
        let transaction_id = || {
            let mut transaction_id = [0; 12];
            transaction_id[..8].copy_from_slice(&self.ports.random().to_be_bytes());
            transaction_id[8..].copy_from_slice(&self.ports.random().to_be_bytes()[..4]);
            transaction_id
        };
        let mut outgoing = Outgoing::default();
        match how {
            Inbound::Forbidden => {
                self.counters.forbidden.fetch_add(1, Relaxed);
                return;
            }
            Inbound::Channel(number) => channel_data(&mut outgoing, data, number, to.five_tuple),
            Inbound::Indication => data_indication(&mut outgoing, data, from, transaction_id(), to.five_tuple),
        }
        self.send_to_client(to, &outgoing);
    }

    /// Sends messages to a client, without waiting: a full socket drops them, as a router would.
    fn send_to_client(&self, allocation: &Allocation<N>, messages: &Outgoing) {
        let FiveTuple { client, transport, .. } = allocation.five_tuple;
        let sent = match transport {
            Transport::Udp => self.sockets[0].send_all(messages),
            Transport::Tcp | Transport::Tls => {
                messages.send_each(|message, _, _| self.send_on_stream(allocation.five_tuple, message))
            }
        };
        if let Some(error) = &sent.error {
            tracing::trace!(%client, %error, "failed to relay to a client");
        }
        self.count(&self.counters.to_clients, &sent);
    }

    /// Relays what peers send to an allocation until it ends, then removes it from the table.
    pub(super) async fn serve_allocation(self: Arc<Self>, allocation: Arc<Allocation<N>>, seed: u64) {
        tokio::select! {
            biased;
            () = self.stop.stopped() => {}
            () = allocation.given_up.notified() => {}
            () = allocation.expired() => {}
            () = self.relay_to_client(&allocation, ChaCha8Rng::seed_from_u64(seed)) => {}
        }
        self.remove(&allocation);
        tracing::debug!(client = %allocation.five_tuple.client, relayed = %allocation.relayed, "allocation ended");
    }

    async fn relay_to_client(&self, allocation: &Allocation<N>, mut rng: ChaCha8Rng) {
        loop {
            let Ok(mut batch) = allocation.socket.receive(&self.buffers).await else { continue };
            let Batch { received, outgoing } = &mut *batch;
            let now = Instant::now();
            for Datagram { data, from: peer, .. } in received.datagrams() {
                if data.len() > DATAGRAM_BYTES_MAX {
                    self.counters.dropped.fetch_add(1, Relaxed);
                    continue;
                }
                let inbound = allocation.state().inbound(peer, now);
                match inbound {
                    Inbound::Forbidden => _ = self.counters.forbidden.fetch_add(1, Relaxed),
                    _ if !allocation.hold.may_relay(data.len()) => {
                        self.counters.throttled.fetch_add(1, Relaxed);
                    }
                    Inbound::Channel(number) => channel_data(outgoing, data, number, allocation.five_tuple),
                    Inbound::Indication => {
                        let mut transaction_id = [0; 12];
                        rng.fill_bytes(&mut transaction_id);
                        data_indication(outgoing, data, peer, transaction_id, allocation.five_tuple);
                    }
                }
            }
            self.send_to_client(allocation, outgoing);
        }
    }
}

/// Writes a ChannelData message.
fn channel_data(outgoing: &mut Outgoing, data: &[u8], number: u16, to: FiveTuple) {
    let (number, length) = (number.to_be_bytes(), (data.len() as u16).to_be_bytes());
    outgoing.push(&[&number, &length, data], data.len(), to.server, to.client);
}

/// Writes a Data indication (RFC 8656 §11.3).
fn data_indication(outgoing: &mut Outgoing, data: &[u8], peer: SocketAddr, transaction_id: [u8; 12], to: FiveTuple) {
    let length = data.len();
    let mut head = Vec::with_capacity(HEADROOM);
    Writer::indication(&mut head, method::DATA, transaction_id).xor_address(attribute::XOR_PEER_ADDRESS, peer);
    let padding = &[0; 3][..length.next_multiple_of(4) - length];
    let message_bytes = head.len() - HEADER_BYTES + 4 + length + padding.len();
    head[2..4].copy_from_slice(&(message_bytes as u16).to_be_bytes());
    head.extend(attribute::DATA.to_be_bytes());
    head.extend((length as u16).to_be_bytes());
    outgoing.push(&[&head, data, padding], length, to.server, to.client);
}
