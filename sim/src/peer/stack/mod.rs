//! A WebRTC stack as its driver sees it: one connection, sans-IO. Only what is below this folder names a library.

mod keys;
mod rtc;

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::event::{Candidate, CandidateKind, DtlsState, IceState, SignalKind};
use crate::peer::path::{Path, Transmit};

pub use keys::KeyLog;
pub(crate) use rtc::RtcFactory;

/// One WebRTC connection with one transport and, on it, one data channel.
///
/// It neither gathers candidates nor opens sockets nor reads a clock. After each call that changes something the driver calls
/// [`poll`](Self::poll) until that returns [`Output::Timeout`].
pub(crate) trait Stack: Send {
    /// Makes an offer and sets it as the local description.
    fn offer(&mut self, now: Instant) -> Result<Description, StackError>;

    /// Makes the answer to the offer that was [accepted](Self::accept) last and sets it as the local description.
    fn answer(&mut self, now: Instant) -> Result<Description, StackError>;

    /// Sets the remote description, an offer or an answer.
    fn accept(&mut self, remote: &Description, now: Instant) -> Result<(), StackError>;

    /// Takes its own offer back. RFC 9429 §4.1.10.2.
    fn roll_back(&mut self, now: Instant) -> Result<(), StackError>;

    /// The next offer has new ICE credentials.
    fn restart_ice(&mut self);

    /// Adds a local candidate. Returns its `candidate` attribute, as the other side needs it. RFC 8839 §5.1.
    fn add_local(&mut self, candidate: &LocalCandidate) -> Result<String, StackError>;

    /// Adds a remote candidate of the ICE generation that the remote description began.
    fn add_remote(&mut self, candidate: &Trickled) -> Result<(), StackError>;

    /// Sends a text on the data channel.
    fn send(&mut self, text: &str, now: Instant) -> Result<(), StackError>;

    /// Ends the connection. What it still has to send comes from [`poll`](Self::poll).
    fn close(&mut self) -> Result<(), StackError>;

    /// Takes what came.
    fn handle(&mut self, input: Input<'_>, now: Instant) -> Result<(), StackError>;

    /// What the stack wants or reports next.
    fn poll(&mut self) -> Output;
}

/// Makes the connections of one client.
pub(crate) trait StackFactory: Send {
    /// A connection without descriptions; the offerer's has the data channel.
    fn open(&self, offerer: bool, now: Instant) -> Result<Box<dyn Stack>, StackError>;
}

/// What a stack takes.
pub(crate) enum Input<'a> {
    /// A datagram came.
    Datagram { path: Path, bytes: &'a [u8] },
    /// Time has passed.
    Timeout,
}

/// What a stack wants of its driver, or reports.
#[derive(Debug)]
pub(crate) enum Output {
    Transmit(Transmit),
    Event(StackEvent),
    /// Nothing more for now; when to call [`Stack::handle`] with [`Input::Timeout`].
    Timeout(Option<Instant>),
}

/// What happened to a connection.
#[derive(Debug)]
pub(crate) enum StackEvent {
    Ice(IceState),
    /// ICE uses this pair.
    Selected {
        local: Candidate,
        remote: Candidate,
    },
    Dtls(DtlsState),
    ChannelOpen,
    ChannelClosed,
    /// A text came on the data channel.
    Text(Arc<str>),
}

/// Why a stack refused something, in its own words.
#[derive(Debug)]
pub(crate) struct StackError(Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// A session description: `{"type":"offer","sdp":…}`. W3C WebRTC §4.6.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    #[serde(rename = "type")]
    pub(crate) kind: DescriptionKind,
    pub(crate) sdp: String,
}

/// What a session description does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DescriptionKind {
    Offer,
    Answer,
}

impl Description {
    /// The ICE username fragment: the value of `a=ice-ufrag`. One transport has one.
    pub(crate) fn ufrag(&self) -> Arc<str> {
        self.sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap_or_default().trim_end().into()
    }
}

/// The signal that carries a description.
impl From<DescriptionKind> for SignalKind {
    fn from(kind: DescriptionKind) -> Self {
        match kind {
            DescriptionKind::Offer => Self::Offer,
            DescriptionKind::Answer => Self::Answer,
        }
    }
}

/// A candidate that this side has gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalCandidate {
    pub(crate) kind: CandidateKind,
    /// Where others reach it.
    pub(crate) address: SocketAddr,
    /// Where its datagrams leave from. RFC 8445 §5.1.1.
    pub(crate) base: SocketAddr,
}

/// A candidate as it is trickled. W3C WebRTC §4.8.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trickled {
    /// The `candidate` attribute; empty after the last one.
    pub(crate) candidate: String,
    pub(crate) sdp_mid: Option<String>,
    #[serde(rename = "sdpMLineIndex")]
    pub(crate) sdp_mline_index: Option<u16>,
    pub(crate) username_fragment: Option<String>,
}

impl Trickled {
    /// A candidate of the first media section.
    pub(crate) fn new(candidate: String, ufrag: &str) -> Self {
        Self {
            candidate,
            sdp_mid: Some(String::new()),
            sdp_mline_index: Some(0),
            username_fragment: Some(ufrag.to_owned()),
        }
    }

    /// Its type and address: `candidate:FOUNDATION COMPONENT PROTOCOL PRIORITY ADDRESS PORT typ TYPE …`. RFC 8839 §5.1.
    pub(crate) fn parse(&self) -> Option<Candidate> {
        let mut words = self.candidate.split_ascii_whitespace().skip(4);
        let address = words.next()?.parse().ok()?;
        let port = words.next()?.parse().ok()?;
        let kind = match words.nth(1)? {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::Srflx,
            "prflx" => CandidateKind::Prflx,
            "relay" => CandidateKind::Relay,
            _ => return None,
        };
        Some(Candidate { kind, address: SocketAddrV4::new(address, port) })
    }
}
