//! `conformance … -- COMMAND`: the server that is started for the test, and ended with all its children.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use conformance::{Restart, Target};
use rustix::process::{Pid, Signal, kill_process, set_child_subreaper};

/// How long a server may take to end after SIGTERM; then it is killed.
const GRACE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// How long a connection to a port may take that nothing should listen on.
const DIAL: Duration = Duration::from_secs(1);

/// The process of the server that runs, for a program that ends early.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

/// A server that was started, and that ends with this value.
pub(super) struct StartedServer {
    child: Child,
    /// The words of the command.
    command: String,
}

impl StartedServer {
    /// Starts a command. Its output goes to standard error, so that standard output has only the report.
    ///
    /// # Errors
    /// It cannot be started, or another server already listens at the address.
    pub(super) fn start(words: &[String], target: Option<&Target>) -> anyhow::Result<Self> {
        let command = reports::command_line("", words.iter().cloned()).trim_start().to_owned();
        if let Some(target) = target {
            let addresses = (target.host(), target.port()).to_socket_addrs();
            let listens = |address| TcpStream::connect_timeout(&address, DIAL).is_ok();
            anyhow::ensure!(
                !addresses.into_iter().flatten().any(listens),
                "a server already listens at {}:{}: end it, or test it without `-- {command}`",
                target.host(),
                target.port()
            );
        }
        let (program, arguments) = words.split_first().context("name a command after `--`")?;
        // Processes that outlive their parent become children of this one, so that they are found at the end.
        let _ = set_child_subreaper(Pid::from_raw(i32::try_from(std::process::id())?));
        let mut server = Command::new(program);
        server.args(arguments).stdin(Stdio::null()).process_group(0);
        server.stdout(Stdio::from(std::io::stderr()));
        let child = server.spawn().with_context(|| format!("cannot start `{command}`"))?;
        *RUNNING.lock().expect("nothing panics while it holds it") =
            i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Self { child, command })
    }

    /// How the server is started again after a crash: what is left of it is ended first.
    pub(super) fn restart(&self) -> Restart {
        Restart::new(&self.command).after(end_family)
    }

    /// Why the server cannot be reached any more, if its process has ended.
    pub(super) fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("`{}` has ended ({status}) before the server could be reached", self.command))
    }
}

impl Drop for StartedServer {
    fn drop(&mut self) {
        end_running();
        let _ = self.child.wait();
    }
}

/// Ends the server that was started, if any, with all processes that it started.
pub(crate) fn end_running() {
    end_family();
    RUNNING.lock().expect("nothing panics while it holds it").take();
}

/// The same while the test goes on, so that the server can be started again.
fn end_family() {
    let Some(pid) = *RUNNING.lock().expect("nothing panics while it holds it") else { return };
    signal(pid, Signal::TERM);
    let start = crate::now();
    #[allow(clippy::disallowed_methods)] // a real server, outside of every simulation
    while start.elapsed() < GRACE && !family(pid).is_empty() {
        std::thread::sleep(PAUSE);
    }
    signal(pid, Signal::KILL);
}

fn signal(server: Pid, signal: Signal) {
    for pid in family(server) {
        let _ = kill_process(pid, signal);
    }
}

/// The server's processes that still run: itself, the members of its group, those that it or they have started, and
/// those whose parents have ended.
fn family(server: Pid) -> Vec<Pid> {
    let all: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Process::read(pid)
        })
        .collect();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found: BTreeSet<i32> = BTreeSet::new();
    let is_root = |process: &Process| {
        process.pid == server.as_raw_nonzero().get()
            || process.group == server.as_raw_nonzero().get()
            // Only servers are started here, so every other child is an orphan of this one.
            || process.parent == own
    };
    found.extend(all.iter().filter(|process| is_root(process)).map(|process| process.pid));
    loop {
        let before = found.len();
        let later: Vec<_> =
            all.iter().filter(|process| found.contains(&process.parent)).map(|process| process.pid).collect();
        found.extend(later);
        if found.len() == before {
            break;
        }
    }
    all.iter()
        .filter(|process| found.contains(&process.pid) && process.pid != own && !process.is_zombie)
        .filter_map(|process| Pid::from_raw(process.pid))
        .collect()
}

/// A process, from `/proc/PID/stat`.
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    is_zombie: bool,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let is_zombie = fields.next()? == "Z";
        Some(Self { pid, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()?, is_zombie })
    }
}
