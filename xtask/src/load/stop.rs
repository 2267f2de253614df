//! Ctrl-C ends a run early and cleanly: what was measured so far is reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// Whether the run should end.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<(AtomicBool, Notify)>);

impl Stop {
    /// Listens for Ctrl-C; a second one exits immediately.
    pub(super) fn on_ctrl_c() -> Self {
        let stop = Self::default();
        let shared = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                shared.0.0.store(true, Relaxed);
                shared.0.1.notify_waiters();
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(super::INTERRUPTED.into());
            }
        });
        stop
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.0.load(Relaxed)
    }

    /// Waits for some time, or until the run should end.
    pub(super) async fn pause(&self, time: Duration) {
        let _ = timeout(time, self.set()).await;
    }

    /// Does something unless the run should end first.
    pub(super) async fn unless<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::select! { biased;
            () = self.set() => None,
            done = doing => Some(done),
        }
    }

    async fn set(&self) {
        let notified = self.0.1.notified();
        tokio::pin!(notified);
        // From here on, no notification is missed.
        notified.as_mut().enable();
        if !self.is_set() {
            notified.await;
        }
    }
}
