//! User names: who is listed, who may use a name, and what becomes of a call when a name changes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{DELIVERY, act, are_free, is_of_a_call, of, refused, settled, settled_in_call, users};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, Received, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Duplicate, JoinAnswer, WrongCase};
use crate::dialect::shape::Values;
use crate::dialect::{Act, Event, EventName, Feature, Id, Kind, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "call/user-list",
        Declared,
        "Everybody who has joined receives the list of users at each change: exactly those who have joined, each once, whether or not they are in a call.",
        run!(user_list),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::Roster, Feature::JoinAnswer]),
    &Case::new(
        "call/not-joined",
        Declared,
        "A client that has not joined cannot call, answer, signal or end a call.",
        run!(not_joined),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::JoinMessage, Feature::JoinAnswer, Feature::ChosenIds]),
    &Case::new(
        "call/name-taken",
        Declared,
        "A name in use is refused: its holder and the call of its holder are not affected, and the client can join with another name.",
        run!(name_taken),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::JoinMessage, Feature::JoinAnswer, Feature::ChosenIds]),
    &Case::new(
        "call/name-reuse",
        Declared,
        "A name is free when its holder has disconnected, and its next holder is not in the old call.",
        run!(name_reuse),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::JoinMessage, Feature::JoinAnswer, Feature::ChosenIds]),
    &Case::new(
        "call/rename",
        Declared,
        "A user that joins under another name gives up the old one and its call, ringing or answered, and the other side is notified once.",
        run!(rename),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::Renames, Feature::Roster]),
    &Case::new(
        "call/name-limits",
        Declared,
        "A user name has at least one code point and at most as many as declared; another one is refused, not shortened.",
        run!(name_limits),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::NameLimit, Feature::Roster]),
    &Case::new(
        "call/name-exact",
        Declared,
        "User names are compared exactly: no case folding, no trimming, no Unicode normalisation, and `__proto__` is an ordinary name.",
        run!(name_exact),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::ExactNames, Feature::Roster]),
];

/// A client with this name, which has not joined.
async fn connect_as(cx: &Cx, client: &str, name: &Id) -> Result<Peer, Stop> {
    let mut values = Values::new();
    for variable in ["self", "token"] {
        values.insert(variable.to_owned(), name.0.clone());
    }
    let peer = Peer::connect_with(&cx.env, &cx.log, client, &cx.room(), None, values).await;
    peer.map_err(|why| Stop::Setup(format!("{client} cannot connect: {why}")))
}

/// A user with this name.
async fn join_as(cx: &Cx, client: &str, name: &Id) -> Result<Peer, Stop> {
    let mut peer = connect_as(cx, client, name).await?;
    let room = peer.room.clone();
    peer.join(&room, None).await?;
    Ok(peer)
}

/// Joins under its present id, and ignores errors that come first.
async fn joins(user: &mut Peer) -> Result<(), Stop> {
    let room = user.room.clone();
    user.act(Operation::Join, &Act { room: &room, ..Act::default() })?;
    let id = user.id.clone();
    let mine = |event: &Event| event.is(EventName::Joined) || (event.is(EventName::Roster) && lists(event, &id) > 0);
    user.until("an answer to its join", mine).await.map(drop)
}

/// Joins after messages that were refused. Where the dialect does not promise an error, the server may also have closed
/// the connection; then a new client joins.
pub(super) async fn joins_after(cx: &Cx, mut eve: Peer, what: &str, promised: Option<&String>) -> Result<Peer, Stop> {
    match joins(&mut eve).await {
        Ok(()) => Ok(eve),
        Err(_) if promised.is_none() && eve.end.is_some() => {
            cx.acceptable(format!("a client that {what} is disconnected"));
            cx.join("eve", &cx.room()).await
        }
        Err(stop) => Err(stop.reworded(|why| format!("eve {what}, and then joined rightly: {why}"))),
    }
}

/// How often a list contains a user.
fn lists(event: &Event, id: &Id) -> usize {
    event.members.iter().flatten().filter(|member| member.id == *id).count()
}

