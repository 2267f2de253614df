//! The policy `relay` hides where a client is: nobody but its TURN servers may receive a datagram from it, and nobody may
//! be told its addresses. W3C WebRTC §4.2.5, RFC 8828 §4 (mode 4).

use std::net::IpAddr;

use scenarios::{Actor, ActorIndex, IceTransportPolicy};

use crate::event::{CandidateKind, Event, Message, PacketEvent, PeerChange, Protocol, Signaling, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct RelayOnlyObeyed;

impl Oracle for RelayOnlyObeyed {
    const SLUG: &'static str = "relay-only-obeyed";
    const PROMISE: &'static str = "A client that uses relayed candidates only sends datagrams to nobody but its TURN servers, and tells nobody its own addresses.";
    const SEES_PACKETS: bool = true;
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let is_about = matches!(
            event.what,
            What::Packet(PacketEvent::Sent(_)) | What::Peer(_) | What::Signaling(Signaling::Sent(_))
        );
        let Some(index) = cx.actor(event.node).filter(|_| is_about) else { return };
        let actor = &cx.scenario.actors[index];
        if actor.ice_transport_policy != IceTransportPolicy::Relay {
            return;
        }
        if let Some(wrong) = wrong(&event.what, index, actor, cx) {
            let message = format!("{} uses relayed candidates only, but {wrong}", cx.name(event.node));
            cx.violated(&[event.node], message);
        }
    }
}

fn wrong(what: &What, index: ActorIndex, actor: &Actor, cx: &OracleCx<'_>) -> Option<String> {
    let turn = |address: IpAddr| {
        let mut machines = actor.ice_servers.iter().filter(|machine| cx.scenario.turn_server(**machine).is_some());
        machines.any(|machine| cx.scenario.addresses(*machine).has(address))
    };
    match what {
        What::Packet(PacketEvent::Sent(view)) if view.protocol == Protocol::Udp && !turn(view.dst.ip()) => {
            Some(format!("sent a datagram to {}", view.dst))
        }
        What::Peer(peer) => match &peer.change {
            PeerChange::Candidate { local: true, candidate, .. } if candidate.kind != CandidateKind::Relay => {
                Some(format!("has the candidate {}", candidate.address))
            }
            _ => None,
        },
        What::Signaling(Signaling::Sent(Message::Signal { payload, .. })) => {
            let own = addresses(index, cx).into_iter().find(|own| names(payload, *own))?;
            Some(format!("told its peer the address {own}"))
        }
        _ => None,
    }
}

/// The actor's addresses, and those of the NATs in front of it.
fn addresses(index: ActorIndex, cx: &OracleCx<'_>) -> Vec<IpAddr> {
    let (network, own) = cx.scenario.place_at(index, cx.time());
    let mut addresses: Vec<IpAddr> = own.all().collect();
    let mut at = network;
    while let Some(network) = at {
        addresses.extend(cx.scenario.networks[network].external.iter().map(|external| IpAddr::V4(*external)));
        at = cx.scenario.networks[network].behind;
    }
    addresses
}

/// Whether a text contains an address as a word.
fn names(text: &str, address: IpAddr) -> bool {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':' && address.is_ipv6();
    text.split(|c| !is_part(c)).any(|word| word == address.to_string())
}
