//! What a person reads on the terminal.

use std::fmt::{self, Write as _};
use std::time::Duration;

use sim::event::{CandidateKind, NodeKind, Record, What};
use sim::oracle::Violation;
use sim::pairs::{Pair, pairs};
use sim::run::{Crash, Outcome};
use sim::timeline::{Line, Timeline};

use crate::replay::Replay;
use crate::style::{self, FAIL, FAINT, HEADING, PASS};

/// How many lines of the story stand around a violation.
const LINES_AROUND: usize = 5;

/// The report of one run: verdict, connections, story, violations, and the line that plays it again. `wall` is the time it took.
pub fn outcome(outcome: &Outcome, wall: Duration, replay: &Replay) -> String {
    let mut out = String::new();
    let timeline = Timeline::of(&outcome.record);
    write_outcome(&mut out, outcome, &timeline, wall, replay).expect("a string takes all that is written");
    out
}

fn write_outcome(
    out: &mut String,
    outcome: &Outcome,
    timeline: &Timeline,
    wall: Duration,
    replay: &Replay,
) -> fmt::Result {
    headline(out, outcome)?;
    let seconds = outcome.scenario.duration.as_secs_f64();
    let speed = seconds / wall.as_secs_f64().max(1e-9);
    writeln!(
        out,
        "{FAINT}{} · seed {} · {seconds} s simulated in {:.0} ms ({}× real time) · {} events, hash {}{FAINT:#}",
        outcome.scenario.about,
        outcome.seed,
        wall.as_secs_f64() * 1e3,
        thousands(speed as usize),
        thousands(outcome.record.events.len()),
        outcome.hash
    )?;
    connections(out, outcome)?;
    writeln!(out, "\n{HEADING}Timeline{HEADING:#}")?;
    for line in &timeline.lines {
        story_line(out, timeline, line)?;
    }
    violations(out, outcome, timeline)?;
    probes(out, outcome)?;
    writeln!(out, "\n{HEADING}Replay{HEADING:#}  {}", replay.line(outcome.seed))
}

pub(crate) fn violations(out: &mut String, outcome: &Outcome, timeline: &Timeline) -> fmt::Result {
    for (number, violation) in outcome.violations.iter().enumerate() {
        writeln!(out, "\n{FAIL}Violation {}: {}{FAIL:#}", number + 1, violation.oracle)?;
        write_violation(out, &outcome.record, timeline, violation)?;
    }
    Ok(())
}

pub(crate) fn probes(out: &mut String, outcome: &Outcome) -> fmt::Result {
    if outcome.probes.is_empty() {
        return Ok(());
    }
    let probes: Vec<_> = outcome.probes.iter().map(|(probe, hits)| format!("{probe} ×{hits}")).collect();
    writeln!(out, "\n{HEADING}Rare situations met{HEADING:#}  {}", probes.join(", "))
}

pub(crate) fn headline(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let name = &outcome.scenario.name;
    match outcome.violations.len() {
        0 => {
            let pairs = pairs(&outcome.record);
            let connected = pairs.iter().filter(|pair| pair.connection.is_some()).count();
            let detail = match pairs.len() {
                0 => "signaling as promised".to_owned(),
                all if connected == all => format!("all {all} pairs connected"),
                all => format!("{connected} of {all} pairs connected, the others as expected"),
            };
            writeln!(out, "{PASS}PASS{PASS:#}  {HEADING}{name}{HEADING:#}: {detail}")
        }
        1 => writeln!(out, "{FAIL}FAIL{FAIL:#}  {HEADING}{name}{HEADING:#}: {}", outcome.violations[0].message),
        n => writeln!(
            out,
            "{FAIL}FAIL{FAIL:#}  {HEADING}{name}{HEADING:#}: {n} violations, the first: {}",
            outcome.violations[0].message
        ),
    }
}

