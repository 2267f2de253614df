//! The open connections: counts them, keeps them below their maximum, and closes them all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};

use tokio::sync::Notify;

use super::budget::Budget;
use super::close::Close;
use super::queue::{Load, Queue};
use super::unjoined::Unjoined;
use crate::access::addresses::group;
use crate::limits::Limits;
use crate::lock::Lock;
use crate::metrics::{Metrics, Traffic};

/// Connections beyond the maximum that are still answered, so that a health check is, and a WebSocket hears why not.
pub(crate) const CONNECTIONS_RESERVED: usize = 64;

/// All open connections, from accept to the end of their TCP shutdown.
#[derive(Debug)]
pub(crate) struct Registry {
    /// For new connections.
    limits: Lock<Arc<Limits>>,
    /// What their queues and unfinished messages take.
    pub(crate) budget: Arc<Budget>,
    state: Lock<State>,
    /// Other counts.
    pub(crate) metrics: Metrics,
    /// Notified when the last connection has ended.
    empty: Notify,
}

#[derive(Debug, Default)]
struct State {
    opened: u64,
    /// How many of those were connections.
    accepted: u64,
    open: BTreeMap<u64, Open>,
    connections: Places,
    /// Engine.IO sessions.
    sessions: Places,
    /// Traffic of closed connections, by dialect.
    traffic: BTreeMap<&'static str, Traffic>,
    /// The peak load of all closed connections.
    peak: Load,
    shut_down: bool,
}

#[derive(Debug)]
struct Open {
    queue: Arc<Queue>,
    /// The address, as limits by address count it.
    address: IpAddr,
    is_session: bool,
}

/// The places of connections, or those of sessions.
#[derive(Debug, Default)]
struct Places {
    open: usize,
    unjoined: Unjoined,
    /// Those that are being closed because others needed their places.
    displaced: BTreeSet<u64>,
}

impl Places {
    /// How many are taken.
    fn taken(&self) -> usize {
        self.open - self.displaced.len()
    }
}

impl State {
    fn places(&mut self, is_session: bool) -> &mut Places {
        if is_session { &mut self.sessions } else { &mut self.connections }
    }
}

/// The traffic of a connection; `None` while it has no dialect.
fn traffic(queue: &Queue) -> Option<(&'static str, Traffic)> {
    let dialect = queue.dialect()?;
    let (messages_received, bytes_received) = queue.tally.counts();
    let (sent, dropped) = queue.sent_and_dropped();
    let traffic = Traffic {
        messages_received,
        bytes_received,
        messages_sent: sent.messages as u64,
        bytes_sent: sent.bytes as u64,
        messages_dropped: dropped as u64,
    };
    Some((dialect, traffic))
}

/// A connection's entry, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    number: u64,
    pub(crate) queue: Arc<Queue>,
    pub(crate) registry: Arc<Registry>,
}

/// Totals over all open connections.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
    pub(crate) load: Load,
    pub(crate) peak: Load,
}

