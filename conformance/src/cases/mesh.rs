//! How signals are delivered.

use super::DELIVERY;
use super::bystander::Bystanders;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{BINARY, Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, Sender, Situation};
use crate::dialect::{Act, Event, EventName, Feature, Id, Kind};
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
    &Case::new(
        "mesh/kinds",
        Declared,
        "A signal of each type arrives with the type it was sent with, exactly once and at its receiver only.",
        run!(kinds),
    )
    .needs(DELIVERY),
    &Case::new(
        "mesh/empty-target",
        Declared,
        "A signal whose receiver is an empty text, or only the beginning of a member's id, reaches nobody.",
        run!(empty_target),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Targeted, Feature::Ids, Feature::Crowd]),
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
    &Case::new(
        "mesh/order-of-kinds",
        Declared,
        "Signals of any two types keep their order, so that no candidate overtakes an offer or an answer.",
        run!(order_of_kinds),
    )
    .needs(DELIVERY),
    &Case::new(
        "mesh/same-twice",
        Declared,
        "A signal that is sent twice arrives twice, and so do equal signals from two senders.",
        run!(same_twice),
    )
    .needs(DELIVERY),
    &Case::new(
        "mesh/verbatim",
        Declared,
        "A whole message is relayed byte for byte, with fields that the dialect does not name, and the receivers are sent nothing else.",
        run!(verbatim),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Verbatim, Feature::Frames, Feature::Broadcast, Feature::Crowd]),
    &Case::new(
        "mesh/no-data",
        Declared,
        "A signal without data is relayed without it.",
        run!(no_data),
    )
    .needs(DELIVERY)
    .requires(&[Feature::DataOptional, Feature::Frames]),
];

/// The types of signals that ana (who offers, where the dialect fixes that) or ben may send. A hangup may end a call,
/// so it is left out where signals need one.
fn kinds_from(cx: &Cx, ana: bool) -> Vec<Kind> {
    let other = if ana { Kind::Answer } else { Kind::Offer };
    let may = |kind: &Kind| *kind != other && !(*kind == Kind::Hangup && cx.file().calls.needed);
    Kind::ALL.into_iter().filter(|kind| may(kind) && cx.env.dialect.signal_operation(*kind).is_some()).collect()
}

/// The types that a dialect has, each with whether ana sends it to ben or ben to ana.
pub(super) fn kinds_both_ways(cx: &Cx) -> Vec<(bool, Kind)> {
    [true, false].into_iter().flat_map(|ana| kinds_from(cx, ana).into_iter().map(move |kind| (ana, kind))).collect()
}

/// The receiver that a signal to this client names.
pub(super) fn receiver<'a>(cx: &Cx, to: &'a Peer) -> Option<&'a Id> {
    (cx.file().signals.addressing != Addressing::Broadcast && !to.id.is_empty()).then_some(&to.id)
}

/// Length of a description, which takes longer to handle than a candidate.
const DESCRIPTION_BYTES: usize = 8_000;

async fn order_of_kinds(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let bytes = cx.file().signals.bytes_max.map_or(DESCRIPTION_BYTES, |max| DESCRIPTION_BYTES.min(max / 2));
    in_order(cx, &mut ana, &mut ben, &kinds_from(cx, true), bytes).await?;
    in_order(cx, &mut ben, &mut ana, &kinds_from(cx, false), bytes).await
}

/// `from` sends each ordered pair of these types at once.
async fn in_order(cx: &Cx, from: &mut Peer, to: &mut Peer, kinds: &[Kind], bytes: usize) -> Result<(), Stop> {
    let pairs = kinds.iter().flat_map(|first| kinds.iter().flat_map(move |second| [*first, *second]));
    let script = pairs.map(|kind| {
        let length = if matches!(kind, Kind::Offer | Kind::Answer) { bytes } else { 0 };
        (kind, cx.word(&format!("{kind}{}", "-".repeat(length))))
    });
    let script: Vec<(Kind, String)> = script.collect();
    for (kind, word) in &script {
        from.signal(*kind, &quoted(word), receiver(cx, to))?;
    }
    cx.fence(from, &mut [&mut *to]).await?;
    let mut due = script.iter();
    for received in &to.received {
        let Some((kind, word)) = script.iter().find(|(_, word)| received.event.has_word(word)) else { continue };
        let (name, sender) = (&to.name, &from.name);
        match due.next() {
            Some((_, next)) if next == word => {}
            Some((next, _)) => {
                return Err(Stop::at(
                    format!("{name} received {sender}'s {kind} before the {next} that was sent earlier"),
                    received.line,
                ));
            }
            None => return Err(Stop::at(format!("{name} received {sender}'s {kind} twice"), received.line)),
        }
    }
    match due.next() {
        None => Ok(()),
        Some((kind, _)) => Err(Stop::fail(format!("{} did not receive {}'s {kind}", to.name, from.name))),
    }
}

