//! The report for programs: one JSON object.

use serde::Serialize;

use crate::transcript::{LineKind, Transcript};
use crate::verdict::{CaseReport, Report, RequirementReport, Verdict};

#[derive(Serialize)]
struct JsonReport<'a> {
    url: &'a str,
    dialect: &'a str,
    passed: bool,
    round_trip_ms: f64,
    patience_ms: f64,
    took_ms: f64,
    cases: Vec<JsonCase<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requirements: Vec<JsonRequirement<'a>>,
}

#[derive(Serialize)]
struct JsonRequirement<'a> {
    id: &'a str,
    text: &'a str,
    met: bool,
    cases: Vec<&'a str>,
}

#[derive(Serialize)]
struct JsonCase<'a> {
    slug: &'a str,
    level: String,
    asks: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// Index into the transcript.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<&'a str>,
    remarks: &'a [String],
    /// Declared behaviour that is bad practice.
    quality: &'a [String],
    citations: Vec<JsonCitation<'a>>,
    took_ms: f64,
    /// Present if the case did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<Vec<JsonLine<'a>>>,
}

#[derive(Serialize)]
struct JsonCitation<'a> {
    section: &'a str,
    url: &'a str,
    quote: &'a str,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    at_ms: f64,
    client: &'a str,
    what: &'static str,
    text: &'a str,
    /// Length of the uncut text.
    bytes: usize,
}

impl Report {
    /// The report as one line of JSON. A case that did not pass includes its transcript.
    pub fn json(&self) -> String {
        let report = JsonReport {
            url: &self.url,
            dialect: &self.dialect,
            passed: self.passed(),
            round_trip_ms: self.round_trip.as_secs_f64() * 1e3,
            patience_ms: self.patience.as_secs_f64() * 1e3,
            took_ms: self.took.as_secs_f64() * 1e3,
            cases: self.cases.iter().map(case).collect(),
            requirements: self.requirements.iter().map(requirement).collect(),
        };
        serde_json::to_string(&report).expect("keys are strings and no number is infinite")
    }
}

fn requirement(report: &RequirementReport) -> JsonRequirement<'_> {
    JsonRequirement {
        id: &report.id,
        text: &report.text,
        met: report.met(),
        cases: report.cases.iter().map(|(slug, _)| *slug).collect(),
    }
}

fn case(report: &CaseReport) -> JsonCase<'_> {
    let (verdict, why) = report.verdict.words();
    let line = if let Verdict::Fail { line, .. } = &report.verdict { *line } else { None };
    let citations = report.case.citations.iter();
    JsonCase {
        slug: report.case.slug,
        level: report.case.level.to_string(),
        asks: report.case.rule,
        verdict,
        why,
        line,
        known: report.known.as_deref(),
        remarks: &report.notes.remarks,
        quality: &report.notes.quality,
        citations: citations
            .map(|citation| JsonCitation { section: citation.section, url: citation.url, quote: citation.quote })
            .collect(),
        took_ms: report.took.as_secs_f64() * 1e3,
        transcript: matches!(
            report.verdict,
            Verdict::Fail { .. } | Verdict::NotTested { .. } | Verdict::HarnessError { .. }
        )
        .then(|| lines(&report.transcript)),
    }
}

fn lines(transcript: &Transcript) -> Vec<JsonLine<'_>> {
    let lines = transcript.lines.iter();
    lines
        .map(|line| JsonLine {
            at_ms: line.at.as_secs_f64() * 1e3,
            client: transcript.clients.get(line.client).map_or("?", String::as_str),
            what: match line.kind {
                LineKind::Sends => "sends",
                LineKind::Hears => "hears",
                LineKind::Note => "note",
            },
            text: &line.text,
            bytes: line.bytes,
        })
        .collect()
}
