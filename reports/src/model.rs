//! The result from which every report is rendered: JSON Lines with an opening record, one record per case, and a
//! closing record.
//!
//! The program that writes it may be killed at any time, so each line is complete in itself and the closing record
//! counts the others: a file without it, or with other counts, is truncated. The format is published as
//! `reports/schema/result.schema.json`; a test checks that both agree. Times are in seconds, and virtual in
//! simulations. Readers ignore unknown fields. If the meaning of a field changes, [`VERSION`] increases, and readers
//! reject newer versions.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::text::thousands;

/// Version of the format.
pub const VERSION: u32 = 2;
/// Name of the file in a result's folder.
pub const FILE: &str = "result.jsonl";

/// A line of a result file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The first line.
    Opening(Opening),
    /// One per case, in the order in which they finished.
    Case(Box<Case>),
    /// The last line.
    Closing(Closing),
}

/// What was run against which target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// The suite.
    pub suite: Suite,
    /// The name of the scenario or dialect.
    pub name: String,
    /// Program and version, such as `glare 0.1.0`.
    pub tool: String,
    /// The tested server: `reference server`, or a URL.
    pub target: String,
    /// The command that produced it, ready for a shell.
    pub command: String,
    /// Wall-clock time of the start, milliseconds since 1970.
    pub started_ms: u64,
}

/// The suite that judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// The oracles, over simulated runs. A case is a scenario and a seed.
    Sim,
    /// The conformance suite. A case checks one rule.
    Conformance,
    /// The conformance suite, run on servers that are broken on purpose. A case is such a server.
    Mutants,
}

/// The counts of a whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    /// Case records before this line.
    pub cases: usize,
    /// Number of cases per verdict.
    pub counts: Counts,
    /// Real time of the whole run.
    pub wall: f64,
}

/// Numbers of cases per verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // see Verdict
pub struct Counts {
    pub pass: usize,
    pub acceptable: usize,
    pub fail: usize,
    pub unsupported: usize,
    pub not_tested: usize,
    pub harness_error: usize,
}

/// The verdict on a case, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The rule is kept.
    Pass,
    /// Not what a specification recommends, but allowed.
    Acceptable,
    /// The rule is broken.
    Fail,
    /// The server declares that it does not support this, which is allowed.
    Unsupported,
    /// It did not run: something that it needs does not work, or time ran out.
    NotTested,
    /// Glare itself failed; this says nothing about the target.
    HarnessError,
}

/// One case and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Stable: `room/join-once`, `mesh-6/17` (scenario and seed). If a case ran several times, its id occurs several
    /// times.
    pub id: String,
    /// The scenario or group of cases that it belongs to.
    pub group: String,
    /// What it checks, in one sentence.
    pub title: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The level of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Why it is expected to fail, if it is known to. An unexpected pass is reported as a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// Real time that it took.
    pub wall: f64,
    /// What is wrong, or why it did not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Remarks that are not failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The relevant passages of public specifications.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<Citation>,
    /// The file that describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The command that replays it.
    pub replay: String,
    /// The parties of the story.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<Party>,
    /// What happened, for people. Passing cases of a large result leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<Step>,
    /// Number of steps left out because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_omitted: usize,
    /// Details of a simulation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulation: Option<Box<Simulation>>,
}

/// The level of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A public specification says MUST.
    Must,
    /// A public specification says SHOULD.
    Should,
    /// A public specification says MAY.
    May,
    /// The dialect declares it.
    Declared,
}

impl Level {
    /// The word for it, as in the result file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
            Self::Declared => "declared",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that is broken: an oracle's slug, a case's slug; `crash` and `determinism` are Glare's own.
    pub rule: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The rule in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<String>,
    /// When it was detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// The parties that it concerns, indices into [`Case::parties`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<usize>,
    /// The part of the story that shows it, indices into [`Case::story`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<usize>,
    /// The step at which it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// What was done last to the parties that it concerns: steps of the scenario, and programs that ended; a part of
    /// `steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<usize>,
    /// The event at which it was detected, an index into the events file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<usize>,
    /// The line of the case's file that it refers to, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// That event, or other raw evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// A sentence of a public specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// Document and section: `RFC 6455 §5.1`.
    pub section: String,
    /// Its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The sentence, quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The path as given, or relative to the repository's root.
    pub file: String,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// A participant of the story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: PartyKind,
}

