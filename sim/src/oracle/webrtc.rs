//! The current state of the clients' WebRTC connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Candidate, DtlsState, Event, IceState, NodeId, PeerChange, PeerEvent, PeerName};

/// One side of a WebRTC connection.
#[derive(Clone, Debug)]
pub(crate) struct PeerConnection {
    pub(crate) opened: Duration,
    pub(crate) ice: IceState,
    pub(crate) dtls: DtlsState,
    pub(crate) has_channel: bool,
    pub(crate) has_sent: bool,
    pub(crate) has_received: bool,
    /// Whether a program of others has sent and received encrypted data.
    pub(crate) flows: [bool; 2],
    /// The local and the remote candidate, and when the pair was selected.
    pub(crate) selected: Option<(Candidate, Candidate, Duration)>,
    /// The ICE generations of this side. `theirs` are those that it has seen of the other side.
    pub(crate) ours: BTreeSet<Arc<str>>,
    pub(crate) theirs: Vec<Arc<str>>,
}

impl PeerConnection {
    /// Whether the data channel can carry messages; of a program of others, whether data flows in both directions.
    pub(crate) fn is_open(&self) -> bool {
        let carries = self.has_channel || self.flows == [true; 2];
        carries && self.is_ice_up() && self.dtls == DtlsState::Connected
    }

    pub(crate) fn is_ice_up(&self) -> bool {
        matches!(self.ice, IceState::Connected | IceState::Completed)
    }
}

/// All connections, by the client and its name for the other side.
#[derive(Debug, Default)]
pub(crate) struct PeerConnections(BTreeMap<(NodeId, PeerName), PeerConnection>);

impl PeerConnections {
    pub(crate) fn advance(&mut self, event: &Event, PeerEvent { peer, change, .. }: &PeerEvent) {
        let key = (event.node, peer.clone());
        match change {
            PeerChange::Opened { .. } => {
                let connection = PeerConnection {
                    opened: event.at,
                    ice: IceState::New,
                    dtls: DtlsState::New,
                    has_channel: false,
                    has_sent: false,
                    has_received: false,
                    flows: [false; 2],
                    selected: None,
                    ours: BTreeSet::new(),
                    theirs: Vec::new(),
                };
                self.0.insert(key, connection);
                return;
            }
            PeerChange::Closed { .. } => {
                self.0.remove(&key);
                return;
            }
            _ => {}
        }
        let Some(connection) = self.0.get_mut(&key) else { return };
        match change {
            PeerChange::Described { local: true, ufrag, .. } => {
                connection.ours.insert(ufrag.clone());
            }
            PeerChange::Described { local: false, ufrag, .. } if connection.theirs.last() != Some(ufrag) => {
                connection.theirs.push(ufrag.clone());
            }
            PeerChange::Ice { state } => connection.ice = *state,
            PeerChange::Dtls { state } => connection.dtls = *state,
            PeerChange::Selected { local, remote } => connection.selected = Some((*local, *remote, event.at)),
            PeerChange::Flows { sent } => connection.flows[usize::from(!*sent)] = true,
            PeerChange::ChannelOpen => connection.has_channel = true,
            PeerChange::ChannelSent { .. } => connection.has_sent = true,
            PeerChange::ChannelReceived { .. } => connection.has_received = true,
            _ => {}
        }
    }

    /// Removes the connections of a client whose program has ended.
    pub(crate) fn end_all(&mut self, node: NodeId) {
        self.0.retain(|(of, _), _| *of != node);
    }

    pub(crate) fn get(&self, node: NodeId, peer: &PeerName) -> Option<&PeerConnection> {
        self.0.get(&(node, peer.clone()))
    }
}
