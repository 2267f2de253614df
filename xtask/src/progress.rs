//! How far a command is: a bar with the number of failures and an estimate of the time left, or a line if no end is known.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Share of the items after which the time left is estimated: the first ones say little about the others.
const ESTIMATE_FROM: f64 = 0.02;

/// A bar on standard error, if that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    start: Instant,
    all: u64,
    done: u64,
    bad: &'static str,
}

impl Progress {
    /// A bar for so many items. `what` names them, `bad` completes "3 …" for those that are not as they should be.
    pub(crate) fn new(all: u64, what: &str, bad: &'static str, is_shown: bool) -> Self {
        let bar = if is_shown { ProgressBar::new(all) } else { ProgressBar::hidden() };
        let template = format!("{{bar:40}} {{pos}}/{{len}} {what}{{msg}}");
        bar.set_style(ProgressStyle::with_template(&template).expect("a valid template"));
        Self { bar, start: crate::now(), all, done: 0, bad }
    }

    /// Counts an item. `bad` items so far are not as they should be.
    pub(crate) fn step(&mut self, bad: usize) {
        self.done += 1;
        let bad = if bad > 0 { format!(", {bad} {}", self.bad) } else { String::new() };
        self.bar.set_message(format!("{bad}{}", left(self.all, self.done, self.start.elapsed())));
        self.bar.inc(1);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Where standard error is no terminal, a line is printed this often.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// One line on standard error that says how far work without a known end is.
pub(crate) struct StatusLine {
    bar: ProgressBar,
    /// When a line was printed, if lines are printed.
    printed: Option<Instant>,
}

impl StatusLine {
    /// A line that changes on a terminal. Elsewhere it is printed now and then.
    pub(crate) fn new(is_shown: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let line = Self::on_terminal(is_shown && is_terminal);
        Self { printed: (is_shown && !is_terminal).then(crate::now), ..line }
    }

    /// A line that is shown on a terminal only.
    pub(crate) fn on_terminal(is_shown: bool) -> Self {
        let bar = if is_shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a valid template"));
        Self { bar, printed: None }
    }

    /// Replaces what the line says.
    pub(crate) fn say(&mut self, text: impl FnOnce() -> String) {
        match &mut self.printed {
            Some(printed) if printed.elapsed() >= LINE_EVERY => {
                errln!("{}", text());
                *printed = crate::now();
            }
            None if !self.bar.is_hidden() => {
                self.bar.set_message(text());
                self.bar.tick();
            }
            _ => {}
        }
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// `, 40 s left`; nothing if that cannot be estimated.
fn left(all: u64, done: u64, elapsed: Duration) -> String {
    // The average over the whole run: with items of very different lengths, the speed of the last few jumps about.
    if (done as f64) < all as f64 * ESTIMATE_FROM || done >= all {
        return String::new();
    }
    let left = elapsed.as_secs_f64() / done as f64 * (all - done) as f64;
    match left as u64 {
        0 => ", 1 s left".to_owned(),
        seconds @ 1..120 => format!(", {seconds} s left"),
        seconds => format!(", {} min left", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_all_items_so_far() {
        let seconds = Duration::from_secs;
        assert_eq!(left(1000, 1, seconds(2)), "");
        assert_eq!(left(1000, 100, seconds(2)), ", 18 s left");
        assert_eq!(left(1000, 100, seconds(100)), ", 15 min left");
        assert_eq!(left(1000, 999, seconds(2)), ", 1 s left");
        assert_eq!(left(1000, 1000, seconds(2)), "");
    }
}
