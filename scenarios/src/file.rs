//! The schema of scenario files: the keys as they are written, before names are resolved and counts expanded.
//!
//! `README.md` documents every key for authors.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Problems, instead, list, quote};
use crate::ice::{IceServerEntry, IceTransportPolicy, TurnCredential, TurnEntry, UsedServers};
use crate::ipv6::Ipv6Entry;
use crate::link::LinkEntry;
use crate::packet::PacketEntry;
use crate::population::PopulationEntry;
use crate::profile::NatKeys;
use crate::role::{Framing, Role};
use crate::scenario::{Browser, ClientProgram, MediaKind, ServerProgram, Stack, Timing, bad_variable};
use crate::table::{Lined, Read, Table, mistyped};
use crate::tracks::Tracks;
use crate::value::{BadValue, Name, Parse, Subnet, Why};

/// A scenario file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) spec: Vec<String>,
    pub(crate) duration: Lined<Duration>,
    /// Whether steps may have no effect.
    pub(crate) idle_steps: bool,
    pub(crate) timing: Timing,
    /// The WebRTC stack of all actors that name none.
    pub(crate) stack: Stack,
    pub(crate) server: ServerEntry,
    pub(crate) ice_servers: Vec<Lined<IceServerEntry>>,
    /// The default of links into the internet or a carrier's network.
    pub(crate) link: LinkEntry,
    /// The default of links of hosts behind NATs.
    pub(crate) lan: LinkEntry,
    pub(crate) networks: Vec<Lined<NetworkEntry>>,
    pub(crate) population: Option<Lined<PopulationEntry>>,
    pub(crate) actors: Vec<Lined<ActorEntry>>,
    pub(crate) steps: Vec<Lined<StepEntry>>,
    pub(crate) packets: Vec<Lined<PacketEntry>>,
    pub(crate) expect: ExpectEntry,
}

/// `[server]`
#[derive(Debug, Default)]
pub(crate) struct ServerEntry {
    pub(crate) address: Option<Lined<Ipv4Addr>>,
    pub(crate) ipv6: Option<bool>,
    pub(crate) heartbeat: Option<Lined<Duration>>,
    pub(crate) dialect: Option<Lined<String>>,
    pub(crate) turn: Option<Lined<TurnEntry>>,
    pub(crate) link: LinkEntry,
    /// The program that runs in place of the reference server.
    pub(crate) program: Option<ServerProgram>,
}

/// `[[network]]`
#[derive(Debug)]
pub(crate) struct NetworkEntry {
    pub(crate) name: Lined<Name>,
    pub(crate) nat: Lined<String>,
    pub(crate) overrides: Option<Lined<NatKeys>>,
    pub(crate) behind: Option<Lined<String>>,
    pub(crate) subnet: Option<Lined<Subnet>>,
    pub(crate) external: Option<Lined<External>>,
    pub(crate) ipv6: Option<Lined<Ipv6Entry>>,
    pub(crate) link: LinkEntry,
}

/// A NAT's external addresses.
#[derive(Clone, Debug)]
pub(crate) enum External {
    /// A number of addresses, which are assigned.
    Count(u32),
    These(Vec<Lined<Ipv4Addr>>),
}

/// `[[actor]]`
#[derive(Debug)]
pub(crate) struct ActorEntry {
    pub(crate) name: Lined<Name>,
    pub(crate) network: Option<Lined<String>>,
    /// The profile of the actor's own NAT.
    pub(crate) nat: Option<Lined<String>>,
    pub(crate) overrides: Option<Lined<NatKeys>>,
    pub(crate) behind: Option<Lined<String>>,
    pub(crate) address: Option<Lined<Ipv4Addr>>,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: Option<Lined<Ipv6Entry>>,
    pub(crate) link: LinkEntry,
    pub(crate) plays: Option<Lined<Role>>,
    pub(crate) over: Option<Lined<Framing>>,
    pub(crate) room: Option<Lined<String>>,
    pub(crate) joins: Option<Lined<Joins>>,
    pub(crate) webrtc: bool,
    pub(crate) ice_servers: Option<Lined<UsedServers>>,
    pub(crate) ice_transport_policy: Option<Lined<IceTransportPolicy>>,
    pub(crate) turn_credential: Option<Lined<TurnCredential>>,
    pub(crate) media: Option<Lined<Tracks>>,
    /// The program that runs in place of Glare's own client.
    pub(crate) program: Option<ClientProgram>,
    /// The browser in which its WebRTC connections live.
    pub(crate) runs: Option<Lined<Browser>>,
    /// The WebRTC stack of its connections.
    pub(crate) stack: Option<Lined<Stack>>,
    pub(crate) count: Option<Lined<u32>>,
    pub(crate) every: Option<Lined<Duration>>,
    /// How many of them share a room.
    pub(crate) per_room: Option<Lined<u32>>,
}

