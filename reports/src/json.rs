//! What a program reads: one JSON object a run.

use std::time::Duration;

use serde::Serialize;
use sim::hash::EventHash;
use sim::oracle::Probes;
use sim::pairs::pairs;
use sim::run::Outcome;

use crate::replay::Replay;

/// Version of the format; a field that changes meaning changes it.
pub(crate) const VERSION: u32 = 1;

#[derive(Serialize)]
struct Result<'a> {
    version: u32,
    scenario: &'a str,
    seed: u64,
    /// `pass` or `fail`.
    verdict: &'static str,
    hash: EventHash,
    /// Virtual seconds.
    duration: f64,
    /// Wall time, seconds.
    wall: f64,
    events: usize,
    pairs: Vec<PairView<'a>>,
    violations: Vec<ViolationView<'a>>,
    probes: &'a Probes,
    replay: String,
}

#[derive(Serialize)]
struct PairView<'a> {
    between: [&'a str; 2],
    connected: bool,
    /// Virtual seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<[sim::event::Candidate; 2]>,
    attempts: usize,
}

#[derive(Serialize)]
struct ViolationView<'a> {
    oracle: &'a str,
    message: &'a str,
    /// Virtual seconds.
    at: f64,
    nodes: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<serde_json::Value>,
}

/// A run as one line of JSON. `wall` is the time it took.
pub fn result_json(outcome: &Outcome, wall: Duration, replay: &Replay) -> String {
    let record = &outcome.record;
    let name = |node| &**record.name(node);
    let pairs = pairs(record);
    let pairs = pairs.iter().map(|pair| PairView {
        between: [name(pair.a), name(pair.b)],
        connected: pair.connection.is_some(),
        since: pair.connection.as_ref().map(|connection| connection.since.as_secs_f64()),
        candidates: pair.connection.as_ref().map(|connection| [connection.local, connection.remote]),
        attempts: pair.attempts,
    });
    let violations = outcome.violations.iter().map(|violation| ViolationView {
        oracle: violation.oracle,
        message: &violation.message,
        at: violation.at.as_secs_f64(),
        nodes: violation.nodes.iter().map(|node| name(*node)).collect(),
        event: violation
            .event
            .and_then(|event| record.events.get(event))
            .and_then(|event| serde_json::from_str(&record.json_line(event)).ok()),
    });
    let result = Result {
        version: VERSION,
        scenario: &outcome.scenario.name,
        seed: outcome.seed,
        verdict: if outcome.passed() { "pass" } else { "fail" },
        hash: outcome.hash,
        duration: outcome.scenario.duration.as_secs_f64(),
        wall: wall.as_secs_f64(),
        events: record.events.len(),
        pairs: pairs.collect(),
        violations: violations.collect(),
        probes: &outcome.probes,
        replay: replay.line(outcome.seed),
    };
    serde_json::to_string(&result).expect("every result has a JSON form")
}
