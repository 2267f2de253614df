//! Sound and picture: what a client sends to all of its peers, and what a connection receives.
//!
//! The record gets no event for a packet, but for what a person would notice: that a track begins, falls silent and is
//! heard again, and at the end what has arrived of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use scenarios::Tracks;

use super::Negotiation;
use super::connection::Connection;
use crate::event::{PeerChange, PeerName, TrackKind};
use crate::peer::stack::MediaPacket;

/// Time without a packet after which a track has fallen silent.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// What a client sends.
pub(super) struct Sources {
    tracks: Tracks,
    /// Those that are turned off.
    off: BTreeSet<TrackKind>,
    /// When the next packet of each track is due; `None` while there is nobody to send to.
    due: Option<Instant>,
}

impl Sources {
    pub(super) fn new(tracks: Tracks) -> Self {
        Self { tracks, off: BTreeSet::new(), due: None }
    }

    /// The tracks, whether they are on or off.
    pub(super) fn kinds(&self) -> Vec<TrackKind> {
        self.tracks.kinds.iter().copied().map(TrackKind::from).collect()
    }

    fn on(&self) -> Vec<TrackKind> {
        self.kinds().into_iter().filter(|kind| !self.off.contains(kind)).collect()
    }
}

/// What a connection sends of a track.
#[derive(Default)]
struct Sent {
    packets: u64,
    is_on: bool,
}

/// What a connection has received of a track.
struct Received {
    /// The extended sequence numbers of the first and of the newest packet. RFC 3550 §6.4.1 and §A.1.
    first: u64,
    newest: u64,
    packets: u64,
    last: Instant,
    is_silent: bool,
    /// The longest time between two packets, of those shorter than [`SILENCE`].
    gap: Duration,
}

/// The tracks of a connection.
#[derive(Default)]
pub(super) struct Media {
    sent: BTreeMap<TrackKind, Sent>,
    received: BTreeMap<TrackKind, Received>,
}

impl Media {
    /// When to call [`on_time`](Self::on_time) next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.received.values().filter(|track| !track.is_silent).map(|track| track.last + SILENCE).min()
    }

    /// Reports the tracks that have fallen silent.
    pub(super) fn on_time(&mut self, now: Instant, mut report: impl FnMut(PeerChange)) {
        for (kind, track) in &mut self.received {
            if !track.is_silent && track.last + SILENCE <= now {
                track.is_silent = true;
                report(PeerChange::Silent { kind: *kind });
            }
        }
    }

    /// Notes that a packet with this sequence number has arrived.
    pub(super) fn arrived(&mut self, kind: TrackKind, number: u16, now: Instant, mut report: impl FnMut(PeerChange)) {
        let Some(track) = self.received.get_mut(&kind) else {
            // So that a packet which is older than the first one has a number too.
            let first = u64::from(number) + (1 << 16);
            let track = Received { first, newest: first, packets: 1, last: now, is_silent: false, gap: Duration::ZERO };
            self.received.insert(kind, track);
            return report(PeerChange::Plays { kind });
        };
        // RFC 3550 §A.1: it is the next one, or one that was overtaken.
        let step = number.wrapping_sub(track.newest as u16) as i16;
        let extended = track.newest.saturating_add_signed(i64::from(step));
        track.newest = track.newest.max(extended);
        track.first = track.first.min(extended);
        track.packets += 1;
        let gap = now - track.last;
        if track.is_silent {
            report(PeerChange::Heard { kind, gap_ms: gap.as_millis() as u64 });
        } else {
            track.gap = track.gap.max(gap);
        }
        (track.last, track.is_silent) = (now, false);
    }

    /// The number of the next packet of a track.
    fn next(&self, kind: TrackKind) -> u16 {
        // It wraps around: RFC 3550 §5.1.
        self.sent.get(&kind).map_or(0, |sent| sent.packets) as u16
    }

    /// Notes that a packet was sent.
    fn sent(&mut self, kind: TrackKind) -> Option<PeerChange> {
        let sent = self.sent.entry(kind).or_default();
        sent.packets += 1;
        (!std::mem::replace(&mut sent.is_on, true)).then_some(PeerChange::Sends { kind, on: true })
    }

    /// Notes that a track was turned off.
    fn turned_off(&mut self, kind: TrackKind) -> Option<PeerChange> {
        let sent = self.sent.get_mut(&kind)?;
        std::mem::take(&mut sent.is_on).then_some(PeerChange::Sends { kind, on: false })
    }

    /// What has been sent and received: reported at the end of the connection.
    pub(super) fn totals(&self) -> Vec<PeerChange> {
        let sent = self.sent.iter().map(|(kind, sent)| PeerChange::MediaSent { kind: *kind, packets: sent.packets });
        let received = self.received.iter().map(|(kind, track)| PeerChange::MediaReceived {
            kind: *kind,
            packets: track.packets,
            // Duplicates can make up for losses: RFC 3550 §6.4.1.
            lost: (track.newest - track.first + 1).saturating_sub(track.packets),
            gap_ms: track.gap.as_millis() as u64,
        });
        sent.chain(received).collect()
    }
}

