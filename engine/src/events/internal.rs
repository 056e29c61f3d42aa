//! The engine's own triggers: changes of executions, inquiries, rules and keys are events too, and rules may
//! act on them.
//!
//! Such an event is created together with the record that it reports, and only if something listens: a rule
//! that is not disabled, or a step that waits for one. Below an event of such a trigger, no other event of
//! that trigger is created, so that an action on the end of executions does not trigger itself by its own
//! end. For that reason, these events do not count among the events of a chain either.

mod triggers;

pub use triggers::{InternalTrigger, InternalTriggers};

use ensue_expression::Document;
use serde_json::{Map, Value as Json, json};

use crate::access::keys::facts::KeyExpiring;
use crate::catalog::{Catalog, Mode};
use crate::command::{Context, Moment, ObservedEvent};
use crate::events::decide::{EventOrigin, draft_event};
use crate::executions::facts::Failure;
use crate::executions::milestone::{ExecutionEnd, HowEnded};
use crate::executions::state::Execution;
use crate::fact::{ByNoun, ExecutionFact, Fact, InquiryFact, KeyFact, RuleFact, SensorFact};
use crate::ids::{EventId, ExecutionId, Id, InquiryId, Role, SensorId};
use crate::inquiries::facts::{Assignee, InquiryAnswered, InquiryEscalated, InquiryOpened, InquiryReminded, InquiryWithdrawn};
use crate::inquiries::state::Inquiry;
use crate::names::TriggerRef;
use crate::record::{Actor, Cause, Draft, Record, Revision, StreamId};
use crate::rules::facts::RuleErred;
use crate::rules::judge::{EventView, judge};
use crate::schedule::SCHEDULE_TRIGGER;
use crate::sensors::facts::{SensorFailed, SensorPartFailed, SensorPartRecovered, SensorStarted};
use crate::sensors::state::{FAILURES_ANNOUNCED, SensorPhase};
use crate::state::State;
use crate::time::Timestamp;

/// The source of the engine's own events that are not about an execution.
pub const SOURCE_OF_ENGINE: &str = "engine";

/// Returns true if only the engine creates events of a trigger.
pub fn is_of_the_engine(trigger: &TriggerRef) -> bool {
    trigger.as_str() == SCHEDULE_TRIGGER || InternalTrigger::of(trigger).is_some()
}

/// Returns the engine's own events about drafts: the consequences of the record `by`, or of a command if `by`
/// is `None`.
///
/// If the catalog cannot be built, no rule judges anything, and there are no events.
pub(crate) fn internal_events(state: &State, drafts: &[Draft], by: Option<&Record>, at: &Moment, with: &Context<'_>) -> Vec<Draft> {
    if drafts.iter().all(|draft| candidate_triggers(state, draft).is_empty()) {
        return Vec::new();
    }
    let Some(catalog) = with.catalogs.at(state.catalog_revision()) else { return Vec::new() };
    (0..drafts.len()).flat_map(|place| events_of_draft(state, (drafts, place), by, at, &catalog)).collect()
}

/// Returns the engine's own events about one of several drafts.
fn events_of_draft(state: &State, (drafts, place): (&[Draft], usize), by: Option<&Record>, at: &Moment, catalog: &Catalog) -> Vec<Draft> {
    let draft = &drafts[place];
    let heard = candidate_triggers(state, draft).iter().filter(|internal| is_listened_to(state, catalog, **internal));
    let heard: InternalTriggers = heard.copied().collect();
    if heard.is_empty() {
        return Vec::new();
    }
    let above = internal_above(state, draft, by);
    let telling = Telling { state, catalog, at, above: &above };
    let reported =
        events_about(state, draft, by).into_iter().filter(|event| heard.contains(&event.trigger) && !above.contains(&event.trigger));
    reported.map(|event| telling.event(&drafts[..place], draft, event)).collect()
}

