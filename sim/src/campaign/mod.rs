//! Scenarios that nobody wrote: the generator of random ones.

mod generate;

pub use generate::{Profile, generate};
