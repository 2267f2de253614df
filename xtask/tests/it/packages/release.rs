//! What a release consists of, and what refers to it: the Action's first step, `cargo binstall`, the workflow, the bill of materials.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{packed, read, root, said, scratch};
use crate::tools;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

#[test]
fn the_checksums_list_every_file_of_a_release() {
    let Some(packed) = packed() else { return };
    let checked = Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(packed).output();
    let (code, out, error) = said(&checked.expect("coreutils"));
    assert_eq!(code, Some(0), "{out}{error}");
    let mut files: Vec<_> = fs::read_dir(packed)
        .expect("a folder")
        .map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"))
        .filter(|name| name != "SHA256SUMS")
        .map(|name| format!("{name}: OK"))
        .collect();
    let mut listed: Vec<_> = out.lines().map(str::to_owned).collect();
    files.sort();
    listed.sort();
    assert_eq!(listed, files);
    assert_eq!(
        files.len(),
        10,
        "two archives, three packages for npm, three wheels, the bill and the script: {files:?}"
    );
}

#[test]
fn the_bill_of_materials_names_the_crates_that_are_compiled_in() {
    let Some(packed) = packed() else { return };
    let bill = fs::read_to_string(packed.join(format!("glare-{VERSION}.cdx.json"))).expect("it is packed");
    let bill: Value = serde_json::from_str(&bill).expect("JSON");
    let components = bill["components"].as_array().expect("a list");
    let find = |name: &str| components.iter().find(|component| component["name"] == name);
    let rtc = find("rtc").expect("simulations need it");
    assert_eq!(rtc["purl"].as_str(), Some(format!("pkg:cargo/rtc@{}", rtc["version"].as_str().expect("one")).as_str()));
    assert_eq!(rtc["hashes"][0]["content"].as_str().map(str::len), Some(64));
    assert!(find("sim").is_some_and(|ours| ours["hashes"].is_null()), "ours have no checksum");
    for absent in ["syn", "cc", "insta", "aws-lc-rs"] {
        assert!(find(absent).is_none(), "{absent} is not in the program");
    }
}

#[test]
fn binstall_finds_the_program_in_the_archive() {
    let Some(packed) = packed() else { return };
    let package: toml::Table = read("xtask/Cargo.toml").parse().expect("TOML");
    let settings = &package["package"]["metadata"]["binstall"];
    let filled = |key: &str, target: &str| {
        let values = [
            ("{ repo }", REPOSITORY),
            ("{ version }", VERSION),
            ("{ target }", target),
            ("{ bin }", "glare"),
            ("{ binary-ext }", ""),
        ];
        let text = settings[key].as_str().expect("text").to_owned();
        values.iter().fold(text, |text, (name, value)| text.replace(name, value))
    };
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let url = filled("pkg-url", target);
        let name = url.strip_prefix(&format!("{REPOSITORY}/releases/download/v{VERSION}/")).expect(&url);
        let listed =
            Command::new("tar").args(["--list", "--file"]).arg(packed.join(name)).output().expect("tar starts");
        let files = said(&listed).1;
        assert!(files.lines().any(|file| file == filled("bin-dir", target)), "{files}");
    }
}

/// Runs the Action's first step at this tag or commit. Its output, and what it wrote for the next steps.
fn step(folder: &Path, reference: &str, programs: &Path) -> (Output, String) {
    let output = folder.join("output");
    fs::write(&output, "").expect("a scratch file");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("there are programs"));
    let mut action = Command::new(root().join("packages/action"));
    action.env("ACTION_REF", reference).env("RUNNER_TEMP", folder).env("GITHUB_OUTPUT", &output).env("PATH", path);
    action.env("GLARE_RELEASES", format!("file://{}/releases", folder.display()));
    let done = action.output().expect("bash starts");
    (done, fs::read_to_string(output).expect("it is there"))
}

#[test]
fn the_action_downloads_a_release_and_compiles_anything_else() {
    let Some(packed) = packed() else { return };
    let folder = scratch("action-step");
    let program = folder.join("glare/bin/glare");
    let compiles = |reference: &str| {
        let (done, wrote) = step(&folder, reference, &folder);
        let key = format!("key=glare-Linux-{}-", std::env::consts::ARCH);
        assert!(done.status.success() && wrote.starts_with(&key) && !program.exists(), "{done:?} {wrote}");
        (said(&done), wrote)
    };
    let ((_, out, _), key) = compiles("main");
    assert_eq!(out, format!("main is not a release (v{VERSION}): the program is compiled, or taken from the cache\n"));
    // The release may not be there, or not yet; then it says so.
    let tag = format!("v{VERSION}");
    let ((_, _, error), same) = compiles(&tag);
    assert!(error.contains(&format!("is {VERSION} a release")), "{error}");
    assert_eq!(key, same, "the same sources, the same program");

    fs::create_dir(folder.join("releases")).expect("a scratch folder");
    std::os::unix::fs::symlink(packed, folder.join("releases").join(&tag)).expect("a scratch folder");
    for reference in [tag.as_str(), "v0.1", "v0"] {
        let (done, wrote) = step(&folder, reference, &folder);
        assert!(done.status.success() && wrote.is_empty() && program.exists(), "{reference}: {done:?} {wrote}");
        fs::remove_file(&program).expect("it is installed");
    }
    assert_eq!(compiles("v9").1, key);
    // A download that is damaged is not a reason to compile: it is shown.
    fs::remove_file(folder.join("releases").join(&tag)).expect("a link");
    let damaged = folder.join("releases").join(&tag);
    fs::create_dir(&damaged).expect("a scratch folder");
    fs::copy(packed.join("SHA256SUMS"), damaged.join("SHA256SUMS")).expect("a scratch file");
    super::archive(&damaged, std::env::consts::ARCH, b"something else");
    let (done, wrote) = step(&folder, &tag, &folder);
    assert!(done.status.code() == Some(1) && wrote.is_empty() && said(&done).2.contains(" is damaged"), "{done:?}");
}

#[test]
fn the_workflow_is_valid_and_runs_scripts_that_are_there() {
    let Some(modules) = tools::npm("workflows", &["yaml@2.9.1"]) else { return };
    let file = root().join(".github/workflows/release.yml");
    let read = tools::node("workflow.mjs", &modules, &[file.to_str().expect("UTF-8")], &[]);
    assert!(read.status.success(), "{read:?}");
    let steps: Vec<Value> = serde_json::from_slice(&read.stdout).expect("JSON");
    let runs: Vec<_> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
    for script in ["packages/build", "packages/check", "packages/pack"] {
        assert!(runs.iter().any(|run| run.contains(script)), "{script}");
    }
    for word in runs.iter().flat_map(|run| run.split_whitespace()).filter(|word| word.starts_with("packages/")) {
        assert!(root().join(word).exists(), "{word}");
    }
    for action in steps.iter().filter_map(|step| step["uses"].as_str()) {
        assert!(action.contains('@'), "{action} names no version");
    }
}

#[test]
fn the_changelog_has_this_version_first() {
    let text = read("CHANGELOG.md");
    let first = text.lines().find(|line| line.starts_with("## ")).expect("a version");
    assert!(first.starts_with(&format!("## {VERSION}")), "{first}");
}
