//! The settings file: a TOML table whose values become the defaults of the command, so that flags and the environment
//! override them. Every value is parsed like the value of its flag.

use std::path::Path;

use anyhow::{anyhow, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::de::{DeTable, DeValue};

use super::secrets;

/// Sets the defaults of a command from a file, except for what the `given` flags and environment set.
///
/// # Errors
/// The file is invalid; the message names the file, the line and what would be right.
pub(super) fn apply(mut command: Command, path: &Path, given: &ArgMatches) -> anyhow::Result<Command> {
    let name = path.display();
    let text = match scenarios::read_file(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => bail!("{name}: not UTF-8: save the file as UTF-8 text"),
        Err(why) => bail!("{name}: cannot be read: {why}"),
    };
    let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let table = match DeTable::parse(&text) {
        Ok(table) => table.into_inner(),
        Err(why) => bail!("{name}:{}: not TOML: {}", line(why.span().map_or(0, |span| span.start)), why.message()),
    };
    for (key, value) in &table {
        let line = line(key.span().start);
        // When the file is read, it is too late to set `config`.
        let known = |argument: &&Arg| argument.get_long().is_some_and(|long| long != "config" && long != "help");
        let names: Vec<_> = command.get_arguments().filter(known).filter_map(Arg::get_long).collect();
        let wanted: &str = key.get_ref();
        let Some(argument) = command.get_arguments().filter(known).find(|known| known.get_long() == Some(wanted))
        else {
            let instead = scenarios::instead(wanted, "settings", names.into_iter());
            bail!("{name}:{line}: there is no setting `{wanted}`{instead}");
        };
        let values = match values(value.get_ref(), argument) {
            Ok(values) => values,
            Err(right) => bail!("{name}:{line}: {wanted} must be {right}"),
        };
        if let Err(why) = check(argument, &values) {
            bail!("{name}:{line}: {why}");
        }
        let id = argument.get_id().clone();
        let source = given.value_source(id.as_str());
        if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        // clap needs defaults that live as long as the process.
        let values: Vec<&'static str> = values.into_iter().map(|value| &*value.leak()).collect();
        command = command.mut_arg(id, |argument| undivided(argument).default_values(values));
    }
    Ok(command)
}

/// A value in the form in which a flag takes it; several if the setting is a list. The error says what would be right.
fn values(value: &DeValue<'_>, argument: &Arg) -> Result<Vec<String>, &'static str> {
    let is_list = argument.get_value_delimiter().is_some();
    let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
    match value {
        DeValue::Boolean(value) if is_switch => Ok(vec![value.to_string()]),
        _ if is_switch => Err("true or false"),
        DeValue::Array(values) if is_list => {
            let texts = values.iter().map(|value| scalar(value.get_ref()));
            texts.collect::<Option<_>>().ok_or("a list of strings")
        }
        value => scalar(value).map(|value| vec![value]).ok_or(if is_list { "a list of strings" } else { "one value" }),
    }
}

/// The setting without the comma that separates values in a flag: in a list, each element is one value, commas
/// included.
fn undivided(argument: Arg) -> Arg {
    argument.value_delimiter(None::<char>)
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "")),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Parses the values as the flag's values would be parsed.
fn check(argument: &Arg, values: &[String]) -> anyhow::Result<()> {
    let (Some(long), false) = (argument.get_long(), matches!(argument.get_action(), ArgAction::SetTrue)) else {
        return Ok(());
    };
    let alone = Command::new("setting").no_binary_name(true).arg(undivided(argument.clone()).env(None::<&str>));
    let given = values.iter().map(|value| format!("--{long}={value}"));
    // A list is passed as one flag per value, a single value as one flag.
    let alone =
        if values.len() > 1 { alone.mut_arg(argument.get_id(), |a| a.action(ArgAction::Append)) } else { alone };
    match alone.try_get_matches_from(given) {
        Ok(_) => Ok(()),
        Err(why) => {
            let why = secrets::hidden(why, [argument]).to_string();
            let lines = why.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("For more"));
            let lines = lines.collect::<Vec<_>>().join(" ");
            Err(anyhow!(lines.trim_start_matches("error: ").replace(&format!("--{long}"), long)))
        }
    }
}