async fn same_twice(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    again(cx, &mut ana, &mut ben, &kinds_from(cx, true)).await?;
    again(cx, &mut ben, &mut ana, &kinds_from(cx, false)).await?;
    if !cx.has(Feature::Crowd) {
        return Ok(());
    }
    let mut cleo = cx.join("cleo", &room).await?;
    cx.settle(&mut cleo, &mut ben).await?;
    let word = cx.word("of-two-senders");
    ana.send_word(&ben, &word);
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cleo.send_word(&ben, &word);
    cx.fence(&mut cleo, &mut [&mut ben]).await?;
    match ben.count(|event| event.has_word(&word)) {
        2 => Ok(()),
        times => {
            Err(Stop::fail(format!("ana and cleo each sent ben the same signal, and he received it {times} times")))
        }
    }
}

/// `from` sends the same signal of each type twice, then another one, and then the first again.
async fn again(cx: &Cx, from: &mut Peer, to: &mut Peer, kinds: &[Kind]) -> Result<(), Stop> {
    for kind in kinds {
        let (same, other) = (cx.word("the-same"), cx.word("another"));
        let script = [&same, &same, &other, &same];
        for word in script {
            from.signal(*kind, &quoted(word), receiver(cx, to))?;
        }
        cx.fence(from, &mut [&mut *to]).await?;
        let ours = |event: &Event| event.has_word(&same) || event.has_word(&other);
        let arrived: Vec<_> = to.received.iter().filter(|received| ours(&received.event)).collect();
        if arrived.len() == script.len()
            && arrived.iter().zip(script).all(|(received, word)| received.event.has_word(word))
        {
            continue;
        }
        let times = arrived.iter().filter(|received| received.event.has_word(&same)).count();
        let why = if times == 3 {
            format!("{} received {}'s equal signals of the type {kind} in another order", to.name, from.name)
        } else {
            format!("{} sent the same {kind} three times, and {} received it {times} times", from.name, to.name)
        };
        return Err(arrived.last().map_or(Stop::fail(&*why), |last| Stop::at(&*why, last.line)));
    }
    Ok(())
}

async fn verbatim(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    for kind in kinds_from(cx, true) {
        let word = cx.word(&format!("{kind}-as-sent"));
        let data = format!(r#"{{ "z" : {}, "a" : [ 1.50 , "\u0041" ] }}"#, quoted(&word));
        let extra = [("glare", quoted("of no meaning")), ("from", quoted("ana")), ("room", "null".to_owned())];
        let act = Act { room: &room, data: Some(&data), extra: &extra, ..Act::default() };
        let message = ana.signal_with(kind, &act)?;
        // Only white space that is not between the values of the payload.
        let spaced = format!(" {} \n}}\t", message.strip_suffix('}').unwrap_or(&message));
        for (what, message) in [("with unknown fields", &message), ("with spaces", &spaced)] {
            let mark = ben.received.len();
            ana.send(message.clone());
            cx.fence(&mut ana, &mut [&mut ben]).await?;
            let arrived: Vec<_> = ben.received[mark..].iter().filter(|it| it.text.contains(&word)).collect();
            match arrived[..] {
                [one] if one.text == *message => {}
                [one] => {
                    let why = format!("ana's {kind} {what} is not relayed as she sent it: ben received {}", one.text);
                    return Err(Stop::at(why, one.line));
                }
                [] => return Err(Stop::fail(format!("ben did not receive ana's {kind} {what}"))),
                [_, second, ..] => {
                    return Err(Stop::at(format!("ben received ana's {kind} {what} twice"), second.line));
                }
            }
        }
    }
    let marks = [ana.received.len(), ben.received.len()];
    let mut cleo = cx.join("cleo", &room).await?;
    cx.settle(&mut ana, &mut cleo).await.map_err(Stop::into_setup)?;
    cleo.close().await;
    let dora = cx.join("dora", &room).await?;
    dora.hang_up();
    let mut edna = cx.join("edna", &room).await?;
    cx.settle(&mut edna, &mut ben).await.map_err(Stop::into_setup)?;
    cx.fence(&mut edna, &mut [&mut ana, &mut ben]).await?;
    for (member, mark) in [&ana, &ben].into_iter().zip(marks) {
        let why = "received a message that no member sent, while others came and went";
        member.never_received_since(mark, why, |event| !event.is_signal() && !event.is(EventName::Ping))?;
    }
    Ok(())
}

async fn no_data(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let object = |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).ok();
    for kind in kinds_from(cx, true) {
        let word = cx.word(&format!("{kind}-with-data"));
        let message = ana.signal_message(kind, &quoted(&word), receiver(cx, &ben), &ana.room)?;
        ana.send(message.clone());
        let received = ben.until(&format!("ana's {kind}"), |event| event.has_word(&word)).await?;
        let (Some(mut sent), Some(mut expected)) = (object(&message), object(&received.text)) else {
            return Err(Stop::Unsupported("the dialect's signals are not objects".to_owned()));
        };
        let is_other = |value: &serde_json::Value| value.as_str() != Some(&word);
        let whole = sent.len();
        sent.retain(|_, value| is_other(value));
        let names: Vec<String> =
            expected.iter().filter(|(_, value)| !is_other(value)).map(|(key, _)| key.clone()).collect();
        if sent.len() == whole || names.is_empty() {
            return Err(Stop::Unsupported(
                "the data of the dialect's signals is not a field of the message".to_owned(),
            ));
        }
        expected.retain(|_, value| is_other(value));
        let mark = ben.received.len();
        ana.send(serde_json::Value::Object(sent).to_string());
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        // The sentinel has data, so it is another message.
        let without = |text: &str| {
            let mut object = object(text)?;
            let named = names.iter().filter(|name| object.get(*name).is_some_and(|data| !data.is_string())).count();
            object.retain(|key, value| !names.contains(key) || value.is_string());
            (object == expected).then_some(named > 0)
        };
        let arrived: Vec<_> =
            ben.received[mark..].iter().filter_map(|received| Some((without(&received.text)?, received))).collect();
        match arrived[..] {
            [(false, _)] => {}
            [(true, one)] => {
                return Err(Stop::at(
                    format!("ana's {kind} has no data, but ben received some: {}", one.text),
                    one.line,
                ));
            }
            [] => return Err(Stop::fail(format!("ben did not receive ana's {kind} without data"))),
            [_, (_, second), ..] => {
                return Err(Stop::at(format!("ben received ana's {kind} without data twice"), second.line));
            }
        }
    }
    Ok(())
}

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
    let absent = cx.nobody("nobody-here");
    ana.send_word_to(&absent, &nobody);
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
    let what = "a signal to a client that does not exist";
    cx.reaction(what, Situation::AbsentTarget, ana.count(Event::is_error) > 0, None)?;
    ana.errors_give(0, what, cx.file().refusals.absent_target(&absent.to_string()).as_deref())
}

