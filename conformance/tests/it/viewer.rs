//! A small server of the dialect `sender-viewer` with its HTTP endpoints, correct unless it is given a fault. Whatever
//! the dialect leaves open, it does differently from the reference server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use conformance::Verdict;
use futures_util::StreamExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

use crate::mini::{Out, QUEUED_BYTES_MAX, spoken};
use crate::{ask_as, dialect, text};

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    HealthInOtherWords,
    StatusWithoutIds,
    StatusKeepsRooms,
    KickWithAnotherCode,
    KickWithoutReason,
    KickToldTwice,
    KickOfTheRoom,
    KickOfAPrefix,
    NobodyIsBadRequest,
    CorsNotOnErrors,
    PreflightWithoutHeaders,
    CredentialsForEverybody,
    OriginEchoedToCaches,
    ErrorsAsText,
    IceOfNoHost,
    NoPeerUnanswered,
    KeptForLater,
    DirectionForAnotherReason,
    MoveNotTold,
    RefusedMoveTold,
    QueueUnbounded,
}

struct Server {
    fault: Option<Fault>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: usize,
    clients: BTreeMap<usize, Client>,
    /// Every room that there was.
    rooms: BTreeSet<String>,
    /// The last signal to nobody, by its room.
    kept: BTreeMap<String, String>,
}

struct Client {
    id: String,
    out: Out,
    /// Its room and role.
    place: Option<(String, String)>,
}

impl Client {
    fn send(&self, message: &Value) {
        self.out.send(Message::text(message.to_string()));
    }

    fn close(&self, code: u16, reason: &'static str) {
        self.out.send(Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() })));
    }
}

fn other(role: &str) -> &'static str {
    if role == "sender" { "viewer" } else { "sender" }
}

impl State {
    fn holder(&self, room: &str, role: &str) -> Option<usize> {
        let mut clients = self.clients.iter();
        let holds = |client: &Client| client.place.as_ref().is_some_and(|place| *place == (room.into(), role.into()));
        clients.find(|(_, client)| holds(client)).map(|(number, _)| *number)
    }

    fn leave(&mut self, me: usize, tell: bool) {
        let Some((room, role)) = self.clients.get_mut(&me).and_then(|client| client.place.take()) else { return };
        if let Some(peer) = self.holder(&room, other(&role)).filter(|_| tell) {
            self.clients[&peer].send(&json!({ "at": 7, "type": format!("{role}-left") }));
        }
    }

