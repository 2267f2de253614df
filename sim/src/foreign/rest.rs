//! Waits, in real time, until the program has nothing left to do. Virtual time stands still meanwhile.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::sleep;

use super::channel::{self, Received};
use super::descriptors::Handling;
use super::file;
use super::machine::Machine;
use super::process::{Answer, Expected, Message, Process, processor_time, threads};
use super::trouble::Trouble;
use super::{PATIENCE, PATIENCE_REAL, nap, real_time};
use crate::hash::digest;

/// How long the world waits for a message before it looks whether the processes sleep.
const SILENCE: Duration = Duration::from_millis(20);
/// How many such looks in a row, without a message, show that the processes rest.
const LOOKS: u32 = 3;
/// Time that passes for a program that waits for it by looking at a clock again and again.
const SPIN: Duration = Duration::from_millis(1);

/// What a program has used when it was last seen to get on.
#[derive(Clone, Copy)]
struct Patience {
    since: std::time::Instant,
    used: Duration,
}

/// What a look for messages has found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Served {
    Nothing,
    /// Output or calls: also a program that never rests has these.
    Something,
    /// A process came, rested or ended: the program gets on.
    Processes,
}

/// Something to read.
#[derive(Clone, Copy)]
enum Source {
    Hello,
    Output,
    Calls(u32),
    Control(u32),
}

impl Machine {
    /// Lets a process that rests look whether its wait is over, and waits until the machine rests again.
    pub(super) async fn go(&mut self, index: u32, why: &str) -> Result<(), Trouble> {
        self.page.show(self.recorder.now());
        let Some(process) = self.processes.iter_mut().find(|process| process.index == index) else { return Ok(()) };
        let Some(number) = process.rest.take() else { return Ok(()) };
        process.tell(format!("go {number} {why}").trim_end());
        self.settle().await
    }

