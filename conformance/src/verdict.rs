//! What the suite found, as data.

use std::time::Duration;

use crate::case::Case;
use crate::transcript::Transcript;

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server does what is asked.
    Pass,
    /// It does not.
    Fail {
        /// What was found, in one sentence.
        why: String,
        /// The line of the transcript that shows it.
        line: Option<usize>,
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
    /// What is worth knowing and no failure: the server chose what the dialect merely allows.
    pub remarks: Vec<String>,
    /// Time it took.
    pub took: Duration,
    /// What all its clients sent and heard.
    pub transcript: Transcript,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The server's URL.
    pub url: String,
    /// The dialect that was spoken.
    pub dialect: &'static str,
    /// Time from a message to its answer, as measured at the beginning.
    pub round_trip: Duration,
    /// How long each message was waited for.
    pub patience: Duration,
    /// Time of the whole run.
    pub took: Duration,
    /// Every selected case, in the order of the catalogue.
    pub cases: Vec<CaseReport>,
}

impl Report {
    /// Whether every case passed.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| case.verdict == Verdict::Pass)
    }

    /// The case of this name, if it was run.
    pub fn case(&self, slug: &str) -> Option<&CaseReport> {
        self.cases.iter().find(|report| report.case.slug == slug)
    }
}
