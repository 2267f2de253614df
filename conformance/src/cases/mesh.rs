//! How signals are delivered.

use super::DELIVERY;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{BINARY, Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, Sender};
use crate::dialect::{Event, Feature, Id, Kind};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new("mesh/delivery", Declared, "A signal from one member reaches the other.", run!(delivery))
        .needs(&["room/join-ack"]),
    &Case::new(
        "mesh/one-offerer",
        Declared,
        "Of two members, exactly one is notified that the other joined, and the other finds it in the roster: so exactly one of them offers.",
        run!(one_offerer),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Offers, Feature::JoinNotice, Feature::Roster, Feature::Crowd]),
    &Case::new(
        "mesh/broadcast-minus-self",
        Declared,
        "A signal without a receiver reaches every other member of the room exactly once, and not its sender.",
        run!(broadcast_minus_self),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Broadcast, Feature::Crowd]),
    &Case::new(
        "mesh/unicast",
        Declared,
        "A signal with a receiver reaches that member only, exactly once.",
        run!(unicast),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Targeted, Feature::Ids, Feature::Crowd]),
    &Case::new("mesh/kinds", Declared, "A signal of each type arrives with the type it was sent with.", run!(kinds)).needs(DELIVERY),
    &Case::new("mesh/fifo", Declared, "Signals from one sender to one receiver keep their order.", run!(fifo))
        .needs(DELIVERY),
    &Case::new(
        "mesh/early-candidate",
        Declared,
        "A candidate that is sent before any offer is delivered, and before the offer.",
        run!(early_candidate),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Candidates]),
];

async fn delivery(cx: &mut Cx) -> Result<(), Stop> {
    // Where members signal to each other to settle, a signal that arrives in a wrong frame is found there.
    let members = cx.members(&cx.room(), ["ana", "ben"]).await;
    let [ana, mut ben] = members.map_err(|stop| match stop {
        Stop::Setup(why) if why.contains(BINARY) => Stop::fail(why),
        other => other,
    })?;
    let word = cx.word("hello");
    ana.send_word(&ben, &word);
    let received = ben.until("ana's signal", |event| event.has_word(&word)).await?;
    let event = &received.event;
    let wrong = |field: &str, want: &dyn std::fmt::Display| {
        Err(Stop::at(
            format!("ben received ana's signal, but its {field} is not {want:?}", want = want.to_string()),
            received.line,
        ))
    };
    if event.room.as_ref().is_some_and(|room| *room != ana.room) {
        return wrong("room", &ana.room);
    }
    if cx.file().signals.sender != Sender::Absent && event.from.as_ref() != Some(&ana.id) {
        return wrong("sender", &ana.id);
    }
    if event.kind != Some(ana.plain_kind()) {
        return wrong("type", &ana.plain_kind());
    }
    Ok(())
}

async fn one_offerer(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let mut peers = Vec::new();
    for name in ["ana", "ben", "cleo", "dora"] {
        peers.push(cx.connect(name, &room).await?);
    }
    // All join at once. The server decides who comes first in each pair, and both must receive the same order.
    let joins = peers.iter_mut().map(|peer| peer.join(&room, None));
    let rosters = futures_util::future::join_all(joins).await;
    let rosters: Vec<_> = rosters.into_iter().collect::<Result<_, _>>().map_err(Stop::into_setup)?;
    let listed: Vec<Vec<Id>> =
        rosters.into_iter().map(|roster| roster.into_iter().map(|member| member.id).collect()).collect();
    for from in 0..peers.len() {
        let word = cx.word("sentinel");
        let ids: Vec<Id> = peers.iter().map(|peer| peer.id.clone()).collect();
        for (to, id) in ids.iter().enumerate().filter(|(to, _)| *to != from) {
            peers[from].send_word_to(id, &word);
            let what = format!("{}'s sentinel, a plain signal", peers[from].name);
            peers[to].until(&what, |event| event.has_word(&word)).await?;
        }
    }
    for (index, a) in peers.iter().enumerate() {
        for (other, b) in peers.iter().enumerate().skip(index + 1) {
            let notices = |a: &Peer, b: &Peer| a.count(|event| event.is_joined(&b.who()));
            let (a_notices, b_notices) = (notices(a, b), notices(b, a));
            if a_notices + b_notices != 1 {
                return Err(Stop::fail(format!(
                    "{} and {}: expected one join notice between them, received {a_notices} and {b_notices}",
                    a.name, b.name
                )));
            }
            let (newcomer, existing, list) =
                if a_notices == 1 { (b, a, &listed[other]) } else { (a, b, &listed[index]) };
            if !list.contains(&existing.id) {
                return Err(Stop::fail(format!(
                    "{} joined after {}, but its roster does not list {1}",
                    newcomer.name, existing.name
                )));
            }
        }
    }
    Ok(())
}

