//! The HTTP endpoints beside `sender-viewer`: JSON for clients and operators.
//!
//! `docs/conformance/promises.md` says what they promise. Decisions on what it leaves open: a refusal has the form of a
//! success with `"success":false`; a body over 4 KiB gets 413, one that does not arrive gets 408; the admin token protects
//! only the kick, which is closed (403) if clients need tokens and there is no admin token; a token for one room shows only
//! that room; HEAD is answered like GET.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::access::admin::NotAdmin;
use crate::access::{Grant, Guard, Refusal};
use crate::config::Config;
use crate::cors::Cors;
use crate::dialect::json;
use crate::dialect::sender_viewer::{RoomStatus, SenderViewer};
use crate::pace::{self, BodyError};
use crate::session::budget::Held;
use crate::session::queue::Queue;
use crate::turn::credentials::{Credentials, EphemeralCredential};

/// Maximum length of a request body, in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// The state that the endpoints share.
pub(crate) struct Api {
    dialect: Arc<SenderViewer>,
    ice_urls: Option<Vec<String>>,
    cors: Cors,
    ice: Option<IceService>,
    body_timeout: Duration,
}

/// This server's own STUN and TURN services, for `/api/config`.
pub(crate) struct IceService {
    /// The address of STUN, and of TURN if there is one.
    pub(crate) stun: SocketAddr,
    /// The port of both over TLS.
    pub(crate) tls_port: Option<u16>,
    /// Creates TURN credentials.
    pub(crate) turn: Option<Arc<Credentials>>,
}

/// An endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// `GET /api/config`
    Config,
    /// `GET /api/health`
    Health,
    /// `GET /api/status`
    Status,
    /// `POST /api/kick`
    Kick,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigBody {
    ice_servers: Vec<IceServer>,
}

/// The W3C's `RTCIceServer`.
#[derive(Serialize)]
struct IceServer {
    urls: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
}

impl IceServer {
    fn open(urls: String) -> Self {
        Self { urls, username: None, credential: None }
    }
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
}

#[derive(Serialize)]
struct StatusBody {
    rooms: Vec<RoomStatus>,
}

#[derive(Serialize)]
struct Outcome {
    success: bool,
    message: &'static str,
}

impl Api {
    pub(crate) fn new(dialect: Arc<SenderViewer>, config: &Config, cors: Cors, ice: Option<IceService>) -> Self {
        let Config { api, limits, .. } = config;
        Self { dialect, ice_urls: api.ice_urls.clone(), cors, ice, body_timeout: limits.body_timeout }
    }

    /// Answers a request for one of the endpoints. What arrives of its body counts for `connection`.
    pub(crate) async fn respond(
        &self,
        page: Page,
        request: Request<Incoming>,
        guard: &Guard,
        connection: &Queue,
    ) -> Response<Full<Bytes>> {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let (allowed, allow) = match page {
            Page::Kick => (&[Method::POST][..], "POST, OPTIONS"),
            Page::Config | Page::Health | Page::Status => (&[Method::GET, Method::HEAD][..], "GET, HEAD, OPTIONS"),
        };
        let mut response = if let Err(refusal) = guard.check_origin(request.headers()) {
            outcome(StatusCode::FORBIDDEN, refusal.message())
        } else if request.method() == Method::OPTIONS {
            no_content()
        } else if !allowed.contains(request.method()) {
            outcome(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        } else {
            match (self.check(page, &request, guard), page) {
                (Err(refusal), _) => unauthorized(refusal.message()),
                (Ok(_), Page::Config) => self.config(request.headers()),
                (Ok(_), Page::Health) => json(StatusCode::OK, &HealthBody { status: "ok" }),
                (Ok(grant), Page::Status) => {
                    json(StatusCode::OK, &StatusBody { rooms: self.dialect.status(grant.room()) })
                }
                (Ok(_), Page::Kick) => self.kick(request, guard, connection).await,
            }
        };
        let status = response.status();
        let headers = response.headers_mut();
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::METHOD_NOT_ALLOWED) {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        self.allow_origin(origin.as_ref(), headers, (status == StatusCode::NO_CONTENT).then_some(allow));
        response
    }

    /// The response to a request for a missing path below `/api`. Pages must be able to read it, so it has CORS headers
    /// too, and its preflight succeeds.
    pub(crate) fn no_such_path<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let is_preflight = request.method() == Method::OPTIONS;
        let origin = request.headers().get(header::ORIGIN);
        let mut response = if is_preflight { no_content() } else { outcome(StatusCode::NOT_FOUND, "No such path") };
        self.allow_origin(origin, response.headers_mut(), is_preflight.then_some("GET, POST, OPTIONS"));
        response
    }

