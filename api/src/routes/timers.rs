//! Timers: the pending times of schedules of rules and sensors.

use ensue_engine::schedule::facts::ScheduleOwner;
use ensue_views::RowReach;
use ensue_views::{Column, ListQuery, Row, Schedule, ViewName};

use super::Routes;
use crate::auth::Allowed;
use crate::call::Call;
use crate::listing;
use crate::operation::Operation;
use crate::permissions::TimersRead;
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::wire::timers::WireTimer;

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<TimersRead>(
        "/timers",
        list,
        Operation::lists::<WireTimer>(
            "timer_list",
            "Lists the timers of the schedules of rules and sensors, last set first",
            &["rule", "sensor", "since", "until", "sort", "limit", "cursor"],
        )
        .sees_views(),
    );
}

/// Lists the pending timers, most recently set first.
pub(super) async fn list(allowed: Allowed<TimersRead>, call: Call) -> Outcome {
    let listed = listing::rows::<Schedule, _>(&call, &allowed, &[Column::Rule, Column::Sensor]).await?;
    let items = listed.items.into_iter().map(WireTimer::from).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Reads the pending time of a rule's or a sensor's schedule; none if there is none. Blocking.
pub(super) fn of(ports: &Ports, owner: &ScheduleOwner) -> Result<Option<Schedule>, Problem> {
    let (column, name) = match owner {
        ScheduleOwner::Rule(rule, _) => (Column::Rule, rule.as_str()),
        ScheduleOwner::Sensor(sensor) => (Column::Sensor, sensor.as_str()),
    };
    let rows = ports.views.list(&ListQuery::newest(ViewName::Schedules, RowReach::Everything).with(column, name))?;
    let all: Vec<Schedule> = rows.iter().map(Row::read).collect::<Result<_, _>>()?;
    // A rule that was deleted and created again has the same ref, but is a different rule.
    Ok(all.into_iter().find(|schedule| schedule.owner == *owner))
}
