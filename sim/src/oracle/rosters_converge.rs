//! If a dialect has no ids, `states-as-specified` judges what clients know of each other, and `role-exclusive` which
//! clients are refused. That no client lists a peer that is gone is judged by `ghosts-purged` and `one-leave-notice`.

use std::collections::BTreeMap;

use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::history::Stay;
use crate::oracle::model::SLACK;

#[derive(Default)]
pub(crate) struct RostersConverge;

impl Oracle for RostersConverge {
    const SLUG: &'static str = "rosters-converge";
    const PROMISE: &'static str = "At the end, every client that requested to join is admitted or refused, and every client in a room knows all the others.";

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let mut found = never_answered(cx);
        let now = cx.now();
        let stays = cx.stays();
        let is_notified = |stay: &&&Stay| stay.dialect().names_others;
        let is_settled = |stay: &&&Stay| stay.joined.time + SLACK < now.time && cx.model.is_surely_there(stay, now);
        let settled: Vec<_> = stays.iter().filter(is_notified).filter(is_settled).collect();
        let mut rooms: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for stay in &settled {
            rooms.entry(&stay.room).or_default().push(stay);
        }
        for ours in &settled {
            let Some(view) = cx.model.views.get(&ours.node) else { continue };
            for theirs in rooms[&ours.room].iter().filter(|theirs| theirs.is_with(ours) && theirs.node != ours.node) {
                let is_known = cx.has_reported("roster-matches-model", &[ours.node, theirs.node]);
                if !view.contains_key(&theirs.id) && !is_known {
                    let (name, who, at) = (cx.name(ours.node), cx.who(&theirs.id), seconds(theirs.joined.time));
                    let room = &ours.room;
                    let message = format!("{name} was not notified of {who}, who has been in room `{room}` since {at}");
                    found.push((vec![ours.node, theirs.node], message));
                }
            }
        }
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

/// How many connections in a row the server may close after a join that it has not answered.
const CLOSED_MAX: usize = 3;

/// Clients whose join was never answered although their connection works, or whose connections the server closes in place
/// of an answer, again and again.
fn never_answered(cx: &OracleCx<'_>) -> Vec<(Vec<crate::event::NodeId>, String)> {
    let (now, history) = (cx.now(), &cx.model.history);
    let mut found = Vec::new();
    for node in cx.nodes_of_actors().filter(|node| cx.stay_at(*node).is_none()) {
        let closed = history.closed_in_a_row(node);
        if let Some((_, room)) = closed.first().and_then(|connection| connection.asked.last())
            && closed.len() >= CLOSED_MAX
        {
            let (name, times) = (cx.name(node), closed.len());
            let message = format!(
                "{name} requested {times} times to join room `{room}`, and each time the server closed the connection in place of an answer"
            );
            found.push((vec![node], message));
            continue;
        }
        let Some(connection) = history.connection_at(node, now.index) else { continue };
        let Some((asked, room)) = history.connections[connection].asked.last() else { continue };
        if history.connections[connection].refused.is_some_and(|refused| refused > *asked) {
            continue;
        }
        // One `SLACK` for the request and one for the response.
        if asked.time + 2 * SLACK < now.time && cx.model.has_received(connection, *asked, now.time) {
            let (name, at) = (cx.name(node), seconds(asked.time));
            found.push((vec![node], format!("{name} requested at {at} to join room `{room}`, but got no answer")));
        }
    }
    found
}
