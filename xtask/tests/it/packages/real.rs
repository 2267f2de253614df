//! The program that is released, built, packed, installed and run as a release is: it takes minutes.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{has, read, root, said, scratch, script};
use crate::{glare, tools};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The parts run one after the other, because each takes what the one before has made.
#[test]
#[ignore = "builds the released program, which takes minutes"]
fn a_release_is_built_and_packed_and_runs_from_every_package() {
    let built = script("build", &[]);
    assert!(built.status.success(), "{built:?}");
    let archive = PathBuf::from(said(&built).1.trim());
    let checked = script("check", &[archive.to_str().expect("UTF-8")]);
    println!("{}", said(&checked).1);
    assert!(checked.status.success(), "{checked:?}");

    let folder = scratch("real");
    fs::copy(&archive, folder.join(archive.file_name().expect("a file"))).expect("a scratch file");
    let packed = script("pack", &[folder.to_str().expect("UTF-8")]);
    assert!(packed.status.success(), "{packed:?}");

    let programs = [from_npm(&folder), from_pypi(&folder), from_a_download(&folder)];
    for program in programs {
        plays_what_this_build_plays(&program);
        plays_servers_of_others(&program);
        tests_a_real_server(&program);
    }
}

fn from_npm(packed: &Path) -> PathBuf {
    let folder = scratch("real-npm");
    let files = ["glare", "linux-x64"].map(|name| packed.join(format!("glare-webrtc-{name}-{VERSION}.tgz")));
    let mut npm = Command::new("npm");
    npm.args(["install", "--offline", "--no-audit", "--no-fund"]).args(files).current_dir(&folder);
    succeeds(npm.output());
    folder.join("node_modules/.bin/glare")
}

fn from_pypi(packed: &Path) -> PathBuf {
    let folder = scratch("real-pypi");
    succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder).output());
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--no-index", "--find-links"]).arg(packed).arg("glare-webrtc");
    succeeds(pip.output());
    folder.join("bin/glare")
}

fn from_a_download(packed: &Path) -> PathBuf {
    let folder = scratch("real-download");
    fs::create_dir(folder.join("releases")).expect("a scratch folder");
    std::os::unix::fs::symlink(packed, folder.join(format!("releases/v{VERSION}"))).expect("a scratch folder");
    let mut sh = Command::new("sh");
    sh.arg(packed.join("install.sh")).args([VERSION]).arg(folder.join("bin"));
    succeeds(sh.env("GLARE_RELEASES", format!("file://{}/releases", folder.display())).output());
    folder.join("bin/glare")
}

/// The hashes of runs, and all else that they print, are those of a debug build.
fn plays_what_this_build_plays(program: &Path) {
    for arguments in [
        &["sim", "--scenario", "mesh-6"][..],
        &["sim", "--scenario", "mesh-6-churn", "--seed", "7"],
        &["sim", "--scenario", "call-accept", "--seed", "3"],
        &["conformance", "--sim", "--dialect", "mesh", "--seed", "7"],
    ] {
        let released = run(program, arguments);
        assert_eq!(without_durations(&released), without_durations(&glare(arguments).out()), "{arguments:?}");
    }
}

/// The embedded library works: a server in Python, in virtual time.
fn plays_servers_of_others(program: &Path) {
    if !has("python3") {
        return;
    }
    let modules = scratch("real-server");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "websockets==17.4", "--target"]).arg(&modules);
    let Ok(true) = pip.status().map(|status| status.success()) else {
        eprintln!("SKIPPED: the server's package cannot be had");
        return;
    };
    let server =
        format!("env PYTHONPATH={} python3 {}", modules.display(), root().join("sim/tests/servers/mesh.py").display());
    let arguments = ["sim", "--scenario", "mesh-3", "--server", &server];
    let released = run(program, &arguments);
    assert!(released.contains("all 3 pairs connected"), "{released}");
    assert_eq!(without_durations(&released), without_durations(&glare(&arguments).out()));
}

/// npm's `peer`, as the guide has it.
fn tests_a_real_server(program: &Path) {
    let Some(modules) = tools::npm("peer", &["peer@1.0.2"]) else { return };
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("it has one").port();
    let mut node = Command::new("node");
    node.arg(modules.join("node_modules/peer/dist/bin/peerjs.js")).args([
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
    ]);
    let mut server = node.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("node starts");
    let url = format!("ws://127.0.0.1:{port}/peerjs");
    let asked = loop {
        let case = ["conformance", "--url", &url, "--dialect", "peerjs", "--case", "room/join-ack"];
        let asked = Command::new(program).args(case).output().expect("it starts");
        // 3: the server is not there yet.
        if asked.status.code() != Some(3) || server.try_wait().expect("a child").is_some() {
            break asked;
        }
    };
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env_remove("CARGO").output().expect("it starts");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Without what differs from run to run: how long each took in real time.
fn without_durations(text: &str) -> String {
    let real = |word: &str| word.ends_with("×") || word == "ms" || word == "s" || word.parse::<f64>().is_ok();
    let is_measured = |line: &str| line.contains("real time") || line.contains(" cases in ");
    text.lines()
        .map(|line| {
            if !is_measured(line) {
                return line.to_owned();
            }
            line.split(' ').filter(|word| !real(word.trim_matches(['(', ',']))).collect::<Vec<_>>().join(" ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn succeeds(output: std::io::Result<Output>) {
    let output = output.expect("it starts");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_check_refuses_a_program_that_is_not_right() {
    let folder = scratch("check");
    super::archive(&folder, "x86_64", b"#!/bin/sh\necho '1 s, 2 events, hash 0000000000000000'\n");
    let archive = folder.join(format!("glare-{VERSION}-x86_64-unknown-linux-gnu.tar.gz"));
    let (code, out, error) = said(&script("check", &[archive.to_str().expect("UTF-8")]));
    let readme = read("README.md");
    let (_, hash) = readme.split_once("events, hash ").expect("README shows a run");
    let expected = format!(
        "packages/check: glare needs glibc of an unknown version, and should run with 2.28\n\
         packages/check: library.so needs glibc of an unknown version, and should run with 2.28\n\
         packages/check: mesh-6 has the hash `0000000000000000`, and should have `{}`\n",
        hash.split_whitespace().next().expect("a hash")
    );
    assert!(error.ends_with(&expected) && code == Some(1) && out.is_empty(), "{error}");
}
