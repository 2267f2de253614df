//! The recipes of `reports/CI.md`, run as they are printed: with this build in place of the package, and another port.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{executable, packed, read, root, said, scratch};
use crate::tools;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A project with a server in `server.js`, and programs in `bin` that stand for npm's.
fn project(name: &str, port: u16) -> Option<PathBuf> {
    let modules = tools::npm("ws", &["ws@8.23.0"])?;
    let folder = scratch(name);
    std::os::unix::fs::symlink(modules.join("node_modules"), folder.join("node_modules")).expect("a scratch folder");
    fs::copy(root().join("sim/tests/servers/mesh.mjs"), folder.join("mesh.mjs")).expect("a scratch file");
    let server = format!("setTimeout(() => {{ process.env.PORT = {port}; import('./mesh.mjs'); }}, 1500);\n");
    fs::write(folder.join("server.js"), server).expect("a scratch file");
    fs::create_dir(folder.join("bin")).expect("a scratch folder");
    let npx = format!(
        "#!/bin/sh\n[ \"$1 $2\" = '--yes @glare-webrtc/glare@{VERSION}' ] || exit 99\nshift 2\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_glare")
    );
    executable(&folder.join("bin/npx"), npx.as_bytes());
    executable(&folder.join("bin/npm"), b"#!/bin/sh\n[ \"$*\" = ci ]\n");
    Some(folder)
}

fn run(folder: &Path, line: &str, port: u16) -> Output {
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").expect("there are programs"));
    let mut sh = Command::new("sh");
    sh.args(["-ec", &line.replace("8080", &port.to_string())])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("CARGO");
    sh.output().expect("sh starts")
}

/// The lines of a recipe's code block, below this heading.
fn recipe(heading: &str) -> String {
    let text = read("reports/CI.md");
    let (_, section) = text.split_once(&format!("## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let (_, block) = section.split_once("\n```").expect("a code block");
    let (block, _) = block.split_once("\n```").expect("it ends");
    block.split_once('\n').expect("a language").1.to_owned()
}

/// Runs a recipe's commands: the first ones test, the last ones report even if a case has failed.
fn plays(name: &str, commands: &[String]) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("it has one").port();
    let Some(folder) = project(name, port) else { return };
    for command in commands {
        let done = run(&folder, command, port);
        let code = done.status.code();
        assert!(code == Some(0) || command.contains("conformance") && code == Some(1), "{command}\n{done:?}");
    }
    let junit = fs::read_to_string(folder.join("glare-result/junit.xml")).expect("the recipe writes it");
    assert!(junit.contains("<testcase") && junit.contains("room/join-ack"), "{junit}");
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "the server was ended");
}

#[test]
fn gitlab() {
    let commands: Vec<_> =
        recipe("GitLab").lines().filter_map(|line| line.strip_prefix("    - ").map(str::to_owned)).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    plays("recipe-gitlab", &commands);
}

#[test]
fn jenkins() {
    let commands: Vec<_> = recipe("Jenkins")
        .lines()
        .filter_map(|line| Some(line.split_once("sh '")?.1.split_once('\'')?.0.to_owned()))
        .collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    plays("recipe-jenkins", &commands);
}

#[test]
fn github() {
    let recipe = recipe("GitHub");
    assert!(recipe.contains(&format!("uses: glare-webrtc/glare@v{VERSION}\n")), "{recipe}");
    let inputs = recipe.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    let action = read("action.yml");
    let mut count = 0;
    for (input, _) in inputs {
        assert!(action.contains(&format!("\n  {input}:\n")), "{input} is an input");
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn without_node() {
    let Some(packed) = packed() else { return };
    let folder = scratch("recipe-download");
    fs::create_dir_all(folder.join("releases")).expect("a scratch folder");
    std::os::unix::fs::symlink(packed, folder.join(format!("releases/v{VERSION}"))).expect("a scratch folder");
    let releases = format!("file://{}/releases", folder.display());
    let from = format!("{}/releases/download", env!("CARGO_PKG_REPOSITORY"));
    let line = recipe("Without Node");
    assert!(line.contains(&from) && line.contains("/usr/local/bin"), "{line}");
    let bin = folder.join("bin").display().to_string();
    let line =
        format!("export GLARE_RELEASES={releases}\n{}", line.replace(&from, &releases).replace("/usr/local/bin", &bin));
    let done = run(&folder, &line, 0);
    assert!(done.status.success() && folder.join("bin/glare").exists(), "{:?}", said(&done));
}
