//! Sensors.

use ensue_derive::wire;
use ensue_engine::catalog::{Sensor, Source, Verify};
use ensue_engine::names::{KeyRef, PackName, SensorRef, TriggerRef};
use ensue_views::Schedule;
use schemars::JsonSchema;
use serde::Serialize;

use crate::wire::hooks::WireScheme;
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
    trigger: TriggerRef,
    when: Option<String>,
    dedupe: Option<String>,
}

impl WireSensor {
    /// Shows a sensor; `url` is the address where it accepts deliveries, if it does, and `waiting` is the
    /// pending time of its schedule, if it has one.
    pub(crate) fn new(sensor: &Sensor, url: String, waiting: Option<Schedule>) -> Self {
        let verify = sensor.source.webhook();
        let (source, schedule) = match &sensor.source {
            Source::Webhook { .. } => (WireSource::Webhook, None),
            Source::Timer { schedule } => (WireSource::Timer, Some(WireSchedule::new(schedule, waiting))),
            Source::Process(_) => (WireSource::Process, None),
            Source::Poll(_) => (WireSource::Poll, None),
            Source::File(_) => (WireSource::File, None),
        };
        let emits = sensor.emits.iter().map(|emit| WireEmit {
            trigger: emit.trigger.clone(),
            when: emit.when.as_ref().map(|when| when.source().to_owned()),
            dedupe: emit.dedupe.as_ref().map(|dedupe| dedupe.source().to_owned()),
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
            emits: emits.collect(),
        }
    }
}
