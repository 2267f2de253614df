//! The schema of dialect files, as they are written. `docs/conformance/write-a-dialect.md` explains every key to authors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// A dialect of signaling: what its clients send, what they understand, and what its server is declared to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Dialect of signaling")]
pub struct File {
    /// The dialect's name in reports.
    pub name: String,
    /// The protocol, in one sentence.
    pub about: String,
    /// URL of a server on the user's own machine, for examples.
    pub example: String,
    /// How a client connects.
    #[serde(default)]
    pub connection: Connection,
    /// Who assigns a client its id.
    #[serde(default)]
    pub identity: Identity,
    /// What separates groups of clients.
    #[serde(default)]
    pub room: Room,
    /// How a client becomes a member.
    #[serde(default)]
    pub join: Join,
    /// The names of the kinds of signals, if messages have `$kind` or `$field`.
    #[serde(default)]
    pub kinds: Option<BTreeMap<Kind, KindNames>>,
    /// How signals are relayed.
    #[serde(default)]
    pub signals: Signals,
    /// How members are listed.
    #[serde(default)]
    pub roster: Roster,
    /// Roles that only one client of a room can have.
    pub roles: Option<Roles>,
    /// Calls between users.
    #[serde(default)]
    pub calls: Calls,
    /// What keeps a connection alive.
    pub heartbeat: Option<Heartbeat>,
    /// HTTP endpoints of the server.
    pub http: Option<Http>,
    /// Who may connect.
    pub auth: Option<Auth>,
    /// The messages that a client sends, one per operation.
    #[serde(default)]
    #[schemars(with = "BTreeMap<Operation, String>")]
    pub send: BTreeMap<Operation, Spanned<String>>,
    /// Patterns for the messages that arrive, tried in order: the first one that matches names the event.
    #[serde(default, rename = "match")]
    pub matches: Vec<Match>,
    /// What the server is declared to do.
    #[serde(default)]
    pub declares: Declares,
    /// The reasons of errors.
    #[serde(default)]
    pub refusals: Refusals,
    #[serde(default)]
    /// The codes of close frames.
    pub close_codes: CloseCodes,
    /// Messages that the server must not act on, in addition to those that the suite derives from `send`.
    #[serde(default)]
    pub wrong: Vec<Wrong>,
}

/// How a client connects.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Connection {
    /// What carries the messages.
    pub framing: Framing,
    /// Where each client connects: `$url`, which the user provides, with `$room`, `$self`, `$token` and `$role`.
    /// Default: `$url`.
    #[schemars(with = "Option<String>")]
    pub url: Option<Spanned<String>>,
    /// The `Sec-WebSocket-Protocol` that the client requests.
    pub subprotocol: Option<String>,
    /// Of `sse`: where messages are posted, with the same variables as `url`, and with `$nonce`. Of `websocket`: the
    /// same, for a server that only writes to its WebSockets. The layer reports each response that is not a success or
    /// has a body as `["posted", 400, …]`.
    #[schemars(with = "Option<String>")]
    pub post: Option<Spanned<String>>,
    /// Of `adapter`: the program and its arguments, relative to the dialect file.
    pub command: Option<Vec<String>>,
    /// Of `adapter`: whether the program can write bytes past its WebSocket layer. Then it is asked cases that send broken
    /// frames and messages.
    pub raw: bool,
    /// Of `adapter` without `[send]` and `[[match]]`: the operations that the program supports. Default: all.
    pub operations: Option<Vec<Operation>>,
    /// Of `adapter` without `[send]` and `[[match]]`: the events that the program reports. Default: all.
    pub events: Option<Vec<EventName>>,
    /// Of `socketio`: the operations that ask for an acknowledgement. It arrives as `["ack", "join", [...]]`, with the
    /// operation's name.
    pub with_ack: Vec<Operation>,
    /// Time that the server needs for a message beyond the measured round trip, in milliseconds.
    pub slow_by_ms: u32,
    /// Of `socketio`: whether a refused request is answered with the code and the message of its reason, as the
    /// JavaScript implementation does.
    pub error_codes: bool,
    /// Of `socketio`: whether an event that requests an acknowledgement gets one without arguments.
    pub acknowledges: bool,
    /// Of `websocket`: the HTTP status that answers a handshake at any path but the one of `url`. Default: not defined.
    pub other_path: Option<u16>,
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
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
pub struct Identity {
    /// Who assigns the id.
    pub assigned_by: AssignedBy,
    /// Of `user-name`: maximum length of a name in code points; a longer one is refused.
    pub code_points_max: Option<usize>,
    /// Of `user-name`: whether names that differ in case, spaces or Unicode normalisation are different names.
    pub exact: bool,
    /// Of `user-name`: whether a member that joins under another name gives up its old one, and its call ends.
    pub renames: bool,
    /// What ids that clients choose look like, where the server accepts no others: for each `#` the suite writes a
    /// hexadecimal digit, and everything else stays. Default: any text.
    #[schemars(with = "Option<String>")]
    pub form: Option<Spanned<String>>,
    /// Of `server`: a regular expression that matches every id as a whole. Default: any text.
    #[schemars(with = "Option<String>")]
    pub pattern: Option<Spanned<String>>,
}

