//! The remotes to which an internal endpoint has sent, which determine who may send to it; and the timer of mappings
//! and filter entries.

use std::net::SocketAddrV4;
use std::time::Duration;

/// How long a mapping or filter entry of one protocol lives without traffic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    pub(super) unanswered: Duration,
    pub(super) answered: Duration,
    pub(super) inbound_refresh: bool,
}

/// The time at which a mapping or a filter entry ends. RFC 4787 §4.3.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    last: Duration,
    answered: bool,
}

impl Timer {
    pub(super) fn new(now: Duration) -> Self {
        Self { last: now, answered: false }
    }

    //= https://www.rfc-editor.org/rfc/rfc4787#section-4.3
    //# REQ-6:  The NAT mapping Refresh Direction MUST have a "NAT Outbound
    //# refresh behavior" of "True".
    pub(super) fn sent(&mut self, now: Duration) {
        self.last = now;
    }

    pub(super) fn received(&mut self, now: Duration, lifetimes: &Lifetimes) {
        self.answered = true;
        if lifetimes.inbound_refresh {
            self.last = now;
        }
    }

    /// The first instant at which the entry no longer exists. It only ever moves later.
    pub(super) fn end(&self, lifetimes: &Lifetimes) -> Duration {
        self.last.saturating_add(if self.answered { lifetimes.answered } else { lifetimes.unanswered })
    }
}

/// The remotes that may send to an internal endpoint: those to which it has sent.
///
/// Each entry ages like a mapping, with the same timer and lifetimes, like the sessions of real NATs: a mapping that
/// one remote keeps alive does not stay open for another remote that has long been silent. So the number of entries
/// stays below twice the number of remotes in use.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Sorted by remote, reduced to the part that the filtering behaviour compares: the port is 0 where only the
    /// address counts.
    entries: Vec<(SocketAddrV4, Timer)>,
    /// Index of the last hit: most packets come from the same remote as the one before.
    hit: usize,
    /// Number of entries at which expired ones are removed.
    sweep_at: usize,
}

impl Filter {
    /// Notes that the inside has sent to `remote`.
    pub(super) fn sent(&mut self, remote: SocketAddrV4, now: Duration, lifetimes: &Lifetimes) {
        match self.find(remote) {
            Ok(at) if self.entries[at].1.end(lifetimes) > now => self.entries[at].1.sent(now),
            Ok(at) => self.entries[at].1 = Timer::new(now),
            Err(at) => {
                self.entries.insert(at, (remote, Timer::new(now)));
                if self.entries.len() > self.sweep_at {
                    self.entries.retain(|(_, timer)| timer.end(lifetimes) > now);
                    self.sweep_at = (2 * self.entries.len()).max(16);
                }
            }
        }
    }

    /// Returns whether a packet from `remote` may come in, and refreshes the entry if it does.
    pub(super) fn received(&mut self, remote: SocketAddrV4, now: Duration, lifetimes: &Lifetimes) -> bool {
        match self.find(remote) {
            Ok(at) if self.entries[at].1.end(lifetimes) > now => {
                self.entries[at].1.received(now, lifetimes);
                true
            }
            _ => false,
        }
    }

    fn find(&mut self, remote: SocketAddrV4) -> Result<usize, usize> {
        if self.entries.get(self.hit).is_some_and(|(at_hit, _)| *at_hit == remote) {
            return Ok(self.hit);
        }
        let found = self.entries.binary_search_by_key(&remote, |(remote, _)| *remote);
        if let Ok(at) = found {
            self.hit = at;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_have_ended_do_not_pile_up() {
        let lifetime = Duration::from_secs(10);
        let lifetimes = Lifetimes { unanswered: lifetime, answered: lifetime, inbound_refresh: true };
        let mut filter = Filter::default();
        for second in 0..10_000 {
            let remote = SocketAddrV4::new(second.into(), 1);
            filter.sent(remote, Duration::from_secs(second.into()), &lifetimes);
            assert!(filter.received(remote, Duration::from_secs(second.into()), &lifetimes));
        }
        assert!(filter.entries.len() <= 21, "10 live at a time, {} kept", filter.entries.len());
    }
}
