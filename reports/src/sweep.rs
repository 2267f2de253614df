//! Many seeds of one scenario: how many passed, which failed, and how long connecting took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sim::hash::{EventHash, story_hash};
use sim::run::{Crash, Outcome};

use crate::from_sim::{crash_rule, not_tested, pairs};
use crate::replay::Replay;
use crate::standing::{self, Standing};
use crate::style::{FAIL, FAINT, HEADING, PASS};
use crate::table::{Table, Width};
use crate::text::thousands;

/// Maximum number of failing seeds shown.
const FAILURES_SHOWN: usize = 10;
/// How many seeds of one failure are listed.
const SEEDS_LISTED: usize = 8;

/// A summary of one seed's run.
#[derive(Clone, Debug)]
pub struct Seed {
    seed: u64,
    /// What is wrong: the oracle's slug (or `crash`) and the message of each violation.
    wrong: Vec<(String, String)>,
    /// When each pair had first received data from each other.
    heard: Vec<f64>,
    /// Pairs without a connection at the end, although nobody asked for that.
    odd: usize,
    probes: BTreeMap<&'static str, usize>,
    /// The situations that the server program did not bring about.
    not_tested: Vec<String>,
    /// What happened when, as a hash; `None` for a run that has no record.
    story: Option<EventHash>,
}

impl Seed {
    /// Summarizes an outcome.
    pub fn of(outcome: &Outcome) -> Self {
        let pairs = pairs(outcome);
        Self {
            seed: outcome.seed,
            wrong: outcome.violations.iter().map(|v| (v.oracle.to_owned(), v.message.clone())).collect(),
            heard: pairs.iter().filter_map(|(_, pair)| pair.first_heard).collect(),
            odd: pairs.iter().filter(|(_, pair)| Standing::of(pair).is_odd()).count(),
            probes: outcome.probes.clone(),
            not_tested: not_tested(outcome),
            story: Some(story_hash(&outcome.record)),
        }
    }

    /// A run that crashed.
    pub fn crashed(crash: &Crash) -> Self {
        Self::failed(crash.seed, crash_rule(crash.cause), &crash.message)
    }

    /// A seed whose two runs differ.
    pub fn not_deterministic(seed: u64) -> Self {
        Self::failed(seed, "determinism", "two runs differ")
    }

    fn failed(seed: u64, what: &str, message: &str) -> Self {
        let wrong = vec![(what.to_owned(), message.to_owned())];
        Self { seed, wrong, heard: Vec::new(), odd: 0, probes: BTreeMap::new(), not_tested: Vec::new(), story: None }
    }

    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// All seeds of a sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The scenario's name.
    pub scenario: String,
    /// Its seeds, in order.
    pub seeds: Vec<Seed>,
    /// Real time of the whole sweep.
    pub wall: Duration,
    /// Whether each seed was run twice.
    pub twice: bool,
}

impl Sweep {
    /// Ends the sweep: sorts the seeds. `wall` is the real time that they took.
    pub fn finish(&mut self, wall: Duration) {
        self.wall = wall;
        self.seeds.sort_by_key(|seed| seed.seed);
    }

    /// Whether every seed passed.
    pub fn passed(&self) -> bool {
        self.seeds.iter().all(Seed::passed)
    }

