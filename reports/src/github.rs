//! Annotations of GitHub Actions: workflow commands on standard output.

use std::fmt::Write as _;

use crate::model::{Case, Verdict};
use crate::result::Results;
use crate::summary;
use crate::words::{account, headline, text};

/// Maximum number of annotations; GitHub shows ten per step.
const WRITTEN_MAX: usize = 50;

/// Results as workflow commands: an `error` per failing case, a `warning` per harness error, and a `notice` with the
/// summary.
pub fn github(results: &[Results]) -> String {
    let mut out = String::new();
    for result in results {
        for case in result.bad().take(WRITTEN_MAX) {
            annotate(&mut out, case);
        }
        let name = format!("{} {}", result.verdict().word(), text(&result.opening.name));
        // Writing to a string never fails.
        let _ = writeln!(out, "::notice title={}::{}", property(&name), data(&summary::headline(result)));
    }
    out
}

fn annotate(out: &mut String, case: &Case) {
    let command = if case.verdict == Verdict::HarnessError { "warning" } else { "error" };
    let place = case.location.as_ref().map_or_else(String::new, |location| {
        format!("file={},line={},", property(&text(&location.file)), location.line.unwrap_or(1))
    });
    let title = property(&text(&case.id));
    let message = data(&format!("{}\n\n{}", headline(case), account(case)));
    let _ = writeln!(out, "::{command} {place}title={title}::{message}");
}

/// Escapes a message, whose line feeds must not end the command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property; properties are separated by commas.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
