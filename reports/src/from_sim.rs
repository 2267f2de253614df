//! Converts a simulated run to a case of the result.

use std::collections::BTreeMap;
use std::time::Duration;

use scenarios::{ActorIndex, Jitter, NatBehavior, Queue, Scenario};
use sim::event::{self, NodeId, NodeKind, PeerChange, Record, What};
use sim::identities::Identities;
use sim::oracle::Violation;
use sim::reachability::{Place, Verdict as Reachable, can_connect};
use sim::run::{Cause, Crash, Outcome};
use sim::timeline::{self, Timeline};

use crate::evidence::{Evidence, Evidences};
use crate::model::{
    Apart, Candidate, CandidateKind, Case, Citation, Distribution, End, Finding, Flow, GilbertElliott, Layer, Link,
    Location, Machine, Network, OneWay, Oversized, Pair, Party, PartyKind, Past, Simulation, Step, Tone, Topology,
    Verdict,
};
use crate::place::line_of;
use crate::replay::Replay;
use crate::shares;

/// Longer texts are cut: a scenario may send megabytes.
const TEXT_CHARS_MAX: usize = 1_000;

/// How much of a run is stored or shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// With the story, the topology and the candidates; of a conformance run, with the messages of passing cases.
    Full,
    /// Verdict, pairs and violations: for one of many seeds that pass, and for a terminal. Of a conformance run, with the
    /// messages of failing cases only.
    Brief,
}

/// A run as a case. `wall` is the real time it took, `events_file` the path of its events, relative to the result's
/// folder.
pub fn case_of_outcome(
    outcome: &Outcome,
    wall: Duration,
    replay: &Replay,
    detail: Detail,
    events_file: Option<String>,
) -> Case {
    let record = &outcome.record;
    let mut case = base(&outcome.scenario, outcome.seed, wall, replay);
    if let Some(first) = outcome.violations.first() {
        case.verdict = Verdict::Fail;
        if let Some(location) = &mut case.location {
            location.line = Some(line_of(&outcome.scenario, record, first));
        }
    }
    let mut pairs = pairs(outcome);
    if detail == Detail::Full {
        let timeline = Timeline::of(record);
        case.parties = record.nodes.iter().map(|node| party(node, record)).collect();
        case.story = timeline.lines.iter().map(|line| step(record, line)).collect();
        let evidences = Evidences::new(&outcome.scenario, record, &timeline);
        let found = outcome.violations.iter();
        let place = |violation| Some(line_of(&outcome.scenario, record, violation));
        case.findings = found
            .map(|violation| Finding { line: place(violation), ..finding(record, evidences.of(violation), violation) })
            .collect();
        with_candidates(record, &mut pairs);
    } else {
        let found = outcome.violations.iter();
        case.findings = found
            .map(|violation| Finding {
                rule: violation.oracle.to_owned(),
                message: cut(&violation.message).0,
                ..Finding::default()
            })
            .collect();
    }
    let pairs: Vec<Pair> = pairs.into_iter().map(|(_, pair)| pair).collect();
    case.simulation = Some(Box::new(Simulation {
        hash: Some(outcome.hash.to_string()),
        events: record.events.len(),
        events_file,
        population: outcome.scenario.population.as_ref().map(|mix| shares::of(&mix.source, &pairs)),
        pairs,
        media: flows(record),
        probes: outcome.probes.iter().map(|(probe, hits)| ((*probe).to_owned(), *hits)).collect(),
        not_tested: not_tested(outcome),
        topology: (detail == Detail::Full).then(|| topology(&outcome.scenario)),
        ..simulation(&outcome.scenario, outcome.seed)
    }));
    case
}

/// The rule that a run without an outcome breaks.
/// The rule that a run breaks which did not finish.
pub fn crash_rule(cause: Cause) -> &'static str {
    match cause {
        Cause::Glare => "crash",
        Cause::Server => "server-reachable",
    }
}

/// A run that crashed, as a case.
pub fn case_of_crash(scenario: &Scenario, crash: &Crash, wall: Duration, replay: &Replay) -> Case {
    let message = cut(&crash.message).0;
    let rule = crash_rule(crash.cause).to_owned();
    let finding = Finding { rule, message, ..Finding::default() };
    broken(scenario, crash.seed, wall, replay, finding)
}

