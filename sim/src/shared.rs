//! State that the loop of a simulation shares with its machines and their sockets.

use std::any::Any;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::capture::KeyLog;
use crate::event::Recorder;
use crate::fabric::Fabric;

/// Number of polls of the loop and of all tasks, at one instant, at which the simulation counts as hung.
pub(crate) const POLLS_AT_ONE_INSTANT_MAX: u32 = 1_000_000;

/// The shared state; each simulation has one.
pub(crate) struct Shared {
    fabric: Mutex<Fabric>,
    pub(crate) recorder: Recorder,
    /// The secrets of DTLS sessions, if the run is captured.
    keys: Mutex<Option<KeyLog>>,
    /// Wakes the loop when a socket has sent something, a task has panicked, or a poll limit is reached.
    pub(crate) wake: Notify,
    /// The message of the first task that panicked.
    panic: Mutex<Option<String>>,
    /// Number of polls of the loop and of all tasks since time last moved.
    polls: AtomicU32,
    /// Number of running tasks, on all machines.
    pub(crate) tasks: AtomicUsize,
    /// Number of open TCP connections, on all machines.
    pub(crate) streams: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(fabric: Fabric, recorder: Recorder) -> Self {
        Self {
            fabric: Mutex::new(fabric),
            recorder,
            keys: Mutex::default(),
            wake: Notify::new(),
            panic: Mutex::default(),
            polls: AtomicU32::new(0),
            tasks: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
        }
    }

    pub(crate) fn fabric(&self) -> MutexGuard<'_, Fabric> {
        // If a fault panics, the run ends with its message, but the destructors of sockets still need the fabric. So a
        // poisoned lock is used as it is.
        self.fabric.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to keep the secrets of DTLS sessions.
    pub(crate) fn keep_keys(&self) {
        *self.keys.lock().expect("no panic while held") = Some(KeyLog::default());
    }

    pub(crate) fn key_log(&self) -> Option<KeyLog> {
        self.keys.lock().expect("no panic while held").clone()
    }

    /// Counts a poll. Tasks that keep waking each other would never let the loop run, so the loop is woken at the
    /// limit.
    pub(crate) fn count_poll(&self) -> u32 {
        let polls = self.polls.fetch_add(1, Relaxed) + 1;
        if polls.is_multiple_of(POLLS_AT_ONE_INSTANT_MAX) {
            self.wake.notify_one();
        }
        polls
    }

    /// Whether there were more polls at this instant than any simulation that makes progress needs.
    pub(crate) fn hangs(&self) -> bool {
        self.polls.load(Relaxed) >= POLLS_AT_ONE_INSTANT_MAX
    }

    /// Resets the number of polls, because time has moved.
    pub(crate) fn time_moved(&self) {
        self.polls.store(0, Relaxed);
    }

    /// Reports the panic of a task, which ends the simulation.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) {
        self.panic.lock().expect("no panic while held").get_or_insert_with(|| panic_message(panic));
        self.wake.notify_one();
    }

    /// Takes the message of a task that has panicked.
    pub(crate) fn take_panic(&self) -> Option<String> {
        self.panic.lock().expect("no panic while held").take()
    }
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
