//! A scenario as the simulator takes it: profiles looked up, counts expanded, every name checked.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use serde::Serialize;

use crate::nat::{NatBehavior, NatReboot};
use crate::role::{Framing, Role};

/// What happens in one simulation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// The slug it is called by.
    pub name: String,
    /// What it shows, in one line.
    pub about: String,
    /// The specifications it is about, such as `RFC 4787 §4.1`.
    pub spec: Vec<String>,
    /// Virtual time it takes.
    pub duration: Duration,
    /// Whether steps may do nothing, such as `leave` of an actor that is not there. Generated scenarios have such steps; in others they are
    /// mistakes.
    pub idle_steps: bool,
    /// The servers on the internet.
    pub server: ServerSetup,
    /// Private networks, an outer one always before those behind it.
    pub networks: Vec<Network>,
    /// Who takes part.
    pub actors: Vec<Actor>,
    /// What happens when, in order of time.
    pub steps: Vec<Step>,
    /// What must come of it.
    pub expect: Expect,
}

/// The machine that runs the signaling and STUN server, on the internet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerSetup {
    /// Its address. Each [`Dialect`](crate::Dialect) that somebody plays listens on a TCP port of its own, STUN on UDP 3478.
    pub address: Ipv4Addr,
    /// Its link to the internet.
    pub link: Link,
    /// Time between the server's WebSocket pings.
    pub heartbeat: Duration,
}

/// One direction of a link; both directions of a host's or a NAT's link are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Time a packet takes, whole milliseconds.
    pub latency: Duration,
    /// Further time, uniformly from zero to this, drawn for each packet, whole milliseconds. It re-orders no flow.
    pub jitter: Duration,
    /// Lost packets in a million. A lost TCP segment comes later, as after a retransmission.
    pub loss_ppm: u32,
    /// UDP datagrams in a million that arrive twice.
    pub duplicate_ppm: u32,
    /// UDP datagrams in a million that are overtaken by later ones.
    pub reorder_ppm: u32,
    /// Bits a second; `None` is no limit.
    pub bandwidth_bps: Option<u64>,
}

/// A private network behind a NAT.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    /// What steps call it.
    pub name: String,
    /// The network its NAT's outside is in; `None` is the internet.
    pub behind: Option<NetworkIndex>,
    /// The NAT's external addresses, at least one.
    pub external: Vec<Ipv4Addr>,
    /// The NAT's internal address.
    pub gateway: Ipv4Addr,
    /// The profile it was made of, for people.
    pub profile: String,
    /// What the NAT does; `None` is a router that translates nothing (its hosts have public addresses).
    pub nat: Option<NatBehavior>,
    /// The NAT's link to the outer network.
    pub link: Link,
}

/// Somebody who takes part, on a host of their own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Actor {
    /// What steps and reports call them; also the name of their host.
    pub name: String,
    /// The network their host is in; `None` is the internet.
    pub network: Option<NetworkIndex>,
    /// Their host's address there.
    pub address: Ipv4Addr,
    /// Their host's link to that network.
    pub link: Link,
    /// What they are to the signaling server.
    pub plays: Role,
    /// What their messages to it go in.
    pub over: Framing,
    /// The room they join; users have none, and share one name for all.
    pub room: String,
    /// When they join; `None` waits for a `join` step.
    pub joins: Option<Duration>,
    /// Real WebRTC connections if true; with false only the signaling is played.
    pub webrtc: bool,
    /// The line of the scenario file that describes them, from 1.
    pub line: usize,
}

/// Something that is done at a given time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Virtual time.
    pub at: Duration,
    /// What is done.
    pub action: Action,
    /// The line of the scenario file, from 1.
    pub line: usize,
}

/// An index into [`Scenario::actors`], and into every list with one element per actor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ActorIndex(pub usize);

/// An index into [`Scenario::networks`], and into every list with one element per network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NetworkIndex(pub usize);

impl fmt::Debug for ActorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for NetworkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

macro_rules! indexes_lists {
    ($($index:ident of $list:ty;)*) => {$(
        impl<T> Index<$index> for $list {
            type Output = T;

            fn index(&self, index: $index) -> &T {
                &self[index.0]
            }
        }

        impl<T> IndexMut<$index> for $list {
            fn index_mut(&mut self, index: $index) -> &mut T {
                &mut self[index.0]
            }
        }
    )*};
}

indexes_lists! {
    ActorIndex of Vec<T>;
    ActorIndex of [T];
    NetworkIndex of Vec<T>;
    NetworkIndex of [T];
}

/// A machine that can lose power or be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// The server's.
    Server,
    /// An actor's.
    Actor(ActorIndex),
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The program of an actor that is not there starts, and joins its room.
    Join(ActorIndex),
    /// An actor's program is given a command.
    Actor(ActorIndex, Command),
    /// Something happens to a machine.
    Machine(Machine, MachineAction),
    /// Something happens to the NAT of a network.
    Network(NetworkIndex, NetworkAction),
    /// Something happens to the server, or to several machines.
    World(WorldAction),
}

/// A command to the program of an actor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Say `leave`, close all connections, end.
    Leave,
    /// Break the signaling connection without a close frame; the client reconnects with its backoff.
    Drop,
    /// Send a text message on each open data channel.
    Say(String),
    /// Hang up on another. Between users this ends their call, ringing or answered; in a mesh it ends the pair, and the offerer offers
    /// again.
    Hangup(ActorIndex),
    /// Restart ICE with another.
    IceRestart(ActorIndex),
    /// Offer to another: a connection if there is none, else a change of it.
    Offer(ActorIndex),
    /// Call another user.
    Call(ActorIndex),
    /// Take the call that rings.
    Accept,
    /// Reject the call that rings.
    Reject,
    /// Turn the camera or the microphone on or off, and tell the other user in the call.
    Media(MediaKind, bool),
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineAction {
    /// It dies at once: nothing leaves it, not even a FIN.
    PowerLoss,
    /// It was down and starts again; an actor joins again.
    Boot,
    /// Its link changes.
    Link(Link),
}

/// What happens to the NAT of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkAction {
    /// It loses all its mappings.
    Reboot(NatReboot),
    /// Its link changes.
    Link(Link),
}

/// What happens to the server, or to several machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorldAction {
    /// The server closes every connection with 1001 and ends.
    Shutdown,
    /// No packet passes between any machine of the first list and any of the second. With `one_way` only those from the first to the second are stopped.
    Partition {
        /// One side.
        from: Vec<Machine>,
        /// The other side.
        to: Vec<Machine>,
        /// Whether the way back stays open.
        one_way: bool,
    },
    /// All partitions end.
    Heal,
}

/// What a user can turn on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    /// The camera.
    Video,
    /// The microphone.
    Audio,
}

impl MediaKind {
    /// Its name in the dialect and in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

/// What must come of a scenario, beside what every run must keep to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Expect {
    /// Pairs of actors that must not be connected by WebRTC at the end, because their NATs forbid it. Every other pair of actors that are
    /// in one room at the end must be. The list must agree with what follows from the NATs.
    pub unconnected: Vec<(ActorIndex, ActorIndex)>,
    /// Names of the probes that must have been hit, such as `mapping-expired`.
    pub probes: Vec<String>,
    /// The line of the scenario file that says so, from 1; 0 if nothing is expected.
    pub line: usize,
}
