//! Which cases detect which mutants.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{anyhow, bail};
use conformance::service_cases;
use conformance::stun::Service;
use conformance::{Level, Report, Verdict};
use reports::model::{self, Finding};
use serde_json::json;

use super::broken::Surface;
use super::catalogue::Mutant;
use super::promises::{self, Promise};
use super::stage::Outcome;

/// The outcome of a whole run.
#[derive(Default)]
pub(super) struct Matrix<'a> {
    /// The cases that ran on the unmodified server.
    tested: BTreeMap<Surface, BTreeSet<&'static str>>,
    /// The MAY cases that the unmodified server passes.
    best: BTreeMap<Surface, BTreeSet<&'static str>>,
    played: BTreeMap<&'a Mutant, BTreeMap<Surface, Played>>,
    promises: &'a [Promise],
    /// Whether every mutant was tested on every surface, so that a case that detects none is a finding.
    whole: bool,
    pub(super) took: Duration,
}

/// The outcome of one mutant on one surface.
struct Played {
    /// The cases that fail, with their messages, and the MAY cases that only the unmodified server passes.
    detected_by: BTreeMap<&'static str, String>,
    /// The server's panic, or why it could not be reached.
    died: Option<String>,
    took: Duration,
}

impl<'a> Matrix<'a> {
    /// An empty matrix.
    pub(super) fn new(promises: &'a [Promise], whole: bool) -> Self {
        Self { promises, whole, ..Self::default() }
    }

