//! Who is who: readers of a record find a client by the id that the signaling gave it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Message, NodeId, Record, Signaling, What};

/// The owners of all ids that were ever given out in a record.
#[derive(Clone, Debug, Default)]
pub struct Cast(BTreeMap<Arc<str>, NodeId>);

impl Cast {
    /// Reads who was told which id. An id that was given out twice stays with its first owner.
    pub fn of(record: &Record) -> Self {
        let mut owners = BTreeMap::new();
        for event in &record.events {
            if let What::Signaling(Signaling::Received(Message::Joined { id, .. })) = &event.what {
                owners.entry(id.clone()).or_insert(event.node);
            }
        }
        Self(owners)
    }

    /// Whose id it is.
    pub fn owner(&self, id: &str) -> Option<NodeId> {
        self.0.get(id).copied()
    }

    /// The name of an id's owner, or the id itself.
    pub fn name<'a>(&self, record: &'a Record, id: &'a str) -> &'a str {
        self.owner(id).map_or(id, |node| record.name(node))
    }
}
