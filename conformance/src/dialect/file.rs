//! The schema of dialect files, as they are written. `docs/conformance/write-a-dialect.md` explains every key to authors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// A dialect of signaling: what its clients send, what they understand, and what its server is declared to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Dialect of signaling")]
pub(crate) struct File {
    /// The dialect's name in reports.
    pub(crate) name: String,
    /// The protocol, in one sentence.
    pub(crate) about: String,
    /// URL of a server on the user's own machine, for examples.
    pub(crate) example: String,
    #[serde(default)]
    pub(crate) connection: Connection,
    #[serde(default)]
    pub(crate) identity: Identity,
    #[serde(default)]
    pub(crate) room: Room,
    #[serde(default)]
    pub(crate) join: Join,
    #[serde(default)]
    pub(crate) kinds: Option<BTreeMap<Kind, KindNames>>,
    #[serde(default)]
    pub(crate) signals: Signals,
    #[serde(default)]
    pub(crate) roster: Roster,
    pub(crate) roles: Option<Roles>,
    #[serde(default)]
    pub(crate) calls: Calls,
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) http: Option<Http>,
    pub(crate) auth: Option<Auth>,
    /// The messages that a client sends, one per operation.
    #[serde(default)]
    #[schemars(with = "BTreeMap<Operation, String>")]
    pub(crate) send: BTreeMap<Operation, Spanned<String>>,
    /// Patterns for the messages that arrive, tried in order: the first one that matches names the event.
    #[serde(default, rename = "match")]
    pub(crate) matches: Vec<Match>,
    #[serde(default)]
    pub(crate) declares: Declares,
    /// Messages that the server must not act on, in addition to those that the suite derives from `send`.
    #[serde(default)]
    pub(crate) wrong: Vec<Wrong>,
}

/// How a client connects.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Connection {
    pub(crate) framing: Framing,
    /// Where each client connects: `$url`, which the user provides, with `$room`, `$self`, `$token` and `$role`.
    /// Default: `$url`.
    #[schemars(with = "Option<String>")]
    pub(crate) url: Option<Spanned<String>>,
    /// The `Sec-WebSocket-Protocol` that the client requests.
    pub(crate) subprotocol: Option<String>,
    /// Of `sse`: where messages are posted, with the same variables as `url`.
    #[schemars(with = "Option<String>")]
    pub(crate) post: Option<Spanned<String>>,
    /// Of `adapter`: the program and its arguments, relative to the dialect file.
    pub(crate) command: Option<Vec<String>>,
    /// Of `adapter` without `[send]` and `[[match]]`: the operations that the program supports. Default: all.
    pub(crate) operations: Option<Vec<Operation>>,
    /// Of `adapter` without `[send]` and `[[match]]`: the events that the program reports. Default: all.
    pub(crate) events: Option<Vec<EventName>>,
    /// Time that the server needs for a message beyond the measured round trip, in milliseconds.
    pub(crate) slow_by_ms: u32,
    /// Of `socketio`: whether a refused request is answered with the code and the message of its reason, as the
    /// JavaScript implementation does.
    pub(crate) error_codes: bool,
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Framing {
    /// One WebSocket text frame per message.
    #[default]
    #[serde(rename = "websocket")]
    WebSocket,
    /// One WebSocket binary frame per message.
    #[serde(rename = "websocket-binary")]
    WebSocketBinary,
    /// One Socket.IO 5 event per message, over Engine.IO 4: the shape is a list, event name first. The layer itself
    /// reports the events `connect`, `connect_error` and `ack`.
    #[serde(rename = "socketio")]
    SocketIo,
    /// Server-sent events from the server, HTTP POST to it.
    Sse,
    /// A program of the user speaks the protocol. It reads operations and writes events, as JSON lines.
    Adapter,
}

/// Who assigns a client its id.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Identity {
    pub(crate) assigned_by: AssignedBy,
}

/// Who assigns a client its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AssignedBy {
    /// The server: `$id` of `joined`.
    #[default]
    Server,
    /// The client: `$self` in the URL or in the first message.
    Client,
    /// The user's name is the id: `$self`.
    UserName,
    /// There are no ids.
    Nobody,
}

