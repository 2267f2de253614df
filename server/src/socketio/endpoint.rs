//! The HTTP side of Engine.IO: handshakes, polls, posts, and requests for a WebSocket.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::engine::packets;
use super::session::{InvalidRequest, Session};
use super::sessions::{Engine, SocketIo};
use super::websocket::Opening;
use crate::access::addresses::{LimitExceeded, Source};
use crate::access::{self, Grant, Guard};
use crate::handshake::{handshake, refuse, refuse_access};
use crate::pace::{self, BodyError};
use crate::session::budget::Held;
use crate::session::close::Close;
use crate::session::pressure;
use crate::session::queue::Queue;

/// What is wrong with a request, in the terms of Engine.IO.
#[derive(Clone, Copy)]
enum Refusal {
    UnknownTransport,
    UnknownSid,
    BadHandshakeMethod,
    BadRequest,
    UnsupportedProtocolVersion,
    /// Not in its terms: there are as many sessions as there may be.
    OverCapacity,
    /// Not in its terms: the address has as many as it may have.
    Access(access::Refusal),
}

#[derive(Serialize)]
struct RefusalBody {
    code: u8,
    message: &'static str,
}

/// The query of a request.
#[derive(Default)]
struct Query<'a> {
    version: Option<&'a str>,
    transport: Option<&'a str>,
    sid: Option<&'a str>,
}

impl SocketIo {
    /// Answers a request of `source` on a connection. A WebSocket may follow.
    pub(crate) async fn respond(
        self: &Arc<Self>,
        request: Request<Incoming>,
        guard: &Guard,
        source: &Source,
        connection: &Queue,
    ) -> (Response<Full<Bytes>>, Option<Opening>) {
        if request.method() == Method::OPTIONS {
            return (self.preflight(request.headers()), None);
        }
        let (headers, query) = (request.headers(), request.uri().query());
        let origin = headers.get(header::ORIGIN).cloned();
        let is_new = Query::parse(query.unwrap_or_default()).sid.is_none();
        let granted = match is_new {
            true => guard.admit(headers, query),
            false => guard.check_origin(headers).and_then(|()| guard.check_token(headers, query)),
        };
        let (mut response, opening) = match granted {
            Err(refusal) => (refuse_access(&self.engine().registry.metrics, refusal), None),
            Ok(grant) => match self.handle(request, grant, source, connection).await {
                Ok(answered) => answered,
                Err(Refusal::Access(refusal)) => (refuse_access(&self.engine().registry.metrics, refusal), None),
                Err(refusal) => (refusal.response(), None),
            },
        };
        self.engine().cors.allow(origin.as_ref(), response.headers_mut());
        (response, opening)
    }

