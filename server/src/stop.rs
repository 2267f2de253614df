//! The request to stop, for all tasks.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::Notify;

/// Requested once. Tasks wake in the order in which they began to wait.
///
/// Not `tokio::sync::watch`: it spreads its receivers over eight lists at random, which a simulation could not repeat.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    requested: AtomicBool,
    waiting: Notify,
}

impl Stop {
    pub(crate) fn stop(&self) {
        self.requested.store(true, SeqCst);
        self.waiting.notify_waiters();
    }

    /// Waits until [`stop`](Self::stop) has been called.
    pub(crate) async fn stopped(&self) {
        let mut notified = pin!(self.waiting.notified());
        notified.as_mut().enable();
        if !self.requested.load(SeqCst) {
            notified.await;
        }
    }
}