    /// Adds CORS headers; with `methods`, those of a preflight response.
    fn allow_origin(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap, methods: Option<&'static str>) {
        let may_read = self.cors.allow(origin, headers);
        if let Some(methods) = methods.filter(|_| may_read) {
            let asked_for = HeaderValue::from_static("Authorization, Content-Type");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked_for);
        }
    }

    /// Checks access: only clients that may connect see rooms or ICE servers. The kick has its own token.
    fn check(&self, page: Page, request: &Request<Incoming>, guard: &Guard) -> Result<Grant, Refusal> {
        match page {
            Page::Health | Page::Kick => Ok(Grant::default()),
            Page::Config | Page::Status => guard.check_token(request.headers(), request.uri().query()),
        }
    }

    fn config(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let mut response = json(StatusCode::OK, &ConfigBody { ice_servers: self.ice_servers(headers) });
        //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.5
        //# a cache MUST NOT store any part of either the immediate
        //# request or the response
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn ice_servers(&self, headers: &HeaderMap) -> Vec<IceServer> {
        if let Some(urls) = &self.ice_urls {
            return urls.iter().cloned().map(IceServer::open).collect();
        }
        let Some(IceService { stun, tls_port, turn }) = &self.ice else { return Vec::new() };
        // The client reached this server under this name, so it can also reach STUN under it.
        let host = headers.get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let at = |port| match &host {
            Some(host) => format!("{}:{port}", host.host()),
            None => SocketAddr::new(stun.ip(), port).to_string(),
        };
        let server = at(stun.port());
        let mut servers = vec![IceServer::open(format!("stun:{server}"))];
        if let Some(EphemeralCredential { username, password }) = turn.as_ref().and_then(|turn| turn.issue()) {
            let mut add = |urls| {
                let (username, credential) = (Some(username.clone()), Some(password.clone()));
                servers.push(IceServer { urls, username, credential });
            };
            add(format!("turn:{server}?transport=udp"));
            if let Some(port) = tls_port {
                add(format!("turns:{}?transport=tcp", at(*port)));
            }
        }
        servers
    }

    async fn kick(&self, request: Request<Incoming>, guard: &Guard, connection: &Queue) -> Response<Full<Bytes>> {
        match guard.check_admin(request.headers()) {
            Ok(()) => {}
            Err(why @ NotAdmin::Token) => return unauthorized(why.message()),
            Err(why @ NotAdmin::Closed) => return outcome(StatusCode::FORBIDDEN, why.message()),
        }
        let mut held = Held::nothing(&connection.budget);
        let body = match pace::body(request.into_body(), BODY_BYTES_MAX, self.body_timeout, &mut held).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return outcome(StatusCode::PAYLOAD_TOO_LARGE, "Body too large"),
            Err(BodyError::OverBudget) => return outcome(StatusCode::SERVICE_UNAVAILABLE, "Over capacity"),
            Err(BodyError::Incomplete) => return outcome(StatusCode::BAD_REQUEST, "Incomplete body"),
            Err(BodyError::TooSlow) => {
                let mut response = outcome(StatusCode::REQUEST_TIMEOUT, "The body came too slowly");
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        };
        let fields = str::from_utf8(&body).ok().and_then(|body| json::fields(body, &["clientId"]).ok());
        let Some([Some(client_id)]) = fields else {
            return outcome(StatusCode::BAD_REQUEST, "Not a JSON object with a clientId");
        };
        match json::text(client_id) {
            None => outcome(StatusCode::BAD_REQUEST, "clientId is not a string"),
            Some(client_id) if self.dialect.kick(&client_id) => outcome(StatusCode::OK, "Client kicked"),
            Some(_) => outcome(StatusCode::NOT_FOUND, "Client not found"),
        }
    }
}

fn outcome(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    json(status, &Outcome { success: status.is_success(), message })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("keys are strings and nothing in it fails");
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn unauthorized(message: &'static str) -> Response<Full<Bytes>> {
    let mut response = outcome(StatusCode::UNAUTHORIZED, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn no_content() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
