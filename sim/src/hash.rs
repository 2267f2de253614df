//! The hash of a record: equal for equal runs, in every process, thread and build profile.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use crate::event::{Event, Record, What};

/// The Xxh3 hash of a record's nodes and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventHash(pub u64);

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for EventHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Hashes the nodes and events of a record.
pub fn event_hash(record: &Record) -> EventHash {
    let mut hasher = Xxh3::new();
    record.nodes.hash(&mut hasher);
    for event in &record.events {
        event.hash(&mut hasher);
    }
    EventHash(hasher.finish())
}

/// Hashes the story of a record: what happened when to which client, without packets, ports, ids and payloads, which
/// differ with each seed. Two seeds with the same story test the same.
pub fn story_hash(record: &Record) -> EventHash {
    let mut hasher = Xxh3::new();
    for event in record.events.iter().filter(|event| !matches!(event.what, What::Packet(_) | What::Nat(_))) {
        (event.at, event.node).hash(&mut hasher);
        std::mem::discriminant(&event.what).hash(&mut hasher);
    }
    EventHash(hasher.finish())
}

/// The first event in which two records differ: its index, and the event of each record at that index. `None` if the
/// records are equal.
pub fn first_difference<'a>(a: &'a Record, b: &'a Record) -> Option<(usize, Option<&'a Event>, Option<&'a Event>)> {
    let longest = a.events.len().max(b.events.len());
    (0..longest).map(|index| (index, a.events.get(index), b.events.get(index))).find(|(_, a, b)| a != b)
}

/// The Xxh3 hash of some bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
