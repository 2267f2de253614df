//! WebSocket pings that detect dead connections: settings, and the count of unanswered ones.

use std::time::Duration;

use tokio::time::Instant;

/// How dead connections are detected. A silent client is dropped at most `interval × (missed_max + 1)` after its last
/// frame. Default: 60 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Time between two pings. Default: 20 s.
    pub interval: Duration,
    /// How many consecutive pings may go unanswered, at least 1. Default: 2. Any frame counts as an answer.
    pub missed_max: u32,
}

impl Heartbeat {
    /// # Errors
    /// Every connection would be closed before its first ping.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.missed_max == 0 {
            Err("heartbeat.missed_max must be at least 1, or no client would be pinged")
        } else {
            Ok(())
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(20), missed_max: 2 }
    }
}

/// The action at a tick.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeartbeatAction {
    /// Send a ping.
    Ping,
    /// Drop the client.
    Dead,
}

/// The state of one connection. The time is passed in.
#[derive(Debug)]
pub(crate) struct HeartbeatState {
    heartbeat: Heartbeat,
    due: Instant,
    /// Pings since the last frame.
    unanswered: u32,
    /// Pings without a pong.
    pongs_due: u32,
}

impl HeartbeatState {
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        let due = now + heartbeat.interval;
        Self { heartbeat, due, unanswered: 0, pongs_due: 0 }
    }

    /// When [`tick`](Self::tick) must be called next.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Whether the client counts as dead at the next tick if no frame is received before.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered >= self.heartbeat.missed_max
    }

    /// A frame of any kind was received.
    pub(crate) fn frame_received(&mut self) {
        self.unanswered = 0;
    }

    /// A pong was received. Returns whether a ping asked for it.
    pub(crate) fn pong_received(&mut self) -> bool {
        let is_due = self.pongs_due > 0;
        self.pongs_due -= u32::from(is_due);
        is_due
    }

    /// Handles the end of an interval. Returns the action.
    pub(crate) fn tick(&mut self, now: Instant) -> HeartbeatAction {
        if self.unanswered >= self.heartbeat.missed_max {
            return HeartbeatAction::Dead;
        }
        self.unanswered += 1;
        self.pongs_due = self.pongs_due.saturating_add(1);
        self.due = now + self.heartbeat.interval;
        HeartbeatAction::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_unanswered_pings_end_it_and_any_frame_saves_it() {
        let start = Instant::now();
        let mut heartbeat = HeartbeatState::new(Heartbeat::default(), start);
        assert_eq!(heartbeat.due(), start + Duration::from_secs(20));
        assert_eq!(heartbeat.tick(heartbeat.due()), HeartbeatAction::Ping);
        assert_eq!(heartbeat.tick(heartbeat.due()), HeartbeatAction::Ping);
        heartbeat.frame_received();
        assert_eq!(heartbeat.tick(heartbeat.due()), HeartbeatAction::Ping);
        assert_eq!(heartbeat.tick(heartbeat.due()), HeartbeatAction::Ping);
        assert_eq!(heartbeat.due(), start + Duration::from_secs(100));
        assert_eq!(heartbeat.tick(heartbeat.due()), HeartbeatAction::Dead);
    }
}
