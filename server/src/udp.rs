//! The UDP service: distinguishes STUN from TURN's ChannelData by the first byte, and answers on the socket that RFC
//! 5780 requires.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::Shared;
use crate::metrics::Metrics;
use crate::net::{Buffers, Datagram, Network, Outgoing, Udp};
use crate::stun::binding::{self, Origin, Route};
use crate::stun::message::Message;
use crate::turn::{DATAGRAM_BYTES_MAX, FiveTuple, Relaying, Transport, Turn};

/// A reader of one of the STUN service's UDP sockets, with what it needs from the others.
pub(crate) struct Service<N: Network> {
    pub(crate) sockets: Arc<[N::Udp]>,
    pub(crate) addresses: Arc<[SocketAddr]>,
    /// The index of its socket.
    pub(crate) index: usize,
    /// A further socket at the same address, if this is a further reader.
    pub(crate) reader: Option<N::Udp>,
    /// Only on the first socket.
    pub(crate) turn: Option<Arc<Turn<N>>>,
    pub(crate) buffers: Arc<Buffers>,
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
        let mut out = Vec::with_capacity(256);
        // For each socket, as RFC 5780 answers from others than the one that was asked.
        let mut answers: Vec<Outgoing> = self.sockets.iter().map(|_| Outgoing::default()).collect();
        let mut relaying = Relaying::default();
        loop {
            // An error here concerns the destination of an earlier datagram. The socket stays usable.
            let Ok(batch) = self.socket(self.index).receive(&self.buffers).await else { continue };
            for Datagram { data: datagram, from, destination } in batch.received.datagrams() {
                let (length, five_tuple) =
                    (datagram.len(), FiveTuple { client: from, server: destination, transport: Transport::Udp });
                //= https://www.rfc-editor.org/rfc/rfc8656#section-12-5
                //# ChannelData messages can be distinguished from other multiplexed
                //# protocols by examining the first byte of the message
                if let (Some(0x40..=0x7f), Some(turn)) = (datagram.first(), &self.turn) {
                    turn.on_channel_data(datagram, five_tuple, &mut relaying);
                    continue;
                }
                metrics.stun_received.fetch_add(1, Relaxed);
                if length > DATAGRAM_BYTES_MAX {
                    continue;
                }
                let Some(route) = self.answer(datagram, five_tuple, &mut relaying, &mut out).await else { continue };
                metrics.stun_answered.fetch_add(1, Relaxed);
                //= https://www.rfc-editor.org/rfc/rfc8489#section-6.3.1.2
                //# the source IP address and port of the response are equal to the
                //# destination IP address and port of the received request message.
                answers[route.from].push(&[&out], 0, destination, route.to);
            }
            drop(batch);
            if let Some(turn) = &self.turn {
                turn.relay(&mut relaying);
            }
            for (index, answers) in answers.iter_mut().enumerate().filter(|(_, answers)| !answers.is_empty()) {
                if let Some(error) = self.socket(index).send_all(answers).error {
                    tracing::debug!(%error, "failed to answer a STUN request");
                }
                answers.clear();
            }
        }
    }

    fn socket(&self, index: usize) -> &N::Udp {
        self.reader.as_ref().unwrap_or(&self.sockets[index])
    }

    /// Handles a STUN message. Returns the route of the answer in `out`, if there is one.
    async fn answer(
        &self,
        datagram: &[u8],
        five_tuple: FiveTuple,
        relaying: &mut Relaying<N>,
        out: &mut Vec<u8>,
    ) -> Option<Route> {
        let (from, origin) = (five_tuple.client, Origin { addresses: &self.addresses, index: self.index });
        match Message::parse(datagram) {
            None => binding::respond_classic(datagram, from, origin, out),
            Some(message) if binding::is_binding(&message) => binding::respond(&message, from, origin, out),
            Some(message) => {
                let turn = self.turn.as_ref()?;
                let is_answered = turn.on_message(&message, five_tuple, relaying, out).await;
                is_answered.then_some(Route { from: self.index, to: from })
            }
        }
    }
}
