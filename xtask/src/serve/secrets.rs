//! Errors of the command line that do not show the values of secret settings: others may read the terminal or the log
//! of a supervisor.
//!
//! A setting is secret if `--help` hides its value in the environment.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};

/// The error without the value that it complains about, if that is the value of a secret one of these arguments.
pub(super) fn hidden<'a>(mut error: Error, arguments: impl IntoIterator<Item = &'a Arg>) -> Error {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return error };
    let named = named.split_whitespace().next().and_then(|flag| flag.strip_prefix("--"));
    let is_named = |argument: &Arg| argument.is_hide_env_values_set() && argument.get_long() == named;
    if named.is_some() && arguments.into_iter().any(is_named) {
        error.insert(ContextKind::InvalidValue, ContextValue::String("(hidden)".to_owned()));
    }
    error
}

/// The secret flag whose value the shell has split, or that begins with a dash: a word stands behind it that is no flag
/// and not its value.
pub(super) fn split_value<'a>(command: &'a Command, arguments: &[String]) -> Option<&'a str> {
    let mut open = None;
    let mut has_value = false;
    for word in arguments {
        let flag =
            word.strip_prefix("--").map(|flag| flag.split_once('=').map_or((flag, false), |(flag, _)| (flag, true)));
        let known = flag.and_then(|(flag, is_filled)| {
            let argument = command.get_arguments().find(|argument| argument.get_long() == Some(flag))?;
            Some((argument, is_filled))
        });
        match known {
            Some((argument, is_filled)) => {
                open = argument.get_long().filter(|_| argument.is_hide_env_values_set());
                has_value = is_filled;
            }
            None if open.is_none() => {}
            None => match (has_value, word.starts_with('-')) {
                (false, false) => has_value = true,
                // An unknown flag behind the value is a slip of its own.
                (true, true) => open = None,
                (true, false) | (false, true) => return open,
            },
        }
    }
    None
}

/// What to say about it instead of quoting the word.
pub(super) fn split_error(flag: &str) -> Error {
    let message = format!(
        "the value of '--{flag}' is not one word that begins without a dash: write '--{flag}=VALUE', with quotes if it has spaces\n"
    );
    Error::raw(ErrorKind::UnknownArgument, message)
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    fn split(words: &[&str]) -> Option<String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        split_value(&command(), &words).map(str::to_owned)
    }

    #[test]
    fn a_split_secret_is_told_from_another_slip() {
        for words in [
            &["--room-secret", "my", "phrase"][..],
            &["--room-secret=my", "phrase"],
            &["--port", "1", "--room-secret", "-phrase"],
            &["--room-secret", "--phrase", "--port", "1"],
        ] {
            assert_eq!(split(words).as_deref(), Some("room-secret"), "{words:?}");
        }
        for words in [
            &["--room-secret", "phrase", "--prot", "1"][..],
            &["--room-secret", "phrase", "--port", "1", "2"],
            &["--port", "1", "x"],
        ] {
            assert_eq!(split(words), None, "{words:?}");
        }
    }
}
