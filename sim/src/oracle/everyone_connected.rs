//! The scenario lists the pairs that cannot connect. The list must agree with what follows from the NATs
//! ([`crate::reachability`]). If arbitrary pooling leaves it to chance whether a pair can connect, both outcomes are
//! right. A listed pair may also connect through a port that a rebooted NAT has assigned again.

use std::fmt::Write;
use std::time::Duration;

use scenarios::{Action, NetworkAction};

use crate::dialects::Pairing;
use crate::event::{NodeId, SignalKind};
use crate::oracle::call_states::CallState;
use crate::oracle::cx::{Oracle, OracleCx};
use crate::oracle::history::Stay;
use crate::oracle::webrtc::PeerConnection;
use crate::reachability::{Place, Verdict, can_connect};

/// Time within which two users in a call are connected, or two clients of a relay after one received an offer.
const OFFERED: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(crate) struct EveryoneConnected;

impl Oracle for EveryoneConnected {
    const SLUG: &'static str = "everyone-connected";
    const PROMISE: &'static str = "At the end, every two clients that belong together are connected and have received a message from each other, unless their NATs prevent it.";

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let found: Vec<_> = pairs(cx).into_iter().filter_map(|(a, b)| judge(a, b, cx)).collect();
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

/// All pairs of WebRTC clients that belong together.
pub(crate) fn pairs<'c>(cx: &'c OracleCx<'_>) -> Vec<(&'c Stay, &'c Stay)> {
    let has_webrtc = |stay: &&Stay| cx.actor(stay.node).is_some_and(|actor| cx.scenario.actors[actor].webrtc);
    let stays: Vec<_> = cx.stays().into_iter().filter(has_webrtc).collect();
    let with_later = |(number, a): (usize, &&'c Stay)| {
        let a: &'c Stay = a;
        let later: Vec<_> = stays[number + 1..].iter().filter(|b| belong_together(a, b, cx)).map(|b| (a, *b)).collect();
        later
    };
    stays.iter().enumerate().flat_map(with_later).collect()
}

/// Whether two clients must be connected: any two in a mesh, a sender and its viewer, two users in a call with each
/// other, and two clients of a relay of which one has received the other's offer.
fn belong_together(a: &Stay, b: &Stay, cx: &OracleCx<'_>) -> bool {
    a.is_with(b)
        && match a.dialect().pairing {
            Pairing::Everybody => true,
            Pairing::Roles => a.role != b.role,
            Pairing::Calls => [(a, b), (b, a)].iter().all(|(here, there)| {
                let (line, since) = cx.model.call_states.state(here.node);
                line == CallState::InCall(there.id.clone())
                    && since.is_some_and(|since| since.time + OFFERED < cx.now().time)
            }),
            // An offer that arrived before both were there reached somebody else, such as an earlier life of one of them.
            Pairing::Offers => cx.model.signals.sent.iter().any(|sent| {
                sent.kind == SignalKind::Offer
                    && sent.arrived.is_some_and(|arrived| {
                        arrived > a.joined.max(b.joined) && arrived.time + OFFERED < cx.now().time
                    })
                    && [&a.id, &b.id].contains(&&sent.from)
            }),
        }
}

/// Whether two clients can connect, as it follows from their NATs.
pub(crate) fn verdict(a: &Stay, b: &Stay, cx: &OracleCx<'_>) -> Option<Verdict> {
    let place = |stay: &Stay| {
        let place = Place::of(cx.scenario, cx.actor(stay.node)?);
        Some(if cx.model.unconfigured.contains(&stay.node) { place.without_servers() } else { place })
    };
    Some(can_connect(&place(a)?, &place(b)?))
}

/// Both sides of the connection between two clients.
pub(crate) fn sides<'c>(a: &Stay, b: &Stay, cx: &'c OracleCx<'_>) -> [Option<&'c PeerConnection>; 2] {
    [cx.model.peer_connections.get(a.node, &a.calls(b)), cx.model.peer_connections.get(b.node, &b.calls(a))]
}

