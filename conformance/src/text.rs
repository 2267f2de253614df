//! The report for people.

use std::fmt::{self, Write as _};
use std::ops::Range;

use anstyle::Style;

use crate::diagram::diagram;
use crate::recording::Recording;
use crate::style::{FAIL, FAINT, HEADING, ODD, PASS};
use crate::transcript::{Line, LineKind, Transcript};
use crate::verdict::{CaseReport, Report, Verdict};
use crate::words::{cut, human, wrapped};

/// Longer messages are cut.
const MESSAGE_CHARS_MAX: usize = 220;
/// How many transcript lines are shown before the one that shows the failure, and after it.
const LINES_BEFORE: usize = 24;
const LINES_AFTER: usize = 3;

/// How to show a report.
#[derive(Clone, Copy, Debug)]
pub struct Show<'a> {
    /// The command that runs one case again once `--case SLUG` is added, as [`with_cases`] does.
    pub again: &'a str,
    /// The command that replays a recording, with `FILE` for the name of its file. `None`: there are no recordings.
    pub replay: Option<&'a str>,
    /// The width of the screen in columns; a diagram that does not fit is left out.
    pub columns: usize,
    /// Whether to wrap the table of cases at that width, as on a terminal. In a file or a pipe, a case has one line.
    pub wrap: bool,
    /// Whether to use only ASCII characters for symbols and frames.
    pub ascii: bool,
    /// Whether to list the cases that do not apply, each with the reason.
    pub verbose: bool,
}

/// A command of `conformance` that runs only some cases. The command that starts the server, after ` -- `, stays last.
///
/// ```
/// let again = conformance::with_cases("glare conformance --url ws://a/ -- node server.js", &["ws/oversize"]);
/// assert_eq!(again, "glare conformance --url ws://a/ --case ws/oversize -- node server.js");
/// ```
#[must_use]
pub fn with_cases(command: &str, slugs: &[&str]) -> String {
    let slugs = slugs.join(" ");
    match command.split_once(" -- ") {
        Some((conformance, server)) => format!("{conformance} --case {slugs} -- {server}"),
        None => format!("{command} --case {slugs}"),
    }
}

impl<'a> Show<'a> {
    /// For a file: 120 columns for diagrams, all cases, without recordings.
    pub fn new(again: &'a str) -> Self {
        Self { again, replay: None, columns: 120, wrap: false, ascii: false, verbose: true }
    }
}

impl Report {
    /// The report: the result, the cases, and each failure with its transcript as a list and as a diagram. Below
    /// failures, the result again: there it is in view.
    pub fn text(&self, show: Show<'_>) -> String {
        let mut out = String::new();
        self.write(&mut out, show).expect("a string takes all that is written");
        if show.ascii { ascii(&out) } else { out }
    }

    /// The result in one line.
    fn headline(&self) -> Result<String, fmt::Error> {
        let out = &mut String::new();
        let count = |wanted: fn(&Verdict) -> bool| self.cases.iter().filter(|case| wanted(&case.verdict)).count();
        let failed =
            self.cases.iter().filter(|case| matches!(case.verdict, Verdict::Fail { .. }) && case.known.is_none());
        let failed = failed.count();
        let surprises = self.cases.iter().filter(|case| case.known.is_some() && !case.is_well()).count();
        let unsupported = count(|verdict| matches!(verdict, Verdict::Unsupported { .. }));
        let known = self.cases.iter().filter(|case| case.known.is_some() && case.is_well()).count();
        let quality = self.cases.iter().filter(|case| !case.notes.quality.is_empty()).count();
        let not_tested = self
            .cases
            .iter()
            .filter(|case| matches!(case.verdict, Verdict::NotTested { .. }) && !case.is_well())
            .count();
        let broken = count(|verdict| matches!(verdict, Verdict::HarnessError { .. }));
        let applicable = self.cases.len() - unsupported;
        let url = &self.url;
        if self.passed() {
            write!(
                out,
                "{PASS}PASS{PASS:#}  {HEADING}{url}{HEADING:#}: {}",
                plural(applicable - known, "case passes", "cases pass")
            )?;
        } else {
            write!(out, "{FAIL}FAIL{FAIL:#}  {HEADING}{url}{HEADING:#}: {failed} of {applicable} cases fail")?;
            if not_tested > 0 {
                write!(out, ", {not_tested} not tested")?;
            }
            if surprises > 0 {
                write!(out, ", {surprises} known to fail now pass")?;
            }
            if broken > 0 {
                write!(out, ", {}", plural(broken, "harness error", "harness errors"))?;
            }
        }
        if known > 0 {
            write!(out, ", {known} deviate as known")?;
        }
        if unsupported > 0 {
            write!(out, ", {unsupported} unsupported")?;
        }
        if quality > 0 {
            write!(out, ", {} declared and not good", plural(quality, "behaviour is", "behaviours are"))?;
        }
        Ok(std::mem::take(out))
    }

