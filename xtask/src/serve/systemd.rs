//! What systemd is told: that the server is ready, reloads or stops, and that it is alive. Without systemd, nothing.

use std::io;

use sd_notify::NotifyState;
use tokio::time::interval;

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(super) fn reloading() {
    // `Type=notify-reload` wants the time, to tell this reload from an earlier one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn(&error),
    }
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells that the server is alive, twice in the time that `WatchdogSec=` allows. Forever, or not at all.
pub(super) async fn feed_watchdog() {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else { return };
    let mut due = interval(patience / 2);
    loop {
        due.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn(&error);
    }
}

fn warn(error: &io::Error) {
    tracing::warn!(target: "server", %error, "failed to notify systemd");
}