/// The facts that can be reported as events.
enum Tellable<'a> {
    Execution(ExecutionFact<'a>),
    Inquiry(InquiryFact<'a>),
    Erred(&'a RuleErred),
    Expiring(&'a KeyExpiring),
    SensorFailed(&'a SensorFailed),
    SensorStarted(&'a SensorStarted),
    PartFailed(&'a SensorPartFailed),
    PartRecovered(&'a SensorPartRecovered),
}

impl<'a> Tellable<'a> {
    fn of(fact: &'a Fact) -> Option<Self> {
        match fact.by_noun() {
            ByNoun::ExecutionFact(fact) => Some(Self::Execution(fact)),
            ByNoun::InquiryFact(fact) => Some(Self::Inquiry(fact)),
            ByNoun::RuleFact(RuleFact::RuleErred(fact)) => Some(Self::Erred(fact)),
            ByNoun::KeyFact(KeyFact::KeyExpiring(fact)) => Some(Self::Expiring(fact)),
            ByNoun::SensorFact(SensorFact::SensorFailed(fact)) => Some(Self::SensorFailed(fact)),
            ByNoun::SensorFact(SensorFact::SensorStarted(fact)) => Some(Self::SensorStarted(fact)),
            ByNoun::SensorFact(SensorFact::SensorPartFailed(fact)) => Some(Self::PartFailed(fact)),
            ByNoun::SensorFact(SensorFact::SensorPartRecovered(fact)) => Some(Self::PartRecovered(fact)),
            _ => None,
        }
    }
}

/// Returns the triggers as which a draft may be reported; empty for most.
fn candidate_triggers(state: &State, draft: &Draft) -> &'static [InternalTrigger] {
    match Tellable::of(&draft.fact) {
        Some(Tellable::Execution(ExecutionFact::ExecutionBecameIndeterminate(_))) => &[InternalTrigger::AttemptIndeterminate],
        Some(Tellable::Execution(fact)) if fact.is_end() => match draft.stream {
            StreamId::Execution(id) if state.inquiries().of(&id).is_some() => {
                &[InternalTrigger::ExecutionEnded, InternalTrigger::InquiryEnded]
            }
            StreamId::Execution(id) if state.executions().get(&id).is_some_and(|execution| execution.part_of.is_none()) => {
                &[InternalTrigger::ExecutionEnded]
            }
            // The workflow handles the end of its steps.
            _ => &[],
        },
        Some(Tellable::Inquiry(fact)) => match fact {
            InquiryFact::InquiryOpened(_) => &[InternalTrigger::InquiryOpened],
            InquiryFact::InquiryReminded(_) => &[InternalTrigger::InquiryReminded],
            InquiryFact::InquiryEscalated(_) => &[InternalTrigger::InquiryEscalated],
            InquiryFact::InquiryWithdrawn(_) => &[InternalTrigger::InquiryEnded],
            InquiryFact::InquiryAnswered(fact) if fact.verdict.closes() => &[InternalTrigger::InquiryEnded],
            InquiryFact::InquiryAnswered(_)
            | InquiryFact::InquiryNotified(_)
            | InquiryFact::InquiryNotificationFailed(_)
            | InquiryFact::InquiryDelegated(_)
            | InquiryFact::LinkMinted(_)
            | InquiryFact::LinkUsed(_) => &[],
        },
        Some(Tellable::Erred(_)) => &[InternalTrigger::RuleErred],
        Some(Tellable::Expiring(_)) => &[InternalTrigger::KeyExpiring],
        // Once an outage.
        Some(Tellable::SensorFailed(fact)) if fact.failures >= FAILURES_ANNOUNCED && announced_outage(state, fact.id).is_none() => {
            &[InternalTrigger::SensorFailed]
        }
        Some(Tellable::SensorStarted(fact)) if announced_outage(state, fact.id).is_some() => &[InternalTrigger::SensorRecovered],
        // Not again in another run.
        Some(Tellable::PartFailed(fact)) if state.sensors().part(fact.id, &fact.part).is_none() => &[InternalTrigger::SensorPartFailed],
        Some(Tellable::PartRecovered(_)) => &[InternalTrigger::SensorPartRecovered],
        Some(Tellable::SensorFailed(_) | Tellable::SensorStarted(_) | Tellable::PartFailed(_)) => &[],
        Some(Tellable::Execution(_)) | None => &[],
    }
}

/// Returns the engine's own triggers that have an event above a draft.
fn internal_above(state: &State, draft: &Draft, by: Option<&Record>) -> InternalTriggers {
    match (&draft.stream, by.map(|record| &record.fact)) {
        (StreamId::Execution(id), _) => state.executions().get(id).map(|execution| execution.internal_above.clone()).unwrap_or_default(),
        (_, Some(Fact::EventReceived(event))) => event.internal_above_what_follows(),
        _ => InternalTriggers::new(),
    }
}

fn is_listened_to(state: &State, catalog: &Catalog, internal: InternalTrigger) -> bool {
    let trigger = internal.trigger();
    let mut rules = catalog.index().of_trigger(&trigger).iter();
    rules.any(|rule| state.rules().mode(rule) != Mode::Disabled) || state.workflows().waits().watches(&trigger)
}

/// The content of an event.
struct InternalEvent {
    trigger: InternalTrigger,
    source: String,
    payload: Map<String, Json>,
}

/// Returns the events to report for a draft. The state is still as it was before the draft.
fn events_about(state: &State, draft: &Draft, by: Option<&Record>) -> Vec<InternalEvent> {
    match Tellable::of(&draft.fact) {
        Some(Tellable::Execution(fact)) => ReportedExecution::of(state, draft).map_or_else(Vec::new, |about| about.execution(fact, by)),
        Some(Tellable::Inquiry(fact)) => {
            ReportedExecution::of(state, draft).and_then(|about| about.inquiry(draft, fact)).into_iter().collect()
        }
        Some(Tellable::Erred(fact)) => {
            vec![InternalEvent { trigger: InternalTrigger::RuleErred, source: SOURCE_OF_ENGINE.to_owned(), payload: of_erred(fact, by) }]
        }
        Some(Tellable::Expiring(fact)) => {
            let payload = fields([("key", json!(fact.key)), ("version", json!(fact.version)), ("expires_at", json!(fact.expires_at))]);
            vec![InternalEvent { trigger: InternalTrigger::KeyExpiring, source: SOURCE_OF_ENGINE.to_owned(), payload }]
        }
        Some(Tellable::SensorFailed(fact)) => of_failed_sensor(state, fact).into_iter().collect(),
        Some(Tellable::SensorStarted(fact)) => of_recovered_sensor(state, fact).into_iter().collect(),
        Some(Tellable::PartFailed(fact)) => of_failed_part(state, fact).into_iter().collect(),
        Some(Tellable::PartRecovered(fact)) => of_recovered_part(state, fact).into_iter().collect(),
        None => Vec::new(),
    }
}

fn of_erred(fact: &RuleErred, by: Option<&Record>) -> Map<String, Json> {
    let mut payload = fields([("rule", json!(fact.rule)), ("event", json!(fact.event)), ("message", json!(fact.message))]);
    if let Some(Fact::EventReceived(event)) = by.map(|record| &record.fact) {
        payload.insert("trigger".to_owned(), json!(event.trigger));
    }
    payload
}

/// Returns the outage of a sensor that was announced to rules: when it began, and how often the sensor failed.
fn announced_outage(state: &State, sensor: SensorId) -> Option<(Timestamp, u32)> {
    state.sensors().get(sensor).and_then(|pulling| pulling.phase.announced_outage())
}

fn of_failed_sensor(state: &State, fact: &SensorFailed) -> Option<InternalEvent> {
    let pulling = state.sensors().get(fact.id)?;
    let since = match pulling.phase {
        SensorPhase::Failing { since, .. } => Some(since),
        SensorPhase::Starting | SensorPhase::Running { .. } => None,
    };
    let SensorFailed { error, failures, .. } = fact;
    let mut payload = fields([
        ("sensor", json!(pulling.sensor)),
        ("source", json!(pulling.source)),
        ("kind", json!(error.kind)),
        ("error", json!(error.message)),
        ("failures", json!(failures)),
    ]);
    payload.extend(since.map(|since| ("since".to_owned(), json!(since))));
    Some(InternalEvent { trigger: InternalTrigger::SensorFailed, source: SOURCE_OF_ENGINE.to_owned(), payload })
}

fn of_recovered_sensor(state: &State, fact: &SensorStarted) -> Option<InternalEvent> {
    let pulling = state.sensors().get(fact.id)?;
    let (since, failures) = pulling.phase.announced_outage()?;
    let payload = fields([
        ("sensor", json!(pulling.sensor)),
        ("source", json!(pulling.source)),
        ("failures", json!(failures)),
        ("since", json!(since)),
    ]);
    Some(InternalEvent { trigger: InternalTrigger::SensorRecovered, source: SOURCE_OF_ENGINE.to_owned(), payload })
}

fn of_failed_part(state: &State, fact: &SensorPartFailed) -> Option<InternalEvent> {
    let pulling = state.sensors().get(fact.id)?;
    let payload = fields([
        ("sensor", json!(pulling.sensor)),
        ("source", json!(pulling.source)),
        ("part", json!(fact.part)),
        ("error", json!(fact.error)),
    ]);
    Some(InternalEvent { trigger: InternalTrigger::SensorPartFailed, source: SOURCE_OF_ENGINE.to_owned(), payload })
}

fn of_recovered_part(state: &State, fact: &SensorPartRecovered) -> Option<InternalEvent> {
    let pulling = state.sensors().get(fact.id)?;
    let since = state.sensors().part(fact.id, &fact.part)?.since;
    let payload =
        fields([("sensor", json!(pulling.sensor)), ("source", json!(pulling.source)), ("part", json!(fact.part)), ("since", json!(since))]);
    Some(InternalEvent { trigger: InternalTrigger::SensorPartRecovered, source: SOURCE_OF_ENGINE.to_owned(), payload })
}

fn fields<const N: usize>(fields: [(&str, Json); N]) -> Map<String, Json> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn error_of(error: &Failure, output_tail: Option<&str>) -> Json {
    let mut error_fields = fields([("kind", json!(error.kind)), ("message", json!(error.message))]);
    error_fields.extend(error.detail.map(|detail| ("detail".to_owned(), json!(detail))));
    error_fields.extend(output_tail.map(|tail| ("output_tail".to_owned(), json!(tail))));
    Json::Object(error_fields)
}

/// The execution that an event is about.
struct ReportedExecution<'a> {
    state: &'a State,
    id: ExecutionId,
    execution: &'a Execution,
}

impl<'a> ReportedExecution<'a> {
    fn of(state: &'a State, draft: &Draft) -> Option<Self> {
        let StreamId::Execution(id) = draft.stream else { return None };
        Some(Self { state, id, execution: state.executions().get(&id)? })
    }

    fn event(&self, trigger: InternalTrigger, payload: Map<String, Json>) -> InternalEvent {
        InternalEvent { trigger, source: StreamId::Execution(self.id).to_string(), payload }
    }

    fn execution(&self, fact: ExecutionFact<'_>, by: Option<&Record>) -> Vec<InternalEvent> {
        if let ExecutionFact::ExecutionBecameIndeterminate(_) = fact {
            return vec![self.event(InternalTrigger::AttemptIndeterminate, self.loss_payload())];
        }
        let ended = self.end_payload(fact, by).map(|payload| self.event(InternalTrigger::ExecutionEnded, payload));
        let unanswered = self.unanswered_payload(fact).map(|payload| self.event(InternalTrigger::InquiryEnded, payload));
        ended.into_iter().chain(unanswered).collect()
    }

    /// Returns the fields that every such event has.
    fn itself(&self) -> Map<String, Json> {
        let execution = self.execution;
        let mut payload = fields([
            ("execution", json!(self.id)),
            ("action", json!(execution.action)),
            ("requested_by", json!(execution.actor)),
            ("labels", json!(execution.labels)),
        ]);
        let mut also = |name: &str, value: Option<Json>| payload.extend(value.map(|value| (name.to_owned(), value)));
        let asked_by = execution.asked_by.as_deref();
        also("rule", asked_by.map(|of| json!(of.rule)));
        also("event", asked_by.and_then(|of| of.event).map(|event| json!(event)));
        also("enforcement", asked_by.and_then(|of| of.enforcement).map(|enforcement| json!(enforcement)));
        also("rerun_of", execution.rerun_of.map(|of| json!(of)));
        also("workflow", execution.part_of.as_ref().map(|part_of| json!(part_of.workflow)));
        also("step", execution.part_of.as_ref().map(|part_of| json!(part_of.step)));
        payload
    }

    /// Returns the fields for the end of an execution that is not a step: the workflow handles the end of its
    /// steps.
    fn end_payload(&self, fact: ExecutionFact<'_>, by: Option<&Record>) -> Option<Map<String, Json>> {
        let ended = fact.execution_end().filter(|_| self.execution.part_of.is_none())?;
        let mut payload = self.itself();
        payload.insert("status".to_owned(), json!(ended.how.as_str()));
        payload.insert("attempts".to_owned(), json!(self.execution.attempts));
        // The execution ends because of its last attempt, which has the output.
        let output_tail = by.and_then(|by| match &by.fact {
            Fact::AttemptFailed(failed) if by.stream == StreamId::Execution(self.id) => failed.output_tail.as_deref(),
            _ => None,
        });
        payload.extend(ended.error.map(|error| ("error".to_owned(), error_of(error, output_tail))));
        Some(payload)
    }

    fn loss_payload(&self) -> Map<String, Json> {
        let mut payload = self.itself();
        if let Some(attempt) = self.execution.phase.attempt() {
            payload.insert("attempt".to_owned(), json!(attempt.id));
            payload.insert("number".to_owned(), json!(attempt.number));
        }
        payload
    }

    /// Returns the fields for an inquiry that ends with its execution, because nobody has decided it.
    fn unanswered_payload(&self, fact: ExecutionFact<'_>) -> Option<Map<String, Json>> {
        let (id, inquiry) = self.state.inquiries().of(&self.id).filter(|(_, inquiry)| inquiry.decision().is_none())?;
        let status = match (fact.execution_end(), inquiry.attempt) {
            (Some(ExecutionEnd { how: HowEnded::Cancelled, .. }), _) => "cancelled",
            (_, Some(_)) => "withdrawn",
            (_, None) => "expired",
        };
        let mut payload = self.of_inquiry(id, inquiry);
        payload.insert("status".to_owned(), json!(status));
        Some(payload)
    }

    fn inquiry(&self, draft: &Draft, fact: InquiryFact<'_>) -> Option<InternalEvent> {
        let open = |id: InquiryId| Some(self.of_inquiry(id, self.state.inquiries().get(&id)?));
        let (trigger, payload) = match fact {
            InquiryFact::InquiryOpened(fact) => (InternalTrigger::InquiryOpened, self.opening_payload(InquiryId(draft.begins?), fact)),
            InquiryFact::InquiryReminded(InquiryReminded { inquiry, number }) => {
                let mut payload = open(*inquiry)?;
                payload.insert("number".to_owned(), json!(number));
                (InternalTrigger::InquiryReminded, payload)
            }
            InquiryFact::InquiryEscalated(InquiryEscalated { inquiry, number, to }) => {
                let mut payload = open(*inquiry)?;
                payload.insert("number".to_owned(), json!(number));
                payload.insert("to".to_owned(), json!(to));
                (InternalTrigger::InquiryEscalated, payload)
            }
            InquiryFact::InquiryAnswered(InquiryAnswered { inquiry, by, verdict, .. }) => {
                let mut payload = open(*inquiry)?;
                payload.extend(fields([("status", json!("answered")), ("by", json!(by)), ("verdict", json!(verdict))]));
                (InternalTrigger::InquiryEnded, payload)
            }
            InquiryFact::InquiryWithdrawn(InquiryWithdrawn { inquiry, .. }) => {
                let mut payload = open(*inquiry)?;
                payload.insert("status".to_owned(), json!("withdrawn"));
                (InternalTrigger::InquiryEnded, payload)
            }
            InquiryFact::InquiryNotified(_)
            | InquiryFact::InquiryNotificationFailed(_)
            | InquiryFact::InquiryDelegated(_)
            | InquiryFact::LinkMinted(_)
            | InquiryFact::LinkUsed(_) => return None,
        };
        Some(self.event(trigger, payload))
    }

    fn opening_payload(&self, id: InquiryId, fact: &InquiryOpened) -> Map<String, Json> {
        let expires_at = fact.expires_at.map(|at| json!(at));
        self.asking(id, &fact.title, &fact.assignees, expires_at, fact.attempt.map(|attempt| json!(attempt)))
    }

    fn of_inquiry(&self, id: InquiryId, inquiry: &Inquiry) -> Map<String, Json> {
        let expires_at = inquiry.expires_at.map(|at| json!(at));
        self.asking(id, &inquiry.title, &inquiry.assignees, expires_at, inquiry.attempt.map(|attempt| json!(attempt)))
    }

    /// Returns the fields of a question: no more than a list of inquiries shows.
    fn asking(
        &self,
        id: InquiryId,
        title: &str,
        assignees: &[Assignee],
        expires_at: Option<Json>,
        attempt: Option<Json>,
    ) -> Map<String, Json> {
        let mut payload = self.itself();
        payload.extend(fields([("inquiry", json!(id)), ("title", json!(title)), ("assignees", json!(assignees))]));
        payload.extend(expires_at.map(|at| ("expires_at".to_owned(), at)));
        payload.extend(attempt.map(|attempt| ("attempt".to_owned(), attempt)));
        payload
    }
}

struct Telling<'a> {
    state: &'a State,
    catalog: &'a Catalog,
    at: &'a Moment,
    above: &'a InternalTriggers,
}

impl Telling<'_> {
    /// Returns the event that reports a draft, as a consequence of the record that the draft will become.
    fn event(&self, before: &[Draft], draft: &Draft, event: InternalEvent) -> Draft {
        // The index of a trigger among those of the record is fixed, whichever of them have listeners.
        let index = (0..)
            .zip(candidate_triggers(self.state, draft))
            .find(|(_, internal)| **internal == event.trigger)
            .map_or(0, |(index, _)| index);
        let parent = self.record_id(before, draft);
        let cause = draft.cause.clone().unwrap_or_else(|| Cause::root(parent, draft.trace.clone())).from_parent(parent);
        let id = EventId(Id::derive(self.state.log(), parent, Role::Emit(index)));
        let InternalEvent { trigger, source, payload } = event;
        let (trigger, payload, occurred_at) = (trigger.trigger(), Document::from_value(&Json::Object(payload)), self.at.time);
        let view = EventView { id, trigger: &trigger, source: &source, time: occurred_at, payload: &payload, only: None };
        let event = ObservedEvent::from_view(&view, judge(self.catalog, &view));
        let from = EventOrigin { actor: &Actor::Engine, cause: Some(cause), trace: None, internal_above: self.above.clone() };
        draft_event(self.state, &event, &event.judgement, &from)
    }

    /// Returns the id of the record of a draft that follows the drafts `before`.
    fn record_id(&self, before: &[Draft], draft: &Draft) -> Id {
        let of_stream = before.iter().filter(|other| other.stream == draft.stream).count() as u64;
        let Revision(next) = self.state.next_revision(&draft.stream);
        draft.begins.unwrap_or_else(|| Id::of_later(self.state.log(), &draft.stream, Revision(next + of_stream)))
    }
}
