//! **A room has one sender and one viewer at most; nobody is refused a role that nobody has.**
//!
//! Who vanished has its role until the server must have noticed, and so has who may have been let in without learning it.

use crate::event::{Event, Message, NodeId, Signaling, What};
use crate::oracle::model::{Stay, is_refusal};
use crate::oracle::{Court, Oracle, seconds};
use scenarios::{Dialect, Role};

pub(crate) struct RoleExclusive;

impl Oracle for RoleExclusive {
    fn slug(&self) -> &'static str {
        "role-exclusive"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let found = match &event.what {
            What::Signaling(Signaling::Received(Message::Admitted { .. })) => admitted(event.node, court),
            What::Signaling(Signaling::Received(Message::Error { text })) if is_refusal(text) => {
                refused(event.node, court)
            }
            _ => None,
        };
        if let Some((nodes, message)) = found {
            court.violated(&nodes, message);
        }
    }
}

/// Who has, or had, a role in a room of this server, over another connection than `connection`.
pub(crate) fn holders<'c>(
    court: &'c Court<'_>,
    role: Role,
    room: &str,
    connection: usize,
) -> impl Iterator<Item = &'c Stay> {
    let history = &court.model.history;
    let life = history.connections[connection].life;
    history.stays.iter().filter(move |stay| {
        stay.role == role
            && *stay.room == *room
            && stay.connection != connection
            && history.connections[stay.connection].life == life
            && stay.asked() < court.now()
    })
}

fn admitted(node: NodeId, court: &Court<'_>) -> Option<(Vec<NodeId>, String)> {
    let stay = court.stay_at(node).filter(|stay| stay.dialect() == Dialect::SenderViewer)?;
    let now = court.now();
    let holder = holders(court, stay.role, &stay.room, stay.connection)
        .find(|holder| holder.joined < stay.asked() && court.model.is_surely_there(holder, now))?;
    let (name, other, since) = (court.name(node), court.name(holder.node), seconds(holder.joined.time));
    let (role, room) = (stay.role.name(), &stay.room);
    let message = format!("{name} was let in as {role} of room `{room}`, which {other} is since {since}");
    Some((vec![node, holder.node], message))
}

fn refused(node: NodeId, court: &Court<'_>) -> Option<(Vec<NodeId>, String)> {
    let role = court.actor(node).map(|actor| court.scenario.actors[actor].plays)?;
    let history = &court.model.history;
    let connection = history.connection_at(node, court.now().index)?;
    let (asked, room) = history.connections[connection].asked_before(court.now())?;
    let is_held = |stay: &Stay| court.model.noticed_by(stay, court.now()).is_none_or(|by| by >= asked.time);
    let may_be_held = history.may_be_unanswered(&room, asked.index);
    if role.dialect() != Dialect::SenderViewer || may_be_held || holders(court, role, &room, connection).any(is_held) {
        return None;
    }
    let (name, role) = (court.name(node), role.name());
    Some((vec![node], format!("{name} was refused as {role} of room `{room}`, of which nobody is {role}")))
}
