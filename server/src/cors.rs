//! CORS: pages of which origins may read an answer, and send credentials with a request.

use std::io;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderValue};

use crate::access;
use crate::config::ApiSettings;
use crate::invalid;

/// The CORS settings of [`ApiSettings`]. The default allows no origin.
#[derive(Clone, Default)]
pub(crate) struct Cors {
    /// `Access-Control-Allow-Origin` for every page.
    any: Option<HeaderValue>,
    /// The origins whose pages may send credentials.
    with_credentials: Arc<[String]>,
}

impl Cors {
    /// # Errors
    /// The CORS origin is not valid as a header value, or one of the other origins is not an origin.
    pub(crate) fn new(settings: &ApiSettings) -> io::Result<Self> {
        let any = settings.cors_origin.as_deref().map(HeaderValue::from_str).transpose();
        let any = any.map_err(|error| invalid(format!("use the configured CORS origin: {error}")))?;
        access::check_origins(&settings.credentials_origins)?;
        Ok(Self { any, with_credentials: settings.credentials_origins.clone().into() })
    }

    /// Adds CORS headers to a response, which may be an error. `origin` is the request's. Returns whether its page may
    /// read the response.
    pub(crate) fn allow(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) -> bool {
        if !self.with_credentials.is_empty() {
            // A cache must not use the response for another origin.
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let is_listed = |origin: &&HeaderValue| {
            self.with_credentials.iter().any(|listed| origin.as_bytes().eq_ignore_ascii_case(listed.as_bytes()))
        };
        if let Some(origin) = origin.filter(is_listed) {
            // Browsers do not accept `*` with credentials.
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            return true;
        }
        if let Some(any) = &self.any {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
        }
        self.any.is_some()
    }
}
