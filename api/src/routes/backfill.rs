//! Backfill: running the times of a rule's schedule that did not fire in a range.
//!
//! The core (`schedule/plan.rs`) decides when a rule is due, and that only the rule itself judges its
//! schedule's events. This file finds the times of a range that have an event, and creates an event for each
//! time that has none.

use ensue_views::RowReach;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;

use bytes::Bytes;
use ensue_engine::catalog::{Mode, Rule};
use ensue_engine::command::{Answer, Ask, Conflict, Dedupe, DedupeKey, ObservedEvent};
use ensue_engine::explain::Explain;
use ensue_engine::ids::EventId;
use ensue_engine::names::RuleRef;
use ensue_engine::record::Digest;
use ensue_engine::schedule::SCHEDULE_TRIGGER;
use ensue_engine::schedule::plan::{Plan, When};
use ensue_engine::time::Timestamp;
use ensue_views::store::{LIST_ROWS_MAX, Order};
use ensue_views::{Column, Event, ListQuery, Row, RuleActivity, ViewName};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

use super::Routes;
use super::rules::rule_of;
use crate::auth::AllowedCaller;
use crate::body;
use crate::call::Call;
use crate::deliveries;
use crate::operation::{DryRunQuery, Operation};
use crate::permissions::{Permission as _, RulesRead, RulesWrite};
use crate::ports::{GivenEvent, Ports};
use crate::problem::{Outcome, Problem};
use crate::respond;
use crate::rows::read_row;
use crate::wire::WireList;
use crate::wire::backfill::{WireBackfill, WireMadeUpFor};

/// The maximum number of times in one request.
const TIMES_MAX: usize = 1_000;
/// The maximum number of the schedule's events that are searched for times that fired.
const EVENTS_MAX: usize = 20_000;

/// Why a backfill is refused.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "backfill-refused", fault = Invalid)]
enum BackfillRefused {
    /// The rule has no schedule.
    #[error("the rule `{0}` has no schedule")]
    #[explain(hint = "send the rule an event of its trigger: `ensue events send`")]
    NoSchedule(RuleRef),
    /// It would have no effect.
    #[error("the rule `{0}` is disabled, so its times would have no effect")]
    #[explain(fault = Conflict, hint = "run `ensue rules set {0} enabled`, or use `shadow` to see what the rule would do")]
    Disabled(RuleRef),
    /// Its times do not depend on the clock.
    #[error("the rule `{0}` runs at an interval since it was set, so its past times cannot be computed from a clock")]
    #[explain(hint = "use `cron` instead of `every`, or run its action with `ensue run`")]
    NoTimes(RuleRef),
    /// The range is invalid.
    #[error("`since` must be before `until`, and both must be more than a minute ago: newer times are handled by the schedule itself")]
    #[explain(hint = "give a range in the past, `since` first")]
    NoRange,
    /// The range has too many times.
    #[error("the schedule has more than {TIMES_MAX} times in that range")]
    #[explain(hint = "give a shorter range, and then the ones after it")]
    TooManyTimes,
    /// There are too many events to search.
    #[error("more than {EVENTS_MAX} events of the schedule were created since then")]
    #[explain(hint = "start later: each event of the schedule since the start of the range is examined")]
    TooManyEvents,
}