/// The kind of a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the words say it
pub enum PartyKind {
    Client,
    Server,
    Nat,
    World,
}

/// A line of the story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Seconds since the start.
    pub at: f64,
    /// Its layer.
    pub layer: Layer,
    /// The parties that it happens to, indices into [`Case::parties`].
    pub who: Vec<usize>,
    /// The receiver, if it is a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<usize>,
    /// The step in words, or a message as on the wire.
    pub text: String,
    /// Length of the whole text in bytes, if it was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Its tone.
    pub tone: Tone,
    /// The event that it describes, an index into the events file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<usize>,
    /// Its frame in the capture, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
}

/// A frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its number, from 1, as Wireshark counts.
    pub number: usize,
    /// The interface on which it was captured: a network's name, or `internet`.
    pub interface: String,
}

/// The layer of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the words say it
pub enum Layer {
    Signaling,
    Stun,
    Ice,
    Dtls,
    Data,
    Nat,
    Machine,
    Fault,
}

/// The tone of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    /// Ordinary progress.
    Plain,
    /// Something is achieved.
    Good,
    /// Something is lost, or tried again.
    Bad,
    /// A step of the scenario.
    Fault,
}

/// Details of a simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    /// The scenario's name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// Virtual time of the scenario.
    pub duration: f64,
    /// Hash of all events; equal hashes are equal runs. Absent after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Number of events.
    pub events: usize,
    /// The events file, relative to the result's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_file: Option<String>,
    /// The capture of its packets, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Captured>,
    /// Pairs of clients that had a connection or tried to connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Pair>,
    /// How the pairs of a population connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<Population>,
    /// The tracks that clients sent to each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Flow>,
    /// How often each rare situation occurred.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, usize>,
    /// The situations at which the scenario aims, and which the server program did not bring about: the run tests nothing of
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_tested: Vec<String>,
    /// The simulated network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
}

/// A capture of a run's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The file, as named by the user.
    pub file: String,
    /// The frames file, which maps events to frames, relative to the result's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_file: Option<String>,
}

/// Two clients that had a WebRTC connection or tried to connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Their names.
    pub between: [String; 2],
    /// When the connection that exists at the end was established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// The last connection that ended before the scenario did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<Past>,
    /// Why they are expected not to be connected, if they are not and never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<Apart>,
    /// When both had first received data from each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_heard: Option<f64>,
    /// Number of connections that were opened.
    pub attempts: usize,
    /// The selected candidates of the newest connection, as the first client sees them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<[Candidate; 2]>,
    /// The candidates that each side gathered in the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<[Vec<Candidate>; 2]>,
}

/// How the pairs of a population connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    /// Where the shares of its NATs come from.
    pub source: String,
    /// The number of pairs.
    pub pairs: usize,
    /// How many are connected without a relay at the end.
    pub direct: usize,
    /// How many are connected through a relay.
    pub relayed: usize,
}

/// A track from one client to another, over all of their connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The client that sent it.
    pub from: String,
    /// The client that received it.
    pub to: String,
    /// What it carried: `audio` or `video`.
    pub kind: String,
    /// The number of packets that arrived.
    pub packets: u64,
    /// How many the sequence numbers show to be missing.
    pub lost: u64,
    /// The longest time between two packets of a connection while they were sent.
    pub longest_gap: f64,
}

