//! The log: its records, its head, and the verification of its chain.

use std::collections::BTreeMap;

use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Position, Record, WireRecord};
use ensue_views::store::Order;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Routes;
use super::node::job;
use crate::auth::AllowedCaller;
use crate::call::{Call, Nothing};
use crate::listing;
use crate::operation::Operation;
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{LogRead, LogVerify, Permission as _};
use crate::ports::{JobKind, Ports};
use crate::problem::{Missing, Outcome};
use crate::query::{Query, bad};
use crate::record_filter::{KindQuery, RecordFilter, RecordQuery};
use crate::respond;
use crate::routes::node::{begin, job_state};
use crate::routes::streams::AfterQuery;
use crate::shapes;
use crate::wire::embed_body;
use crate::wire::node::WireJob;

/// The maximum size of the records of a page, in bytes.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The maximum number of records that one request reads if it filters them.
const SCANNED_MAX: usize = 10_000;

/// How many of them are read at once.
const READ_AT_ONCE: usize = 1_000;

/// The parameters of the form of a list of records.
#[derive(Query)]
struct RecordListQuery {
    /// Whether each record includes its body, as `content`. A page may then hold fewer than `limit`.
    bodies: bool,
    /// The order by position: the oldest first (`position`, the default) or the newest first (`-position`, which does not go
    /// with `after`).
    sort: Option<Order>,
}

/// Declares the routes that list records and show the head.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<LogRead>(
        "/log",
        list,
        Operation::lists::<shapes::Record>(
            "record_list",
            "Lists records, oldest first by default",
            &[
                AfterQuery::PARAMETERS,
                KindQuery::PARAMETERS,
                RecordQuery::PARAMETERS,
                PeriodQuery::PARAMETERS,
                RecordListQuery::PARAMETERS,
                PageQuery::PARAMETERS,
            ],
        ),
    );
    routes.get::<LogRead>(
        "/log/head",
        head,
        Operation::shows::<shapes::Head>("log_head", "Returns the newest position and the chain's hash at it"),
    );
}

/// Declares the routes that show a record and verify the chain.
pub(super) fn declare_records(routes: &mut Routes) {
    routes.get::<LogRead>("/log/{position}", get, Operation::shows::<shapes::Record>("record_get", "Returns a record"));
    routes.get::<LogRead>(
        "/log/verify",
        verification,
        Operation::shows::<WireJob>("verification_get", "Returns the status of the last check of the log's chain"),
    );
    routes.post::<LogVerify>("/log/verify", verify, job("log_verify", "Starts a check of the log's chain"));
}

/// Lists records, oldest first after a position, or newest first.
pub(super) async fn list(allowed: AllowedCaller<LogRead>, call: Call) -> Outcome {
    let page = call.page(&allowed)?;
    let AfterQuery { after } = call.parameters()?;
    let RecordListQuery { bodies: has_bodies, sort } = call.parameters()?;
    let order = sort.unwrap_or(Order::OldestFirst);
    if order == Order::NewestFirst && after.is_some() {
        return Err(bad("after", "cannot be combined with `sort`: records after a position are listed oldest first").into());
    }
    let place = match &page.after {
        Some(place) => Some(listing::place(place)?),
        None => after.map(Position),
    };
    let (limit, wanted) = (page.limit, RecordFilter::of(call.query())?);
    let read = move |ports: &Ports| {
        let head = ports.log.head()?.position;
        let (records, last) = match (order, wanted) {
            (Order::NewestFirst, wanted) => newest(ports, place.unwrap_or(Position(head.0 + 1)), wanted.as_ref(), limit)?,
            (Order::OldestFirst, Some(wanted)) => read_wanted(ports, place.unwrap_or_default(), &wanted, limit)?,
            (Order::OldestFirst, None) => {
                let records = ports.log.read(place.unwrap_or_default(), ReadLimit { records: limit, bytes: PAGE_BYTES_MAX })?;
                let last = records.last().map(|record| record.position);
                (records, last)
            }
        };
        Ok::<_, LogError>((records, last, head))
    };
    let (mut records, mut last, head) = call.api().threads.blocking(read).await??;
    if has_bodies {
        let within = count_within(&records, PAGE_BYTES_MAX);
        if within < records.len() {
            records.truncate(within);
            last = records.last().map(|record| record.position);
        }
    }
    let has_more = |last: &Position| match order {
        Order::OldestFirst => *last < head,
        Order::NewestFirst => last.0 > 1,
    };
    let next = last.filter(has_more).map(|last| last.to_string());
    if !has_bodies {
        return call.answer_page(records.iter().map(WireRecord::from).collect(), next.as_deref(), &page);
    }
    let at: Vec<Position> = records.iter().filter(|record| record.body.is_some()).map(|record| record.position).collect();
    let read = move |ports: &Ports| at.into_iter().map(|at| Ok((at, ports.log.body(at)?))).collect::<Result<BTreeMap<_, _>, LogError>>();
    let bodies = call.api().threads.blocking(read).await??;
    let items = records.iter().map(|record| {
        let content = bodies.get(&record.position).and_then(Option::as_ref).map(embed_body);
        RecordWithContent { record: WireRecord::from(record), content }
    });
    call.answer_page(items.collect(), next.as_deref(), &page)
}

