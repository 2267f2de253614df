//! A sender is INIT until it has joined, WAITING while it has no viewer, ACTIVE while it has one. A viewer is INIT
//! until its first offer, ACTIVE while its sender is there, WAITING after its sender has left. Either is in ERROR if it
//! was refused or has stopped dialling. A client that loses its signaling connection starts again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{ClientState, Event, MachineEvent, NodeId, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::history::Stay;
use crate::oracle::model::SLACK;

/// Time within which the notice of a newcomer, and the offer that follows it, arrive.
const SETTLED: Duration = Duration::from_secs(3 * SLACK.as_secs());

#[derive(Default)]
pub(crate) struct StatesAsSpecified(BTreeMap<NodeId, ClientState>);

impl Oracle for StatesAsSpecified {
    const SLUG: &'static str = "states-as-specified";
    const PROMISE: &'static str = "A sender and a viewer go through the states that the dialect specifies, and at the end each knows whether the other is there.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match &event.what {
            What::Machine(MachineEvent::Booted | MachineEvent::PowerLost | MachineEvent::Ended) => {
                self.0.remove(&event.node);
            }
            What::Signaling(Signaling::State { state }) => {
                let Some(role) = cx.actor(event.node).map(|actor| cx.scenario.actors[actor].plays) else {
                    return;
                };
                let dialect = cx.model.dialects.descriptor(role);
                let before = self.0.insert(event.node, *state).unwrap_or(dialect.first_state);
                if dialect.states.is_some_and(|rules| !rules.may_follow(role, before, *state)) {
                    let (name, role) = (cx.name(event.node), role.name());
                    let message =
                        format!("{name}, a {role}, went from {before:?} to {state:?}, which the dialect forbids");
                    cx.violated(&[event.node], message);
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let found: Vec<_> = cx.stays().into_iter().filter_map(|stay| self.judge(stay, cx)).collect();
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

impl StatesAsSpecified {
    /// Returns what is wrong with the final state of a client, or `None`.
    fn judge(&self, stay: &Stay, cx: &OracleCx<'_>) -> Option<(Vec<NodeId>, String)> {
        let dialect = stay.dialect();
        let other = dialect.partner(stay.role)?;
        let with_partner = dialect.states?.with_partner;
        let (now, state) = (cx.now(), self.0.get(&stay.node).copied().unwrap_or(dialect.first_state));
        if !cx.model.is_surely_there(stay, now) || stay.joined.time + SETTLED >= now.time {
            return None;
        }
        let partners: Vec<_> =
            cx.model.history.stays.iter().filter(|them| them.role == other && them.is_with(stay)).collect();
        let is_there = |them: &&&Stay| cx.model.is_surely_there(them, now) && them.joined.time + SETTLED < now.time;
        let is_gone = |them: &&Stay| cx.model.noticed_by(them, now).is_some_and(|by| by + SLACK < now.time);
        let (name, other) = (cx.name(stay.node), other.name());
        if let Some(them) = partners.iter().find(is_there) {
            let (who, since) = (cx.name(them.node), seconds(them.joined.time));
            let message = format!("{name} is {state:?}, but its {other} {who} has been there since {since}");
            return (state != with_partner).then(|| (vec![stay.node, them.node], message));
        }
        let may_be_there = cx.model.history.may_be_unanswered(&stay.room, now.index);
        if state == with_partner && partners.iter().all(is_gone) && !may_be_there {
            let message = format!("{name} is {state:?}, but its {other} has left and {name} was not notified");
            let last = partners.last().map(|them| them.node);
            return Some(([stay.node].into_iter().chain(last).collect(), message));
        }
        None
    }
}