    /// Adds the outcome of the unmodified server.
    ///
    /// # Errors
    /// It fails a case, or cannot be reached. The outcomes of mutants would then mean nothing.
    pub(super) fn unmodified(&mut self, surface: Surface, outcome: &Outcome) -> anyhow::Result<()> {
        let name = surface.name();
        let report = outcome.report.as_ref().map_err(|why| anyhow!("{name}: {why}"))?;
        if let Some(panic) = &outcome.panic {
            bail!("{name}: the server panicked: {panic}");
        }
        let wrong = report.cases.iter().filter_map(|case| match &case.verdict {
            Verdict::Fail { why, .. } | Verdict::HarnessError { why } | Verdict::NotTested { why } => {
                Some(format!("{name}: {}: {why}", case.case.slug))
            }
            Verdict::Pass | Verdict::Acceptable { .. } | Verdict::Unsupported { .. } => None,
        });
        let wrong: Vec<_> = wrong.collect();
        if !wrong.is_empty() {
            bail!(wrong.join("\n"));
        }
        let tested = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. }));
        self.tested.insert(surface, tested.map(|case| case.case.slug).collect());
        let best = report.cases.iter().filter(|case| case.case.level == Level::May && case.verdict == Verdict::Pass);
        self.best.insert(surface, best.map(|case| case.case.slug).collect());
        Ok(())
    }

    /// Adds the outcome of a mutant.
    ///
    /// # Errors
    /// The suite itself failed.
    pub(super) fn enter(
        &mut self,
        mutant: &'a Mutant,
        surface: Surface,
        outcome: Outcome,
        took: Duration,
    ) -> anyhow::Result<()> {
        let Outcome { report, panic } = outcome;
        let panic = panic.map(|panic| format!("the server panicked: {panic}"));
        let (detected_by, died) = match &report {
            Err(why) => (BTreeMap::new(), Some(panic.unwrap_or_else(|| why.to_string().replace("\n  ", "; ")))),
            Ok(report) => {
                let best = self.best.get(&surface);
                (
                    detected_by(report, best).map_err(|why| anyhow!("{} in {}: {why}", mutant.name, surface.name()))?,
                    panic,
                )
            }
        };
        self.played.entry(mutant).or_default().insert(surface, Played { detected_by, died, took });
        Ok(())
    }

    /// Mutants that no case has detected, each with the surface.
    pub(super) fn survivors(&self) -> Vec<(&'a Mutant, Surface)> {
        let all = self
            .played
            .iter()
            .flat_map(|(mutant, on)| on.iter().map(move |(surface, played)| (*mutant, *surface, played)));
        all.filter(|(.., played)| played.survived()).map(|(mutant, surface, _)| (mutant, surface)).collect()
    }

    /// The mutants that a case has detected.
    fn mutants_detected_by(&self, case: &str) -> Vec<&'a Mutant> {
        let finds = |on: &BTreeMap<Surface, Played>| on.values().any(|played| played.detected_by.contains_key(case));
        self.played.iter().filter(|(_, on)| finds(on)).map(|(mutant, _)| *mutant).collect()
    }

    /// Cases that ran but detected no mutant on any surface.
    pub(super) fn never_detecting(&self) -> Vec<&'static str> {
        let tested: BTreeSet<_> = self.tested.values().flatten().copied().collect();
        tested.into_iter().filter(|case| self.mutants_detected_by(case).is_empty()).collect()
    }

    /// Cases that ran on no server: those of dialects or features that the reference server lacks.
    fn untested(&self) -> Vec<&'static str> {
        let all = [conformance::cases(), service_cases(Service::Stun), service_cases(Service::Turn)].concat();
        let tested: BTreeSet<_> = self.tested.values().flatten().copied().collect();
        all.into_iter().map(|case| case.slug).filter(|case| !tested.contains(case)).collect()
    }

    /// Promises with a mutant that was tested but that none of their cases has detected.
    pub(super) fn unproven(&self) -> Vec<(&'a Promise, &'a str)> {
        let mut unproven = Vec::new();
        for promise in self.promises {
            let surfaces = promises::surfaces(&promise.id);
            for name in &promise.mutants {
                let on = self.played.iter().find(|(mutant, _)| mutant.name == *name).map(|(_, on)| on);
                let on = on.into_iter().flatten().filter(|(surface, _)| surfaces.contains(surface));
                // A mutant that cannot be tested proves nothing, but is no finding either.
                let tested: Vec<_> = on.map(|(_, played)| played).filter(|played| played.died.is_none()).collect();
                let detects =
                    |played: &&Played| promise.cases.iter().any(|case| played.detected_by.contains_key(case.as_str()));
                if !tested.is_empty() && !tested.iter().any(detects) {
                    unproven.push((promise, name.as_str()));
                }
            }
        }
        unproven
    }

    /// Whether every mutant is detected, every promise is proven and, in a whole run, every case that ran detects a mutant.
    pub(super) fn passed(&self) -> bool {
        let is_complete = self.survivors().is_empty() && self.unproven().is_empty();
        is_complete && (!self.whole || self.never_detecting().is_empty())
    }

    /// The matrix as text.
    pub(super) fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        let (survivors, idle) = (self.survivors(), self.never_detecting());
        let alive: BTreeSet<_> = survivors.iter().map(|(mutant, _)| *mutant).collect();
        let servers: usize = self.played.values().map(BTreeMap::len).sum();
        let word = if self.passed() { "PASS" } else { "FAIL" };
        let (found, all) = (self.played.len() - alive.len(), self.played.len());
        let _ = writeln!(
            out,
            "{word}  {found} of {all} mutants detected on every surface · {servers} modified servers in {:.0} s",
            self.took.as_secs_f64()
        );
        let width = self.played.keys().map(|mutant| mutant.name.len()).max().unwrap_or_default();
        for surface in self.tested.keys() {
            let _ = writeln!(out, "\n{}", surface.name());
            for (mutant, played) in self.played.iter().filter_map(|(mutant, on)| Some((mutant, on.get(surface)?))) {
                let _ = writeln!(out, "  {:<width$}  {}", mutant.name, played.words());
            }
            let here = |case: &&&str| {
                let on = |on: &BTreeMap<Surface, Played>| {
                    on.get(surface).is_some_and(|played| played.detected_by.contains_key(**case))
                };
                !self.played.values().any(on)
            };
            let idle: Vec<_> = self.tested[surface].iter().filter(here).copied().collect();
            if self.whole && !idle.is_empty() {
                let _ = writeln!(out, "  detect nothing here: {}", idle.join(", "));
            }
        }
        if !survivors.is_empty() {
            let _ = writeln!(out, "\nDetected by no case");
            for (mutant, surface) in survivors {
                let Mutant { name, defect, .. } = mutant;
                let file = mutant.file();
                let _ = writeln!(out, "  {name:<width$}  in {}: {defect} (server/src/{file})", surface.name());
            }
        }
        let unproven = self.unproven();
        if !unproven.is_empty() {
            let _ = writeln!(out, "\nPromises that are not proven");
            for (promise, mutant) in unproven {
                let _ = writeln!(out, "  {}: {mutant} is not detected by {}", promise.id, promise.cases.join(", "));
            }
        }
        let untested = self.untested();
        for (words, cases) in [("Cases that detect no mutant", &idle), ("Cases that ran on no server", &untested)] {
            if self.whole && !cases.is_empty() {
                let _ = writeln!(out, "\n{words}\n  {}", cases.join(", "));
            }
        }
        out
    }

    /// The matrix as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        let mutants: Vec<_> = self
            .played
            .iter()
            .map(|(mutant, on)| {
                let dialects: serde_json::Map<_, _> = on
                    .iter()
                    .map(|(surface, played)| {
                        let cases: Vec<_> = played.detected_by.keys().collect();
                        (surface.name().to_owned(), json!({ "killed_by": cases, "died": played.died }))
                    })
                    .collect();
                json!({ "name": mutant.name, "defect": mutant.defect, "file": mutant.file(), "dialects": dialects })
            })
            .collect();
        let survivors: Vec<_> = self
            .survivors()
            .iter()
            .map(|(mutant, surface)| json!({ "mutant": mutant.name, "dialect": surface.name() }))
            .collect();
        let unproven: Vec<_> = self
            .unproven()
            .into_iter()
            .map(|(promise, mutant)| json!({ "promise": promise.id, "mutant": mutant }))
            .collect();
        json!({ "passed": self.passed(), "mutants": mutants, "survivors": survivors, "unproven_promises": unproven, "idle_cases": self.whole.then(|| self.never_detecting()), "unasked_cases": self.whole.then(|| self.untested()) })
    }

    /// The cases of a result: each mutant, and in a whole run each case of the suite and each promise.
    pub(super) fn cases(&self, program: &str) -> Vec<model::Case> {
        let mutants = self.played.iter().map(|(mutant, on)| {
            let findings = on.iter().filter(|(_, played)| played.survived()).map(|(surface, _)| Finding {
                rule: mutant.name.clone(),
                message: format!("no case detects it in {}", surface.name()),
                promise: Some("The suite detects every planted defect.".to_owned()),
                ..Finding::default()
            });
            let findings: Vec<_> = findings.collect();
            let remarks = on.iter().flat_map(|(surface, played)| {
                let detected_by =
                    played.detected_by.iter().map(|(case, why)| format!("{case} in {}: {why}", surface.name()));
                detected_by.chain(played.died.iter().map(|why| format!("in {}: {why}", surface.name())))
            });
            model::Case {
                verdict: verdict(findings.is_empty()),
                wall: on.values().map(|played| played.took.as_secs_f64()).sum(),
                remarks: remarks.collect(),
                findings,
                location: Some(model::Location { file: format!("server/src/{}", mutant.file()), line: None }),
                ..model::Case::new(
                    mutant.name.clone(),
                    mutant.defect.clone(),
                    format!("{program} mutants --mutant {}", mutant.name),
                )
            }
        });
        let tested: BTreeSet<_> = self.tested.values().flatten().copied().filter(|_| self.whole).collect();
        let cases = tested.into_iter().map(|case| {
            let found: Vec<_> = self.mutants_detected_by(case).into_iter().map(|mutant| mutant.name.as_str()).collect();
            let id = format!("case/{case}");
            let idle = found.is_empty().then(|| Finding {
                rule: id.clone(),
                message: "it detects no mutant".to_owned(),
                promise: Some("Every case detects a planted defect.".to_owned()),
                ..Finding::default()
            });
            model::Case {
                verdict: verdict(idle.is_none()),
                findings: idle.into_iter().collect(),
                remarks: found.iter().map(|mutant| format!("detects {mutant}")).collect(),
                ..model::Case::new(
                    id,
                    format!("The case `{case}` detects a planted defect."),
                    format!("{program} mutants"),
                )
            }
        });
        let promises = self.promises.iter().filter(|_| self.whole).map(|promise| {
            let unproven = self.unproven().into_iter().filter(|(other, _)| *other == promise);
            let id = format!("promise/{}", promise.id);
            let findings: Vec<_> = unproven
                .map(|(_, mutant)| Finding {
                    rule: id.clone(),
                    message: format!("none of its cases detects {mutant}"),
                    promise: Some("The cases of a promise detect the defects that break it.".to_owned()),
                    ..Finding::default()
                })
                .collect();
            model::Case {
                verdict: verdict(findings.is_empty()),
                findings,
                remarks: vec![format!("cases: {}", promise.cases.join(", "))],
                ..model::Case::new(id.clone(), promise.text.clone(), format!("{program} mutants"))
            }
        });
        mutants.chain(cases).chain(promises).collect()
    }
}

