//! Matches each signal that arrived with the signal that was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scenarios::{Dialect, Role};

use crate::dialects::Descriptor;
use crate::event::{ClientId, Message, NodeId, Record, RoomName, SignalKind, Signaling, What};
use crate::oracle::history::{At, History, Stay};
use crate::rewritten::canonical;

/// A signal that a client sent while it was in a room.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: At,
    pub(crate) node: NodeId,
    pub(crate) role: Role,
    pub(crate) dialect: Descriptor,
    pub(crate) room: RoomName,
    /// The sender's id at that time.
    pub(crate) from: ClientId,
    /// The receiver's id; `None` addresses everybody in the room.
    pub(crate) to: Option<ClientId>,
    pub(crate) kind: SignalKind,
    pub(crate) payload: Arc<str>,
    /// The payload in the form in which equal JSON is equal, if the server may relay it in other bytes.
    canonical: Option<String>,
    /// When it first arrived at the right receiver.
    pub(crate) arrived: Option<At>,
}

/// The origin of a signal that arrived; the number is an index into [`Signals::sent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The named sender sent it to this receiver.
    Sent(usize),
    /// The named sender sent it to this receiver, and it had already arrived before.
    Again(usize),
    /// The named sender sent it to another client.
    ForAnother(usize),
    /// Another client sent it.
    ByAnother(usize),
    /// The named sender sent a signal of this kind to this receiver, but with another payload.
    Altered(usize),
    /// No client sent it.
    Nobody,
}

/// All signals of a record.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) sent: Vec<Sent>,
    origins: BTreeMap<usize, Origin>,
    /// Indices into `sent`, by the sender's id.
    by_sender: BTreeMap<ClientId, Vec<usize>>,
    /// Indices into `sent`, by room, for dialects that do not name the sender.
    by_room: BTreeMap<(Dialect, RoomName), Vec<usize>>,
    /// Pairs of a signal and a connection over which it arrived.
    arrived_over: BTreeSet<(usize, usize)>,
    /// The newest signal that arrived, by the sender's id and the receiver's connection.
    newest: BTreeMap<(ClientId, usize), usize>,
}

impl Signals {
    pub(crate) fn of(record: &Record, history: &History) -> Self {
        let mut signals = Self::default();
        for (index, event) in record.events.iter().enumerate() {
            let at = At { index, time: event.at };
            match &event.what {
                What::Signaling(Signaling::Sent(Message::Signal { room, peer, kind, payload })) => {
                    let Some(stay) = history.stay_at(event.node, index) else { continue };
                    signals.by_sender.entry(stay.id.clone()).or_default().push(signals.sent.len());
                    if !stay.dialect().names_others {
                        signals
                            .by_room
                            .entry((stay.role.dialect(), room.clone()))
                            .or_default()
                            .push(signals.sent.len());
                    }
                    signals.sent.push(Sent {
                        at,
                        node: event.node,
                        role: stay.role,
                        dialect: stay.dialect,
                        room: room.clone(),
                        from: stay.id.clone(),
                        to: peer.clone(),
                        kind: *kind,
                        payload: payload.clone(),
                        canonical: stay.dialect.rewrites.then(|| canonical(payload)).flatten(),
                        arrived: None,
                    });
                }
                What::Signaling(Signaling::Received(Message::Signal { peer, kind, payload, .. })) => {
                    let Some(connection) = history.connection_at(event.node, index) else { continue };
                    let own = history.stay_at(event.node, index);
                    let origin = signals.find(peer.as_ref(), own, connection, *kind, payload);
                    if let Origin::Sent(number) | Origin::Altered(number) = origin {
                        signals.arrived_over.insert((number, connection));
                        if let Some(from) = peer {
                            signals.newest.insert((from.clone(), connection), number);
                        }
                        if signals.sent[number].node != event.node {
                            signals.sent[number].arrived.get_or_insert(at);
                        }
                    }
                    signals.origins.insert(index, origin);
                }
                _ => {}
            }
        }
        signals
    }

    /// The origin of the signal that arrived in the event at `index`.
    pub(crate) fn origin(&self, index: usize) -> Origin {
        self.origins.get(&index).copied().unwrap_or(Origin::Nobody)
    }

    /// The offers that crossed this one: each was sent before the other arrived, and both arrived.
    pub(crate) fn crossing(&self, offer: usize) -> impl Iterator<Item = usize> + '_ {
        let ours = &self.sent[offer];
        let before = |sent: At, arrived: Option<At>| arrived.is_some_and(|arrived| sent < arrived);
        let back = match &ours.to {
            Some(to) => self.by_sender.get(to),
            None => self.by_room.get(&(ours.role.dialect(), ours.room.clone())),
        };
        let back = back.into_iter().flatten().copied();
        back.filter(move |theirs| {
            let theirs = &self.sent[*theirs];
            let is_to_us = match &theirs.to {
                Some(to) => *to == ours.from,
                // A signal of the same client does not count, even if it was sent in another stay.
                None => theirs.node != ours.node,
            };
            let is_back = theirs.kind == SignalKind::Offer && is_to_us;
            is_back && before(ours.at, theirs.arrived) && before(theirs.at, ours.arrived)
        })
    }

    /// Finds the origin of a signal that arrived at a client in the stay `own`.
    fn find(
        &self,
        from: Option<&ClientId>,
        own: Option<&Stay>,
        connection: usize,
        kind: SignalKind,
        payload: &str,
    ) -> Origin {
        let room = own.filter(|stay| !stay.dialect().names_others).map(|stay| (stay.role.dialect(), stay.room.clone()));
        let rewritten = own.filter(|stay| stay.dialect.rewrites).and_then(|_| canonical(payload));
        let own = own.map(|stay| &*stay.id).unwrap_or_default();
        let same = |number: &usize| {
            let sent = &self.sent[*number];
            sent.kind == kind && (*sent.payload == *payload || rewritten.is_some() && sent.canonical == rewritten)
        };
        let is_new = |number: &usize| !self.arrived_over.contains(&(*number, connection));
        let for_us = |number: &usize| match self.sent[*number].to.as_deref() {
            Some(to) => to == own,
            None => *self.sent[*number].from != *own || self.sent[*number].dialect.echoes,
        };
        let theirs = match &room {
            Some(room) => self.by_room.get(room),
            None => from.and_then(|from| self.by_sender.get(from)),
        };
        let theirs = theirs.map(Vec::as_slice).unwrap_or_default();
        let newest = from.and_then(|from| self.newest.get(&(from.clone(), connection)));
        let later = &theirs[newest.map_or(0, |newest| theirs.partition_point(|number| number <= newest))..];
        // Equal signals are matched in the order of sending. A match with an older one is tried last.
        for numbers in [later, theirs] {
            if let Some(found) = numbers.iter().find(|number| same(number) && for_us(number) && is_new(number)) {
                return Origin::Sent(*found);
            }
        }
        if let Some(found) = theirs.iter().rfind(|number| same(number) && for_us(number)) {
            return Origin::Again(*found);
        }
        if let Some(found) = theirs.iter().rfind(|number| same(number)) {
            return Origin::ForAnother(*found);
        }
        let others = (0..self.sent.len()).rev();
        if let Some(found) = others.filter(same).max_by_key(|number| for_us(number) && is_new(number)) {
            return Origin::ByAnother(found);
        }
        let altered = later.iter().find(|number| self.sent[**number].kind == kind && for_us(number) && is_new(number));
        altered.map_or(Origin::Nobody, |found| Origin::Altered(*found))
    }
}
