//! Sensors.

use ensue_derive::wire;
use ensue_engine::catalog::{Sensor, Source, Verify};
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::time::Timestamp;
use ensue_views::Schedule;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::ports::SensorStatus;
use crate::wire::hooks::WireScheme;
use crate::wire::sensor_runs::{WireFailingPart, WireSensorError, WireSensorLag, WireSensorMode, WireSensorState};
use crate::wire::timers::WireSchedule;

/// A sensor.
#[wire(Serialize)]
pub(crate) struct WireSensor {
    r#ref: SensorRef,
    pack: PackName,
    description: String,
    source: WireSource,
    scheme: Option<WireScheme>,
    key: Option<KeyRef>,
    url: Option<String>,
    schedule: Option<WireSchedule>,
    state: Option<WireSensorState>,
    since: Option<Timestamp>,
    error: Option<WireSensorError>,
    waits_for: Option<String>,
    retry_at: Option<Timestamp>,
    failing_parts: Option<Vec<WireFailingPart>>,
    mode: Option<WireSensorMode>,
    run: Option<u64>,
    restarts: Option<u64>,
    events_count: Option<u64>,
    refused_count: Option<u64>,
    last_event_at: Option<Timestamp>,
    lag: Option<WireSensorLag>,
    cursor: Option<Box<RawValue>>,
    emits: Vec<WireEmit>,
}

/// How a sensor learns of events.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireSource {
    /// By deliveries.
    Webhook,
    /// By the clock.
    Timer,
    /// By the lines of a program.
    Process,
    /// By the answers of a server.
    Poll,
    /// By files.
    File,
}

/// An event that a sensor may create.
#[wire(Serialize)]
struct WireEmit {
    trigger: VersionedTrigger,
    when: Option<String>,
    dedupe: Option<String>,
}

impl WireSensor {
    /// Shows a sensor; `url` is the address where it accepts deliveries, if it does, `waiting` is the pending time
    /// of its schedule, if it has one, and `status` is the status of its run, if it pulls.
    pub(crate) fn new(sensor: &Sensor, url: String, waiting: Option<Schedule>, status: Option<SensorStatus>) -> Self {
        let verify = sensor.source.webhook();
        let (source, schedule) = match &sensor.source {
            Source::Webhook { .. } => (WireSource::Webhook, None),
            Source::Timer { schedule } => (WireSource::Timer, Some(WireSchedule::new(schedule, waiting))),
            Source::Process(_) => (WireSource::Process, None),
            Source::Poll(_) => (WireSource::Poll, None),
            Source::File(_) => (WireSource::File, None),
        };
        let emits = sensor.emits.iter().map(|emit| WireEmit {
            trigger: VersionedTrigger { name: emit.trigger.clone(), version: emit.version },
            when: emit.when.as_ref().map(|when| when.source().to_owned()),
            dedupe: emit.dedupe.expression().map(|dedupe| dedupe.source().to_owned()),
        });
        Self {
            r#ref: sensor.name.clone(),
            pack: sensor.name.pack(),
            description: sensor.description.clone(),
            source,
            scheme: verify.map(WireScheme::from),
            key: verify.and_then(Verify::key).cloned(),
            url: verify.map(|_| url),
            schedule,
            state: status.as_ref().map(|status| status.state.into()),
            since: status.as_ref().map(|status| status.since),
            error: status.as_ref().and_then(|status| status.error.clone()).map(WireSensorError::from),
            waits_for: status.as_ref().and_then(|status| status.waits_for.clone()),
            retry_at: status.as_ref().and_then(|status| status.retry_at),
            failing_parts: status.as_ref().map(|status| status.failing_parts.iter().cloned().map(WireFailingPart::from).collect()),
            mode: status.as_ref().map(|status| status.mode.into()),
            run: status.as_ref().map(|status| status.run),
            restarts: status.as_ref().map(|status| status.restarts),
            events_count: status.as_ref().map(|status| status.events),
            refused_count: status.as_ref().map(|status| status.refused),
            last_event_at: status.as_ref().and_then(|status| status.last_event_at),
            lag: status.as_ref().and_then(WireSensorLag::of),
            // It was checked to be JSON before it was stored.
            cursor: status.and_then(|status| status.cursor).and_then(|cursor| RawValue::from_string(cursor).ok()),
            emits: emits.collect(),
        }
    }
}
