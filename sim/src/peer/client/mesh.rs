//! The `mesh` dialect on a client's side: JSON objects with an `action`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Member, Message, SignalKind};

/// The path of the endpoint.
pub(crate) const PATH: &str = "/";

/// Writes `join`.
pub(crate) fn join(room: &str, name: &str) -> String {
    format!(r#"{{"action":"join","roomId":{},"name":{}}}"#, quoted(room), quoted(name))
}

/// Writes `leave`.
pub(crate) fn leave(room: &str) -> String {
    format!(r#"{{"action":"leave","roomId":{}}}"#, quoted(room))
}

/// Writes `signal` to one peer; the payload stands in it byte for byte.
pub(crate) fn signal(room: &str, to: &str, kind: SignalKind, payload: &str) -> String {
    let (room, to, kind) = (quoted(room), quoted(to), word(kind));
    format!(r#"{{"action":"signal","roomId":{room},"type":"{kind}","data":{payload},"to":{to}}}"#)
}

/// Reads what the server sends. `own_room` is the room that most messages are of: its name is shared, not copied.
pub(crate) fn read(text: &str, own_room: &Arc<str>) -> Message {
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

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("every string has a JSON form")
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
