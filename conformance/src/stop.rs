//! Why a case ends before its end.

use std::future::Future;
use std::pin::Pin;

/// A case that runs.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>>;

/// Why a case ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server breaks the rule.
    Fail { why: String, line: Option<usize> },
    /// It did not come to the question.
    Setup(String),
    /// The dialect, or the server, has nothing that could be asked about.
    Unsupported(String),
}

impl Stop {
    pub(crate) fn fail(why: impl Into<String>) -> Self {
        Self::Fail { why: why.into(), line: None }
    }

    /// A failure that a line of the transcript shows.
    pub(crate) fn at(why: impl Into<String>, line: usize) -> Self {
        Self::Fail { why: why.into(), line: Some(line) }
    }

    /// Why, whatever kind it is.
    pub(crate) fn into_why(self) -> String {
        match self {
            Self::Fail { why, .. } | Self::Setup(why) | Self::Unsupported(why) => why,
        }
    }

    /// The same with other words for a failure.
    pub(crate) fn reworded(self, reword: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Fail { why, line } => Self::Fail { why: reword(why), line },
            other => other,
        }
    }

    /// What is a failure elsewhere is here only why the question cannot be put.
    pub(crate) fn into_setup(self) -> Self {
        match self {
            Self::Fail { why, .. } => Self::Setup(why),
            other => other,
        }
    }
}
