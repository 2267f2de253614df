//! **A roster lists everybody else in the room and nobody who is not there; whoever comes later is announced once for each time they join.**
//!
//! Who has asked to join, or is just leaving, may be on it or not. Somebody who vanished is on it until the server has noticed
//! (`ghosts-purged`).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::event::{Event, Member, Message, NodeId, Signaling, What};
use crate::oracle::model::Stay;
use crate::oracle::{Court, Oracle, seconds};

pub(crate) struct RosterMatchesModel;

impl Oracle for RosterMatchesModel {
    fn slug(&self) -> &'static str {
        "roster-matches-model"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let found = match &event.what {
            What::Signaling(Signaling::Received(Message::Joined { room, roster, .. })) => {
                let Some(reader) = court.stay_at(event.node) else { return };
                let mut found: Vec<_> =
                    roster.iter().filter_map(|member| listed(member, room, reader, court)).collect();
                found.extend(twice(roster).map(|id| (vec![event.node], format!("lists {} twice", court.who(id)))));
                found.extend(missing(roster, reader, court));
                let told =
                    format!("{} (id {}) was told a roster of room `{room}` that", court.name(event.node), reader.id);
                found.into_iter().map(|(nodes, wrong)| (nodes, format!("{told} {wrong}"))).collect()
            }
            What::Signaling(Signaling::Received(Message::PeerJoined { room, member })) => {
                let told = format!("{} was told that somebody came to room `{room}`:", court.name(event.node));
                let wrong = announced(member, room, event.node, court);
                wrong.map(|(nodes, wrong)| (nodes, format!("{told} {wrong}"))).into_iter().collect()
            }
            _ => Vec::new(),
        };
        for (nodes, message) in found {
            court.violated(&nodes, message);
        }
    }
}

type Found = Option<(Vec<NodeId>, String)>;

/// What is wrong with somebody who is on a roster.
fn listed(member: &Member, room: &Arc<str>, reader: &Stay, court: &Court<'_>) -> Found {
    let Member { id, .. } = member;
    let nodes = court.with_owner(reader.node, id);
    let wrong = if *id == reader.id {
        "lists itself".to_owned()
    } else if let Some(stay) = court.stay_of(id) {
        let told = court.model.told_over(stay).filter(|(told, _)| *told < reader.asked());
        if stay.room != *room {
            format!("lists {}, who is in room `{}`", court.who(id), stay.room)
        } else if let Some((told, witness)) = told {
            let (witness, told) = (court.name(witness), seconds(told.time));
            format!("lists {}, of whom {witness} had been told at {told} that they left", court.who(id))
        } else {
            misnamed(member, stay, court)?
        }
    } else if court.model.history.may_be_unanswered(room, court.now().index) {
        return None;
    } else {
        format!("lists {}: nobody was given this id", court.who(id))
    };
    Some((nodes, wrong))
}

/// Who should be on a roster and is not.
fn missing(roster: &[Member], reader: &Stay, court: &Court<'_>) -> Vec<(Vec<NodeId>, String)> {
    let is_due = |stay: &&Stay| {
        stay.node != reader.node
            && stay.is_with(reader)
            && stay.joined < reader.asked()
            && court.model.is_surely_there(stay, court.now())
            && court.model.told_over(stay).is_none()
            && !roster.iter().any(|member| member.id == stay.id)
    };
    let life = |stay: &Stay| court.model.history.connections[stay.connection].life;
    let due = court.stays().into_iter().filter(is_due).filter(|stay| life(stay) == life(reader));
    due.map(|stay| (vec![reader.node, stay.node], format!("lacks {}", court.who(&stay.id)))).collect()
}

/// What is wrong with an announcement.
fn announced(member: &Member, room: &Arc<str>, reader: NodeId, court: &Court<'_>) -> Found {
    let Member { id, .. } = member;
    let nodes = court.with_owner(reader, id);
    let Some(stay) = court.stay_of(id) else {
        let may_be = court.model.history.may_be_unanswered(room, court.now().index);
        return (!may_be).then(|| (nodes, format!("{}, but nobody was given this id", court.who(id))));
    };
    // Its own coming, and that of people of other rooms, are judged elsewhere.
    if stay.room != *room || stay.node == reader {
        return None;
    }
    let joins = stay.asked.iter().filter(|asked| **asked < court.now()).count();
    let known = court.model.views.get(&reader).and_then(|view| view.get(id)).map_or(0, |word| word.announced);
    let wrong = if known >= joins {
        format!("{}, of whom it knew already", court.who(id))
    } else {
        misnamed(member, stay, court)?
    };
    Some((nodes, wrong))
}

/// A client calls itself by its actor's name.
fn misnamed(member: &Member, stay: &Stay, court: &Court<'_>) -> Option<String> {
    let name = court.name(stay.node);
    let called = member.name.as_deref().filter(|called| *called != name)?;
    Some(format!("calls {} `{called}`", court.who(&member.id)))
}

fn twice(roster: &[Member]) -> impl Iterator<Item = &Arc<str>> {
    let mut seen = BTreeSet::new();
    roster.iter().map(|member| &member.id).filter(move |id| !seen.insert(*id))
}
