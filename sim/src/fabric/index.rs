//! Indices into the network's tables. One kind is never taken for another.

/// A realm: one address space, such as the internet or the network of a home. Two realms may use the same addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealmIndex(pub usize);

/// A host: a machine's place in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostIndex(pub(crate) usize);

/// A router between two realms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouterIndex(pub(crate) usize);

impl RealmIndex {
    /// The internet, which no router leads out of.
    pub const INTERNET: Self = Self(0);
}
