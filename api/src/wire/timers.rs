//! The pending times of schedules of rules and sensors.

use ensue_derive::wire;
use ensue_engine::ids::ScheduleId;
use ensue_engine::names::{RuleRef, SensorRef};
use ensue_engine::record::Position;
use ensue_engine::schedule::facts::ScheduleOwner;
use ensue_engine::schedule::plan::{Misfire, Plan};
use ensue_engine::time::Timestamp;
use ensue_views::Schedule;
use ensue_views::schedules::MissedTimes;
use serde::Serialize;

/// A pending timer: the next time of a schedule.
#[wire(Serialize)]
pub(crate) struct WireTimer {
    id: ScheduleId,
    position: Position,
    rule: Option<RuleRef>,
    sensor: Option<SensorRef>,
    /// The plan in words.
    plan: String,
    set_at: Timestamp,
    next_at: Option<Timestamp>,
    fired_at: Option<Timestamp>,
    missed: Option<WireMissed>,
    is_over: bool,
}

/// The schedule of a rule or a sensor, as written, and its pending time.
#[wire(Serialize)]
pub(crate) struct WireSchedule {
    /// The plan in words.
    plan: String,
    misfire: Misfire,
    next_at: Option<Timestamp>,
    fired_at: Option<Timestamp>,
    missed: Option<WireMissed>,
    is_over: bool,
}

/// Times at which nothing could fire.
#[wire(Serialize)]
struct WireMissed {
    from: Timestamp,
    until: Timestamp,
    misfire: Misfire,
}

impl From<MissedTimes> for WireMissed {
    fn from(missed: MissedTimes) -> Self {
        Self { from: missed.from, until: missed.until, misfire: missed.misfire }
    }
}

impl From<Schedule> for WireTimer {
    fn from(schedule: Schedule) -> Self {
        let (rule, sensor) = match schedule.owner {
            ScheduleOwner::Rule(rule, _) => (Some(rule), None),
            ScheduleOwner::Sensor(sensor) => (None, Some(sensor)),
        };
        Self {
            id: schedule.id,
            position: schedule.position,
            rule,
            sensor,
            plan: schedule.words,
            set_at: schedule.set_at,
            next_at: schedule.next_at,
            fired_at: schedule.fired_at,
            missed: schedule.missed.map(WireMissed::from),
            is_over: schedule.is_over,
        }
    }
}

impl WireSchedule {
    /// Shows a plan with its pending time; there is none if the rule is disabled.
    pub(crate) fn new(plan: &Plan, waiting: Option<Schedule>) -> Self {
        Self {
            plan: plan.to_string(),
            misfire: plan.misfire,
            next_at: waiting.as_ref().and_then(|waiting| waiting.next_at),
            fired_at: waiting.as_ref().and_then(|waiting| waiting.fired_at),
            missed: waiting.as_ref().and_then(|waiting| waiting.missed).map(WireMissed::from),
            is_over: waiting.is_some_and(|waiting| waiting.is_over),
        }
    }
}

/// When schedules are due within a period.
#[wire(Serialize)]
pub(crate) struct WireUpcoming {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// At most 1,000, the earliest first. The first time of a schedule includes its jitter.
    pub(crate) items: Vec<WireDue>,
    pub(crate) truncated: bool,
}

/// A time at which a schedule is due.
#[wire(Serialize)]
pub(crate) struct WireDue {
    at: Timestamp,
    rule: Option<RuleRef>,
    sensor: Option<SensorRef>,
}

impl WireDue {
    pub(crate) fn new(at: Timestamp, owner: &ScheduleOwner) -> Self {
        match owner {
            ScheduleOwner::Rule(rule, _) => Self { at, rule: Some(rule.clone()), sensor: None },
            ScheduleOwner::Sensor(sensor) => Self { at, rule: None, sensor: Some(sensor.clone()) },
        }
    }
}
