//! Messages that are not JSON, not of the dialect, or out of place.

use std::sync::Arc;

use bytes::Bytes;

use super::good;
use super::no_effect::{Bad, has_no_effect, has_no_effect_unless_relayed, may_relay};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::cases::DELIVERY;
use crate::cases::mesh::receiver;
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, Framing, Reaction, Situation, WrongCase};
use crate::dialect::{Act, Event, Feature, Kind};
use crate::framing::link::Command;
use crate::framing::websocket::frame;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "msg/not-json",
        Declared,
        "A text that is not JSON has no effect; its sender can still send, and nobody else is affected.",
        run!(not_json),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/null",
        Declared,
        "JSON that is not a message has no effect; its sender can still send, and nobody else is affected.",
        run!(null),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/deep-nest",
        Declared,
        "JSON nested 20,000 levels deep does no harm; its sender can still send, and nobody else is affected.",
        run!(deep_nest),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/unknown-type",
        Declared,
        "A message of an unknown type has no effect; its sender can still send, and nobody else is affected.",
        run!(unknown_type),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/missing-field",
        Declared,
        "A message that lacks a field has no effect; its sender can still send, and nobody else is affected.",
        run!(missing_field),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/wrong-type",
        Declared,
        "A field of the wrong JSON type has no effect; its sender can still send, and nobody else is affected.",
        run!(wrong_type),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/not-joined",
        Declared,
        "A signal of a client that has not joined reaches nobody; it is refused with the error that the dialect promises, and the client can still join.",
        run!(not_joined),
    )
    .needs(DELIVERY)
    .requires(&[Feature::JoinMessage, Feature::JoinAnswer]),
    &Case::new(
        "msg/binary",
        Declared,
        "A frame of the other kind, binary where text is expected, has no effect; its sender can still send, and nobody else is affected.",
        run!(binary),
    )
    .needs(DELIVERY)
    .requires(&[Feature::RawFrames])
    .alone(),
];

fn texts<const N: usize>(bad: [(&str, String); N]) -> Vec<Bad> {
    bad.into_iter().map(|(what, text)| Bad::new(what, Command::Text(text))).collect()
}

async fn not_json(cx: &mut Cx) -> Result<(), Stop> {
    let bad = |ana: &Peer, ben: &Peer| {
        let good = good(cx, ana, ben)?;
        Ok(texts([
            ("an empty text", String::new()),
            ("a word", "hello".to_owned()),
            ("an open brace", "{".to_owned()),
            ("a truncated signal", good[..good.len() - 1].to_owned()),
            ("a signal followed by more text", format!("{good} x")),
            ("two signals in one", format!("{good}{good}")),
            ("single quotes", good.replace('"', "'")),
        ]))
    };
    has_no_effect(cx, &bad, Situation::NotJson).await
}