/// When an actor joins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Joins {
    At(Duration),
    /// When a step says so.
    Never,
}

/// `[[step]]`
#[derive(Debug)]
pub(crate) struct StepEntry {
    pub(crate) at: Lined<Duration>,
    pub(crate) verb: Verb,
}

/// Names of actors or groups of actors, or `server`.
pub(crate) type Names = Vec<Lined<String>>;

/// What a step does.
#[derive(Debug)]
pub(crate) enum Verb {
    Join(Names),
    Leave(Names),
    Drop(Names),
    Say(Names, String),
    Hangup(Lined<String>, Lined<String>),
    IceRestart(Lined<String>, Lined<String>),
    Offer(Lined<String>, Lined<String>),
    Call(Lined<String>, Lined<String>),
    Accept(Names),
    Reject(Names),
    Media(Names, MediaKind, bool),
    AddTrack(Names, MediaKind),
    PowerLoss(Names),
    Boot(Names),
    Shutdown,
    NatReboot { network: Lined<String>, resets_tcp: bool, new_address: Option<Lined<NewAddress>> },
    Partition { from: Names, to: Names, one_way: bool },
    Heal,
    Stall(Names, Lined<Duration>),
    ClockJump(Names, Lined<Jump>),
    NewSecret(Names),
    Move { actors: Names, network: Lined<String>, address: Option<Lined<Ipv4Addr>>, link: Box<LinkEntry> },
    Suspend(Names),
    Resume(Names),
    Link { machine: Option<Names>, network: Option<Lined<String>>, link: Box<LinkEntry> },
}

/// The external address after a reboot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NewAddress {
    /// The old one.
    Same,
    /// Another one, which is assigned.
    Another,
    This(Ipv4Addr),
}

/// `[expect]`
#[derive(Debug, Default)]
pub(crate) struct ExpectEntry {
    pub(crate) connected: Vec<Lined<ConnectedEntry>>,
    pub(crate) unconnected: Vec<Lined<Vec<Lined<String>>>>,
    pub(crate) relayed: Option<Vec<Lined<Vec<Lined<String>>>>>,
    pub(crate) probes: Vec<Lined<Name>>,
    /// The line on which the table begins; 0 if there is no table.
    pub(crate) line: usize,
}

/// An element of `connected` in `[expect]`
#[derive(Debug)]
pub(crate) struct ConnectedEntry {
    pub(crate) pair: Lined<Vec<Lined<String>>>,
    pub(crate) from: Option<Lined<Duration>>,
    pub(crate) until: Option<Lined<Duration>>,
}

/// All verbs, each with the keys that it takes besides `at` and `do`.
const VERBS: &[(&str, &[&str])] = &[
    ("join", &["actor"]),
    ("leave", &["actor"]),
    ("drop", &["actor"]),
    ("say", &["actor", "text"]),
    ("hangup", &["actor", "with"]),
    ("ice-restart", &["actor", "with"]),
    ("offer", &["actor", "with"]),
    ("call", &["actor", "with"]),
    ("accept", &["actor"]),
    ("reject", &["actor"]),
    ("media", &["actor", "kind", "enabled"]),
    ("add-track", &["actor", "kind"]),
    ("power-loss", &["machine"]),
    ("boot", &["machine"]),
    ("shutdown", &[]),
    ("stall", &["machine", "time"]),
    ("clock-jump", &["machine", "by"]),
    ("new-secret", &["machine"]),
    ("move", &["actor", "network", "address", "link"]),
    ("suspend", &["actor"]),
    ("resume", &["actor"]),
    ("nat-reboot", &["network", "resets-tcp", "new-address"]),
    ("partition", &["from", "to", "one-way"]),
    ("heal", &[]),
    ("link", &["machine", "network", "link"]),
];

