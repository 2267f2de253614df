//! One self-contained page: it needs no network, and a result's texts never become markup.

mod cases;
mod changes;
mod chart;
mod events;
mod failure;
mod links;
mod run;
mod sequence;
mod story;
mod topology;
mod trend;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(crate) use chart::histogram;

use crate::history::History;
use crate::html::changes::Changes;
use crate::model::{Case, Finding, Suite, Verdict};
use crate::result::{Overall, Results};
use crate::standing;
use crate::summary::{headline, is_control};
use crate::text::thousands;

/// Maximum number of characters shown of a text; the result's files contain longer ones in full.
const TEXT_CHARS_MAX: usize = 2_000;
/// Maximum number of cases shown with details.
const FAILURES_MAX: usize = 50;

/// The page of one result, or of several side by side.
///
/// # Panics
/// Without a result.
pub fn html(results: &[Results]) -> String {
    html_with_history(results, &History::default())
}

/// The same, with trend lines of earlier results.
///
/// # Panics
/// Without a result.
pub fn html_with_history(results: &[Results], history: &History) -> String {
    let first = results.first().expect("a page shows at least one result");
    let title = format!("{} · {}", worst(results).word(), shown(&first.opening.name));
    // For many seeds the grid is most useful; for conformance cases, the failures.
    let seeds = results.iter().all(|results| results.opening.suite == Suite::Sim);
    let changes = Changes::of(results);
    let changes = changes.as_ref();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title, ""))
            body {
                a.skip href="#main" { "Skip to the findings" }
                (masthead(results, changes))
                main #main {
                    @if seeds { (cases::section(results, changes)) }
                    (failure::section(results, changes))
                    @if !seeds { (cases::section(results, changes)) }
                    (trend::section(history))
                    @for (number, results) in results.iter().enumerate() { (run::section(results, number)) }
                }
                footer {
                    @for results in results {
                        p { (shown(&results.opening.tool)) " · " (shown(&results.opening.target)) " · " (copyable(&results.opening.command)) }
                    }
                    p.keys { kbd { "n" } " " kbd { "p" } " next and previous failure · " kbd { "/" } " filter · " kbd { "Esc" } " leave the filter · " kbd { "t" } " light or dark" }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// What stands in the head of every page. `style` follows the style that all share. A page loads nothing.
pub(crate) fn head(title: &str, style: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta http-equiv="Content-Security-Policy"
                content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
            title { (title) }
            style { (PreEscaped(include_str!("style.css"))) (PreEscaped(style)) }
        }
    }
}

fn masthead(results: &[Results], changes: Option<&Changes>) -> Markup {
    let overall = worst(results);
    let first = &results[0];
    html! {
        header.masthead.(class_of(overall)) {
            div.inner {
                p.brand { "glare " (first.opening.suite.word()) }
                button #theme type="button" aria-label="Switch between light and dark" { (PreEscaped(HALF_MOON)) }
                h1 {
                    span.verdict { (overall_icon(overall)) (overall.word()) }
                    " "
                    span.name {
                        @if results.len() == 1 { (shown(&first.opening.name)) }
                        @else { (results.len()) " results" }
                    }
                }
                @if let [only] = results {
                    @if let Some((case, finding)) = first_finding(only) {
                        p.lead { (prose(&format!("{}: {}", finding.rule, finding.message))) }
                        (failure::causes(case, finding))
                    }
                    p.sub { (headline(only)) @if let Some(about) = about(only) { " · " (about) } }
                    @if let Some(replay) = again(only) { p.again { span.label { "Replay" } " " (copyable(replay)) } }
                }
                @if let Some(changes) = changes { p.lead { (changes.sentence()) } }
                @if overall == Overall::CutOff || results.iter().any(|results| results.closing.is_none()) {
                    p.warning role="alert" { "The result file is truncated: the program that wrote it did not finish. The page shows what it had written." }
                }
                dl.facts { @for (name, value) in facts(results) { div { dt { (name) } dd { (value) } } } }
            }
        }
    }
}

/// The first finding of a failing case.
fn first_finding(results: &Results) -> Option<(&Case, &Finding)> {
    let case = results.bad().next()?;
    Some((case, case.findings.first()?))
}

/// The command that replays the first failure, or the only run.
fn again(results: &Results) -> Option<&str> {
    let only = || Some(&results.cases).filter(|cases| cases.len() == 1)?.first();
    results.bad().next().or_else(only).map(|case| case.replay.as_str())
}

/// A summary of a simulation in one line.
fn about(results: &Results) -> Option<String> {
    let case = results.cases.first().filter(|_| results.opening.suite == Suite::Sim)?;
    Some(shown(&case.title))
}