async fn null(cx: &mut Cx) -> Result<(), Stop> {
    let bad = |ana: &Peer, ben: &Peer| {
        Ok(texts([
            ("null", "null".to_owned()),
            ("true", "true".to_owned()),
            ("a number", "5".to_owned()),
            ("a string", r#""signal""#.to_owned()),
            ("an empty list", "[]".to_owned()),
            ("a signal in a list", format!("[{}]", good(cx, ana, ben)?)),
        ]))
    };
    has_no_effect(cx, &bad, Situation::Null).await
}

async fn deep_nest(cx: &mut Cx) -> Result<(), Stop> {
    let bad = |_: &Peer, _: &Peer| {
        Ok(texts([
            ("a list nested 20,000 deep", format!("{}{}", "[".repeat(20_000), "]".repeat(20_000))),
            ("an object nested 20,000 deep", format!("{}1{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000))),
        ]))
    };
    // No key is about nesting: a server that may pass on what is not a message may pass on this too.
    let declares = &cx.file().declares;
    let may_relay = may_relay(cx, &[declares.not_json, declares.null]);
    has_no_effect_unless_relayed(cx, &bad, None, may_relay).await
}

/// The wrong messages that the dialect gives for a case, and those derived from its signals.
async fn wrong(cx: &Cx, case: WrongCase, situation: Situation) -> Result<(), Stop> {
    let dialect = Arc::clone(&cx.env.dialect);
    let bad = |ana: &Peer, ben: &Peer| {
        let to = (cx.file().signals.addressing == Addressing::Targeted).then_some(&ben.id);
        let (room, kind) = (&ana.room, Some(ana.plain_kind()));
        let act = Act { room, to, data: Some("1"), kind, role: ana.role.as_deref(), ..Act::default() };
        let wrong = dialect.wrong.iter().filter(|wrong| wrong.case == case && !wrong.joining);
        let wrong = wrong.map(|wrong| {
            let text = dialect.render_shape(&wrong.shape, &act, &ana.values_for(&act))?;
            Ok(Bad { what: wrong.what.clone(), order: Command::Text(text), reason: wrong.reason.clone() })
        });
        wrong.collect()
    };
    has_no_effect(cx, &bad, situation).await
}

async fn unknown_type(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::UnknownType, Situation::UnknownType).await
}

async fn missing_field(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::MissingField, Situation::MissingField).await
}

async fn wrong_type(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::WrongType, Situation::WrongType).await
}

async fn not_joined(cx: &mut Cx) -> Result<(), Stop> {
    let declares = &cx.file().declares;
    if !declares.binds(Situation::NotAMember) || declares.reaction(Situation::NotAMember) != Reaction::Error {
        let why = "the dialect does not promise an error for the signals of a client that has not joined";
        return Err(Stop::Unsupported(why.to_owned()));
    }
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    // Her own room has no members, so that every role in it is free.
    let elsewhere = cx.room();
    let offers = cx.file().roles.as_ref().map(|roles| roles.offers.clone());
    let mut eve = cx.connect_as("eve", &elsewhere, offers.as_deref()).await?;
    let word = cx.word("not-joined");
    for kind in Kind::ALL.into_iter().filter(|kind| cx.env.dialect.signal_operation(*kind).is_some()) {
        let what = format!("the {kind} of a client that has not joined");
        eve.send(eve.signal_message(kind, &quoted(&word), receiver(cx, &ben), &room)?);
        let mark = eve.received.len();
        eve.until(&format!("an error for {what}"), Event::is_error).await?;
        eve.errors_give(mark, &what, cx.file().refusals.of(Situation::NotAMember))?;
    }
    let errors = eve.count(Event::is_error);
    eve.join(&elsewhere, None).await?;
    if eve.count(Event::is_error) != errors {
        return Err(Stop::fail("eve received more errors than she sent signals before she joined"));
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        member.never_received("received a signal of a client that has not joined", |event| event.has_word(&word))?;
        member.never_received("received an error for a signal of a client that has not joined", Event::is_error)?;
    }
    Ok(())
}

async fn binary(cx: &mut Cx) -> Result<(), Stop> {
    let binary = cx.file().connection.framing == Framing::WebSocketBinary;
    let bad = |ana: &Peer, ben: &Peer| {
        let signal = good(cx, ana, ben)?;
        if binary {
            let order = Command::Raw(frame(0x81, signal.as_bytes()), "a text frame");
            return Ok(vec![Bad::new("a signal in a text frame", order)]);
        }
        let signal = Bad::new("a signal in a binary frame", Command::Binary(signal.into()));
        if cx.file().declares.binary == Reaction::Obeyed {
            return Ok(vec![signal]);
        }
        Ok(vec![
            signal,
            Bad::new("bytes in a binary frame", Command::Binary(Bytes::from_static(&[0, 0xff, 0xfe]))),
            Bad::new("an empty binary frame", Command::Binary(Bytes::new())),
        ])
    };
    has_no_effect(cx, &bad, Situation::Binary).await
}
