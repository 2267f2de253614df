//! Ids from before a restart of the server do not count: it cannot know them.

use crate::event::{Event, Message, NodeId, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx};
use crate::oracle::model::Notices;

#[derive(Default)]
pub(crate) struct UniqueLivePeerId;

impl Oracle for UniqueLivePeerId {
    const SLUG: &'static str = "unique-live-peer-id";
    const PROMISE: &'static str = "No two clients have the same id at once, and no id is reused while a client could still address its old owner.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        if let Some((node, message)) = reused(event, cx) {
            cx.violated(&[event.node, node], message);
        }
    }
}

/// The previous owner of an id that was assigned again too early.
fn reused(event: &Event, cx: &OracleCx<'_>) -> Option<(NodeId, String)> {
    let What::Signaling(Signaling::Received(Message::Joined { id, .. } | Message::Admitted { id, .. })) = &event.what
    else {
        return None;
    };
    let (history, now) = (&cx.model.history, cx.now());
    let new = history.stay_at(event.node, now.index)?;
    let life = history.connections[new.connection].life;
    let others = history.stays_under(id).filter(|old| {
        old.connection != new.connection && old.joined < now && history.connections[old.connection].life == life
    });
    let (name, is_chosen) = (cx.name(event.node), new.dialect().chooses_ids);
    for old in others {
        let owner = cx.name(old.node);
        if history.connections[old.connection].ended.is_none_or(|ended| ended > now) {
            return Some((old.node, format!("{name} was given the id {id}, but {owner} still has it")));
        }
        let still_knows = cx.model.views.iter().find(|(node, view)| {
            // In a dialect where users choose their names, a user may take its own name again.
            let is_listed = |known: &Notices| known.gone.is_none() && known.since < new.asked() && !is_chosen;
            **node != event.node && view.get(id).is_some_and(is_listed)
        });
        if let Some((node, _)) = still_knows {
            let witness = cx.name(*node);
            let message = format!("{name} was given the id {id}, under which {witness} still lists {owner}, who left");
            return Some((old.node, message));
        }
    }
    None
}
