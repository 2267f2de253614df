//! The UDP service: distinguishes STUN from TURN's ChannelData by the first byte, and answers on the socket that RFC
//! 5780 requires.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::Shared;
use crate::metrics::Metrics;
use crate::net::{Network, Udp};
use crate::stun::binding::{self, Origin};
use crate::stun::message::Message;
use crate::turn::{DATAGRAM_BYTES_MAX, FiveTuple, Turn};

/// One of the STUN service's UDP sockets, with what it needs from the others.
pub(crate) struct Service<N: Network> {
    pub(crate) sockets: Arc<[N::Udp]>,
    pub(crate) addresses: Arc<[SocketAddr]>,
    /// The index of this socket.
    pub(crate) index: usize,
    /// Only on the first socket.
    pub(crate) turn: Option<Arc<Turn<N>>>,
}

impl<N: Network> Service<N> {
    /// Answers datagrams until the server stops.
    pub(crate) async fn serve(self, shared: Arc<Shared>) {
        // Outside of the loop: a new wait for the stop per datagram would cost a tenth of the time of an answer.
        tokio::select! {
            biased;
            () = shared.stop.stopped() => {}
            () = self.answer_all(&shared.registry.metrics) => {}
        }
    }

    async fn answer_all(&self, metrics: &Metrics) {
        let origin = Origin { addresses: &self.addresses, index: self.index };
        // One additional byte to detect truncation.
        let (mut buffer, mut out) = (vec![0; DATAGRAM_BYTES_MAX + 1], Vec::with_capacity(256));
        loop {
            //= https://www.rfc-editor.org/rfc/rfc8489#section-6.3.1.2
            //# the source IP address and port of the response are equal to the
            //# destination IP address and port of the received request message.
            // An error here concerns the destination of an earlier datagram. The socket stays usable.
            let received = self.sockets[self.index].recv_with_destination(&mut buffer).await;
            let Ok((length, from, destination)) = received else { continue };
            let datagram = &buffer[..length];
            let five_tuple = FiveTuple { client: from, server: destination, is_tcp: false };
            //= https://www.rfc-editor.org/rfc/rfc8656#section-12-5
            //# ChannelData messages can be distinguished from other multiplexed
            //# protocols by examining the first byte of the message
            if let (Some(0x40..=0x7f), Some(turn)) = (datagram.first(), &self.turn) {
                turn.on_channel_data(datagram, five_tuple).await;
                continue;
            }
            metrics.stun_received.fetch_add(1, Relaxed);
            if length > DATAGRAM_BYTES_MAX {
                continue;
            }
            let Some(message) = Message::parse(datagram) else {
                if let Some(route) = binding::respond_classic(datagram, from, origin, &mut out) {
                    metrics.stun_answered.fetch_add(1, Relaxed);
                    _ = self.sockets[route.from].send_from(&out, destination, route.to).await;
                }
                continue;
            };
            let sent = if binding::is_binding(&message) {
                let Some(route) = binding::respond(&message, from, origin, &mut out) else { continue };
                metrics.stun_answered.fetch_add(1, Relaxed);
                self.sockets[route.from].send_from(&out, destination, route.to).await
            } else {
                let Some(turn) = &self.turn else { continue };
                if !turn.on_message(&message, five_tuple, &mut out).await {
                    continue;
                }
                metrics.stun_answered.fetch_add(1, Relaxed);
                self.sockets[self.index].send_from(&out, destination, from).await
            };
            if let Err(error) = sent {
                tracing::debug!(%from, %error, "failed to answer a STUN request");
            }
        }
    }
}
