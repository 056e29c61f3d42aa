//! Decisions on commands about pulling sensors: the batches of their runs, what the runs report, and what operators
//! ask for.

use crate::command::{Answer, Context, Decision, Moment, Novelty, PartState, Refusal, SensorBatch, SensorParts};
use crate::dead_letters::state::SENSOR_DEAD_LETTERS_MAX;
use crate::events::decide::{EventOrigin, keep_delivery, receive_each};
use crate::events::internal::InternalTriggers;
use crate::executions::admission::admits_work;
use crate::fact::Fact;
use crate::ids::SensorId;
use crate::names::SensorRef;
use crate::record::{Actor, Body, Digest, Draft, StreamId};
use crate::sensors::cursor::Cursor;
use crate::sensors::facts::{
    PART_ERROR_BYTES_MAX, PART_NAME_BYTES_MAX, SensorAdvanced, SensorCursorSet, SensorFailed, SensorMode, SensorModeSet, SensorPartFailed,
    SensorPartRecovered, SensorRestarted, SensorStarted, SensorTested,
};
use crate::sensors::state::{Pulling, SensorPhase};
use crate::state::State;
use crate::text::cut;

/// The maximum number of events and refused messages in a batch, so that the batch fits into a turn.
pub const SENSOR_BATCH_DRAFTS_MAX: usize = 800;

/// Takes a batch of a run: its events, its refused messages and its cursor, all or none.
pub(crate) fn take_batch(
    state: &State,
    actor: &Actor,
    trace: Option<&str>,
    batch: &SensorBatch,
    at: &Moment,
    with: &Context<'_>,
) -> Decision {
    let pulling = match current(state, batch.sensor, batch.run) {
        Ok(pulling) => pulling,
        Err(refusal) => return Decision::Refused(refusal),
    };
    let known = pulling.cursor.as_ref().map(|cursor| cursor.digest());
    let moves = batch.after.is_some() || batch.cursor.is_some();
    if moves && batch.after != known {
        return Decision::Refused(Refusal::CursorMoved { sensor: pulling.sensor.clone() });
    }
    let size = batch.events.len() + batch.refused.len();
    if size > SENSOR_BATCH_DRAFTS_MAX {
        let what =
            format!("a batch of `{}` has {size} events and refused messages; the limit is {SENSOR_BATCH_DRAFTS_MAX}", pulling.sensor);
        return Decision::Refused(Refusal::TooLarge(what));
    }
    let open = state.dead_letters().count_of(&pulling.sensor);
    if !batch.refused.is_empty() && open.saturating_add(batch.refused.len() as u64) > SENSOR_DEAD_LETTERS_MAX {
        return Decision::Refused(Refusal::TooManyDeadLetters { sensor: pulling.sensor.clone(), open });
    }
    if let Err(refusal) = admits_work(state, with) {
        return Decision::Refused(refusal);
    }
    let from = EventOrigin { actor, cause: None, trace, internal_above: InternalTriggers::new() };
    let (mut drafts, received) = match receive_each(state, &from, &batch.events, at, with) {
        Ok(received) => received,
        Err(refusal) => return Decision::Refused(refusal),
    };
    drafts.extend(batch.refused.iter().map(|refused| keep_delivery(actor, trace, refused)));
    if batch.cursor.is_some() || batch.unkept > 0 {
        let made = received.iter().filter(|event| event.novelty == Novelty::New).count();
        let change = batch.cursor.as_ref().and_then(|cursor| cursor.change_of(pulling.cursor.as_ref()));
        let whole = batch.cursor.as_ref().filter(|_| change.is_none());
        let (cursor, body) = whole.map_or((None, None), |cursor| cursor.whole().clone().into_parts());
        let advanced = SensorAdvanced {
            id: batch.sensor,
            run: batch.run,
            cursor,
            change: change.cloned(),
            read: batch.read,
            made: count(made),
            repeated: count(received.len() - made),
            refused: count(batch.refused.len()),
            passed: batch.passed,
            unkept: Some(batch.unkept).filter(|unkept| *unkept > 0),
        };
        drafts.push(draft(&pulling.sensor, actor, trace, advanced.into(), body));
    }
    Decision::Done { drafts, answer: Answer::Events(received) }
}

/// Records that a run works, unless the log says so already. A run that is over is ignored.
pub(crate) fn note_started(state: &State, actor: &Actor, id: SensorId, run: u64, release: &str) -> Decision {
    let Ok(pulling) = current(state, id, run) else { return accept_with(Vec::new()) };
    match pulling.phase {
        SensorPhase::Running { .. } => accept_with(Vec::new()),
        SensorPhase::Starting | SensorPhase::Failing { .. } => {
            let fact = SensorStarted { id, run, release: release.to_owned() };
            accept_with(vec![draft(&pulling.sensor, actor, None, fact.into(), None)])
        }
    }
}

/// Records the 1st, 2nd, 4th, 8th … failure in a row: a long outage has few records. A run that is over is ignored.
pub(crate) fn note_failed(state: &State, actor: &Actor, failed: &SensorFailed) -> Decision {
    match current(state, failed.id, failed.run) {
        Ok(pulling) if failed.failures.is_power_of_two() => {
            accept_with(vec![draft(&pulling.sensor, actor, None, failed.clone().into(), None)])
        }
        Ok(_) | Err(_) => accept_with(Vec::new()),
    }
}

