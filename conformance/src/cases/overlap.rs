//! Connections of one client that overlap, and messages that arrive together.

use futures_util::future::join_all;

use super::DELIVERY;
use super::bystander::{Bystanders, signal_once};
use super::room::{joins_and_sees, roster, sees};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, Received};
use crate::cx::Cx;
use crate::dialect::file::{JoinAnswer, JoinBy};
use crate::dialect::{Act, Event, EventName, Feature, Id, Operation, Who};
use crate::framing::link::Command;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "room/join-burst",
        Declared,
        "Two joins that arrive together are carried out in turn: the client is a member of the last room only, and once.",
        run!(join_burst),
    )
    .needs(DELIVERY)
    .requires(&[Feature::JoinMessage]),
    &Case::new(
        "room/leave-and-join",
        Declared,
        "A leave and a join that arrive together are carried out in turn: the client is a member afterwards, and once.",
        run!(leave_and_join),
    )
    .needs(DELIVERY)
    .requires(&[Feature::JoinMessage, Feature::Leave, Feature::Rooms, Feature::Crowd]),
    &Case::new(
        "room/ghost-join",
        Declared,
        "A client whose connection ends right after its join, before the answer, is no member afterwards.",
        run!(ghost_join),
    )
    .needs(DELIVERY)
    .requires(&[Feature::LeaveNotice]),
    &Case::new(
        "room/return",
        Declared,
        "A client that comes back before its old connection has ended is a member, and stays one when that ends.",
        run!(comes_back),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Ids]),
];

fn join_message(peer: &Peer, room: &str) -> Result<String, Stop> {
    peer.message(Operation::Join, &Act { room, ..Act::default() })
}

/// The line of the transcript that shows the last message which this client has looked at.
fn last_line(peer: &Peer) -> usize {
    peer.received.last().map_or(0, |received| received.line)
}

async fn join_burst(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    same_room_twice(cx).await?;
    if cx.has(Feature::Moving) {
        two_rooms(cx).await?;
    }
    bystanders.received_nothing(cx).await
}

async fn same_room_twice(cx: &Cx) -> Result<(), Stop> {
    let (room, role) = (cx.room(), cx.answers());
    let mut ana = cx.join("ana", &room).await?;
    let mut ben = cx.connect_as("ben", &room, role.as_deref()).await?;
    ben.send_together([join_message(&ben, &room)?, join_message(&ben, &room)?]);
    let together = |stop: Stop| stop.reworded(|why| format!("ben joined twice in one write: {why}"));
    ben.joined(&room).await.map_err(together)?;
    let who = ben.who();
    if cx.file().join.answer == JoinAnswer::Joined {
        ben.joined(&room).await.map_err(together)?;
        if ben.id != who.id {
            return Err(Stop::fail(format!("ben joined twice and got another id: {} became {}", who.id, ben.id)));
        }
    }
    cx.settle(&mut ana, &mut ben).await.map_err(together)?;
    signal_once(cx, &mut ana, &mut ben).await.map_err(together)?;
    ana.never_received("received a leave notice for ben, who joined twice", |event| event.is_left(&who))?;
    let mut cleo = None;
    if cx.has(Feature::Crowd) {
        let mut newcomer = cx.connect("cleo", &room).await?;
        joins_and_sees(cx, &mut newcomer, &room, roster(&[(&ana, None), (&ben, None)]), &[]).await?;
        cx.settle(&mut ben, &mut newcomer).await.map_err(Stop::into_setup)?;
        cx.settle(&mut ana, &mut newcomer).await.map_err(Stop::into_setup)?;
        signal_once(cx, &mut newcomer, &mut ben).await.map_err(together)?;
        cleo = Some(newcomer);
    }
    if !cx.has(Feature::LeaveNotice) {
        return Ok(());
    }
    // The end of the connection ends the membership, although it began twice.
    ben.close().await;
    ana.until("the leave notice for ben", |event| event.is_left(&who)).await?;
    let mut last = cx.connect_as("dora", &room, role.as_deref()).await?;
    let mut members = vec![(&ana, None)];
    members.extend(cleo.as_ref().map(|cleo| (cleo, None)));
    let expected = roster(&members);
    joins_and_sees(cx, &mut last, &room, expected, &[&who.id]).await.map_err(together)?;
    cx.settle(&mut ana, &mut last).await.map_err(Stop::into_setup)?;
    cx.fence(&mut last, &mut [&mut ana]).await?;
    ana.received_once("the leave notice for ben, who joined twice,", |event| event.is_left(&who))
}

