//! A client's WebRTC connections.

use std::sync::Arc;

use scenarios::MediaKind;
use serde::Serialize;

use crate::event::TransportAddress;
use crate::event::names::PeerName;
use crate::event::signaling::SignalKind;

/// A change of one of a client's WebRTC connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PeerEvent {
    /// The other side.
    pub peer: PeerName,
    /// The number of the connection to that peer, counted from 1. It is 0 for a host candidate, which belongs to no
    /// connection.
    pub attempt: u16,
    /// The change.
    #[serde(flatten)]
    pub change: PeerChange,
}

/// What happens to a WebRTC connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum PeerChange {
    /// The connection is created.
    Opened {
        /// Whether this side makes the offer, and so is the controlling ICE agent.
        offerer: bool,
    },
    /// The STUN server reported the socket's mapped address.
    Mapped {
        /// The socket's local address.
        base: TransportAddress,
        /// The address in XOR-MAPPED-ADDRESS.
        mapped: TransportAddress,
    },
    /// A session description was set. RFC 9429 §3.5.
    Described {
        /// Whether it is the local description.
        local: bool,
        /// Offer or answer.
        kind: SignalKind,
        /// Its username fragment, which identifies the ICE generation.
        ufrag: Arc<str>,
    },
    /// A local candidate was gathered, or a remote one was added.
    Candidate {
        /// Whether it is a local candidate.
        local: bool,
        /// The candidate.
        candidate: Candidate,
        /// The username fragment of the ICE generation that it belongs to.
        ufrag: Arc<str>,
    },
    /// A remote candidate arrived before the description that it belongs to, and is queued.
    CandidateQueued,
    /// A signal of an older ICE generation arrived and was ignored.
    Stale {
        /// The kind of signal.
        kind: SignalKind,
    },
    /// The ICE connection state changed.
    Ice {
        /// The new state.
        state: IceState,
    },
    /// ICE restarts with new credentials.
    IceRestart,
    /// ICE selected a candidate pair.
    Selected {
        /// The local candidate.
        local: Candidate,
        /// The remote candidate.
        remote: Candidate,
    },
    /// The DTLS transport state changed.
    Dtls {
        /// The new state.
        state: DtlsState,
    },
    /// The data channel opened.
    ChannelOpen,
    /// A message was sent on the data channel.
    ChannelSent {
        /// The message.
        text: Arc<str>,
    },
    /// A message arrived on the data channel.
    ChannelReceived {
        /// The message.
        text: Arc<str>,
    },
    /// The stack reported an error.
    Error {
        /// The error's message.
        text: Arc<str>,
    },
    /// The connection ended.
    Closed {
        /// The reason.
        why: Closed,
    },
    /// The local offer was rolled back, in favour of the other side's. RFC 9429 §4.1.10.2.
    RolledBack,
    /// Encrypted data has flowed for the first time: SCTP in DTLS, or SRTP. Only for programs of others, whose data
    /// channels cannot be seen.
    Flows {
        /// Whether it was sent.
        sent: bool,
    },
    /// Something happened to the client's allocation at a TURN server.
    Turn {
        /// The server.
        server: TransportAddress,
        /// Whether the client reaches it over TCP: over TLS, if the port is 443.
        tcp: bool,
        /// What happened.
        change: TurnChange,
    },
    /// The other side has not answered a check on the selected pair for 30 s, so this side has no consent to send there
    /// and sends no more data until an answer arrives. RFC 7675 §5.1.
    ConsentExpired,
    /// The other side's track was added to the connection.
    Track {
        /// What it carries.
        kind: TrackKind,
    },
    /// The first of the other side's track has arrived: packets of a sound, a decoded frame of a picture.
    Plays {
        /// What it carries.
        kind: TrackKind,
    },
    /// This side began or stopped to send packets of a track.
    Sends {
        /// What it carries.
        kind: TrackKind,
        /// Whether it began.
        on: bool,
    },
    /// No packet of the other side's track has arrived for two seconds.
    Silent {
        /// What it carries.
        kind: TrackKind,
    },
    /// Packets of a track that had fallen silent arrive again.
    Heard {
        /// What it carries.
        kind: TrackKind,
        /// The time since the last packet, milliseconds.
        gap_ms: u64,
    },
    /// What a connection that ends has sent of a track.
    MediaSent {
        /// What it carries.
        kind: TrackKind,
        /// The number of packets.
        packets: u64,
    },
    /// What a connection that ends has received of a track.
    MediaReceived {
        /// What it carries.
        kind: TrackKind,
        /// The number of packets.
        packets: u64,
        /// How many the sequence numbers show to be missing. RFC 3550 §6.4.1.
        lost: u64,
        /// The longest time between two packets, of those that were not reported as silence; milliseconds.
        gap_ms: u64,
    },
    /// The server has listed ICE servers for this client.
    IceServers {
        /// How many STUN and TURN servers.
        servers: u16,
        /// How many of them are TURN servers.
        relays: u16,
    },
    /// The server has listed none, so that the client goes on without STUN and TURN.
    NoIceServers {
        /// Why.
        why: Arc<str>,
    },
}

/// The kinds of tracks. W3C Media Capture §4.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// A picture.
    Video,
}

impl TrackKind {
    /// Its name, as in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

impl From<MediaKind> for TrackKind {
    fn from(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::Audio,
            MediaKind::Video => Self::Video,
        }
    }
}

impl From<TrackKind> for MediaKind {
    fn from(kind: TrackKind) -> Self {
        match kind {
            TrackKind::Audio => Self::Audio,
            TrackKind::Video => Self::Video,
        }
    }
}

/// What happens to an allocation at a TURN server. RFC 8656 §6.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "turn", rename_all = "kebab-case")]
pub enum TurnChange {
    /// The server made it.
    Allocated {
        /// Its relayed transport address.
        relayed: TransportAddress,
    },
    /// The server refused a request for good.
    Refused {
        /// The error code, such as 401.
        code: u16,
        /// The reason phrase.
        reason: Arc<str>,
    },
    /// The server did not respond to a request and its repetitions.
    Unanswered,
    /// It expired, or the server has forgotten it.
    Lost,
    /// The client deleted it.
    Released,
}

/// Why a WebRTC connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closed {
    /// The other side left the room.
    PeerLeft,
    /// The other side hung up.
    RemoteHangup,
    /// The scenario ordered this side to hang up.
    Hangup,
    /// The connection was not established in time.
    Timeout,
    /// ICE failed.
    Failed,
    /// A newer connection replaces it.
    Replaced,
    /// The client leaves.
    Leaving,
    /// The signaling connection was lost, and the call with it.
    SignalingLost,
}

/// A candidate as shown in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Candidate {
    /// Its type.
    pub kind: CandidateKind,
    /// Its transport address.
    pub address: TransportAddress,
}

/// Types of candidates, the most preferred first. RFC 8445 §5.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateKind {
    /// Host: a local address.
    Host,
    /// Peer-reflexive: learned from the other side's connectivity checks.
    Prflx,
    /// Server-reflexive: learned from a STUN server.
    Srflx,
    /// Relayed: allocated by a TURN server.
    Relay,
}

/// ICE connection states. W3C WebRTC §5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the specification's own words
pub enum IceState {
    New,
    Checking,
    Connected,
    Completed,
    Disconnected,
    Failed,
    Closed,
}

/// DTLS transport states. W3C WebRTC §5.5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the specification's own words
pub enum DtlsState {
    New,
    Connecting,
    Connected,
    Closed,
    Failed,
}
