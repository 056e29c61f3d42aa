//! What sensors need that the node runs all the time: programs behind the walls of actions, actions of polls, and
//! requests under the operator's egress rules. Implements ports of `ensue-connectors`.
//!
//! A sensor has no attempt: its program ends with the node, and nobody adopts it.

mod actions;
#[cfg(target_os = "linux")]
mod programs;
mod web;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ensue_connectors::world::Keys;
use ensue_connectors::{SensorErrorKind, SourceError};
use ensue_engine::catalog::Sensor;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::Secret;
use ensue_expression::{Expression, Template};

use crate::attempt::AttemptError;
use crate::render::KEYS;

pub use actions::{CurrentCatalog, SensorActions, SensorActionsPorts};
#[cfg(target_os = "linux")]
pub use programs::{SensorPrograms, SensorProgramsSettings};
pub use web::SensorWeb;

/// Opens the keys that templates of a sensor read. A template that reads a key by a computed name gets all keys that
/// the sensor's pack lists.
fn open_keys<'t>(
    templates: impl IntoIterator<Item = &'t Template>,
    sensor: &Sensor,
    keys: &dyn Keys,
) -> Result<BTreeMap<KeyRef, Secret>, SourceError> {
    let mut opened = BTreeMap::new();
    let paths = templates.into_iter().flat_map(Template::expressions).flat_map(Expression::reads);
    for path in paths.filter(|path| path.segments.first().is_some_and(|root| root == KEYS)) {
        let wanted = match path.segments.get(1) {
            Some(name) => {
                let invalid = |why: &dyn std::fmt::Display| {
                    SourceError::new(SensorErrorKind::KeyMissing, format!("`{name}` does not name a key: {why}"))
                };
                vec![name.parse::<KeyRef>().map_err(|why| invalid(&why))?]
            }
            None => keys.listed_keys(&sensor.name.pack()),
        };
        for key in wanted {
            if let Entry::Vacant(entry) = opened.entry(key) {
                let value = keys.open(entry.key(), &sensor.name)?;
                entry.insert(value);
            }
        }
    }
    Ok(opened)
}

/// Returns the error of a source for what broke while something was rendered or sent.
fn source_error(broken: AttemptError) -> SourceError {
    let failure = match broken {
        AttemptError::Failed(failed) => failed.failure,
        AttemptError::Lost(Some(failure)) => failure,
        AttemptError::Cut(..) | AttemptError::Lost(None) => return SourceError::new(SensorErrorKind::Bug, "it was interrupted"),
    };
    SourceError::new(kind_of(&failure), failure.message)
}

/// Returns the kind of problem that a failure is for a sensor.
fn kind_of(failure: &Failure) -> SensorErrorKind {
    match failure.kind {
        FailureKind::KeyMissing => SensorErrorKind::KeyMissing,
        FailureKind::EgressDenied => SensorErrorKind::EgressDenied,
        FailureKind::Network => SensorErrorKind::Connect,
        FailureKind::Timeout => SensorErrorKind::Timeout,
        FailureKind::OutputLimit => SensorErrorKind::Limit,
        FailureKind::Expression | FailureKind::ParametersInvalid => SensorErrorKind::Emits,
        FailureKind::Spawn => SensorErrorKind::NotFound,
        FailureKind::ExitCode | FailureKind::Signal | FailureKind::Memory | FailureKind::Lost => SensorErrorKind::Exited,
        FailureKind::HttpStatus => match failure.detail.and_then(|status| u16::try_from(status).ok()) {
            Some(401 | 403) => SensorErrorKind::Auth,
            Some(404 | 410) => SensorErrorKind::NotFound,
            Some(408 | 504) => SensorErrorKind::Timeout,
            Some(500..) => SensorErrorKind::Connect,
            Some(_) | None => SensorErrorKind::Protocol,
        },
        _ => SensorErrorKind::Protocol,
    }
}
