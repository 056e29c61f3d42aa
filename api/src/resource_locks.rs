//! Locks on the resources that callers change: nobody else changes a resource between a caller's check and
//! the commit of its change.
//!
//! It knows only the names of resources, neither the resources nor the changes.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// The number of locks. Two resources whose names share a lock also wait for each other, which costs each the
/// time that the other takes.
const LOCKS: usize = 256;

/// The locks on all resources that callers change: a fixed number, however many resources there are.
pub(crate) struct ResourceLocks(Vec<Arc<Mutex<()>>>);

/// A lock on a resource, until this is dropped. It travels with the command to where that is carried out, so
/// that a caller that disconnects does not release it.
pub(crate) struct ResourceLock {
    _held: OwnedMutexGuard<()>,
}

impl Default for ResourceLocks {
    fn default() -> Self {
        Self((0..LOCKS).map(|_| Arc::default()).collect())
    }
}

impl ResourceLocks {
    /// Locks a resource, in the order of the requests.
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