/// Records the parts that begin to fail, fail in another run, or work again; what the log says already is not recorded
/// again. Those that work again make room for others. Parts beyond the limit and a run that is over are ignored.
pub(crate) fn note_parts(state: &State, actor: &Actor, reported: &SensorParts) -> Decision {
    let SensorParts { sensor: id, run, parts } = reported;
    let Ok(pulling) = current(state, *id, *run) else { return accept_with(Vec::new()) };
    let known = |part: &str| state.sensors().part(*id, part);
    let recovered: Vec<&String> =
        parts.iter().filter(|(part, now)| **now == PartState::Running && known(part).is_some()).map(|(part, _)| part).collect();
    let of_run = recovered.iter().filter(|part| known(part).is_some_and(|known| known.run == *run)).count();
    let room = state.sensors().room_for_parts(*id, *run) + of_run;
    let failed = parts.iter().filter_map(|(part, now)| match now {
        PartState::Failing { error } if part.len() <= PART_NAME_BYTES_MAX && known(part).is_none_or(|known| known.run != *run) => {
            Some(SensorPartFailed { id: *id, run: *run, part: part.clone(), error: cut(error.clone(), PART_ERROR_BYTES_MAX) }.into())
        }
        PartState::Failing { .. } | PartState::Running => None,
    });
    let recovered = recovered.into_iter().map(|part| SensorPartRecovered { id: *id, run: *run, part: part.clone() }.into());
    let facts: Vec<Fact> = recovered.chain(failed.take(room)).collect();
    accept_with(facts.into_iter().map(|fact| draft(&pulling.sensor, actor, None, fact, None)).collect())
}

/// Sets whether a pulling sensor runs.
pub(crate) fn set_mode(state: &State, actor: &Actor, trace: Option<&str>, sensor: &SensorRef, mode: SensorMode) -> Decision {
    if state.sensors().of(sensor).is_none() {
        return Decision::Refused(Refusal::SensorDoesNotPull(sensor.clone()));
    }
    if state.sensors().mode(sensor) == mode {
        return accept_with(Vec::new());
    }
    accept_with(vec![draft(sensor, actor, trace, SensorModeSet { sensor: sensor.clone(), mode }.into(), None)])
}

/// Sets the cursor of a pulling sensor; without a cursor it starts from its beginning.
pub(crate) fn set_cursor(state: &State, actor: &Actor, trace: Option<&str>, sensor: &SensorRef, cursor: Option<&Cursor>) -> Decision {
    let Some((id, pulling)) = state.sensors().of(sensor) else {
        return Decision::Refused(Refusal::SensorDoesNotPull(sensor.clone()));
    };
    let from: Option<Digest> = pulling.cursor.as_ref().map(|cursor| cursor.digest());
    let (cursor, body) = cursor.cloned().map_or((None, None), Cursor::into_parts);
    accept_with(vec![draft(sensor, actor, trace, SensorCursorSet { id, from, cursor }.into(), body)])
}

/// Sets the cursor of a pulling sensor to the end of its source, unless it has moved since the end was looked for: then
/// messages behind that end may be in the log already.
pub(crate) fn skip(
    state: &State,
    actor: &Actor,
    trace: Option<&str>,
    sensor: &SensorRef,
    (after, end): (Option<Digest>, &Cursor),
) -> Decision {
    match state.sensors().of(sensor) {
        Some((_, pulling)) if pulling.cursor.as_ref().map(|cursor| cursor.digest()) != after => {
            Decision::Refused(Refusal::CursorMoved { sensor: sensor.clone() })
        }
        Some(_) | None => set_cursor(state, actor, trace, sensor, Some(end)),
    }
}

/// Asks for a new run of a pulling sensor.
pub(crate) fn restart(state: &State, actor: &Actor, trace: Option<&str>, sensor: &SensorRef) -> Decision {
    let Some((id, _)) = state.sensors().of(sensor) else {
        return Decision::Refused(Refusal::SensorDoesNotPull(sensor.clone()));
    };
    accept_with(vec![draft(sensor, actor, trace, SensorRestarted { id }.into(), None)])
}

/// Records that a pulling sensor is about to be tested, whatever its mode and the state of its run.
pub(crate) fn note_test(state: &State, actor: &Actor, trace: Option<&str>, sensor: &SensorRef) -> Decision {
    let Some((id, _)) = state.sensors().of(sensor) else {
        return Decision::Refused(Refusal::SensorDoesNotPull(sensor.clone()));
    };
    accept_with(vec![draft(sensor, actor, trace, SensorTested { id }.into(), None)])
}

/// Returns the sensor of a run, or refuses a run that is over.
fn current(state: &State, id: SensorId, run: u64) -> Result<&Pulling, Refusal> {
    match state.sensors().get(id) {
        Some(pulling) if state.sensors().is_current(id, run) => Ok(pulling),
        Some(_) | None => Err(Refusal::StaleRun { sensor: id, run }),
    }
}

fn accept_with(drafts: Vec<Draft>) -> Decision {
    Decision::Done { drafts, answer: Answer::Done }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn draft(sensor: &SensorRef, actor: &Actor, trace: Option<&str>, fact: Fact, body: Option<Body>) -> Draft {
    let stream = StreamId::Sensor(sensor.clone());
    Draft::new(stream, actor, fact).with_trace(trace).with_body(body)
}
