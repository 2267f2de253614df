//! The process of a browser: how it is found, started and ended.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use super::devtools::{DevTools, Failure};

/// The word that stands for whichever of [`NAMES`] is installed.
const ANY: &str = "chromium";
/// The programs that are Chromium, in the order in which they are looked for.
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];
/// How long the browser may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How often to look whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the browser with its pipes where it expects them, and removes its profile when it has ended. The browser ends when
/// this process does, and the shell outlives both.
const WRAPPER: &str = "trap '' INT TERM HUP; profile=$0; \"$@\" 3<&0 4>&1 </dev/null >/dev/null; rm -rf \"$profile\"";

const FLAGS: [&str; 16] = [
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    // It is not to speak with anybody but the peers.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A container's shared memory is small.
    "--disable-dev-shm-usage",
    // A tab that nobody looks at works like the others.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--autoplay-policy=no-user-gesture-required",
    // All peers are on this machine, and the record shows their addresses.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--allow-loopback-in-peer-connection",
];

/// A browser without a window. All clones are the same browser; it ends with the last one.
#[derive(Clone)]
pub struct Browser(pub(super) Arc<Process>);

pub(super) struct Process {
    pub(super) devtools: DevTools,
    version: String,
    child: Mutex<Child>,
    profile: PathBuf,
}

/// Why there is no browser.
#[derive(Debug)]
pub enum BrowserError {
    /// It is not installed, or is not where it was said to be.
    Missing(String),
    /// It could not be started.
    Start(io::Error),
    /// It ended at once. What it said last.
    Ended(String),
}

impl fmt::Display for BrowserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(which) if which == ANY => f.write_str(
                "there is no Chromium: `apt-get install chromium` installs it, or give the path of a Chrome",
            ),
            Self::Missing(which) => write!(
                f,
                "there is no program {which}: give the path of Chromium or Chrome, or `{ANY}` for the one that is installed"
            ),
            Self::Start(error) => write!(f, "Chromium could not be started: {error}"),
            Self::Ended(said) if said.is_empty() => f.write_str("Chromium ended at once, and said nothing"),
            Self::Ended(said) => write!(f, "Chromium ended at once: {said}"),
        }
    }
}

impl std::error::Error for BrowserError {}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Browser").field(&self.0.version).finish()
    }
}

impl Browser {
    /// Starts a browser: `chromium` is whichever is installed, a path is that program.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start(which: &str) -> Result<Self, BrowserError> {
        let program = find(which).ok_or_else(|| BrowserError::Missing(which.to_owned()))?;
        let profile = new_folder().map_err(BrowserError::Start)?;
        let mut command = Command::new("sh");
        command.args(["-c", WRAPPER]).arg(&profile).arg(&program).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.display()));
        // What it leaves in the folder for temporary files, for example if it is killed, is removed with the profile.
        command.env("TMPDIR", &profile);
        if rustix::process::geteuid().is_root() {
            // Otherwise it refuses to run as root.
            command.arg("--no-sandbox");
        }
        // In a group of its own, Ctrl-C in the terminal is no matter of the browser.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(BrowserError::Start)?;
        let said = listen(child.stderr.take().expect("piped"));
        let devtools = DevTools::connect(child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let version = devtools.ask("", "Browser.getVersion", &json!({}));
        let mut process = Process { devtools, version: String::new(), child: Mutex::new(child), profile };
        match version {
            Ok(version) => process.version = version["product"].as_str().unwrap_or_default().to_owned(),
            Err(Failure::Gone(_) | Failure::Refused(_)) => {
                drop(process);
                return Err(BrowserError::Ended(said.join().unwrap_or_default()));
            }
        }
        Ok(Self(Arc::new(process)))
    }

    /// Its name and version: `Chrome/148.0.7778.167`.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// The folder with its profile, which no other process uses.
    pub fn profile(&self) -> &Path {
        &self.0.profile
    }

    /// The longest time that it took for an answer since this was last called. On a machine that has too much to do it is
    /// so late that a server looks slow.
    pub fn take_slowest(&self) -> Duration {
        self.0.devtools.take_slowest()
    }

    /// What went wrong with the browser itself.
    pub(in crate::live) fn trouble(&self) -> Option<String> {
        self.0.devtools.trouble()
    }
}

impl Drop for Process {
    #[allow(clippy::disallowed_methods)] // a real program, outside of every simulation
    fn drop(&mut self) {
        self.devtools.close();
        let child = self.child.get_mut().expect("no panic while held");
        let rounds = ENDS_WITHIN.as_millis() / PAUSE.as_millis();
        if (0..rounds).any(|_| {
            let has_ended = !matches!(child.try_wait(), Ok(None));
            if !has_ended {
                std::thread::sleep(PAUSE);
            }
            has_ended
        }) {
            return;
        }
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Reads what the browser says, until it ends. Returns the last line.
#[allow(clippy::disallowed_methods)] // a thread that waits for a real program, outside of every simulation
fn listen(from: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        lines.filter(|line| !line.trim().is_empty()).last().unwrap_or_default()
    })
}

/// The program that `which` means.
fn find(which: &str) -> Option<PathBuf> {
    let is_program =
        |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if which != ANY {
        return Some(PathBuf::from(which)).filter(|path| is_program(path));
    }
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| is_program(path))
}

/// A new folder for a profile, which nobody else can read.
fn new_folder() -> io::Result<PathBuf> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("glare-browser-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
