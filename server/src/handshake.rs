//! The WebSocket handshake, and the refusals of HTTP requests, for all endpoints.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::access::Refusal;
use crate::access::addresses::LimitExceeded;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::session::deflate::{self, Deflate};

/// What a client may offer in its handshake and get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negotiable {
    accept_subprotocol: bool,
    deflate: Option<Deflate>,
}

impl Negotiable {
    pub(crate) fn of(config: &Config) -> Self {
        Self { accept_subprotocol: config.accept_subprotocol, deflate: config.deflate }
    }
}

/// The 101 response that opens a WebSocket, or the refusal of any other request. If the response agrees to compression,
/// its extensions contain what was [agreed](deflate::Agreed).
pub(crate) fn handshake<B>(request: &Request<B>, negotiable: Negotiable) -> Response<Full<Bytes>> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, Some((header::ALLOW, "GET")), "Only GET");
    }
    let asks_for_upgrade = request.version() == Version::HTTP_11
        && has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::CONNECTION, "upgrade");
    if !asks_for_upgrade {
        return refuse(StatusCode::UPGRADE_REQUIRED, Some((header::UPGRADE, "websocket")), "A WebSocket endpoint");
    }
    // RFC 6455 §11.3.1 and §11.3.5: these headers must not appear more than once. With a body, two readers of the same
    // bytes could disagree on where the frames begin.
    let is_doubled = |name: HeaderName| headers.get_all(name).iter().nth(1).is_some();
    if is_doubled(header::SEC_WEBSOCKET_KEY) || is_doubled(header::SEC_WEBSOCKET_VERSION) {
        return refuse(StatusCode::BAD_REQUEST, None, "Sec-WebSocket-Key or Sec-WebSocket-Version is doubled");
    }
    let has_length = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if has_length || headers.contains_key(header::TRANSFER_ENCODING) {
        return refuse(StatusCode::BAD_REQUEST, None, "A request for a WebSocket has no body");
    }
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.4
    //# If the server doesn't support the requested version, it MUST respond with a
    //# |Sec-WebSocket-Version| header field (or multiple
    //# |Sec-WebSocket-Version| header fields) containing all versions it is
    //# willing to use.
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        let version = Some((header::SEC_WEBSOCKET_VERSION, "13"));
        return refuse(StatusCode::UPGRADE_REQUIRED, version, "Only WebSocket version 13");
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes())) else {
        return refuse(StatusCode::BAD_REQUEST, None, "Sec-WebSocket-Key is missing or malformed");
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is a header value");
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = first_subprotocol(request.headers()).filter(|_| negotiable.accept_subprotocol) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let agreed =
        negotiable.deflate.and_then(|deflate| deflate::agree(deflate, offers.filter_map(|line| line.to_str().ok())));
    if let Some(agreed) = agreed {
        let answer = HeaderValue::try_from(agreed.answer()).expect("names and numbers are a header value");
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, answer);
        response.extensions_mut().insert(agreed);
    }
    response
}

//= https://www.rfc-editor.org/rfc/rfc9112#section-3.2
//# A server MUST respond with a 400 (Bad Request) status code to any
//# HTTP/1.1 request message that lacks a Host header field and to any
//# request message that contains more than one Host header field line or
//# a Host header field with an invalid field value.
/// Whether a request has the Host header that it needs.
pub(crate) fn has_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let is_host = |host: &HeaderValue| {
        host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
    };
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host),
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// A refusal in plain text, with an additional header.
pub(crate) fn refuse(
    status: StatusCode,
    extra: Option<(HeaderName, &'static str)>,
    why: &'static str,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(why));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if let Some((name, value)) = extra {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The first subprotocol that a client offers, which is the one it prefers (RFC 6455 §4.1).
fn first_subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let first = offers.flat_map(|value| value.split(',')).map(str::trim).find(|offer| !offer.is_empty())?;
    //= https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
    //# token          = 1*tchar
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    first.bytes().all(is_token).then(|| HeaderValue::from_str(first).expect("a token is a header value"))
}

/// Whether a comma-separated header contains a token, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

/// Whether a key has the form of 16 bytes in base64 (RFC 6455 §4.1): 22 characters and `==`.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_base64))
}

/// The response to a client that the [`Guard`](crate::access::Guard) refuses.
pub(crate) fn refuse_access(metrics: &Metrics, refusal: Refusal) -> Response<Full<Bytes>> {
    metrics.refused.count(refusal.label());
    let (status, header) = match refusal {
        Refusal::Origin => (StatusCode::FORBIDDEN, None),
        Refusal::NoToken => (StatusCode::UNAUTHORIZED, Some((header::WWW_AUTHENTICATE, "Bearer"))),
        Refusal::WrongToken | Refusal::ExpiredToken => {
            (StatusCode::UNAUTHORIZED, Some((header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")))
        }
        Refusal::LimitExceeded(LimitExceeded::Connections) => {
            (StatusCode::TOO_MANY_REQUESTS, Some((header::CONNECTION, "close")))
        }
        Refusal::LimitExceeded(LimitExceeded::Requests) => {
            (StatusCode::TOO_MANY_REQUESTS, Some((header::RETRY_AFTER, "1")))
        }
        Refusal::Draining => (StatusCode::SERVICE_UNAVAILABLE, Some((header::RETRY_AFTER, "1"))),
    };
    refuse(status, header, refusal.message())
}
