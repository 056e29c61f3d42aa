//! The consequences for steps that wait for an event: when the wait opens, which event matches, and what the
//! step does then.

use std::collections::BTreeMap;

use ensue_expression::{Budget, Check, Demand, Document, EVALUATION_STEPS_MAX, KnownBindings, Literal, Test};
use serde_json::Value as Json;

use crate::catalog::{NoNewest, OnExpire, Step, Watch};
use crate::command::Context;
use crate::events::facts::EventReceived;
use crate::executions::facts::{ExecutionCancelled, ExecutionSucceeded, Failure, FailureKind, GivenEvent, Pace};
use crate::executions::state::{Execution, Phase};
use crate::fact::Fact;
use crate::ids::{EventId, ExecutionId, Id, Role};
use crate::inquiries::facts::InquiryWithdrawn;
use crate::names::StepName;
use crate::reaction::{Consequence, Reaction};
use crate::record::{Body, Draft, Record, StreamId};
use crate::rules::judge::{EventTexts, EventView, event_value};
use crate::state::State;
use crate::text::cut;
use crate::time::duration_text;
use crate::vars::reads::VARS;
use crate::workflows::facts::{PartOf, Purpose, WaitErred, WaitKey, WaitMatched, WaitOpened};
use crate::workflows::inputs::Ends;
use crate::workflows::run::StepError;
use crate::workflows::run::WorkflowRun;
use crate::workflows::run::with_steps;
use crate::workflows::wait_index::{Form, PAYLOAD_NAMES};

/// How many steps learn at once that their event has come.
const MATCHED_AT_ONCE: usize = 100;

/// The maximum length of an error in bytes, as stored.
const ERROR_BYTES_MAX: usize = 1024;

/// Returns the consequences of an event for the steps that wait for one, as its first consequence, until none is left.
pub(crate) fn of_event(state: &State, record: &Record, fact: &EventReceived, with: &Context<'_>) -> Option<Reaction> {
    if !state.workflows().watches(&fact.trigger) {
        return None;
    }
    let body = record.body_handle()?;
    let Some(payload) = with.bodies.document(&body) else { return Some(Reaction::Needs(vec![body])) };
    let (trigger, source) = (fact.trigger.clone(), fact.source.clone());
    let given = GivenEvent { trigger, version: fact.version, source, occurred_at: fact.occurred_at, payload: body };
    let catalog = with.catalogs.at(fact.catalog);
    let newest = catalog.as_ref().and_then(|catalog| catalog.triggers().get(&fact.trigger)).map(|trigger| trigger.version);
    let form = if newest.is_some_and(|newest| fact.version < newest) { Form::DependsOnReader } else { Form::AsItCame };
    let event = Coming { id: EventId(record.id), given, payload };
    // An event that a step waits for ends it, even if it would cancel it as well.
    for purpose in [Purpose::Awaited, Purpose::Cancels] {
        let mut drafts = Vec::new();
        for (workflow, step) in state.workflows().waits_for(purpose).candidates(&fact.trigger, (&event.payload, form), record.position) {
            match event.for_step(state, record, (workflow, &step, purpose), with) {
                Ok(draft) => drafts.extend(draft),
                Err(reaction) => return Some(reaction),
            }
            if drafts.len() >= MATCHED_AT_ONCE {
                break;
            }
        }
        if !drafts.is_empty() {
            return Some(Reaction::from(drafts, Consequence::FIRST));
        }
    }
    None
}

/// Returns true if a step no longer looks for an event: something else has ended its wait, or ends it now.
fn is_decided(state: &State, (workflow, step, purpose): (ExecutionId, &StepName, Purpose), begun: Option<&Execution>) -> bool {
    let is_woken = begun.is_some_and(|execution| execution.phase == Phase::Woken);
    let has_come = |other| state.workflows().waits_for(other).get(workflow, step).is_some_and(|wait| wait.matched.is_some());
    match purpose {
        Purpose::Awaited => is_woken || has_come(Purpose::Cancels),
        Purpose::Cancels => is_woken || has_come(Purpose::Awaited) || begun.is_some_and(|execution| !execution.waits()),
    }
}

/// An event that steps may wait for.
struct Coming {
    id: EventId,
    given: GivenEvent,
    payload: Document,
}