async fn broadcast_minus_self(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    let (plain, null) = (cx.word("plain"), cx.word("to-null"));
    ana.broadcast_word(&plain);
    // Where the dialect does not say so, a receiver of null is not the same as none.
    let with_null = cx.file().signals.null_is_everyone;
    if with_null {
        ana.signal(ana.plain_kind(), &quoted(&null), Some(&Id("null".to_owned())))?;
    }
    for member in [&mut ben, &mut cleo] {
        member.until("ana's signal without a receiver", |event| event.has_word(&plain)).await?;
        if with_null {
            member.until("ana's signal to null, which is for everyone", |event| event.has_word(&null)).await?;
        }
    }
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut ben, &mut [&mut ana, &mut cleo]).await?;
    for member in [&ben, &cleo] {
        member.received_once("ana's signal", |event| event.has_word(&plain))?;
        if with_null {
            member.received_once("ana's signal to null", |event| event.has_word(&null))?;
        }
    }
    let own = |event: &Event| event.has_word(&plain) || event.has_word(&null);
    if cx.file().signals.echo {
        cx.quality("a sender receives its own signals: every client must distinguish them from the signals of others");
        return Ok(());
    }
    ana.never_received("received her own signal", own)
}

async fn unicast(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    let word = cx.word("for-cleo");
    ana.send_word(&cleo, &word);
    cleo.until("ana's signal to her", |event| event.has_word(&word)).await?;
    let nobody = cx.word("for-nobody");
    ana.send_word_to(&Id::of(&cx.word("nobody-here")), &nobody);
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut ben, &mut [&mut ana, &mut cleo]).await?;
    cleo.received_once("ana's signal to her", |event| event.has_word(&word))?;
    if cx.file().signals.addressing == Addressing::FilteredByReceiver {
        if ben.count(|event| event.has_word(&word)) > 0 {
            cx.quality(
                "a signal for one member reaches the whole room: candidates reveal the sender's addresses to everybody",
            );
        }
        return Ok(());
    }
    ben.never_received("received a signal that was for cleo only", |event| event.has_word(&word))?;
    ana.never_received("received her own signal to cleo", |event| event.has_word(&word))?;
    for member in [&ana, &ben, &cleo] {
        member.never_received("received a signal to a client that does not exist", |event| event.has_word(&nobody))?;
    }
    let errors = ana.count(Event::is_error);
    cx.reaction("a signal to a client that does not exist", cx.file().declares.absent_target, errors > 0, None);
    Ok(())
}

async fn kinds(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    for kind in Kind::ALL {
        if cx.env.dialect.signal_operation(kind).is_none() {
            continue;
        }
        // The dialect may fix who offers; then it is ana. Candidates go either way.
        let backwards: &[bool] = match kind {
            Kind::Answer => &[true],
            Kind::Candidate => &[false, true],
            Kind::Offer | Kind::Hangup => &[false],
        };
        for backwards in backwards {
            let (from, to) = if *backwards { (&ben, &mut ana) } else { (&ana, &mut ben) };
            let target = (cx.file().signals.addressing != Addressing::Broadcast && !to.id.is_empty()).then_some(&to.id);
            let word = cx.word(&kind.to_string());
            from.signal(kind, &quoted(&word), target)?;
            let what = format!("{}'s {kind}", from.name);
            let received = to.until(&what, |event| event.has_word(&word)).await?;
            if let Some(other) = received.event.kind.filter(|other| *other != kind) {
                return Err(Stop::at(format!("{} received {what} as {other}", to.name), received.line));
            }
        }
    }
    Ok(())
}

async fn fifo(cx: &mut Cx) -> Result<(), Stop> {
    const SIGNALS: usize = 60;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let words: Vec<_> = (0..SIGNALS).map(|n| cx.word(&format!("number-{n}-of"))).collect();
    for (n, word) in words.iter().enumerate() {
        // Both ways to send must keep one common order.
        if n % 3 == 0 || !cx.has(Feature::Broadcast) { ana.send_word(&ben, word) } else { ana.broadcast_word(word) }
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    let mut expected = words.iter().enumerate();
    for received in &ben.received {
        let Some(number) = words.iter().position(|word| received.event.has_word(word)) else { continue };
        match expected.next() {
            Some((next, _)) if next == number => {}
            Some((next, _)) => {
                return Err(Stop::at(format!("ben received ana's signal {number}, expected {next}"), received.line));
            }
            None => return Err(Stop::at(format!("ben received ana's signal {number} twice"), received.line)),
        }
    }
    match expected.next() {
        None => Ok(()),
        Some((lost, _)) => Err(Stop::fail(format!("ben did not receive ana's signal {lost} of {SIGNALS}"))),
    }
}

async fn early_candidate(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let to = (cx.has(Feature::Targeted) && !ben.id.is_empty()).then(|| ben.id.clone());
    let script = [Kind::Candidate, Kind::Offer, Kind::Candidate].map(|kind| (kind, cx.word(&kind.to_string())));
    for (kind, word) in &script {
        ana.signal(*kind, &quoted(word), to.as_ref())?;
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    let mut due = script.iter();
    for received in &ben.received {
        let Some((kind, word)) = script.iter().find(|(_, word)| received.event.has_word(word)) else { continue };
        if due.next() != Some(&(*kind, word.clone())) {
            return Err(Stop::at(format!("ben received ana's {kind} out of order"), received.line));
        }
    }
    match due.next() {
        None => Ok(()),
        Some((kind, word)) => Err(Stop::fail(format!("ben did not receive ana's {kind} {word}"))),
    }
}
