//! One machine's program: what it sends and hears by WebSocket, and what datagrams bring about in it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use sim::capture::{Content, Taken};
use sim::event::{
    DtlsState, Event, Frame, Message, PacketEvent, PacketView, PeerChange, PeerEvent, PeerName, Protocol, SignalKind,
    Signaling, What,
};

use super::Wires;
use super::websocket::Direction;

const SYN: u8 = 2;
const ACK: u8 = 16;
/// Content types of DTLS: handshakes with what belongs to them, and application data. RFC 5246 §6.2.1.
const HANDSHAKE: [u8; 3] = [20, 21, 22];
const APPLICATION_DATA: [u8; 1] = [23];
/// First bytes of STUN. RFC 7983 §7.
const STUN: [u8; 4] = [0, 1, 2, 3];

/// What is known of a program at a point of its record.
#[derive(Default)]
pub(super) struct Client {
    /// Whether the next SYN is its signaling's.
    dialing: bool,
    /// Both ends of its signaling connection, its own first.
    ends: Option<(SocketAddrV4, SocketAddrV4)>,
    outgoing: Direction,
    incoming: Direction,
    /// Events of the message that it is about to queue: what it means, and what it is of.
    meant: Vec<usize>,
    /// Frames that are queued, each with its events.
    queued: VecDeque<(Frame, Vec<usize>)>,
    /// Frames that have come and that the program has not read, each with its sighting.
    arrived: VecDeque<(Frame, usize)>,
    /// The frame that it read last.
    heard: Option<Heard>,
    /// Descriptions and candidates whose signals are still to be sent.
    unsent: Vec<Unsent>,
    /// The datagram that it took last, as a sighting.
    taken: Option<(Duration, usize)>,
    /// Where the other side of each connection is.
    remotes: BTreeMap<PeerName, SocketAddrV4>,
}

struct Heard {
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
    /// It takes a datagram from its socket.
    pub(super) fn takes(&mut self, taken: &Taken, wires: &Wires<'_>) {
        self.taken = wires.last_delivered(taken.packet).map(|sighting| (taken.at, sighting));
    }

    pub(super) fn read(&mut self, index: usize, event: &Event, wires: &mut Wires<'_>) {
        match &event.what {
            What::Packet(PacketEvent::Sent(view)) => self.sends(index, view, wires),
            What::Packet(PacketEvent::Delivered(view)) => self.gets(index, view, wires),
            What::Signaling(signaling) => self.signals(index, event, signaling, wires),
            What::Peer(peer) => self.connects(index, event.at, peer, wires),
            _ => {}
        }
    }

    // ---- TCP

    fn sends(&mut self, index: usize, view: &PacketView, wires: &mut Wires<'_>) {
        let Some(sighting) = wires.found(index) else { return };
        let Content::Tcp { seq, payload, .. } = &wires.sighting(sighting).content else { return };
        if self.dialing && view.flags & (SYN | ACK) == SYN {
            self.dialing = false;
            self.ends = Some((view.src, view.dst));
            self.outgoing = Direction::begin(*seq);
            self.incoming = Direction::default();
            self.arrived.clear();
        } else if self.ends == Some((view.src, view.dst)) {
            for frame in self.outgoing.take(*seq, payload) {
                // What answers by itself, as a pong does, was never queued.
                let Some(place) = self.queued.iter().position(|(queued, _)| *queued == frame) else { continue };
                for (_, events) in self.queued.drain(..=place).skip(place) {
                    events.into_iter().for_each(|event| wires.is(event, sighting));
                }
            }
        }
    }

    fn gets(&mut self, index: usize, view: &PacketView, wires: &Wires<'_>) {
        if view.protocol != Protocol::Tcp || self.ends != Some((view.dst, view.src)) {
            return;
        }
        let Some(sighting) = wires.found(index) else { return };
        let Content::Tcp { seq, payload, .. } = &wires.sighting(sighting).content else { return };
        if view.flags & SYN != 0 {
            self.incoming = Direction::begin(*seq);
        }
        self.arrived.extend(self.incoming.take(*seq, payload).into_iter().map(|frame| (frame, sighting)));
    }

    // ---- signaling

