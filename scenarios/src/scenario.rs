//! A scenario as the simulator takes it: profiles looked up, counts expanded, all names resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{Index, IndexMut};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::draft::SERVER;
use crate::error::quote;
use crate::ice::{IceServer, IceServerIndex, IceTransportPolicy, TurnCredential, TurnServer};
use crate::ipv6::{self, Addresses, Ipv6Network};
use crate::link::Link;
use crate::nat::{NatBehavior, NatReboot};
use crate::packet::PacketFate;
use crate::population::Population;
use crate::role::{Framing, Role};
use crate::tracks::Tracks;
use crate::value::{Word, word};

/// What happens in one simulation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Its slug.
    pub name: String,
    /// What it shows, in one line.
    pub about: String,
    /// The sections of specifications that it is about, such as `RFC 4787 §4.1`.
    pub spec: Vec<String>,
    /// Its length in virtual time.
    pub duration: Duration,
    /// Whether steps may have no effect, such as `leave` of an actor that is not present. Generated scenarios have such
    /// steps. In others they are mistakes.
    pub idle_steps: bool,
    /// When the actors' WebRTC connections send ICE checks.
    pub timing: Timing,
    /// The machine with the signaling and STUN servers.
    pub server: ServerSetup,
    /// Other machines with STUN and TURN servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ice_servers: Vec<IceServer>,
    /// Private networks. Each network comes before those behind it.
    pub networks: Vec<Network>,
    /// The mix from which the NATs of actors were drawn, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population: Option<Population>,
    /// The actors that take part.
    pub actors: Vec<Actor>,
    /// The steps, in order of time.
    pub steps: Vec<Step>,
    /// Packets whose fate does not depend on chance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packets: Vec<PacketFate>,
    /// What must hold at the end.
    pub expect: Expect,
}

/// When WebRTC connections send ICE checks, and when they nominate a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timing {
    /// As browsers do: one new pair every 50 ms (RFC 8445 §14.2), each again after 500 ms without a response, and a
    /// pair is nominated as soon as it answers.
    #[default]
    Browser,
    /// As the WebRTC library `rtc` does by itself: all pairs every 200 ms, and a nomination at such a time only, after
    /// a wait of up to 1 s for better pairs.
    Rtc,
    /// As soon as possible: all pairs at once, each again after 200 ms without a response, and a pair is nominated as
    /// soon as it answers.
    Fast,
}

/// The machine that runs the signaling and STUN server, on the internet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerSetup {
    /// Its address. For each [`Dialect`](crate::Dialect) that an actor speaks, the server listens on a separate TCP
    /// port; for STUN on UDP port 3478.
    pub address: Ipv4Addr,
    /// Whether it also has an address of IPv6.
    #[serde(skip_serializing_if = "is_false")]
    pub ipv6: bool,
    /// Its link to the internet.
    pub link: Link,
    /// The interval between the server's WebSocket pings.
    pub heartbeat: Duration,
    /// Its TURN server, at the port of STUN, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnServer>,
    /// The dialect that all actors speak: the name of a shipped one, or the path of a file. `None`: each speaks the one
    /// of its role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// The program that runs in place of the reference server.
    pub program: Option<ServerProgram>,
}

/// A server program that is not part of Glare. It runs unchanged as the signaling server; STUN is still the reference
/// server's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerProgram {
    /// The program and its arguments.
    pub run: Vec<String>,
    /// The TCP port of its signaling; `None` means the first port on which it listens.
    pub port: Option<u16>,
    /// Variables in addition to the fixed environment.
    pub env: BTreeMap<String, String>,
    /// The folder in which it starts; `None` is the current folder.
    pub directory: Option<PathBuf>,
}

/// A program that is not part of Glare, and runs unchanged: a client on an actor's machine, which joins the signaling
/// server by itself, or a STUN and TURN server on a machine of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClientProgram {
    /// The program and its arguments.
    pub run: Vec<String>,
    /// Variables in addition to the fixed environment.
    pub env: BTreeMap<String, String>,
    /// The folder in which it starts; `None` is the current folder.
    pub directory: Option<PathBuf>,
}

/// Variables that a simulation sets itself. Those of [`ClientProgram`]s say where and as whom to join, or how a TURN
/// server recognises its users.
const OWN_VARIABLES: [&str; 9] = [
    "GLARE_SHIM",
    "LD_PRELOAD",
    "GLARE_URL",
    "GLARE_ROOM",
    "GLARE_NAME",
    "GLARE_ROLE",
    "GLARE_STUN",
    "GLARE_ADDRESS",
    "GLARE_TURN_SECRET",
];

