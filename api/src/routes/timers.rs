//! Timers: the pending times of schedules of rules and sensors.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use ensue_engine::catalog::Source;
use ensue_engine::schedule::facts::ScheduleOwner;
use ensue_engine::schedule::plan::Plan;
use ensue_engine::time::Timestamp;
use ensue_views::RowReach;
use ensue_views::store::LIST_ROWS_MAX;
use ensue_views::{Column, ListQuery, Row, Schedule, ViewName};

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::deliveries;
use crate::listing::{self, SortQuery};
use crate::operation::Operation;
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::TimersRead;
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::Query;
use crate::respond;
use crate::wire::timers::{WireDue, WireTimer, WireUpcoming};

/// The maximum number of due times in one answer.
const DUE_MAX: usize = 1_000;
/// The maximum number of due times that are skipped because the period begins later.
const SKIPPED_MAX: usize = 100_000;
/// The period without an end: a week.
const PERIOD_MILLIS: u64 = 7 * 24 * 3_600 * 1_000;

/// The parameters that select timers by their owners.
#[derive(Query)]
struct TimerQuery {
    /// Only those with one of these names.
    #[query(column)]
    rule: Vec<String>,
    /// Only those with this name or id.
    #[query(column)]
    sensor: Option<String>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<TimersRead>(
        "/timers",
        list,
        Operation::lists::<WireTimer>(
            "timer_list",
            "Lists the timers of the schedules of rules and sensors, last set first",
            &[TimerQuery::PARAMETERS, PeriodQuery::PARAMETERS, SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<TimersRead>(
        "/timers/upcoming",
        upcoming,
        Operation::shows::<WireUpcoming>("timer_upcoming", "Returns when schedules are due within a period, earliest first")
            .with_query(&[PeriodQuery::PARAMETERS])
            .sees_views(),
    );
}

/// Shows when schedules are due within a period.
pub(super) async fn upcoming(_: AllowedCaller<TimersRead>, call: Call) -> Outcome {
    let PeriodQuery { since, until } = call.parameters()?;
    let since = since.unwrap_or_else(deliveries::now);
    let until = until.unwrap_or_else(|| since.plus_millis(PERIOD_MILLIS));
    let catalog = call.api().ports.installed.current();
    let read = move |ports: &Ports| -> Result<WireUpcoming, Problem> {
        let rules =
            catalog.rules().values().filter_map(|rule| Some((ScheduleOwner::Rule(rule.name.clone(), rule.id), rule.schedule.clone()?)));
        let sensors = catalog.sensors().values().filter_map(|sensor| match &sensor.source {
            Source::Timer { schedule, .. } => Some((ScheduleOwner::Sensor(sensor.name.clone()), schedule.clone())),
            Source::Webhook { .. } | Source::Process(_) | Source::Poll(_) | Source::File(_) => None,
        });
        let mut pending = Vec::new();
        for (owner, plan) in rules.chain(sensors) {
            // A schedule that is disabled or over has no next time.
            let next = of(ports, &owner)?.and_then(|schedule| schedule.next_at);
            pending.extend(next.map(|next| PendingTimer { owner, plan, next }));
        }
        let (due, truncated) = due_within(&pending, since, until);
        let items = due.into_iter().map(|(at, place)| WireDue::new(at, &pending[place].owner)).collect();
        Ok(WireUpcoming { since, until, items, truncated })
    };
    respond::json(&call.api().threads.explaining(read).await??)
}

/// Returns the next time of each schedule that is due before a time, the earliest first. Blocking.
pub(super) fn next_of_each(ports: &Ports, until: Timestamp, most: usize) -> Result<Vec<WireDue>, Problem> {
    let catalog = ports.installed.current();
    let rows = ports.views.list(&ListQuery { limit: LIST_ROWS_MAX, ..ListQuery::newest(ViewName::Schedules, RowReach::Everything) })?;
    let schedules: Vec<Schedule> = rows.iter().map(Row::read).collect::<Result<_, _>>()?;
    let due = schedules.into_iter().filter(|schedule| catalog.schedules().contains_key(&schedule.owner));
    let due = due.filter_map(|schedule| Some((schedule.next_at.filter(|next| *next < until)?, schedule.owner)));
    let mut due: Vec<(Timestamp, ScheduleOwner)> = due.collect();
    due.sort_by_key(|(at, _)| *at);
    Ok(due.into_iter().take(most).map(|(at, owner)| WireDue::new(at, &owner)).collect())
}

/// A schedule with its next time.
struct PendingTimer {
    owner: ScheduleOwner,
    plan: Arc<Plan>,
    next: Timestamp,
}

/// Returns the due times within a period in their order, each with the place of its schedule, and whether there are
/// more than are returned.
fn due_within(pending: &[PendingTimer], since: Timestamp, until: Timestamp) -> (Vec<(Timestamp, usize)>, bool) {
    let (mut due, mut skipped) = (Vec::new(), 0);
    let mut queue: BinaryHeap<Reverse<(Timestamp, usize)>> =
        pending.iter().enumerate().map(|(place, pending)| Reverse((pending.next, place))).collect();
    while let Some(Reverse((at, place))) = queue.pop().filter(|Reverse((at, _))| *at < until) {
        if at < since {
            skipped += 1;
        } else if due.len() < DUE_MAX {
            due.push((at, place));
        } else {
            return (due, true);
        }
        if skipped > SKIPPED_MAX {
            return (due, true);
        }
        queue.extend(pending[place].plan.next(at).filter(|next| *next > at).map(|next| Reverse((next, place))));
    }
    (due, false)
}

/// Lists the pending timers, most recently set first.
pub(super) async fn list(allowed: AllowedCaller<TimersRead>, call: Call) -> Outcome {
    let listed = listing::rows::<Schedule, _>(&call, &allowed, call.parameters::<TimerQuery>()?.filters()).await?;
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

#[cfg(test)]
mod tests {
    use ensue_engine::schedule::plan::When;
    use ensue_engine::schedule::{Cron, Zone};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hourly(sensor: &str, minute: u32, next: &str) -> PendingTimer {
        let cron = Cron::parse(&format!("{minute} * * * *"), Zone::UTC).unwrap();
        let plan = Plan::new(When::Cron(Box::new(cron)));
        PendingTimer { owner: ScheduleOwner::Sensor(sensor.parse().unwrap()), plan: Arc::new(plan), next: at(next) }
    }

    #[test]
    fn due_times_of_several_schedules_are_in_their_order() {
        let pending = [hourly("a.one", 30, "2026-03-28T09:30:00Z"), hourly("a.two", 0, "2026-03-28T10:00:00Z")];
        let (due, is_cut) = due_within(&pending, at("2026-03-28T10:00:00Z"), at("2026-03-28T12:00:00Z"));
        let times: Vec<(String, usize)> = due.into_iter().map(|(at, place)| (at.to_string()[11..16].to_owned(), place)).collect();
        let expected = [("10:00", 1), ("10:30", 0), ("11:00", 1), ("11:30", 0)];
        assert_eq!((times, is_cut), (expected.map(|(time, place)| (time.to_owned(), place)).to_vec(), false));
    }

    #[test]
    fn due_times_are_cut_at_their_limit() {
        let pending = [hourly("a.one", 30, "2026-03-28T09:30:00Z")];
        let (due, is_cut) = due_within(&pending, at("2026-03-28T09:00:00Z"), at("2027-03-28T09:00:00Z"));
        assert_eq!((due.len(), is_cut), (DUE_MAX, true));
    }
}
