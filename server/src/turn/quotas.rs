//! How many relay ports, allocated or reserved, a user and an address hold, and how much data they relay.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::refusal::Refusal;
use super::settings::TurnSettings;
use crate::access::addresses::group;
use crate::lock::Lock;
use crate::rate::ByteBucket;

/// Counts the ports of all users and addresses. A user alone is no limit for a shared secret, because each credential
/// from `/api/config` is a new user; an address alone is none for a user with many addresses.
#[derive(Debug)]
pub(crate) struct Quotas {
    bandwidth: Option<ByteBucket>,
    user_bandwidth_max: Option<u64>,
    state: Lock<State>,
}

#[derive(Debug, Default)]
struct State {
    ports_max: usize,
    per_user_max: usize,
    per_address_max: usize,
    ports: usize,
    by_user: BTreeMap<Arc<str>, User>,
    by_address: BTreeMap<IpAddr, usize>,
}

/// A user that holds at least one port.
#[derive(Debug)]
struct User {
    ports: usize,
    bandwidth: Option<Arc<ByteBucket>>,
}

/// One port of a user and an address, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    quotas: Arc<Quotas>,
    pub(crate) user: Arc<str>,
    address: IpAddr,
    bandwidth: Option<Arc<ByteBucket>>,
}

impl Quotas {
    pub(crate) fn new(settings: &TurnSettings) -> Arc<Self> {
        let quotas = Self {
            bandwidth: settings.bandwidth_max.map(ByteBucket::new),
            user_bandwidth_max: settings.user_bandwidth_max,
            state: Lock::default(),
        };
        quotas.set_maxima(settings);
        Arc::new(quotas)
    }

    /// Replaces the maximum numbers. Ports that are held stay so.
    pub(crate) fn set_maxima(&self, settings: &TurnSettings) {
        let mut state = self.state.lock();
        state.ports_max = settings.allocations_max;
        state.per_user_max = settings.allocations_per_user_max;
        state.per_address_max = settings.allocations_per_address_max;
    }

    /// Takes one more port for a user at an address.
    ///
    /// # Errors
    /// The user or the address has the maximum number, or there are as many as there may be.
    pub(crate) fn take(self: &Arc<Self>, user: &str, address: IpAddr) -> Result<Hold, Refusal> {
        let address = group(address);
        let state = &mut *self.state.lock();
        let of_user = state.by_user.get(user).map_or(0, |user| user.ports);
        let of_address = state.by_address.get(&address).copied().unwrap_or_default();
        if of_user >= state.per_user_max || of_address >= state.per_address_max {
            return Err(Refusal::AllocationQuotaReached);
        }
        if state.ports >= state.ports_max {
            return Err(Refusal::InsufficientCapacity);
        }
        let name = state.by_user.get_key_value(user).map_or_else(|| user.into(), |(name, _)| Arc::clone(name));
        let bandwidth = || self.user_bandwidth_max.map(|max| Arc::new(ByteBucket::new(max)));
        let entry = state.by_user.entry(Arc::clone(&name));
        let held = entry.or_insert_with(|| User { ports: 0, bandwidth: bandwidth() });
        held.ports += 1;
        let bandwidth = held.bandwidth.clone();
        *state.by_address.entry(address).or_default() += 1;
        state.ports += 1;
        Ok(Hold { quotas: Arc::clone(self), user: name, address, bandwidth })
    }

    /// How many users hold a port.
    pub(crate) fn users(&self) -> usize {
        self.state.lock().by_user.len()
    }
}

impl Hold {
    pub(crate) fn is_of(&self, user: &str, address: IpAddr) -> bool {
        *self.user == *user && self.address == group(address)
    }

    /// Whether so many bytes may be relayed for its user now.
    pub(crate) fn may_relay(&self, bytes: usize) -> bool {
        let buckets = [self.bandwidth.as_deref(), self.quotas.bandwidth.as_ref()];
        match buckets {
            [None, None] => true,
            buckets => {
                let now = Instant::now();
                buckets.into_iter().flatten().all(|bucket| bucket.take(bytes, now))
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let state = &mut *self.quotas.state.lock();
        state.ports -= 1;
        if let Some(held) = state.by_user.get_mut(&self.user) {
            held.ports -= 1;
            if held.ports == 0 {
                state.by_user.remove(&self.user);
            }
        }
        if let Some(held) = state.by_address.get_mut(&self.address) {
            *held -= 1;
            if *held == 0 {
                state.by_address.remove(&self.address);
            }
        }
    }
}
