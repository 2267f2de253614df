//! The text reports of simulated runs.

use std::fmt::{self, Write as _};
use std::time::Duration;

use sim::event::{CandidateKind, NodeKind, Record, What};
use sim::oracle::Violation;
use sim::pairs::{Pair, pairs};
use sim::run::{Cause, Crash, Outcome};
use sim::timeline::{Line, Timeline};

use crate::replay::Replay;
use crate::style::{self, FAIL, FAINT, HEADING, PASS};
use crate::table::{Table, Width};

/// Number of lines of the story shown around a violation.
const LINES_AROUND: usize = 5;
/// Spaces before the story.
const STORY_INDENT: usize = 2;

/// The report of one run: verdict, connections, story, violations, and the replay command. `wall` is the real time it
/// took.
pub fn outcome(outcome: &Outcome, wall: Duration, replay: &Replay, width: Width) -> String {
    let mut out = String::new();
    let timeline = Timeline::of(&outcome.record);
    write_outcome(&mut out, outcome, &timeline, wall, replay, width).expect("writing to a string cannot fail");
    out
}

fn write_outcome(
    out: &mut String,
    outcome: &Outcome,
    timeline: &Timeline,
    wall: Duration,
    replay: &Replay,
    width: Width,
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
    body(out, outcome, timeline, width)?;
    writeln!(out, "\n{HEADING}Replay{HEADING:#}  {}", replay.line(outcome.seed))
}

/// Connections, story, violations and probes.
pub(crate) fn body(out: &mut String, outcome: &Outcome, timeline: &Timeline, width: Width) -> fmt::Result {
    connections(out, outcome, width)?;
    writeln!(out, "\n{HEADING}Timeline{HEADING:#}")?;
    out.push_str(&story(timeline, timeline.lines.iter(), STORY_INDENT, width));
    for (number, violation) in outcome.violations.iter().enumerate() {
        writeln!(out, "\n{FAIL}Violation {}: {}{FAIL:#}", number + 1, violation.oracle)?;
        write_violation(out, &outcome.record, timeline, violation, width)?;
    }
    if !outcome.probes.is_empty() {
        let probes: Vec<_> = outcome.probes.iter().map(|(probe, hits)| format!("{probe} ×{hits}")).collect();
        writeln!(out, "\n{HEADING}Rare situations met{HEADING:#}  {}", probes.join(", "))?;
    }
    Ok(())
}

pub(crate) fn headline(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let name = &outcome.scenario.name;
    match outcome.violations.len() {
        0 => {
            let pairs = pairs(&outcome.record);
            let connected = pairs.iter().filter(|pair| pair.connection.is_some()).count();
            let detail = match pairs.len() {
                0 => "signaling as specified".to_owned(),
                all if connected == all => format!("all {all} pairs connected"),
                all => format!("{connected} of {all} pairs connected, the others are expected not to connect"),
            };
            writeln!(out, "{PASS}PASS{PASS:#}  {HEADING}{name}{HEADING:#}: {detail}")
        }
        1 => writeln!(out, "{FAIL}FAIL{FAIL:#}  {HEADING}{name}{HEADING:#}: {}", outcome.violations[0].message),
        n => writeln!(
            out,
            "{FAIL}FAIL{FAIL:#}  {HEADING}{name}{HEADING:#}: {n} violations, first: {}",
            outcome.violations[0].message
        ),
    }
}

