//! **Whoever leaves is announced once, to each who knew them, and nobody is announced who is still there.**
//!
//! That nobody at all is told is judged by `ghosts-purged`: a server may need time to notice. Of a sender or viewer the other is told, without
//! a name: no more often than one can have left. That it is told at all is the part of `states-as-specified`.

use std::collections::BTreeMap;
use std::sync::Arc;

use scenarios::Role;

use crate::event::{Event, Message, NodeId, Signaling, What};
use crate::oracle::model::{SLACK, Stay};
use crate::oracle::role_exclusive::holders;
use crate::oracle::{Court, Oracle, seconds};

#[derive(Default)]
pub(crate) struct OneLeaveNotice {
    /// By connection, how often its client was told that its partner left.
    partners_left: BTreeMap<usize, usize>,
}

impl Oracle for OneLeaveNotice {
    fn slug(&self) -> &'static str {
        "one-leave-notice"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        if let What::Signaling(Signaling::Received(Message::PartnerLeft { room })) = &event.what
            && let Some(message) = self.of_a_partner(event.node, room, court)
        {
            court.violated(&[event.node], message);
        }
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

impl OneLeaveNotice {
    /// What is wrong with word that a client's partner left.
    fn of_a_partner(&mut self, node: NodeId, room: &Arc<str>, court: &Court<'_>) -> Option<String> {
        let stay = court.stay_at(node)?;
        let other = if stay.role == Role::Sender { Role::Viewer } else { Role::Sender };
        let told = self.partners_left.entry(stay.connection).or_default();
        *told += 1;
        let now = court.now();
        let may_have_left = |them: &&Stay| {
            let had_gone = court.model.noticed_by(them, stay.asked()).is_some_and(|by| by < stay.asked().time);
            !had_gone && !court.model.is_surely_there(them, now)
        };
        let left = holders(court, other, room, stay.connection).filter(may_have_left).count();
        let unanswered = court.model.history.unanswered.iter().filter(|join| join.room == *room && join.asked < now);
        let most = left + unanswered.count();
        let (name, other) = (court.name(node), other.name());
        (*told > most)
            .then(|| format!("{name} was told for the {told}. time that its {other} left, but {most} can have"))
    }
}
