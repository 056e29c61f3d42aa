//! The audit: lists what callers did and what was refused to them, and exports it as a whole.
//!
//! A view has the rows. An export that completed is in the audit itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::access::audit::facts::ExportMade;
use ensue_engine::command::Ask;
use ensue_engine::explain::Explain;
use ensue_engine::record::{Digest, Position, StreamId};
use ensue_engine::time::Timestamp;
use ensue_views::store::{Filter, LIST_ROWS_MAX, ListQuery};
use ensue_views::{AuditEntry, Column, Row, RowReach, View as _};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::Routes;
use crate::api::Api;
use crate::auth::{AllowedCaller, Lasting as _};
use crate::call::Call;
use crate::listing;
use crate::operation::{Content, Header, Operation, schema_of};
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::AuditRead;
use crate::ports::{OnBehalf, Ports};
use crate::problem::{Outcome, Problem};
use crate::query::{ColumnText, Query, bad};
use crate::queues::QueueName;
use crate::record_filter::RecordKind;
use crate::respond;
use crate::wire::WireList;
use crate::wire::audit::{KnownNames, WireAuditEntry};

/// The media type of a page.
const JSON: &str = "application/json";
/// The media type of a line of JSON for each row.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// The media type of a table.
pub(crate) const CSV: &str = "text/csv";

/// How long an export waits for a caller that does not read.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// Too many exports are being sent.
#[derive(Debug, Error, Explain)]
#[error("too many files, outputs and exports are being sent")]
#[explain(slug = "busy", fault = Busy, hint = "try again in a second, when another transfer has ended")]
struct TooManySent;

/// Why an export ends before its last row.
#[derive(Debug, Error)]
enum ExportError {
    /// The caller disconnected, or does not read.
    #[error("its caller does not read it")]
    Unread,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The caller lost the permission.
    #[error("its caller may no longer read the audit")]
    NotAllowed,
    /// Something in the node failed.
    #[error("the rows could not be read, or the export could not be recorded")]
    Failed,
}

/// The parameters that select rows, except for times.
#[derive(Query)]
struct AuditFilter {
    /// Only what this actor did: the name of an identity or a token, or `operator`.
    actor: Option<String>,
    /// Only records of one of these kinds.
    what: Vec<RecordKind>,
    /// Only what is about this thing: the stream of a record, such as `key/release.deploy_token` or `identity/ana`.
    of: Option<String>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<AuditRead>(
        "/audit",
        list,
        Operation::new("audit_list", "Lists what callers did and what was refused to them, newest first, or exports it")
            .with_query(&[AuditFilter::PARAMETERS, PeriodQuery::PARAMETERS, PageQuery::PARAMETERS])
            .gives_content(
                200,
                "A page of the list, or all rows as lines of JSON or as CSV.",
                Content::JsonOrText { json: schema_of::<WireList<WireAuditEntry>>, text: &[NDJSON, CSV] },
                &[Header::Link],
            )
            .refuses(&[(406, "not_acceptable"), (429, "busy")])
            .sees_views(),
    );
}

/// Lists the audit, or exports it.
pub(super) async fn list(allowed: AllowedCaller<AuditRead>, call: Call) -> Outcome {
    let media = call.choose_media_type(&[JSON, NDJSON, CSV])?;
    let wanted = AuditQuery::of(&call)?;
    if media != JSON {
        if let Some(paging) = call.query().first_of(&[PageQuery::PARAMETERS]) {
            return Err(bad(paging, "does not apply to an export, which has all rows").into());
        }
        return export(allowed, &call, wanted, if media == CSV { ExportFormat::Csv } else { ExportFormat::Lines });
    }
    let page = call.page(&allowed)?;
    let after = page.after.as_deref().map(listing::place).transpose()?;
    let limit = page.limit;
    let mut rows = read(call.api(), wanted.rows(after, limit + 1)).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| row.position.to_string());
    let names = KnownNames::of(&*call.api().ports.access);
    let items = rows.into_iter().map(|row| WireAuditEntry::new(row, &names)).collect();
    call.answer_page(items, next.as_deref(), &page)
}

async fn read(api: &Arc<Api>, query: ListQuery) -> Result<Vec<AuditEntry>, Problem> {
    let read = move |ports: &Ports| ports.views.list(&query)?.iter().map(Row::read).collect::<Result<_, _>>();
    Ok(api.threads.blocking(read).await??)
}

/// The rows that a request asks for.
struct AuditQuery {
    query: ListQuery,
    /// The filters as they are recorded: identities by their ids.
    filters: BTreeMap<String, String>,
}

