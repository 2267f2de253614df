//! A machine that runs a program of others: what the parts of this module share.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use super::client::Client;
use super::command::{Command, spawn};
use super::output::Output;
use super::page::{Page, time_of};
use super::process::{Expected, Process, threads};
use super::socket::{Socket, SocketId, State};
use super::trouble::Trouble;
use super::{Order, Part, channel};
use crate::event::{NodeId, ProgramEvent, Recorder, What};
use crate::host::Host;
use crate::last_lines::LastLines;
use crate::socket::SimListener;

/// A machine, from the start of its program until no process of it is left.
pub(super) struct Machine {
    pub(super) host: Host,
    pub(super) recorder: Recorder,
    pub(super) node: NodeId,
    /// Determines the random numbers of its processes.
    pub(super) seed: u64,
    pub(super) page: Page,
    /// The name at which its processes connect, and the socket.
    pub(super) name: String,
    pub(super) listener: OwnedFd,
    pub(super) command: Command,
    pub(super) child: Child,
    pub(super) output: Output,
    /// In the order of their numbers.
    pub(super) processes: Vec<Process>,
    pub(super) expected: Vec<Expected>,
    pub(super) next_process: u32,
    /// How many programs have said hello.
    pub(super) lives: u32,
    /// Whether a process came or went since all were asked whether they rest.
    pub(super) changed: bool,
    /// Processes that wait for time to pass, without saying until when.
    pub(super) spinning: VecDeque<u32>,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    /// The ports on which the program listens.
    pub(super) ports: BTreeMap<u16, Port>,
    /// How many sockets the world has made.
    pub(super) made: u32,
    pub(super) next_port: u16,
    /// The process for which something has arrived.
    pub(super) touched: Option<u32>,
    /// Until when the program stands still.
    pub(super) stalled_until: Duration,
    /// When it is killed if it has not ended by then.
    pub(super) killed_at: Option<Duration>,
    pub(super) status: Arc<Status>,
    /// What makes the program an actor, if it is one.
    pub(super) client: Option<Box<Client>>,
}

/// Virtual time that a program has to end after SIGTERM. Service managers allow as much or more.
const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(30);

/// A port on which the program listens.
pub(super) struct Port {
    pub(super) listener: SimListener,
    /// How many connections it has had: several sockets that share the port take turns.
    pub(super) accepted: usize,
}

/// What the outside can know about the program.
#[derive(Default)]
pub(crate) struct Status {
    seen: Mutex<Seen>,
    changed: Notify,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The TCP ports on which it has listened, in the order in which it began.
    pub(crate) ports: Vec<u16>,
    /// The UDP ports that it has chosen, in the same order.
    pub(crate) udp_ports: Vec<u16>,
    /// Names and addresses outside the simulation that it asked for, in words. The first ones only.
    pub(crate) sought: Vec<String>,
    /// Why processes of it could not be simulated, and run in real time.
    pub(crate) strangers: Vec<String>,
    /// How many TCP connections it has.
    pub(crate) connections: usize,
    /// How it ended.
    pub(crate) ended: Option<String>,
    /// Why it could not be simulated any further.
    pub(crate) trouble: Option<String>,
    /// The last lines that it has printed.
    pub(crate) last_lines: LastLines,
}

/// How many of the names and addresses are kept that a server asked for in vain.
const SOUGHT: usize = 6;

impl Status {
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic while held").clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().expect("no panic while held"));
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Notes that the program asked for something that is not in the simulation.
    pub(super) fn seeks(&self, what: String) {
        let mut seen = self.seen.lock().expect("no panic while held");
        if seen.sought.len() < SOUGHT && !seen.sought.contains(&what) {
            seen.sought.push(what);
        }
    }

