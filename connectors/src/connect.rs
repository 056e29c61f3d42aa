//! The sources by kind: which one reads for a sensor.

use std::sync::Arc;

use ensue_engine::catalog::{Sensor, Source as Kind};
use ensue_expression::Document;
use thiserror::Error;

use crate::error::{SensorErrorKind, SourceError};
use crate::source::{Connect, MessageSource};
use crate::world::World;
use crate::{Pending, file, poll, process};

/// The source of a sensor cannot continue from a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a `{kind}` cannot continue from this cursor: {form}")]
pub struct CursorMisfit {
    kind: &'static str,
    /// The form of its cursors, for people.
    form: &'static str,
}

/// Checks that the source of a sensor can read a cursor. What the source does with it is not checked.
pub fn check_cursor(sensor: &Sensor, cursor: &Document) -> Result<(), CursorMisfit> {
    let (is_readable, form) = match &sensor.source {
        Kind::Poll(_) => (poll::reads(cursor), poll::CURSOR_FORM),
        Kind::File(source) => (file::reads(source, cursor), file::CURSOR_FORM),
        // Its program defines them.
        Kind::Process(_) | Kind::Webhook { .. } | Kind::Timer { .. } => return Ok(()),
    };
    if is_readable { Ok(()) } else { Err(CursorMisfit { kind: sensor.source.word(), form }) }
}

/// Opens the sources of this release.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connectors;

impl Connect for Connectors {
    fn open(
        &self,
        sensor: Arc<Sensor>,
        world: Arc<World>,
        cursor: Option<Document>,
    ) -> Pending<'_, Result<Box<dyn MessageSource>, SourceError>> {
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
