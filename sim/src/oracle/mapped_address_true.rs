//! The true mapped address is the external endpoint of the outermost NAT that the client's requests passed, or the
//! client's own endpoint if no NAT translates. RFC 8489 §14.2.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scenarios::{ActorIndex, NetworkIndex, Scenario};
use server::STUN_PORT;

use crate::event::TransportAddress;
use crate::event::{Event, Mapping, NatEvent, NodeKind, PeerChange, PeerEvent, Protocol, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

/// How long a response may be in flight: the maximum duration of a STUN transaction (RFC 8489 §6.2.1), rounded up.
const TRANSACTION: Duration = Duration::from_secs(64);

/// The external endpoints from which each NAT sent to a STUN server, by internal endpoint, each with the time of its
/// last use.
#[derive(Default)]
pub(crate) struct MappedAddressTrue(BTreeMap<(NetworkIndex, TransportAddress), BTreeMap<TransportAddress, Duration>>);

impl Oracle for MappedAddressTrue {
    const SLUG: &'static str = "mapped-address-true";
    const PROMISE: &'static str = "The STUN server reports the address at which the internet sees the client.";
    const SEES_PACKETS: bool = true;
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match (&event.what, cx.record.nodes[usize::from(event.node.0)].kind) {
            (What::Nat(NatEvent::Used(mapping)), NodeKind::Nat(network)) => {
                let Mapping { protocol, internal, external, remote } = *mapping;
                let servers = cx.scenario.ice_servers.iter().map(|server| server.address);
                let is_stun = servers.chain([cx.scenario.server.address]).any(|server| remote.ip() == server);
                if protocol == Protocol::Udp && is_stun && remote.port() == STUN_PORT {
                    self.0.entry((network, internal)).or_default().insert(external, event.at);
                }
            }
            (What::Peer(PeerEvent { change: PeerChange::Mapped { base, mapped }, .. }), _) => {
                let Some(actor) = cx.actor(event.node) else { return };
                let seen = self.seen(cx.scenario, actor, *base, event.at);
                if !seen.contains(mapped) {
                    let name = cx.name(event.node);
                    let seen: Vec<_> = seen.iter().map(TransportAddress::to_string).collect();
                    let seen = if seen.is_empty() { "no response".to_owned() } else { seen.join(" or ") };
                    let message = format!(
                        "the STUN server reported {mapped} to {name} as the mapped address of {base}; expected {seen}"
                    );
                    cx.violated(&[event.node], message);
                }
            }
            _ => {}
        }
    }
}

impl MappedAddressTrue {
    /// The endpoints at which the internet may see a client's socket.
    fn seen(
        &self,
        scenario: &Scenario,
        actor: ActorIndex,
        base: TransportAddress,
        now: Duration,
    ) -> BTreeSet<TransportAddress> {
        let mut seen = BTreeSet::from([base]);
        let (mut at, _) = scenario.place_at(actor, now);
        while let Some(network) = at {
            // Nothing translates IPv6.
            if scenario.networks[network].nat.is_some() && !base.is_ipv6() {
                let outside = seen.iter().filter_map(|internal| self.0.get(&(network, *internal))).flatten();
                let recent = outside.filter(|(_, used)| now <= **used + TRANSACTION);
                seen = recent.map(|(external, _)| *external).collect();
            }
            at = scenario.networks[network].behind;
        }
        seen
    }
}