/// What separates groups of clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Room {
    pub(crate) r#in: RoomIn,
    /// Maximum number of members of a room. Default: no limit.
    pub(crate) members_max: Option<usize>,
    /// Maximum length of a room id in code points; a longer one is refused.
    pub(crate) code_points_max: Option<usize>,
    /// Whether rooms whose names differ in case, spaces or Unicode normalisation are different rooms.
    pub(crate) exact: bool,
    /// Of `query`: the room of clients whose URL names none, or an empty one. Default: not defined.
    pub(crate) default: Option<String>,
}

impl Default for Room {
    fn default() -> Self {
        Self { r#in: RoomIn::Message, members_max: None, code_points_max: None, exact: true, default: None }
    }
}

/// Where clients name the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RoomIn {
    /// In a message, so that a client can change rooms.
    #[default]
    Message,
    /// In the path of the URL.
    Path,
    /// In the query of the URL.
    Query,
    /// There are no rooms: everybody can reach everybody.
    None,
}

/// How a client becomes a member.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Join {
    pub(crate) by: JoinBy,
    pub(crate) answer: JoinAnswer,
    /// Whether the answer may arrive before others can reach the new member, so that signals have to be repeated.
    pub(crate) settles: bool,
}

/// What makes a client a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JoinBy {
    /// `send.join`.
    #[default]
    Message,
    /// The connection.
    Connecting,
}

/// What confirms to a client that it is a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JoinAnswer {
    /// The event `joined`.
    #[default]
    Joined,
    /// An event `roster` that contains its own id.
    Roster,
    /// The event `pong`, as the answer to a `ping` sent after the join.
    Pong,
    /// Its own signal, which the server echoes.
    Echo,
    /// Nothing: clients repeat a signal until it arrives.
    None,
}

/// Kinds of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A session description that opens a negotiation.
    Offer,
    /// A session description that answers an offer.
    Answer,
    /// An ICE candidate.
    Candidate,
    /// The end of a connection.
    Hangup,
}

/// The name of a kind on the wire.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, rename_all = "kebab-case")]
pub(crate) enum KindNames {
    /// `$kind`, and `$field` too.
    Both(String),
    /// Two different names.
    Each {
        /// `$kind`
        kind: String,
        /// `$field`
        field: String,
    },
}

/// How signals are relayed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Signals {
    pub(crate) addressing: Addressing,
    /// Whether the sender receives its own signal. The report marks that as bad practice.
    pub(crate) echo: bool,
    /// Who names the sender of a signal.
    pub(crate) sender: Sender,
    /// How payloads are relayed.
    pub(crate) payload: Payload,
    /// Whether `$session` links answers and candidates to their offer.
    pub(crate) sessions: bool,
    /// Whether a `$to` of null means everyone, like one that is left out.
    pub(crate) null_is_everyone: bool,
    /// Who offers when a client joins.
    pub(crate) offers: Offers,
    /// Maximum size of a message in bytes of text. A message of more than twice that size must not be relayed.
    pub(crate) bytes_max: Option<usize>,
    /// Maximum number of bytes that the server queues for a client that does not read; then it disconnects the client.
    /// Default: not defined.
    pub(crate) queued_bytes_max: Option<usize>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            addressing: Addressing::Both,
            echo: false,
            sender: Sender::Stamped,
            payload: Payload::Bytes,
            sessions: false,
            null_is_everyone: false,
            offers: Offers::Anybody,
            bytes_max: None,
            queued_bytes_max: None,
        }
    }
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Addressing {
    /// One client with `$to`, all without it.
    Both,
    /// Always one client.
    Targeted,
    /// Always all clients.
    Broadcast,
    /// All clients; those that are not the receiver ignore it.
    FilteredByReceiver,
}

/// Who names the sender of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sender {
    /// The server.
    Stamped,
    /// The sender, and the server does not check it.
    Claimed,
    /// Nobody.
    Absent,
}

/// What the server does to payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Payload {
    /// They are relayed byte for byte.
    Bytes,
    /// They are parsed and serialized again: the same JSON, but other bytes.
    Json,
}

