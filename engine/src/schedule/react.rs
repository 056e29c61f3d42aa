//! Reactions of schedules: changes of packs and rule modes set and end them, and a timer that fires creates
//! events.

use crate::catalog::{Catalog, Mode};
use crate::command::Context;
use crate::fact::Fact;
use crate::ids::{Id, LogId, Role, ScheduleId};
use crate::names::{PackName, RuleRef, SensorRef};
use crate::reaction::Reaction;
use crate::record::{Draft, Position, Record};
use crate::schedule::emits;
use crate::schedule::facts::{EndedBecause, ScheduleEnded, ScheduleMissed, ScheduleOwner, ScheduleSet};
use crate::schedule::plan::{DueDecision, Plan};
use crate::schedule::state::{Phase, Schedule};
use crate::state::State;
use crate::time::Timestamp;
use crate::timers::facts::{TimerFired, TimerKind, TimerSet};
use crate::timers::set::begin_of_wait;
use crate::timers::state::{TimerId, TimerOwner};

/// The maximum number of schedules that one consequence of a record sets or ends; the others follow in the
/// next consequence.
const ALIGNED_AT_ONCE_MAX: usize = 100;

/// The schedules that a record may have changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ChangedDefinitions<'a> {
    /// The schedules of a pack.
    Pack(&'a PackName),
    /// The schedule of a rule.
    Rule(&'a RuleRef),
}

impl ChangedDefinitions<'_> {
    /// Returns true if a rule is among those that may have changed.
    pub(crate) fn is_of_rule(self, rule: &RuleRef) -> bool {
        match self {
            Self::Pack(pack) => rule.pack() == *pack,
            Self::Rule(changed) => rule == changed,
        }
    }

    /// Returns true if a sensor is among those that may have changed.
    pub(crate) fn is_of_sensor(self, sensor: &SensorRef) -> bool {
        match self {
            Self::Pack(pack) => sensor.pack() == *pack,
            Self::Rule(_) => false,
        }
    }

    fn covers(self, owner: &ScheduleOwner) -> bool {
        match (self, owner) {
            (_, ScheduleOwner::Rule(rule, _)) => self.is_of_rule(rule),
            (_, ScheduleOwner::Sensor(sensor)) => self.is_of_sensor(sensor),
        }
    }
}

/// Sets and ends the schedules that a record may have changed. The result depends only on what is installed
/// and what runs, so doing it again changes nothing.
pub(crate) fn follow(state: &State, record: &Record, changed: ChangedDefinitions<'_>, with: &Context<'_>) -> Reaction {
    let revision = state.catalog_revision();
    match with.catalogs.at(revision) {
        Some(catalog) => align_schedules(state, record, &catalog, |owner| changed.covers(owner)),
        None => Reaction::Impossible(format!("the catalog of revision {revision} cannot be built")),
    }
}

/// Sets missing schedules when a node starts. A reaction that was parked, because a catalog could not be
/// built or because of an internal error, does not stop a schedule permanently.
pub(crate) fn at_start(state: &State, record: &Record, with: &Context<'_>) -> Option<Reaction> {
    let catalog = with.catalogs.at(state.catalog_revision())?;
    align_schedules(state, record, &catalog, |_| true).unless_nothing()
}

fn align_schedules(state: &State, record: &Record, catalog: &Catalog, is_asked: impl Fn(&ScheduleOwner) -> bool) -> Reaction {
    let about = ScheduleReaction { state, record };
    let running = state.schedules().iter().filter(|(_, schedule)| is_asked(&schedule.owner));
    let unwanted = running.filter_map(|(id, schedule)| about.end_of(id, schedule, catalog));
    let mut drafts: Vec<Draft> = unwanted.take(ALIGNED_AT_ONCE_MAX).collect();
    // End the old schedule before setting the new one, or else the rule would have two.
    if drafts.len() == ALIGNED_AT_ONCE_MAX {
        return Reaction::more(drafts);
    }
    let wanted = catalog.schedules().iter().filter(|(owner, _)| is_asked(owner) && is_wanted(state, catalog, owner));
    let missing: Vec<_> = wanted.filter_map(|(owner, plan)| about.begin_of(owner, plan)).take(ALIGNED_AT_ONCE_MAX).collect();
    let is_all = missing.len() < ALIGNED_AT_ONCE_MAX;
    drafts.extend(missing.into_iter().flatten());
    if is_all { Reaction::last(drafts) } else { Reaction::more(drafts) }
}

