//! A server must report that a client is gone within four heartbeats and five seconds after it last received data from
//! that client, and within five seconds after a client left or sent a close frame. A restarted server must not list any
//! client from before.

use crate::event::{Event, Message, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, seconds};

#[derive(Default)]
pub(crate) struct GhostsPurged;

impl Oracle for GhostsPurged {
    const SLUG: &'static str = "ghosts-purged";
    const PROMISE: &'static str = "A client that is gone is removed: at once if it left or sent a close frame, otherwise as soon as its missing pongs show it.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let What::Signaling(Signaling::Received(Message::Joined { room, roster, .. })) = &event.what else { return };
        let Some(reader) = cx.stay_at(event.node) else { return };
        let (asked, life) = (reader.asked(), cx.model.history.connections[reader.connection].life);
        let mut found = Vec::new();
        for member in roster {
            let Some(stay) = cx.stay_of(&member.id).filter(|stay| stay.room == *room && stay.id != reader.id) else {
                continue;
            };
            let (name, who) = (cx.name(event.node), cx.who(&member.id));
            let wrong = format!("{name} received a roster of room `{room}` that lists {who}, who");
            let theirs = &cx.model.history.connections[stay.connection];
            if theirs.life < life {
                found.push((stay.node, format!("{wrong} joined before the server restarted")));
            } else if cx.model.certain_leave_notice(stay).is_none_or(|(notified, _)| notified > asked)
                && let (Some(by), Some(ended)) = (cx.model.noticed_by(stay, asked), stay.ended)
                && by < asked.time
            {
                let (ended, by) = (seconds(ended.time), seconds(by));
                found.push((stay.node, format!("{wrong} was gone at {ended} and had to be removed by {by}")));
            }
        }
        for (node, message) in found {
            cx.violated(&[event.node, node], message);
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let mut found = Vec::new();
        for reader in cx.stays() {
            let now = cx.now();
            let Some(view) = cx.model.views.get(&reader.node).filter(|_| cx.model.is_surely_there(reader, now)) else {
                continue;
            };
            for (id, _) in view.iter().filter(|(_, notices)| notices.gone.is_none()) {
                let (name, room) = (cx.name(reader.node), &reader.room);
                let (since, by) = match cx.stay_of(id) {
                    Some(stay) if cx.model.leave_notice(stay).is_some() => continue,
                    Some(stay) => (stay.ended.map(|ended| ended.time), cx.model.noticed_by(stay, now)),
                    None => (None, cx.model.unanswered_noticed_by(room, now.index)),
                };
                let Some(by) = by.filter(|by| *by < now.time) else { continue };
                let since = since.map_or_else(String::new, |since| format!(", gone since {},", seconds(since)));
                let (who, by) = (cx.who(id), seconds(by));
                let message = format!(
                    "no client was notified that {who}{since} left room `{room}`, where {name} still lists it: the notice was due by {by}"
                );
                found.push((cx.with_owner(reader.node, id), message));
            }
        }
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}
