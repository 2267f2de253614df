//! A client's WebRTC connections.

use std::net::SocketAddrV4;
use std::sync::Arc;

use serde::Serialize;

use crate::event::signaling::SignalKind;

/// One of a client's WebRTC connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PeerEvent {
    /// The other side's id in the signaling. Where the dialect names nobody: `sender` or `viewer`, or `other` in a relay.
    pub peer: Arc<str>,
    /// The how-manieth connection to that peer, from 1. A candidate of the host, which belongs to none, has 0.
    pub attempt: u16,
    /// What.
    #[serde(flatten)]
    pub change: PeerChange,
}

/// What happens to a WebRTC connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum PeerChange {
    /// It comes to be.
    Opened {
        /// Whether this side offers, and so controls ICE.
        offerer: bool,
    },
    /// The STUN server said how it sees the socket.
    Mapped {
        /// The socket.
        base: SocketAddrV4,
        /// XOR-MAPPED-ADDRESS.
        mapped: SocketAddrV4,
    },
    /// A description was set. RFC 9429 §3.5.
    Described {
        /// Whether it is this side's own.
        local: bool,
        /// Offer or answer.
        kind: SignalKind,
        /// Its ICE generation.
        ufrag: Arc<str>,
    },
    /// A local candidate was gathered, or a remote one was taken.
    Candidate {
        /// Whether it is this side's own.
        local: bool,
        /// The candidate.
        candidate: Candidate,
        /// The ICE generation it belongs to.
        ufrag: Arc<str>,
    },
    /// A remote candidate came before the description it belongs to, and waits.
    CandidateQueued,
    /// Something of an older ICE generation came and was left aside.
    Stale {
        /// What came.
        kind: SignalKind,
    },
    /// ICE changed state.
    Ice {
        /// The state it is in.
        state: IceState,
    },
    /// ICE restarts with new credentials.
    IceRestart,
    /// ICE chose a pair.
    Selected {
        /// This side's candidate.
        local: Candidate,
        /// The other side's.
        remote: Candidate,
    },
    /// DTLS changed state.
    Dtls {
        /// The state it is in.
        state: DtlsState,
    },
    /// The data channel is open.
    ChannelOpen,
    /// A message left on the data channel.
    ChannelSent {
        /// The message.
        text: Arc<str>,
    },
    /// A message came on the data channel.
    ChannelReceived {
        /// The message.
        text: Arc<str>,
    },
    /// The stack reported an error.
    Error {
        /// Its words.
        text: Arc<str>,
    },
    /// It is over.
    Closed {
        /// Why.
        why: Closed,
    },
    /// The own offer was taken back, for the other side's stands. RFC 9429 §4.1.10.2.
    RolledBack,
}

/// Why a WebRTC connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closed {
    /// The other side left the room.
    PeerLeft,
    /// The other side hung up.
    RemoteHangup,
    /// This side was told to hang up.
    Hangup,
    /// It was not connected in time.
    Timeout,
    /// ICE failed.
    Failed,
    /// A newer connection takes its place.
    Replaced,
    /// The client leaves.
    Leaving,
    /// The signaling was lost, and the call with it.
    SignalingLost,
}

/// A candidate as an event shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Candidate {
    /// Its type.
    pub kind: CandidateKind,
    /// Its transport address.
    pub address: SocketAddrV4,
}

/// Types of candidates, the preferred first. RFC 8445 §5.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateKind {
    /// A local address.
    Host,
    /// Learned from the other side's checks.
    Prflx,
    /// Learned from a STUN server.
    Srflx,
    /// Lent by a TURN server.
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
