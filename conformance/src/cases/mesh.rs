//! How signals travel.

use super::DELIVERY;
use crate::case::Level::Declared;
use crate::case::{Case, Cx, Stop};
use crate::dialect::mesh::{self, Message};

pub(super) const CASES: &[&Case] = &[
    &Case::new("mesh/delivery", Declared, "A signal of a member reaches the other one.", |cx| Box::pin(delivery(cx)))
        .needs(&["room/join-ack"]),
    &Case::new(
        "mesh/broadcast-minus-self",
        Declared,
        "A signal without `to` reaches everyone in the room exactly once, except its sender.",
        |cx| Box::pin(broadcast_minus_self(cx)),
    )
    .needs(DELIVERY),
    &Case::new("mesh/unicast", Declared, "A signal with `to` reaches that member alone, exactly once.", |cx| {
        Box::pin(unicast(cx))
    })
    .needs(DELIVERY),
    &Case::new("mesh/fifo", Declared, "Signals from one sender to one receiver keep their order.", |cx| {
        Box::pin(fifo(cx))
    })
    .needs(DELIVERY),
    &Case::new(
        "mesh/early-candidate",
        Declared,
        "A candidate that is sent before any offer is delivered, and first.",
        |cx| Box::pin(early_candidate(cx)),
    )
    .needs(DELIVERY),
];

async fn delivery(cx: &mut Cx) -> Result<(), Stop> {
    let [ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let word = cx.word("hello");
    ana.say(&word);
    let heard = ben.until("ana's signal, sent to the room", |message| message.says(&word)).await?;
    match &heard.message {
        Message::Signal { room, from, kind, .. } => {
            let expected = [("roomId", room, &ana.room), ("from", from, &ana.id), ("type", kind, &"offer".to_owned())];
            match expected.into_iter().find(|(_, got, want)| got.as_ref() != Some(want)) {
                None => Ok(()),
                Some((field, _, want)) => {
                    Err(Stop::at(format!("ben hears ana's signal, and its `{field}` is not {want:?}"), heard.line))
                }
            }
        }
        _ => Ok(()),
    }
}

async fn broadcast_minus_self(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    let (plain, null) = (cx.word("plain"), cx.word("to-null"));
    ana.say(&plain);
    ana.send(format!(
        r#"{{"action":"signal","roomId":{},"type":"answer","to":null,"data":{}}}"#,
        mesh::quoted(&room),
        mesh::quoted(&null)
    ));
    for member in [&mut ben, &mut cleo] {
        member.until("ana's signal without `to`", |message| message.says(&plain)).await?;
        member.until("ana's signal with `to` null, which is for everyone", |message| message.says(&null)).await?;
    }
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut ben, &mut [&mut ana, &mut cleo]).await?;
    for member in [&ben, &cleo] {
        member.heard_once("ana's signal", |message| message.says(&plain))?;
        member.heard_once("ana's signal with `to` null", |message| message.says(&null))?;
    }
    ana.never_heard("heard her own signal", |message| message.says(&plain) || message.says(&null))
}

async fn unicast(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    let word = cx.word("for-cleo");
    ana.tell(&cleo, &word);
    cleo.until("ana's signal to her", |message| message.says(&word)).await?;
    let nobody = cx.word("for-nobody");
    ana.send(mesh::signal(&room, "offer", &mesh::quoted(&nobody), Some("nobody-here")));
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut ben, &mut [&mut ana, &mut cleo]).await?;
    cleo.heard_once("ana's signal to her", |message| message.says(&word))?;
    ben.never_heard("heard a signal that was for cleo alone", |message| message.says(&word))?;
    ana.never_heard("heard her own signal to cleo", |message| message.says(&word))?;
    for member in [&ana, &ben, &cleo] {
        member.never_heard("heard a signal to somebody who is not there", |message| message.says(&nobody))?;
    }
    if ana.count(|message| matches!(message, Message::Error)) == 0 {
        cx.remark("a signal to somebody who is not there is dropped without an error");
    }
    Ok(())
}

async fn fifo(cx: &mut Cx) -> Result<(), Stop> {
    const SIGNALS: usize = 60;
    let [mut ana, mut ben, mut cleo] = cx.members(&cx.room(), ["ana", "ben", "cleo"]).await?;
    let words: Vec<_> = (0..SIGNALS).map(|n| cx.word(&format!("number-{n}-of"))).collect();
    for (n, word) in words.iter().enumerate() {
        // Two ways to send, one order.
        if n % 3 == 0 { ana.tell(&ben, word) } else { ana.say(word) }
    }
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut cleo, &mut [&mut ben]).await?;
    let mut expected = words.iter().enumerate();
    for heard in &ben.heard {
        let Some(number) = words.iter().position(|word| heard.message.says(word)) else { continue };
        match expected.next() {
            Some((next, _)) if next == number => {}
            Some((next, _)) => {
                return Err(Stop::at(format!("ben heard ana's signal {number} where {next} is due"), heard.line));
            }
            None => return Err(Stop::at(format!("ben heard ana's signal {number} twice"), heard.line)),
        }
    }
    match expected.next() {
        None => Ok(()),
        Some((lost, _)) => Err(Stop::fail(format!("ben did not hear ana's signal {lost} of {SIGNALS}"))),
    }
}

async fn early_candidate(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let script = ["ice-candidate", "offer", "ice-candidate"].map(|kind| (kind, cx.word(kind)));
    for (kind, word) in &script {
        ana.send(mesh::signal(&room, kind, &mesh::quoted(word), Some(&ben.id)));
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    let mut due = script.iter();
    for heard in &ben.heard {
        let Some((kind, word)) = script.iter().find(|(_, word)| heard.message.says(word)) else { continue };
        if due.next() != Some(&(*kind, word.clone())) {
            return Err(Stop::at(format!("ben heard ana's {kind} out of turn"), heard.line));
        }
    }
    match due.next() {
        None => Ok(()),
        Some((kind, word)) => Err(Stop::fail(format!("ben did not hear ana's {kind} {word}"))),
    }
}