fn verdict(passes: bool) -> model::Verdict {
    if passes { model::Verdict::Pass } else { model::Verdict::Fail }
}

impl Played {
    fn survived(&self) -> bool {
        self.detected_by.is_empty() && self.died.is_none()
    }

    fn words(&self) -> String {
        let cases: Vec<_> = self.detected_by.keys().copied().collect();
        match &self.died {
            None if cases.is_empty() => "SURVIVES".to_owned(),
            None => cases.join(", "),
            Some(why) => {
                let why = why.lines().next().unwrap_or_default();
                [cases, vec![why]].concat().join(", ")
            }
        }
    }
}

/// The cases that a server fails, and the MAY cases that it does not pass although they are among `best`.
fn detected_by(
    report: &Report,
    best: Option<&BTreeSet<&'static str>>,
) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let mut detected_by = BTreeMap::new();
    for case in &report.cases {
        match &case.verdict {
            Verdict::Fail { why, .. } => drop(detected_by.insert(case.case.slug, why.clone())),
            Verdict::Acceptable { why } if best.is_some_and(|best| best.contains(case.case.slug)) => {
                detected_by.insert(case.case.slug, why.clone());
            }
            Verdict::HarnessError { why } => bail!("{}: {why}", case.case.slug),
            _ => {}
        }
    }
    Ok(detected_by)
}

