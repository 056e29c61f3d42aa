//! The state of timers: the pending ones in the order in which they are due, and the steps of the clock.
//!
//! Timers that wait for a duration are stored by elapsed time, which no step of the clock changes. A step
//! moves all of them at once, however many there are.

use serde::{Deserialize, Serialize};

use crate::fact::{HealthFact, ScheduleFact, TimerFact};
use crate::health::facts::ClockStepped;
use crate::ids::{EnforcementId, ExecutionId, Id, LogId, Role, ScheduleId};
use crate::record::{Position, Record, StreamId};
use crate::table::{Table, undone_together};
use crate::time::Timestamp;
use crate::timers::facts::{RunsBy, TimerKind};

/// How far the clock must step forward so that timers that run by it are held, in microseconds: an hour.
pub const HELD_FROM_MICROS: i64 = 3_600_000_000;
/// How long these timers are held, in milliseconds: ten minutes.
pub const HELD_FOR_MILLIS: u64 = 600_000;

/// The pending timers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timers {
    /// Timers that wait for a duration, by the elapsed time at which they fire: microseconds without the
    /// clock's steps.
    lasting: Table<(i64, TimerId), ()>,
    /// Timers that wait for a time of the clock.
    dated: Table<(Timestamp, TimerId), ()>,
    /// The key of each timer in its list: the elapsed time, or the clock's time, in microseconds.
    places: Table<TimerId, i64>,
    /// The timers of paused executions: they are in neither list until these are resumed.
    aside: Table<TimerId, ()>,
    /// The sum of all steps of the clock, in microseconds, under the only key 0.
    stepped: Table<u8, i64>,
    /// The position of the last step, under the only key 0.
    stepped_at: Table<u8, Position>,
    /// The step that holds timers, under the only key 0.
    hold: Table<u8, Hold>,
}

undone_together!(pub(crate) Timers { lasting, dated, places, aside, stepped, stepped_at, hold });

/// The identity of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimerId {
    /// Its owner.
    pub owner: TimerOwner,
    /// Its purpose.
    pub kind: TimerKind,
    /// Its number among those of its kind, from 1.
    pub number: u32,
}

/// The owner of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerOwner {
    /// An execution.
    Execution(ExecutionId),
    /// A schedule of a rule or a sensor.
    Schedule(ScheduleId),
    /// A held enforcement.
    Enforcement(EnforcementId),
}

/// A step of the clock that is not trusted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The time before the step.
    pub from: Timestamp,
    /// The time after the step.
    pub to: Timestamp,
    /// When the step has lasted long enough, by the clock as it is now.
    pub until: Timestamp,
}

impl Hold {
    /// Returns the time before a step of the clock, and the hold after it. A step far forward may be an error that is soon
    /// corrected. The time before a correction is the one that the clock would show without the step that holds.
    pub(crate) fn after(last: Option<Self>, step: &ClockStepped, now: Timestamp) -> (Timestamp, Option<Self>) {
        let ClockStepped { from, to } = *step;
        let before = match last {
            Some(hold) if from < hold.until => Timestamp::from_micros(hold.from.micros().saturating_add(from.micros_since(hold.to))),
            Some(_) | None => from,
        };
        let is_far = to.micros_since(before) > HELD_FROM_MICROS;
        (before, is_far.then(|| Self { from: before, to, until: now.max(to).plus_millis(HELD_FOR_MILLIS) }))
    }
}

impl TimerId {
    /// Returns the id of the record that sets it.
    pub fn record_id(self, log: LogId) -> Id {
        match self.owner {
            TimerOwner::Execution(execution) => Id::derive(log, execution.0, Role::Timer(self.kind, self.number)),
            TimerOwner::Schedule(schedule) => Id::derive(log, schedule.0, Role::Timer(self.kind, self.number)),
            TimerOwner::Enforcement(enforcement) => Id::derive(log, enforcement.0, Role::Timer(self.kind, self.number)),
        }
    }
}

impl TimerOwner {
    /// Returns the schedule, or `None` if the owner is something else.
    pub fn schedule(self) -> Option<ScheduleId> {
        match self {
            Self::Execution(_) | Self::Enforcement(_) => None,
            Self::Schedule(schedule) => Some(schedule),
        }
    }
}

impl Timers {
    /// Returns the number of pending timers.
    pub fn pending(&self) -> usize {
        self.places.len()
    }

