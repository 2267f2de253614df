//! What the suite found, as data.

use std::time::Duration;

use crate::case::Case;
use crate::transcript::{Notes, Transcript};

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server does what is asked.
    Pass,
    /// It does something else that is allowed.
    Acceptable {
        /// What it does instead.
        why: String,
    },
    /// It does not.
    Fail {
        /// What was found, in one sentence.
        why: String,
        /// The line of the transcript that shows it.
        line: Option<usize>,
    },
    /// The dialect has nothing that could be asked about.
    Unsupported {
        /// What it has not.
        why: String,
    },
    /// The question could not be put: something it needs does not work.
    NotTested {
        /// What does not work.
        why: String,
    },
    /// The suite itself failed; it says nothing about the server.
    HarnessError {
        /// What happened.
        why: String,
    },
}

/// One case's result.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// The question.
    pub case: &'static Case,
    /// The answer.
    pub verdict: Verdict,
    /// What is worth knowing beside it.
    pub notes: Notes,
    /// Why a failure is expected, if it is.
    pub known: Option<String>,
    /// Time it took.
    pub took: Duration,
    /// What all its clients sent and heard.
    pub transcript: Transcript,
}

/// A requirement of the user's, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementReport {
    /// The user's name for it.
    pub id: String,
    /// What it says.
    pub text: String,
    /// The cases that show it, and whether each does.
    pub cases: Vec<(&'static str, bool)>,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The server's URL.
    pub url: String,
    /// The dialect that was spoken.
    pub dialect: String,
    /// Time from a message to its answer, as measured at the beginning.
    pub round_trip: Duration,
    /// How long each message was waited for.
    pub patience: Duration,
    /// Time of the whole run.
    pub took: Duration,
    /// Every selected case, in the order of the catalogue.
    pub cases: Vec<CaseReport>,
    /// The user's requirements, if any.
    pub requirements: Vec<RequirementReport>,
}

impl Verdict {
    /// Its name, and why, if there is something to say.
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

    /// Whether cases that need this one cannot be asked.
    pub fn blocks(&self) -> bool {
        matches!(self, Self::Fail { .. } | Self::NotTested { .. } | Self::HarnessError { .. })
    }
}

impl CaseReport {
    /// The report of a case that did not run.
    pub fn without_exchange(case: &'static Case, verdict: Verdict) -> Self {
        let (notes, transcript) = (Notes::default(), Transcript::default());
        Self { case, verdict, notes, known: None, took: Duration::ZERO, transcript }
    }

    /// Whether nothing is wrong: it passes, fails as is known, or has nothing to ask.
    pub fn is_well(&self) -> bool {
        match &self.verdict {
            Verdict::Pass | Verdict::Acceptable { .. } => self.known.is_none(),
            Verdict::Unsupported { .. } => true,
            Verdict::Fail { .. } => self.known.is_some(),
            // What needs a case that fails as is known cannot be asked either.
            Verdict::NotTested { .. } => self.known.is_some(),
            Verdict::HarnessError { .. } => false,
        }
    }
}

impl RequirementReport {
    /// Whether every case of it shows it.
    pub fn met(&self) -> bool {
        self.cases.iter().all(|(_, shows)| *shows)
    }
}

impl Report {
    /// Whether every case is well.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(CaseReport::is_well)
    }

    /// The case of this name, if it was run.
    pub fn case(&self, slug: &str) -> Option<&CaseReport> {
        self.cases.iter().find(|report| report.case.slug == slug)
    }
}
