//! A realm: one address space, such as the internet or the network of a home. Two realms may use the same addresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// An index into the fabric's realms; 0 is the internet.
pub(crate) type RealmIndex = usize;
/// An index into the fabric's hosts.
pub(crate) type HostIndex = usize;
/// An index into the fabric's routers.
pub(crate) type RouterIndex = usize;

/// The internet.
pub(crate) const INTERNET: RealmIndex = 0;

/// Who answers to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// A host.
    Host(HostIndex),
    /// The outside of a router: its NAT owns the address, or it routes it to the inside.
    Router(RouterIndex),
}

/// Which link a packet takes into or out of a realm.
pub(crate) type LinkOwner = Attachment;

#[derive(Debug, Default)]
pub(crate) struct Realm {
    pub(crate) attached: BTreeMap<Ipv4Addr, Attachment>,
    /// Where packets to all other addresses go; the internet has none.
    pub(crate) gateway: Option<RouterIndex>,
}
