//! Schedules of rules and sensors: when each is due next, and when it last fired.
//!
//! A schedule that has ended has no row. A schedule that is never due again has one, as long as its rule or
//! sensor has the schedule.

use ensue_derive::sparse;
use ensue_engine::fact::{ByNoun, ScheduleFact, TimerFact};
use ensue_engine::ids::ScheduleId;
use ensue_engine::record::{Position, Record};
use ensue_engine::schedule::facts::{EndedBecause, ScheduleOwner, ScheduleSet};
use ensue_engine::schedule::plan::Misfire;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// The columns by which schedules can be filtered.
pub const COLUMNS: &[Column] = &[Column::Rule, Column::Sensor];

/// The maximum size of a plan in words, in bytes.
const WORDS_BYTES_MAX: usize = 2048;

/// A schedule of a rule or a sensor.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// The rule or sensor that owns it.
    pub owner: ScheduleOwner,
    /// The plan in words.
    pub words: String,
    /// The position of the record that set it.
    pub position: Position,
    /// When it was set.
    pub set_at: Timestamp,
    /// When it fires next, jitter included. `None` if its timer has just fired, or it is never due again.
    pub next_at: Option<Timestamp>,
    /// When its timer last fired.
    pub fired_at: Option<Timestamp>,
    /// The most recent times that it missed.
    pub missed: Option<MissedTimes>,
    /// Whether it is never due again.
    pub is_over: bool,
}

/// Times at which nothing could fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedTimes {
    /// The first of them.
    pub from: Timestamp,
    /// The first later time that is not one of them.
    pub until: Timestamp,
    /// How they were handled.
    pub misfire: Misfire,
}

impl View for Schedule {
    const NAME: ViewName = ViewName::Schedules;
    type Key = ScheduleId;

    fn key(record: &Record) -> Option<Touch<ScheduleId>> {
        match record.fact.by_noun() {
            ByNoun::ScheduleFact(ScheduleFact::ScheduleSet(fact)) => Some(Touch::Begins(fact.schedule)),
            ByNoun::ScheduleFact(ScheduleFact::ScheduleMissed(fact)) => Some(Touch::Changes(fact.schedule)),
            ByNoun::ScheduleFact(ScheduleFact::ScheduleEnded(fact)) => Some(Touch::Changes(fact.schedule)),
            ByNoun::TimerFact(TimerFact::TimerSet(fact)) => fact.schedule.map(Touch::Changes),
            ByNoun::TimerFact(TimerFact::TimerFired(fact)) => fact.schedule.map(Touch::Changes),
            _ => None,
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        match record.fact.by_noun() {
            ByNoun::ScheduleFact(ScheduleFact::ScheduleSet(fact)) => Some(Self::set(fact, record)),
            ByNoun::ScheduleFact(ScheduleFact::ScheduleEnded(fact)) => match fact.why {
                EndedBecause::Over => before.map(|before| Self { is_over: true, next_at: None, ..before }),
                EndedBecause::Changed | EndedBecause::Removed | EndedBecause::Disabled => None,
            },
            ByNoun::ScheduleFact(ScheduleFact::ScheduleMissed(fact)) => {
                let missed = Some(MissedTimes { from: fact.from, until: fact.until, misfire: fact.misfire });
                before.map(|before| Self { missed, ..before })
            }
            ByNoun::TimerFact(TimerFact::TimerSet(fact)) => before.map(|before| Self { next_at: Some(fact.due), ..before }),
            ByNoun::TimerFact(TimerFact::TimerFired(_)) => {
                before.map(|before| Self { next_at: None, fired_at: Some(record.time), ..before })
            }
            _ => before,
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.set_at
    }

    fn columns(&self) -> Vec<Option<Term>> {
        match &self.owner {
            ScheduleOwner::Rule(rule, _) => vec![Some(rule.as_str().into()), None],
            ScheduleOwner::Sensor(sensor) => vec![None, Some(sensor.as_str().into())],
        }
    }

    fn life(&self) -> Life {
        Life::Alive
    }
}

impl Schedule {
    fn set(fact: &ScheduleSet, record: &Record) -> Self {
        Self {
            id: fact.schedule,
            owner: fact.owner.clone(),
            words: cut(&fact.words, WORDS_BYTES_MAX),
            position: record.position,
            set_at: record.time,
            next_at: None,
            fired_at: None,
            missed: None,
            is_over: false,
        }
    }
}