    /// Waits until something changes.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Why the machine's loop goes on.
enum Woken {
    /// Something has arrived for the program.
    Arrived,
    Deadline,
    Order(Order),
}

impl Machine {
    /// Starts a program.
    pub(super) fn start(
        host: Host,
        command: &Command,
        part: Part,
        seed: u64,
        status: Arc<Status>,
    ) -> Result<Self, Trouble> {
        let page = Page::new()?;
        let name = super::control_name();
        let listener = channel::listen_at(&name)?;
        let (output, writer) = Output::new()?;
        let (stdin, input) = match &part {
            Part::Server => (None, None),
            Part::Client(_) => super::input()?,
        };
        let child = spawn(command, &name, input, writer)?;
        let first = Expected { pid: Some(child.id()), parent_pid: 0, index: 1, parent: 0 };
        let (recorder, node) = (host.inner().world.recorder.clone(), host.node());
        let (client, next_port) = super::as_part(part, stdin, &host, seed);
        page.show(recorder.now());
        Ok(Self {
            host,
            recorder,
            node,
            seed,
            page,
            name,
            listener,
            command: command.clone(),
            child,
            output,
            processes: Vec::new(),
            expected: vec![first],
            next_process: 2,
            lives: 0,
            changed: false,
            spinning: VecDeque::new(),
            sockets: BTreeMap::new(),
            ports: BTreeMap::new(),
            made: 0,
            next_port,
            touched: None,
            stalled_until: Duration::ZERO,
            killed_at: None,
            status,
            client,
        })
    }

