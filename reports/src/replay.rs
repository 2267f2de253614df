//! The command that replays a run.

use std::fmt;

/// The name under which this program was called, so that the command can be pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// `cargo xtask` or `glare`.
    pub program: String,
    /// The scenario's name or file, as given.
    pub scenario: String,
    /// Further words that change the run, such as those of the server's command.
    pub options: Vec<String>,
}

impl Replay {
    /// The command for a seed.
    pub fn line(&self, seed: u64) -> String {
        let command = format!("{} sim --scenario {}", self.program, Quoted(&self.scenario));
        format!("{} --seed {seed}", command_line(&command, self.options.iter().cloned()))
    }
}

/// A command with its arguments, ready for a POSIX shell. `program` may be several words.
pub fn command_line(program: &str, arguments: impl IntoIterator<Item = String>) -> String {
    arguments.into_iter().fold(program.to_owned(), |line, argument| format!("{line} {}", Quoted(&argument)))
}

/// A word for a POSIX shell.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "'{}'", self.0.replace('\'', r"'\''"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_and_quotes_can_be_pasted() {
        let of = |scenario: &str, options: &[&str]| Replay {
            program: "glare".to_owned(),
            scenario: scenario.to_owned(),
            options: options.iter().map(|word| (*word).to_owned()).collect(),
        };
        let replay = |scenario| of(scenario, &[]).line(7);
        assert_eq!(replay("mesh-6"), "glare sim --scenario mesh-6 --seed 7");
        assert_eq!(replay("my call's.toml"), r"glare sim --scenario 'my call'\''s.toml' --seed 7");
        let with_server = of("mesh-3", &["--server", "node server.js"]).line(7);
        assert_eq!(with_server, "glare sim --scenario mesh-3 --server 'node server.js' --seed 7");
    }
}