    fn write(&self, out: &mut String, show: Show<'_>) -> fmt::Result {
        let headline = self.headline()?;
        writeln!(out, "{headline}")?;
        let (round_trip, patience, took) = (human(self.round_trip), human(self.patience), human(self.took));
        writeln!(
            out,
            "{FAINT}dialect {} · round trip {round_trip}, so the limit for each message is {patience} · {took}{FAINT:#}\n",
            self.dialect
        )?;
        let width = self.cases.iter().map(|case| case.case.slug.len()).max().unwrap_or_default();
        // Verdict, slug and level come before the rule.
        let rules_from = 2 + 10 + 2 + width + 2 + 8 + 2;
        let room = if show.wrap { show.columns.saturating_sub(rules_from) } else { usize::MAX };
        let gap = " ".repeat(rules_from);
        let mut folded = 0;
        for case in &self.cases {
            let (style, verdict) = word(case);
            let (slug, level, rule) = (case.case.slug, case.case.level, case.case.rule);
            if let Verdict::Unsupported { why } = &case.verdict {
                if show.verbose {
                    let why = wrapped(why, room, &gap);
                    writeln!(out, "  {FAINT}{:<10}  {slug:<width$}  {level:<8}  {why}{FAINT:#}", "–")?;
                } else {
                    folded += 1;
                }
                continue;
            }
            let rule = wrapped(rule, room, &gap);
            writeln!(out, "  {style}{verdict:<10}{style:#}  {slug:<width$}  {FAINT}{level:<8}{FAINT:#}  {rule}")?;
            let mut below = |mark: &str, style: Style, text: &str| {
                let text = wrapped(&format!("{mark} {text}"), room, &gap);
                writeln!(out, "{gap}{style}{text}{style:#}")
            };
            if let Some(reason) = &case.known {
                below("known:", FAINT, reason)?;
            }
            case.notes.quality.iter().try_for_each(|finding| below("not good:", ODD, finding))?;
            if case.is_well() {
                let notes = case.notes.choices.iter().chain(&case.notes.remarks);
                notes.into_iter().try_for_each(|remark| below("·", FAINT, remark))?;
            }
        }
        if folded > 0 {
            let cases = plural(folded, "case does", "cases do");
            writeln!(
                out,
                "  {FAINT}{:<10}  {cases} not apply here; --verbose lists them with the reasons{FAINT:#}",
                "–"
            )?;
        }
        for requirement in &self.requirements {
            let (style, word) = if requirement.met() { (PASS, "met") } else { (FAIL, "NOT MET") };
            writeln!(
                out,
                "\n  {style}{word:<10}{style:#}  {HEADING}{}{HEADING:#}  {}",
                requirement.id, requirement.text
            )?;
            for (slug, _) in requirement.cases.iter().filter(|(_, shows)| !shows) {
                writeln!(out, "  {:<10}  {FAINT}· {slug} did not pass{FAINT:#}", "")?;
            }
        }
        let bad: Vec<_> = self.cases.iter().filter(|case| !case.is_well()).collect();
        bad.iter().try_for_each(|case| failure(out, self, case, show))?;
        if bad.is_empty() { Ok(()) } else { writeln!(out, "\n{headline}") }
    }
}

