//! A browser's WebRTC, as the stack of a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::json;
use tokio::sync::Notify;

use super::tab::Tab;
use crate::peer::stack::{Description, Input, LocalCandidate, Output, Stack, StackError, StackFactory, Trickled};

/// Creates connections in a tab.
pub(in crate::live) struct TabFactory {
    tab: Arc<Tab>,
    /// Whether it offers audio and video.
    has_media: bool,
    /// Whether its candidates follow its descriptions.
    trickles: bool,
    opened: AtomicU32,
}

impl TabFactory {
    /// Connections that offer a data channel, and if `has_media` also audio and video. What is offered to them they answer
    /// with the same.
    /// If the candidates do not trickle, they have all been gathered when a description is returned.
    pub(in crate::live) fn new(tab: Arc<Tab>, has_media: bool, trickles: bool) -> Self {
        Self { tab, has_media, trickles, opened: AtomicU32::new(0) }
    }
}

impl StackFactory for TabFactory {
    fn open(&self, offerer: bool, _: Instant) -> Result<Box<dyn Stack>, StackError> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        self.tab.begin(number);
        self.tab.ask(
            number,
            "open",
            json!({ "offerer": offerer, "media": self.has_media, "trickles": self.trickles }),
        )?;
        Ok(Box::new(Connection { tab: self.tab.clone(), number }))
    }

    fn changed(&self) -> Option<Arc<Notify>> {
        Some(self.tab.changed())
    }
}

/// An `RTCPeerConnection`. It gathers its own candidates and has its own sockets and timers.
struct Connection {
    tab: Arc<Tab>,
    number: u32,
}

impl Connection {
    fn describe(&self, what: &str) -> Result<Description, StackError> {
        let described = self.tab.ask(self.number, what, ())?;
        serde_json::from_value(described).map_err(|error| StackError::from(error.to_string()))
    }
}

impl Stack for Connection {
    fn offer(&mut self, _: Instant) -> Result<Description, StackError> {
        self.describe("offer")
    }

    fn answer(&mut self, _: Instant) -> Result<Description, StackError> {
        self.describe("answer")
    }

    fn accept(&mut self, remote: &Description, _: Instant) -> Result<(), StackError> {
        self.tab.ask(self.number, "accept", remote).map(drop)
    }

    fn roll_back(&mut self, _: Instant) -> Result<(), StackError> {
        self.tab.ask(self.number, "rollBack", ()).map(drop)
    }

    fn restart_ice(&mut self) {
        // It only marks the connection. If the browser is gone, the offer that follows says so.
        let _ = self.tab.ask(self.number, "restartIce", ());
    }

    fn add_local(&mut self, _: &LocalCandidate) -> Result<String, StackError> {
        unreachable!("a client in a tab has no sockets of its own, so it gathers no candidates")
    }

    fn add_remote(&mut self, candidate: &Trickled) -> Result<(), StackError> {
        self.tab.ask(self.number, "addRemote", candidate).map(drop)
    }

    fn send(&mut self, text: &str, _: Instant) -> Result<(), StackError> {
        self.tab.ask(self.number, "send", text).map(drop)
    }

    fn close(&mut self) -> Result<(), StackError> {
        self.tab.end(self.number);
        self.tab.ask(self.number, "close", ()).map(drop)
    }

    fn handle(&mut self, _: Input<'_>, _: Instant) -> Result<(), StackError> {
        // Its datagrams and deadlines are the browser's.
        Ok(())
    }

    fn poll(&mut self) -> Output {
        self.tab.next(self.number).map_or(Output::Timeout(None), Output::Event)
    }
}
