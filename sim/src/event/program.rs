//! What a server program of others does, apart from the packets that it sends.

use std::sync::Arc;

use serde::Serialize;

/// An event of a program that is not part of Glare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ProgramEvent {
    /// It listens on a TCP port.
    Listens {
        /// The port.
        port: u16,
    },
    /// It has printed a line, on standard output or standard error.
    Printed {
        /// The line.
        text: Arc<str>,
    },
    /// Its last process has ended.
    Ended {
        /// How: `with code 1`, `by SIGKILL`.
        how: Arc<str>,
    },
    /// It is killed because it has not ended in time after it was told to.
    Overdue,
    /// It cannot be simulated any further.
    Lost {
        /// The reason.
        why: Arc<str>,
    },
}
