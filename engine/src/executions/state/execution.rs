//! An open execution.

use std::sync::Arc;

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use super::phase::{Attempt, Phase};
use crate::access::principal::Principal;
use crate::catalog::OnLost;
use crate::effect::{Dispatch, Effect};
use crate::events::internal::InternalTriggers;
use crate::executions::facts::{ExecutionFailed, ExecutionRequested, ExecutionTimedOut, Failure, GivenEvent, Pace, WantedLink};
use crate::executions::labels::Labels;
use crate::executions::queues::QueuePlace;
use crate::executions::scope::ExecutionScope;
use crate::fact::Fact;
use crate::ids::{EnforcementId, EventId, ExecutionId, Id};
use crate::names::{ActionRef, PackName, RuleRef, WorkerQueueName};
use crate::record::{Actor, BodyHandle, CatalogRevision, Cause, Record};
use crate::sparse::is_default;
use crate::time::Timestamp;
use crate::workflows::facts::PartOf;

/// An open execution.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// The action.
    pub action: ActionRef,
    /// The catalog it runs in.
    pub catalog: CatalogRevision,
    /// Its parameters.
    pub params: BodyHandle,
    /// The queue in which it waits for a worker.
    #[serde(default, skip_serializing_if = "WorkerQueueName::is_default")]
    pub queue: WorkerQueueName,
    /// Its place in the queue.
    pub place: QueuePlace,
    /// Whether it may be retried if it is unknown whether an attempt took effect.
    pub idempotent: bool,
    /// What to do in that case if it may not be retried.
    pub on_lost: OnLost,
    /// The time limit of an attempt, in milliseconds.
    pub timeout_millis: u64,
    /// How long an attempt may continue after it was asked to stop, in milliseconds.
    pub grace_millis: u64,
    /// The actor that requested it, in the form of the log.
    pub actor: String,
    /// The first record of its chain.
    pub root: Id,
    /// How many events are above it in the chain.
    pub depth: u32,
    /// The W3C trace of the chain.
    pub trace: Option<String>,
    /// Whether its attempts hold a worker slot.
    pub pace: Pace,
    /// How many attempts were started.
    pub attempts: u32,
    /// The worker that was given the last of them.
    pub worker: Option<Arc<str>>,
    /// How many of them failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failures: u32,
    /// How many may fail before the execution fails permanently.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub failures_max: u32,
    /// The time limit of the whole execution, in milliseconds.
    pub limit_millis: Option<u64>,
    /// The workflow step that it is.
    pub part_of: Option<PartOf>,
    /// The rule whose steps it consists of.
    pub of_rule: Option<Box<OfRule>>,
    /// The rule that requested it.
    pub asked_by: Option<Box<AskingRule>>,
    /// The execution that it reruns.
    pub rerun_of: Option<ExecutionId>,
    /// The labels it can be found by.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Its scope, unless its action alone says it.
    pub scope: Option<Box<ExecutionScope>>,
    /// On whose rights it runs, if that was recorded.
    pub principal: Option<Principal>,
    /// The engine's own triggers that have an event above it in its chain.
    #[serde(default, skip_serializing_if = "InternalTriggers::is_empty")]
    pub internal_above: InternalTriggers,
    /// The link to an inquiry that its attempts put into its parameters.
    pub link: Option<Box<WantedLink>>,
    /// How many workflows it is nested in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub level: u32,
    /// When it began, if it consists of steps.
    pub began_at: Option<Timestamp>,
    /// Its result, if a workflow waits for it.
    pub result: Option<BodyHandle>,
    /// Its phase.
    pub phase: Phase,
}

/// A rule whose steps an execution consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that the rule decided on.
    pub event: EventId,
    /// The event as the rule's steps see it.
    pub given: GivenEvent,
}

/// A rule that requested an execution.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskingRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that the rule decided on.
    pub event: Option<EventId>,
    /// The rule's decision.
    pub enforcement: Option<EnforcementId>,
}

impl OfRule {
    fn of(fact: &ExecutionRequested) -> Option<Self> {
        let (rule, event, given) = (fact.rule.as_ref()?, fact.event?, fact.given.as_ref()?);
        Some(Self { rule: rule.clone(), event, given: GivenEvent::clone(given) })
    }
}

impl AskingRule {
    fn of(fact: &ExecutionRequested) -> Option<Self> {
        let rule = fact.rule.clone()?;
        Some(Self { rule, event: fact.event, enforcement: fact.enforcement })
    }
}

