//! Members of a room in which the server chooses who receives an offer: a newcomer hands a list of offers to the server
//! with its join, the server gives each to another member, and the answer shows to whom. Who lacks a member asks again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dialect::{EventName, Operation, Reading};

use super::Engine;
use crate::event::{ClientId, Closed, Message, PeerName, SignalKind};
use crate::peer::client::bundles::{Bundle, Bundles};
use crate::peer::client::codec::Args;
use crate::peer::client::cx::ClientCx;
use crate::peer::client::speaker::Speaker;
use crate::peer::client::step::NoEffect;
use crate::peer::client::{Command, any};
use crate::peer::negotiation::OutgoingSignal;

/// The most offers in one message, as many as WebTorrent's clients make.
const OFFERS_MAX: usize = 10;
/// How long an offer waits for its answer, once it is sent: less than a connection waits for progress.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How long a client that lacks a member waits before it offers again. WebTorrent's clients wait longer.
const AGAIN: Duration = Duration::from_secs(10);

/// An offer to nobody in particular.
struct Open {
    /// The session that the answer names, as JSON.
    session: String,
    /// Until when an answer may come; `None` while its candidates are gathered.
    until: Option<Instant>,
}

/// A member of a room.
pub(super) struct Member {
    speaker: Speaker,
    /// Makes its offers differ from those of its other lives.
    life: u64,
    /// How many offers it has made.
    made: usize,
    /// Its own id, while it is in the room.
    id: Option<ClientId>,
    /// Its open offers, by the name that stands for the peer.
    open: BTreeMap<PeerName, Open>,
    /// Those whose candidates are being gathered.
    bundles: Bundles,
    /// When to look whether a member is missing.
    look_at: Option<Instant>,
}

impl Member {
    pub(super) fn new(speaker: Speaker, life: u64) -> Self {
        let (open, bundles) = (BTreeMap::new(), Bundles::default());
        Self { speaker, life, made: 0, id: None, open, bundles, look_at: None }
    }

    /// Makes an offer for each of the others that it is not connected with. They are sent when their candidates are
    /// gathered; without any, the join is sent at once.
    fn offer(&mut self, cx: &mut ClientCx) {
        let codec = &self.speaker.codec;
        let spoken = codec.spoken().clone();
        let others = cx.config.contacts.iter().filter_map(|name| spoken.id_of(name, codec.room()));
        let others: Vec<PeerName> = others.map(PeerName::from).collect();
        let missing = others.iter().filter(|peer| !cx.is_connecting(peer)).count().min(OFFERS_MAX);
        if missing == 0 && self.id.is_none() {
            self.send(Vec::new(), cx);
        }
        for _ in 0..missing {
            self.made += 1;
            let name = ClientId::from(format!("open offer {}.{}", self.life, self.made));
            let session = self.speaker.codec.session_with(&name);
            self.open.insert(name.clone().into(), Open { session, until: None });
            cx.offer_openly(&name.into());
        }
        self.look_at = cx.is_webrtc().then(|| cx.now() + AGAIN);
    }

    /// Sends the join with these offers.
    fn send(&mut self, offers: Vec<OutgoingSignal>, cx: &mut ClientCx) {
        let session = |offer: &OutgoingSignal| self.open.get(&offer.to).map_or("null", |open| &open.session);
        let list: Vec<_> = offers.iter().map(|offer| format!("[{},{}]", offer.payload, session(offer))).collect();
        let (list, wanted) = (format!("[{}]", list.join(",")), offers.len().to_string());
        let args = match offers.is_empty() {
            true => Args::default(),
            false => Args { offers: Some(&list), wanted: Some(&wanted), ..Args::default() },
        };
        let room = cx.room();
        self.speaker.send(Operation::Join, &args, Message::Join { room: room.clone() }, cx);
        for OutgoingSignal { to, kind, payload } in offers {
            cx.also_sends(Message::Signal { room: room.clone(), peer: None, kind, payload });
            if let Some(open) = self.open.get_mut(&to) {
                open.until = Some(cx.now() + ANSWERED_WITHIN);
            }
        }
    }

