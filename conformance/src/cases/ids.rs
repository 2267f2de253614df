//! The ids of clients: who gives them, and who may use them.

use super::DELIVERY;
use super::bystander::Bystanders;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, Duplicate, JoinAnswer, Sender};
use crate::dialect::{Act, Event, EventName, Feature, Id, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "sec/id-takeover",
        Declared,
        "A client cannot take the id of a connected client, or receive what is sent to it, unless the holder is notified.",
        run!(id_takeover),
    )
    .needs(DELIVERY)
    .requires(&[Feature::ChosenIds]),
    &Case::new(
        "sec/id-reuse",
        Declared,
        "An id is not assigned again while others may still use it for its first holder.",
        run!(id_reuse),
    )
    .needs(DELIVERY)
    .requires(&[Feature::GivenIds]),
    &Case::new(
        "sec/id-chosen",
        Declared,
        "Where the server assigns the ids, a client that writes one into its join gets its own all the same.",
        run!(id_chosen),
    )
    .needs(DELIVERY)
    .requires(&[Feature::GivenIds, Feature::JoinMessage]),
];

async fn id_takeover(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let mut values = ana.values().clone();
    values.insert("token".to_owned(), quoted(&cx.word("another-token")));
    let mut eve = Peer::connect_with(&cx.env, &cx.log, "eve", &room, None, values).await;
    if let Ok(eve) = &mut eve {
        // Who receives what is sent to the id shows whether eve was refused or replaced ana.
        let answered = eve.join(&room, None).await.is_ok();
        let for_ana = cx.word("for-ana-only");
        ben.send_word(&ana, &for_ana);
        let fence = cx.fence(&mut ben, &mut [&mut ana]).await;
        eve.catch_up();
        let takes_over = cx.file().declares.duplicate_id == Duplicate::TakesOver;
        match fence {
            Err(stop) if !takes_over && ana.end.is_none() => {
                return Err(stop.reworded(|why| format!("after eve requested ana's id, {why}")));
            }
            Err(_) if !takes_over => {
                return Err(ana.stop("after eve requested ana's id, ana's connection was closed".to_owned()));
            }
            Err(_) if ana.end.is_none() && ana.count(Event::is_error) == 0 => {
                return Err(Stop::fail("eve took over ana's id, and ana was neither notified nor disconnected"));
            }
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        // Where the server sends to everybody in the room, eve may receive the signal under another id.
        if matches!(cx.file().signals.addressing, Addressing::Targeted | Addressing::Both) {
            eve.never_received("requested ana's id and received a signal for ana", |event| event.has_word(&for_ana))?;
        }
        let admitted = answered && has_id_by_answer(cx, eve, &ana.id);
        if !takes_over && eve.end.is_none() && (admitted || acts_as(cx, eve, &ana.id, &mut ben).await?) {
            return Err(Stop::fail("eve requested ana's id and was admitted with it"));
        }
    }
    if !cx.uses_token() {
        return Ok(());
    }
    // With the same token, it may be ana herself who reconnects. Then her old connection must be closed or notified.
    let again = Peer::connect_with(&cx.env, &cx.log, "ana again", &room, None, ana.values().clone()).await;
    let Ok(mut again) = again else { return Ok(()) };
    let word = cx.word("for-ana");
    let mark = ana.received.len();
    let delivery = async {
        loop {
            ben.send_word(&ana, &word);
            tokio::time::sleep(cx.env.round_trip.max(std::time::Duration::from_millis(5))).await;
            again.catch_up();
            if again.count(|event| event.has_word(&word)) > 0 || again.end.is_some() {
                return;
            }
        }
    };
    let arrived = tokio::time::timeout(cx.env.net.patience / 2, delivery).await.is_ok();
    ana.catch_up();
    if arrived && again.end.is_none() && ana.end.is_none() && ana.received.len() == mark {
        return Err(Stop::fail(
            "a client with ana's token takes over her id silently: her connection stays open, and she is not notified that she receives nothing any more",
        ));
    }
    Ok(())
}

/// Whether the answer to eve's join is for eve alone and gives her this id. A roster, a pong or no answer says nothing:
/// the roster contains the id anyway, because its holder is connected.
fn has_id_by_answer(cx: &Cx, eve: &Peer, id: &Id) -> bool {
    let joined = eve.received.iter().rev().find(|received| received.event.is(EventName::Joined));
    let other = joined.and_then(|joined| joined.event.id.as_ref()).is_some_and(|given| given != id);
    cx.file().join.answer == JoinAnswer::Joined && !other
}

/// Whether what eve sends reaches others under this id. Ben is in the room, and in a call with the id's holder if the
/// dialect needs calls.
async fn acts_as(cx: &Cx, eve: &mut Peer, id: &Id, ben: &mut Peer) -> Result<bool, Stop> {
    let word = cx.word("as-ana");
    eve.send_word(ben, &word);
    let mut called = None;
    if cx.has(Feature::Calls) {
        let cleo = cx.join("cleo", &cx.room()).await?;
        eve.act(Operation::Call, &Act { to: Some(&cleo.id), ..Act::default() })?;
        called = Some(cleo);
    }
    // A server that refused eve need not answer, so there is nothing to wait for but the evidence.
    eve.ended_soon().await;
    let by_id = |event: &Event| event.from.as_ref() == Some(id);
    ben.catch_up();
    let signals = ben.count(|event| event.has_word(&word) && by_id(event));
    let rings = called.as_mut().map_or(0, |cleo| {
        cleo.catch_up();
        cleo.count(|event| event.is(EventName::Ringing) && by_id(event))
    });
    Ok(signals + rings > 0)
}

async fn id_reuse(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let mut ids: Vec<Id> = Vec::new();
    for number in 0..24 {
        let peer = cx.join(&format!("p{number}"), &room).await?;
        if ids.contains(&peer.id) {
            return Err(Stop::fail(format!("the id {} was assigned again, moments after its holder left", peer.id)));
        }
        ids.push(peer.id.clone());
        peer.close().await;
    }
    Ok(())
}

/// The keys under which a client may try to choose its id: those of the dialect, and common ones.
fn id_keys(cx: &Cx) -> Vec<String> {
    let mut keys = Vec::new();
    let patterns = cx.env.dialect.patterns().iter();
    for pattern in patterns.filter(|pattern| matches!(pattern.event, EventName::Joined | EventName::Greeting)) {
        pattern.shape.keys_of("id", &mut keys);
    }
    keys.extend(["id", "clientId", "peerId", "userId", "from"].map(str::to_owned));
    keys.sort();
    keys.dedup();
    keys
}

/// An id that nobody has, of the same form as this one if that is possible.
fn like(id: &Id, instead: &str) -> Id {
    match serde_json::from_str(&id.0) {
        Ok(serde_json::Value::String(text)) => {
            let reversed: String = text.chars().rev().collect();
            Id::of(if reversed == text { instead } else { &reversed })
        }
        Ok(serde_json::Value::Number(number)) => {
            let other = number.as_i64().map_or(1_000_003, |number| number.saturating_add(1_000_003));
            Id(other.to_string())
        }
        _ => Id::of(instead),
    }
}

async fn id_chosen(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let (keys, free) = (id_keys(cx), like(&ana.id, &cx.word("chosen")));
    for (whose, wanted) in [("an id that nobody has", &free), ("ana's id", &ana.id.clone())] {
        // A third client has no place in a room of two.
        let hers = if cx.has(Feature::Crowd) { room.clone() } else { cx.room() };
        let role = cx.answers();
        let mut eve = cx.connect_as("eve", &hers, role.as_deref()).await?;
        let extra: Vec<_> = keys.iter().map(|key| (key.as_str(), wanted.0.clone())).collect();
        let join = Act { room: &hers, extra: &extra, ..Act::default() };
        eve.act(Operation::Join, &join)?;
        if eve.joined(&hers).await.is_err() {
            cx.acceptable(format!("a join that contains {whose} is refused"));
            continue;
        }
        if eve.id == *wanted {
            return Err(Stop::fail(format!("eve wrote {whose} into her join and got it: {wanted}")));
        }
        let own = eve.id.clone();
        // A second join is another occasion to believe her.
        eve.act(Operation::Join, &join)?;
        if eve.joined(&hers).await.is_ok() && eve.id != own {
            let id = &eve.id;
            return Err(Stop::fail(format!("eve joined again with {whose} and got another id: {own} became {id}")));
        }
        let word = cx.word("for-ana-only");
        ben.send_word(&ana, &word);
        if cx.has(Feature::Crowd) {
            cx.settle(&mut ben, &mut eve).await.map_err(Stop::into_setup)?;
            let hers = cx.word("from-eve");
            eve.send_word(&ben, &hers);
            let received = ben.until("eve's signal", |event| event.has_word(&hers)).await?;
            let from = received.event.from.as_ref().filter(|from| **from != eve.id);
            if let Some(from) = from.filter(|_| cx.file().signals.sender == Sender::Stamped) {
                let why = format!("ben received eve's signal with the sender {from}, expected {}", eve.id);
                return Err(Stop::at(why, received.line));
            }
            cx.fence(&mut ben, &mut [&mut ana, &mut eve]).await?;
        }
        cx.fence(&mut ben, &mut [&mut ana]).await?;
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        eve.catch_up();
        ana.received_once("ben's signal to her", |event| event.has_word(&word))?;
        if cx.env.dialect.delivers_by_id() || !cx.has(Feature::Crowd) {
            eve.never_received("received a signal for ana", |event| event.has_word(&word))?;
        }
        eve.close().await;
    }
    bystanders.received_nothing(cx).await
}
