//! What the simulator promises, tested from outside.

mod nat;
mod nat_model;
mod reachability;