/// The payload of a schedule's event.
#[derive(Deserialize)]
struct SchedulePayload {
    scheduled_at: Timestamp,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.post::<RulesWrite>(
        "/rules/{ref}/backfill",
        backfill,
        Operation::new("rule_backfill", "Runs a scheduled rule for the times in a past range that did not fire")
            .with_query(&[DryRunQuery::PARAMETERS])
            .takes_json::<WireBackfill>(r#"{"since": "2026-03-01T00:00:00Z", "until": "2026-03-08T00:00:00Z"}"#)
            .gives::<WireList<WireMadeUpFor>>(200, "Each time with its event; events that existed before are not created again.", &[])
            .refuses(&[(409, "backfill_refused"), (422, "backfill_refused")])
            .demands_admission(),
    );
}

/// Creates an event for each time of a range that has none.
pub(super) async fn backfill(allowed: AllowedCaller<RulesWrite>, mut call: Call) -> Outcome {
    let rule = rule_of(&allowed, &call)?;
    let before = call.before().await?;
    let WireBackfill { since, until } = match &before {
        Some((_, body)) => body::parse(body)?,
        None => call.json().await?,
    };
    let (is_dry, now) = (call.is_dry_run()?, deliveries::now());
    let plan = rule.schedule.clone().ok_or_else(|| BackfillRefused::NoSchedule(rule.name.clone()))?;
    if let When::Every(_) = plan.when {
        return Err(BackfillRefused::NoTimes(rule.name.clone()).into());
    }
    // Times that may still fire on their own are left to the schedule.
    let over = Timestamp::from_micros(now.micros() - plan.patience().as_micros() as i64);
    let until = until.unwrap_or(over).min(over);
    if since >= until {
        return Err(BackfillRefused::NoRange.into());
    }
    let times: Vec<Timestamp> = times(&plan, since, until).take(TIMES_MAX + 1).collect();
    if times.len() > TIMES_MAX {
        return Err(BackfillRefused::TooManyTimes.into());
    }
    let made_before: BTreeSet<EventId> = before.iter().flat_map(|(before, _)| &before.events).map(|event| event.id).collect();
    if !is_dry && before.is_none() {
        call.admission()?;
    }
    // Prevents a concurrent backfill of the same times.
    let lock = call.api().resource_locks.lock(&format!("{}/{}/backfill", RulesRead::NOUN, rule.name)).await;
    call.api().see_all().await?;
    let of_rule = rule.clone();
    let fired = call.api().threads.blocking(move |ports| fired_times(ports, &of_rule, since)).await??;
    let missing: Vec<Timestamp> = times.iter().filter(|time| !fired.contains_key(*time)).copied().collect();
    let mut made = BTreeMap::new();
    if !is_dry && !missing.is_empty() && before.is_none() {
        let events = missing.iter().map(|time| event(&call.api().ports, &rule, *time, now)).collect::<Result<_, _>>()?;
        let committed = call.api().submit(call.on_behalf(&allowed)?, Ask::ReceiveEvents(events)).await?;
        let ids: Vec<EventId> = match committed.answer {
            Answer::Events(received) => received.iter().map(|event| event.id).collect(),
            Answer::Before(before) => before.events.iter().map(|event| event.id).collect(),
            other => return Err(Problem::bug(&format!("events were answered with {other:?}"))),
        };
        made.extend(missing.iter().copied().zip(ids));
        call.api().see_position(committed.position).await?;
    }
    drop(lock);
    let item = |time: Timestamp| match fired.get(&time) {
        // A repeat with the same key reports what the first request did.
        Some(event) => WireMadeUpFor { scheduled_at: time, event: Some(*event), fired_before: !made_before.contains(event) },
        None => WireMadeUpFor { scheduled_at: time, event: made.get(&time).copied(), fired_before: false },
    };
    respond::json(&WireList { items: times.into_iter().map(item).collect(), next: None })
}

/// Returns the times of a plan from `since` (inclusive) to `until` (exclusive). An interval has no times that
/// could be named.
fn times(plan: &Plan, since: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
    let first = match &plan.when {
        When::Cron(cron) => cron.next_after(Timestamp::from_micros(since.micros() - 1)),
        When::Every(_) => None,
        When::At(at) => Some(*at).filter(|at| *at >= since),
    };
    successors(first, |time| plan.next(*time)).take_while(move |time| *time < until)
}

/// Finds the times of a rule that have an event, provided that an event for the others would have an effect. No
/// event precedes its time. Blocking.
fn fired_times(ports: &Ports, rule: &Rule, since: Timestamp) -> Result<BTreeMap<Timestamp, EventId>, Problem> {
    // A mode set by an operator takes precedence over the pack's.
    let said = read_row::<RuleActivity>(ports, &rule.id.to_string())?.and_then(|activity| activity.mode);
    if said.unwrap_or(rule.mode) == Mode::Disabled {
        return Err(BackfillRefused::Disabled(rule.name.clone()).into());
    }
    let rule = &rule.name;
    let query = ListQuery::newest(ViewName::Events, RowReach::Everything)
        .with(Column::Trigger, SCHEDULE_TRIGGER)
        .with(Column::Source, rule.as_str());
    let mut query = ListQuery { since: Some(since), order: Order::OldestFirst, limit: LIST_ROWS_MAX, ..query };
    let (mut fired, mut seen) = (BTreeMap::new(), 0);
    loop {
        let page: Vec<Event> = ports.views.list(&query)?.iter().map(Row::read).collect::<Result<_, _>>()?;
        let Some(last) = page.last() else { return Ok(fired) };
        query.after = Some(last.position);
        seen += page.len();
        if seen > EVENTS_MAX {
            return Err(BackfillRefused::TooManyEvents.into());
        }
        // Events that another source sent under the same name are not the rule's.
        for event in page.iter().filter(|event| event.rule.as_ref() == Some(rule)) {
            let Some(body) = event.payload.map(|payload| ports.log.body(payload.position)).transpose()?.flatten() else { continue };
            if let Ok(SchedulePayload { scheduled_at }) = serde_json::from_slice(&body) {
                fired.insert(scheduled_at, event.id);
            }
        }
    }
}

/// Creates the event of a time, for this rule only.
fn event(ports: &Ports, rule: &Rule, time: Timestamp, now: Timestamp) -> Result<ObservedEvent, Problem> {
    let late_seconds = now.micros_since(time).max(0) / 1_000_000;
    let payload = Bytes::from(json!({ "scheduled_at": time.to_string(), "late_seconds": late_seconds }).to_string());
    let dedupe = Dedupe {
        key: DedupeKey { scope: format!("schedule/{}", rule.name), hash: Digest::of(time.to_string().as_bytes()) },
        content: Digest::of(b"schedule"),
        conflict: Conflict::IsRepeat,
    };
    let trigger = SCHEDULE_TRIGGER.parse().map_err(|why| Problem::bug(&why))?;
    let given = GivenEvent {
        trigger,
        payload,
        source: rule.name.to_string(),
        occurred_at: None,
        trace: None,
        dedupe: Some(dedupe),
        rule: Some(rule.name.clone()),
    };
    Ok(ports.event_maker.observe(given)?)
}
