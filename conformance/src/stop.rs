//! Why a case ends early.

use std::future::Future;
use std::pin::Pin;

use crate::dialect::shape::RenderError;

/// A running case.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>>;

/// Why a case ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server breaks the rule.
    Fail { why: String, line: Option<usize> },
    /// The case could not be set up, so its rule was not tested.
    Setup(String),
    /// The dialect or the server lacks what the case tests.
    Unsupported(String),
}

/// A case that needs a message which cannot be written does not apply.
impl From<RenderError> for Stop {
    fn from(error: RenderError) -> Self {
        Self::Unsupported(format!("the dialect {error}"))
    }
}

impl Stop {
    pub(crate) fn fail(why: impl Into<String>) -> Self {
        Self::Fail { why: why.into(), line: None }
    }

    /// A failure that a transcript line shows.
    pub(crate) fn at(why: impl Into<String>, line: usize) -> Self {
        Self::Fail { why: why.into(), line: Some(line) }
    }

    /// The reason, for any variant.
    pub(crate) fn into_why(self) -> String {
        match self {
            Self::Fail { why, .. } | Self::Setup(why) | Self::Unsupported(why) => why,
        }
    }

    /// Rewords the reason of a failure; other variants stay as they are.
    pub(crate) fn reworded(self, reword: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Fail { why, line } => Self::Fail { why: reword(why), line },
            other => other,
        }
    }

    /// Turns a failure into [`Setup`](Self::Setup), where the failing step only prepares what the case tests.
    pub(crate) fn into_setup(self) -> Self {
        match self {
            Self::Fail { why, .. } => Self::Setup(why),
            other => other,
        }
    }
}
