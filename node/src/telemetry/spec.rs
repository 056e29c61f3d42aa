//! Records as they come from a log, for the tests of telemetry.

use ensue_engine::catalog::OnLost;
use ensue_engine::executions::facts::{AttemptStarted, ExecutionRequested, Pace};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, Id, LogId};
use ensue_engine::names::DEFAULT_QUEUE;
use ensue_engine::record::{Actor, CatalogRevision, Cause, Chain, Epoch, Position, Record, Revision, StreamId};
use ensue_engine::time::Timestamp;

/// Returns an id, a different one for each number.
pub(crate) fn id(number: u128) -> Id {
    Id::root(Timestamp::from_micros(1_774_699_200_000_000), number)
}

/// Returns the record that begins the thing `of`, or a later one of it.
pub(crate) fn record(of: Id, stream: StreamId, at_micros: i64, trace: Option<&str>, fact: impl Into<Fact>) -> Record {
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
        fact_json: bytes::Bytes::new(),
        body: None,
        chain: Chain::default(),
    }
}

/// An execution of `core.echo` is requested.
pub(crate) fn requested(enforcement: Option<EnforcementId>) -> ExecutionRequested {
    ExecutionRequested {
        action: "core.echo".parse().unwrap(),
        catalog: CatalogRevision(1),
        rule: None,
        event: None,
        enforcement,
        given: None,
        part_of: None,
        rerun_of: None,
        priority: 0,
        queue: DEFAULT_QUEUE.clone(),
        labels: std::collections::BTreeMap::new(),
        given_labels: std::collections::BTreeSet::new(),
        idempotent: true,
        on_lost: OnLost::Ask,
        timeout_millis: 1,
        grace_millis: 1,
        failures_max: None,
        limit_millis: None,
        start_at: None,
        locks: Vec::new(),
        wait_millis: None,
        pace: Pace::Worked,
        internal_above: std::collections::BTreeSet::new(),
    }
}

/// An attempt begins.
pub(crate) fn started(number: u32) -> AttemptStarted {
    AttemptStarted { number, token: 1, worker: "local".into(), lease_millis: 1 }
}
