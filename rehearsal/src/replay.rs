//! Replays: folds a recorded execution once more, and compares the core's decisions now with those recorded
//! then.
//!
//! An in-memory core receives everything that came from outside, as it came: how attempts ended, what people
//! answered, which events arrived, which timers fired. The core computes everything else again, with the
//! original definitions or with others. Until the first difference both have the same history; later
//! differences only follow from it.

mod begin;
mod collect;
mod decisions;
mod divergence;
mod run;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_engine::catalog::{Catalog, Catalogs, RunAs};
use ensue_engine::command::VarChange;
use ensue_engine::executions::facts::{ExecutionRequested, FailureKind};
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::VarName;
use ensue_engine::record::{Actor, BodyHandle, CatalogRevision, Draft, Position, Record, StreamId};
use ensue_engine::rules::facts::EnforcementMade;
use ensue_engine::timers::facts::TimerKind;
use ensue_engine::vars::reads::VarReads;
use thiserror::Error;

use self::begin::begin;
pub use self::collect::Collection;
use self::decisions::{Aspect, CoreDecision};
pub use self::divergence::{Divergence, TOLD_MAX, What};
use self::run::Replay;
use crate::backtest::Payloads;

/// The maximum number of records, of an execution and its steps, that are replayed.
pub const RECORDS_MAX: usize = 200_000;

/// The records of an execution.
#[derive(Clone, Debug)]
pub struct RecordedExecution {
    /// The execution. It is not a step of another one.
    pub execution: ExecutionId,
    /// The records of it and its steps up to its end, in the order of the log, with the events that it
    /// consumed, the steps of the clock, and the records of owed reactions. Bodies are decoded.
    pub records: Vec<Record>,
    /// The event and the decision of the rule that led to it, if there was one.
    pub enforced: Option<RecordedDecision>,
}

/// The decision of a rule that led to an execution.
#[derive(Clone, Debug)]
pub struct RecordedDecision {
    /// The event, with its payload decoded.
    pub event: Record,
    /// The decision.
    pub made: EnforcementMade,
}

/// The definitions with which an execution is replayed.
#[derive(Clone, Copy)]
pub enum Definitions<'a> {
    /// The original ones: every decision must be the same.
    Recorded(&'a dyn Catalogs),
    /// Others: the execution must take the same path.
    Other(&'a Arc<Catalog>),
}

/// How close a decision must be to the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closeness {
    /// Everything is the same.
    Whole,
    /// The path is the same: which steps begin with which input, and how they end.
    Way,
}

impl Closeness {
    /// Reports whether a decision is compared. A timeout that is not reached does not change the path.
    fn counts(self, decision: &CoreDecision) -> bool {
        match (self, decision.aspect) {
            (Self::Way, Aspect::Timer(kind, _)) => kind == TimerKind::Retry,
            (Self::Whole | Self::Way, _) => true,
        }
    }
}

/// Why an execution cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unreplayable {
    /// It has not ended.
    #[error("it has not ended")]
    NotEnded,
    /// It is a step.
    #[error("it is a step of {0} and is replayed with it")]
    IsStep(ExecutionId),
    /// Its beginning is not in the log.
    #[error("it is not in the log")]
    NotThere,
    /// What it was given, or what came of it, was erased.
    #[error("the body at position {0}, which it needs, is no longer stored")]
    BodyGone(Position),
    /// The definitions that it used are no longer available.
    #[error("the definitions that it used, revision {0}, are no longer available")]
    CatalogGone(CatalogRevision),
    /// A reaction was parked on its way, then or now.
    #[error("the next records could not be computed: {0}")]
    PutAside(String),
    /// The node was busy on its way, and worked out later what follows from a record.
    #[error("the node was busy and deferred the reactions to position {0}: this alone can change the course")]
    PutOff(Position),
    /// When a part of it began, or whether, others said that held a lock, or asked for one.
    #[error("it waited for a lock or was ended because of another execution: this depends on other executions")]
    Locked,
    /// The permissions of its pack at that time kept a part of it from running.
    #[error("a part of it needed permissions, and was not permitted or runs as its caller: this depends on the permissions at that time")]
    NotPermitted,
    /// Nobody can know which vars existed then.
    #[error("it reads all of `vars`, and their values at that time are unknown: write out their names")]
    ReadsVars,
    /// It is too long.
    #[error("it has more than {0} records")]
    TooLong(usize),
}

