//! Offers and answers to a user without a call.

use super::names::joins_after;
use super::{DELIVERY, is_of_a_call, refused, settled, settled_in_call, users};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::quoted;
use crate::cx::Cx;
use crate::dialect::file::Payload;
use crate::dialect::{Act, Event, EventName, Feature, Kind, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "call/by-name",
        Declared,
        "An offer or an answer by name reaches the user that it names, once and unchanged, without a call and under its sender's own name, and nobody else.",
        run!(by_name),
    )
    .needs(DELIVERY)
    .requires(&[Feature::ByName]),
    &Case::new(
        "call/by-name-refused",
        Declared,
        "An offer or an answer by name is refused if its receiver does not exist or its sender has not joined.",
        run!(by_name_refused),
    )
    .needs(DELIVERY)
    .requires(&[Feature::ByName, Feature::JoinMessage, Feature::JoinAnswer, Feature::ChosenIds]),
];

const KINDS: [(Operation, Kind); 2] = [(Operation::OfferByName, Kind::Offer), (Operation::AnswerByName, Kind::Answer)];

async fn by_name(cx: &mut Cx) -> Result<(), Stop> {
    let [mut eve, mut ben, mut cleo, mut dora] = users(cx, ["eve", "ben", "cleo", "dora"]).await?;
    let exact = cx.file().signals.payload == Payload::Bytes;
    // A call of either side with others does not matter.
    for in_call in [false, true] {
        if in_call {
            ben.calls(&mut dora).await?;
        }
        for (operation, kind) in KINDS {
            let word = cx.word("by-name");
            let data =
                format!(r#"{{"type":"{kind}","sdp":"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n", "a" : ["{word}",1.0]}}"#);
            let (to, data) = (Some(&ben.id), Some(data.as_str()));
            let mut receiver = Vec::new();
            if let Some(shape) = cx.env.dialect.shape(operation) {
                shape.keys_of("to", &mut receiver);
            }
            let mut extra: Vec<_> = ["from", "name", "sender", "caller"].map(|key| (key, cleo.id.0.clone())).into();
            extra.retain(|(key, _)| receiver.iter().all(|receiver| receiver != key));
            eve.act(operation, &Act { to, data, extra: &extra, ..Act::default() })?;
            let has_word = |event: &Event| event.data.as_ref().is_some_and(|data| data.contains(&word));
            let what = format!("eve's {kind} by name");
            let received = ben.until(&what, |event| event.is(EventName::Description) && has_word(event)).await?;
            let event = &received.event;
            let wrong = |field: &str| Err(Stop::at(format!("ben received {what} with another {field}"), received.line));
            if event.kind != Some(kind) {
                return wrong("type");
            }
            if event.from.as_ref().is_some_and(|from| *from != eve.id) {
                return wrong("sender");
            }
            if event.to.as_ref().is_some_and(|to| *to != ben.id) {
                return wrong("receiver");
            }
            let parse = |text: Option<&str>| serde_json::from_str::<serde_json::Value>(text?).ok();
            if event.data.as_deref() != data && (exact || parse(event.data.as_deref()) != parse(data)) {
                return wrong("description");
            }
            settled(cx, &mut eve).await?;
            settled(cx, &mut cleo).await?;
            if in_call {
                settled_in_call(cx, &mut ben, &mut dora).await?;
            } else {
                settled(cx, &mut ben).await?;
                settled(cx, &mut dora).await?;
            }
            ben.received_once(&what, has_word)?;
            for other in [&eve, &cleo, &dora] {
                other.never_received("received an offer or an answer by name that was for ben", has_word)?;
            }
            eve.never_received("received an error for an offer or an answer by name", Event::is_error)?;
        }
    }
    Ok(())
}

async fn by_name_refused(cx: &mut Cx) -> Result<(), Stop> {
    let refusals = &cx.file().refusals;
    let [mut ana, mut ben] = users(cx, ["ana", "ben"]).await?;
    let nobody = cx.nobody("nobody");
    let data = quoted(&cx.word("refused"));
    for (operation, _) in KINDS {
        ana.act(operation, &Act { to: Some(&nobody), data: Some(&data), ..Act::default() })?;
    }
    settled(cx, &mut ana).await?;
    let absent = refusals.absent_target(&nobody.to_string());
    refused(&ana, 0, 2, "named a receiver that does not exist", absent.as_ref())?;
    let eve = cx.connect("eve", &cx.room()).await?;
    for (operation, _) in KINDS {
        eve.act(operation, &Act { to: Some(&ben.id), data: Some(&data), ..Act::default() })?;
    }
    let what = "sent an offer and an answer before she joined";
    let mut eve = joins_after(cx, eve, what, refusals.not_a_member.as_ref()).await?;
    settled(cx, &mut eve).await?;
    refused(&eve, 0, 2, what, refusals.not_a_member.as_ref())?;
    settled(cx, &mut ben).await?;
    ben.never_received("received an offer or an answer from a client that has not joined", is_of_a_call)
}
