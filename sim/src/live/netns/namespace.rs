//! A network namespace of this machine's kernel. `network_namespaces(7)`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::sched::{CloneFlags, setns, unshare};

/// The namespace of the thread that opens it.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace. It ends with its last socket and the last clone of this value.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Files>);

#[derive(Debug)]
struct Files {
    namespace: File,
    /// The namespace of the thread that made it.
    home: File,
}

/// Brings the thread back when it is dropped, also by a panic.
struct Visit<'a>(&'a File);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).expect("the namespace that this thread came from still exists");
    }
}

/// A program for administrators, whose folder is not on everybody's PATH.
pub(super) fn administrative(program: &str) -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new(program);
    command.env("PATH", path);
    command
}

impl Namespace {
    /// Makes a namespace whose only interface is `lo`. Needs the capability CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// As the operating system reports them; `PermissionDenied` without the capability.
    pub fn new() -> io::Result<Self> {
        let home = File::open(OWN)?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let _visit = Visit(&home);
        let namespace = File::open(OWN)?;
        Ok(Self(Arc::new(Files { namespace, home: home.try_clone()? })))
    }

    /// Runs a function on this thread while the thread is in the namespace. Sockets that it creates and programs that it
    /// starts stay in the namespace.
    ///
    /// # Errors
    /// The thread may not enter the namespace.
    pub fn enter<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        setns(self.0.namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let _visit = Visit(&self.0.home);
        Ok(act())
    }

    /// A path by which other programs can open it while this process has it.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.namespace.as_raw_fd())
    }

    /// Sets a kernel parameter, such as `net/ipv4/ip_forward`.
    pub(super) fn set(&self, parameter: &str, value: impl std::fmt::Display) -> io::Result<()> {
        let written = self.enter(|| fs::write(format!("/proc/sys/{parameter}"), format!("{value}\n")))?;
        written.map_err(|error| io::Error::new(error.kind(), format!("{parameter} = {value}: {error}")))
    }

    /// Runs `ip` of iproute2 with a list of commands.
    pub(super) fn ip(&self, commands: &[String]) -> io::Result<()> {
        self.pipe("ip", &["-batch", "-"], &commands.join("\n"))
    }

    /// Loads rules of nftables.
    pub(super) fn nft(&self, rules: &str) -> io::Result<()> {
        self.pipe("nft", &["-f", "-"], rules)
    }

    /// Runs a program in the namespace with this text as its input.
    fn pipe(&self, program: &str, arguments: &[&str], input: &str) -> io::Result<()> {
        let mut command = administrative(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = self.enter(|| command.spawn())?;
        let mut child = started.map_err(|error| io::Error::new(error.kind(), format!("`{program}`: {error}")))?;
        let written = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
        let ended = child.wait_with_output()?;
        if ended.status.success() {
            return written;
        }
        let mut message = format!("`{program}` failed: {}", String::from_utf8_lossy(&ended.stderr).trim());
        let _ = write!(message, "\nits input was:\n{input}");
        Err(io::Error::other(message))
    }
}