/// What is wrong with an environment variable for a [`ServerProgram`] or a [`ClientProgram`], if anything is.
pub fn bad_variable(name: &str, value: &str) -> Option<String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Some(format!("{} is not the name of a variable", quote(name)));
    }
    if value.contains('\0') {
        return Some(format!("the value of {} contains a zero byte", quote(name)));
    }
    OWN_VARIABLES.contains(&name).then(|| format!("{} is set by the simulation itself", quote(name)))
}

/// A private network behind a NAT.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    /// Its name in steps.
    pub name: String,
    /// The network outside its NAT; `None` is the internet.
    pub behind: Option<NetworkIndex>,
    /// The NAT's external addresses, at least one.
    pub external: Vec<Ipv4Addr>,
    /// The NAT's internal address.
    pub gateway: Ipv4Addr,
    /// The name of its NAT's profile, for readers.
    pub profile: String,
    /// The NAT's behavior; `None` is a router that does not translate, whose hosts have public addresses.
    pub nat: Option<NatBehavior>,
    /// Its IPv6, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Network>,
    /// The NAT's link to the outer network.
    pub link: Link,
}

/// A participant with a host of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Actor {
    /// Its name in steps and reports, and the name of its host.
    pub name: String,
    /// The network of its host; `None` is the internet.
    pub network: Option<NetworkIndex>,
    /// Its host's address of IPv4 in that network, which it does not use without `ipv4`.
    pub address: Ipv4Addr,
    /// Whether its host has an address of IPv4.
    #[serde(skip_serializing_if = "is_true")]
    pub ipv4: bool,
    /// Whether its host has an address of IPv6.
    #[serde(skip_serializing_if = "is_false")]
    pub ipv6: bool,
    /// Its host's link to that network.
    pub link: Link,
    /// Its role in the signaling.
    pub plays: Role,
    /// The framing of its signaling messages.
    pub over: Framing,
    /// The room that it joins. Users have no rooms, so all of them have the same name here.
    pub room: String,
    /// When it joins; `None` means that it waits for a `join` step.
    pub joins: Option<Duration>,
    /// Whether it makes real WebRTC connections. If not, only the signaling is played.
    pub webrtc: bool,
    /// The machines whose STUN and TURN servers it uses. An actor that is a program of others uses the first one's STUN.
    pub ice_servers: Vec<Machine>,
    /// Whether it requests the addresses and credentials of these servers from the signaling server, before it joins.
    #[serde(skip_serializing_if = "is_false")]
    pub ice_from_config: bool,
    /// Which candidates it uses.
    pub ice_transport_policy: IceTransportPolicy,
    /// Which credential it presents to TURN servers.
    pub turn_credential: TurnCredential,
    /// The audio and video that it sends, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Tracks>,
    /// The program that runs in place of Glare's own client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<ClientProgram>,
    /// The browser in which its WebRTC connections live, in place of Glare's own stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<Browser>,
    /// The library that its WebRTC connections are made of.
    #[serde(skip_serializing_if = "Stack::is_default")]
    pub stack: Stack,
    /// The line of the scenario file on which it is defined, counted from 1.
    pub line: usize,
}

impl Actor {
    /// Whether its host has an address of the same family as `address`.
    pub fn has_family(&self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// A library of which Glare's own clients make their WebRTC connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// The crate `rtc`.
    #[default]
    Rtc,
    /// The crate `str0m`.
    Str0m,
}

impl Stack {
    /// Its name in scenarios and reports: that of the crate.
    pub fn name(self) -> &'static str {
        word(self)
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Word for Stack {
    const WHAT: &'static str = "WebRTC stack";
    const RIGHT: &'static str = "\"rtc\" or \"str0m\"";
    const WORDS: &'static [(&'static str, Self)] = &[("rtc", Self::Rtc), ("str0m", Self::Str0m)];
}

/// A browser in which an actor can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Browser {
    /// Chromium, or Chrome.
    Chromium,
}

impl Word for Browser {
    const WHAT: &'static str = "browser";
    const RIGHT: &'static str = "\"chromium\"";
    const WORDS: &'static [(&'static str, Self)] = &[("chromium", Self::Chromium)];
}