    /// The report as text.
    pub fn text(&self, replay: &Replay, width: Width) -> String {
        let mut out = String::new();
        let failed: Vec<_> = self.seeds.iter().filter(|seed| !seed.passed()).collect();
        let (all, name) = (thousands(self.seeds.len()), &self.scenario);
        if failed.is_empty() {
            let _ = writeln!(out, "{PASS}PASS{PASS:#}  {HEADING}{name}{HEADING:#}: {all} seeds, no violation");
        } else {
            let wrong = thousands(failed.len());
            let _ = writeln!(
                out,
                "{FAIL}FAIL{FAIL:#}  {HEADING}{name}{HEADING:#}: {wrong} of {all} seeds violate an oracle"
            );
        }
        let each = self.wall.as_secs_f64() * 1e3 / self.seeds.len().max(1) as f64;
        let twice = if self.twice { ", each seed run twice, with equal hashes unless reported otherwise" } else { "" };
        let _ = writeln!(out, "{FAINT}{:.1} s, {each:.0} ms per seed{twice}{FAINT:#}", self.wall.as_secs_f64());
        if let [first, others @ ..] = &self.seeds[..]
            && first.story.is_some()
            && !others.is_empty()
            && others.iter().all(|seed| seed.story == first.story)
        {
            let _ = writeln!(
                out,
                "All {all} seeds gave the same story, so together they tested no more than one: give links a `jitter` or a `loss`"
            );
        }
        let mut table = Table::indented(0);
        self.connecting(&mut table);
        self.situations(&mut table);
        out.push_str(&table.text(width));
        // Seeds in which the same went wrong first are told together.
        let mut findings: Vec<(&Seed, Vec<u64>)> = Vec::new();
        for seed in failed {
            match findings.iter_mut().find(|(first, _)| first.wrong[0] == seed.wrong[0]) {
                Some((_, seeds)) => seeds.push(seed.seed),
                None => findings.push((seed, vec![seed.seed])),
            }
        }
        for (seed, seeds) in findings.iter().take(FAILURES_SHOWN) {
            let (what, message) = &seed.wrong[0];
            let more =
                if seed.wrong.len() > 1 { format!(" (and {} more)", seed.wrong.len() - 1) } else { String::new() };
            let _ = writeln!(
                out,
                "\n{FAIL}{}{FAIL:#}  {what}: {message}{more}\n  {}",
                listed(seeds),
                replay.line(seed.seed)
            );
        }
        if findings.len() > FAILURES_SHOWN {
            let others = findings.iter().skip(FAILURES_SHOWN).map(|(_, seeds)| seeds.len()).sum();
            let _ = writeln!(out, "\n… and {} more seeds", thousands(others));
        }
        out
    }

    fn connecting(&self, table: &mut Table) {
        let mut heard: Vec<_> = self.seeds.iter().flat_map(|seed| seed.heard.iter().copied()).collect();
        if heard.is_empty() {
            return;
        }
        heard.sort_by(f64::total_cmp);
        let at = |share: f64| heard[((heard.len() - 1) as f64 * share) as usize];
        let odd = self.seeds.iter().map(|seed| seed.odd).sum();
        let words = format!(
            "{} pairs exchanged data: median {:.2} s, 95 % {:.2} s, last {:.2} s{}",
            thousands(heard.len()),
            at(0.5),
            at(0.95),
            at(1.0),
            standing::odd_ones(odd)
        );
        table.row([format!("{HEADING}Connected{HEADING:#}"), words]);
    }

    fn situations(&self, table: &mut Table) {
        self.counts(table, "Rare situations met", |seed| seed.probes.keys().copied().collect());
        self.counts(table, "Not tested with this server", |seed| seed.not_tested.iter().map(String::as_str).collect());
    }

    /// A row with the situations of a kind, each with the number of its seeds.
    fn counts(&self, table: &mut Table, heading: &str, of: fn(&Seed) -> Vec<&str>) {
        let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
        for probe in self.seeds.iter().flat_map(of) {
            *runs.entry(probe).or_default() += 1;
        }
        if runs.is_empty() {
            return;
        }
        let list: Vec<_> = runs.iter().map(|(probe, runs)| format!("{probe} in {runs}")).collect();
        let words = format!("{} of {} seeds", list.join(", "), self.seeds.len());
        table.row([format!("{HEADING}{heading}{HEADING:#}"), words]);
    }
}

/// `seed 3`, or `seeds 0, 1, 2`.
fn listed(seeds: &[u64]) -> String {
    let numbers: Vec<_> = seeds.iter().take(SEEDS_LISTED).map(u64::to_string).collect();
    match (seeds, seeds.len().saturating_sub(SEEDS_LISTED)) {
        ([seed], _) => format!("seed {seed}"),
        (_, 0) => format!("seeds {}", numbers.join(", ")),
        (_, others) => format!("seeds {} and {} others", numbers.join(", "), thousands(others)),
    }
}
