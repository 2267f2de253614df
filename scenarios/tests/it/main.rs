//! What scenario files expand to, and what is said about wrong ones.

mod errors;
mod expand;
mod mutated;
mod shipped;
mod write;