impl Execution {
    /// Returns the execution that a record requests, `level` workflows deep. Its parameters are the record's body.
    pub(super) fn from_request(record: &Record, fact: &ExecutionRequested, params: BodyHandle, level: u32) -> Self {
        Self {
            action: fact.action.clone(),
            catalog: fact.catalog,
            params,
            queue: fact.queue.clone(),
            place: (-i16::from(fact.priority), record.position),
            idempotent: fact.idempotent,
            on_lost: fact.on_lost,
            timeout_millis: fact.timeout_millis,
            grace_millis: fact.grace_millis,
            actor: record.actor.to_string(),
            root: record.cause.root,
            depth: record.cause.depth,
            trace: record.cause.trace.clone(),
            pace: fact.pace,
            attempts: 0,
            worker: None,
            failures: 0,
            failures_max: fact.failures_max.unwrap_or(1),
            limit_millis: fact.limit_millis,
            part_of: fact.part_of.clone(),
            of_rule: OfRule::of(fact).map(Box::new),
            asked_by: AskingRule::of(fact).map(Box::new),
            rerun_of: fact.rerun_of,
            labels: fact.labels.clone(),
            scope: fact.scope().into_recorded(None, &fact.action),
            principal: fact.principal(&record.actor),
            internal_above: fact.internal_above.clone(),
            link: fact.link.clone(),
            level,
            began_at: (fact.pace == Pace::InSteps).then_some(record.time),
            result: None,
            phase: Phase::begin(fact),
        }
    }

    /// Returns the cause of a record that `parent` led to in this execution's chain.
    pub fn cause(&self, parent: Id) -> Cause {
        Cause { parent: Some(parent), root: self.root, depth: self.depth, trace: self.trace.clone() }
    }

    /// Returns true if this actor is the worker that was given the last attempt.
    pub(crate) fn is_given_to(&self, actor: &Actor) -> bool {
        matches!((actor, &self.worker), (Actor::Worker(name), Some(worker)) if **worker == **name)
    }

    /// Returns the pack that defines the work: the rule's pack if the execution runs the steps of a rule, otherwise the
    /// action's pack.
    pub fn defined_in(&self) -> PackName {
        self.of_rule.as_ref().map_or_else(|| self.action.pack(), |of| of.rule.pack())
    }

    /// Returns the scope by which rights are limited to it.
    pub fn scope(&self) -> ExecutionScope {
        self.scope.as_deref().cloned().unwrap_or_else(|| ExecutionScope::of_request(None, &self.action))
    }

    /// Returns the record of its end that says why it failed.
    pub(crate) fn failure_fact(&self, error: Failure) -> Fact {
        ExecutionFailed { error, part_of: self.part_of.clone(), scope: self.scope_at_end() }.into()
    }

    /// Returns the record of its end that says that it took too long.
    pub(crate) fn timed_out(&self, error: Failure) -> Fact {
        ExecutionTimedOut { error, part_of: self.part_of.clone(), scope: self.scope_at_end() }.into()
    }

    /// Returns the scope of the dead letter that its failure makes. A step makes none.
    fn scope_at_end(&self) -> Option<Box<ExecutionScope>> {
        self.part_of.is_none().then(|| Box::new(self.scope()))
    }

    /// Returns its priority, −100 … 100.
    pub fn priority(&self) -> i8 {
        i8::try_from(-self.place.0).unwrap_or(0)
    }

    /// Returns true if another attempt may follow a failed one.
    pub(crate) fn may_be_tried_again(&self) -> bool {
        self.failures < self.failures_max
    }

    /// Returns true if it began to wait for a moment, an answer or an event, as its pace says, and has not ended
    /// in another way: what it waits for may have come.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.phase, Phase::Asleep | Phase::Asking | Phase::Awaiting | Phase::Woken)
    }

    /// Returns true if it waits for an answer, or has just got it.
    pub(crate) fn asks(&self) -> bool {
        self.pace == Pace::Asks && self.waits()
    }

    /// Returns true if it waits for an event, or has just got it.
    pub(crate) fn awaits_event(&self) -> bool {
        matches!(self.pace, Pace::Awaits { .. }) && self.waits()
    }

    /// Returns the effect by which a worker runs an attempt.
    pub(super) fn dispatch(&self, id: ExecutionId, attempt: Attempt, caller: Option<Principal>) -> Effect {
        Effect::Dispatch(Box::new(Dispatch {
            execution: id,
            attempt: attempt.id,
            number: attempt.number,
            token: attempt.token,
            // Whatever runs was given to a worker.
            worker: self.worker.clone().unwrap_or_default(),
            action: self.action.clone(),
            catalog: self.catalog,
            params: self.params,
            started_at: attempt.started_at,
            timeout_millis: self.timeout_millis,
            grace_millis: self.grace_millis,
            actor: self.actor.clone(),
            principal: self.principal.clone(),
            caller,
            link: self.link.clone(),
            trace: self.trace.clone(),
        }))
    }
}

fn one() -> u32 {
    1
}

fn is_one(count: &u32) -> bool {
    *count == 1
}
