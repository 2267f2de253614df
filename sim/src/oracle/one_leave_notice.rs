//! If no client at all is notified, `ghosts-purged` judges it, because a server may need time to notice. A sender or
//! viewer is notified without an id that its partner left, so here the oracle only checks that this does not happen
//! more often than partners can have left. That it happens at all is judged by `states-as-specified`.

use std::collections::BTreeMap;

use crate::event::{Event, Message, NodeId, RoomName, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::history::Stay;
use crate::oracle::model::SLACK;
use crate::oracle::role_exclusive::holders;

#[derive(Default)]
pub(crate) struct OneLeaveNotice {
    /// For each connection, how often its client was notified that its partner left.
    partners_left: BTreeMap<usize, usize>,
}

impl Oracle for OneLeaveNotice {
    const SLUG: &'static str = "one-leave-notice";
    const PROMISE: &'static str = "When a client leaves, each client that knew it is notified once, and no notice is about a client that is still there.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        if let What::Signaling(Signaling::Received(Message::PartnerLeft { room })) = &event.what
            && let Some(message) = self.of_a_partner(event.node, room, cx)
        {
            cx.violated(&[event.node], message);
        }
        let What::Signaling(Signaling::Received(Message::PeerLeft { room, id })) = &event.what else { return };
        let Some(stay) = cx.stay_at(event.node) else { return };
        let is_elsewhere = |room| cx.stay_of(id).is_some_and(|theirs| theirs.room != room);
        // Other oracles judge notices about the client itself and leaks from other rooms.
        if stay.id == *id || stay.room != *room || is_elsewhere(room.clone()) {
            return;
        }
        let (name, who) = (cx.name(event.node), cx.who(id));
        // A client without a roster does not know who joined before it.
        let Some(view) = cx.model.views.get(&event.node) else { return };
        let message = match view.get(id).map(|notices| notices.gone) {
            None => format!("{name} was notified that {who} left, but never that it had joined"),
            Some(Some(gone)) => format!("{name} was notified twice that {who} left, first at {}", seconds(gone.time)),
            Some(None) => return,
        };
        let nodes = cx.with_owner(event.node, id);
        cx.violated(&nodes, message);
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let mut found: Vec<(Vec<NodeId>, String)> = Vec::new();
        for stay in cx.stays() {
            let now = cx.now();
            let Some(view) = cx.model.views.get(&stay.node).filter(|_| cx.model.is_surely_there(stay, now)) else {
                continue;
            };
            let name = cx.name(stay.node);
            for (id, notices) in view {
                let Some(theirs) = cx.stay_of(id) else { continue };
                let first = cx.model.certain_leave_notice(theirs).filter(|(at, _)| at.time + SLACK < now.time);
                match (notices.gone, first) {
                    (Some(gone), _) if cx.model.is_surely_there(theirs, now) => {
                        let at = seconds(gone.time);
                        let who = cx.who(id);
                        let message = format!("{name} was notified at {at} that {who} left, but it is still there");
                        found.push((vec![stay.node, theirs.node], message));
                    }
                    (None, Some((notified, witness))) if notified > notices.since => {
                        let (witness, at, who) = (cx.name(witness), seconds(notified.time), cx.who(id));
                        let message = format!("{name} was not notified that {who} left, but {witness} was at {at}");
                        found.push((vec![stay.node, theirs.node], message));
                    }
                    _ => {}
                }
            }
        }
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

impl OneLeaveNotice {
    /// Returns what is wrong with a notice that a client's partner left, or `None`.
    fn of_a_partner(&mut self, node: NodeId, room: &RoomName, cx: &OracleCx<'_>) -> Option<String> {
        let stay = cx.stay_at(node)?;
        let other = stay.dialect().partner(stay.role)?;
        let count = self.partners_left.entry(stay.connection).or_default();
        *count += 1;
        let now = cx.now();
        let may_have_left = |them: &&Stay| {
            let had_gone = cx.model.noticed_by(them, stay.asked()).is_some_and(|by| by < stay.asked().time);
            !had_gone && !cx.model.is_surely_there(them, now)
        };
        let left = holders(cx, other, room, stay.connection).filter(may_have_left).count();
        let unanswered = cx.model.history.unanswered.iter().filter(|join| join.room == *room && join.asked < now);
        let most = left + unanswered.count();
        let (name, other) = (cx.name(node), other.name());
        (*count > most)
            .then(|| format!("{name} was notified {count} times that its {other} left, but only {most} can have"))
    }
}
