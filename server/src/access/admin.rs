//! What only operators may do: kick clients, and read the metrics.

use hyper::header::HeaderMap;

use super::{Access, bearer, is_same};
use crate::config::ApiSettings;

/// Who counts as an operator.
pub(crate) enum Admin {
    /// Everyone: clients need no token either.
    Anyone,
    /// Whoever has this token.
    Token(String),
    /// Nobody: clients need a token, and there is none for operators.
    Nobody,
}

/// Why a request is not an operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmin {
    /// It has not the admin token.
    Token,
    /// There is no admin token.
    Closed,
}

impl Admin {
    pub(crate) fn new(access: &Access, api: &ApiSettings) -> Self {
        match &api.admin_token {
            Some(token) => Self::Token(token.clone()),
            None if access.requires_token() => Self::Nobody,
            None => Self::Anyone,
        }
    }

    /// # Errors
    /// The request is not an operator's.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), NotAdmin> {
        match self {
            Self::Anyone => Ok(()),
            Self::Nobody => Err(NotAdmin::Closed),
            Self::Token(token) if bearer(headers).is_some_and(|given| is_same(token, given)) => Ok(()),
            Self::Token(_) => Err(NotAdmin::Token),
        }
    }
}

impl NotAdmin {
    /// The message for the client.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Token => "Unauthorized",
            Self::Closed => "Closed: this server has tokens for clients, but no admin token",
        }
    }
}
