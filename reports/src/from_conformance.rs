//! From a conformance run to the cases of a result.

use conformance::transcript::{self, Transcript};
use conformance::{CaseReport, Dialect, Report, RequirementReport, Verdict as Found, with_cases};

use crate::from_sim::Detail;
use crate::model::{Case, Citation, Finding, Layer, Level, Location, Party, PartyKind, Step, Tone, Verdict};

/// Numbers of steps kept before the one that shows a failure, and after it.
const STEPS_BEFORE: usize = 24;
const STEPS_AFTER: usize = 3;
/// The server's index among the parties.
const SERVER: usize = 0;

/// All cases of a run, and the user's requirements. `again` is the command to which `--case SLUG` is added to repeat
/// one case, `dialect` the file of the dialect, if there is one. With [`Detail::Full`], passing cases have their messages
/// too.
pub fn cases_of_report(report: &Report, again: &str, dialect: Option<&str>, detail: Detail) -> Vec<Case> {
    let spoken = dialect.and_then(spoken);
    let cases = report.cases.iter().map(|found| {
        let mut case = case(found, again, detail);
        let line = spoken.as_ref().map_or(1, |spoken| found.case.line_in(spoken, evidence_line(found)));
        case.location = dialect.map(|file| Location { file: file.to_owned(), line: Some(line) });
        case
    });
    cases.chain(report.requirements.iter().map(|judged| requirement(judged, again))).collect()
}

/// The dialect in a file, or the shipped one with this path in the repository.
fn spoken(file: &str) -> Option<Dialect> {
    let shipped = file.strip_prefix("conformance/dialects/").and_then(|name| name.strip_suffix(".toml"));
    Dialect::load(shipped.unwrap_or(file)).ok()
}

/// The server's message that shows a failure.
fn evidence_line(found: &CaseReport) -> Option<&str> {
    let Found::Fail { line: Some(line), .. } = &found.verdict else { return None };
    let line = found.transcript.lines.get(*line)?;
    (line.kind == transcript::LineKind::Hears).then_some(line.text.as_str())
}

/// A requirement as a separate case, with the user's id for it.
fn requirement(judged: &RequirementReport, again: &str) -> Case {
    let verifying: Vec<_> = judged.cases.iter().map(|(slug, _)| *slug).collect();
    let open: Vec<_> = judged.cases.iter().filter(|(_, passes)| !passes).map(|(slug, _)| *slug).collect();
    let id = format!("requirement/{}", judged.id);
    let finding = (!judged.met()).then(|| Finding {
        rule: id.clone(),
        message: format!("not verified by {}", open.join(", ")),
        promise: Some(judged.text.clone()),
        ..Finding::default()
    });
    Case {
        verdict: if judged.met() { Verdict::Pass } else { Verdict::Fail },
        findings: finding.into_iter().collect(),
        remarks: vec![format!("verified by {}", verifying.join(", "))],
        ..Case::new(id, judged.text.clone(), with_cases(again, &verifying))
    }
}

fn case(found: &CaseReport, again: &str, detail: Detail) -> Case {
    let asked = found.case;
    let (verdict, wrong) = match &found.verdict {
        Found::Pass => (Verdict::Pass, None),
        Found::Acceptable { why } => (Verdict::Acceptable, Some((why, None))),
        Found::Unsupported { why } => (Verdict::Unsupported, Some((why, None))),
        Found::Fail { why, line } => (Verdict::Fail, Some((why, *line))),
        Found::NotTested { why } => (Verdict::NotTested, Some((why, None))),
        Found::HarnessError { why } => (Verdict::HarnessError, Some((why, None))),
    };
    let is_wrong = matches!(verdict, Verdict::Fail | Verdict::NotTested | Verdict::HarnessError);
    let has_story = is_wrong || detail == Detail::Full;
    let (story, omitted) = if has_story { story(&found.transcript) } else { (Vec::new(), 0) };
    let parties = if story.is_empty() { Vec::new() } else { parties(&found.transcript) };
    let mut findings: Vec<_> = wrong
        .map(|(why, line)| Finding {
            rule: asked.slug.to_owned(),
            message: why.clone(),
            promise: Some(asked.rule.to_owned()),
            at: line.and_then(|line| story.get(line)).map(|step| step.at),
            steps: if is_wrong { around(line, story.len()) } else { Vec::new() },
            step: line.filter(|line| *line < story.len()),
            ..Finding::default()
        })
        .into_iter()
        .collect();
    if let (Verdict::Pass | Verdict::Acceptable, Some(reason)) = (verdict, &found.known) {
        let message = format!("it passes, but it is listed as known to fail ({reason}): remove it from the list");
        findings.push(Finding { rule: asked.slug.to_owned(), message, ..Finding::default() });
    }
    let notes = &found.notes;
    let worse = notes.quality.iter().map(|note| format!("declared, but not recommended: {note}"));
    let citations = asked.citations.iter().map(|citation| Citation {
        section: citation.section.to_owned(),
        url: Some(citation.url.to_owned()),
        quote: Some(citation.quote.to_owned()),
    });
    Case {
        verdict,
        level: Some(level(asked.level)),
        known: found.known.clone(),
        wall: found.took.as_secs_f64(),
        findings,
        remarks: notes.remarks.iter().chain(&notes.choices).cloned().chain(worse).collect(),
        citations: citations.collect(),
        parties,
        story,
        steps_omitted: omitted,
        ..Case::new(asked.slug.to_owned(), asked.rule.to_owned(), with_cases(again, &[asked.slug]))
    }
}

fn level(level: conformance::Level) -> Level {
    match level {
        conformance::Level::Must => Level::Must,
        conformance::Level::Should => Level::Should,
        conformance::Level::May => Level::May,
        conformance::Level::Declared => Level::Declared,
    }
}

/// The steps around the one that shows a failure; the last steps if there is none.
fn around(shown: Option<usize>, all: usize) -> Vec<usize> {
    let to = shown.map_or(all, |line| (line + 1 + STEPS_AFTER).min(all));
    (to.saturating_sub(STEPS_BEFORE + STEPS_AFTER)..to).collect()
}

fn parties(transcript: &Transcript) -> Vec<Party> {
    let server = Party { name: "server".to_owned(), kind: PartyKind::Server };
    let clients = transcript.clients.iter().map(|name| Party { name: name.clone(), kind: PartyKind::Client });
    std::iter::once(server).chain(clients).collect()
}

fn story(transcript: &Transcript) -> (Vec<Step>, usize) {
    let step = |line: &transcript::Line| {
        let client = line.client + 1;
        let (who, to) = match line.kind {
            transcript::LineKind::Sends => (client, Some(SERVER)),
            transcript::LineKind::Hears => (SERVER, Some(client)),
            transcript::LineKind::Note => (client, None),
        };
        Step {
            at: line.at.as_secs_f64(),
            layer: Layer::Signaling,
            who: vec![who],
            to,
            text: line.text.clone(),
            bytes: (line.bytes > line.text.len()).then_some(line.bytes),
            tone: Tone::Plain,
            event: None,
            frame: None,
        }
    };
    (transcript.lines.iter().map(step).collect(), transcript.omitted)
}