/// An action at a given time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// When, in virtual time.
    pub at: Duration,
    /// The action.
    pub action: Action,
    /// The line of the scenario file, counted from 1.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// The server's machine.
    Server,
    /// An actor's machine.
    Actor(ActorIndex),
    /// A machine with a STUN server, apart from the server's.
    IceServer(IceServerIndex),
}

fn is_true(it: &bool) -> bool {
    *it
}

fn is_false(it: &bool) -> bool {
    !*it
}

impl Scenario {
    /// Gives the actors these WebRTC stacks in turn: the first to the first, and from the beginning again after the last.
    /// Programs of others, browsers and actors without WebRTC are passed over.
    pub fn set_stacks(&mut self, stacks: &[Stack]) {
        let has_stack = |actor: &&mut Actor| actor.webrtc && actor.program.is_none() && actor.runs.is_none();
        for (actor, stack) in self.actors.iter_mut().filter(has_stack).zip(stacks.iter().cycle()) {
            actor.stack = *stack;
        }
    }

    /// The TURN server of a machine, if it has one.
    pub fn turn_server(&self, machine: Machine) -> Option<TurnServer> {
        match machine {
            Machine::Server => self.server.turn,
            Machine::IceServer(index) => self.ice_servers[index].turn,
            Machine::Actor(_) => None,
        }
    }

    /// The addresses of a machine at the start.
    pub fn addresses(&self, machine: Machine) -> Addresses {
        let (ipv4, has_ipv6, network) = match machine {
            Machine::Server => (Some(self.server.address), self.server.ipv6, None),
            Machine::IceServer(index) => (Some(self.ice_servers[index].address), self.ice_servers[index].ipv6, None),
            Machine::Actor(actor) => {
                let actor = &self.actors[actor];
                (actor.ipv4.then_some(actor.address), actor.ipv6, actor.network)
            }
        };
        Addresses { ipv4, ipv6: has_ipv6.then(|| ipv6::address(machine, network)) }
    }

    /// Where an actor's machine is at a time: the network, and its addresses there.
    pub fn place_at(&self, actor: ActorIndex, at: Duration) -> (Option<NetworkIndex>, Addresses) {
        let mut place = (self.actors[actor].network, self.addresses(Machine::Actor(actor)));
        for step in self.steps.iter().take_while(|step| step.at <= at) {
            if let Action::Machine(Machine::Actor(moved), MachineAction::Move(to)) = &step.action
                && *moved == actor
            {
                place = (to.network, self.addresses_after(actor, to));
            }
        }
        place
    }

    /// The addresses of an actor after a move. Whether it has IPv6 depends on the network.
    pub fn addresses_after(&self, actor: ActorIndex, to: &Move) -> Addresses {
        let played = &self.actors[actor];
        let has_ipv6 = match to.network {
            Some(network) => self.networks[network].ipv6.is_some(),
            None => played.network.is_none() && played.ipv6,
        };
        let ipv6 = has_ipv6.then(|| ipv6::address(Machine::Actor(actor), to.network));
        Addresses { ipv4: played.ipv4.then_some(to.address), ipv6 }
    }

    /// What the tracks carry that anybody sends at any time, sound first.
    pub fn media(&self) -> Vec<MediaKind> {
        let sends = |kind: &MediaKind| {
            self.actors.iter().any(|actor| actor.media.as_ref().is_some_and(|media| media.has(*kind)))
                || self
                    .steps
                    .iter()
                    .any(|step| matches!(&step.action, Action::Actor(_, Command::AddTrack(it)) if it == kind))
        };
        [MediaKind::Audio, MediaKind::Video].into_iter().filter(sends).collect()
    }

    /// Whether any actor has an address of IPv6.
    pub fn has_ipv6(&self) -> bool {
        self.actors.iter().any(|actor| actor.ipv6)
    }

    /// The name of a machine.
    pub fn machine_name(&self, machine: Machine) -> &str {
        match machine {
            Machine::Server => SERVER,
            Machine::IceServer(index) => &self.ice_servers[index].name,
            Machine::Actor(actor) => &self.actors[actor].name,
        }
    }

    /// The link of a machine at the start.
    pub fn link(&self, machine: Machine) -> Link {
        match machine {
            Machine::Server => self.server.link,
            Machine::IceServer(index) => self.ice_servers[index].link,
            Machine::Actor(actor) => self.actors[actor].link,
        }
    }
}

