//! A STUN or TURN server as the target of a run.

use std::fmt;
use std::str::FromStr;

use crate::target::BadUrl;

/// Which service of the server to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The case groups `stun` and `nat-behaviour`.
    Stun,
    /// The case group `turn`.
    Turn,
}

impl Service {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stun => "STUN (RFC 8489, RFC 5780)",
            Self::Turn => "TURN (RFC 8656)",
        }
    }
}

/// A server: `HOST:PORT`, with `[…]` around an IPv6 address. The default port is 3478.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTarget {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) service: Service,
    pub(crate) credentials: Vec<Credential>,
}

/// A user of a TURN server, with the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user's name.
    pub user: String,
    /// The password; never shown.
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.user)
    }
}

impl ServiceTarget {
    /// A service at `HOST:PORT`, optionally prefixed with `stun:` or `turn:`.
    ///
    /// # Errors
    /// The text is not `HOST:PORT`.
    pub fn new(service: Service, text: &str) -> Result<Self, BadUrl> {
        let scheme = format!("{service}:");
        let wrong =
            |why: &str| BadUrl(format!("`{text}` {why}: write HOST:PORT, such as 127.0.0.1:3478 or [::1]:3478"));
        let rest = text.strip_prefix(&scheme).unwrap_or(text);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| wrong("has a `[` without `]`"))?;
                let port = match port.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if port.is_empty() => None,
                    None => return Err(wrong("has something else than a port after `]`")),
                };
                (host, port)
            }
            None if rest.matches(':').count() > 1 => return Err(wrong("has an IPv6 address without `[` and `]`")),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || host.contains(['/', '@', '?', ' ']) {
            return Err(wrong("has no host, or more than a host"));
        }
        let port = port.map_or(Ok(3478), u16::from_str).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| wrong("has a port that is not valid"))?;
        Ok(Self { host: host.to_owned(), port, service, credentials: Vec::new() })
    }

    /// Which service to test.
    pub fn service(&self) -> Service {
        self.service
    }

    /// The users of a TURN server.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// Sets the users of a TURN server: cases authenticate as the first; the second serves as another user.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Vec<Credential>) -> Self {
        self.credentials = credentials;
        self
    }
}

impl fmt::Display for ServiceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}:{open}{}{close}:{}", self.service, self.host, self.port)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stun => "stun",
            Self::Turn => "turn",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_host_and_port_and_anything_else_says_what_would_be_right() {
        let good = [
            ("127.0.0.1:3479", "stun:127.0.0.1:3479"),
            ("stun.example.org", "stun:stun.example.org:3478"),
            ("stun:[::1]", "stun:[::1]:3478"),
            ("[::1]:1", "stun:[::1]:1"),
        ];
        for (text, shown) in good {
            assert_eq!(ServiceTarget::new(Service::Stun, text).map(|target| target.to_string()), Ok(shown.to_owned()));
        }
        for text in ["", ":1", "::1", "[::1", "[::1]x", "host:0", "host:65536", "host:x", "a@b", "stun://x"] {
            let error = ServiceTarget::new(Service::Stun, text).expect_err(text).to_string();
            assert!(error.contains("write HOST:PORT"), "{error}");
        }
    }
}