/// Who assigns a client its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AssignedBy {
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
pub struct Room {
    /// Where clients name the room.
    pub r#in: RoomIn,
    /// Maximum number of members of a room. Default: no limit.
    pub members_max: Option<usize>,
    /// Minimum length of a room id in code points; a shorter one is refused.
    pub code_points_min: usize,
    /// Maximum length of a room id in code points; a longer one is refused.
    pub code_points_max: Option<usize>,
    /// Whether rooms whose names differ in case, spaces or Unicode normalisation are different rooms.
    pub exact: bool,
    /// Of `query`: the room of clients whose URL names none, or an empty one. Default: not defined.
    pub default: Option<String>,
    /// What room names look like, where the server accepts no others: for each `#` the suite writes a hexadecimal
    /// digit, and everything else stays. Default: any text.
    #[schemars(with = "Option<String>")]
    pub form: Option<Spanned<String>>,
    /// Whether a client can be in several rooms at once: then joining another room does not leave the first.
    pub several: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            r#in: RoomIn::Message,
            members_max: None,
            code_points_min: 1,
            code_points_max: None,
            exact: true,
            default: None,
            form: None,
            several: false,
        }
    }
}

/// Where clients name the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoomIn {
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
pub struct Join {
    /// What makes a client a member.
    pub by: JoinBy,
    /// What confirms to a client that it is a member.
    pub answer: JoinAnswer,
    /// Whether the answer may arrive before others can reach the new member, so that signals have to be repeated.
    pub settles: bool,
    /// Of `message`: after how many seconds the server disconnects a client that has not joined. Default: never.
    pub within_s: Option<u32>,
}

/// What makes a client a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JoinBy {
    /// `send.join`.
    #[default]
    Message,
    /// The connection.
    Connecting,
}

/// What confirms to a client that it is a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JoinAnswer {
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
pub enum Kind {
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
pub enum KindNames {
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
pub struct Signals {
    /// Whom a signal reaches.
    pub addressing: Addressing,
    /// Whether the sender receives its own signal. The report marks that as bad practice.
    pub echo: bool,
    /// Who names the sender of a signal.
    pub sender: Sender,
    /// How payloads are relayed.
    pub payload: Payload,
    /// Whether `$session` links answers and candidates to their offer.
    pub sessions: bool,
    /// The value of `$session` in an offer: a text with `$self`, `$to` and `$room` in it, and with `#` for hexadecimal
    /// digits that the suite chooses. Default: `$self-$to`.
    #[schemars(with = "Option<String>")]
    pub session: Option<Spanned<String>>,
    /// Whether a `$to` of null means everyone, like one that is left out.
    pub null_is_everyone: bool,
    /// Who offers when a client joins.
    pub offers: Offers,
    /// Maximum size of a message in bytes of text. A message of more than twice that size must not be relayed.
    pub bytes_max: Option<usize>,
    /// Maximum number of bytes that the server queues for a client that does not read; then it disconnects the client.
    /// Default: not defined.
    pub queued_bytes_max: Option<usize>,
    /// Whether the server leaves out fields of a message that the dialect does not name.
    pub drops_unknown_fields: bool,
    /// Whether a whole message is relayed as it was sent, byte for byte, and nothing else is sent to the receivers.
    pub verbatim: bool,
    /// Whether a signal may have no data; then it is relayed without it.
    pub data_optional: bool,
    /// Of `socketio`: whether all arguments of an event are relayed, not only the first.
    pub all_arguments: bool,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            addressing: Addressing::Both,
            echo: false,
            sender: Sender::Stamped,
            payload: Payload::Bytes,
            sessions: false,
            session: None,
            null_is_everyone: false,
            offers: Offers::Anybody,
            bytes_max: None,
            queued_bytes_max: None,
            drops_unknown_fields: false,
            verbatim: false,
            data_optional: false,
            all_arguments: false,
        }
    }
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
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
pub enum Sender {
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
pub enum Payload {
    /// They are relayed byte for byte.
    Bytes,
    /// They are parsed and serialized again: the same JSON, but other bytes.
    Json,
}

/// Who offers when a client joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Offers {
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
pub struct Roster {
    /// Joins and leaves are the differences between successive rosters.
    pub differences: bool,
    /// The roster lists all clients of the server.
    pub of_server: bool,
    /// Who is notified of joins and leaves.
    pub notified: Notified,
}

/// Who is notified of joins and leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Notified {
    /// All other members.
    #[default]
    Members,
    /// Those that have exchanged a signal with the client, of its leave only.
    Contacts,
}

/// Roles that only one client of a room can have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Roles {
    /// The role that offers, as a value of `$role`.
    pub offers: String,
    /// The role that answers.
    pub answers: String,
    /// The role that receives `ready` when both are present, in whichever order they joined.
    pub ready: Option<String>,
    /// The errors of a client that asks or sends what its role does not permit.
    #[serde(default)]
    pub refusals: RoleRefusals,
}