    /// Handles a message. An error has a reason.
    fn handle(&mut self, me: usize, text: &str, fault: Option<Fault>) -> Result<(), String> {
        let invalid = || "invalid-message".to_owned();
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(|_| invalid())?;
        let word = |name: &str| fields.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
        let kind = word("type").ok_or_else(invalid)?;
        if kind == "join" {
            let role = word("role").filter(|role| role == "sender" || role == "viewer").ok_or_else(invalid)?;
            let fits = |room: &String| (1..=64).contains(&room.chars().count());
            return self.join(me, word("room").filter(fits).ok_or_else(invalid)?, role, fault);
        }
        let (field, from) = match kind.as_str() {
            "offer" => ("sdp", Some("sender")),
            "answer" => ("sdp", Some("viewer")),
            "ice-candidate" => ("candidate", None),
            _ => return Err(invalid()),
        };
        let data = fields.get(field).ok_or_else(invalid)?.get();
        let (room, role) = self.clients[&me].place.clone().ok_or("not-joined")?;
        if from.is_some_and(|from| from != role) {
            let reason = if fault == Some(Fault::DirectionForAnotherReason) { "no-peer" } else { "not-allowed" };
            return Err(reason.to_owned());
        }
        let signal = format!(r#"{{"{field}":{data},"type":"{kind}"}}"#);
        let Some(peer) = self.holder(&room, other(&role)) else {
            self.kept.insert(room, signal);
            return if fault == Some(Fault::NoPeerUnanswered) { Ok(()) } else { Err("no-peer".to_owned()) };
        };
        self.clients[&peer].out.send(Message::text(signal));
        Ok(())
    }

    fn join(&mut self, me: usize, room: String, role: String, fault: Option<Fault>) -> Result<(), String> {
        if self.holder(&room, &role).is_some_and(|holder| holder != me) {
            if fault == Some(Fault::RefusedMoveTold) {
                let place = self.clients[&me].place.clone();
                self.leave(me, true);
                self.clients.get_mut(&me).expect("connected").place = place;
            }
            // The client keeps the role that it had.
            return Err(format!("{role}-already-exists"));
        }
        let place = Some((room.clone(), role.clone()));
        if self.clients[&me].place != place {
            self.leave(me, fault != Some(Fault::MoveNotTold));
        }
        self.rooms.insert(room.clone());
        let client = self.clients.get_mut(&me).expect("connected");
        client.place = place;
        client.send(&json!({ "room": room, "clientId": client.id, "role": role, "type": "joined", "since": [] }));
        if let Some(kept) = self.kept.remove(&room).filter(|_| fault == Some(Fault::KeptForLater)) {
            client.out.send(Message::text(kept));
        }
        if let (Some(sender), Some(_)) = (self.holder(&room, "sender"), self.holder(&room, "viewer")) {
            self.clients[&sender].send(&json!({ "room": room, "type": "viewer-ready" }));
        }
        Ok(())
    }

    fn status(&self, fault: Option<Fault>) -> Value {
        let entry = |room: &String| {
            let role = |role: &str| match self.holder(room, role) {
                Some(_) if fault == Some(Fault::StatusWithoutIds) => json!({ "connected": true, "clientId": null }),
                Some(holder) => json!({ "clientId": self.clients[&holder].id, "connected": true, "since": 1 }),
                None => json!({ "connected": false, "clientId": null }),
            };
            json!({ "viewer": role("viewer"), "sender": role("sender"), "roomId": room })
        };
        let is_used = |room: &&String| ["sender", "viewer"].iter().any(|role| self.holder(room, role).is_some());
        let keeps = fault == Some(Fault::StatusKeepsRooms);
        let rooms: Vec<_> = self.rooms.iter().rev().filter(|room| keeps || is_used(room)).map(entry).collect();
        json!({ "rooms": rooms, "version": 1 })
    }

    /// The HTTP status for a kick.
    fn kick(&mut self, body: &str, fault: Option<Fault>) -> u16 {
        let Some(id) =
            serde_json::from_str::<Value>(body).ok().and_then(|body| Some(body["clientId"].as_str()?.to_owned()))
        else {
            return 400;
        };
        let prefix = fault == Some(Fault::KickOfAPrefix) && !id.is_empty();
        let is_meant = |client: &Client| client.id == id || (prefix && client.id.starts_with(&id));
        let kicked = self.clients.iter().find(|(_, client)| is_meant(client)).map(|(number, _)| *number);
        let Some(kicked) = kicked else { return if fault == Some(Fault::NobodyIsBadRequest) { 400 } else { 404 } };
        let (code, reason) = match fault {
            Some(Fault::KickWithAnotherCode) => (4000, "Kicked by admin"),
            Some(Fault::KickWithoutReason) => (1000, ""),
            _ => (1000, "Kicked by admin"),
        };
        let place = self.clients[&kicked].place.clone();
        if fault == Some(Fault::KickOfTheRoom) {
            let room = |client: &Client| client.place.as_ref().map(|(room, _)| room.clone());
            let all = self.clients.values().filter(|client| room(client) == room(&self.clients[&kicked]));
            all.for_each(|client| client.close(code, reason));
        }
        self.leave(kicked, true);
        if fault == Some(Fault::KickToldTwice) {
            self.clients.get_mut(&kicked).expect("connected").place = place;
            self.leave(kicked, true);
        }
        let client = self.clients.remove(&kicked).expect("connected");
        client.close(code, reason);
        200
    }
}

/// Starts a server; it lives as long as the test's runtime.
async fn start(fault: Option<Fault>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    let server = Arc::new(Server { fault, state: Mutex::default() });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.serve(stream).await });
        }
    });
    address
}

