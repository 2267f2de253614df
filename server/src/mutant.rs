//! Defects planted on purpose: the conformance suite must find every one of them. Compiled with the feature `mutants` alone.
//!
//! A mutant is an entry in the catalogue below and `planted!(Name)` in the line or two that it breaks. It is planted for a
//! thread, so that servers with different defects run at the same time, each in a thread and a runtime of its own. A mutant
//! must neither panic while a lock is held nor block its thread: what kills a server calls [`crash`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::dialect::json;

#[macro_use]
mod network;
#[macro_use]
mod web;

/// What clients meet of a server, and what the suite has questions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the dialects' names say it
pub enum Surface {
    Mesh,
    SenderViewer,
    Relay,
    Call,
    CallSocketIo,
    Broadcast,
    Stun,
    Turn,
    /// What of TURN ends by itself: cases that wait for ten minutes, asked when it is named.
    TurnLifetimes,
}

impl Surface {
    /// All that take seconds.
    pub const ALL: [Self; 8] = [
        Self::Mesh,
        Self::SenderViewer,
        Self::Relay,
        Self::Call,
        Self::CallSocketIo,
        Self::Broadcast,
        Self::Stun,
        Self::Turn,
    ];

    /// The dialect's name, or the service's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::SenderViewer => "sender-viewer",
            Self::Relay => "relay",
            Self::Call => "call",
            Self::CallSocketIo => "call-socketio",
            Self::Broadcast => "broadcast",
            Self::Stun => "stun",
            Self::Turn => "turn",
            Self::TurnLifetimes => "turn-lifetimes",
        }
    }
}

macro_rules! catalogue {
    ([] $($mutant:ident: $name:literal, $file:literal, [$($surface:ident),+], $defect:literal;)+) => {
        /// A defect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(#[doc = $defect] $mutant,)+
        }

        impl Mutant {
            /// The whole catalogue.
            pub const ALL: &[Self] = &[$(Self::$mutant,)+];

            /// `area/name`, for people and commands.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$mutant => $name,)+
                }
            }

            /// What is wrong, in a sentence.
            #[must_use]
            pub fn defect(self) -> &'static str {
                match self {
                    $(Self::$mutant => $defect,)+
                }
            }

            /// The file that it breaks, below `server/src`.
            #[must_use]
            pub fn file(self) -> &'static str {
                match self {
                    $(Self::$mutant => $file,)+
                }
            }

            /// Where it shows.
            #[must_use]
            pub fn surfaces(self) -> &'static [Surface] {
                match self {
                    $(Self::$mutant => &[$(Surface::$surface),+],)+
                }
            }
        }
    };
}