impl File {
    /// Reads a document. Reports problems and returns `None` if there are any.
    pub(crate) fn read(document: &DeTable<'_>, problems: &Problems) -> Option<Self> {
        let mut table = Table::new(document, "a scenario".to_owned(), 1, problems);
        let name = table.required::<Name>("name");
        let about = table.optional::<String>("about");
        let spec = table.optional::<Vec<Lined<String>>>("spec");
        let duration = table.required::<Duration>("duration");
        let idle_steps = table.optional::<bool>("idle-steps");
        let timing = table.optional::<Timing>("timing");
        let stack = table.optional::<Stack>("stack");
        let server = table.optional("server");
        let ice_servers = table.optional("ice-server");
        let link = table.optional("link");
        let lan = table.optional("lan");
        let networks = table.optional("network");
        let population = table.optional("population");
        let actors = table.optional::<Vec<Lined<ActorEntry>>>("actor");
        let steps = table.optional("step");
        let packets = table.optional("packet");
        let expect = table.optional("expect");
        table.finish();
        if let Some(about) = about.as_ref().filter(|about| about.value.contains('\n')) {
            problems.report(about.line, "`about` must be one line: put details in a comment above it");
        }
        if problems.none() && actors.as_ref().is_none_or(|actors| actors.value.is_empty()) {
            problems.report(1, "there are no actors: add an [[actor]]");
        }
        if !problems.none() {
            return None;
        }
        Some(Self {
            name: name?.value.0,
            about: about.map(|about| about.value).unwrap_or_default(),
            spec: spec.map(|spec| spec.value.into_iter().map(|line| line.value).collect()).unwrap_or_default(),
            duration: duration?,
            idle_steps: idle_steps.is_some_and(|idle| idle.value),
            timing: timing.map(|timing| timing.value).unwrap_or_default(),
            stack: stack.map(|stack| stack.value).unwrap_or_default(),
            server: server.map(|server| server.value).unwrap_or_default(),
            ice_servers: ice_servers.map(|servers| servers.value).unwrap_or_default(),
            link: link.map(|link| link.value).unwrap_or_default(),
            lan: lan.map(|lan| lan.value).unwrap_or_default(),
            networks: networks.map(|networks| networks.value).unwrap_or_default(),
            population,
            actors: actors?.value,
            steps: steps.map(|steps| steps.value).unwrap_or_default(),
            packets: packets.map(|packets| packets.value).unwrap_or_default(),
            expect: expect.map(|expect| ExpectEntry { line: expect.line, ..expect.value }).unwrap_or_default(),
        })
    }
}

impl Read for ServerEntry {
    const RIGHT: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, _: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, "server", problems)?;
        table.rename("[server]".to_owned());
        let entry = Self {
            address: table.optional("address"),
            ipv6: table.optional("ipv6").map(|ipv6| ipv6.value),
            dialect: table.optional("dialect"),
            heartbeat: table.optional::<Duration>("heartbeat"),
            turn: table.optional("turn"),
            link: table.optional("link").map(|link| link.value).unwrap_or_default(),
            program: read_program(&mut table),
        };
        table.finish();
        if let Some(turn) = entry.turn.as_ref().filter(|turn| turn.value.0.is_some_and(|turn| turn.tls)) {
            problems.report(turn.line, "`tls` is for a machine of its own: give it to an [[ice-server]]");
        }
        if let Some(heartbeat) = entry.heartbeat.as_ref().filter(|heartbeat| heartbeat.value < Duration::from_secs(1)) {
            problems.report(heartbeat.line, "`heartbeat` must be at least 1s");
        }
        Some(entry)
    }
}

/// Reads the keys of `[server]` that name a program.
fn read_program(table: &mut Table<'_>) -> Option<ServerProgram> {
    let port = table.optional::<Port>("port");
    let port_line = port.as_ref().map(|port| port.line);
    let program = read_client_program(table, "a server program", "server.js", port_line.map(|line| ("port", line)))?;
    let port = port.map(|port| port.value.0);
    let ClientProgram { run, env, directory } = program;
    Some(ServerProgram { run, port, env, directory })
}

