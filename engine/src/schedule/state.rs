//! The state of schedules: those that run, and the timer of each. The catalog has their plans.

use serde::{Deserialize, Serialize};

use super::facts::ScheduleOwner;
use crate::fact::{ScheduleFact, TimerFact};
use crate::ids::ScheduleId;
use crate::record::{Digest, Position, Record};
use crate::schedule::facts::EndedBecause;
use crate::table::{Table, undone_together};
use crate::time::Timestamp;
use crate::timers::facts::TimerKind;

/// The schedules of rules and sensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedules {
    /// The schedules that run, and those that are over but still in their rule or sensor.
    schedules: Table<ScheduleId, Schedule>,
    of_owner: Table<ScheduleOwner, ScheduleId>,
}

undone_together!(pub(crate) Schedules { schedules, of_owner });

/// A schedule of a rule or a sensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its rule or sensor.
    pub owner: ScheduleOwner,
    /// The digest of its plan.
    pub plan: Digest,
    /// How many timers it has had.
    pub timers: u32,
    /// Its current phase.
    pub phase: Phase,
}

/// The phase of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has no timer yet.
    Set,
    /// It waits for its timer.
    Waiting,
    /// Its timer has fired, and the consequences are not computed yet.
    Fired {
        /// The kind of the timer.
        kind: TimerKind,
        /// When it was due.
        due: Timestamp,
        /// When it fired.
        at: Timestamp,
        /// The position of the timer's record.
        position: Position,
    },
    /// It has no more due times.
    Over,
}

impl Schedules {
    /// Returns a schedule.
    pub fn get(&self, id: ScheduleId) -> Option<&Schedule> {
        self.schedules.get(&id)
    }

    /// Returns the schedule of a rule or a sensor.
    pub fn of(&self, owner: &ScheduleOwner) -> Option<(ScheduleId, &Schedule)> {
        let id = *self.of_owner.get(owner)?;
        self.get(id).map(|schedule| (id, schedule))
    }

    /// Returns all schedules, ordered by owner.
    pub fn iter(&self) -> impl Iterator<Item = (ScheduleId, &Schedule)> {
        self.of_owner.iter().filter_map(|(_, id)| self.get(*id).map(|schedule| (*id, schedule)))
    }

    pub(crate) fn apply(&mut self, fact: ScheduleFact<'_>) {
        match fact {
            ScheduleFact::ScheduleSet(fact) => {
                let schedule = Schedule { owner: fact.owner.clone(), plan: fact.plan, timers: 0, phase: Phase::Set };
                self.schedules.insert(fact.schedule, schedule);
                self.of_owner.insert(fact.owner.clone(), fact.schedule);
            }
            ScheduleFact::ScheduleEnded(fact) => match fact.why {
                EndedBecause::Over => self.schedules.change(&fact.schedule, |schedule| schedule.phase = Phase::Over),
                EndedBecause::Changed | EndedBecause::Removed | EndedBecause::Disabled => self.forget(fact.schedule),
            },
            ScheduleFact::ScheduleMissed(_) => {}
        }
    }

    /// Folds a fact about a schedule's timer.
    pub(crate) fn apply_timer(&mut self, record: &Record, fact: TimerFact<'_>) {
        match fact {
            TimerFact::TimerSet(fact) => {
                let Some(id) = fact.schedule else { return };
                self.schedules.change(&id, |schedule| {
                    schedule.timers = fact.number;
                    schedule.phase = Phase::Waiting;
                });
            }
            TimerFact::TimerFired(fact) => {
                let Some(id) = fact.schedule else { return };
                let fired = Phase::Fired { kind: fact.kind, due: fact.due, at: record.time, position: record.position };
                self.schedules.change(&id, |schedule| schedule.phase = fired);
            }
        }
    }

    fn forget(&mut self, id: ScheduleId) {
        let Some(owner) = self.get(id).map(|schedule| schedule.owner.clone()) else { return };
        self.schedules.remove(&id);
        if self.of_owner.get(&owner) == Some(&id) {
            self.of_owner.remove(&owner);
        }
    }
}
