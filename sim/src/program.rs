//! A server program of others on a machine of a world that plays no scenario: the conformance suite runs in such worlds.

use std::error::Error;
use std::fmt;

use scenarios::ServerProgram;

use crate::foreign::Foreign;
use crate::host::Host;
use crate::stage::outsider;

/// A program that runs on a machine. The end of the world kills all its processes.
pub struct Program(Foreign);

/// Why a program cannot be reached.
#[derive(Clone, Debug)]
pub struct NotReached(String);

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for NotReached {}

impl Program {
    /// Starts a program on a machine and waits, in virtual time, until it listens. Returns it with its TCP port. `seed`
    /// determines its random numbers.
    ///
    /// # Errors
    /// It does not exist, cannot be simulated, or does not listen; with what was seen of it.
    pub async fn start(host: &Host, program: &ServerProgram, seed: u64) -> Result<(Self, u16), NotReached> {
        let reached = async {
            let foreign = outsider::start(host, program, seed)?;
            let port = outsider::listening(&foreign, program).await?;
            Ok((Self(foreign), port))
        };
        reached.await.map_err(|error: crate::stage::StageError| NotReached(error.to_string()))
    }

    /// Why it does not run any more, with the last lines that it printed; `None` while it runs.
    pub fn ended(&self) -> Option<String> {
        outsider::ended(&self.0)
    }
}
