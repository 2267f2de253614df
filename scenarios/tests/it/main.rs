//! How scenario files are expanded, and the errors about invalid ones.

mod errors;
mod expand;
mod mutated;
mod schema;
mod shipped;
mod write;