/// Who offers when a client joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Offers {
    /// The existing members, to the new one.
    Existing,
    /// The new member, to the existing ones.
    Newcomer,
    /// Not defined.
    Anybody,
}

/// How members are listed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Roster {
    /// Joins and leaves are the differences between successive rosters.
    pub(crate) differences: bool,
    /// The roster lists all clients of the server.
    pub(crate) of_server: bool,
}

/// Roles that only one client of a room can have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Roles {
    /// The role that offers, as a value of `$role`.
    pub(crate) offers: String,
    /// The role that answers.
    pub(crate) answers: String,
    /// The role that receives `ready` when both are present, in whichever order they joined.
    pub(crate) ready: Option<String>,
    /// The errors of a client that asks or sends what its role does not permit.
    #[serde(default)]
    pub(crate) refusals: RoleRefusals,
}

/// The `$reason` of the error that a client receives, for each reason to refuse it. Without one, the server may also
/// ignore the message or close the connection.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RoleRefusals {
    /// The role that offers has a connected holder.
    pub(crate) offers_taken: Option<String>,
    /// The role that answers has a connected holder.
    pub(crate) answers_taken: Option<String>,
    /// The signal is for the other side to send.
    pub(crate) wrong_direction: Option<String>,
    /// Nobody has the other role.
    pub(crate) no_peer: Option<String>,
}

/// Calls between users.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Calls {
    /// Whether signals need an accepted call between the two users.
    pub(crate) needed: bool,
    /// `$reason` of the answer to a call to a user who is in a call.
    pub(crate) busy: Option<String>,
}

/// What keeps a connection alive.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Heartbeat {
    /// Interval at which `send.ping` is sent, in seconds. Default: never.
    pub(crate) every_s: Option<u32>,
    /// After how many seconds the server drops a silent client.
    pub(crate) dead_after_s: Option<u32>,
}

/// HTTP endpoints of the server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Http {
    /// Path of the ICE servers, as JSON.
    pub(crate) ice: Option<String>,
    /// Path that is answered with 200 while the server is healthy.
    pub(crate) health: Option<String>,
    /// What the answer of `health` contains: JSON, whose objects may have further fields there.
    pub(crate) health_body: Option<String>,
    /// Path of the rooms, as JSON.
    pub(crate) status: Option<String>,
    /// Where `status` names the members of a room.
    pub(crate) status_members: Option<StatusMembers>,
    /// How to close a client's connection.
    pub(crate) kick: Option<Kick>,
    /// Whether pages of any origin may read the endpoints.
    #[serde(default)]
    pub(crate) cors: bool,
    /// Whether every answer, also of a request that is refused, is JSON and has the content type of JSON.
    #[serde(default)]
    pub(crate) json: bool,
}

/// The form of the status: an object with a list of rooms, each an object with an object per role.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StatusMembers {
    /// The field with the list of rooms.
    pub(crate) rooms: String,
    /// The field of a room with its name. Its members are in the fields that are called like their roles.
    pub(crate) room: String,
    /// The field of a role that tells whether its holder is connected.
    pub(crate) connected: String,
    /// The field of a role with the id of its holder; null if there is none.
    pub(crate) id: String,
}

/// A POST that closes a client's connection: a JSON object that names the client.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Kick {
    pub(crate) path: String,
    /// The field with the client's id.
    pub(crate) field: String,
    /// What the answer contains: JSON, whose objects may have further fields there.
    pub(crate) answer: Option<String>,
    /// The close code that the client receives. Default: any.
    pub(crate) code: Option<u16>,
    /// The reason in the close frame. Default: any.
    pub(crate) reason: Option<String>,
    /// The HTTP status if there is no such client. Default: any from 400 to 499.
    pub(crate) unknown: Option<u16>,
    /// The HTTP status if the body names no client. Default: any from 400 to 499.
    pub(crate) malformed: Option<u16>,
    /// Whether it needs the credentials from `--bearer`, and is answered with 401 without them.
    #[serde(default)]
    pub(crate) bearer: bool,
}

