//! What generated stories may contain: story profiles and their files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Problems, instead, quote};
use crate::load::read_text;
use crate::role::Role;
use crate::table::{Lined, Read, Table, document, mistyped};
use crate::value::{Name, Ppm, Word, show, word};

/// The largest share of packets that a link may lose: with more, nobody can say when a story must have settled.
const LOSS_PPM_MAX: u32 = 100_000;
/// The most actors, for which there are names.
const ACTORS_MAX: u64 = 12;
const NATS_MAX: u64 = 6;
const ROOMS_MAX: u64 = 20;
const TROUBLES_MAX: u64 = 1_000;
const WEIGHT_MAX: u64 = 1_000;
/// The shortest time for which something is away.
const LONGEST_MIN: Duration = Duration::from_millis(200);

/// What generated stories may contain, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryProfile {
    /// The first part of a story's name; its seed follows.
    pub name: String,
    /// What it is for, in one line.
    pub about: String,
    /// Whether actors make real WebRTC connections; if not, only their signaling is simulated.
    pub webrtc: bool,
    /// The roles of actors, at least one. Each entry is drawn with the same probability.
    pub roles: Vec<Role>,
    /// Maximum number of actors. The minimum is two.
    pub actors_max: u64,
    /// Maximum number of NATs.
    pub nats_max: u64,
    /// Maximum number of rooms.
    pub rooms_max: u64,
    /// Maximum number of troubles.
    pub troubles_max: u64,
    /// Troubles begin before this time.
    pub troubles_until: Duration,
    /// When all troubles are over: what was cut off is connected again, and what was down runs again.
    pub calm: Duration,
    /// Length of a story. Oracles judge the end state then.
    pub duration: Duration,
    /// Maximum time for which something is away, down or cut off.
    pub longest: Duration,
    /// Whether actors with WebRTC send audio and video. Without this and the next, nothing is drawn for it, so that bytes keep
    /// their meaning.
    pub media: bool,
    /// Whether actors also reach TURN servers over TCP and TLS, where networks block more than UDP, and get their ICE servers from
    /// the signaling server.
    pub relays: bool,
    /// The worst links.
    pub link: WorstLink,
    /// How often each kind of trouble occurs, in proportion to the others. What is missing does not occur.
    pub weights: BTreeMap<Trouble, u64>,
    /// The text of its file.
    pub text: String,
}

/// How bad the links of a story may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorstLink {
    /// Maximum jitter.
    pub jitter: Duration,
    /// Maximum number of lost packets per million.
    pub loss_ppm: u32,
    /// Maximum number of datagrams per million that arrive twice.
    pub duplicate_ppm: u32,
    /// Maximum number of datagrams per million that later ones overtake.
    pub reorder_ppm: u32,
    /// Whether packets are also lost in bursts, jitter has other distributions, and bandwidth is limited, with a queue.
    pub shapes: bool,
}

macro_rules! troubles {
    ($($trouble:ident = $name:literal, $what:literal;)*) => {
        /// Something that happens in a generated story.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Trouble { $(#[doc = $what] $trouble,)* }

        impl Trouble {
            /// Every kind of trouble.
            pub const ALL: &'static [Self] = &[$(Self::$trouble),*];

            /// What happens, in one sentence.
            pub fn what(self) -> &'static str {
                match self { $(Self::$trouble => $what,)* }
            }
        }

        impl Word for Trouble {
            const WHAT: &'static str = "kind of trouble";
            const RIGHT: &'static str = "a kind of trouble such as \"nat-reboot\"";
            const WORDS: &'static [(&'static str, Self)] = &[$(($name, Self::$trouble)),*];
        }
    };
}

troubles! {
    LeaveAndReturn = "leave-and-return", "An actor leaves, and joins again after a while.";
    Leave = "leave", "An actor leaves.";
    Drop = "drop", "An actor's signaling connection breaks.";
    PowerCycle = "power-cycle", "An actor's machine loses power, and boots after a while.";
    PowerLoss = "power-loss", "An actor's machine loses power.";
    NatReboot = "nat-reboot", "A NAT loses its mappings.";
    Partition = "partition", "Some machines cannot reach others for a while.";
    Link = "link", "An actor's link becomes bad for a while.";
    IceRestart = "ice-restart", "A pair restarts ICE.";
    Offer = "offer", "An actor offers to another, which may offer at the same time.";
    Hangup = "hangup", "An actor hangs up on another.";
    Say = "say", "An actor sends a text to all others.";
    Call = "call", "A user calls another.";
    Accept = "accept", "A user accepts a call.";
    Reject = "reject", "A user rejects a call.";
    Media = "media", "An actor turns its camera or microphone off or on.";
    ServerShutdown = "server-shutdown", "The server shuts down, and starts again after a while.";
    ServerPowerCycle = "server-power-cycle", "The server's machine loses power, and boots after a while.";
    TurnPowerCycle = "turn-power-cycle", "A machine with a TURN server loses power, and boots after a while.";
    Stall = "stall", "A server program stands still for a while.";
    ClockJump = "clock-jump", "The wall clock of a server program jumps.";
    Move = "move", "An actor's machine moves to another network, and sometimes back after a while.";
    Suspend = "suspend", "An actor's page stands still for a while; its machine does not.";
    AddTrack = "add-track", "An actor adds audio or video to its connections.";
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(*self))
    }
}

