//! Mutants as regressions: `diff` reports exactly the cases that each one breaks, and the commands that repeat them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use conformance::{Report, Verdict};
use reports::diff::Diff;
use reports::model::{self, Opening, Suite};
use reports::{Results, Writer};

use super::broken::Surface;
use super::play::for_each;
use super::tests::{catalogue, program};

/// The command to which `--case` is added.
const AGAIN: &str = "glare conformance --url ws://127.0.0.1:8787/";
const JOBS: usize = 8;

#[test]
fn every_mutant_of_mesh_is_the_regression_that_it_is() {
    let mutants = catalogue().iter().filter(|mutant| mutant.surfaces.contains(&Surface::Mesh));
    // The unmodified server runs twice: it must not be a regression of itself.
    let servers = [None, None].into_iter().chain(mutants.map(Some)).map(|mutant| (Surface::Mesh, mutant));
    let (mut right, mut broken) = (Vec::new(), Vec::new());
    for_each(program(), servers.collect(), JOBS, |_, mutant, outcome, _| {
        match (mutant, outcome.report) {
            (None, report) => right.push(report?),
            (Some(mutant), Ok(report)) => broken.push((mutant, report)),
            // A server that can no longer be reached has no result.
            (Some(_), Err(_)) => {}
        }
        Ok(())
    })
    .unwrap_or_else(|why| panic!("{why}"));
    let [base, again] = &right[..] else { panic!("the unmodified server was tested twice") };
    let before = results(base);
    let unchanged = Diff::of(&before, &results(again)).expect("results of one suite");
    assert!(!unchanged.is_regression() && unchanged.fixed.is_empty(), "{}", unchanged.text(None));
    assert!(broken.len() >= 20, "only {} mutants gave a result", broken.len());
    for (mutant, report) in &broken {
        let diff = Diff::of(&before, &results(report)).expect("results of one suite");
        let reported: BTreeSet<_> =
            diff.newly_failing.iter().map(|case| (case.id.as_str(), case.replay.clone())).collect();
        // What the unmodified server does not have, such as a WebSocket extension, a mutant may have and do wrong.
        let is_right = |slug| base.case(slug).is_some_and(|case| is_good(&case.verdict));
        let fails = report.cases.iter().filter(|case| matches!(case.verdict, Verdict::Fail { .. }));
        let slugs = fails.map(|case| case.case.slug).filter(|slug| is_right(slug));
        let planted: BTreeSet<_> = slugs.map(|slug| (slug, format!("{AGAIN} --case {slug}"))).collect();
        assert_eq!(reported, planted, "{}: {}", mutant.name, diff.text(None));
        assert!(diff.is_regression(), "{} is detected by the suite, not by the diff", mutant.name);
        let others = (&diff.fixed, &diff.flaky, &diff.added, &diff.removed);
        assert_eq!(others, (&vec![], &vec![], &vec![], &vec![]), "{}", mutant.name);
    }
}

fn is_good(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Acceptable { .. } | Verdict::Unsupported { .. })
}

/// A report after it was written to a file and read back.
fn results(report: &Report) -> Results {
    let opening = Opening {
        version: model::VERSION,
        suite: Suite::Conformance,
        name: "mesh".to_owned(),
        tool: crate::sink::TOOL.to_owned(),
        target: "ws://127.0.0.1:8787/".to_owned(),
        command: AGAIN.to_owned(),
        started_ms: 0,
    };
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, &opening).expect("memory takes all");
    for case in reports::cases_of_report(report, AGAIN, None, reports::Detail::Brief) {
        writer.case(case).expect("memory takes all");
    }
    writer.close(Duration::ZERO).expect("memory takes all");
    Results::parse(&file, PathBuf::new()).unwrap_or_else(|wrong| panic!("line {wrong}"))
}
