//! What a program printed last, which may explain its end.

use std::collections::VecDeque;
use std::sync::Arc;

/// How many lines are kept.
const KEPT: usize = 8;

/// The last lines of a program's output, without empty ones, and with only the first frame of a stack trace: Node prints
/// the reason above its frames, which would push it out.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastLines(VecDeque<Arc<str>>);

impl LastLines {
    pub(crate) fn push(&mut self, line: &Arc<str>) {
        let is_frame = |line: &str| line.trim_start().starts_with("at ");
        let is_next_frame = is_frame(line) && self.0.back().is_some_and(|last| is_frame(last));
        if line.trim().is_empty() || is_next_frame {
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(line));
    }

    /// As the end of a sentence.
    pub(crate) fn words(&self) -> String {
        if self.0.is_empty() {
            return "; it has printed nothing".to_owned();
        }
        let lines: Vec<_> = self.0.iter().map(|line| format!("“{line}”")).collect();
        format!("; it printed last: {}", lines.join(" / "))
    }

    /// The same, with each line below the sentence.
    pub(crate) fn list(&self) -> String {
        if self.0.is_empty() {
            return "; it has printed nothing".to_owned();
        }
        let lines: String = self.0.iter().map(|line| format!("\n    {line}")).collect();
        format!("; it printed:{lines}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(printed: &str) -> String {
        let mut lines = LastLines::default();
        printed.lines().for_each(|line| lines.push(&line.into()));
        lines.list()
    }

    #[test]
    fn the_reason_above_a_stack_trace_is_kept() {
        let frames: String = (0..10).map(|nth| format!("    at f{nth} (node:internal)\n")).collect();
        let printed =
            format!("throw err;\n\nError: Cannot find module 'x'\n{frames}  code: 'NOT_FOUND'\n}}\n\nNode.js v20\n");
        assert_eq!(
            last(&printed),
            "; it printed:\n    throw err;\n    Error: Cannot find module 'x'\n        at f0 (node:internal)\n      code: \
             'NOT_FOUND'\n    }\n    Node.js v20"
        );
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let printed: String = (0..20).map(|nth| format!("{nth}\n")).collect();
        assert!(last(&printed).starts_with("; it printed:\n    12\n") && last(&printed).ends_with("\n    19"));
        assert_eq!(last(" \n"), "; it has printed nothing");
    }
}
