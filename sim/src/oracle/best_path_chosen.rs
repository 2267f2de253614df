//! **A connection takes the best path there is: host before reflexive before relay.**
//!
//! What there is follows from the NATs ([`crate::reachability`]): two in one network use their own addresses, one on the internet is reached
//! at its own, and nobody uses a relay without need. A pair that lost datagrams while it chose may have chosen without the best. So may one
//! whose NATs lie one behind the other: the inner one meets the outer one at its own address and at its NAT's, both peer-reflexive
//! and of one priority (RFC 8445 §7.1.1).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{CandidateKind, Drop, Event, NodeId, PacketEvent, What};
use crate::oracle::calls::Call;
use crate::oracle::everyone_connected::{pairs, sides, verdict};
use crate::oracle::model::Stay;
use crate::oracle::{Court, Oracle};
use crate::reachability::{self, Verdict};

/// When datagrams of each client were lost on a link.
#[derive(Default)]
pub(crate) struct BestPathChosen(BTreeMap<NodeId, Vec<Duration>>);

impl Oracle for BestPathChosen {
    fn slug(&self) -> &'static str {
        "best-path-chosen"
    }

    fn watches_the_network(&self) -> bool {
        true
    }

    fn needs_a_simulation(&self) -> bool {
        true
    }

    fn observe(&mut self, event: &Event, _court: &mut Court<'_>) {
        if let What::Packet(PacketEvent::Dropped { why: Drop::Loss | Drop::Congestion | Drop::Partition, .. }) =
            event.what
        {
            self.0.entry(event.node).or_default().push(event.at);
        }
    }

    fn settle(&mut self, court: &mut Court<'_>) {
        let mut found = Vec::new();
        for (a, b) in pairs(court) {
            let path = match verdict(a, b, court) {
                Some(Verdict::Connects(path) | Verdict::Chance(path)) => path,
                _ => continue,
            };
            let [ours, theirs] = sides(a, b, court);
            for (here, there, call, best) in [(a, b, ours, path.b), (b, a, theirs, path.a)] {
                let Some(call) = call.filter(|call| call.is_open() && !self.has_lost(call, [here, there])) else {
                    continue;
                };
                if let Some(wrong) = worse(call, here, there, best, court) {
                    let (name, other) = (court.name(here.node), court.name(there.node));
                    found.push(([here.node, there.node], format!("{name} reaches {other} {wrong}")));
                }
            }
        }
        for (nodes, message) in found {
            court.violated(&nodes, message);
        }
    }
}

impl BestPathChosen {
    /// Whether either client lost datagrams before this side chose.
    fn has_lost(&self, call: &Call, clients: [&Stay; 2]) -> bool {
        let until = call.selected.map_or(Duration::MAX, |(.., at)| at);
        let lost = clients.into_iter().filter_map(|client| self.0.get(&client.node)).flatten();
        lost.into_iter().any(|at| (call.opened..=until).contains(at))
    }
}

/// What is wrong with how one side reaches the other.
fn worse(
    call: &Call,
    here: &Stay,
    there: &Stay,
    best: reachability::CandidateKind,
    court: &Court<'_>,
) -> Option<String> {
    let (local, remote, _) = call.selected?;
    let actor = |stay: &Stay| court.actor(stay.node).map(|actor| &court.scenario.actors[actor]);
    let (here, there) = (actor(here)?, actor(there)?);
    let own = there.address;
    let is_near = there.network.is_none() || there.network == here.network;
    if [local, remote].iter().any(|candidate| candidate.kind == CandidateKind::Relay) {
        return Some("through a relay, which it need not".to_owned());
    }
    if best == reachability::CandidateKind::Host && is_near && *remote.address.ip() != own {
        let address = remote.address;
        return Some(format!("at {address}, an address of a NAT, although its own address {own} can be reached"));
    }
    None
}
