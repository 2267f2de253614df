//! The interface of a WebRTC stack: one connection, sans-IO. Only the files in this folder refer to a particular
//! library.

mod description;
mod keys;
mod pacing;
mod rtc;
mod rtc_media;
#[cfg(feature = "str0m")]
mod str0m;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, io};

use scenarios::{IceTransportPolicy, Timing};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::event::TransportAddress;
use crate::event::{Candidate, CandidateKind, DtlsState, IceState, TrackKind};
use crate::peer::path::{Path, Transmit};
use crate::peer::sdp::Section;

pub(crate) use description::{Description, DescriptionKind};
pub use keys::KeyLog;
use rtc::RtcFactory;

/// One WebRTC connection with one transport, which carries one data channel.
///
/// A stack does not gather candidates, open sockets or read a clock. After each call that changes its state, the caller
/// must call [`poll`](Self::poll) until it returns [`Output::Timeout`].
pub(crate) trait Stack: Send {
    /// Creates an offer and sets it as the local description.
    fn offer(&mut self, now: Instant) -> Result<Description, StackError>;

    /// Creates the answer to the offer that was [accepted](Self::accept) last, and sets it as the local description.
    fn answer(&mut self, now: Instant) -> Result<Description, StackError>;

    /// Sets the remote description, an offer or an answer.
    fn accept(&mut self, remote: &Description, now: Instant) -> Result<(), StackError>;

    /// Rolls back its own offer. RFC 9429 §4.1.10.2.
    fn roll_back(&mut self, now: Instant) -> Result<(), StackError>;

    /// Makes the next offer use new ICE credentials.
    fn restart_ice(&mut self);

    /// Adds a local candidate. Returns its `candidate` attribute for the other side. RFC 8839 §5.1.
    fn add_local(&mut self, candidate: &LocalCandidate) -> Result<String, StackError>;

    /// Adds a remote candidate. It must belong to the ICE generation of the current remote description.
    fn add_remote(&mut self, candidate: &Trickled) -> Result<(), StackError>;

    /// Sends a text on the data channel.
    fn send(&mut self, text: &str, now: Instant) -> Result<(), StackError>;

    /// Adds a track of this side, which the next description has.
    fn add_track(&mut self, kind: TrackKind) -> Result<(), StackError> {
        Err(StackError::from(format!("this WebRTC stack sends no {}", kind.name())))
    }

    /// Sends an RTP packet of a track. Returns whether the other side has agreed to receive it; if not, none is sent.
    fn send_packet(&mut self, _packet: MediaPacket, _now: Instant) -> Result<bool, StackError> {
        Ok(false)
    }

    /// Ends the connection. [`poll`](Self::poll) returns what is still to be sent.
    fn close(&mut self) -> Result<(), StackError>;

    /// Handles an input.
    fn handle(&mut self, input: Input<'_>, now: Instant) -> Result<(), StackError>;

    /// The next output of the stack.
    fn poll(&mut self) -> Output;
}

/// Creates the connections of one client.
pub(crate) trait StackFactory: Send {
    /// Creates a connection without descriptions. The offerer's side has the data channel.
    fn open(&self, offerer: bool, now: Instant) -> Result<Box<dyn Stack>, StackError>;

    /// Notified when a connection has an output that no call has caused; `None` if that never happens, because the
    /// connections have no sockets and timers of their own.
    fn changed(&self) -> Option<Arc<Notify>> {
        None
    }
}

/// Creates the connections of the client `name` with a library of its own process. The secrets of DTLS sessions go to
/// `keys`, if given.
///
/// # Errors
/// No certificate can be created, or this program lacks the library.
pub(crate) fn factory(
    stack: scenarios::Stack,
    name: &str,
    keys: Option<&KeyLog>,
    timing: Timing,
    policy: IceTransportPolicy,
    sections: MediaSections,
) -> io::Result<Box<dyn StackFactory>> {
    match stack {
        scenarios::Stack::Rtc => {
            let factory = RtcFactory::new(name, keys, timing, policy, sections);
            Ok(Box::new(factory.map_err(io::Error::other)?))
        }
        #[cfg(feature = "str0m")]
        scenarios::Stack::Str0m => {
            Ok(Box::new(str0m::Str0mFactory::new(name, keys, timing).map_err(io::Error::other)?))
        }
        #[cfg(not(feature = "str0m"))]
        scenarios::Stack::Str0m => Err(io::Error::other(LACKING)),
    }
}

/// What is wrong in a program that was compiled without the stack of an actor, and how to get it.
const LACKING: &str = "this program was compiled without the WebRTC stack `str0m`: use a released one, or compile it with \
                       `--features str0m`, as in `cargo run --features str0m --package glare -- sim …`";

/// Why the actors of a scenario cannot have their WebRTC stacks in this program.
pub(crate) fn lacking(scenario: &scenarios::Scenario) -> Option<String> {
    let is_mute = |actor: &&scenarios::Actor| actor.stack == scenarios::Stack::Str0m && actor.media.is_some();
    if let Some(actor) = scenario.actors.iter().find(is_mute) {
        let name = &actor.name;
        return Some(format!(
            "`{name}` has `media` and `stack = \"str0m\"`: only the stack `rtc` sends audio and video here"
        ));
    }
    let lacks = |actor: &&scenarios::Actor| actor.stack == scenarios::Stack::Str0m && !cfg!(feature = "str0m");
    let actor = scenario.actors.iter().find(lacks)?;
    Some(format!("`{}` has `stack = \"{}\"`, but {LACKING}", actor.name, actor.stack.name()))
}

/// A packet of a track, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaPacket {
    pub(crate) kind: TrackKind,
    /// Its sequence number. RFC 3550 §5.1.
    pub(crate) number: u16,
    /// The length of its payload.
    pub(crate) bytes: u16,
}

