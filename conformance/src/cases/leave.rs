//! Members that leave, in every way and order, and those who stay.

use futures_util::future::join;

use super::DELIVERY;
use super::bystander::{Bystanders, signal_once};
use super::room::{joins_and_sees, roster};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::file::Situation;
use crate::dialect::{Act, Event, EventName, Feature, Operation, Who};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "room/leave-once",
        Declared,
        "A member that leaves, closes its connection or joins another room is announced as left exactly once.",
        run!(leave_once),
    )
    .needs(DELIVERY)
    .requires(&[Feature::LeaveNotice]),
    &Case::new(
        "room/abrupt-leave",
        Declared,
        "A member that loses its TCP connection is announced as left exactly once and is removed from the roster.",
        run!(abrupt_leave),
    )
    .needs(DELIVERY)
    .requires(&[Feature::LeaveNotice])
    // In some dialects every client receives a list of all users at each change, and other cases would cause changes.
    .alone(),
    &Case::new(
        "room/leave-foreign-room",
        Declared,
        "Leaving a room that the client is not in has no effect on any room.",
        run!(leave_foreign_room),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Rooms, Feature::Leave, Feature::LeaveOfRoom]),
    &Case::new(
        "room/move",
        Declared,
        "A client that joins another room keeps its id, is listed and reached there only, and finds the members of that room only.",
        run!(moves),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Moving, Feature::Crowd]),
    &Case::new(
        "room/first-leaves",
        Declared,
        "When the first member of a room leaves, in whatever way, those who stay are notified once and can still signal to each other and to new members.",
        run!(first_leaves),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Crowd]),
    &Case::new(
        "room/leave-together",
        Declared,
        "Two members that leave at the same time are each announced exactly once, and those who stay can still signal to each other and to new members.",
        run!(leave_together),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Crowd, Feature::LeaveNotice]),
];

/// How a member leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Leaves,
    Moves,
    Closes,
    HangsUp,
}

impl Way {
    /// The ways that the dialect has.
    pub(super) fn all(cx: &Cx) -> Vec<Self> {
        let has = |way: &Self| match way {
            Self::Leaves => cx.has(Feature::Leave),
            Self::Moves => cx.has(Feature::Moving),
            Self::Closes | Self::HangsUp => true,
        };
        [Self::Leaves, Self::Moves, Self::Closes, Self::HangsUp].into_iter().filter(has).collect()
    }

    /// Whether the others are notified.
    pub(super) fn is_announced(self, cx: &Cx) -> bool {
        let stays_connected = matches!(self, Self::Leaves | Self::Moves);
        cx.has(Feature::LeaveNotice) && (!stays_connected || cx.has(Feature::LeaveByMessageNotice))
    }

    /// In words, after "who".
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Leaves => "left by a message",
            Self::Moves => "joined another room",
            Self::Closes => "closed the connection",
            Self::HangsUp => "lost the connection",
        }
    }

    /// Makes a member leave.
    pub(super) async fn go(self, cx: &Cx, mut peer: Peer) -> Result<(), Stop> {
        match self {
            Self::Leaves => {
                peer.leave();
                // The connection stays open, so only the message can have caused a notice.
                cx.keep(peer);
            }
            Self::Moves => {
                peer.join(&cx.room(), None).await?;
                cx.keep(peer);
            }
            Self::Closes => peer.close().await,
            Self::HangsUp => peer.hang_up(),
        }
        Ok(())
    }
}

