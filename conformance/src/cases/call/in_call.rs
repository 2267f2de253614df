//! What passes in a call.

use super::{DELIVERY, act, are_free, is_of_a_call, of, refused, settled, settled_in_call, users};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, Received, quoted};
use crate::cx::Cx;
use crate::dialect::{Act, Event, EventName, Feature, Kind, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "call/needed",
        Declared,
        "If signals need a call, no signal is delivered without one.",
        run!(needed),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/outside",
        Declared,
        "If signals need a call, no offer, answer, candidate or media state reaches a user who is not in a call with its sender.",
        run!(outside),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/once",
        Declared,
        "In a call, each signal and each media state reaches the other side exactly once, and nobody else.",
        run!(once),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/order",
        Declared,
        "What one user sends in a call arrives in the order in which it was sent, and the end of the call last.",
        run!(order),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/stamped",
        Declared,
        "The server names the user that a notice is about, whatever the client wrote there.",
        run!(stamped),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::Sender]),
    &Case::new(
        "call/media-state",
        Declared,
        "A change of the audio or video state reaches the other side of the call unchanged, once, and nobody else.",
        run!(media_state),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::Media]),
];

async fn needed(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.file().calls.needed {
        return Err(Stop::Unsupported("the dialect allows signals without a call".to_owned()));
    }
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    let (before, after) = (cx.word("before-the-call"), cx.word("after-the-call"));
    let besides = cx.word("besides-the-call");
    ana.send_word(&ben, &before);
    // When the server handles ana's next message, it has handled this one.
    ana.calls(&mut ben).await?;
    ana.send_word(&cleo, &besides);
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    settled(cx, &mut cleo).await?;
    cleo.never_received("received a signal from a user who is in a call with another one", |event| {
        event.has_word(&besides)
    })?;
    act(&ana, Operation::End, &ben)?;
    ana.send_word(&ben, &after);
    ben.until("the notice that ana ended the call", |event| of(event, EventName::Ended, &ana.id)).await?;
    are_free(cx, &mut ana, &mut ben, "the call has ended").await?;
    ben.never_received("received a signal from a user with whom he is not in a call", |event| {
        event.has_word(&before) || event.has_word(&after)
    })
}

/// Everything that needs a call: a signal of each kind with this word, and a media state. Returns how many messages that
/// are.
fn sends_everything(cx: &Cx, from: &Peer, to: &Peer, word: &str) -> Result<usize, Stop> {
    let kinds = Kind::ALL.into_iter().filter(|kind| cx.env.dialect.signal_operation(*kind).is_some());
    let mut sent = 0;
    for kind in kinds {
        from.signal(kind, &quoted(word), Some(&to.id))?;
        sent += 1;
    }
    if cx.has(Feature::Media) {
        from.act(Operation::Media, &Act { to: Some(&to.id), media: Some(("audio", false)), ..Act::default() })?;
        sent += 1;
    }
    Ok(sent)
}

async fn outside(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.file().calls.needed {
        return Err(Stop::Unsupported("the dialect allows signals without a call".to_owned()));
    }
    let no_call = cx.file().refusals.no_call.as_ref();
    let [mut ana, mut ben, mut cleo, mut eve] = users(cx, ["ana", "ben", "cleo", "eve"]).await?;
    let word = cx.word("outside");
    let leaks = |event: &Event| event.has_word(&word) || event.is(EventName::Media);
    let many = sends_everything(cx, &ana, &ben, &word)?;
    settled(cx, &mut ana).await?;
    settled(cx, &mut ben).await?;
    ben.never_received("received a message of a call from a user with whom he is not in a call", leaks)?;
    refused(&ana, 0, many, "sent messages of a call without a call", no_call)?;
    ana.calls(&mut ben).await?;
    let mark = ana.received.len();
    sends_everything(cx, &ana, &cleo, &word)?;
    for target in [&ana, &ben] {
        sends_everything(cx, &eve, target, &word)?;
    }
    settled(cx, &mut eve).await?;
    settled_in_call(cx, &mut ana, &mut ben).await?;
    settled(cx, &mut cleo).await?;
    for user in [&ana, &ben, &cleo] {
        user.never_received("received a message of a call from a user with whom it is not in a call", leaks)?;
    }
    refused(&ana, mark, many, "sent messages of her call to a third user", no_call)?;
    refused(&eve, 0, 2 * many, "sent messages to users in a call with each other", no_call)?;
    act(&ana, Operation::End, &ben)?;
    ben.until("the notice that ana ended the call", |event| of(event, EventName::Ended, &ana.id)).await?;
    let marks = (ana.received.len(), ben.received.len());
    sends_everything(cx, &ana, &ben, &word)?;
    sends_everything(cx, &ben, &ana, &word)?;
    for (user, mark) in [(&mut ana, marks.0), (&mut ben, marks.1)] {
        settled(cx, user).await?;
        refused(user, mark, many, "sent messages of a call that has ended", no_call)?;
    }
    for user in [&mut ana, &mut ben] {
        settled(cx, user).await?;
        user.never_received("received a message of a call that has ended", leaks)?;
    }
    Ok(())
}

