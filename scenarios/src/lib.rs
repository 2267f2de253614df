//! What happens in a simulation: scenario files and their schema.
//!
//! A scenario is a TOML file, documented in `README.md`. It goes one way: text → `file` (the keys as they are written) → `expand` (profiles
//! and names looked up, counts expanded, addresses assigned, everything checked) → [`Scenario`], which the simulator takes.
//!
//! ```
//! let scenario = scenarios::load("mesh-3")?;
//! assert_eq!(scenario.actors.len(), 3);
//! # Ok::<(), scenarios::Error>(())
//! ```

mod address;
mod assign;
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

pub use error::{Error, Problem, instead};
pub use load::{load, parse};
pub use nat::*;
pub use probes::PROBES;
pub use role::{Dialect, Framing, Role};
pub use scenario::*;
pub use shipped::{Profile, Shipped, profile, profiles, shipped};
pub use value::{share, time};