// Name: "area/name", file, where it shows, the defect in a sentence. The other files of this module add theirs.
web! { [network catalogue]
    // Rooms and their members.
    EchoToSender: "room/echo-to-sender", "session/rooms.rs", [Mesh, Relay],
        "A signal for everybody comes back to its sender.";
    ToldEverywhere: "room/told-everywhere", "session/rooms.rs", [Mesh, Relay],
        "What is for everybody in a room goes to everybody in every room.";
    SlowMemberHoldsUpAll: "room/slow-member-holds-up-all", "session/rooms.rs", [Mesh],
        "Whoever comes after a member that does not read is told nothing.";
    NamesCountedInBytes: "room/names-counted-in-bytes", "session/rooms.rs", [Mesh, SenderViewer, Relay],
        "The limit for room ids counts bytes, not code points.";
    NamesUnlimited: "room/names-unlimited", "session/rooms.rs", [Mesh, SenderViewer, Relay],
        "Room ids may be of any length.";
    SeatsCountedLate: "room/seats-counted-late", "session/rooms.rs", [Mesh],
        "Who asks for a seat is let in by the count of members that was true a second ago.";
    IdsReused: "room/ids-reused", "session/identity.rs", [Mesh],
        "The id of somebody who has left is soon given to somebody else.";

    // The dialect `mesh`.
    FromTrusted: "mesh/from-trusted", "dialect/mesh.rs", [Mesh],
        "A signal's `from` is what its sender writes there.";
    FromEmpty: "mesh/from-empty", "dialect/mesh.rs", [Mesh],
        "A signal does not say who sent it.";
    ForeignLeaveBelieved: "mesh/foreign-leave-believed", "dialect/mesh.rs", [Mesh],
        "Who leaves is whom the message names, and not who sends it.";
    AnyLeaveLeaves: "mesh/any-leave-leaves", "dialect/mesh.rs", [Mesh],
        "A leave of whatever room is a leave of one's own.";
    LeaverStays: "mesh/leaver-stays", "dialect/mesh.rs", [Mesh],
        "Whoever leaves is announced as left, and stays a member.";
    LeaveNotTold: "mesh/leave-not-told", "dialect/mesh.rs", [Mesh],
        "The others are not told that somebody left.";
    LeaveToldTwice: "mesh/leave-told-twice", "dialect/mesh.rs", [Mesh],
        "The others are told twice that somebody left.";
    MoveKeepsOldRoom: "mesh/move-keeps-old-room", "dialect/mesh.rs", [Mesh],
        "Whoever joins another room stays in the first one.";
    RejoinLeavesFirst: "mesh/rejoin-leaves-first", "dialect/mesh.rs", [Mesh],
        "Joining the same room again is announced as leaving it.";
    RejoinIsTwoMembers: "mesh/rejoin-is-two-members", "dialect/mesh.rs", [Mesh],
        "Whoever joins the same room again is in it twice.";
    JoinNotTold: "mesh/join-not-told", "dialect/mesh.rs", [Mesh],
        "The others are not told that somebody joined.";
    JoinToldToOneself: "mesh/join-told-to-oneself", "dialect/mesh.rs", [Mesh],
        "A newcomer is told that it joined, as the others are.";
    RosterMissesTheFirst: "mesh/roster-misses-the-first", "dialect/mesh.rs", [Mesh],
        "The roster leaves out whoever came first.";
    RosterWithOneself: "mesh/roster-with-oneself", "dialect/mesh.rs", [Mesh],
        "A newcomer is on the roster that it is sent.";
    NamesLost: "mesh/names-lost", "dialect/mesh.rs", [Mesh],
        "The roster has no names.";
    TargetedToAll: "mesh/targeted-to-all", "dialect/mesh.rs", [Mesh],
        "A signal with a receiver goes to everybody.";
    NullIsATarget: "mesh/null-is-a-target", "dialect/mesh.rs", [Mesh],
        "A signal to null is for somebody of that name, and not for everybody.";
    AbsentTargetToAll: "mesh/absent-target-to-all", "dialect/mesh.rs", [Mesh],
        "A signal to somebody who is not there goes to everybody.";
    TargetsAcrossRooms: "mesh/targets-across-rooms", "dialect/mesh.rs", [Mesh],
        "A signal reaches its receiver in whatever room it is.";
    MembershipUnchecked: "mesh/membership-unchecked", "dialect/mesh.rs", [Mesh],
        "Whoever names a room can signal into it.";
    RoomIdsFolded: "mesh/room-ids-folded", "dialect/mesh.rs", [Mesh],
        "Room ids are compared without regard to case.";
    RoomIdsTrimmed: "mesh/room-ids-trimmed", "dialect/mesh.rs", [Mesh],
        "Spaces around a room id do not count.";
    RoomIdsCut: "mesh/room-ids-cut", "dialect/mesh.rs", [Mesh],
        "A room id that is too long is cut.";
    RoomIdsCoerced: "mesh/room-ids-coerced", "dialect/mesh.rs", [Mesh],
        "A room id of another JSON type is taken as text.";
    EmptyRoomId: "mesh/empty-room-id", "dialect/mesh.rs", [Mesh],
        "A room id may be empty.";
    PrototypeFound: "mesh/prototype-found", "dialect/mesh.rs", [Mesh],
        "The room `__proto__` is something else than a room.";
    KindLost: "mesh/kind-lost", "dialect/mesh.rs", [Mesh],
        "Every signal arrives as an offer.";
    TypeNotAskedFor: "mesh/type-not-asked-for", "dialect/mesh.rs", [Mesh],
        "A signal without a type is relayed as an offer.";
    UnknownTypeIsOffer: "mesh/unknown-type-is-offer", "dialect/mesh.rs", [Mesh],
        "A signal of an unknown type is relayed as an offer.";
    EarlyCandidateDropped: "mesh/early-candidate-dropped", "dialect/mesh.rs", [Mesh],
        "A candidate that comes before anything else of its sender is dropped.";
    RoomForgottenAfterBadJson: "mesh/room-forgotten-after-bad-json", "dialect/mesh.rs", [Mesh],
        "Whoever sends bad JSON is in no room any more, and is not told.";
    ErrorsToEverybody: "mesh/errors-to-everybody", "dialect/mesh.rs", [Mesh],
        "An error goes to everybody in the room.";
    InsideShown: "mesh/inside-shown", "dialect/mesh.rs", [Mesh],
        "An error names the line of the source that it comes from.";

    // The dialect `relay`.
    RoomIgnored: "relay/room-ignored", "dialect/relay.rs", [Relay],
        "Everybody is in one room, whatever the query says.";
    QueryNotDecoded: "relay/query-not-decoded", "query.rs", [Relay],
        "The room in the query is not percent-decoded.";
    MessageRewritten: "relay/message-rewritten", "dialect/relay.rs", [Relay],
        "Messages are parsed and written again.";
    GarbageRelayed: "relay/garbage-relayed", "dialect/relay.rs", [Relay],
        "What is no JSON is relayed as well.";
    UnknownTypeRelayed: "relay/unknown-type-relayed", "dialect/relay.rs", [Relay],
        "Messages of an unknown type, or of none, are relayed as well.";
    HistoryReplayed: "relay/history-replayed", "dialect/relay.rs", [Relay],
        "A newcomer is sent what was last said in the room, by whomever and whenever.";

    // The dialect `sender-viewer`.
    HolderReplaced: "role/holder-replaced", "dialect/sender_viewer.rs", [SenderViewer],
        "Whoever asks for a role takes it from its holder, who is alive.";
    RoleNotExclusive: "role/not-exclusive", "dialect/sender_viewer.rs", [SenderViewer],
        "Several clients can have the same role in a room.";
    RefusedStillRelays: "role/refused-still-relays", "dialect/sender_viewer.rs", [SenderViewer],
        "Whoever was refused a role can signal as if it had it.";
    RefusedIsSaidToLeave: "role/refused-is-said-to-leave", "dialect/sender_viewer.rs", [SenderViewer],
        "When somebody goes who was refused a role, its holder is announced as left.";
    SeatNeverFreed: "role/seat-never-freed", "dialect/sender_viewer.rs", [SenderViewer],
        "A role stays taken when its holder has left.";
    PartnerNotTold: "role/partner-not-told", "dialect/sender_viewer.rs", [SenderViewer],
        "The other side is not told that its partner left.";
    ReadyOnlyForViewers: "role/ready-only-for-viewers", "dialect/sender_viewer.rs", [SenderViewer],
        "The sender is told that both are there only when the viewer comes last.";
    ReadyOnlyOnce: "role/ready-only-once", "dialect/sender_viewer.rs", [SenderViewer],
        "The sender is told that both are there for the first viewer alone.";
    ReadyToBoth: "role/ready-to-both", "dialect/sender_viewer.rs", [SenderViewer],
        "Both sides are told that both are there.";
    DirectionIgnored: "role/direction-ignored", "dialect/sender_viewer.rs", [SenderViewer],
        "A viewer can offer, and a sender answer.";
    EmptySignalRelayed: "role/empty-signal-relayed", "dialect/sender_viewer.rs", [SenderViewer],
        "An offer without a description is relayed.";
    NullDropped: "role/null-dropped", "dialect/sender_viewer.rs", [SenderViewer],
        "A candidate of null, the end of candidates, is dropped.";

    // The dialect `call`.
    SilentTakeover: "call/silent-takeover", "dialect/call.rs", [Call],
        "Whoever joins under a name that is taken gets it, and its holder is not told.";
    ListNotTold: "call/list-not-told", "dialect/call.rs", [Call],
        "When a user disconnects nobody gets a new list.";
    CallerTrusted: "call/caller-trusted", "dialect/call.rs", [Call],
        "An offer's `caller` is what its sender writes there.";
    CallNotNeeded: "call/call-not-needed", "dialect/call.rs", [Call],
        "Users can signal to each other without a call.";
    AnyTargetInCall: "call/any-target-in-call", "dialect/call.rs", [Call],
        "Whoever is in a call can signal to anybody.";
    DeathInCallUntold: "call/death-in-call-untold", "dialect/call.rs", [Call],
        "Whoever is in a call with somebody who disconnects is not told.";
    BothLeftRinging: "call/both-left-ringing", "dialect/call.rs", [Call],
        "When two call each other at once both telephones ring.";
    BothToldAccepted: "call/both-told-accepted", "dialect/call.rs", [Call],
        "Whoever accepts a call is told that it was accepted, too.";
    BusyLineRings: "call/busy-line-rings", "dialect/call.rs", [Call],
        "A call rings at somebody who is in a call.";
    BusyUntold: "call/busy-untold", "dialect/call.rs", [Call],
        "Whoever calls somebody in a call is told nothing.";
    RejectUntold: "call/reject-untold", "dialect/call.rs", [Call],
        "A caller is not told that the call is rejected.";
    RejectConnects: "call/reject-connects", "dialect/call.rs", [Call],
        "A call that is rejected counts as accepted.";
    RingingEndsUntold: "call/ringing-ends-untold", "dialect/call.rs", [Call],
        "When a call ends that still rings the other side is not told.";
    EndedCallLivesOn: "call/ended-call-lives-on", "dialect/call.rs", [Call],
        "Both stay engaged when a call has ended.";
    OutsiderEndsCall: "call/outsider-ends-call", "dialect/call.rs", [Call],
        "Anybody can end the call of others.";
    UncalledAnswered: "call/uncalled-answered", "dialect/call.rs", [Call],
        "Anybody can answer a call that was never made.";
    MediaAlwaysOn: "call/media-always-on", "dialect/call.rs", [Call],
        "Sound and picture are on, whatever was said about them.";

    // What dialects share.
    PayloadReserialised: "message/payload-reserialised", "dialect/json.rs", [Mesh, SenderViewer, Call],
        "Payloads are parsed and written again: keys change places, big numbers lose digits.";

    // What all WebSockets share.
    GhostAfterAbruptClose: "session/ghost-after-abrupt-close", "session/connection.rs", [Mesh, SenderViewer, Call],
        "Whoever loses its TCP connection stays a member for ever.";
    GhostAfterClose: "session/ghost-after-close", "session/connection.rs", [Mesh, SenderViewer],
        "Whoever closes its WebSocket stays a member for ever.";
    HalfOpenNeverNoticed: "session/half-open-never-noticed", "session/heartbeat.rs", [Mesh],
        "Pings that stay unanswered have no consequence.";
    PongsIgnored: "session/pongs-ignored", "session/connection.rs", [Mesh],
        "Whoever only answers pings is given up like a dead client.";
    PongCloses: "session/pong-closes", "session/connection.rs", [Relay],
        "A pong that nobody asked for closes the connection.";
    WrittenTwice: "session/written-twice", "session/queue.rs", [Mesh, Relay, SenderViewer, Call],
        "Every message is written twice.";
    Reordered: "session/reordered", "session/queue.rs", [Mesh, Relay],
        "What waits to be written goes out in the wrong order.";
    LostInSilence: "session/lost-in-silence", "session/queue.rs", [Mesh, Relay],
        "What comes faster than it is written is dropped, and nobody is told.";
    DiesOfNull: "session/dies-of-null", "session/connection.rs", [Mesh],
        "The message `null` ends the server.";
    HungByNull: "session/hung-by-null", "session/connection.rs", [Call],
        "Whoever sends `null` is heard no more, and hears nothing, on a connection that stays open.";
    HungByBadJson: "session/hung-by-bad-json", "session/connection.rs", [SenderViewer, Relay],
        "The same for whoever sends bad JSON, or JSON that is nested deeply.";
    HungByBinary: "session/hung-by-binary", "session/connection.rs", [Mesh],
        "The same for whoever sends a binary frame.";
    BinaryObeyed: "session/binary-obeyed", "session/connection.rs", [Mesh, Relay],
        "A binary frame is obeyed like a text.";
    SizeUnlimited: "session/size-unlimited", "session/connection.rs", [Mesh, Call],
        "A message may be of any length.";
    LimitTooSmall: "session/limit-too-small", "session/connection.rs", [Mesh],
        "A message of exactly the longest length is refused.";
    UnmaskedAccepted: "session/unmasked-accepted", "session/connection.rs", [Mesh],
        "A client's frame without a mask is accepted.";
    FramesMasked: "session/frames-masked", "session/connection.rs", [Relay],
        "The server masks its frames as a client does.";
    ReservedBitsOverlooked: "session/reserved-bits-overlooked", "session/connection.rs", [Mesh],
        "A frame with a reserved bit does not close the connection.";
    OpcodesOverlooked: "session/opcodes-overlooked", "session/connection.rs", [Mesh],
        "A frame with a reserved opcode does not close the connection.";
    ControlFramesOverlooked: "session/control-frames-overlooked", "session/connection.rs", [Mesh],
        "A control frame that is too long or in fragments does not close the connection.";
    BrokenCloseOverlooked: "session/broken-close-overlooked", "session/connection.rs", [Mesh],
        "A close with half a code, or one that nobody may send, does not close the connection.";
    BadUtf8Overlooked: "session/bad-utf8-overlooked", "session/connection.rs", [Mesh],
        "Text that is not UTF-8 does not close the connection.";
    CloseUnanswered: "session/close-unanswered", "session/connection.rs", [Mesh],
        "A close frame is answered by the end of TCP alone.";
    PongWithoutPayload: "session/pong-without-payload", "session/connection.rs", [Mesh],
        "A pong is empty, whatever the ping said.";

    // The handshake.
    AcceptKeyWrong: "handshake/accept-key-wrong", "http.rs", [Relay],
        "The key of a handshake is answered with the hash of another.";
    AnyVersionAccepted: "handshake/any-version-accepted", "http.rs", [Mesh],
        "A WebSocket of any version is accepted.";
    SubprotocolInvented: "handshake/subprotocol-invented", "http.rs", [Mesh],
        "The server chooses a subprotocol that nobody asked for.";
    OriginCrashes: "handshake/origin-crashes", "http.rs", [Mesh],
        "A handshake that names an origin is answered with an error of the server.";
}

