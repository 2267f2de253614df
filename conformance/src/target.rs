//! Where the server is, and whether it is there at all.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_tungstenite::tungstenite::http::Uri;

/// A WebSocket URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: String,
    host: String,
    port: u16,
}

/// A URL that the suite cannot use, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUrl(String);

/// No WebSocket could be opened; the cases were not tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The server's URL.
    pub url: String,
    /// What was tried, and what came of it, in order.
    pub tried: Vec<String>,
}

impl Target {
    /// The whole URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Name or address of the host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port: 80 unless the URL says otherwise.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Target {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let wrong = |why: &str| BadUrl(format!("`{text}` {why}"));
        let uri: Uri =
            text.parse().map_err(|error| wrong(&format!("is no URL ({error}): write ws://HOST:PORT/PATH")))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => return Err(wrong("asks for TLS, which is not supported yet: use the server's ws:// port")),
            Some(other) => return Err(wrong(&format!("has the scheme `{other}`: write ws://HOST:PORT/PATH"))),
            None => return Err(wrong("has no scheme: write ws://HOST:PORT/PATH")),
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("has no host: write ws://HOST:PORT/PATH"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("has a user name in it, which is not supported"));
        }
        let port = uri.port_u16().unwrap_or(80);
        if port == 0 {
            return Err(wrong("has the port 0, which no server listens on"));
        }
        Ok(Self { url: text.to_owned(), host, port })
    }
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUrl {}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no WebSocket at {}", self.url)?;
        self.tried.iter().try_for_each(|step| write!(f, "\n  tried: {step}"))
    }
}

impl std::error::Error for Unreachable {}

/// A duration as a person reads it.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}
