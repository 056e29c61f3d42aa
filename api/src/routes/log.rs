//! The log: its records as they are, its head, and checking its chain.

use ensue_engine::ports::ReadLimit;
use ensue_engine::record::{Position, WireRecord};

use crate::auth::Allowed;
use crate::call::{Call, Nothing};
use crate::listing;
use crate::permissions::{LogRead, LogVerify, Permission as _};
use crate::ports::JobKind;
use crate::problem::{Missing, Outcome};
use crate::respond;
use crate::routes::node::{begin, job_state};

/// The most bytes of records that a page is made of.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Lists records, oldest first, after a position.
pub(super) async fn list(allowed: Allowed<LogRead>, call: Call) -> Outcome {
    let query = call.query();
    let page = call.page(&allowed)?;
    let after: Option<u64> = query.parsed("after", "a position")?;
    let after = match &page.after {
        Some(place) => listing::place(place)?,
        None => Position(after.unwrap_or(0)),
    };
    let limit = ReadLimit { records: page.limit, bytes: PAGE_BYTES_MAX };
    let (records, head) =
        call.api().blocking(move |ports| ports.log.read(after, limit).and_then(|records| Ok((records, ports.log.head()?)))).await??;
    let last = records.last().map(|record| record.position).filter(|last| *last < head.position);
    let items: Vec<_> = records.iter().map(WireRecord::from).collect();
    call.answer_page(items, last.map(|last| last.to_string()).as_deref(), &page)
}

/// Shows a record.
pub(super) async fn get(_: Allowed<LogRead>, call: Call) -> Outcome {
    let position: u64 = call.named("position", LogRead::THING)?;
    let missing = || Missing::new(LogRead::THING, call.part("position"));
    let before = Position(position.checked_sub(1).ok_or_else(missing)?);
    let limit = ReadLimit { records: 1, bytes: PAGE_BYTES_MAX };
    let records = call.api().blocking(move |ports| ports.log.read(before, limit)).await??;
    let record = records.first().filter(|record| record.position.0 == position).ok_or_else(missing)?;
    respond::json(&WireRecord::from(record))
}

/// Shows the newest position and the chain's hash there.
pub(super) async fn head(_: Allowed<LogRead>, call: Call) -> Outcome {
    respond::json(&call.api().blocking(|ports| ports.log.head()).await??)
}

/// Begins to check the log's chain.
pub(super) async fn verify(allowed: Allowed<LogVerify>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    begin(&call, JobKind::LogVerify, allowed.on_behalf(call.context())).await
}

/// Shows how the last check of the log's chain stands.
pub(super) async fn verification(_: Allowed<LogRead>, call: Call) -> Outcome {
    job_state(&call, JobKind::LogVerify)
}
