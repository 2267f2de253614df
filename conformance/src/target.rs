//! The server's URL, and the error when nothing is reachable there.

use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Uri};

use crate::redact::{Secrets, without_values};

/// A server's URL, and what every connection to it sends along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: String,
    host: String,
    port: u16,
    tls: bool,
    insecure: bool,
    headers: Vec<(String, String)>,
    /// Whether the user's headers are left out.
    anonymous: bool,
}

/// A URL or header that the suite cannot use; the message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUrl(pub(crate) String);

/// The server could not be reached, so no case was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The server's URL.
    pub url: String,
    /// What was tried and how it failed, in order.
    pub tried: Vec<String>,
}

impl Target {
    /// The whole URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL without the values of its query, which may be secret.
    pub fn shown(&self) -> String {
        without_values(&self.url)
    }

    /// The host's name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port. Default: 80, or 443 over TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether connections use TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether any certificate is accepted.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// The headers sent with every request.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Accepts any certificate, including a self-signed one.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Adds a header, written `NAME:VALUE`, to every request.
    ///
    /// # Errors
    /// The line is not `NAME:VALUE`.
    pub fn with_header_line(self, line: &str) -> Result<Self, BadUrl> {
        match line.split_once(':') {
            Some((name, value)) => self.with_header(name, value),
            None => Err(BadUrl(format!("`{line}` is not a header: write NAME:VALUE"))),
        }
    }

    /// Adds a header to every request.
    ///
    /// # Errors
    /// The name or the value contains characters that HTTP does not allow.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, BadUrl> {
        let (name, value) = (name.trim(), value.trim());
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
            return Err(BadUrl(format!("`{name}: {value}` is not a header: write NAME:VALUE")));
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// The same target without the user's headers.
    pub(crate) fn without_headers(&self) -> Self {
        Self { headers: Vec::new(), anonymous: true, ..self.clone() }
    }

    /// Whether the user's headers are left out.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// The secrets among what the user gave: nobody else should see them.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::new(self.headers.iter().map(|(_, value)| value.as_str()), &self.url)
    }

    /// The URL of another path, with its query, on this server.
    pub(crate) fn with_path(&self, path: &str) -> String {
        let scheme = self.url.split_once("://").map_or("ws", |(scheme, _)| scheme);
        format!("{scheme}://{}{path}", self.authority())
    }

    /// The same server at another path, with its query.
    pub(crate) fn at(&self, path: &str) -> Self {
        Self { url: self.with_path(path), ..self.clone() }
    }

    /// A URL of this server with the scheme `ws` or `wss`.
    pub(crate) fn websocket_url(&self, url: &str) -> String {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        format!("{}://{rest}", if self.tls { "wss" } else { "ws" })
    }

    /// The path and the query of a URL of this server, as they appear in a request.
    pub(crate) fn path_of(url: &str) -> String {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
        if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
    }

    /// The host with its port, as in the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or(rest)
    }
}

impl FromStr for Target {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let wrong = |why: &str| BadUrl(format!("`{text}` {why}"));
        let uri: Uri =
            text.parse().map_err(|error| wrong(&format!("is not a URL ({error}): write ws://HOST:PORT/PATH")))?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            Some(other) => return Err(wrong(&format!("has the scheme `{other}`: write ws://HOST:PORT/PATH"))),
            None => return Err(wrong("has no scheme: write ws://HOST:PORT/PATH")),
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("has no host: write ws://HOST:PORT/PATH"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("has a user name in it, which is not supported"));
        }
        if text.contains('$') {
            return Err(wrong("has a `$` in it: rooms and ids come from the dialect"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        if port == 0 {
            return Err(wrong("has the port 0, which no server listens on"));
        }
        Ok(Self { url: text.to_owned(), host, port, tls, insecure: false, headers: Vec::new(), anonymous: false })
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
        let what = match self.url.split_once(':') {
            Some(("stun" | "turn", _)) => "no answer",
            _ => "no server of this dialect",
        };
        write!(f, "{what} at {}", self.url)?;
        self.tried.iter().try_for_each(|step| write!(f, "\n  tried: {step}"))
    }
}

impl std::error::Error for Unreachable {}