    fn on_signal(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        let message = self.speaker.codec.signal_in(reading).unwrap_or(Message::Unknown);
        cx.received(&message);
        let Message::Signal { peer: Some(from), kind, payload, .. } = message else { return };
        let from = PeerName::from(from);
        let description = Bundle::read(&payload).map_or(&*payload, |(description, _)| description);
        match kind {
            // A member may get an offer of one to which it is connected.
            SignalKind::Offer if cx.is_connecting(&from) && !cx.is_of_other_life(&from, description) => {}
            SignalKind::Answer => {
                let session = reading.json("session");
                let answered = self.open.iter().find(|(_, open)| Some(&*open.session) == session);
                let Some(open) = answered.map(|(peer, _)| peer.clone()) else { return };
                self.open.remove(&open);
                if cx.adopt(&open, &from, description) {
                    self.speaker.take_signal(&from, kind, &payload, cx);
                }
            }
            _ => self.speaker.take_signal(&from, kind, &payload, cx),
        }
    }

    /// Gives up open offers.
    fn withdraw(&mut self, peers: &[PeerName], cx: &mut ClientCx) {
        for peer in peers {
            self.open.remove(peer);
            cx.end(peer, Closed::Timeout);
        }
    }
}

impl Engine for Member {
    fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    fn speaker_mut(&mut self) -> &mut Speaker {
        &mut self.speaker
    }

    fn join(&mut self, cx: &mut ClientCx) {
        cx.set_signaling(true);
        self.offer(cx);
    }

    fn on_lost(&mut self, _is_over: bool, cx: &mut ClientCx) {
        self.speaker.lost();
        self.bundles.clear();
        let open: Vec<_> = self.open.keys().cloned().collect();
        self.withdraw(&open, cx);
        (self.id, self.look_at) = (None, None);
    }

    fn on_message(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        match reading.event() {
            EventName::Joined => {
                let codec = &mut self.speaker.codec;
                let Some(id) = codec.own_id() else { return };
                // The server answers each of its requests, also those with which it asks for more members.
                if self.id.replace(id.clone()).is_none() {
                    let room = self.speaker.codec.room_in(reading);
                    cx.received(&Message::Admitted { room, id });
                }
            }
            EventName::Signal => self.on_signal(reading, cx),
            EventName::Error => cx.received(&self.speaker.codec.error_in(reading)),
            _ => {}
        }
    }

    fn send_signal(&mut self, signal: OutgoingSignal, cx: &mut ClientCx) {
        if !self.open.contains_key(&signal.to) {
            return self.speaker.signal(signal, cx);
        }
        match signal.kind {
            SignalKind::Offer => drop(self.bundles.hold(signal, cx.now())),
            SignalKind::IceCandidate => self.bundles.add(&signal),
            SignalKind::Answer | SignalKind::Hangup => {}
        }
    }

    fn own_deadline(&self) -> Option<Instant> {
        let until = self.open.values().filter_map(|open| open.until);
        until.chain(self.bundles.deadline()).chain(self.look_at).min()
    }

    fn on_own_time(&mut self, cx: &mut ClientCx) {
        let now = cx.now();
        let mut offers = Vec::new();
        while let Some(bundle) = self.bundles.take_due(now) {
            offers.push(bundle.into_signal());
        }
        if !offers.is_empty() {
            self.send(offers, cx);
        }
        let is_late = |(_, open): &(&PeerName, &Open)| open.until.is_some_and(|until| until <= now);
        let late: Vec<_> = self.open.iter().filter(is_late).map(|(peer, _)| peer.clone()).collect();
        self.withdraw(&late, cx);
        if self.look_at.is_some_and(|at| at <= now) {
            self.offer(cx);
        }
    }

    fn known_as(&self, name: &str, _cx: &ClientCx) -> Vec<PeerName> {
        let codec = &self.speaker.codec;
        codec.spoken().id_of(name, codec.room()).map(PeerName::from).into_iter().collect()
    }

    fn on_command(&mut self, command: &Command, cx: &mut ClientCx) -> Result<(), NoEffect> {
        match command {
            Command::Hangup(name) => any(self.known_as(name, cx), |id| cx.hangup(id)),
            _ => Err("its role cannot do that"),
        }
    }

    fn leave(&mut self, cx: &mut ClientCx) {
        if self.id.take().is_some() {
            self.speaker.send(Operation::Leave, &Args::default(), Message::Leave { room: cx.room() }, cx);
        }
    }
}
