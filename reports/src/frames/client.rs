//! Matches the events of one machine's client with frames: its WebSocket messages, and the effects of datagrams.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sim::capture::{Content, Taken};
use sim::event::TransportAddress;
use sim::event::{
    DtlsState, Event, Frame, Message, PacketEvent, PacketView, PeerChange, PeerEvent, PeerName, Protocol, SignalKind,
    Signaling, What,
};

use super::Sightings;
use super::websocket::Direction;

const SYN: u8 = 2;
const ACK: u8 = 16;
/// Content types of DTLS: those of a handshake (change cipher spec, alert, handshake), and application data. RFC 5246
/// §6.2.1.
const HANDSHAKE: [u8; 3] = [20, 21, 22];
const APPLICATION_DATA: [u8; 1] = [23];
/// First bytes of STUN. RFC 7983 §7.
const STUN: [u8; 4] = [0, 1, 2, 3];

/// The state of a client at a point of the record.
#[derive(Default)]
pub(super) struct Client {
    /// Whether the next SYN belongs to its signaling connection.
    dialing: bool,
    /// Both addresses of its signaling connection, its own first.
    ends: Option<(TransportAddress, TransportAddress)>,
    outgoing: Direction,
    incoming: Direction,
    /// Events of the message that it is about to queue: the message itself, and the description or candidate in it.
    message_events: Vec<usize>,
    /// Queued frames, each with its events.
    queued: VecDeque<(Frame, Vec<usize>)>,
    /// Frames that have arrived but that the client has not read, each with its sighting.
    arrived: VecDeque<(Frame, usize)>,
    /// The frame that it read last.
    last_read: Option<ReadFrame>,
    /// Descriptions and candidates whose signals have not been sent yet.
    unsent: Vec<Unsent>,
    /// The datagram that it received last, as a sighting.
    received: Option<(Duration, usize)>,
    /// The address of the other side of each connection.
    remotes: BTreeMap<PeerName, TransportAddress>,
}

struct ReadFrame {
    at: Duration,
    sighting: usize,
    is_close: bool,
}

struct Unsent {
    event: usize,
    at: Duration,
    kind: SignalKind,
    ufrag: Arc<str>,
}

impl Client {
    /// Records that it received a datagram from its socket.
    pub(super) fn datagram_received(&mut self, received: &Taken, sightings: &Sightings<'_>) {
        self.received = sightings.last_delivered(received.packet).map(|sighting| (received.at, sighting));
    }

    pub(super) fn read(&mut self, index: usize, event: &Event, sightings: &mut Sightings<'_>) {
        match &event.what {
            What::Packet(PacketEvent::Sent(view)) => self.segment_sent(index, view, sightings),
            What::Packet(PacketEvent::Delivered(view)) => self.segment_delivered(index, view, sightings),
            What::Signaling(signaling) => self.signaling_event(index, event, signaling, sightings),
            What::Peer(peer) => self.peer_event(index, event.at, peer, sightings),
            _ => {}
        }
    }

    // ---- TCP

    fn segment_sent(&mut self, index: usize, view: &PacketView, sightings: &mut Sightings<'_>) {
        let Some(sighting) = sightings.found(index) else { return };
        let Content::Tcp { seq, payload, .. } = &sightings.sighting(sighting).content else { return };
        if self.dialing && view.flags & (SYN | ACK) == SYN {
            self.dialing = false;
            self.ends = Some((view.src, view.dst));
            self.outgoing = Direction::begin(*seq);
            self.incoming = Direction::default();
            self.arrived.clear();
        } else if self.ends == Some((view.src, view.dst)) {
            for frame in self.outgoing.take(*seq, payload) {
                // Automatic answers, such as a pong, were never queued.
                let Some(place) = self.queued.iter().position(|(queued, _)| *queued == frame) else { continue };
                for (_, events) in self.queued.drain(..=place).skip(place) {
                    events.into_iter().for_each(|event| sightings.assign(event, sighting));
                }
            }
        }
    }

    fn segment_delivered(&mut self, index: usize, view: &PacketView, sightings: &Sightings<'_>) {
        if view.protocol != Protocol::Tcp || self.ends != Some((view.dst, view.src)) {
            return;
        }
        let Some(sighting) = sightings.found(index) else { return };
        let Content::Tcp { seq, payload, .. } = &sightings.sighting(sighting).content else { return };
        if view.flags & SYN != 0 {
            self.incoming = Direction::begin(*seq);
        }
        self.arrived.extend(self.incoming.take(*seq, payload).into_iter().map(|frame| (frame, sighting)));
    }

