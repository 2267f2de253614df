//! Arguments that several commands take.

use conformance::{BadUrl, Target};

/// What to print.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Text,
    /// JSON for programs
    Json,
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
