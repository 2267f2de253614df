//! A small mesh server of its own, correct unless it is given a defect. Whatever the dialect leaves open is a switch,
//! and by default it chooses differently from the reference server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// A client that does not read is disconnected when more than this is queued for it.
pub(crate) const QUEUED_BYTES_MAX: usize = 4 << 20;

/// The defect of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    EchoToSender,
    FromTakenFromClient,
    ForeignLeaveBelieved,
    TargetedMessageToAll,
    MuteAfterBadJson,
    DeadAfterBadJson,
    PayloadReserialised,
    LeftToldTwice,
    GhostAfterAbruptClose,
    RoomIdsFolded,
    RoomIdsCut,
    SignalsIntoForeignRooms,
    CandidateBeforeOfferDropped,
    ReorderedSends,
    JoinTwiceIsTwoMembers,
    RosterWithOneself,
    BinaryObeyed,
    NoLimit,
    SignalsNowhere,
    FloodsAfterJoin,
    GarbageForJoined,
    UnboundedQueue,
    DeflateInNameOnly,
    OfferEchoed,
    ExtensionInvented,
    KeepAliveRefused,
    CookiesRefused,
    LongMessagesLost,
    LineBreaksNormalised,
    MarkupEscaped,
    LineSeparatorsDropped,
    HalfSurrogateReplaced,
    RoomClosedByHalfSurrogate,
    NullCandidateLost,
    EmptyCandidateLost,
    RepetitionsLost,
    EqualPayloadsLost,
    AnswersDelayed,
    CandidatesDelayed,
    /// A leave takes effect once more, after the client has joined again.
    LeaveStrikesAgain,
    /// A client that has sent one message only, its join, stays a member when it closes its connection.
    QuickCloserStays,
    /// The list of members has those of the client's last room too.
    LastRoomListed,
    /// A signal whose receiver is the name of a room reaches that room.
    RoomIsReceiver,
    /// A client gets the id that it writes into its join.
    IdBelieved,
    /// In a room named like a property of JavaScript's objects, nobody is told who left.
    LanguageWordsLost,
    /// When the first member of a room leaves, the others are removed too.
    FirstTakesTheRoomAlong,
    /// Only the first leave in a room is announced.
    OneLeaveTold,
    /// A leave is announced in every room.
    LeftToldEverywhere,
    AnswersDoubled,
}

/// Choices that the mesh dialect leaves open.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choices {
    pub(crate) ids: Ids,
    pub(crate) rosters: Rosters,
    pub(crate) errors: Errors,
    pub(crate) oversize: Oversize,
    /// Whether a repeated join is not announced to the others.
    pub(crate) rejoin_untold: bool,
    /// Whether the name of a member without one is left out, rather than null.
    pub(crate) absent_names: bool,
    /// Whether clients also receive messages outside the dialect: a greeting, and a note after each signal.
    pub(crate) chatty: bool,
    /// Whether the data of a signal without data is left out, rather than null.
    pub(crate) absent_data: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Ids {
    #[default]
    Words,
    OneLetter,
    Long,
    Uuid,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Rosters {
    #[default]
    NewestFirst,
    OldestFirst,
    Shuffled,
}

/// How the server reacts to an invalid message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Errors {
    /// Usually silence.
    #[default]
    Few,
    Silence,
    Always,
    /// Errors without a reason.
    Mute,
}

/// How the server reacts to a message over the size limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Oversize {
    #[default]
    Closed,
    Error,
    Silence,
}

/// How a server behaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Behaviour {
    pub(crate) defect: Option<Defect>,
    pub(crate) choices: Choices,
    /// Delay of each message, inbound and outbound.
    pub(crate) latency: Duration,
}

#[derive(Default)]
struct State {
    /// The data of all signals, for [`Defect::EqualPayloadsLost`].
    relayed: BTreeSet<String>,
    rooms: BTreeMap<String, Vec<Member>>,
    /// The rooms that somebody has left, for [`Defect::OneLeaveTold`].
    left: BTreeSet<String>,
    clients: usize,
    dead: bool,
}

