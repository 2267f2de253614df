//! The deterministic world: network, NATs, hosts, peers, faults, events and the oracles that judge them.
//!
//! The way of the data is one: scenario → [`world`] → [`event`]s → oracles, timeline and hash. Nothing reads the world's insides after
//! the run, and nothing but the world and its peers writes events.

pub mod capture;
pub mod cast;
pub mod entropy;
pub mod event;
pub mod fabric;
pub mod hash;
pub mod host;
pub mod live;
mod mapping;
pub mod oracle;
pub mod pairs;
pub mod peer;
mod protocol;
pub mod reachability;
pub mod run;
mod shared;
pub mod socket;
mod stage;
pub mod timeline;
pub mod world;