impl Flow {
    /// What arrived, in words: `1,234 packets, 0.5 % lost, longest gap 3.2 s`.
    pub(crate) fn words(&self) -> String {
        let packets = if self.packets == 1 {
            "1 packet".to_owned()
        } else {
            format!("{} packets", thousands(self.packets as usize))
        };
        let lost = match self.lost {
            0 => "none lost".to_owned(),
            lost => format!("{:.1} % lost", lost as f64 * 100.0 / (self.packets + lost) as f64),
        };
        format!("{packets}, {lost}, longest gap {:.1} s", self.longest_gap)
    }
}

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// When it was established.
    pub since: f64,
    /// When the first of its sides ended it, or noticed that it was dead.
    pub until: f64,
    /// Why it ended.
    pub why: End,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// One side hung up.
    HungUp,
    /// One side left.
    Left,
    /// The machine of one side lost power.
    PowerLost,
    /// A newer connection replaced it.
    Replaced,
    /// Nobody ended it: ICE gave it up, or one side took the other for gone.
    Lost,
}

/// Why two clients are expected not to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Apart {
    /// The scenario lists them, because their NATs prevent it.
    Expected,
    /// Their NATs leave it to chance.
    Chance,
}

/// A candidate. RFC 8445 §5.1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// Its type.
    pub kind: CandidateKind,
    /// Address and port.
    pub address: SocketAddr,
}

/// The type of a candidate. RFC 8445 §5.1.1; the words are those of `a=candidate` (RFC 8839 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the words say it
pub enum CandidateKind {
    Host,
    Srflx,
    Prflx,
    Relay,
}

impl CandidateKind {
    /// The word for it, as in the result file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Srflx => "srflx",
            Self::Prflx => "prflx",
            Self::Relay => "relay",
        }
    }
}

/// The simulated networks, NATs and machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// The server's address.
    pub server: String,
    /// The server's link to the internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_link: Option<Link>,
    /// Private networks; an outer one precedes those behind it.
    pub networks: Vec<Network>,
    /// Machines.
    pub machines: Vec<Machine>,
}

/// A private network and its NAT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The network that its NAT is connected to, an index; absent means the internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<usize>,
    /// The NAT's external addresses.
    pub external: Vec<String>,
    /// The profile of the NAT.
    pub profile: String,
    /// The NAT's behavior in words: `mapping` → `endpoint-independent`. Empty if nothing is translated. It is a map of
    /// words because readers show all entries, including those that they do not know.
    pub behavior: BTreeMap<String, String>,
    /// The NAT's link to the outer network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

/// The settings of a link at the start of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// From the machine or the NAT to the network. Its keys are those of the link.
    #[serde(flatten)]
    pub up: OneWay,
    /// From the network to the machine or the NAT; absent if it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<OneWay>,
}

/// The settings of one direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OneWay {
    /// The time that a packet takes.
    pub latency: f64,
    /// Additional time: the maximum, or the mean of a distribution.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub jitter: f64,
    /// The distribution of the additional time; absent: every time from zero to `jitter` is equally likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_distribution: Option<Distribution>,
    /// The standard deviation of a normal distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_deviation: Option<f64>,
    /// Share of packets that are lost, 0 to 1.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub loss: f64,
    /// Losses in bursts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gilbert_elliott: Option<GilbertElliott>,
    /// Share of packets of which a bit is flipped, 0 to 1.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub corrupt: f64,
    /// Share of UDP datagrams that arrive twice, 0 to 1.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub duplicate: f64,
    /// Share of UDP datagrams that later ones overtake, 0 to 1.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub reorder: f64,
    /// Bits per second; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_bps: Option<u64>,
    /// For how long a datagram may wait for the bandwidth; otherwise it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<f64>,
    /// How many bytes may wait for the bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_bytes: Option<u64>,
    /// The longest packet that passes whole, bytes; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// What happens to a datagram that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversized: Option<Oversized>,
}

/// A distribution of jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// The normal distribution.
    Normal,
    /// The Pareto distribution of type II with shape 3.
    Pareto,
}

