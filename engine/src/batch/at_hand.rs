//! Bodies at hand: those that went into the log a moment ago and that a workflow is about to read.
//!
//! It is a cache: who does not find a body here has it fetched from the log.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::command::Bodies;
use crate::record::{Body, BodyHandle, Digest};
use crate::workflows::elements::Elements;

/// The most bytes that are held, as they are kept in the log.
pub(super) const AT_HAND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The newest bodies, the oldest of which go first.
#[derive(Debug, Default)]
pub(super) struct AtHand {
    bodies: BTreeMap<Digest, Body>,
    order: VecDeque<Digest>,
    bytes: usize,
    /// The lists that were taken apart last: their items follow each other.
    lists: RefCell<VecDeque<(Digest, Arc<Elements>)>>,
}

/// How many lists are held taken apart.
const LISTS_MAX: usize = 8;

impl AtHand {
    /// Keeps a body for a while.
    pub(super) fn put(&mut self, body: &Body) {
        let bytes = size(body);
        if bytes > AT_HAND_BYTES_MAX || self.bodies.contains_key(&body.digest) {
            return;
        }
        self.bytes += bytes;
        self.order.push_back(body.digest);
        self.bodies.insert(body.digest, body.clone());
        while self.bytes > AT_HAND_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.bodies.remove(&oldest).as_ref().map_or(0, size);
        }
    }
}

/// What a small body takes beside its bytes counts as well: many of them are no smaller than a few large ones.
fn size(body: &Body) -> usize {
    const ROW: usize = 256;
    ROW + body.content.as_ref().map_or(0, Bytes::len)
}

/// The bodies at hand, and those beside the batch.
pub(super) struct Both<'a> {
    pub(super) at_hand: &'a AtHand,
    pub(super) beside: &'a dyn Bodies,
}

impl Bodies for Both<'_> {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        let kept = || self.at_hand.bodies.get(&body.digest).and_then(|body| self.beside.decoded(body));
        self.beside.plain(body).or_else(kept)
    }

    fn elements(&self, body: &BodyHandle) -> Option<Arc<Elements>> {
        let known = self.at_hand.lists.borrow().iter().find(|(digest, _)| *digest == body.digest).map(|(_, list)| list.clone());
        known.or_else(|| {
            let list = Arc::new(Elements::of(self.plain(body)?));
            let mut lists = self.at_hand.lists.borrow_mut();
            lists.push_back((body.digest, list.clone()));
            if lists.len() > LISTS_MAX {
                lists.pop_front();
            }
            Some(list)
        })
    }

    fn decoded(&self, body: &Body) -> Option<Bytes> {
        self.beside.decoded(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_where_there_are_too_many_bytes() {
        let mut at_hand = AtHand::default();
        let bodies: Vec<Body> = (0..20_u8).map(|n| Body::raw(vec![n; 1024 * 1024])).collect();
        bodies.iter().for_each(|body| at_hand.put(body));
        let held: Vec<bool> = bodies.iter().map(|body| at_hand.bodies.contains_key(&body.digest)).collect();
        assert_eq!(held.iter().filter(|is_held| **is_held).count(), 7);
        assert!(held.is_sorted() && at_hand.bytes <= AT_HAND_BYTES_MAX && at_hand.order.len() == 7);
    }
}