async fn two_rooms(cx: &Cx) -> Result<(), Stop> {
    let (first, last, role) = (cx.room(), cx.room(), cx.answers());
    let mut ana = cx.join("ana", &first).await?;
    let mut cleo = cx.join("cleo", &last).await?;
    let mut eve = cx.connect_as("eve", &first, role.as_deref()).await?;
    eve.send_together([join_message(&eve, &first)?, join_message(&eve, &last)?]);
    let together = |stop: Stop| stop.reworded(|why| format!("eve joined two rooms in one write: {why}"));
    eve.joined(&first).await.map_err(together)?;
    let members = eve.joined(&last).await.map_err(together)?;
    sees(cx, &eve, members, roster(&[(&cleo, None)]), &[]).map_err(together)?;
    cx.settle(&mut cleo, &mut eve).await.map_err(together)?;
    signal_once(cx, &mut cleo, &mut eve).await.map_err(together)?;
    let who = eve.who();
    let announced_leave = cx.has(Feature::LeaveNotice) && cx.has(Feature::LeaveByMessageNotice);
    if announced_leave {
        ana.until("the leave notice for eve, who joined another room,", |event| event.is_left(&who)).await?;
    }
    let mut ben = cx.connect_as("ben", &first, role.as_deref()).await?;
    joins_and_sees(cx, &mut ben, &first, roster(&[(&ana, None)]), &[&who.id]).await.map_err(together)?;
    cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
    let word = cx.word("not-for-eve");
    ana.send_word(&ben, &word);
    if cx.has(Feature::Broadcast) {
        ana.broadcast_word(&word);
    }
    signal_once(cx, &mut ana, &mut ben).await?;
    cx.fence(&mut cleo, &mut [&mut eve]).await?;
    eve.never_received("received a signal of a room that she has left", |event| event.has_word(&word))?;
    cleo.never_received("received a leave notice for eve, who is in the room", |event| event.is_left(&who))?;
    if announced_leave {
        ana.received_once("the leave notice for eve, who joined two rooms in one write,", |event| event.is_left(&who))?;
    }
    Ok(())
}

async fn leave_and_join(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut ana, mut ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    cx.fence(&mut ben, &mut [&mut ana, &mut cleo]).await?;
    let mut bursts = vec![vec![(Operation::Leave, &room), (Operation::Join, &room)]];
    if cx.has(Feature::Moving) {
        let through = [(Operation::Leave, &room), (Operation::Join, &elsewhere), (Operation::Leave, &elsewhere)];
        bursts.push([through.as_slice(), &[(Operation::Join, &room)]].concat());
    }
    let announced_leave = cx.has(Feature::LeaveNotice) && cx.has(Feature::LeaveByMessageNotice);
    let announced = cx.has(Feature::JoinNotice) && !cx.file().roster.of_server;
    for burst in bursts {
        let old = ben.who();
        let since = [last_line(&ana), last_line(&cleo)];
        let message = |(operation, room): &(Operation, &String)| {
            ben.message(*operation, &Act { room: room.as_str(), ..Act::default() })
        };
        ben.send_together(burst.iter().map(message).collect::<Result<Vec<_>, _>>()?);
        let together = |stop: Stop| stop.reworded(|why| format!("ben left and joined again in one write: {why}"));
        let mut members = Vec::new();
        for (_, joined) in burst.iter().filter(|(operation, _)| *operation == Operation::Join) {
            members = ben.joined(joined).await.map_err(together)?;
        }
        sees(cx, &ben, members, roster(&[(&ana, None), (&cleo, None)]), &[]).map_err(together)?;
        let new = ben.who();
        for (member, since) in [&mut ana, &mut cleo].into_iter().zip(since) {
            if announced_leave {
                let left = |event: &Event| event.is_left(&old);
                member
                    .until_received("the leave notice for ben", |seen| seen.line > since && left(&seen.event))
                    .await?;
            }
            if announced {
                let joined = |event: &Event| event.is_joined(&new);
                member
                    .until_received("the join notice for ben", |seen| seen.line > since && joined(&seen.event))
                    .await?;
            }
            cx.settle(member, &mut ben).await.map_err(together)?;
            signal_once(cx, member, &mut ben).await.map_err(together)?;
            let later: Vec<_> = member.received.iter().filter(|received| received.line > since).collect();
            let about: Vec<_> = later
                .iter()
                .filter(|received| received.event.is_left(&old) || received.event.is_joined(&new))
                .collect();
            let lefts = about.iter().filter(|received| received.event.is(EventName::MemberLeft)).count();
            let name = &member.name;
            if announced_leave && lefts != 1 {
                return Err(Stop::fail(format!("ben left once, but {name} received {lefts} leave notices for him")));
            }
            if announced && about.len() - lefts != 1 {
                let joins = about.len() - lefts;
                return Err(Stop::fail(format!("ben joined again once, but {name} received {joins} join notices")));
            }
            if let Some(last) = about.last().filter(|last| announced && last.event.is(EventName::MemberLeft)) {
                return Err(Stop::at(
                    format!("{name} received the leave notice for ben after he had returned"),
                    last.line,
                ));
            }
        }
    }
    if cx.fits(4) {
        let mut dora = cx.connect("dora", &room).await?;
        let expected = roster(&[(&ana, None), (&ben, None), (&cleo, None)]);
        joins_and_sees(cx, &mut dora, &room, expected, &[]).await?;
    }
    bystanders.received_nothing(cx).await
}

