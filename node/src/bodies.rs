//! A cache of bodies that were just committed and are about to be read again, bounded in bytes.
//!
//! The log has every body, so losing the cache loses nothing.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ensue_api::Queue;
use ensue_engine::record::Digest;
use lru::LruCache;

/// A cache of decoded bodies, which drops the least recently used first.
#[derive(Debug)]
pub struct BodyCache {
    state: Mutex<State>,
    bytes_max: usize,
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct State {
    bodies: LruCache<Digest, Bytes>,
    bytes: usize,
}

impl BodyCache {
    /// Creates a cache that holds at most as many bytes as the queue has room for.
    pub fn new(queue: Arc<Queue>) -> Self {
        let bytes_max = usize::try_from(queue.capacity()).unwrap_or(usize::MAX);
        Self { state: Mutex::new(State { bodies: LruCache::unbounded(), bytes: 0 }), bytes_max, queue }
    }

    /// Keeps a body for a while.
    pub fn put(&self, digest: Digest, plain: Bytes) {
        if plain.len() > self.bytes_max {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += plain.len();
        if let Some(old) = state.bodies.put(digest, plain) {
            state.bytes -= old.len();
        }
        while state.bytes > self.bytes_max {
            match state.bodies.pop_lru() {
                Some((_, body)) => state.bytes -= body.len(),
                None => break,
            }
        }
        self.queue.set(state.bytes as u64);
    }

    /// Removes all bodies.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { bodies: LruCache::unbounded(), bytes: 0 };
        self.queue.set(0);
    }

    /// Returns a body, or none if it is not cached.
    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bodies.get(digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use ensue_api::QueueName;

    use super::*;

    #[test]
    fn cache_never_exceeds_its_byte_limit() {
        let cache = BodyCache::new(Queue::new(QueueName::BodyBytes, 100));
        for n in 0..50_u8 {
            cache.put(Digest::of(&[n]), Bytes::from(vec![n; 30]));
        }
        let held = (0..50_u8).filter(|n| cache.get(&Digest::of(&[*n])).is_some()).count();
        assert_eq!(held, 3);
        cache.put(Digest::of(b"large"), Bytes::from(vec![0; 101]));
        assert!(cache.get(&Digest::of(b"large")).is_none());
    }

    #[test]
    fn cleared_cache_holds_no_bytes_and_can_be_filled_again() {
        let queue = Queue::new(QueueName::BodyBytes, 100);
        let (cache, digest) = (BodyCache::new(queue.clone()), Digest::of(b"1"));
        cache.put(digest, Bytes::from(vec![1; 30]));
        assert_eq!(queue.depth(), 30);
        cache.clear();
        assert_eq!((cache.get(&digest), queue.depth()), (None, 0));
        cache.put(digest, Bytes::from(vec![1; 30]));
        assert_eq!((cache.get(&digest).unwrap().len(), queue.depth()), (30, 30));
    }
}