/// Waits for a list, after the first `mark` messages, that contains one user or lacks another one. Returns it.
async fn next_list(
    user: &mut Peer,
    mark: usize,
    what: &str,
    with: Option<&Id>,
    without: Option<&Id>,
) -> Result<Received, Stop> {
    let after = user.received[..mark].last().map_or(0, |received| received.line);
    let what = format!("the list of users after {what}");
    let is_it = |received: &Received| {
        let event = &received.event;
        received.line > after
            && event.is(EventName::Roster)
            && with.is_none_or(|id| lists(event, id) > 0)
            && without.is_none_or(|id| lists(event, id) == 0)
    };
    user.until_received(&what, is_it).await
}

/// Checks that a list has each of `present` once, and none of `gone`. Other cases may have left further users.
fn is_exact(user: &Peer, list: &Received, present: &[&Id], gone: &[&Id]) -> Result<(), Stop> {
    let name = &user.name;
    for id in present {
        let times = lists(&list.event, id);
        if times != 1 {
            return Err(Stop::at(format!("{name} received a list of users that has {id} {times} times"), list.line));
        }
    }
    let is_name = |id: &Id| id.0 != "null" && id.0 != "\"\"";
    if let Some(member) = list.event.members.iter().flatten().find(|member| !is_name(&member.id)) {
        return Err(Stop::at(format!("{name} received a list of users that contains {}", member.id), list.line));
    }
    match gone.iter().find(|id| lists(&list.event, id) > 0) {
        Some(id) => {
            Err(Stop::at(format!("{name} received a list of users with {id}, who has not joined or left"), list.line))
        }
        None => Ok(()),
    }
}

async fn user_list(cx: &mut Cx) -> Result<(), Stop> {
    if cx.file().join.answer != JoinAnswer::Roster {
        return Err(Stop::Unsupported("the dialect does not send a list of users at each change".to_owned()));
    }
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    let eve = cx.connect("eve", &cx.room()).await?;
    let mut marks: Vec<usize> = [&ana, &ben, &cleo].iter().map(|user| user.received.len()).collect();
    let mut dora = cx.join("dora", &cx.room()).await?;
    let mut emil = cx.join("emil", &cx.room()).await?;
    marks.push(0);
    let ids = [&ana, &ben, &cleo, &dora, &emil, &eve].map(|user| user.id.clone());
    let [of_ana, of_ben, of_cleo, of_dora, of_emil, of_eve] = &ids;
    for (user, mark) in [&mut ana, &mut ben, &mut cleo, &mut dora].into_iter().zip(marks) {
        let list = next_list(user, mark, "emil joined", Some(of_emil), None).await?;
        is_exact(user, &list, &[of_ana, of_ben, of_cleo, of_dora, of_emil], &[of_eve])?;
    }
    // Once in a call, once idle: both are listed until they leave, and neither is afterwards.
    let marks = [&ana, &cleo, &emil].map(|user| user.received.len());
    dora.close().await;
    for (user, mark) in [&mut ana, &mut cleo, &mut emil].into_iter().zip(marks) {
        let list = next_list(user, mark, "dora left", Some(of_emil), Some(of_dora)).await?;
        is_exact(user, &list, &[of_ana, of_ben, of_cleo, of_emil], &[of_eve, of_dora])?;
    }
    let marks = [&ana, &cleo, &emil].map(|user| user.received.len());
    ben.hang_up();
    for (user, mark) in [&mut ana, &mut cleo, &mut emil].into_iter().zip(marks) {
        let list = next_list(user, mark, "ben left, who was in a call", Some(of_emil), Some(of_ben)).await?;
        is_exact(user, &list, &[of_ana, of_cleo, of_emil], &[of_eve, of_dora, of_ben])?;
    }
    Ok(())
}

