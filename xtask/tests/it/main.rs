//! The command line as a person, or a script, meets it.

mod action;
mod ask;
mod attacks;
mod browser;
mod campaign;
mod conformance;
mod conformance_sim;
mod container;
mod coverage;
mod dialects;
mod diff;
mod documents;
mod first_minute;
mod history;
mod hopeless;
#[path = "../../../conformance/tests/it/installed.rs"]
mod installed;
mod load;
mod matrix;
mod nat;
mod outsiders;
mod packages;
mod pages;
mod profile;
mod queue;
mod reconnects;
mod recordings;
mod report;
mod scale;
mod serve;
mod server;
mod shrink;
mod sim;
mod simulated_servers;
mod terminal;
mod threads;
mod tools;
mod withstands;

use std::process::{Command, Output};

/// Runs `glare` to its end.
fn glare(arguments: &[&str]) -> Run {
    glare_with(arguments, &[])
}

fn glare_with(arguments: &[&str], env: &[(&str, &str)]) -> Run {
    Run(program().args(arguments).envs(env.iter().copied()).output().expect("the program starts"))
}

/// The program as somebody has installed it: not called by cargo, and with a cache folder of these tests.
fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_glare"));
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");
    program.env("XDG_CACHE_HOME", cache).env_remove("CARGO").env_remove("CARGO_MANIFEST_DIR");
    program
}

struct Run(Output);

impl Run {
    fn code(&self) -> i32 {
        self.0.status.code().expect("no signal ended it")
    }

    fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).expect("UTF-8")
    }

    fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).expect("UTF-8")
    }
}
