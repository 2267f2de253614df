//! Who is who: readers of a record find a client by the id that the signaling gave it, or by the ICE username fragments that it shares
//! with its partner where the signaling names nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Message, NodeId, PeerChange, PeerEvent, Record, Signaling, What};

/// A client and what it calls the other side of its connections.
type Side = (NodeId, Arc<str>);

/// The owners of all ids that were ever given out in a record, and the partners of all connections without ids.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    owners: BTreeMap<Arc<str>, NodeId>,
    /// Of each side the connections in order: where each begins, and with whom it is.
    partners: BTreeMap<Side, Vec<(usize, Option<NodeId>)>>,
}

impl Cast {
    /// Reads who was told which id. An id that was given out twice stays with its first owner.
    pub fn of(record: &Record) -> Self {
        let mut cast = Self::default();
        let mut described: BTreeMap<&Arc<str>, NodeId> = BTreeMap::new();
        for event in &record.events {
            match &event.what {
                What::Signaling(Signaling::Received(Message::Joined { id, .. } | Message::Admitted { id, .. })) => {
                    cast.owners.entry(id.clone()).or_insert(event.node);
                }
                What::Peer(PeerEvent { change: PeerChange::Described { local: true, ufrag, .. }, .. }) => {
                    described.insert(ufrag, event.node);
                }
                _ => {}
            }
        }
        for (index, event) in record.events.iter().enumerate() {
            let What::Peer(PeerEvent { peer, change, .. }) = &event.what else { continue };
            if cast.owners.contains_key(peer) {
                continue;
            }
            match change {
                PeerChange::Opened { .. } => {
                    cast.partners.entry((event.node, peer.clone())).or_default().push((index, None));
                }
                PeerChange::Described { local: false, ufrag, .. } => {
                    let connections = cast.partners.get_mut(&(event.node, peer.clone()));
                    if let Some((_, partner)) = connections.and_then(|connections| connections.last_mut()) {
                        *partner = described.get(ufrag).copied();
                    }
                }
                _ => {}
            }
        }
        cast
    }

    /// Whose id it is.
    pub fn owner(&self, id: &str) -> Option<NodeId> {
        self.owners.get(id).copied()
    }

    /// The other side of the WebRTC connection that the event at `index` is of.
    pub fn partner(&self, index: usize, node: NodeId, peer: &Arc<str>) -> Option<NodeId> {
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
