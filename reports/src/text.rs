//! The text reports of simulated runs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use sim::event::{Event, NodeId, NodeKind, Record, Signaling, What};
use sim::oracle::Violation;
use sim::run::{Cause, Crash, Outcome};
use sim::timeline::{Line, Timeline};

use crate::evidence::{Evidence, Evidences, sentence};
use crate::from_sim::{Detail, flows, node_name, not_tested, pairs, unusual_stack};
use crate::model::Pair;
use crate::replay::Replay;
use crate::shares;
use crate::standing::{self, Standing};
use crate::style::{self, FAIL, FAINT, HEADING, PASS};
use crate::table::{Table, Width};

/// Spaces before the story.
const STORY_INDENT: usize = 2;
/// Number of violations shown in a brief report.
const VIOLATIONS_SHOWN: usize = 3;

/// The report of one run: verdict, connections, violations, the replay command, and the verdict again, which ends where
/// eyes are. With [`Detail::Full`] also the story and the rare situations, and all violations. `wall` is the real time
/// it took.
pub fn outcome(outcome: &Outcome, detail: Detail, wall: Duration, replay: &Replay, width: Width) -> String {
    let mut out = String::new();
    write_outcome(&mut out, outcome, detail, wall, replay, width).expect("writing to a string cannot fail");
    out
}

fn write_outcome(
    out: &mut String,
    outcome: &Outcome,
    detail: Detail,
    wall: Duration,
    replay: &Replay,
    width: Width,
) -> fmt::Result {
    let verdict = headline(outcome);
    writeln!(out, "{verdict}")?;
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
    body(out, outcome, detail, width)?;
    writeln!(out, "\n{HEADING}Replay{HEADING:#}  {}", replay.line(outcome.seed))?;
    writeln!(out, "{verdict}")
}

/// Connections, story, violations and probes.
pub(crate) fn body(out: &mut String, outcome: &Outcome, detail: Detail, width: Width) -> fmt::Result {
    let (timeline, is_full) = (Timeline::of(&outcome.record), detail == Detail::Full);
    connections(out, outcome, width)?;
    stacks(out, outcome)?;
    media(out, outcome, width)?;
    if is_full {
        writeln!(out, "\n{HEADING}Timeline{HEADING:#}")?;
        out.push_str(&story(&timeline, timeline.lines.iter(), STORY_INDENT, width));
    }
    let evidences = Evidences::new(&outcome.scenario, &outcome.record, &timeline);
    let shown = if is_full { outcome.violations.len() } else { VIOLATIONS_SHOWN };
    for (number, violation) in outcome.violations.iter().enumerate().take(shown) {
        writeln!(out, "\n{FAIL}Violation {}: {}{FAIL:#}", number + 1, violation.oracle)?;
        write_violation(out, &outcome.record, &timeline, &evidences, violation, width)?;
    }
    match outcome.violations.len().saturating_sub(shown) {
        0 => {}
        1 => writeln!(out, "\n… and 1 more violation: --timeline shows all")?,
        more => writeln!(out, "\n… and {} more violations: --timeline shows all", thousands(more))?,
    }
    let names: Vec<_> = not_tested(outcome).into_iter().map(|probe| format!("`{probe}`")).collect();
    if !names.is_empty() {
        let text = format!("this server did not bring about what the scenario aims at: {}", names.join(", "));
        let mut table = Table::indented(0);
        table.row([format!("{HEADING}Not tested{HEADING:#}"), text]);
        write!(out, "\n{}", table.text(width))?;
    }
    if is_full && !outcome.probes.is_empty() {
        let probes: Vec<_> = outcome.probes.iter().map(|(probe, hits)| format!("{probe} ×{hits}")).collect();
        writeln!(out, "\n{HEADING}Rare situations met{HEADING:#}  {}", probes.join(", "))?;
    }
    Ok(())
}

