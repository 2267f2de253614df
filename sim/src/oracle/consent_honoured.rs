//! Nobody is sent data who has not answered a connectivity check for 30 s, and a client of Glare's says when it stops. RFC 7675 §5.1.
//!
//! Consent is counted here by the address at the other end, from the datagrams themselves: whatever the client's stack thinks. A
//! pair whose own end is relayed is not judged, because its checks and its data are inside messages for the TURN server.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::datagrams::PeerDatagramKind;
use crate::event::{
    CandidateKind, Event, Fault, IceState, MachineEvent, NodeId, PacketEvent, PacketView, PeerChange, PeerEvent,
    PeerName, TransportAddress, What,
};
use crate::oracle::cx::{Judges, Oracle, OracleCx, seconds};

//= https://www.rfc-editor.org/rfc/rfc7675#section-5.1
//# Consent expires after 30 seconds.
const CONSENT: Duration = Duration::from_secs(30);
/// How late a client may say that its consent has ended: its next deadline is on a grid of 1 s.
const SLACK: Duration = Duration::from_secs(2);

/// What is known of one address, as a client sees it.
#[derive(Default)]
struct Remote {
    /// When its last answer counted; `None` before the first.
    answered: Option<Duration>,
    /// Whether an answer was seen, and not only that the client selected it.
    is_heard: bool,
    /// When the client last sent it anything.
    used: Duration,
    /// Whether an answer waits in a socket of a client that is suspended.
    waits: bool,
}

/// A connection on a selected pair.
struct Selected {
    remote: TransportAddress,
    since: Duration,
    is_up: bool,
    /// Whether the client has said that it lost its consent, and has heard no answer since.
    has_said: bool,
}

#[derive(Default)]
pub(crate) struct ConsentHonoured {
    /// How many datagrams of the record were taken.
    taken: usize,
    remotes: BTreeMap<(NodeId, TransportAddress), Remote>,
    selected: BTreeMap<(NodeId, PeerName), Selected>,
    /// Who is suspended.
    suspended: BTreeMap<NodeId, Duration>,
}

impl Oracle for ConsentHonoured {
    const SLUG: &'static str = "consent-honoured";
    const PROMISE: &'static str = "No data is sent to an address whose last answer to a connectivity check is more than 30 s old, and a client says so when its consent to send ends.";
    const SEES_PACKETS: bool = true;
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match &event.what {
            What::Packet(PacketEvent::Sent(view) | PacketEvent::Delivered(view)) => self.packet(event, view, cx),
            What::Peer(PeerEvent { peer, change, .. }) => self.peer(event, peer, change, cx),
            What::Fault(Fault::Suspend) => _ = self.suspended.insert(event.node, event.at),
            What::Fault(Fault::Resume) => self.resumed(event),
            What::Machine(MachineEvent::PowerLost | MachineEvent::Ended) => {
                self.selected.retain(|(node, _), _| *node != event.node);
                self.suspended.remove(&event.node);
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let silent: Vec<_> =
            self.selected.keys().filter_map(|key| Some((key.0, self.has_not_said(key, cx.time(), cx)?))).collect();
        for (node, message) in silent {
            cx.violated(&[node], message);
        }
    }
}

impl ConsentHonoured {
    fn packet(&mut self, event: &Event, view: &PacketView, cx: &mut OracleCx<'_>) {
        let is_sent = matches!(event.what, What::Packet(PacketEvent::Sent(_)));
        if is_sent && let Some(remote) = self.remotes.get_mut(&(event.node, view.dst)) {
            remote.used = event.at;
        }
        let Some(datagram) = cx.record.peer_datagrams.get(self.taken) else { return };
        if datagram.packet != view.packet || is_sent != (datagram.kind == PeerDatagramKind::Data) {
            return;
        }
        self.taken += 1;
        match datagram.kind {
            PeerDatagramKind::Answer => self.answered(event, view.src, cx),
            PeerDatagramKind::Data => {
                let Some(Remote { answered: Some(answered), .. }) = self.remotes.get(&(event.node, view.dst)) else {
                    return;
                };
                if event.at > *answered + CONSENT {
                    let message = format!(
                        "{} sent data to {}, which last answered a connectivity check at {}",
                        cx.name(event.node),
                        view.dst,
                        seconds(*answered)
                    );
                    cx.violated(&[event.node], message);
                }
            }
        }
    }

