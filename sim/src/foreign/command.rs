//! Starts a program: its words, its environment, its folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::personality::{self, Persona};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::descriptors;
use super::file::{self, Search};
use super::library;
use super::trouble::Trouble;

/// The environment of every program. It is part of what a seed means: with another one the program's stack and heap lie
/// elsewhere, and sets are iterated in another order.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("LANG", "C.UTF-8"),
    ("TZ", "UTC"),
    // One heap for all threads: otherwise their number depends on the number of cores.
    ("MALLOC_ARENA_MAX", "1"),
    // Node: one thread for files and names, and no system calls past the library.
    ("UV_THREADPOOL_SIZE", "1"),
    ("UV_USE_IO_URING", "0"),
    ("NO_UPDATE_NOTIFIER", "1"),
    // OpenSSL would read the processor's time stamp counter.
    ("OPENSSL_ia32cap", "~0x10"),
    ("PYTHONHASHSEED", "0"),
    ("PYTHONUNBUFFERED", "1"),
    // A second run would find what the first has compiled.
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// Variables that are taken from the user: without them programs such as `npx` find nothing.
const INHERITED: &[&str] = &["PATH", "HOME"];

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// Variables in addition to the fixed environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The folder in which it starts; `None` is that of this process.
    pub(crate) directory: Option<PathBuf>,
}

impl Command {
    /// Where programs are looked for.
    pub(super) fn search(&self) -> Search {
        let path = self.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"));
        Search { path: path.unwrap_or_default(), directory: self.directory.clone() }
    }

    /// Checks that the program exists and that a library can be preloaded into it.
    ///
    /// # Errors
    /// What is wrong, and what to do instead.
    pub(crate) fn check(&self) -> Result<PathBuf, Trouble> {
        if let Some(directory) = self.directory.as_ref().filter(|directory| !directory.is_dir()) {
            return Err(Trouble::NoFolder(directory.clone()));
        }
        let word = self.words.first().filter(|word| !word.is_empty()).ok_or(Trouble::NoCommand)?;
        let search = self.search();
        let path = search.find(word)?;
        file::check(&path, &search)?;
        Ok(path)
    }
}

/// Starts a program that connects to the world at `control`, reads `input` if there is one, and writes to `output`.
pub(super) fn spawn(
    command: &Command,
    control: &str,
    input: Option<OwnedFd>,
    output: OwnedFd,
) -> Result<Child, Trouble> {
    let path = command.check()?;
    // Dropped last, after this process's copies of `input` and `output`.
    let _starting = descriptors::starting();
    let mut child = std::process::Command::new(path);
    child.arg0(&command.words[0]).args(&command.words[1..]).env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            child.env(name, value);
        }
    }
    child.envs(ENVIRONMENT.iter().copied()).envs(&command.env);
    child.env("LD_PRELOAD", library::path()?).env("GLARE_SHIM", control);
    if let Some(directory) = &command.directory {
        child.current_dir(directory);
    }
    child
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0);
    let (closes, held) = pipe_with(PipeFlags::CLOEXEC)?;
    // The program inherits this from the thread that starts it: its memory always lies at the same addresses.
    let before = personality::get().map_err(std::io::Error::from)?;
    personality::set(before | Persona::ADDR_NO_RANDOMIZE).map_err(std::io::Error::from)?;
    let spawned = child.spawn();
    // Linux lets this process go on before the new one has closed its copies of descriptors. It closes all of them before the
    // pipe ends.
    drop(held);
    while rustix::io::read(&closes, &mut [0]) == Err(Errno::INTR) {}
    personality::set(before).map_err(std::io::Error::from)?;
    Ok(spawned?)
}
