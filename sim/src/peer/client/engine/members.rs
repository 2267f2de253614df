//! Members of a room, who all connect to each other. Who offers to whom depends on how members learn of each other:
//! from notices and lists of the server, from what a newcomer announces, or because each knows the others' ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use dialect::file::{Addressing, JoinAnswer, JoinBy};
use dialect::{EventName, Operation, Reading};

use super::Engine;
use crate::event::{self, ClientId, Closed, Message, PeerName, Refused, RoomName};
use crate::peer::client::codec::Args;
use crate::peer::client::cx::ClientCx;
use crate::peer::client::meeting::Meeting;
use crate::peer::client::speaker::Speaker;
use crate::peer::client::step::NoEffect;
use crate::peer::client::{Command, any};

/// A member of a room.
pub(super) struct Member {
    speaker: Speaker,
    meeting: Meeting,
    /// Its own id, while it is in the room.
    id: Option<ClientId>,
    /// The id under which it was last in the room.
    last_id: Option<ClientId>,
    /// While it has asked to join and is not in the room: how often that was refused.
    joining: Option<u8>,
    /// The others that it knows of, with their display names.
    others: BTreeMap<ClientId, Option<Arc<str>>>,
}

impl Member {
    pub(super) fn new(speaker: Speaker) -> Self {
        // A scenario in a dialect whose members cannot meet is refused before the run.
        let meeting = Meeting::of(&speaker.codec.spoken().file).unwrap_or(Meeting::Noticed);
        Self { speaker, meeting, id: None, last_id: None, joining: None, others: BTreeMap::new() }
    }

    /// It is in the room. `reading` is the server's answer to its join, if there is one.
    fn admitted(&mut self, reading: Option<&Reading<'_, '_>>, cx: &mut ClientCx) {
        let codec = &mut self.speaker.codec;
        // Only after it was admitted does a client without an id of its own know it.
        let Some(id) = codec.own_id() else { return };
        let roster = reading.and_then(|reading| codec.members(reading));
        let room = reading.map_or_else(|| cx.room(), |reading| codec.room_in(reading));
        let others = roster.iter().flatten().filter(|member| member.id != id);
        let others: BTreeMap<_, _> = others.map(|member| (member.id.clone(), member.name.clone())).collect();
        match (roster, reading) {
            (Some(mut roster), _) => {
                // Only a roster that answers a join lists the client itself.
                if codec.file().join.answer == JoinAnswer::Roster {
                    roster.retain(|member| member.id != id);
                }
                cx.received(&Message::Joined { room, id: id.clone(), roster });
            }
            (None, Some(_)) => cx.received(&Message::Admitted { room, id: id.clone() }),
            (None, None) => {}
        }
        self.joining = None;
        self.speaker.stop_asking();
        self.others = others;
        if self.last_id.replace(id.clone()).is_some_and(|last| last != id) {
            // With a new id, the others treat this client as a new peer, so its earlier connections are over.
            cx.close_all(Closed::Replaced);
        }
        self.id = Some(id);
        cx.set_signaling(true);
        match self.meeting {
            // Those of an `Offered` dialect are in `swarm.rs`.
            Meeting::Noticed | Meeting::Offered => {}
            Meeting::Listed => self.others.keys().cloned().collect::<Vec<_>>().iter().for_each(|id| offer(id, cx)),
            Meeting::Announced => self.speaker.send_plain(Operation::Announce, cx),
            Meeting::Known => {
                for contact in self.contacts(cx) {
                    offer(&contact, cx);
                }
            }
        }
    }

    /// The ids of the others in its room, if they follow from their names.
    fn contacts(&self, cx: &ClientCx) -> Vec<ClientId> {
        let spoken = self.speaker.codec.spoken();
        cx.config.contacts.iter().filter_map(|name| spoken.id_of(name, &cx.config.room)).collect()
    }

    /// Another member is there. Returns whether that is new.
    fn learn(&mut self, id: &ClientId, name: Option<Arc<str>>) -> bool {
        let is_new = !self.others.contains_key(id);
        let known = self.others.entry(id.clone()).or_default();
        if name.is_some() {
            *known = name;
        }
        is_new
    }

    /// A list of the members that is not the answer to a join.
    fn on_roster(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        let Some(members) = self.speaker.codec.members(reading) else { return };
        let own = self.speaker.codec.own_id();
        if self.id.is_none() {
            let answers = self.speaker.codec.file().join.answer == JoinAnswer::Roster;
            if answers && members.iter().any(|member| Some(&member.id) == own.as_ref()) {
                self.admitted(Some(reading), cx);
            }
            return;
        }
        let gone: Vec<ClientId> =
            self.others.keys().filter(|id| members.iter().all(|member| member.id != **id)).cloned().collect();
        for id in gone {
            self.on_left(cx.room(), id, cx);
        }
        for member in members.into_iter().filter(|member| Some(&member.id) != own.as_ref()) {
            if !self.others.contains_key(&member.id) {
                self.on_joined(cx.room(), member, cx);
            }
        }
    }

    fn on_joined(&mut self, room: RoomName, member: event::Member, cx: &mut ClientCx) {
        cx.received(&Message::PeerJoined { room, member: member.clone() });
        let is_new = self.learn(&member.id, member.name);
        if self.meeting == Meeting::Noticed && is_new {
            cx.offer(&member.id.into());
        }
    }

    fn on_left(&mut self, room: RoomName, id: ClientId, cx: &mut ClientCx) {
        cx.received(&Message::PeerLeft { room, id: id.clone() });
        self.others.remove(&id);
        cx.end(&id.into(), Closed::PeerLeft);
    }

