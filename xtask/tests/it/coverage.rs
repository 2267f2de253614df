//! How much of the code the stories of `scenarios/corpus` reach. It may not fall: code that no story reaches is code that no
//! oracle judges.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Folders, and the share of their code regions that the corpus reaches, in percent. Raise a figure when it has grown.
const REACHED: [(&str, f64); 3] =
    [("server/src", 49.0), ("sim/src/fabric/nat", 89.0), ("sim/src/peer/negotiation", 76.0)];

#[test]
#[ignore = "builds the simulator once more, with counters in its code"]
fn the_corpus_reaches_no_less_of_the_code() {
    let tools = tools();
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("coverage");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a scratch folder");
    let program = instrumented(&dir);
    let corpus = fs::read_dir(root().join("scenarios/corpus")).expect("it is there");
    for story in corpus.map(|entry| entry.expect("a file").path()) {
        // The seed with which `campaign corpus` chose them.
        run(Command::new(&program).arg(&story).arg("1").env("LLVM_PROFILE_FILE", dir.join("%p.profraw")));
    }
    let raw = fs::read_dir(&dir).expect("it is there").map(|entry| entry.expect("a file").path());
    let raw = raw.filter(|path| path.extension().is_some_and(|extension| extension == "profraw"));
    let profile = dir.join("corpus.profdata");
    run(Command::new(tools.join("llvm-profdata")).args(["merge", "--sparse", "-o"]).arg(&profile).args(raw));
    let mut export = Command::new(tools.join("llvm-cov"));
    export.args(["export", "--summary-only", "--instr-profile"]).arg(&profile).arg(&program);
    let reached = regions(&serde_json::from_str(&run(&mut export)).expect("JSON"));
    let mut fallen = Vec::new();
    for (folder, before) in REACHED {
        let (count, covered) = reached.get(folder).copied().unwrap_or_default();
        assert!(count > 100, "{folder} has {count} regions");
        let percent = (1000.0 * covered as f64 / count as f64).floor() / 10.0;
        println!("{folder}: {covered} of {count} regions, {percent} %");
        if percent < before {
            fallen.push(format!("{folder}: {percent} % are reached, and {before} % were before"));
        }
    }
    assert!(fallen.is_empty(), "add stories to scenarios/corpus:\n{}", fallen.join("\n"));
}

/// A program that plays a scenario, and counts how often each part of its code is run. Only the crates of this workspace
/// count, so that what they depend on is not built again.
fn instrumented(dir: &Path) -> PathBuf {
    let wrapper = dir.join("rustc");
    fs::write(&wrapper, "#!/bin/sh\nexec \"$@\" -C instrument-coverage\n").expect("a scratch file");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut build = Command::new(env!("CARGO"));
    // All packages, because one alone has other features.
    build.args(["build", "--workspace", "--example", "run_one", "--locked", "--message-format", "json"]);
    // Build scripts and macros count, too, and would leave their counts in the current folder.
    build.env("LLVM_PROFILE_FILE", dir.join("build-%p")).env("RUSTC_WORKSPACE_WRAPPER", &wrapper);
    // Cargo has set these for this test. Some build scripts depend on them, and would run again.
    let of_this_crate = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in std::env::vars().map(|(name, _)| name).filter(|name| of_this_crate(name)) {
        build.env_remove(name);
    }
    let messages = run(build.current_dir(root()));
    let executable = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executable.expect("the example is a program")
}

/// The folder with `llvm-cov` and `llvm-profdata` of this compiler, which rustup installs.
fn tools() -> PathBuf {
    let sysroot = run(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()));
    let host = run(Command::new("rustc").args(["--print", "host-tuple"]).current_dir(root()));
    let tools = Path::new(sysroot.trim()).join("lib/rustlib").join(host.trim()).join("bin");
    if !tools.join("llvm-cov").exists() {
        run(Command::new("rustup").args(["component", "add", "llvm-tools"]).current_dir(root()));
    }
    tools
}

/// How many regions the files of each folder have, and how many of them were reached.
fn regions(export: &Value) -> BTreeMap<&'static str, (u64, u64)> {
    let mut all: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let files = export["data"][0]["files"].as_array().expect("a list of files");
    for file in files {
        let path = Path::new(file["filename"].as_str().expect("a path"));
        let Some((folder, _)) = REACHED.iter().find(|(folder, _)| path.starts_with(root().join(folder))) else {
            continue;
        };
        let of = |what: &str| file["summary"]["regions"][what].as_u64().expect("a number");
        let (count, covered) = all.entry(folder).or_default();
        *count += of("count");
        *covered += of("covered");
    }
    all
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// What a command prints. It must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}
