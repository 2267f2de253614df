//! The report of a run, as text and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::churn::Churn;
use super::idle::Idle;
use super::plan::{Mode, Pace, Plan};
use super::process::{ServerUse, Use};
use super::run::{Measured, Phase};

/// A generator that is busier than this may itself be the bottleneck.
const BUSY: f64 = 0.9;
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// The measured values.
pub(super) enum Report {
    Talk(Measured),
    Idle(Idle),
    Churn(Churn),
}

impl Report {
    /// Whether the server kept the promises of its dialect.
    pub(super) fn kept(&self) -> bool {
        match self {
            Self::Talk(measured) => {
                let tally = &measured.tally;
                let wrong = tally.lost + tally.twice + tally.out_of_order + tally.to_sender + tally.astray;
                wrong == 0 && measured.ended.is_empty()
            }
            Self::Idle(idle) => idle.refused.is_none() && idle.ended.is_empty(),
            Self::Churn(churn) => churn.failed == 0,
        }
    }

    /// The report as text.
    pub(super) fn text(&self, plan: &Plan) -> String {
        let mut out = format!("{} at {} · {}\n\n", plan.dialect.name(), plan.target.url(), what(plan));
        match self {
            Self::Talk(measured) => talk(plan, measured, &mut out),
            Self::Idle(idle) => idle_text(idle, &mut out),
            Self::Churn(churn) => churn_text(churn, &mut out),
        }
        let busiest = self.used().map(|used| busy(used, plan)).fold(0.0, f64::max);
        line(&mut out, "generator", &format!("{:.0} % of its {}", busiest * 100.0, cores(plan.threads)));
        if busiest > BUSY {
            let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
            let more = "the load generator was busy all the time, so the figures may be its own limit. Try --threads";
            let _ = writeln!(out, "\n{}warning{}: {more} {}", yellow.render(), yellow.render_reset(), plan.threads + 1);
        }
        out
    }

    /// The report as one JSON object. Times are in microseconds, memory in bytes.
    pub(super) fn json(&self, plan: &Plan) -> Value {
        let mut out = json!({
            "dialect": plan.dialect.name(),
            "url": plan.target.url(),
            "mode": mode(plan),
            "kept": self.kept(),
            "generator_cpu": self.used().map(|used| busy(used, plan)).collect::<Vec<_>>(),
            "generator_threads": plan.threads,
        });
        let more = match self {
            Self::Talk(measured) => talk_json(plan, measured),
            Self::Idle(idle) => json!({
                "joined": idle.joined, "refused": idle.refused, "ended": idle.ended,
                "joins_per_s": idle.joined as f64 / idle.joining.as_secs_f64(),
                "server": idle.used.server.map(|server| server_json(&server, idle.joined as u64, &idle.used)),
                "memory_bytes_per_connection": idle.used.server.map(|server| per_connection(&server, idle.joined)),
            }),
            Self::Churn(churn) => json!({
                "visits": churn.visits, "failed": churn.failed, "first_failure": churn.first_failure,
                "visits_per_s": churn.visits as f64 / churn.used.time.as_secs_f64(),
                "latency_us": latency_json(&churn.latencies_ns),
                "server": churn.used.server.map(|server| server_json(&server, churn.visits, &churn.used)),
            }),
        };
        if let (Value::Object(out), Value::Object(more)) = (&mut out, more) {
            out.extend(more);
        }
        out
    }

    fn used(&self) -> impl Iterator<Item = &Use> {
        let (phases, one) = match self {
            Self::Talk(measured) => (measured.phases.as_slice(), None),
            Self::Idle(idle) => (&[][..], Some(&idle.used)),
            Self::Churn(churn) => (&[][..], Some(&churn.used)),
        };
        phases.iter().map(|phase| &phase.used).chain(one)
    }
}

fn mode(plan: &Plan) -> &'static str {
    match plan.mode {
        Mode::Talk(Pace::Closed { .. }) => "closed",
        Mode::Talk(Pace::Open { .. }) => "open",
        Mode::Stalled { .. } => "stalled",
        Mode::Idle { .. } => "idle",
        Mode::Churn { .. } => "churn",
    }
}