#[cfg(test)]
mod tests {
    use conformance::transcript::{Notes, Transcript};
    use conformance::{CaseReport, Unreachable};

    use super::super::catalogue::Edit;
    use super::*;

    /// A server on which the first two cases have these verdicts.
    fn outcome(verdicts: [Verdict; 2]) -> Outcome {
        let reports = conformance::cases().iter().zip(verdicts).map(|(case, verdict)| CaseReport {
            case,
            verdict,
            notes: Notes::default(),
            known: None,
            took: Duration::ZERO,
            transcript: Transcript::default(),
        });
        let report = Report {
            url: String::new(),
            dialect: String::new(),
            round_trip: Duration::ZERO,
            patience: Duration::ZERO,
            took: Duration::ZERO,
            cases: reports.collect(),
            requirements: Vec::new(),
        };
        Outcome { report: Ok(report), panic: None }
    }

    fn mutants() -> [Mutant; 2] {
        ["room/a", "room/b"].map(|name| {
            let [file, before, after] = ["a.rs", "a", "b"].map(str::to_owned);
            let edits = vec![Edit { file, within: None, before, after }];
            Mutant {
                name: name.to_owned(),
                surfaces: vec![Surface::Mesh],
                defect: "It is broken.".to_owned(),
                beyond: None,
                edits,
            }
        })
    }

    fn fail() -> Verdict {
        Verdict::Fail { why: "ana received nothing".to_owned(), line: None }
    }

