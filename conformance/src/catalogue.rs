//! The list of cases, for `docs/conformance/cases.md`.

use std::fmt::Write as _;

use crate::cases;

/// All cases as Markdown: the rule that each tests, and the sentences of the specifications behind it.
pub fn catalogue() -> String {
    let mut out = String::from(
        "# Conformance cases\n\n\
         Generated: `UPDATE_DOCS=1 cargo test -p conformance documents` writes it. A slug never changes its meaning.\n\n\
         Level *declared*: a rule of the dialect. *must*, *should*, *may*: a rule of a specification. † runs alone, because a \
         server might crash on it or other cases could hide the effect; ‡ waits for a timeout and needs `--slow`. A case that \
         does not apply to a dialect is *unsupported*.\n",
    );
    let mut group = "";
    for case in cases::every() {
        // `sec/error-leak` runs after the `msg` cases but is listed in its own group.
        if case.group() != group && !out.contains(&format!("\n## {}\n", case.group())) {
            group = case.group();
            let _ = write!(out, "\n## {group}\n\n");
            for case in cases::every().iter().filter(|case| case.group() == group) {
                let mark = if case.slow {
                    " ‡"
                } else if case.alone {
                    " †"
                } else {
                    ""
                };
                let _ = writeln!(out, "- **`{}`**{mark} ({}) {}", case.slug, case.level, case.rule);
                for citation in case.citations {
                    let _ = writeln!(out, "  > \"{}\" — [{}]({})", citation.quote, citation.section, citation.url);
                }
            }
        }
    }
    out
}