impl Machine {
    /// The actor whose machine it is.
    pub fn actor(&self) -> Option<ActorIndex> {
        match self {
            Self::Server | Self::IceServer(_) => None,
            Self::Actor(actor) => Some(*actor),
        }
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// An actor that is not present starts its program and joins its room.
    Join(ActorIndex),
    /// An actor's program receives a command.
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
    /// Send `leave`, close all connections, and end.
    Leave,
    /// Break the signaling connection without a close frame. The client reconnects with its backoff.
    Drop,
    /// Send a text message on each open data channel.
    Say(String),
    /// Hang up on another actor. Between users, this ends their call, whether it is ringing or accepted. In a mesh, it
    /// ends the pair's connection, and the offerer offers again.
    Hangup(ActorIndex),
    /// Restart ICE with another actor.
    IceRestart(ActorIndex),
    /// Send an offer to another actor: for a new connection, or to change an existing one.
    Offer(ActorIndex),
    /// Call another user.
    Call(ActorIndex),
    /// Accept the incoming call.
    Accept,
    /// Reject the incoming call.
    Reject,
    /// Turn the camera or the microphone on or off. A user also notifies the other user in the call.
    Media(MediaKind, bool),
    /// Send another track to every peer.
    AddTrack(MediaKind),
    /// Stand still, as a page does that a browser freezes. The machine and its sockets stay.
    Suspend,
    /// Go on after that.
    Resume,
}

/// Where an actor's machine is after it has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Move {
    /// The network; `None` is the internet.
    pub network: Option<NetworkIndex>,
    /// Its address of IPv4 there.
    pub address: Ipv4Addr,
    /// Its link there.
    pub link: Link,
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant)] // a scenario has few steps
pub enum MachineAction {
    /// It loses power at once. It sends nothing more, not even a FIN.
    PowerLoss,
    /// It starts again after it was down. An actor joins again.
    Boot,
    /// Its link changes.
    Link(Link),
    /// Its program stands still for a time, as during a garbage collection or on an overloaded host. Only for a
    /// [`ServerProgram`].
    Stall(Duration),
    /// Its wall clock jumps by this number of milliseconds. Only for a [`ServerProgram`].
    ClockJump {
        /// Milliseconds; negative: back.
        ms: i64,
    },
    /// Its TURN server takes another shared secret: the credentials that were issued before are wrong from then on. Only for
    /// TURN servers of Glare.
    NewSecret,
    /// It leaves its network for another, without a word: what its sockets were bound at is gone. Only for actors.
    Move(Move),
}

/// What happens to the NAT of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant)] // a scenario has few steps
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
    /// No packet passes between machines of the first list and machines of the second. With `one_way`, only packets
    /// from the first to the second are blocked.
    Partition {
        /// One side.
        from: Vec<Machine>,
        /// The other side.
        to: Vec<Machine>,
        /// Whether packets from `to` to `from` still pass.
        one_way: bool,
    },
    /// All partitions end.
    Heal,
}

/// What a track carries, which can be turned on and off.
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

/// What must hold at the end of a scenario, in addition to the promises that every run must keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Expect {
    /// Pairs of actors that must be connected by WebRTC at certain times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connected: Vec<ExpectedConnection>,
    /// Pairs of actors that must not be connected by WebRTC at the end, because their NATs prevent it. All other pairs
    /// that are in one room at the end must be connected. The list must agree with what follows from the NATs.
    pub unconnected: Vec<(ActorIndex, ActorIndex)>,
    /// Pairs of actors that must be connected through a TURN server at the end. All other connected pairs must then be
    /// connected without one. `None`: it is not said which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relayed: Option<Vec<(ActorIndex, ActorIndex)>>,
    /// Names of the rare situations that must have occurred, such as `mapping-expired`.
    pub probes: Vec<String>,
    /// The line of the scenario file on which `[expect]` begins, counted from 1; 0 if there is no such table.
    pub line: usize,
}

/// Two actors that must be connected at all times from `from` to `until`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExpectedConnection {
    /// The two actors.
    pub pair: (ActorIndex, ActorIndex),
    /// The first time; equal to `until` if the connection is expected at one time only.
    pub from: Duration,
    /// The last time: the end of the scenario, or earlier.
    pub until: Duration,
    /// The line of the scenario file, counted from 1.
    pub line: usize,
}
