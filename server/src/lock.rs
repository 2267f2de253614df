//! A mutex that outlives a panic.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex without poisoning: after a panic in one connection's task, the others still get the lock. What the panicking
/// task has changed stays as it is, and its session's `Drop` still makes the client leave.
#[derive(Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use crate::dialect::mesh::Mesh;
    use crate::limits::Limits;
    use crate::session::client::Client;
    use crate::session::dialect::{Dialect, WebSocketDialect};
    use crate::session::queue::Queue;

    use super::*;

    #[test]
    fn whoever_comes_after_a_panic_gets_the_lock_and_what_was_changed() {
        let lock = Lock::new(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut value = lock.lock();
            *value += 1;
            panic!("while it holds the lock");
        }));
        assert!(panicked.is_err());
        assert_eq!(*lock.lock(), 2);
        assert_eq!(lock.into_inner(), 2);
    }

    /// A panic while a dialect is locked ends one client, not the dialect.
    #[test]
    fn a_dialect_goes_on_after_a_panic_under_its_lock() {
        let mesh = Arc::new(Mesh::new(1));
        let join = || {
            let client = Client::new(Queue::alone(&Limits::default()), Default::default(), &Limits::default());
            let mut session = Arc::clone(&mesh).open(None, client);
            session.text(r#"{"action":"join","roomId":"r"}"#);
            session
        };
        let first = join();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _second = join();
            mesh.panic_while_locked();
        }));
        assert!(panicked.is_err());
        let _third = join();
        assert_eq!(mesh.count(), (1, 2), "the one that panicked has left");
        drop(first);
        assert_eq!(mesh.count(), (1, 1));
    }
}
