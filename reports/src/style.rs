//! Colors. Color codes are always written; the output stream removes them if it is not a terminal.

use anstyle::{AnsiColor, Style};
use sim::timeline::Tone;

pub(crate) const PASS: Style = AnsiColor::Green.on_default().bold();
pub(crate) const FAIL: Style = AnsiColor::Red.on_default().bold();
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const HEADING: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();

pub(crate) fn of(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Bad => AnsiColor::Red.on_default(),
        Tone::Fault => AnsiColor::Yellow.on_default().bold(),
    }
}

/// The same for a step of a result.
pub(crate) fn of_step(tone: crate::model::Tone) -> Style {
    use crate::model::Tone as T;
    of(match tone {
        T::Plain => Tone::Plain,
        T::Good => Tone::Good,
        T::Bad => Tone::Bad,
        T::Fault => Tone::Fault,
    })
}