    /// Returns when the next timer fires, by the clock as it is now, or `None` if none is pending.
    pub fn next_due(&self) -> Option<Timestamp> {
        let lasting = self.lasting.first().map(|((elapsed, _), ())| self.by_clock(*elapsed));
        let dated = self.dated.first().map(|((due, _), ())| self.not_held(*due));
        lasting.into_iter().chain(dated).min()
    }

    /// Returns at most `most` timers that may fire now, each with its due time, the oldest first.
    pub fn due(&self, now: Timestamp, most: usize) -> Vec<(TimerId, Timestamp)> {
        let lasting = self.lasting.iter().map(|((elapsed, id), ())| (*id, self.by_clock(*elapsed)));
        let is_held = self.hold(now).is_some();
        let dated = self.dated.iter().map(|((due, id), ())| (*id, *due)).take(if is_held { 0 } else { most });
        let is_due = |(_, due): &(TimerId, Timestamp)| *due <= now;
        let mut due: Vec<_> = lasting.take(most).take_while(is_due).chain(dated.take_while(is_due)).collect();
        due.sort_by_key(|(id, due)| (*due, *id));
        due.truncate(most);
        due
    }

    /// Returns the timers of an owner, each with the time when it fires, by the clock as it is now.
    pub fn of(&self, owner: TimerOwner) -> impl Iterator<Item = (TimerId, Timestamp)> {
        let (first, last) =
            (TimerId { owner, kind: TimerKind::Retry, number: 0 }, TimerId { owner, kind: TimerKind::Hold, number: u32::MAX });
        self.places.range(first..=last).map(|(id, place)| (*id, self.due_at(*id, *place)))
    }

    /// Returns the step of the clock that now holds the timers that run by the clock.
    pub fn hold(&self, now: Timestamp) -> Option<Hold> {
        self.last_hold().filter(|hold| now < hold.until)
    }

    /// Returns when work that is due by the clock at a time may be done: then, or when a step of the clock no
    /// longer holds it.
    pub(crate) fn not_held(&self, due: Timestamp) -> Timestamp {
        self.last_hold().map_or(due, |hold| hold.until.max(due))
    }

    /// Returns the number of timers that the clock's step holds now.
    pub fn held_count(&self, now: Timestamp) -> usize {
        if self.hold(now).is_some() { self.dated.len() } else { 0 }
    }

    /// Returns true if the clock has stepped since a record was written: the record's time is then not by the
    /// clock as it is now.
    pub fn has_stepped_since(&self, position: Position) -> bool {
        self.stepped_at.get(&0).is_some_and(|stepped| *stepped > position)
    }

    /// Converts a time to elapsed time: microseconds without the clock's steps.
    pub(crate) fn elapsed(&self, at: Timestamp) -> i64 {
        at.micros().saturating_sub(self.total_step())
    }

    fn last_hold(&self) -> Option<Hold> {
        self.hold.get(&0).copied()
    }

    fn total_step(&self) -> i64 {
        self.stepped.get(&0).copied().unwrap_or(0)
    }

    /// Converts elapsed time to a time by the clock as it is now.
    fn by_clock(&self, elapsed: i64) -> Timestamp {
        Timestamp::from_micros(elapsed.saturating_add(self.total_step()))
    }

    fn due_at(&self, id: TimerId, place: i64) -> Timestamp {
        match id.kind.runs_by() {
            RunsBy::Elapsed => self.by_clock(place),
            RunsBy::Clock => Timestamp::from_micros(place),
        }
    }

    pub(crate) fn apply(&mut self, record: &Record, fact: TimerFact<'_>) {
        let schedule = match fact {
            TimerFact::TimerSet(fact) => fact.schedule,
            TimerFact::TimerFired(fact) => fact.schedule,
        };
        let Some(owner) = schedule.map(TimerOwner::Schedule).or_else(|| owner_of(&record.stream)) else { return };
        match fact {
            TimerFact::TimerSet(fact) => {
                let id = TimerId { owner, kind: fact.kind, number: fact.number };
                self.forget(id);
                let due = fact.due.micros();
                let place = match fact.kind.runs_by() {
                    RunsBy::Elapsed => self.elapsed(fact.due),
                    RunsBy::Clock => due,
                };
                match fact.kind.runs_by() {
                    RunsBy::Elapsed => self.lasting.insert((place, id), ()),
                    RunsBy::Clock => self.dated.insert((fact.due, id), ()),
                }
                self.places.insert(id, place);
            }
            TimerFact::TimerFired(fact) => self.forget(TimerId { owner, kind: fact.kind, number: fact.number }),
        }
    }

