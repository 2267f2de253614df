//! The processes of a program, as the world knows them.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::channel;
use super::socket::SocketId;

/// Linux' USER_HZ, in which `/proc` counts.
const TICKS_PER_SECOND: u32 = 100;

/// A process that has said hello.
pub(super) struct Process {
    /// Its number on its machine, counted from 1.
    pub(super) index: u32,
    /// The number of the process that started it; 0 means the world.
    pub(super) parent: u32,
    pub(super) pid: u32,
    /// Counts the programs that processes of the machine have become: a process that becomes another program keeps its
    /// number, but answers no question that its last program was asked.
    pub(super) life: u32,
    /// Where it says that it rests. `None` while it becomes another program.
    pub(super) control: Option<OwnedFd>,
    /// Where it asks.
    pub(super) calls: Option<OwnedFd>,
    /// The number of its rest; `None` while it runs.
    pub(super) rest: Option<u64>,
    /// When its next wait ends, by the machine's monotonic clock.
    pub(super) deadline_ns: Option<i64>,
    /// Whether it has found a socket's buffer full: then it may wait for the world to read.
    pub(super) fills_buffers: bool,
    /// Whether it is about to become another program.
    pub(super) executes: bool,
    /// Its threads when it was last seen asleep without having said that it rests, and whether it was seen so twice.
    pub(super) seen: Option<(Vec<Thread>, bool)>,
    /// Its answer to the last question.
    pub(super) answer: Option<Answer>,
}

/// The answer of a process at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It still rests.
    Still,
    /// It runs again.
    Busy,
    /// It has prepared a socket to be reset.
    Poisoned,
    /// It has no such socket.
    Unknown,
}

/// A process that is about to start.
pub(super) struct Expected {
    /// Its process id, if it is known.
    pub(super) pid: Option<u32>,
    pub(super) parent_pid: u32,
    pub(super) index: u32,
    pub(super) parent: u32,
}

/// A message of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Nothing is left to do until the deadline.
    Rest {
        number: u64,
        deadline_ns: Option<i64>,
        full: bool,
    },
    Answer(Answer, Option<u64>),
    /// The process that was announced exists.
    Spawned(u32),
    /// It could not be made.
    Unspawned,
    /// The process is about to become another program.
    Exec,
    /// It could not.
    Unexec,
}

impl Message {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let word = words.next()?;
        let mut number = || words.next()?.parse().ok();
        Some(match word {
            "rest" => {
                let number = number()?;
                let deadline_ns = match words.next()? {
                    "-" => None,
                    deadline => Some(deadline.parse().ok()?),
                };
                Self::Rest { number, deadline_ns, full: words.next() == Some("full") }
            }
            "still" => Self::Answer(Answer::Still, Some(number()?)),
            "busy" => Self::Answer(Answer::Busy, Some(number()?)),
            "poisoned" => Self::Answer(Answer::Poisoned, None),
            "unknown" => Self::Answer(Answer::Unknown, None),
            "spawned" => Self::Spawned(u32::try_from(number()?).ok()?),
            "unspawned" => Self::Unspawned,
            "exec" => Self::Exec,
            "unexec" => Self::Unexec,
            _ => return None,
        })
    }
}

impl Process {
    /// A process to which no connection leads.
    pub(super) fn stranger(index: u32, parent: u32, pid: u32) -> Self {
        Self {
            index,
            parent,
            pid,
            life: 0,
            control: None,
            calls: None,
            rest: None,
            deadline_ns: None,
            fills_buffers: false,
            executes: false,
            seen: None,
            answer: None,
        }
    }

    /// Sends a message; returns false if the process is gone.
    pub(super) fn tell(&self, text: &str) -> bool {
        self.control.as_ref().is_some_and(|control| channel::send(control, text.as_bytes(), None).is_ok())
    }

    /// Tells it that an outgoing connection has failed.
    pub(super) fn fail(&self, socket: SocketId, errno: i32) {
        self.tell(&format!("fail {socket} {errno}"));
    }

    /// Whether nothing is left to do: it said so, or it was seen asleep twice without a change.
    pub(super) fn rests(&self) -> bool {
        self.rest.is_some() || self.seen.as_ref().is_some_and(|(_, twice)| *twice)
    }
}

/// A thread: its state in one letter, and how often it has gone to sleep or was interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) state: char,
    switches: u64,
}

impl Thread {
    pub(super) fn sleeps(&self) -> bool {
        matches!(self.state, 'S' | 'T' | 't')
    }
}

/// The threads of a process; `None` if it is gone or a zombie.
pub(super) fn threads(pid: u32) -> Option<Vec<Thread>> {
    let mut tids: Vec<u32> = fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    tids.sort_unstable();
    // A thread that ends meanwhile says nothing about the process.
    let status = |tid: u32| fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok();
    let threads: Vec<_> = tids.into_iter().filter_map(|tid| read_status(&status(tid)?)).collect();
    let lives = threads.iter().any(|thread| !matches!(thread.state, 'Z' | 'X'));
    lives.then_some(threads)
}

/// The processor time that a process has used; `None` if it is gone.
pub(super) fn processor_time(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name is in parentheses and may contain anything. The third field follows them.
    let (_, fields) = text.rsplit_once(')')?;
    let mut ticks = fields.split_ascii_whitespace().skip(11).map_while(|ticks| ticks.parse::<u64>().ok());
    Some(Duration::from_secs(ticks.next()? + ticks.next()?) / TICKS_PER_SECOND)
}

fn read_status(text: &str) -> Option<Thread> {
    let mut thread = Thread { state: '?', switches: 0 };
    for line in text.lines() {
        let (key, value) = line.split_once(':')?;
        match key {
            "State" => thread.state = value.trim().chars().next()?,
            "voluntary_ctxt_switches" | "nonvoluntary_ctxt_switches" => {
                thread.switches += value.trim().parse::<u64>().ok()?;
            }
            _ => {}
        }
    }
    Some(thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_words() {
        let parse = |text| Message::parse(text).expect("a message");
        assert_eq!(parse("rest 7 -"), Message::Rest { number: 7, deadline_ns: None, full: false });
        assert_eq!(parse("rest 8 1500 full"), Message::Rest { number: 8, deadline_ns: Some(1500), full: true });
        assert_eq!(parse("busy 8"), Message::Answer(Answer::Busy, Some(8)));
        assert_eq!(parse("poisoned 1.4"), Message::Answer(Answer::Poisoned, None));
        assert_eq!(parse("spawned 4711"), Message::Spawned(4711));
        for wrong in ["", "rest", "rest x -", "rest 1", "still", "hello"] {
            assert_eq!(Message::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_process_that_is_gone_has_no_threads() {
        assert!(threads(std::process::id()).is_some_and(|threads| !threads.is_empty()));
        assert_eq!(threads(u32::MAX), None);
        assert_eq!(processor_time(u32::MAX), None);
    }

    #[test]
    fn what_a_process_computes_counts() {
        let own = || processor_time(std::process::id()).expect("it lives");
        let before = own();
        while own() == before {}
    }
}
