//! The command line as a person, or a script, meets it.

mod action;
mod conformance;
mod conformance_sim;
mod container;
mod dialects;
mod diff;
mod history;
mod hopeless;
mod load;
mod outsiders;
#[path = "../../../conformance/tests/it/packages.rs"]
mod packages;
mod reconnects;
mod recordings;
mod report;
mod serve;
mod server;
mod sim;
mod simulated_servers;
mod terminal;
mod tools;

use std::process::{Command, Output};

/// Runs `glare` to its end.
fn glare(arguments: &[&str]) -> Run {
    glare_with(arguments, &[])
}

fn glare_with(arguments: &[&str], env: &[(&str, &str)]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_glare"))
        .args(arguments)
        .envs(env.iter().copied())
        .env_remove("CARGO")
        .output()
        .expect("the program starts");
    Run(output)
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
