//! Broadcasts: what comes back to the sender, and what a latecomer gets.

use super::DELIVERY;
use super::sio::connected;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, Received, quoted};
use crate::cx::Cx;
use crate::dialect::{Event, Feature, Kind};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "bcast/echo-as-declared",
        Declared,
        "A sender receives its own signal exactly once if the dialect declares it, and never otherwise.",
        run!(echo_as_declared),
    )
    .needs(DELIVERY),
    &Case::new(
        "bcast/late-listener",
        Declared,
        "A client that connects later receives nothing sent before, and everything sent after.",
        run!(late_listener),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Broadcast, Feature::Crowd]),
    &Case::new(
        "bcast/everyone",
        Declared,
        "A signal of each kind reaches everybody who is connected exactly once and as that kind, also after others have come and gone.",
        run!(everyone),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Broadcast, Feature::Crowd]),
    &Case::new(
        "bcast/order",
        Declared,
        "Signals of different kinds from one sender arrive at everybody in the order in which they were sent.",
        run!(order),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Broadcast, Feature::Crowd]),
    &Case::new(
        "bcast/arguments",
        Declared,
        "All arguments of an event reach everybody, unchanged and in order.",
        run!(arguments),
    )
    .needs(DELIVERY)
    .requires(&[Feature::SocketIo, Feature::Broadcast, Feature::EventNames, Feature::Arguments]),
    &Case::new(
        "bcast/acknowledgement",
        Declared,
        "An event that requests an acknowledgement gets one without arguments, once, and nobody else gets it.",
        run!(acknowledgement),
    )
    .needs(DELIVERY)
    .requires(&[Feature::SocketIo, Feature::Broadcast, Feature::EventNames, Feature::Acknowledgements]),
];

/// The kinds of signals that the dialect has.
fn kinds(cx: &Cx) -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|kind| cx.env.dialect.signal_operation(*kind).is_some()).collect()
}

async fn echo_as_declared(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let word = cx.word("echo");
    ana.send_word(&ben, &word);
    ben.until("ana's signal", |event| event.has_word(&word)).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ben.received_once("ana's signal", |event| event.has_word(&word))?;
    if !cx.file().signals.echo {
        return ana.never_received("received her own signal", |event| event.has_word(&word));
    }
    ana.received_once("her own signal, which this dialect echoes", |event| event.has_word(&word))?;
    cx.quality("the server echoes every signal to its sender, which must distinguish it from the signals of others");
    Ok(())
}

async fn late_listener(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let (early, late) = (cx.word("early"), cx.word("late"));
    ana.broadcast_word(&early);
    ben.until("ana's signal", |event| event.has_word(&early)).await?;
    let mut cleo = cx.join("cleo", &room).await?;
    cx.settle(&mut ana, &mut cleo).await.map_err(Stop::into_setup)?;
    ana.broadcast_word(&late);
    cleo.until("the signal that ana sent after cleo joined", |event| event.has_word(&late)).await?;
    cx.fence(&mut ben, &mut [&mut cleo]).await?;
    cleo.never_received("received a signal that was sent before she joined", |event| event.has_word(&early))
}

async fn everyone(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    ben.close().await;
    // Others must not miss anything because somebody left, or because they came later.
    let mut dora = cx.join("dora", &room).await?;
    for member in [&mut ana, &mut cleo] {
        cx.settle(member, &mut dora).await.map_err(Stop::into_setup)?;
    }
    let echo = cx.file().signals.echo;
    for kind in kinds(cx) {
        for sender in 0..3 {
            let word = cx.word(&format!("{kind}-for-everyone"));
            let mut peers = [&mut ana, &mut cleo, &mut dora];
            peers[sender].signal(kind, &quoted(&word), None)?;
            let what = format!("{}'s {kind}", peers[sender].name);
            let has_word = |event: &Event| event.has_word(&word);
            for (index, peer) in peers.iter_mut().enumerate() {
                if echo || index != sender {
                    peer.until(&what, has_word).await?;
                }
            }
            let [first, second, third] = peers;
            cx.fence(first, &mut [&mut *second, &mut *third]).await?;
            cx.fence(second, &mut [&mut *first]).await?;
            for (index, peer) in [&*first, &*second, &*third].into_iter().enumerate() {
                if !echo && index == sender {
                    peer.never_received("received its own signal", has_word)?;
                    continue;
                }
                peer.received_once(&what, has_word)?;
                let other = |event: &Event| event.has_word(&word) && event.kind.is_some_and(|other| other != kind);
                peer.never_received(&format!("received {what} as another kind"), other)?;
            }
        }
    }
    Ok(())
}