/// The shipped profiles: name and text.
const SHIPPED: [(&str, &str); 5] = [
    ("roles", include_str!("../stories/roles.toml")),
    ("crowd", include_str!("../stories/crowd.toml")),
    ("calls", include_str!("../stories/calls.toml")),
    ("outages", include_str!("../stories/outages.toml")),
    ("roaming", include_str!("../stories/roaming.toml")),
];

impl StoryProfile {
    /// The shipped profiles.
    pub fn shipped() -> impl Iterator<Item = Self> {
        SHIPPED.iter().map(|(name, text)| {
            Self::parse(name, text).unwrap_or_else(|error| panic!("a test reads every shipped profile: {error}"))
        })
    }

    /// The names of the shipped profiles.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The shipped profile with this name, or the one in a file.
    ///
    /// # Errors
    /// All problems of the file, or that there is none.
    pub fn load(name_or_path: &str) -> Result<Self, Error> {
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(name, text);
        }
        let path = Path::new(name_or_path);
        if path.components().count() < 2 && path.extension().is_none_or(|extension| extension != "toml") {
            let instead = instead(name_or_path, "shipped", Self::names());
            let message = format!("no shipped story profile has this name, and a path must end in .toml{instead}");
            return Err(Error::whole(name_or_path, message));
        }
        Self::parse(name_or_path, &read_text(name_or_path)?)
    }

    /// Parses a file. `path_for_messages` is its name in errors.
    ///
    /// # Errors
    /// All problems of the text, each with its line.
    pub fn parse(path_for_messages: &str, text: &str) -> Result<Self, Error> {
        let problems = Problems::new(text);
        match document(text, &problems, |table| Self::read(table, text, &problems)) {
            Some(profile) if problems.none() => Ok(profile),
            _ => Err(problems.into_error(path_for_messages)),
        }
    }

    fn read(document: &DeTable<'_>, text: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::new(document, "a story profile".to_owned(), 1, problems);
        let (name, about) = (table.required::<Name>("name"), table.required::<String>("about"));
        let webrtc = table.required::<bool>("webrtc");
        let roles = table.required::<Vec<Lined<Role>>>("roles");
        let actors = table.required::<Count>("actors");
        let nats = table.required::<Count>("nats");
        let rooms = table.required::<Count>("rooms");
        let troubles = table.required::<Count>("troubles");
        let troubles_until = table.required::<Duration>("troubles-until");
        let calm = table.required::<Duration>("calm");
        let duration = table.required::<Duration>("duration");
        let longest = table.required::<Duration>("longest");
        let mut is_on = |key| table.optional(key).is_some_and(|on: Lined<bool>| on.value);
        let (media, relays) = (is_on("media"), is_on("relays"));
        let link = table.required::<WorstLink>("link");
        let weights = table.required::<Weights>("weights");
        table.finish();
        let [actors, nats, rooms, troubles] = [
            within("actors", actors?, 2, ACTORS_MAX, problems),
            within("nats", nats?, 0, NATS_MAX, problems),
            within("rooms", rooms?, 1, ROOMS_MAX, problems),
            within("troubles", troubles?, 0, TROUBLES_MAX, problems),
        ];
        let (troubles_until, calm, duration, longest) = (troubles_until?, calm?, duration?, longest?);
        if longest.value < LONGEST_MIN {
            problems.report(longest.line, format!("`longest` must be at least {}", show(LONGEST_MIN)));
        }
        if troubles_until.value.is_zero() {
            problems.report(troubles_until.line, "`troubles-until` must be longer than 0s");
        }
        if troubles_until.value + longest.value > calm.value {
            let least = show(troubles_until.value + longest.value);
            let message =
                format!("`calm` must be at least {least}, when the last trouble ends: `troubles-until` and `longest`");
            problems.report(calm.line, message);
        }
        if calm.value >= duration.value {
            problems.report(duration.line, format!("`duration` must be longer than `calm`, {}", show(calm.value)));
        }
        let roles = roles?;
        if roles.value.is_empty() {
            problems.report(roles.line, "`roles` must have at least one role, such as \"mesh\"");
        }
        let weights = weights?;
        if weights.value.0.values().all(|weight| *weight == 0) && troubles > 0 {
            problems.report(
                weights.line,
                "`weights`: all are 0, so no trouble can be drawn: write `troubles = 0` if that is meant",
            );
        }
        problems.none().then_some(Self {
            name: name?.value.0,
            about: about?.value,
            webrtc: webrtc?.value,
            roles: roles.value.into_iter().map(|role| role.value).collect(),
            actors_max: actors,
            nats_max: nats,
            rooms_max: rooms,
            troubles_max: troubles,
            troubles_until: troubles_until.value,
            calm: calm.value,
            duration: duration.value,
            longest: longest.value,
            media,
            relays,
            link: link?.value,
            weights: weights.value.0,
            text: text.to_owned(),
        })
    }
}