async fn empty_target(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.env.dialect.delivers_by_id() {
        return Err(Stop::Unsupported("the dialect delivers signals to whole rooms".to_owned()));
    }
    let [mut ana, mut ben, mut cleo] = cx.members(&cx.room(), ["ana", "ben", "cleo"]).await?;
    let word = cx.word("for-nobody");
    let mut receivers = vec![Id::of("")];
    if let Ok(serde_json::Value::String(id)) = serde_json::from_str(&ben.id.0) {
        // The id without its last character.
        let beginning: String = id.chars().take(id.chars().count().saturating_sub(1)).collect();
        receivers.push(Id::of(&beginning));
    }
    let members = [ana.id.clone(), ben.id.clone(), cleo.id.clone()];
    for receiver in receivers.iter().filter(|receiver| !members.contains(receiver)) {
        let mark = ana.received.len();
        ana.signal(ana.plain_kind(), &quoted(&word), Some(receiver))?;
        cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
        cx.fence(&mut ben, &mut [&mut ana, &mut cleo]).await?;
        let notified = ana.received[mark..].iter().any(|received| received.event.is_error());
        let what = format!("a signal to {receiver}, which is nobody's id,");
        cx.reaction(&what, Situation::AbsentTarget, notified, None)?;
        ana.errors_give(mark, &what, cx.file().refusals.absent_target(&receiver.to_string()).as_deref())?;
    }
    for member in [&ana, &ben, &cleo] {
        let why = "received a signal whose receiver is not exactly the id of a member";
        member.never_received(why, |event| event.has_word(&word))?;
    }
    Ok(())
}

async fn kinds(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let mut cleo = None;
    if cx.env.dialect.delivers_by_id() && cx.has(Feature::Crowd) {
        let mut member = cx.join("cleo", &ana.room).await?;
        cx.settle(&mut ana, &mut member).await.map_err(Stop::into_setup)?;
        cx.settle(&mut ben, &mut member).await.map_err(Stop::into_setup)?;
        cleo = Some(member);
    }
    let mut sent = Vec::new();
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
            sent.push((*backwards, what, word));
        }
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for (backwards, what, word) in &sent {
        let (from, to) = if *backwards { (&ben, &ana) } else { (&ana, &ben) };
        to.received_once(what, |event| event.has_word(word))?;
        if !cx.file().signals.echo {
            from.never_received(&format!("received {what}, its own signal"), |event| event.has_word(word))?;
        }
    }
    if let Some(cleo) = &mut cleo {
        cx.fence(&mut ana, &mut [cleo]).await?;
        cx.fence(&mut ben, &mut [cleo]).await?;
        for (_, what, word) in &sent {
            cleo.never_received(&format!("received {what}, which was for another member"), |event| {
                event.has_word(word)
            })?;
        }
    }
    bystanders.received_nothing(cx).await
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