    /// Returns when the whole machine is at rest.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        loop {
            self.until_rest().await?;
            let alone = self.processes.len() < 2 && !self.changed;
            self.changed = false;
            let still = alone || (self.are_still()? && !self.changed && self.rests());
            // A process that waited for room in the pipe goes on when it is read.
            let full = self.output.read();
            if still && !full {
                break;
            }
            self.changed |= full;
        }
        self.record_output();
        Ok(())
    }

    async fn until_rest(&mut self) -> Result<(), Trouble> {
        let mut began = self.patience();
        let mut progress = began;
        let mut silent = 0;
        while !self.rests() {
            if let Some(index) = self.spinning.pop_front() {
                self.let_time_pass(index).await;
                began = self.patience();
                progress = began;
                continue;
            }
            match self.serve(SILENCE)? {
                Served::Nothing => {
                    silent += 1;
                    if self.look() && silent > LOOKS {
                        return Ok(());
                    }
                }
                Served::Something => silent = 0,
                Served::Processes => (silent, progress) = (0, self.patience()),
            }
            if self.is_over(progress, PATIENCE) || self.is_over(began, PATIENCE * 10) {
                return Err(self.never_rests(progress));
            }
        }
        Ok(())
    }

    fn rests(&self) -> bool {
        self.expected.is_empty() && self.spinning.is_empty() && self.processes.iter().all(Process::rests)
    }

    async fn let_time_pass(&mut self, index: u32) {
        // What was printed before belongs to this instant.
        self.output.read();
        self.record_output();
        sleep(SPIN).await;
        self.page.show(self.recorder.now());
        self.answer_call(index, Ok(String::new()));
    }

    fn patience(&self) -> Patience {
        Patience { since: real_time(), used: self.processor_time() }
    }

    /// What its processes have computed.
    fn processor_time(&self) -> Duration {
        self.processes.iter().filter_map(|process| processor_time(process.pid)).sum()
    }

    /// Whether the program has computed too long, or does not go on at all.
    fn is_over(&self, patience: Patience, computed: Duration) -> bool {
        let real = patience.since.elapsed();
        // Who has had less time has not computed longer.
        real > PATIENCE && (real > PATIENCE_REAL || self.processor_time().saturating_sub(patience.used) > computed)
    }

    fn never_rests(&self, patience: Patience) -> Trouble {
        if let Some(pid) = self.expected.iter().find_map(|expected| expected.pid) {
            return Trouble::NotLoaded { process: describe(pid) };
        }
        let state = |process: &Process| if process.rests() { "waits" } else { "runs" };
        let processes = self.processes.iter().map(|process| format!("{} {}", describe(process.pid), state(process)));
        let starting = self
            .expected
            .iter()
            .map(|expected| format!("a process that {} has announced does not start", describe(expected.parent_pid)));
        let processes = processes.chain(starting).collect::<Vec<_>>().join(", ");
        let used = self.processor_time().saturating_sub(patience.used);
        Trouble::NeverRests { processes, used, real: patience.since.elapsed() }
    }

    /// Handles what has come; waits for it no longer than `time`.
    fn serve(&mut self, time: Duration) -> Result<Served, Trouble> {
        let mut sources: Vec<(Source, BorrowedFd<'_>)> = vec![(Source::Hello, self.listener.as_fd())];
        sources.extend(self.output.fd().map(|fd| (Source::Output, fd)));
        for process in &self.processes {
            sources.extend(process.calls.as_ref().map(|fd| (Source::Calls(process.index), fd.as_fd())));
            sources.extend(process.control.as_ref().map(|fd| (Source::Control(process.index), fd.as_fd())));
        }
        let mut fds: Vec<_> = sources.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)).collect();
        let time = Timespec { tv_sec: 0, tv_nsec: time.as_nanos() as _ };
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, Some(&time));
        let ready: Vec<Source> = sources
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((source, _), _)| *source)
            .collect();
        let _handling = Handling::start();
        let mut served = Served::Nothing;
        for source in &ready {
            served = served.max(match source {
                Source::Hello | Source::Control(_) => Served::Processes,
                Source::Output | Source::Calls(_) => Served::Something,
            });
            match *source {
                Source::Hello => self.hello()?,
                Source::Output => {
                    self.output.read();
                }
                Source::Calls(index) => self.called(index)?,
                Source::Control(index) => {
                    self.told(index)?;
                }
            }
        }
        Ok(served)
    }

    fn process(&mut self, index: u32) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.index == index)
    }

    // ---- processes

    /// A process, or a program that a process has become, says hello.
    fn hello(&mut self) -> Result<(), Trouble> {
        let Some(control) = channel::accept(&self.listener) else { return Ok(()) };
        let Received::Message(text, Some(calls)) = channel::receive(&control, true) else { return Ok(()) };
        let words: Vec<_> = text.split(' ').collect();
        let (pid, parent_pid) = match words[..] {
            ["hello", "1", pid, parent, _] => (pid.parse().ok(), parent.parse().ok()),
            _ => (None, None),
        };
        let (Some(pid), Some(parent_pid)) = (pid, parent_pid) else { return Err(Trouble::NotUnderstood(text)) };
        let (index, parent) = self.place(pid, parent_pid);
        let seed = digest(format!("{} {index}", self.seed).as_bytes());
        let host = self.recorder.name(self.node);
        let welcome = format!("welcome {index} {parent} {seed} {host}");
        // If it is gone already, its connection says so.
        let _ = channel::send(&control, welcome.as_bytes(), Some(self.page.fd()));
        let process = Process::stranger(index, parent, pid);
        self.lives += 1;
        self.processes.push(Process { life: self.lives, control: Some(control), calls: Some(calls), ..process });
        self.processes.sort_by_key(|process| process.index);
        self.changed = true;
        Ok(())
    }

    /// The number of a process that says hello, and that of its parent.
    fn place(&mut self, pid: u32, parent_pid: u32) -> (u32, u32) {
        if let Some(at) = self.processes.iter().position(|process| process.pid == pid) {
            // The process has become another program.
            let before = self.processes.remove(at);
            return (before.index, before.parent);
        }
        let known = |expected: &Expected| expected.pid == Some(pid);
        let of_parent = |expected: &Expected| expected.pid.is_none() && expected.parent_pid == parent_pid;
        let unknown = |expected: &Expected| expected.pid.is_none();
        let at = self.expected.iter().position(known);
        let at = at.or_else(|| self.expected.iter().position(of_parent));
        match at.or_else(|| self.expected.iter().position(unknown)) {
            Some(at) => {
                let expected = self.expected.remove(at);
                (expected.index, expected.parent)
            }
            None => (self.number_process(), 0),
        }
    }

    fn number_process(&mut self) -> u32 {
        self.next_process += 1;
        self.next_process - 1
    }

    /// A process announces that it makes another.
    pub(super) fn expect(&mut self, parent: u32, parent_pid: u32) {
        let index = self.number_process();
        self.expected.push(Expected { pid: None, parent_pid, index, parent });
    }

    fn drop_process(&mut self, index: u32) {
        self.processes.retain(|process| process.index != index);
        self.spinning.retain(|spinning| *spinning != index);
        self.changed = true;
    }

    /// Handles the next message of a process. Returns whether there was one.
    pub(super) fn told(&mut self, index: u32) -> Result<bool, Trouble> {
        let Some(process) = self.process(index) else { return Ok(false) };
        let Some(control) = &process.control else { return Ok(false) };
        let text = match channel::receive(control, false) {
            Received::Message(text, _) => text,
            Received::Nothing => return Ok(false),
            Received::End => {
                if process.executes && threads(process.pid).is_some() {
                    process.control = None;
                    return Ok(false);
                }
                // The connection ends a little before the parent can learn of the end.
                let pid = process.pid;
                let began = real_time();
                while threads(pid).is_some() {
                    nap();
                    if began.elapsed() > PATIENCE_REAL {
                        return Err(Trouble::NotLoaded { process: describe(pid) });
                    }
                }
                self.drop_process(index);
                return Ok(false);
            }
        };
        match Message::parse(&text).ok_or(Trouble::NotUnderstood(text))? {
            Message::Rest { number, deadline_ns, full } => {
                (process.rest, process.deadline_ns, process.seen) = (Some(number), deadline_ns, None);
                process.fills_buffers |= full;
            }
            Message::Answer(answer, number) => {
                if number.is_none() || number == process.rest {
                    process.answer = Some(answer);
                    if answer == Answer::Busy {
                        process.rest = None;
                    }
                }
            }
            Message::Spawned(pid) => {
                let said_hello = self.processes.iter().any(|process| process.pid == pid);
                let waiting = self.expected.iter_mut().find(|it| it.pid.is_none() && it.parent == index);
                // popen does not tell the number of its child.
                if let Some(expected) = waiting.filter(|_| pid != 0 && !said_hello) {
                    expected.pid = Some(pid);
                }
            }
            Message::Unspawned => {
                if let Some(at) = self.expected.iter().position(|expected| expected.parent == index) {
                    self.expected.remove(at);
                }
            }
            Message::Exec => process.executes = true,
            Message::Unexec => process.executes = false,
        }
        Ok(true)
    }

    /// Looks after processes that say nothing: they are gone, or asleep in the kernel where the library sees no wait.
    /// Returns whether all rest.
    fn look(&mut self) -> bool {
        self.find_strangers();
        let before = self.expected.len();
        self.expected.retain(|expected| expected.pid.is_none_or(|pid| threads(pid).is_some()));
        self.changed |= self.expected.len() < before;
        let mut gone = Vec::new();
        for process in self.processes.iter_mut().filter(|process| process.rest.is_none()) {
            let Some(now) = threads(process.pid) else {
                gone.push(process.index);
                continue;
            };
            let same = process.seen.as_ref().is_some_and(|(before, _)| *before == now);
            let sleeps = now.iter().all(|thread| thread.sleeps());
            process.seen = Some((now, same && sleeps));
        }
        for index in gone {
            self.drop_process(index);
        }
        self.rests()
    }

    /// Finds processes that will never say hello, because their program cannot load the library. They run in real time;
    /// that they rest shows only in `/proc`.
    fn find_strangers(&mut self) {
        let search = self.command.search();
        let refuses = |pid: u32| {
            let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            let trouble = file::check(&path, &search).err().filter(Trouble::is_about_loading)?;
            Some(trouble.to_string())
        };
        let mut at = 0;
        while let Some(expected) = self.expected.get(at) {
            let Some((pid, why)) = expected.pid.and_then(|pid| Some((pid, refuses(pid)?))) else {
                at += 1;
                continue;
            };
            let Expected { index, parent, .. } = self.expected.remove(at);
            self.processes.push(Process::stranger(index, parent, pid));
            self.processes.sort_by_key(|process| process.index);
            self.changed = true;
            self.status.change(|seen| seen.strangers.push(why));
        }
        for process in self.processes.iter_mut().filter(|process| process.executes && process.control.is_none()) {
            if let Some(why) = refuses(process.pid) {
                process.executes = false;
                self.status.change(|seen| seen.strangers.push(why));
            }
        }
    }

    // ---- questions

    /// Asks all processes whether they still rest.
    fn are_still(&mut self) -> Result<bool, Trouble> {
        for index in self.processes.iter().map(|process| process.index).collect::<Vec<_>>() {
            let Some(process) = self.process(index) else { return Ok(false) };
            let still = match process.rest {
                Some(number) => self.ask(index, &format!("check {number}"))? == Some(Answer::Still),
                None => match &process.seen {
                    Some((before, true)) if threads(process.pid).as_ref() == Some(before) => true,
                    _ => {
                        process.seen = None;
                        false
                    }
                },
            };
            if !still {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asks a process that rests; `None` if it is gone.
    pub(super) fn ask(&mut self, index: u32, question: &str) -> Result<Option<Answer>, Trouble> {
        let Some(process) = self.process(index) else { return Ok(None) };
        process.answer = None;
        process.tell(question);
        let life = process.life;
        let began = self.patience();
        loop {
            self.serve(SILENCE)?;
            let is_over = self.is_over(began, PATIENCE);
            match self.process(index) {
                None => return Ok(None),
                Some(process) if process.life != life => return Ok(None),
                Some(process) if process.answer.is_some() => return Ok(process.answer),
                Some(process) if threads(process.pid).is_none() => self.drop_process(index),
                Some(_) if is_over => return Err(self.never_rests(began)),
                Some(_) => {}
            }
        }
    }
}

/// A process in words: its command.
fn describe(pid: u32) -> String {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let text = words.join(" ");
    match text.trim() {
        "" => format!("process {pid}"),
        text => format!("`{}`", text.chars().take(120).collect::<String>()),
    }
}