/// The media sections of a client's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MediaSections {
    /// The kinds that it knows codecs for; it rejects others.
    pub(crate) known: Vec<TrackKind>,
    /// Of these, the kinds for which its offers have a section, also to only receive them.
    pub(crate) offered: Vec<TrackKind>,
}

/// An input of a stack.
pub(crate) enum Input<'a> {
    /// A datagram that arrived.
    Datagram { path: Path, bytes: &'a [u8] },
    /// The time that [`Output::Timeout`] named has come.
    Timeout,
}

/// What a stack sends or reports.
#[derive(Debug)]
pub(crate) enum Output {
    Transmit(Transmit),
    Event(StackEvent),
    /// There is no other output for now. At this time, call [`Stack::handle`] with [`Input::Timeout`].
    Timeout(Option<Instant>),
}

/// An event of a connection.
#[derive(Debug)]
pub(crate) enum StackEvent {
    Ice(IceState),
    /// ICE selected this pair.
    Selected {
        local: Candidate,
        remote: Candidate,
    },
    Dtls(DtlsState),
    ChannelOpen,
    ChannelClosed,
    /// A text arrived on the data channel.
    Text(Arc<str>),
    /// A stack with sockets of its own has gathered this candidate.
    Gathered(Trickled),
    /// The other side's track arrives, or is about to.
    Track(TrackKind),
    /// The first of that track has been received: of a picture, a frame was decoded. Not from a stack that reports
    /// packets.
    Plays(TrackKind),
    /// A packet of that track was received, with this sequence number.
    Packet {
        kind: TrackKind,
        number: u16,
    },
}

/// An error of a stack, with the stack's own message.
#[derive(Debug)]
pub(crate) struct StackError(Box<dyn std::error::Error + Send + Sync>);

impl From<String> for StackError {
    fn from(message: String) -> Self {
        Self(message.into())
    }
}

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

/// A candidate that this side has gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalCandidate {
    pub(crate) kind: CandidateKind,
    /// The address at which others reach it.
    pub(crate) address: SocketAddr,
    /// The address from which its datagrams are sent. RFC 8445 §5.1.1.
    pub(crate) base: SocketAddr,
    /// Its local preference: that of the address it was gathered from. RFC 8445 §5.1.2.1.
    pub(crate) preference: u16,
}

/// A candidate in its trickled form. W3C WebRTC §4.8.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trickled {
    /// The `candidate` attribute. It is empty at the end of candidates.
    pub(crate) candidate: String,
    pub(crate) sdp_mid: Option<String>,
    #[serde(rename = "sdpMLineIndex")]
    pub(crate) sdp_mline_index: Option<u16>,
    pub(crate) username_fragment: Option<String>,
}

impl Trickled {
    /// A candidate of a media section.
    pub(crate) fn new(candidate: String, section: &Section, ufrag: &str) -> Self {
        Self {
            candidate,
            sdp_mid: Some(section.id.clone()),
            sdp_mline_index: Some(section.index),
            username_fragment: Some(ufrag.to_owned()),
        }
    }

    /// Its type and address.
    pub(crate) fn parse(&self) -> Option<Candidate> {
        parse_candidate(&self.candidate)
    }
}

/// Reads the type and address of `candidate:FOUNDATION COMPONENT PROTOCOL PRIORITY ADDRESS PORT typ TYPE …`. RFC 8839
/// §5.1.
pub(crate) fn parse_candidate(attribute: &str) -> Option<Candidate> {
    let mut words = attribute.split_ascii_whitespace().skip(4);
    let address: IpAddr = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    let kind = match words.nth(1)? {
        "host" => CandidateKind::Host,
        "srflx" => CandidateKind::Srflx,
        "prflx" => CandidateKind::Prflx,
        "relay" => CandidateKind::Relay,
        _ => return None,
    };
    Some(Candidate { kind, address: TransportAddress::new(address, port) })
}
