//! The `call` dialect: named users call each other.
//!
//! `docs/conformance/promises.md` says what the protocol is. Decisions on what it leaves open:
//! - A message's form is checked before its effect: first its fields (`invalid-message`), then whether the client has joined
//!   (`not-joined`), then whether the target is there (`user-not-found`), then the call (`busy`, `not-in-call`).
//! - A user has at most one call, from its first ring on: a user that rings or is rung is `busy` for other callers, and
//!   cannot make another call (`busy`).
//! - A `callerId` that is a string must be the ringing caller's: an answer to an earlier caller gets `not-in-call`.
//! - `endCall` also cancels or rejects a ringing call. `callEnded` precedes the `userList` of the same change.
//! - Joining again under the same name changes nothing: the client receives a `userList`. If a new name is refused, the
//!   old one stays.
//! - Over Socket.IO, `join`, `call` and `endCall` may have a bare name as their argument, as the original's page sends it.
//! - `userList` is sorted by code points. A name is free from the moment the server has decided to close its connection.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::framing::Framing;
use super::json::{self, serialise};
use crate::lock::Lock;
use crate::random::Entropy;
use crate::session::client::Client;
use crate::session::dialect::{Dialect, Session, WebSocketDialect};
use crate::session::identity::{ClientId, ClientIds};
use crate::session::rooms::is_name;
use crate::shown::Shown;
use crate::socketio::dialect::{EventDialect, EventSession};
use crate::socketio::packet::Event;

/// The endpoint: all users.
pub(crate) struct Call {
    state: Lock<State>,
}

struct State {
    users: BTreeMap<Arc<str>, User>,
    ids: ClientIds,
}

struct User {
    id: ClientId,
    output: ClientOutput,
    call_state: CallState,
}

/// Sends notices to a client.
#[derive(Clone)]
struct ClientOutput {
    client: Client,
    framing: Framing,
}

impl ClientOutput {
    fn send(&self, notice: &Notice<'_>) {
        self.client.push(notice.framed(self.framing));
    }
}

/// A user's call state, and the other side. Both sides' states always match.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CallState {
    Idle,
    /// It has called; the other side rings.
    Calling(Arc<str>),
    /// It was called and rings.
    Ringing(Arc<str>),
    InCall(Arc<str>),
}

impl CallState {
    fn peer(&self) -> Option<&Arc<str>> {
        match self {
            Self::Idle => None,
            Self::Calling(peer) | Self::Ringing(peer) | Self::InCall(peer) => Some(peer),
        }
    }
}

/// One client.
struct CallSession {
    endpoint: Arc<Call>,
    id: ClientId,
    output: ClientOutput,
    /// Its last name. Another client may have taken the name over; `users` decides.
    name: Option<Arc<str>>,
}

/// What is wrong with a message; the code is part of the dialect.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Refusal {
    UsernameTaken,
    UserNotFound,
    Busy,
    NotJoined,
    NotInCall,
    InvalidMessage,
}

/// A message from the server.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Notice<'a> {
    UserList(Vec<&'a str>),
    IncomingCall {
        caller: &'a str,
        caller_id: &'a str,
    },
    CallAnswered {
        accepted: bool,
        target: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
    },
    Offer {
        offer: &'a RawValue,
        caller: &'a str,
    },
    Answer {
        answer: &'a RawValue,
        answerer: &'a str,
    },
    IceCandidate {
        candidate: &'a RawValue,
        sender: &'a str,
    },
    MediaStateChange {
        sender: &'a str,
        media_type: &'a str,
        enabled: bool,
    },
    CallEnded {
        caller: &'a str,
    },
    Error {
        code: Refusal,
        message: &'static str,
    },
    Description(Description<'a>),
}

/// A session description by name. Over WebSocket its fields are in the envelope, with its kind first.
#[derive(Serialize)]
struct Description<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    flat_kind: Option<&'a str>,
    #[serde(skip)]
    kind: &'a str,
    name: &'a str,
    target: &'a str,
    sdp: &'a RawValue,
}

impl Notice<'_> {
    /// The `type` of its envelope, or the name of its event.
    fn name(&self) -> &str {
        match self {
            Self::UserList(_) => "userList",
            Self::IncomingCall { .. } => "incomingCall",
            Self::CallAnswered { .. } => "callAnswered",
            Self::Offer { .. } => "offer",
            Self::Answer { .. } => "answer",
            Self::IceCandidate { .. } => "iceCandidate",
            Self::MediaStateChange { .. } => "mediaStateChange",
            Self::CallEnded { .. } => "callEnded",
            Self::Error { .. } => "error",
            Self::Description(Description { kind, .. }) => kind,
        }
    }

    fn framed(&self, framing: Framing) -> Utf8Bytes {
        match (self, framing) {
            (Self::Description(flat), Framing::WebSocket) => {
                serialise(&Description { flat_kind: Some(flat.kind), ..*flat })
            }
            _ => framing.event(self.name(), self),
        }
    }
}

