//! Builds the server, or the simulator and the server in it, with all mutants, from a copy in the target folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::catalogue::Mutant;
use super::patch::patch;

/// The program in the copy.
const PROGRAM: &str = "glare-mutants";

/// The program with the simulator.
const SIMULATOR_PROGRAM: &str = "glare-mutants-of-simulator";

/// Applies the mutants to a copy of the server and builds it. Cargo's output is shown. Returns the program.
///
/// # Errors
/// A mutant cannot be applied to the sources, or the copy cannot be written or does not compile.
pub(super) fn build(workspace: &Path, mutants: &[Mutant]) -> anyhow::Result<PathBuf> {
    compile(workspace, "workspace", server_alone(workspace, mutants)?)
}

/// The same for the simulator, with the mutants of the server in it, and its own.
///
/// # Errors
/// As [`build`].
pub(super) fn build_simulator(workspace: &Path, server: &[Mutant], simulator: &[Mutant]) -> anyhow::Result<PathBuf> {
    compile(workspace, "simulator", whole_simulator(workspace, server, simulator)?)
}

/// Writes a copy, by path of each file, and builds its program.
fn compile(workspace: &Path, name: &str, files: BTreeMap<String, String>) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let target = std::path::absolute(target)?;
    let copy = target.join("mutants").join(name);
    write(&copy, &files).with_context(|| format!("cannot write to {}", copy.display()))?;
    // The copy shares the checkout's target folder, so that the dependencies are already built.
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
    anyhow::ensure!(output.status.success(), "the copy with mutants, {}, does not compile", copy.display());
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

/// The simulator's sources, by path relative to `sim/src`.
pub(super) fn simulator_sources(workspace: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    texts(&workspace.join("sim/src"))
}

/// The files of a folder, by path relative to it.
fn texts(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    texts_if(folder, |_| true)
}

/// The files of a folder with one of these extensions, by path relative to it.
fn texts_of(folder: &Path, extensions: &[&str]) -> anyhow::Result<BTreeMap<String, String>> {
    texts_if(folder, |path| {
        path.extension().and_then(|extension| extension.to_str()).is_some_and(|own| extensions.contains(&own))
    })
}

fn texts_if(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> anyhow::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for path in files(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        if is_wanted(&path) {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.strip_prefix(folder)?.to_str().context("a file name is not UTF-8")?;
            texts.insert(name.replace('\\', "/"), text);
        }
    }
    Ok(texts)
}

/// A crate in a copy of the workspace: its files, without tests and benches.
struct Copied {
    files: BTreeMap<String, String>,
    /// The crates that it depends on.
    dependencies: Vec<String>,
}

impl Copied {
    /// A crate without its sources.
    fn of(workspace: &Path, folder: &str) -> anyhow::Result<Self> {
        let mut package: toml::Table = read(workspace, &format!("{folder}/Cargo.toml"))?.parse()?;
        package.retain(|key, _| !matches!(key, "dev-dependencies" | "bench" | "example" | "lints"));
        let targets = package.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
        let of_targets = targets.filter_map(|target| target.get("dependencies"));
        let own = ["dependencies", "build-dependencies"].into_iter().filter_map(|key| package.get(key));
        let tables = of_targets.chain(own).filter_map(toml::Value::as_table);
        let dependencies = tables.flat_map(toml::Table::keys).cloned().collect();
        let manifest = (format!("{folder}/Cargo.toml"), package.to_string());
        Ok(Self { files: BTreeMap::from([manifest]), dependencies })
    }

    /// Adds files, by path relative to a folder of the workspace.
    fn add(&mut self, folder: &str, files: BTreeMap<String, String>) {
        self.files.extend(files.into_iter().map(|(path, text)| (format!("{folder}/{path}"), text)));
    }

    /// Adds a program, `main.rs` of the crate.
    fn add_program(&mut self, folder: &str, name: &str, main: &str) -> anyhow::Result<()> {
        let manifest = self.files.get_mut(&format!("{folder}/Cargo.toml")).context("the crate has no Cargo.toml")?;
        let mut package: toml::Table = manifest.parse()?;
        let program = toml::Table::from_iter(
            [("name", name), ("path", "src/main.rs")].map(|(key, value)| (key.to_owned(), toml::Value::from(value))),
        );
        package.insert("bin".to_owned(), vec![program].into());
        *manifest = package.to_string();
        self.files.insert(format!("{folder}/src/main.rs"), format!("#![allow(warnings)]\n{main}"));
        Ok(())
    }
}

/// The server, with the program in `broken.rs`.
fn server_alone(workspace: &Path, mutants: &[Mutant]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut server = server(workspace, mutants, false)?;
    server.add_program("server", PROGRAM, include_str!("broken.rs"))?;
    whole(workspace, &["server"], [server])
}