/// Reads the keys that name a program, which is called `what`. `other` is a further key that belongs to it, and its line.
pub(crate) fn read_client_program(
    table: &mut Table<'_>,
    what: &str,
    example: &str,
    other: Option<(&str, usize)>,
) -> Option<ClientProgram> {
    let run = table.optional::<Vec<Lined<String>>>("run");
    let env = table.optional::<Variables>("env");
    let directory = table.optional::<String>("directory");
    if run.is_none() {
        let lines = [
            env.as_ref().map(|env| ("env", env.line)),
            directory.as_ref().map(|directory| ("directory", directory.line)),
        ];
        for (key, line) in other.into_iter().chain(lines.into_iter().flatten()) {
            table.report(line, format!("`{key}` belongs to {what}: add `run`"));
        }
    }
    let run = run?;
    if run.value.first().is_none_or(|word| word.value.is_empty()) {
        table.report(run.line, format!("`run` must name a program, such as [\"node\", \"{example}\"]"));
        return None;
    }
    Some(ClientProgram {
        run: run.value.into_iter().map(|word| word.value).collect(),
        env: env.map(|env| env.value.0).unwrap_or_default(),
        directory: directory.map(|directory| directory.value.into()),
    })
}

/// A TCP port.
pub(crate) struct Port(pub(crate) u16);

impl Read for Port {
    const RIGHT: &'static str = "a port from 1 to 65535";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let DeValue::Integer(number) = value.get_ref() else { return mistyped(value, name, problems) };
        let port = u16::from_str_radix(number.as_str(), number.radix()).ok().filter(|port| *port > 0);
        if port.is_none() {
            let message = format!("`{name}`: {} must be from 1 to 65535", quote(number.as_str()));
            problems.report(problems.line(&value.span()), message);
        }
        port.map(Self)
    }
}

/// Environment variables.
struct Variables(BTreeMap<String, String>);

impl Read for Variables {
    const RIGHT: &'static str = "a table such as { PORT = \"8787\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let DeValue::Table(entries) = value.get_ref() else { return mistyped(value, name, problems) };
        let mut variables = BTreeMap::new();
        for (key, value) in entries.iter() {
            let text = String::read(value, key.get_ref(), problems)?;
            if let Some(wrong) = bad_variable(key.get_ref(), &text) {
                problems.report(problems.line(&key.span()), format!("`{name}`: {wrong}"));
                return None;
            }
            variables.insert(key.get_ref().to_string(), text);
        }
        Some(Self(variables))
    }
}

impl Read for NetworkEntry {
    const RIGHT: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, _: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, "network", problems)?;
        table.rename("[[network]]".to_owned());
        let name = table.required("name");
        let nat = table.required("nat");
        let overrides = table.optional("override");
        let behind = table.optional("behind");
        let subnet = table.optional("subnet");
        let external = table.optional("external");
        let ipv6 = table.optional("ipv6");
        let link = table.optional("link").map(|link| link.value).unwrap_or_default();
        table.finish();
        Some(Self { name: name?, nat: nat?, overrides, behind, subnet, external, ipv6, link })
    }
}

impl Read for External {
    const RIGHT: &'static str = "a list of addresses such as [\"198.51.100.7\"], or their number";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(_) => u32::read(value, name, problems).map(Self::Count),
            DeValue::Array(array) if array.is_empty() => {
                problems.report(problems.line(&value.span()), format!("`{name}`: a NAT needs an external address"));
                None
            }
            DeValue::Array(_) => Vec::read(value, name, problems).map(Self::These),
            _ => mistyped(value, name, problems),
        }
    }
}

impl Read for ActorEntry {
    const RIGHT: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, _: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, "actor", problems)?;
        table.rename("[[actor]]".to_owned());
        let name = table.required("name");
        let network = table.optional("network");
        let nat = table.optional("nat");
        let overrides = table.optional("override");
        let behind = table.optional("behind");
        let address = table.optional("address");
        let ipv4 = table.optional("ipv4").is_none_or(|ipv4| ipv4.value);
        let ipv6 = table.optional("ipv6");
        let link = table.optional("link").map(|link| link.value).unwrap_or_default();
        let plays = table.optional("plays");
        let over = table.optional("over");
        let room = table.optional::<String>("room");
        let joins = table.optional("joins");
        let webrtc = table.optional("webrtc").is_none_or(|webrtc| webrtc.value);
        let ice_servers = table.optional("ice-servers");
        let ice_transport_policy = table.optional("ice-transport-policy");
        let turn_credential = table.optional("turn-credential");
        let media = table.optional("media");
        let program = read_client_program(&mut table, "a client program", "client.js", None);
        let runs = table.optional("runs");
        let stack = table.optional("stack");
        let count = table.optional("count");
        let every = table.optional("every");
        let per_room = table.optional("per-room");
        table.finish();
        if let Some(room) = room.as_ref().filter(|room| room.value.is_empty()) {
            problems.report(room.line, "`room` must not be empty");
        }
        let entry = Self {
            name: name?,
            network,
            nat,
            overrides,
            behind,
            address,
            ipv4,
            ipv6,
            link,
            plays,
            over,
            room,
            joins,
            webrtc,
            ice_servers,
            ice_transport_policy,
            turn_credential,
            media,
            program,
            runs,
            stack,
            count,
            every,
            per_room,
        };
        entry.check(problems);
        Some(entry)
    }
}