fn facts(results: &[Results]) -> Vec<(&'static str, String)> {
    let cases: Vec<&Case> = results.iter().flat_map(|results| &results.cases).collect();
    let mut facts = Vec::new();
    let sim = results.iter().all(|results| results.opening.suite == Suite::Sim);
    for verdict in Verdict::ALL {
        let count = cases.iter().filter(|case| case.verdict == verdict).count();
        if count > 0 && cases.len() > 1 {
            facts.push((verdict.word(), thousands(count)));
        }
    }
    if let [case] = &cases[..]
        && let Some(simulation) = &case.simulation
    {
        facts.push(("seed", simulation.seed.to_string()));
        if !simulation.pairs.is_empty() {
            facts.push(("connections", shown(&standing::headline(&simulation.pairs))));
        }
        facts.push(("simulated", format!("{} s", simulation.duration)));
        facts.push(("events", thousands(simulation.events)));
        if let Some(hash) = &simulation.hash {
            facts.push(("event hash", shown(hash)));
        }
    }
    let wall: f64 = results.iter().filter_map(|results| results.closing).map(|closing| closing.wall).sum();
    if wall > 0.0 {
        facts.push((if sim { "real time" } else { "took" }, duration(wall)));
    }
    if let [only] = results
        && only.opening.suite != Suite::Sim
    {
        facts.push(("target", shown(&only.opening.target)));
    }
    facts
}

fn worst(results: &[Results]) -> Overall {
    let rank = |overall| match overall {
        Overall::Fail => 0,
        Overall::CutOff => 1,
        Overall::Error => 2,
        Overall::Untested => 3,
        Overall::Nothing => 4,
        Overall::Pass => 5,
    };
    results.iter().map(Results::verdict).min_by_key(|overall| rank(*overall)).unwrap_or(Overall::Nothing)
}

fn class_of(overall: Overall) -> &'static str {
    match overall {
        Overall::Pass => "pass",
        Overall::Fail => "fail",
        _ => "odd",
    }
}

fn overall_icon(overall: Overall) -> Markup {
    icon(match overall {
        Overall::Pass => Verdict::Pass,
        Overall::Fail => Verdict::Fail,
        _ => Verdict::HarnessError,
    })
}

/// A sentence; text between backticks becomes code.
pub(crate) fn prose(text: &str) -> Markup {
    let text = shown(text);
    let parts: Vec<_> = text.split('`').collect();
    // A single backtick stays a backtick.
    if parts.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! { @for (index, part) in parts.iter().enumerate() { @if index % 2 == 1 { code { (part) } } @else { (part) } } }
}

/// The icon of a verdict. Each has its own shape, for readers who cannot distinguish the colors.
fn icon(verdict: Verdict) -> Markup {
    let path = match verdict {
        Verdict::Pass => "M3.5 8.5l3 3 6-7",
        Verdict::Acceptable => "M3 9q2.5-4 5-1t5-1",
        Verdict::Fail => "M4 4l8 8M12 4l-8 8",
        Verdict::Unsupported => "M4 8h8",
        Verdict::NotTested => "M8 3.5v5M8 12v.2",
        Verdict::HarnessError => "M8 3v6M8 12.4v.2",
    };
    html! { svg.icon viewBox="0 0 16 16" aria-hidden="true" { path d=(path); } }
}

fn verdict_chip(verdict: Verdict) -> Markup {
    html! { span.chip.(verdict.slug()) { (icon(verdict)) (verdict.word()) } }
}

/// A command with a button that copies it.
pub(crate) fn copyable(command: &str) -> Markup {
    let command = shown(command);
    html! { span.copy { code { (command) } button type="button" data-copy=(command) aria-label="Copy the command" { "Copy" } } }
}

/// A duration in a readable unit.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
    }
}

/// A text that is safe to show: of limited length, without bidirectional marks and control characters. maud escapes the
/// rest.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == TEXT_CHARS_MAX {
            out.push_str(&format!("… ({} bytes)", thousands(text.len())));
            break;
        }
        match c {
            '\n' => out.push(c),
            c if is_control(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A URL that is allowed in a link: only HTTP and HTTPS.
pub(crate) fn link(url: &str) -> Option<&str> {
    (url.starts_with("https://") || url.starts_with("http://")).then_some(url)
}

/// What identifies a case of result number `number` on the page.
fn key(number: usize, id: &str) -> String {
    if number == 0 { shown(id) } else { format!("{} {}", number + 1, shown(id)) }
}

/// The same, valid in an `id` and after a `#`.
fn anchor(number: usize, id: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    format!("case-{}", key(number, id).chars().take(120).map(fits).collect::<String>())
}

/// What distinguishes one of several results: its target, or its place and its folder if all have the same target.
fn column_name(results: &[Results], number: usize) -> String {
    let target = &results[number].opening.target;
    if results.iter().filter(|other| other.opening.target == *target).count() == 1 {
        return shown(target);
    }
    let place =
        ["first", "second"].get(number).map_or_else(|| format!("no. {}", number + 1), |&place| place.to_owned());
    match results[number].dir.file_name().and_then(|name| name.to_str()) {
        Some(name) => format!("{place}: {}", shown(name)),
        None => place,
    }
}

/// JSON that is safe in a `script` element: nothing in it ends the element.
pub(crate) fn json_island(json: &str) -> PreEscaped<String> {
    PreEscaped(json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
}

/// What the page does, one file per part of it.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("script/page.js"),
    include_str!("script/sideways.js"),
    include_str!("script/cases.js"),
    include_str!("script/events.js"),
    include_str!("script/story.js"),
    "})();\n"
);

pub(crate) const HALF_MOON: &str = r#"<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="5.5"/><path d="M8 2.5a5.5 5.5 0 0 1 0 11z" class="solid"/></svg>"#;
