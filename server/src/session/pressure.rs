//! Back-pressure: a client that sends faster than others read is not read for a while.
//!
//! Dialects do not know of it. A queue that becomes half full exerts pressure; whoever handles a message of a client
//! finds out with [`found`] whether its effects met such a queue, and reads no more from that client until the queue
//! has drained, or for [`PATIENCE`]. A client that does not read at all thus delays others by that time once, then its
//! queue fills and it is closed.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::lock::Lock;

/// How long a queue exerts pressure. If it has not drained by then, its client does not read.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The pressure of one queue, from half full to drained.
#[derive(Debug)]
pub(crate) struct Pressure {
    until: Instant,
    state: Lock<State>,
}

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    waiting: Vec<Waker>,
}

thread_local! {
    static FOUND: Cell<Option<Arc<Pressure>>> = const { Cell::new(None) };
}

/// The pressure that this thread has met since the last call. Handling a message is synchronous, so calls before and
/// after it find that of its effects.
pub(crate) fn found() -> Option<Arc<Pressure>> {
    FOUND.take()
}

impl Pressure {
    pub(crate) fn begin() -> Arc<Self> {
        Arc::new(Self { until: Instant::now() + PATIENCE, state: Lock::default() })
    }

    /// A message was queued under pressure.
    pub(crate) fn meet(self: &Arc<Self>) {
        FOUND.set(Some(Arc::clone(self)));
    }

    /// The queue has drained, or its client is being closed.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Until when it lasts at the longest; `None` if it is over. If it ends before, that wakes `waker`.
    pub(crate) fn lasts_until(&self, waker: &Waker) -> Option<Instant> {
        if self.until <= Instant::now() {
            return None;
        }
        let mut state = self.state.lock();
        if state.is_over {
            return None;
        }
        if !state.waiting.iter().any(|known| known.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        Some(self.until)
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        let mut alarm = pin!(sleep_until(self.until));
        poll_fn(|cx| match self.lasts_until(cx.waker()) {
            None => Poll::Ready(()),
            Some(_) => alarm.as_mut().poll(cx),
        })
        .await;
    }
}
