//! The `mesh` dialect: what its clients send, and what they make of what arrives.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A message from the server.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Joined {
        room: Option<String>,
        id: String,
        peers: Vec<Member>,
    },
    PeerJoined {
        room: Option<String>,
        peer: Member,
    },
    PeerLeft {
        room: Option<String>,
        id: String,
    },
    /// `data` is kept as it came, to the byte.
    Signal {
        room: Option<String>,
        from: Option<String>,
        kind: Option<String>,
        data: Option<String>,
    },
    Error,
    /// It has an action of the dialect and lacks something, named here.
    Broken(&'static str),
    /// Nothing that the dialect knows; clients skip such messages.
    Other,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
}

/// The fields of an object, unread.
struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    /// A string that is not empty.
    fn text(&self, name: &str) -> Option<String> {
        self.get::<String>(name).filter(|text| !text.is_empty())
    }

    fn member(&self) -> Option<Member> {
        Some(Member { id: self.text("clientId")?, name: self.get("name") })
    }
}

impl Message {
    pub(crate) fn read(text: &str) -> Self {
        let Some(fields) = Fields::read(text) else { return Self::Other };
        let room = fields.text("roomId");
        match fields.text("action").as_deref() {
            Some("joined") => {
                let Some(id) = fields.text("clientId") else { return Self::Broken("`joined` without a `clientId`") };
                let Some(peers) = fields.get::<Vec<Box<RawValue>>>("peers") else {
                    return Self::Broken("`joined` without a list of `peers`");
                };
                let peers = peers.iter().map(|peer| Fields::read(peer.get())?.member()).collect();
                let Some(peers) = peers else { return Self::Broken("`joined` with a peer that has no `clientId`") };
                Self::Joined { room, id, peers }
            }
            Some("peer-joined") => {
                let peer = fields.0.get("peer").and_then(|peer| Fields::read(peer.get())?.member());
                let Some(peer) = peer else {
                    return Self::Broken("`peer-joined` without a `peer` that has a `clientId`");
                };
                Self::PeerJoined { room, peer }
            }
            Some("peer-left") => {
                let Some(id) = fields.text("clientId") else { return Self::Broken("`peer-left` without a `clientId`") };
                Self::PeerLeft { room, id }
            }
            Some("signal") => Self::Signal {
                room,
                from: fields.text("from"),
                kind: fields.text("type"),
                data: fields.0.get("data").map(|data| data.get().to_owned()),
            },
            Some("error") => Self::Error,
            _ => Self::Other,
        }
    }

    /// Whether it is a signal whose data is this word.
    pub(crate) fn says(&self, word: &str) -> bool {
        matches!(self, Self::Signal { data: Some(data), .. }
            if serde_json::from_str::<String>(data).is_ok_and(|data| data == word))
    }

    /// Whether it tells that this client has left.
    pub(crate) fn is_left(&self, id: &str) -> bool {
        matches!(self, Self::PeerLeft { id: left, .. } if left == id)
    }

    /// Whether it tells that this client has joined.
    pub(crate) fn is_joined(&self, id: &str) -> bool {
        matches!(self, Self::PeerJoined { peer, .. } if peer.id == id)
    }

    /// Whether it is a signal, whoever sent it.
    pub(crate) fn is_signal(&self) -> bool {
        matches!(self, Self::Signal { .. })
    }
}

/// `join`.
pub(crate) fn join(room: &str, name: Option<&str>) -> String {
    let name = name.map(|name| format!(r#","name":{}"#, quoted(name))).unwrap_or_default();
    format!(r#"{{"action":"join","roomId":{}{name}}}"#, quoted(room))
}

/// `leave`.
pub(crate) fn leave(room: &str) -> String {
    format!(r#"{{"action":"leave","roomId":{}}}"#, quoted(room))
}

/// `signal`; `data` is JSON and goes out as it is.
pub(crate) fn signal(room: &str, kind: &str, data: &str, to: Option<&str>) -> String {
    let to = to.map(|to| format!(r#","to":{}"#, quoted(to))).unwrap_or_default();
    format!(r#"{{"action":"signal","roomId":{},"type":{}{to},"data":{data}}}"#, quoted(room), quoted(kind))
}

/// A string as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