impl Registry {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            budget: Arc::new(Budget::new(limits.buffered_bytes_max)),
            limits: Lock::new(Arc::new(limits.clone())),
            state: Lock::default(),
            metrics: Metrics::default(),
            empty: Notify::new(),
        }
    }

    /// The limits of a new connection.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.lock())
    }

    /// Replaces the limits, for new connections.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        *self.limits.lock() = Arc::new(limits.clone());
        self.budget.set_max(limits.buffered_bytes_max);
    }

    /// Registers a connection from an address. If there are too many, it takes the place of one that has not joined. `None` if it has no
    /// place, not even one to say so. After [`shut_down`](Self::shut_down), closing is requested immediately.
    pub(crate) fn open(self: &Arc<Self>, address: IpAddr) -> Option<Registration> {
        self.enter(address, false, CONNECTIONS_RESERVED)
    }

    /// Registers an Engine.IO session in the same way. Sessions are counted separately, because their connections
    /// change.
    pub(crate) fn open_session(self: &Arc<Self>, address: IpAddr) -> Option<Registration> {
        self.enter(address, true, 0)
    }

    fn enter(self: &Arc<Self>, address: IpAddr, is_session: bool, reserved: usize) -> Option<Registration> {
        let address = group(address);
        let limits = self.limits();
        let connections_max = limits.connections_max;
        let state = &mut *self.lock();
        if state.places(is_session).taken() >= connections_max
            && let Some(number) = state.places(is_session).unjoined.displace()
        {
            state.places(is_session).displaced.insert(number);
            state.open[&number].queue.close(Close::Displaced);
        }
        let places = state.places(is_session);
        if places.taken() >= connections_max.saturating_add(reserved) {
            return None;
        }
        places.open += 1;
        state.opened += 1;
        state.accepted += u64::from(!is_session);
        let number = state.opened;
        state.places(is_session).unjoined.insert(address, number);
        let queue = Queue::new(&limits, &self.budget).timing(self.metrics.delivery.clone());
        let queue = Arc::new(queue.registered(Arc::downgrade(self), number));
        state.open.insert(number, Open { queue: Arc::clone(&queue), address, is_session });
        if state.shut_down {
            queue.close(Close::Shutdown);
        }
        Some(Registration { number, queue, registry: Arc::clone(self) })
    }

    /// The client of a connection has this address, as its proxy says.
    pub(crate) fn is_from(&self, number: u64, address: IpAddr) {
        let (address, state) = (group(address), &mut *self.lock());
        if let Some(open) = state.open.get_mut(&number) {
            let before = std::mem::replace(&mut open.address, address);
            let unjoined = &mut state.connections.unjoined;
            if unjoined.remove(before, number) {
                unjoined.insert(address, number);
            }
        }
    }

    /// This client has joined: it keeps its place.
    pub(crate) fn joined(&self, number: u64) {
        let state = &mut *self.lock();
        if let Some(Open { address, is_session, .. }) = state.open.get(&number) {
            let (address, is_session) = (*address, *is_session);
            state.places(is_session).unjoined.remove(address, number);
        }
    }

    /// Whether more connections are open than may be.
    pub(crate) fn is_over_capacity(&self) -> bool {
        let connections_max = self.limits().connections_max;
        self.lock().connections.taken() > connections_max
    }

    /// Closes every connection, in the order of accepting, and every later one.
    pub(crate) fn shut_down(&self) {
        let mut state = self.lock();
        state.shut_down = true;
        for Open { queue, .. } in state.open.values() {
            queue.close(Close::Shutdown);
        }
    }

    /// Waits until no connection and no session is open.
    pub(crate) async fn drained(&self) {
        loop {
            let empty = self.empty.notified();
            if self.lock().open.is_empty() {
                return;
            }
            empty.await;
        }
    }

    /// How many of them speak a dialect.
    pub(crate) fn clients(&self) -> usize {
        self.lock().open.values().filter(|open| open.queue.dialect().is_some()).count()
    }

    pub(crate) fn totals(&self) -> Totals {
        let state = self.lock();
        let mut totals = Totals {
            connections: state.connections.open,
            sessions: state.sessions.open,
            peak: state.peak,
            ..Totals::default()
        };
        for Open { queue, .. } in state.open.values() {
            let (load, peak) = queue.load_and_peak();
            totals.load.messages += load.messages;
            totals.load.bytes += load.bytes;
            totals.peak = totals.peak.max(peak);
        }
        totals
    }

    /// Number of connections since the start.
    pub(crate) fn accepted(&self) -> u64 {
        self.lock().accepted
    }

    /// Traffic since the start, by dialect.
    pub(crate) fn traffic(&self) -> BTreeMap<&'static str, Traffic> {
        let state = self.lock();
        let mut all = state.traffic.clone();
        for (dialect, of_one) in state.open.values().filter_map(|open| traffic(&open.queue)) {
            *all.entry(dialect).or_default() += of_one;
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Registration {
    /// The client has this address, as its proxy says.
    pub(crate) fn is_from(&self, address: IpAddr) {
        self.registry.is_from(self.number, address);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let (never_written, peak) = self.queue.load_and_peak();
        let mut locked = self.registry.lock();
        let state = &mut *locked;
        let Open { address, is_session, .. } = state.open.remove(&self.number).expect("it is removed only here");
        let places = state.places(is_session);
        places.open -= 1;
        places.displaced.remove(&self.number);
        places.unjoined.remove(address, self.number);
        if let Some((dialect, mut of_one)) = traffic(&self.queue) {
            of_one.messages_dropped += never_written.messages as u64;
            *state.traffic.entry(dialect).or_default() += of_one;
        }
        state.peak = state.peak.max(peak);
        let is_empty = state.open.is_empty();
        drop(locked);
        if is_empty {
            self.registry.empty.notify_waiters();
        }
    }
}
