//! The settings have one definition, and `server/README.md` shows it.

use std::fmt::Write;

use clap::FromArgMatches;
use server::Config;

use super::super::command;
use super::Settings;

const BEGIN: &str = "<!-- settings: written by `INSTA_UPDATE=always cargo test -p glare settings` -->\n";
const END: &str = "<!-- end of the settings -->\n";

#[test]
fn the_readme_shows_every_setting_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/README.md");
    let readme = std::fs::read_to_string(path).expect("the server has a README");
    let (before, rest) = readme.split_once(BEGIN).expect("the settings begin");
    let (shown, after) = rest.split_once(END).expect("the settings end");
    let table = table();
    if shown != table && std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).expect("written");
        return;
    }
    assert_eq!(shown, table, "write it with INSTA_UPDATE=always");
}

/// The library and the command have the same defaults.
#[test]
fn the_defaults_of_the_settings_are_those_of_the_server() {
    let matches = command().mut_args(|argument| argument.env(None::<&str>)).get_matches_from([""; 0]);
    let config = Settings::from_arg_matches(&matches).expect("all have defaults").config().expect("they fit together");
    let default = Config::default();
    assert_eq!(config.limits, default.limits);
    assert_eq!(config.heartbeat, default.heartbeat);
    assert_eq!(config.api, default.api);
    assert_eq!(config.socketio, default.socketio);
    assert_eq!((config.stun, config.metrics), (default.stun, default.metrics));
    let (mesh, others) = config.listen.split_first().expect("it is the first of the table");
    assert_eq!(std::slice::from_ref(mesh), default.listen);
    let others: Vec<_> = others.iter().map(|listen| (listen.at.port(), &listen.dialects[..], listen.pages)).collect();
    let documents = [
        (8080, &["sender-viewer", "relay"][..], true),
        (3000, &["call"], false),
        (3001, &["call-socketio"], false),
        (5001, &["broadcast"], false),
    ];
    assert_eq!(others, documents, "the documents say so");
}

/// One row per setting. The key in the file is the flag without its dashes.
fn table() -> String {
    let mut table =
        "| Flag | Environment | Default | What it is, and what happens beyond it |\n|---|---|---|---|\n".to_owned();
    let command = command();
    for setting in command.get_arguments() {
        let flag = setting.get_long().expect("every setting has a flag");
        let env = setting.get_env().unwrap_or_else(|| panic!("--{flag} has no environment variable"));
        let help = setting.get_help().unwrap_or_else(|| panic!("--{flag} has no help")).to_string();
        let defaults: Vec<_> = setting.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match defaults.join(",") {
            none if none.is_empty() => "none".to_owned(),
            some if setting.get_action().takes_values() => format!("`{some}`"),
            switch => switch,
        };
        let values: Vec<_> =
            setting.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let values = if setting.get_action().takes_values() && !values.is_empty() {
            format!(" ({})", values.join(", "))
        } else {
            String::new()
        };
        writeln!(table, "| `--{flag}` | `{}` | {default} | {help}{values} |", env.to_string_lossy()).expect("a string");
    }
    table
}