/// The `$reason` of the error that a client receives, for each reason to refuse it. Without one, the server may also
/// ignore the message or close the connection.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleRefusals {
    /// The role that offers has a connected holder.
    pub offers_taken: Option<String>,
    /// The role that answers has a connected holder.
    pub answers_taken: Option<String>,
    /// The signal is for the other side to send.
    pub wrong_direction: Option<String>,
    /// Nobody has the other role.
    pub no_peer: Option<String>,
}

/// Calls between users.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Calls {
    /// Whether signals need an accepted call between the two users.
    pub needed: bool,
    /// `$reason` of the answer to a call to a user who is in a call.
    pub busy: Option<String>,
    /// Whether a caller is notified by `ended`, not by `answered`, if the called user disconnects while it rings.
    pub disconnect_ends: bool,
    /// Whether a user accepts a call that rings by calling the caller.
    pub call_back_accepts: bool,
    /// Whether `$session` of a call that rings is the id of the caller's connection, so that it is the same for all
    /// calls of a connection and differs between connections.
    pub session_of_connection: bool,
}

/// What keeps a connection alive.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Heartbeat {
    /// Interval at which `send.ping` is sent, in seconds. Default: never.
    pub every_s: Option<u32>,
    /// After how many seconds the server drops a silent client.
    pub dead_after_s: Option<u32>,
}

/// HTTP endpoints of the server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Http {
    /// Path of the ICE servers, as JSON.
    pub ice: Option<String>,
    /// Path that is answered with 200 while the server is healthy.
    pub health: Option<String>,
    /// What the answer of `health` contains: JSON, whose objects may have further fields there.
    pub health_body: Option<String>,
    /// Path of the rooms, as JSON.
    pub status: Option<String>,
    /// Where `status` names the members of a room.
    pub status_members: Option<StatusMembers>,
    /// How to close a client's connection.
    pub kick: Option<Kick>,
    /// Whether pages of any origin may read the endpoints.
    #[serde(default)]
    pub cors: bool,
    /// Whether every answer, also of a request that is refused, is JSON and has the content type of JSON.
    #[serde(default)]
    pub json: bool,
}

/// The form of the status: an object with a list of rooms, each an object with an object per role.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StatusMembers {
    /// The field with the list of rooms.
    pub rooms: String,
    /// The field of a room with its name. Its members are in the fields that are called like their roles.
    pub room: String,
    /// The field of a role that tells whether its holder is connected.
    pub connected: String,
    /// The field of a role with the id of its holder; null if there is none.
    pub id: String,
}

/// A POST that closes a client's connection: a JSON object that names the client.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kick {
    /// The path of the endpoint.
    pub path: String,
    /// The field with the client's id.
    pub field: String,
    /// What the answer contains: JSON, whose objects may have further fields there.
    pub answer: Option<String>,
    /// The close code that the client receives. Default: any.
    pub code: Option<u16>,
    /// The reason in the close frame. Default: any.
    pub reason: Option<String>,
    /// The HTTP status if there is no such client. Default: any from 400 to 499.
    pub unknown: Option<u16>,
    /// The HTTP status if the body names no client. Default: any from 400 to 499.
    pub malformed: Option<u16>,
    /// Whether it needs the credentials from `--bearer`, and is answered with 401 without them.
    #[serde(default)]
    pub bearer: bool,
}

