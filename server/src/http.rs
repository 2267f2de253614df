//! One TCP connection from its first byte: TLS if there is a certificate, then HTTP/1.1 until a request upgrades it,
//! then a dialect's WebSocket.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use crate::Shared;
use crate::access::addresses::Source;
use crate::access::{Grant, Refusal};
use crate::handshake::{Negotiable, handshake, has_one_host, refuse, refuse_access};
use crate::lock::Lock;
use crate::pace::{Pace, Paced};
use crate::session::client::Client;
use crate::session::close::Close;
use crate::session::connection;
use crate::session::deflate::Agreed;
use crate::session::dialect::{Session, WebSocketDialect};
use crate::session::queue::Queue;
use crate::session::registry::Registration;
use crate::site::{Route, Site};
use crate::socketio;

/// Maximum length of a request head, in bytes.
const REQUEST_HEAD_BYTES_MAX: usize = 16 * 1024;

/// A WebSocket that a request opens.
enum Opening {
    /// A dialect's WebSocket, with the query of its URL and what it may join.
    Dialect(Arc<dyn WebSocketDialect>, Option<String>, Grant),
    SocketIo(socketio::Opening),
}

/// What follows the response to a request.
struct Opens {
    opening: Opening,
    /// The client, if a proxy made the connection.
    client: Option<Source>,
    /// How its messages are compressed.
    deflate: Option<Agreed>,
}

/// Completes the TLS handshake, then serves the connection to its end.
pub(crate) async fn serve_tls<S>(
    stream: S,
    tls: TlsAcceptor,
    source: Source,
    site: Arc<Site>,
    registration: Registration,
    shared: Arc<Shared>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = timeout(shared.registry.limits().handshake_timeout, tls.accept(stream));
    let handshaken = tokio::select! {
        biased;
        () = registration.queue.closed() => return,
        handshaken = handshake => handshaken,
    };
    match handshaken {
        Ok(Ok(stream)) => serve(stream, source, site, registration, shared).await,
        Ok(Err(error)) => {
            tracing::debug!(site = site.name, from = %source.from(), %error, "failed to complete the TLS handshake");
            shared.registry.metrics.refused.count("tls-handshake");
        }
        Err(_) => shared.registry.metrics.refused.count("tls-timeout"),
    }
}

/// Serves one connection from its first byte of HTTP to its end.
///
/// The size of its future is the memory cost of an idle connection, so it contains only what a WebSocket needs.
pub(crate) async fn serve<S>(
    stream: S,
    mut source: Source,
    site: Arc<Site>,
    registration: Registration,
    shared: Arc<Shared>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let queue = &registration.queue;
    // Boxed, so that a WebSocket does not keep the memory of HTTP's state.
    let Some(upgraded) = Box::pin(serve_http(stream, &site, &source, queue, &shared)).await else { return };
    let Upgraded { stream, read_ahead, opened, client, deflate } = upgraded;
    let deflate = deflate.map(|agreed| (agreed, &shared.codecs));
    if let Some(client) = client {
        source = client;
    }
    let (metrics, heartbeat, limits) = (&shared.registry.metrics, &shared.config.heartbeat, shared.registry.limits());
    let session = match opened {
        Opened::Dialect(session) => session,
        // Boxed as well: other connections need less memory.
        Opened::SocketIo(opening) => return Box::pin(opening.serve(stream, read_ahead, queue, deflate)).await,
    };
    let socket = connection::open(stream, read_ahead, limits.frame_bytes_max, deflate).await;
    let queue = Arc::clone(queue);
    let registered = &registration.queue;
    let why = connection::run(socket, session, queue, registered, &limits, Some(heartbeat), metrics).await;
    let queue = &registration.queue;
    let ((received, _), (sent, _)) = (queue.tally.counts(), queue.sent_and_dropped());
    tracing::debug!(site = site.name, from = %source.from(), why, received, sent = sent.messages, "ended");
}

/// The protocol on an open WebSocket.
enum Opened {
    Dialect(Box<dyn Session>),
    SocketIo(socketio::Opening),
}

