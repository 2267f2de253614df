//! Programs of others as machines of the simulated world.
//!
//! The program runs unchanged, as real processes. A library that is preloaded into them (`sim/shim`, its protocol is in
//! `sim/shim/PROTOCOL.md`) shows them the world's time and gives the world the other end of their sockets. While the
//! program runs, the world's only thread waits in real time until the program is *at rest*: every thread waits for
//! something. Virtual time moves only then, to the next event of the network or the next deadline of the program. So
//! the program sees one thing at a time, and the same seed gives the same run.
//!
//! | file | what it does |
//! |---|---|
//! | `descriptors` | keeps those of several worlds apart |
//! | `command`, `file` | starts the program; refuses files into which no library can be preloaded |
//! | `library`, `page` | the library, and the memory that shows the time |
//! | `machine` | the loop: wait for the network, a deadline or an order, then let the program run |
//! | `rest` | waits until the program is at rest |
//! | `process`, `channel` | the processes and their messages |
//! | `client/` | a client program as an actor: what its connections show |
//! | `calls` | what processes ask: sockets, ports, connections, names |
//! | `exchange`, `stream`, `datagram`, `socket` | bytes between the program's sockets and the simulated network |
//! | `output` | the lines that the program prints |
//! | `trouble` | why a program cannot be simulated |

mod calls;
mod channel;
pub(crate) mod client;
mod command;
mod datagram;
mod descriptors;
mod exchange;
mod file;
mod library;
mod machine;
mod output;
mod page;
mod process;
mod rest;
mod socket;
mod stream;
mod trouble;

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::mpsc;

use crate::hash::digest;
use crate::host::Host;
use crate::peer::client::StepCommand;
pub(crate) use calls::SERVER_NAME;
use client::Client;
pub(crate) use command::Command;
use machine::Machine;
pub(crate) use machine::{Seen, Status};
pub(crate) use trouble::Trouble;

/// Processor time that a program may use without waiting for anything. It does not depend on what else the machine does.
const PATIENCE: Duration = Duration::from_secs(30);
/// Real time after which a program is given up that does not come to rest, however little it computes.
const PATIENCE_REAL: Duration = Duration::from_secs(600);

/// What a program is on its machine.
pub(crate) enum Part {
    Server,
    /// An actor.
    Client(Box<client::Setup>),
}

/// What happens to a running program from outside.
#[derive(Debug)]
pub(crate) enum Order {
    /// All its processes receive SIGTERM, and SIGKILL if they have not ended in time.
    ShutDown,
    /// It stands still for a time.
    Stall(Duration),
    /// Its wall clock jumps by this number of nanoseconds.
    Jump(i64),
    /// A step of the scenario is for the client that it is: a line arrives on its standard input.
    Do(StepCommand),
    /// The signaling connection of a client breaks.
    Cut,
}

/// A running program. The machine's loss of power, or the end of the simulation, kills all its processes.
pub(crate) struct Foreign {
    orders: mpsc::UnboundedSender<Order>,
    pub(crate) status: Arc<Status>,
}

impl Foreign {
    /// Starts a program on a machine. `seed` determines its random numbers.
    ///
    /// # Errors
    /// It cannot be started, or no library can be preloaded into it.
    pub(crate) fn start(host: &Host, command: &Command, part: Part, seed: u64) -> Result<Self, Trouble> {
        let status = Arc::new(Status::default());
        let machine = Machine::start(host.clone(), command, part, seed, status.clone())?;
        let (orders, received) = mpsc::unbounded_channel();
        host.run_task(machine.run(received));
        Ok(Self { orders, status })
    }

    /// Where to give orders.
    pub(crate) fn orders(&self) -> mpsc::UnboundedSender<Order> {
        self.orders.clone()
    }

    /// Gives an order. It has no effect on a program that has ended.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

/// A pipe to a program's standard input: the end for the world, and the end for the program.
fn input() -> std::io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&write, OFlags::NONBLOCK)?;
    Ok((Some(write), Some(read)))
}

/// What makes a program an actor, if it is one, and the first of its ephemeral ports. Those of clients differ between
/// their lives, so that nobody takes a new connection for an old one.
fn as_part(part: Part, stdin: Option<OwnedFd>, host: &Host, seed: u64) -> (Option<Box<Client>>, u16) {
    const FIRST_PORT: u16 = 40_000;
    let (Part::Client(setup), Some(stdin)) = (part, stdin) else { return (None, FIRST_PORT) };
    let (recorder, node) = (host.inner().world.recorder.clone(), host.node());
    let life = format!("{seed} {}", recorder.now().as_micros());
    let offset = u16::try_from(digest(life.as_bytes()) % 20_000).expect("it is smaller");
    let address = host.addresses().ipv4.expect("an actor with `run` has IPv4");
    let client = Client::new(*setup, stdin, recorder, node, address);
    (Some(Box::new(client)), FIRST_PORT + offset)
}

/// A name for a machine's socket that no other machine of this system has. All names have the same length, because
/// they are in the environment of the program.
fn control_name() -> String {
    static MACHINES: AtomicU64 = AtomicU64::new(0);
    format!("glare-{:010}-{:010}", std::process::id(), MACHINES.fetch_add(1, Relaxed))
}

/// How a process has ended, in words.
fn exit_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with code {code}"),
        (None, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("by {name}"),
            None => format!("by signal {signal}"),
        },
        (None, None) => "in an unknown way".to_owned(),
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        _ => return None,
    })
}

/// The real time: it only decides when to give up.
#[allow(clippy::disallowed_methods)]
fn real_time() -> std::time::Instant {
    std::time::Instant::now()
}

/// Waits a moment of real time for the system. The world stands still meanwhile, as it does while a program runs.
#[allow(clippy::disallowed_methods)]
fn nap() {
    std::thread::sleep(Duration::from_micros(500));
}
