//! A router between two realms, with or without a NAT.

use std::time::Duration;

use crate::event::NodeId;
use crate::fabric::link::LinkState;
use crate::fabric::nat::Nat;
use crate::fabric::realm::RealmIndex;

pub(crate) struct Router {
    pub(crate) node: NodeId,
    pub(crate) inner: RealmIndex,
    pub(crate) outer: RealmIndex,
    /// Its link to the outer realm.
    pub(crate) link: LinkState,
    pub(crate) nat: Option<Nat>,
    /// Whether TCP segments without a mapping are answered with RST.
    pub(crate) resets_tcp: bool,
    /// When the fabric will look for expired mappings next.
    pub(crate) expiry_check: Option<Duration>,
}
