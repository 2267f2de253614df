//! A run whose steps do nothing, or that does not send the packets whose fate is decided, has not tested what the scenario
//! says. Generated scenarios may have such steps and packets.

use crate::event::{Event, Fault, NodeKind, What};
use crate::oracle::cx::{Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct StepsTakeEffect;

impl Oracle for StepsTakeEffect {
    const SLUG: &'static str = "steps-take-effect";
    const PROMISE: &'static str = "Every step of the scenario has an effect when its time comes, and every packet whose fate it decides is sent, unless the scenario allows idle steps.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let (what, line, why) = match &event.what {
            What::Fault(Fault::NoEffect { line, why }) => ("step", line, why),
            What::Fault(Fault::NoPacket { line, why }) => ("packet", line, why),
            _ => return,
        };
        if cx.scenario.idle_steps {
            return;
        }
        let is_world = cx.record.nodes[usize::from(event.node.0)].kind == NodeKind::World;
        let subject = if is_world { String::new() } else { format!("{} ", cx.name(event.node)) };
        let nodes = if is_world { Vec::new() } else { vec![event.node] };
        cx.violated(&nodes, format!("the {what} on line {} has no effect: {subject}{why}", line.0));
    }
}