impl AuditQuery {
    fn of(call: &Call) -> Result<Self, Problem> {
        let (asked, names): (AuditFilter, _) = (call.parameters()?, KnownNames::of(&*call.api().ports.access));
        let mut wanted =
            Self { query: listing::list_query(call.query(), AuditEntry::NAME, RowReach::Everything)?, filters: BTreeMap::new() };
        let times: [(&'static str, Option<Timestamp>); 2] = [("since", wanted.query.since), ("until", wanted.query.until)];
        wanted.filters.extend(times.into_iter().filter_map(|(name, time)| Some((name.to_owned(), time?.to_string()))));
        if let Some(actor) = &asked.actor {
            wanted.add(Column::Actor, vec![names.actor(actor)]);
        }
        if !asked.what.is_empty() {
            wanted.add(Column::What, asked.what.iter().map(ColumnText::to_text).collect());
        }
        if let Some(of) = &asked.of {
            wanted.add_stream(stream(of, &names)?);
        }
        Ok(wanted)
    }

    fn add(&mut self, column: Column, values: Vec<String>) {
        self.filters.insert(column.as_str().to_owned(), values.join(","));
        self.query.filters.push(Filter::any_of(column, values));
    }

    fn add_stream(&mut self, stream: Option<StreamId>) {
        match stream {
            // An event has one record, whose id is its own.
            Some(StreamId::Event(id)) => {
                self.filters.insert(Column::Of.as_str().to_owned(), StreamId::Event(id).to_string());
                self.query.keys = Some(vec![id.to_string()]);
            }
            Some(stream) => self.add(Column::Of, vec![stream.to_string()]),
            // No row is about a thing without a stream.
            None => self.add(Column::Of, Vec::new()),
        }
    }

    fn rows(&self, after: Option<Position>, limit: usize) -> ListQuery {
        ListQuery { after, limit, ..self.query.clone() }
    }
}

/// Parses the thing of which rows are wanted; `None` if no identity or token has its name.
fn stream(text: &str, names: &KnownNames<'_>) -> Result<Option<StreamId>, Problem> {
    match (names.stream(text), text.split_once('/')) {
        (Some(stream), _) => Ok(Some(stream)),
        (None, Some(("identity" | "token", _))) => Ok(None),
        (None, _) => Err(bad("of", "is not the stream of a record, such as `key/release.deploy_token` or `identity/ana`").into()),
    }
}

/// The form of an export.
#[derive(Clone, Copy)]
enum ExportFormat {
    Lines,
    Csv,
}

/// Sends all rows, and then records that they were sent.
fn export(allowed: AllowedCaller<AuditRead>, call: &Call, wanted: AuditQuery, form: ExportFormat) -> Outcome {
    let held = call.api().queue(QueueName::LiveOutputs).enter(1).ok_or(TooManySent)?;
    // The next piece is made while the caller reads the one before it.
    let (to, receive) = mpsc::channel(1);
    let (api, by) = (call.api().clone(), allowed.on_behalf(call.context()));
    tokio::spawn(async move {
        if let Err(why) = send_all(&api, &allowed, (wanted, by), form, &to).await {
            tracing::warn!(%why, "an export of the audit ended early, and is not recorded");
            // The caller must not mistake the part for the whole, so the connection is aborted.
            drop(to.try_send(Err(std::io::Error::other("the export could not be completed"))));
        }
        drop(held);
    });
    let media = match form {
        ExportFormat::Lines => NDJSON,
        ExportFormat::Csv => CSV,
    };
    Ok(respond::stream(ReceiverStream::new(receive), media))
}

async fn send_all(
    api: &Arc<Api>,
    allowed: &AllowedCaller<AuditRead>,
    (wanted, by): (AuditQuery, OnBehalf),
    form: ExportFormat,
    to: &mpsc::Sender<Result<Bytes, std::io::Error>>,
) -> Result<(), ExportError> {
    let mut hasher = blake3::Hasher::new();
    let (mut after, mut count) = (None, 0);
    let mut text = match form {
        ExportFormat::Lines => String::new(),
        ExportFormat::Csv => WireAuditEntry::csv_head().to_owned(),
    };
    loop {
        let rows = read(api, wanted.rows(after, LIST_ROWS_MAX)).await.map_err(|_| ExportError::Failed)?;
        let is_last = rows.len() < LIST_ROWS_MAX;
        (after, count) = (rows.last().map(|row| row.position), count + rows.len() as u64);
        let names = KnownNames::of(&*api.ports.access);
        for row in rows {
            text.push_str(&line(&WireAuditEntry::new(row, &names), form).map_err(|_| ExportError::Failed)?);
        }
        let piece = Bytes::from(std::mem::take(&mut text));
        hasher.update(&piece);
        if !piece.is_empty() {
            timeout(READER_PATIENCE, to.send(Ok(piece))).await.map_err(|_| ExportError::Unread)?.map_err(|_| ExportError::Unread)?;
        }
        if api.stopping.has_begun() {
            return Err(ExportError::Stopping);
        }
        if !allowed.still_holds(&*api.ports.access) {
            return Err(ExportError::NotAllowed);
        }
        if is_last {
            break;
        }
    }
    // There is room again once the caller has received the last piece.
    let _received = timeout(READER_PATIENCE, to.reserve()).await.map_err(|_| ExportError::Unread)?.map_err(|_| ExportError::Unread)?;
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    let mut filters = wanted.filters;
    if count == 0 && filters.get(Column::Actor.as_str()).is_some_and(|actor| actor.starts_with("token/")) {
        // It may be the name of a person, mistyped.
        filters.insert(Column::Actor.as_str().to_owned(), "unknown".to_owned());
    }
    let made = ExportMade { what: "audit".to_owned(), filters, rows: count, digest };
    api.submit(by, Ask::NoteExport(made)).await.map(drop).map_err(|error| {
        tracing::warn!(%error, "an export of the audit cannot be recorded");
        ExportError::Failed
    })
}

fn line(row: &WireAuditEntry, form: ExportFormat) -> Result<String, serde_json::Error> {
    match form {
        ExportFormat::Csv => Ok(row.csv()),
        ExportFormat::Lines => serde_json::to_string(row).map(|line| line + "\n"),
    }
}
