//! A result for the terminal: the verdict, the counts, and each failure with its evidence.

use std::fmt::{self, Write as _};

use crate::evidence;
use crate::model::{Case, Finding, Suite, Tone, Verdict};
use crate::result::{Overall, Results};
use crate::style::{FAIL, FAINT, HEADING, ODD, PASS};
use crate::table::{Table, Width};
use crate::text::{shortened, thousands};

/// Maximum number of cases shown with details.
const SHOWN_MAX: usize = 10;

/// A result as text. Always with color codes, which the stream removes if it is not a terminal.
pub fn summary(results: &Results, width: Width) -> String {
    let mut out = String::new();
    write(&mut out, results, width).expect("writing to a string cannot fail");
    out
}

fn write(out: &mut String, results: &Results, width: Width) -> fmt::Result {
    let overall = results.verdict();
    let style = match overall {
        Overall::Pass => PASS,
        Overall::Fail => FAIL,
        _ => ODD,
    };
    let opening = &results.opening;
    let name = clean(&opening.name);
    writeln!(out, "{style}{}{style:#}  {HEADING}{name}{HEADING:#}: {}", overall.word(), headline(results))?;
    let wall = results.closing.map(|closing| format!(" · {:.1} s", closing.wall)).unwrap_or_default();
    let (suite, target, tool) = (opening.suite.word(), clean(&opening.target), clean(&opening.tool));
    writeln!(out, "{FAINT}{suite} · {target} · {tool}{wall}{FAINT:#}")?;
    let bad: Vec<_> = results.bad().collect();
    for case in bad.iter().take(SHOWN_MAX) {
        failure(out, case, width)?;
    }
    if bad.len() > SHOWN_MAX {
        writeln!(out, "\n… and {} more cases", thousands(bad.len() - SHOWN_MAX))?;
    }
    writeln!(out, "\n{HEADING}Made by{HEADING:#}  {}", clean(&opening.command))
}

/// The whole result in one line: `7 of 1,000 cases fail, 3 not tested`.
pub(crate) fn headline(results: &Results) -> String {
    let mut counts = results.counts();
    // What does not apply to the server says nothing about it.
    let all = results.cases.len() - counts.unsupported;
    let known = results.with(Verdict::Fail).filter(|case| case.known.is_some()).count();
    counts.fail -= known;
    let noun = if results.opening.suite == Suite::Sim { "run" } else { "case" };
    let plural = if all == 1 { noun.to_owned() } else { format!("{noun}s") };
    let mut parts = Vec::new();
    if results.closing.is_none() {
        parts.push(format!("the file is truncated after {} {plural}", thousands(results.cases.len())));
    }
    match counts.fail {
        0 if counts.pass == results.cases.len()
            && all > 0
            && results.bad().next().is_none()
            && results.closing.is_some() =>
        {
            let (who, s) = if all == 1 { ("the", "es") } else { ("all", "") };
            let number = if all == 1 { String::new() } else { format!("{} ", thousands(all)) };
            return format!("{who} {number}{plural} pass{s}");
        }
        0 => parts.push(format!("{} of {} {plural} pass", thousands(counts.pass), thousands(all))),
        1 if results.cases.len() == 1 && results.closing.is_some() => return format!("the {noun} fails"),
        failed => {
            let s = if failed == 1 { "s" } else { "" };
            parts.push(format!("{} of {} {plural} fail{s}", thousands(failed), thousands(all)));
        }
    }
    for verdict in [Verdict::Acceptable, Verdict::Unsupported, Verdict::NotTested, Verdict::HarnessError] {
        match counts.of(verdict) {
            0 => {}
            1 => parts.push(format!("1 {verdict}")),
            many if verdict == Verdict::HarnessError => parts.push(format!("{} harness errors", thousands(many))),
            many => parts.push(format!("{} {verdict}", thousands(many))),
        }
    }
    if known > 0 {
        parts.push(format!("{} known to fail", thousands(known)));
    }
    match results.cases.iter().filter(|case| case.is_bad() && case.known.is_some()).count() {
        0 => {}
        1 => parts.push("1 passes but is known to fail".to_owned()),
        many => parts.push(format!("{} pass but are known to fail", thousands(many))),
    }
    parts.join(", ")
}

fn failure(out: &mut String, case: &Case, width: Width) -> fmt::Result {
    let (id, title, verdict) = (clean(&case.id), clean(&case.title), case.verdict.word().to_uppercase());
    writeln!(out, "\n{FAIL}{verdict}{FAIL:#}  {HEADING}{id}{HEADING:#}  {FAINT}{title}{FAINT:#}")?;
    for finding in &case.findings {
        writeln!(out, "  {}: {}", clean(&finding.rule), clean(&finding.message))?;
        let causes = evidence::causes(case, finding);
        if !causes.is_empty() {
            writeln!(out, "  before it: {}", clean(&causes.join("; ")))?;
        }
        if let Some(promise) = finding.promise.as_ref().filter(|promise| **promise != case.title) {
            writeln!(out, "  {FAINT}promised: {}{FAINT:#}", clean(promise))?;
        }
        out.push_str(&steps(case, finding, width));
    }
    for citation in &case.citations {
        let quote = citation.quote.as_ref().map(|quote| format!(": “{}”", clean(quote))).unwrap_or_default();
        writeln!(out, "  {FAINT}{}{quote}{FAINT:#}", clean(&citation.section))?;
    }
    writeln!(out, "  {HEADING}replay{HEADING:#}  {}", clean(&case.replay))
}

fn steps(case: &Case, finding: &Finding, width: Width) -> String {
    let name = |party: &usize| case.parties.get(*party).map_or("?", |party| party.name.as_str());
    let mut table = Table::indented(4).right(0);
    for index in &finding.steps {
        let Some(step) = case.story.get(*index) else { continue };
        let mut who: String = step.who.iter().map(name).collect::<Vec<_>>().join(", ");
        if let Some(to) = &step.to {
            let _ = write!(who, " → {}", name(to));
        }
        let tone = crate::style::of_step(if finding.step == Some(*index) { Tone::Bad } else { step.tone });
        let text = clean(&shortened(&step.text));
        let at = format!("{FAINT}{:.3} s{FAINT:#}", step.at);
        table.row([at, clean(&who), format!("{tone}{text}{tone:#}")]);
    }
    table.text(width)
}

/// A text that is safe on a terminal: characters that could move the cursor, or change colors or the direction of the
/// text, are shown as code points.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters, marks that change the text direction (Unicode Bidirectional Algorithm, UAX #9), and the two
/// noncharacters below U+10000 that XML forbids.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}
