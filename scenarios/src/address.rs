//! Assigns addresses. Addresses that the file gives are kept, the others are assigned, and none is assigned twice.
//!
//! The internet consists of ranges that no real host uses (RFC 5737 documentation, RFC 2544 benchmarking), so that an
//! address of a simulation is easy to recognise. In every range, the *n*th actor or network of a scenario gets the host
//! number 9 + *n* if it is free: the actor with 192.168.1.12 in a home network is the third.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use crate::value::Subnet;

/// Hosts on the internet.
const HOSTS: Subnet = Subnet::new(Ipv4Addr::new(203, 0, 113, 0), 24);
/// External addresses of NATs on the internet.
const NATS: Subnet = Subnet::new(Ipv4Addr::new(198, 51, 100, 0), 24);
/// Hosts and NATs for which the first two ranges have no room.
const OVERFLOW: Subnet = Subnet::new(Ipv4Addr::new(198, 18, 0, 0), 16);
/// Subnets for public networks. Each network gets a part of the size of the first range.
const PUBLIC_NETWORKS: [Subnet; 2] =
    [Subnet::new(Ipv4Addr::new(192, 0, 2, 0), 24), Subnet::new(Ipv4Addr::new(198, 19, 0, 0), 16)];

/// The server's address, unless the file gives another.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Private ranges. RFC 1918 and RFC 6598.
const PRIVATE: [Subnet; 4] = [
    Subnet::new(Ipv4Addr::new(10, 0, 0, 0), 8),
    Subnet::new(Ipv4Addr::new(172, 16, 0, 0), 12),
    Subnet::new(Ipv4Addr::new(192, 168, 0, 0), 16),
    Subnet::new(Ipv4Addr::new(100, 64, 0, 0), 10),
];

/// The host number of the first actor and of the first network.
const FIRST: u32 = 10;
/// The host number of the first machine with a STUN or TURN server. The signaling server has the one before.
const FIRST_ICE_SERVER: u32 = 2;

/// Whether every address of a subnet is private.
pub(crate) fn is_private(subnet: Subnet) -> bool {
    PRIVATE.iter().any(|range| subnet.within(*range))
}

/// Whether a host on the internet may use the address.
pub(crate) fn is_public(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let special = first == 0 || first == 127 || first >= 224 || (first, second) == (169, 254);
    !special && !PRIVATE.iter().any(|range| range.contains(address))
}

/// Whether hosts on the internet may use every address of a subnet.
pub(crate) fn is_public_subnet(subnet: Subnet) -> bool {
    is_public(subnet.address(0))
        && is_public(subnet.address(subnet.size() - 1))
        && !PRIVATE.iter().any(|range| range.overlaps(subnet))
}

/// The subnet inside a NAT, unless its profile gives another: the first of the usual home ranges that overlaps none of
/// the outer ones.
pub(crate) fn home(outer: &[Subnet]) -> Option<Subnet> {
    (1..=254)
        .map(|third| Subnet::new(Ipv4Addr::new(192, 168, third, 0), 24))
        .find(|subnet| !outer.iter().any(|outer| outer.overlaps(*subnet)))
}

/// A set of hosts whose addresses must differ: the internet, or the inside of one NAT.
#[derive(Debug)]
pub(crate) struct Realm {
    /// `None` is the internet.
    subnet: Option<Subnet>,
    /// The owner of each address that is taken.
    taken: BTreeMap<Ipv4Addr, String>,
    /// The subnets of the internet that belong to public networks.
    routed: Vec<Subnet>,
    /// The number to try next if the preferred one is taken. It only grows, because addresses are never released.
    next: u32,
    /// The numbers to try next in [`HOSTS`] and [`NATS`], which are searched from their ends.
    last: [u32; 2],
}

/// What an address on the internet is used for. This determines its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Host,
    IceServer,
    Nat,
}

impl Realm {
    pub(crate) fn internet() -> Self {
        Self {
            subnet: None,
            taken: BTreeMap::new(),
            routed: Vec::new(),
            next: 1,
            last: [HOSTS.size() - 2, NATS.size() - 2],
        }
    }