/// The actors whose WebRTC stack is not the usual one.
fn stacks(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for actor in &outcome.scenario.actors {
        if let Some(stack) = unusual_stack(actor) {
            of.entry(stack).or_default().push(&actor.name);
        }
    }
    for (stack, actors) in of {
        let whose = if actors.len() == outcome.scenario.actors.len() { "all".to_owned() } else { actors.join(", ") };
        writeln!(out, "\n{HEADING}WebRTC stack{HEADING:#}  {stack} of {whose}")?;
    }
    Ok(())
}

/// The verdict in one line.
pub(crate) fn headline(outcome: &Outcome) -> String {
    let name = &outcome.scenario.name;
    match &outcome.violations[..] {
        [] => {
            let pairs = pairs_of(outcome);
            let is_in = |event: &Event| matches!(event.what, What::Signaling(Signaling::Connected));
            let what = match pairs.is_empty() && !outcome.record.events.iter().any(is_in) {
                true => "no client joined".to_owned(),
                false => standing::headline(&pairs),
            };
            format!("{PASS}PASS{PASS:#}  {HEADING}{name}{HEADING:#}: {what}")
        }
        [only] => format!("{FAIL}FAIL{FAIL:#}  {HEADING}{name}{HEADING:#}: {}", only.message),
        [first, ..] => format!(
            "{FAIL}FAIL{FAIL:#}  {HEADING}{name}{HEADING:#}: {} violations, first: {}",
            outcome.violations.len(),
            first.message
        ),
    }
}

fn pairs_of(outcome: &Outcome) -> Vec<Pair> {
    pairs(outcome).into_iter().map(|(_, pair)| pair).collect()
}

