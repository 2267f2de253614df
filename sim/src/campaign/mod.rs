//! Many scenarios: random ones that are derived from a string of bytes, and so from a seed; all small variations of one;
//! and the smallest that fails in the same way as another.
//!
//! | file | what it does |
//! |---|---|
//! | `draw` | draws numbers, links and NATs from a string of bytes |
//! | `generate` | draws a scenario |
//! | `target` | what is tested, and how stories fit its dialect |
//! | `play` | plays a story, and says which situations it reached |
//! | `vary` | changes the bytes of a story |
//! | [`exhaustive`] | plays all small variations of a scenario |
//! | [`shrink`] | makes a failing scenario smaller |

mod draw;
pub mod exhaustive;
mod generate;
mod play;
pub mod shrink;
mod target;
mod vary;

pub use generate::{bytes_of, generate, generate_from};
pub use play::{Played, play};
pub use target::{Target, adapted};
pub use vary::vary;
