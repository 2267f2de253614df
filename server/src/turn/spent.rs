//! Allocate requests whose allocation has ended. Whoever has recorded one must not be able to make the allocation
//! again with it, as long as its nonce is valid.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// How many requests are remembered.
const REQUESTS_MAX: usize = 16_384;

/// Remembers requests until their nonces expire. If there are too many, the ones with the oldest nonces are forgotten
/// and these nonces are invalid for everyone; clients then get 438 and a new nonce.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// By the expiry of the nonce, as [`Nonces`](super::nonce::Nonces) counts it.
    requests: BTreeSet<(u64, SocketAddr, [u8; 12])>,
    /// Nonces up to this expiry are invalid.
    forgotten: u64,
}

impl Spent {
    /// `now` is on the scale of the nonces' expiry.
    pub(crate) fn add(&mut self, nonce_expiry: u64, client: SocketAddr, transaction_id: [u8; 12], now: u64) {
        while self.requests.first().is_some_and(|(expiry, ..)| *expiry <= now) {
            self.requests.pop_first();
        }
        self.requests.insert((nonce_expiry, client, transaction_id));
        if self.requests.len() > REQUESTS_MAX
            && let Some((expiry, ..)) = self.requests.pop_first()
        {
            self.forgotten = expiry;
        }
    }

    /// Whether an Allocate request must not be obeyed.
    pub(crate) fn contains(&self, nonce_expiry: u64, client: SocketAddr, transaction_id: [u8; 12]) -> bool {
        nonce_expiry <= self.forgotten || self.requests.contains(&(nonce_expiry, client, transaction_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_limited_and_nothing_that_was_forgotten_is_valid() {
        let client = SocketAddr::from(([192, 0, 2, 1], 9));
        let mut spent = Spent::default();
        for n in 1..=2 * REQUESTS_MAX as u64 {
            spent.add(1000 + n, client, [0; 12], 0);
        }
        assert_eq!(spent.requests.len(), REQUESTS_MAX);
        assert!((1..=2 * REQUESTS_MAX as u64).all(|n| spent.contains(1000 + n, client, [0; 12])));
        assert!(!spent.contains(1000 + 2 * REQUESTS_MAX as u64, client, [1; 12]));
        spent.add(1_000_000, client, [0; 12], 500_000);
        assert_eq!(spent.requests.len(), 1, "expired nonces need no memory");
    }
}
