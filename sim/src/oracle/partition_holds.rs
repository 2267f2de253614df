//! A partition acts where a packet arrives: what is on its way when the partition begins does not arrive either.

use std::collections::BTreeMap;

use crate::event::{Event, Fault, NodeId, PacketEvent, PacketId, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct PartitionHolds {
    /// Who sent each packet.
    senders: BTreeMap<PacketId, NodeId>,
    /// The senders and the receivers of each partition in force.
    cuts: Vec<(Vec<NodeId>, Vec<NodeId>)>,
}

impl Oracle for PartitionHolds {
    const SLUG: &'static str = "partition-holds";
    const PROMISE: &'static str = "No packet arrives from a machine that a partition cuts off from its receiver.";
    const SEES_PACKETS: bool = true;
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match &event.what {
            What::Packet(PacketEvent::Sent(view)) => {
                self.senders.insert(view.packet, event.node);
            }
            What::Packet(PacketEvent::Delivered(view)) if !self.cuts.is_empty() => {
                let Some(sender) = self.senders.get(&view.packet).copied() else { return };
                let is_cut =
                    |(from, to): &(Vec<NodeId>, Vec<NodeId>)| from.contains(&sender) && to.contains(&event.node);
                if self.cuts.iter().any(is_cut) {
                    let (name, from) = (cx.name(event.node), cx.name(sender));
                    let message = format!(
                        "{name} received packet {} from {from}, from which a partition cuts it off",
                        view.packet.0
                    );
                    cx.violated(&[sender, event.node], message);
                }
            }
            What::Fault(Fault::Partition { from, to, one_way }) => {
                self.cuts.push((from.clone(), to.clone()));
                if !one_way {
                    self.cuts.push((to.clone(), from.clone()));
                }
            }
            What::Fault(Fault::Heal) => self.cuts.clear(),
            _ => {}
        }
    }
}