    #[test]
    fn a_mutant_that_no_case_detects_and_a_case_that_detects_nothing_fail_the_run() {
        let (first, second) = (conformance::cases()[0].slug, conformance::cases()[1].slug);
        let [a, b] = &mutants();
        let mut matrix = Matrix::new(&[], true);
        matrix.unmodified(Surface::Mesh, &outcome([Verdict::Pass, Verdict::Pass])).expect("it passes");
        let mut enter = |mutant, verdicts| {
            matrix.enter(mutant, Surface::Mesh, outcome(verdicts), Duration::ZERO).expect("no harness error");
            (matrix.survivors(), matrix.never_detecting(), matrix.passed())
        };
        let none = || Verdict::NotTested { why: "needs another".to_owned() };
        assert_eq!(enter(a, [Verdict::Pass, none()]), (vec![(a, Surface::Mesh)], vec![first, second], false));
        assert_eq!(enter(a, [fail(), none()]), (vec![], vec![second], false));
        assert_eq!(enter(b, [Verdict::Pass, fail()]), (vec![], vec![], true));
        let text = matrix.text();
        assert!(text.contains(&format!("{}  ", a.name)) && text.contains("2 of 2 mutants"), "{text}");
    }

    #[test]
    fn a_promise_whose_cases_do_not_detect_its_mutant_in_its_protocol_fails_the_run() {
        let (first, second) = (conformance::cases()[0].slug, conformance::cases()[1].slug);
        let [a, _] = &mutants();
        for (case, surface, is_proven) in
            [(first, Surface::Mesh, true), (second, Surface::Mesh, false), (first, Surface::Relay, false)]
        {
            let promises = [Promise {
                id: "mesh/x".to_owned(),
                text: "It holds.".to_owned(),
                cases: vec![case.to_owned()],
                mutants: vec![a.name.clone()],
            }];
            let mut matrix = Matrix::new(&promises, false);
            for surface in [Surface::Mesh, Surface::Relay] {
                matrix.unmodified(surface, &outcome([Verdict::Pass, Verdict::Pass])).expect("it passes");
                matrix.enter(a, surface, outcome([Verdict::Pass, Verdict::Pass]), Duration::ZERO).expect("it ran");
            }
            matrix.enter(a, surface, outcome([fail(), Verdict::Pass]), Duration::ZERO).expect("it ran");
            assert_eq!(matrix.unproven().is_empty(), is_proven, "{}", matrix.text());
            assert_eq!(matrix.text().contains("Promises that are not proven"), !is_proven);
        }
    }

    #[test]
    fn a_server_that_panics_or_cannot_be_reached_is_detected_with_the_reason() {
        let [a, b] = &mutants();
        let mut matrix = Matrix::new(&[], false);
        let pass = || [Verdict::Pass, Verdict::Pass];
        matrix.unmodified(Surface::Mesh, &outcome(pass())).expect("it passes");
        let panicked = Outcome { panic: Some("at line 1".to_owned()), ..outcome(pass()) };
        matrix.enter(a, Surface::Mesh, panicked, Duration::ZERO).expect("no harness error");
        let unreachable = Unreachable { url: String::new(), tried: vec!["connection refused".to_owned()] };
        let unreachable = Outcome { report: Err(unreachable), panic: None };
        matrix.enter(b, Surface::Mesh, unreachable, Duration::ZERO).expect("no harness error");
        let text = matrix.text();
        assert!(matrix.passed() && text.contains("the server panicked: at line 1"), "{text}");
        assert!(text.contains("connection refused"), "{text}");
    }

    #[test]
    fn failures_of_the_unmodified_server_and_of_the_suite_itself_are_errors() {
        let [mutant, _] = &mutants();
        let mut matrix = Matrix::new(&[], false);
        let harness = || Verdict::HarnessError { why: "the case panicked".to_owned() };
        for wrong in [fail(), harness(), Verdict::NotTested { why: "time".to_owned() }] {
            let why =
                matrix.unmodified(Surface::Mesh, &outcome([Verdict::Pass, wrong])).expect_err("it fails").to_string();
            assert!(why.starts_with(&format!("mesh: {}: ", conformance::cases()[1].slug)), "{why}");
        }
        let why = matrix.enter(mutant, Surface::Mesh, outcome([Verdict::Pass, harness()]), Duration::ZERO);
        assert!(why.expect_err("it fails").to_string().ends_with("the case panicked"));
    }
}
