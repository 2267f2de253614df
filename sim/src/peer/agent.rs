//! All WebRTC of one client: its candidates and its connections.

use std::time::Instant;

use crate::peer::gather::{self, Gatherer};
use crate::peer::negotiation::{Negotiation, Output};
use crate::peer::path::Path;

/// Joins the two sans-IO parts: candidates that the gatherer finds go to the negotiation, datagrams through the gatherer to it.
pub(crate) struct Agent {
    gatherer: Gatherer,
    pub(crate) negotiation: Negotiation,
}

impl Agent {
    /// The candidates that are known at once are there before the first offer.
    pub(crate) fn new(gatherer: Gatherer, negotiation: Negotiation, now: Instant) -> Self {
        let mut agent = Self { gatherer, negotiation };
        let output = agent.poll_output(now);
        assert!(output.is_none(), "nothing to send and nothing to report without a connection");
        agent
    }

    /// A datagram came.
    pub(crate) fn on_datagram(&mut self, path: Path, datagram: &[u8], now: Instant) {
        if let Some((path, datagram)) = self.gatherer.on_datagram(path, datagram, now) {
            self.negotiation.on_datagram(path, datagram, now);
        }
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.gatherer.deadline().into_iter().chain(self.negotiation.deadline()).min()
    }

    /// Time has passed.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.gatherer.on_time(now);
        self.negotiation.on_time(now);
    }

    /// What comes of the inputs so far. To be called after each input until it returns `None`.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Option<Output> {
        loop {
            match self.gatherer.poll_output() {
                Some(gather::Output::Transmit(transmit)) => return Some(Output::Transmit(transmit)),
                Some(gather::Output::Event(event)) => return Some(Output::Event(event)),
                Some(gather::Output::Gathered(gathered)) => self.negotiation.on_gathered(gathered, now),
                None if self.negotiation.wants_candidates() => self.gatherer.gather(now),
                None => return self.negotiation.poll_output(),
            }
        }
    }
}