struct Member {
    id: String,
    name: Option<String>,
    out: Out,
    offered: bool,
}

type Shared = Arc<Mutex<State>>;

/// The queue of a client. It overflows if the client does not read; then the connection is to end.
#[derive(Clone)]
pub(crate) struct Out {
    messages: UnboundedSender<Message>,
    queued: Arc<AtomicUsize>,
    overflow: Arc<Notify>,
    bytes_max: usize,
}

impl Out {
    /// A queue, and the end from which its messages are taken.
    pub(crate) fn new(bytes_max: usize) -> (Self, UnboundedReceiver<Message>) {
        let (messages, outbox) = unbounded_channel();
        (Self { messages, queued: Arc::default(), overflow: Arc::default(), bytes_max }, outbox)
    }

    pub(crate) fn send(&self, message: Message) {
        if self.queued.fetch_add(message.len(), SeqCst) > self.bytes_max {
            self.overflow.notify_one();
        } else {
            let _ = self.messages.send(message);
        }
    }

    /// Writes a message that was taken. Returns whether the connection goes on.
    pub(crate) async fn write(&self, socket: &mut WebSocketStream<TcpStream>, message: Message) -> bool {
        let bytes = message.len();
        // The overflow first: a client that reads again just then would get what is queued, and nothing that was dropped.
        let written = tokio::select! { biased;
            () = self.overflow.notified() => false,
            written = socket.send(message) => written.is_ok(),
        };
        self.queued.fetch_sub(bytes, SeqCst);
        written
    }
}

/// Starts a server; it lives as long as the test's runtime.
pub(crate) async fn start(behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    let shared = Shared::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if shared.lock().expect("no panic").dead {
                return;
            }
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, Arc::clone(&shared), behaviour));
        }
    });
    address
}

struct Session {
    id: String,
    room: Option<String>,
    last_room: Option<String>,
    out: Out,
    shared: Shared,
    defect: Option<Defect>,
    choices: Choices,
    muted: bool,
    /// The data of its last signal.
    last_data: Option<String>,
    /// A signal held back until the next one is sent.
    held: Option<(Vec<Out>, String)>,
    /// The room that it has left and is to leave again, for [`Defect::LeaveStrikesAgain`].
    struck: Option<String>,
    /// How many messages it has sent.
    sent: usize,
}

async fn serve(stream: TcpStream, shared: Shared, behaviour: Behaviour) {
    let limit = match behaviour.choices.oversize {
        _ if behaviour.defect == Some(Defect::NoLimit) => None,
        Oversize::Closed => Some(300_000),
        Oversize::Error | Oversize::Silence => Some(4 << 20),
    };
    let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
    let Some(stream) = spoken(stream).await else { return };
    #[allow(clippy::result_large_err)] // the library's type
    let answer = |request: &Request, response| handshake(behaviour.defect, request, response);
    let Ok(mut socket) = accept_hdr_async_with_config(stream, answer, Some(config)).await else { return };
    let unbounded = matches!(behaviour.defect, Some(Defect::UnboundedQueue | Defect::FloodsAfterJoin));
    let (out, mut outbox) = Out::new(if unbounded { usize::MAX } else { QUEUED_BYTES_MAX });
    let id = {
        let mut state = shared.lock().expect("no panic");
        state.clients += 1;
        behaviour.choices.ids.of(state.clients)
    };
    let Behaviour { defect, choices, .. } = behaviour;
    let mut session = Session {
        id,
        room: None,
        last_room: None,
        out,
        shared,
        defect,
        choices,
        muted: false,
        last_data: None,
        held: None,
        struck: None,
        sent: 0,
    };
    if choices.chatty {
        session.say(&session.out, r#"{"action":"welcome","motd":["be","kind"]}"#.to_owned());
    }
    let mut clean = false;
    loop {
        let message = tokio::select! { biased;
            message = outbox.recv() => {
                let message = message.expect("the session holds a sender");
                if !behaviour.latency.is_zero() {
                    tokio::time::sleep(behaviour.latency).await;
                }
                if !session.out.write(&mut socket, message).await {
                    break;
                }
                continue;
            }
            message = socket.next() => message,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                if !behaviour.latency.is_zero() {
                    tokio::time::sleep(behaviour.latency).await;
                }
                session.hear(&text);
            }
            Some(Ok(Message::Binary(bytes))) => {
                if defect != Some(Defect::BinaryObeyed) {
                    let frame = CloseFrame { code: CloseCode::Unsupported, reason: Utf8Bytes::from_static("") };
                    let _ = socket.close(Some(frame)).await;
                    continue;
                }
                session.hear(&String::from_utf8_lossy(&bytes));
            }
            Some(Ok(Message::Close(_))) => clean = true,
            Some(Ok(_)) => {}
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                let frame = CloseFrame { code: CloseCode::Size, reason: Utf8Bytes::from_static("") };
                let _ = socket.close(Some(frame)).await;
                break;
            }
            Some(Err(_)) | None => break,
        }
    }
    let stays = match defect {
        Some(Defect::GhostAfterAbruptClose) => !clean,
        Some(Defect::QuickCloserStays) => session.sent == 1,
        _ => false,
    };
    if !stays {
        session.leave();
        if defect == Some(Defect::LeftToldTwice) {
            session.tell_of_last_leave();
        }
    }
}