impl Coming {
    /// Returns what an event means for a waiting step; `None` if it is not the one.
    fn for_step(
        &self,
        state: &State,
        record: &Record,
        (workflow, name, purpose): (ExecutionId, &StepName, Purpose),
        with: &Context<'_>,
    ) -> Result<Option<Draft>, Reaction> {
        let Some(open) = state.workflows().waits_for(purpose).get(workflow, name) else { return Ok(None) };
        let child = ExecutionId(Id::derive(state.log(), workflow.0, Role::Step(name)));
        let begun = state.executions().get(&child);
        if is_decided(state, (workflow, name, purpose), begun) {
            return Ok(None);
        }
        let judged = with_steps(state, workflow, record, with, |run| {
            let watch = run.workflow.step(name).and_then(|step| step.watches().find(|watch| watch.purpose == purpose));
            watch.map_or(Ok(false), |watch| run.is_awaited(watch, self))
        });
        let unreadable = || StepError::Fails(Failure::new(FailureKind::Expression, "the steps of its workflow cannot be read"));
        let fact: Fact = match judged.unwrap_or_else(|| Err(unreadable())) {
            Ok(false) => return Ok(None),
            Ok(true) => {
                let execution = begun.map(|_| child);
                WaitMatched { step: name.clone(), execution, event: self.id, given: self.given.clone(), purpose }.into()
            }
            Err(StepError::Stuck(reaction)) => return Err(reaction),
            Err(StepError::Fails(_)) if open.has_erred => return Ok(None),
            Err(StepError::Fails(error)) => {
                WaitErred { step: name.clone(), event: self.id, message: cut(error.message, ERROR_BYTES_MAX), purpose }.into()
            }
        };
        let Some(execution) = state.executions().get(&workflow) else { return Ok(None) };
        let cause = Some(execution.cause(record.id));
        let stream = StreamId::Execution(workflow);
        Ok(Some(Draft::by_engine(stream, fact).because(cause)))
    }
}

impl WorkflowRun<'_> {
    /// Opens the next of the waits that count from the beginning of the workflow, from the `next`-th on;
    /// returns it with the consequence after it.
    pub(super) fn early_wait(&self, next: Consequence) -> Result<Option<(Draft, Consequence)>, Reaction> {
        let is_open = |step: &Step, watch: &Watch<'_>| self.is_watching(step, watch.purpose) || self.state(&step.name).is_some();
        let left = (0..).zip(self.workflow.early_watches()).skip(next.0 as usize);
        let Some((place, (step, watch))) = left.into_iter().find(|(_, (step, watch))| !is_open(step, watch)) else { return Ok(None) };
        // No step has ended, so no step result is read.
        let draft = self.wait_opened(step, watch, Ends { succeeded: true, failed: false })?;
        Ok(Some((draft, Consequence(place).next())))
    }

    /// Returns the next of the events that a step watches for and does not watch for yet.
    pub(super) fn next_watch<'s>(&self, step: &'s Step) -> Option<Watch<'s>> {
        step.watches().find(|watch| !self.is_watching(step, watch.purpose))
    }

    fn is_watching(&self, step: &Step, purpose: Purpose) -> bool {
        self.state.workflows().waits_for(purpose).get(self.id, &step.name).is_some()
    }

    /// Returns the record from which a step waits for an event.
    pub(super) fn wait_opened(&self, step: &Step, watch: Watch<'_>, ends: Ends) -> Result<Draft, Reaction> {
        let key = match self.key_of(watch, ends) {
            Ok(key) => key,
            // An expression that fails now also fails with each event, and is reported then.
            Err(StepError::Fails(_)) => None,
            Err(StepError::Stuck(reaction)) => return Err(reaction),
        };
        let fact = WaitOpened { step: step.name.clone(), trigger: watch.trigger.clone(), key, purpose: watch.purpose };
        Ok(self.draft(fact.into(), None))
    }

    /// Returns fields, with the values that they have in every event that may match.
    fn key_of(&self, watch: Watch<'_>, ends: Ends) -> Result<Option<WaitKey>, StepError> {
        let Some(when) = watch.when else { return Ok(None) };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let inputs = self.inputs(ends, &when.reads())?;
        // In a rule's steps `event` is the rule's event, and here it is the one to come; and vars may have
        // changed by then.
        let scope = self.scope(&inputs, &[when], &mut budget)?.without("event").without(VARS);
        let locals_change = self.action.local.iter().any(|(_, local)| local.reads_root(VARS));
        let constants = if locals_change { scope.without("local") } else { scope };
        let mut tests = BTreeMap::new();
        collect_demands(&when.demand(&KnownBindings { constants, named: None }), &mut tests);
        Ok(WaitKey::of(tests))
    }

    fn is_awaited(&self, watch: Watch<'_>, event: &Coming) -> Result<bool, StepError> {
        let Some(when) = watch.when else { return Ok(true) };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let inputs = self.inputs(Ends { succeeded: true, failed: false }, &when.reads())?;
        let GivenEvent { trigger, version, source, occurred_at, .. } = &event.given;
        let payload = &self.catalog.as_read(trigger, *version, &event.payload).map_err(|why| unreadable(&why))?;
        let view = EventView { id: event.id, trigger, source, time: *occurred_at, payload, only: None };
        let texts = EventTexts::of(&view);
        let scope = self.scope(&inputs, &[when], &mut budget)?.with("event", event_value(&view, &texts));
        Ok(when.holds(&scope, &mut budget)?)
    }
}

