//! Access control, and limits per address. Off by default, and no dialect knows of it: a token determines the
//! connection's [`Grant`], which the code that all dialects share checks.

pub(crate) mod addresses;
pub(crate) mod admin;
mod proxies;
pub(crate) mod proxy_protocol;
mod token;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hyper::header::{self, HeaderMap};
use hyper::http::uri::Uri;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::config::ApiSettings;
use crate::limits::Limits;
use crate::lock::Lock;
use crate::query;
use addresses::{Addresses, LimitExceeded, Source};
use admin::{Admin, NotAdmin};
pub use proxies::{Cidr, CidrError};
use token::Claims;

/// Minimum length of the secret that signs room tokens, in bytes. RFC 2104 §3 discourages secrets shorter than the
/// hash, but requires only that they cannot be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// Who may open a WebSocket, and how tokens are checked. The default is everyone.
#[derive(Clone, Default)]
pub struct Access {
    /// Bearer tokens, each of which grants full access (with the characters of RFC 6750).
    pub tokens: Vec<String>,
    /// The secret that signs room tokens, at least 16 bytes.
    pub room_secret: Option<String>,
    /// The origins (`https://host[:port]`) whose pages may connect; any if the list is empty. A request without
    /// `Origin` is not from a browser and is allowed.
    pub origins: Vec<String>,
    /// The proxies whose `X-Forwarded-For` or `Forwarded` header (RFC 7239) names the client. Limits by address and the
    /// log then use the client's address. The headers of all others are ignored. List a proxy only if it adds the
    /// address to one of these headers itself.
    pub proxies: Vec<Cidr>,
    /// The proxies whose TCP connections begin with a PROXY header, version 1 or 2, which names the client. Without a valid
    /// header, such a connection ends; on other connections it is not understood. Not for [`Config::metrics`](crate::Config::metrics).
    pub proxy_protocol: Vec<Cidr>,
}

/// What a connection may join. The default is everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant(Option<Arc<Bound>>);

#[derive(Debug)]
struct Bound {
    claims: Claims,
    unix_time: fn() -> u64,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Origin,
    NoToken,
    WrongToken,
    ExpiredToken,
    LimitExceeded(LimitExceeded),
    /// The server is about to stop.
    Draining,
}

/// Checks requests against the rules of [`Access`].
pub(crate) struct Guard {
    rules: Lock<Arc<Rules>>,
    /// The clock for the expiry of room tokens.
    unix_time: fn() -> u64,
    addresses: Arc<Addresses>,
    /// Whether the server is about to stop, so that it takes no more clients.
    is_draining: AtomicBool,
}

/// The rules in force, replaced as a whole.
struct Rules {
    access: Access,
    room_key: Option<hmac::Key>,
    admin: Admin,
}

impl Rules {
    /// # Errors
    /// As for [`Guard::new`].
    fn new(access: &Access, api: &ApiSettings) -> io::Result<Self> {
        let invalid = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        let is_token = |token: &&String| !token.is_empty() && token.bytes().all(is_token_byte);
        if access.tokens.iter().any(|token| !is_token(&token)) {
            return invalid(
                "a bearer token must consist of letters, digits and -._~+/=, and must not be empty".to_owned(),
            );
        }
        if access.room_secret.as_ref().is_some_and(|secret| secret.len() < SECRET_BYTES_MIN) {
            return invalid(format!("the room secret must have at least {SECRET_BYTES_MIN} bytes"));
        }
        check_origins(&access.origins)?;
        let room_key = access.room_secret.as_ref().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        Ok(Self { access: access.clone(), room_key, admin: Admin::new(access, api) })
    }
}

impl Access {
    /// Whether a WebSocket needs a token.
    fn requires_token(&self) -> bool {
        !self.tokens.is_empty() || self.room_secret.is_some()
    }
}

impl fmt::Debug for Access {
    /// Shows the number of secrets, not the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room_secret = self.room_secret.as_ref().map(|_| "…");
        f.debug_struct("Access")
            .field("tokens", &self.tokens.len())
            .field("room_secret", &room_secret)
            .field("origins", &self.origins)
            .field("proxies", &self.proxies)
            .field("proxy_protocol", &self.proxy_protocol)
            .finish()
    }
}

