//! The features of a dialect. A case about a feature that the dialect lacks is *unsupported*, not failed.

use crate::file::{
    Addressing, AssignedBy, EventName, Framing, JoinAnswer, JoinBy, Kind, Notified, Operation, RoomIn, Sender,
};
use crate::{Dialect, Pattern};

/// A feature that a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Rooms that keep clients apart.
    Rooms,
    /// Rooms whose names can be any text.
    RoomNames,
    /// A client can be in several rooms at once.
    SeveralRooms,
    /// Clients join by a message, and can repeat it.
    JoinMessage,
    /// A client can join another room by a message, which leaves the first, and that is answered.
    Moving,
    /// A client that does not join in time is disconnected.
    JoinLimit,
    /// A join is answered.
    JoinAnswer,
    /// Clients have ids.
    Ids,
    /// Clients choose their ids, and the server knows them.
    ChosenIds,
    /// Clients choose their ids, the server knows them, and they can be any text.
    IdNames,
    /// The server assigns ids.
    GivenIds,
    /// The server tells a newcomer who is in the room.
    Roster,
    /// Members are notified of a new member.
    JoinNotice,
    /// Members are notified that a member has left.
    LeaveNotice,
    /// A leave is announced to those that have exchanged a signal with the client, and to nobody else.
    ContactNotice,
    /// A join can carry an offer.
    OfferInJoin,
    /// Clients leave by a message.
    Leave,
    /// The message to leave names the room.
    LeaveOfRoom,
    /// A client that leaves or changes rooms by a message, and stays connected, is announced as left.
    LeaveByMessageNotice,
    /// A signal can name a foreign room, or a client in one.
    ForeignSignals,
    /// The suite can choose the name of a room or a client that the server has to handle.
    Names,
    /// A signal can go to one member.
    Targeted,
    /// A signal can go to all members.
    Broadcast,
    /// A room can have at least three members.
    Crowd,
    /// A signal names its sender.
    Sender,
    /// Candidates are sent one at a time.
    Candidates,
    /// Only one client of a room can have each role.
    Roles,
    /// The client of one role is notified when both are there.
    Ready,
    /// Users call each other.
    Calls,
    /// A call to a user in a call is answered as busy.
    Busy,
    /// A user accepts a call that rings by calling the caller.
    CallBack,
    /// A call that rings shows the id of the caller's connection.
    CallerIds,
    /// Users report that audio or video is on or off.
    Media,
    /// Offers and answers to a user without a call.
    ByName,
    /// A member can change its name.
    Renames,
    /// User names have a maximum length.
    NameLimit,
    /// User names are compared exactly.
    ExactNames,
    /// Rooms have a maximum number of members.
    MembersMax,
    /// Room names have a maximum length.
    RoomLimit,
    /// Messages have a maximum size.
    SizeLimit,
    /// The server leaves out fields of a signal that the dialect does not name.
    DropsUnknownFields,
    /// The server relays whole messages as they were sent.
    Verbatim,
    /// A signal may have no data.
    DataOptional,
    /// Room names are compared exactly.
    ExactRooms,
    /// Messages go over the wire exactly as the suite writes them.
    Messages,
    /// The suite can write its own frames, with messages of the dialect in them.
    Frames,
    /// The suite can write its own bytes to a WebSocket: itself, or through an adapter.
    RawFrames,
    /// The suite can send any text as a message: itself, or through an adapter.
    Texts,
    /// Messages are frames of a WebSocket.
    WebSocket,
    /// Clients open WebSockets, also those of Socket.IO.
    Upgrade,
    /// A handshake at another path is refused with a certain status.
    OtherPath,
    /// Messages are events of Socket.IO.
    SocketIo,
    /// Of Socket.IO: the suite knows the name of an event that carries signals.
    EventNames,
    /// Of Socket.IO: acknowledgements are sent when they are requested.
    Acknowledgements,
    /// Of Socket.IO: all arguments of an event are relayed.
    Arguments,
    /// The ICE servers can be read by HTTP.
    IceEndpoint,
    /// Health can be read by HTTP.
    HealthEndpoint,
    /// The rooms can be read by HTTP.
    StatusEndpoint,
    /// A connection can be closed by HTTP.
    KickEndpoint,
    /// Pages of any origin may read the endpoints.
    Cors,
    /// Clients need credentials.
    Auth,
    /// The server drops silent clients after a known time.
    DeadAfter,
    /// It is defined who offers when a client joins.
    Offers,
}

