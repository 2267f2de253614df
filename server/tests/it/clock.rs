//! Time that stands still while real sockets do their work, so that no deadline passes because a machine is slow.

use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, advance};

use crate::client::PATIENCE;

/// As long as this lives, the clock of a test with `start_paused = true` moves by [`advance`] and [`passing`] alone.
pub(crate) struct Held {
    _end: Sender<()>,
}

/// Holds the clock. After [`PATIENCE`] of real time it runs free, and whatever still waits times out: a hang has an end.
#[allow(clippy::disallowed_methods)] // a task on another thread is what keeps tokio from moving a paused clock
pub(crate) fn hold() -> Held {
    let (end, ended) = channel::<()>();
    tokio::task::spawn_blocking(move || ended.recv_timeout(PATIENCE));
    Held { _end: end }
}

/// Lets the server, which runs in the same thread, deal with all that was sent to it.
pub(crate) async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// Moves the clock by a millisecond whenever all is quiet, until the future is done. Returns how far that was.
pub(crate) async fn passing<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let mut future = pin!(future);
    loop {
        let quiet = async {
            settle().await;
            advance(Duration::from_millis(1)).await;
        };
        tokio::select! {
            biased;
            output = &mut future => return (output, start.elapsed()),
            () = quiet => {}
        }
    }
}
