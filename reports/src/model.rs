//! The result that every report is rendered from: JSON Lines, an opening record, a record a case, a closing record.
//!
//! Whoever writes it may be killed at any time, so each line stands for itself and the closing record counts the others: a file without
//! it, or with other counts, was cut off. The format is published as `reports/schema/result.schema.json`; a test holds both together.
//! Times are seconds, virtual where a simulation has a clock of its own. Fields that a reader does not know are to be ignored; a field
//! that changes its meaning makes a new [`VERSION`], and a reader refuses what is newer than itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

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
    /// One for each case, in the order in which they ended.
    Case(Box<Case>),
    /// The last line.
    Closing(Closing),
}

/// What was asked of whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// [`VERSION`] of whoever wrote it.
    pub version: u32,
    /// Who judged.
    pub suite: Suite,
    /// What was played or asked: a scenario's name, a dialect's name.
    pub name: String,
    /// Program and version, such as `glare 0.1.0`.
    pub tool: String,
    /// Who was judged: `reference server`, or a URL.
    pub target: String,
    /// The command that made it, ready for a shell.
    pub command: String,
    /// Wall-clock time of the start, milliseconds since 1970.
    pub started_ms: u64,
}

/// Who judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// The oracles, over simulated runs. A case is a scenario and a seed.
    Sim,
    /// The conformance suite. A case is a question.
    Conformance,
    /// The same, over servers that are broken on purpose. A case is such a server.
    Mutants,
}

/// The counts of a whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    /// Case records before this line.
    pub cases: usize,
    /// How many of each verdict.
    pub counts: Counts,
    /// Wall time of all.
    pub wall: f64,
}

/// How many cases have each verdict.
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

/// What came of a case, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As promised.
    Pass,
    /// Not the best that a specification asks for, but allowed.
    Acceptable,
    /// A promise is broken.
    Fail,
    /// The server says that it does not do this, and may.
    Unsupported,
    /// It could not be asked: something that it needs does not work, or time was up.
    NotTested,
    /// Glare itself failed; it says nothing about the target.
    HarnessError,
}

/// One case and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Stable: `room/join-once`, `mesh-6/17` (scenario and seed). A file that asks a case several times has its id several times.
    pub id: String,
    /// What it belongs to: the scenario, the group of questions.
    pub group: String,
    /// The question in one sentence.
    pub title: String,
    /// The answer.
    pub verdict: Verdict,
    /// How binding the rule is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Why it is expected to fail, if it is known to. An unexpected pass is reported as a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// Real time that it took.
    pub wall: f64,
    /// What is wrong, or why it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What is worth knowing and no failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Where public specifications speak of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<Citation>,
    /// The file that describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The command that plays it again.
    pub replay: String,
    /// Who takes part in the story.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<Party>,
    /// What happened, as a person reads it. Passing cases of a big result leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<Step>,
    /// Steps that were too many to be kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_omitted: usize,
    /// What only a simulation knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulation: Option<Box<Simulation>>,
}

/// How binding a rule is.
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

/// Something that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that is broken: an oracle's slug, a case's slug; `crash` and `determinism` are Glare's own.
    pub rule: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The rule in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<String>,
    /// When it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// Whom it concerns, indices into [`Case::parties`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<usize>,
    /// The part of the story that shows it, indices into [`Case::story`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<usize>,
    /// The step at which it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The event at which it was seen, an index into the file of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<usize>,
    /// The line of the case's file that it is about, from 1.
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
    /// Where to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The sentence, as it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The path as it was given, or from the repository's root.
    pub file: String,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// Somebody in the story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// What they are called.
    pub name: String,
    /// What they are.
    pub kind: PartyKind,
}

/// What a party is.
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
    /// What it is about.
    pub layer: Layer,
    /// To whom it happens, indices into [`Case::parties`].
    pub who: Vec<usize>,
    /// To whom they send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<usize>,
    /// What, in words, or a message as it is on the wire.
    pub text: String,
    /// Bytes of the whole text where it was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// How to take it.
    pub tone: Tone,
    /// The event that it tells of, an index into the file of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<usize>,
    /// The frame of the capture that it is, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
}

/// A frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its number, from 1, as Wireshark counts.
    pub number: usize,
    /// The interface that it was seen on: a network's name, or `internet`.
    pub interface: String,
}

/// What a step is about.
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

/// How to take a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    /// As it goes.
    Plain,
    /// Something is achieved.
    Good,
    /// Something is lost, or tried again.
    Bad,
    /// The scenario's doing.
    Fault,
}

/// What only a simulation knows.
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
    /// How many events.
    pub events: usize,
    /// The file of all events, from the result's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_file: Option<String>,
    /// The capture of its packets, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Captured>,
    /// Clients that had, or tried to have, a connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Pair>,
    /// How often each rare situation came about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, usize>,
    /// The network it was played in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
}

/// A capture of a run's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The file, as it was named.
    pub file: String,
    /// The file that says which event is which frame, from the result's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_file: Option<String>,
}

/// Two clients that had, or tried to have, a WebRTC connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Their names.
    pub between: [String; 2],
    /// Since when the connection stands that stands in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// When both had first heard from one another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_heard: Option<f64>,
    /// Connections that were opened.
    pub attempts: usize,
    /// The candidates in use, by the first one's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<[Candidate; 2]>,
    /// What each side had to offer, over the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<[Vec<Candidate>; 2]>,
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

/// Homes, NATs and servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The server's address.
    pub server: String,
    /// Private networks, an outer one before those behind it.
    pub networks: Vec<Network>,
    /// Machines.
    pub machines: Vec<Machine>,
}

/// A private network and its NAT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The network its NAT is in, an index; absent is the internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<usize>,
    /// The NAT's external addresses.
    pub external: Vec<String>,
    /// The profile it was made of.
    pub profile: String,
    /// What the NAT does, in words: `mapping` → `endpoint-independent`. Empty where nothing is translated.
    pub behavior: BTreeMap<String, String>,
}

/// A client's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// The network it is in, an index; absent is the internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<usize>,
    /// Its address there.
    pub address: String,
    /// The room its client joins.
    pub room: String,
}

impl Case {
    /// A case that passes, of which nothing else is known. Its group is what stands before the slash of its id.
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

    /// Whether a build should be red for it: it fails and is not known to, it passes and is known to fail, or Glare itself failed.
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
    /// Whether it says that something is wrong, expected or not.
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
    /// Counts one more.
    pub fn add(&mut self, verdict: Verdict) {
        *self.slot(verdict) += 1;
    }

    /// How many of a verdict.
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
