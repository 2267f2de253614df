//! Relays data: ChannelData and Send indications to peers, peers' datagrams to clients.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::allocation::Inbound;
use super::{Allocation, FiveTuple, Turn};
use crate::net::{Network, Udp};
use crate::stun::message::{HEADER_BYTES, Message, Writer, attribute, method, u16_at};

/// Maximum length of a datagram from a client or a peer: that of a jumbo frame. A longer one is dropped, never
/// truncated.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 9216;
pub(crate) const CHANNEL_HEADER_BYTES: usize = 4;
/// Space before a peer's data for a STUN header, XOR-PEER-ADDRESS for IPv6, and DATA's type and length.
const HEADROOM: usize = HEADER_BYTES + 4 + 20 + 4;

impl<N: Network> Turn<N> {
    /// Relays a ChannelData message, if its channel is bound (RFC 8656 §12.6).
    pub(crate) async fn on_channel_data(&self, datagram: &[u8], five_tuple: FiveTuple) {
        let Some(allocation) = self.allocation(five_tuple) else { return };
        let (Some(number), Some(length)) = (u16_at(datagram, 0), u16_at(datagram, 2)) else { return };
        //= https://www.rfc-editor.org/rfc/rfc8656#section-12.6-2
        //# if the UDP datagram is too short to contain the claimed length of the
        //# ChannelData message [...], then the message is silently discarded.
        let data = datagram.get(CHANNEL_HEADER_BYTES..CHANNEL_HEADER_BYTES + usize::from(length));
        let Some(data) = data else { return };
        let peer = allocation.state().peer_of(number, Instant::now());
        match peer {
            Some(peer) => self.send_to_peer(&allocation, data, peer).await,
            None => _ = self.counters.forbidden.fetch_add(1, Relaxed),
        }
    }

    /// Relays a Send indication, if there is a permission for its peer (RFC 8656 §11.2).
    pub(super) async fn on_send(&self, message: &Message<'_>, five_tuple: FiveTuple) {
        let Some(allocation) = self.allocation(five_tuple) else { return };
        // DONT-FRAGMENT counts as unknown (§11.2): an indication with it is discarded.
        let unknown = message.unknown(|kind| matches!(kind, attribute::XOR_PEER_ADDRESS | attribute::DATA));
        if !unknown.as_slice().is_empty() {
            return;
        }
        let peer = message.attribute(attribute::XOR_PEER_ADDRESS).and_then(|value| message.xor_address(value));
        let (Some(peer), Some(data)) = (peer, message.attribute(attribute::DATA)) else { return };
        let is_permitted = allocation.state().is_permitted(peer.ip(), Instant::now());
        if is_permitted {
            self.send_to_peer(&allocation, data, peer).await;
        } else {
            self.counters.forbidden.fetch_add(1, Relaxed);
        }
    }

