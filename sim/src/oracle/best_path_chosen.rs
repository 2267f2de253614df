//! The best path follows from the NATs ([`crate::reachability`]): two clients in one network use their own addresses, a
//! client on the internet is reached at its own address, and a relay is used only where no other path exists. A pair
//! that lost datagrams before it selected a path is exempt. So is a pair whose NATs are nested: the inner client
//! reaches the outer one both at its own address and at its NAT's external address. Both candidates are peer-reflexive
//! and have the same priority (RFC 8445 §7.1.1).
//!
//! After a restart of ICE only a relay is judged. Both sides know all their addresses then, and a check that arrives before
//! the other side's answer gets no response. So the next pair, through a NAT, may answer first and is nominated.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{CandidateKind, Drop, Event, NodeId, PacketEvent, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};
use crate::oracle::everyone_connected::{pairs, sides, verdict};
use crate::oracle::history::Stay;
use crate::oracle::webrtc::PeerConnection;
use crate::reachability::{self, Verdict};

/// When links lost datagrams of each client.
#[derive(Default)]
pub(crate) struct BestPathChosen(BTreeMap<NodeId, Vec<Duration>>);

impl Oracle for BestPathChosen {
    const SLUG: &'static str = "best-path-chosen";
    const PROMISE: &'static str = "A connection uses the best available path: host before reflexive before relay.";
    const SEES_PACKETS: bool = true;
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, _cx: &mut OracleCx<'_>) {
        if let What::Packet(PacketEvent::Dropped { why, .. }) = event.what
            && matches!(
                why,
                Drop::Loss
                    | Drop::Congestion
                    | Drop::Partition
                    | Drop::Checksum
                    | Drop::Oversized
                    | Drop::FragmentationNeeded { .. }
            )
        {
            self.0.entry(event.node).or_default().push(event.at);
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let mut found = Vec::new();
        for (a, b) in pairs(cx) {
            let path = match verdict(a, b, cx) {
                Some(Verdict::Connects(path) | Verdict::Chance(path)) if !path.is_relayed() => path,
                _ => continue,
            };
            // A program may order its candidates otherwise, or gather fewer.
            if [a, b].iter().any(|stay| cx.is_program(stay.node)) {
                continue;
            }
            let [ours, theirs] = sides(a, b, cx);
            for (here, there, call, best) in [(a, b, ours, path.b), (b, a, theirs, path.a)] {
                let Some(call) = call.filter(|call| call.is_open() && !self.has_lost(call, [here, there])) else {
                    continue;
                };
                if let Some(wrong) = worse(call, here, there, best, cx) {
                    let (name, other) = (cx.name(here.node), cx.name(there.node));
                    found.push(([here.node, there.node], format!("{name} reaches {other} {wrong}")));
                }
            }
        }
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

impl BestPathChosen {
    /// Whether either client lost datagrams before this side selected a pair.
    fn has_lost(&self, call: &PeerConnection, clients: [&Stay; 2]) -> bool {
        let until = call.selected.map_or(Duration::MAX, |(.., at)| at);
        let lost = clients.into_iter().filter_map(|client| self.0.get(&client.node)).flatten();
        lost.into_iter().any(|at| (call.opened..=until).contains(at))
    }
}

/// Returns what is wrong with the path that one side selected to the other, or `None`.
fn worse(
    call: &PeerConnection,
    here: &Stay,
    there: &Stay,
    best: reachability::CandidateKind,
    cx: &OracleCx<'_>,
) -> Option<String> {
    let (local, remote, _) = call.selected?;
    let place = |stay: &Stay| Some(cx.scenario.place_at(cx.actor(stay.node)?, cx.time()));
    let ((here, _), (there, own)) = (place(here)?, place(there)?);
    let is_near = there.is_none() || there == here;
    if [local, remote].iter().any(|candidate| candidate.kind == CandidateKind::Relay) {
        return Some("through a relay, although a direct path exists".to_owned());
    }
    let has_restarted = call.ours.len() > 1;
    if best == reachability::CandidateKind::Host && is_near && !has_restarted && !own.has(remote.address.ip()) {
        let address = remote.address;
        let own = own.all().map(|own| own.to_string()).collect::<Vec<_>>().join(" or ");
        return Some(format!("at {address}, an address of a NAT, although the peer's own address {own} is reachable"));
    }
    None
}
