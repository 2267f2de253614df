//! The result of a replay, for people.

use std::fmt::{self, Write as _};

use super::{Played, Step, Unplayable};
use crate::style::{FAIL, FAINT, HEADING, ODD, PASS};
use crate::words::cut;

/// Longer messages are cut.
const MESSAGE_CHARS_MAX: usize = 220;

impl Played {
    /// The index of the first step that differs from the recording.
    pub fn differs(&self) -> Option<usize> {
        self.steps.iter().position(|step| !step.same)
    }

    /// The exchange; where a step differs, the recorded event is shown below the new one.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes all that is written");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let case = &self.head.case;
        let arrivals = self.steps.iter().filter(|step| !step.does);
        let (all, same) = (arrivals.clone().count(), arrivals.filter(|step| step.same).count());
        let first = self.differs();
        match first {
            None => write!(
                out,
                "{PASS}SAME{PASS:#}  {HEADING}{case}{HEADING:#} on {}: all arrivals are the same",
                self.url
            )?,
            Some(_) => {
                write!(out, "{FAIL}DIFFERS{FAIL:#}  {HEADING}{case}{HEADING:#} on {}: ", self.url)?;
                write!(out, "{same} of {all} arrivals are the same")?;
            }
        }
        let why = self.head.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        writeln!(out, "\n{FAINT}recorded at {}, verdict {}{why}{FAINT:#}\n", self.head.url, self.head.verdict)?;
        let width = self.head.clients.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        for (index, step) in self.steps.iter().enumerate() {
            let name = self.name(step.client);
            self.step(out, step, &format!("{name:<width$}"), first == Some(index))?;
        }
        for (client, text) in &self.further {
            writeln!(
                out,
                "   {FAINT}+{FAINT:#} {:<width$} {FAINT}← {} (beyond the recording){FAINT:#}",
                self.name(*client),
                short(text)
            )?;
        }
        if self.head.cut {
            writeln!(out, "   {FAINT}the recording ends here: more went over the wire than is kept{FAINT:#}")?;
        }
        if self.raced.is_some_and(|raced| first.is_some_and(|first| raced <= first)) {
            let raced = "clients raced each other before the first difference: it may be another outcome of the race";
            writeln!(out, "   {ODD}{raced}{ODD:#}")?;
        }
        if self.skipped > 0 {
            writeln!(out, "   {FAINT}requests over plain HTTP were not made again{FAINT:#}")?;
        }
        Ok(())
    }

    fn name(&self, client: usize) -> &str {
        self.head.clients.get(client).map_or("?", String::as_str)
    }

    fn step(&self, out: &mut String, step: &Step, name: &str, first: bool) -> fmt::Result {
        let now = step.now.as_deref().unwrap_or("nothing");
        if step.does {
            return writeln!(out, "     {name} → {}", short(now));
        }
        if step.same {
            return writeln!(out, "   {PASS}={PASS:#} {name} ← {}", short(now));
        }
        let (style, mark) = if first { (FAIL, '!') } else { (ODD, '≠') };
        let (now, then) = apart(now, &step.then);
        let gap = " ".repeat(name.chars().count());
        writeln!(out, " {style}{mark}{style:#} {FAINT}≠{FAINT:#} {name} ← {style}now   {now}{style:#}")?;
        writeln!(out, "     {gap}   {FAINT}then  {then}{FAINT:#}")
    }
}

/// Two texts, each cut so that the difference stays visible.
fn apart(now: &str, then: &str) -> (String, String) {
    let same = now.chars().zip(then.chars()).take_while(|(a, b)| a == b).count();
    if same < MESSAGE_CHARS_MAX / 2 {
        return (short(now), short(then));
    }
    let skipped = same - MESSAGE_CHARS_MAX / 4;
    let rest = |text: &str| short(&format!("…{}", text.chars().skip(skipped).collect::<String>()));
    (rest(now), rest(then))
}

fn short(text: &str) -> String {
    let shown = cut(text, MESSAGE_CHARS_MAX);
    if shown.len() < text.len() { format!("{shown}… ({} bytes)", text.len()) } else { text.to_owned() }
}

impl fmt::Display for Unplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(error) => error.fmt(f),
            Self::Unreachable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unplayable {}
