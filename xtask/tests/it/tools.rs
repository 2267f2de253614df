//! Packages from npm that look at what is made, by name and version. Where they cannot be had, a test says so aloud and ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// A folder whose `node_modules` has these packages, each `name@version`.
pub(crate) fn npm(folder: &str, packages: &[&str]) -> Option<PathBuf> {
    // Two tests at once would install into one folder, and one find it while the other takes it apart.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let modules = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("npm").join(folder);
    let done = modules.join(format!("{}.there", packages.join("+")));
    if done.exists() {
        return Some(modules);
    }
    std::fs::create_dir_all(&modules).ok()?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"]).arg(&modules);
    match npm.args(packages).output() {
        Ok(output) if output.status.success() => std::fs::write(done, "").ok().map(|()| modules),
        other => {
            eprintln!("SKIPPED: {packages:?} cannot be had: {other:?}");
            None
        }
    }
}

/// Runs a script that stands beside the tests; `modules` is its first argument.
pub(crate) fn node(script: &str, modules: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(script);
    let mut node = Command::new("node");
    node.arg(script).arg(modules).args(arguments).env_remove("CARGO").envs(env.iter().copied());
    node.output().expect("node starts where npm does")
}
