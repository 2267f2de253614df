//! Descriptions that reach the other side unchanged agree on the tracks too. Browsers send theirs at once and always. The
//! tracks of Glare's own clients, which can be turned off, are judged by [`super::media_flows`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{DtlsState, Event, MachineEvent, NodeId, PeerChange, PeerEvent, PeerName, TrackKind, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

/// Time within which the first of a track arrives on a connection that is up. A picture begins with its first key frame,
/// which a busy machine may encode late.
const BEGINS: Duration = Duration::from_secs(15);

/// The tracks of one side's connection.
#[derive(Default)]
struct Tracks {
    /// Those that have not arrived so far.
    awaited: BTreeSet<TrackKind>,
    /// When both the connection was up and the last of them was added.
    since: Option<Duration>,
}

#[derive(Default)]
pub(crate) struct TracksArrive(BTreeMap<(NodeId, PeerName), Tracks>);

impl Oracle for TracksArrive {
    const SLUG: &'static str = "tracks-arrive";
    const PROMISE: &'static str =
        "At the end, every track that two browsers agreed on has arrived, if their connection is up.";
    const JUDGES: Judges = Judges::RealSockets;

    fn observe(&mut self, event: &Event, _cx: &mut OracleCx<'_>) {
        let (peer, change) = match &event.what {
            What::Peer(PeerEvent { peer, change, .. }) => (peer, change),
            What::Machine(MachineEvent::PowerLost | MachineEvent::Ended) => {
                return self.0.retain(|(node, _), _| *node != event.node);
            }
            _ => return,
        };
        let key = (event.node, peer.clone());
        match change {
            PeerChange::Opened { .. } | PeerChange::Closed { .. } => {
                self.0.remove(&key);
            }
            PeerChange::Track { kind } => {
                let tracks = self.0.entry(key).or_default();
                tracks.awaited.insert(*kind);
                tracks.since = tracks.since.map(|_| event.at);
            }
            PeerChange::Plays { kind } => {
                self.0.entry(key).or_default().awaited.remove(kind);
            }
            PeerChange::Dtls { state } => {
                self.0.entry(key).or_default().since = (*state == DtlsState::Connected).then_some(event.at);
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for ((node, peer), Tracks { awaited, since }) in &self.0 {
            let others = cx.with_owner(*node, peer);
            if !cx.scenario.media().is_empty() && !others.iter().all(|node| is_browser(*node, cx)) {
                continue;
            }
            let is_up = cx.model.peer_connections.get(*node, peer).is_some_and(|connection| connection.is_open());
            if !is_up || since.is_none_or(|since| cx.now().time < since + BEGINS) {
                continue;
            }
            for kind in awaited {
                let kind = match kind {
                    TrackKind::Audio => "sound",
                    TrackKind::Video => "picture",
                };
                let message = format!("{} is connected with {} but receives no {kind}", cx.name(*node), cx.who(peer));
                cx.violated(&cx.with_owner(*node, peer), message);
            }
        }
    }
}

fn is_browser(node: NodeId, cx: &OracleCx<'_>) -> bool {
    cx.actor(node).is_some_and(|actor| cx.scenario.actors[actor].runs.is_some())
}
