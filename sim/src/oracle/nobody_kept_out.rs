//! Until a server notices that a client has vanished, it refuses that client's role or name to everyone, even to the
//! same client. `role-exclusive` and `ghosts-purged` judge whether it takes too long. But even if it does not, a
//! scenario that ends like that ends with a client that cannot join, and with a partner that waits in vain.
//!
//! Not for real sockets: how long a server at a URL may take depends on its heartbeat, which can be longer than the
//! scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use scenarios::Role;

use crate::event::{ClientId, Event, Message, NodeId, Signaling, What};
use crate::oracle::call_states::CallState;
use crate::oracle::cx::{Judges, Oracle, OracleCx, seconds};
use crate::oracle::history::Stay;

/// Time within which a client joins when nothing is in its way: twice the pause after which it asks again.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct NobodyKeptOut {
    /// Since when each client has been refused.
    refused: BTreeMap<NodeId, Duration>,
}

impl Oracle for NobodyKeptOut {
    const SLUG: &'static str = "nobody-kept-out";
    const PROMISE: &'static str =
        "At the end, no client is refused its role or its name because of a connection that is gone.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, _cx: &mut OracleCx<'_>) {
        match &event.what {
            What::Machine(_)
            | What::Signaling(Signaling::Received(Message::Joined { .. } | Message::Admitted { .. })) => {
                self.refused.remove(&event.node);
            }
            What::Signaling(Signaling::Received(Message::Refused { why, .. })) if why.is_join() => {
                self.refused.entry(event.node).or_insert(event.at);
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let found: Vec<_> = self.refused.iter().filter_map(|(node, since)| judge(*node, *since, cx)).collect();
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

fn judge(node: NodeId, since: Duration, cx: &OracleCx<'_>) -> Option<(Vec<NodeId>, String)> {
    let (now, history) = (cx.now(), &cx.model.history);
    let is_long_ago = |at: Duration| at + PATIENCE < now.time;
    let connection = history.connection_at(node, now.index).filter(|connection| cx.model.is_served(*connection))?;
    let dialled = &history.connections[connection];
    let (_, room) = dialled.asked_before(now)?;
    if dialled.refused.is_none() || !is_long_ago(since) {
        return None;
    }
    let actor = &cx.scenario.actors[cx.actor(node)?];
    let spoken = cx.model.dialects.spoken(actor.plays, actor.over);
    let own = spoken.id_of(&actor.name, &actor.room);
    let has_name = own.is_some();
    let name = own.unwrap_or_else(|| ClientId::from(actor.name.as_str()));
    let is_holder = |stay: &&Stay| {
        let is_same = if has_name { stay.id == name } else { stay.role == actor.plays };
        is_same
            && stay.room == room
            && stay.role.dialect() == actor.plays.dialect()
            && stay.asked() < now
            && history.connections[stay.connection].life == dialled.life
    };
    // A client whose join was not answered may be in the room without knowing it.
    let may_be_there = history
        .unanswered
        .iter()
        .any(|join| join.room == room && join.node != node && join.ended.is_none_or(|ended| !is_long_ago(ended.time)));
    let holders: Vec<_> = history.stays.iter().filter(is_holder).collect();
    let are_gone = holders.iter().all(|stay| stay.ended.is_some_and(|ended| ended < now && is_long_ago(ended.time)));
    let last = holders.iter().max_by_key(|stay| stay.ended).filter(|_| are_gone && !may_be_there)?;
    let gone = seconds(last.ended?.time);
    let why = if last.node == node {
        format!("its own earlier connection, which it lost at {gone}")
    } else {
        format!("{}, who has been gone since {gone}", cx.name(last.node))
    };
    let what = if has_name { "its name".to_owned() } else { role_in(actor.plays, &room) };
    let mut message = format!("{} has been refused {what} since {} because of {why}", cx.name(node), seconds(since));
    let waiting = cx.stays().into_iter().find(|stay| waits_for(stay, actor.plays, &name, &room, cx));
    if let Some(partner) = waiting {
        message.push_str(&format!("; {} waits for it", cx.name(partner.node)));
    }
    Some(([node].into_iter().chain(waiting.map(|stay| stay.node)).collect(), message))
}

fn role_in(role: Role, room: &str) -> String {
    format!("the role of {} in room `{room}`", role.name())
}

/// Whether a client expects to be connected to one with this role and name.
fn waits_for(stay: &Stay, role: Role, name: &ClientId, room: &str, cx: &OracleCx<'_>) -> bool {
    stay.dialect().partner(stay.role) == Some(role) && *stay.room == *room
        || cx.model.call_states.state(stay.node).0 == CallState::InCall(name.clone())
}