impl Call {
    pub(crate) fn new(entropy: impl Into<Entropy>) -> Self {
        Self { state: Lock::new(State { users: BTreeMap::new(), ids: ClientIds::new(entropy) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Dialect for Call {
    fn name(&self) -> &'static str {
        "call"
    }

    /// Calls, ringing or answered, and users.
    fn count(&self) -> (usize, usize) {
        let state = self.lock();
        let busy = state.users.values().filter(|user| user.call_state != CallState::Idle).count();
        (busy / 2, state.users.len())
    }
}

impl WebSocketDialect for Call {
    fn open(self: Arc<Self>, _query: Option<&str>, client: Client) -> Box<dyn Session> {
        let id = self.issue_id();
        Box::new(CallSession::new(self, id, client, Framing::WebSocket))
    }
}

impl EventDialect for Call {
    fn issue_id(&self) -> ClientId {
        self.lock().ids.issue()
    }

    fn connect(self: Arc<Self>, id: ClientId, client: Client) -> Box<dyn EventSession> {
        Box::new(CallSession::new(self, id, client, Framing::SocketIo))
    }
}

impl State {
    /// One user, unless its connection is about to end.
    fn user(&self, name: &str) -> Result<&User, Refusal> {
        self.users.get(name).filter(|user| !user.output.client.is_closing()).ok_or(Refusal::UserNotFound)
    }

    /// Sets the call state of an existing user.
    fn set_call_state(&mut self, name: &str, call_state: CallState) {
        self.users.get_mut(name).expect("both sides of a call are users").call_state = call_state;
    }

    /// Ends a user's call, if any, and notifies the other side.
    fn end_call(&mut self, name: &str) {
        let user = self.users.get_mut(name).expect("it is a user");
        let call_state = std::mem::replace(&mut user.call_state, CallState::Idle);
        if let Some(peer) = call_state.peer() {
            self.set_call_state(peer, CallState::Idle);
            self.users[peer].output.send(&Notice::CallEnded { caller: name });
        }
    }

    /// Marks a call as answered on both sides.
    fn connect(&mut self, caller: &Arc<str>, callee: &Arc<str>) {
        self.set_call_state(caller, CallState::InCall(Arc::clone(callee)));
        self.set_call_state(callee, CallState::InCall(Arc::clone(caller)));
        self.users[caller].output.send(&Notice::CallAnswered { accepted: true, target: callee, reason: None });
    }

    /// Removes a user. The other side of its call is notified; the new list is not sent yet.
    fn remove(&mut self, name: &str) {
        self.end_call(name);
        self.users.remove(name);
    }

    fn list(&self) -> Notice<'_> {
        Notice::UserList(self.users.keys().map(|name| &**name).collect())
    }

    fn broadcast_list(&self) {
        let list = self.list();
        let [mut over_websocket, mut over_socketio] = [None, None];
        for ClientOutput { client, framing } in self.users.values().map(|user| &user.output) {
            let framed = match framing {
                Framing::WebSocket => &mut over_websocket,
                Framing::SocketIo => &mut over_socketio,
            };
            client.push_state(framed.get_or_insert_with(|| list.framed(*framing)).clone());
        }
    }
}

impl Session for CallSession {
    fn text(&mut self, text: &str) {
        let handled = envelope(text).and_then(|(kind, content)| self.handle(&kind, content));
        self.answer(handled);
    }

    fn has_joined(&self) -> bool {
        self.name.is_some()
    }
}

impl EventSession for CallSession {
    fn event(&mut self, event: &Event<'_>, attachments: &[Bytes]) {
        let handled = match event.argument {
            Some(content) if attachments.is_empty() => match in_object(&event.name, content) {
                Some(object) => self.handle(&event.name, &object),
                None => self.handle(&event.name, content.get()),
            },
            _ => Err(Refusal::InvalidMessage),
        };
        self.answer(handled);
    }

    fn has_joined(&self) -> bool {
        self.name.is_some()
    }
}

impl Drop for CallSession {
    fn drop(&mut self) {
        let state = &mut *self.endpoint.lock();
        if let Ok(name) = self.name(state) {
            state.remove(&name);
            state.broadcast_list();
        }
    }
}

impl CallSession {
    fn new(endpoint: Arc<Call>, id: ClientId, client: Client, framing: Framing) -> Self {
        Self { endpoint, id, output: ClientOutput { client, framing }, name: None }
    }

    /// Sends the client the refusal, if there is one.
    fn answer(&self, handled: Result<(), Refusal>) {
        let Err(code) = handled else { return };
        let message = match code {
            Refusal::UsernameTaken => "Somebody else has this name",
            Refusal::UserNotFound => "Nobody has this name",
            Refusal::Busy => "You are in a call already",
            Refusal::NotJoined => "Join first",
            Refusal::NotInCall => "There is no such call",
            Refusal::InvalidMessage => "Not a message of this dialect",
        };
        self.output.send(&Notice::Error { code, message });
    }

    fn handle(&mut self, kind: &str, content: &str) -> Result<(), Refusal> {
        let invalid = Refusal::InvalidMessage;
        let names = [
            "username",
            "target",
            "accepted",
            "caller",
            "callerId",
            "offer",
            "answer",
            "candidate",
            "mediaType",
            "enabled",
            "sdp",
        ];
        let fields = json::fields(content, &names).map_err(|_| invalid)?;
        let [username, target, accepted, caller, caller_id, offer, answer, candidate, media_type, enabled, sdp] =
            fields;
        match kind {
            "video-offer" | "video-answer" => self.describe(kind, &user_name(target)?, sdp.ok_or(invalid)?),
            "join" => self.join(&user_name(username)?),
            "call" => self.call(&user_name(target)?),
            "callResponse" => {
                let caller_id = caller_id.and_then(json::text);
                self.respond(flag(accepted)?, &user_name(caller)?, caller_id.as_deref())
            }
            "offer" => {
                let offer = offer.ok_or(invalid)?;
                self.relay(&user_name(target)?, |caller, peer| peer.send(&Notice::Offer { offer, caller }))
            }
            "answer" => {
                let answer = answer.ok_or(invalid)?;
                self.relay(&user_name(target)?, |answerer, peer| peer.send(&Notice::Answer { answer, answerer }))
            }
            "iceCandidate" => {
                let candidate = candidate.ok_or(invalid)?;
                self.relay(&user_name(target)?, |sender, peer| peer.send(&Notice::IceCandidate { candidate, sender }))
            }
            "mediaStateChange" => {
                let media_type = media_type.and_then(json::text);
                let media_type = media_type.filter(|media| matches!(&**media, "video" | "audio")).ok_or(invalid)?;
                let enabled = flag(enabled)?;
                let media_type = &*media_type;
                self.relay(&user_name(target)?, |sender, peer| {
                    peer.send(&Notice::MediaStateChange { sender, media_type, enabled });
                })
            }
            "endCall" => {
                let target = user_name(target)?;
                let state = &mut *self.endpoint.lock();
                let name = self.name_in_call(state, &target)?;
                state.end_call(&name);
                Ok(())
            }
            _ => Err(invalid),
        }
    }

    /// Its name, unless it never had one or another client has taken it over.
    fn name(&self, state: &State) -> Result<Arc<str>, Refusal> {
        let name = self.name.as_ref().filter(|name| state.users.get(&***name).is_some_and(|user| user.id == self.id));
        name.cloned().ok_or(Refusal::NotJoined)
    }

    /// The same, if it is in a call with this user, ringing or answered.
    fn name_in_call(&self, state: &State, target: &str) -> Result<Arc<str>, Refusal> {
        let name = self.name(state)?;
        state.user(target)?;
        let is_peer = state.users[&name].call_state.peer().is_some_and(|peer| **peer == *target);
        if is_peer { Ok(name) } else { Err(Refusal::NotInCall) }
    }

    fn join(&mut self, new: &str) -> Result<(), Refusal> {
        if !self.output.client.may_use_name(new) {
            return Ok(());
        }
        let endpoint = Arc::clone(&self.endpoint);
        let state = &mut *endpoint.lock();
        match state.users.get(new) {
            Some(user) if user.id == self.id => {
                self.output.client.push_state(state.list().framed(self.output.framing));
                return Ok(());
            }
            Some(user) if !user.output.client.is_closing() => return Err(Refusal::UsernameTaken),
            Some(_) => state.remove(new),
            None => {}
        }
        if let Ok(old) = self.name(state) {
            state.remove(&old);
        }
        let new: Arc<str> = new.into();
        let user = User { id: self.id, output: self.output.clone(), call_state: CallState::Idle };
        state.users.insert(Arc::clone(&new), user);
        tracing::debug!(client = ?self.id, name = %Shown(&new), "joined");
        self.name = Some(new);
        state.broadcast_list();
        Ok(())
    }

    fn call(&self, target: &str) -> Result<(), Refusal> {
        let state = &mut *self.endpoint.lock();
        let name = self.name(state)?;
        if *name == *target {
            return Err(Refusal::InvalidMessage);
        }
        let callee = state.user(target)?;
        let target: Arc<str> = target.into();
        match &state.users[&name].call_state {
            CallState::Idle => {}
            CallState::Ringing(caller) if *caller == target => {
                // Both called each other: the first call is answered.
                state.connect(&target, &name);
                return Ok(());
            }
            _ => return Err(Refusal::Busy),
        }
        if callee.call_state != CallState::Idle {
            self.output.send(&Notice::CallAnswered { accepted: false, target: &target, reason: Some("busy") });
            return Ok(());
        }
        callee.output.send(&Notice::IncomingCall { caller: &name, caller_id: self.id.as_str() });
        state.set_call_state(&target, CallState::Ringing(Arc::clone(&name)));
        state.set_call_state(&name, CallState::Calling(target));
        Ok(())
    }

    fn respond(&self, accepted: bool, caller: &str, caller_id: Option<&str>) -> Result<(), Refusal> {
        let state = &mut *self.endpoint.lock();
        let name = self.name(state)?;
        let caller = match &state.users[&name].call_state {
            CallState::Ringing(ringing) if **ringing == *caller => Arc::clone(ringing),
            _ => return Err(Refusal::NotInCall),
        };
        if caller_id.is_some_and(|id| id != state.users[&caller].id.as_str()) {
            return Err(Refusal::NotInCall);
        }
        if accepted {
            state.connect(&caller, &name);
        } else {
            state.set_call_state(&caller, CallState::Idle);
            state.set_call_state(&name, CallState::Idle);
            let answered = Notice::CallAnswered { accepted: false, target: &name, reason: None };
            state.users[&caller].output.send(&answered);
        }
        Ok(())
    }

    /// Notifies the other side of a call, with this user's name.
    fn relay(&self, target: &str, notify: impl FnOnce(&str, &ClientOutput)) -> Result<(), Refusal> {
        let state = &*self.endpoint.lock();
        let name = self.name_in_call(state, target)?;
        notify(&name, &state.users[target].output);
        Ok(())
    }

    /// Relays a session description by name, for which no call is needed.
    fn describe(&self, kind: &str, target: &str, sdp: &RawValue) -> Result<(), Refusal> {
        let state = &*self.endpoint.lock();
        let name = self.name(state)?;
        if *name == *target {
            return Err(Refusal::InvalidMessage);
        }
        let description = Description { flat_kind: None, kind, name: &name, target, sdp };
        state.user(target)?.output.send(&Notice::Description(description));
        Ok(())
    }
}

/// The `type` of a WebSocket message, and its content.
fn envelope(text: &str) -> Result<(Cow<'_, str>, &str), Refusal> {
    let fields = json::fields(text, &["type", "data"]);
    let [kind, data] = fields.map_err(|_| Refusal::InvalidMessage)?;
    let kind = kind.and_then(json::text).ok_or(Refusal::InvalidMessage)?;
    match &*kind {
        "video-offer" | "video-answer" => Ok((kind, text)),
        _ => Ok((kind, data.ok_or(Refusal::InvalidMessage)?.get())),
    }
}

/// The object for an argument that is only a name. The page of the original sends such a `join`; `call` and `endCall`
/// are understood likewise, because they too consist of one name.
fn in_object(event: &str, argument: &RawValue) -> Option<String> {
    let key = match event {
        "join" => "username",
        "call" | "endCall" => "target",
        _ => return None,
    };
    let text = argument.get();
    text.starts_with('"').then(|| format!(r#"{{"{key}":{text}}}"#))
}

fn user_name(value: Option<&RawValue>) -> Result<Cow<'_, str>, Refusal> {
    value.and_then(json::text).filter(|name| is_name(name)).ok_or(Refusal::InvalidMessage)
}

fn flag(value: Option<&RawValue>) -> Result<bool, Refusal> {
    match value.map(RawValue::get) {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err(Refusal::InvalidMessage),
    }
}

#[cfg(test)]
#[path = "call_model.rs"]
mod model;
