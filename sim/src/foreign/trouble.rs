//! Why a program cannot take part in a simulation.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a program cannot be started, or cannot be simulated.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The command is empty.
    NoCommand,
    /// There is no program of this name, on the search path or in the folder.
    NotFound { word: String, looked: String },
    /// The folder to start it in does not exist.
    NoFolder(PathBuf),
    /// The file is not a program, or may not be run.
    NotRunnable { path: PathBuf, why: String },
    /// The program is linked statically.
    Static(PathBuf),
    /// The program gets rights from its file, so that nothing may be preloaded.
    Privileged { path: PathBuf, by: &'static str },
    /// The program uses another C library.
    OtherLibrary { path: PathBuf, loader: String },
    /// The system refused something.
    System(io::Error),
    /// The program has used the processor for long without waiting for anything, or does not go on.
    NeverRests { processes: String, used: Duration, real: Duration },
    /// A process started and did not load the library.
    NotLoaded { process: String },
    /// A process sent something that is not part of the protocol.
    NotUnderstood(String),
}

impl Trouble {
    /// Whether it says that no library can be preloaded.
    pub(super) fn is_about_loading(&self) -> bool {
        matches!(self, Self::Static(_) | Self::Privileged { .. } | Self::OtherLibrary { .. })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("the command is empty"),
            Self::NotFound { word, looked } => write!(f, "there is no program `{word}`{looked}"),
            Self::NoFolder(path) => write!(f, "there is no folder {}", path.display()),
            Self::NotRunnable { path, why } => write!(f, "{} cannot be run: {why}", path.display()),
            Self::Static(path) => write!(
                f,
                "{} is linked statically, so its system calls cannot be simulated: link it dynamically (for Go: a build with cgo and `-linkmode external`), or test a server on real sockets with `conformance --url`",
                path.display()
            ),
            Self::Privileged { path, by } => write!(
                f,
                "{} {by}, so no library can be preloaded: run a copy of the file without it, or test a server on real sockets with `conformance --url`",
                path.display()
            ),
            Self::OtherLibrary { path, loader } => write!(
                f,
                "{} uses the C library of {loader}: only programs for glibc can be simulated; use a glibc build, or test a server on real sockets with `conformance --url`",
                path.display()
            ),
            Self::System(error) => write!(f, "the program cannot be started: {error}"),
            Self::NeverRests { processes, used, real } => write!(
                f,
                "the program has used the processor for {} s, within {} s of real time, without waiting for anything ({processes}): does it spin?",
                used.as_secs(),
                real.as_secs()
            ),
            Self::NotLoaded { process } => write!(
                f,
                "{process} has started without the preloaded library: it is linked statically or has cleared its environment; a server can be tested on real sockets with `conformance --url`"
            ),
            Self::NotUnderstood(text) => write!(f, "the preloaded library sent {text:?}, which is not in its protocol"),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.into())
    }
}
