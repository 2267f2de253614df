//! What happens in a simulation: scenario files and their schema.
//!
//! A scenario is a TOML file, documented in `README.md`. [`load`] and [`parse`] read one, [`Builder`] makes one in Rust, [`write`] turns
//! one into a file again.
//!
//! | file | what it does |
//! |---|---|
//! | `scenario` | [`Scenario`], as the simulator takes it: names looked up, everything checked |
//! | `nat`, `role`, `probes` | the words of scenarios: what NATs do, what actors play, which situations a scenario can aim at |
//! | `load` | from a name or a path to a scenario |
//! | `table`, `value`, `error` | reads TOML key by key and collects all problems, each with its line |
//! | `file`, `profile` | the keys of scenario files and of NAT profiles, as they are written |
//! | `expand` | from the file to the scenario: looks up profiles and names, expands counts |
//! | `draft`, `assign`, `address` | the scenario in the making, and who gets which address |
//! | `steps`, `dry_run` | the steps with their names looked up, and whether each would do anything |
//! | `shipped` | the scenarios and profiles that are part of the program |
//! | `build`, `write` | scenarios made in Rust, and scenarios as files |
//!
//! Text goes one way: `table` → `file` → `expand` (with `assign` and `steps`) → [`Scenario`].
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
mod load;
mod nat;
mod probes;
mod profile;
mod role;
mod scenario;
mod shipped;
mod steps;
mod table;
mod value;
mod write;

pub use build::Builder;
pub use error::{Error, Problem, instead};
pub use load::{load, parse};
pub use nat::*;
pub use probes::PROBES;
pub use role::{Dialect, Framing, Role};
pub use scenario::*;
pub use shipped::{Profile, Shipped, profile, profiles, shipped};
pub use value::{share, time};
pub use write::write;