/// Who may connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Auth {
    /// Whether clients need the credentials from `--bearer` or `--header`.
    pub(crate) required: bool,
}

/// What a client can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    /// Become a member.
    Join,
    /// Stop being a member.
    Leave,
    /// Send a signal of any kind.
    Signal,
    /// Send an offer, if that differs from `signal`.
    Offer,
    /// Send an answer, if that differs from `signal`.
    Answer,
    /// Send a candidate, if that differs from `signal`.
    Candidate,
    /// End a connection, if that differs from `signal`.
    Hangup,
    /// Call a user.
    Call,
    /// Accept a call.
    Accept,
    /// Reject a call.
    Reject,
    /// End a call, or cancel it.
    End,
    /// Report that audio or video is on or off.
    Media,
    /// Request a `pong`, or keep the connection alive.
    Ping,
    /// Answer a `ping`.
    Pong,
}

/// A pattern for arriving messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Match {
    pub(crate) event: EventName,
    /// The message's shape.
    #[schemars(with = "String")]
    pub(crate) message: Spanned<String>,
    /// Of `signal`: its kind, if the message has no `$kind`.
    pub(crate) kind: Option<Kind>,
    /// The role that the message is about, if it has no `$role`.
    pub(crate) role: Option<String>,
    /// Of `answered`: whether the call was accepted, if the message has no `$accepted`.
    pub(crate) accepted: Option<bool>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EventName {
    /// The client is now a member.
    Joined,
    /// Another client is now a member.
    MemberJoined,
    /// Another client is no longer a member.
    MemberLeft,
    /// The list of members.
    Roster,
    /// The client with the other role is present.
    Ready,
    /// A signal.
    Signal,
    /// Another user calls.
    Ringing,
    /// The called user has answered.
    Answered,
    /// The other side has ended the call.
    Ended,
    /// The audio or video of the other side is on or off.
    Media,
    /// The server refused something.
    Error,
    /// The server requests a `pong`.
    Ping,
    /// The answer to a `ping`.
    Pong,
    /// A message without meaning for the suite.
    Ignored,
}

/// What the server is declared to do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Declares {
    /// A text that is not JSON.
    pub(crate) not_json: Reaction,
    /// JSON that is not a message.
    pub(crate) null: Reaction,
    /// A message of an unknown type.
    pub(crate) unknown_type: Reaction,
    /// A message that lacks a field.
    pub(crate) missing_field: Reaction,
    /// A field of the wrong JSON type.
    pub(crate) wrong_type: Reaction,
    /// A binary frame where text is expected.
    pub(crate) binary: Reaction,
    /// A message that is too long.
    pub(crate) oversize: Reaction,
    /// A signal to a client that does not exist.
    pub(crate) absent_target: Reaction,
    /// A message from a client that has not joined, or for another room.
    pub(crate) not_a_member: Reaction,
    /// A client that requests an id that is in use.
    pub(crate) duplicate_id: Duplicate,
}

/// How the server reacts to an invalid message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reaction {
    /// Not defined.
    #[default]
    Any,
    /// The sender receives an error.
    Error,
    /// The server ignores it.
    Ignored,
    /// The server closes the sender's connection.
    Closed,
    /// The server handles it like a valid message: for a server that treats binary and text frames alike.
    Obeyed,
}

/// How the server reacts to a client that requests an id that is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Duplicate {
    /// The client is refused.
    #[default]
    Refused,
    /// It replaces the holder, which is notified or disconnected.
    TakesOver,
}

/// A message that the server must not act on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Wrong {
    /// The case that sends it.
    pub(crate) case: WrongCase,
    /// What is wrong with the message, in words.
    pub(crate) what: String,
    /// The message.
    #[schemars(with = "String")]
    pub(crate) message: Spanned<String>,
    /// Whether it is sent instead of a join, by a client that is not a member.
    #[serde(default)]
    pub(crate) joining: bool,
}

/// The case that sends an invalid message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WrongCase {
    /// `msg/unknown-type`
    UnknownType,
    /// `msg/missing-field`
    MissingField,
    /// `msg/wrong-type`
    WrongType,
    /// `room/id-limits`
    IdLimits,
}
