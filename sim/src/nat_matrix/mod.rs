//! Pairs of NATs: what becomes of two real peers behind them, beside what is worked out from the NATs alone.

mod paths;

use std::fmt;
use std::sync::Arc;

use scenarios::{ActorIndex, Scenario, Stack};

pub use paths::Paths;

use crate::event::{PacketEvent, Protocol, Record, What};
use crate::reachability::{CandidateKind, Obstacle, Path, Place, Verdict, can_connect, is_sure};
use crate::run::{Crash, record};

/// Length of a call, seconds: long enough for a second offer after 6 s, which meets all the state that the first has
/// left in the NATs.
const SECONDS: u64 = 8;

/// What is said of two sides that have selected different pairs.
pub const SPLIT: &str = "each side over a pair of its own";

/// The first two actors of a scenario.
const ENDS: [ActorIndex; 2] = [ActorIndex(0), ActorIndex(1)];

/// What happened between the first two actors of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// They are connected at the end.
    Connected(Path),
    /// They are connected at the end, but each sends over a pair of its own: at least one of these pairs is relayed. The path
    /// is what each side sees of the other.
    Split(Path),
    /// Connectivity checks, or other datagrams, have crossed the NATs, but they are not connected.
    ChecksArrive,
    /// No datagram of one has reached the other.
    Nothing,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(path) => write!(f, "{path}"),
            Self::Split(path) => write!(f, "{path}, {SPLIT}"),
            Self::ChecksArrive => f.write_str("checks get through, answers do not fit"),
            Self::Nothing => f.write_str("nothing gets through"),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.a.word(), self.b.word())
    }
}

impl CandidateKind {
    /// Its type as in a candidate attribute (RFC 8839 §5.1).
    pub fn word(self) -> &'static str {
        match self {
            Self::Relayed => "relay",
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
        }
    }
}

impl Found {
    /// Reads the record of a run.
    pub fn of(scenario: &Scenario, record: &Record) -> Self {
        let [a, b] = ENDS;
        let paths = Paths::of(scenario, record);
        if let Some(path) = paths.between(a, b) {
            return if paths.are_split(a, b) { Self::Split(path) } else { Self::Connected(path) };
        }
        // Datagrams of the server arrive everywhere.
        let crosses = |what: &What| match what {
            What::Packet(PacketEvent::Delivered(view)) => {
                let ends = [view.src, view.dst];
                view.protocol == Protocol::Udp && ends.iter().all(|end| end.ip() != scenario.server.address)
            }
            _ => false,
        };
        if record.events.iter().any(|event| crosses(&event.what)) { Self::ChecksArrive } else { Self::Nothing }
    }

    /// Whether a prediction allows it.
    pub fn is_as(self, predicted: Prediction) -> bool {
        let is_connected = matches!(self, Self::Connected(_) | Self::Split(_));
        match predicted.verdict {
            Verdict::Connects(path) if predicted.is_sure && predicted.any_relay && path.is_relayed() => match self {
                Self::Connected(found) => found.is_relayed(),
                _ => is_connected,
            },
            Verdict::Connects(path) if predicted.is_sure => self == Self::Connected(path),
            Verdict::Connects(_) => is_connected,
            Verdict::NeedsRelay(_) if !predicted.is_sure => !is_connected,
            Verdict::NeedsRelay(Obstacle::NoAnswerFits) => self == Self::ChecksArrive,
            Verdict::NeedsRelay(_) => self == Self::Nothing,
            Verdict::Chance(_) => true,
        }
    }
}

/// What is worked out from the NATs of two peers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Whether they connect.
    pub verdict: Verdict,
    /// Whether nothing is left to chance: a router without a firewall, or one with several addresses, makes the path
    /// depend on who sends first, or on the address that it picks.
    pub is_sure: bool,
    /// Whether a pair that needs a relay may use either side's, or one for each direction. The path is the pair that RFC 8445
    /// prefers; `str0m`, as the side that nominates, takes the first that answers, and may nominate another later.
    pub any_relay: bool,
}

/// What is predicted for the first two actors of a scenario.
pub fn predicted(scenario: &Scenario) -> Prediction {
    let [a, b] = ENDS.map(|actor| Place::of(scenario, actor));
    let any_relay = scenario.actors[ENDS[0]].stack == Stack::Str0m;
    Prediction { verdict: can_connect(&a, &b), is_sure: is_sure(&a, &b), any_relay }
}

/// Two peers with these WebRTC stacks, each behind a NAT with a shipped profile. With `turn`, the server also has a TURN
/// server, over UDP and TCP.
///
/// # Errors
/// There is no such profile.
pub fn pair(a: &str, b: &str, turn: bool, stacks: [Stack; 2]) -> Result<Scenario, scenarios::Error> {
    let text = format!(
        "name = 'pair'\nabout = '{a} with {b}'\nduration = '{SECONDS}s'\n[server]\nturn = {}\n\
         [[actor]]\nname = 'ana'\nnat = '{a}'\n[[actor]]\nname = 'ben'\nnat = '{b}'\njoins = '50ms'\n",
        if turn { "{ tcp = true }" } else { "false" }
    );
    let mut scenario = scenarios::parse("pair.toml", &text)?;
    scenario.set_stacks(&stacks);
    Ok(scenario)
}

/// Plays a pair with real stacks.
///
/// # Errors
/// The run panicked or hung.
pub fn play(scenario: &Arc<Scenario>, seed: u64) -> Result<Found, Crash> {
    Ok(Found::of(scenario, &record(scenario, seed)?))
}
