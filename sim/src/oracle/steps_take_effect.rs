//! A run whose steps do nothing has not tested what the scenario says. Generated scenarios may have such steps.

use crate::event::{Event, Fault, NodeKind, What};
use crate::oracle::cx::{Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct StepsTakeEffect;

impl Oracle for StepsTakeEffect {
    const SLUG: &'static str = "steps-take-effect";
    const PROMISE: &'static str =
        "Every step of the scenario has an effect when its time comes, unless the scenario allows idle steps.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let What::Fault(Fault::NoEffect { line, why }) = &event.what else { return };
        if cx.scenario.idle_steps {
            return;
        }
        let is_world = cx.record.nodes[usize::from(event.node.0)].kind == NodeKind::World;
        let subject = if is_world { String::new() } else { format!("{} ", cx.name(event.node)) };
        let nodes = if is_world { Vec::new() } else { vec![event.node] };
        cx.violated(&nodes, format!("the step on line {line} has no effect: {subject}{why}"));
    }
}