fn connections(out: &mut String, outcome: &Outcome, width: Width) -> fmt::Result {
    let pairs = pairs(outcome);
    if pairs.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{HEADING}Connections{HEADING:#}")?;
    let population = outcome.scenario.population.as_ref();
    if let Some(mix) = population {
        let all: Vec<_> = pairs.iter().map(|(_, pair)| pair.clone()).collect();
        writeln!(out, "  {}", shares::of(&mix.source, &all).words())?;
        writeln!(out, "  {FAINT}NATs: {}{FAINT:#}", mix.source)?;
    }
    let mut table = Table::indented(2).right(1);
    // Of a population, only what is not as with most.
    let is_shown = |pair: &&([NodeId; 2], Pair)| population.is_none() || Standing::of(&pair.1) != Standing::Connected;
    for ([a, b], pair) in pairs.iter().filter(is_shown) {
        let name = format!("{} ⇄ {}", pair.between[0], pair.between[1]);
        let time = match (pair.since, &pair.past) {
            (Some(since), _) => format!("{since:.3} s"),
            (None, Some(past)) => format!("{:.1}–{:.1} s", past.since, past.until),
            (None, None) => "–".to_owned(),
        };
        let path =
            pair.selected.as_ref().map(|[local, remote]| format!("{} ↔ {}", local.kind.word(), remote.kind.word()));
        let addresses = pair.selected.as_ref().map(|[local, remote]| format!("{} ↔ {}", local.address, remote.address));
        let mut remarks = Vec::new();
        match Standing::of(pair) {
            Standing::Connected => {}
            Standing::Ended(end) => remarks.push(end.words().to_owned()),
            Standing::Apart(_) | Standing::NeverConnected => {
                remarks.push(standing::state(pair));
                remarks.extend(nats(outcome, *a, *b));
            }
        }
        if pair.attempts > 1 {
            remarks.push(format!("attempt {}", pair.attempts));
        }
        // What breaks no promise is not red.
        let style = if Standing::of(pair).is_odd() && !outcome.passed() { FAIL } else { FAINT };
        let remarks =
            if remarks.is_empty() { String::new() } else { format!("{style}{}{style:#}", remarks.join(", ")) };
        let details: Vec<_> = addresses.into_iter().chain((!remarks.is_empty()).then_some(remarks)).collect();
        table.row([name, time, path.unwrap_or_default(), details.join(", ")]);
    }
    out.push_str(&table.text(width));
    Ok(())
}

/// What became of the tracks, if there are any.
fn media(out: &mut String, outcome: &Outcome, width: Width) -> fmt::Result {
    let flows = flows(&outcome.record);
    if flows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{HEADING}Media{HEADING:#}")?;
    let mut table = Table::indented(2);
    for flow in flows {
        let words = flow.words();
        table.row([format!("{} → {}", flow.from, flow.to), flow.kind, words]);
    }
    out.push_str(&table.text(width));
    Ok(())
}

/// The NATs in front of a pair, if there are any.
fn nats(outcome: &Outcome, a: NodeId, b: NodeId) -> Option<String> {
    let name = |node: NodeId| outcome.record.name(node);
    Some(match (nat(outcome, a), nat(outcome, b)) {
        (None, None) => return None,
        (Some(one), Some(other)) if one == other => format!("both behind {one}"),
        (Some(one), Some(other)) => format!("{} behind {one}, {} behind {other}", name(a), name(b)),
        (Some(only), None) => format!("{} behind {only}", name(a)),
        (None, Some(only)) => format!("{} behind {only}", name(b)),
    })
}

/// The profile of the NAT in front of a node, if there is one.
fn nat(outcome: &Outcome, node: NodeId) -> Option<&str> {
    let NodeKind::Machine(scenarios::Machine::Actor(actor)) = outcome.record.nodes[usize::from(node.0)].kind else {
        return None;
    };
    let network = outcome.scenario.actors[actor].network?;
    Some(&outcome.scenario.networks[network].profile)
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

/// The nodes of something that was done, as on the page: the NAT of a home network has the name of its machine.
fn who_of(record: &Record, line: &Line) -> String {
    let names = line.who.iter().map(|node| node_name(&record.nodes[usize::from(node.0)], record));
    names.collect::<Vec<_>>().join(", ")
}

fn write_violation(
    out: &mut String,
    record: &Record,
    timeline: &Timeline,
    evidences: &Evidences<'_>,
    violation: &Violation,
    width: Width,
) -> fmt::Result {
    let who: Vec<_> = violation.nodes.iter().map(|node| &**record.name(*node)).collect();
    let when = violation.at.as_secs_f64();
    writeln!(out, "  {}", violation.message)?;
    writeln!(out, "  {FAINT}seen at {when:.3} s, concerns {}{FAINT:#}", who.join(", "))?;
    let Evidence { lines, causes, .. } = evidences.of(violation);
    let causes: Vec<_> = causes
        .iter()
        .map(|&line| &timeline.lines[line])
        .map(|line| sentence(line.at.as_secs_f64(), &who_of(record, line), &line.what))
        .collect();
    if !causes.is_empty() {
        writeln!(out, "  before it: {}", causes.join("; "))?;
    }
    out.push_str(&story(timeline, lines.iter().map(|&line| &timeline.lines[line]), STORY_INDENT + 2, width));
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
    out.push_str(&to_blame(first));
    let _ = writeln!(out, "\n{HEADING}Replay{HEADING:#}  {} --check-determinism", replay.line(first.seed));
    out
}

/// What is likely to blame for two runs that differ, if programs of others take part.
fn to_blame(run: &Outcome) -> String {
    let name = |node: &NodeId| format!("`{}`", run.record.name(*node));
    let programs: Vec<_> = run.record.threads.keys().map(name).collect();
    if programs.is_empty() {
        return String::new();
    }
    let (what, are) = if programs.len() == 1 { ("program", "is") } else { ("programs", "are") };
    let mut out = format!(
        "\nThe {what} of {} {are} not part of Glare. Likely reasons, most likely first: threads that run in parallel; files \
         or databases that the first run changed;\nrandom numbers that do not come from the system; system calls that \
         bypass libc. What it printed before the difference may show which.\n",
        programs.join(", ")
    );
    for (node, threads) in run.record.threads.iter().filter(|(_, threads)| **threads > 1) {
        let _ = writeln!(
            out,
            "{} has {threads} threads. They run one after the other as long as they wait in libc; those that a lock lets go on \
             run in an order that the system decides.",
            name(node)
        );
    }
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