impl Grant {
    /// Whether a room may be joined now.
    pub(crate) fn allows_room(&self, room: &str) -> bool {
        self.allows(|claims| claims.room.as_deref(), room)
    }

    /// The only room that may be joined, if there is one.
    pub(crate) fn room(&self) -> Option<&str> {
        self.0.as_deref()?.claims.room.as_deref()
    }

    /// Whether a name may be used now.
    pub(crate) fn allows_user(&self, user: &str) -> bool {
        self.allows(|claims| claims.user.as_deref(), user)
    }

    fn allows(&self, claim: impl FnOnce(&Claims) -> Option<&str>, wanted: &str) -> bool {
        self.0.as_deref().is_none_or(|Bound { claims, unix_time }| {
            unix_time() < claims.exp && claim(claims).is_none_or(|allowed| allowed == wanted)
        })
    }
}

impl Refusal {
    /// Its name in the metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::NoToken => "no-token",
            Self::WrongToken => "wrong-token",
            Self::ExpiredToken => "expired-token",
            Self::LimitExceeded(LimitExceeded::Connections) => "connections-per-address",
            Self::LimitExceeded(LimitExceeded::Requests) => "request-rate",
            Self::Draining => "draining",
        }
    }

    /// The message for the client.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Origin => "Pages of this origin may not connect",
            Self::NoToken => "A token is needed: Authorization: Bearer TOKEN, or ?token=TOKEN",
            Self::WrongToken => "The token is wrong",
            Self::ExpiredToken => "The token has expired",
            Self::LimitExceeded(LimitExceeded::Connections) => "Too many connections from this address",
            Self::LimitExceeded(LimitExceeded::Requests) => "Too many requests from this address",
            Self::Draining => "The server is about to stop: connect to another one, or again in a moment",
        }
    }
}

impl Guard {
    /// # Errors
    /// A token, the secret or an origin is invalid. The message says what would be right and contains no secret.
    pub(crate) fn new(access: &Access, api: &ApiSettings, limits: &Limits, unix_time: fn() -> u64) -> io::Result<Self> {
        let rules = Lock::new(Arc::new(Rules::new(access, api)?));
        let addresses = Arc::new(Addresses::new(limits.connections_per_address_max, limits.request_rate));
        Ok(Self { rules, unix_time, addresses, is_draining: AtomicBool::new(false) })
    }

