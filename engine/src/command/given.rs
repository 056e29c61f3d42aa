//! What commands carry.

use crate::catalog::Action;
use crate::command::Dedupe;
use crate::command::SignedBody;
use crate::events::facts::DeliveredWith;
use crate::executions::facts::{Failure, GivenEvent};
use crate::executions::labels::Labels;
use crate::ids::{AttemptId, EnforcementId, EventId, ExecutionId, Id, InquiryId};
use crate::locks::facts::Claim;
use crate::names::{ActionRef, PackName, RuleRef, SensorRef, TriggerRef, VarName};
use crate::record::{Body, CatalogRevision, Cause, Digest, Position};
use crate::rules::judge::{EventView, Judgement};
use crate::time::Timestamp;
use crate::workflows::facts::RerunFrom;
use ensue_expression::Document;
use std::sync::Arc;

/// An event as an edge observed, checked and judged it.
#[derive(Clone, Debug)]
pub struct ObservedEvent {
    /// Its id: a root's, or derived from the execution that emits it.
    pub id: EventId,
    /// Its kind.
    pub trigger: TriggerRef,
    /// Who observed it.
    pub source: String,
    /// The sensor it came through.
    pub sensor: Option<SensorRef>,
    /// The rule whose schedule it is: no other judges it.
    pub rule: Option<RuleRef>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The W3C trace that it brings itself; without one it stands in its command's.
    pub trace: Option<String>,
    /// The payload, to be kept.
    pub body: Body,
    /// The same payload, to be read.
    pub payload: Document,
    /// The key under which it is accepted once.
    pub dedupe: Option<Dedupe>,
    /// The signed body that it came in, which is accepted once.
    pub signed: Option<SignedBody>,
    /// What the rules make of it.
    pub judgement: Arc<Judgement>,
}

impl ObservedEvent {
    /// Makes one as rules saw and judged it; no sensor saw it, and it has no key.
    pub fn judged(view: &EventView<'_>, judgement: Judgement) -> Self {
        Self {
            id: view.id,
            trigger: view.trigger.clone(),
            source: view.source.to_owned(),
            sensor: None,
            rule: view.only.cloned(),
            occurred_at: view.time,
            trace: None,
            body: Body::json(view.payload.bytes().clone()),
            payload: view.payload.clone(),
            dedupe: None,
            signed: None,
            judgement: Arc::new(judgement),
        }
    }
}

/// A delivery that made no event.
#[derive(Clone, Debug)]
pub struct RefusedDelivery {
    /// The sensor it came to.
    pub sensor: SensorRef,
    /// The trigger that refused it, where one did.
    pub trigger: Option<TriggerRef>,
    /// Why.
    pub reason: String,
    /// What was delivered.
    pub body: Body,
    /// What came with it, where it can be delivered again.
    pub with: Option<DeliveredWith>,
}

/// A delivery that was refused, and the events that it makes now.
#[derive(Clone, Debug)]
pub struct RetriedDelivery {
    /// The record of the refusal.
    pub of: Id,
    /// The chain that it stands in.
    pub cause: Cause,
    /// The events; none where nothing of the sensor fits it.
    pub events: Vec<ObservedEvent>,
}

/// An action to run with parameters that fit.
#[derive(Clone, Debug)]
pub struct RequestExecution {
    /// The action's ref.
    pub action: ActionRef,
    /// The action in the catalog of `catalog`.
    pub definition: Arc<Action>,
    /// The catalog in which the parameters were checked.
    pub catalog: CatalogRevision,
    /// The parameters, complete: to be kept.
    pub body: Body,
    /// The same, to be read.
    pub params: Document,
    /// When it may start, not before; a time that has passed is now.
    pub start_at: Option<Timestamp>,
    /// Its labels beside those of its action, which are refused where the action has one of the same name. Of a rerun: those that who asked for
    /// the first one gave; the action's go over them.
    pub labels: Labels,
    /// The execution that is run again by it.
    pub rerun: Option<Box<Rerun>>,
}

/// An execution that has ended, as it is run again.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// The execution.
    pub of: ExecutionId,
    /// The chain that it stands in.
    pub cause: Cause,
    /// The rule that asked for it, where one did.
    pub rule: Option<OfRule>,
    /// The lock of that rule that it had to hold, where it did.
    pub rule_claim: Option<Claim>,
    /// What its rule says of its priority.
    pub priority: Option<i8>,
    /// What of it is run again.
    pub from: RerunFrom,
    /// What had succeeded of it and is taken over: how much, and the list of it, to be kept. None where nothing is.
    pub kept: Option<(u32, Body)>,
}

/// The rule that asked for an execution.
#[derive(Clone, Debug)]
pub struct OfRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that it decided on.
    pub event: Option<EventId>,
    /// The decision.
    pub enforcement: Option<EnforcementId>,
    /// The event as the steps of the rule see it, where it is made of steps.
    pub given: Option<GivenEvent>,
}

/// An answer to an inquiry that fits what was asked for.
#[derive(Clone, Debug)]
pub struct InquiryAnswer {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The name of the token that answers.
    pub by: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What its holder was shown; none where that was not said.
    pub digest: Option<Digest>,
    /// The answer, to be kept.
    pub body: Body,
    /// The same, to be read.
    pub answer: Document,
}

/// What a worker says of an attempt's end.
#[derive(Clone, Debug)]
pub struct Report {
    /// The execution.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The fencing token it was given.
    pub token: u64,
    /// How it ended.
    pub outcome: ReportOutcome,
    /// How long the other side asks to wait before the next attempt, in milliseconds; only of an attempt that failed.
    pub retry_after_millis: Option<u64>,
    /// The result, or what was given nevertheless.
    pub body: Option<Body>,
    /// The event that the runner `emit` makes; the result names it.
    pub emitted: Option<Box<ObservedEvent>>,
    /// The vars it changes.
    pub vars: Vec<VarChange>,
    /// How long before this report it ended, in milliseconds, if that is noticeable.
    pub ended_before: Option<u64>,
}

impl Report {
    /// The event it emits, if any.
    pub(crate) fn events(&self) -> &[ObservedEvent] {
        self.emitted.as_deref().map_or(&[], std::slice::from_ref)
    }
}

/// As what somebody has seen a var that they change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeenVar {
    /// It does not matter.
    #[default]
    Anyhow,
    /// It had a value, whichever.
    There,
    /// It had no value.
    NotThere,
    /// It had the value of this position.
    At(Position),
}

/// A change of a var.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarChange {
    /// The var.
    pub name: VarName,
    /// Its value: JSON; none where it is to have none any more.
    pub value: Option<Body>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// With a result.
    Succeeded,
    /// Without one.
    Failed(Failure),
}

/// A change of the catalog.
#[derive(Clone, Debug)]
pub enum PackChange {
    /// Install a pack, or put it in the place of its older self.
    Install {
        /// Its name.
        name: PackName,
        /// Its version.
        version: String,
        /// The digest over its files.
        digest: Digest,
        /// Its manifest: the ids of its rules and its configuration.
        manifest: Body,
    },
    /// Remove a pack.
    Remove {
        /// Its name.
        name: PackName,
    },
}
