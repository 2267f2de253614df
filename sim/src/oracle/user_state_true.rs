//! Judged at the end: what a user shows follows from the messages about calls that it has sent and received. Programs of
//! others show no state.

use std::collections::BTreeMap;

use crate::dialects::Pairing;
use crate::event::{ClientState, Event, MachineEvent, NodeId, Signaling, What};
use crate::oracle::call_states::CallState;
use crate::oracle::cx::{Oracle, OracleCx};
use crate::oracle::model::SLACK;

#[derive(Default)]
pub(crate) struct UserStateTrue(BTreeMap<NodeId, ClientState>);

impl Oracle for UserStateTrue {
    const SLUG: &'static str = "user-state-true";
    const PROMISE: &'static str = "A user is in the state to which the messages about its calls lead.";

    fn observe(&mut self, event: &Event, _cx: &mut OracleCx<'_>) {
        match &event.what {
            What::Machine(MachineEvent::Booted | MachineEvent::PowerLost | MachineEvent::Ended) => {
                self.0.remove(&event.node);
            }
            What::Signaling(Signaling::State { state }) => {
                self.0.insert(event.node, *state);
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let mut found = Vec::new();
        for stay in cx.stays() {
            // Where the two sides disagree, that is what is wrong.
            let is_known = ["call-end-agreed", "nobody-left-ringing"]
                .iter()
                .any(|oracle| cx.has_reported_about(oracle, stay.node));
            if stay.dialect().pairing != Pairing::Calls || cx.is_program(stay.node) || is_known {
                continue;
            }
            let (call, since) = cx.model.call_states.state(stay.node);
            let right = match call {
                CallState::Idle => ClientState::Idle,
                CallState::Calling(_) => ClientState::Calling,
                CallState::Ringing(_) => ClientState::Ringing,
                CallState::InCall(_) => ClientState::InCall,
            };
            let state = self.0.get(&stay.node).copied().unwrap_or(stay.dialect().first_state);
            let is_settled = since.is_none_or(|since| since.time + SLACK < cx.now().time);
            if state != right && is_settled {
                found.push((
                    stay.node,
                    format!("{} is {state:?}, but its messages lead to {right:?}", cx.name(stay.node)),
                ));
            }
        }
        for (node, message) in found {
            cx.violated(&[node], message);
        }
    }
}
