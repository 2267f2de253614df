//! Many scenarios: random ones that are derived from a seed, all small variations of one, and the smallest that fails in the
//! same way as another.

pub mod exhaustive;
mod generate;
pub mod shrink;

pub use generate::{Profile, generate};