/// A connection whose WebSocket is open.
struct Upgraded<S> {
    stream: S,
    /// The bytes that arrived after the request.
    read_ahead: Vec<u8>,
    opened: Opened,
    /// The client, if a proxy made the connection.
    client: Option<Source>,
    deflate: Option<Agreed>,
}

/// How HTTP ends on a connection.
enum HttpEnd {
    /// The connection ended or was upgraded.
    Ended(hyper::Result<()>),
    /// The next request did not arrive in time.
    TooSlow,
}

/// Answers requests until one opens a WebSocket, or the connection ends.
async fn serve_http<S>(
    stream: S,
    site: &Site,
    source: &Source,
    queue: &Arc<Queue>,
    shared: &Arc<Shared>,
) -> Option<Upgraded<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let begun = Instant::now();
    let registry = &shared.registry;
    let limits = &registry.limits();
    let opening = Lock::new(None);
    let pace = Pace::new(limits, begun);
    let service = service_fn(|request| {
        let (pace, opening) = (&pace, &opening);
        Box::pin(async move {
            pace.head_received();
            let response = respond(site, shared, source, queue, request, opening).await;
            pace.response_ready();
            response
        })
    });
    let mut http = http1::Builder::new()
        // hyper's own header would read the wall clock.
        .auto_date_header(false)
        // hyper's own limit includes the idle time before a head.
        .header_read_timeout(None)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Paced::new(stream, &pace)), service);
    let mut alarm = Box::pin(sleep_until(begun + limits.head_timeout));
    let http_end = poll_fn(|cx| {
        // Reads before it looks at the clock: what has arrived counts, however late this task runs.
        if let Poll::Ready(ended) = http.poll_without_shutdown(cx) {
            return Poll::Ready(HttpEnd::Ended(ended));
        }
        let Some(due) = pace.due() else { return Poll::Pending };
        if due != alarm.deadline() {
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(cx).map(|()| HttpEnd::TooSlow)
    });
    let ended = tokio::select! {
        biased;
        () = queue.closed() => None,
        ended = http_end => Some(ended),
    };
    let Some(ended) = ended else {
        if queue.is_displaced() {
            return None;
        }
        // A waiting poll is answered before the connection ends.
        Pin::new(&mut http).graceful_shutdown();
        let _ = timeout(limits.close_timeout, http).await;
        return None;
    };
    // hyper has already answered a malformed request, and a lost connection is not an error.
    let is_too_slow = match ended {
        HttpEnd::Ended(ended) => ended.map(|()| false).ok()?,
        HttpEnd::TooSlow => true,
    };
    let http1::Parts { io, read_buf, .. } = http.into_parts();
    let mut stream = io.into_inner().into_inner();
    if is_too_slow {
        let _ = timeout(limits.close_timeout, stream.shutdown()).await;
        return None;
    }
    let Some(Opens { opening, client, deflate }) = opening.into_inner() else {
        let _ = timeout(limits.close_timeout, connection::shut_down_tcp(&mut stream)).await;
        return None;
    };
    registry.metrics.handshake.observe(begun.elapsed().as_secs_f64());
    let opened = match opening {
        Opening::Dialect(dialect, query, grant) => {
            if registry.is_over_capacity() {
                queue.close(Close::OverCapacity);
            }
            let client = Client::new(Arc::clone(queue), grant, limits);
            Opened::Dialect(dialect.open(query.as_deref(), client))
        }
        Opening::SocketIo(opening) => Opened::SocketIo(opening),
    };
    // Copied, because it is mostly empty and would otherwise keep hyper's whole buffer alive.
    Some(Upgraded { stream, read_ahead: read_buf.to_vec(), opened, client, deflate })
}

