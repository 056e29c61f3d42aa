//! Decisions on events: accept them, all or none, each once under its key.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::catalog::{Mode, NotAccepted};
use crate::command::{
    Answer, Conflict, Context, Decision, DedupeEntry, DedupeKey, EmittedBefore, Moment, Novelty, ObservedEvent, ReceivedEvent, Refusal,
    RefusedDelivery,
};
use crate::events::facts::{AGAIN_MAX, DeliveryRefused, EventReceived};
use crate::events::internal::InternalTriggers;
use crate::executions::admission::admits_work;
use crate::executions::{program, rights};
use crate::record::{Actor, Cause, DEPTH_MAX, Digest, Draft, Position, StreamId};
use crate::rules::judge::{EventView, Judgement, Verdict, judge};
use crate::state::State;
use crate::text::cut;

/// The maximum length in bytes of the stored reason of a refused delivery.
const REASON_BYTES_MAX: usize = 4096;

/// Where events come from, as recorded.
pub(crate) struct EventOrigin<'a> {
    /// The actor that brings them.
    pub(crate) actor: &'a Actor,
    /// The record that led to them; `None` if they come from outside.
    pub(crate) cause: Option<Cause>,
    /// The trace of the request that brought them.
    pub(crate) trace: Option<&'a str>,
    /// The engine's own triggers that have an event above in the chain.
    pub(crate) internal_above: InternalTriggers,
}

impl EventOrigin<'_> {
    /// Returns the source of an event that is emitted again: it continues the chain of the stored one, and is as
    /// deep as whoever emits it, so that a loop of programs ends.
    fn continuing(&self, before: &EmittedBefore) -> Result<Self, Refusal> {
        let own_depth = self.cause.as_ref().map_or(0, |cause| cause.depth);
        let cause = Cause { depth: before.cause.depth.max(own_depth), ..before.cause.clone() };
        if cause.depth > DEPTH_MAX {
            return Err(Refusal::TooDeep { max: DEPTH_MAX });
        }
        let internal_above = &self.internal_above | &before.internal_above;
        Ok(Self { cause: Some(cause), internal_above, ..*self })
    }
}

pub(crate) fn receive_all(
    state: &State,
    actor: &Actor,
    trace: Option<&str>,
    events: &[ObservedEvent],
    at: &Moment,
    with: &Context<'_>,
) -> Decision {
    if let Err(refusal) = admits_work(state, with) {
        return Decision::Refused(refusal);
    }
    let (cause, internal_above) = match program::context_of(state, actor) {
        Some(of) => (Some(of.cause), of.internal_above),
        None => (None, InternalTriggers::new()),
    };
    match receive_each(state, &EventOrigin { actor, cause, trace, internal_above }, events, at, with) {
        Ok((drafts, received)) => Decision::Done { drafts, answer: Answer::Events(received) },
        Err(refusal) => Decision::Refused(refusal),
    }
}

/// Creates a draft of each new event, and reports all of them, in order.
pub(crate) fn receive_each(
    state: &State,
    from: &EventOrigin<'_>,
    events: &[ObservedEvent],
    at: &Moment,
    with: &Context<'_>,
) -> Result<(Vec<Draft>, Vec<ReceivedEvent>), Refusal> {
    let mut drafts = Vec::with_capacity(events.len());
    let mut received: Vec<ReceivedEvent> = Vec::with_capacity(events.len());
    let mut twins = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        let first = match twin(&mut twins, index, event)? {
            Some(twin) => received.get(twin).map(|twin| (twin.id, twin.position)),
            None => seen_before(event, at, with)?.or_else(|| signed_before(event, at, with)).map(|seen| (seen.event, seen.position)),
        };
        let (id, position, novelty) = match first {
            Some((id, position)) => (id, position, Novelty::Repeat),
            None => {
                drafts.push(receive(state, event, from, with)?);
                (event.id, Position::default(), Novelty::New)
            }
        };
        received.push(ReceivedEvent { id, trigger: event.trigger.clone(), position, novelty });
    }
    Ok((drafts, received))
}

/// The first event of a command for each key: its index in the command, and the hash of its content.
type Twins<'a> = BTreeMap<&'a DedupeKey, (usize, Digest)>;

/// Returns the event of the same command that already has the key, or else notes this one as the first.
fn twin<'a>(twins: &mut Twins<'a>, index: usize, event: &'a ObservedEvent) -> Result<Option<usize>, Refusal> {
    let Some(dedupe) = &event.dedupe else { return Ok(None) };
    match twins.entry(&dedupe.key) {
        Entry::Occupied(first) if first.get().1 != dedupe.content && dedupe.conflict == Conflict::IsRefused => {
            Err(Refusal::KeyReused { position: Position::default() })
        }
        Entry::Occupied(first) => Ok(Some(first.get().0)),
        Entry::Vacant(free) => {
            free.insert((index, dedupe.content));
            Ok(None)
        }
    }
}