impl Dialect {
    /// Why a case that needs this feature does not apply; `None` if the dialect has it.
    pub fn lacks(&self, feature: Feature) -> Option<&'static str> {
        let file = &self.file;
        let sends = |operation| self.shape(operation).is_some();
        let raw = file.connection.framing == Framing::Adapter && file.connection.raw;
        let contacts = file.roster.notified == Notified::Contacts;
        let by_roster = file.roster.differences && self.knows_ids();
        // A notice about a role is understood without an id.
        let by_role = |pattern: &Pattern| pattern.role.is_some() || pattern.shape.has("role");
        let notices = |event| {
            let mut patterns = self.patterns().iter().filter(|pattern| pattern.event == event);
            patterns.any(|pattern| self.knows_ids() || by_role(pattern))
        };
        let websocket = matches!(file.connection.framing, Framing::WebSocket | Framing::WebSocketBinary)
            && file.connection.post.is_none();
        // Users choose their names in the message to join, so a client can choose again.
        let has_user_names = file.identity.assigned_by == AssignedBy::UserName && file.join.by == JoinBy::Message;
        let captures = |event, variable| {
            self.patterns().iter().any(|pattern| pattern.event == event && pattern.shape.has(variable))
        };
        let (has, why) = match feature {
            Feature::Rooms => (file.room.r#in != RoomIn::None, "has no rooms"),
            Feature::RoomNames if file.room.r#in == RoomIn::None => (false, "has no rooms"),
            Feature::RoomNames => (file.room.form.is_none(), "has room names of one form only"),
            Feature::SeveralRooms => (file.room.several, "has one room at a time for each client"),
            Feature::JoinLimit => (file.join.within_s.is_some(), "does not limit the time until a client joins"),
            Feature::JoinMessage => (file.join.by == JoinBy::Message, "has no message to join"),
            Feature::Moving if file.room.several => (false, "lets a client stay in its room when it joins another"),
            Feature::Moving if sends(Operation::Open) => (false, "has another message to open a room"),
            Feature::Moving => {
                let moves = file.join.by == JoinBy::Message && file.room.r#in == RoomIn::Message;
                (moves && file.join.answer == JoinAnswer::Joined, "has no message to change rooms that is answered")
            }
            Feature::JoinAnswer => {
                (!matches!(file.join.answer, JoinAnswer::None | JoinAnswer::Echo), "does not answer a join")
            }
            Feature::Ids if file.identity.assigned_by == AssignedBy::Nobody => (false, "has no ids"),
            Feature::Ids => (self.knows_ids(), "does not tell a client its id"),
            Feature::ChosenIds => {
                let chosen = matches!(file.identity.assigned_by, AssignedBy::Client | AssignedBy::UserName);
                // If ids are only claimed by senders, the server cannot reserve one for a single client.
                (
                    chosen && file.signals.sender != Sender::Claimed,
                    "has no ids that clients choose and the server knows",
                )
            }
            Feature::IdNames => match self.lacks(Feature::ChosenIds) {
                Some(why) => (false, why),
                None => (file.identity.form.is_none(), "has ids of one form only"),
            },
            Feature::GivenIds => {
                let given = file.identity.assigned_by == AssignedBy::Server;
                (given && self.knows_ids(), "has no ids that the server assigns and sends with `joined`")
            }
            Feature::Roster => {
                // The list must be in the answer to the join: another one may come at any time.
                let listed = match file.join.answer {
                    JoinAnswer::Joined => captures(EventName::Joined, "members"),
                    JoinAnswer::Roster => self.has_event(EventName::Roster),
                    _ => false,
                };
                (listed && self.knows_ids(), "does not list the members to a new one")
            }
            Feature::JoinNotice | Feature::LeaveNotice | Feature::LeaveByMessageNotice if contacts => {
                (false, "notifies only clients that have exchanged a signal")
            }
            Feature::ContactNotice => {
                (contacts && notices(EventName::MemberLeft), "has no leave notices for contacts only")
            }
            Feature::OfferInJoin => {
                let carries = self.shape(Operation::Join).is_some_and(|join| join.has("data"));
                (carries, "has no join that carries an offer")
            }
            Feature::JoinNotice if file.join.answer == JoinAnswer::None => {
                (false, "does not answer a join, so that it is not known who was a member first")
            }
            Feature::JoinNotice => {
                (notices(EventName::MemberJoined) || by_roster, "has no join notices that name a known client")
            }
            Feature::LeaveNotice => {
                (notices(EventName::MemberLeft) || by_roster, "has no leave notices that name a known client")
            }
            Feature::Leave => (sends(Operation::Leave), "has no message to leave"),
            Feature::LeaveOfRoom => {
                let named = self.shape(Operation::Leave).is_some_and(|leave| leave.has("room"));
                (named, "has no message to leave that names the room")
            }
            Feature::LeaveByMessageNotice => {
                // A client that leaves its room stays on the list of all clients of the server.
                let listed = by_roster && !file.roster.of_server;
                (notices(EventName::MemberLeft) || listed, "has no leave notice for a client that stays connected")
            }
            Feature::ForeignSignals => (
                self.signals_name_rooms() || self.delivers_by_id(),
                "has no signal that names another room or a client in one",
            ),
            Feature::Names => {
                let text = file.join.by == JoinBy::Message && websocket;
                let named = self.lacks(Feature::RoomNames).is_none() || self.lacks(Feature::IdNames).is_none();
                (named || self.delivers_by_id() || text, "has no names of rooms or clients")
            }
            Feature::Targeted => {
                (file.signals.addressing != Addressing::Broadcast, "has no signals to a single member")
            }
            Feature::Broadcast => (file.signals.addressing != Addressing::Targeted, "has no signals to all members"),
            Feature::Crowd => {
                let crowd = file.room.members_max.is_none_or(|max| max >= 3) && !file.calls.needed;
                (crowd, "allows only two members")
            }
            Feature::Sender => (file.signals.sender != Sender::Absent, "does not name the sender of a signal"),
            Feature::Candidates => (self.signal_operation(Kind::Candidate).is_some(), "has no candidates"),
            Feature::Roles => (file.roles.is_some(), "has no roles"),
            Feature::Ready => (
                file.roles.as_ref().is_some_and(|roles| roles.ready.is_some()),
                "has no notice that both roles are present",
            ),
            Feature::Calls => (sends(Operation::Call), "has no calls"),
            Feature::Busy => (file.calls.busy.is_some(), "has no busy answer"),
            Feature::CallBack => {
                (file.calls.call_back_accepts, "does not define that calling the caller accepts its call")
            }
            Feature::CallerIds => (
                file.calls.session_of_connection && captures(EventName::Ringing, "session"),
                "does not define that a call shows the id of the caller's connection",
            ),
            Feature::Media => (sends(Operation::Media), "has no messages about audio and video"),
            Feature::ByName => (
                sends(Operation::OfferByName) && sends(Operation::AnswerByName),
                "has no offers and answers without a call",
            ),
            Feature::Renames => {
                (file.identity.renames && has_user_names, "does not define that users change their names")
            }
            Feature::NameLimit => {
                (file.identity.code_points_max.is_some() && has_user_names, "has no limit for user names")
            }
            Feature::ExactNames => (file.identity.exact && has_user_names, "does not compare user names exactly"),
            Feature::MembersMax => (
                file.room.members_max.is_some() && file.roles.is_none(),
                "has no limit of members apart from its roles",
            ),
            Feature::RoomLimit => {
                let shown = file.join.by == JoinBy::Connecting || file.join.answer == JoinAnswer::Joined;
                (
                    file.room.code_points_max.is_some() && file.room.form.is_none() && shown,
                    "has no limit for room ids that the answer to a join shows",
                )
            }
            Feature::SizeLimit => (file.signals.bytes_max.is_some(), "has no limit for the size of messages"),
            Feature::DropsUnknownFields => {
                (file.signals.drops_unknown_fields, "does not promise to leave out fields that it does not name")
            }
            Feature::ExactRooms if file.room.form.is_some() => (false, "has room names of one form only"),
            Feature::Verbatim => (file.signals.verbatim, "does not promise to relay whole messages byte for byte"),
            Feature::DataOptional => (file.signals.data_optional, "does not define signals without data"),
            Feature::ExactRooms => {
                (file.room.exact && file.room.r#in != RoomIn::None, "does not compare rooms exactly")
            }
            Feature::Messages => {
                (file.connection.framing != Framing::Adapter, "uses an adapter, which cannot send invalid messages")
            }
            Feature::RawFrames => (
                websocket || raw,
                "does not use plain WebSocket frames for messages, or its adapter cannot write bytes",
            ),
            Feature::Texts => {
                (raw || file.connection.framing != Framing::Adapter, "uses an adapter that cannot write bytes")
            }
            Feature::Frames | Feature::WebSocket => (websocket, "does not use plain WebSocket frames for messages"),
            Feature::Upgrade => {
                let upgrades = matches!(
                    file.connection.framing,
                    Framing::WebSocket | Framing::WebSocketBinary | Framing::SocketIo
                );
                (upgrades, "does not use WebSockets")
            }
            Feature::OtherPath => {
                (file.connection.other_path.is_some(), "does not define how other paths are answered")
            }
            Feature::SocketIo => (file.connection.framing == Framing::SocketIo, "does not use Socket.IO"),
            Feature::EventNames => (!self.event_names().is_empty(), "has no signal whose event the suite can name"),
            Feature::Acknowledgements => (file.connection.acknowledges, "does not promise acknowledgements"),
            Feature::Arguments => (file.signals.all_arguments, "does not promise to relay all arguments of an event"),
            Feature::IceEndpoint => {
                (file.http.as_ref().is_some_and(|http| http.ice.is_some()), "has no endpoint that lists ICE servers")
            }
            Feature::HealthEndpoint => {
                (file.http.as_ref().is_some_and(|http| http.health.is_some()), "has no endpoint that reports health")
            }
            Feature::StatusEndpoint => {
                (file.http.as_ref().is_some_and(|http| http.status.is_some()), "has no endpoint that lists rooms")
            }
            Feature::KickEndpoint => {
                (file.http.as_ref().is_some_and(|http| http.kick.is_some()), "has no endpoint that kicks a client")
            }
            Feature::Cors => (file.http.as_ref().is_some_and(|http| http.cors), "declares no CORS"),
            Feature::Auth => (file.auth.as_ref().is_some_and(|auth| auth.required), "requires no credentials"),
            Feature::DeadAfter => (
                file.heartbeat.as_ref().is_some_and(|beat| beat.dead_after_s.is_some()),
                "does not drop silent clients",
            ),
            Feature::Offers => (file.signals.offers != crate::file::Offers::Anybody, "does not define who offers"),
        };
        (!has).then_some(why)
    }
}