    /// Never waits for a full socket, because that would block the task that serves all clients.
    async fn send_to_peer(&self, allocation: &Allocation<N>, data: &[u8], peer: SocketAddr) {
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
            self.counters.to_peers.add(data.len());
            return self.deliver_inside(&other, data, allocation.relayed).await;
        }
        let sending = allocation.socket.send_to(data, peer);
        let sent = if allocation.has_sent.load(Relaxed) {
            now_or_never(sending).await
        } else {
            // This socket has not sent anything yet, so it is not full: it is just not known to be writable yet.
            sending.await
        };
        match sent {
            Ok(_) => {
                allocation.has_sent.store(true, Relaxed);
                self.counters.to_peers.add(data.len());
            }
            Err(error) => {
                tracing::trace!(%peer, %error, "failed to relay to a peer");
                self.counters.dropped.fetch_add(1, Relaxed);
            }
        }
    }

    /// The allocation of a peer whose address is an external one of this server. The NAT that has the address may not
    /// send a packet from inside back inside.
    fn behind_external_address(&self, peer: SocketAddr) -> Option<Arc<Allocation<N>>> {
        let mut addresses = self.settings.relay_addresses.iter();
        addresses.find(|address| address.advertised == peer.ip() && address.advertised != address.bind)?;
        self.table().by_relayed.get(&peer).cloned()
    }

    /// Relays data from one allocation to another, as if it had come from the relayed transport address `from`.
    async fn deliver_inside(&self, to: &Allocation<N>, data: &[u8], from: SocketAddr) {
        let mut buffer = vec![0; HEADROOM + data.len() + 4];
        buffer[HEADROOM..HEADROOM + data.len()].copy_from_slice(data);
        let transaction_id = || {
            let mut transaction_id = [0; 12];
            transaction_id[..8].copy_from_slice(&self.ports.random().to_be_bytes());
            transaction_id[8..].copy_from_slice(&self.ports.random().to_be_bytes()[..4]);
            transaction_id
        };
        let how = to.state().inbound(from, Instant::now());
        let message = match how {
            Inbound::Forbidden => {
                self.counters.forbidden.fetch_add(1, Relaxed);
                return;
            }
            Inbound::Channel(number) => channel_data(&mut buffer, data.len(), number),
            Inbound::Indication => data_indication(&mut buffer, data.len(), from, transaction_id()),
        };
        // Without waiting: this is the task that serves all clients.
        match now_or_never(self.send_to_client(to, message)).await {
            Ok(_) => self.counters.to_clients.add(data.len()),
            Err(error) => {
                tracing::trace!(client = %to.five_tuple.client, %error, "failed to relay to a client");
                self.counters.dropped.fetch_add(1, Relaxed);
            }
        }
    }

    async fn send_to_client(&self, allocation: &Allocation<N>, message: &[u8]) -> io::Result<usize> {
        let FiveTuple { client, server, is_tcp } = allocation.five_tuple;
        if is_tcp {
            return self.send_on_stream(allocation.five_tuple, message);
        }
        self.sockets[0].send_from(message, server, client).await
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
        // One additional byte to detect truncation, and three for the padding.
        let mut buffer = vec![0; HEADROOM + DATAGRAM_BYTES_MAX + 4];
        loop {
            let room = &mut buffer[HEADROOM..=HEADROOM + DATAGRAM_BYTES_MAX];
            let Ok((length, peer)) = allocation.socket.recv_from(room).await else { continue };
            if length > DATAGRAM_BYTES_MAX {
                self.counters.dropped.fetch_add(1, Relaxed);
                continue;
            }
            let inbound = allocation.state().inbound(peer, Instant::now());
            let message = match inbound {
                Inbound::Forbidden => {
                    self.counters.forbidden.fetch_add(1, Relaxed);
                    continue;
                }
                _ if !allocation.hold.may_relay(length) => {
                    self.counters.throttled.fetch_add(1, Relaxed);
                    continue;
                }
                Inbound::Channel(number) => channel_data(&mut buffer, length, number),
                Inbound::Indication => {
                    let mut transaction_id = [0; 12];
                    rng.fill_bytes(&mut transaction_id);
                    data_indication(&mut buffer, length, peer, transaction_id)
                }
            };
            match self.send_to_client(allocation, message).await {
                Ok(_) => self.counters.to_clients.add(length),
                Err(error) => {
                    tracing::trace!(client = %allocation.five_tuple.client, %error, "failed to relay to a client");
                    self.counters.dropped.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

/// Writes a ChannelData header before the `length` bytes of data at [`HEADROOM`].
fn channel_data(buffer: &mut [u8], length: usize, number: u16) -> &[u8] {
    let start = HEADROOM - CHANNEL_HEADER_BYTES;
    buffer[start..start + 2].copy_from_slice(&number.to_be_bytes());
    buffer[start + 2..HEADROOM].copy_from_slice(&(length as u16).to_be_bytes());
    &buffer[start..HEADROOM + length]
}

/// Writes a Data indication around the `length` bytes of data at [`HEADROOM`] (RFC 8656 §11.3).
fn data_indication(buffer: &mut [u8], length: usize, peer: SocketAddr, transaction_id: [u8; 12]) -> &[u8] {
    let mut head = Vec::with_capacity(HEADROOM);
    Writer::indication(&mut head, method::DATA, transaction_id).xor_address(attribute::XOR_PEER_ADDRESS, peer);
    let end = HEADROOM + length.next_multiple_of(4);
    let message_bytes = head.len() - HEADER_BYTES + 4 + end - HEADROOM;
    head[2..4].copy_from_slice(&(message_bytes as u16).to_be_bytes());
    head.extend(attribute::DATA.to_be_bytes());
    head.extend((length as u16).to_be_bytes());
    let start = HEADROOM - head.len();
    buffer[start..HEADROOM].copy_from_slice(&head);
    buffer[HEADROOM + length..end].fill(0);
    &buffer[start..end]
}

/// Sends immediately or drops the datagram. `unconstrained`, because a used-up task budget would look like a full
/// socket.
async fn now_or_never(sending: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
    let mut sending = pin!(unconstrained(sending));
    poll_fn(|cx| match sending.as_mut().poll(cx) {
        Poll::Pending => Poll::Ready(Err(io::ErrorKind::WouldBlock.into())),
        ready => ready,
    })
    .await
}
