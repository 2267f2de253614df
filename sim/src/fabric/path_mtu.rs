//! What a host knows of the MTU of the paths to its destinations (RFC 1191).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// How long a host believes an ICMP message: Linux' `net.ipv4.route.mtu_expires`, which RFC 1191 §6.3 recommends.
const EXPIRES: Duration = Duration::from_secs(600);

/// The path MTUs, each with the time at which it is forgotten.
#[derive(Debug, Default)]
pub(crate) struct PathMtus(BTreeMap<IpAddr, (u16, Duration)>);

impl PathMtus {
    /// Takes note of an ICMP message *fragmentation needed*.
    pub(crate) fn learn(&mut self, destination: IpAddr, mtu: u16, now: Duration) {
        let known = self.of(destination, now).unwrap_or(u16::MAX);
        self.0.insert(destination, (known.min(mtu), now + EXPIRES));
    }

    /// The MTU of the path to a destination, bytes, if it is known.
    pub(crate) fn of(&self, destination: IpAddr, now: Duration) -> Option<u16> {
        self.0.get(&destination).filter(|(_, forgotten)| now < *forgotten).map(|(mtu, _)| *mtu)
    }

    /// Forgets everything, as a host does that loses power.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_mtu_is_believed_for_ten_minutes() {
        let (there, mut mtus) = (IpAddr::from([203, 0, 113, 1]), PathMtus::default());
        let at = Duration::from_secs;
        assert_eq!(mtus.of(there, at(0)), None);
        mtus.learn(there, 1300, at(1));
        mtus.learn(there, 1400, at(2));
        assert_eq!((mtus.of(there, at(601)), mtus.of(there, at(602))), (Some(1300), None));
        mtus.learn(there, 1400, at(700));
        assert_eq!(mtus.of(there, at(700)), Some(1400), "what was forgotten does not count");
    }
}
