//! Keeps the descriptors of worlds that run side by side apart.
//!
//! Between its start and its exec, a new process has copies of all descriptors of this process. An end of a socket that a
//! world closes meanwhile stays open until then, so that its program notices the end later than in another run. So no
//! program is started while a world handles descriptors of its own, and the other way round.

use std::cell::RefCell;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static STARTING: RwLock<()> = RwLock::new(());

/// How often this thread holds the lock, and the lock.
type Held = (usize, Option<RwLockReadGuard<'static, ()>>);

thread_local! {
    static HELD: RefCell<Held> = const { RefCell::new((0, None)) };
}

/// While it lives, no program starts. A thread may have several: a second lock might wait for a program that waits for
/// the first.
pub(super) struct Handling(());

impl Handling {
    pub(super) fn start() -> Self {
        HELD.with_borrow_mut(|(count, guard)| {
            // A panic of another world leaves nothing behind that matters here.
            guard.get_or_insert_with(|| STARTING.read().unwrap_or_else(PoisonError::into_inner));
            *count += 1;
        });
        Self(())
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|(count, guard)| {
            *count -= 1;
            if *count == 0 {
                *guard = None;
            }
        });
    }
}

/// While it lives, this thread alone starts a program, and no other world handles its descriptors.
pub(super) fn starting() -> RwLockWriteGuard<'static, ()> {
    STARTING.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_handle_its_descriptors_twice_and_nobody_starts_meanwhile() {
        let outer = Handling::start();
        drop(Handling::start());
        assert!(STARTING.try_write().is_err(), "the outer one still holds it");
        drop(outer);
        drop(starting());
    }
}
