//! The WebRTC part of one client: its candidates and its connections.

use std::net::SocketAddr;
use std::time::Instant;

use crate::peer::gather::{self, Gatherer, IceServer};
use crate::peer::negotiation::{Negotiation, Output};
use crate::peer::path::Path;

/// Connects two sans-IO parts: the gatherer passes its candidates to the negotiation, and every datagram that is not
/// for itself. What the negotiation sends goes through the gatherer too, which has the relays.
pub(crate) struct Agent {
    gatherer: Gatherer,
    pub(crate) negotiation: Negotiation,
}

impl Agent {
    /// Passes on the host candidates at once, so that they are known before the first offer.
    pub(crate) fn new(gatherer: Gatherer, negotiation: Negotiation, now: Instant) -> Self {
        let mut agent = Self { gatherer, negotiation };
        let output = agent.poll_output(now);
        assert!(output.is_none(), "nothing to send and nothing to report without a connection");
        agent
    }

    /// Handles a datagram that arrived.
    pub(crate) fn on_datagram(&mut self, path: Path, datagram: &[u8], now: Instant) {
        if let Some((path, datagram)) = self.gatherer.on_datagram(path, datagram, now) {
            self.negotiation.on_datagram(path, datagram, now);
        }
    }

    /// Handles a message that a server has sent over TCP.
    pub(crate) fn on_stream(&mut self, server: SocketAddr, message: &[u8], now: Instant) {
        if let Some((path, datagram)) = self.gatherer.on_stream(server, message, now) {
            self.negotiation.on_datagram(path, datagram, now);
        }
    }

    /// Notes that the TCP connection to a server has ended.
    pub(crate) fn on_stream_end(&mut self, server: SocketAddr) {
        self.gatherer.on_stream_end(server);
    }

    /// Notes that the client has other sockets, and other servers. Its connections get what is gathered from them, as with
    /// the continual gathering of browsers.
    pub(crate) fn moved(&mut self, servers: Vec<IceServer>, bases: &[SocketAddr], now: Instant) {
        self.negotiation.forget_candidates();
        self.gatherer.replace(servers, bases);
        if self.negotiation.is_connecting() {
            self.gatherer.gather(now);
        }
    }

    /// Deletes what the client has at TURN servers.
    pub(crate) fn release(&mut self, now: Instant) {
        self.gatherer.release(now);
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.gatherer.deadline().into_iter().chain(self.negotiation.deadline()).min()
    }

    /// Handles the deadlines that have passed.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.gatherer.on_time(now);
        self.negotiation.on_time(now);
    }

    /// The next output of the inputs so far. Call it after each input until it returns `None`.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Option<Output> {
        loop {
            match self.gatherer.poll_output() {
                Some(gather::Output::Transmit(transmit)) => return Some(Output::Transmit(transmit)),
                Some(gather::Output::Stream { server, tls, message }) => {
                    return Some(Output::Stream { server, tls, message });
                }
                Some(gather::Output::Event(event)) => return Some(Output::Event(event)),
                Some(gather::Output::Gathered(gathered)) => self.negotiation.on_gathered(gathered, now),
                None if self.negotiation.wants_candidates() => self.gatherer.gather(now),
                None => match self.negotiation.poll_output() {
                    Some(Output::Transmit(transmit)) => match self.gatherer.route(transmit, now) {
                        Some(transmit) => return Some(Output::Transmit(transmit)),
                        None => continue,
                    },
                    output => return output,
                },
            }
        }
    }
}
