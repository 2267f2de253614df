//! Why a scenario could not be run to its end.

use std::{fmt, io};

use crate::run::Cause;

/// Why a run stopped. The server is not the reason: the defect is in Glare, or this machine lacks something.
#[derive(Debug)]
pub(crate) enum StageError {
    /// This machine has no more sockets or threads.
    Machine(io::Error),
    /// The client of an actor failed to run.
    Client { actor: String, error: io::Error },
    /// The client of an actor panicked.
    ClientPanicked { actor: String },
    /// The step starts or ends a server that the ground only knows by its URL.
    NotOurs,
    /// The step changes the link of such a server.
    ServerLink,
    /// The step needs a NAT.
    NoNats,
    /// The step cannot be taken in network namespaces.
    NotInNamespaces,
    /// The server's program cannot be started, or cannot be simulated.
    Program(String),
    /// The server's program runs, but its signaling cannot be reached.
    Unreachable(String),
    /// The browser of an actor does not work.
    Browser(String),
}

impl StageError {
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Program(_) | Self::Unreachable(_) => Cause::Server,
            _ => Cause::Glare,
        }
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(error) => error.fmt(f),
            Self::Client { actor, error } => write!(f, "{actor}'s client failed to run: {error}"),
            Self::ClientPanicked { actor } => write!(f, "{actor}'s client panicked"),
            Self::NotOurs => f.write_str("the server at the URL cannot be switched off"),
            Self::ServerLink => f.write_str("the server's link exists only in simulations"),
            Self::NoNats => f.write_str("NATs exist only in simulations"),
            Self::NotInNamespaces => f.write_str("this step is not possible in network namespaces"),
            Self::Program(why) | Self::Unreachable(why) | Self::Browser(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for StageError {
    fn from(error: io::Error) -> Self {
        Self::Machine(error)
    }
}