fn what(plan: &Plan) -> String {
    let rooms = if plan.audience.rooms {
        format!("{} rooms × {} members", plan.rooms, plan.members)
    } else {
        format!("{} clients", plan.members)
    };
    let talk = |pace: String| format!("{rooms} · {} B · {pace}", plan.bytes);
    match plan.mode {
        Mode::Talk(Pace::Closed { window }) => talk(format!("{window} in flight each")),
        Mode::Talk(Pace::Open { per_second }) => talk(format!("{} messages per second", grouped(per_second))),
        Mode::Stalled { clients, per_second } => {
            talk(format!("{} messages per second, then {clients} more clients that do not read", grouped(per_second)))
        }
        Mode::Idle { clients } => format!("{clients} idle clients, {} per room", plan.members),
        Mode::Churn { per_second } => format!("{} clients per second connect and disconnect", grouped(per_second)),
    }
}

fn talk(plan: &Plan, measured: &Measured, out: &mut String) {
    let stalled = matches!(plan.mode, Mode::Stalled { .. });
    for (index, phase) in measured.phases.iter().enumerate() {
        if stalled {
            let _ = writeln!(out, "{}", if index == 0 { "all clients read" } else { "some clients do not read" });
        }
        let per_second = phase.deliveries as f64 / phase.used.time.as_secs_f64();
        line(out, "delivered", &format!("{} per second", grouped(per_second)));
        line(out, "latency", &latency(&phase.latencies_ns));
        if let Some(server) = &phase.used.server {
            let a_delivery = format!("{} CPU per delivery · ", cpu_each(server, phase.deliveries));
            line(out, "server", &(a_delivery + &server_text(server, &phase.used)));
        }
    }
    if stalled {
        let _ = writeln!(out);
    }
    if let Some(ratio) = ratio(measured) {
        line(out, "p99", &format!("× {ratio:.2} for the other clients while some do not read"));
    }
    if !measured.stalled.is_empty() {
        let closed: Vec<&String> = measured.stalled.iter().flatten().collect();
        let how = closed.first().map(|how| format!(", first: {how}")).unwrap_or_default();
        let words = format!("{} of {} disconnected by the server{how}", closed.len(), measured.stalled.len());
        line(out, "stalled", &words);
    }
    let tally = &measured.tally;
    let to_sender = if plan.audience.echo { "" } else { ", back to its sender" };
    let rights = format!("no message lost, duplicated, out of order{to_sender} or in another room");
    let wrongs = [
        (tally.lost, "lost"),
        (tally.twice, "duplicated"),
        (tally.out_of_order, "out of order"),
        (tally.to_sender, "back to the sender"),
        (tally.astray, "in another room"),
    ];
    let wrongs: Vec<String> = wrongs
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(*count as f64)))
        .collect();
    if wrongs.is_empty() {
        line(out, "promises", &rights);
    } else {
        line(out, "BROKEN", &wrongs.join(" · "));
    }
    ended(&measured.ended, out);
    if tally.errors > 0 {
        let first = tally.first_error.as_deref().unwrap_or_default();
        line(out, "errors", &format!("{}, first: {first}", grouped(tally.errors as f64)));
    }
    if tally.unsent > 0 {
        let words = "due but never sent: the server did not accept them in time";
        line(out, "unsent", &format!("{} {words}", grouped(tally.unsent as f64)));
    }
}

fn talk_json(plan: &Plan, measured: &Measured) -> Value {
    let (tally, [expected, delivered]) = (&measured.tally, measured.expected_and_delivered);
    let phase = |phase: &Phase| {
        json!({
            "seconds": phase.used.time.as_secs_f64(),
            "deliveries": phase.deliveries,
            "deliveries_per_s": phase.deliveries as f64 / phase.used.time.as_secs_f64(),
            "latency_us": latency_json(&phase.latencies_ns),
            "server": phase.used.server.map(|server| server_json(&server, phase.deliveries, &phase.used)),
        })
    };
    let mut out = json!({
        "rooms": plan.rooms, "members": plan.members, "bytes": plan.bytes,
        "phases": measured.phases.iter().map(phase).collect::<Vec<_>>(),
        "sent": tally.sent, "expected": expected, "delivered": delivered,
        "lost": tally.lost, "twice": tally.twice, "out_of_order": tally.out_of_order, "to_sender": tally.to_sender,
        "astray": tally.astray, "unsent": tally.unsent, "errors": tally.errors, "first_error": tally.first_error,
        "ended": measured.ended,
    });
    if matches!(plan.mode, Mode::Stalled { .. }) {
        out["p99_ratio"] = json!(ratio(measured));
        out["stalled"] = json!(measured.stalled);
    }
    out
}

/// The p99 of the second phase divided by that of the first.
fn ratio(measured: &Measured) -> Option<f64> {
    let [before, after] = &measured.phases[..] else { return None };
    let [before, after] = [before, after].map(|phase| phase.latencies_ns.value_at_percentile(99.0) as f64);
    (before > 0.0).then(|| after / before)
}

