//! The plan of a run: the arguments, checked against the dialect.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use conformance::dial::Dial;
use conformance::{Audience, Crowd, Dialect, Target};

use super::process::Processes;
use super::token::PAYLOAD_MIN;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Default numbers of members per room and of rooms, unless the dialect limits them.
const MEMBERS: usize = 6;
const ROOMS: usize = 10;
/// Default number of messages in flight per sender.
const WINDOW: u64 = 8;
/// Default number of messages per second of an open loop in which clients stop reading.
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
    /// Clients that stop reading, and the messages per second of the others.
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

/// What triggers the next message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// The delivery of an earlier one: `window` messages are in flight per sender.
    Closed { window: u64 },
    /// Time: this many messages per second over all senders.
    Open { per_second: f64 },
}

impl Plan {
    /// # Errors
    /// A flag does not fit; the message says what would.
    pub(super) fn new(
        arguments: &super::Arguments,
        target: Target,
        dialect: Dialect,
        seed: u64,
    ) -> anyhow::Result<Self> {
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
        let rooms_given = arguments.rooms.map(|rooms| rooms.get());
        let members_given = arguments.members.map(|members| members.get());
        let (rooms, members) = if audience.rooms {
            let most = audience.members_max.unwrap_or(usize::MAX);
            if let Some(given) = members_given.filter(|given| *given > most) {
                bail!("--members {given}: a room of {name} has at most {most}");
            }
            (rooms_given.unwrap_or(ROOMS), members_given.unwrap_or(MEMBERS.min(most)))
        } else {
            if let Some(given) = rooms_given.filter(|given| *given > 1) {
                bail!("--rooms {given}: {name} has no rooms, all clients receive all messages; use --members instead");
            }
            (1, members_given.unwrap_or(MEMBERS * ROOMS))
        };
        if members < 2 && matches!(mode, Mode::Talk(_) | Mode::Stalled { .. }) {
            bail!("--members {members}: at least two members are needed");
        }
        if arguments.bytes < PAYLOAD_MIN {
            bail!("--bytes {}: the minimum is {PAYLOAD_MIN}, because each payload contains a token", arguments.bytes);
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

    /// Creates the clients. Each crowd of a run needs its own number.
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