    fn on_signal(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        let codec = &mut self.speaker.codec;
        let message = codec.signal_in(reading).unwrap_or(Message::Unknown);
        let from = if let Message::Signal { peer, .. } = &message { peer.clone() } else { None };
        if codec.file().signals.addressing == Addressing::FilteredByReceiver {
            // Where every client receives every signal, a client skips its own signals and those to others.
            let (to, own) = (codec.id_in(reading, "to"), codec.own_id());
            if to.is_some() && to != own || from.is_some() && from == own {
                return;
            }
        }
        cx.received(&message);
        let Message::Signal { kind, payload, .. } = message else { return };
        let Some(from) = from else { return };
        if self.meeting != Meeting::Noticed || self.speaker.codec.spoken().descriptor.chooses_ids {
            self.learn(&from, None);
        }
        self.speaker.take_signal(&from.into(), kind, &payload, cx);
    }

    fn on_error(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        let message = self.speaker.codec.error_in(reading);
        let Some(refusals) = &mut self.joining else { return cx.received(&message) };
        *refusals += 1;
        if self.speaker.codec.has(Operation::Open) {
            cx.received(&message);
            // Who comes first opens the room. If another client has done that meanwhile, it can be joined.
            match refusals {
                1 => self.ask(Operation::Open, cx),
                2 => self.ask(Operation::Join, cx),
                _ => self.refused(cx),
            }
            return;
        }
        // What refuses a client that chooses its id, is that another has it.
        let is_taken = self.speaker.codec.spoken().descriptor.chooses_ids;
        cx.received(&match message {
            Message::Error { text } if is_taken => Message::Refused { why: Refused::NameTaken, text },
            message => message,
        });
        self.refused(cx);
    }

    fn refused(&mut self, cx: &ClientCx) {
        self.joining = None;
        self.speaker.ask_again(cx);
    }

    fn ask(&mut self, operation: Operation, cx: &mut ClientCx) {
        self.speaker.send(operation, &Args::default(), Message::Join { room: cx.room() }, cx);
    }
}

/// Offers a connection to a member, unless there is one: a client that comes back under its id still has its own.
fn offer(id: &ClientId, cx: &mut ClientCx) {
    let peer = PeerName::from(id.clone());
    if !cx.is_connecting(&peer) {
        cx.offer(&peer);
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
        self.joining = Some(0);
        let (by, answer) = (self.speaker.codec.file().join.by, self.speaker.codec.file().join.answer);
        if by == JoinBy::Message {
            self.ask(Operation::Join, cx);
        }
        match answer {
            JoinAnswer::Joined | JoinAnswer::Roster => {}
            JoinAnswer::Pong => self.speaker.send_plain(Operation::Ping, cx),
            JoinAnswer::Echo | JoinAnswer::None => self.admitted(None, cx),
        }
    }

    fn on_lost(&mut self, _is_over: bool, _cx: &mut ClientCx) {
        self.speaker.lost();
        (self.id, self.joining) = (None, None);
    }

    fn on_message(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        match reading.event() {
            EventName::Joined => self.admitted(Some(reading), cx),
            EventName::Pong if self.id.is_none() && self.speaker.codec.file().join.answer == JoinAnswer::Pong => {
                self.admitted(Some(reading), cx);
            }
            EventName::Roster => self.on_roster(reading, cx),
            EventName::MemberJoined => {
                let room = self.speaker.codec.room_in(reading);
                match self.speaker.codec.member(reading) {
                    Some(member) => self.on_joined(room, member, cx),
                    None => cx.received(&Message::Unknown),
                }
            }
            EventName::MemberLeft => {
                let room = self.speaker.codec.room_in(reading);
                match self.speaker.codec.id_in(reading, "id") {
                    Some(id) => self.on_left(room, id, cx),
                    None => cx.received(&Message::Unknown),
                }
            }
            EventName::Announced => {
                let from = self.speaker.codec.id_in(reading, "from").filter(|from| Some(from) != self.id.as_ref());
                if let Some(from) = from.filter(|_| self.meeting == Meeting::Announced && self.id.is_some()) {
                    self.learn(&from, None);
                    // Who announces itself is new there, even if an earlier connection has not ended here.
                    cx.offer(&from.into());
                }
            }
            EventName::Signal => self.on_signal(reading, cx),
            EventName::Error => self.on_error(reading, cx),
            _ => {}
        }
    }

    fn known_as(&self, name: &str, cx: &ClientCx) -> Vec<PeerName> {
        let codec = &self.speaker.codec;
        if codec.spoken().descriptor.chooses_ids {
            return codec.spoken().id_of(name, codec.room()).map(PeerName::from).into_iter().collect();
        }
        let is_named = |id: &ClientId, known: &Option<Arc<str>>| match known {
            Some(known) => **known == *name,
            None => cx.config.directory.has(name, id),
        };
        let named = self.others.iter().filter(|(id, known)| is_named(id, known));
        named.map(|(id, _)| id.clone().into()).collect()
    }

    fn on_command(&mut self, command: &Command, cx: &mut ClientCx) -> Result<(), NoEffect> {
        match command {
            Command::Hangup(name) => any(self.known_as(name, cx), |id| cx.hangup(id)),
            Command::Offer(name) => any(self.known_as(name, cx), |id| cx.renegotiate(id)),
            _ => Err("its role cannot do that"),
        }
    }

    fn leave(&mut self, cx: &mut ClientCx) {
        if self.id.take().is_some() {
            self.speaker.send(Operation::Leave, &Args::default(), Message::Leave { room: cx.room() }, cx);
        }
    }
}
