//! `glare mutants --scenario FILE`: plays a scenario against servers that are broken on purpose, and says what became of its
//! clients. This is how users test a client program of theirs.

mod aftermath;
mod play;
mod table;

#[cfg(test)]
pub(super) use play::play;
pub(super) use play::run;