fn connections(out: &mut String, outcome: &Outcome, width: Width) -> fmt::Result {
    let pairs = pairs(&outcome.record);
    if pairs.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{HEADING}Connections{HEADING:#}")?;
    let record = &outcome.record;
    let mut table = Table::indented(2).right(1);
    for pair in &pairs {
        let name = pair_name(record, pair);
        let tries = if pair.attempts > 1 { format!(", attempt {}", pair.attempts) } else { String::new() };
        match &pair.connection {
            Some(connection) => {
                let path = format!("{} ↔ {}", kind(connection.local.kind), kind(connection.remote.kind));
                let addresses = format!("{} ↔ {}", connection.local.address, connection.remote.address);
                let since = format!("{:.3} s", connection.since.as_secs_f64());
                table.row([name, since, path, format!("{addresses}{FAINT}{tries}{FAINT:#}")]);
            }
            None => {
                let nats = format!("{} and {}", nat(outcome, pair.a), nat(outcome, pair.b));
                let no = format!("{FAIL}not connected{FAIL:#}");
                table.row([name, no, String::new(), format!("{FAINT}behind {nats}{tries}{FAINT:#}")]);
            }
        }
    }
    out.push_str(&table.text(width));
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

/// The NAT profile of a node.
fn nat(outcome: &Outcome, node: sim::event::NodeId) -> &str {
    let NodeKind::Machine(scenarios::Machine::Actor(actor)) = outcome.record.nodes[usize::from(node.0)].kind else {
        return "no NAT";
    };
    outcome.scenario.actors[actor].network.map_or("no NAT", |network| &outcome.scenario.networks[network].profile)
}

fn story<'a>(timeline: &Timeline, lines: impl Iterator<Item = &'a Line>, indent: usize, width: Width) -> String {
    let mut table = Table::indented(indent).right(0);
    for line in lines {
        let tone = style::of(line.tone);
        let at = format!("{FAINT}{:.3} s{FAINT:#}", line.at.as_secs_f64());
        table.row([at, timeline.who(line), format!("{tone}{}{tone:#}", line.what)]);
    }
    table.text(width)
}

fn write_violation(
    out: &mut String,
    record: &Record,
    timeline: &Timeline,
    violation: &Violation,
    width: Width,
) -> fmt::Result {
    let who: Vec<_> = violation.nodes.iter().map(|node| &**record.name(*node)).collect();
    let when = violation.at.as_secs_f64();
    writeln!(out, "  {}", violation.message)?;
    writeln!(out, "  {FAINT}seen at {when:.3} s, concerns {}{FAINT:#}", who.join(", "))?;
    // The story of the nodes concerned up to the event, and a few lines after it.
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
    out.push_str(&story(timeline, concerned[from..to].iter().copied(), STORY_INDENT + 2, width));
    if let Some(event) = violation.event.and_then(|event| record.events.get(event))
        && !matches!(event.what, What::Census(_))
    {
        writeln!(out, "  {FAINT}event: {}{FAINT:#}", shortened(&record.json_line(event)))?;
    }
    Ok(())
}

/// The report of a run that crashed.
pub fn crash(crash: &Crash, scenario: &str, replay: &Replay) -> String {
    if crash.cause == Cause::Server {
        let replay = replay.line(crash.seed);
        let message = &crash.message;
        return format!(
            "{FAIL}NO SERVER{FAIL:#}  {HEADING}{scenario}{HEADING:#}: {message}\n\n{HEADING}Replay{HEADING:#}  {replay}\n"
        );
    }
    format!(
        "{FAIL}CRASH{FAIL:#}  {HEADING}{scenario}{HEADING:#}: {}\nThe run crashed. The bug is in Glare or in a library that it uses, not in the \
                 scenario.\n\n{HEADING}Replay{HEADING:#}  {}\n",
        crash.message,
        replay.line(crash.seed)
    )
}

/// The report of a seed whose two runs differ.
pub fn mismatch(first: &Outcome, second: &Outcome, replay: &Replay) -> String {
    let mut out = format!(
        "{FAIL}NOT DETERMINISTIC{FAIL:#}  {HEADING}{}{HEADING:#}: seed {} gave {} and then {}\n",
        first.scenario.name, first.seed, first.hash, second.hash
    );
    if let Some((index, a, b)) = sim::hash::first_difference(&first.record, &second.record) {
        let line = |record: &Record, event: Option<&sim::event::Event>| {
            event.map_or_else(
                || "nothing: this run ended earlier".to_owned(),
                |event| shortened(&record.json_line(event)),
            )
        };
        let _ = writeln!(out, "\nThe first difference is event {index}:");
        let _ = writeln!(out, "  first run   {}", line(&first.record, a));
        let _ = writeln!(out, "  second run  {}", line(&second.record, b));
    }
    if first.scenario.server.program.is_some() {
        out.push_str(
            "\nThe server is not part of Glare. Likely reasons, most likely first: threads that run in parallel; files or \
             databases that the first run changed;\nrandom numbers that do not come from the system; system calls that \
             bypass libc. What it printed before the difference may show which.\n",
        );
    }
    let _ = writeln!(out, "\n{HEADING}Replay{HEADING:#}  {} --check-determinism", replay.line(first.seed));
    out
}

/// Cuts texts that would fill the screen.
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