/// Returns true if the owner should have a schedule. A disabled rule should not.
fn is_wanted(state: &State, catalog: &Catalog, owner: &ScheduleOwner) -> bool {
    match owner {
        ScheduleOwner::Rule(rule, _) => catalog.rules().get(rule).is_some_and(|rule| !matches!(state.rules().mode(rule), Mode::Disabled)),
        ScheduleOwner::Sensor(_) => true,
    }
}

/// A record, to compute its consequences.
struct ScheduleReaction<'a> {
    state: &'a State,
    record: &'a Record,
}

impl ScheduleReaction<'_> {
    /// Returns the end of a schedule that should no longer run as it is.
    fn end_of(&self, id: ScheduleId, schedule: &Schedule, catalog: &Catalog) -> Option<Draft> {
        let is_there = match &schedule.owner {
            ScheduleOwner::Rule(rule, id) => catalog.rules().get(rule).is_some_and(|rule| rule.id == *id),
            ScheduleOwner::Sensor(sensor) => catalog.sensors().contains_key(sensor),
        };
        let plan = catalog.schedules().get(&schedule.owner);
        let why = match plan {
            _ if !is_there => EndedBecause::Removed,
            Some(plan) if plan.digest() != schedule.plan => EndedBecause::Changed,
            None => EndedBecause::Changed,
            Some(_) if !is_wanted(self.state, catalog, &schedule.owner) => EndedBecause::Disabled,
            Some(_) => return None,
        };
        Some(self.draft(&schedule.owner, None, ScheduleEnded { schedule: id, why }.into()))
    }

    /// Returns the start of a schedule that is missing, or its next timer if it has none.
    fn begin_of(&self, owner: &ScheduleOwner, plan: &Plan) -> Option<Vec<Draft>> {
        let before = self.state.schedules().of(owner).filter(|(_, schedule)| schedule.plan == plan.digest());
        match before {
            None => {
                let id = ScheduleId(Id::derive(self.state.log(), self.record.id, Role::Schedule(&owner.stream())));
                let set = ScheduleSet { schedule: id, owner: owner.clone(), plan: plan.digest(), words: plan.to_string() };
                let first = plan.first(begin_of_wait(self.state, self.record));
                Some(vec![self.draft(owner, Some(id.0), set.into()), self.waits(owner, (id, 1), plan, first)])
            }
            Some((id, schedule)) => match schedule.phase {
                Phase::Waiting | Phase::Over => None,
                Phase::Set => {
                    let first = plan.first(begin_of_wait(self.state, self.record));
                    Some(vec![self.waits(owner, (id, schedule.timers + 1), plan, first)])
                }
                // The consequences may still be owed, and will compute the same next time.
                Phase::Fired { kind, due, at, position } => {
                    let due = put_back(self.state.log(), (id, kind, schedule.timers), plan, due);
                    let next = next_after(self.state, plan, plan.occasion(due, at), position);
                    Some(vec![self.waits(owner, (id, schedule.timers + 1), plan, next)])
                }
            },
        }
    }

    /// Returns the timer for the next time of a schedule, or its end if there is no next time.
    fn waits(&self, owner: &ScheduleOwner, (id, number): (ScheduleId, u32), plan: &Plan, time: Option<Timestamp>) -> Draft {
        let Some(time) = time else {
            return self.draft(owner, None, ScheduleEnded { schedule: id, why: EndedBecause::Over }.into());
        };
        let (kind, log) = (plan.timer_kind(), self.state.log());
        let due = Timestamp::from_micros(time.micros().saturating_add(put_off(log, (id, kind, number), plan)));
        let timer = TimerId { owner: TimerOwner::Schedule(id), kind, number };
        self.draft(owner, Some(timer.record_id(log)), TimerSet { kind, number, due, schedule: Some(id) }.into())
    }

    fn draft(&self, owner: &ScheduleOwner, begins: Option<Id>, fact: Fact) -> Draft {
        let cause = Some(self.record.cause.from_parent(self.record.id));
        Draft::by_engine(owner.stream(), fact).beginning(begins).because(cause)
    }
}

