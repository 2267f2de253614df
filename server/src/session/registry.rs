//! The connections that are open: to count them, and to close them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::close::Close;
use super::limits::Limits;
use super::queue::{Load, Queue};

/// All open connections, from accept to the end of their TCP shutdown.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// Woken when the last connection has ended.
    empty: Notify,
}

#[derive(Debug, Default)]
struct State {
    opened: u64,
    /// How many of the open ones are Engine.IO sessions and no connections.
    sessions: usize,
    open: BTreeMap<u64, Arc<Queue>>,
    /// The largest load any closed connection ever had.
    peak: Load,
    shut_down: bool,
}

/// An entry, as long as the connection's task holds it.
#[derive(Debug)]
pub(crate) struct Registration {
    number: u64,
    is_session: bool,
    pub(crate) queue: Arc<Queue>,
    registry: Arc<Registry>,
}

/// Counts over all open connections.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
    pub(crate) load: Load,
    pub(crate) peak: Load,
}

impl Registry {
    /// Enters a connection. After [`shut_down`](Self::shut_down) it is told to close at once.
    pub(crate) fn open(self: &Arc<Self>, limits: &Limits) -> Registration {
        self.enter(limits, false)
    }

    /// Enters an Engine.IO session in the same way. It counts apart: connections come and go under it.
    pub(crate) fn open_session(self: &Arc<Self>, limits: &Limits) -> Registration {
        self.enter(limits, true)
    }

    fn enter(self: &Arc<Self>, limits: &Limits, is_session: bool) -> Registration {
        let queue = Arc::new(Queue::new(limits));
        let mut state = self.lock();
        state.opened += 1;
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

    /// Closes every connection, in the order they came, and every later one.
    pub(crate) fn shut_down(&self) {
        let mut state = self.lock();
        state.shut_down = true;
        for queue in state.open.values() {
            queue.close(Close::Shutdown);
        }
    }

    /// Until no connection and no session is open.
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the registry")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let (_, peak) = self.queue.load_and_peak();
        let mut state = self.registry.lock();
        state.open.remove(&self.number);
        state.sessions -= usize::from(self.is_session);
        state.peak = state.peak.max(peak);
        let is_empty = state.open.is_empty();
        drop(state);
        if is_empty {
            self.registry.empty.notify_waiters();
        }
    }
}