/// Reads the wanted records after a position, and returns the position of the last record that was looked at.
/// Blocking.
fn read_wanted(
    ports: &Ports,
    mut after: Position,
    wanted: &RecordFilter,
    limit: usize,
) -> Result<(Vec<Record>, Option<Position>), LogError> {
    let (mut found, mut left) = (Vec::new(), SCANNED_MAX);
    while left > 0 {
        let records = ports.log.read(after, ReadLimit { records: left.min(READ_AT_ONCE), bytes: PAGE_BYTES_MAX })?;
        if records.is_empty() {
            break;
        }
        left = left.saturating_sub(records.len());
        for record in records {
            after = record.position;
            if wanted.has(&record) {
                found.push(without_content(record));
            }
            if found.len() == limit {
                return Ok((found, Some(after)));
            }
        }
    }
    Ok((found, Some(after)))
}

/// Reads the records before a position, the newest first, and returns the position of the last record that was looked at.
/// Blocking.
fn newest(
    ports: &Ports,
    mut before: Position,
    wanted: Option<&RecordFilter>,
    limit: usize,
) -> Result<(Vec<Record>, Option<Position>), LogError> {
    let at_once = if wanted.is_some() { READ_AT_ONCE } else { limit };
    let (mut found, mut left) = (Vec::new(), SCANNED_MAX);
    while left > 0 && before.0 > 1 {
        let count = left.min(at_once);
        let last = Position(before.0 - 1);
        let mut records = Vec::new();
        let mut at = Position(last.0.saturating_sub(count as u64));
        // One read has a limit in bytes as well.
        while at < last {
            let read = ports.log.read(at, ReadLimit { records: usize::try_from(last.0 - at.0).unwrap_or(count), bytes: PAGE_BYTES_MAX })?;
            let Some(newest) = read.last() else { break };
            at = newest.position;
            records.extend(read.into_iter().map(without_content));
        }
        if records.is_empty() {
            break;
        }
        left = left.saturating_sub(records.len());
        for record in records.into_iter().rev() {
            before = record.position;
            if wanted.is_none_or(|wanted| wanted.has(&record)) {
                found.push(record);
            }
            if found.len() == limit {
                return Ok((found, Some(before)));
            }
        }
    }
    Ok((found, Some(before)))
}

/// Drops the content of a record's body: contents are loaded one by one if they are shown.
fn without_content(mut record: Record) -> Record {
    if let Some(body) = &mut record.body {
        body.content = None;
    }
    record
}

/// A record with its body.
#[derive(Serialize)]
struct RecordWithContent<'a> {
    #[serde(flatten)]
    record: WireRecord<'a>,
    content: Option<Box<RawValue>>,
}

/// Returns how many records, from the first, have decoded bodies of at most this total size, and at least one:
/// the compressed size says little about it.
fn count_within(records: &[Record], bytes_max: usize) -> usize {
    let mut left = bytes_max as u64;
    let fits = |record: &&Record| {
        let bytes = record.body.as_ref().map_or(0, |body| body.bytes);
        let is_within = bytes <= left;
        left = left.saturating_sub(bytes);
        is_within
    };
    records.iter().take_while(fits).count().max(1)
}

/// Shows a record.
pub(super) async fn get(_: AllowedCaller<LogRead>, call: Call) -> Outcome {
    let position: u64 = call.parse_part("position", LogRead::THING)?;
    let missing = || Missing::new(LogRead::THING, call.part("position"));
    let before = Position(position.checked_sub(1).ok_or_else(missing)?);
    let limit = ReadLimit { records: 1, bytes: PAGE_BYTES_MAX };
    let records = call.api().threads.blocking(move |ports| ports.log.read(before, limit)).await??;
    let record = records.first().filter(|record| record.position.0 == position).ok_or_else(missing)?;
    respond::json(&WireRecord::from(record))
}

/// Shows the newest position and the chain's hash there.
pub(super) async fn head(_: AllowedCaller<LogRead>, call: Call) -> Outcome {
    respond::json(&call.api().threads.blocking(|ports| ports.log.head()).await??)
}

/// Starts to verify the log's chain.
pub(super) async fn verify(allowed: AllowedCaller<LogVerify>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    begin(&call, JobKind::LogVerify, allowed.on_behalf(call.context())).await
}

/// Shows the state of the last verification of the log's chain.
pub(super) async fn verification(_: AllowedCaller<LogRead>, call: Call) -> Outcome {
    job_state(&call, JobKind::LogVerify)
}
