//! **Whoever is gone is struck off: at once if they said so, else as soon as the missing pongs must have shown it.**
//!
//! The server has four heartbeats and five seconds from the last it heard of a client, and five seconds from a farewell. One that was
//! restarted knows nobody of before.

use crate::event::{Event, Message, Signaling, What};
use crate::oracle::{Court, Oracle, seconds};

pub(crate) struct GhostsPurged;

impl Oracle for GhostsPurged {
    fn slug(&self) -> &'static str {
        "ghosts-purged"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let What::Signaling(Signaling::Received(Message::Joined { room, roster, .. })) = &event.what else { return };
        let Some(reader) = court.stay_at(event.node) else { return };
        let (asked, life) = (reader.asked(), court.model.history.connections[reader.connection].life);
        let mut found = Vec::new();
        for member in roster {
            let Some(stay) = court.stay_of(&member.id).filter(|stay| stay.room == *room && stay.id != reader.id) else {
                continue;
            };
            let (name, who) = (court.name(event.node), court.who(&member.id));
            let told = format!("{name} was told a roster of room `{room}` that lists {who}, who");
            let theirs = &court.model.history.connections[stay.connection];
            if theirs.life < life {
                found.push((stay.node, format!("{told} was there before the server was restarted")));
            } else if court.model.told_over(stay).is_none_or(|(told, _)| told > asked)
                && let (Some(by), Some(ended)) = (court.model.noticed_by(stay, asked), stay.ended)
                && by < asked.time
            {
                let (ended, by) = (seconds(ended.time), seconds(by));
                found.push((stay.node, format!("{told} is gone since {ended} and should be struck off since {by}")));
            }
        }
        for (node, message) in found {
            court.violated(&[event.node, node], message);
        }
    }

    fn settle(&mut self, court: &mut Court<'_>) {
        let mut found = Vec::new();
        for reader in court.stays() {
            let now = court.now();
            let Some(view) = court.model.views.get(&reader.node).filter(|_| court.model.is_surely_there(reader, now))
            else {
                continue;
            };
            for (id, _) in view.iter().filter(|(_, word)| word.gone.is_none()) {
                let (name, room) = (court.name(reader.node), &reader.room);
                let (since, by) = match court.stay_of(id) {
                    Some(stay) if court.model.told_over(stay).is_some() => continue,
                    Some(stay) => (stay.ended.map(|ended| ended.time), court.model.noticed_by(stay, now)),
                    None => (None, court.model.unanswered_noticed_by(room, now.index)),
                };
                let Some(by) = by.filter(|by| *by < now.time) else { continue };
                let since = since.map_or_else(String::new, |since| format!(", gone since {},", seconds(since)));
                let (who, by) = (court.who(id), seconds(by));
                let message = format!(
                    "nobody was told that {who}{since} left room `{room}`, where {name} still counts on them: it was due by {by}"
                );
                found.push((court.with_owner(reader.node, id), message));
            }
        }
        for (nodes, message) in found {
            court.violated(&nodes, message);
        }
    }
}
