//! The sources by kind: which one reads for a sensor.

use std::sync::Arc;

use ensue_engine::catalog::{Sensor, Source as Kind};
use ensue_expression::Document;

use crate::error::{SensorErrorKind, SourceError};
use crate::source::{Connect, Source};
use crate::world::World;
use crate::{Pending, file, poll, process};

/// Opens the sources of this release.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connectors;

impl Connect for Connectors {
    fn open(&self, sensor: Arc<Sensor>, world: Arc<World>, cursor: Option<Document>) -> Pending<'_, Result<Box<dyn Source>, SourceError>> {
        Box::pin(async move {
            match sensor.source.clone() {
                Kind::Process(source) => process::open(sensor, source, world, cursor).await,
                Kind::Poll(source) => poll::open(sensor, source, world, cursor.as_ref()),
                Kind::File(source) => file::open(&sensor, source, world, cursor.as_ref()).await,
                Kind::Webhook { .. } | Kind::Timer { .. } => {
                    let why = format!("the node fetches no messages for a `{}`", sensor.source.word());
                    Err(SourceError::new(SensorErrorKind::Bug, why))
                }
            }
        })
    }
}