fn idle_text(idle: &Idle, out: &mut String) {
    let per_second = idle.joined as f64 / idle.joining.as_secs_f64();
    line(out, "joined", &format!("{} clients, {} per second", grouped(idle.joined as f64), grouped(per_second)));
    if let Some(server) = &idle.used.server {
        let kib = per_connection(server, idle.joined) / 1024.0;
        line(
            out,
            "server",
            &format!("{kib:.2} KiB per connection · {} CPU per join", cpu_each(server, idle.joined as u64)),
        );
        line(out, "memory", &memory(server));
    }
    if let Some(why) = &idle.refused {
        line(out, "REFUSED", why);
    }
    ended(&idle.ended, out);
}

fn churn_text(churn: &Churn, out: &mut String) {
    let per_second = churn.visits as f64 / churn.used.time.as_secs_f64();
    line(out, "connected", &format!("{} clients, {} per second", grouped(churn.visits as f64), grouped(per_second)));
    line(out, "joined in", &latency(&churn.latencies_ns));
    if let Some(server) = &churn.used.server {
        line(
            out,
            "server",
            &format!("{} CPU each · {}", cpu_each(server, churn.visits), server_text(server, &churn.used)),
        );
    }
    if churn.failed > 0 {
        let first = churn.first_failure.as_deref().unwrap_or_default();
        line(out, "FAILED", &format!("{}, first: {first}", grouped(churn.failed as f64)));
    }
}

fn ended(ended: &[String], out: &mut String) {
    if let Some(first) = ended.first() {
        line(out, "ENDED", &format!("{} connections ended early, first: {first}", ended.len()));
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<10} {text}");
}

fn latency(latencies_ns: &Histogram<u64>) -> String {
    let at = |percentile| millis(latencies_ns.value_at_percentile(percentile));
    let mut text: Vec<String> =
        PERCENTILES.iter().map(|(name, percentile)| format!("{name} {}", at(*percentile))).collect();
    text.push(format!("max {}", millis(latencies_ns.max())));
    if latencies_ns.is_empty() { "nothing arrived".to_owned() } else { text.join(" · ") }
}

fn latency_json(latencies_ns: &Histogram<u64>) -> Value {
    let micros = |ns: u64| ns as f64 / 1e3;
    let mut out: serde_json::Map<String, Value> = PERCENTILES
        .iter()
        .map(|(name, percentile)| ((*name).to_owned(), json!(micros(latencies_ns.value_at_percentile(*percentile)))))
        .collect();
    out.insert("max".to_owned(), json!(micros(latencies_ns.max())));
    out.into()
}

fn server_json(server: &ServerUse, each: u64, used: &Use) -> Value {
    json!({
        "cpu_us_each": (each > 0).then(|| server.cpu.as_secs_f64() * 1e6 / each as f64),
        "cpu": server.cpu.as_secs_f64() / used.time.as_secs_f64(),
        "memory_before_bytes": server.memory_before_bytes,
        "memory_after_bytes": server.memory_after_bytes,
        "memory_max_bytes": server.memory_max_bytes,
    })
}

fn server_text(server: &ServerUse, used: &Use) -> String {
    format!("{:.0} % of a core · {}", 100.0 * server.cpu.as_secs_f64() / used.time.as_secs_f64(), memory(server))
}

fn memory(server: &ServerUse) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0);
    format!(
        "{} before, {} after, {} at most",
        mib(server.memory_before_bytes),
        mib(server.memory_after_bytes),
        mib(server.memory_max_bytes)
    )
}

fn cpu_each(server: &ServerUse, each: u64) -> String {
    if each == 0 { "–".to_owned() } else { format!("{:.2} µs", server.cpu.as_secs_f64() * 1e6 / each as f64) }
}

fn per_connection(server: &ServerUse, connections: usize) -> f64 {
    let more = server.memory_after_bytes as f64 - server.memory_before_bytes as f64;
    more / connections.max(1) as f64
}

/// Share of time for which the generator's threads were busy.
fn busy(used: &Use, plan: &Plan) -> f64 {
    used.own_cpu.as_secs_f64() / used.time.max(Duration::from_millis(1)).as_secs_f64() / plan.threads as f64
}

fn cores(threads: usize) -> String {
    if threads == 1 { "one thread".to_owned() } else { format!("{threads} threads") }
}

fn millis(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

/// A number with a comma after each thousand.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