async fn not_joined(cx: &mut Cx) -> Result<(), Stop> {
    let not_a_member = cx.file().refusals.not_a_member.as_ref();
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    let marks = (ana.received.len(), ben.received.len());
    let mut eve = cx.connect("eve", &cx.room()).await?;
    // All her messages are complete, so nothing but her missing join is wrong with them.
    eve.learn_session(&ana.id, &ben);
    act(&eve, Operation::Call, &cleo)?;
    act(&eve, Operation::End, &ana)?;
    act(&eve, Operation::Accept, &ana)?;
    let word = cx.word("not-joined");
    let mut sent = 3;
    for kind in Kind::ALL.into_iter().filter(|kind| cx.env.dialect.signal_operation(*kind).is_some()) {
        eve.signal(kind, &quoted(&word), Some(&ben.id))?;
        sent += 1;
    }
    if cx.has(Feature::Media) {
        eve.act(Operation::Media, &Act { to: Some(&ben.id), media: Some(("audio", false)), ..Act::default() })?;
        sent += 1;
    }
    let mut eve = joins_after(cx, eve, "sent messages before she joined", not_a_member).await?;
    refused(&eve, 0, sent, "sent messages before she joined", not_a_member)?;
    settled(cx, &mut eve).await?;
    settled_in_call(cx, &mut ana, &mut ben).await?;
    settled(cx, &mut cleo).await?;
    let from_eve = |event: &Event| event.has_word(&word) || (is_of_a_call(event) && !event.is_signal());
    ana.never_received_since(marks.0, "received a message from a client that has not joined", from_eve)?;
    ben.never_received_since(marks.1, "received a message from a client that has not joined", from_eve)?;
    cleo.never_received("received a message from a client that has not joined", is_of_a_call)
}

async fn name_taken(cx: &mut Cx) -> Result<(), Stop> {
    if cx.file().declares.duplicate_id != Duplicate::Refused {
        return Err(Stop::Unsupported("the dialect lets a client take over a name".to_owned()));
    }
    let duplicate = cx.file().refusals.duplicate_id.as_ref();
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    let marks = (ana.received.len(), ben.received.len());
    let mut eve = connect_as(cx, "eve", &ana.id).await?;
    let room = eve.room.clone();
    eve.act(Operation::Join, &Act { room: &room, ..Act::default() })?;
    // Under the name of another user she must not be able to do anything.
    act(&eve, Operation::Call, &cleo)?;
    act(&eve, Operation::End, &ben)?;
    eve.id = Id::of(&cx.word("eve"));
    let mut eve = joins_after(cx, eve, "requested a name in use", duplicate).await?;
    let list = eve.received.iter().rev().find(|received| received.event.is(EventName::Roster)).cloned();
    if let Some(list) = list {
        is_exact(&eve, &list, &[&ana.id, &ben.id, &cleo.id, &eve.id], &[])?;
    }
    let errors: Vec<_> = eve.received.iter().filter(|received| received.event.is_error()).collect();
    if let Some(reason) = duplicate {
        match errors.first() {
            Some(error) if error.event.reason.as_ref() == Some(reason) => {}
            Some(error) => {
                let why = format!("eve requested a name in use and received another error than `{reason}`");
                return Err(Stop::at(why, error.line));
            }
            None => return Err(Stop::fail(format!("eve requested a name in use and received no error `{reason}`"))),
        }
    }
    settled(cx, &mut cleo).await?;
    cleo.never_received("was called by a client whose name was refused", |event| event.is(EventName::Ringing))?;
    let goes_on = settled_in_call(cx, &mut ana, &mut ben).await;
    goes_on.map_err(|stop| stop.reworded(|why| format!("after another client requested ana's name, {why}")))?;
    let notices = |event: &Event| event.is_error() || (is_of_a_call(event) && !event.is_signal());
    ana.never_received_since(marks.0, "received a notice because another client requested her name", notices)?;
    ben.never_received_since(marks.1, "received a notice because another client requested ana's name", notices)?;
    are_free(cx, &mut eve, &mut cleo, "eve joined with another name").await
}

async fn name_reuse(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = users(cx, ["ana", "ben"]).await?;
    ben.calls(&mut ana).await?;
    let name = ana.id.clone();
    ana.close().await;
    ben.until("the notice that ana disconnected", |event| event.is(EventName::Ended)).await?;
    // A server may notify the other side before it frees the name.
    let mut attempts = cx.attempts();
    let mut next = loop {
        match join_as(cx, "ana again", &name).await {
            Ok(next) => break next,
            Err(stop) if attempts.are_over() => {
                let taken = |why| format!("the name of a user who has disconnected is not free: {why}");
                return Err(stop.reworded(taken));
            }
            Err(_) => attempts.pause().await,
        }
    };
    let word = cx.word("of-old");
    ben.send_word(&next, &word);
    settled(cx, &mut ben).await?;
    settled(cx, &mut next).await?;
    if cx.file().calls.needed {
        let why = "received a signal of the call of her name's last holder";
        next.never_received(why, |event| event.has_word(&word))?;
    }
    are_free(cx, &mut next, &mut ben, "the name has a new holder").await?;
    ben.received_once("the notice that the first ana disconnected", |event| event.is(EventName::Ended))
}