fn seen_before(event: &ObservedEvent, at: &Moment, with: &Context<'_>) -> Result<Option<DedupeEntry>, Refusal> {
    let Some(dedupe) = &event.dedupe else { return Ok(None) };
    match with.seen.find_key(&dedupe.key) {
        Some(seen) if seen.until <= at.time => Ok(None),
        Some(seen) if seen.content != dedupe.content && dedupe.conflict == Conflict::IsRefused => {
            Err(Refusal::KeyReused { position: seen.position })
        }
        seen => Ok(seen),
    }
}

/// Returns the event that the same signed body created before. The rest of the delivery is not signed, in
/// particular not its key.
fn signed_before(event: &ObservedEvent, at: &Moment, with: &Context<'_>) -> Option<DedupeEntry> {
    let signed = event.signed.as_ref()?;
    signed.keys().find_map(|key| with.seen.find_key(&key).filter(|seen| seen.until > at.time))
}

/// Creates the draft of one event, judged by the current catalog.
fn receive(state: &State, event: &ObservedEvent, from: &EventOrigin<'_>, with: &Context<'_>) -> Result<Draft, Refusal> {
    if let Actor::Sensor(sensor) = from.actor {
        rights::sensor_may_emit(state, sensor, &event.trigger).map_err(Refusal::EmitNotPermitted)?;
    }
    let judgement = judgement_now(state, event, with)?;
    match &event.repeats {
        Some(before) => Ok(draft_event(state, event, &judgement, &from.continuing(before)?)),
        None => Ok(draft_event(state, event, &judgement, from)),
    }
}

/// Creates the draft of an event that was already judged.
pub(crate) fn draft_event(state: &State, event: &ObservedEvent, judgement: &Judgement, from: &EventOrigin<'_>) -> Draft {
    let mut matched = 0;
    let mut erred = 0;
    let mut undecided = 0;
    let mut again = Vec::new();
    for judged in &judgement.verdicts {
        match (state.rules().mode(&judged.rule), &judged.verdict) {
            (Mode::Disabled, _) => {}
            (Mode::Enabled | Mode::Shadow, Verdict::Matched(_)) => matched += 1,
            (Mode::Enabled | Mode::Shadow, Verdict::Undecided) => undecided += 1,
            (Mode::Enabled | Mode::Shadow, Verdict::Erred { message }) => {
                erred += 1;
                let way = state.rules().way(judged.rule.id, Digest::of(message.as_bytes()));
                again.extend(way.map(|(first, _)| first));
            }
        }
    }
    again.truncate(AGAIN_MAX);
    let fact = EventReceived {
        trigger: event.trigger.clone(),
        version: event.version,
        source: event.source.clone(),
        sensor: event.sensor.clone(),
        rule: event.rule.clone(),
        occurred_at: event.occurred_at,
        catalog: judgement.catalog,
        matched,
        erred,
        undecided,
        again,
        dedupe: event.dedupe.as_ref().map(|dedupe| dedupe.key.hash),
        internal_above: from.internal_above.clone(),
    };
    Draft::new(StreamId::Event(event.id), from.actor, fact)
        .beginning(event.id.0)
        .because(from.cause.clone())
        .with_trace(event.trace.as_deref().or(from.trace))
        .with_body(event.body.clone())
}

/// Uses the edge's judgement if the catalog has not changed since, else judges again.
fn judgement_now(state: &State, event: &ObservedEvent, with: &Context<'_>) -> Result<Arc<Judgement>, Refusal> {
    let now = state.catalog_revision();
    if event.judgement.catalog == now {
        return Ok(event.judgement.clone());
    }
    let catalog = with.catalogs.at(now).ok_or(Refusal::NoCatalog(now))?;
    let trigger = catalog.triggers().get(&event.trigger).ok_or_else(|| Refusal::NoTrigger(event.trigger.clone()))?;
    let accepted = match trigger.accept(Some(event.version), &event.payload) {
        Ok(accepted) => accepted,
        Err(NotAccepted::NoNewest(why)) => return Err(why.into()),
        Err(misfits @ NotAccepted::Misfits(_)) => {
            return Err(Refusal::PayloadMisfit { trigger: event.trigger.clone(), misfits: misfits.to_string() });
        }
    };
    let view = EventView {
        id: event.id,
        trigger: &event.trigger,
        source: &event.source,
        time: event.occurred_at,
        payload: &accepted.newest,
        only: event.rule.as_ref(),
    };
    Ok(Arc::new(judge(&catalog, &view)))
}

/// Creates the draft of a delivery that is kept as a dead letter.
pub(crate) fn keep_delivery(actor: &Actor, trace: Option<&str>, delivery: &RefusedDelivery) -> Draft {
    let fact = DeliveryRefused {
        sensor: delivery.sensor.clone(),
        trigger: delivery.trigger.clone(),
        reason: cut(delivery.reason.clone(), REASON_BYTES_MAX),
        with: delivery.with.clone(),
    };
    Draft::new(StreamId::Sensor(delivery.sensor.clone()), actor, fact).with_trace(trace).with_body(delivery.body.clone())
}
