//! JUnit XML, as Jenkins, GitLab and most others read it.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::model::{Case, Verdict};
use crate::result::Results;
use crate::words::{account, headline, text};

/// Results as JUnit XML: a suite for each result and group.
pub fn junit(results: &[Results]) -> String {
    let mut report = Report::new("glare");
    for result in results {
        let opening = &result.opening;
        let mut groups: Vec<(&str, Vec<&Case>)> = Vec::new();
        for case in &result.cases {
            match groups.iter_mut().find(|(group, _)| *group == case.group) {
                Some((_, cases)) => cases.push(case),
                None => groups.push((&case.group, vec![case])),
            }
        }
        let several = results.len() > 1;
        for (group, cases) in groups {
            let name = if several { format!("{} on {}", text(group), text(&opening.target)) } else { text(group) };
            let mut suite = TestSuite::new(name);
            suite.add_property(Property::new("target", text(&opening.target)));
            suite.add_property(Property::new("tool", text(&opening.tool)));
            suite.add_property(Property::new("command", text(&opening.command)));
            suite.set_time(seconds(cases.iter().map(|case| case.wall).sum()));
            let class = format!("glare.{}.{}", opening.suite.word(), text(group));
            let mut times: BTreeMap<&str, usize> = BTreeMap::new();
            for case in cases {
                let time = times.entry(&case.id).or_default();
                *time += 1;
                suite.add_test_case(test_case(case, &class, *time));
            }
            report.add_test_suite(suite);
        }
        if result.closing.is_none() {
            let mut suite = TestSuite::new(format!("{} result file", opening.suite.word()));
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message("the result file is truncated: the program that wrote it did not finish");
            suite.add_test_case(TestCase::new("complete", status));
            report.add_test_suite(suite);
        }
    }
    report.set_time(seconds(results.iter().filter_map(|result| result.closing).map(|closing| closing.wall).sum()));
    let xml = report.to_string().expect("writing to memory cannot fail");
    // Jenkins' schema allows `skipped` on a suite, but not on the whole report.
    let Some((head, rest)) = xml.split_once("<testsuites ") else { return xml };
    let Some((attributes, suites)) = rest.split_once('>') else { return xml };
    let kept: Vec<_> = attributes.split(' ').filter(|attribute| !attribute.starts_with("skipped=")).collect();
    format!("{head}<testsuites {}>{suites}", kept.join(" "))
}

/// `time` counts the cases with the same id, from 1.
fn test_case(case: &Case, class: &str, time: usize) -> TestCase {
    let failed = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(headline(case)).set_description(account(case));
        status
            .set_type(case.findings.first().map_or_else(|| case.verdict.slug().to_owned(), |first| text(&first.rule)));
        status
    };
    let status = match case.verdict {
        Verdict::Pass | Verdict::Acceptable | Verdict::Fail if case.is_bad() => failed(NonSuccessKind::Failure),
        Verdict::Pass | Verdict::Acceptable => TestCaseStatus::success(),
        Verdict::Fail => {
            let mut status = TestCaseStatus::skipped();
            let reason = text(case.known.as_deref().unwrap_or_default());
            status.set_message(format!("known to fail ({reason}): {}", headline(case)));
            status
        }
        Verdict::HarnessError => failed(NonSuccessKind::Error),
        Verdict::Unsupported | Verdict::NotTested => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("{}: {}", case.verdict, headline(case)));
            status
        }
    };
    let name = if time > 1 { format!("{} (time {time})", text(&case.id)) } else { text(&case.id) };
    let mut test = TestCase::new(name, status);
    test.set_classname(class).set_time(seconds(case.wall));
    if !case.remarks.is_empty() {
        test.set_system_out(case.remarks.iter().map(|remark| text(remark)).collect::<Vec<_>>().join("\n"));
    }
    test
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
