//! The settings have one definition, and `server/README.md` shows it.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use clap::FromArgMatches;
use server::Config;

use super::super::{command, file};
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

#[test]
fn an_element_of_a_list_in_the_file_is_one_value_and_a_flag_is_split_at_commas() {
    let text = r#"
        turn-users = ["ana:correct,horse:battery", "ben:x"]
        tokens = ["a,b", "c"]
        ice-urls = "stun:a.test,stun:b.test"
    "#;
    let of_file = from(text, &[]).expect("it reads");
    let users = [("ana", "correct,horse:battery"), ("ben", "x")].map(|(name, word)| (name.to_owned(), word.to_owned()));
    assert_eq!(of_file.turn_users, users);
    assert_eq!(of_file.tokens, ["a,b", "c"]);
    assert_eq!(of_file.ice_urls, ["stun:a.test,stun:b.test"]);
    let of_flags = from(text, &["--turn-users", "cid:y,dan:z", "--tokens", "d,e", "--tokens", "f"]).expect("it reads");
    assert_eq!(
        of_flags.turn_users,
        [("cid", "y"), ("dan", "z")].map(|(name, word)| (name.to_owned(), word.to_owned()))
    );
    assert_eq!(of_flags.tokens, ["d", "e", "f"]);
    assert_eq!(of_flags.ice_urls, of_file.ice_urls);
    let wrong = from(r#"dialects = ["mesh,call"]"#, &[]).err().expect("no dialect is called so").to_string();
    assert!(wrong.contains(":1: invalid value 'mesh,call' for 'dialects <NAME,…>'"), "{wrong}");
}

#[test]
fn a_setting_that_lacks_another_one_says_which() {
    for (flags, right) in [
        (&["--stun-tls-port", "5349"][..], "--stun-tls-port needs --tls-cert and --tls-key"),
        (&["--tls-cert", "cert.pem"], "--tls-cert needs --tls-key"),
    ] {
        let why = from("", flags).expect("each is right").config().expect_err("not together").to_string();
        assert!(why.starts_with(right), "{why}");
    }
    for (flag, wrong) in
        [("threads", "0"), ("proxy-protocol", "10.0.0.1/8"), ("drain", "soon"), ("turn-relay-host", "here")]
    {
        let why = from(&format!("{flag} = \"{wrong}\""), &[]).err().expect(wrong).to_string();
        assert!(why.contains(&format!(":1: invalid value '{wrong}' for '{flag} ")), "{why}");
    }
}

#[test]
fn each_family_has_its_relay_address() {
    let relays = |flags: &[&str]| {
        let flags = [flags, &["--turn-secret", "s"]].concat();
        let turn = from("", &flags).expect("it reads").config().expect("it fits").turn.expect("it is on");
        turn.relay_addresses.iter().map(|one| format!("{} {}", one.bind, one.advertised)).collect::<Vec<_>>()
    };
    assert_eq!(relays(&[]), ["127.0.0.1 127.0.0.1"]);
    assert_eq!(relays(&["--turn-external-ip", "203.0.113.5"]), ["127.0.0.1 203.0.113.5"]);
    let both = ["--turn-relay-host", "10.0.0.5,2001:db8::5", "--turn-external-ip", "203.0.113.5"];
    assert_eq!(relays(&both), ["10.0.0.5 203.0.113.5", "2001:db8::5 2001:db8::5"]);
}

/// The settings with a file and flags, without the environment.
fn from(text: &str, flags: &[&str]) -> anyhow::Result<Settings> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("glare-settings-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text)?;
    let bare = || command().mut_args(|argument| argument.env(None::<&str>));
    let command = file::apply(bare(), &path, &bare().get_matches_from(flags));
    std::fs::remove_file(&path)?;
    Ok(Settings::from_arg_matches(&command?.get_matches_from(flags))?)
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
