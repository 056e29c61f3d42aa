//! Sensors.

use ensue_engine::catalog::{Sensor, Source};
use ensue_engine::names::{KeyRef, PackName, SensorRef, TriggerRef};
use schemars::JsonSchema;
use serde::Serialize;

use crate::openapi::shapes;
use crate::wire::hooks::scheme;

/// A sensor.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSensor {
    #[schemars(with = "shapes::SensorRef")]
    r#ref: SensorRef,
    #[schemars(with = "shapes::PackName")]
    pack: PackName,
    description: String,
    source: &'static str,
    scheme: &'static str,
    #[schemars(with = "Option<shapes::KeyRef>")]
    key: Option<KeyRef>,
    url: String,
    emits: Vec<WireEmit>,
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
            source: "webhook",
            scheme: scheme(verify),
            key: verify.key().cloned(),
            url,
            emits: emits.collect(),
        }
    }
}
