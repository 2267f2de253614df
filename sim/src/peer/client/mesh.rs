//! The `mesh` dialect on a client's side: JSON objects with an `action`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Closed, Member, Message, SignalKind};
use crate::peer::client::desk::{Desk, quoted};
use crate::peer::client::{Command, Dialect};
use crate::peer::negotiation::Outgoing;
use crate::peer::now;

/// A client in a room. Who is there offers to whoever comes.
#[derive(Default)]
pub(super) struct Mesh {
    /// Its own id, while it is in the room.
    id: Option<Arc<str>>,
    /// Who is who, by id.
    names: BTreeMap<Arc<str>, Arc<str>>,
}

impl Dialect for Mesh {
    fn path(&self, _room: &str) -> String {
        "/".to_owned()
    }

    fn on_connected(&mut self, desk: &mut Desk) {
        let text = join(&desk.config.room, &desk.config.name);
        desk.say(text, Message::Join { room: desk.room() });
    }

    fn on_lost(&mut self, _is_over: bool, _desk: &mut Desk) {
        self.id = None;
    }

    fn on_text(&mut self, text: &str, desk: &mut Desk) {
        let message = read(text, &desk.config.room);
        desk.received(&message);
        match message {
            Message::Joined { id, roster, .. } => {
                self.id = Some(id);
                self.names.clear();
                roster.into_iter().for_each(|member| self.learn(member));
                if let Some(media) = &mut desk.media {
                    // With a new id this is somebody new to all others: what was before is over.
                    media.close_all(Closed::Replaced, now());
                    media.set_signaling(true);
                }
            }
            Message::PeerJoined { member, .. } => {
                let id = member.id.clone();
                self.learn(member);
                match &mut desk.media {
                    Some(media) => media.offer(&id, now()),
                    None => self.send_signals(desk.script.offer(&id), desk),
                }
            }
            Message::PeerLeft { id, .. } => {
                self.names.remove(&id);
                if let Some(media) = &mut desk.media {
                    media.end(&id, Closed::PeerLeft, now());
                }
            }
            Message::Signal { peer: Some(from), kind, payload, .. } => match &mut desk.media {
                Some(media) => media.on_signal(&from, kind, &payload, now()),
                None => self.send_signals(desk.script.answer(&from, kind), desk),
            },
            _ => {}
        }
    }

    fn send_signal(&mut self, Outgoing { to, kind, payload }: Outgoing, desk: &mut Desk) {
        let text = signal(&desk.config.room, &to, kind, &payload);
        desk.say(text, Message::Signal { room: desk.room(), peer: Some(to), kind, payload });
    }

    fn known_as(&self, name: &str) -> Vec<Arc<str>> {
        self.names.iter().filter(|(_, known)| &***known == name).map(|(id, _)| id.clone()).collect()
    }

    fn on_command(&mut self, command: &Command, desk: &mut Desk) {
        let Some(media) = &mut desk.media else { return };
        match command {
            Command::Hangup(name) => self.known_as(name).iter().for_each(|id| media.hangup(id, now())),
            Command::Offer(name) => self.known_as(name).iter().for_each(|id| media.renegotiate(id, now())),
            _ => {}
        }
    }

    fn leave(&mut self, desk: &mut Desk) {
        if self.id.take().is_some() {
            desk.say(leave(&desk.config.room), Message::Leave { room: desk.room() });
        }
    }
}

impl Mesh {
    fn learn(&mut self, member: Member) {
        if let Some(name) = member.name {
            self.names.insert(member.id, name);
        }
    }
}

/// Writes `join`.
fn join(room: &str, name: &str) -> String {
    format!(r#"{{"action":"join","roomId":{},"name":{}}}"#, quoted(room), quoted(name))
}

/// Writes `leave`.
fn leave(room: &str) -> String {
    format!(r#"{{"action":"leave","roomId":{}}}"#, quoted(room))
}

/// Writes `signal` to one peer; the payload stands in it byte for byte.
fn signal(room: &str, to: &str, kind: SignalKind, payload: &str) -> String {
    let (room, to, kind) = (quoted(room), quoted(to), word(kind));
    format!(r#"{{"action":"signal","roomId":{room},"type":"{kind}","data":{payload},"to":{to}}}"#)
}

/// Reads what the server sends. `own_room` is the room that most messages are of: its name is shared, not copied.
fn read(text: &str, own_room: &Arc<str>) -> Message {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire<'a> {
        #[serde(borrow)]
        action: Cow<'a, str>,
        #[serde(borrow)]
        room_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        client_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        peers: Option<Vec<WireMember<'a>>>,
        #[serde(borrow)]
        peer: Option<WireMember<'a>>,
        #[serde(borrow)]
        from: Option<Cow<'a, str>>,
        #[serde(borrow)]
        r#type: Option<Cow<'a, str>>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow)]
        message: Option<Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct WireMember<'a> {
        #[serde(borrow)]
        client_id: Cow<'a, str>,
        #[serde(borrow)]
        name: Option<Cow<'a, str>>,
    }
    let member = |wire: WireMember<'_>| Member { id: wire.client_id.into(), name: wire.name.map(Arc::from) };
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(text) else { return Message::Unknown };
    let room = || {
        let room = wire.room_id.as_deref()?;
        Some(if room == &**own_room { own_room.clone() } else { room.into() })
    };
    let read = match &*wire.action {
        "joined" => room().zip(wire.client_id.clone()).map(|(room, id)| Message::Joined {
            room,
            id: id.into(),
            roster: wire.peers.into_iter().flatten().map(member).collect(),
        }),
        "peer-joined" => room().zip(wire.peer).map(|(room, peer)| Message::PeerJoined { room, member: member(peer) }),
        "peer-left" => room().zip(wire.client_id.clone()).map(|(room, id)| Message::PeerLeft { room, id: id.into() }),
        "signal" => room().zip(wire.r#type.as_deref().and_then(kind)).map(|(room, kind)| Message::Signal {
            room,
            peer: wire.from.clone().map(Arc::from),
            kind,
            payload: wire.data.map_or("", RawValue::get).into(),
        }),
        "error" => wire.message.clone().map(|text| Message::Error { text: text.into() }),
        _ => None,
    };
    read.unwrap_or(Message::Unknown)
}

fn word(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Offer => "offer",
        SignalKind::Answer => "answer",
        SignalKind::IceCandidate => "ice-candidate",
        SignalKind::Hangup => "hangup",
    }
}

fn kind(word: &str) -> Option<SignalKind> {
    [SignalKind::Offer, SignalKind::Answer, SignalKind::IceCandidate, SignalKind::Hangup]
        .into_iter()
        .find(|kind| self::word(*kind) == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_kept_byte_for_byte() {
        let text = r#"{"action":"signal","roomId":"r","from":"a","type":"offer","data":{"z":1,"a":1.0,"n":12345678901234567890123}}"#;
        let Message::Signal { payload, .. } = read(text, &"r".into()) else { panic!("not a signal") };
        assert_eq!(&*payload, r#"{"z":1,"a":1.0,"n":12345678901234567890123}"#);
        assert!(signal("r", "b", SignalKind::Offer, &payload).contains(&*payload));
    }

    #[test]
    fn what_is_not_of_the_dialect_is_unknown() {
        for text in ["", "null", "[]", "{}", r#"{"action":"zzz"}"#, r#"{"action":"joined"}"#, r#"{"action":1}"#] {
            assert_eq!(read(text, &"r".into()), Message::Unknown, "{text}");
        }
    }
}