/// Joins under a new name, and waits for the list that shows it.
pub(super) async fn renames(cx: &Cx, user: &mut Peer) -> Result<(), Stop> {
    user.id = Id::of(&cx.word("renamed"));
    let room = user.room.clone();
    let mark = user.received.len();
    user.act(Operation::Join, &Act { room: &room, ..Act::default() })?;
    let id = user.id.clone();
    next_list(user, mark, "it joined under another name", Some(&id), None).await.map(drop)
}

async fn rename(cx: &mut Cx) -> Result<(), Stop> {
    let over =
        |event: &Event| event.is(EventName::Ended) || (event.is(EventName::Answered) && event.accepted == Some(false));
    for when in ["without a call", "in a call", "while she calls", "while she rings"] {
        let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
        let (old, bystander) = (ana.id.clone(), cleo.id.clone());
        match when {
            "in a call" => ana.calls(&mut ben).await?,
            "while she calls" => {
                act(&ana, Operation::Call, &ben)?;
                ben.until("ana's call", |event| of(event, EventName::Ringing, &old)).await?;
            }
            "while she rings" => {
                act(&ben, Operation::Call, &ana)?;
                ana.until("ben's call", |event| of(event, EventName::Ringing, &ben.id)).await?;
            }
            _ => {}
        }
        let after = |stop: Stop| stop.reworded(|why| format!("ana joined under another name {when}: {why}"));
        let marks = (ben.received.len(), cleo.received.len());
        renames(cx, &mut ana).await.map_err(after)?;
        for (user, mark) in [(&mut ben, marks.0), (&mut cleo, marks.1)] {
            let list = next_list(user, mark, "ana changed her name", Some(&ana.id), Some(&old)).await.map_err(after)?;
            is_exact(user, &list, &[&ana.id, &bystander], &[&old])?;
        }
        if when != "without a call" {
            ben.until("the notice that the call ended", over).await.map_err(after)?;
        }
        let mark = cleo.received.len();
        cleo.act(Operation::Call, &Act { to: Some(&old), ..Act::default() })?;
        settled(cx, &mut cleo).await.map_err(after)?;
        let absent = cx.file().refusals.absent_target(&old.to_string());
        refused(&cleo, mark, 1, "called a name that was given up", absent.as_ref())?;
        are_free(cx, &mut ben, &mut ana, "ana changed her name").await.map_err(after)?;
        let times = usize::from(when != "without a call");
        let notices = ben.count(over);
        if notices != times {
            let why = format!("ben received {notices} notices that the call ended, expected {times}");
            return Err(after(Stop::fail(why)));
        }
        cleo.never_received("received a message of a call between others", is_of_a_call).map_err(after)?;
        // The old name is free for others.
        let mut dora = join_as(cx, "dora", &old).await.map_err(after)?;
        are_free(cx, &mut dora, &mut cleo, "dora took the name that ana gave up").await?;
    }
    Ok(())
}

/// A name of this many code points, which begins with a word of its own.
fn long(cx: &Cx, fill: char, code_points: usize) -> String {
    cx.word("long").chars().chain(std::iter::repeat(fill)).take(code_points).collect()
}

