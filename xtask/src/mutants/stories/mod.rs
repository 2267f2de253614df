//! `glare mutants --stories N`: plays generated stories in a simulator that is broken on purpose, and says which defects its
//! oracles find: those of the server, and those of clients and of the network, which no suite on a wire can see.

mod play;
mod reach;
mod table;

pub(super) use play::run;
pub(super) use reach::Beyond;
#[cfg(test)]
pub(super) use {play::play, table::Verdict};