impl ActorEntry {
    /// Checks for keys that exclude or require each other.
    fn check(&self, problems: &Problems) {
        if let (Some(_), Some(nat)) = (&self.network, &self.nat) {
            problems.report(nat.line, "`nat` gives the actor its own network: use either `network` or `nat`");
        }
        for (key, line) in [
            ("override", self.overrides.as_ref().map(|entry| entry.line)),
            ("behind", self.behind.as_ref().map(|entry| entry.line)),
        ] {
            if let (Some(line), None) = (line, &self.nat) {
                problems.report(line, format!("`{key}` applies to the actor's own NAT: add `nat`"));
            }
        }
        if let (Some(address), Some(_)) = (&self.address, &self.count) {
            problems.report(address.line, "`address` is for one actor: remove `address` or `count`");
        }
        if let (Some(Lined { value: Role::User, .. }), Some(room)) = (&self.plays, &self.room) {
            problems.report(room.line, "`room`: users have no rooms, each can call any other: remove it");
        }
        if let (Some(Lined { value: Role::Broadcast, .. }), Some(room)) = (&self.plays, &self.room) {
            problems.report(room.line, "`room`: all broadcasters share one room: remove it");
        }
        let role = self.plays.as_ref().map_or(Role::default(), |plays| plays.value);
        if let Some(over) = self.over.as_ref().filter(|over| role != Role::User && over.value != role.framing()) {
            problems.report(over.line, format!("`over` is only for the role `user`, not for `{}`", role.name()));
        }
        for (key, line) in [
            ("ice-servers", self.ice_servers.as_ref().map(|entry| entry.line)),
            ("ice-transport-policy", self.ice_transport_policy.as_ref().map(|entry| entry.line)),
            ("turn-credential", self.turn_credential.as_ref().map(|entry| entry.line)),
            ("stack", self.stack.as_ref().map(|entry| entry.line)),
            ("media", self.media.as_ref().map(|entry| entry.line)),
        ] {
            let Some(line) = line else { continue };
            if self.program.is_some() {
                problems.report(line, format!("`{key}` is for Glare's own clients, and this is a program: remove it"));
            } else if !self.webrtc {
                problems.report(line, format!("`{key}` is for WebRTC, and the actor has `webrtc = false`: remove one"));
            }
        }
        if let Some(runs) = &self.runs {
            if self.program.is_some() {
                problems.report(runs.line, "`runs` names a browser and `run` a program: use one of them");
            } else if !self.webrtc {
                problems.report(runs.line, "`runs` is for WebRTC, and the actor has `webrtc = false`: remove one");
            } else if let Some(stack) = &self.stack {
                problems.report(
                    stack.line,
                    "`stack` names a library, but `runs` puts the connections into a browser: remove one",
                );
            } else if let Some(media) = &self.media {
                problems.report(media.line, "`media`: a browser sends audio and video of its own: remove it");
            }
        }
        if let Some(per_room) = &self.per_room {
            if self.count.is_none() {
                let message = "`per-room` distributes several actors over rooms: add `count`";
                problems.report(per_room.line, message);
            } else if role.only_room().is_some() {
                let message = format!("`per-room`: a `{}` chooses no room: remove it", role.name());
                problems.report(per_room.line, message);
            }
        }
        if let (Some(every), None) = (&self.every, &self.count) {
            problems.report(every.line, "`every` is the time between the joins of several actors: add `count`");
        }
        if let (Some(every), Some(Lined { value: Joins::Never, .. })) = (&self.every, &self.joins) {
            problems.report(
                every.line,
                "`every` is the time between the joins of several actors, but these never join by themselves",
            );
        }
    }
}

