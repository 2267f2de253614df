use std::collections::BTreeMap;

use crate::event::{Event, NodeId, PacketEvent, PacketId, PacketView, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

/// A packet's sender, its appearance when it was sent, and the number of its copies in flight.
struct UnderWay {
    copies: usize,
    from: NodeId,
    sent: PacketView,
}

#[derive(Default)]
pub(crate) struct PacketConservation(BTreeMap<PacketId, UnderWay>);

impl Oracle for PacketConservation {
    const SLUG: &'static str = "packet-conservation";
    const PROMISE: &'static str = "No packet appears or vanishes: sent + duplicated = delivered + dropped + in flight, and what arrives is what was sent.";
    const SEES_PACKETS: bool = true;
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match &event.what {
            What::Packet(PacketEvent::Sent(view)) => {
                let packet = UnderWay { copies: 1, from: event.node, sent: *view };
                if self.0.insert(view.packet, packet).is_some() {
                    let message =
                        format!("packet {} was sent while a packet with that number was in flight", view.packet.0);
                    cx.violated(&[event.node], message);
                }
            }
            What::Packet(PacketEvent::Duplicated { packet }) => match self.0.get_mut(packet) {
                Some(under_way) => under_way.copies += 1,
                None => nowhere(event, *packet, "duplicated", cx),
            },
            What::Packet(PacketEvent::Delivered(view)) => match self.ended(view.packet) {
                Some((from, sent)) if (sent.bytes, sent.digest) != (view.bytes, view.digest) => {
                    let (sender, name) = (cx.name(from), cx.name(event.node));
                    let message = format!(
                        "packet {} from {sender} arrived at {name} with another payload: {} bytes, but {} when it was sent",
                        view.packet.0, view.bytes, sent.bytes
                    );
                    cx.violated(&[from, event.node], message);
                }
                Some(_) => {}
                None => nowhere(event, view.packet, "delivered", cx),
            },
            What::Packet(PacketEvent::Dropped { packet, .. }) if self.ended(*packet).is_none() => {
                nowhere(event, *packet, "dropped", cx);
            }
            What::Census(census) => {
                let under_way: usize = self.0.values().map(|under_way| under_way.copies).sum();
                if under_way != census.packets_in_flight {
                    let first = self.0.first_key_value();
                    let first = first.map_or_else(String::new, |(packet, under_way)| {
                        format!("; the oldest is packet {} from {}", packet.0, cx.name(under_way.from))
                    });
                    let counted = census.packets_in_flight;
                    let message = format!(
                        "{under_way} packets were sent and neither delivered nor dropped, but {counted} are in flight{first}"
                    );
                    cx.violated(&[event.node], message);
                }
            }
            _ => {}
        }
    }
}

impl PacketConservation {
    /// Accounts for one copy of a packet that was delivered or dropped.
    fn ended(&mut self, packet: PacketId) -> Option<(NodeId, PacketView)> {
        let under_way = self.0.get_mut(&packet)?;
        under_way.copies -= 1;
        let (from, sent) = (under_way.from, under_way.sent);
        if under_way.copies == 0 {
            self.0.remove(&packet);
        }
        Some((from, sent))
    }
}

fn nowhere(event: &Event, packet: PacketId, what: &str, cx: &mut OracleCx<'_>) {
    let name = cx.name(event.node);
    let message = format!("packet {} was {what} at {name}, but no copy of it was in flight", packet.0);
    cx.violated(&[event.node], message);
}
