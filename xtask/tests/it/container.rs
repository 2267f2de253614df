//! The container file: what a builder would make of it, and its commands run without one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::tools;

const PACKAGES: [&str; 2] = ["dockerfile-ast@0.7.1", "dockerfile-utils@0.16.3"];

#[test]
fn builders_find_nothing_wrong_and_what_it_copies_is_there() {
    let Some(read) = read("Containerfile") else { return };
    assert_eq!(read["problems"], serde_json::json!([]));
    let [build, last] = stages(&read) else { panic!("two stages: {read}") };
    let toolchain = fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
    let (_, version) = toolchain.split_once("rust-version = \"").expect("the workspace has one");
    let version = version.split('"').next().unwrap_or_default();
    assert!(build["image"].as_str().is_some_and(|image| image.contains(&format!("/rust:{version}-"))), "{build}");
    for (keyword, arguments) in steps(last) {
        match keyword {
            "COPY" if arguments.starts_with("--from=") => {
                assert!(arguments.starts_with("--from=build /out/$TARGETARCH/glare "), "{arguments}")
            }
            "COPY" => assert!(root().join(arguments.split(' ').next().expect("a source")).exists(), "{arguments}"),
            "RUN" => assert!(
                arguments.starts_with("useradd ") || arguments.ends_with(" && rm -rf /var/lib/apt/lists/*"),
                "another command: {arguments}"
            ),
            "ARG" | "USER" | "WORKDIR" | "CMD" => {}
            // GitLab starts a shell in the image, as an argument of an entry point.
            other => panic!("{other} {arguments}"),
        }
    }
    assert!(steps(last).iter().any(|(keyword, name)| (*keyword, *name) == ("USER", "glare")), "not as root");
}

#[test]
fn what_is_wrong_in_a_container_file_is_found() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("Containerfile.wrong");
    fs::write(&file, "FROM a AS build\nCOPPY . .\n").expect("a scratch file");
    let Some(read) = read(file.to_str().expect("UTF-8")) else { return };
    assert!(read["problems"].as_array().is_some_and(|problems| !problems.is_empty()), "{read}");
}

#[test]
fn builders_are_not_sent_what_is_built_or_kept() {
    let ignored = fs::read_to_string(root().join(".dockerignore")).expect("it is there");
    for folder in ["target", ".git"] {
        assert!(ignored.lines().any(|line| line == folder), "{folder}");
    }
    assert!(!root().join(".containerignore").exists(), "builders would read that file in its place");
}

/// The release workflow's programs take the place of the build stage.
#[test]
fn released_programs_are_where_the_build_stage_would_have_put_them() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("container-release");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a scratch folder");
    for machine in ["x86_64", "aarch64"] {
        crate::packages::archive(&dir, machine, format!("#!/bin/sh\necho {machine}\n").as_bytes());
    }
    let laid = Command::new(root().join("packages/image")).arg(&dir).arg(dir.join("image")).status();
    assert!(laid.expect("bash starts").success());
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let said = Command::new(dir.join("image/out").join(architecture).join("glare")).output().expect("a program");
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), machine);
    }
}

/// The build stage's commands, in a copy of what is committed and with its folders below a scratch folder.
#[test]
#[ignore = "builds everything for release, which takes minutes"]
fn its_build_stage_builds_what_the_last_stage_runs() {
    let Some(read) = read("Containerfile") else { return };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("container");
    let _ = fs::remove_dir_all(&dir);
    let mut workdir = dir.clone();
    let below = |path: &str| dir.join(path.trim_start_matches('/'));
    for (keyword, arguments) in steps(&stages(&read)[0]) {
        match keyword {
            "WORKDIR" => {
                workdir = below(arguments);
                fs::create_dir_all(&workdir).expect("a scratch folder");
            }
            "COPY" => {
                assert_eq!(arguments, ". .");
                let copy = format!("git archive HEAD | tar -x -C '{}'", workdir.display());
                assert!(
                    Command::new("sh").args(["-c", &copy]).current_dir(root()).status().expect("sh starts").success()
                );
            }
            "RUN" => {
                let command = arguments.replace("\"/out/", &format!("\"{}/", below("/out").display()));
                let mut sh = Command::new("sh");
                // The target folder is the copy's own.
                sh.args(["-ec", &command])
                    .current_dir(&workdir)
                    .env("TARGETARCH", "amd64")
                    .env_remove("CARGO_TARGET_DIR");
                let built = sh.status();
                assert!(built.expect("sh starts").success(), "{command}");
            }
            "ARG" => assert_eq!(arguments, "TARGETARCH"),
            other => panic!("{other} {arguments}"),
        }
    }
    let glare = Command::new(below("/out/amd64/glare")).arg("scenarios").output().expect("it is built");
    assert!(glare.status.success() && glare.stdout.starts_with(b"mesh-3 "), "{glare:?}");
}

fn read(file: &str) -> Option<Value> {
    let modules = tools::npm("container", &PACKAGES)?;
    let path = root().join(file);
    let output = tools::node("container.mjs", &modules, &[path.to_str().expect("UTF-8")], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn stages(read: &Value) -> &[Value] {
    read["stages"].as_array().expect("stages")
}

fn steps(stage: &Value) -> Vec<(&str, &str)> {
    let steps = stage["steps"].as_array().expect("steps").iter();
    steps.map(|step| (step[0].as_str().expect("a keyword"), step[1].as_str().unwrap_or_default())).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
