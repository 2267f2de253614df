//! The pages for browsers, below `/pages/`: one page for each signaling system, as files of this program.
//!
//! They need no network but this server's: the Content-Security-Policy lets a page load scripts and styles from its own
//! origin only, and none that stand in the page itself. It may connect anywhere, because a person can enter the URL of
//! another server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::access::{bearer, is_same};
use crate::dialect::{DialectEntry, Framing};
use crate::handshake::refuse;
use crate::{Handle, Shared, invalid};

/// Where the pages are.
const START: &str = "/pages/";

/// Where a page finds what this server serves. A name without an extension, unlike those of the files.
const SERVER: &str = "/pages/server";

/// Where the stock client is, at every address with Socket.IO: its usual path.
pub(crate) const SOCKETIO_CLIENT: &str = "/socket.io/socket.io.js";

/// What a page may do: nothing but what is listed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self' ws: wss: http: https:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The pages for browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSettings {
    /// Whether they are served, at the address of the API. Default: yes.
    pub served: bool,
    /// Socket.IO's client for browsers, to serve at `/socket.io/socket.io.js` as its own server does. Default: none.
    pub socketio_client: Option<SocketIoClient>,
}

impl Default for PageSettings {
    fn default() -> Self {
        Self { served: true, socketio_client: None }
    }
}

/// Socket.IO's client for browsers: `dist/socket.io.js` or `dist/socket.io.min.js` of npm's `socket.io-client`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketIoClient(Bytes);

impl SocketIoClient {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or it is not that script. The message names the file.
    pub fn load(path: &Path) -> io::Result<Self> {
        let name = path.display();
        let right = "name `dist/socket.io.min.js` of npm's `socket.io-client`";
        let script = fs::read(path)
            .map_err(|why| io::Error::new(why.kind(), format!("{name} cannot be read: {why}: {right}")))?;
        // Each build of it is a script that defines `io`, with a comment that names the program.
        let is_client =
            str::from_utf8(&script).is_ok_and(|text| text.contains("Socket.IO v") && text.contains("Manager"));
        if is_client {
            Ok(Self(script.into()))
        } else {
            Err(invalid(format!("{name} is not Socket.IO's client: {right}")))
        }
    }
}

