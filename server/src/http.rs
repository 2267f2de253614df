//! One TCP connection from its first byte: HTTP/1.1 until a request upgrades it, then a dialect's WebSocket.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Config;
use crate::api::{Api, Page};
use crate::dialect::{Dialect, WebSocketDialect};
use crate::session::close::Close;
use crate::session::connection;
use crate::session::limits::Limits;
use crate::session::queue::Queue;
use crate::session::registry::{Registration, Registry};
use crate::socketio::{self, SocketIo};

/// Longest request head, in bytes.
const REQUEST_HEAD_BYTES_MAX: usize = 16 * 1024;

/// What one listening address serves.
pub(crate) struct Site {
    /// Its name in logs and errors.
    pub(crate) name: &'static str,
    /// By path without the query, compared exactly.
    pub(crate) routes: Vec<(&'static str, Route)>,
}

impl Site {
    /// The dialects behind its routes.
    pub(crate) fn dialects(&self) -> impl Iterator<Item = Arc<dyn Dialect>> {
        self.routes.iter().filter_map(|(_, route)| match route {
            Route::WebSocket(dialect) => Some(Arc::clone(dialect) as _),
            Route::SocketIo(endpoint) => Some(endpoint.dialect()),
            Route::Api(..) => None,
        })
    }
}

/// What is at a path.
pub(crate) enum Route {
    /// A dialect's WebSocket.
    WebSocket(Arc<dyn WebSocketDialect>),
    /// Socket.IO.
    SocketIo(Arc<SocketIo>),
    /// An endpoint of the API.
    Api(Arc<Api>, Page),
}

/// A WebSocket that a request asked for.
enum Opening {
    /// A dialect's own, with the query of its URL.
    Dialect(Arc<dyn WebSocketDialect>, Option<String>),
    SocketIo(socketio::Opening),
}

/// Serves one TCP connection to its end.
pub(crate) async fn serve<S>(stream: S, site: &Site, registration: Registration, registry: &Registry, config: &Config)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let queue = Arc::clone(&registration.queue);
    // In a box, so that a WebSocket does not carry HTTP's state through its life.
    let Some(upgraded) = Box::pin(serve_http(stream, site, &queue, &config.limits)).await else { return };
    let Upgraded { stream, read_ahead, opening } = upgraded;
    let (dialect, query) = match opening {
        Opening::Dialect(dialect, query) => (dialect, query),
        // In a box as well: the others need less.
        Opening::SocketIo(opening) => return Box::pin(opening.serve(stream, read_ahead, &queue)).await,
    };
    if registry.connections() > config.limits.connections_max {
        queue.close(Close::OverCapacity);
    }
    let session = dialect.open(query.as_deref(), Arc::clone(&queue));
    let socket = connection::open(stream, read_ahead, config.limits.frame_bytes_max).await;
    connection::run(socket, session, queue, &config.limits, Some(&config.heartbeat)).await;
}

/// A connection whose WebSocket is open.
struct Upgraded<S> {
    stream: S,
    /// What arrived behind the request.
    read_ahead: Vec<u8>,
    opening: Opening,
}

/// Answers requests until one opens a WebSocket, or the connection ends.
async fn serve_http<S>(stream: S, site: &Site, queue: &Queue, limits: &Limits) -> Option<Upgraded<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let opening = Mutex::new(None);
    let service = service_fn(|request| Box::pin(respond(site, request, &opening)));
    let mut http = http1::Builder::new()
        // It would read the wall clock.
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_timeout)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        biased;
        () = queue.closed() => None,
        ended = poll_fn(|cx| http.poll_without_shutdown(cx)) => Some(ended),
    };
    let Some(ended) = ended else {
        // A request that waits for news is answered before the end.
        Pin::new(&mut http).graceful_shutdown();
        let _ = timeout(limits.close_timeout, http).await;
        return None;
    };
    // A broken request was answered by hyper; a lost connection is no news.
    ended.ok()?;
    let http1::Parts { io, read_buf, .. } = http.into_parts();
    let mut stream = io.into_inner();
    let Some(opening) = opening.into_inner().unwrap_or_else(PoisonError::into_inner) else {
        let _ = timeout(limits.close_timeout, connection::hang_up(&mut stream)).await;
        return None;
    };
    // Copied, for it is mostly empty, and would else keep hyper's whole buffer for the WebSocket.
    Some(Upgraded { stream, read_ahead: read_buf.to_vec(), opening })
}

/// The answer to a request. Leaves in `opening` what is to follow it.
async fn respond(
    site: &Site,
    request: Request<Incoming>,
    opening: &Mutex<Option<Opening>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut opens = None;
    let response = match site.routes.iter().find(|(path, _)| *path == request.uri().path()) {
        None => refuse(StatusCode::NOT_FOUND, None, "No such path"),
        Some((_, Route::WebSocket(dialect))) => {
            let response = upgrade(&**dialect, &request);
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let query = request.uri().query().map(str::to_owned);
                opens = Some(Opening::Dialect(Arc::clone(dialect), query));
            }
            response
        }
        Some((_, Route::SocketIo(endpoint))) => {
            let (response, opening) = Box::pin(endpoint.respond(request)).await;
            opens = opening.map(Opening::SocketIo);
            response
        }
        // In a box, because most connections never need the room.
        Some((_, Route::Api(api, page))) => Box::pin(api.respond(*page, request)).await,
    };
    *opening.lock().unwrap_or_else(PoisonError::into_inner) = opens;
    Ok(response)
}

/// The answer to a request at a dialect's path; 101 when it opens a WebSocket.
fn upgrade<B>(dialect: &dyn WebSocketDialect, request: &Request<B>) -> Response<Full<Bytes>> {
    match (handshake(request), dialect.admit(request.uri().query())) {
        (response, Err(why)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            refuse(StatusCode::BAD_REQUEST, None, why)
        }
        (response, _) => response,
    }
}

/// The 101 that opens a WebSocket, or what tells a request that asks for none, or wrongly.
pub(crate) fn handshake<B>(request: &Request<B>) -> Response<Full<Bytes>> {
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
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.4
    //# If the server doesn't support the requested version, it MUST respond with a
    //# |Sec-WebSocket-Version| header field (or multiple
    //# |Sec-WebSocket-Version| header fields) containing all versions it is
    //# willing to use.
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
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
    response
}

fn refuse(status: StatusCode, extra: Option<(HeaderName, &'static str)>, why: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(why));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if let Some((name, value)) = extra {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a comma-separated header contains a token, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

/// Whether it can be the base64 of 16 bytes (RFC 6455 §4.1): 22 characters and `==`.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_base64))
}
