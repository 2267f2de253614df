//! The nodes at which events happen: machines, NATs, and the world.

use std::sync::Arc;

use scenarios::{Machine, NetworkIndex};
use serde::Serialize;

/// A node, as an index into [`Record::nodes`].
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
    /// The world itself, for events that affect all nodes.
    World,
}

/// A machine, a NAT, or the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Node {
    /// Its name in the scenario.
    pub name: Arc<str>,
    /// What kind of thing it is.
    pub kind: NodeKind,
}
