//! **No two clients have the same id at once, and none is given anew while somebody could still address its old owner.**
//!
//! After a restart the server cannot know the ids of before: they do not count.

use scenarios::Role;

use crate::event::{Event, Message, NodeId, Signaling, What};
use crate::oracle::{Court, Oracle};

pub(crate) struct UniqueLivePeerId;

impl Oracle for UniqueLivePeerId {
    fn slug(&self) -> &'static str {
        "unique-live-peer-id"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        if let Some((node, message)) = reused(event, court) {
            court.violated(&[event.node, node], message);
        }
    }
}

/// The old owner of an id that is given to somebody, if it may not be.
fn reused(event: &Event, court: &Court<'_>) -> Option<(NodeId, String)> {
    let What::Signaling(Signaling::Received(Message::Joined { id, .. } | Message::Admitted { id, .. })) = &event.what
    else {
        return None;
    };
    let (history, now) = (&court.model.history, court.now());
    let new = history.stay_at(event.node, now.index)?;
    let life = history.connections[new.connection].life;
    let others = history.stays_under(id).filter(|old| {
        old.connection != new.connection && old.joined < now && history.connections[old.connection].life == life
    });
    let (name, is_chosen) = (court.name(event.node), new.role == Role::User);
    for old in others {
        let owner = court.name(old.node);
        if history.connections[old.connection].ended.is_none_or(|ended| ended > now) {
            return Some((old.node, format!("{name} was given the id {id}, which {owner} has")));
        }
        let still_knows = court.model.views.iter().find(|(node, view)| {
            // A user takes its own name again.
            let word = view.get(id).filter(|word| word.gone.is_none() && word.since < new.asked() && !is_chosen);
            **node != event.node && word.is_some()
        });
        if let Some((node, _)) = still_knows {
            let witness = court.name(*node);
            let message = format!("{name} was given the id {id}, by which {witness} still knows {owner}, who is gone");
            return Some((old.node, message));
        }
    }
    None
}