impl Negotiation {
    /// Lets the client send these tracks to every peer.
    pub(crate) fn send_tracks(&mut self, tracks: Tracks) {
        self.sources = Some(Sources::new(tracks));
    }

    /// Turns a track on or off.
    pub(crate) fn switch_track(&mut self, kind: TrackKind, on: bool) -> Result<(), &'static str> {
        let sources = self.sources.as_mut().filter(|sources| sources.kinds().contains(&kind));
        let sources = sources.ok_or("it has no such track")?;
        if on {
            sources.off.remove(&kind);
            return Ok(());
        }
        sources.off.insert(kind);
        for peer in self.peers() {
            let off = self.connection(&peer).and_then(|connection| connection.media.turned_off(kind));
            off.into_iter().for_each(|change| self.note(&peer, change));
        }
        Ok(())
    }

    /// Sends another track to every peer: those to whom there is a connection get an offer.
    pub(crate) fn add_track(&mut self, kind: TrackKind, now: Instant) -> Result<(), &'static str> {
        self.need_signaling()?;
        if self.openly_only {
            return Err("its protocol has no offer to a certain member");
        }
        let sources = self.sources.get_or_insert_with(|| Sources::new(Tracks::default()));
        if sources.kinds().contains(&kind) {
            return Err("it sends such a track already");
        }
        sources.tracks.kinds.push(kind.into());
        for peer in self.peers() {
            let Some(connection) = self.connection(&peer) else { continue };
            connection.add_track(kind);
            connection.offer_due = connection.have_local_offer;
            if !connection.offer_due {
                self.offer_change(&peer, now);
            }
        }
        Ok(())
    }

    /// When the next packets are due.
    pub(super) fn media_deadline(&self) -> Option<Instant> {
        self.sources.as_ref().filter(|sources| !sources.on().is_empty())?.due
    }

    /// Begins to send as soon as there is somebody to send to.
    pub(super) fn start_media(&mut self, peer: &PeerName, now: Instant) {
        if self.sources.as_ref().is_some_and(|sources| sources.due.is_none())
            && self.connection(peer).is_some_and(|connection| connection.carries())
        {
            self.sources.iter_mut().for_each(|sources| sources.due = Some(now));
        }
    }

    /// Sends the packets that are due.
    pub(super) fn on_media(&mut self, now: Instant) {
        if self.media_deadline().is_none_or(|due| due > now) {
            return;
        }
        let Some(sources) = self.sources.as_mut() else { return };
        let (on, bytes) = (sources.on(), sources.tracks.bytes);
        // What was missed, because the client stood still, is not made up for.
        let next = sources.due.map(|due| due + sources.tracks.interval).filter(|next| *next > now);
        sources.due = Some(next.unwrap_or(now + sources.tracks.interval));
        let mut is_needed = false;
        for peer in self.peers() {
            let Some(connection) = self.connection(&peer).filter(|connection| connection.carries()) else { continue };
            is_needed = true;
            let changes: Vec<_> = on.iter().flat_map(|kind| connection.send_media(*kind, bytes, now)).collect();
            changes.into_iter().for_each(|change| self.note(&peer, change));
            self.drain(&peer, now);
        }
        if !is_needed {
            self.sources.iter_mut().for_each(|sources| sources.due = None);
        }
    }

    /// Reports what a connection that ends has sent and received.
    pub(super) fn note_totals(&mut self, peer: &PeerName) {
        let totals = self.connection(peer).map(|connection| connection.media.totals()).unwrap_or_default();
        totals.into_iter().for_each(|change| self.note(peer, change));
    }
}

impl Connection {
    /// Whether it can carry packets: it has keys, and ICE has not given it up.
    pub(super) fn carries(&self) -> bool {
        self.has_keys && self.is_reached()
    }

    /// Sends a packet of a track. Returns what is to be reported.
    fn send_media(&mut self, kind: TrackKind, bytes: u16, now: Instant) -> Option<PeerChange> {
        let packet = MediaPacket { kind, number: self.media.next(kind), bytes };
        match self.send_packet(packet, now) {
            Ok(true) => self.media.sent(kind),
            Ok(false) => None,
            Err(error) => Some(PeerChange::Error { text: error.to_string().into() }),
        }
    }
}
