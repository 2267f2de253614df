//! `--wait`: a server that has just been started is not reachable at once.

use std::time::{Duration, Instant};

use super::command::StartedServer;
use crate::interrupt::Interrupt;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits for a server.
pub(crate) struct Wait<'s> {
    until: Instant,
    interrupt: Interrupt,
    started: Option<&'s mut StartedServer>,
    /// Why it is no use to wait any longer.
    ended: Option<String>,
}

impl<'s> Wait<'s> {
    /// Waits so long, from now on. If the server was started for the test, only while its process runs.
    pub(super) fn new(limit: Duration, interrupt: &Interrupt, started: Option<&'s mut StartedServer>) -> Self {
        Self { until: crate::now() + limit, interrupt: interrupt.clone(), started, ended: None }
    }

    /// Tries until it succeeds, or the time is over. Returns the last result.
    #[allow(clippy::disallowed_methods)] // a real server, outside of every simulation
    pub(crate) fn until<T, E>(&mut self, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        loop {
            let result = attempt();
            self.ended = self.started.as_mut().and_then(|started| started.has_ended());
            if result.is_ok() || self.ended.is_some() || self.interrupt.is_set() || crate::now() >= self.until {
                return result;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Why the server cannot be reached, if its process has ended.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }
}
