//! Results for people and for CI.
//!
//! A report reads outcomes and nothing else: it never plays, never judges.

mod json;
mod replay;
mod style;
mod sweep;
mod text;
mod write;

pub use json::result_json;
pub use replay::Replay;
pub use sweep::{Seed, Sweep};
pub use text::{crash, mismatch, outcome};
pub use write::{write_crash, write_outcome};