    /// The inside of a router. The router has the first address.
    pub(crate) fn inside(subnet: Subnet, router: &str) -> Self {
        let mut taken = BTreeMap::new();
        taken.insert(subnet.address(1), format!("the router of `{router}`"));
        Self { subnet: Some(subnet), taken, routed: Vec::new(), next: 2, last: [0; 2] }
    }

    /// Reserves an address for its owner `who`.
    ///
    /// # Errors
    /// The reason why the address is invalid here or already taken.
    pub(crate) fn reserve(&mut self, address: Ipv4Addr, who: &str) -> Result<(), AddressError> {
        match self.subnet {
            Some(subnet) => {
                let last = subnet.size() - 1;
                match subnet.number(address) {
                    None => return Err(AddressError::Outside(address, subnet)),
                    Some(number) if number == 0 || number == last => {
                        return Err(AddressError::NotForHosts(address, subnet));
                    }
                    Some(_) => {}
                }
            }
            None if !is_public(address) => return Err(AddressError::NotPublic(address)),
            None => {
                if let Some(subnet) = self.routed.iter().find(|subnet| subnet.contains(address)) {
                    return Err(AddressError::Routed(address, *subnet));
                }
            }
        }
        match self.taken.get(&address) {
            Some(owner) if owner != who => Err(AddressError::Taken(address, owner.clone())),
            Some(_) => Ok(()),
            None => {
                self.taken.insert(address, who.to_owned());
                Ok(())
            }
        }
    }

    /// Assigns an address to the `index`th actor or network; `None` if no address is left.
    pub(crate) fn assign(&mut self, index: usize, purpose: Use, who: &str) -> Option<Ipv4Addr> {
        let first = if purpose == Use::IceServer { FIRST_ICE_SERVER } else { FIRST };
        let wanted = u32::try_from(index).ok()?.checked_add(first)?;
        let address = match self.subnet {
            Some(subnet) => self.free(subnet, wanted).or_else(|| self.next_free(subnet))?,
            None => {
                let range = if purpose == Use::Nat { NATS } else { HOSTS };
                let last = self.free(range, wanted).or_else(|| self.last_free(range, purpose));
                last.or_else(|| self.next_free(OVERFLOW))?
            }
        };
        self.taken.insert(address, who.to_owned());
        Some(address)
    }

    fn next_free(&mut self, subnet: Subnet) -> Option<Ipv4Addr> {
        let found = (self.next..subnet.size() - 1).find_map(|number| Some((number, self.free(subnet, number)?)));
        self.next = found.map_or(subnet.size(), |(number, _)| number + 1);
        found.map(|(_, address)| address)
    }

    fn last_free(&mut self, range: Subnet, purpose: Use) -> Option<Ipv4Addr> {
        let which = usize::from(purpose == Use::Nat);
        let found = (1..=self.last[which]).rev().find_map(|number| Some((number, self.free(range, number)?)));
        self.last[which] = found.map_or(0, |(number, _)| number - 1);
        found.map(|(_, address)| address)
    }

    /// The address with this number, if a host may use it and it is free.
    fn free(&self, subnet: Subnet, number: u32) -> Option<Ipv4Addr> {
        let address = subnet.address(number);
        let fits = number > 0 && number < subnet.size() - 1;
        let routed = self.routed.iter().any(|routed| routed.contains(address));
        (fits && !routed && !self.taken.contains_key(&address)).then_some(address)
    }

    /// Reserves a subnet of the internet for a public network.
    ///
    /// # Errors
    /// The reason why the subnet cannot be reserved.
    pub(crate) fn route(&mut self, subnet: Subnet) -> Result<(), AddressError> {
        if !is_public_subnet(subnet) {
            return Err(AddressError::PrivateSubnet(subnet));
        }
        if let Some(other) = self.routed.iter().find(|other| other.overlaps(subnet)) {
            return Err(AddressError::Overlaps(subnet, *other));
        }
        if let Some((address, owner)) = self.taken.iter().find(|(address, _)| subnet.contains(**address)) {
            return Err(AddressError::Contains(subnet, *address, owner.clone()));
        }
        self.routed.push(subnet);
        Ok(())
    }