pub(crate) fn connections(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let pairs = pairs(&outcome.record);
    if pairs.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{HEADING}Connections{HEADING:#}")?;
    let record = &outcome.record;
    let width = pairs.iter().map(|pair| pair_name(record, pair).chars().count()).max().unwrap_or_default();
    for pair in &pairs {
        let name = pair_name(record, pair);
        let tries = if pair.attempts > 1 { format!(", attempt {}", pair.attempts) } else { String::new() };
        match &pair.connection {
            Some(connection) => {
                let path = format!("{} ↔ {}", kind(connection.local.kind), kind(connection.remote.kind));
                let addresses = format!("{} ↔ {}", connection.local.address, connection.remote.address);
                let since = connection.since.as_secs_f64();
                writeln!(out, "  {name:<width$}  {since:>8.3} s  {path:<14} {addresses}{FAINT}{tries}{FAINT:#}")?;
            }
            None => {
                let nats = format!("{} and {}", nat(outcome, pair.a), nat(outcome, pair.b));
                writeln!(out, "  {name:<width$}  {FAIL}not connected{FAIL:#}  {FAINT}behind {nats}{tries}{FAINT:#}")?;
            }
        }
    }
    Ok(())
}

fn pair_name(record: &Record, pair: &Pair) -> String {
    format!("{} ⇄ {}", record.name(pair.a), record.name(pair.b))
}

fn kind(kind: CandidateKind) -> &'static str {
    match kind {
        CandidateKind::Host => "host",
        CandidateKind::Srflx => "srflx",
        CandidateKind::Prflx => "prflx",
        CandidateKind::Relay => "relay",
    }
}

/// The NAT profile that a node is behind.
fn nat(outcome: &Outcome, node: sim::event::NodeId) -> &str {
    let NodeKind::Machine(scenarios::Machine::Actor(actor)) = outcome.record.nodes[usize::from(node.0)].kind else {
        return "no NAT";
    };
    outcome.scenario.actors[actor].network.map_or("no NAT", |network| &outcome.scenario.networks[network].profile)
}

pub(crate) fn story_line(out: &mut String, timeline: &Timeline, line: &Line) -> fmt::Result {
    let tone = style::of(line.tone);
    let who = timeline.who(line);
    writeln!(out, "{FAINT}{:>10.3} s{FAINT:#}  {who:<14} {tone}{}{tone:#}", line.at.as_secs_f64(), line.what)
}

fn write_violation(out: &mut String, record: &Record, timeline: &Timeline, violation: &Violation) -> fmt::Result {
    let who: Vec<_> = violation.nodes.iter().map(|node| &**record.name(*node)).collect();
    let when = violation.at.as_secs_f64();
    writeln!(out, "  {}", violation.message)?;
    writeln!(out, "  {FAINT}seen at {when:.3} s, concerns {}{FAINT:#}", who.join(", "))?;
    // What the story tells of those concerned, up to the event, and a little of what follows.
    let concerned: Vec<_> = timeline
        .lines
        .iter()
        .filter(|line| {
            violation.nodes.is_empty()
                || violation.nodes.iter().any(|node| line.who.contains(node) || line.whom == Some(*node))
        })
        .collect();
    let here = concerned.partition_point(|line| match violation.event {
        Some(event) => line.event <= event,
        None => line.at <= violation.at,
    });
    let (from, to) = (here.saturating_sub(LINES_AROUND), (here + 2).min(concerned.len()));
    for line in &concerned[from..to] {
        out.push_str("  ");
        story_line(out, timeline, line)?;
    }
    if let Some(event) = violation.event.and_then(|event| record.events.get(event))
        && !matches!(event.what, What::Census(_))
    {
        writeln!(out, "  {FAINT}event: {}{FAINT:#}", shortened(&record.json_line(event)))?;
    }
    Ok(())
}

/// The report of a run that did not come to its end.
pub fn crash(crash: &Crash, scenario: &str, replay: &Replay) -> String {
    format!(
        "{FAIL}CRASH{FAIL:#}  {HEADING}{scenario}{HEADING:#}: {}\nThe run did not come to its end; that is a fault of Glare or of a library it \
         uses, not of the scenario.\n\n{HEADING}Replay{HEADING:#}  {}\n",
        crash.message,
        replay.line(crash.seed)
    )
}

/// The report of a seed that gave two different runs.
pub fn mismatch(first: &Outcome, second: &Outcome, replay: &Replay) -> String {
    let mut out = format!(
        "{FAIL}NOT DETERMINISTIC{FAIL:#}  {HEADING}{}{HEADING:#}: seed {} gave {} and then {}\n",
        first.scenario.name, first.seed, first.hash, second.hash
    );
    if let Some((index, a, b)) = sim::hash::first_difference(&first.record, &second.record) {
        let line = |record: &Record, event: Option<&sim::event::Event>| {
            event.map_or_else(|| "nothing: the run has ended".to_owned(), |event| shortened(&record.json_line(event)))
        };
        let _ = writeln!(out, "\nThe first difference is event {index}:");
        let _ = writeln!(out, "  first run   {}", line(&first.record, a));
        let _ = writeln!(out, "  second run  {}", line(&second.record, b));
    }
    let _ = writeln!(out, "\n{HEADING}Replay{HEADING:#}  {} --check-determinism", replay.line(first.seed));
    out
}

/// Cuts what would fill the screen.
pub(crate) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