/// Checks that two members who stay are notified exactly once of each one who has left, if that is announced, and that
/// they and a new member signal to each other.
async fn stay(cx: &Cx, gone: &[(String, Who)], announced: bool, [mut ben, mut cleo]: [Peer; 2]) -> Result<(), Stop> {
    for (what, who) in gone.iter().filter(|_| announced) {
        for member in [&mut ben, &mut cleo] {
            member.until(what, |event| event.is_left(who)).await?;
        }
    }
    if let Err(stop) = signal_once(cx, &mut ben, &mut cleo).await {
        // A dialect without notices need not have rooms that outlive their first member.
        if !cx.has(Feature::LeaveNotice) && (ben.end.is_some() || cleo.end.is_some()) {
            cx.acceptable("the room is closed when its first member leaves");
            return Ok(());
        }
        let whose: Vec<_> = gone.iter().map(|(what, _)| what.trim_start_matches("the leave notice for ")).collect();
        return Err(stop.reworded(|why| format!("{why} (after {})", whose.join(" and "))));
    }
    // Without a notice, the place of those who left may not be free yet.
    if !announced && !cx.fits(3 + gone.len()) {
        return Ok(());
    }
    let mut dora = cx.connect("dora", &ben.room).await?;
    if announced {
        let left: Vec<_> = gone.iter().map(|(_, who)| &who.id).collect();
        joins_and_sees(cx, &mut dora, &ben.room, roster(&[(&ben, None), (&cleo, None)]), &left).await?;
    } else {
        // The server may not have noticed yet that they left.
        dora.join(&ben.room, None).await?;
    }
    cx.settle(&mut dora, &mut ben).await?;
    cx.settle(&mut dora, &mut cleo).await?;
    cx.fence(&mut dora, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut ben, &mut [&mut cleo, &mut dora]).await?;
    for (what, who) in gone.iter().filter(|_| announced) {
        for member in [&ben, &cleo] {
            member.received_once(what, |event| event.is_left(who))?;
        }
        dora.never_received("received a leave notice for a member that left before she joined", |event| {
            event.is_left(who)
        })?;
    }
    Ok(())
}