/// A seed whose two runs differ, as a case.
pub fn case_of_mismatch(runs: &[Outcome; 2], wall: Duration, replay: &Replay) -> Case {
    let [first, second] = runs;
    let mut message = format!("two runs of seed {} differ: {} and {}", first.seed, first.hash, second.hash);
    let mut evidence = None;
    if let Some((index, a, b)) = sim::hash::first_difference(&first.record, &second.record) {
        message = format!("{message}; event {index} is the first");
        let line = |record: &Record, event: Option<&event::Event>| {
            event.map_or_else(|| "nothing".to_owned(), |event| cut(&record.json_line(event)).0)
        };
        evidence = Some(format!("{}\n{}", line(&first.record, a), line(&second.record, b)));
    }
    let finding = Finding { rule: "determinism".to_owned(), message, evidence, ..Finding::default() };
    let mut case = broken(&first.scenario, first.seed, wall, replay, finding);
    case.replay.push_str(" --check-determinism");
    case
}

fn base(scenario: &Scenario, seed: u64, wall: Duration, replay: &Replay) -> Case {
    let citation = |section: &String| Citation { section: section.clone(), url: rfc_url(section), quote: None };
    Case {
        wall: wall.as_secs_f64(),
        citations: scenario.spec.iter().map(citation).collect(),
        location: Some(Location { file: file_of(&replay.scenario), line: Some(1) }),
        ..Case::new(format!("{}/{seed}", scenario.name), scenario.about.clone(), replay.line(seed))
    }
}

fn broken(scenario: &Scenario, seed: u64, wall: Duration, replay: &Replay, finding: Finding) -> Case {
    Case {
        verdict: Verdict::HarnessError,
        findings: vec![finding],
        simulation: Some(Box::new(simulation(scenario, seed))),
        ..base(scenario, seed, wall, replay)
    }
}

/// The situations at which a scenario aims, and which its server program did not bring about.
pub(crate) fn not_tested(outcome: &Outcome) -> Vec<String> {
    sim::oracle::left_to_the_server(&outcome.scenario, &outcome.probes).into_iter().map(str::to_owned).collect()
}

fn simulation(scenario: &Scenario, seed: u64) -> Simulation {
    Simulation {
        scenario: scenario.name.clone(),
        seed,
        duration: scenario.duration.as_secs_f64(),
        hash: None,
        events: 0,
        events_file: None,
        capture: None,
        pairs: Vec::new(),
        population: None,
        media: Vec::new(),
        probes: BTreeMap::new(),
        not_tested: Vec::new(),
        topology: None,
    }
}

/// The file of a scenario; for a shipped one, its path in the repository.
fn file_of(name_or_path: &str) -> String {
    scenarios::shipped()
        .find(|shipped| shipped.name == name_or_path)
        .map_or_else(|| name_or_path.to_owned(), |shipped| shipped.path())
}

/// The URL of `RFC 4787 §4.1` at the RFC editor.
fn rfc_url(section: &str) -> Option<String> {
    let mut words = section.strip_prefix("RFC ")?.split(' ');
    let number: u32 = words.next()?.parse().ok()?;
    let anchor = words.next().and_then(|word| word.strip_prefix('§')).map(|at| format!("#section-{at}"));
    Some(format!("https://www.rfc-editor.org/rfc/rfc{number}{}", anchor.unwrap_or_default()))
}

// ---- the story

fn party(node: &event::Node, record: &Record) -> Party {
    let kind = match node.kind {
        NodeKind::Machine(scenarios::Machine::Actor(_)) => PartyKind::Client,
        NodeKind::Machine(_) => PartyKind::Server,
        NodeKind::Nat(_) => PartyKind::Nat,
        NodeKind::World => PartyKind::World,
    };
    Party { name: node_name(node, record), kind }
}

/// The name of a node in reports. The NAT of a home network has the name of its machine.
pub(crate) fn node_name(node: &event::Node, record: &Record) -> String {
    let is_nat = matches!(node.kind, NodeKind::Nat(_));
    let taken = is_nat && record.nodes.iter().any(|other| other.name == node.name && other != node);
    if taken { format!("{}’s NAT", node.name) } else { node.name.to_string() }
}