/// The simulator, with the program in `stories/program.rs`, and the crates that it needs.
fn whole_simulator(
    workspace: &Path,
    server_mutants: &[Mutant],
    mutants: &[Mutant],
) -> anyhow::Result<BTreeMap<String, String>> {
    let server = server(workspace, server_mutants, true)?;
    let mut sim = Copied::of(workspace, "sim")?;
    let mut sources = simulator_sources(workspace)?;
    sources.extend(patched(mutants, &sources, "sim/src")?);
    let library = sources.remove("lib.rs").context("sim/src has no lib.rs")?;
    sources.insert("lib.rs".to_owned(), format!("#![allow(warnings)]\n{library}\nuse server::mutant;\n"));
    sim.add("sim/src", sources);
    sim.add("sim", BTreeMap::from([("build.rs".to_owned(), read(workspace, "sim/build.rs")?)]));
    sim.add("sim/shim", texts_of(&workspace.join("sim/shim"), &["c", "h"])?);
    sim.add_program("sim", SIMULATOR_PROGRAM, include_str!("stories/program.rs"))?;
    let mut scenarios = Copied::of(workspace, "scenarios")?;
    let mut texts = texts_of(&workspace.join("scenarios"), &["rs", "json", "toml"])?;
    texts.remove("Cargo.toml");
    scenarios.add("scenarios", texts);
    let mut dialect = Copied::of(workspace, "conformance/dialect")?;
    dialect.add("conformance/dialect", texts_of(&workspace.join("conformance/dialect"), &["rs"])?);
    dialect.add("conformance/dialects", texts_of(&workspace.join("conformance/dialects"), &["toml"])?);
    let members = ["server", "sim", "scenarios", "conformance/dialect"];
    whole(workspace, &members, [server, sim, scenarios, dialect])
}

/// The server with mutants. If `is_shared`, other crates can ask which mutant is active.
fn server(workspace: &Path, mutants: &[Mutant], is_shared: bool) -> anyhow::Result<Copied> {
    let mut sources = sources(workspace)?;
    sources.extend(patched(mutants, &sources, "server/src")?);
    let library = sources.remove("lib.rs").context("server/src has no lib.rs")?;
    let support = read(workspace, "server/mutants/support.rs")?;
    let (public, support) =
        if is_shared { ("pub ", support.replace("pub(crate) fn", "pub fn")) } else { ("", support) };
    // Names may be unused in a body that a mutant has shortened.
    sources.insert("lib.rs".to_owned(), format!("#![allow(warnings)]\n{library}\n{public}mod mutant;\n"));
    sources.insert("mutant.rs".to_owned(), support);
    let mut server = Copied::of(workspace, "server")?;
    server.add("server/src", sources);
    // The program contains them.
    server.add("server/pages", texts(&workspace.join("server/pages"))?);
    Ok(server)
}

fn patched(
    mutants: &[Mutant],
    sources: &BTreeMap<String, String>,
    root: &str,
) -> anyhow::Result<BTreeMap<String, String>> {
    patch(mutants, sources, root).map_err(|wrong| anyhow::anyhow!("{}", wrong.join("\n")))
}

fn read(workspace: &Path, path: &str) -> anyhow::Result<String> {
    fs::read_to_string(workspace.join(path)).with_context(|| format!("cannot read {path}"))
}

/// All files of a copy, with the workspace's own.
fn whole(
    workspace: &Path,
    members: &[&str],
    crates: impl IntoIterator<Item = Copied>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut direct = Vec::new();
    for copied in crates {
        files.extend(copied.files);
        direct.extend(copied.dependencies);
    }
    let mut root: toml::Table = read(workspace, "Cargo.toml")?.parse()?;
    let table = root.get_mut("workspace").and_then(toml::Value::as_table_mut).context("Cargo.toml has no workspace")?;
    table.insert("members".to_owned(), members.to_vec().into());
    let lock = read(workspace, "Cargo.lock")?;
    let crates = compiled(&lock.parse()?, direct);
    // The crates that are optimised must be the same, but cargo warns of each that it does not know.
    let is_compiled = |specification: &str| crates.contains(specification.split('@').next().unwrap_or_default());
    let profiles = root.get_mut("profile").and_then(toml::Value::as_table_mut);
    for (_, profile) in profiles.into_iter().flatten() {
        if let Some(packages) = profile.get_mut("package") {
            packages.as_table_mut().context("a profile's `package` is no table")?.retain(|key, _| is_compiled(key));
        }
    }
    files.insert("Cargo.toml".to_owned(), root.to_string());
    files.insert("Cargo.lock".to_owned(), lock);
    Ok(files)
}

/// The names of the crates that a build of crates of the workspace compiles: these, and all that they need directly or not.
fn compiled(lock: &toml::Table, direct: Vec<String>) -> BTreeSet<String> {
    let packages: Vec<_> = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten().collect();
    let mut found: BTreeSet<_> = ["server", "sim", "scenarios", "dialect"].map(str::to_owned).into();
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