/// A file below `/pages/`.
#[derive(Clone, Copy)]
pub(crate) struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($kind:ident: $($name:literal)*;)*) => {
        &[$($(File { path: concat!("/pages/", $name), kind: $kind, text: include_str!(concat!("../pages/", $name)) },)*)*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

const FILES: &[File] = files! {
    HTML: "index.html" "sender-viewer.html" "status.html" "mesh.html" "call.html" "broadcast.html" "relay.html";
    SCRIPT: "index.js" "sender-viewer.js" "status.js" "mesh.js" "call.js" "broadcast.js" "relay.js" "shared.js" "words.js";
    STYLE: "style.css";
    IMAGE: "icon.svg";
};

/// What is at a path.
#[derive(Clone)]
pub(crate) enum PageRoute {
    /// The start page, from the address alone.
    Root,
    /// A file. The start page is also at `/pages/`.
    File(File),
    /// What is served where, as JSON.
    Server,
    /// Socket.IO's client.
    SocketIoClient(SocketIoClient),
}

/// The paths of the pages. `is_root_free`: no dialect is at `/`.
pub(crate) fn routes(is_root_free: bool) -> impl Iterator<Item = (&'static str, PageRoute)> {
    let root = is_root_free.then_some(("/", PageRoute::Root));
    let start = FILES.iter().find(|file| file.path == "/pages/index.html").map(|file| (START, PageRoute::File(*file)));
    let files = FILES.iter().map(|file| (file.path, PageRoute::File(*file)));
    root.into_iter().chain(start).chain(files).chain([(SERVER, PageRoute::Server)])
}

impl PageRoute {
    /// Answers a request.
    pub(crate) fn respond<B>(&self, request: &Request<B>, shared: &Arc<Shared>) -> Response<Full<Bytes>> {
        if request.headers().contains_key(header::UPGRADE) {
            // For a WebSocket, nothing is here.
            return refuse(StatusCode::NOT_FOUND, None, "No such path");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, Some((header::ALLOW, "GET, HEAD")), "Only GET");
        }
        match self {
            // Relative, because a proxy may serve this server below a path of its own.
            Self::Root => answer(StatusCode::TEMPORARY_REDIRECT, &[(header::LOCATION, "pages/")], Bytes::new()),
            Self::File(file) => page(file.kind, Bytes::from_static(file.text.as_bytes())),
            Self::SocketIoClient(client) => page(SCRIPT, client.0.clone()),
            Self::Server => {
                let body = serde_json::to_vec(&Directory::new(shared, request.headers()));
                let body = body.expect("keys are strings and nothing in it fails");
                answer(
                    StatusCode::OK,
                    &[(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")],
                    body.into(),
                )
            }
        }
    }
}

fn page(kind: &'static str, text: Bytes) -> Response<Full<Bytes>> {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of this program has other files at the same paths.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    answer(StatusCode::OK, &headers, text)
}

fn answer(status: StatusCode, headers: &[(HeaderName, &'static str)], body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let answer = response.headers_mut();
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.extend(headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
    response
}

/// What is served where, and how much of it is in use.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    version: &'static str,
    is_secure: bool,
    dialects: Vec<Endpoint>,
    /// UDP and TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    stun: Option<u16>,
    /// UDP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u16>,
    has_socketio_client: bool,
    /// Absent for those who may not read `/metrics` either.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
}

#[derive(Serialize)]
struct Endpoint {
    name: &'static str,
    dialect: &'static str,
    framing: &'static str,
    port: u16,
    path: &'static str,
}

#[derive(Serialize)]
struct Counts {
    connections: usize,
    sessions: usize,
    allocations: u64,
    /// By dialect.
    dialects: BTreeMap<&'static str, Count>,
}

#[derive(Serialize)]
struct Count {
    rooms: usize,
    members: usize,
}

impl Directory {
    fn new(shared: &Arc<Shared>, headers: &HeaderMap) -> Self {
        let addresses = shared.addresses.get();
        let port = |name: &str| addresses.and_then(|known| known.get(name)).map(SocketAddr::port);
        let endpoint = |entry: &DialectEntry| {
            let framing = match entry.framing {
                Framing::WebSocket => "websocket",
                Framing::SocketIo => "socketio",
            };
            let DialectEntry { name, dialect, path, .. } = *entry;
            Some(Endpoint { name, dialect, framing, port: port(name)?, path })
        };
        let admin_token = shared.config.api.admin_token.as_ref();
        let may_count = admin_token.is_none_or(|token| bearer(headers).is_some_and(|given| is_same(token, given)));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            is_secure: shared.config.tls.is_some(),
            dialects: crate::DIALECTS.iter().filter_map(endpoint).collect(),
            stun: port("stun"),
            turn: port("turn"),
            has_socketio_client: shared.config.pages.socketio_client.is_some(),
            counts: may_count.then(|| Counts::new(shared)),
        }
    }
}

impl Counts {
    fn new(shared: &Arc<Shared>) -> Self {
        let handle = Handle(Arc::clone(shared));
        let census = handle.census();
        let count = |(rooms, members)| Count { rooms, members };
        Self {
            connections: census.connections,
            sessions: census.sessions,
            allocations: handle.turn().map_or(0, |turn| turn.allocations),
            dialects: shared.dialects().iter().map(|dialect| (dialect.name(), count(dialect.count()))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every file of the folder is served, and nothing else.
    #[test]
    fn the_folder_is_what_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/pages");
        let entries = fs::read_dir(folder).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
        let mut there: Vec<_> = names.map(|name| format!("{START}{name}")).collect();
        let mut served: Vec<_> = FILES.iter().map(|file| file.path.to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(served, there);
    }

    /// Every English text has its Chinese, and every Chinese text is of one that is shown.
    #[test]
    fn every_text_is_translated() {
        let text = |name: &str| FILES.iter().find(|file| file.path.ends_with(name)).expect("it is served").text;
        let between = |text: &'static str, start: &'static str, end: &'static str| {
            text.split(start).skip(1).map(move |rest| rest.split(end).next().expect("a first part").trim())
        };
        let mut shown = BTreeSet::new();
        for file in FILES {
            match file.kind {
                HTML => {
                    shown.extend(between(file.text, "data-t>", "<").chain(between(file.text, "data-label=\"", "\"")))
                }
                SCRIPT => shown.extend(between(file.text, "T(\"", "\")")),
                _ => {}
            }
        }
        let keys = text("/words.js").lines().filter_map(|line| {
            let line = line.strip_prefix("  ").filter(|line| !line.starts_with(['/', ' ']))?;
            match line.strip_prefix('"') {
                Some(quoted) => quoted.split("\":").next(),
                None => line.split(':').next(),
            }
        });
        let translated: BTreeSet<_> = keys.collect();
        assert!(shown.len() > 100, "{shown:?}");
        let (missing, unused): (Vec<_>, Vec<_>) =
            (shown.difference(&translated).collect(), translated.difference(&shown).collect());
        assert!(missing.is_empty() && unused.is_empty(), "missing {missing:?}, not shown {unused:?}");
    }

    /// What the policy would not let a browser use is not in the pages in the first place.
    #[test]
    fn no_page_has_a_script_or_a_style_of_its_own() {
        for file in FILES.iter().filter(|file| file.kind == HTML) {
            for bad in ["<style", " style=", "javascript:", " onclick=", " onload=", "http://", "https://"] {
                assert!(!file.text.contains(bad), "{} contains `{bad}`", file.path);
            }
            let scripts = file.text.matches("<script").count();
            assert_eq!(file.text.matches("<script type=\"module\" src=\"").count(), scripts, "{}", file.path);
        }
        for file in FILES.iter().filter(|file| file.kind == SCRIPT) {
            for bad in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                assert!(!file.text.contains(bad), "{} contains `{bad}`", file.path);
            }
        }
    }
}