fn step(record: &Record, line: &timeline::Line) -> Step {
    let (text, bytes) = cut(&line.what);
    Step {
        at: line.at.as_secs_f64(),
        layer: record.events.get(line.event).map_or(Layer::Machine, |event| layer(&event.what)),
        who: line.who.iter().map(|node| index(*node)).collect(),
        to: line.whom.map(index).or_else(|| asked_of(record, line)),
        text,
        bytes,
        tone: match line.tone {
            timeline::Tone::Plain => Tone::Plain,
            timeline::Tone::Good => Tone::Good,
            timeline::Tone::Bad => Tone::Bad,
            timeline::Tone::Fault => Tone::Fault,
        },
        event: Some(line.event),
        frame: None,
    }
}

/// The server, if the step is a STUN answer.
fn asked_of(record: &Record, line: &timeline::Line) -> Option<usize> {
    let What::Peer(peer) = &record.events.get(line.event)?.what else { return None };
    let is_server = |node: &event::Node| node.kind == NodeKind::Machine(scenarios::Machine::Server);
    matches!(peer.change, PeerChange::Mapped { .. }).then(|| record.nodes.iter().position(is_server))?
}

fn layer(what: &What) -> Layer {
    match what {
        What::Fault(_) => Layer::Fault,
        What::Nat(_) => Layer::Nat,
        What::Signaling(_) => Layer::Signaling,
        What::Peer(peer) => match &peer.change {
            PeerChange::Mapped { .. }
            | PeerChange::Turn { .. }
            | PeerChange::IceServers { .. }
            | PeerChange::NoIceServers { .. } => Layer::Stun,
            PeerChange::Described { .. } | PeerChange::RolledBack => Layer::Signaling,
            PeerChange::Dtls { .. } => Layer::Dtls,
            PeerChange::ChannelOpen
            | PeerChange::ChannelSent { .. }
            | PeerChange::ChannelReceived { .. }
            | PeerChange::Sends { .. }
            | PeerChange::Silent { .. }
            | PeerChange::Heard { .. } => Layer::Data,
            _ => Layer::Ice,
        },
        _ => Layer::Machine,
    }
}

fn finding(record: &Record, evidence: Evidence, violation: &Violation) -> Finding {
    let event = violation.event.and_then(|event| record.events.get(event));
    Finding {
        rule: violation.oracle.to_owned(),
        message: cut(&violation.message).0,
        promise: sim::oracle::promise(violation.oracle).map(str::to_owned),
        at: Some(violation.at.as_secs_f64()),
        parties: violation.nodes.iter().map(|node| index(*node)).collect(),
        steps: evidence.lines,
        step: evidence.wrong,
        causes: evidence.causes,
        event: violation.event,
        line: None,
        evidence: event
            .filter(|event| !matches!(event.what, What::Census(_)))
            .map(|event| cut(&record.json_line(event)).0),
    }
}

fn index(node: NodeId) -> usize {
    usize::from(node.0)
}

/// The beginning of a text, and the length of the whole in bytes if it was cut.
fn cut(text: &str) -> (String, Option<usize>) {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => (format!("{}…", &text[..end]), Some(text.len())),
        None => (text.to_owned(), None),
    }
}

// ---- pairs

/// The pairs of a run, with their nodes.
pub(crate) fn pairs(outcome: &Outcome) -> Vec<([NodeId; 2], Pair)> {
    let record = &outcome.record;
    let view = |pair: &sim::pairs::Pair| {
        let past = pair.past.as_ref();
        let newest = pair.connection.as_ref().or_else(|| past.map(|past| &past.connection));
        Pair {
            between: [record.name(pair.a).to_string(), record.name(pair.b).to_string()],
            since: pair.connection.as_ref().map(|connection| connection.since.as_secs_f64()),
            past: past.map(|past| Past {
                since: past.connection.since.as_secs_f64(),
                until: past.until.as_secs_f64(),
                why: end(past.why),
            }),
            apart: if newest.is_none() { apart(outcome, pair) } else { None },
            first_heard: pair.first_heard.map(|at| at.as_secs_f64()),
            attempts: pair.attempts,
            selected: newest.map(|both| [candidate(both.local), candidate(both.remote)]),
            candidates: None,
        }
    };
    sim::pairs::pairs(record).iter().map(|pair| ([pair.a, pair.b], view(pair))).collect()
}

