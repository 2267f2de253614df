//! The flags that put a server program into the simulated world.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::anyhow;
use scenarios::{Scenario, ServerProgram};

/// A server program in place of the reference server.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ServerFlags {
    /// Server program to run in place of the reference server, as a shell would read it: 'node server.js'
    #[arg(long, value_name = "COMMAND")]
    pub(crate) server: Option<String>,
    /// TCP port of the program's signaling [default: the first port on which it listens]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Environment variable of the program; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<Variable>,
    /// Folder in which the program starts [default: the current folder]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// What a server program does in a scenario that was written for the reference server.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(crate) struct HeartbeatFlag {
    /// Heartbeat interval of the server program in seconds; a vanished client must be detected within four intervals plus 5 s
    /// [default: that of the scenario]
    #[arg(long, value_name = "SECONDS", requires = "server", value_parser = clap::value_parser!(u32).range(1..=3600))]
    heartbeat: Option<u32>,
}

impl HeartbeatFlag {
    /// Judges the server of a scenario by this heartbeat.
    pub(crate) fn set(self, scenario: &mut Scenario) {
        if let Some(seconds) = self.heartbeat {
            scenario.server.heartbeat = Duration::from_secs(seconds.into());
        }
    }

    /// The words of the command line that give it.
    pub(crate) fn words(self) -> impl Iterator<Item = String> {
        self.heartbeat.into_iter().flat_map(|seconds| ["--heartbeat".to_owned(), seconds.to_string()])
    }
}

/// `NAME=VALUE`
#[derive(Clone, Debug)]
struct Variable(String, String);

impl FromStr for Variable {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, value) = text.split_once('=').ok_or_else(|| anyhow!("`{text}` is not `NAME=VALUE`"))?;
        match scenarios::bad_variable(name, value) {
            Some(wrong) => Err(anyhow!(wrong)),
            None => Ok(Self(name.to_owned(), value.to_owned())),
        }
    }
}

impl ServerFlags {
    /// The program, where `given` is one that the flags may change, such as that of a scenario file.
    ///
    /// # Errors
    /// The command cannot be read, or flags are given for a program that there is not.
    pub(crate) fn program(&self, given: Option<ServerProgram>) -> anyhow::Result<Option<ServerProgram>> {
        let program = match &self.server {
            Some(command) => {
                let words = shlex::split(command).filter(|words| !words.is_empty());
                let run =
                    words.ok_or_else(|| anyhow!("--server {command:?} is not a command: are all quotes closed?"))?;
                Some(ServerProgram { run, ..ServerProgram::default() })
            }
            None => given,
        };
        let Some(mut program) = program else {
            let has_flags = self.port.is_some() || !self.env.is_empty() || self.directory.is_some();
            anyhow::ensure!(!has_flags, "--port, --env and --directory are for a server program: add --server");
            return Ok(None);
        };
        program.port = self.port.or(program.port);
        program.env.extend(self.env.iter().map(|Variable(name, value)| (name.clone(), value.clone())));
        program.directory = self.directory.clone().or(program.directory);
        Ok(Some(program))
    }

    /// The words of the command line that give the program.
    pub(crate) fn words(&self) -> Vec<String> {
        let port = self.port.map(|port| port.to_string());
        let directory = self.directory.as_ref().map(|directory| directory.display().to_string());
        let single = [("--server", self.server.clone()), ("--port", port), ("--directory", directory)];
        let single = single.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
        let env = self.env.iter().map(|Variable(name, value)| ["--env".to_owned(), format!("{name}={value}")]);
        single.chain(env).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_takes_the_place_of_the_scenarios() {
        let mut scenario = scenarios::load("half-open-client").expect("it is shipped");
        let of_scenario = scenario.server.heartbeat;
        HeartbeatFlag::default().set(&mut scenario);
        assert_eq!(scenario.server.heartbeat, of_scenario);
        let flag = HeartbeatFlag { heartbeat: Some(45) };
        flag.set(&mut scenario);
        assert_eq!(scenario.server.heartbeat, Duration::from_secs(45));
        assert_eq!(flag.words().collect::<Vec<_>>(), ["--heartbeat", "45"]);
    }
}