    /// Folds a fact about the clock.
    pub(crate) fn apply_clock(&mut self, record: &Record, fact: HealthFact<'_>) {
        match fact {
            HealthFact::ClockStepped(fact) => {
                let by = fact.to.micros_since(fact.from);
                match Hold::after(self.last_hold(), fact, record.time) {
                    // Timers that run by the clock wait until the step has lasted.
                    (_, Some(hold)) => self.hold.insert(0, hold),
                    (_, None) => self.hold.remove(&0),
                }
                self.stepped.insert(0, self.total_step().saturating_add(by));
                self.stepped_at.insert(0, record.position);
            }
            HealthFact::ClockAccepted(_) => self.hold.remove(&0),
            HealthFact::NodeStarted(_)
            | HealthFact::LogRestored(_)
            | HealthFact::ReactionDeferred(_)
            | HealthFact::ReactionResumed(_)
            | HealthFact::ReactionHeld(_)
            | HealthFact::ReactionParked(_)
            | HealthFact::ReactionRetried(_)
            | HealthFact::ReactionDismissed(_) => {}
        }
    }

    /// Drops the timers of an owner that has ended.
    pub(crate) fn forget_all(&mut self, stream: &StreamId) {
        if let Some(owner) = owner_of(stream) {
            self.forget_all_of(owner);
        }
    }

    /// Folds a fact about a schedule: drops the timers of one that has ended.
    pub(crate) fn apply_schedule(&mut self, fact: ScheduleFact<'_>) {
        match fact {
            ScheduleFact::ScheduleEnded(fact) => self.forget_all_of(TimerOwner::Schedule(fact.schedule)),
            ScheduleFact::ScheduleSet(_) | ScheduleFact::ScheduleMissed(_) => {}
        }
    }

    /// Sets the timers of an owner aside, because it or something around it is paused.
    pub(crate) fn set_aside(&mut self, owner: TimerOwner) {
        let ids: Vec<TimerId> = self.of(owner).map(|(id, _)| id).filter(|id| !self.aside.contains(id)).collect();
        for id in ids {
            self.take_out(id);
            self.aside.insert(id, ());
        }
    }

    /// Restores the timers of an owner: those that came due meanwhile fire.
    pub(crate) fn put_back(&mut self, owner: TimerOwner) {
        let ids: Vec<TimerId> = self.of(owner).map(|(id, _)| id).filter(|id| self.aside.contains(id)).collect();
        for id in ids {
            let Some(place) = self.places.get(&id).copied() else { continue };
            self.aside.remove(&id);
            match id.kind.runs_by() {
                RunsBy::Elapsed => self.lasting.insert((place, id), ()),
                RunsBy::Clock => self.dated.insert((Timestamp::from_micros(place), id), ()),
            }
        }
    }

    fn forget_all_of(&mut self, owner: TimerOwner) {
        let ids: Vec<TimerId> = self.of(owner).map(|(id, _)| id).collect();
        for id in ids {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: TimerId) {
        self.take_out(id);
        self.aside.remove(&id);
        self.places.remove(&id);
    }

    /// Removes a timer from its list.
    fn take_out(&mut self, id: TimerId) {
        let Some(place) = self.places.get(&id).copied() else { return };
        match id.kind.runs_by() {
            RunsBy::Elapsed => self.lasting.remove(&(place, id)),
            RunsBy::Clock => self.dated.remove(&(Timestamp::from_micros(place), id)),
        }
    }
}

fn owner_of(stream: &StreamId) -> Option<TimerOwner> {
    match stream {
        StreamId::Execution(execution) => Some(TimerOwner::Execution(*execution)),
        StreamId::Enforcement(enforcement) => Some(TimerOwner::Enforcement(*enforcement)),
        StreamId::Event(_)
        | StreamId::Token(_)
        | StreamId::Pack(_)
        | StreamId::Rule(_)
        | StreamId::Sensor(_)
        | StreamId::Key(_)
        | StreamId::Var(_)
        | StreamId::Identity(_)
        | StreamId::Role(_)
        | StreamId::Grant(_)
        | StreamId::Session(_)
        | StreamId::Log(_) => None,
    }
}