/// The tracks of a run.
pub(crate) fn flows(record: &Record) -> Vec<Flow> {
    let flow = |flow: sim::media::Flow| Flow {
        from: record.name(flow.from).to_string(),
        to: record.name(flow.to).to_string(),
        kind: flow.kind.name().to_owned(),
        packets: flow.packets,
        lost: flow.lost,
        longest_gap: flow.longest_gap.as_secs_f64(),
    };
    sim::media::flows(record).into_iter().map(flow).collect()
}

fn end(why: sim::pairs::End) -> End {
    match why {
        sim::pairs::End::HungUp => End::HungUp,
        sim::pairs::End::Left => End::Left,
        sim::pairs::End::PowerLost => End::PowerLost,
        sim::pairs::End::Replaced => End::Replaced,
        sim::pairs::End::Lost => End::Lost,
    }
}

/// Why the two clients of a pair are expected not to be connected, if they are.
fn apart(outcome: &Outcome, pair: &sim::pairs::Pair) -> Option<Apart> {
    let actor = |node: NodeId| match outcome.record.nodes[usize::from(node.0)].kind {
        NodeKind::Machine(scenarios::Machine::Actor(actor)) => Some(actor),
        _ => None,
    };
    let (a, b) = (actor(pair.a)?, actor(pair.b)?);
    if outcome.scenario.expect.unconnected.iter().any(|&listed| listed == (a, b) || listed == (b, a)) {
        return Some(Apart::Expected);
    }
    let place = |actor| Place::of(&outcome.scenario, actor);
    matches!(can_connect(&place(a), &place(b)), Reachable::Chance(_)).then_some(Apart::Chance)
}

/// Adds the candidates that each side gathered for the other: those of the last attempt, and the host's, which every
/// attempt shares.
fn with_candidates(record: &Record, pairs: &mut [([NodeId; 2], Pair)]) {
    let identities = Identities::of(record);
    let mut gathered: BTreeMap<(NodeId, NodeId), Vec<Candidate>> = BTreeMap::new();
    let events = record.events.iter().take_while(|event| event.what != What::TearDown);
    for event in events {
        let What::Peer(peer) = &event.what else { continue };
        let Some(other) = identities.owner(&peer.peer) else { continue };
        let known = gathered.entry((event.node, other)).or_default();
        match &peer.change {
            PeerChange::Opened { .. } => known.clear(),
            PeerChange::Candidate { local: true, candidate: one, .. } => {
                let one = candidate(*one);
                if !known.contains(&one) {
                    known.push(one);
                }
            }
            // Peer-reflexive candidates are not gathered: connectivity checks discover them.
            PeerChange::Selected { local, .. } if local.kind == event::CandidateKind::Prflx => {
                known.push(candidate(*local))
            }
            _ => {}
        }
    }
    for ([a, b], pair) in pairs {
        let mut of = |side, other| gathered.remove(&(side, other)).unwrap_or_default();
        pair.candidates = Some([of(*a, *b), of(*b, *a)]);
    }
}

fn candidate(candidate: event::Candidate) -> Candidate {
    let kind = match candidate.kind {
        event::CandidateKind::Host => CandidateKind::Host,
        event::CandidateKind::Srflx => CandidateKind::Srflx,
        event::CandidateKind::Prflx => CandidateKind::Prflx,
        event::CandidateKind::Relay => CandidateKind::Relay,
    };
    Candidate { kind, address: candidate.address.into() }
}

// ---- topology

fn topology(scenario: &Scenario) -> Topology {
    Topology {
        server: addresses(scenario, scenarios::Machine::Server),
        server_link: Some(link(scenario.server.link)),
        networks: scenario
            .networks
            .iter()
            .map(|network| Network {
                name: network.name.clone(),
                behind: network.behind.map(|outer| outer.0),
                external: network.external.iter().map(ToString::to_string).collect(),
                profile: network.profile.clone(),
                behavior: network.nat.as_ref().map(behavior).unwrap_or_default(),
                link: Some(link(network.link)),
            })
            .collect(),
        machines: scenario
            .actors
            .iter()
            .enumerate()
            .map(|(index, actor)| Machine {
                name: actor.name.clone(),
                network: actor.network.map(|network| network.0),
                address: addresses(scenario, scenarios::Machine::Actor(ActorIndex(index))),
                room: actor.room.clone(),
                stack: unusual_stack(actor).map(str::to_owned),
                link: Some(link(actor.link)),
            })
            .collect(),
    }
}

