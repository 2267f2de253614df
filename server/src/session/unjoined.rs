//! Who has connected but not joined yet, by address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The numbers of clients that have not joined, by address. Later ones have higher numbers.
#[derive(Debug, Default)]
pub(crate) struct Unjoined(BTreeMap<IpAddr, BTreeSet<u64>>);

impl Unjoined {
    pub(crate) fn insert(&mut self, address: IpAddr, number: u64) {
        self.0.entry(address).or_default().insert(number);
    }

    /// Returns whether it was there.
    pub(crate) fn remove(&mut self, address: IpAddr, number: u64) -> bool {
        let Some(numbers) = self.0.get_mut(&address) else { return false };
        let was_there = numbers.remove(&number);
        if numbers.is_empty() {
            self.0.remove(&address);
        }
        was_there
    }

    /// Removes the oldest of the address with the most, so that many from one address do not keep others out.
    pub(crate) fn displace(&mut self) -> Option<u64> {
        let (address, numbers) = self.0.iter().max_by_key(|(_, numbers)| numbers.len())?;
        let (address, oldest) = (*address, *numbers.first()?);
        self.remove(address, oldest);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_address_with_the_most_goes_first() {
        let [one, two] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
        let mut unjoined = Unjoined::default();
        unjoined.insert(one, 1);
        (2..6).for_each(|number| unjoined.insert(two, number));
        unjoined.remove(two, 3);
        assert_eq!([unjoined.displace(), unjoined.displace()], [Some(2), Some(4)]);
        unjoined.insert(one, 6);
        assert_eq!(unjoined.displace(), Some(1));
        assert_eq!(unjoined.0.len(), 2);
    }
}
