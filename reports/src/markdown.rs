//! Markdown for a comment on a pull request, or for the summary of a CI step.

use std::fmt::Write as _;

use crate::model::{Case, Verdict};
use crate::result::{Overall, Results};
use crate::summary;
use crate::text::{shortened, thousands};
use crate::words::{account, headline, text};

/// Maximum size of a comment: GitHub accepts 65,536 characters.
const BYTES_MAX: usize = 60_000;
/// Maximum number of failures in the table.
const LISTED_MAX: usize = 50;
/// Maximum number of failures with details, collapsed below the table.
const SHOWN_MAX: usize = 10;

/// Results as Markdown, one section per result.
pub fn markdown(results: &[Results]) -> String {
    let mut out = String::new();
    for result in results {
        section(&mut out, result);
    }
    if out.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|end| out.is_char_boundary(*end)).unwrap_or(0);
        out.truncate(end);
        // If the text was cut inside of a details element or a code fence, it must be closed.
        out.push_str("\n\n````\n</details>\n\n… truncated: the full text is in the result's folder\n");
    }
    out
}

fn section(out: &mut String, result: &Results) {
    let mark = match result.verdict() {
        Overall::Pass => "✅",
        Overall::Fail => "❌",
        _ => "⚠️",
    };
    let opening = &result.opening;
    // Writing to a string cannot fail.
    let _ = writeln!(out, "### {mark} {}: {}\n", inline(&opening.name), summary::headline(result));
    let _ = writeln!(out, "{} on {} · {}\n", opening.suite.word(), inline(&opening.target), inline(&opening.tool));
    if result.closing.is_none() {
        let _ = writeln!(out, "**The result file is truncated**: the program that wrote it did not finish.\n");
    }
    let bad: Vec<_> = result.bad().collect();
    if !bad.is_empty() {
        let _ = writeln!(out, "| | case | problem | replay |\n|---|---|---|---|");
        for case in bad.iter().take(LISTED_MAX) {
            let (id, what, again) = (inline(&case.id), inline(&shortened(&headline(case))), code(&case.replay));
            let _ = writeln!(out, "| {} | {id} | {what} | {again} |", icon(case.verdict));
        }
        if bad.len() > LISTED_MAX {
            let _ = writeln!(out, "\n… and {} more", thousands(bad.len() - LISTED_MAX));
        }
        let _ = writeln!(out);
        bad.iter().take(SHOWN_MAX).for_each(|case| fold(out, case));
    }
    let _ = writeln!(out, "<sub>made by {}</sub>\n", code(&opening.command));
}

fn fold(out: &mut String, case: &Case) {
    let account = account(case);
    let fence = fence(&account);
    let _ = writeln!(
        out,
        "<details><summary>{}</summary>\n\n{fence}text\n{account}{fence}\n</details>\n",
        inline(&case.id)
    );
}

/// The icon of a verdict.
fn icon(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✅",
        Verdict::Acceptable => "☑️",
        Verdict::Fail => "❌",
        Verdict::Unsupported | Verdict::NotTested => "⚪",
        Verdict::HarnessError => "⚠️",
    }
}

/// A fence longer than any in the text.
fn fence(inside: &str) -> String {
    let longest = inside.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat((longest + 1).max(4))
}

/// Escapes text, so that it is not read as markup, a table cell or a mention.
fn inline(words: &str) -> String {
    let mut out = String::new();
    for c in text(words).chars() {
        match c {
            '\n' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("@\u{200b}"),
            '\\' | '|' | '*' | '_' | '[' | ']' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    // Paired backticks mark code in a message; others are escaped.
    let pairs = out.matches('`').count().is_multiple_of(2) && !out.contains("``");
    if pairs { out } else { out.replace('`', "\\`") }
}

/// A command as code, also inside of a table.
fn code(command: &str) -> String {
    let command = text(command).replace('|', "\\|").replace('\n', " ");
    let ticks = "`".repeat(command.split(|c| c != '`').map(str::len).max().unwrap_or(0) + 1);
    let space = if command.contains('`') { " " } else { "" };
    format!("{ticks}{space}{command}{space}{ticks}")
}