fn plural(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn word(report: &CaseReport) -> (Style, &'static str) {
    match &report.verdict {
        Verdict::Fail { .. } | Verdict::NotTested { .. } if report.known.is_some() => (ODD, "known"),
        _ if report.known.is_some() && !report.is_well() => (FAIL, "PASSES"),
        Verdict::Pass => (PASS, "pass"),
        Verdict::Acceptable { .. } => (PASS, "acceptable"),
        Verdict::Fail { .. } => (FAIL, "FAIL"),
        Verdict::Unsupported { .. } => (FAINT, "–"),
        Verdict::NotTested { .. } => (ODD, "not tested"),
        Verdict::HarnessError { .. } => (ODD, "harness"),
    }
}

fn failure(out: &mut String, run: &Report, report: &CaseReport, show: Show<'_>) -> fmt::Result {
    let (why, line) = match &report.verdict {
        Verdict::Pass | Verdict::Acceptable { .. } | Verdict::Unsupported { .. } => {
            let reason = report.known.as_deref().unwrap_or_default();
            return writeln!(
                out,
                "\n{FAIL}PASSES{FAIL:#}  {HEADING}{}{HEADING:#}: it is a known deviation ({reason}), but it passes; remove it from the known deviations",
                report.case.slug
            );
        }
        Verdict::Fail { why, line } => (why, *line),
        Verdict::NotTested { why } | Verdict::HarnessError { why } => (why, None),
    };
    let (style, verdict) = word(report);
    writeln!(out, "\n{style}{verdict}{style:#}  {HEADING}{}{HEADING:#}: {why}", report.case.slug)?;
    // The case did not run: the report of the case that it needs says more.
    if report.transcript.lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {HEADING}rule{HEADING:#}   {}", report.case.rule)?;
    for citation in report.case.citations {
        writeln!(out, "  {HEADING}spec{HEADING:#}   {}: \"{}\"", citation.section, citation.quote)?;
        writeln!(out, "         {FAINT}{}{FAINT:#}", citation.url)?;
    }
    for remark in report.notes.choices.iter().chain(&report.notes.remarks) {
        writeln!(out, "  {HEADING}also{HEADING:#}   {remark}")?;
    }
    transcript(out, &report.transcript, line)?;
    draw(out, &report.transcript, line, show.columns)?;
    writeln!(out, "  {HEADING}again{HEADING:#}  {}", with_cases(show.again, &[report.case.slug]))?;
    match (show.replay, Recording::of(run, report)) {
        (Some(replay), Some(recording)) => {
            writeln!(out, "  {HEADING}replay{HEADING:#} {}", replay.replace("FILE", &recording.file_name()))
        }
        _ => Ok(()),
    }
}

/// The lines to show: those around the line that shows the failure, or the last ones if there is none.
fn window(transcript: &Transcript, shows: Option<usize>) -> Range<usize> {
    let all = transcript.lines.len();
    let to = shows.map_or(all, |line| (line + 1 + LINES_AFTER).min(all));
    to.saturating_sub(LINES_BEFORE + LINES_AFTER)..to
}

/// Draws those lines as a diagram, if it fits.
fn draw(out: &mut String, transcript: &Transcript, shows: Option<usize>, columns: usize) -> fmt::Result {
    let Some(lines) = diagram(transcript, window(transcript, shows), shows, columns) else { return Ok(()) };
    writeln!(out)?;
    for (here, line) in lines {
        let (style, mark) = if here { (FAIL, '!') } else { (Style::new(), ' ') };
        writeln!(out, " {FAIL}{mark}{FAIL:#}{style}{line}{style:#}")?;
    }
    writeln!(out)
}

/// A text with the symbols that an old terminal lacks replaced by ASCII.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if c.is_ascii() => out.push(c),
            '→' | '▶' => out.push('>'),
            '←' | '◀' => out.push('<'),
            '·' => out.push('*'),
            '–' | '─' => out.push('-'),
            '│' => out.push('|'),
            '┼' => out.push('+'),
            '…' => out.push_str("..."),
            '§' => out.push_str("section "),
            _ => out.push('?'),
        }
    }
    out
}

fn transcript(out: &mut String, transcript: &Transcript, shows: Option<usize>) -> fmt::Result {
    let (all, Range { start: from, end: to }) = (transcript.lines.len(), window(transcript, shows));
    if from > 0 {
        writeln!(out, "  {FAINT}{:>10}  … {}{FAINT:#}", "", plural(from, "earlier line", "earlier lines"))?;
    }
    let width = transcript.clients.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    for (index, Line { at, client, kind, text, bytes }) in transcript.lines.iter().enumerate().take(to).skip(from) {
        let name = transcript.clients.get(*client).map_or("?", String::as_str);
        let here = shows == Some(index);
        let (style, mark) = if here { (FAIL, '!') } else { (Style::new(), ' ') };
        let arrow = match kind {
            LineKind::Sends => '→',
            LineKind::Hears => '←',
            LineKind::Note => '·',
        };
        let (ms, shown) = (at.as_secs_f64() * 1e3, cut(text, MESSAGE_CHARS_MAX));
        let more = if shown.len() < *bytes { format!("… ({bytes} bytes)") } else { String::new() };
        writeln!(
            out,
            " {FAIL}{mark}{FAIL:#}{FAINT}{ms:>9.1} ms{FAINT:#}  {name:<width$} {style}{arrow} {shown}{more}{style:#}"
        )?;
    }
    let rest = all - to + transcript.omitted;
    if rest > 0 {
        writeln!(out, "  {FAINT}{:>10}  … {}{FAINT:#}", "", plural(rest, "later line", "later lines"))?;
    }
    Ok(())
}