/// The answer to a handshake.
#[allow(clippy::result_large_err)] // the library's type
fn handshake(defect: Option<Defect>, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let header = |name: &str| request.headers().get(name);
    let offer = header("Sec-WebSocket-Extensions").cloned();
    let offers_deflate = offer.as_ref().is_some_and(|offer| offer.as_bytes().starts_with(b"permessage-deflate"));
    let extension = match defect {
        Some(Defect::DeflateInNameOnly) if offers_deflate => Some(HeaderValue::from_static("permessage-deflate")),
        Some(Defect::OfferEchoed) => offer,
        Some(Defect::ExtensionInvented) => Some(HeaderValue::from_static("x-webkit-deflate-frame")),
        _ => None,
    };
    let refused = match defect {
        Some(Defect::KeepAliveRefused) => header("Connection").is_some_and(|value| value != "Upgrade"),
        Some(Defect::CookiesRefused) => header("Cookie").is_some(),
        _ => false,
    };
    if refused {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::BAD_REQUEST;
        return Err(refusal);
    }
    if let Some(extension) = extension {
        response.headers_mut().insert("Sec-WebSocket-Extensions", extension);
    }
    Ok(response)
}

/// Answers a handshake of an unknown version; the WebSocket library would only close the connection.
pub(crate) async fn spoken(mut stream: TcpStream) -> Option<TcpStream> {
    let mut head = [0; 2048];
    let read = stream.peek(&mut head).await.ok()?;
    if !String::from_utf8_lossy(&head[..read]).contains("Sec-WebSocket-Version: 99") {
        return Some(stream);
    }
    let _ = stream.read(&mut head).await;
    let answer = b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n";
    let _ = stream.write_all(answer).await;
    None
}

