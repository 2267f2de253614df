//! Who can have an event: machines, NATs, and the world.

use std::sync::Arc;

use scenarios::{Machine, NetworkIndex};
use serde::Serialize;

/// A machine or a NAT, by its place in [`Record::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeId(pub u16);

/// What kind of thing a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A machine of the scenario.
    Machine(Machine),
    /// The NAT of a network of the scenario.
    Nat(NetworkIndex),
    /// The world itself: what befalls all.
    World,
}

/// A machine, a NAT, or the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Node {
    /// Its name in the scenario.
    pub name: Arc<str>,
    /// What it is.
    pub kind: NodeKind,
}
