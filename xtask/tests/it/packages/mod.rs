//! The packages: made from local files, installed into empty folders, and run. Nothing is published or asked of a registry.

mod install;
mod npm;
mod pypi;
mod real;
mod recipes;
mod release;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What the packages contain in place of the program, where the program itself does not matter.
const STAND_IN: &str = r#"#!/bin/sh
case $1 in
  exit) exit "$2" ;;
  signal) kill "-$2" $$ ;;
  program) echo "$GLARE_PROGRAM" ;;
  wait) trap 'echo ended; exit 5' TERM; echo ready; while :; do sleep 0.05; done ;;
  *) echo "stand-in: $*" ;;
esac
"#;

/// A folder with all packages, made by the project's script, with a stand-in for the program. `None` without Node or Python.
fn packed() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let pack = || {
        if !(has("npm") && has("python3")) {
            eprintln!("SKIPPED: packages need npm and Python");
            return None;
        }
        let folder = scratch("packed");
        for machine in ["x86_64", "aarch64"] {
            archive(&folder, machine, STAND_IN.as_bytes());
        }
        let packed = script("pack", &[folder.to_str().expect("UTF-8")]);
        assert!(packed.status.success(), "{packed:?}");
        Some(folder)
    };
    FOLDER.get_or_init(pack).as_deref()
}

/// Writes the archive of a machine's program, as `packages/build` does.
pub(crate) fn archive(folder: &Path, machine: &str, program: &[u8]) {
    let name = format!("glare-{}-{machine}-unknown-linux-gnu", env!("CARGO_PKG_VERSION"));
    let content = folder.join(&name);
    fs::create_dir_all(&content).expect("a scratch folder");
    executable(&content.join("glare"), program);
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--file", &format!("{name}.tar.gz"), &name]).current_dir(folder);
    assert!(tar.status().expect("tar starts").success());
    fs::remove_dir_all(content).expect("it is there");
}

fn executable(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a scratch file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a scratch file");
}

/// Runs a script of `packages/`.
fn script(name: &str, arguments: &[&str]) -> Output {
    let mut script = Command::new(root().join("packages").join(name));
    script.args(arguments).output().expect("bash starts")
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// An empty folder.
fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("packages").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a scratch folder");
    folder
}

fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).expect("it is there")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Exit code, standard output and standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Fails unless a program ended with this code, and said exactly this as its error.
fn refused(output: &Output, code: i32, expected: &str) {
    let (found, out, error) = said(output);
    assert_eq!((found, error.trim_end()), (Some(code), expected), "{out}");
}
