//! What needs attention now: what waits for people, what is stuck, and which rules and sensors fail. Each part has only what the
//! caller may see.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use ensue_engine::access::limit::Target;
use ensue_engine::access::permission::Permission;
use ensue_engine::ids::{ExecutionId, InquiryId};
use ensue_engine::time::Timestamp;
use ensue_views::dead_letters::LetterStatus;
use ensue_views::executions::Status;
use ensue_views::inquiries::InquiryStatus;
use ensue_views::series::{Bucket, ExecutionOutcome, SeriesBy, SeriesKind};
use ensue_views::store::{CountQuery, LIST_ROWS_MAX, ListQuery, Order};
use ensue_views::{Column, Execution, Filter, Inquiry, Row, RowReach, RuleActivity, View, ViewName};

use super::{Routes, executions, inquiries, locks, queues, series, timers};
use crate::auth::{KnownCaller, Proof as _};
use crate::call::Call;
use crate::deliveries;
use crate::operation::Operation;
use crate::ports::{Ports, SensorState};
use crate::problem::{Outcome, Problem};
use crate::respond;
use crate::rows::read_row;
use crate::wire::executions::WireExecution;
use crate::wire::now::{WireFailingRule, WireFailingSensor, WireNeedsPerson, WireNow, WireRates};
use crate::wire::sensor_runs::WireSensorError;
use crate::wire::series::each;
use crate::wire::waits::{self, WireWaitKind};

/// The maximum number of items of a list.
const SHOWN_MAX: usize = 50;
/// The maximum number of locks, and of schedules.
const TILE_MAX: usize = 10;
/// How many holders, and how many waiting executions, of a lock are shown.
const CLAIMS_MAX: usize = 3;
/// How far ahead schedules are shown.
const DAY_MILLIS: u64 = 86_400_000;
/// For how long a rule counts as failing after its last error.
const HOUR_MICROS: i64 = 3_600_000_000;

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.for_any_caller(
        Method::GET,
        "/now",
        get,
        Operation::shows::<WireNow>("now_get", "Returns what waits for people, what is stuck, and which rules and sensors fail")
            .sees_views(),
    );
    routes.for_any_caller(
        Method::GET,
        "/now/needs_person",
        needs_person,
        Operation::shows::<WireNeedsPerson>("now_needs_person", "Returns how many things need a person").sees_views(),
    );
}

/// Shows what needs attention.
pub(super) async fn get(known: KnownCaller, call: Call) -> Outcome {
    let now = deliveries::now();
    let base = inquiries::base(call.api());
    respond::json(&call.api().threads.blocking(move |ports| Looker { ports, known: &known, now }.look(&base)).await??)
}

/// Shows how many things need a person.
pub(super) async fn needs_person(known: KnownCaller, call: Call) -> Outcome {
    let now = deliveries::now();
    respond::json(&call.api().threads.blocking(move |ports| Looker { ports, known: &known, now }.needs_person()).await??)
}

/// Reads what a caller sees.
struct Looker<'a> {
    ports: &'a Ports,
    known: &'a KnownCaller,
    now: Timestamp,
}