/// A whole number, which may be 0.
#[derive(Clone, Copy, Debug)]
struct Count(u64);

impl Read for Count {
    const RIGHT: &'static str = "a whole number";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let DeValue::Integer(number) = value.get_ref() else { return mistyped(value, name, problems) };
        let read = u64::from_str_radix(number.as_str(), number.radix()).ok();
        if read.is_none() {
            let message = format!("`{name}`: {} must be a whole number of at least 0", quote(number.as_str()));
            problems.report(problems.line(&value.span()), message);
        }
        read.map(Self)
    }
}

/// A count that must be in a range. Reports others.
fn within(name: &str, count: Lined<Count>, least: u64, most: u64, problems: &Problems) -> u64 {
    if !(least..=most).contains(&count.value.0) {
        problems.report(count.line, format!("`{name}` must be from {least} to {most}"));
    }
    count.value.0
}

impl Read for WorstLink {
    const RIGHT: &'static str = "a table with `jitter`, `loss`, `duplicate` and `reorder`";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, name, problems)?;
        let jitter = table.required::<Duration>("jitter");
        let mut share = |key| table.required::<Ppm>(key);
        let (loss, duplicate, reorder) = (share("loss"), share("duplicate"), share("reorder"));
        let shapes = table.optional("shapes").is_some_and(|shapes| shapes.value);
        table.finish();
        let loss = loss?;
        if loss.value.0 > LOSS_PPM_MAX {
            problems.report(loss.line, "`loss` must be at most 10%: with more, no story must settle within any time");
        }
        Some(Self {
            jitter: jitter?.value,
            loss_ppm: loss.value.0,
            duplicate_ppm: duplicate?.value.0,
            reorder_ppm: reorder?.value.0,
            shapes,
        })
    }
}

struct Weights(BTreeMap<Trouble, u64>);

impl Read for Weights {
    const RIGHT: &'static str = "a table such as { leave = 1, nat-reboot = 2 }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, name, problems)?;
        let mut weights = BTreeMap::new();
        for trouble in Trouble::ALL {
            let key = word(*trouble);
            if let Some(weight) = table.optional::<Count>(key) {
                weights.insert(*trouble, within(key, weight, 0, WEIGHT_MAX, problems));
            }
        }
        table.finish();
        weights.retain(|_, weight| *weight > 0);
        Some(Self(weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_is_right_and_has_its_name() {
        for (name, text) in SHIPPED {
            let profile = StoryProfile::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(profile.name, name);
        }
    }

    /// A shipped profile with one text in place of another.
    fn wrong(before: &str, after: &str) -> String {
        let text = SHIPPED[0].1.replacen(before, after, 1);
        assert_ne!(text, SHIPPED[0].1, "{before}");
        StoryProfile::parse("mine.toml", &text).expect_err(after).to_string()
    }

    #[test]
    fn an_impossible_profile_is_refused_with_its_line() {
        for (before, after, message) in [
            ("loss = \"3%\"", "loss = \"300%\"", "mine.toml:19: `loss`: `300%` is over 100%"),
            (
                "loss = \"3%\"",
                "loss = \"30%\"",
                "mine.toml:19: `loss` must be at most 10%: with more, no story must settle within any time",
            ),
            ("actors = 10", "actors = 1", "mine.toml:8: `actors` must be from 2 to 12"),
            ("actors = 10", "actors = -1", "mine.toml:8: `actors`: `-1` must be a whole number of at least 0"),
            (
                "calm = \"32s\"",
                "calm = \"30s\"",
                "mine.toml:13: `calm` must be at least 31s, when the last trouble ends: `troubles-until` and `longest`",
            ),
            ("duration = \"60s\"", "duration = \"32s\"", "mine.toml:14: `duration` must be longer than `calm`, 32s"),
            ("call = 32", "call = 1001", "mine.toml:32: `call` must be from 0 to 1000"),
        ] {
            assert_eq!(wrong(before, after), message);
        }
        assert!(wrong("drop = 6", "dorp = 6").contains("did you mean `drop`?"));
        assert!(
            wrong("roles = [\"mesh\", ", "roles = [\"mehs\", ").contains("unknown role `mehs`; did you mean `mesh`?")
        );
        let none = StoryProfile::load("role").expect_err("no such profile").to_string();
        assert!(none.contains("did you mean `roles`?"), "{none}");
    }
}
