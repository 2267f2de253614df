//! The differences as text.

use std::fmt::{self, Write as _};

use super::{Diff, Failing, SideBySide, Timing, grouped};
use crate::style::{FAIL, FAINT, HEADING, ODD, PASS};
use crate::table::{Table, Width};
use crate::text::thousands;
use crate::words;

/// Maximum number of newly failing cases shown with details.
const SHOWN_MAX: usize = 20;
/// Maximum number of changed behaviors shown side by side.
const BEHAVIOURS_MAX: usize = 3;

impl Diff {
    /// The differences for a terminal. Always with color codes, which the stream removes if it is not a terminal.
    pub fn text(&self, width: Width) -> String {
        let mut out = String::new();
        self.write(&mut out, width).expect("writing to a string cannot fail");
        out
    }

    fn write(&self, out: &mut String, width: Width) -> fmt::Result {
        let compared = thousands(self.compared);
        let cases = if self.compared == 1 { "case" } else { "cases" };
        if self.is_regression() {
            let failing = thousands(self.newly_failing.len());
            writeln!(out, "{FAIL}REGRESSION{FAIL:#}  {failing} of {compared} {cases} newly failing")?;
        } else if self.is_empty() {
            writeln!(out, "{PASS}SAME{PASS:#}  {compared} {cases}, nothing changed")?;
        } else {
            writeln!(out, "{PASS}NO REGRESSION{PASS:#}  {compared} {cases} compared")?;
        }
        for failing in self.newly_failing.iter().take(SHOWN_MAX) {
            newly_failing(out, failing)?;
        }
        if self.newly_failing.len() > SHOWN_MAX {
            let rest = self.newly_failing[SHOWN_MAX..].iter().map(|failing| failing.id.as_str());
            list(out, "More newly failing", rest)?;
        }
        list(out, "Fixed", self.fixed.iter().map(String::as_str))?;
        list(out, "Still failing", self.still_failing.iter().map(String::as_str))?;
        for flaky in &self.flaky {
            let ((old, of_old), (new, of_new)) = (flaky.before, flaky.now);
            let id = words::text(&flaky.id);
            writeln!(out, "\n{ODD}Flaky{ODD:#}  {id}: failed {old} of {of_old} times before, {new} of {of_new} now")?;
        }
        for (id, verdict) in &self.no_longer_tested {
            writeln!(out, "\n{ODD}No longer tested{ODD:#}  {}: {verdict}", words::text(id))?;
        }
        self.changed(out)?;
        if !self.timing.is_empty() {
            writeln!(out, "\n{ODD}Timing{ODD:#}  medians that changed by more than the noise")?;
            let mut table = Table::indented(2);
            self.timing.iter().for_each(|timing| timing_row(&mut table, timing));
            out.push_str(&table.text(width));
        }
        let failing = |failing: bool| self.added.iter().filter(move |(_, verdict)| verdict.is_failure() == failing);
        list(out, "Added", failing(false).map(|(id, _)| id.as_str()))?;
        list(out, "Added, and failing", failing(true).map(|(id, _)| id.as_str()))?;
        list(out, "Removed", self.removed.iter().map(String::as_str))
    }

    fn changed(&self, out: &mut String) -> fmt::Result {
        list(out, "Passes, but behaves differently", self.behaviour.iter().map(|changed| changed.id.as_str()))?;
        let looked_into = self.behaviour.iter().filter_map(|changed| Some((changed, changed.first.as_ref()?)));
        for (changed, first) in looked_into.take(BEHAVIOURS_MAX) {
            writeln!(out, "  {}", words::text(&changed.id))?;
            side_by_side(out, first)?;
        }
        Ok(())
    }
}

fn newly_failing(out: &mut String, failing: &Failing) -> fmt::Result {
    writeln!(out, "\n{FAIL}Newly failing{FAIL:#}  {HEADING}{}{HEADING:#}", words::text(&failing.id))?;
    for (rule, message) in &failing.rules {
        writeln!(out, "  {}: {}", words::text(rule), words::text(message))?;
    }
    if let Some(first) = &failing.first {
        side_by_side(out, first)?;
    }
    writeln!(out, "  {HEADING}replay{HEADING:#}  {}", words::text(&failing.replay))
}

fn side_by_side(out: &mut String, first: &SideBySide) -> fmt::Result {
    let SideBySide { index, of, common, before, now } = first;
    writeln!(out, "  {FAINT}the first difference is {of} {index}:{FAINT:#}")?;
    for line in common {
        writeln!(out, "    {FAINT}  {}{FAINT:#}", short(line))?;
    }
    let shown = |line: &Option<String>| line.as_deref().map_or_else(|| "nothing: it ended earlier".to_owned(), short);
    writeln!(out, "    {FAIL}- {}{FAIL:#}", shown(before))?;
    writeln!(out, "    {PASS}+ {}{PASS:#}", shown(now))
}

fn timing_row(table: &mut Table, timing: &Timing) {
    let slower = timing.now > timing.before;
    let word = if slower { format!("{FAIL}slower{FAIL:#}") } else { format!("{PASS}faster{PASS:#}") };
    let clock = if timing.is_virtual { "virtual" } else { "real" };
    let Timing { before, now, band, samples: (old, new), .. } = timing;
    table.row([
        words::text(&timing.what),
        word,
        format!("{before:.3} s → {now:.3} s"),
        format!("{clock}, noise ±{band:.3} s {FAINT}({old} and {new} samples){FAINT:#}"),
    ]);
}

fn list<'a>(out: &mut String, heading: &str, ids: impl Iterator<Item = &'a str> + Clone) -> fmt::Result {
    if ids.clone().next().is_none() {
        return Ok(());
    }
    writeln!(out, "\n{HEADING}{heading}{HEADING:#}  {}", thousands(ids.clone().count()))?;
    grouped(ids).iter().take(40).try_for_each(|group| writeln!(out, "  {}", words::text(group)))
}

fn short(line: &str) -> String {
    crate::text::shortened(&words::text(line))
}
