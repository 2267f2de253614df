//! The parts that all dialects share: one task per connection, its queue, the rooms, the limits.

pub(crate) mod budget;
pub(crate) mod client;
pub(crate) mod close;
pub(crate) mod connection;
pub(crate) mod deflate;
pub(crate) mod dialect;
mod frame;
pub(crate) mod heartbeat;
pub(crate) mod identity;
pub(crate) mod meter;
pub(crate) mod pressure;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod rooms;
mod unjoined;

pub use heartbeat::Heartbeat;
