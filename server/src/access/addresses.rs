//! Counts the connections, sessions and requests of each address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, MutexGuard};

use tokio::time::Instant;

use crate::lock::Lock;
use crate::rate::{Bucket, Rate};

/// Number of known addresses above which idle ones are removed.
const SWEEP_MIN: usize = 1024;

/// Clients by address: an IPv4 address, or the /64 network from which an IPv6 client can choose its address.
#[derive(Debug)]
pub(crate) struct Addresses {
    state: Lock<State>,
}

#[derive(Debug)]
struct State {
    connections_max: Option<usize>,
    rate: Option<Rate>,
    known: BTreeMap<IpAddr, Known>,
    /// Number of known addresses that triggers the next removal.
    sweep_at: usize,
}

#[derive(Debug)]
struct Known {
    open: usize,
    /// Engine.IO sessions.
    sessions: usize,
    bucket: Bucket,
}

/// One connection of an address, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Source {
    from: IpAddr,
    /// Where it is counted, if anything is limited by address.
    addresses: Option<Arc<Addresses>>,
}

/// One Engine.IO session of an address, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct SessionSource {
    from: IpAddr,
    addresses: Option<Arc<Addresses>>,
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitExceeded {
    Connections,
    Requests,
}

impl Addresses {
    pub(crate) fn new(connections_max: Option<usize>, rate: Option<Rate>) -> Self {
        let state = State { connections_max, rate, known: BTreeMap::new(), sweep_at: SWEEP_MIN };
        Self { state: Lock::new(state) }
    }

    /// Replaces the limits. What is counted already stays so, and connections that were not counted are not.
    pub(crate) fn set_limits(&self, connections_max: Option<usize>, rate: Option<Rate>) {
        let mut state = self.lock();
        (state.connections_max, state.rate) = (connections_max, rate);
    }

    /// A connection from an address.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> Source {
        let mut state = self.lock();
        let is_limited = state.connections_max.is_some() || state.rate.is_some();
        if is_limited {
            state.known(group(from), Instant::now()).open += 1;
        }
        drop(state);
        Source { from, addresses: is_limited.then(|| Arc::clone(self)) }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().known.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn known(&mut self, from: IpAddr, now: Instant) -> &mut Known {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, known| known.is_in_use() || !known.bucket.is_full(now));
            self.sweep_at = SWEEP_MIN.max(self.known.len() * 2);
        }
        self.known.entry(from).or_insert_with(|| Known { open: 0, sessions: 0, bucket: Bucket::full(now) })
    }
}

impl Known {
    fn is_in_use(&self) -> bool {
        self.open + self.sessions > 0
    }
}

impl Source {
    /// A connection without limits.
    pub(crate) fn unlimited(from: IpAddr) -> Self {
        Self { from, addresses: None }
    }

    pub(crate) fn from(&self) -> IpAddr {
        self.from
    }

    /// Whether its address may make a request.
    ///
    /// # Errors
    /// The address has too many connections, or makes too many requests.
    pub(crate) fn request(&self) -> Result<(), LimitExceeded> {
        let Some(addresses) = &self.addresses else { return Ok(()) };
        let now = Instant::now();
        let mut state = addresses.lock();
        let (connections_max, rate) = (state.connections_max, state.rate);
        let known = state.known(group(self.from), now);
        if connections_max.is_some_and(|max| known.open > max) {
            return Err(LimitExceeded::Connections);
        }
        match rate {
            Some(rate) if !known.bucket.take(&rate, now) => Err(LimitExceeded::Requests),
            _ => Ok(()),
        }
    }

    /// Opens a session for its address.
    ///
    /// # Errors
    /// The address has as many sessions as it may have connections.
    pub(crate) fn open_session(&self) -> Result<SessionSource, LimitExceeded> {
        if let Some(addresses) = &self.addresses {
            let mut state = addresses.lock();
            let connections_max = state.connections_max;
            let known = state.known(group(self.from), Instant::now());
            if connections_max.is_some_and(|max| known.sessions >= max) {
                return Err(LimitExceeded::Connections);
            }
            known.sessions += 1;
        }
        Ok(SessionSource { from: self.from, addresses: self.addresses.clone() })
    }
}

impl SessionSource {
    pub(crate) fn from(&self) -> IpAddr {
        self.from
    }
}

impl State {
    /// One less.
    fn gone(&mut self, from: IpAddr, gone: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.get_mut(&from) {
            gone(known);
            if !known.is_in_use() && known.bucket.is_full(Instant::now()) {
                self.known.remove(&from);
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(addresses) = &self.addresses {
            addresses.lock().gone(group(self.from), |known| known.open -= 1);
        }
    }
}

impl Drop for SessionSource {
    fn drop(&mut self) {
        if let Some(addresses) = &self.addresses {
            addresses.lock().gone(group(self.from), |known| known.sessions -= 1);
        }
    }
}

/// The addresses that count as one: RFC 4291 §2.5.4 gives a network 64 bits for its hosts, and a host may use any of
/// them.
pub(crate) fn group(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_ipv6_network_counts_as_one_and_so_does_an_ipv4_address_in_any_notation() {
        let group = |text: &str| group(text.parse().expect("an address"));
        assert_eq!(group("2001:db8:1:2:3::1"), group("2001:db8:1:2:ffff::9"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_eq!(group("::ffff:192.0.2.1"), group("192.0.2.1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_addresses_are_removed() {
        let one = NonZeroU32::new(1).expect("1");
        let addresses = Arc::new(Addresses::new(None, Some(Rate { per_second: one, burst: one })));
        for round in 0..3_u32 {
            for host in 0..5000 {
                let source = addresses.enter(IpAddr::V4((round * 5000 + host).into()));
                assert_eq!(source.request(), Ok(()));
                assert_eq!(source.request(), Err(LimitExceeded::Requests));
            }
            assert!(addresses.len() <= 5000 + SWEEP_MIN, "{} are known", addresses.len());
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        let visits: Vec<_> = (0..3).map(|_| addresses.enter(IpAddr::V4(7.into()))).collect();
        drop(visits);
        assert!(!addresses.lock().known.contains_key(&IpAddr::V4(7.into())));
    }
}