async fn once(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut cleo, mut dora, mut emil] = users(cx, ["ana", "ben", "cleo", "dora", "emil"]).await?;
    dora.calls(&mut emil).await?;
    ana.calls(&mut ben).await?;
    let words = [cx.word("from-ana"), cx.word("from-ben")];
    sends_everything(cx, &ana, &ben, &words[0])?;
    sends_everything(cx, &ben, &ana, &words[1])?;
    settled_in_call(cx, &mut ana, &mut ben).await?;
    settled_in_call(cx, &mut dora, &mut emil).await?;
    settled(cx, &mut cleo).await?;
    for (user, other, word) in [(&ana, &ben, &words[1]), (&ben, &ana, &words[0])] {
        for kind in Kind::ALL.into_iter().filter(|kind| cx.env.dialect.signal_operation(*kind).is_some()) {
            let what = format!("{}'s {kind}", other.name);
            let this = |event: &Event| event.has_word(word) && event.kind == Some(kind);
            user.received_once(&what, |event| this(event) && event.from.as_ref().is_none_or(|from| *from == other.id))?;
            user.received_once(&what, this)?;
        }
        if cx.has(Feature::Media) {
            user.received_once(&format!("{}'s media state", other.name), |event| event.is(EventName::Media))?;
        }
    }
    for (user, word) in [(&ana, &words[0]), (&ben, &words[1])] {
        user.never_received("received its own signal", |event| event.has_word(word))?;
    }
    let theirs = |event: &Event| event.is(EventName::Media) || words.iter().any(|word| event.has_word(word));
    for user in [&cleo, &dora, &emil] {
        user.never_received("received a message of a call between others", theirs)?;
    }
    Ok(())
}

async fn order(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = users(cx, ["ana", "ben"]).await?;
    ana.calls(&mut ben).await?;
    let (offer, answer, candidate) = (Kind::Offer, Kind::Answer, Kind::Candidate);
    let kinds = [candidate, offer, candidate, candidate, answer, candidate, offer, answer, candidate, candidate];
    let kinds = kinds.into_iter().filter(|kind| cx.env.dialect.signal_operation(*kind).is_some());
    let script: Vec<_> = kinds.map(|kind| (kind, cx.word(&kind.to_string()))).collect();
    let with_media = cx.has(Feature::Media);
    for (index, (kind, word)) in script.iter().enumerate() {
        ana.signal(*kind, &quoted(word), Some(&ben.id))?;
        if with_media {
            let media = Some((if index % 2 == 0 { "audio" } else { "video" }, index % 4 < 2));
            ana.act(Operation::Media, &Act { to: Some(&ben.id), media, ..Act::default() })?;
        }
    }
    act(&ana, Operation::End, &ben)?;
    let ended = ben.until("the notice that ana ended the call", |event| of(event, EventName::Ended, &ana.id)).await?;
    settled(cx, &mut ben).await?;
    let mut due = script.iter();
    let mut states = 0;
    for received in &ben.received {
        let event = &received.event;
        let known = script.iter().find(|(_, word)| event.has_word(word));
        let wrong = match known {
            Some((kind, word)) if due.next().is_none_or(|(_, next)| next != word) => Some(format!("ana's {kind}")),
            None if event.is(EventName::Media) => {
                let expected = (if states % 2 == 0 { "audio" } else { "video" }, states % 4 < 2);
                states += 1;
                // It comes after the signal that was sent before it, and before the next one.
                let right = event.media.as_deref() == Some(expected.0) && event.enabled == Some(expected.1);
                (!right || script.len() - due.len() != states).then(|| "ana's media state".to_owned())
            }
            Some(_) | None => None,
        };
        if let Some(what) = wrong {
            return Err(Stop::at(format!("ben received {what} out of order"), received.line));
        }
        if (known.is_some() || event.is(EventName::Media)) && received.line > ended.line {
            return Err(Stop::at("ben received a message of a call after the notice that it ended", received.line));
        }
    }
    if let Some((kind, word)) = due.next() {
        return Err(Stop::fail(format!("ben did not receive ana's {kind} {word}")));
    }
    if with_media && states != script.len() {
        return Err(Stop::fail(format!("ana sent {} media states, ben received {states}", script.len())));
    }
    Ok(())
}

