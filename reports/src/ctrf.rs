//! The Common Test Report Format, JSON. <https://ctrf.io>

use serde_json::{Value, json};

use crate::model::{Case, Verdict};
use crate::result::Results;
use crate::words::{account, headline, text};

/// The version of the format written.
const SPEC_VERSION: &str = "0.0.0";

/// Results as one CTRF document.
pub fn ctrf(results: &[Results]) -> String {
    let cases: Vec<_> = results.iter().flat_map(|result| result.cases.iter().map(move |case| (result, case))).collect();
    let count = |status: &str| cases.iter().filter(|(_, case)| status_of(case) == status).count();
    let start = results.iter().map(|result| result.opening.started_ms).min().unwrap_or(0);
    let end = |result: &Results| {
        let wall =
            result.closing.map_or_else(|| result.cases.iter().map(|case| case.wall).sum(), |closing| closing.wall);
        result.opening.started_ms.saturating_add(milliseconds(wall))
    };
    let stop = results.iter().map(end).max().unwrap_or(start);
    let document = json!({
        "reportFormat": "CTRF",
        "specVersion": SPEC_VERSION,
        "generatedBy": results.first().map(|result| text(&result.opening.tool)),
        "results": {
            "tool": { "name": "glare", "version": env!("CARGO_PKG_VERSION") },
            "summary": {
                "tests": cases.len(),
                "passed": count("passed"),
                "failed": count("failed"),
                "skipped": count("skipped"),
                "pending": 0,
                "other": count("other"),
                "suites": results.len(),
                "start": start,
                "stop": stop,
                "extra": { "complete": results.iter().all(|result| result.closing.is_some()) },
            },
            "tests": cases.iter().map(|(result, case)| test(result, case)).collect::<Vec<_>>(),
        },
    });
    serde_json::to_string_pretty(&document).expect("keys are strings") + "\n"
}

fn status_of(case: &Case) -> &'static str {
    match case.verdict {
        Verdict::Pass | Verdict::Acceptable | Verdict::Fail if case.is_bad() => "failed",
        Verdict::Pass | Verdict::Acceptable => "passed",
        // A known failure is not reported as a failure.
        Verdict::Fail | Verdict::Unsupported | Verdict::NotTested => "skipped",
        Verdict::HarnessError => "other",
    }
}

fn test(result: &Results, case: &Case) -> Value {
    let mut test = json!({
        "name": text(&case.id),
        "status": status_of(case),
        "rawStatus": case.verdict.slug(),
        "duration": milliseconds(case.wall),
        "suite": [result.opening.suite.word(), text(&case.group)],
        "extra": { "title": text(&case.title), "target": text(&result.opening.target), "replay": text(&case.replay) },
    });
    if case.verdict != Verdict::Pass {
        test["message"] = json!(headline(case));
        test["trace"] = json!(account(case));
    }
    if let Some(location) = &case.location {
        test["filePath"] = json!(text(&location.file));
        test["line"] = json!(location.line.unwrap_or(1));
    }
    test
}

fn milliseconds(seconds: f64) -> u64 {
    // `as` saturates: negative values and NaN become 0, infinity the maximum.
    (seconds * 1e3).round() as u64
}
