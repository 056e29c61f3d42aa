//! Counts over time: how many events, executions, enforcements, errors of rules and deliveries there were in each minute or
//! hour.

use axum::http::Method;
use ensue_engine::access::permission::Permission;
use ensue_engine::names::Names;
use ensue_engine::time::Timestamp;
use ensue_views::series::{Bucket, SeriesBy, SeriesKind, SeriesQuery};
use ensue_views::{Column, RowReach};

use super::Routes;
use crate::auth::KnownCaller;
use crate::call::Call;
use crate::deliveries;
use crate::operation::Operation;
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::{Query, bad, words};
use crate::respond;
use crate::wire::series::WireSeries;

/// The parameters that say what is counted, and how.
#[derive(Query)]
struct SeriesForm {
    /// What is counted. Required.
    #[query(required = "must be given: it names what is counted, such as `executions`")]
    of: SeriesKind,
    /// What makes a series: one of them. Without it, everything is one series.
    by: Vec<SeriesName>,
    /// The length of a bucket, `1m` by default. At most 500 buckets are returned.
    bucket: Option<Bucket>,
}

/// The parameters that select what is counted, by the name that its series have.
#[derive(Query)]
struct SeriesFilter {
    /// Only those with one of these names.
    #[query(column)]
    trigger: Vec<String>,
    /// Only those with one of these names.
    #[query(column)]
    action: Vec<String>,
    /// Only those with one of these names.
    #[query(column)]
    rule: Vec<String>,
    /// Only what came through this sensor.
    #[query(column)]
    sensor: Option<String>,
}

/// The parameters of the counted period.
#[derive(Query)]
struct SeriesPeriod {
    /// The bucket with this time is the first one. By default, there are 60 buckets.
    since: Option<Timestamp>,
    /// The first bucket that begins at or after this time is left out. By default, now.
    until: Option<Timestamp>,
}

/// What makes a series.
#[derive(Clone, Copy, PartialEq, Eq, Names)]
enum SeriesName {
    Outcome,
    Trigger,
    Action,
    Rule,
    Sensor,
}

words!(SeriesKind, SeriesName);
words!(Bucket ["1m" => Self::Minute, "1h" => Self::Hour]);

/// The maximum number of buckets in one answer.
pub(crate) const BUCKETS_MAX: i64 = 500;

/// The number of buckets without `since`.
const BUCKETS_DEFAULT: i64 = 60;

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.for_any_caller(
        Method::GET,
        "/series",
        get,
        Operation::shows::<WireSeries>("series_get", "Counts events, executions, enforcements, errors of rules or deliveries over time")
            .with_query(&[SeriesForm::PARAMETERS, SeriesFilter::PARAMETERS, SeriesPeriod::PARAMETERS])
            .sees_views(),
    );
}

/// Counts over time.
pub(super) async fn get(known: KnownCaller, call: Call) -> Outcome {
    let SeriesForm { of: kind, by, bucket } = call.parameters()?;
    let (permission, named) = permission_and_name(kind);
    let reach = known.rows(permission).ok_or_else(|| known.lacks(permission))?;
    let by = match by[..] {
        [] => SeriesBy::Nothing,
        [SeriesName::Outcome] => SeriesBy::Outcome,
        [by] if by.as_str() == named.as_str() => SeriesBy::Name,
        [_, _, ..] => return Err(bad("by", "has several values: give one").into()),
        [by] => {
            let why = format!("is `{}`, but {} are counted by `outcome` or `{}`", by.as_str(), kind.as_str(), named.as_str());
            return Err(bad("by", why).into());
        }
    };
    let filters = call.parameters::<SeriesFilter>()?.filters();
    if let Some(other) = filters.iter().find(|filter| filter.column != named) {
        return Err(bad(other.column.as_str(), format!("does not filter {}: use `{}`", kind.as_str(), named.as_str())).into());
    }
    let names = filters.into_iter().flat_map(|filter| filter.any_of).collect();
    let (bucket, now) = (bucket.unwrap_or(Bucket::Minute), deliveries::now());
    let SeriesPeriod { since, until } = call.parameters()?;
    let (from, until) = buckets(bucket, since, until, now)?;
    let asked = SeriesQuery { kind, bucket, from, until, by, names, reach };
    let kept_from = bucket.of(now) - bucket.retained_count() + 1;
    let answer = move |ports: &Ports| -> Result<WireSeries, Problem> {
        Ok(WireSeries::new(&asked, kept_from, ports.views.series(&asked)?, asked.by == SeriesBy::Name))
    };
    respond::json(&call.api().threads.blocking(answer).await??)
}

/// Returns the permission to count things of a kind, and the column with the name of a series.
fn permission_and_name(kind: SeriesKind) -> (Permission, Column) {
    match kind {
        SeriesKind::Events => (Permission::EventsRead, Column::Trigger),
        SeriesKind::Executions => (Permission::ExecutionsRead, Column::Action),
        SeriesKind::Enforcements => (Permission::EnforcementsRead, Column::Rule),
        SeriesKind::RuleErrors => (Permission::RulesRead, Column::Rule),
        SeriesKind::Deliveries => (Permission::HooksRead, Column::Sensor),
    }
}

/// Returns the first bucket of a period, and the one after the last.
fn buckets(bucket: Bucket, since: Option<Timestamp>, until: Option<Timestamp>, now: Timestamp) -> Result<(i64, i64), Problem> {
    // A bucket that a time is within belongs to the period.
    let end = bucket.of(until.unwrap_or(now));
    let until = if until.is_some_and(|until| bucket.begins(end) == until) { end } else { end + 1 };
    let from = since.map_or(until - BUCKETS_DEFAULT, |since| bucket.of(since));
    if from >= until {
        return Err(bad("since", "is not before `until`").into());
    }
    if until - from > BUCKETS_MAX {
        let why = format!(
            "is {} buckets before `until`: at most {BUCKETS_MAX} are returned, so choose a shorter period or `bucket=1h`",
            until - from
        );
        return Err(bad("since", why).into());
    }
    Ok((from, until))
}

/// Returns a query for the last hour by minute.
pub(super) fn last_hour(kind: SeriesKind, by: SeriesBy, reach: RowReach, now: Timestamp) -> SeriesQuery {
    let until = Bucket::Minute.of(now) + 1;
    SeriesQuery { kind, bucket: Bucket::Minute, from: until - BUCKETS_DEFAULT, until, by, names: Vec::new(), reach }
}
