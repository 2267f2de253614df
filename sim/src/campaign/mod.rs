//! Generated scenarios: random ones that are derived from a seed.

mod generate;

pub use generate::{Profile, generate};
