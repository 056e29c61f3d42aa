//! Reactions of pulling sensors: changes of packs set and end them.

use crate::catalog::{Catalog, Sensor};
use crate::command::Context;
use crate::fact::Fact;
use crate::ids::{Id, Role, SensorId};
use crate::names::SensorRef;
use crate::reaction::Reaction;
use crate::record::{Draft, Record, StreamId};
use crate::schedule::react::ChangedDefinitions;
use crate::sensors::facts::{SensorEnded, SensorEndedBecause, SensorSet};
use crate::sensors::state::Pulling;
use crate::state::State;

/// The maximum number of sensors that one consequence of a record sets or ends; the others follow in the next
/// consequence.
const ALIGNED_AT_ONCE_MAX: usize = 100;

/// Sets and ends the pulling sensors that a record may have changed. The result depends only on what is installed and
/// what the state holds, so doing it again changes nothing.
pub(crate) fn follow(state: &State, record: &Record, changed: ChangedDefinitions<'_>, with: &Context<'_>) -> Reaction {
    let revision = state.catalog_revision();
    match with.catalogs.at(revision) {
        Some(catalog) => align_sensors(state, record, &catalog, |sensor| changed.is_of_sensor(sensor)),
        None => Reaction::Impossible(format!("the catalog of revision {revision} cannot be built")),
    }
}

/// Adds missing sensors and ends removed ones when a node starts. This repairs what a parked reaction skipped, and adds
/// sensors whose kind of source an older release did not know.
pub(crate) fn at_start(state: &State, record: &Record, with: &Context<'_>) -> Option<Reaction> {
    let catalog = with.catalogs.at(state.catalog_revision())?;
    align_sensors(state, record, &catalog, |_| true).unless_nothing()
}

fn align_sensors(state: &State, record: &Record, catalog: &Catalog, is_asked: impl Fn(&SensorRef) -> bool) -> Reaction {
    let about = SensorReaction { state, record };
    let running = state.sensors().iter().filter(|(_, pulling)| is_asked(&pulling.sensor));
    let unwanted = running.filter_map(|(id, pulling)| about.end_of(id, pulling, catalog));
    let mut drafts: Vec<Draft> = unwanted.take(ALIGNED_AT_ONCE_MAX).collect();
    // The old sensor ends before the new one is set, or else the ref would name both.
    if drafts.len() == ALIGNED_AT_ONCE_MAX {
        return Reaction::more(drafts);
    }
    let wanted = catalog.sensors().values().filter(|sensor| sensor.source.pulls() && is_asked(&sensor.name));
    let missing: Vec<Draft> = wanted.filter_map(|sensor| about.begin_of(sensor)).take(ALIGNED_AT_ONCE_MAX).collect();
    let is_all = missing.len() < ALIGNED_AT_ONCE_MAX;
    drafts.extend(missing);
    if is_all { Reaction::last(drafts) } else { Reaction::more(drafts) }
}

/// A record, to compute its consequences.
struct SensorReaction<'a> {
    state: &'a State,
    record: &'a Record,
}

impl SensorReaction<'_> {
    /// Returns the end of a sensor that is gone, or that reads something else now.
    fn end_of(&self, id: SensorId, pulling: &Pulling, catalog: &Catalog) -> Option<Draft> {
        let now = catalog.sensors().get(&pulling.sensor).filter(|sensor| sensor.source.pulls());
        let why = match now {
            None => SensorEndedBecause::Removed,
            Some(sensor) if sensor.identity() != pulling.identity => SensorEndedBecause::Changed,
            Some(_) => return None,
        };
        Some(self.draft(&pulling.sensor, None, SensorEnded { id, why }.into()))
    }

    /// Returns the start of a sensor that is missing.
    fn begin_of(&self, sensor: &Sensor) -> Option<Draft> {
        let identity = sensor.identity();
        if self.state.sensors().of(&sensor.name).is_some_and(|(_, pulling)| pulling.identity == identity) {
            return None;
        }
        let stream = StreamId::Sensor(sensor.name.clone());
        let id = SensorId(Id::derive(self.state.log(), self.record.id, Role::Sensor(&stream)));
        let set = SensorSet { sensor: sensor.name.clone(), id, source: sensor.source.word().to_owned(), identity };
        Some(self.draft(&sensor.name, Some(id.0), set.into()))
    }

    fn draft(&self, sensor: &SensorRef, begins: Option<Id>, fact: Fact) -> Draft {
        let cause = Some(self.record.cause.from_parent(self.record.id));
        Draft::by_engine(StreamId::Sensor(sensor.clone()), fact).beginning(begins).because(cause)
    }
}
