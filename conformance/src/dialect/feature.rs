//! The features of a dialect. A case about a feature that the dialect lacks is *unsupported*, not failed.

use super::Dialect;
use super::file::{Addressing, AssignedBy, EventName, Framing, JoinAnswer, JoinBy, Kind, Operation, RoomIn, Sender};

/// A feature that a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Rooms that keep clients apart.
    Rooms,
    /// Clients join by a message, and can repeat it.
    JoinMessage,
    /// A client can join another room by a message, and that is answered.
    Moving,
    /// A join is answered.
    JoinAnswer,
    /// Clients have ids.
    Ids,
    /// Clients choose their ids, and the server knows them.
    ChosenIds,
    /// The server assigns ids.
    GivenIds,
    /// The server tells a newcomer who is in the room.
    Roster,
    JoinNotice,
    LeaveNotice,
    Leave,
    /// A signal can go to one member.
    Targeted,
    /// A signal can go to all members.
    Broadcast,
    /// A room can have at least three members.
    Crowd,
    /// A signal names its sender.
    Sender,
    Candidates,
    Roles,
    Ready,
    Calls,
    Busy,
    Media,
    MembersMax,
    RoomLimit,
    SizeLimit,
    ExactRooms,
    /// Messages go over the wire exactly as the suite writes them.
    Messages,
    /// The suite can write its own frames.
    Frames,
    WebSocket,
    SocketIo,
    IceEndpoint,
    HealthEndpoint,
    StatusEndpoint,
    KickEndpoint,
    Cors,
    Auth,
    DeadAfter,
    Offers,
}

impl Dialect {
    /// Why a case that needs this feature does not apply; `None` if the dialect has it.
    pub(crate) fn lacks(&self, feature: Feature) -> Option<&'static str> {
        let file = &self.file;
        let sends = |operation| self.shape(operation).is_some();
        let diff = file.roster.differences;
        let websocket = matches!(file.connection.framing, Framing::WebSocket | Framing::WebSocketBinary);
        let captures = |event, variable| {
            self.patterns().iter().any(|pattern| pattern.event == event && pattern.shape.has(variable))
        };
        let (has, why) = match feature {
            Feature::Rooms => (file.room.r#in != RoomIn::None, "has no rooms"),
            Feature::JoinMessage => (file.join.by == JoinBy::Message, "has no message to join"),
            Feature::Moving => {
                let moves = file.join.by == JoinBy::Message && file.room.r#in == RoomIn::Message;
                (moves && file.join.answer == JoinAnswer::Joined, "has no message to change rooms that is answered")
            }
            Feature::JoinAnswer => {
                (!matches!(file.join.answer, JoinAnswer::None | JoinAnswer::Echo), "does not answer a join")
            }
            Feature::Ids => (file.identity.assigned_by != AssignedBy::Nobody, "has no ids"),
            Feature::ChosenIds => {
                let chosen = matches!(file.identity.assigned_by, AssignedBy::Client | AssignedBy::UserName);
                // If ids are only claimed by senders, the server cannot reserve one for a single client.
                (
                    chosen && file.signals.sender != Sender::Claimed,
                    "has no ids that clients choose and the server knows",
                )
            }
            Feature::GivenIds => {
                (file.identity.assigned_by == AssignedBy::Server, "has no ids that the server assigns")
            }
            Feature::Roster => {
                let listed = captures(EventName::Joined, "members") || self.has_event(EventName::Roster);
                (listed, "does not list the members to a new one")
            }
            Feature::JoinNotice => (self.has_event(EventName::MemberJoined) || diff, "has no join notices"),
            Feature::LeaveNotice => (self.has_event(EventName::MemberLeft) || diff, "has no leave notices"),
            Feature::Leave => (sends(Operation::Leave), "has no message to leave"),
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
            Feature::Media => (sends(Operation::Media), "has no messages about audio and video"),
            Feature::MembersMax => (
                file.room.members_max.is_some() && file.roles.is_none(),
                "has no limit of members apart from its roles",
            ),
            Feature::RoomLimit => (file.room.code_points_max.is_some(), "has no limit for room ids"),
            Feature::SizeLimit => (file.signals.bytes_max.is_some(), "has no limit for the size of messages"),
            Feature::ExactRooms => {
                (file.room.exact && file.room.r#in != RoomIn::None, "does not compare rooms exactly")
            }
            Feature::Messages => {
                (file.connection.framing != Framing::Adapter, "uses an adapter, which cannot send invalid messages")
            }
            Feature::Frames | Feature::WebSocket => (websocket, "does not use plain WebSocket frames"),
            Feature::SocketIo => (file.connection.framing == Framing::SocketIo, "does not use Socket.IO"),
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
            Feature::Offers => (file.signals.offers != super::file::Offers::Anybody, "does not define who offers"),
        };
        (!has).then_some(why)
    }
}