async fn name_limits(cx: &mut Cx) -> Result<(), Stop> {
    let max = cx.file().identity.code_points_max.expect("the case requires a limit");
    let malformed = cx.file().refusals.malformed.as_ref();
    let [mut cleo] = users(cx, ["cleo"]).await?;
    for fill in ['x', '\u{e9}', '\u{1f600}'] {
        let name = long(cx, fill, max);
        let what = format!("a name of {max} code points ({fill})");
        let refusal = |stop: Stop| stop.reworded(|why| format!("{what}: {why}"));
        let mut ana = join_as(cx, "ana", &Id::of(&name)).await.map_err(refusal)?;
        // A name that differs only in the last code point is another name.
        let mut other = name;
        other.pop();
        other.push('y');
        let ben = join_as(cx, "ben", &Id::of(&other)).await.map_err(refusal)?;
        are_free(cx, &mut cleo, &mut ana, &what).await?;
        act(&cleo, Operation::End, &ana)?;
        ana.until("the notice that cleo ended the call", |event| event.is(EventName::Ended)).await?;
        let list = ben.received.iter().rev().find(|received| received.event.is(EventName::Roster)).cloned();
        if let Some(list) = list {
            is_exact(&ben, &list, &[&ana.id, &ben.id], &[])?;
        }
    }
    let mut bad = vec![("an empty name".to_owned(), Id::of(""), None)];
    for fill in ['x', '\u{1f600}'] {
        bad.push((format!("a name of {} code points ({fill})", max + 1), Id::of(&long(cx, fill, max + 1)), None));
    }
    let dialect = std::sync::Arc::clone(&cx.env.dialect);
    let wrong = dialect.wrong.iter().filter(|wrong| wrong.case == WrongCase::IdLimits && wrong.joining);
    bad.extend(wrong.map(|wrong| (wrong.what.clone(), Id::of(&cx.word("wrong")), Some(&wrong.shape))));
    for (what, name, shape) in bad {
        let mut eve = connect_as(cx, "eve", &name).await?;
        let room = eve.room.clone();
        let message = match shape {
            Some(shape) => dialect.render_shape(shape, &Act { room: &room, ..Act::default() }, eve.values())?,
            None => eve.message(Operation::Join, &Act { room: &room, ..Act::default() })?,
        };
        eve.send(message);
        // Her next join shows that this one has been handled.
        eve.id = Id::of(&cx.word("eve"));
        let eve = joins_after(cx, eve, &format!("tried to join with {what}"), malformed).await?;
        let text: String = serde_json::from_str(&name.0).expect("it is a string");
        let text: String = text.chars().take(max).collect();
        let began = |event: &Event| {
            let is_hers = |id: &Id| {
                serde_json::from_str::<String>(&id.0).is_ok_and(|id| !text.is_empty() && id.starts_with(&text))
            };
            event.members.iter().flatten().any(|member| is_hers(&member.id))
        };
        eve.never_received(&format!("joined with {what}"), began)?;
        refused(&eve, 0, 1, &format!("joined with {what}"), malformed)?;
    }
    Ok(())
}

/// Ordinary names, which a server may confuse with properties of its objects.
const COMMON: [&str; 3] = ["__proto__", "constructor", "toString"];

async fn name_exact(cx: &mut Cx) -> Result<(), Stop> {
    let base = format!("{}-Caf\u{e9}", cx.word("Ana"));
    let names = [
        base.clone(),
        base.to_lowercase(),
        base.to_uppercase(),
        format!(" {base}"),
        format!("{base} "),
        base.replace('\u{e9}', "e\u{301}"),
    ];
    let names: Vec<String> = names.into_iter().chain(COMMON.map(str::to_owned)).collect();
    let mut named = Vec::new();
    for name in &names {
        let mut user = join_as(cx, name, &Id::of(name)).await;
        // The user of a common name may be one of an earlier run, whose end the server has yet to notice.
        let limit = Instant::now() + cx.env.net.patience / 2;
        while user.is_err() && COMMON.contains(&name.as_str()) && Instant::now() < limit {
            sleep(cx.env.round_trip.max(Duration::from_millis(5))).await;
            user = join_as(cx, name, &Id::of(name)).await;
        }
        named.push(user.map_err(|stop| stop.reworded(|why| format!("a user cannot join as {name:?}: {why}")))?);
    }
    let ids: Vec<Id> = named.iter().map(|user| user.id.clone()).collect();
    let last = named.last().expect("there are names");
    let list = last.received.iter().rev().find(|received| received.event.is(EventName::Roster)).cloned();
    if let Some(list) = list {
        is_exact(last, &list, &ids.iter().collect::<Vec<_>>(), &[])?;
    }
    let mut cleo = cx.join("cleo", &cx.room()).await?;
    for (user, name) in named.iter_mut().zip(&names) {
        let refusal = |stop: Stop| stop.reworded(|why| format!("a call to {name:?}: {why}"));
        are_free(cx, &mut cleo, user, "it joined").await.map_err(refusal)?;
        act(&cleo, Operation::End, user)?;
        user.until("the notice that cleo ended the call", |event| event.is(EventName::Ended)).await?;
    }
    // Each rings for its own call only.
    for user in &mut named {
        settled(cx, user).await?;
        user.received_once("cleo's call", |event| event.is(EventName::Ringing))?;
    }
    Ok(())
}