/// Who may connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Auth {
    /// Whether clients need the credentials from `--bearer` or `--header`.
    pub required: bool,
}

/// What a client can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Become a member.
    Join,
    /// Become the first member of a room, if that differs from `join`: sent if the `join` is refused.
    Open,
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
    /// Send a user an offer without a call.
    OfferByName,
    /// Send a user an answer without a call.
    AnswerByName,
    /// Announce itself to the members, in a dialect whose server does not. Members offer to who announces itself.
    Announce,
    /// Request a `pong`, or keep the connection alive.
    Ping,
    /// Answer a `ping`.
    Pong,
}

/// A pattern for arriving messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Match {
    /// What the message means.
    pub event: EventName,
    /// The message's shape.
    #[schemars(with = "String")]
    pub message: Spanned<String>,
    /// Of `signal` and `description`: its kind, if the message has no `$kind`.
    pub kind: Option<Kind>,
    /// The role that the message is about, if it has no `$role`.
    pub role: Option<String>,
    /// Of `answered`: whether the call was accepted, if the message has no `$accepted`.
    pub accepted: Option<bool>,
    /// The operation that the message answers: its `$request` is the number of that operation's message. Default: any.
    pub answers: Option<Operation>,
    /// What a client sends back at once, because the server asks for an answer. `$request` is the number in the message.
    #[schemars(with = "Option<String>")]
    pub reply: Option<Spanned<String>>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventName {
    /// What the server sends first, by itself: a client waits for it before it joins.
    Greeting,
    /// The client is now a member.
    Joined,
    /// Another client is now a member.
    MemberJoined,
    /// Another client is no longer a member.
    MemberLeft,
    /// Another client has announced itself.
    Announced,
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
    /// An offer or an answer that came without a call.
    Description,
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
pub struct Declares {
    /// A text that is not JSON.
    pub not_json: Reaction,
    /// JSON that is not a message.
    pub null: Reaction,
    /// A message of an unknown type.
    pub unknown_type: Reaction,
    /// A message that lacks a field.
    pub missing_field: Reaction,
    /// A field of the wrong JSON type.
    pub wrong_type: Reaction,
    /// A binary frame where text is expected.
    pub binary: Reaction,
    /// A message that is too long.
    pub oversize: Reaction,
    /// A signal to a client that does not exist.
    pub absent_target: Reaction,
    /// A message from a client that has not joined, or for another room.
    pub not_a_member: Reaction,
    /// A client that requests an id that is in use.
    pub duplicate_id: Duplicate,
    /// The keys of this table that are promises: any other reaction is a failure, not an acceptable choice.
    pub binding: Vec<Situation>,
}

/// A key of [`Declares`] that can be binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Situation {
    /// A text that is not JSON.
    NotJson,
    /// JSON that is not a message.
    Null,
    /// A message of an unknown type.
    UnknownType,
    /// A message that lacks a field.
    MissingField,
    /// A field of the wrong JSON type.
    WrongType,
    /// A binary frame where text is expected.
    Binary,
    /// A message that is too long.
    Oversize,
    /// A signal to a client that does not exist.
    AbsentTarget,
    /// A message from a client that has not joined, or for another room.
    NotAMember,
}

impl Declares {
    /// How the server is declared to react.
    pub fn reaction(&self, situation: Situation) -> Reaction {
        match situation {
            Situation::NotJson => self.not_json,
            Situation::Null => self.null,
            Situation::UnknownType => self.unknown_type,
            Situation::MissingField => self.missing_field,
            Situation::WrongType => self.wrong_type,
            Situation::Binary => self.binary,
            Situation::Oversize => self.oversize,
            Situation::AbsentTarget => self.absent_target,
            Situation::NotAMember => self.not_a_member,
        }
    }

    /// Whether that reaction is a promise.
    pub fn binds(&self, situation: Situation) -> bool {
        self.binding.contains(&situation) && self.reaction(situation) != Reaction::Any
    }
}

impl Reaction {
    /// Whether the server reacted so: with an error, or by closing the connection.
    pub fn is_met(self, notified: bool, closed: bool) -> bool {
        match self {
            Self::Any | Self::Obeyed => true,
            Self::Error => notified && !closed,
            Self::Ignored => !notified && !closed,
            Self::Closed => closed,
        }
    }

    /// What the dialect promises, in words for a finding.
    pub fn promised(self) -> &'static str {
        match self {
            Self::Error => "the dialect promises an error",
            Self::Ignored => "the dialect promises that it is ignored",
            Self::Closed => "the dialect promises that it closes the connection",
            Self::Any | Self::Obeyed => "the dialect promises nothing",
        }
    }
}

