//! What happens in a simulation: scenario files and their schema.

mod nat;
mod scenario;

pub use nat::*;
pub use scenario::*;