    fn signals(&mut self, index: usize, event: &Event, signaling: &Signaling, wires: &mut Wires<'_>) {
        match signaling {
            Signaling::Connecting { .. } => {
                self.dialing = true;
                self.ends = None;
                self.queued.clear();
            }
            Signaling::Sent(message) => {
                let of = self.signalled(event.at, message);
                self.meant = std::iter::once(index).chain(of).collect();
            }
            Signaling::FrameSent(frame) => {
                let mut events = std::mem::take(&mut self.meant);
                events.push(index);
                self.queued.push_back((frame.clone(), events));
            }
            Signaling::FrameReceived(frame) => {
                let Some(place) = self.arrived.iter().position(|(arrived, _)| arrived == frame) else { return };
                if let Some((frame, sighting)) = self.arrived.drain(..=place).next_back() {
                    wires.is(index, sighting);
                    self.heard = Some(Heard { at: event.at, sighting, is_close: matches!(frame, Frame::Close(_)) });
                }
            }
            Signaling::Received(_) => self.heard(index, event.at, false, wires),
            Signaling::Closed { code: Some(_), .. } => self.heard(index, event.at, true, wires),
            _ => {}
        }
    }

    /// An event that the frame which was read just now is.
    fn heard(&self, index: usize, at: Duration, is_close: bool, wires: &mut Wires<'_>) {
        if let Some(heard) = self.heard.as_ref().filter(|heard| heard.at == at && heard.is_close == is_close) {
            wires.is(index, heard.sighting);
        }
    }

    /// The description or candidate that a message carries: it bears its username fragment.
    fn signalled(&mut self, now: Duration, message: &Message) -> Option<usize> {
        self.unsent.retain(|unsent| unsent.at == now);
        let Message::Signal { kind, payload, .. } = message else { return None };
        let is_it = |unsent: &Unsent| unsent.kind == *kind && payload.contains(&*unsent.ufrag);
        let place = self.unsent.iter().position(is_it)?;
        Some(self.unsent.remove(place).event)
    }

    // ---- WebRTC

    fn connects(&mut self, index: usize, at: Duration, peer: &PeerEvent, wires: &mut Wires<'_>) {
        let mut unsent =
            |kind, ufrag: &Arc<str>| self.unsent.push(Unsent { event: index, at, kind, ufrag: ufrag.clone() });
        let found = match &peer.change {
            PeerChange::Described { local: true, kind, ufrag } => return unsent(*kind, ufrag),
            PeerChange::Candidate { local: true, ufrag, .. } => return unsent(SignalKind::IceCandidate, ufrag),
            PeerChange::Mapped { .. } => self.datagram(at, None, &STUN, wires),
            PeerChange::Selected { remote, .. } => {
                self.remotes.insert(peer.peer.clone(), remote.address);
                self.datagram(at, Some(remote.address), &STUN, wires)
            }
            PeerChange::Dtls { state: DtlsState::Connected | DtlsState::Failed | DtlsState::Closed } => {
                self.datagram_of(at, &peer.peer, &HANDSHAKE, wires)
            }
            PeerChange::ChannelOpen | PeerChange::ChannelReceived { .. } => {
                self.datagram_of(at, &peer.peer, &APPLICATION_DATA, wires)
            }
            _ => None,
        };
        if let Some(sighting) = found {
            wires.is(index, sighting);
        }
    }

    fn datagram_of(&self, at: Duration, peer: &PeerName, kinds: &[u8], wires: &Wires<'_>) -> Option<usize> {
        self.datagram(at, Some(*self.remotes.get(peer)?), kinds, wires)
    }

    /// The datagram that it has just taken, if that is of the kind and comes from where it should.
    fn datagram(&self, at: Duration, from: Option<SocketAddrV4>, kinds: &[u8], wires: &Wires<'_>) -> Option<usize> {
        let (_, sighting) = self.taken.filter(|(taken, _)| *taken == at)?;
        let seen = wires.sighting(sighting);
        let Content::Udp(payload) = &seen.content else { return None };
        let fits = kinds.contains(payload.first()?) && from.is_none_or(|from| from == seen.src);
        fits.then_some(sighting)
    }
}
