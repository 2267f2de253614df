//! What is to be done: the arguments, checked against the dialect.

use std::sync::Arc;
use std::time::Duration;

use conformance::dial::Dial;
use conformance::{Audience, Crowd, Dialect, Target};

use super::process::Processes;
use super::token::PAYLOAD_MIN;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Members of a room, and rooms, unless told otherwise or the dialect has its own idea.
const MEMBERS: usize = 6;
const ROOMS: usize = 10;
/// Messages in flight a sender, unless told otherwise.
const WINDOW: u64 = 8;
/// Messages a second of an open loop in which clients stop reading, unless told otherwise.
const PER_SECOND: f64 = 2000.0;

/// A run.
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) dialect: Arc<Dialect>,
    pub(super) audience: Audience,
    pub(super) mode: Mode,
    pub(super) rooms: usize,
    pub(super) members: usize,
    pub(super) bytes: usize,
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
    pub(super) threads: usize,
    pub(super) processes: Option<Processes>,
    pub(super) seed: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Talk(Pace),
    /// Clients that stop reading, and the messages a second of the others.
    Stalled {
        clients: usize,
        per_second: f64,
    },
    Idle {
        clients: usize,
    },
    Churn {
        per_second: f64,
    },
}

/// What lets a message go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// The arrival of an earlier one: so many are in flight a sender.
    Closed { window: u64 },
    /// Time: so many a second over all senders.
    Open { per_second: f64 },
}

impl Plan {
    /// # Errors
    /// The flag that does not fit, and what would.
    pub(super) fn new(
        arguments: &super::Arguments,
        target: Target,
        dialect: Dialect,
        seed: u64,
    ) -> Result<Self, String> {
        let audience = dialect.audience();
        let name = dialect.name();
        let mode = match (arguments.idle, arguments.stalled, arguments.churn) {
            (Some(clients), ..) => Mode::Idle { clients: clients.get() },
            (_, Some(clients), _) => {
                Mode::Stalled { clients: clients.get(), per_second: arguments.rate.unwrap_or(PER_SECOND) }
            }
            (.., Some(per_second)) => Mode::Churn { per_second },
            _ => Mode::Talk(match arguments.rate {
                Some(per_second) => Pace::Open { per_second },
                None => Pace::Closed { window: arguments.window.map_or(WINDOW, |window| window.get().into()) },
            }),
        };
        let rooms_asked = arguments.rooms.map(|rooms| rooms.get());
        let members_asked = arguments.members.map(|members| members.get());
        let (rooms, members) = if audience.rooms {
            let most = audience.members_max.unwrap_or(usize::MAX);
            if let Some(asked) = members_asked.filter(|asked| *asked > most) {
                return Err(format!("--members {asked}: a room of {name} holds {most}"));
            }
            (rooms_asked.unwrap_or(ROOMS), members_asked.unwrap_or(MEMBERS.min(most)))
        } else {
            if let Some(asked) = rooms_asked.filter(|asked| *asked > 1) {
                return Err(format!(
                    "--rooms {asked}: {name} has no rooms, so that everyone hears everyone; give --members"
                ));
            }
            (1, members_asked.unwrap_or(MEMBERS * ROOMS))
        };
        if members < 2 && matches!(mode, Mode::Talk(_) | Mode::Stalled { .. }) {
            return Err(format!("--members {members}: it takes two to talk"));
        }
        if arguments.bytes < PAYLOAD_MIN {
            return Err(format!(
                "--bytes {}: a payload that can be recognised has {PAYLOAD_MIN} or more",
                arguments.bytes
            ));
        }
        let processes = if arguments.pids.is_empty() { None } else { Some(Processes::new(&arguments.pids)?) };
        Ok(Self {
            target,
            dialect: Arc::new(dialect),
            audience,
            mode,
            rooms,
            members,
            bytes: arguments.bytes,
            warm_up: Duration::from_secs_f64(arguments.warm_up),
            time: Duration::from_secs_f64(arguments.seconds),
            threads: arguments.threads.get(),
            processes,
            seed,
        })
    }

    /// Makes clients; two crowds of a run have different numbers.
    pub(super) fn crowd(&self, dial: impl Dial, number: u64) -> Crowd {
        Crowd::new(dial, &self.target, &self.dialect, self.seed.wrapping_add(number), PATIENCE)
    }

    /// Connections that are open at the same time, for the limit of open files.
    pub(super) fn connections(&self) -> usize {
        match self.mode {
            Mode::Talk(_) => self.rooms * self.members,
            Mode::Stalled { clients, .. } => self.rooms * self.members + 2 * clients,
            Mode::Idle { clients } => clients,
            Mode::Churn { .. } => 1000,
        }
    }
}