/// The model of Gilbert and Elliott for losses in bursts; probabilities, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GilbertElliott {
    /// That the bad state follows the good one.
    pub p: f64,
    /// That the good state follows the bad one.
    pub r: f64,
    /// That a packet gets through in the bad state.
    pub h: f64,
    /// That a packet gets through in the good state.
    pub k: f64,
}

/// What happens to a datagram that is longer than the MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oversized {
    /// It is dropped, and its sender is told by ICMP.
    Reject,
    /// It is split into fragments.
    Fragment,
    /// It is dropped, and nobody is told.
    Drop,
}

/// A client's machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// The network that it is connected to, an index; absent means the internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<usize>,
    /// Its address there.
    pub address: String,
    /// The room its client joins.
    pub room: String,
    /// The library of its client's WebRTC connections, if it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Its link to that network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

impl Case {
    /// A case that passes, without details. Its group is the part of its id before the slash.
    pub fn new(id: String, title: String, replay: String) -> Self {
        Self {
            group: id.split('/').next().unwrap_or_default().to_owned(),
            id,
            title,
            verdict: Verdict::Pass,
            level: None,
            known: None,
            wall: 0.0,
            findings: Vec::new(),
            remarks: Vec::new(),
            citations: Vec::new(),
            location: None,
            replay,
            parties: Vec::new(),
            story: Vec::new(),
            steps_omitted: 0,
            simulation: None,
        }
    }

    /// Whether it should fail a build: it fails unexpectedly, it passes although it is known to fail, or Glare itself
    /// failed.
    pub fn is_bad(&self) -> bool {
        match self.verdict {
            Verdict::Pass | Verdict::Acceptable => self.known.is_some(),
            Verdict::Fail => self.known.is_none(),
            Verdict::HarnessError => true,
            Verdict::Unsupported | Verdict::NotTested => false,
        }
    }
}

impl Verdict {
    /// Whether it is a failure, expected or not.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Fail | Self::HarnessError)
    }

    /// All of them, the best first.
    pub const ALL: [Self; 6] =
        [Self::Pass, Self::Acceptable, Self::Fail, Self::Unsupported, Self::NotTested, Self::HarnessError];

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Acceptable => "acceptable",
            Self::Fail => "fail",
            Self::Unsupported => "unsupported",
            Self::NotTested => "not tested",
            Self::HarnessError => "harness error",
        }
    }

    /// The word in files.
    pub fn slug(self) -> &'static str {
        match self {
            Self::NotTested => "not-tested",
            Self::HarnessError => "harness-error",
            _ => self.word(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Suite {
    /// The word for people and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Conformance => "conformance",
            Self::Mutants => "mutants",
        }
    }
}

impl Layer {
    /// The word for people and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Signaling => "signaling",
            Self::Stun => "stun",
            Self::Ice => "ice",
            Self::Dtls => "dtls",
            Self::Data => "data",
            Self::Nat => "nat",
            Self::Machine => "machine",
            Self::Fault => "fault",
        }
    }
}

impl Counts {
    /// Counts one more case.
    pub fn add(&mut self, verdict: Verdict) {
        *self.slot(verdict) += 1;
    }

    /// Number of cases with a verdict.
    pub fn of(mut self, verdict: Verdict) -> usize {
        *self.slot(verdict)
    }

    fn slot(&mut self, verdict: Verdict) -> &mut usize {
        match verdict {
            Verdict::Pass => &mut self.pass,
            Verdict::Acceptable => &mut self.acceptable,
            Verdict::Fail => &mut self.fail,
            Verdict::Unsupported => &mut self.unsupported,
            Verdict::NotTested => &mut self.not_tested,
            Verdict::HarnessError => &mut self.harness_error,
        }
    }
}

impl FromIterator<Verdict> for Counts {
    fn from_iter<I: IntoIterator<Item = Verdict>>(verdicts: I) -> Self {
        let mut counts = Self::default();
        verdicts.into_iter().for_each(|verdict| counts.add(verdict));
        counts
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_none_at_all(number: &f64) -> bool {
    *number == 0.0
}