async fn stamped(cx: &mut Cx) -> Result<(), Stop> {
    let [mut eve, mut ben, mut cleo] = users(cx, ["eve", "ben", "cleo"]).await?;
    let mut names = cx.sender_names();
    names.extend(["from", "sender", "answerer", "name", "username", "user"].map(str::to_owned));
    names.extend(["caller", "target"].map(str::to_owned));
    names.sort();
    names.dedup();
    // The key that names the receiver must name it.
    let claims = |operation: Operation| {
        let mut receiver = Vec::new();
        if let Some(shape) = cx.env.dialect.shape(operation) {
            shape.keys_of("to", &mut receiver);
        }
        let names = names.iter().filter(|name| !receiver.contains(name));
        names.map(|name| (name.as_str(), cleo.id.0.clone())).collect::<Vec<_>>()
    };
    let refused = "a message that claims another sender is refused";
    let other = |who: &str, received: &Received| {
        Err(Stop::at(format!("{who} received a notice with the name that its sender claimed"), received.line))
    };
    let claimed = |event: &Event, by: &Peer| event.from.as_ref().is_some_and(|from| *from != by.id);
    let notice = |name: EventName| move |event: &Event| event.is(name);

    eve.act(Operation::Call, &Act { to: Some(&ben.id), extra: &claims(Operation::Call), ..Act::default() })?;
    let Some(rings) = arrives(&mut ben, &mut eve, "eve's call", notice(EventName::Ringing)).await? else {
        cx.acceptable(refused);
        return Ok(());
    };
    if claimed(&rings.event, &eve) {
        return other("ben", &rings);
    }
    ben.act(Operation::Accept, &Act { to: Some(&eve.id), extra: &claims(Operation::Accept), ..Act::default() })?;
    let Some(answer) = arrives(&mut eve, &mut ben, "ben's acceptance", notice(EventName::Answered)).await? else {
        cx.acceptable(refused);
        return Ok(());
    };
    if claimed(&answer.event, &ben) {
        return other("eve", &answer);
    }
    for kind in Kind::ALL.into_iter().filter(|kind| cx.env.dialect.signal_operation(*kind).is_some()) {
        let word = cx.word("claims");
        let data = quoted(&word);
        let operation = cx.env.dialect.signal_operation(kind).expect("the dialect has this kind");
        let extra = claims(operation);
        let act = Act { to: Some(&ben.id), data: Some(&data), extra: &extra, ..Act::default() };
        eve.send(eve.signal_with(kind, &act)?);
        let what = format!("eve's {kind}");
        let Some(signal) = arrives(&mut ben, &mut eve, &what, |event| event.has_word(&word)).await? else {
            cx.acceptable(refused);
            continue;
        };
        if claimed(&signal.event, &eve) {
            return other("ben", &signal);
        }
    }
    if cx.has(Feature::Media) {
        let media = Some(("audio", false));
        let extra = claims(Operation::Media);
        eve.act(Operation::Media, &Act { to: Some(&ben.id), media, extra: &extra, ..Act::default() })?;
        match arrives(&mut ben, &mut eve, "eve's media state", notice(EventName::Media)).await? {
            Some(media) if claimed(&media.event, &eve) => return other("ben", &media),
            Some(_) => {}
            None => cx.acceptable(refused),
        }
    }
    eve.act(Operation::End, &Act { to: Some(&ben.id), extra: &claims(Operation::End), ..Act::default() })?;
    match arrives(&mut ben, &mut eve, "the notice that eve ended the call", notice(EventName::Ended)).await? {
        Some(end) if claimed(&end.event, &eve) => return other("ben", &end),
        Some(_) => {}
        None => cx.acceptable(refused),
    }
    settled(cx, &mut cleo).await?;
    cleo.never_received("received a message of a call between others, who claimed her name", is_of_a_call)
}

/// Waits for what a message causes at its receiver; `None` if its sender receives an error or is disconnected instead.
async fn arrives(
    receiver: &mut Peer,
    sender: &mut Peer,
    what: &str,
    wanted: impl Fn(&Event) -> bool,
) -> Result<Option<Received>, Stop> {
    tokio::select! { biased;
        received = receiver.until(what, wanted) => received.map(Some),
        () = is_refused(sender) => Ok(None),
    }
}

/// Waits until a client receives an error or its connection ends.
async fn is_refused(sender: &mut Peer) {
    loop {
        if sender.until("an error", Event::is_error).await.is_ok() || sender.end.is_some() {
            return;
        }
    }
}

async fn media_state(cx: &mut Cx) -> Result<(), Stop> {
    const STATES: [(&str, bool); 4] = [("video", false), ("audio", false), ("audio", true), ("video", true)];
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    for (media, enabled) in STATES {
        ana.act(Operation::Media, &Act { to: Some(&ben.id), media: Some((media, enabled)), ..Act::default() })?;
        let what = format!("the notice that ana's {media} is {}", if enabled { "on" } else { "off" });
        let received = ben.until(&what, |event| event.is(EventName::Media)).await?;
        let event = &received.event;
        if event.media.as_deref() != Some(media) || event.enabled != Some(enabled) {
            return Err(Stop::at(format!("expected {what}, but ben received another media state"), received.line));
        }
        if event.from.as_ref().is_some_and(|from| *from != ana.id) {
            return Err(Stop::at(format!("ben received {what}, but from another sender"), received.line));
        }
    }
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ana.never_received("received the notice about her own media state", |event| event.is(EventName::Media))?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    settled(cx, &mut cleo).await?;
    cleo.never_received("received a media state of a call between others", is_of_a_call)?;
    for (media, enabled) in STATES {
        let this = |event: &Event| event.media.as_deref() == Some(media) && event.enabled == Some(enabled);
        ben.received_once(&format!("the notice that ana's {media} changed to {enabled}"), this)?;
    }
    Ok(())
}
