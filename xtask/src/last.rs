//! The result of what ran last, which `report --open` shows: `target/glare/last` in a checkout, otherwise
//! `glare/last` in the user's cache folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the last result; `None` if there is no place for it.
pub(crate) fn folder() -> Option<PathBuf> {
    Some(base()?.join("last"))
}

/// Where the last result is kept, and the unfinished ones.
fn base() -> Option<PathBuf> {
    // Cargo sets this variable for the programs that it runs.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    if let Some(checkout) = package.as_deref().and_then(Path::parent).filter(|checkout| is_checkout(checkout)) {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
        return Some(target.join("glare"));
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    cache.or_else(|| Some(set("HOME")?.join(".cache"))).map(|cache| cache.join("glare"))
}

fn is_checkout(folder: &Path) -> bool {
    folder.join("xtask/src/last.rs").exists()
}

/// A result that is being written, and becomes the last one when it is complete.
pub(crate) struct Unfinished {
    folder: PathBuf,
    last: PathBuf,
}

impl Unfinished {
    /// Prepares a folder for a result. `None` if nothing can be written: what ran last is a convenience, and no reason
    /// to fail.
    pub(crate) fn begin() -> Option<Self> {
        let base = base()?;
        fs::create_dir_all(&base).ok()?;
        remove_abandoned(&base);
        let folder = base.join(format!("unfinished-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).ok()?;
        Some(Self { folder, last: base.join("last") })
    }

    /// The folder to write to.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes this the last result.
    pub(crate) fn keep(self) {
        // If two programs end at the same time, one of the two results is kept.
        let _ = remove(&self.last);
        let _ = fs::rename(&self.folder, &self.last);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes a result that was written elsewhere the last one.
pub(crate) fn point_to(result: &Path) {
    let link = || -> io::Result<()> {
        let (Some(base), result) = (base(), fs::canonicalize(result)?) else { return Ok(()) };
        fs::create_dir_all(&base)?;
        let last = base.join("last");
        remove(&last)?;
        std::os::unix::fs::symlink(result, last)
    };
    // As above: no reason to fail.
    let _ = link();
}

/// Removes a folder, or only the link to one.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what programs have left that were killed.
fn remove_abandoned(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("unfinished-"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
