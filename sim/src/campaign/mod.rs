//! Many scenarios: random ones that are derived from a seed, and the smallest that fails in the
//! same way as another.

mod generate;
pub mod shrink;

pub use generate::{Profile, generate};