    // ---- signaling

    fn signaling_event(&mut self, index: usize, event: &Event, signaling: &Signaling, sightings: &mut Sightings<'_>) {
        match signaling {
            Signaling::Connecting { .. } => {
                self.dialing = true;
                self.ends = None;
                self.queued.clear();
            }
            Signaling::Sent(message) => {
                let of = self.signaled_event(event.at, message);
                self.message_events = std::iter::once(index).chain(of).collect();
            }
            Signaling::FrameSent(frame) => {
                let mut events = std::mem::take(&mut self.message_events);
                events.push(index);
                self.queued.push_back((frame.clone(), events));
            }
            Signaling::FrameReceived(frame) => {
                let Some(place) = self.arrived.iter().position(|(arrived, _)| arrived == frame) else { return };
                if let Some((frame, sighting)) = self.arrived.drain(..=place).next_back() {
                    sightings.assign(index, sighting);
                    self.last_read =
                        Some(ReadFrame { at: event.at, sighting, is_close: matches!(frame, Frame::Close(_)) });
                }
            }
            Signaling::Received(_) => self.message_read(index, event.at, false, sightings),
            Signaling::Closed { code: Some(_), .. } => self.message_read(index, event.at, true, sightings),
            _ => {}
        }
    }

    /// Assigns an event to the frame that was read at this time.
    fn message_read(&self, index: usize, at: Duration, is_close: bool, sightings: &mut Sightings<'_>) {
        if let Some(read) = self.last_read.as_ref().filter(|read| read.at == at && read.is_close == is_close) {
            sightings.assign(index, read.sighting);
        }
    }

    /// The event of the description or candidate that a message carries, found by its username fragment.
    fn signaled_event(&mut self, now: Duration, message: &Message) -> Option<usize> {
        self.unsent.retain(|unsent| unsent.at == now);
        let Message::Signal { kind, payload, .. } = message else { return None };
        let is_it = |unsent: &Unsent| unsent.kind == *kind && payload.contains(&*unsent.ufrag);
        let place = self.unsent.iter().position(is_it)?;
        Some(self.unsent.remove(place).event)
    }

    // ---- WebRTC

    fn peer_event(&mut self, index: usize, at: Duration, peer: &PeerEvent, sightings: &mut Sightings<'_>) {
        let mut unsent =
            |kind, ufrag: &Arc<str>| self.unsent.push(Unsent { event: index, at, kind, ufrag: ufrag.clone() });
        let found = match &peer.change {
            PeerChange::Described { local: true, kind, ufrag } => return unsent(*kind, ufrag),
            PeerChange::Candidate { local: true, ufrag, .. } => return unsent(SignalKind::IceCandidate, ufrag),
            PeerChange::Mapped { .. } => self.datagram(at, None, &STUN, sightings),
            PeerChange::Selected { remote, .. } => {
                self.remotes.insert(peer.peer.clone(), remote.address);
                self.datagram(at, Some(remote.address), &STUN, sightings)
            }
            PeerChange::Dtls { state: DtlsState::Connected | DtlsState::Failed | DtlsState::Closed } => {
                self.datagram_of(at, &peer.peer, &HANDSHAKE, sightings)
            }
            PeerChange::ChannelOpen | PeerChange::ChannelReceived { .. } => {
                self.datagram_of(at, &peer.peer, &APPLICATION_DATA, sightings)
            }
            _ => None,
        };
        if let Some(sighting) = found {
            sightings.assign(index, sighting);
        }
    }

    fn datagram_of(&self, at: Duration, peer: &PeerName, kinds: &[u8], sightings: &Sightings<'_>) -> Option<usize> {
        self.datagram(at, Some(*self.remotes.get(peer)?), kinds, sightings)
    }

    /// The datagram received at this time, if it is of one of these kinds and from this address.
    fn datagram(
        &self,
        at: Duration,
        from: Option<TransportAddress>,
        kinds: &[u8],
        sightings: &Sightings<'_>,
    ) -> Option<usize> {
        let (_, sighting) = self.received.filter(|(received, _)| *received == at)?;
        let seen = sightings.sighting(sighting);
        let Content::Udp(payload) = &seen.content else { return None };
        let fits = kinds.contains(payload.first()?) && from.is_none_or(|from| from == seen.src);
        fits.then_some(sighting)
    }
}
