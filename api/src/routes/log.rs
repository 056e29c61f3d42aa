//! The log: its records, its head, and the verification of its chain.

use std::collections::BTreeMap;

use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Position, Record, WireRecord};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Routes;
use super::node::job;
use crate::auth::Allowed;
use crate::call::{Call, Nothing};
use crate::listing;
use crate::operation::Operation;
use crate::permissions::{LogRead, LogVerify, Permission as _};
use crate::ports::{JobKind, Ports};
use crate::problem::{Missing, Outcome};
use crate::respond;
use crate::routes::node::{begin, job_state};
use crate::shapes;
use crate::wire::embedded;
use crate::wire::node::WireJob;

/// The maximum size of the records of a page, in bytes.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Declares the routes that list records and show the head.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<LogRead>(
        "/log",
        list,
        Operation::lists::<shapes::Record>("record_list", "Lists records, oldest first", &["after", "bodies", "limit", "cursor"]),
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

/// Lists records, oldest first, after a position.
pub(super) async fn list(allowed: Allowed<LogRead>, call: Call) -> Outcome {
    let query = call.query();
    let page = call.page(&allowed)?;
    let after: Option<u64> = query.parsed("after", "a position")?;
    let after = match &page.after {
        Some(place) => listing::place(place)?,
        None => Position(after.unwrap_or(0)),
    };
    let has_bodies = query.one_of("bodies", &[("true", true), ("false", false)])?.unwrap_or(false);
    let limit = ReadLimit { records: page.limit, bytes: PAGE_BYTES_MAX };
    let (mut records, head) = call
        .api()
        .threads
        .blocking(move |ports| ports.log.read(after, limit).and_then(|records| Ok((records, ports.log.head()?))))
        .await??;
    if has_bodies {
        records.truncate(count_within(&records, PAGE_BYTES_MAX));
    }
    let last = records.last().map(|record| record.position).filter(|last| *last < head.position);
    let next = last.map(|last| last.to_string());
    if !has_bodies {
        return call.answer_page(records.iter().map(WireRecord::from).collect(), next.as_deref(), &page);
    }
    let at: Vec<Position> = records.iter().filter(|record| record.body.is_some()).map(|record| record.position).collect();
    let read = move |ports: &Ports| at.into_iter().map(|at| Ok((at, ports.log.body(at)?))).collect::<Result<BTreeMap<_, _>, LogError>>();
    let bodies = call.api().threads.blocking(read).await??;
    let items = records.iter().map(|record| {
        let content = bodies.get(&record.position).and_then(Option::as_ref).map(embedded);
        RecordWithContent { record: WireRecord::from(record), content }
    });
    call.answer_page(items.collect(), next.as_deref(), &page)
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
pub(super) async fn get(_: Allowed<LogRead>, call: Call) -> Outcome {
    let position: u64 = call.named("position", LogRead::THING)?;
    let missing = || Missing::new(LogRead::THING, call.part("position"));
    let before = Position(position.checked_sub(1).ok_or_else(missing)?);
    let limit = ReadLimit { records: 1, bytes: PAGE_BYTES_MAX };
    let records = call.api().threads.blocking(move |ports| ports.log.read(before, limit)).await??;
    let record = records.first().filter(|record| record.position.0 == position).ok_or_else(missing)?;
    respond::json(&WireRecord::from(record))
}

/// Shows the newest position and the chain's hash there.
pub(super) async fn head(_: Allowed<LogRead>, call: Call) -> Outcome {
    respond::json(&call.api().threads.blocking(|ports| ports.log.head()).await??)
}

/// Starts to verify the log's chain.
pub(super) async fn verify(allowed: Allowed<LogVerify>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    begin(&call, JobKind::LogVerify, allowed.on_behalf(call.context())).await
}

/// Shows the state of the last verification of the log's chain.
pub(super) async fn verification(_: Allowed<LogRead>, call: Call) -> Outcome {
    job_state(&call, JobKind::LogVerify)
}
