//! Counts over time: how many events, executions, enforcements, errors of rules and deliveries there were in each minute or
//! hour.

use axum::http::Method;
use ensue_engine::access::permission::Permission;
use ensue_engine::time::Timestamp;
use ensue_views::RowReach;
use ensue_views::series::{Bucket, SeriesBy, SeriesKind, SeriesQuery};

use super::Routes;
use crate::auth::KnownCaller;
use crate::call::Call;
use crate::deliveries;
use crate::operation::Operation;
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::bad;
use crate::respond;
use crate::wire::series::WireSeries;

/// The identifier of the operation, for its parameters.
pub(crate) const SERIES_GET: &str = "series_get";

/// What can be counted, with the permission for it and the name of a series.
const KINDS: [(SeriesKind, Permission, &str); 5] = [
    (SeriesKind::Events, Permission::EventsRead, "trigger"),
    (SeriesKind::Executions, Permission::ExecutionsRead, "action"),
    (SeriesKind::Enforcements, Permission::EnforcementsRead, "rule"),
    (SeriesKind::RuleErrors, Permission::RulesRead, "rule"),
    (SeriesKind::Deliveries, Permission::HooksRead, "sensor"),
];

/// The lengths of a bucket.
pub(crate) const BUCKETS: [(&str, Bucket); 2] = [("1m", Bucket::Minute), ("1h", Bucket::Hour)];

/// What makes a series.
pub(crate) const BY: [&str; 5] = ["outcome", "trigger", "action", "rule", "sensor"];

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
        Operation::shows::<WireSeries>(SERIES_GET, "Counts events, executions, enforcements, errors of rules or deliveries over time")
            .with_query(&["of", "by", "bucket", "trigger", "action", "rule", "sensor", "since", "until"])
            .sees_views(),
    );
}

/// Counts over time.
pub(super) async fn get(known: KnownCaller, call: Call) -> Outcome {
    let query = call.query();
    let kinds = KINDS.map(|(kind, permission, name)| (kind.as_str(), (kind, permission, name)));
    let of = query.one_of("of", &kinds)?;
    let (kind, permission, named) = of.ok_or_else(|| bad("of", "must be given: it names what is counted, such as `executions`"))?;
    let reach = known.rows(permission).ok_or_else(|| known.lacks(permission))?;
    let by = match query.each_of("by", &BY.map(|by| (by, by)))?[..] {
        [] => SeriesBy::Nothing,
        ["outcome"] => SeriesBy::Outcome,
        [by] if by == named => SeriesBy::Name,
        [_, _, ..] => return Err(bad("by", "has several values: give one").into()),
        [by] => return Err(bad("by", format!("is `{by}`, but {} are counted by `outcome` or `{named}`", kind.as_str())).into()),
    };
    if let Some(other) = ["trigger", "action", "rule", "sensor"].into_iter().find(|name| *name != named && query.text(name).is_some()) {
        return Err(bad(other, format!("is no filter of {}: use `{named}`", kind.as_str())).into());
    }
    let names = query.texts(named).map(str::to_owned).collect();
    let bucket = query.one_of("bucket", &BUCKETS)?.unwrap_or(Bucket::Minute);
    let now = deliveries::now();
    let (from, until) = buckets(bucket, query.time("since")?, query.time("until")?, now)?;
    let asked = SeriesQuery { kind, bucket, from, until, by, names, reach };
    let kept_from = bucket.of(now) - bucket.retained_count() + 1;
    let answer = move |ports: &Ports| -> Result<WireSeries, Problem> {
        Ok(WireSeries::new(&asked, kept_from, ports.views.series(&asked)?, asked.by == SeriesBy::Name))
    };
    respond::json(&call.api().threads.blocking(answer).await??)
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