/// By how much a clock jumps, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jump(pub(crate) i64);

impl Parse for Jump {
    const RIGHT: &'static str = "a time such as \"1h\", or \"-30s\" for a jump back";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let (back, time) = match text.strip_prefix('-') {
            Some(time) => (true, time),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let ms = i64::try_from(Duration::parse(time)?.as_millis()).unwrap_or(i64::MAX);
        match ms {
            0 => Err(BadValue::new(text, Why::MustBe("longer than 0s"))),
            _ => Ok(Self(if back { -ms } else { ms })),
        }
    }
}

impl Parse for Joins {
    const RIGHT: &'static str = "a time such as \"100ms\", or \"never\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        match text {
            "never" => Ok(Self::Never),
            _ => Duration::parse(text).map(Self::At),
        }
    }
}

impl Parse for MediaKind {
    const RIGHT: &'static str = "\"video\" or \"audio\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        match text {
            "video" => Ok(Self::Video),
            "audio" => Ok(Self::Audio),
            _ => Err(BadValue::new(text, Why::MustBe(<Self as Parse>::RIGHT))),
        }
    }
}

/// One or more names.
struct OneOrMore(Names);

impl Read for OneOrMore {
    const RIGHT: &'static str = "a name, or a list of names in [ ]";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let line = problems.line(&value.span());
        match value.get_ref() {
            DeValue::String(text) => Some(Self(vec![Lined { line, value: text.to_string() }])),
            DeValue::Array(array) if array.is_empty() => {
                problems.report(line, format!("`{name}` must name an actor or a machine"));
                None
            }
            DeValue::Array(_) => Vec::read(value, name, problems).map(Self),
            _ => mistyped(value, name, problems),
        }
    }
}

impl Read for StepEntry {
    const RIGHT: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, _: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, "step", problems)?;
        table.rename("[[step]]".to_owned());
        let at = table.required("at");
        let verb = table.required::<String>("do")?;
        let Some((_, takes)) = VERBS.iter().find(|(name, _)| *name == verb.value) else {
            let instead = instead(&verb.value, "verbs", VERBS.iter().map(|(name, _)| *name));
            problems.report(verb.line, format!("unknown verb {}{instead}", quote(&verb.value)));
            return None;
        };
        table.rename(format!("`{}`", verb.value));
        let read = Verb::read(&verb.value, &mut table);
        table.finish_knowing(|key| {
            let elsewhere = VERBS.iter().any(|(_, keys)| keys.contains(&key));
            let takes = list(["at", "do"].into_iter().chain(takes.iter().copied()), "and");
            elsewhere.then(|| format!("`{}` takes no `{key}`; it takes {takes}", verb.value))
        });
        Some(Self { at: at?, verb: read? })
    }
}

/// Longest message on a data channel, in bytes: what every implementation takes (RFC 8831 §6.6, RFC 8841 §6.1).
const SAY_BYTES_MAX: usize = 64 * 1024;