/// The response to a request. Sets `opens` if a WebSocket follows.
async fn respond(
    site: &Site,
    shared: &Arc<Shared>,
    source: &Source,
    queue: &Queue,
    request: Request<Incoming>,
    opens: &Lock<Option<Opens>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let route = site.routes.iter().find(|(known, _)| *known == path).map(|(_, route)| route);
    let client = shared.guard.client(source.from(), request.headers()).filter(|_| !site.is_private);
    let mut opening = None;
    let visitor = client.as_ref().unwrap_or(source);
    let response = match (visitor.request(), route, &site.api) {
        (Err(too_much), ..) => {
            let mut response = refuse_access(&shared.registry.metrics, Refusal::LimitExceeded(too_much));
            // Pages that may read the other responses may read this one.
            if matches!(route, Some(Route::Api(..) | Route::SocketIo(_))) || site.api.is_some() && is_below_api(path) {
                shared.cors.allow(request.headers().get(header::ORIGIN), response.headers_mut());
            }
            response
        }
        (Ok(()), ..) if !has_one_host(&request) => {
            shared.registry.metrics.refused.count("host");
            refuse(StatusCode::BAD_REQUEST, None, "A request needs one Host header, with a host and perhaps a port")
        }
        (Ok(()), Some(Route::Health), _) => health(request.method(), shared.guard.is_draining()),
        (Ok(()), Some(Route::Metrics(page)), _) => page.respond(request.method(), request.headers(), &shared.guard),
        (Ok(()), Some(Route::WebSocket(dialect)), _) => {
            let (response, grant) = open(&**dialect, &request, shared);
            let query = request.uri().query().map(str::to_owned);
            if grant.is_some() {
                // Before the client is told, so that whoever begins to drain the server then waits for it.
                queue.bind(dialect.name());
            }
            opening = grant.map(|grant| Opening::Dialect(Arc::clone(dialect), query, grant));
            response
        }
        (Ok(()), Some(Route::SocketIo(endpoint)), _) => {
            let (response, socketio) = Box::pin(endpoint.respond(request, &shared.guard, visitor, queue)).await;
            opening = socketio.map(Opening::SocketIo);
            response
        }
        // Boxed, because most connections never need this memory.
        (Ok(()), Some(Route::Api(api, page)), _) => {
            let response = Box::pin(api.respond(*page, request, &shared.guard, queue)).await;
            match response.status() {
                StatusCode::UNAUTHORIZED => shared.registry.metrics.refused.count("api-unauthorized"),
                StatusCode::FORBIDDEN => shared.registry.metrics.refused.count("api-forbidden"),
                _ => {}
            }
            response
        }
        (Ok(()), Some(Route::Page(page)), _) => page.respond(&request, shared),
        (Ok(()), _, Some(api)) if is_below_api(path) => api.no_such_path(&request),
        (Ok(()), ..) => refuse(StatusCode::NOT_FOUND, None, "No such path"),
    };
    if response.status() == StatusCode::NOT_FOUND {
        shared.registry.metrics.refused.count("not-found");
    }
    let deflate = response.extensions().get().copied();
    *opens.lock() = opening.map(|opening| Opens { opening, client, deflate });
    Ok(response)
}

fn is_below_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// The response to a request at a dialect's path, and what may be joined if it opens a WebSocket.
fn open<B>(
    dialect: &dyn WebSocketDialect,
    request: &Request<B>,
    shared: &Shared,
) -> (Response<Full<Bytes>>, Option<Grant>) {
    let response = upgrade(dialect, request, Negotiable::of(&shared.config));
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        shared.registry.metrics.refused.count("not-an-upgrade");
        return (response, None);
    }
    let (headers, guard) = (request.headers(), &shared.guard);
    match guard.admit(headers, request.uri().query()) {
        Ok(grant) => (response, Some(grant)),
        Err(refusal) => (refuse_access(&shared.registry.metrics, refusal), None),
    }
}

/// The response to a load balancer: as long as new clients are served, the server is healthy.
fn health(method: &Method, is_draining: bool) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, Some((header::ALLOW, "GET, HEAD")), "Only GET");
    }
    let mut response = Response::new(Full::from(r#"{"status":"ok"}"#));
    if is_draining {
        response = Response::new(Full::from(r#"{"status":"draining"}"#));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The response to a request at a dialect's path; 101 if it opens a WebSocket.
fn upgrade<B>(dialect: &dyn WebSocketDialect, request: &Request<B>, negotiable: Negotiable) -> Response<Full<Bytes>> {
    match (handshake(request, negotiable), dialect.admit(request.uri().query())) {
        (response, Err(why)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            refuse(StatusCode::BAD_REQUEST, None, why)
        }
        (response, _) => response,
    }
}
