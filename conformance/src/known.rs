//! Files that accompany a run: known deviations, and the user's requirements.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::cases;
use crate::select::{matching, nearest};
use crate::verdict::{Report, RequirementReport, Verdict};

/// Known deviations of a server. These cases still run, and an unexpected pass is reported.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    #[serde(default)]
    known: Vec<Deviation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    case: Spanned<String>,
    reason: Spanned<String>,
    /// The case may also pass: chance decides, in a race for example.
    #[serde(default)]
    sometimes: bool,
}

/// The user's requirements, each with the cases that verify it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    #[serde(default)]
    requirement: Vec<Requirement>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    text: String,
    cases: Vec<Spanned<String>>,
}

/// What is wrong with such a file, one problem per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadList(String);

impl Known {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, has a wrong structure, gives no reason, or names a case that does not exist.
    pub fn load(path: &Path) -> Result<Self, BadList> {
        Self::parse(&path.display().to_string(), &read(path)?)
    }

    /// Parses the text of such a file. `file` is its name in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(file: &str, text: &str) -> Result<Self, BadList> {
        let known: Self = toml::from_str(text).map_err(|error| not_toml(file, text, &error))?;
        for Deviation { case, reason, .. } in &known.known {
            is_there(file, text, case)?;
            if reason.get_ref().trim().is_empty() {
                let line = line(text, reason);
                return Err(BadList(format!("{file}:{line}: a known deviation needs a reason")));
            }
        }
        Ok(known)
    }

    /// Marks the cases that are known to fail.
    pub fn mark(&self, report: &mut Report) {
        for Deviation { case, reason, sometimes } in &self.known {
            let matching = matching(case.get_ref(), cases::every());
            for report in
                report.cases.iter_mut().filter(|report| matching.iter().any(|case| case.slug == report.case.slug))
            {
                if !(*sometimes && matches!(report.verdict, Verdict::Pass | Verdict::Acceptable { .. })) {
                    report.known = Some(reason.get_ref().trim().to_owned());
                }
            }
        }
        // A case that needs a known deviation cannot be tested either; it is marked as known too.
        let fails = |report: &&crate::CaseReport| report.known.is_some() && report.is_well();
        let known: Vec<_> = report.cases.iter().filter(fails).map(|report| report.case.slug).collect();
        for report in &mut report.cases {
            let needed = report.case.needs.iter().find(|slug| known.contains(slug));
            if let (Verdict::NotTested { .. }, Some(needed), None) = (&report.verdict, needed, &report.known) {
                report.known = Some(format!("needs {needed}"));
            }
        }
    }
}

impl Requirements {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, has a wrong structure, or names a case that does not exist.
    pub fn load(path: &Path) -> Result<Self, BadList> {
        let (file, text) = (path.display().to_string(), read(path)?);
        let requirements: Self = toml::from_str(&text).map_err(|error| not_toml(&file, &text, &error))?;
        for pattern in requirements.requirement.iter().flat_map(|requirement| &requirement.cases) {
            is_there(&file, &text, pattern)?;
        }
        Ok(requirements)
    }

    /// Adds to the report whether the cases verify each requirement. A case that did not run verifies nothing.
    pub fn judge(&self, report: &mut Report) {
        let judge = |requirement: &Requirement| {
            let slugs = requirement
                .cases
                .iter()
                .flat_map(|pattern| matching(pattern.get_ref(), cases::every()))
                .map(|case| case.slug);
            let shows = |slug| {
                let verdict = report.case(slug).map(|report| &report.verdict);
                matches!(verdict, Some(Verdict::Pass | Verdict::Acceptable { .. }))
            };
            let cases = slugs.map(|slug| (slug, shows(slug))).collect();
            RequirementReport { id: requirement.id.clone(), text: requirement.text.clone(), cases }
        };
        let judged = self.requirement.iter().map(judge).collect();
        report.requirements = judged;
    }
}

fn read(path: &Path) -> Result<String, BadList> {
    dialect::read_text(path).map_err(|error| BadList(format!("{}: cannot be read: {error}", path.display())))
}

fn line<T>(text: &str, at: &Spanned<T>) -> usize {
    1 + text.get(..at.span().start).unwrap_or_default().matches('\n').count()
}

fn not_toml(file: &str, text: &str, error: &toml::de::Error) -> BadList {
    let line = error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count());
    BadList(format!("{file}:{line}: {}", error.message()))
}

fn is_there(file: &str, text: &str, pattern: &Spanned<String>) -> Result<(), BadList> {
    if !matching(pattern.get_ref(), cases::every()).is_empty() {
        return Ok(());
    }
    let (line, nearest) = (line(text, pattern), nearest(pattern.get_ref(), cases::every()));
    Err(BadList(format!("{file}:{line}: no case matches `{}`; the nearest is `{nearest}`", pattern.get_ref())))
}

impl fmt::Display for BadList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadList {}
