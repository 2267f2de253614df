//! Identifies clients for readers of a record: by the id that the server assigned, or, if the dialect has no ids, by
//! the ICE username fragments that both sides of a connection share.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{ClientId, Message, NodeId, PeerChange, PeerEvent, PeerName, Record, Signaling, What};

/// A client and its name for the other side of a connection.
type Side = (NodeId, PeerName);

/// The owners of all ids that were assigned in a record, and the partners of all connections without ids.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    owners: BTreeMap<ClientId, NodeId>,
    /// The connections of each side, in order: the index of the event that opened it, and the node of the other side.
    partners: BTreeMap<Side, Vec<(usize, Option<NodeId>)>>,
}

impl Identities {
    /// Reads from a record which client received which id. An id that was assigned twice belongs to its first owner.
    pub fn of(record: &Record) -> Self {
        let mut identities = Self::default();
        let mut described: BTreeMap<&Arc<str>, NodeId> = BTreeMap::new();
        for event in &record.events {
            match &event.what {
                What::Signaling(Signaling::Received(Message::Joined { id, .. } | Message::Admitted { id, .. })) => {
                    identities.owners.entry(id.clone()).or_insert(event.node);
                }
                What::Peer(PeerEvent { change: PeerChange::Described { local: true, ufrag, .. }, .. }) => {
                    described.insert(ufrag, event.node);
                }
                _ => {}
            }
        }
        for (index, event) in record.events.iter().enumerate() {
            let What::Peer(PeerEvent { peer, change, .. }) = &event.what else { continue };
            if identities.owner(peer).is_some() {
                continue;
            }
            match change {
                PeerChange::Opened { .. } => {
                    identities.partners.entry((event.node, peer.clone())).or_default().push((index, None));
                }
                PeerChange::Described { local: false, ufrag, .. } => {
                    let connections = identities.partners.get_mut(&(event.node, peer.clone()));
                    if let Some((_, partner)) = connections.and_then(|connections| connections.last_mut()) {
                        *partner = described.get(ufrag).copied();
                    }
                }
                _ => {}
            }
        }
        identities
    }

    /// The owner of an id.
    pub fn owner(&self, id: &str) -> Option<NodeId> {
        self.owners.get(id).copied()
    }

    /// The other side of the WebRTC connection to which the event at `index` belongs.
    pub fn partner(&self, index: usize, node: NodeId, peer: &PeerName) -> Option<NodeId> {
        self.owner(peer).or_else(|| {
            let connections = self.partners.get(&(node, peer.clone()))?;
            connections.iter().rfind(|(begins, _)| *begins <= index)?.1
        })
    }

    /// The name of an id's owner, or the id itself.
    pub fn name<'a>(&self, record: &'a Record, id: &'a str) -> &'a str {
        self.owner(id).map_or(id, |node| record.name(node))
    }
}