    fn answered(&mut self, event: &Event, from: TransportAddress, cx: &mut OracleCx<'_>) {
        let node = event.node;
        let remote = self.remotes.entry((node, from)).or_default();
        if self.suspended.contains_key(&node) {
            // It waits in the socket until the client goes on.
            remote.waits = true;
            return;
        }
        let on_it = self.selected.iter().filter(|((of, _), selected)| *of == node && selected.remote == from);
        let keys: Vec<_> = on_it.map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(message) = self.has_not_said(&key, event.at, cx) {
                cx.violated(&[node], message);
            }
            if let Some(selected) = self.selected.get_mut(&key) {
                selected.has_said = false;
            }
        }
        let remote = self.remotes.entry((node, from)).or_default();
        (remote.answered, remote.is_heard) = (Some(event.at), true);
    }

    fn resumed(&mut self, event: &Event) {
        self.suspended.remove(&event.node);
        for ((node, _), remote) in &mut self.remotes {
            if *node == event.node && std::mem::take(&mut remote.waits) {
                remote.answered = Some(event.at);
            }
        }
        for ((node, _), selected) in &mut self.selected {
            if *node == event.node {
                selected.since = event.at;
            }
        }
    }

    fn peer(&mut self, event: &Event, peer: &PeerName, change: &PeerChange, cx: &OracleCx<'_>) {
        let key = (event.node, peer.clone());
        match change {
            PeerChange::Opened { .. } | PeerChange::Closed { .. } => _ = self.selected.remove(&key),
            PeerChange::Selected { local, remote } => {
                if local.kind == CandidateKind::Relay || cx.is_program(event.node) {
                    self.selected.remove(&key);
                    return;
                }
                self.remotes.entry((event.node, remote.address)).or_default().answered = Some(event.at);
                let selected = Selected { remote: remote.address, since: event.at, is_up: true, has_said: false };
                self.selected.insert(key, selected);
            }
            PeerChange::Ice { state } => {
                if let Some(selected) = self.selected.get_mut(&key) {
                    let is_up = matches!(state, IceState::Connected | IceState::Completed | IceState::Disconnected);
                    if is_up && !selected.is_up {
                        selected.since = event.at;
                    }
                    selected.is_up = is_up;
                }
            }
            PeerChange::ConsentExpired => {
                if let Some(selected) = self.selected.get_mut(&key) {
                    selected.has_said = true;
                }
            }
            _ => {}
        }
    }

    /// What is wrong if the client should have said by `now` that its consent on a connection ended, and has not.
    fn has_not_said(&self, key: &(NodeId, PeerName), now: Duration, cx: &OracleCx<'_>) -> Option<String> {
        let (node, peer) = key;
        let selected = self.selected.get(key).filter(|selected| selected.is_up && !selected.has_said)?;
        let remote = self.remotes.get(&(*node, selected.remote)).filter(|remote| remote.is_heard)?;
        let answered = remote.answered?;
        let late = answered.max(selected.since) + CONSENT + SLACK;
        // Who does not even check any more uses the address no longer.
        let is_silent = now > late && remote.used > late;
        (is_silent && !self.suspended.contains_key(node)).then(|| {
            format!(
                "{} has not said that it has no consent to send to `{}`: {} last answered a connectivity check at {}",
                cx.name(*node),
                &**peer,
                selected.remote,
                seconds(answered)
            )
        })
    }
}
