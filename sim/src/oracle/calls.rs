//! The WebRTC connections that clients have, as they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Candidate, DtlsState, Event, IceState, NodeId, PeerChange, PeerEvent};

/// One side of a WebRTC connection.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) opened: Duration,
    pub(crate) ice: IceState,
    pub(crate) dtls: DtlsState,
    pub(crate) has_channel: bool,
    pub(crate) has_sent: bool,
    pub(crate) has_received: bool,
    /// This side's candidate and the other's, and when they were selected.
    pub(crate) selected: Option<(Candidate, Candidate, Duration)>,
    /// This side's ICE generations, and what it takes for the other's.
    pub(crate) ours: BTreeSet<Arc<str>>,
    pub(crate) theirs: Vec<Arc<str>>,
}

impl Call {
    /// Whether messages can pass.
    pub(crate) fn is_open(&self) -> bool {
        self.has_channel && self.is_ice_up() && self.dtls == DtlsState::Connected
    }

    pub(crate) fn is_ice_up(&self) -> bool {
        matches!(self.ice, IceState::Connected | IceState::Completed)
    }
}

/// All calls, by the client and the id of the other.
#[derive(Debug, Default)]
pub(crate) struct Calls(BTreeMap<(NodeId, Arc<str>), Call>);

impl Calls {
    pub(crate) fn advance(&mut self, event: &Event, PeerEvent { peer, change, .. }: &PeerEvent) {
        let key = (event.node, peer.clone());
        match change {
            PeerChange::Opened { .. } => {
                let call = Call {
                    opened: event.at,
                    ice: IceState::New,
                    dtls: DtlsState::New,
                    has_channel: false,
                    has_sent: false,
                    has_received: false,
                    selected: None,
                    ours: BTreeSet::new(),
                    theirs: Vec::new(),
                };
                self.0.insert(key, call);
                return;
            }
            PeerChange::Closed { .. } => {
                self.0.remove(&key);
                return;
            }
            _ => {}
        }
        let Some(call) = self.0.get_mut(&key) else { return };
        match change {
            PeerChange::Described { local: true, ufrag, .. } => {
                call.ours.insert(ufrag.clone());
            }
            PeerChange::Described { local: false, ufrag, .. } if call.theirs.last() != Some(ufrag) => {
                call.theirs.push(ufrag.clone());
            }
            PeerChange::Ice { state } => call.ice = *state,
            PeerChange::Dtls { state } => call.dtls = *state,
            PeerChange::Selected { local, remote } => call.selected = Some((*local, *remote, event.at)),
            PeerChange::ChannelOpen => call.has_channel = true,
            PeerChange::ChannelSent { .. } => call.has_sent = true,
            PeerChange::ChannelReceived { .. } => call.has_received = true,
            _ => {}
        }
    }

    /// A client's program has ended.
    pub(crate) fn end_all(&mut self, node: NodeId) {
        self.0.retain(|(of, _), _| *of != node);
    }

    pub(crate) fn get(&self, node: NodeId, peer: &Arc<str>) -> Option<&Call> {
        self.0.get(&(node, peer.clone()))
    }
}