/// How many clients close their connections right after their joins.
const GHOSTS: usize = 6;

async fn ghost_join(cx: &mut Cx) -> Result<(), Stop> {
    if ![Feature::Roster, Feature::JoinNotice, Feature::Roles].into_iter().any(|feature| cx.has(feature)) {
        return Err(Stop::Unsupported("the dialect does not show who is a member".to_owned()));
    }
    let bystanders = Bystanders::gather(cx).await?;
    let (room, role) = (cx.room(), cx.answers());
    let mut ana = cx.join("ana", &room).await?;
    let short_lives = (0..GHOSTS).map(|number| {
        let (cx, room, role) = (&*cx, &room, role.as_deref());
        async move {
            let mut ghost = cx.connect_as(&format!("ghost-{number}"), room, role).await?;
            let id = ghost.id.clone();
            let join = match cx.file().join.by {
                JoinBy::Message => Some(join_message(&ghost, room)?),
                JoinBy::Connecting => None,
            };
            if number % 2 == 0 {
                ghost.send_and_close(join);
                ghost.ended_in_time().await;
            } else {
                ghost.send_together(join);
                ghost.hang_up();
            }
            Ok::<_, Stop>(id)
        }
    });
    let gone: Vec<Id> = join_all(short_lives).await.into_iter().collect::<Result<_, _>>()?;
    // The server may need a moment to notice the end of a connection whose join it is still handling.
    let mut attempts = cx.attempts();
    let mut late: Vec<Who> = Vec::new();
    let mut newcomer = loop {
        let mut newcomer = cx.connect_as("late", &room, role.as_deref()).await?;
        let joined = newcomer.join(&room, None).await;
        late.push(newcomer.who());
        if cx.has(Feature::JoinNotice) && joined.is_ok() {
            let who = newcomer.who();
            ana.until("the join notice for the newcomer", |event| event.is_joined(&who)).await?;
        }
        ana.catch_up();
        let listed = match &joined {
            Ok(members) if cx.file().roster.of_server => members.iter().filter(|it| gone.contains(&it.id)).count(),
            Ok(members) => members.iter().filter(|member| member.id != ana.id).count(),
            Err(_) => 0,
        };
        // Where all clients of the server are listed, others may come and go.
        let mut present = present(&ana, &late);
        present.retain(|id| !cx.file().roster.of_server || gone.contains(id));
        let present = present.len();
        if joined.is_ok() && listed == 0 && present == 0 {
            break newcomer;
        }
        if attempts.are_over() {
            let closed = format!("{GHOSTS} clients closed their connections right after their joins");
            return Err(match joined {
                Err(stop) => stop.reworded(|why| format!("{closed}, but {why}")),
                Ok(_) if listed > 0 => Stop::fail(format!("{closed}, but {listed} of them are still listed")),
                Ok(_) => Stop::fail(format!("{closed}, but ana received no leave notice for {present} of them")),
            });
        }
        newcomer.close().await;
        attempts.pause().await;
    };
    cx.settle(&mut ana, &mut newcomer).await?;
    signal_once(cx, &mut ana, &mut newcomer).await?;
    for id in notices(&ana, EventName::MemberLeft) {
        let times = ana.count(|event| event.is(EventName::MemberLeft) && event.id.as_ref() == Some(id));
        if times > 1 && late.iter().all(|late| late.id != *id) {
            return Err(Stop::fail(format!("ana received the leave notice for a client {times} times: {id}")));
        }
    }
    bystanders.received_nothing(cx).await
}

