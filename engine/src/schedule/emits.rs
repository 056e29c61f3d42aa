//! The events of a schedule's time: a rule's own event, judged by that rule alone, or the events of a sensor.

use ensue_expression::{Budget, Document, Scope, Value};
use serde_json::{Value as Json, json};

use crate::catalog::{AcceptedPayload, Catalog, Emit, Sensor};
use crate::command::ObservedEvent;
use crate::events::decide::{EventOrigin, draft_event};
use crate::events::facts::DeliveryRefused;
use crate::events::internal::InternalTriggers;
use crate::events::version::TriggerVersion;
use crate::executions::rights;
use crate::ids::{EventId, Id, Role};
use crate::names::{RuleRef, SensorRef, TriggerRef};
use crate::record::{Actor, Body, Draft, Record, StreamId};
use crate::rules::judge::{EventView, judge};
use crate::schedule::facts::ScheduleOwner;
use crate::state::State;
use crate::text::cut;
use crate::time::Timestamp;

/// The trigger of the events that rules with a `schedule` judge; no other rule sees them.
pub const SCHEDULE_TRIGGER: &str = "core.schedule";
/// The maximum length in bytes of the stored reason why a sensor created no event.
const REASON_BYTES_MAX: usize = 4096;
/// The maximum number of steps that all expressions of a sensor may take for one time.
const STEPS_MAX: u64 = 1_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Returns the events of a time, caused by the record of its timer. The same time gives the same ids.
///
/// If a sensor cannot create them, the reason is recorded as a refused delivery. Fails if the catalog lacks
/// the rule, sensor or trigger that the schedule names.
pub(super) fn events(
    state: &State,
    record: &Record,
    owner: &ScheduleOwner,
    scheduled_at: Timestamp,
    catalog: &Catalog,
) -> Result<Vec<Draft>, String> {
    let occasion = Making { state, record, catalog, scheduled_at };
    match owner {
        ScheduleOwner::Rule(rule, _) => occasion.of_rule(rule),
        ScheduleOwner::Sensor(sensor) => {
            let sensor = catalog.sensors().get(sensor).ok_or_else(|| format!("the catalog has no sensor `{sensor}`"))?;
            Ok(occasion.of_sensor(sensor).unwrap_or_else(|why| vec![occasion.draft_refusal(&sensor.name, why)]))
        }
    }
}

/// Why a sensor creates no event, and for which trigger.
struct NoEvent {
    trigger: TriggerRef,
    why: String,
}

struct Making<'a> {
    state: &'a State,
    record: &'a Record,
    catalog: &'a Catalog,
    scheduled_at: Timestamp,
}

impl Making<'_> {
    /// Returns how late it is, in whole seconds, including the delay from jitter.
    fn late_seconds(&self) -> i64 {
        self.record.time.micros_since(self.scheduled_at).max(0) / MICROS_PER_SECOND
    }

    fn occasion(&self) -> Json {
        json!({ "scheduled_at": self.scheduled_at.to_string(), "late_seconds": self.late_seconds() })
    }

    fn of_rule(&self, rule: &RuleRef) -> Result<Vec<Draft>, String> {
        let trigger: TriggerRef = SCHEDULE_TRIGGER.parse().map_err(|why| format!("{why}"))?;
        let payload = Document::from_value(&self.occasion());
        let accepted = AcceptedPayload { version: TriggerVersion::FIRST, newest: payload.clone() };
        Ok(vec![self.event(0, (&trigger, &payload, &accepted), rule.as_str(), None, Some(rule))])
    }

    /// Returns all events of the sensor, or an error and none of them.
    fn of_sensor(&self, sensor: &Sensor) -> Result<Vec<Draft>, NoEvent> {
        let scheduled_at = self.scheduled_at.to_string();
        let scope = Scope::new()
            .with("scheduled_at", Value::from(scheduled_at.as_str()))
            .with("late_seconds", Value::Int(self.late_seconds()))
            .with("config", Value::from_json(&sensor.config));
        let mut steps_left = STEPS_MAX;
        let mut drafts = Vec::new();
        for (index, emit) in (0..).zip(&sensor.emits) {
            let Some((payload, accepted)) = self.payload(emit, &scope, &mut steps_left)? else { continue };
            rights::sensor_may_emit(self.state, &sensor.name, &emit.trigger)
                .map_err(|why| NoEvent { trigger: emit.trigger.clone(), why })?;
            drafts.push(self.event(index, (&emit.trigger, &payload, &accepted), sensor.name.as_str(), Some(sensor.name.clone()), None));
        }
        Ok(drafts)
    }

    /// Returns the validated payload of one event as it is stored and as rules see it, or `None` if its condition is false.
    fn payload(&self, emit: &Emit, scope: &Scope<'_>, steps_left: &mut u64) -> Result<Option<(Document, AcceptedPayload)>, NoEvent> {
        let no_event = |why: String| NoEvent { trigger: emit.trigger.clone(), why };
        let mut budget = Budget::steps(*steps_left);
        if let Some(when) = &emit.when
            && !when.holds(scope, &mut budget).map_err(|why| no_event(format!("`when`: {why}")))?
        {
            *steps_left = steps_left.saturating_sub(budget.steps_spent());
            return Ok(None);
        }
        let document = match &emit.payload {
            None => Document::from_value(&self.occasion()),
            Some(payload) => payload.render_document(scope, &mut budget).map_err(|why| no_event(format!("`payload`: {why}")))?,
        };
        *steps_left = steps_left.saturating_sub(budget.steps_spent());
        let trigger = self.catalog.triggers().get(&emit.trigger).ok_or_else(|| no_event("there is no such trigger".to_owned()))?;
        let accepted = trigger.accept(emit.version, &document).map_err(|why| no_event(why.to_string()))?;
        Ok(Some((document, accepted)))
    }

    fn event(
        &self,
        index: u32,
        (trigger, payload, accepted): (&TriggerRef, &Document, &AcceptedPayload),
        source: &str,
        sensor: Option<SensorRef>,
        only: Option<&RuleRef>,
    ) -> Draft {
        let id = EventId(Id::derive(self.state.log(), self.record.id, Role::Emit(index)));
        let view = EventView { id, trigger, source, time: self.record.time, payload: &accepted.newest, only };
        let event = ObservedEvent::from_view(&view, judge(self.catalog, &view)).came_as(accepted.version, payload);
        let event = ObservedEvent { sensor, ..event };
        let cause = Some(self.record.cause.from_parent(self.record.id));
        let from = EventOrigin { actor: &Actor::Engine, cause, trace: None, internal_above: InternalTriggers::new() };
        draft_event(self.state, &event, &event.judgement, &from)
    }

    fn draft_refusal(&self, sensor: &SensorRef, no_event: NoEvent) -> Draft {
        let fact = DeliveryRefused {
            sensor: sensor.clone(),
            trigger: Some(no_event.trigger),
            reason: cut(no_event.why, REASON_BYTES_MAX),
            with: None,
        };
        Draft::by_engine(StreamId::Sensor(sensor.clone()), fact)
            .because(self.record.cause.from_parent(self.record.id))
            .with_body(Body::json(self.occasion().to_string()))
    }
}
