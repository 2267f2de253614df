//! STUN and TURN servers: what a scenario says about them, and how files say it.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

use crate::draft::{Draft, SERVER};
use crate::error::{Problems, quote, unknown};
use crate::file::{File, read_client_program};
use crate::link::{Link, LinkEntry};
use crate::scenario::{ClientProgram, Machine};
use crate::table::{Lined, Read, Table, mistyped};
use crate::value::{Name, Word};

/// The TCP port of TURN over TLS. The port of its own is 5349 (RFC 8656 §2.1), but services are on that of HTTPS, because it is
/// open in networks that let out little else.
pub const TURN_TLS_PORT: u16 = 443;

/// A machine on the internet with a STUN server and usually a TURN server, apart from the signaling server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IceServer {
    /// Its name in steps and reports.
    pub name: String,
    /// Its address. STUN and TURN are on port 3478, UDP and TCP; over TLS on port 443.
    pub address: Ipv4Addr,
    /// Whether it also has an address of IPv6.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ipv6: bool,
    /// Its link to the internet.
    pub link: Link,
    /// Its TURN server, if it has one.
    pub turn: Option<TurnServer>,
    /// The program that runs in place of the reference server. It knows the credentials by a secret that it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<ClientProgram>,
}

/// A TURN server (RFC 8656). Every actor has a credential of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TurnServer {
    /// How long an allocation lives that is not refreshed, in whole seconds.
    pub allocation_lifetime: Duration,
    /// How long the actors' credentials are valid, in whole seconds from the start of each actor; `None`: for ever.
    pub credential_lifetime: Option<Duration>,
    /// Whether the actors also use it over TCP.
    pub tcp: bool,
    /// Whether it is also on port 443 over TLS, and the actors use that too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

impl Default for TurnServer {
    //= https://www.rfc-editor.org/rfc/rfc8656#section-7.2
    //# The server SHOULD use 10 minutes as the default
    fn default() -> Self {
        Self { allocation_lifetime: Duration::from_secs(600), credential_lifetime: None, tcp: false, tls: false }
    }
}

/// Which candidates a client uses. W3C WebRTC §4.2.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IceTransportPolicy {
    /// All.
    #[default]
    All,
    /// Relayed candidates only.
    Relay,
}

/// Which credential an actor presents to TURN servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TurnCredential {
    /// Its own.
    #[default]
    Valid,
    /// One with a wrong password.
    Wrong,
}

/// An index into [`Scenario::ice_servers`](crate::Scenario::ice_servers).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct IceServerIndex(pub usize);

impl fmt::Debug for IceServerIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl<T> Index<IceServerIndex> for Vec<T> {
    type Output = T;

    fn index(&self, index: IceServerIndex) -> &T {
        &self[index.0]
    }
}

impl<T> IndexMut<IceServerIndex> for Vec<T> {
    fn index_mut(&mut self, index: IceServerIndex) -> &mut T {
        &mut self[index.0]
    }
}

impl Word for IceTransportPolicy {
    const WHAT: &'static str = "ICE transport policy";
    const RIGHT: &'static str = "\"all\" or \"relay\"";
    const WORDS: &'static [(&'static str, Self)] = &[("all", Self::All), ("relay", Self::Relay)];
}

impl Word for TurnCredential {
    const WHAT: &'static str = "credential";
    const RIGHT: &'static str = "\"valid\" or \"wrong\"";
    const WORDS: &'static [(&'static str, Self)] = &[("valid", Self::Valid), ("wrong", Self::Wrong)];
}

/// `[[ice-server]]`
#[derive(Debug)]
pub(crate) struct IceServerEntry {
    pub(crate) name: Lined<Name>,
    pub(crate) address: Option<Lined<Ipv4Addr>>,
    pub(crate) ipv6: Option<bool>,
    pub(crate) link: LinkEntry,
    pub(crate) turn: TurnEntry,
    pub(crate) program: Option<ClientProgram>,
}

/// The key `turn`: whether a machine has a TURN server, or the settings of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnEntry(pub(crate) Option<TurnServer>);

impl Read for IceServerEntry {
    const RIGHT: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, _: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, "ice-server", problems)?;
        table.rename("[[ice-server]]".to_owned());
        let (name, address) = (table.required("name"), table.optional("address"));
        let ipv6 = table.optional("ipv6").map(|ipv6| ipv6.value);
        let link = table.optional("link").map(|link| link.value).unwrap_or_default();
        let turn = table.optional::<TurnEntry>("turn");
        let program = read_client_program(&mut table, "a STUN or TURN server program", "turn.js", None);
        if let (Some(turn), Some(_)) = (&turn, &program)
            && turn.value.0.is_some_and(|it| it.allocation_lifetime != TurnServer::default().allocation_lifetime)
        {
            table.report(
                turn.line,
                "`allocation-lifetime` is for the reference server: how long the program's allocations live, its own settings say"
                    .to_owned(),
            );
        }
        if let (Some(turn), Some(_)) = (&turn, &program)
            && turn.value.0.is_some_and(|it| it.tls)
        {
            table.report(
                turn.line,
                "`tls` is for the reference server: actors do not know the certificate of a program".to_owned(),
            );
        }
        let turn = turn.map_or(TurnEntry(Some(TurnServer::default())), |turn| turn.value);
        table.finish();
        Some(Self { name: name?, address, ipv6, link, turn, program })
    }
}

