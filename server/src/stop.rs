//! The word to stop, for all tasks.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::Notify;

/// Said once, heard by everybody in the order in which they began to listen.
///
/// Not `tokio::sync::watch`: that keeps its listeners in eight lists, each in one drawn at random, which a simulation could not repeat.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    said: AtomicBool,
    listeners: Notify,
}

impl Stop {
    pub(crate) fn say(&self) {
        self.said.store(true, SeqCst);
        self.listeners.notify_waiters();
    }

    /// Returns as soon as it is said, at once if it was.
    pub(crate) async fn heard(&self) {
        let mut notified = pin!(self.listeners.notified());
        notified.as_mut().enable();
        if !self.said.load(SeqCst) {
            notified.await;
        }
    }
}
