//! Sensors.

use ensue_engine::catalog::{Sensor, Source};
use ensue_engine::names::{KeyRef, PackName, SensorRef, TriggerRef};
use schemars::JsonSchema;
use serde::Serialize;

use crate::openapi::shapes;
use crate::wire::hooks::WireScheme;

/// A sensor.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSensor {
    #[schemars(with = "shapes::SensorRef")]
    r#ref: SensorRef,
    #[schemars(with = "shapes::PackName")]
    pack: PackName,
    description: String,
    source: WireSource,
    scheme: WireScheme,
    #[schemars(with = "Option<shapes::KeyRef>")]
    key: Option<KeyRef>,
    url: String,
    emits: Vec<WireEmit>,
}

/// Where a sensor learns of what happens.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireSource {
    /// It is told by deliveries.
    Webhook,
}

/// An event that a sensor may make.
#[derive(Serialize, JsonSchema)]
struct WireEmit {
    #[schemars(with = "shapes::TriggerRef")]
    trigger: TriggerRef,
    when: Option<String>,
    dedupe: Option<String>,
}

impl WireSensor {
    /// Shows a sensor; `url` is where it takes deliveries.
    pub(crate) fn new(sensor: &Sensor, url: String) -> Self {
        let Source::Webhook { verify } = &sensor.source;
        let emits = sensor.emits.iter().map(|emit| WireEmit {
            trigger: emit.trigger.clone(),
            when: emit.when.as_ref().map(|when| when.source().to_owned()),
            dedupe: emit.dedupe.as_ref().map(|dedupe| dedupe.source().to_owned()),
        });
        Self {
            r#ref: sensor.name.clone(),
            pack: sensor.name.pack(),
            description: sensor.description.clone(),
            source: WireSource::Webhook,
            scheme: verify.into(),
            key: verify.key().cloned(),
            url,
            emits: emits.collect(),
        }
    }
}
