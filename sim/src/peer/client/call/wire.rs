//! The messages of the `call` dialect: `{"type":T,"data":D}`, and flat, named session descriptions.

use std::borrow::Cow;
use std::sync::Arc;

use scenarios::MediaKind;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{CallStep, ClientId, Message, Refused, RoomName, SignalKind};
use crate::peer::client::wire::{quoted, signal as signal_of};

pub(super) fn join(name: &str) -> String {
    format!(r#"{{"type":"join","data":{{"username":{}}}}}"#, quoted(name))
}

pub(super) fn call(target: &str) -> String {
    format!(r#"{{"type":"call","data":{{"target":{}}}}}"#, quoted(target))
}

/// Encodes the response to a call; `caller_id` identifies the caller's connection.
pub(super) fn call_response(accepted: bool, caller: &str, caller_id: &str) -> String {
    let (caller, id) = (quoted(caller), quoted(caller_id));
    format!(r#"{{"type":"callResponse","data":{{"accepted":{accepted},"caller":{caller},"callerId":{id}}}}}"#)
}

pub(super) fn end_call(target: &str) -> String {
    format!(r#"{{"type":"endCall","data":{{"target":{}}}}}"#, quoted(target))
}

pub(super) fn media_state_change(target: &str, kind: MediaKind, enabled: bool) -> String {
    let (target, kind) = (quoted(target), kind.name());
    format!(r#"{{"type":"mediaStateChange","data":{{"target":{target},"mediaType":"{kind}","enabled":{enabled}}}}}"#)
}

/// Encodes a signal to the other side of a call. It contains the payload byte for byte.
pub(super) fn signal(kind: SignalKind, target: &str, payload: &str) -> String {
    let (kind, key) = match kind {
        SignalKind::Offer => ("offer", "offer"),
        SignalKind::Answer => ("answer", "answer"),
        SignalKind::IceCandidate | SignalKind::Hangup => ("iceCandidate", "candidate"),
    };
    format!(r#"{{"type":"{kind}","data":{{"target":{},"{key}":{payload}}}}}"#, quoted(target))
}

/// Encodes a named session description, which does not require a call.
pub(super) fn description(kind: SignalKind, name: &str, target: &str, payload: &str) -> String {
    let kind = if kind == SignalKind::Offer { "video-offer" } else { "video-answer" };
    format!(r#"{{"type":"{kind}","name":{},"target":{},"sdp":{payload}}}"#, quoted(name), quoted(target))
}

/// A decoded message from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The names of all users.
    List(Vec<ClientId>),
    /// A step of a call; `caller_id` is empty unless the step is [`CallStep::Ring`].
    Step { peer: ClientId, step: CallStep, caller_id: Arc<str> },
    /// A signal from the other side of a call; `is_video` is true for a named session description.
    Signal { message: Message, is_video: bool },
    /// An error, or a message that the dialect does not define.
    Other(Message),
}

/// Decodes a message from the server. `room` is a substitute: users have no rooms.
pub(super) fn read(text: &str, room: &RoomName) -> Incoming {
    read_known(text, room).unwrap_or(Incoming::Other(Message::Unknown))
}

fn read_known(text: &str, room: &RoomName) -> Option<Incoming> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow)]
        name: Option<Cow<'a, str>>,
        #[serde(borrow)]
        sdp: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        sdp: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        #[serde(borrow)]
        caller: Option<Cow<'a, str>>,
        #[serde(borrow)]
        caller_id: Option<Cow<'a, str>>,
        accepted: Option<bool>,
        #[serde(borrow)]
        target: Option<Cow<'a, str>>,
        #[serde(borrow)]
        reason: Option<Cow<'a, str>>,
        #[serde(borrow)]
        offer: Option<&'a RawValue>,
        #[serde(borrow)]
        answer: Option<&'a RawValue>,
        #[serde(borrow)]
        answerer: Option<Cow<'a, str>>,
        #[serde(borrow)]
        candidate: Option<&'a RawValue>,
        #[serde(borrow)]
        sender: Option<Cow<'a, str>>,
        #[serde(borrow)]
        media_type: Option<Cow<'a, str>>,
        enabled: Option<bool>,
        #[serde(borrow)]
        code: Option<Cow<'a, str>>,
    }
    let mut envelope: Envelope<'_> = serde_json::from_str(text).ok()?;
    if let (Some(data), "video-offer" | "video-answer") = (envelope.data, &*envelope.r#type) {
        // As a Socket.IO event, the message is not flat.
        let Named { name, sdp } = serde_json::from_str(data.get()).ok()?;
        (envelope.name, envelope.sdp) = (Some(name), sdp);
    }
    let signal = |from: Cow<'_, str>, kind, payload: Option<&RawValue>, is_video| Incoming::Signal {
        message: signal_of(room, Some(from.into()), kind, payload),
        is_video,
    };
    match &*envelope.r#type {
        "video-offer" => return Some(signal(envelope.name?, SignalKind::Offer, envelope.sdp, true)),
        "video-answer" => return Some(signal(envelope.name?, SignalKind::Answer, envelope.sdp, true)),
        "userList" => {
            let names: Vec<Cow<'_, str>> = serde_json::from_str(envelope.data?.get()).ok()?;
            return Some(Incoming::List(names.into_iter().map(ClientId::from).collect()));
        }
        _ => {}
    }
    let data: Data<'_> = serde_json::from_str(envelope.data?.get()).ok()?;
    let step = |peer: Cow<'_, str>, step| Incoming::Step { peer: peer.into(), step, caller_id: Arc::default() };
    Some(match &*envelope.r#type {
        "incomingCall" => {
            let (peer, caller_id) = (data.caller?.into(), data.caller_id.unwrap_or_default().into());
            Incoming::Step { peer, step: CallStep::Ring, caller_id }
        }
        "callAnswered" => step(
            data.target?,
            match (data.accepted?, data.reason.as_deref()) {
                (true, _) => CallStep::Accept,
                (false, Some("busy")) => CallStep::Busy,
                (false, _) => CallStep::Reject,
            },
        ),
        "callEnded" => step(data.caller?, CallStep::End),
        "mediaStateChange" => {
            let kind = [MediaKind::Video, MediaKind::Audio];
            let kind = kind.into_iter().find(|kind| data.media_type.as_deref() == Some(kind.name()))?;
            step(data.sender?, CallStep::Media { kind, enabled: data.enabled? })
        }
        "offer" => signal(data.caller?, SignalKind::Offer, data.offer, false),
        "answer" => signal(data.answerer?, SignalKind::Answer, data.answer, false),
        "iceCandidate" => signal(data.sender?, SignalKind::IceCandidate, data.candidate, false),
        "error" => Incoming::Other(error(&data.code?)),
        _ => return None,
    })
}

