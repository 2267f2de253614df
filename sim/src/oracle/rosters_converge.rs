//! **In the end whoever has asked is let in or refused, and everybody in a room knows everybody else in it.**
//!
//! Where the dialect names nobody, `states-as-specified` judges what they know of each other, and `role-exclusive` who is refused.
//! That they know nobody who is gone is the part of `ghosts-purged` and `one-leave-notice`.

use crate::event::Event;
use crate::oracle::model::{SLACK, Stay};
use crate::oracle::{Court, Oracle, seconds};

pub(crate) struct RostersConverge;

impl Oracle for RostersConverge {
    fn slug(&self) -> &'static str {
        "rosters-converge"
    }

    fn observe(&mut self, _event: &Event, _court: &mut Court<'_>) {}

    fn settle(&mut self, court: &mut Court<'_>) {
        let mut found = never_let_in(court);
        let now = court.now();
        let stays = court.stays();
        let is_told = |stay: &&&Stay| stay.dialect().names_others();
        let is_settled = |stay: &&&Stay| stay.joined.time + SLACK < now.time && court.model.is_surely_there(stay, now);
        let settled: Vec<_> = stays.iter().filter(is_told).filter(is_settled).collect();
        for ours in &settled {
            let Some(view) = court.model.views.get(&ours.node) else { continue };
            for theirs in settled.iter().filter(|theirs| theirs.is_with(ours) && theirs.node != ours.node) {
                let is_known = court.has_blamed("roster-matches-model", &[ours.node, theirs.node]);
                if !view.contains_key(&theirs.id) && !is_known {
                    let (name, who, at) = (court.name(ours.node), court.who(&theirs.id), seconds(theirs.joined.time));
                    let room = &ours.room;
                    let message = format!("{name} was never told of {who}, who is in room `{room}` with it since {at}");
                    found.push((vec![ours.node, theirs.node], message));
                }
            }
        }
        for (nodes, message) in found {
            court.violated(&nodes, message);
        }
    }
}

/// Clients whose join was never answered although their connection works.
fn never_let_in(court: &Court<'_>) -> Vec<(Vec<crate::event::NodeId>, String)> {
    let (now, history) = (court.now(), &court.model.history);
    let mut found = Vec::new();
    for node in court.nodes_of_actors().filter(|node| court.stay_at(*node).is_none()) {
        let Some(connection) = history.connection_at(node, now.index) else { continue };
        let Some((asked, room)) = history.connections[connection].asked.last() else { continue };
        if history.connections[connection].refused.is_some_and(|refused| refused > *asked) {
            continue;
        }
        // One way to ask and one to answer.
        if asked.time + 2 * SLACK < now.time && court.model.has_got(connection, *asked, now.time) {
            let (name, at) = (court.name(node), seconds(asked.time));
            found.push((vec![node], format!("{name} asked at {at} to join room `{room}` and was never answered")));
        }
    }
    found
}
