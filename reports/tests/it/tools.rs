//! Programs from outside that look at what is made: from Debian and npm, by name and version. Where one cannot be had, its test says so
//! aloud and ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the page is opened with, and what looks at it.
const NPM: [&str; 2] = ["puppeteer-core@24.43.1", "axe-core@4.14.1"];

/// Headless Chromium.
pub(crate) struct Browser {
    chromium: String,
    modules: PathBuf,
}

/// The browser, if it can be had.
pub(crate) fn browser() -> Option<&'static Browser> {
    static BROWSER: OnceLock<Option<Browser>> = OnceLock::new();
    BROWSER
        .get_or_init(|| {
            let chromium = program("chromium", "chromium")?;
            Some(Browser { chromium, modules: npm("browser", &NPM)? })
        })
        .as_ref()
}

impl Browser {
    /// What is wrong with pages, a sentence each.
    pub(crate) fn look(&self, pages: &[PathBuf]) -> Vec<String> {
        self.ask(pages, "everything")
    }

    /// The same, of what a reader needs alone, which is faster.
    pub(crate) fn look_at_points(&self, pages: &[PathBuf]) -> Vec<String> {
        self.ask(pages, "points")
    }

    fn ask(&self, pages: &[PathBuf], what: &str) -> Vec<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/look.mjs");
        let output = Command::new("node")
            .arg(script)
            .arg(&self.chromium)
            .arg(&self.modules)
            .args(pages)
            .env("LOOK_AT", what)
            .output()
            .expect("node starts where npm does");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a list of findings")
    }
}

/// A folder whose `node_modules` has these packages, each `name@version`.
pub(crate) fn npm(folder: &str, packages: &[&str]) -> Option<PathBuf> {
    let npm = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("npm");
    std::fs::create_dir_all(&npm).ok()?;
    // Two installations at once, in threads or in processes, would take apart what the other finds.
    let installing = File::create(npm.join("lock")).ok()?;
    installing.lock().ok()?;
    let modules = npm.join(folder);
    std::fs::create_dir_all(&modules).ok()?;
    let there = |package: &&str| {
        let (name, _) = package.rsplit_once('@').expect("name@version");
        modules.join("node_modules").join(name).exists()
            && modules.join(format!("{}.there", package.replace('/', "-"))).exists()
    };
    if packages.iter().all(there) {
        return Some(modules);
    }
    let install = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--no-save", "--prefix"])
        .arg(&modules)
        .args(packages)
        .output();
    match install {
        Ok(output) if output.status.success() => {
            for package in packages {
                std::fs::write(modules.join(format!("{}.there", package.replace('/', "-"))), "").ok()?;
            }
            Some(modules)
        }
        other => skip(&packages.join(", "), &format!("{other:?}")),
    }
}

/// A folder with the unpacked source of a Python package.
pub(crate) fn pypi_source(name: &str, version: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pypi");
    std::fs::create_dir_all(&dir).ok()?;
    if dir.join(format!("{name}-{version}")).exists() {
        return Some(dir);
    }
    let script = "python3 -m pip download -q --no-deps --no-binary :all: -d \"$0\" \"$1==$2\" && tar xzf \"$0/$1-$2.tar.gz\" -C \"$0\"";
    let output = Command::new("sh").args(["-c", script]).arg(&dir).args([name, version]).output();
    match output {
        Ok(output) if output.status.success() => Some(dir),
        other => skip(name, &format!("{other:?}")),
    }
}

/// The path of a program, installed from a Debian package if it is missing and we may.
pub(crate) fn program(name: &str, package: &str) -> Option<String> {
    let there = || {
        let output = Command::new("sh").args(["-c", "command -v \"$0\"", name]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if let Some(path) = there() {
        return Some(path);
    }
    let install = Command::new("sh")
        .args([
            "-c",
            "apt-get update -qq && apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends \"$0\"",
            package,
        ])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output();
    there().or_else(|| skip(name, &format!("{install:?}")))
}

#[allow(clippy::unnecessary_wraps)] // it ends the chain of whoever calls it
fn skip<T>(what: &str, why: &str) -> Option<T> {
    eprintln!("SKIPPED: {what} cannot be had: {why}");
    None
}