fn judge(a: &Stay, b: &Stay, cx: &OracleCx<'_>) -> Option<(Vec<NodeId>, String)> {
    let (one, other) = (cx.name(a.node), cx.name(b.node));
    let actors = (cx.actor(a.node)?, cx.actor(b.node)?);
    let is_listed = cx.scenario.expect.unconnected.iter().any(|&(a, b)| (a, b) == actors || (b, a) == actors);
    let [ours, theirs] = sides(a, b, cx);
    let message = match (is_listed, verdict(a, b, cx)?) {
        (_, Verdict::Chance(_)) => return None,
        (true, Verdict::Connects(path)) => {
            let what = if path.is_relayed() { "a TURN server lets" } else { "their NATs let" };
            format!("`expect.unconnected` lists {one} and {other}, but {what} them connect")
        }
        // Whether it gets its servers depends on the run, so a file need not list the pair.
        (false, Verdict::NeedsRelay(_)) if [a, b].iter().any(|stay| cx.model.unconfigured.contains(&stay.node)) => {
            return None;
        }
        (false, Verdict::NeedsRelay(why)) => {
            format!("`expect.unconnected` does not list {one} and {other}, but their NATs keep them apart: {why}")
        }
        (true, Verdict::NeedsRelay(_))
            if [ours, theirs].into_iter().flatten().any(PeerConnection::is_open) && !has_rebooted_nat(cx) =>
        {
            format!(
                "{one} and {other} are connected, but `expect.unconnected` lists them and their NATs should prevent it"
            )
        }
        (true, Verdict::NeedsRelay(_)) => return None,
        (false, Verdict::Connects(_)) => {
            let are_one = ours.zip(theirs).is_some_and(|(ours, theirs)| {
                let knows =
                    |a: &PeerConnection, b: &PeerConnection| a.theirs.iter().any(|ufrag| b.ours.contains(ufrag));
                knows(ours, theirs) && knows(theirs, ours)
            });
            // What a data channel of a program carries is known only if the program reports it.
            let reports = |stay: &Stay, call: Option<&PeerConnection>| {
                !cx.is_program(stay.node) || call.is_some_and(|call| call.has_channel)
            };
            let are_heard = reports(a, ours) && reports(b, theirs);
            let works = |call: Option<&PeerConnection>| {
                call.is_some_and(|call| call.is_open() && (!are_heard || (call.has_sent && call.has_received)))
            };
            if works(ours) && works(theirs) && are_one {
                return None;
            }
            let mut message = format!("{one} (id {}) and {other} (id {}) are not connected: ", a.id, b.id);
            let _ = write!(message, "{one} {}, {other} {}", state(ours), state(theirs));
            if works(ours) && works(theirs) {
                message.push_str(", but these are two different connections");
            }
            message
        }
    };
    Some((vec![a.node, b.node], message))
}

fn has_rebooted_nat(cx: &OracleCx<'_>) -> bool {
    cx.scenario.steps.iter().any(|step| matches!(step.action, Action::Network(_, NetworkAction::Reboot(_))))
}

/// The state of a side's connection, in words.
fn state(call: Option<&PeerConnection>) -> String {
    let Some(call) = call else { return "has no connection".to_owned() };
    if !call.is_open() {
        let channel = match (call.has_channel, call.flows) {
            (true, _) => "a",
            (false, [false, false]) => "no",
            (false, [true, _]) => "sent data but received none: no open",
            (false, [false, true]) => "received data but sent none: no open",
        };
        return format!("has ICE {:?}, DTLS {:?} and {channel} data channel", call.ice, call.dtls).to_lowercase();
    }
    match (call.has_sent, call.has_received) {
        (true, true) => "has an open data channel".to_owned(),
        (true, false) => "has an open data channel but received no message".to_owned(),
        (false, _) => "has an open data channel but sent no message".to_owned(),
    }
}
