//! Packages from npm that look at what is made, by name and version. Where they cannot be had, a test says so aloud and ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder whose `node_modules` has these packages, each `name@version`.
pub(crate) fn npm(folder: &str, packages: &[&str]) -> Option<PathBuf> {
    let npm = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("npm");
    std::fs::create_dir_all(&npm).ok()?;
    // Two installations at once, in threads or in processes, would take apart what the other finds.
    let installing = File::create(npm.join("lock")).ok()?;
    installing.lock().ok()?;
    let modules = npm.join(folder);
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