/// The `$reason` of the errors that a client receives. An error with another reason is a failure. So is a missing error,
/// except for a malformed message whose key is not in `binding`, and for a message that ends a call that does not exist.
/// Where no reason is given, there need not be an error.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Refusals {
    /// A message that is no message of the dialect, and a call to oneself.
    pub malformed: Option<String>,
    /// A text that is not JSON, if that differs from `malformed`.
    pub not_json: Option<String>,
    /// JSON that is not a message, if that differs from `malformed`.
    pub null: Option<String>,
    /// A message that is too long.
    pub oversize: Option<String>,
    /// A join whose room id is too long.
    pub room_too_long: Option<String>,
    /// A message to a client that does not exist. `$to` stands for the id of that client.
    pub absent_target: Option<String>,
    /// A message from a client that has not joined.
    pub not_a_member: Option<String>,
    /// A join with an id that is in use.
    pub duplicate_id: Option<String>,
    /// A call from a user who is in a call.
    pub busy: Option<String>,
    /// A message that needs a call which does not exist or does not ring.
    pub no_call: Option<String>,
}

impl Refusals {
    /// Whether a reason is given.
    pub fn any(&self) -> bool {
        let Self {
            malformed,
            not_json,
            null,
            oversize,
            room_too_long,
            absent_target,
            not_a_member,
            duplicate_id,
            busy,
            no_call,
        } = self;
        let messages = [malformed, not_json, null, oversize, room_too_long];
        let others = [absent_target, not_a_member, duplicate_id, busy, no_call];
        messages.into_iter().chain(others).any(Option::is_some)
    }

    /// The reason for an invalid message, if the server cannot find that anything else is wrong with it.
    pub fn of(&self, situation: Situation) -> Option<&str> {
        let malformed = self.malformed.as_deref();
        match situation {
            Situation::NotJson => self.not_json.as_deref().or(malformed),
            Situation::Null => self.null.as_deref().or(malformed),
            Situation::UnknownType => malformed,
            Situation::Oversize => self.oversize.as_deref(),
            Situation::NotAMember => self.not_a_member.as_deref(),
            // Where a field is wrong, the server may find first that there is no such client.
            Situation::MissingField | Situation::WrongType | Situation::Binary | Situation::AbsentTarget => None,
        }
    }

    /// The reason for a message to a client with this id, which does not exist.
    pub fn absent_target(&self, to: &str) -> Option<String> {
        self.absent_target.as_ref().map(|reason| reason.replace("$to", to))
    }
}

/// The codes of the close frames that end a connection. Another code is a failure; a connection that ends without a
/// close frame is not. Default: any code.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CloseCodes {
    /// A binary frame where text is expected.
    pub binary: Option<u16>,
    /// A message that is too long.
    pub oversize: Option<u16>,
    /// A client that does not join in time.
    pub late_join: Option<u16>,
}

impl CloseCodes {
    /// The code after an invalid message, if one is given.
    pub fn of(&self, situation: Situation) -> Option<u16> {
        match situation {
            Situation::Binary => self.binary,
            Situation::Oversize => self.oversize,
            _ => None,
        }
    }
}

impl RoleRefusals {
    /// Whether a reason is given.
    pub fn any(&self) -> bool {
        let Self { offers_taken, answers_taken, wrong_direction, no_peer } = self;
        [offers_taken, answers_taken, wrong_direction, no_peer].into_iter().any(Option::is_some)
    }
}

/// How the server reacts to an invalid message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
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
pub enum Duplicate {
    /// The client is refused.
    #[default]
    Refused,
    /// It replaces the holder, which is notified or disconnected.
    TakesOver,
}

/// A message that the server must not act on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wrong {
    /// The case that sends it.
    pub case: WrongCase,
    /// What is wrong with the message, in words.
    pub what: String,
    /// The message.
    #[schemars(with = "String")]
    pub message: Spanned<String>,
    /// The `$reason` of the error that answers it. Default: any reason.
    pub reason: Option<String>,
    /// Whether it is sent instead of a join, by a client that is not a member.
    #[serde(default)]
    pub joining: bool,
}

/// The case that sends an invalid message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WrongCase {
    /// `msg/unknown-type`
    UnknownType,
    /// `msg/missing-field`
    MissingField,
    /// `msg/wrong-type`
    WrongType,
    /// `room/id-limits`
    IdLimits,
}