impl Session {
    fn is(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Sends an error, if the server's choice allows. With `few`, a server that seldom sends errors sends one too.
    fn refuse(&self, few: bool) {
        match self.choices.errors {
            Errors::Few if !few => {}
            Errors::Silence => {}
            Errors::Mute => self.say(&self.out, r#"{"action":"error"}"#.to_owned()),
            Errors::Few | Errors::Always => {
                self.say(&self.out, r#"{"message":"what?","action":"error","status":[400]}"#.to_owned());
            }
        }
    }

    fn hear(&mut self, text: &str) {
        if self.muted || self.shared.lock().expect("no panic").dead {
            return;
        }
        if text.len() > 262_144 && self.choices.oversize != Oversize::Closed {
            if self.choices.oversize == Oversize::Error {
                self.say(&self.out, r#"{"action":"error","message":"too long"}"#.to_owned());
            }
            return;
        }
        let Ok(fields) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text) else {
            self.muted = self.is(Defect::MuteAfterBadJson);
            self.shared.lock().expect("no panic").dead |= self.is(Defect::DeadAfterBadJson);
            return self.refuse(false);
        };
        self.sent += 1;
        let string = |name: &str| fields.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
        let Some(mut room) = string("roomId").filter(|room| !room.is_empty()) else {
            return self.refuse(false);
        };
        if self.is(Defect::RoomIdsCut) {
            room = room.chars().take(63).collect();
        } else if room.chars().count() > 64 {
            return self.refuse(true);
        }
        if self.is(Defect::RoomIdsFolded) {
            room = room.to_lowercase();
        }
        match string("action").as_deref() {
            Some("join") => {
                if let Some(id) = string("clientId").filter(|_| self.is(Defect::IdBelieved)) {
                    self.id = id;
                }
                self.join(room, string("name"));
            }
            Some("leave") if self.room.as_ref() == Some(&room) => self.leave(),
            Some("leave") if self.is(Defect::ForeignLeaveBelieved) => {
                if let Some(id) = string("clientId") {
                    self.remove(&room, &id);
                }
            }
            Some("leave") => self.refuse(false),
            Some("signal") => {
                if let Some(left) = self.struck.take() {
                    let mut state = self.shared.lock().expect("no panic");
                    state.rooms.entry(left).or_default().retain(|member| member.id != self.id);
                }
                let known = ["offer", "answer", "ice-candidate", "hangup"];
                let Some(kind) = string("type").filter(|kind| known.contains(&kind.as_str())) else {
                    return self.refuse(false);
                };
                let to = match fields.get("to") {
                    None => None,
                    Some(to) if to.get() == "null" => None,
                    Some(_) => Some(string("to").unwrap_or_default()),
                };
                let data = fields.get("data").map(|data| data.get());
                let data = if self.choices.absent_data { data } else { data.or(Some("null")) };
                self.signal(&room, &kind, data, to, string("from"));
            }
            _ => self.refuse(true),
        }
    }

    fn say(&self, to: &Out, text: String) {
        to.send(Message::text(text));
    }

    fn join(&mut self, room: String, name: Option<String>) {
        let again = self.room.as_ref() == Some(&room);
        if !again {
            self.leave();
        }
        let mut state = self.shared.lock().expect("no panic");
        let last = self.last_room.as_ref().filter(|_| self.is(Defect::LastRoomListed));
        let strangers = last.and_then(|last| state.rooms.get(last)).into_iter().flatten();
        let strangers: Vec<_> = strangers.map(|member| (member.id.clone(), member.name.clone())).collect();
        let members = state.rooms.entry(room.clone()).or_default();
        if !again || self.is(Defect::JoinTwiceIsTwoMembers) {
            let member = Member { id: self.id.clone(), name: name.clone(), out: self.out.clone(), offered: false };
            members.push(member);
        }
        let others = members.iter().rev().filter(|member| member.id != self.id || self.is(Defect::RosterWithOneself));
        let show = |id: &str, name: &Option<String>| match name {
            None if self.choices.absent_names => serde_json::json!({ "clientId": id }),
            name => serde_json::json!({ "name": name, "clientId": id }),
        };
        let mut peers: Vec<_> = others.map(|member| show(&member.id, &member.name)).collect();
        peers.extend(strangers.iter().map(|(id, name)| show(id, name)));
        match self.choices.rosters {
            Rosters::NewestFirst => {}
            Rosters::OldestFirst => peers.reverse(),
            Rosters::Shuffled => {
                let middle = peers.len() / 2;
                peers.rotate_left(middle);
            }
        }
        let joined = serde_json::json!({
            "action": "joined", "roomId": room, "clientId": self.id, "peers": peers, "server": "mini"
        });
        match self.defect {
            Some(Defect::GarbageForJoined) => self.say(&self.out, r#"{"action":"joined","clientId":[],"#.to_owned()),
            _ => self.say(&self.out, joined.to_string()),
        }
        let notice =
            serde_json::json!({ "action": "peer-joined", "roomId": room, "peer": show(&self.id, &name) }).to_string();
        let told = !(again && self.choices.rejoin_untold);
        for member in members.iter().filter(|member| told && member.id != self.id) {
            self.say(&member.out, notice.clone());
        }
        if self.is(Defect::FloodsAfterJoin) {
            for _ in 0..100_000 {
                self.say(&self.out, notice.clone());
            }
        }
        self.room = Some(room);
    }

    fn leave(&mut self) {
        if let Some(room) = self.room.take() {
            self.remove(&room, &self.id);
            self.struck = self.is(Defect::LeaveStrikesAgain).then(|| room.clone());
            self.last_room = Some(room);
        }
    }

    /// Announces a leave that has been announced already, for [`Defect::LeftToldTwice`].
    fn tell_of_last_leave(&self) {
        if let Some(room) = &self.last_room {
            self.room_left(room, &self.id);
        }
    }

    fn remove(&self, room: &str, id: &str) {
        let was_there = {
            let mut state = self.shared.lock().expect("no panic");
            let members = state.rooms.entry(room.to_owned()).or_default();
            let before = members.len();
            let first = members.first().is_some_and(|first| first.id == id);
            members.retain(|member| member.id != id);
            let is_gone = members.len() < before;
            if first && self.is(Defect::FirstTakesTheRoomAlong) {
                members.clear();
            }
            is_gone
        };
        if was_there {
            self.room_left(room, id);
        }
    }

    fn room_left(&self, room: &str, id: &str) {
        let mut state = self.shared.lock().expect("no panic");
        let is_again = !state.left.insert(room.to_owned());
        if (self.is(Defect::OneLeaveTold) && is_again) || (self.is(Defect::LanguageWordsLost) && room == "constructor")
        {
            return;
        }
        let notice = serde_json::json!({ "action": "peer-left", "roomId": room, "clientId": id }).to_string();
        let everywhere = self.is(Defect::LeftToldEverywhere);
        for member in
            state.rooms.iter().filter(|(name, _)| everywhere || *name == room).flat_map(|(_, members)| members)
        {
            self.say(&member.out, notice.clone());
        }
    }

    /// The data of a signal as a server with a defect passes it on; `None` if it does not.
    fn defective(&mut self, kind: &str, data: &str, relayed: &mut BTreeSet<String>) -> Option<String> {
        let again = self.last_data.replace(data.to_owned()).as_deref() == Some(data);
        let is_new = relayed.insert(data.to_owned());
        let is_lost = match self.defect? {
            Defect::LongMessagesLost => data.len() > 60_000,
            Defect::NullCandidateLost => kind == "ice-candidate" && data == "null",
            Defect::EmptyCandidateLost => data.contains(r#""candidate":"""#),
            Defect::RepetitionsLost => again,
            Defect::EqualPayloadsLost => !is_new && data != "null",
            _ => false,
        };
        let data = match self.defect? {
            Defect::LineBreaksNormalised => data.replace(r"\r\n", r"\n"),
            Defect::MarkupEscaped => data.replace('<', "&lt;"),
            Defect::LineSeparatorsDropped => data.replace('\u{2028}', ""),
            Defect::HalfSurrogateReplaced => data.replace(HALF, r"\ufffdb"),
            _ => data.to_owned(),
        };
        (!is_lost).then_some(data)
    }

    fn signal(&mut self, room: &str, kind: &str, data: Option<&str>, to: Option<String>, claimed: Option<String>) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock().expect("no panic");
        if self.room.as_deref() != Some(room) && !self.is(Defect::SignalsIntoForeignRooms) {
            return self.refuse(false);
        }
        let Some(members) = state.rooms.get_mut(room) else { return };
        if let Some(me) = members.iter_mut().find(|member| member.id == self.id) {
            me.offered |= kind == "offer";
            if kind == "ice-candidate" && !me.offered && self.is(Defect::CandidateBeforeOfferDropped) {
                return;
            }
        }
        let from = claimed.filter(|_| self.is(Defect::FromTakenFromClient)).unwrap_or(self.id.clone());
        let reserialised =
            data.and_then(|data| Some(serde_json::from_str::<serde_json::Value>(data).ok()?.to_string()));
        let data = match (reserialised, data) {
            (Some(data), _) if self.is(Defect::PayloadReserialised) => Some(data),
            (_, Some(data)) if self.defect.is_some() => match self.defective(kind, data, &mut state.relayed) {
                Some(data) => Some(data),
                None => return,
            },
            (_, Some(data)) => Some(data.to_owned()),
            (_, None) => None,
        };
        let Some(members) = state.rooms.get_mut(room) else { return };
        if data.as_ref().is_some_and(|data| data.contains(HALF)) && self.is(Defect::RoomClosedByHalfSurrogate) {
            let frame = CloseFrame { code: CloseCode::Error, reason: Utf8Bytes::from_static("") };
            return members.iter().for_each(|member| member.out.send(Message::Close(Some(frame.clone()))));
        }
        let data = data.map(|data| format!(r#""data":{data},"#)).unwrap_or_default();
        let (room, from, kind) = (quoted(room), quoted(&from), quoted(kind));
        // A different order of keys from the reference server's.
        let text = format!(r#"{{{data}"type":{kind},"from":{from},"action":"signal","roomId":{room}}}"#);
        let meant = |member: &&Member| match &to {
            _ if member.id == self.id => self.is(Defect::EchoToSender),
            _ if self.is(Defect::SignalsNowhere) => false,
            Some(to) => member.id == *to || self.is(Defect::TargetedMessageToAll),
            None => true,
        };
        let mut receivers: Vec<_> = members.iter().filter(meant).map(|member| member.out.clone()).collect();
        if kind == r#""answer""# && self.is(Defect::AnswersDoubled) {
            receivers.extend(receivers.clone());
        }
        let named = to.as_ref().filter(|_| self.is(Defect::RoomIsReceiver)).and_then(|to| state.rooms.get(to));
        receivers.extend(named.into_iter().flatten().map(|member| member.out.clone()));
        if to.is_some() && receivers.is_empty() {
            return self.refuse(false);
        }
        let delays = match kind.as_str() {
            r#""answer""# => self.is(Defect::AnswersDelayed),
            r#""ice-candidate""# => self.is(Defect::CandidatesDelayed),
            _ => false,
        };
        if delays {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                receivers.iter().for_each(|out| out.send(Message::text(text.clone())));
            });
            return;
        }
        if self.is(Defect::ReorderedSends) && self.held.is_none() && data.contains("number-") {
            self.held = Some((receivers, text));
            return;
        }
        receivers.iter().for_each(|out| self.say(out, text.clone()));
        if self.choices.chatty {
            receivers.iter().for_each(|out| self.say(out, r#"{"action":"delivered","count":1}"#.to_owned()));
        }
        if let Some((receivers, text)) = self.held.take() {
            receivers.iter().for_each(|out| self.say(out, text.clone()));
        }
    }
}

/// Half a surrogate pair, before a letter.
const HALF: &str = r"\ud83db";

impl Ids {
    /// The id of the client with this number.
    fn of(self, client: usize) -> String {
        match self {
            Self::Words => format!("Client/{client}-with-a-long-id"),
            Self::OneLetter => char::from_u32(0x4e00 + u32::try_from(client).expect("few")).expect("CJK").to_string(),
            Self::Long => format!("{client}-{}", "x".repeat(200)),
            Self::Uuid => format!("{client:08x}-9c0b-4ef8-bb6d-6bb9bd380a11"),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