/// Replays an execution. Returns the differences at the first moment that has any, or none if everything is
/// the same.
///
/// # Errors
/// If it has not ended, is a step, or needs something that is no longer kept.
pub fn replay(
    recorded: &RecordedExecution,
    definitions: Definitions<'_>,
    payloads: &dyn Payloads,
) -> Result<Vec<Divergence>, Unreplayable> {
    let (record, requested) = find_request(recorded)?;
    if recorded.records.len() > RECORDS_MAX {
        return Err(Unreplayable::TooLong(RECORDS_MAX));
    }
    let is_end = |record: &Record| record.stream == StreamId::Execution(recorded.execution) && record.fact.execution_end().is_some();
    if !recorded.records.iter().any(is_end) {
        return Err(Unreplayable::NotEnded);
    }
    if let Some(parked) = recorded.records.iter().find_map(|record| match &record.fact {
        Fact::ReactionParked(parked) => Some(parked.error.clone()),
        _ => None,
    }) {
        return Err(Unreplayable::PutAside(parked));
    }
    if depends_on_locks(&recorded.records) {
        return Err(Unreplayable::Locked);
    }
    if recorded.records.iter().any(|record| is_forbidden(&record.fact)) {
        return Err(Unreplayable::NotPermitted);
    }
    let catalog = match definitions {
        Definitions::Recorded(catalogs) => catalogs.at(requested.catalog).ok_or(Unreplayable::CatalogGone(requested.catalog))?,
        Definitions::Other(catalog) => catalog.clone(),
    };
    let begins = match begin(recorded, (record, requested), definitions, &catalog)? {
        Ok(begins) => begins,
        Err(divergence) => return Ok(vec![divergence]),
    };
    let mut replay = Replay::of(recorded, record, definitions, payloads);
    replay.play(recorded, begins)?;
    let closeness = match definitions {
        Definitions::Recorded(_) => Closeness::Whole,
        Definitions::Other(_) => Closeness::Way,
    };
    // A replay knows no tokens, identities and grants, so that a caller may do nothing in it.
    if replay.would_be_forbidden && runs_as_caller(&recorded.records, &catalog) {
        return Err(Unreplayable::NotPermitted);
    }
    let differences = divergence::first(&replay.recorded, &replay.would, closeness);
    match (differences.is_empty(), put_off_within(recorded, &replay)?) {
        (false, Some(at)) => Err(Unreplayable::PutOff(at)),
        (true, _) | (false, None) => Ok(differences),
    }
}

/// Returns the vars that the execution may read. Its records must include their last changes before it and
/// all changes up to its end.
///
/// # Errors
/// If it reads `vars` as a whole, or is not there.
pub fn vars_read(recorded: &RecordedExecution, definitions: Definitions<'_>) -> Result<BTreeSet<VarName>, Unreplayable> {
    let (_, requested) = find_request(recorded)?;
    let catalog = match definitions {
        Definitions::Recorded(catalogs) => catalogs.at(requested.catalog).ok_or(Unreplayable::CatalogGone(requested.catalog))?,
        Definitions::Other(catalog) => catalog.clone(),
    };
    let mut reads = VarReads::default();
    let rule = requested.rule.as_ref().and_then(|rule| catalog.rules().get(rule));
    if let Some(rule) = rule {
        rule.expressions().into_iter().for_each(|expression| reads.note_all(expression));
        reads.note_action(&rule.action, catalog.actions());
    }
    if let Some(action) = catalog.actions().get(&requested.action) {
        reads.note_action(action, catalog.actions());
    }
    match reads {
        VarReads::Nothing => Ok(BTreeSet::new()),
        VarReads::Named(names) => Ok(names),
        VarReads::All => Err(Unreplayable::ReadsVars),
    }
}

fn find_request(recorded: &RecordedExecution) -> Result<(&Record, &ExecutionRequested), Unreplayable> {
    let begins = recorded.records.iter().find_map(|record| match &record.fact {
        Fact::ExecutionRequested(fact) if record.stream == StreamId::Execution(recorded.execution) => Some((record, fact)),
        _ => None,
    });
    let (record, fact) = begins.ok_or(Unreplayable::NotThere)?;
    match &fact.part_of {
        Some(part_of) => Err(Unreplayable::IsStep(part_of.workflow)),
        None => Ok((record, fact)),
    }
}

