//! The state of dead letters: a bounded table of the newest open ones.

use serde::{Deserialize, Serialize};

use crate::fact::{DeadLetterFact, EventFact, ExecutionFact};
use crate::ids::Id;
use crate::names::SensorRef;
use crate::record::{Position, Record, StreamId};
use crate::table::{Table, undone_together};

/// The maximum number of letters that can be handled. If there are more, the oldest remain in the views
/// unchanged.
pub const OPEN_DEAD_LETTERS_MAX: usize = 100_000;
/// The maximum number of open letters of a pulling sensor. Its source keeps further messages that are refused.
pub const SENSOR_DEAD_LETTERS_MAX: u64 = 10_000;

/// The open letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeadLetters {
    open: Table<Id, Position>,
    /// The sensors of open letters that are refused deliveries.
    sensors: Table<Id, SensorRef>,
    /// How many open letters each sensor has. Not saved, but rebuilt from the others.
    #[serde(skip)]
    counts: Table<SensorRef, u64>,
    /// The open letters by age. Not saved, but rebuilt from the others.
    #[serde(skip)]
    by_age: Table<Position, Id>,
}

undone_together!(pub(crate) DeadLetters { open, sensors, counts, by_age });

impl DeadLetters {
    /// Returns true if a letter is open. Its id is that of a refused delivery's record, or of an execution.
    pub fn is_open(&self, of: Id) -> bool {
        self.open.get(&of).is_some()
    }

    /// Returns the number of open letters.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Returns the number of open letters of a sensor.
    pub fn count_of(&self, sensor: &SensorRef) -> u64 {
        self.counts.get(sensor).copied().unwrap_or(0)
    }

    pub(crate) fn apply_event(&mut self, record: &Record, fact: EventFact<'_>) {
        match fact {
            EventFact::DeliveryRefused(fact) => {
                self.sensors.insert(record.id, fact.sensor.clone());
                self.counts.insert(fact.sensor.clone(), self.count_of(&fact.sensor) + 1);
                self.begin(record.id, record.position);
            }
            EventFact::EventReceived(_) => {}
        }
    }

    pub(crate) fn apply_execution(&mut self, record: &Record, fact: ExecutionFact<'_>) {
        if let ExecutionFact::ExecutionRequested(fact) = fact
            && let Some(of) = fact.rerun_of
        {
            self.end(of.0);
        }
        if let (Some(_), StreamId::Execution(id)) = (fact.gave_up(), &record.stream) {
            self.begin(id.0, record.position);
        }
    }

    pub(crate) fn apply(&mut self, fact: DeadLetterFact<'_>) {
        match fact {
            DeadLetterFact::DeadLetterRetried(fact) => self.end(fact.of),
            DeadLetterFact::DeadLetterDismissed(fact) => self.end(fact.of),
        }
    }

    fn begin(&mut self, of: Id, position: Position) {
        self.open.insert(of, position);
        self.by_age.insert(position, of);
        if self.open.len() > OPEN_DEAD_LETTERS_MAX
            && let Some(oldest) = self.by_age.first().map(|(_, of)| *of)
        {
            self.end(oldest);
        }
    }

    fn end(&mut self, of: Id) {
        if let Some(position) = self.open.get(&of).copied() {
            self.open.remove(&of);
            self.by_age.remove(&position);
            if let Some(sensor) = self.sensors.get(&of).cloned() {
                self.sensors.remove(&of);
                match self.count_of(&sensor) {
                    0 | 1 => self.counts.remove(&sensor),
                    count => self.counts.insert(sensor, count - 1),
                }
            }
        }
    }

    /// Rebuilds the tables that are not saved.
    pub(crate) fn index(&mut self) {
        let open: Vec<(Position, Id)> = self.open.iter().map(|(of, position)| (*position, *of)).collect();
        open.into_iter().for_each(|(position, of)| self.by_age.insert(position, of));
        self.by_age.commit();
        let sensors: Vec<SensorRef> = self.sensors.iter().map(|(_, sensor)| sensor.clone()).collect();
        sensors.into_iter().for_each(|sensor| {
            let count = self.count_of(&sensor) + 1;
            self.counts.insert(sensor, count);
        });
        self.counts.commit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn oldest_letters_are_dropped_over_the_maximum() {
        let letter = |number: u64| (Id::root(Timestamp::from_micros(0), number.into()), Position(number));
        let mut letters = DeadLetters::default();
        let newest = OPEN_DEAD_LETTERS_MAX as u64 + 2;
        (1..=newest).map(letter).for_each(|(of, position)| letters.begin(of, position));
        assert_eq!(letters.count(), OPEN_DEAD_LETTERS_MAX);
        let is_open = [1, 2, 3, newest].map(|number| letters.is_open(letter(number).0));
        assert_eq!(is_open, [false, false, true, true]);
    }
}
