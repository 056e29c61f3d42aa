//! Bodies in memory: those that were just written to the log and that a workflow will read soon, and those
//! that workflows read last.
//!
//! This is a cache: a body that is not here is fetched from the log.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use ensue_expression::Document;

use crate::command::{Bodies, document_of};
use crate::executions::facts::Pace;
use crate::fact::Fact;
use crate::recent::Recent;
use crate::record::{Actor, Body, BodyHandle, Digest, Record, StreamId};
use crate::state::State;
use crate::workflows::elements::Elements;
use crate::workflows::waits::is_awaited;

/// The maximum size of the just-written bodies, in bytes as stored in the log.
const TAKEN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The maximum size of the bodies that were read, in bytes of memory. The items of a step run one after the
/// other, and each reads the same body.
const READ_BYTES_MAX: usize = 48 * 1024 * 1024;
/// The overhead of a small body counts too: many small bodies are as large as a few big ones.
const ROW_BYTES: usize = 256;

/// The bodies in memory. The least recently used are dropped first.
#[derive(Debug)]
pub(super) struct AtHand {
    taken: RefCell<Recent<Digest, Body>>,
    documents: RefCell<Recent<Digest, Document>>,
    lists: RefCell<Recent<Digest, Arc<Elements>>>,
}

impl Default for AtHand {
    fn default() -> Self {
        Self {
            taken: RefCell::new(Recent::new(TAKEN_BYTES_MAX)),
            documents: RefCell::new(Recent::new(READ_BYTES_MAX / 2)),
            lists: RefCell::new(Recent::new(READ_BYTES_MAX / 2)),
        }
    }
}

impl AtHand {
    /// Keeps a body for a while.
    pub(super) fn put(&mut self, body: &Body) {
        let bytes = body.content.as_ref().map_or(0, Bytes::len);
        self.taken.get_mut().put(body.digest, body.clone(), ROW_BYTES + bytes);
    }
}

/// The bodies in memory, and those given with the batch.
pub(super) struct Both<'a> {
    pub(super) at_hand: &'a AtHand,
    pub(super) beside: &'a dyn Bodies,
}

impl Bodies for Both<'_> {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        let taken = self.at_hand.taken.borrow_mut().get(&body.digest).and_then(|body| self.beside.decoded_bytes(body));
        taken.or_else(|| self.beside.plain(body))
    }

    fn document(&self, body: &BodyHandle) -> Option<Document> {
        let known = self.at_hand.documents.borrow_mut().get(&body.digest).cloned();
        known.or_else(|| {
            let document = document_of(&self.plain(body)?);
            self.at_hand.documents.borrow_mut().put(body.digest, document.clone(), ROW_BYTES + document.memory());
            Some(document)
        })
    }

    fn elements(&self, body: &BodyHandle) -> Option<Arc<Elements>> {
        let known = self.at_hand.lists.borrow_mut().get(&body.digest).cloned();
        known.or_else(|| {
            let list = Arc::new(Elements::of(self.plain(body)?));
            self.at_hand.lists.borrow_mut().put(body.digest, list.clone(), ROW_BYTES + list.memory());
            Some(list)
        })
    }

    fn decoded_bytes(&self, body: &Body) -> Option<Bytes> {
        self.beside.decoded_bytes(body)
    }
}

/// Returns true if the body of a record that is about to be folded is likely to be read soon: by a workflow,
/// an inquiry, a step that waits for an event, or rules that judge a schedule's event or read vars. The body
/// of a var is read soon as well.
pub(super) fn is_read_soon(state: &State, record: &Record) -> bool {
    if matches!(record.stream, StreamId::Event(_)) {
        let is_undecided = matches!(&record.fact, Fact::EventReceived(fact) if fact.undecided > 0);
        return is_undecided || record.actor == Actor::Engine || is_awaited(state, &record.fact);
    }
    let StreamId::Execution(id) = &record.stream else { return matches!(record.fact, Fact::VarSet(_)) };
    match &record.fact {
        Fact::ExecutionRequested(fact) => matches!(fact.pace, Pace::InSteps | Pace::Asks),
        Fact::AttemptSucceeded(_) | Fact::ExecutionSettled(_) => {
            state.executions().get(id).is_some_and(|execution| execution.part_of.is_some())
        }
        Fact::ExecutionSucceeded(fact) => fact.part_of.is_some(),
        Fact::StepExpanded(_) | Fact::RerunPlanned(_) | Fact::InquiryAnswered(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::record::Position;

    /// A log that counts every read.
    struct CountedLog {
        bodies: Vec<Body>,
        reads: Cell<usize>,
    }

    impl CountedLog {
        fn of(bodies: impl IntoIterator<Item = String>) -> Self {
            Self { bodies: bodies.into_iter().map(Body::json).collect(), reads: Cell::new(0) }
        }

        fn handles(&self) -> Vec<BodyHandle> {
            self.bodies.iter().map(|body| BodyHandle { digest: body.digest, bytes: body.bytes, at: Position(1) }).collect()
        }
    }

    impl Bodies for CountedLog {
        fn plain(&self, handle: &BodyHandle) -> Option<Bytes> {
            self.reads.set(self.reads.get() + 1);
            self.bodies.iter().find(|body| body.digest == handle.digest).and_then(|body| body.content.clone())
        }
    }

    #[test]
    fn oldest_bodies_are_evicted_over_the_byte_limit() {
        let mut at_hand = AtHand::default();
        let bodies: Vec<Body> = (0..20_u8).map(|n| Body::raw(vec![n; 1024 * 1024])).collect();
        bodies.iter().for_each(|body| at_hand.put(body));
        let held: Vec<bool> = bodies.iter().map(|body| at_hand.taken.get_mut().get(&body.digest).is_some()).collect();
        assert_eq!(held.iter().filter(|is_held| **is_held).count(), 7);
        assert!(held.is_sorted());
    }

    #[test]
    fn cached_body_is_not_read_from_the_log() {
        let log = CountedLog::of(["{\"region\": \"eu\"}".to_owned()]);
        let mut at_hand = AtHand::default();
        at_hand.put(&log.bodies[0]);
        let both = Both { at_hand: &at_hand, beside: &log };
        assert!(both.plain(&log.handles()[0]).is_some());
        assert_eq!(log.reads.get(), 0);
    }

    #[test]
    fn lists_of_a_hundred_parallel_steps_are_fetched_once_each() {
        let lists = (0..100).map(|n| serde_json::json!((0..100).map(|item| n * 100 + item).collect::<Vec<_>>()).to_string());
        let log = CountedLog::of(lists.chain(["{\"region\": \"eu\"}".to_owned()]));
        let (at_hand, handles) = (AtHand::default(), log.handles());
        let both = Both { at_hand: &at_hand, beside: &log };
        let (params, lists) = handles.split_last().unwrap();
        for item in 0..100 {
            for (n, list) in lists.iter().enumerate() {
                let element = both.elements(list).unwrap().get(item).unwrap();
                assert_eq!(element.root().as_u64(), Some((n * 100 + item) as u64));
                assert_eq!(both.document(params).unwrap().root().get("region").unwrap().as_str().as_deref(), Some("eu"));
            }
        }
        assert_eq!(log.reads.get(), handles.len());
    }
}
