//! Builds the server with all mutants from a copy of the reference server in the target folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::catalogue::Mutant;
use super::patch::patch;

/// The program in the copy.
const PROGRAM: &str = "glare-mutants";

/// Applies the mutants to a copy of the server and builds it. Cargo's output is shown. Returns the program.
///
/// # Errors
/// A mutant cannot be applied to the sources, or the copy cannot be written or does not compile.
pub(super) fn build(workspace: &Path, mutants: &[Mutant]) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let target = std::path::absolute(target)?;
    let copy = target.join("mutants/workspace");
    write(&copy, &copied(workspace, mutants)?).with_context(|| format!("cannot write to {}", copy.display()))?;
    // The copy shares the checkout's target folder, so that the server's dependencies are already built.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--message-format", "json-render-diagnostics", "--manifest-path"]);
    command.arg(copy.join("Cargo.toml")).arg("--target-dir").arg(&target);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // Cargo has set these variables for this program. Some build scripts depend on them and would run each time.
    let of_this_crate = |name: &std::ffi::OsString| {
        name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    };
    for name in std::env::vars_os().map(|(name, _)| name).filter(of_this_crate) {
        command.env_remove(name);
    }
    let output = command.stderr(Stdio::inherit()).output().context("cargo cannot be started")?;
    anyhow::ensure!(output.status.success(), "the server with mutants, {}, does not compile", copy.display());
    let messages = String::from_utf8(output.stdout).context("cargo's output is not UTF-8")?;
    let executable = messages.lines().rev().find_map(|message| {
        let message: serde_json::Value = serde_json::from_str(message).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    });
    executable.context("cargo's output contains no executable")
}

/// The server's sources, by path relative to `server/src`.
pub(super) fn sources(workspace: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    texts(&workspace.join("server/src"))
}

/// The files of a folder, by path relative to it.
fn texts(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for path in files(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(folder)?.to_str().context("a file name is not UTF-8")?;
        texts.insert(name.replace('\\', "/"), text);
    }
    Ok(texts)
}

/// The files of the copy, by path: the server without its tests and benches, but with the program in `broken.rs`.
fn copied(workspace: &Path, mutants: &[Mutant]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut sources = sources(workspace)?;
    let patched = patch(mutants, &sources).map_err(|wrong| anyhow::anyhow!("{}", wrong.join("\n")))?;
    sources.extend(patched);
    let library = sources.remove("lib.rs").context("server/src has no lib.rs")?;
    // Names may be unused in a body that a mutant has shortened.
    sources.insert("lib.rs".to_owned(), format!("#![allow(warnings)]\n{library}\nmod mutant;\n"));
    let read = |path: &str| fs::read_to_string(workspace.join(path)).with_context(|| format!("cannot read {path}"));
    sources.insert("mutant.rs".to_owned(), read("server/mutants/support.rs")?);
    sources.insert("main.rs".to_owned(), format!("#![allow(warnings)]\n{}", include_str!("broken.rs")));
    let mut copied: BTreeMap<_, _> =
        sources.into_iter().map(|(path, text)| (format!("server/src/{path}"), text)).collect();
    // The program contains them.
    let pages = texts(&workspace.join("server/pages"))?;
    copied.extend(pages.into_iter().map(|(path, text)| (format!("server/pages/{path}"), text)));
    let mut package: toml::Table = read("server/Cargo.toml")?.parse()?;
    package.retain(|key, _| !matches!(key, "dev-dependencies" | "bench" | "example" | "lints"));
    let targets = package.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let tables = targets.filter_map(|target| target.get("dependencies")).chain(package.get("dependencies"));
    let direct = tables.filter_map(toml::Value::as_table).flat_map(toml::Table::keys).cloned().collect();
    let program = toml::Table::from_iter(
        [("name", PROGRAM), ("path", "src/main.rs")].map(|(key, value)| (key.to_owned(), toml::Value::from(value))),
    );
    package.insert("bin".to_owned(), vec![program].into());
    copied.insert("server/Cargo.toml".to_owned(), package.to_string());
    let mut root: toml::Table = read("Cargo.toml")?.parse()?;
    let members =
        root.get_mut("workspace").and_then(toml::Value::as_table_mut).context("Cargo.toml has no workspace")?;
    members.insert("members".to_owned(), vec!["server"].into());
    let lock = read("Cargo.lock")?;
    let crates = compiled(&lock.parse()?, direct);
    // The crates that are optimised must be the same, but cargo warns of each that it does not know.
    let is_compiled = |specification: &str| crates.contains(specification.split('@').next().unwrap_or_default());
    let profiles = root.get_mut("profile").and_then(toml::Value::as_table_mut);
    for (_, profile) in profiles.into_iter().flatten() {
        if let Some(packages) = profile.get_mut("package") {
            packages.as_table_mut().context("a profile's `package` is no table")?.retain(|key, _| is_compiled(key));
        }
    }
    copied.insert("Cargo.toml".to_owned(), root.to_string());
    copied.insert("Cargo.lock".to_owned(), lock);
    Ok(copied)
}

/// The names of the crates that a build of the server compiles: itself, and all that it needs directly or not.
fn compiled(lock: &toml::Table, direct: Vec<String>) -> BTreeSet<String> {
    let packages: Vec<_> = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten().collect();
    let mut found = BTreeSet::from(["server".to_owned()]);
    let mut waiting = direct;
    while let Some(name) = waiting.pop() {
        for package in packages.iter().filter(|package| package["name"].as_str() == Some(&name)) {
            let needed = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
            // A version follows where there are several.
            waiting.extend(
                needed
                    .filter_map(|needed| needed.as_str()?.split(' ').next())
                    .filter(|needed| !found.contains(*needed))
                    .map(str::to_owned),
            );
        }
        found.insert(name);
    }
    found
}

/// Makes a folder contain exactly these files. Unchanged files are not rewritten, because cargo rebuilds by
/// modification time.
fn write(folder: &Path, files_wanted: &BTreeMap<String, String>) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for path in files(folder)? {
        let name = path.strip_prefix(folder)?.to_str().unwrap_or_default().replace('\\', "/");
        if !files_wanted.contains_key(&name) {
            fs::remove_file(&path)?;
        }
    }
    for (name, text) in files_wanted {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == *text) {
            continue;
        }
        fs::create_dir_all(path.parent().expect("it is in a folder"))?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
