//! Which cases run when, and which cannot run at all. Pure: no clock and no network.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::verdict::{CaseReport, Verdict};

/// How cases share a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Number of cases that run in parallel.
    pub(crate) jobs: usize,
    /// Whether slow cases run last and all in parallel: they mostly wait.
    pub(crate) slow_together: bool,
}

/// Cases that may run in parallel; a wave starts when the one before has ended.
#[derive(Clone, Debug)]
pub(crate) struct Wave {
    pub(crate) cases: Vec<&'static Case>,
    /// How many of them run in parallel.
    pub(crate) jobs: usize,
}

/// Divides cases into waves: a case comes after those that it needs, and a case that must be alone has a wave of its
/// own.
pub(crate) fn waves(cases: &[&'static Case], terms: Terms) -> Vec<Wave> {
    let (slow, quick): (Vec<_>, Vec<_>) = cases.iter().copied().partition(|case| case.slow && terms.slow_together);
    let (alone, beside): (Vec<_>, Vec<_>) = quick.into_iter().partition(|case| case.alone);
    let mut depths: BTreeMap<usize, Vec<&'static Case>> = BTreeMap::new();
    for case in beside {
        depths.entry(depth(case, cases)).or_default().push(case);
    }
    let beside = depths.into_values().map(|cases| Wave { cases, jobs: terms.jobs.max(1) });
    // One at a time, so that if the server is dead afterwards it is clear which case killed it.
    let alone = alone.into_iter().map(|case| Wave { cases: vec![case], jobs: 1 });
    let slow = (!slow.is_empty()).then_some(Wave { jobs: slow.len(), cases: slow });
    beside.chain(alone).chain(slow).collect()
}

/// The length of the longest chain of cases that must come before this one.
fn depth(case: &Case, cases: &[&'static Case]) -> usize {
    let needed = cases.iter().filter(|other| case.needs.contains(&other.slug));
    needed.map(|other| 1 + depth(other, cases)).max().unwrap_or_default()
}

/// The verdict on a case that cannot run because a case that it needs did not pass.
pub(crate) fn blocked(case: &Case, found: &BTreeMap<&'static str, CaseReport>) -> Option<Verdict> {
    let blocks = |slug: &&&str| found.get(**slug).is_some_and(|report| report.verdict.blocks());
    let slug = case.needs.iter().find(blocks)?;
    Some(Verdict::NotTested { why: format!("needs {slug}, which did not pass") })
}

/// Reports of cases that each ran on a server of their own, adjusted as if they had run in turn on one server: a case
/// counts as not tested if one that it needs did not pass. They come in the order of `cases`, each of which must be in
/// `found`.
pub fn settle(cases: &[&'static Case], mut found: BTreeMap<&'static str, CaseReport>) -> Vec<CaseReport> {
    for wave in waves(cases, Terms { jobs: 1, slow_together: false }) {
        for case in wave.cases {
            let report = found.get(case.slug).expect("every case was found");
            let ran = !matches!(report.verdict, Verdict::NotTested { .. } | Verdict::Unsupported { .. });
            if let Some(verdict) = blocked(case, &found).filter(|_| ran) {
                found.insert(case.slug, CaseReport::without_exchange(case, verdict));
            }
        }
    }
    cases.iter().map(|case| found.remove(case.slug).expect("every case was found")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Level;

    const fn case(slug: &'static str, needs: &'static [&'static str]) -> Case {
        Case::new(slug, Level::Must, "It holds.", |_| Box::pin(async { Ok(()) })).needs(needs)
    }

    static JOIN: Case = case("a/join", &[]);
    static SIGNAL: Case = case("a/signal", &["a/join"]);
    static CROWD: Case = case("a/crowd", &["a/signal", "a/join"]);
    static FLOOD: Case = case("a/flood", &["a/join"]).alone();
    static BOMB: Case = case("a/bomb", &[]).alone();
    static WAITS: Case = case("a/waits", &[]).slow();
    static WAITS_ALONE: Case = case("a/waits-alone", &["a/join"]).slow().alone();

    const ALL: [&Case; 7] = [&CROWD, &FLOOD, &WAITS, &SIGNAL, &JOIN, &BOMB, &WAITS_ALONE];

    fn shown(cases: &[&'static Case], slow_together: bool) -> Vec<(usize, String)> {
        let waves = waves(cases, Terms { jobs: 8, slow_together });
        let slugs = |wave: &Wave| wave.cases.iter().map(|case| &case.slug[2..]).collect::<Vec<_>>().join(" ");
        waves.iter().map(|wave| (wave.jobs, slugs(wave))).collect()
    }

    fn wave(jobs: usize, slugs: &str) -> (usize, String) {
        (jobs, slugs.to_owned())
    }

    fn found(verdicts: &[(&'static Case, Verdict)]) -> BTreeMap<&'static str, CaseReport> {
        let report = |case: &'static Case, verdict: &Verdict| CaseReport::without_exchange(case, verdict.clone());
        verdicts.iter().map(|(case, verdict)| (case.slug, report(case, verdict))).collect()
    }

    fn fail() -> Verdict {
        Verdict::Fail { why: "it does not".to_owned(), line: None }
    }

    #[test]
    fn what_others_need_comes_first_and_what_must_be_alone_comes_last() {
        let (one, two, three) = (wave(8, "waits join"), wave(8, "signal"), wave(8, "crowd"));
        let alone = ["flood", "bomb", "waits-alone"].map(|slug| wave(1, slug));
        assert_eq!(shown(&ALL, false), [&[one, two, three][..], &alone].concat());
    }

    #[test]
    fn slow_cases_begin_together_after_all_others() {
        let waves = [
            wave(8, "join"),
            wave(8, "signal"),
            wave(8, "crowd"),
            wave(1, "flood"),
            wave(1, "bomb"),
            wave(2, "waits waits-alone"),
        ];
        assert_eq!(shown(&ALL, true), waves);
    }

    #[test]
    fn every_case_runs_once_and_no_wave_is_empty() {
        for slow_together in [false, true] {
            let waves = waves(&ALL, Terms { jobs: 0, slow_together });
            assert!(waves.iter().all(|wave| wave.jobs > 0 && !wave.cases.is_empty()));
            let mut slugs: Vec<_> = waves.iter().flat_map(|wave| &wave.cases).map(|case| case.slug).collect();
            slugs.sort_unstable();
            let mut all = ALL.map(|case| case.slug);
            all.sort_unstable();
            assert_eq!(slugs, all);
        }
        assert!(waves(&[], Terms { jobs: 8, slow_together: true }).is_empty());
    }

    #[test]
    fn a_need_that_was_not_selected_is_no_obstacle() {
        assert_eq!(shown(&[&CROWD, &SIGNAL], false), [wave(8, "signal"), wave(8, "crowd")]);
        assert_eq!(blocked(&SIGNAL, &BTreeMap::new()), None);
    }

    #[test]
    fn a_case_is_blocked_by_the_first_need_that_did_not_pass() {
        let needs = |slug: &str| Some(Verdict::NotTested { why: format!("needs {slug}, which did not pass") });
        let unsupported = Verdict::Unsupported { why: "has no join".to_owned() };
        assert_eq!(blocked(&SIGNAL, &found(&[(&JOIN, Verdict::Pass)])), None);
        assert_eq!(blocked(&SIGNAL, &found(&[(&JOIN, unsupported)])), None);
        assert_eq!(blocked(&SIGNAL, &found(&[(&JOIN, fail())])), needs("a/join"));
        assert_eq!(blocked(&CROWD, &found(&[(&JOIN, fail()), (&SIGNAL, fail())])), needs("a/signal"));
    }

    #[test]
    fn what_blocks_a_case_blocks_those_that_need_it_too() {
        let unsupported = Verdict::Unsupported { why: "no crowd".to_owned() };
        let found = found(&[(&JOIN, fail()), (&SIGNAL, Verdict::Pass), (&CROWD, Verdict::Pass), (&FLOOD, unsupported)]);
        let settled = settle(&[&CROWD, &SIGNAL, &FLOOD, &JOIN], found);
        let words: Vec<_> = settled.iter().map(|report| (report.case.slug, report.verdict.words())).collect();
        let not_tested = |why| ("not-tested", Some(why));
        assert_eq!(
            words,
            [
                ("a/crowd", not_tested("needs a/signal, which did not pass")),
                ("a/signal", not_tested("needs a/join, which did not pass")),
                ("a/flood", ("unsupported", Some("no crowd"))),
                ("a/join", ("fail", Some("it does not"))),
            ]
        );
    }
}