/// Finds the payload fields that must have a certain value, with that value.
fn collect_demands(demand: &Demand, found: &mut BTreeMap<Vec<String>, Literal>) {
    match demand {
        Demand::Test(Test { path, check: Check::Is(literal) }) => {
            if path.len() > PAYLOAD_NAMES && path[0] == "event" && path[1] == "payload" {
                found.insert(path.to_vec(), literal.clone());
            }
        }
        Demand::All(parts) => parts.iter().for_each(|part| collect_demands(part, found)),
        // If the field cannot be read, the condition fails to evaluate, and does not hold.
        Demand::Any(parts) => {
            let mut others = parts.iter().filter(|part| !matches!(part, Demand::Test(Test { check: Check::Errs { .. }, .. })));
            if let (Some(only), None) = (others.next(), others.next()) {
                collect_demands(only, found);
            }
        }
        Demand::Anything | Demand::Nothing | Demand::Test(_) => {}
    }
}

/// Returns true if a fact is an event of a trigger that some step waits for.
pub(crate) fn is_awaited(state: &State, fact: &Fact) -> bool {
    matches!(fact, Fact::EventReceived(event) if state.workflows().watches(&event.trigger))
}

/// Returns the event for which an execution waits, if it has come.
pub(crate) fn awaited_event<'e>(state: &'e State, execution: &Execution) -> Option<&'e (EventId, GivenEvent)> {
    let part_of = execution.part_of.as_ref()?;
    state.workflows().waits().get(part_of.workflow, &part_of.step)?.matched.as_ref()
}

/// Returns the next record of an execution that asks or waits and was canceled by an event: its question is
/// withdrawn, and then it ends. `None` if no event has canceled it.
pub(crate) fn cancel_by_event(state: &State, record: &Record, (id, execution): (ExecutionId, &Execution)) -> Option<Reaction> {
    let part_of = execution.part_of.as_ref().filter(|_| execution.phase == Phase::Woken)?;
    let (event, _) = state.workflows().cancelled_by(part_of.workflow, &part_of.step)?;
    let by = Some(*event);
    let draft = |fact: Fact| {
        let cause = Some(execution.cause(record.id));
        Draft::by_engine(StreamId::Execution(id), fact).because(cause)
    };
    Some(match state.inquiries().of(&id) {
        Some((inquiry, _)) => Reaction::from(vec![draft(InquiryWithdrawn { inquiry, by }.into())], Consequence::FIRST),
        None => Reaction::last(vec![draft(ExecutionCancelled { error: None, part_of: Some(part_of.clone()), by }.into())]),
    })
}

/// Returns the end of an execution that waits for an event: the event has come, or its time is over.
pub(crate) fn end(state: &State, record: &Record, (id, execution): (ExecutionId, &Execution), with: &Context<'_>) -> Reaction {
    let part_of = execution.part_of.clone();
    let (fact, body): (Fact, _) = match awaited_event(state, execution) {
        Some((event, given)) => {
            let Some(payload) = with.bodies.document(&given.payload) else { return Reaction::Needs(vec![given.payload]) };
            let catalog = with.catalogs.at(execution.catalog);
            match catalog.map_or(Ok(payload.clone()), |catalog| catalog.as_read(&given.trigger, given.version, &payload)) {
                Ok(payload) => (ExecutionSucceeded { part_of }.into(), Some(result(*event, given, &payload))),
                Err(why) => (execution.failure_fact(unreadable(&why)), None),
            }
        }
        None if may_expire(state, record, part_of.as_ref(), with) => {
            (ExecutionSucceeded { part_of }.into(), Some(Body::json(r#"{"event":null}"#)))
        }
        None => {
            let limit = if let Pace::Awaits { expires_millis: Some(limit) } = execution.pace { limit } else { 0 };
            let message = format!("no such event came within {}", duration_text(limit));
            (execution.failure_fact(Failure::new(FailureKind::Expired, message)), None)
        }
    };
    let cause = Some(execution.cause(record.id));
    let stream = StreamId::Execution(id);
    Reaction::last(vec![Draft::by_engine(stream, fact).because(cause).with_body(body)])
}

/// Returns the failure of a step that reads an event whose payload cannot be upcast.
pub(super) fn unreadable(why: &NoNewest) -> Failure {
    Failure::new(FailureKind::Expression, why.to_string())
}

/// Returns true if a step succeeds without its event, as its author specified. A step that cannot be read fails.
fn may_expire(state: &State, record: &Record, part_of: Option<&PartOf>, with: &Context<'_>) -> bool {
    let on_expire = part_of.and_then(|part| {
        with_steps(state, part.workflow, record, with, |run| Some(run.workflow.step(&part.step)?.wait.as_ref()?.on_expire))?
    });
    on_expire == Some(OnExpire::Succeed)
}

/// Returns the result of an execution that waited: the event, as rules see it.
fn result(id: EventId, given: &GivenEvent, payload: &Document) -> Body {
    let (source, trigger) = (Json::from(given.source.as_str()), Json::from(given.trigger.as_str()));
    let (time, payload) = (given.occurred_at, payload.root().raw());
    Body::json(format!(r#"{{"event":{{"id":"{id}","payload":{payload},"source":{source},"time":"{time}","trigger":{trigger}}}}}"#))
}
