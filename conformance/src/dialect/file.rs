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
    /// Name that reports call it by.
    pub(crate) name: String,
    /// What it is, in one sentence.
    pub(crate) about: String,
    /// URL of a server on one's own machine, for examples.
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
    /// Messages that a client sends, by what they do.
    #[serde(default)]
    #[schemars(with = "BTreeMap<Operation, String>")]
    pub(crate) send: BTreeMap<Operation, Spanned<String>>,
    /// Messages that arrive, tried in order: the first that matches tells what it is.
    #[serde(default, rename = "match")]
    pub(crate) matches: Vec<Match>,
    #[serde(default)]
    pub(crate) declares: Declares,
    /// Messages that the server must not obey, beside those that the suite makes out of the templates.
    #[serde(default)]
    pub(crate) wrong: Vec<Wrong>,
}

/// How a client is connected.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Connection {
    pub(crate) framing: Framing,
    /// Where each client connects to, made of `$url`, which the user gives, and of `$room`, `$self`, `$token`, `$role`.
    /// Default: `$url`.
    #[schemars(with = "Option<String>")]
    pub(crate) url: Option<Spanned<String>>,
    /// `Sec-WebSocket-Protocol` that is asked for.
    pub(crate) subprotocol: Option<String>,
    /// Of `sse`: where messages are posted to, made like `url`.
    #[schemars(with = "Option<String>")]
    pub(crate) post: Option<Spanned<String>>,
    /// Of `adapter`: the program and its arguments, relative to the dialect file.
    pub(crate) command: Option<Vec<String>>,
    /// Of `adapter` without `[send]` and `[[match]]`: the operations that the program knows. Default: all.
    pub(crate) operations: Option<Vec<Operation>>,
    /// The same of the events that it tells.
    pub(crate) events: Option<Vec<EventName>>,
    /// Time that the server itself takes for a message, in milliseconds, beyond the measured round trip.
    pub(crate) slow_by_ms: u32,
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Framing {
    /// A WebSocket text frame each.
    #[default]
    #[serde(rename = "websocket")]
    WebSocket,
    /// A WebSocket binary frame each.
    #[serde(rename = "websocket-binary")]
    WebSocketBinary,
    /// A Socket.IO 5 event each, over Engine.IO 4: the shape is a list, event name first. What the layer itself tells are
    /// the events `connect`, `connect_error` and `ack`.
    #[serde(rename = "socketio")]
    SocketIo,
    /// Server-sent events in, HTTP POST out.
    Sse,
    /// A program of yours speaks the protocol: JSON lines of operations in, of events out.
    Adapter,
}

/// Who gives a client its id.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Identity {
    pub(crate) assigned_by: AssignedBy,
}

/// Who gives a client its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AssignedBy {
    /// The server: `$id` of `joined`.
    #[default]
    Server,
    /// The client: `$self`, in the URL or the first message.
    Client,
    /// The user's name is the id: `$self`.
    UserName,
    /// There are no ids.
    Nobody,
}

/// What keeps clients apart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Room {
    pub(crate) r#in: RoomIn,
    /// How many can be in one room. Default: no limit.
    pub(crate) members_max: Option<usize>,
    /// Longest id of a room that must be accepted, in code points; one more is refused.
    pub(crate) code_points_max: Option<usize>,
    /// Whether rooms whose names differ in case, spaces or Unicode normalisation are different rooms.
    pub(crate) exact: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { r#in: RoomIn::Message, members_max: None, code_points_max: None, exact: true }
    }
}

/// Where the room's id stands.
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
    /// Whether the answer may come before others can reach the newcomer, so that it has to try.
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

/// What tells a client that it is a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JoinAnswer {
    /// The event `joined`.
    #[default]
    Joined,
    /// An event `roster` with its own id in it.
    Roster,
    /// The event `pong` to a `ping` that is sent behind the join.
    Pong,
    /// Its own signal, which comes back.
    Echo,
    /// Nothing: it has to try whether it is heard.
    None,
}

/// Kinds of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A session description that asks.
    Offer,
    /// A session description that answers.
    Answer,
    /// An ICE candidate.
    Candidate,
    /// The end of a connection.
    Hangup,
}

/// What a kind is called on the wire.
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

/// Whom signals reach.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Signals {
    pub(crate) addressing: Addressing,
    /// Whether the sender hears its own signal: declared, which does not make it good.
    pub(crate) echo: bool,
    /// Who says who sent a signal.
    pub(crate) sender: Sender,
    /// How payloads survive.
    pub(crate) payload: Payload,
    /// Whether `$session` tells which answer and candidates belong to which offer.
    pub(crate) sessions: bool,
    /// Who offers when somebody joins.
    pub(crate) offers: Offers,
    /// The longest message that must be accepted, in bytes of text; anything over twice as long must not be relayed.
    pub(crate) bytes_max: Option<usize>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            addressing: Addressing::Both,
            echo: false,
            sender: Sender::Stamped,
            payload: Payload::Bytes,
            sessions: false,
            offers: Offers::Anybody,
            bytes_max: None,
        }
    }
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Addressing {
    /// With `$to` one, without it all.
    Both,
    /// Always one.
    Targeted,
    /// Always all.
    Broadcast,
    /// All, and who is not meant ignores it.
    FilteredByReceiver,
}

/// Who says who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sender {
    /// The server.
    Stamped,
    /// The sender itself, and the server believes it.
    Claimed,
    /// Nobody.
    Absent,
}

/// What payloads go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Payload {
    /// They are relayed byte for byte.
    Bytes,
    /// They are parsed and written again: the same JSON, other bytes.
    Json,
}

