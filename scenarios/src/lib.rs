//! What happens in a simulation: scenario files and their schema.
//!
//! A scenario is a TOML file, documented in `README.md`. [`load`] and [`parse`] read a file, [`Builder`] builds a
//! scenario in Rust, and [`write`] turns a scenario into a file.
//!
//! | file | what it does |
//! |---|---|
//! | `scenario` | [`Scenario`], as the simulator takes it: all names resolved and checked |
//! | `nat`, `role`, `probes` | NAT behaviors, the roles of actors, and the rare situations that a scenario can expect |
//! | `load` | loads a scenario by name or path |
//! | `table`, `value`, `error` | reads TOML key by key and collects all problems, each with its line |
//! | `file`, `profile` | the keys of scenario files and of NAT profiles |
//! | `expand` | turns a file into a scenario: looks up profiles and names, expands counts |
//! | `draft`, `assign`, `address` | the unfinished scenario, and the assignment of addresses |
//! | `steps`, `dry_run` | resolves the names in steps, and checks that each step has an effect |
//! | `ice` | STUN and TURN servers: types, keys and names |
//! | `tracks` | audio and video of actors: types and keys |
//! | `link` | links: types, keys, and how they are written |
//! | `population` | a mix of NATs from which those of many actors are drawn |
//! | `packet` | single packets whose fate the scenario decides: types, keys and names |
//! | `shipped` | the scenarios and profiles that are part of the program |
//! | `stories` | what generated stories may contain: story profiles and their files |
//! | `build`, `write` | builds scenarios in Rust, and writes scenarios as files |
//!
//! Data flows one way: `table` → `file` → `expand` (with `assign` and `steps`) → [`Scenario`].
//!
//! ```
//! let scenario = scenarios::load("mesh-3")?;
//! assert_eq!(scenario.actors.len(), 3);
//! # Ok::<(), scenarios::Error>(())
//! ```

mod address;
mod assign;
mod build;
mod draft;
mod dry_run;
mod error;
mod expand;
mod file;
mod ice;
mod ipv6;
mod link;
mod load;
mod nat;
mod packet;
mod population;
mod probes;
mod profile;
mod role;
mod scenario;
mod shipped;
mod steps;
mod stories;
mod table;
mod tracks;
mod value;
mod write;

pub use build::Builder;
pub use error::{Error, Problem, instead};
pub use ice::{IceServer, IceServerIndex, IceTransportPolicy, TURN_TLS_PORT, TurnCredential, TurnServer};
pub use ipv6::{Addresses, Ipv6Network};
pub use link::{GilbertElliott, Jitter, Link, OneWay, Oversized, Queue};
pub use load::{load, parse, read_file};
pub use nat::*;
pub use packet::{Fate, PacketFate, PacketKind, PacketName};
pub use population::Population;
pub use probes::PROBES;
pub use role::{Dialect, Framing, Role};
pub use scenario::*;
pub use shipped::{Profile, Shipped, profile, profiles, shipped};
pub use stories::{StoryProfile, Trouble, WorstLink};
pub use tracks::Tracks;
pub use value::{BadValue, share, show as show_time, time};
pub use write::write;

/// The JSON Schema of scenario files, for editors.
pub const SCHEMA: &str = include_str!("../schema.json");
