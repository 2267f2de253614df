//! A client that vanished keeps its role until the server must have noticed. So does a client that may have been
//! admitted without learning it.

use crate::dialects::Pairing;
use crate::event::{Event, Message, NodeId, Refused, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::history::Stay;
use scenarios::Role;

#[derive(Default)]
pub(crate) struct RoleExclusive;

impl Oracle for RoleExclusive {
    const SLUG: &'static str = "role-exclusive";
    const PROMISE: &'static str =
        "A room has at most one sender and one viewer, and no client is refused a role that is free.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let found = match &event.what {
            What::Signaling(Signaling::Received(Message::Admitted { .. })) => admitted(event.node, cx),
            What::Signaling(Signaling::Received(Message::Refused { why: Refused::RoleTaken, .. })) => {
                refused(event.node, cx)
            }
            _ => None,
        };
        if let Some((nodes, message)) = found {
            cx.violated(&nodes, message);
        }
    }
}

/// The clients that hold, or held, a role in a room of this server, over a connection other than `connection`.
pub(crate) fn holders<'c>(
    cx: &'c OracleCx<'_>,
    role: Role,
    room: &str,
    connection: usize,
) -> impl Iterator<Item = &'c Stay> {
    let history = &cx.model.history;
    let life = history.connections[connection].life;
    history.stays.iter().filter(move |stay| {
        stay.role == role
            && *stay.room == *room
            && stay.connection != connection
            && history.connections[stay.connection].life == life
            && stay.asked() < cx.now()
    })
}

fn admitted(node: NodeId, cx: &OracleCx<'_>) -> Option<(Vec<NodeId>, String)> {
    let stay = cx.stay_at(node).filter(|stay| stay.dialect().pairing == Pairing::Roles)?;
    let now = cx.now();
    let holder = holders(cx, stay.role, &stay.room, stay.connection)
        .find(|holder| holder.joined < stay.asked() && cx.model.is_surely_there(holder, now))?;
    let (name, other, since) = (cx.name(node), cx.name(holder.node), seconds(holder.joined.time));
    let (role, room) = (stay.role.name(), &stay.room);
    let message = format!("{name} was admitted as {role} of room `{room}`, but {other} has been {role} since {since}");
    Some((vec![node, holder.node], message))
}

fn refused(node: NodeId, cx: &OracleCx<'_>) -> Option<(Vec<NodeId>, String)> {
    let role = cx.actor(node).map(|actor| cx.scenario.actors[actor].plays)?;
    let history = &cx.model.history;
    let connection = history.connection_at(node, cx.now().index)?;
    let (asked, room) = history.connections[connection].asked_before(cx.now())?;
    let is_held = |stay: &Stay| cx.model.noticed_by(stay, cx.now()).is_none_or(|by| by >= asked.time);
    let may_be_held = history.may_be_unanswered(&room, asked.index);
    if cx.model.dialects.descriptor(role).pairing != Pairing::Roles
        || may_be_held
        || holders(cx, role, &room, connection).any(is_held)
    {
        return None;
    }
    let (name, role) = (cx.name(node), role.name());
    Some((vec![node], format!("{name} was refused as {role} of room `{room}`, but no client has this role")))
}
