//! The runs of pulling sensors: enable, disable, restart and rewind them, and read what they say.

use ensue_engine::access::limit::Target;
use ensue_engine::catalog::Sensor;
use ensue_engine::command::Ask;
use ensue_engine::explain::Explain;
use ensue_engine::names::SensorRef;
use ensue_engine::sensors::cursor::{Cursor, CursorInvalid};
use ensue_engine::sensors::facts::SensorMode;
use serde::Serialize;
use std::sync::Arc;
use thiserror::Error;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::{Call, Nothing};
use crate::operation::{Operation, Takes, WRITTEN};
use crate::permissions::{Permission as _, SensorsRead, SensorsWrite};
use crate::ports::SourceEnd;
use crate::problem::{Missing, Outcome, Problem};
use crate::query::Query;
use crate::respond::{self, WriteOutcome};
use crate::wire::sensor_runs::{WirePlace, WireRewind, WireSensorAgain, WireSensorLine, WireSensorLog, WireSensorModeSet};
use ensue_engine::time::Timestamp;

/// Why a cursor cannot be set.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "cursor-invalid", fault = Invalid)]
enum RewindRefused {
    /// Nothing or both was given.
    #[error("give either a cursor in `to`, or `start` or `end` in `place`")]
    #[explain(hint = "see the cursor of a sensor with `ensue sensors show <sensor>`")]
    NotOne,
    /// It is not a cursor.
    #[error(transparent)]
    #[explain(hint = "see the cursor of a sensor with `ensue sensors show <sensor>`")]
    Cursor(#[from] CursorInvalid),
}

/// The parameters that select lines.
#[derive(Query)]
struct LinesQuery {
    /// The position to start after.
    #[query(what = "the number of a line")]
    after: Option<u64>,
    /// Only those at or after this time.
    since: Option<Timestamp>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    let change =
        |id: &'static str, summary: &'static str| Operation::new(id, summary).can_be_tried().refuses(&[(422, "sensor_does_not_pull")]);
    let mode = |id, summary| change(id, summary).takes(Takes::Empty).gives::<WireSensorModeSet>(200, "The mode is set.", WRITTEN);
    routes.post::<SensorsWrite>("/sensors/{ref}/enable", enable, mode("sensor_enable", "Enables a pulling sensor"));
    routes.post::<SensorsWrite>(
        "/sensors/{ref}/disable",
        disable,
        mode("sensor_disable", "Disables a pulling sensor: its source keeps what comes, as far as it can"),
    );
    routes.post::<SensorsWrite>(
        "/sensors/{ref}/restart",
        restart,
        change("sensor_restart", "Begins a new run of a pulling sensor at once").takes(Takes::Empty).gives::<WireSensorAgain>(
            200,
            "The run begins again.",
            WRITTEN,
        ),
    );
    routes.post::<SensorsWrite>(
        "/sensors/{ref}/rewind",
        rewind,
        change("sensor_rewind", "Sets the cursor of a pulling sensor, which continues from there")
            .takes_json::<WireRewind>(r#"{"to": {"line": 120}}"#)
            .refuses(&[
                (409, "sensor_cursor_moved"),
                (409, "sensor_end_unknown"),
                (422, "cursor_invalid"),
                (422, "sensor_does_not_pull"),
                (429, "busy"),
            ])
            .gives::<WireSensorAgain>(200, "The cursor is set.", WRITTEN),
    );
    routes.get::<SensorsRead>(
        "/sensors/{ref}/logs",
        logs,
        Operation::new(
            "sensor_logs",
            "Returns lines of a pulling sensor's own log: the last ones, or the first ones after a line or a time",
        )
        .with_query(&[LinesQuery::PARAMETERS])
        .gives::<WireSensorLog>(200, "At most 1,000 lines, the oldest first.", &[]),
    );
}

/// Enables a sensor.
pub(super) async fn enable(allowed: AllowedCaller<SensorsWrite>, call: Call) -> Outcome {
    set_mode(allowed, call, SensorMode::Enabled).await
}

/// Disables a sensor.
pub(super) async fn disable(allowed: AllowedCaller<SensorsWrite>, call: Call) -> Outcome {
    set_mode(allowed, call, SensorMode::Disabled).await
}

async fn set_mode(allowed: AllowedCaller<SensorsWrite>, call: Call, mode: SensorMode) -> Outcome {
    let answer = |r#ref| WireSensorModeSet { r#ref, mode: mode.into() };
    ask_empty(allowed, call, |sensor| Ask::SetSensorMode { sensor, mode }, answer).await
}

/// Begins a new run of a sensor.
pub(super) async fn restart(allowed: AllowedCaller<SensorsWrite>, call: Call) -> Outcome {
    ask_empty(allowed, call, |sensor| Ask::RestartSensor { sensor }, |r#ref| WireSensorAgain { r#ref }).await
}

/// Carries out a request without a body.
async fn ask_empty<T: Serialize>(
    allowed: AllowedCaller<SensorsWrite>,
    mut call: Call,
    ask: impl FnOnce(SensorRef) -> Ask,
    answer: impl FnOnce(SensorRef) -> T,
) -> Outcome {
    let name = sensor_name(&allowed, &call)?;
    if let Some((before, _)) = call.before().await? {
        return respond::answer_write(WriteOutcome::Done, before.position, &answer(name));
    }
    let Nothing {} = call.json_or_nothing().await?;
    sensor_of(&call, &name)?;
    submit(&allowed, &call, ask(name.clone()), &answer(name)).await
}

/// Sets the cursor of a sensor.
pub(super) async fn rewind(allowed: AllowedCaller<SensorsWrite>, mut call: Call) -> Outcome {
    let name = sensor_name(&allowed, &call)?;
    if let Some((before, _)) = call.before().await? {
        return respond::answer_write(WriteOutcome::Done, before.position, &WireSensorAgain { r#ref: name });
    }
    let asked: WireRewind = call.json().await?;
    sensor_of(&call, &name)?;
    let sensor = name.clone();
    let ask = match (asked.to, asked.place) {
        (Some(to), None) => {
            let cursor = Cursor::of_json(to.get()).map_err(RewindRefused::Cursor)?;
            call.api().ports.sensors.check_cursor(&name, &cursor)?;
            Ask::SetSensorCursor { sensor, cursor: Some(cursor) }
        }
        (None, Some(WirePlace::Start)) => Ask::SetSensorCursor { sensor, cursor: None },
        (None, Some(WirePlace::End)) => {
            let SourceEnd { after, cursor } = call.api().ports.sensors.end_of(&name).await?;
            Ask::SkipSensor { sensor, after, cursor }
        }
        (Some(_), Some(_)) | (None, None) => return Err(RewindRefused::NotOne.into()),
    };
    submit(&allowed, &call, ask, &WireSensorAgain { r#ref: name }).await
}

/// Returns the last lines of a sensor's own log.
pub(super) async fn logs(allowed: AllowedCaller<SensorsRead>, call: Call) -> Outcome {
    let name: SensorRef = call.parse_part("ref", SensorsRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    sensor_of(&call, &name)?;
    let LinesQuery { after, since } = call.parameters()?;
    // The number of a line is its time, or a little more.
    let since = since.map(|since| u64::try_from(since.micros()).unwrap_or(0).saturating_sub(1));
    let lines = call.api().threads.blocking(move |ports| ports.sensors.lines(&name, after.max(since))).await?;
    respond::json(&WireSensorLog { items: lines.into_iter().map(WireSensorLine::from).collect(), next: None })
}

fn sensor_name(allowed: &AllowedCaller<SensorsWrite>, call: &Call) -> Result<SensorRef, Problem> {
    let name: SensorRef = call.parse_part("ref", SensorsRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    Ok(name)
}

/// Returns an installed sensor.
pub(super) fn sensor_of(call: &Call, name: &SensorRef) -> Result<Arc<Sensor>, Problem> {
    let catalog = call.api().ports.installed.current();
    catalog.sensors().get(name).cloned().ok_or_else(|| Missing::new(SensorsRead::THING, name.as_str()).into())
}

async fn submit(allowed: &AllowedCaller<SensorsWrite>, call: &Call, ask: Ask, answer: &impl Serialize) -> Outcome {
    if call.is_dry_run()? {
        return call.check(call.on_behalf(allowed)?, ask).await;
    }
    let committed = call.api().submit(call.on_behalf(allowed)?, ask).await?;
    respond::answer_write(WriteOutcome::Done, committed.position, answer)
}
