//! A deterministic simulator for WebRTC signaling: network, NATs, machines, peers, faults, and the oracles that judge
//! each run.
//!
//! A simulation runs a *scenario* (crate [`scenarios`]): actors join rooms, connect, lose power or signaling, while
//! links lose packets and NATs lose mappings. The signaling server is the reference server (crate [`server`]), and the
//! peers use a real WebRTC stack. Both run unchanged: only the network below them is simulated. The same scenario and
//! seed always give the same events.
//!
//! ```
//! use std::sync::Arc;
//!
//! let mut scenario = scenarios::load("mesh-3")?;
//! scenario.duration = std::time::Duration::from_secs(20);
//! let outcome = sim::run::run(&Arc::new(scenario), 7).expect("no crash");
//!
//! assert!(outcome.passed(), "{:?}", outcome.violations);
//! println!("hash {}", outcome.hash);
//! print!("{}", sim::timeline::Timeline::of(&outcome.record));
//! # Ok::<(), scenarios::Error>(())
//! ```
//!
//! `examples/run_one.rs` does the same for any scenario and seed. To build a network without a scenario, start with
//! [`world::World::run`]. The module [`world`] lists what every simulation guarantees about time, ties and TCP.
//!
//! Data flows in one direction: scenario → [`world`] → [`event`]s → { [`oracle`]s, [`timeline`], [`hash`] } →
//! [`run::Outcome`]. Only the world and its peers write events, and nothing reads the world after a run: oracles know
//! only what the events show.
//!
//! | to change | start in |
//! |---|---|
//! | what can happen to packets | [`fabric::fault`]: one file per fault |
//! | how NATs behave | [`fabric::nat`]: a pure state machine in the terms of RFC 4787 |
//! | what clients do | [`peer`] |
//! | what must hold | [`oracle`]: one file per promise |
//! | how scenarios run against a real server | [`live`] |
//! | pairs of NATs; what a NAT does, found out from inside | [`nat_matrix`], [`nat_probe`] |
//!
//! It runs only on Linux: [`entropy`] replaces libc's functions for randomness and wall clock on the threads of
//! simulations.

pub mod campaign;
pub mod capture;
mod dialects;
pub mod entropy;
pub mod event;
pub mod fabric;
pub mod fit;
mod foreign;
pub mod hash;
pub mod host;
pub mod identities;
mod last_lines;
pub mod live;
mod mapping;
pub mod media;
pub mod nat_matrix;
pub mod nat_probe;
pub mod oracle;
pub mod pairs;
pub mod peer;
pub mod program;
mod protocol;
pub mod reachability;
mod rewritten;
pub mod run;
mod shared;
pub mod socket;
mod stage;
mod statics;
pub mod timeline;
pub mod world;
