//! Campaigns beyond one machine: stories wait as work in a queue of NATS JetStream, and any number of workers play them.
//!
//! The campaign's store is the truth, and the queue only speeds it up: whatever the queue loses is published again, and
//! whatever it delivers twice is stored once. A result is acknowledged after the transaction that stores it, work after its
//! results are in the queue.

mod link;
mod play;
mod wire;
mod worker;

pub(super) use link::{Flags, Trouble};
pub(super) use play::Queue;
pub(super) use wire::{Played, Results, Task, Work};
pub(crate) use worker::{Arguments as WorkerArguments, run as worker};