impl Server {
    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut head = vec![0; 4096];
        // The suite writes a head at once.
        let read = stream.peek(&mut head).await.ok()?;
        let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
        if head.contains("upgrade: websocket") { self.websocket(stream).await } else { self.http(stream).await }
    }

    async fn websocket(&self, stream: TcpStream) -> Option<()> {
        let config = WebSocketConfig::default().max_message_size(Some(262_144)).max_frame_size(Some(262_144));
        let mut socket = accept_async_with_config(spoken(stream).await?, Some(config)).await.ok()?;
        let unbounded = self.fault == Some(Fault::QueueUnbounded);
        let (out, mut outbox) = Out::new(if unbounded { usize::MAX } else { QUEUED_BYTES_MAX });
        let me = {
            let mut state = self.state.lock().expect("no panic");
            state.next += 1;
            let me = state.next;
            let id = format!("{me}-9c0b-4ef8-bb6d-6bb9bd380a11");
            state.clients.insert(me, Client { id, out: out.clone(), place: None });
            me
        };
        loop {
            let message = tokio::select! { biased;
                Some(message) = outbox.recv() => {
                    if out.write(&mut socket, message).await { continue } else { break }
                }
                message = socket.next() => message,
            };
            let refused =
                |code: u16| out.send(Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() })));
            match message {
                Some(Ok(Message::Text(text))) => {
                    let mut state = self.state.lock().expect("no panic");
                    // One that was kicked is no client any more.
                    if state.clients.contains_key(&me)
                        && let Err(reason) = state.handle(me, &text, self.fault)
                    {
                        state.clients[&me].send(&json!({ "reason": reason, "type": "error" }));
                    }
                }
                Some(Ok(Message::Binary(_))) => refused(1003),
                Some(Ok(_)) => {}
                Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                    let _ = socket.close(Some(CloseFrame { code: 1009.into(), reason: "".into() })).await;
                    break;
                }
                Some(Err(_)) | None => break,
            }
        }
        let mut state = self.state.lock().expect("no panic");
        state.leave(me, true);
        state.clients.remove(&me);
        Some(())
    }

    async fn http(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            stream.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
            let request = String::from_utf8_lossy(&bytes);
            let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        };
        let mut words = head.split([' ', '\r']);
        let (method, path) = (words.next()?, words.next()?);
        let (status, body) = self.respond(method, path, &body);
        let is_error = status >= 400;
        let kind = if is_error && self.fault == Some(Fault::ErrorsAsText) { "text/plain" } else { "application/json" };
        let mut headers = format!("Content-Type: {kind}; charset=utf-8\r\n");
        let origin = head.lines().find_map(|line| line.strip_prefix("Origin: "));
        if !(is_error && self.fault == Some(Fault::CorsNotOnErrors)) {
            // Naming the origin is as good as `*`, if caches are told.
            let (allowed, vary) = match self.fault {
                Some(Fault::CredentialsForEverybody) => ("*", "Access-Control-Allow-Credentials: true\r\n"),
                Some(Fault::OriginEchoedToCaches) => (origin.unwrap_or("*"), ""),
                _ => (origin.unwrap_or("*"), "Vary: Accept-Encoding, origin\r\n"),
            };
            headers += &format!("access-control-allow-origin: {allowed}\r\n{vary}");
        }
        if status == 405 {
            headers += "Allow: GET\r\n";
        }
        if method == "OPTIONS" && self.fault != Some(Fault::PreflightWithoutHeaders) {
            headers += "Access-Control-Allow-Headers: content-type,authorization\r\n";
        }
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} So\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()
    }

    /// The status and the body of a response.
    fn respond(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let fault = self.fault;
        let mut state = self.state.lock().expect("no panic");
        let (status, body) = match (method, path) {
            ("OPTIONS", _) => (200, json!({})),
            ("GET", "/api/config") => {
                let url = if fault == Some(Fault::IceOfNoHost) { "stun::3478" } else { "stun:stun.example:3478" };
                (200, json!({ "iceServers": [{ "urls": [url, "stun:192.0.2.1"] }] }))
            }
            ("GET", "/api/health") => {
                let word = if fault == Some(Fault::HealthInOtherWords) { "fine" } else { "ok" };
                (200, json!({ "uptime": 1.5, "status": word }))
            }
            ("GET", "/api/status") => (200, state.status(fault)),
            ("POST", "/api/kick") => {
                let status = state.kick(body, fault);
                (status, json!({ "message": "…", "success": status == 200 }))
            }
            (_, "/api/config" | "/api/health" | "/api/status" | "/api/kick") => (405, json!({ "success": false })),
            _ => (404, json!({ "success": false })),
        };
        (status, body.to_string())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_server_passes() {
    let url = format!("ws://{}/ws", start(None).await);
    let report = ask_as(&dialect("sender-viewer"), &url, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    for slug in
        ["role/refusals", "role/moves", "role/refused-move", "http/status-members", "http/kick-once", "http/json"]
    {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}");
    }
    let preflight = &report.case("http/preflight").expect("it ran").verdict;
    assert!(matches!(preflight, Verdict::Acceptable { why } if why.contains("HTTP 200, not 204")), "{preflight:?}");
}

/// Exactly these cases find the fault. Cases that need one of them are not tested.
async fn finds(fault: Fault, cases: &[&str]) {
    let url = format!("ws://{}/ws", start(Some(fault)).await);
    let asked = ["http/*", "role/*", "load/slow-consumer"];
    let report = ask_as(&dialect("sender-viewer"), &url, &asked).await.expect("it is there");
    let failed = report.cases.iter().filter(|case| matches!(case.verdict, Verdict::Fail { .. }));
    let failed: BTreeSet<_> = failed.map(|case| case.case.slug).collect();
    assert_eq!(failed, cases.iter().copied().collect(), "{fault:?}\n{}", text(&report));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_an_endpoint_is_found() {
    finds(Fault::HealthInOtherWords, &["http/health"]).await;
    finds(Fault::StatusWithoutIds, &["http/status-members"]).await;
    finds(Fault::StatusKeepsRooms, &["http/status"]).await;
    finds(Fault::KickWithAnotherCode, &["http/kick"]).await;
    finds(Fault::KickWithoutReason, &["http/kick"]).await;
    finds(Fault::KickToldTwice, &["http/kick-once"]).await;
    finds(Fault::KickOfTheRoom, &["http/kick-once"]).await;
    finds(Fault::KickOfAPrefix, &["http/kick-malformed"]).await;
    finds(Fault::NobodyIsBadRequest, &["http/kick"]).await;
    finds(Fault::IceOfNoHost, &["http/ice-schema"]).await;
    finds(Fault::ErrorsAsText, &["http/json"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_cors_is_found() {
    finds(Fault::CorsNotOnErrors, &["http/cors-everywhere"]).await;
    finds(Fault::PreflightWithoutHeaders, &["http/preflight"]).await;
    finds(Fault::CredentialsForEverybody, &["http/cors-credentials"]).await;
    finds(Fault::OriginEchoedToCaches, &["http/cors-credentials"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_role_is_found() {
    finds(Fault::NoPeerUnanswered, &["role/refusals"]).await;
    finds(Fault::KeptForLater, &["role/refusals"]).await;
    finds(Fault::DirectionForAnotherReason, &["role/refusals", "role/wrong-direction"]).await;
    finds(Fault::MoveNotTold, &["role/moves", "role/opener-leaves"]).await;
    finds(Fault::RefusedMoveTold, &["role/refused-move"]).await;
    finds(Fault::QueueUnbounded, &["load/slow-consumer"]).await;
}
