//! Records without a log, for tests that look at one record at a time, and the facts that they share.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ensue_engine::catalog::OnLost;
use ensue_engine::executions::facts::{AttemptStarted, ExecutionRequested, Pace};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{Id, LogId};
use ensue_engine::names::DEFAULT_QUEUE;
use ensue_engine::record::{Actor, CatalogRevision, Cause, Chain, Epoch, Position, Record, Revision, StreamId};
use ensue_engine::time::Timestamp;

use crate::NOON;

/// Returns an id, a different one for each number.
pub fn id(number: u128) -> Id {
    Id::root(NOON, number)
}

/// Returns the record that begins the thing `of`, or a later one of it.
pub fn record(of: Id, stream: StreamId, at_micros: i64, trace: Option<&str>, fact: impl Into<Fact>) -> Record {
    Record {
        position: Position(7),
        log: LogId(id(1)),
        epoch: Epoch(1),
        batch: id(2),
        stream,
        revision: Revision(1),
        schema: 1,
        id: of,
        time: Timestamp::from_micros(at_micros),
        actor: Actor::Engine,
        cause: Cause::root(of, trace.map(str::to_owned)),
        fact: fact.into(),
        fact_json: Bytes::new(),
        body: None,
        chain: Chain::default(),
    }
}

/// Returns the request of an execution of an action. Nothing in the log caused it, and nothing about it is special.
pub fn execution_request(action: &str) -> ExecutionRequested {
    ExecutionRequested {
        action: action.parse().unwrap(),
        catalog: CatalogRevision(1),
        rule: None,
        event: None,
        enforcement: None,
        given: None,
        part_of: None,
        rerun_of: None,
        priority: 0,
        queue: DEFAULT_QUEUE.clone(),
        labels: BTreeMap::new(),
        scope: None,
        principal: None,
        given_labels: BTreeSet::new(),
        idempotent: false,
        on_lost: OnLost::Ask,
        timeout_millis: 600_000,
        grace_millis: 10_000,
        failures_max: None,
        limit_millis: None,
        start_at: None,
        locks: Vec::new(),
        wait_millis: None,
        pace: Pace::Worked,
        internal_above: BTreeSet::new(),
        link: None,
    }
}

/// Returns the start of an attempt.
pub fn attempt_start(number: u32) -> AttemptStarted {
    AttemptStarted { number, token: 1, worker: "local".into(), lease_millis: 1 }
}
