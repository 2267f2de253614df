//! **Whoever leaves is announced once, to each who knew them, and nobody is announced who is still there.**
//!
//! That nobody at all is told is judged by `ghosts-purged`: a server may need time to notice.

use crate::event::{Event, Message, NodeId, Signaling, What};
use crate::oracle::model::SLACK;
use crate::oracle::{Court, Oracle, seconds};

pub(crate) struct OneLeaveNotice;

impl Oracle for OneLeaveNotice {
    fn slug(&self) -> &'static str {
        "one-leave-notice"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let What::Signaling(Signaling::Received(Message::PeerLeft { room, id })) = &event.what else { return };
        let Some(stay) = court.stay_at(event.node) else { return };
        let is_elsewhere = |room| court.stay_of(id).is_some_and(|theirs| theirs.room != room);
        // Its own leaving, and what leaks from other rooms, are judged elsewhere.
        if stay.id == *id || stay.room != *room || is_elsewhere(room.clone()) {
            return;
        }
        let (name, who) = (court.name(event.node), court.who(id));
        let word = court.model.views.get(&event.node).and_then(|view| view.get(id));
        let message = match word.map(|word| word.gone) {
            None => format!("{name} was told that {who} left, who was never announced to it"),
            Some(Some(gone)) => format!("{name} was told twice that {who} left, first at {}", seconds(gone.time)),
            Some(None) => return,
        };
        let nodes = court.with_owner(event.node, id);
        court.violated(&nodes, message);
    }

    fn settle(&mut self, court: &mut Court<'_>) {
        let mut found: Vec<(Vec<NodeId>, String)> = Vec::new();
        for stay in court.stays() {
            let now = court.now();
            let Some(view) = court.model.views.get(&stay.node).filter(|_| court.model.is_surely_there(stay, now))
            else {
                continue;
            };
            let name = court.name(stay.node);
            for (id, word) in view {
                let Some(theirs) = court.stay_of(id) else { continue };
                let told = court.model.told_over(theirs).filter(|(told, _)| told.time + SLACK < now.time);
                match (word.gone, told) {
                    (Some(gone), _) if court.model.is_surely_there(theirs, now) => {
                        let at = seconds(gone.time);
                        let message =
                            format!("{name} was told at {at} that {} left, who is still there", court.who(id));
                        found.push((vec![stay.node, theirs.node], message));
                    }
                    (None, Some((told, witness))) if told > word.since => {
                        let (witness, at, who) = (court.name(witness), seconds(told.time), court.who(id));
                        let message = format!("{name} was never told that {who} left, although {witness} was at {at}");
                        found.push((vec![stay.node, theirs.node], message));
                    }
                    _ => {}
                }
            }
        }
        for (nodes, message) in found {
            court.violated(&nodes, message);
        }
    }
}