/// The ids in notices of this kind that a client has received.
fn notices(peer: &Peer, kind: EventName) -> Vec<&Id> {
    let notices = peer.received.iter().filter(|received| received.event.is(kind));
    notices.filter_map(|received| received.event.id.as_ref()).collect()
}

/// The clients that `ana` knows to be members, other than these.
fn present<'a>(ana: &'a Peer, but: &[Who]) -> Vec<&'a Id> {
    let is_notice = |event: &Event| event.is(EventName::MemberJoined) || event.is(EventName::MemberLeft);
    let last = |id: &Id| {
        let about = ana.received.iter().rev().find(|it| is_notice(&it.event) && it.event.id.as_ref() == Some(id));
        about.is_some_and(|received| received.event.is(EventName::MemberJoined))
    };
    let mut ids = notices(ana, EventName::MemberJoined);
    ids.retain(|id| last(id) && but.iter().all(|who| who.id != **id));
    ids
}

async fn comes_back(cx: &mut Cx) -> Result<(), Stop> {
    let answer = cx.file().join.answer;
    if cx.has(Feature::ChosenIds) && !matches!(answer, JoinAnswer::Joined | JoinAnswer::Roster) {
        let why = "the dialect does not confirm a join, so a client cannot know whether its id was still in use";
        return Err(Stop::Unsupported(why.to_owned()));
    }
    if answer == JoinAnswer::Roster && !cx.has(Feature::Calls) {
        let why = "the dialect confirms a join by a list, which may name the old connection";
        return Err(Stop::Unsupported(why.to_owned()));
    }
    let bystanders = Bystanders::gather(cx).await?;
    let (room, role) = (cx.room(), cx.answers());
    let name = cx.names().then_some("Ana");
    let mut ben = cx.join("ben", &room).await?;
    for (closes_first, way) in [(true, "while the old one closed"), (false, "before the old one closed")] {
        let mut old = cx.connect_as("ana", &room, role.as_deref()).await?;
        old.join(&room, name).await.map_err(Stop::into_setup)?;
        let gone = old.who();
        if cx.has(Feature::JoinNotice) {
            ben.until("the join notice for ana", |event| event.is_joined(&gone)).await?;
        }
        let since = last_line(&ben);
        if closes_first {
            old.command(Command::Close(1000));
        }
        let client = Returns { cx, room: &room, role: role.as_deref(), name, old: &gone };
        let mut again = client.attempt(&old, &mut ben).await?;
        old.command(Command::Close(1000));
        old.ended_in_time().await;
        let mut attempts = cx.attempts();
        let mut again = loop {
            match again {
                Ok(again) => break again,
                Err(why) if attempts.are_over() => {
                    let why = format!("ana came back with a new connection {way} and was not admitted: {why}");
                    return Err(Stop::fail(why));
                }
                Err(_) => attempts.pause().await,
            }
            again = client.attempt(&old, &mut ben).await?;
        };
        let new = again.who();
        let returned = |stop: Stop| stop.reworded(|why| format!("ana came back with a new connection {way}: {why}"));
        let same = gone == new || !cx.leave_notices_have_ids();
        if cx.has(Feature::LeaveNotice) && (!same || cx.has(Feature::Roles)) {
            let left = |event: &Event| event.is_left(&gone);
            let what = "the leave notice for ana's old connection";
            ben.until_received(what, |seen| seen.line > since && left(&seen.event)).await.map_err(returned)?;
        }
        // Where a list answers the join, the attempt has made a call already.
        if cx.file().join.answer != JoinAnswer::Roster {
            cx.settle(&mut ben, &mut again).await.map_err(returned)?;
        }
        signal_once(cx, &mut ben, &mut again).await.map_err(returned)?;
        let back = last_line(&ben);
        if cx.has(Feature::Crowd) {
            let mut cleo = cx.connect("cleo", &room).await?;
            let left: &[&Id] = if same { &[] } else { &[&gone.id] };
            let expected = roster(&[(&ben, None), (&again, name)]);
            joins_and_sees(cx, &mut cleo, &room, expected, left).await.map_err(returned)?;
            let newcomer = cleo.who();
            cleo.close().await;
            if cx.has(Feature::LeaveNotice) {
                ben.until("the leave notice for cleo", |event| event.is_left(&newcomer)).await?;
            }
        }
        // Whatever the old connection's end still causes has had time to happen.
        signal_once(cx, &mut ben, &mut again).await.map_err(returned)?;
        stayed(cx, &ben, (&gone, &new), (since, back)).map_err(returned)?;
        again.never_received("received a leave notice for herself", |event| !same && event.is_left(&new))?;
        let since = last_line(&ben);
        again.close().await;
        if cx.has(Feature::LeaveNotice) {
            let left = |event: &Event| event.is_left(&new);
            ben.until_received("the leave notice for ana", |seen| seen.line > since && left(&seen.event)).await?;
        }
    }
    bystanders.received_nothing(cx).await
}

