//! The client side of the `mesh` dialect: JSON objects with an `action`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{ClientId, Closed, Member, Message, PeerName, RoomName, SignalKind};
use crate::peer::client::cx::ClientCx;
use crate::peer::client::step::NoEffect;
use crate::peer::client::wire::quoted;
use crate::peer::client::{Command, Dialect, any};
use crate::peer::negotiation::OutgoingSignal;

/// A client in a room. The clients that are already there send an offer to each newcomer.
#[derive(Default)]
pub(super) struct Mesh {
    /// Its own id, while it is in the room.
    id: Option<ClientId>,
    /// The display names of the others, by id.
    names: BTreeMap<ClientId, Arc<str>>,
}

impl Dialect for Mesh {
    fn path(&self, _room: &str) -> String {
        "/".to_owned()
    }

    fn on_connected(&mut self, cx: &mut ClientCx) {
        let text = join(&cx.config.room, &cx.config.name);
        cx.send(text, Message::Join { room: cx.room() });
    }

    fn on_lost(&mut self, _is_over: bool, _cx: &mut ClientCx) {
        self.id = None;
    }

    fn on_text(&mut self, text: &str, cx: &mut ClientCx) {
        let message = read(text, &cx.config.room);
        cx.received(&message);
        match message {
            Message::Joined { id, roster, .. } => {
                self.id = Some(id);
                self.names.clear();
                roster.into_iter().for_each(|member| self.learn(member));
                // With a new id, the others treat this client as a new peer, so its earlier connections are over.
                cx.close_all(Closed::Replaced);
                cx.set_signaling(true);
            }
            Message::PeerJoined { member, .. } => {
                let id = member.id.clone();
                self.learn(member);
                cx.offer(&id.into());
            }
            Message::PeerLeft { id, .. } => {
                self.names.remove(&id);
                cx.end(&id.into(), Closed::PeerLeft);
            }
            Message::Signal { peer: Some(from), kind, payload, .. } => cx.on_signal(&from.into(), kind, &payload),
            _ => {}
        }
    }

    fn send_signal(&mut self, OutgoingSignal { to, kind, payload }: OutgoingSignal, cx: &mut ClientCx) {
        let text = signal(&cx.config.room, &to, kind, &payload);
        cx.send(text, Message::Signal { room: cx.room(), peer: to.id().cloned(), kind, payload });
    }

    fn known_as(&self, name: &str) -> Vec<PeerName> {
        self.names.iter().filter(|(_, known)| &***known == name).map(|(id, _)| id.clone().into()).collect()
    }

    fn on_command(&mut self, command: &Command, cx: &mut ClientCx) -> Result<(), NoEffect> {
        match command {
            Command::Hangup(name) => any(self.known_as(name), |id| cx.hangup(id)),
            Command::Offer(name) => any(self.known_as(name), |id| cx.renegotiate(id)),
            _ => Err("its role cannot do that"),
        }
    }

    fn leave(&mut self, cx: &mut ClientCx) {
        if self.id.take().is_some() {
            cx.send(leave(&cx.config.room), Message::Leave { room: cx.room() });
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

/// Encodes a `join` message.
fn join(room: &str, name: &str) -> String {
    format!(r#"{{"action":"join","roomId":{},"name":{}}}"#, quoted(room), quoted(name))
}

/// Encodes a `leave` message.
fn leave(room: &str) -> String {
    format!(r#"{{"action":"leave","roomId":{}}}"#, quoted(room))
}

/// Encodes a `signal` message to one peer. It contains the payload byte for byte.
fn signal(room: &str, to: &str, kind: SignalKind, payload: &str) -> String {
    let (room, to, kind) = (quoted(room), quoted(to), word(kind));
    format!(r#"{{"action":"signal","roomId":{room},"type":"{kind}","data":{payload},"to":{to}}}"#)
}

/// Decodes a message from the server. `own_room` is the room of most messages: its name is shared, not copied.
fn read(text: &str, own_room: &RoomName) -> Message {
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
            peer: wire.from.clone().map(ClientId::from),
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
