//! The opening handshake of a WebSocket as browsers write it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::extension::DEFLATE;
use crate::target::Target;

/// A browser, by its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Browser {
    /// Chrome, Edge, Opera and others.
    Chromium,
    /// Firefox.
    Firefox,
}

/// How a client writes its handshake. By default it sends no more than RFC 6455 requires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The browser whose headers it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<Browser>,
    /// The extensions that it offers, if not those of the browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
}

impl Opening {
    pub(crate) fn of(browser: Browser) -> Self {
        Self { browser: Some(browser), offer: None }
    }

    pub(crate) fn offering(offer: &str) -> Self {
        Self { browser: None, offer: Some(offer.to_owned()) }
    }

    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The extensions that the client offers; empty if there are none.
    pub(crate) fn extensions(&self) -> &str {
        self.offer.as_deref().or(self.browser.map(Browser::extensions)).unwrap_or_default()
    }

    /// The headers of the handshake, without `Host` and the cookies that the server has set.
    pub(crate) fn headers(
        &self,
        target: &Target,
        key: String,
        subprotocol: Option<&str>,
    ) -> Vec<(&'static str, String)> {
        let origin = format!("{}://{}", if target.is_tls() { "https" } else { "http" }, target.authority());
        let protocol = subprotocol.map(|name| ("Sec-WebSocket-Protocol", name));
        let extensions = Some(("Sec-WebSocket-Extensions", self.extensions())).filter(|(_, offer)| !offer.is_empty());
        let version = ("Sec-WebSocket-Version", "13");
        let key = ("Sec-WebSocket-Key", key.as_str());
        // Cookies of the page's site that have nothing to do with the server.
        let cookie = ("Cookie", "_ga=GA1.1.1839485731.1732838400; theme=dark");
        let headers: Vec<(&'static str, &str)> = match self.browser {
            None => {
                let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), version, key];
                upgrade.into_iter().chain(extensions).chain(protocol).collect()
            }
            Some(Browser::Chromium) => [
                ("Connection", "Upgrade"),
                ("Pragma", "no-cache"),
                ("Cache-Control", "no-cache"),
                (
                    "User-Agent",
                    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                ),
                ("Upgrade", "websocket"),
                ("Origin", &origin),
                version,
                ("Accept-Encoding", "gzip, deflate, br, zstd"),
                ("Accept-Language", "en-US,en;q=0.9,de;q=0.8"),
                cookie,
                key,
            ]
            .into_iter()
            .chain(extensions)
            .chain(protocol)
            .collect(),
            Some(Browser::Firefox) => {
                let begin = [
                    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
                    ("Accept", "*/*"),
                    ("Accept-Language", "en-US,en;q=0.5"),
                    ("Accept-Encoding", "gzip, deflate, br, zstd"),
                    version,
                    ("Origin", &origin),
                ];
                let end = [
                    key,
                    ("DNT", "1"),
                    ("Sec-GPC", "1"),
                    ("Connection", "keep-alive, Upgrade"),
                    cookie,
                    ("Sec-Fetch-Dest", "empty"),
                    ("Sec-Fetch-Mode", "websocket"),
                    ("Sec-Fetch-Site", "same-origin"),
                    ("Pragma", "no-cache"),
                    ("Cache-Control", "no-cache"),
                    ("Upgrade", "websocket"),
                ];
                begin.into_iter().chain(protocol).chain(extensions).chain(end).collect()
            }
        };
        // What the user gives replaces what a browser sends: the origin of their pages, their cookies.
        let users = |name: &str| target.headers().iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let replaced =
            |name: &str| ["Origin", "Cookie", "User-Agent", "Accept-Language"].contains(&name) && users(name);
        headers.into_iter().filter(|(name, _)| !replaced(name)).map(|(name, value)| (name, value.to_owned())).collect()
    }
}

impl Browser {
    fn extensions(self) -> &'static str {
        match self {
            Self::Chromium => "permessage-deflate; client_max_window_bits",
            Self::Firefox => DEFLATE,
        }
    }
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chromium => "Chromium",
            Self::Firefox => "Firefox",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(target: &Target, opening: &Opening, name: &str) -> Option<String> {
        let headers = opening.headers(target, "key".to_owned(), Some("chat"));
        headers.into_iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    #[test]
    fn each_browser_has_its_own_way() {
        let target: Target = "wss://host.example:8443/ws".parse().expect("a URL");
        let of = |browser, name| value(&target, &Opening::of(browser), name);
        assert_eq!(of(Browser::Chromium, "Connection").as_deref(), Some("Upgrade"));
        assert_eq!(of(Browser::Firefox, "Connection").as_deref(), Some("keep-alive, Upgrade"));
        assert_eq!(of(Browser::Firefox, "Origin").as_deref(), Some("https://host.example:8443"));
        assert_eq!(of(Browser::Chromium, "Sec-WebSocket-Protocol").as_deref(), Some("chat"));
        assert_eq!(value(&target, &Opening::default(), "Sec-WebSocket-Extensions"), None);
        assert_eq!(value(&target, &Opening::offering("a; b=1"), "Sec-WebSocket-Extensions").as_deref(), Some("a; b=1"));
    }

    #[test]
    fn what_the_user_gives_replaces_it() {
        let target: Target = "ws://host.example/ws".parse().expect("a URL");
        let target = target.with_header("origin", "https://pages.example").expect("a header");
        assert_eq!(value(&target, &Opening::of(Browser::Firefox), "Origin"), None);
    }
}