/// Checks the notices that ben received after line `since` about a client that is `gone` and came back as `new`: once that it left,
/// and not after it returned. By line `back`, its new connection was in use.
fn stayed(cx: &Cx, ben: &Peer, (gone, new): (&Who, &Who), (since, back): (usize, usize)) -> Result<(), Stop> {
    let later = || ben.received.iter().filter(|received| received.line > since);
    let lefts: Vec<_> = later().filter(|received| received.event.is_left(gone)).collect();
    if let [_, second, ..] = lefts[..] {
        return Err(Stop::at("ben received the leave notice for the old connection twice", second.line));
    }
    let named = |received: &&Received| received.event.id.is_some();
    if gone.id != new.id {
        let left = later().filter(named).find(|received| received.event.is_left(new));
        let why = "ben received a leave notice for ana's new connection";
        return left.map_or(Ok(()), |left| Err(Stop::at(why, left.line)));
    }
    // Where joins are announced, the last notice must be that of her return. Elsewhere her first signal shows it.
    let announced = cx.has(Feature::JoinNotice);
    let about = later().rfind(|received| received.event.is_left(new) || received.event.is_joined(new));
    let left = about.filter(named).filter(|last| last.event.is_left(new) && (announced || last.line > back));
    let why = "ben received the leave notice for ana after she had returned";
    left.map_or(Ok(()), |left| Err(Stop::at(why, left.line)))
}

/// A client that comes back under the id of its old connection, if it chooses its id.
struct Returns<'a> {
    cx: &'a Cx,
    room: &'a str,
    role: Option<&'a str>,
    name: Option<&'a str>,
    old: &'a Who,
}

impl Returns<'_> {
    /// Connects and joins as the old client did. The inner error says why the server does not admit it.
    async fn attempt(&self, old: &Peer, ben: &mut Peer) -> Result<Result<Peer, String>, Stop> {
        let Self { cx, room, role, name, .. } = *self;
        let connected = Peer::connect_with(&cx.env, &cx.log, "ana again", room, role, old.values().clone()).await;
        let mut again = match connected {
            Ok(again) => again,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let joined = if cx.file().join.by == JoinBy::Connecting && cx.has(Feature::ChosenIds) {
            // A refusal is an error, and the connection may stay open.
            let answer = |event: &Event| event.is(EventName::Joined) || event.is_error();
            match again.until("an answer to her connection", answer).await {
                Ok(received) if received.event.is_error() => Err(Stop::fail("the server answers with an error")),
                answered => answered.map(drop),
            }
        } else {
            again.join(room, name).await.map(drop)
        };
        let joined = match joined {
            Ok(()) if cx.file().join.answer == JoinAnswer::Roster => self.is_in_a_call(&mut again, ben).await?,
            joined => joined.map_err(Stop::into_why),
        };
        match joined {
            Ok(()) => Ok(Ok(again)),
            Err(why) => {
                again.close().await;
                Ok(Err(why))
            }
        }
    }

    /// Calls ben: a list that confirms a join may name the old connection, but only a client that was admitted can call.
    async fn is_in_a_call(&self, again: &mut Peer, ben: &mut Peer) -> Result<Result<(), String>, Stop> {
        let since = last_line(ben);
        again.act(Operation::Call, &Act { to: Some(&ben.id), ..Act::default() })?;
        let rings = |event: &Event| event.is(EventName::Ringing) && event.from.as_ref() == Some(&self.old.id);
        let rang = tokio::select! { biased;
            rang = ben.until_received("ana's call", |seen| seen.line > since && rings(&seen.event)) => rang.is_ok(),
            _ = again.ended_soon() => false,
        };
        if !rang {
            return Ok(Err("she joined, but cannot call".to_owned()));
        }
        ben.act(Operation::Accept, &Act { to: Some(&self.old.id), ..Act::default() })?;
        let answered = again.until("ben's acceptance", |event| event.is(EventName::Answered)).await;
        Ok(answered.map(drop).map_err(Stop::into_why))
    }
}