/// Returns the delay of a timer, in microseconds: a share of the plan's jitter that follows from the timer's
/// id.
fn put_off(log: LogId, (id, kind, number): (ScheduleId, TimerKind, u32), plan: &Plan) -> i64 {
    let jitter = u64::try_from(plan.jitter.as_millis()).unwrap_or(u64::MAX);
    if jitter == 0 {
        return 0;
    }
    let timer = TimerId { owner: TimerOwner::Schedule(id), kind, number }.record_id(log);
    let bits = timer.as_bytes().iter().skip(9).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    i64::try_from(bits % jitter).unwrap_or(0) * 1_000
}

/// Returns the time of a schedule without the delay of its timer.
fn put_back(log: LogId, timer: (ScheduleId, TimerKind, u32), plan: &Plan, due: Timestamp) -> Timestamp {
    Timestamp::from_micros(due.micros() - put_off(log, timer, plan))
}

/// Returns the time after an occasion. If the clock has stepped since the record `told_at`, it is unknown how
/// much of a period has passed: the period starts now.
fn next_after(state: &State, plan: &Plan, occasion: DueDecision, told_at: Position) -> Option<Timestamp> {
    let has_moved = plan.timer_kind() == TimerKind::Interval && state.timers().has_stepped_since(told_at);
    if has_moved { plan.first(state.time()) } else { occasion.next }
}

/// Returns the consequences of a schedule's timer that has fired: the events of its time, and the next timer.
///
/// They are a single consequence, so either all of them are recorded or none. If none are, [`at_start`] sets
/// the next timer.
pub(crate) fn react_to_timer(state: &State, record: &Record, fact: &TimerFired, id: ScheduleId, with: &Context<'_>) -> Reaction {
    let Some(schedule) = state.schedules().get(id) else { return Reaction::nothing() };
    let revision = state.catalog_revision();
    let Some(catalog) = with.catalogs.at(revision) else {
        return Reaction::Impossible(format!("the catalog of revision {revision} cannot be built"));
    };
    let plan = catalog.schedules().get(&schedule.owner).filter(|plan| plan.digest() == schedule.plan);
    // The change that removed its plan ends the schedule.
    let Some(plan) = plan else { return Reaction::nothing() };
    let occasion = plan.occasion(put_back(state.log(), (id, fact.kind, fact.number), plan, fact.due), record.time);
    let about = ScheduleReaction { state, record };
    let mut drafts = Vec::new();
    if let Some((from, until)) = occasion.missed {
        let missed = ScheduleMissed { schedule: id, from, until, misfire: plan.misfire };
        drafts.push(about.draft(&schedule.owner, None, missed.into()));
    }
    if let Some(scheduled_at) = occasion.fires {
        match emits::events(state, record, &schedule.owner, scheduled_at, &catalog) {
            Ok(events) => drafts.extend(events),
            Err(why) => return Reaction::Impossible(why),
        }
    }
    if schedule.timers == fact.number && schedule.phase != Phase::Over {
        let next = next_after(state, plan, occasion, record.position);
        drafts.push(about.waits(&schedule.owner, (id, fact.number.saturating_add(1)), plan, next));
    }
    Reaction::last(drafts)
}
