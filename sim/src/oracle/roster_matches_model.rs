//! A client that has asked to join, or is just leaving, may or may not be listed. A client that vanished is listed
//! until the server has noticed (`ghosts-purged`).

use std::collections::BTreeSet;

use crate::event::{ClientId, Event, Member, Message, NodeId, RoomName, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::history::Stay;

#[derive(Default)]
pub(crate) struct RosterMatchesModel;

impl Oracle for RosterMatchesModel {
    const SLUG: &'static str = "roster-matches-model";
    const PROMISE: &'static str = "A roster lists exactly the other clients in the room, and a client that joins later is announced once per join.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let found = match &event.what {
            What::Signaling(Signaling::Received(Message::Joined { room, roster, .. })) => {
                let Some(reader) = cx.stay_at(event.node) else { return };
                let mut found: Vec<_> = roster.iter().filter_map(|member| listed(member, room, reader, cx)).collect();
                found.extend(twice(roster).map(|id| (vec![event.node], format!("lists {} twice", cx.who(id)))));
                found.extend(missing(roster, reader, cx));
                let what =
                    format!("{} (id {}) received a roster of room `{room}` that", cx.name(event.node), reader.id);
                found.into_iter().map(|(nodes, wrong)| (nodes, format!("{what} {wrong}"))).collect()
            }
            What::Signaling(Signaling::Received(Message::PeerJoined { room, member })) => {
                let what = format!("{} received a join notice for room `{room}` that", cx.name(event.node));
                let wrong = announced(member, room, event.node, cx);
                wrong.map(|(nodes, wrong)| (nodes, format!("{what} {wrong}"))).into_iter().collect()
            }
            _ => Vec::new(),
        };
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

type Found = Option<(Vec<NodeId>, String)>;

/// Returns what is wrong with a member that is on a roster, or `None`.
fn listed(member: &Member, room: &RoomName, reader: &Stay, cx: &OracleCx<'_>) -> Found {
    let Member { id, .. } = member;
    let nodes = cx.with_owner(reader.node, id);
    let wrong = if *id == reader.id {
        "lists itself".to_owned()
    } else if let Some(stay) = cx.stay_of(id) {
        let notified = cx.model.certain_leave_notice(stay).filter(|(notified, _)| *notified < reader.asked());
        if stay.room != *room {
            format!("lists {}, who is in room `{}`", cx.who(id), stay.room)
        } else if let Some((notified, witness)) = notified {
            let (witness, notified) = (cx.name(witness), seconds(notified.time));
            format!("lists {}, but {witness} had been notified at {notified} that this client left", cx.who(id))
        } else {
            misnamed(member, stay, cx)?
        }
    } else if cx.model.history.may_be_unanswered(room, cx.now().index) {
        return None;
    } else {
        format!("lists {}, but no client was given this id", cx.who(id))
    };
    Some((nodes, wrong))
}

/// The members that are missing from a roster.
fn missing(roster: &[Member], reader: &Stay, cx: &OracleCx<'_>) -> Vec<(Vec<NodeId>, String)> {
    let is_due = |stay: &&Stay| {
        stay.node != reader.node
            && stay.is_with(reader)
            && stay.joined < reader.asked()
            && cx.model.is_surely_there(stay, cx.now())
            && cx.model.leave_notice(stay).is_none()
            && !roster.iter().any(|member| member.id == stay.id)
    };
    let life = |stay: &Stay| cx.model.history.connections[stay.connection].life;
    let in_room = cx.model.history.stays_in(&reader.room, cx.now().index);
    let mut due: Vec<_> = in_room.filter(is_due).filter(|stay| life(stay) == life(reader)).collect();
    due.sort_by_key(|stay| stay.node);
    due.into_iter().map(|stay| (vec![reader.node, stay.node], format!("lacks {}", cx.who(&stay.id)))).collect()
}

/// Returns what is wrong with the announcement of a member, or `None`.
fn announced(member: &Member, room: &RoomName, reader: NodeId, cx: &OracleCx<'_>) -> Found {
    let Member { id, .. } = member;
    let nodes = cx.with_owner(reader, id);
    let Some(stay) = cx.stay_of(id) else {
        let may_be = cx.model.history.may_be_unanswered(room, cx.now().index);
        return (!may_be).then(|| (nodes, format!("names {}, but no client was given this id", cx.who(id))));
    };
    // Other oracles judge announcements of the client itself and of members of other rooms.
    if stay.room != *room || stay.node == reader {
        return None;
    }
    let joins = stay.asked.iter().filter(|asked| **asked < cx.now()).count();
    let known = cx.model.views.get(&reader).and_then(|view| view.get(id)).map_or(0, |notices| notices.announced);
    let wrong = if known >= joins {
        format!("names {}, which was announced before", cx.who(id))
    } else {
        misnamed(member, stay, cx)?
    };
    Some((nodes, wrong))
}

/// Returns what is wrong with a member's display name: it must be its actor's name.
fn misnamed(member: &Member, stay: &Stay, cx: &OracleCx<'_>) -> Option<String> {
    let name = cx.name(stay.node);
    let called = member.name.as_deref().filter(|called| *called != name)?;
    Some(format!("calls {} `{called}`", cx.who(&member.id)))
}

fn twice(roster: &[Member]) -> impl Iterator<Item = &ClientId> {
    let mut seen = BTreeSet::new();
    roster.iter().map(|member| &member.id).filter(move |id| !seen.insert(*id))
}