thread_local! {
    static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    /// What a mutant remembers, by key.
    static MEMORY: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
    static COUNTS: RefCell<BTreeMap<String, (Instant, usize)>> = const { RefCell::new(BTreeMap::new()) };
    /// Ends the server.
    static DEATH: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Gives the servers that this thread runs from now on a defect, or none.
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
    MEMORY.take();
    COUNTS.take();
    DEATH.take();
}

/// What ends this thread's server, for the mutants that it dies of.
pub fn on_crash(death: impl Fn() + 'static) {
    DEATH.set(Some(Box::new(death)));
}

/// Ends the server. Returns that the connection is no more served.
pub(crate) fn crash() -> bool {
    DEATH.with_borrow(|death| death.iter().for_each(|death| death()));
    true
}

/// Keeps a text for later.
pub(crate) fn remember(key: &str, text: &str) {
    if PLANTED.get().is_some() {
        MEMORY.with_borrow_mut(|memory| memory.insert(key.to_owned(), text.to_owned()));
    }
}

/// A count as a cache has it, which lives for a second.
pub(crate) fn stale(key: &str, count: usize) -> usize {
    let now = Instant::now();
    COUNTS.with_borrow_mut(|counts| {
        let (since, known) = counts.entry(key.to_owned()).or_insert((now, count));
        if now - *since > Duration::from_secs(1) {
            (*since, *known) = (now, count);
        }
        *known
    })
}

/// Whether this was asked for a key before.
pub(crate) fn is_again(key: &str) -> bool {
    MEMORY.with_borrow_mut(|memory| memory.insert(key.to_owned(), String::new()).is_some())
}

/// What was kept last.
pub(crate) fn recall(key: &str) -> Option<String> {
    MEMORY.with_borrow(|memory| memory.get(key).cloned())
}

/// Whether this thread's server has a defect.
pub(crate) fn is_planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// What a client claims in a field of its message, where that is believed.
pub(crate) fn claimed(mutant: Mutant, field: &str, text: &str) -> Option<String> {
    let [value] = json::fields(text, &[field]).ok().filter(|_| is_planted(mutant))?;
    value.and_then(json::text).map(String::from)
}
