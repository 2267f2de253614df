//! Typed indices into the network's tables, so that one kind cannot be mistaken for another.

/// A realm: one address space, such as the internet or the network of a home. Two realms may use the same addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealmIndex(pub usize);

/// A host: a machine attached to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostIndex(pub(crate) usize);

/// A router between two realms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouterIndex(pub(crate) usize);

impl RealmIndex {
    /// The internet: the outermost realm, which has no router.
    pub const INTERNET: Self = Self(0);
}