    /// Runs the program until no process of it is left and all that it has sent is delivered.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        if let Err(trouble) = self.live(&mut orders).await {
            // What it printed before may explain it.
            self.output.read();
            self.record_output();
            self.status.change(|seen| seen.trouble = Some(trouble.to_string()));
            let text = trouble.to_string().into();
            self.recorder.write(self.node, What::Program(ProgramEvent::Lost { why: text }));
            if self.client.is_some() {
                self.recorder.write(self.node, What::Machine(crate::event::MachineEvent::Ended));
            }
        }
    }

    async fn live(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), Trouble> {
        self.settle().await?;
        self.count_threads();
        let mut ended = false;
        loop {
            if !ended && self.processes.is_empty() && self.expected.is_empty() {
                self.end();
                ended = true;
            }
            if ended && self.sockets.is_empty() {
                return Ok(());
            }
            match self.next(orders).await {
                Woken::Arrived => {
                    let touched = self.touched.take();
                    let rests = |process: &&Process| process.rest.is_some();
                    let owner = self.processes.iter().filter(rests).find(|process| Some(process.index) == touched);
                    // With several processes, all are asked whether something is there for them.
                    let first = owner.or_else(|| self.processes.iter().find(rests)).map(|process| process.index);
                    if let Some(index) = first {
                        self.go(index, "").await?;
                    }
                }
                Woken::Deadline => {
                    let now = self.recorder.now();
                    if self.killed_at.is_some_and(|at| at <= now) {
                        self.killed_at = None;
                        self.recorder.write(self.node, What::Program(ProgramEvent::Overdue));
                        self.signal(Signal::KILL).await?;
                        continue;
                    }
                    let is_due = |process: &Process| process.deadline_ns.is_some_and(|ns| time_of(ns) <= now);
                    let due: Vec<_> = self.processes.iter().filter(|it| is_due(it)).map(|it| it.index).collect();
                    for index in due {
                        self.go(index, "").await?;
                    }
                }
                Woken::Order(Order::ShutDown) => {
                    self.killed_at = Some(self.recorder.now() + SHUT_DOWN_WITHIN);
                    self.signal(Signal::TERM).await?;
                }
                Woken::Order(Order::Stall(time)) => self.stalled_until = self.recorder.now() + time,
                Woken::Order(Order::Jump(ns)) => {
                    self.page.jump(ns);
                    self.go_all().await?;
                }
                Woken::Order(Order::Do(command)) => {
                    if let Some(client) = &mut self.client {
                        client.obey(command);
                    }
                    self.go_all().await?;
                }
                Woken::Order(Order::Cut) => {
                    if self.cut_signaling() {
                        self.go_all().await?;
                    }
                }
            }
        }
    }

    async fn go_all(&mut self) -> Result<(), Trouble> {
        for index in self.indexes() {
            self.go(index, "").await?;
        }
        Ok(())
    }

    fn indexes(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.index).collect()
    }

    /// Waits, in virtual time, until there is something for the program.
    async fn next(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Woken {
        let now = self.recorder.now();
        let deadlines = self.processes.iter().filter(|process| process.rest.is_some());
        let deadline = deadlines.filter_map(|process| process.deadline_ns).min().map(time_of);
        let is_stalled = self.stalled_until > now;
        let deadline = if is_stalled { Some(self.stalled_until) } else { deadline };
        let has_processes = !self.processes.is_empty() || !self.expected.is_empty();
        let deadline = deadline.into_iter().chain(self.killed_at.filter(|_| has_processes)).min();
        let at = deadline.map(|deadline| Instant::now() + deadline.saturating_sub(now));
        let mut timer = std::pin::pin!(sleep_until(at.unwrap_or_else(Instant::now)));
        std::future::poll_fn(|cx| {
            self.exchange(cx);
            self.count_connections();
            if self.touched.is_some() && !is_stalled {
                return std::task::Poll::Ready(Woken::Arrived);
            }
            // A program that stands still handles no signal.
            if !is_stalled && let std::task::Poll::Ready(Some(order)) = orders.poll_recv(cx) {
                return std::task::Poll::Ready(Woken::Order(order));
            }
            if at.is_some() && timer.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(Woken::Deadline);
            }
            // Without processes, only bytes that are still to be delivered are waited for.
            let is_over = self.processes.is_empty() && self.expected.is_empty() && self.sockets.is_empty();
            if is_over { std::task::Poll::Ready(Woken::Arrived) } else { std::task::Poll::Pending }
        })
        .await
    }

    fn count_connections(&self) {
        let connections = self.sockets.values().filter(|socket| matches!(socket.state, State::Connected(_))).count();
        if self.status.seen.lock().expect("no panic while held").connections != connections {
            self.status.change(|seen| seen.connections = connections);
            self.count_threads();
        }
    }

    fn count_threads(&self) {
        let of_process = |process: &Process| threads(process.pid).map_or(0, |threads| threads.len());
        self.recorder.note_threads(self.node, self.processes.iter().map(of_process).sum());
    }

    async fn signal(&mut self, signal: Signal) -> Result<(), Trouble> {
        // The signal wakes the program before it is told to go on.
        self.page.show(self.recorder.now());
        for process in &self.processes {
            if let Some(pid) = pid(process.pid) {
                // It may have ended on its own just now.
                let _ = kill_process(pid, signal);
            }
        }
        for index in self.indexes() {
            self.go(index, "signalled").await?;
        }
        self.changed = true;
        self.settle().await
    }

    /// Records the lines that the program has printed.
    pub(super) fn record_output(&mut self) {
        for line in self.output.take() {
            if self.client.as_mut().is_some_and(|client| client.printed(&line)) {
                continue;
            }
            let text = line.into();
            self.status.change(|seen| seen.last_lines.push(&text));
            self.recorder.write(self.node, What::Program(ProgramEvent::Printed { text }));
        }
    }

    /// No process is left.
    fn end(&mut self) {
        self.output.finish();
        self.record_output();
        let how = match self.child.wait() {
            Ok(status) => super::exit_words(status),
            Err(error) => format!("in an unknown way: {error}"),
        };
        self.status.change(|seen| seen.ended = Some(how.clone()));
        self.recorder.write(self.node, What::Program(ProgramEvent::Ended { how: how.into() }));
        self.recorder.write(self.node, What::Machine(crate::event::MachineEvent::Ended));
    }
}

fn pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

impl Drop for Machine {
    /// Ends all processes, and waits until they are gone.
    fn drop(&mut self) {
        if let Some(group) = pid(self.child.id()).filter(|_| !matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let expected = self.expected.iter().filter_map(|expected| expected.pid);
        let pids: Vec<_> = self.processes.iter().map(|process| process.pid).chain(expected).collect();
        for pid in pids.iter().filter_map(|number| pid(*number)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
        for _ in 0..1000 {
            if pids.iter().all(|pid| threads(*pid).is_none()) {
                break;
            }
            super::nap();
        }
    }
}