    async fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        grant: Grant,
        source: &Source,
        connection: &Queue,
    ) -> Result<(Response<Full<Bytes>>, Option<Opening>), Refusal> {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let over_websocket = match query.transport {
            Some("polling") => false,
            Some("websocket") => true,
            _ => return Err(Refusal::UnknownTransport),
        };
        let session = match query.sid {
            Some(sid) => {
                let session = self.lock().get(sid).filter(|session| session.is_open()).cloned();
                Some(session.ok_or(Refusal::UnknownSid)?)
            }
            None if request.method() != Method::GET => return Err(Refusal::BadHandshakeMethod),
            None => None,
        };
        if query.version != Some("4") {
            return Err(match session {
                Some(_) => Refusal::BadRequest,
                None => Refusal::UnsupportedProtocolVersion,
            });
        }
        if over_websocket {
            let response = handshake(&request, self.engine().negotiable);
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(Refusal::BadRequest);
            }
            let entering = match &session {
                Some(_) => None,
                None => Some((source.open_session()?, grant)),
            };
            let probe = session.map(|session| session.probe()).transpose().map_err(Refusal::from)?;
            return Ok((response, Some(Opening { endpoint: Arc::clone(self), probe, entering })));
        }
        // The connection of a client that has joined keeps its place.
        if session.as_ref().is_some_and(|session| session.has_joined()) {
            connection.joined();
        }
        let response = match session {
            None => {
                let session = self.open(false, grant, source.open_session()?).ok_or(Refusal::OverCapacity)?;
                payload(session.poll().map_err(Refusal::from)?.await)
            }
            Some(session) if request.method() == Method::GET => payload(session.poll().map_err(Refusal::from)?.await),
            Some(session) if request.method() == Method::POST => {
                let response = self.post(&session, request.into_body()).await?;
                if session.has_joined() {
                    connection.joined();
                }
                response
            }
            Some(_) => return Err(Refusal::BadRequest),
        };
        Ok((response, None))
    }

    /// Reads a payload.
    async fn post(&self, session: &Arc<Session>, body: Incoming) -> Result<Response<Full<Bytes>>, Refusal> {
        let post = session.post()?;
        let Engine { settings, registry, .. } = self.engine();
        let limits = registry.limits();
        let mut held = Held::nothing(&session.queue.budget);
        let body = match pace::body(body, settings.payload_bytes_max, limits.body_timeout, &mut held).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => {
                post.finish();
                return Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "Payload too large"));
            }
            Err(BodyError::Incomplete) => return Err(Refusal::BadRequest),
            Err(BodyError::OverBudget) => {
                post.finish();
                return Err(Refusal::OverCapacity);
            }
            Err(BodyError::TooSlow) => {
                // No packet of it was handled, so the client can send it again.
                post.finish();
                let mut response = text(StatusCode::REQUEST_TIMEOUT, "text/plain", "The payload came too slowly");
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return Ok(response);
            }
        };
        let Ok(body) = str::from_utf8(&body) else {
            session.close(Close::Packet);
            post.finish();
            return Err(Refusal::BadRequest);
        };
        for packet in packets(body) {
            pressure::found();
            session.receive_posted(packet);
            if let Some(pressure) = pressure::found() {
                pressure.over().await;
            }
        }
        post.finish();
        Ok(text(StatusCode::OK, "text/html", "ok"))
    }

    /// Answers a browser's preflight request.
    fn preflight(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        if self.engine().cors.allow(headers.get(header::ORIGIN), answer) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
            if let Some(asked_for) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked_for.clone());
                let varies = HeaderValue::from_static("Access-Control-Request-Headers");
                answer.append(header::VARY, varies);
            }
        }
        response
    }
}

impl<'a> Query<'a> {
    /// Of a duplicate parameter the last one counts. The values needed are never percent-encoded.
    fn parse(text: &'a str) -> Self {
        let mut query = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "EIO" => query.version = Some(value),
                "transport" => query.transport = Some(value),
                "sid" => query.sid = Some(value).filter(|sid| !sid.is_empty()),
                _ => {}
            }
        }
        query
    }
}

impl Refusal {
    fn response(self) -> Response<Full<Bytes>> {
        let (code, message) = match self {
            Self::OverCapacity => return text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "Over capacity"),
            Self::Access(refusal) => return refuse(StatusCode::TOO_MANY_REQUESTS, None, refusal.message()),
            Self::UnknownTransport => (0, "Transport unknown"),
            Self::UnknownSid => (1, "Session ID unknown"),
            Self::BadHandshakeMethod => (2, "Bad handshake method"),
            Self::BadRequest => (3, "Bad request"),
            Self::UnsupportedProtocolVersion => (5, "Unsupported protocol version"),
        };
        let body = serde_json::to_string(&RefusalBody { code, message }).expect("it consists of a text and a number");
        text(StatusCode::BAD_REQUEST, "application/json", body)
    }
}

impl From<InvalidRequest> for Refusal {
    fn from(invalid: InvalidRequest) -> Self {
        match invalid {
            InvalidRequest::Over => Self::UnknownSid,
            InvalidRequest::Transport | InvalidRequest::Overlap => Self::BadRequest,
        }
    }
}

impl From<LimitExceeded> for Refusal {
    fn from(limit: LimitExceeded) -> Self {
        Self::Access(access::Refusal::LimitExceeded(limit))
    }
}

fn payload(payload: String) -> Response<Full<Bytes>> {
    text(StatusCode::OK, "text/plain; charset=UTF-8", payload)
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
