//! What schedules are made into: those that run, and which timer each has. Their plans are the catalog's.

use serde::{Deserialize, Serialize};

use super::facts::ScheduleOwner;
use crate::fact::{ScheduleFact, TimerFact};
use crate::ids::ScheduleId;
use crate::record::{Digest, Position, Record};
use crate::schedule::facts::EndedBecause;
use crate::table::Table;
use crate::time::Timestamp;
use crate::timers::facts::TimerKind;

/// The schedules of rules and sensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedules {
    /// Each that is waited for, or is over and whose rule or sensor still has it.
    schedules: Table<ScheduleId, Schedule>,
    of_owner: Table<ScheduleOwner, ScheduleId>,
}

/// A schedule of a rule or a sensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Whose it is.
    pub owner: ScheduleOwner,
    /// What tells its plan from another.
    pub plan: Digest,
    /// How many timers it has had.
    pub timers: u32,
    /// What it does now.
    pub phase: Phase,
}

/// What a schedule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has no timer yet.
    Set,
    /// It waits for its timer.
    Waiting,
    /// Its timer has fired, and what follows is not worked out yet.
    Fired {
        /// What kind it was.
        kind: TimerKind,
        /// When it was due.
        due: Timestamp,
        /// When it fired.
        at: Timestamp,
        /// The record that says so.
        position: Position,
    },
    /// It is never due again.
    Over,
}

impl Schedules {
    /// Gives a schedule.
    pub fn get(&self, id: ScheduleId) -> Option<&Schedule> {
        self.schedules.get(&id)
    }

    /// Gives the schedule of a rule or a sensor.
    pub fn of(&self, owner: &ScheduleOwner) -> Option<(ScheduleId, &Schedule)> {
        let id = *self.of_owner.get(owner)?;
        self.get(id).map(|schedule| (id, schedule))
    }

    /// Gives all of them by whose they are.
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

    /// Folds what happened to a timer of a schedule.
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

    pub(crate) fn commit(&mut self) {
        self.schedules.commit();
        self.of_owner.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.schedules.undo();
        self.of_owner.undo();
    }
}