/// Returns the position of a record whose consequences the node deferred in part, or of a record that the
/// node itself made and whose consequences it deferred. The replay does not defer these.
fn put_off_within(recorded: &RecordedExecution, replay: &Replay<'_>) -> Result<Option<Position>, Unreplayable> {
    for record in &recorded.records {
        let Fact::ReactionDeferred(deferred) = &record.fact else { continue };
        let of = recorded.records.iter().find(|record| record.position == deferred.of);
        let came_from_outside = of.map(|of| replay.input(of)).transpose()?.flatten().is_some();
        if deferred.next > 0 || !came_from_outside {
            return Ok(Some(deferred.of));
        }
    }
    Ok(None)
}

/// Returns the resumptions without effect: the same turn deferred all consequences once more.
fn put_off_again(records: &[Record]) -> BTreeSet<Position> {
    let mut resumed: BTreeMap<Position, &Record> = BTreeMap::new();
    let mut again = BTreeSet::new();
    for record in records {
        match &record.fact {
            Fact::ReactionResumed(fact) => drop(resumed.insert(fact.of, record)),
            Fact::ReactionDeferred(fact) if fact.next == 0 => {
                let before = resumed.get(&fact.of).filter(|before| before.batch == record.batch);
                again.extend(before.map(|before| before.position));
            }
            _ => {}
        }
    }
    again
}

/// Returns true if an execution waited for a lock or was ended because of one. In a replay no other execution
/// holds any.
fn depends_on_locks(records: &[Record]) -> bool {
    let mut claimants = BTreeSet::new();
    records.iter().any(|record| match &record.fact {
        Fact::ExecutionRequested(fact) => {
            if !fact.locks.is_empty() {
                claimants.insert(record.stream.clone());
            }
            false
        }
        Fact::LockAwaited(_) => true,
        Fact::ExecutionCancelRequested(_) => record.actor == Actor::Engine && claimants.contains(&record.stream),
        // An error set by the engine itself is the reason why it did not run.
        Fact::ExecutionCancelled(fact) => fact.error.is_some() && claimants.contains(&record.stream),
        _ => false,
    })
}

/// Returns true if an execution, or one that it led to, is of a workflow that runs as its caller.
fn runs_as_caller(records: &[Record], catalog: &Catalog) -> bool {
    records.iter().any(|record| match &record.fact {
        Fact::ExecutionRequested(fact) => catalog.actions().get(&fact.action).is_some_and(|action| action.run_as == RunAs::Caller),
        _ => false,
    })
}

/// Returns true if something failed because its pack was not permitted to run it, also if only a notification did.
fn is_forbidden(fact: &Fact) -> bool {
    let failure = match fact {
        Fact::ExecutionFailed(failed) => &failed.error,
        Fact::StepFailed(failed) => &failed.error,
        Fact::InquiryNotificationFailed(failed) => &failed.error,
        _ => return false,
    };
    failure.kind == FailureKind::NotPermitted
}

/// Returns the execution whose attempt changed a var.
fn changed_by(fact: &Fact) -> Option<ExecutionId> {
    match fact {
        Fact::VarSet(fact) => fact.execution,
        Fact::VarRemoved(fact) => fact.execution,
        _ => None,
    }
}

/// Returns the change of a var that a record describes.
fn change_of(record: &Record) -> Result<Option<VarChange>, Unreplayable> {
    match (&record.fact, &record.body) {
        (Fact::VarSet(fact), Some(body)) if body.content.is_some() => {
            Ok(Some(VarChange { name: fact.name.clone(), value: Some(body.clone()) }))
        }
        (Fact::VarSet(_), _) => Err(Unreplayable::BodyGone(record.position)),
        (Fact::VarRemoved(fact), _) => Ok(Some(VarChange { name: fact.name.clone(), value: None })),
        _ => Ok(None),
    }
}

fn draft_of(record: &Record) -> Draft {
    let begins = match (&record.fact, &record.stream) {
        (Fact::ExecutionRequested(_) | Fact::EventReceived(_) | Fact::AttemptStarted(_), _) => Some(record.id),
        _ => None,
    };
    Draft::new(record.stream.clone(), &record.actor, record.fact.clone())
        .beginning(begins)
        .because(record.cause.clone())
        .with_body(record.body.clone())
}

fn body_gone(bodies: &[BodyHandle]) -> Unreplayable {
    Unreplayable::BodyGone(bodies.first().map(|body| body.at).unwrap_or_default())
}
