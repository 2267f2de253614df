//! Allows each message when it is due, whether or not earlier ones were delivered: an open loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use super::shared::{Run, SenderState};

/// The times at which messages are due: evenly spaced over all senders, which take turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Nanoseconds since the run began.
    start_ns: u64,
    gap_ns: f64,
    senders: u64,
}

impl Schedule {
    pub(super) fn new(start_ns: u64, per_second: f64, senders: usize) -> Self {
        Self { start_ns, gap_ns: 1e9 / per_second, senders: senders as u64 }
    }

    /// When the next message of a sender that has sent `sent` messages is due: nanoseconds since the run began.
    pub(super) fn due_ns(&self, sender: usize, sent: u64) -> u64 {
        self.at_ns(sent * self.senders + sender as u64)
    }

    fn at_ns(&self, turn: u64) -> u64 {
        self.start_ns + (turn as f64 * self.gap_ns) as u64
    }
}

/// The thread that allows messages. It is not a task, because tokio's timers have a resolution of one millisecond.
pub(super) struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Starts the thread.
    #[allow(clippy::disallowed_methods)] // real sockets and real time, outside of every simulation
    pub(super) fn start(run: &Arc<Run>, schedule: Schedule, states: Vec<Arc<SenderState>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (run, stopped) = (Arc::clone(run), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for turn in 0.. {
                let due_ns = schedule.at_ns(turn);
                loop {
                    if stopped.load(Relaxed) {
                        return;
                    }
                    let now_ns = run.now_ns();
                    if now_ns >= due_ns {
                        break;
                    }
                    std::thread::sleep(Duration::from_nanos((due_ns - now_ns).min(50_000_000)));
                }
                states[turn as usize % states.len()].allow(1);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_take_turns_at_even_distances() {
        let schedule = Schedule::new(500, 1000.0, 2);
        let due = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(sender, sent)| schedule.due_ns(sender, sent));
        assert_eq!(due, [500, 1_000_500, 2_000_500, 3_000_500]);
    }
}
