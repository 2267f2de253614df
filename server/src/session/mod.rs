//! The parts that all dialects share: one task per connection, its queue, the rooms, the limits.

pub(crate) mod client;
pub(crate) mod close;
pub(crate) mod connection;
pub(crate) mod dialect;
pub(crate) mod heartbeat;
pub(crate) mod identity;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod rooms;

pub use heartbeat::Heartbeat;
