//! Servers of others, installed from their registries by name and version. The tests of the simulator use this file too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The folder where packages are kept between test runs.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("outsiders")
}

/// The npm packages: servers, and libraries that servers are made with.
const PACKAGES: [(&str, &str); 11] = [
    ("peer", "1.0.2"),
    ("y-webrtc", "10.3.0"),
    ("socket.io", "4.8.4"),
    ("ws", "8.23.0"),
    ("bittorrent-tracker", "11.2.3"),
    ("simple-signal-server", "3.0.0"),
    ("rtcmulticonnection-server", "1.3.3"),
    ("@libp2p/webrtc-star-signalling-server", "4.0.0"),
    ("signalhub", "4.9.0"),
    ("rxdb", "17.6.0"),
    ("protoo-server", "4.0.8"),
];

/// Installs the npm packages if needed; `None` if npm does not work.
pub(crate) fn packages() -> Option<&'static Path> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let folder = folder().join("npm");
        let there = |(package, version): &(&str, &str)| {
            let file = folder.join("node_modules").join(package).join("package.json");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|package| package["version"] == *version)
        };
        if PACKAGES.iter().all(there) {
            return Some(folder);
        }
        std::fs::create_dir_all(&folder).expect("the target folder is ours");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&folder);
        run(npm.args(PACKAGES.map(|(package, version)| format!("{package}@{version}"))))?;
        Some(folder)
    };
    INSTALLED.get_or_init(install).as_deref()
}

/// Installs a Python package with its program if needed; `None` if there is no recent Python, or pip does not work.
#[allow(dead_code)] // the tests of the program do not need it
pub(crate) fn python(package: &str, program: &str, version: &str, more: &[&str]) -> Option<PathBuf> {
    let folder = folder().join(format!("{package}-{version}"));
    let program = folder.join("bin").join(program);
    if program.exists() {
        return Some(program);
    }
    // pyenv's programs run only versions that are selected.
    let python = |name: &str| {
        let mut python = Command::new(name);
        python.env("PYENV_VERSION", "3.13");
        python
    };
    let recent = |name: &&str| {
        let asked = python(name).args(["-c", "import sys; sys.exit(sys.version_info < (3, 13))"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let Some(name) = ["python3", "python3.14", "python3.13"].into_iter().find(recent) else {
        return skip("there is no Python 3.13");
    };
    run(python(name).args(["-m", "venv"]).arg(&folder))?;
    let wanted = format!("{package}=={version}");
    run(Command::new(folder.join("bin/python")).args(["-m", "pip", "install", "--quiet", &wanted]).args(more))?;
    Some(program)
}

/// Installs a Python package that any Python 3 can use, if needed; returns the Python that has it. `None` if pip does
/// not work.
#[allow(dead_code)] // only simulations run it
pub(crate) fn python_with(package: &str, version: &str) -> Option<PathBuf> {
    let folder = folder().join(format!("{package}-{version}-any"));
    let (python, done) = (folder.join("bin/python"), folder.join("installed"));
    if !done.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", &format!("{package}=={version}")]))?;
        std::fs::write(done, "").expect("the folder is ours");
    }
    Some(python)
}

/// The server of crates.io `matchbox_server`, built if needed, which takes minutes.
#[allow(dead_code)] // as above
pub(crate) fn matchbox_server() -> PathBuf {
    let root = folder().join("matchbox");
    let program = root.join("bin/matchbox_server");
    if !program.exists() {
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--locked", "matchbox_server", "--version", "0.15.0", "--root"]).arg(&root);
        let built = cargo.env_remove("CARGO_TARGET_DIR").status().expect("cargo runs this test");
        assert!(built.success(), "matchbox_server builds");
    }
    program
}

/// A program from a Debian package, installed if missing; `None` if that is not possible.
#[allow(dead_code)] // as above
pub(crate) fn debian(program: &str, package: &str) -> Option<PathBuf> {
    debian_if_possible(program, package)
        .or_else(|| skip(&format!("no {program}, and apt-get cannot install Debian's {package}")))
}

/// The same, without a word if it is not possible.
#[allow(dead_code)] // the tests of the program do not need it
pub(crate) fn debian_if_possible(program: &str, package: &str) -> Option<PathBuf> {
    let find = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<_> = std::env::split_paths(&path).collect();
        folders.extend(["/usr/sbin", "/usr/bin"].map(PathBuf::from));
        folders.into_iter().map(|folder| folder.join(program)).find(|file| file.is_file())
    };
    // Another process may hold the package manager's lock.
    let install = ["install", "-y", "-q", "-o", "DPkg::Lock::Timeout=300", package];
    let apt = |arguments: &[&str]| {
        let status = Command::new("apt-get").args(arguments).stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    find().or_else(|| {
        // A fresh machine has no lists of packages yet.
        let installed = apt(&install) || apt(&["update", "-q"]) && apt(&install);
        installed.then(find).flatten()
    })
}

/// Runs a command that installs something.
fn run(command: &mut Command) -> Option<()> {
    match command.output() {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => skip(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => skip(&error.to_string()),
    }
}

/// Skips a test whose tool cannot be installed, with a message; on CI that is a failure.
pub(crate) fn skip<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "a server of others cannot be installed: {why}");
    eprintln!("SKIPPED: a server of others cannot be installed: {why}");
    None
}
