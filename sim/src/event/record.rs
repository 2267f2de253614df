//! The record of a run, and the recorder that writes it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::event::datagrams::{PeerDatagram, ServerDatagram};
use crate::event::node::{Node, NodeId, NodeKind};
use crate::event::what::{Event, What};

/// Everything that happened in a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// All nodes at which events can happen.
    pub nodes: Vec<Node>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The datagrams of the machines with a STUN or TURN server, in order.
    pub server_datagrams: Vec<ServerDatagram>,
    /// The nodes that run programs of others, and the most threads that each was seen to have.
    pub threads: BTreeMap<NodeId, usize>,
    /// What the other machines have sent and received of data and of answers to connectivity checks, in order.
    pub peer_datagrams: Vec<PeerDatagram>,
}

impl Record {
    /// The name of a node.
    ///
    /// # Panics
    /// The node is not in this record.
    pub fn name(&self, node: NodeId) -> &Arc<str> {
        &self.nodes[usize::from(node.0)].name
    }

    /// Renders an event as one line of JSON: `{"at":1.25,"node":"ana","layer":…,…}`, with `at` in seconds.
    pub fn json_line(&self, event: &Event) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            at: f64,
            node: &'a str,
            #[serde(flatten)]
            what: &'a What,
        }
        let line = Line { at: event.at.as_secs_f64(), node: self.name(event.node), what: &event.what };
        serde_json::to_string(&line).expect("every event has a JSON form")
    }
}

/// Writes a record. All clones write to the same record.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    record: Arc<Mutex<Record>>,
    /// Set when nothing more is recorded through this recorder and its clones.
    closed: Option<Arc<AtomicBool>>,
}

impl Recorder {
    /// Starts a record whose time counts from `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, record: Arc::default(), closed: None }
    }

    /// A recorder of the same record that can be [closed](Self::close) by itself.
    pub(crate) fn closable(&self) -> Self {
        Self { closed: Some(Arc::default()), ..self.clone() }
    }

    /// Makes a [closable](Self::closable) recorder and its clones ignore everything that they are given from here on.
    pub(crate) fn close(&self) {
        if let Some(closed) = &self.closed {
            closed.store(true, Ordering::Relaxed);
        }
    }

    /// Adds a node.
    ///
    /// # Panics
    /// There are more than 65,536 nodes.
    pub fn node(&self, name: &str, kind: NodeKind) -> NodeId {
        let mut record = self.lock();
        record.nodes.push(Node { name: name.into(), kind });
        NodeId(u16::try_from(record.nodes.len() - 1).expect("a scenario has fewer nodes than that"))
    }

    /// Records an event at the current time.
    pub fn write(&self, node: NodeId, what: What) {
        if self.closed.as_ref().is_some_and(|closed| closed.load(Ordering::Relaxed)) {
            return;
        }
        let at = self.start.elapsed();
        self.lock().events.push(Event { at, node, what });
    }

    /// Records an event at `at`.
    pub(crate) fn write_at(&self, at: Duration, node: NodeId, what: What) {
        self.lock().events.push(Event { at, node, what });
    }

    /// Keeps the datagram of a STUN or TURN server whose packet the newest event is about.
    pub(crate) fn keep(&self, datagram: impl FnOnce(usize) -> ServerDatagram) {
        let mut record = self.lock();
        let datagram = datagram(record.events.len() - 1);
        record.server_datagrams.push(datagram);
    }

    /// Notes how many threads the program of a node has.
    pub(crate) fn note_threads(&self, node: NodeId, count: usize) {
        let mut record = self.lock();
        let most = record.threads.entry(node).or_default();
        *most = count.max(*most);
    }

    /// Keeps what a datagram between peers is.
    pub(crate) fn keep_of_peer(&self, datagram: PeerDatagram) {
        self.lock().peer_datagrams.push(datagram);
    }

    /// The name of a node.
    pub(crate) fn name(&self, node: NodeId) -> Arc<str> {
        self.lock().name(node).clone()
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes the record. Later events go into a new, empty one.
    pub fn take(&self) -> Record {
        std::mem::take(&mut *self.lock())
    }

    /// Number of events so far.
    pub(crate) fn count(&self) -> usize {
        self.lock().events.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().expect("no writer panics while it holds the record")
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("start", &self.start).finish_non_exhaustive()
    }
}
