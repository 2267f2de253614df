//! Which client has received which ids. A scenario's orders name clients, and not every server tells display names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::event::ClientId;

/// The ids of all clients of a run, by display name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Mutex<BTreeMap<Arc<str>, Vec<ClientId>>>>);

impl Directory {
    /// A client has received an id.
    pub(super) fn enter(&self, name: &Arc<str>, id: &ClientId) {
        let mut entries = self.0.lock().expect("no panic while held");
        let ids = entries.entry(name.clone()).or_default();
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }

    /// Whether a client with this name has received this id.
    pub(super) fn has(&self, name: &str, id: &ClientId) -> bool {
        let entries = self.0.lock().expect("no panic while held");
        entries.get(name).is_some_and(|ids| ids.contains(id))
    }
}
