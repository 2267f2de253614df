//! The shipped scenarios and NAT profiles. They are compiled into the program, so that an installed binary has them.

use crate::error::Problems;
use crate::nat::NatBehavior;
use crate::profile::ProfileFile;
use crate::table::document;
use crate::value::Subnet;

/// A scenario that is compiled into the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its slug.
    pub name: &'static str,
    /// Its folder, such as `nat`.
    pub group: &'static str,
    /// What it shows, in one line.
    pub about: String,
    /// The text of its file.
    pub text: &'static str,
}

impl Shipped {
    /// Whether a run of it takes so long that tests leave it out.
    pub fn is_slow(&self) -> bool {
        ["internet-1k", "internet-mix", "internet-mix-ipv6", "reconnect-storm-1k"].contains(&self.name)
    }

    /// Its path in the repository.
    pub fn path(&self) -> String {
        format!("scenarios/{}/{}.toml", self.group, self.name)
    }
}

/// A NAT profile that is compiled into the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its slug, the value of `nat = "…"`.
    pub name: String,
    /// The kind of NAT that it represents, in one line.
    pub about: String,
    /// The NAT's behavior; `None` is a router that does not translate.
    pub behavior: Option<NatBehavior>,
    /// The text of its file, which cites sources in a comment.
    pub text: &'static str,
    /// The default subnet inside such a NAT.
    pub(crate) subnet: Option<Subnet>,
    /// The default number of external addresses of such a NAT.
    pub(crate) external: u32,
}

macro_rules! scenarios {
    ($($group:literal / $name:literal),* $(,)?) => {
        &[$(($group, $name, include_str!(concat!("../", $group, "/", $name, ".toml")))),*]
    };
}

macro_rules! profiles {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../profiles/", $name, ".toml")))),*]
    };
}

/// Group, name and text.
const SCENARIOS: &[(&str, &str, &str)] = scenarios![
    "basic" / "mesh-3",
    "basic" / "mesh-6",
    "basic" / "mesh-6-churn",
    "basic" / "two-peers",
    "basic" / "same-lan",
    "basic" / "sender-viewer",
    "basic" / "viewer-first",
    "basic" / "sender-replaced",
    "basic" / "call-accept",
    "basic" / "call-reject",
    "basic" / "call-busy",
    "basic" / "call-hangup-while-ringing",
    "basic" / "media-toggle",
    "basic" / "call-across-framings",
    "basic" / "relay-two",
    "basic" / "broadcast-two",
    "basic" / "late-joiner",
    "negotiation" / "glare-call",
    "negotiation" / "glare-offer",
    "negotiation" / "glare-reconnect",
    "negotiation" / "ice-restart",
    "negotiation" / "ice-restart-under-loss",
    "negotiation" / "renegotiation-storm",
    "signaling" / "asymmetric-partition",
    "signaling" / "flapping-link",
    "signaling" / "ghost-holds-role",
    "signaling" / "half-open-client",
    "signaling" / "partition-heal",
    "signaling" / "reconnect-backoff",
    "signaling" / "reconnect-storm-100",
    "signaling" / "reconnect-storm-1k",
    "signaling" / "server-crash-restart",
    "signaling" / "server-graceful-restart",
    "nat" / "cgnat-double",
    "nat" / "cgnat-pooled",
    "nat" / "hairpin-off",
    "nat" / "mapping-expiry-30s",
    "nat" / "mesh-6-symmetric",
    "nat" / "mesh-6-symmetric-no-turn",
    "nat" / "nat-reboot-during-ice-restart",
    "nat" / "nat-reboot-mid-call",
    "nat" / "overlapping-lans",
    "nat" / "udp-blocked",
    "ipv6" / "ipv6-firewalls",
    "ipv6" / "ipv6-only",
    "mobility" / "wifi-to-cellular",
    "mobility" / "page-suspended",
    "population" / "internet-100",
    "population" / "internet-1k",
    "population" / "internet-mix",
    "population" / "internet-mix-ipv6",
    "turn" / "relay-only",
    "media" / "call-with-media",
    "media" / "media-through-turn",
    "turn" / "turn-fallback",
    "turn" / "turn-from-config",
    "turn" / "turn-tcp",
    "turn" / "turn-tls",
    "turn" / "turn-slow",
    "turn" / "turn-server-down",
    "turn" / "turn-server-restart",
    "turn" / "turn-wrong-credentials",
    "turn" / "turn-expiry",
    "turn" / "stun-loss",
    "turn" / "stun-server-down",
];

/// Name and text, the most open first.
const PROFILES: &[(&str, &str)] = profiles![
    "open",
    "full-cone",
    "restricted-cone",
    "port-restricted-cone",
    "symmetric",
    "home-linux",
    "home-linux-reject",
    "home-linux-open",
    "home-median",
    "home-hairpin",
    "corp-symmetric",
    "cgn-wired",
    "cgn-cellular",
    "cgn-cellular-symmetric",
    "udp-blocked",
];

/// All shipped scenarios.
pub fn shipped() -> impl Iterator<Item = Shipped> {
    SCENARIOS.iter().map(|(group, name, text)| Shipped { name, group, about: about(text), text })
}

/// The names of all shipped scenarios.
pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
    SCENARIOS.iter().map(|(_, name, _)| *name)
}

/// The shipped scenario with this name.
pub(crate) fn find(name: &str) -> Option<Shipped> {
    shipped().find(|shipped| shipped.name == name)
}

/// All shipped NAT profiles, the most open first.
pub fn profiles() -> impl Iterator<Item = Profile> {
    PROFILES.iter().map(|(_, text)| read_profile(text))
}

/// The NAT profile with this name.
pub fn profile(name: &str) -> Option<Profile> {
    PROFILES.iter().find(|(found, _)| *found == name).map(|(_, text)| read_profile(text))
}

/// The name of a NAT profile with this behavior. If there is none, the name of another profile, whose keys must be
/// overridden.
pub(crate) fn profile_of(behavior: &NatBehavior) -> &'static str {
    let same = |(_, text): &&(&str, &'static str)| read_profile(text).behavior.as_ref() == Some(behavior);
    PROFILES.iter().find(same).map_or("full-cone", |(name, _)| name)
}

/// The names of all NAT profiles.
pub(crate) fn profile_names() -> impl Iterator<Item = &'static str> + Clone {
    PROFILES.iter().map(|(name, _)| *name)
}

fn about(text: &str) -> String {
    let value: Option<toml::Table> = toml::from_str(text).ok();
    let about = value.as_ref().and_then(|table| table.get("about")?.as_str());
    about.expect("every shipped scenario has an `about`: a test loads them all").to_owned()
}

fn read_profile(text: &'static str) -> Profile {
    let problems = Problems::new(text);
    let file = document(text, &problems, |table| ProfileFile::read(table, &problems))
        .expect("every shipped profile is right: a test reads them all");
    let ProfileFile { name, about, subnet, external, behavior } = file;
    Profile { name, about, behavior, text, subnet, external }
}