fn error(code: &str) -> Message {
    let text = code.into();
    match code {
        "username-taken" => Message::Refused { why: Refused::NameTaken, text },
        "user-not-found" => Message::Refused { why: Refused::NoSuchUser, text },
        _ => Message::Error { text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_read_by_its_meaning() {
        let step = |step, caller_id: &str| Incoming::Step { peer: "ana".into(), step, caller_id: caller_id.into() };
        let signal = |kind, is_video| {
            let (peer, payload) = (Some("ana".into()), r#"{"z":1,"a":1.0}"#.into());
            Incoming::Signal { message: Message::Signal { room: "users".into(), peer, kind, payload }, is_video }
        };
        let muted = CallStep::Media { kind: MediaKind::Audio, enabled: false };
        for (text, meant) in [
            (r#"{"type":"userList","data":["ana","ben"]}"#, Incoming::List(vec!["ana".into(), "ben".into()])),
            (r#"{"type":"incomingCall","data":{"caller":"ana","callerId":"x7"}}"#, step(CallStep::Ring, "x7")),
            (r#"{"type":"callAnswered","data":{"accepted":true,"target":"ana"}}"#, step(CallStep::Accept, "")),
            (r#"{"type":"callAnswered","data":{"accepted":false,"target":"ana"}}"#, step(CallStep::Reject, "")),
            (
                r#"{"type":"callAnswered","data":{"accepted":false,"target":"ana","reason":"busy"}}"#,
                step(CallStep::Busy, ""),
            ),
            (r#"{"type":"callEnded","data":{"caller":"ana"}}"#, step(CallStep::End, "")),
            (
                r#"{"type":"mediaStateChange","data":{"sender":"ana","mediaType":"audio","enabled":false}}"#,
                step(muted, ""),
            ),
            (r#"{"type":"offer","data":{"offer":{"z":1,"a":1.0},"caller":"ana"}}"#, signal(SignalKind::Offer, false)),
            (
                r#"{"type":"answer","data":{"answer":{"z":1,"a":1.0},"answerer":"ana"}}"#,
                signal(SignalKind::Answer, false),
            ),
            (
                r#"{"type":"iceCandidate","data":{"candidate":{"z":1,"a":1.0},"sender":"ana"}}"#,
                signal(SignalKind::IceCandidate, false),
            ),
            (
                r#"{"type":"video-offer","name":"ana","target":"ben","sdp":{"z":1,"a":1.0}}"#,
                signal(SignalKind::Offer, true),
            ),
            (
                r#"{"type":"video-answer","data":{"name":"ana","target":"ben","sdp":{"z":1,"a":1.0}}}"#,
                signal(SignalKind::Answer, true),
            ),
            (
                r#"{"type":"error","data":{"code":"busy","message":"…"}}"#,
                Incoming::Other(Message::Error { text: "busy".into() }),
            ),
            (
                r#"{"type":"error","data":{"code":"username-taken","message":"…"}}"#,
                Incoming::Other(Message::Refused { why: Refused::NameTaken, text: "username-taken".into() }),
            ),
            (
                r#"{"type":"error","data":{"code":"user-not-found","message":"…"}}"#,
                Incoming::Other(Message::Refused { why: Refused::NoSuchUser, text: "user-not-found".into() }),
            ),
        ] {
            assert_eq!(read(text, &"users".into()), meant, "{text}");
        }
        for text in
            ["", "null", "{}", r#"{"type":"offer"}"#, r#"{"type":"offer","data":{}}"#, r#"{"type":"zzz","data":{}}"#]
        {
            assert_eq!(read(text, &"users".into()), Incoming::Other(Message::Unknown), "{text}");
        }
    }

    #[test]
    fn what_is_sent_is_as_the_documents_write_it() {
        assert_eq!(join("a\"b"), r#"{"type":"join","data":{"username":"a\"b"}}"#);
        assert_eq!(
            call_response(true, "ana", "x7"),
            r#"{"type":"callResponse","data":{"accepted":true,"caller":"ana","callerId":"x7"}}"#
        );
        assert_eq!(
            signal(SignalKind::IceCandidate, "ben", "{}"),
            r#"{"type":"iceCandidate","data":{"target":"ben","candidate":{}}}"#
        );
        assert_eq!(
            description(SignalKind::Answer, "ana", "ben", "{}"),
            r#"{"type":"video-answer","name":"ana","target":"ben","sdp":{}}"#
        );
    }
}