    /// Replaces the rules. Whoever has been let in stays.
    ///
    /// # Errors
    /// As for [`new`](Self::new). Then the old rules stay.
    pub(crate) fn reload(&self, access: &Access, api: &ApiSettings, limits: &Limits) -> io::Result<()> {
        let rules = Arc::new(Rules::new(access, api)?);
        *self.rules.lock() = rules;
        self.addresses.set_limits(limits.connections_per_address_max, limits.request_rate);
        Ok(())
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock())
    }

    /// From here on, no more clients are let in.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// Checks that a request is an operator's.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check_admin(&self, headers: &HeaderMap) -> Result<(), NotAdmin> {
        self.rules().admin.check(headers)
    }

    /// Whether a connection from this address begins with a PROXY header.
    pub(crate) fn begins_with_header(&self, from: IpAddr) -> bool {
        self.rules().access.proxy_protocol.iter().any(|proxy| proxy.contains(from))
    }

    /// Counts a connection from an address. A proxy's connection counts for no address; its requests count for their
    /// clients.
    pub(crate) fn enter(&self, from: IpAddr) -> Source {
        if self.is_proxy(from) { Source::unlimited(from) } else { self.addresses.enter(from) }
    }

    /// The client of a request on a proxy's connection, which counts until it is dropped. `None` if `from` is not a
    /// proxy.
    pub(crate) fn client(&self, from: IpAddr, headers: &HeaderMap) -> Option<Source> {
        let client = || self.addresses.enter(proxies::client(&self.rules().access.proxies, from, headers));
        self.is_proxy(from).then(client)
    }

    fn is_proxy(&self, from: IpAddr) -> bool {
        self.rules().access.proxies.iter().any(|proxy| proxy.contains(from))
    }

    /// Checks whether pages of the request's origin may connect.
    ///
    /// # Errors
    /// They may not.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Access { origins, .. } = &self.rules().access;
        let Some(origin) = headers.get(header::ORIGIN).filter(|_| !origins.is_empty()) else {
            return Ok(());
        };
        let is_allowed = |allowed: &String| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes());
        if origins.iter().any(is_allowed) { Ok(()) } else { Err(Refusal::Origin) }
    }

    /// [`check_origin`](Self::check_origin) and [`check_token`](Self::check_token) for a request of a new client.
    ///
    /// # Errors
    /// One of them refuses it, or the server is about to stop.
    pub(crate) fn admit(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Grant, Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        self.check_origin(headers)?;
        self.check_token(headers, query)
    }

    /// What the request's token allows: `Authorization: Bearer TOKEN`, or `?token=TOKEN` for clients that cannot set
    /// headers.
    ///
    /// # Errors
    /// A token is required, and there is no valid one.
    pub(crate) fn check_token(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Grant, Refusal> {
        let rules = self.rules();
        if !rules.access.requires_token() {
            return Ok(Grant::default());
        }
        let in_query = || query::value(query, "token").and_then(|token| String::from_utf8(token.into_owned()).ok());
        let token = bearer(headers).map(str::to_owned).or_else(in_query).ok_or(Refusal::NoToken)?;
        // Compares with all of them, so that the time reveals nothing.
        let is_known = rules.access.tokens.iter().fold(false, |known, one| known | is_same(one, &token));
        if is_known {
            return Ok(Grant::default());
        }
        let claims = rules.room_key.as_ref().and_then(|key| token::verify(key, &token)).ok_or(Refusal::WrongToken)?;
        let unix_time = self.unix_time;
        if unix_time() >= claims.exp {
            return Err(Refusal::ExpiredToken);
        }
        Ok(Grant(Some(Arc::new(Bound { claims, unix_time }))))
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case("Bearer ").then_some(token)
}

/// Whether two secrets are equal, in a time that depends only on their lengths.
pub(crate) fn is_same(secret: &str, given: &str) -> bool {
    secret.as_bytes().ct_eq(given.as_bytes()).into()
}

//= https://www.rfc-editor.org/rfc/rfc6750#section-2.1
//# b64token    = 1*( ALPHA / DIGIT /
//#                   "-" / "." / "_" / "~" / "+" / "/" ) *"="
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// # Errors
/// One of them is not an origin. The message says what would be right.
pub(crate) fn check_origins(origins: &[String]) -> io::Result<()> {
    match origins.iter().find(|origin| !is_origin(origin)) {
        None => Ok(()),
        Some(origin) => Err(crate::invalid(format!(
            "`{origin}` is not an origin: write it like `https://example.org` or `http://localhost:5173`"
        ))),
    }
}

/// Whether a text is an origin in the form that browsers send (RFC 6454 §6.2), such as `https://example.org`.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    // The parser adds the path `/`; the text itself must end with the authority.
    matches!((uri.scheme_str(), uri.authority()), (Some(_), Some(authority)) if text.ends_with(authority.as_str()))
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_distinguished_from_urls() {
        for right in ["https://example.org", "http://localhost:5173", "https://[::1]:8443", "app://host"] {
            assert!(is_origin(right), "{right}");
        }
        for wrong in
            ["", "*", "null", "example.org", "https://", "https://a.test/", "https://a.test/x", "https://u@a.test"]
        {
            assert!(!is_origin(wrong), "{wrong}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let mut access = Access { tokens: vec!["hush".to_owned()], ..Access::default() };
        access.room_secret = Some("quiet, sixteen bytes".to_owned());
        let shown = format!("{access:?}");
        assert!(!shown.contains("hush") && !shown.contains("quiet"), "{shown}");
        for (tokens, secret) in [(vec!["with space"], None), (vec![""], None), (vec!["fine"], Some("too-short"))] {
            access.tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
            access.room_secret = secret.map(str::to_owned);
            let error = Guard::new(&access, &ApiSettings::default(), &Limits::default(), || 0)
                .err()
                .expect("it is wrong")
                .to_string();
            assert!(tokens.iter().chain(&secret).all(|s| s.is_empty() || !error.contains(s)), "{error}");
        }
    }
}