impl Read for TurnEntry {
    const RIGHT: &'static str = "true, false, or a table such as { allocation-lifetime = \"60s\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::Boolean(on) => return Some(Self(on.then(TurnServer::default))),
            DeValue::Table(_) => {}
            _ => return mistyped(value, name, problems),
        }
        let mut table = Table::of::<Self>(value, name, problems)?;
        let allocation = table.optional::<Duration>("allocation-lifetime");
        let credential = table.optional::<Duration>("credential-lifetime");
        let mut is_on = |key| table.optional(key).is_some_and(|on: Lined<bool>| on.value);
        let (tcp, tls) = (is_on("tcp"), is_on("tls"));
        for (key, time) in [("allocation-lifetime", &allocation), ("credential-lifetime", &credential)] {
            if let Some(wrong) = time.as_ref().filter(|time| time.value.is_zero() || time.value.subsec_nanos() > 0) {
                table.report(wrong.line, format!("`{key}` must be whole seconds, at least 1s: TURN counts seconds"));
            }
        }
        table.finish();
        let allocation_lifetime =
            allocation.map_or(TurnServer::default().allocation_lifetime, |lifetime| lifetime.value);
        let credential_lifetime = credential.map(|lifetime| lifetime.value);
        Some(Self(Some(TurnServer { allocation_lifetime, credential_lifetime, tcp, tls })))
    }
}

/// The machines with STUN and TURN servers of a file, still without addresses. Reports names that are taken.
pub(crate) fn servers(file: &File, link: Link, problems: &Problems) -> Vec<IceServer> {
    let mut servers: Vec<IceServer> = Vec::new();
    for entry in &file.ice_servers {
        let (name, line) = (&entry.value.name.value.0, entry.value.name.line);
        if name == SERVER {
            problems.report(line, format!("`{SERVER}` is the name of the signaling server's machine: choose another"));
        } else if servers.iter().any(|server| server.name == *name) {
            problems.report(line, format!("duplicate ice-server `{name}`: choose another name"));
        }
        let address = entry.value.address.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |address| address.value);
        let link = entry.value.link.over(link);
        let ipv6 = entry.value.ipv6.unwrap_or_default();
        let (turn, program) = (entry.value.turn.0, entry.value.program.clone());
        servers.push(IceServer { name: name.clone(), address, ipv6, link, turn, program });
    }
    servers
}

/// Reports actors that have the name of a machine with a STUN or TURN server.
pub(crate) fn check_names(file: &File, draft: &Draft, problems: &Problems) {
    for entry in &file.ice_servers {
        let (name, line) = (&entry.value.name.value.0, entry.value.name.line);
        if let Some(actors) = draft.actor_names.get(name) {
            let other = draft.actors[actors.start].line;
            problems.report(line, format!("`{name}` is also the name of the actor on line {other}: choose another"));
        }
    }
}

/// The key `ice-servers` of an actor.
#[derive(Debug)]
pub(crate) enum UsedServers {
    /// Names of machines.
    Named(Vec<Lined<String>>),
    /// What the signaling server lists at `/api/config`.
    FromConfig,
}

/// The word for what the signaling server lists.
pub(crate) const FROM_CONFIG: &str = "from-config";

impl Read for UsedServers {
    const RIGHT: &'static str = "a list of machines such as [\"server\"], or \"from-config\"";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(word) if *word == FROM_CONFIG => Some(Self::FromConfig),
            DeValue::String(word) => {
                let message = format!("`{name}`: {} must be {}", quote(word), Self::RIGHT);
                problems.report(problems.line(&value.span()), message);
                None
            }
            DeValue::Array(_) => Vec::read(value, name, problems).map(Self::Named),
            _ => mistyped(value, name, problems),
        }
    }
}

/// The machines that the key `ice-servers` of an actor names; without it, all that there are. Reports unknown names.
pub(crate) fn of_actor(used: Option<&Lined<UsedServers>>, servers: &[IceServer], problems: &Problems) -> Vec<Machine> {
    let named = match used.map(|used| &used.value) {
        None => return all(servers.len()),
        Some(UsedServers::FromConfig) => return vec![Machine::Server],
        Some(UsedServers::Named(named)) => named,
    };
    let mut machines = Vec::new();
    for name in named {
        let index = servers.iter().position(|server| server.name == name.value);
        let machine = match index {
            Some(index) => Machine::IceServer(IceServerIndex(index)),
            None if name.value == SERVER => Machine::Server,
            None => {
                let known = servers.iter().map(|server| server.name.as_str()).chain([SERVER]);
                problems.report(name.line, unknown("ice-server", &name.value, known));
                continue;
            }
        };
        if machines.contains(&machine) {
            problems.report(name.line, format!("`ice-servers`: {} is listed twice", quote(&name.value)));
        }
        machines.push(machine);
    }
    machines
}

/// The signaling server's machine, and so many other machines with STUN and TURN servers.
pub(crate) fn all(count: usize) -> Vec<Machine> {
    [Machine::Server].into_iter().chain((0..count).map(|index| Machine::IceServer(IceServerIndex(index)))).collect()
}