impl Looker<'_> {
    /// Blocking.
    fn look(&self, base: &str) -> Result<WireNow, Problem> {
        let executions = self.known.rows(Permission::ExecutionsRead);
        let (stuck, stuck_truncated) = match &executions {
            Some(reach) => self.stuck_executions(reach.clone()).map(|(stuck, is_cut)| (Some(longest(stuck)), is_cut))?,
            None => (None, false),
        };
        let awaited = stuck.iter().flatten().filter(|execution| waits::kind(execution) == Some(WireWaitKind::Answer));
        let asked: BTreeSet<InquiryId> = awaited.filter_map(|execution| execution.inquiry).collect();
        let asked: Vec<InquiryId> = asked.into_iter().collect();
        let parents: BTreeSet<ExecutionId> = stuck.iter().flatten().filter_map(|execution| execution.parent).collect();
        Ok(WireNow {
            time: self.now,
            needs_person: self.needs_person()?,
            inquiries: inquiries::awaited_inquiries(self.ports, self.known, &asked, base)?,
            workflows: executions.map(|reach| self.executions(&parents, &reach)).transpose()?,
            stuck: stuck.map(|stuck| stuck.into_iter().map(WireExecution::for_list).collect()),
            stuck_truncated,
            failing_rules: self.failing_rules()?,
            failing_sensors: self.failing_sensors(),
            open: self.open()?,
            rates: self.rates()?,
            locks: self.whole(Permission::LocksRead, |ports| locks::most_awaited(ports, TILE_MAX, CLAIMS_MAX))?,
            queues: self.whole(Permission::QueuesRead, queues::with_waiting)?,
            next: self.whole(Permission::TimersRead, |ports| timers::next_of_each(ports, self.now.plus_millis(DAY_MILLIS), TILE_MAX))?,
        })
    }

    /// Reads something that belongs nowhere, which callers with limits do not see.
    fn whole<T>(&self, permission: Permission, read: impl FnOnce(&Ports) -> Result<T, Problem>) -> Result<Option<T>, Problem> {
        let is_whole = self.known.rows(permission) == Some(RowReach::Everything);
        is_whole.then(|| read(self.ports)).transpose()
    }

    /// Reads those of the executions that a caller reaches.
    fn executions(&self, ids: &BTreeSet<ExecutionId>, reach: &RowReach) -> Result<Vec<WireExecution>, Problem> {
        let mut shown = Vec::new();
        for id in ids {
            let key = id.to_string();
            let found = read_row::<Execution>(self.ports, &key)?.filter(|execution| reach.covers_row(&key, execution));
            shown.extend(found.map(WireExecution::for_list));
        }
        Ok(shown)
    }

    fn needs_person(&self) -> Result<WireNeedsPerson, Problem> {
        Ok(WireNeedsPerson {
            inquiries_mine: self.inquiries_mine()?,
            inquiries_overdue: self.inquiries_overdue()?,
            indeterminate: self.count(Permission::ExecutionsRead, ViewName::Executions, &[Status::Indeterminate.as_str()])?,
            parked_reactions: self.count(Permission::ParkedReactionsRead, ViewName::ParkedReactions, &[])?,
            dead_letters_open: self.count(Permission::DeadLettersRead, ViewName::DeadLetters, &[LetterStatus::Open.as_str()])?,
        })
    }

    /// Returns a query for rows with one of these statuses that a permission reaches; `None` if the caller lacks it.
    fn with_status(&self, permission: Permission, view: ViewName, statuses: &[&str]) -> Option<ListQuery> {
        let reach = self.known.rows(permission)?;
        // Rows that belong nowhere are seen only without limits.
        if !view.is_scoped() && reach != RowReach::Everything {
            return None;
        }
        let mut query = ListQuery::newest(view, reach);
        if !statuses.is_empty() {
            query.filters.push(Filter::any_of(Column::Status, statuses.iter().map(|status| (*status).to_owned()).collect()));
        }
        Some(query)
    }

    fn count(&self, permission: Permission, view: ViewName, statuses: &[&str]) -> Result<Option<u64>, Problem> {
        let Some(rows) = self.with_status(permission, view, statuses) else { return Ok(None) };
        Ok(Some(self.ports.views.count(&CountQuery { rows, by: Vec::new() })?.counted))
    }

    fn open_inquiries(&self) -> Option<ListQuery> {
        self.with_status(Permission::InquiriesRead, ViewName::Inquiries, &[InquiryStatus::Open.as_str()])
    }

    fn inquiries_mine(&self) -> Result<Option<u64>, Problem> {
        let Some(mut rows) = self.open_inquiries() else { return Ok(None) };
        let holder = self.known.holder();
        rows.filters.push(Filter::any_of(Column::Assignee, holder.asked_as()));
        Ok(Some(self.ports.views.count(&CountQuery { rows, by: Vec::new() })?.counted))
    }

    fn inquiries_overdue(&self) -> Result<Option<u64>, Problem> {
        let Some(query) = self.open_inquiries() else { return Ok(None) };
        let open: Vec<Inquiry> = self.oldest(query)?;
        Ok(Some(open.iter().filter(|inquiry| inquiry.is_overdue(self.now)).count() as u64))
    }

    /// Reads the oldest rows of a query, as many as one list can have.
    fn oldest<V: View>(&self, query: ListQuery) -> Result<Vec<V>, Problem> {
        let rows = self.ports.views.list(&ListQuery { order: Order::OldestFirst, limit: LIST_ROWS_MAX, ..query })?;
        Ok(rows.iter().map(Row::read).collect::<Result<_, _>>()?)
    }

    /// Returns the executions that wait for something that does not come by itself, each with the time since when,
    /// and whether there are more.
    fn stuck_executions(&self, reach: RowReach) -> Result<(Vec<(Timestamp, Execution)>, bool), Problem> {
        let statuses = executions::WAITING.map(|status| status.as_str().to_owned()).to_vec();
        let mut query = ListQuery::newest(ViewName::Executions, reach);
        query.filters.push(Filter::any_of(Column::Status, statuses));
        let waiting: Vec<Execution> = self.oldest(query)?;
        let is_cut = waiting.len() == LIST_ROWS_MAX;
        let stuck = waiting.into_iter().filter_map(|execution| {
            let kind = waits::kind(&execution)?;
            let is_stuck = !matches!(kind, WireWaitKind::Steps | WireWaitKind::Time);
            is_stuck.then(|| (waits::since(&execution).unwrap_or(execution.requested_at), execution))
        });
        Ok((stuck.collect(), is_cut))
    }

    /// Returns the rules that erred within the last hour.
    fn failing_rules(&self) -> Result<Option<Vec<WireFailingRule>>, Problem> {
        if self.known.rows(Permission::RulesRead).is_none() {
            return Ok(None);
        }
        let rights = &self.known.holder().rights;
        let rules =
            self.ports.views.list(&ListQuery { limit: LIST_ROWS_MAX, ..ListQuery::newest(ViewName::Rules, RowReach::Everything) })?;
        let rules: Vec<RuleActivity> = rules.iter().map(Row::read).collect::<Result<_, _>>()?;
        let mut failing: Vec<_> = rules
            .iter()
            .filter(|rule| rights.include(Permission::RulesRead, &Target::in_pack_of(rule.rule.as_str())))
            .filter_map(|rule| Some((rule, rule.errors.first()?)))
            .filter(|(_, error)| self.now.micros().saturating_sub(error.last_at.micros()) < HOUR_MICROS)
            .collect();
        failing.sort_by_key(|(_, error)| std::cmp::Reverse(error.last_at));
        Ok(Some(failing.into_iter().take(SHOWN_MAX).map(|(rule, error)| WireFailingRule::new(rule, error)).collect()))
    }

    /// Returns the sensors that fail.
    fn failing_sensors(&self) -> Option<Vec<WireFailingSensor>> {
        self.known.rows(Permission::SensorsRead)?;
        let rights = &self.known.holder().rights;
        let catalog = self.ports.installed.current();
        let seen = catalog.sensors().keys().filter(|name| rights.include(Permission::SensorsRead, &Target::in_pack_of(name.as_str())));
        let mut failing: Vec<WireFailingSensor> = seen
            .filter_map(|name| Some((name, self.ports.sensors.status(name)?)))
            .filter(|(_, status)| status.state == SensorState::Failing)
            .map(|(name, status)| WireFailingSensor {
                r#ref: name.clone(),
                since: status.since,
                retry_at: status.retry_at,
                error: status.error.map(WireSensorError::from),
            })
            .collect();
        failing.sort_by_key(|sensor| sensor.since);
        failing.truncate(SHOWN_MAX);
        Some(failing)
    }

    /// Returns how often things happened in each minute of the last hour.
    fn rates(&self) -> Result<WireRates, Problem> {
        let last_hour = |kind, by, reach| -> Result<_, Problem> {
            let query = series::last_hour(kind, by, reach, self.now);
            let counts = self.ports.views.series(&query)?;
            Ok((query, counts))
        };
        let nothing = BTreeMap::new();
        let events = match self.known.rows(Permission::EventsRead) {
            Some(reach) => {
                let (query, counts) = last_hour(SeriesKind::Events, SeriesBy::Nothing, reach)?;
                Some(each(&query, counts.get(&None).unwrap_or(&nothing)))
            }
            None => None,
        };
        let executions = match self.known.rows(Permission::ExecutionsRead) {
            Some(reach) => {
                let (query, counts) = last_hour(SeriesKind::Executions, SeriesBy::Outcome, reach)?;
                let of = |outcome: ExecutionOutcome| each(&query, counts.get(&Some(outcome.as_str().to_owned())).unwrap_or(&nothing));
                let (failed, timed_out) = (of(ExecutionOutcome::Failed), of(ExecutionOutcome::TimedOut));
                let failed = failed.into_iter().zip(timed_out).map(|(failed, timed_out)| failed + timed_out).collect();
                Some((of(ExecutionOutcome::Requested), failed))
            }
            None => None,
        };
        let (requested, failed) = executions.unzip();
        let from = series::last_hour(SeriesKind::Events, SeriesBy::Nothing, RowReach::nothing(), self.now).from;
        Ok(WireRates { from: Bucket::Minute.begins(from), events, requested, failed })
    }

    /// Counts the executions that have not ended by their status.
    fn open(&self) -> Result<Option<BTreeMap<String, u64>>, Problem> {
        let open: Vec<&str> = Status::ALL.into_iter().filter(|status| !status.is_end()).map(Status::as_str).collect();
        let Some(rows) = self.with_status(Permission::ExecutionsRead, ViewName::Executions, &open) else { return Ok(None) };
        let counts = self.ports.views.count(&CountQuery { rows, by: vec![Column::Status] })?;
        let mut by_status: BTreeMap<String, u64> = open.into_iter().map(|status| (status.to_owned(), 0)).collect();
        for mut group in counts.groups {
            if let Some(Some(status)) = group.values.pop() {
                by_status.insert(status, group.count);
            }
        }
        Ok(Some(by_status))
    }
}

/// Returns the executions that have waited longest.
fn longest(mut waiting: Vec<(Timestamp, Execution)>) -> Vec<Execution> {
    waiting.sort_by_key(|(since, execution)| (*since, execution.position));
    waiting.into_iter().take(SHOWN_MAX).map(|(_, execution)| execution).collect()
}