async fn order(cx: &mut Cx) -> Result<(), Stop> {
    const SIGNALS: usize = 40;
    let room = cx.room();
    let [mut ana, mut ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    let kinds = kinds(cx);
    let words: Vec<_> = (0..SIGNALS).map(|number| cx.word(&format!("mixed-{number}-of"))).collect();
    for (number, word) in words.iter().enumerate() {
        // Now and then the same kind comes twice in a row.
        ana.signal(kinds[(number + number / 3) % kinds.len()], &quoted(word), None)?;
    }
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    if cx.file().signals.echo {
        let last = words.last().expect("there are signals");
        ana.until("the last of her own signals", |event| event.has_word(last)).await?;
        in_order(&ana, &words)?;
    }
    in_order(&ben, &words)?;
    in_order(&cleo, &words)
}

/// Checks that a client has received these words once each, in this order.
fn in_order(peer: &Peer, words: &[String]) -> Result<(), Stop> {
    let name = &peer.name;
    let mut due = words.iter().enumerate();
    for received in &peer.received {
        let Some(number) = words.iter().position(|word| received.event.has_word(word)) else { continue };
        match due.next() {
            Some((next, _)) if next == number => {}
            Some((next, _)) => {
                return Err(Stop::at(format!("{name} received ana's signal {number}, expected {next}"), received.line));
            }
            None => return Err(Stop::at(format!("{name} received ana's signal {number} twice"), received.line)),
        }
    }
    match due.next() {
        None => Ok(()),
        Some((lost, _)) => Err(Stop::fail(format!("{name} did not receive ana's signal {lost} of {}", words.len()))),
    }
}

async fn arguments(cx: &mut Cx) -> Result<(), Stop> {
    let mut ana = connected(cx, "ana").await?;
    let mut ben = connected(cx, "ben").await?;
    for name in cx.event_names() {
        let word = cx.word("arguments");
        let arguments = format!(r#"{{"a":"{word}"}},"two",3,null,[true,{{"b":[]}}]"#);
        ana.send(format!(r#"42["{name}",{arguments}]"#));
        let expected: Vec<serde_json::Value> =
            serde_json::from_str(&format!("[{arguments}]")).expect("the arguments are JSON");
        let echo = cx.file().signals.echo;
        for peer in [Some(&mut ben), echo.then_some(&mut ana)].into_iter().flatten() {
            let received = peer
                .until_received("ana's event with five arguments", |received| received.text.contains(&word))
                .await?;
            let items = received.text.strip_prefix("42").map(serde_json::from_str::<Vec<serde_json::Value>>);
            if items.and_then(Result::ok).is_none_or(|items| items.get(1..) != Some(&expected[..])) {
                let why = format!("{} received ana's event with other arguments than [{arguments}]", peer.name);
                return Err(Stop::at(why, received.line));
            }
        }
    }
    Ok(())
}

async fn acknowledgement(cx: &mut Cx) -> Result<(), Stop> {
    let mut ana = connected(cx, "ana").await?;
    let mut ben = connected(cx, "ben").await?;
    let acknowledges = |received: &Received| received.text.starts_with("43");
    let mut number = 16;
    for name in cx.event_names() {
        let words = [cx.word("acknowledged"), cx.word("acknowledged-next")];
        for word in &words {
            number += 1;
            ana.send(format!(r#"42{number}["{name}","{word}"]"#));
            // An acknowledgement that comes twice, or for the event without an id, arrives before the next one.
            let ack = ana.until_received("an acknowledgement without arguments", acknowledges).await?;
            if ack.text != format!("43{number}[]") {
                let why = format!("expected `43{number}[]` as the acknowledgement of event {number}");
                return Err(Stop::at(why, ack.line));
            }
            ana.send(format!(r#"42["{name}","after-{word}"]"#));
            let event = ben.until_received("ana's event", |received| received.text.contains(word)).await?;
            if !event.text.starts_with("42[") {
                let why = "ben received ana's event with an id, as if he were to acknowledge it";
                return Err(Stop::at(why, event.line));
            }
            let after = format!("after-{word}");
            ben.until_received("ana's next event", |received| received.text.contains(&after)).await?;
        }
    }
    match ben.received.iter().find(|received| acknowledges(received)) {
        Some(other) => Err(Stop::at("ben received the acknowledgement of ana's event", other.line)),
        None => Ok(()),
    }
}