impl Verb {
    fn read(verb: &str, table: &mut Table<'_>) -> Option<Self> {
        let names = |table: &mut Table<'_>, key| table.required::<OneOrMore>(key).map(|names| names.value.0);
        match verb {
            "join" => names(table, "actor").map(Self::Join),
            "leave" => names(table, "actor").map(Self::Leave),
            "drop" => names(table, "actor").map(Self::Drop),
            "say" => {
                let (who, text) = (names(table, "actor"), table.required::<String>("text"));
                let (who, Lined { line, value: text }) = (who?, text?);
                if text.len() > SAY_BYTES_MAX {
                    let bytes = text.len();
                    table.report(line, format!("`text` has {bytes} bytes, and a message has at most {SAY_BYTES_MAX}"));
                    return None;
                }
                Some(Self::Say(who, text))
            }
            "hangup" | "ice-restart" | "offer" | "call" => {
                let (actor, with) = (table.required("actor"), table.required("with"));
                let pair = match verb {
                    "hangup" => Self::Hangup,
                    "ice-restart" => Self::IceRestart,
                    "offer" => Self::Offer,
                    _ => Self::Call,
                };
                Some(pair(actor?, with?))
            }
            "accept" => names(table, "actor").map(Self::Accept),
            "reject" => names(table, "actor").map(Self::Reject),
            "media" => {
                let (who, kind) = (names(table, "actor"), table.required::<MediaKind>("kind"));
                let enabled = table.required::<bool>("enabled");
                Some(Self::Media(who?, kind?.value, enabled?.value))
            }
            "add-track" => {
                let (who, kind) = (names(table, "actor"), table.required::<MediaKind>("kind"));
                Some(Self::AddTrack(who?, kind?.value))
            }
            "power-loss" => names(table, "machine").map(Self::PowerLoss),
            "boot" => names(table, "machine").map(Self::Boot),
            "shutdown" => Some(Self::Shutdown),
            "stall" => {
                let (machine, time) = (names(table, "machine"), table.required("time"));
                Some(Self::Stall(machine?, time?))
            }
            "clock-jump" => {
                let (machine, by) = (names(table, "machine"), table.required("by"));
                Some(Self::ClockJump(machine?, by?))
            }
            "new-secret" => names(table, "machine").map(Self::NewSecret),
            "move" => {
                let (actors, network) = (names(table, "actor"), table.required("network"));
                let address = table.optional("address");
                let link = table.optional("link").map(|link| link.value).unwrap_or_default();
                Some(Self::Move { actors: actors?, network: network?, address, link: Box::new(link) })
            }
            "suspend" => names(table, "actor").map(Self::Suspend),
            "resume" => names(table, "actor").map(Self::Resume),
            "nat-reboot" => {
                let network = table.required("network");
                let resets_tcp = table.optional("resets-tcp").is_some_and(|resets| resets.value);
                let new_address = table.optional("new-address");
                Some(Self::NatReboot { network: network?, resets_tcp, new_address })
            }
            "partition" => {
                let (from, to) = (names(table, "from"), names(table, "to"));
                let one_way = table.optional("one-way").is_some_and(|one_way| one_way.value);
                Some(Self::Partition { from: from?, to: to?, one_way })
            }
            "heal" => Some(Self::Heal),
            "link" => {
                let machine = table.optional::<OneOrMore>("machine").map(|names| names.value.0);
                let network = table.optional("network");
                let link = table.required("link");
                if machine.is_some() == network.is_some() {
                    table.report(table.line(), "`link` needs either `machine` or `network`");
                }
                Some(Self::Link { machine, network, link: Box::new(link?.value) })
            }
            _ => unreachable!("VERBS lists no other"),
        }
    }
}

impl Read for NewAddress {
    const RIGHT: &'static str = "true, or an IPv4 address such as \"198.51.100.7\"";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::Boolean(another) => Some(if *another { Self::Another } else { Self::Same }),
            DeValue::String(_) => Ipv4Addr::read(value, name, problems).map(Self::This),
            _ => mistyped(value, name, problems),
        }
    }
}

impl Read for ExpectEntry {
    const RIGHT: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, _: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, "expect", problems)?;
        table.rename("[expect]".to_owned());
        let entry = Self {
            connected: table.optional("connected").map(|pairs| pairs.value).unwrap_or_default(),
            unconnected: table.optional("unconnected").map(|pairs| pairs.value).unwrap_or_default(),
            relayed: table.optional("relayed").map(|pairs| pairs.value),
            probes: table.optional("probes").map(|probes| probes.value).unwrap_or_default(),
            line: 0,
        };
        table.finish();
        Some(entry)
    }
}

impl Read for ConnectedEntry {
    const RIGHT: &'static str = "a table such as { pair = [\"ana\", \"ben\"], from = \"5s\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, name, problems)?;
        let pair = table.required("pair");
        let (from, until) = (table.optional("from"), table.optional("until"));
        table.finish();
        Some(Self { pair: pair?, from, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_a_row_for_every_verb_with_all_its_keys() {
        let (_, table) = include_str!("../README.md").split_once("| `do` |").expect("a table of verbs");
        for (verb, keys) in VERBS {
            let row = table.lines().find(|line| line.starts_with(&format!("| `{verb}` | ")));
            let takes = row.and_then(|row| row.split('|').nth(2)).unwrap_or_else(|| panic!("no row for {verb}"));
            assert!(keys.iter().all(|key| takes.contains(&format!("`{key}`"))), "{verb}");
            assert!(!keys.is_empty() || takes.trim().is_empty(), "{verb}");
        }
    }
}
