//! Locks on what callers change: who changes a thing does so alone, from looking at it to the commit of the change.
//!
//! It knows no things, only their names, and not what a change is.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// How many things have a lock of their own. Two whose names fall together wait for each other as well, which costs them what the other takes.
const LOCKS: usize = 256;

/// The locks on all things that callers change: a fixed number, however many things there are.
pub(crate) struct ResourceLocks(Vec<Arc<Mutex<()>>>);

/// A lock on a thing, until this is dropped. It goes with what was asked to where that is done, so that a caller who goes away does not release it.
pub(crate) struct ResourceLock {
    _held: OwnedMutexGuard<()>,
}

impl Default for ResourceLocks {
    fn default() -> Self {
        Self((0..LOCKS).map(|_| Arc::default()).collect())
    }
}

impl ResourceLocks {
    /// Locks a thing, in the order of those who ask.
    pub(crate) async fn lock(&self, thing: &str) -> ResourceLock {
        let [at, ..] = *blake3::hash(thing.as_bytes()).as_bytes();
        let lock = self.0[usize::from(at) % LOCKS].clone();
        ResourceLock { _held: lock.lock_owned().await }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn the_next_one_has_the_lock_when_the_first_has_released_it() {
        let locks = ResourceLocks::default();
        let mut waits = Context::from_waker(Waker::noop());
        let mut first = Some(match pin!(locks.lock("keys/a.b")).poll(&mut waits) {
            std::task::Poll::Ready(lock) => lock,
            std::task::Poll::Pending => panic!("nobody else is there"),
        });
        let mut second = pin!(locks.lock("keys/a.b"));
        assert!(second.as_mut().poll(&mut waits).is_pending());
        assert!(pin!(locks.lock("keys/a.c")).poll(&mut waits).is_ready(), "another thing has its own");
        drop(first.take());
        assert!(second.as_mut().poll(&mut waits).is_ready());
    }
}