async fn first_leaves(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    for way in Way::all(cx) {
        let room = cx.room();
        let [ana, ben, cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
        let gone = (format!("the leave notice for ana, who joined first and {},", way.words()), ana.who());
        way.go(cx, ana).await.map_err(Stop::into_setup)?;
        stay(cx, &[gone], way.is_announced(cx), [ben, cleo]).await?;
    }
    bystanders.received_nothing(cx).await
}

async fn leave_together(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.fits(4) {
        return Err(Stop::Unsupported("the dialect allows only three members".to_owned()));
    }
    let bystanders = Bystanders::gather(cx).await?;
    let by_message = (cx.has(Feature::Leave) && Way::Leaves.is_announced(cx)).then_some([Way::Leaves; 2]);
    for ways in [Some([Way::Closes, Way::HangsUp]), by_message].into_iter().flatten() {
        let room = cx.room();
        let [ana, ben, cleo, dora] = cx.members(&room, ["ana", "ben", "cleo", "dora"]).await?;
        let together = |name: &str, way: Way| format!("the leave notice for {name}, who {} with another,", way.words());
        let gone = [(together("ana", ways[0]), ana.who()), (together("cleo", ways[1]), cleo.who())];
        let (first, third) = join(ways[0].go(cx, ana), ways[1].go(cx, cleo)).await;
        first.and(third).map_err(Stop::into_setup)?;
        stay(cx, &gone, true, [ben, dora]).await?;
    }
    bystanders.received_nothing(cx).await
}

async fn leave_once(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let crowd = cx.has(Feature::Crowd);
    let mut ana = cx.join("ana", &room).await?;
    let mut ben = if crowd { Some(cx.join("ben", &room).await?) } else { None };
    if let Some(ben) = &mut ben {
        cx.settle(&mut ana, ben).await.map_err(Stop::into_setup)?;
    }
    let role = cx.answers();
    let mut gone: Vec<(&str, Who)> = Vec::new();
    for way in ["leaves", "moves", "closes", "closes at last"] {
        let mut cleo = cx.join_as("cleo", &room, role.as_deref()).await?;
        if crowd {
            cx.settle(&mut ana, &mut cleo).await.map_err(Stop::into_setup)?;
        }
        let who = cleo.who();
        match way {
            "leaves" if cx.has(Feature::Leave) && cx.has(Feature::LeaveByMessageNotice) => cleo.leave(),
            "moves" if cx.has(Feature::Moving) && cx.has(Feature::LeaveByMessageNotice) => {
                drop(cleo.join(&cx.room(), None).await?)
            }
            "leaves" | "moves" => {
                cleo.close().await;
                continue_after(&mut ana, ben.as_mut(), &who, "closes").await?;
                gone.push(("closes", who));
                continue;
            }
            _ => {
                cleo.close().await;
                continue_after(&mut ana, ben.as_mut(), &who, way).await?;
                gone.push((way, who));
                continue;
            }
        }
        continue_after(&mut ana, ben.as_mut(), &who, way).await?;
        gone.push((way, who));
        // She has left already, so her close must not cause another notice.
        cleo.close().await;
    }
    // The reaction to the last one takes the same route as all others, so it works as a sentinel.
    match &mut ben {
        Some(ben) => {
            cx.fence(&mut ana, &mut [ben]).await?;
            cx.fence(ben, &mut [&mut ana]).await?;
        }
        None => {
            let mut dora = cx.join_as("dora", &room, role.as_deref()).await?;
            cx.settle(&mut ana, &mut dora).await.map_err(Stop::into_setup)?;
            cx.fence(&mut dora, &mut [&mut ana]).await?;
        }
    }
    for member in [Some(&ana), ben.as_ref()].into_iter().flatten() {
        for (way, who) in &gone {
            if who.id.is_empty() || !cx.leave_notices_have_ids() {
                let count = member.count(|event| event.is_left(who));
                if count != gone.len() {
                    let name = &member.name;
                    return Err(Stop::fail(format!(
                        "{} members left, but {name} received {count} leave notices",
                        gone.len()
                    )));
                }
                continue;
            }
            member.received_once(&format!("the leave notice for cleo, who {way},"), |event| event.is_left(who))?;
        }
    }
    let elsewhere =
        |event: &Event| event.is(EventName::MemberLeft) && event.room.as_ref().is_some_and(|named| *named != room);
    ana.never_received("received a notice that names another room", elsewhere)
}

async fn continue_after(ana: &mut Peer, ben: Option<&mut Peer>, who: &Who, way: &str) -> Result<(), Stop> {
    let what = format!("the leave notice for cleo, who {way},");
    ana.until(&what, |event| event.is_left(who)).await?;
    if let Some(ben) = ben {
        ben.until(&what, |event| event.is_left(who)).await?;
    }
    Ok(())
}

async fn abrupt_leave(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    if !cx.has(Feature::Crowd) {
        let [mut ana, ben] = cx.members(&room, ["ana", "ben"]).await?;
        let gone = ben.who();
        ben.hang_up();
        ana.until("the leave notice for ben, who lost his connection,", |event| event.is_left(&gone)).await?;
        let role = cx.file().roles.as_ref().map(|roles| roles.answers.clone());
        let mut cleo = cx.connect_as("cleo", &room, role.as_deref()).await?;
        joins_and_sees(cx, &mut cleo, &room, roster(&[(&ana, None)]), &[&gone.id]).await?;
        cx.settle(&mut ana, &mut cleo).await.map_err(Stop::into_setup)?;
        cx.fence(&mut cleo, &mut [&mut ana]).await?;
        return ana.received_once("the leave notice for ben", |event| event.is_left(&gone));
    }
    let [mut ana, mut ben, cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    let gone = cleo.who();
    cleo.hang_up();
    for member in [&mut ana, &mut ben] {
        member.until("the leave notice for cleo, who lost her connection,", |event| event.is_left(&gone)).await?;
    }
    let mut dora = cx.connect("dora", &room).await?;
    joins_and_sees(cx, &mut dora, &room, roster(&[(&ana, None), (&ben, None)]), &[&gone.id]).await?;
    cx.settle(&mut ana, &mut dora).await.map_err(Stop::into_setup)?;
    let last = dora.who();
    dora.hang_up();
    ana.until("the leave notice for dora, who lost her connection,", |event| event.is_left(&last)).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    for member in [&ana, &ben] {
        member.received_once("the leave notice for cleo", |event| event.is_left(&gone))?;
    }
    Ok(())
}

async fn leave_foreign_room(cx: &mut Cx) -> Result<(), Stop> {
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    // One of the rooms does not exist.
    for foreign in [&room, &cx.room()] {
        eve.act(Operation::Leave, &Act { room: foreign, ..Act::default() })?;
    }
    let left = |event: &Event| event.is(EventName::MemberLeft);
    let is_in = cx.fence(&mut eve, &mut [&mut fred]).await;
    let gone = |event: &Event| event.is_left(&eve.who());
    fred.never_received("received a leave notice for eve, who tried to leave other rooms", gone)?;
    is_in?;
    cx.fence(&mut fred, &mut [&mut eve]).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        member.never_received("received a leave notice after eve, who is in another room, tried to leave", left)?;
    }
    let what = "leaving a room that the client is not in";
    cx.reaction(what, Situation::NotAMember, eve.count(Event::is_error) >= 2, None)?;
    eve.errors_give(0, what, cx.file().refusals.of(Situation::NotAMember))
}

async fn moves(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let mut cleo = cx.join("cleo", &elsewhere).await?;
    let mut dora = cx.connect("dora", &room).await?;
    joins_and_sees(cx, &mut dora, &room, roster(&[(&ana, None), (&ben, None)]), &[]).await?;
    let who = dora.who();
    let announced_leave = Way::Moves.is_announced(cx);
    let announced = cx.has(Feature::JoinNotice) && !cx.file().roster.of_server;
    // There and back: by then each room has been both the earlier one and the present one.
    let ways = [(&elsewhere, "the other room"), (&room, "her first room")];
    for (index, (target, which)) in ways.into_iter().enumerate() {
        let moved = |stop: Stop| stop.reworded(|why| format!("dora joined {which}: {why}"));
        let expected = if index == 0 { roster(&[(&cleo, None)]) } else { roster(&[(&ana, None), (&ben, None)]) };
        joins_and_sees(cx, &mut dora, target, expected, &[]).await.map_err(moved)?;
        if dora.id != who.id {
            let why = format!("dora joined another room and got another id: {} became {}", who.id, dora.id);
            return Err(Stop::fail(why));
        }
        let (stay, meet) = if index == 0 { (&mut ana, &mut cleo) } else { (&mut cleo, &mut ana) };
        if announced_leave {
            stay.until("the leave notice for dora", |event| event.is_left(&who)).await.map_err(moved)?;
        }
        if announced {
            meet.until("the join notice for dora", |event| event.is_joined(&who)).await.map_err(moved)?;
        }
        cx.settle(meet, &mut dora).await.map_err(moved)?;
        let word = cx.word("not-for-dora");
        if cx.has(Feature::Broadcast) {
            stay.broadcast_word(&word);
        }
        if cx.has(Feature::Targeted) {
            stay.send_word(&dora, &word);
        }
        signal_once(cx, meet, &mut dora).await.map_err(moved)?;
        if !cx.has(Feature::LeaveNotice) {
            continue;
        }
        // A newcomer to the room that dora has left does not find her.
        let newcomer_room = stay.room.clone();
        let mut eve = cx.connect("eve", &newcomer_room).await?;
        let expected = if index == 0 { roster(&[(&ana, None), (&ben, None)]) } else { roster(&[(&cleo, None)]) };
        joins_and_sees(cx, &mut eve, &newcomer_room, expected, &[&who.id]).await.map_err(moved)?;
        let (stay, meet) = if index == 0 { (&mut ana, &mut cleo) } else { (&mut cleo, &mut ana) };
        cx.settle(stay, &mut eve).await.map_err(Stop::into_setup)?;
        cx.fence(stay, &mut [&mut eve]).await?;
        cx.fence(meet, &mut [&mut dora]).await?;
        dora.never_received("received a signal of the room that she has left", |event| event.has_word(&word))
            .map_err(moved)?;
        let gone = eve.who();
        eve.close().await;
        stay.until("the leave notice for eve", |event| event.is_left(&gone)).await?;
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben, &cleo] {
        if announced_leave {
            member.received_once("the leave notice for dora", |event| event.is_left(&who))?;
        }
        let joined = member.count(|event| event.is_joined(&who));
        let expected = if member.room == room { 2 } else { 1 };
        if announced && joined != expected {
            let name = &member.name;
            return Err(Stop::fail(format!(
                "dora joined {name}'s room {expected} times, but {name} received {joined} join notices"
            )));
        }
    }
    bystanders.received_nothing(cx).await
}
