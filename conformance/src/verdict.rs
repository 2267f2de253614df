//! What the suite found, as data.

use std::time::Duration;

use crate::case::Case;
use crate::transcript::{Notes, Transcript};

/// The verdict on a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server follows the rule.
    Pass,
    /// The server does something else that is allowed.
    Acceptable {
        /// What it does instead.
        why: String,
    },
    /// The server breaks the rule.
    Fail {
        /// What was found, in one sentence.
        why: String,
        /// The transcript line that shows it, as an index.
        line: Option<usize>,
    },
    /// The dialect or the server lacks what the case tests.
    Unsupported {
        /// What it lacks.
        why: String,
    },
    /// The rule could not be tested: something that the case needs does not work.
    NotTested {
        /// What does not work.
        why: String,
    },
    /// The suite itself failed. This says nothing about the server.
    HarnessError {
        /// What happened.
        why: String,
    },
}

/// One case's result.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// The case that ran.
    pub case: &'static Case,
    /// Its verdict.
    pub verdict: Verdict,
    /// Observations that go with the verdict.
    pub notes: Notes,
    /// The reason why a failure is expected, if this case is listed as a known deviation.
    pub known: Option<String>,
    /// Time that the case took.
    pub took: Duration,
    /// What all its clients sent and received.
    pub transcript: Transcript,
}

/// One of the user's requirements, and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementReport {
    /// The user's name for it.
    pub id: String,
    /// Its text.
    pub text: String,
    /// The cases that verify it, each with whether it passed.
    pub cases: Vec<(&'static str, bool)>,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The server's URL.
    pub url: String,
    /// The dialect that was spoken.
    pub dialect: String,
    /// Time from a message to its answer, as measured at the start.
    pub round_trip: Duration,
    /// How long the suite waited for each message.
    pub patience: Duration,
    /// Time of the whole run.
    pub took: Duration,
    /// Every selected case, in the order of the catalogue.
    pub cases: Vec<CaseReport>,
    /// The user's requirements, if any.
    pub requirements: Vec<RequirementReport>,
}

impl Verdict {
    /// Its name, and the reason if it has one.
    pub fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Pass => ("pass", None),
            Self::Acceptable { why } => ("acceptable", Some(why)),
            Self::Unsupported { why } => ("unsupported", Some(why)),
            Self::Fail { why, .. } => ("fail", Some(why)),
            Self::NotTested { why } => ("not-tested", Some(why)),
            Self::HarnessError { why } => ("harness-error", Some(why)),
        }
    }

    /// Whether cases that need this one cannot be tested.
    pub fn blocks(&self) -> bool {
        matches!(self, Self::Fail { .. } | Self::NotTested { .. } | Self::HarnessError { .. })
    }
}

impl CaseReport {
    /// The report of a case that did not run, so it has no transcript.
    pub fn without_exchange(case: &'static Case, verdict: Verdict) -> Self {
        let (notes, transcript) = (Notes::default(), Transcript::default());
        Self { case, verdict, notes, known: None, took: Duration::ZERO, transcript }
    }

    /// Whether there is no finding: the case passes, fails as a known deviation, or does not apply.
    pub fn is_well(&self) -> bool {
        match &self.verdict {
            Verdict::Pass | Verdict::Acceptable { .. } => self.known.is_none(),
            Verdict::Unsupported { .. } => true,
            Verdict::Fail { .. } => self.known.is_some(),
            // A case that needs a known deviation cannot be tested either, and is marked as known too.
            Verdict::NotTested { .. } => self.known.is_some(),
            Verdict::HarnessError { .. } => false,
        }
    }
}

impl RequirementReport {
    /// Whether all of its cases passed.
    pub fn met(&self) -> bool {
        self.cases.iter().all(|(_, shows)| *shows)
    }
}

impl Report {
    /// Whether no case has a finding.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(CaseReport::is_well)
    }

    /// The report of this case, if it was run.
    pub fn case(&self, slug: &str) -> Option<&CaseReport> {
        self.cases.iter().find(|report| report.case.slug == slug)
    }
}