/// Who offers when somebody joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Offers {
    /// The members that are there, to the newcomer.
    Existing,
    /// The newcomer, to the members that are there.
    Newcomer,
    /// The dialect does not say.
    Anybody,
}

/// How members are listed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Roster {
    /// Who joined and who left is the difference of successive rosters.
    pub(crate) differences: bool,
    /// The roster lists everybody on the server.
    pub(crate) of_server: bool,
}

/// Roles that exclude each other.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Roles {
    /// Who offers, as `$role` names it.
    pub(crate) offers: String,
    /// Who answers.
    pub(crate) answers: String,
    /// Who is told `ready` when both are there, in whichever order they came.
    pub(crate) ready: Option<String>,
}

/// Calls between users.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Calls {
    /// Signals need an answered call between the two.
    pub(crate) needed: bool,
    /// `$reason` of the answer to a call of somebody who is in a call.
    pub(crate) busy: Option<String>,
}

/// What keeps a connection alive.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Heartbeat {
    /// How often `send.ping` is sent, in seconds; never, unless told.
    pub(crate) every_s: Option<u32>,
    /// After how much silence the server gives a client up, in seconds.
    pub(crate) dead_after_s: Option<u32>,
}

/// Endpoints beside the signaling.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Http {
    /// Path that gives the ICE servers as JSON.
    pub(crate) ice: Option<String>,
    /// Path that answers 200 while the server is well.
    pub(crate) health: Option<String>,
    /// Path that tells of rooms as JSON.
    pub(crate) status: Option<String>,
    /// What closes a client's connection.
    pub(crate) kick: Option<Kick>,
    /// Whether pages of any origin may read them.
    #[serde(default)]
    pub(crate) cors: bool,
}

/// A POST that closes a client's connection: a JSON object that names the client.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Kick {
    pub(crate) path: String,
    /// The field that has the client's id.
    pub(crate) field: String,
}

/// Who may connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Auth {
    /// Whether nobody is let in without what `--bearer` or `--header` give.
    pub(crate) required: bool,
}

/// What a client can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    /// Becomes a member.
    Join,
    /// Ceases to be one.
    Leave,
    /// Sends a signal of any kind.
    Signal,
    /// Sends an offer, if that differs from `signal`.
    Offer,
    /// Sends an answer, if that differs from `signal`.
    Answer,
    /// Sends a candidate, if that differs from `signal`.
    Candidate,
    /// Ends a connection, if that differs from `signal`.
    Hangup,
    /// Calls a user.
    Call,
    /// Accepts a call.
    Accept,
    /// Rejects a call.
    Reject,
    /// Ends a call, or takes it back.
    End,
    /// Tells that sound or picture is on or off.
    Media,
    /// Asks for a `pong`, or just shows life.
    Ping,
    /// Answers a `ping`.
    Pong,
}

/// What an arriving message is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Match {
    pub(crate) event: EventName,
    /// The message's shape.
    #[schemars(with = "String")]
    pub(crate) message: Spanned<String>,
    /// Of `signal`: its kind, if `$kind` does not say.
    pub(crate) kind: Option<Kind>,
    /// Of whom it tells, if `$role` does not say.
    pub(crate) role: Option<String>,
    /// Of `answered`: how, if `$accepted` does not say.
    pub(crate) accepted: Option<bool>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EventName {
    /// The client is a member.
    Joined,
    /// Somebody else is.
    MemberJoined,
    /// Somebody no longer is.
    MemberLeft,
    /// These are the members.
    Roster,
    /// The other role is there.
    Ready,
    /// A signal.
    Signal,
    /// Somebody calls.
    Ringing,
    /// The called user has answered.
    Answered,
    /// The other side has ended the call.
    Ended,
    /// The other side's sound or picture is on or off.
    Media,
    /// Something was refused.
    Error,
    /// The server asks for a `pong`.
    Ping,
    /// The answer to a `ping`.
    Pong,
    /// Nothing that matters.
    Ignored,
}

/// What the server is declared to do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Declares {
    /// A text that is no JSON.
    pub(crate) not_json: Reaction,
    /// JSON that is no message.
    pub(crate) null: Reaction,
    /// A message of an unknown type.
    pub(crate) unknown_type: Reaction,
    /// A message that lacks a field.
    pub(crate) missing_field: Reaction,
    /// A field of the wrong JSON type.
    pub(crate) wrong_type: Reaction,
    /// A binary frame where text is due.
    pub(crate) binary: Reaction,
    /// A message that is too long.
    pub(crate) oversize: Reaction,
    /// A signal to somebody who is not there.
    pub(crate) absent_target: Reaction,
    /// A message of somebody who has not joined, or for another room.
    pub(crate) not_a_member: Reaction,
    /// Somebody who asks for an id that is taken.
    pub(crate) duplicate_id: Duplicate,
}

/// What becomes of a message that is not right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reaction {
    /// The dialect does not say.
    #[default]
    Any,
    /// Its sender is told.
    Error,
    /// Nothing.
    Ignored,
    /// Its sender's connection is closed.
    Closed,
    /// It is taken like any other: of a binary frame, where the server makes no difference.
    Obeyed,
}

/// What becomes of somebody who asks for an id that is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Duplicate {
    /// It is refused.
    #[default]
    Refused,
    /// It replaces the one who had it, who is told or closed.
    TakesOver,
}

/// A message that must not be obeyed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Wrong {
    /// The case that sends it.
    pub(crate) case: WrongCase,
    /// What is wrong with it, in words.
    pub(crate) what: String,
    /// The message.
    #[schemars(with = "String")]
    pub(crate) message: Spanned<String>,
    /// Whether it is sent instead of a join, by somebody who is no member.
    #[serde(default)]
    pub(crate) joining: bool,
}

/// Which case sends a wrong message.
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