/// The WebRTC stack of an actor, if it is not that of most.
pub(crate) fn unusual_stack(actor: &scenarios::Actor) -> Option<&'static str> {
    (actor.stack != scenarios::Stack::default()).then(|| actor.stack.name())
}

/// The addresses of a machine, in words.
fn addresses(scenario: &Scenario, machine: scenarios::Machine) -> String {
    let all: Vec<_> = scenario.addresses(machine).all().map(|address| address.to_string()).collect();
    all.join(", ")
}

fn link(link: scenarios::Link) -> Link {
    let down = (link.down != link.up).then(|| one_way(link.down));
    Link { up: one_way(link.up), down }
}

fn one_way(way: scenarios::OneWay) -> OneWay {
    let share = |ppm: u32| f64::from(ppm) / 1e6;
    let seconds = |time: Duration| time.as_secs_f64();
    let (jitter, deviation, distribution) = match way.jitter {
        Jitter::Uniform { max } => (max, None, None),
        Jitter::Normal { mean, deviation } => (mean, Some(seconds(deviation)), Some(Distribution::Normal)),
        Jitter::Pareto { mean } => (mean, None, Some(Distribution::Pareto)),
    };
    let (queue, queue_bytes) = match way.queue {
        Queue::Time(time) => (Some(seconds(time)), None),
        Queue::Bytes(bytes) => (None, Some(bytes)),
    };
    let is_limited = way.bandwidth_bps.is_some();
    OneWay {
        latency: seconds(way.latency),
        jitter: seconds(jitter),
        jitter_deviation: deviation,
        jitter_distribution: distribution,
        loss: share(way.loss_ppm),
        gilbert_elliott: way.burst_loss.map(|model| GilbertElliott {
            p: share(model.p_ppm),
            r: share(model.r_ppm),
            h: share(model.h_ppm),
            k: share(model.k_ppm),
        }),
        corrupt: share(way.corrupt_ppm),
        duplicate: share(way.duplicate_ppm),
        reorder: share(way.reorder_ppm),
        bandwidth_bps: way.bandwidth_bps,
        queue: queue.filter(|_| is_limited),
        queue_bytes: queue_bytes.filter(|_| is_limited),
        mtu: way.mtu,
        oversized: way.mtu.map(|_| match way.oversized {
            scenarios::Oversized::Reject => Oversized::Reject,
            scenarios::Oversized::Fragment => Oversized::Fragment,
            scenarios::Oversized::Drop => Oversized::Drop,
        }),
    }
}

/// A NAT's behavior, in the terms of the scenario file; times in seconds.
fn behavior(nat: &NatBehavior) -> BTreeMap<String, String> {
    let word = |value: serde_json::Value| match value {
        serde_json::Value::String(word) => word,
        other => other.to_string(),
    };
    let json = |value| serde_json::to_value(value).map(word).unwrap_or_default();
    let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let ports = |ports: &[u16]| match ports {
        [] => "none".to_owned(),
        ports => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
    };
    [
        ("mapping", json(serde_json::json!(nat.mapping))),
        ("filtering", json(serde_json::json!(nat.filtering))),
        ("filter-state", json(serde_json::json!(nat.filter_state))),
        ("port-allocation", json(serde_json::json!(nat.port_allocation))),
        ("hairpinning", json(serde_json::json!(nat.hairpinning))),
        ("pooling", json(serde_json::json!(nat.pooling))),
        ("udp-lifetime-new", seconds(nat.udp_lifetime_new)),
        ("udp-lifetime", seconds(nat.udp_lifetime)),
        ("udp-stream-after", seconds(nat.udp_stream_after)),
        ("udp-inbound-refresh", yes(nat.udp_inbound_refresh)),
        ("tcp-lifetime", seconds(nat.tcp_lifetime)),
        ("tcp-lifetime-opening", seconds(nat.tcp_lifetime_opening)),
        ("tcp-lifetime-closing", seconds(nat.tcp_lifetime_closing)),
        ("tcp-lifetime-reset", seconds(nat.tcp_lifetime_reset)),
        ("tcp-pick-up", yes(nat.tcp_pick_up)),
        ("unsolicited", json(serde_json::json!(nat.unsolicited))),
        ("max-mappings", nat.max_mappings.to_string()),
        ("udp-blocked", yes(nat.udp_blocked)),
        ("tcp-ports-blocked", ports(&nat.tcp_ports_blocked)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
