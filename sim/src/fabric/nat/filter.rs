//! The remotes to which an internal endpoint has sent, which determine who may send to it.

use std::time::Duration;

use scenarios::Dependence;

use super::Signal;
use super::table::scope;
use super::timer::{Lifetimes, Timer};
use crate::mapping::TransportAddress;

/// The remotes that may send to an internal endpoint: those to which it has sent.
///
/// Each entry ages like a mapping, with the same timer and lifetimes, like the sessions of real NATs: a mapping that
/// one remote keeps alive does not stay open for another remote that has long been silent. So the number of entries
/// stays below twice the number of remotes in use.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Sorted by remote. For UDP, the remote is reduced to the part that the filtering behaviour compares: the port is
    /// 0 where only the address counts. For TCP, each connection has an entry.
    entries: Vec<(TransportAddress, Timer)>,
    /// Index of the last hit: most packets come from the same remote as the one before.
    hit: usize,
    /// Number of entries at which expired ones are removed.
    sweep_at: usize,
}

impl Filter {
    /// Notes that a packet has passed, to `remote` if `outward` and otherwise from it.
    pub(super) fn passed(
        &mut self,
        remote: TransportAddress,
        now: Duration,
        outward: bool,
        signal: Signal,
        lifetimes: &Lifetimes,
    ) {
        match self.find(remote) {
            Ok(at) if self.entries[at].1.end(lifetimes) > now => {
                self.entries[at].1.passed(now, outward, signal, lifetimes);
            }
            Ok(at) => self.entries[at].1 = Timer::new(now, outward, signal, lifetimes),
            Err(at) => {
                self.entries.insert(at, (remote, Timer::new(now, outward, signal, lifetimes)));
                if self.entries.len() > self.sweep_at {
                    self.entries.retain(|(_, timer)| timer.end(lifetimes) > now);
                    self.sweep_at = (2 * self.entries.len()).max(16);
                }
            }
        }
    }

    /// Whether a packet from exactly `remote` may come in.
    pub(super) fn has(&mut self, remote: TransportAddress, now: Duration, lifetimes: &Lifetimes) -> bool {
        self.find(remote).is_ok_and(|at| self.entries[at].1.end(lifetimes) > now)
    }

    /// Whether a packet from a remote may come in that is the same as `remote` in the part on which filtering depends.
    pub(super) fn has_like(
        &self,
        remote: TransportAddress,
        filtering: Dependence,
        now: Duration,
        lifetimes: &Lifetimes,
    ) -> bool {
        let is_same = |known: TransportAddress| scope(filtering, known) == scope(filtering, remote);
        self.entries.iter().any(|(known, timer)| is_same(*known) && timer.end(lifetimes) > now)
    }

    /// When the last of its entries ends.
    pub(super) fn end(&self, lifetimes: &Lifetimes) -> Option<Duration> {
        self.entries.iter().map(|(_, timer)| timer.end(lifetimes)).max()
    }

    fn find(&mut self, remote: TransportAddress) -> Result<usize, usize> {
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
        let lifetimes = Lifetimes::Udp {
            unanswered: lifetime,
            answered: lifetime,
            stream_after: Duration::ZERO,
            inbound_refresh: true,
        };
        let mut filter = Filter::default();
        for second in 0..10_000 {
            let (remote, now) =
                (TransportAddress::new(std::net::Ipv4Addr::from_bits(second), 1), Duration::from_secs(second.into()));
            filter.passed(remote, now, true, Signal::Data, &lifetimes);
            assert!(filter.has(remote, now, &lifetimes));
        }
        assert!(filter.entries.len() <= 21, "10 live at a time, {} kept", filter.entries.len());
    }
}
