//! Helpers for mutants. The copy of the server with the mutants gets this file as its module `mutant`.
//!
//! Each process runs one server with at most one defect, named by the environment variable `GLARE_MUTANT`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use tokio::time::Instant;

static PLANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("GLARE_MUTANT").ok());
static MEMORY: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
static COUNTS: Mutex<BTreeMap<String, (Instant, usize)>> = Mutex::new(BTreeMap::new());

/// Whether `ASKED` is kept.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);
/// The defects in whose functions the server has been since `forget`.
static ASKED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Whether this server has the defect.
pub(crate) fn is(mutant: &'static str) -> bool {
    if IS_WATCHED.load(Ordering::Relaxed) {
        ASKED.lock().expect("nothing panics while it holds it").insert(mutant);
    }
    PLANTED.as_deref() == Some(mutant)
}

/// From now on, keeps in which functions with a defect the server has been.
pub(crate) fn watch() {
    IS_WATCHED.store(true, Ordering::Relaxed);
}

/// The defects that could have shown since `forget`: the server has been in their functions. Without a planted defect,
/// a run in which it has not is the same with that defect.
pub(crate) fn asked() -> Vec<&'static str> {
    ASKED.lock().expect("nothing panics while it holds it").iter().copied().collect()
}

/// The string in a field of a client's message.
pub(crate) fn claimed(field: &str, message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message.get(field)?.as_str().map(str::to_owned)
}

/// Stores a text for `recall`.
pub(crate) fn remember(key: &str, text: &str) {
    MEMORY.lock().expect("nothing panics while it holds it").insert(key.to_owned(), text.to_owned());
}

/// The text that was stored last.
pub(crate) fn recall(key: &str) -> Option<String> {
    MEMORY.lock().expect("nothing panics while it holds it").get(key).cloned()
}

/// False on the first call with a key, then true.
pub(crate) fn is_again(key: &str) -> bool {
    MEMORY.lock().expect("nothing panics while it holds it").insert(key.to_owned(), String::new()).is_some()
}

/// A count from a cache whose entries live for one second.
pub(crate) fn a_second_ago(key: &str, count: usize) -> usize {
    let now = Instant::now();
    let mut counts = COUNTS.lock().expect("nothing panics while it holds it");
    let (since, cached) = counts.entry(key.to_owned()).or_insert((now, count));
    if now - *since > Duration::from_secs(1) {
        (*since, *cached) = (now, count);
    }
    *cached
}

/// Forgets everything, so that a run does not depend on the runs before it in the same process.
pub(crate) fn forget() {
    MEMORY.lock().expect("nothing panics while it holds it").clear();
    COUNTS.lock().expect("nothing panics while it holds it").clear();
    ASKED.lock().expect("nothing panics while it holds it").clear();
}
