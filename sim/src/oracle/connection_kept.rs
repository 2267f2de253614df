//! Two clients that are in a room are judged by [`super::everyone_connected`]. A client that lost its way back into the
//! room is not, and then the call between the two is dead without anybody noticing: this promise is about those pairs.
//!
//! Only for dialects in which clients that belong together connect by themselves. A call between users is over when the
//! signaling of one is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use scenarios::{Action, ActorIndex, Link, Machine, MachineAction, NetworkAction, OneWay, Oversized};

use crate::dialects::Pairing;
use crate::event::{Event, MachineEvent, NodeId, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::everyone_connected;
use crate::oracle::faults::Faults;
use crate::pairs::{End, Pair, PastConnection, pairs};
use crate::reachability::{Place, Verdict, can_connect};

/// Time after the last fault within which everything recovers: ICE gives up after 30 s, and offers anew.
const RECOVERY: Duration = Duration::from_secs(35);
/// The longest packet of usual links, bytes.
const USUAL_MTU: u16 = 1500;
/// A connection that was lost later than this before the end may still come back.
const REPAIR: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(crate) struct ConnectionKept {
    /// Clients that no longer dial.
    gave_up: BTreeSet<NodeId>,
    faults: Faults,
}

impl Oracle for ConnectionKept {
    const SLUG: &'static str = "connection-kept";
    const PROMISE: &'static str = "Two clients that were connected, and of whom neither left or hung up, are connected at the end, if nothing that the scenario does keeps them apart.";

    fn observe(&mut self, event: &Event, _cx: &mut OracleCx<'_>) {
        self.faults.observe(event);
        match &event.what {
            What::Signaling(Signaling::GaveUp { .. }) => {
                self.gave_up.insert(event.node);
            }
            What::Machine(MachineEvent::Booted) => {
                self.gave_up.remove(&event.node);
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let now = cx.time();
        let is_calm = self.faults.last.is_none_or(|hurt| hurt + RECOVERY <= now);
        if self.faults.is_parted || !is_calm || !cx.model.serves() {
            return;
        }
        let judged = everyone_connected::pairs(cx).into_iter().map(|(a, b)| (a.node.min(b.node), a.node.max(b.node)));
        let judged: BTreeSet<_> = judged.collect();
        let pairs = pairs(cx.record);
        for pair in &pairs {
            let Some(past) = lost(pair, now).filter(|_| !judged.contains(&(pair.a, pair.b))) else { continue };
            let are_excused = [pair.a, pair.b].iter().any(|node| {
                self.gave_up.contains(node)
                    || !cx.model.running.contains(node)
                    || cx.model.unconfigured.contains(node)
                    || cx.has_reported_about("nobody-kept-out", *node)
            });
            if are_excused || !belong_together(pair, &pairs, cx) {
                continue;
            }
            let message = format!(
                "{} and {} were connected from {} to {}, neither has left or hung up since, and they are not connected at the end: {}, {}",
                cx.name(pair.a),
                cx.name(pair.b),
                seconds(past.connection.since),
                seconds(past.until),
                state(pair.a, cx),
                state(pair.b, cx),
            );
            cx.violated(&[pair.a, pair.b], message);
        }
    }
}

/// The connection that a pair has lost, if that is some time ago and both had received a message over one.
fn lost(pair: &Pair, now: Duration) -> Option<&PastConnection> {
    let past = pair.past.as_ref().filter(|_| pair.connection.is_none() && pair.first_heard.is_some())?;
    (!matches!(past.why, End::HungUp | End::Left) && past.until + REPAIR <= now).then_some(past)
}

/// Whether two clients would connect again by themselves, if they could: their NATs and links allow it, and no other
/// client has taken the place of one of them.
fn belong_together(pair: &Pair, pairs: &[Pair], cx: &OracleCx<'_>) -> bool {
    let (Some(a), Some(b)) = (cx.actor(pair.a), cx.actor(pair.b)) else { return false };
    let actor = &cx.scenario.actors[a];
    let is_replaced = |node: NodeId| {
        pairs.iter().any(|other| other.connection.is_some() && [other.a, other.b].contains(&node))
            || cx.stays().iter().any(|stay| {
                let one = cx.actor(node).map(|actor| &cx.scenario.actors[actor]);
                stay.node != node && one.is_some_and(|one| stay.role == one.plays && *stay.room == *one.room)
            })
    };
    let may_meet = match cx.model.dialects.descriptor(actor.plays).pairing {
        Pairing::Everybody => true,
        Pairing::Roles => !is_replaced(pair.a) && !is_replaced(pair.b),
        Pairing::Calls | Pairing::Offers => false,
    };
    let place = |actor| Place::of(cx.scenario, actor);
    may_meet && matches!(can_connect(&place(a), &place(b)), Verdict::Connects(_)) && !has_poor_link(&[a, b], cx)
}

/// Whether a link on the way of two actors is, or becomes, too bad for a connection.
pub(crate) fn has_poor_link(actors: &[ActorIndex], cx: &OracleCx<'_>) -> bool {
    let scenario = cx.scenario;
    let is_poor = |link: &Link| link.ways().into_iter().any(is_poor);
    let first = [&scenario.server.link].into_iter().chain(actors.iter().map(|actor| &scenario.actors[*actor].link));
    let networks = scenario.networks.iter().map(|network| &network.link);
    let later = scenario.steps.iter().filter_map(|step| match &step.action {
        Action::Machine(Machine::Server, MachineAction::Link(link)) => Some(link),
        Action::Machine(Machine::Actor(actor), MachineAction::Link(link)) if actors.contains(actor) => Some(link),
        Action::Machine(Machine::Actor(actor), MachineAction::Move(to)) if actors.contains(actor) => Some(&to.link),
        Action::Network(_, NetworkAction::Link(link)) => Some(link),
        _ => None,
    });
    first.chain(networks).chain(later).any(is_poor)
}

/// Whether a direction of a link is too bad for a connection. How long a burst of losses lasts depends on how much is
/// sent, so any bursts may be too bad.
fn is_poor(way: &OneWay) -> bool {
    way.loss_ppm + way.corrupt_ppm > 200_000
        || way.burst_loss.is_some()
        || way.latency + way.jitter.usual_max() > Duration::from_secs(1)
        || way.bandwidth_bps.is_some_and(|bits| bits < 50_000)
        || way.mtu.is_some_and(|mtu| mtu < USUAL_MTU && way.oversized != Oversized::Fragment)
}

/// What has become of a client, in words.
fn state(node: NodeId, cx: &OracleCx<'_>) -> String {
    let (name, now) = (cx.name(node), cx.now());
    if cx.stay_at(node).is_some() {
        return format!("{name} is in its room");
    }
    let history = &cx.model.history;
    match history.connection_at(node, now.index) {
        None => format!("{name} has no signaling connection"),
        Some(connection) if history.connections[connection].refused.is_some() => {
            format!("{name} is refused by the server")
        }
        Some(_) => format!("{name} is in no room"),
    }
}
