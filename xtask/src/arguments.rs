//! Arguments that several commands take.

use std::time::Duration;

use conformance::{BadUrl, Target};
use scenarios::Stack;

/// What to print.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Text,
    /// JSON for programs
    Json,
}

/// The longest search, in minutes: some years.
const MINUTES_MAX: f64 = 1e6;

/// Parses a number of minutes.
///
/// # Errors
/// It is none, or no time to search for.
pub(crate) fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse().ok().filter(|minutes: &f64| *minutes > 0.0 && *minutes <= MINUTES_MAX);
    let wrong = || format!("must be a number of minutes, more than 0 and at most {MINUTES_MAX}, such as 10 or 0.5");
    minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)).ok_or_else(wrong)
}

/// A WebRTC stack of Glare's own clients.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StackName {
    /// The crate rtc
    Rtc,
    /// The crate str0m, in programs that were compiled with it
    Str0m,
}

impl StackName {
    /// As scenarios name it.
    pub(crate) fn stack(self) -> Stack {
        match self {
            Self::Rtc => Stack::Rtc,
            Self::Str0m => Stack::Str0m,
        }
    }
}

/// Headers and TLS options of every request to a server.
#[derive(clap::Args)]
pub(crate) struct Requests {
    /// Send this header with every request
    #[arg(long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// Send `Authorization: Bearer TOKEN` with every request
    #[arg(long, value_name = "TOKEN")]
    bearer: Option<String>,
    /// Accept any certificate, including self-signed ones
    #[arg(long)]
    insecure: bool,
}

impl Requests {
    /// Returns the target at a URL with these headers and TLS options.
    ///
    /// # Errors
    /// A header is invalid.
    pub(crate) fn to(&self, url: &Target) -> Result<Target, BadUrl> {
        let mut target = url.clone().insecure(self.insecure);
        for header in &self.headers {
            target = target.with_header_line(header)?;
        }
        match &self.bearer {
            Some(token) => target.with_header("Authorization", &format!("Bearer {token}")),
            None => Ok(target),
        }
    }
}
