//! The open connections: counts them, and closes them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::close::Close;
use super::queue::{Load, Queue};
use crate::limits::Limits;
use crate::metrics::{Metrics, Traffic};

/// All open connections, from accept to the end of their TCP shutdown.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
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
    /// How many of the open ones are Engine.IO sessions instead of connections.
    sessions: usize,
    open: BTreeMap<u64, Arc<Queue>>,
    /// Traffic of closed connections, by dialect.
    traffic: BTreeMap<&'static str, Traffic>,
    /// The peak load of all closed connections.
    peak: Load,
    shut_down: bool,
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
    is_session: bool,
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
    /// Registers a connection. After [`shut_down`](Self::shut_down), closing is requested immediately.
    pub(crate) fn open(self: &Arc<Self>, limits: &Limits) -> Registration {
        self.enter(limits, false)
    }

    /// Registers an Engine.IO session in the same way. Sessions are counted separately, because their connections
    /// change.
    pub(crate) fn open_session(self: &Arc<Self>, limits: &Limits) -> Registration {
        self.enter(limits, true)
    }

    fn enter(self: &Arc<Self>, limits: &Limits, is_session: bool) -> Registration {
        let queue = Arc::new(Queue::new(limits).timing(self.metrics.delivery.clone()));
        let mut state = self.lock();
        state.opened += 1;
        state.accepted += u64::from(!is_session);
        state.sessions += usize::from(is_session);
        let number = state.opened;
        state.open.insert(number, Arc::clone(&queue));
        if state.shut_down {
            queue.close(Close::Shutdown);
        }
        Registration { number, is_session, queue, registry: Arc::clone(self) }
    }

    pub(crate) fn connections(&self) -> usize {
        let state = self.lock();
        state.open.len() - state.sessions
    }

    pub(crate) fn sessions(&self) -> usize {
        self.lock().sessions
    }

    /// Closes every connection, in the order of accepting, and every later one.
    pub(crate) fn shut_down(&self) {
        let mut state = self.lock();
        state.shut_down = true;
        for queue in state.open.values() {
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

    pub(crate) fn totals(&self) -> Totals {
        let state = self.lock();
        let mut totals = Totals {
            connections: state.open.len() - state.sessions,
            sessions: state.sessions,
            peak: state.peak,
            ..Totals::default()
        };
        for queue in state.open.values() {
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
        for (dialect, of_one) in state.open.values().filter_map(|queue| traffic(queue)) {
            *all.entry(dialect).or_default() += of_one;
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the registry")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let (never_written, peak) = self.queue.load_and_peak();
        let mut state = self.registry.lock();
        if let Some((dialect, mut of_one)) = state.open.remove(&self.number).and_then(|queue| traffic(&queue)) {
            of_one.messages_dropped += never_written.messages as u64;
            *state.traffic.entry(dialect).or_default() += of_one;
        }
        state.sessions -= usize::from(self.is_session);
        state.peak = state.peak.max(peak);
        let is_empty = state.open.is_empty();
        drop(state);
        if is_empty {
            self.registry.empty.notify_waiters();
        }
    }
}
