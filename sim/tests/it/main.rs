//! What the simulator promises, tested from outside.

mod build;
mod determinism;
mod faults;
mod loss;
mod matrix;
mod nat;
mod nat_model;
mod negotiation;
mod oracle;
mod oracle_roles;
mod properties;
mod reachability;
mod sources;
mod stories;