    /// Assigns a free subnet of the internet to a public network; `None` if no subnet is left.
    pub(crate) fn route_any(&mut self) -> Option<Subnet> {
        let whole = PUBLIC_NETWORKS[0].size();
        let parts = PUBLIC_NETWORKS
            .into_iter()
            .flat_map(|range| (0..range.size() / whole).map(move |part| Subnet::new(range.address(part * whole), 24)));
        parts.into_iter().find(|part| self.route(*part).is_ok())
    }
}

/// Why an address or a subnet cannot be had in a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AddressError {
    /// The address is not in the network's subnet.
    Outside(Ipv4Addr, Subnet),
    /// The address is the first or the last of the network's subnet.
    NotForHosts(Ipv4Addr, Subnet),
    NotPublic(Ipv4Addr),
    /// The address is in the subnet of a public network.
    Routed(Ipv4Addr, Subnet),
    /// The address has this owner.
    Taken(Ipv4Addr, String),
    PrivateSubnet(Subnet),
    /// The second is the subnet of another public network.
    Overlaps(Subnet, Subnet),
    /// The subnet contains an address that has this owner.
    Contains(Subnet, Ipv4Addr, String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(address, subnet) => write!(f, "{address} is not in the subnet {subnet} of that network"),
            Self::NotForHosts(address, subnet) => {
                write!(f, "{address} cannot belong to a host: it is the first or the last of {subnet}")
            }
            Self::NotPublic(address) => {
                write!(f, "{address} is not a public address: use one such as 203.0.113.7")
            }
            Self::Routed(address, subnet) => write!(f, "{address} is in {subnet}, the subnet of a network"),
            Self::Taken(address, owner) => write!(f, "{address} is already taken by {owner}"),
            Self::PrivateSubnet(subnet) => {
                write!(
                    f,
                    "{subnet} is not public, as the subnet of an `open` network must be: use one such as 192.0.2.0/24"
                )
            }
            Self::Overlaps(subnet, other) => {
                write!(f, "{subnet} overlaps {other}, the subnet of another `open` network")
            }
            Self::Contains(subnet, address, owner) => write!(f, "{subnet} contains {address}, the address of {owner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_gets_the_number_9_plus_n_where_it_is_free() {
        let mut realm = Realm::inside(Subnet::new(Ipv4Addr::new(192, 168, 1, 0), 24), "home");
        assert_eq!(realm.reserve(Ipv4Addr::new(192, 168, 1, 11), "`cam`"), Ok(()));
        let mut assign = |index| realm.assign(index, Use::Host, "").map(|address| address.octets()[3]);
        assert_eq!(assign(0), Some(10));
        assert_eq!(assign(1), Some(2), "11 is taken");
        assert_eq!(assign(300), Some(3), "310 is outside");
    }

    #[test]
    fn a_network_is_full_when_every_host_number_is_taken() {
        let mut realm = Realm::inside(Subnet::new(Ipv4Addr::new(10, 0, 0, 0), 29), "home");
        let given: Vec<_> = (0..9).map_while(|index| realm.assign(index, Use::Host, "")).collect();
        assert_eq!(given.len(), 5, "8 without network, router and broadcast");
    }

    #[test]
    fn what_a_public_network_has_is_not_given_to_others() {
        let mut realm = Realm::internet();
        assert_eq!(realm.route(NATS), Ok(()));
        assert_eq!(realm.assign(0, Use::Nat, ""), Some(Ipv4Addr::new(198, 18, 0, 1)));
        assert!(realm.reserve(NATS.address(7), "").is_err());
        assert!(realm.route(NATS).is_err());
    }

    #[test]
    fn the_internet_overflows_into_the_benchmark_range() {
        let mut realm = Realm::internet();
        assert_eq!(realm.assign(0, Use::Nat, ""), Some(Ipv4Addr::new(198, 51, 100, 10)));
        assert_eq!(realm.assign(0, Use::Host, ""), Some(Ipv4Addr::new(203, 0, 113, 10)));
        assert_eq!(realm.assign(0, Use::Nat, ""), Some(Ipv4Addr::new(198, 51, 100, 254)), "10 is taken");
        let hosts: Vec<_> = (0..254).filter_map(|_| realm.assign(500, Use::Host, "")).collect();
        assert_eq!(hosts[252..], [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(198, 18, 0, 1)]);
        assert_eq!(realm.assign(500, Use::Nat, ""), Some(Ipv4Addr::new(198, 51, 100, 253)));
    }
}
