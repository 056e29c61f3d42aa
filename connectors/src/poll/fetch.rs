//! One poll: asks for page after page, or runs an action for each, and finds the items that are new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_content::parse_json;
use ensue_engine::catalog::{
    Decode, FirstPoll, HttpRequest, PollCursor, PollSource, PollTarget, PollTimes, PolledAction, REMEMBER_MAX, Sensor,
};
use ensue_engine::time::Timestamp;
use ensue_expression::{Budget, Document, ErrorKind, EvaluationError, Expression, Scope, Value};
use serde_json::Value as Json;

use super::cursor::{Memory, PollState};
use crate::base85::hash;
use crate::error::{SensorErrorKind, SourceError};
use crate::world::{ActionAnswer, ActionOrder, SourcePurpose, WebAnswer, WebRequest, World};

/// The maximum size of an answer, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 10 << 20;
/// The maximum size of all items of a poll together, in bytes.
pub(super) const POLL_BYTES_MAX: usize = 32 << 20;
/// The maximum size of the author's value, in bytes of JSON.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// The shortest time for which ids are remembered if the author does not say for how long.
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long one exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a poll found.
pub(super) enum PollOutcome {
    /// Everything.
    Complete {
        /// The items that make messages, in their order.
        found: Vec<NewItem>,
        /// Where it ended.
        place: PollState,
    },
    /// The same as before, as the server says.
    Unchanged,
    /// Nothing: the server asks to be left alone.
    Throttled {
        /// For how long, if it says so.
        retry_after: Option<Duration>,
    },
}

/// An item that makes a message.
pub(super) struct NewItem {
    pub(super) item: Document,
    /// Its place in the poll, from 0.
    pub(super) index: usize,
    /// What `page` was in the request.
    pub(super) page: Json,
    /// Identifies it within the poll.
    pub(super) mark: u64,
}

/// Asks a server.
pub(super) struct Asking {
    sensor: Arc<Sensor>,
    poll: Arc<PollSource>,
    world: Arc<World>,
    unchanged: Mutex<Option<Validators>>,
    has_said_that_ids_are_missing: AtomicBool,
}

/// What a server needs to tell that an answer is the same as before.
#[derive(Clone)]
struct Validators {
    etag: Option<String>,
    modified: Option<String>,
    /// The cursor that the answer was for.
    cursor: Json,
}

/// What was returned for a page.
enum PageAnswer {
    /// By a server, with a status of success.
    Web(WebAnswer),
    /// By an action.
    Result(Document),
    /// The same as before, as the server says.
    Unchanged,
    /// Nothing: the server asks to be left alone.
    Throttled(Option<Duration>),
}

/// The name of an action's result in expressions.
const RESULT: &str = "result";

/// An item of a page.
struct Item {
    document: Document,
    page: Json,
}

impl Asking {
    pub(super) fn new(sensor: Arc<Sensor>, poll: Arc<PollSource>, world: Arc<World>) -> Self {
        Self { sensor, poll, world, unchanged: Mutex::new(None), has_said_that_ids_are_missing: AtomicBool::new(false) }
    }

    pub(super) fn source(&self) -> &PollSource {
        &self.poll
    }

    /// Makes one poll. It changes nothing outside of what it returns.
    pub(super) async fn poll(&self, place: &PollState) -> Result<PollOutcome, SourceError> {
        let cursor = self.cursor(place)?;
        let mut items: Vec<Item> = Vec::new();
        let (mut bytes, mut page) = (0, Json::Null);
        let (mut validators, mut result) = (None, None);
        for number in 1.. {
            let answer = self.answer(&cursor, &page, number).await?;
            let (found, next) = match answer {
                PageAnswer::Unchanged => return Ok(PollOutcome::Unchanged),
                PageAnswer::Throttled(retry_after) => return Ok(PollOutcome::Throttled { retry_after }),
                PageAnswer::Web(answer) => {
                    if number == 1 {
                        let text = |name: &str| answer.headers.get(name).cloned();
                        validators = Some(Validators { etag: text("etag"), modified: text("last-modified"), cursor: cursor.clone() });
                    }
                    self.page_of_web(&answer, &page)?
                }
                PageAnswer::Result(document) => {
                    let found = self.page_of_result(&document, &page)?;
                    result = Some(document);
                    found
                }
            };
            for document in found {
                bytes += document.bytes().len();
                if items.len() >= self.poll.items_max as usize {
                    let message = format!("a poll has more than {} items (`max_items`)", self.poll.items_max);
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                if bytes > POLL_BYTES_MAX {
                    let message = format!("the items of a poll have more than {POLL_BYTES_MAX} bytes");
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                items.push(Item { document, page: page.clone() });
            }
            match next {
                None => break,
                Some(next) if next == page => {
                    return Err(SourceError::new(
                        SensorErrorKind::Protocol,
                        "`next_page` returns the same page again, so the poll would not end",
                    ));
                }
                Some(_) if number >= self.poll.pages_max => {
                    let message = format!("a poll has more than {} pages (`max_pages`)", self.poll.pages_max);
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                Some(next) => page = next,
            }
        }
        let polled = self.complete(place, cursor, items, result.as_ref())?;
        *self.unchanged.lock().unwrap_or_else(PoisonError::into_inner) = validators;
        Ok(polled)
    }

    /// Returns the author's value for this poll, or null if there is none.
    fn cursor(&self, place: &PollState) -> Result<Json, SourceError> {
        let Some(cursor) = &self.poll.cursor else { return Ok(Json::Null) };
        match &place.value {
            Some(value) => Ok(value.clone()),
            None => self.value(&cursor.start, &self.config(), "`start` of `cursor`"),
        }
    }

    async fn answer(&self, cursor: &Json, page: &Json, number: u32) -> Result<PageAnswer, SourceError> {
        match &self.poll.asked {
            PollTarget::Http(request) => {
                let answer = self.web_answer(request, cursor, page, number).await?;
                match answer.status {
                    200..=299 => Ok(PageAnswer::Web(answer)),
                    304 => Ok(PageAnswer::Unchanged),
                    429 => Ok(PageAnswer::Throttled(answer.retry_after)),
                    503 if answer.retry_after.is_some() => Ok(PageAnswer::Throttled(answer.retry_after)),
                    status => Err(status_error(status)),
                }
            }
            PollTarget::Action(call) => self.action_answer(call, cursor, page).await,
        }
    }

    async fn action_answer(&self, call: &PolledAction, cursor: &Json, page: &Json) -> Result<PageAnswer, SourceError> {
        let order = ActionOrder {
            sensor: Arc::clone(&self.sensor),
            call: call.clone(),
            values: BTreeMap::from([("cursor", cursor.clone()), ("page", page.clone())]),
            now: self.world.clock.now(),
            lines: Arc::clone(&self.world.lines),
        };
        match self.world.actions.run(order).await? {
            ActionAnswer::Throttled { retry_after } => Ok(PageAnswer::Throttled(Some(retry_after))),
            ActionAnswer::Result(result) => {
                let bytes = result.bytes().len();
                if bytes > ANSWER_BYTES_MAX {
                    let message = format!("the action returned {bytes} bytes; the limit is {ANSWER_BYTES_MAX}");
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                Ok(PageAnswer::Result(result))
            }
        }
    }

    async fn web_answer(&self, http: &Arc<HttpRequest>, cursor: &Json, page: &Json, number: u32) -> Result<WebAnswer, SourceError> {
        let mut headers = Vec::new();
        // With several pages, the first one says nothing about the others.
        if number == 1 && self.poll.next_page.is_none() {
            let known = self.unchanged.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(known) = known.filter(|known| known.cursor == *cursor) {
                headers.extend(known.etag.map(|etag| ("if-none-match", etag)));
                headers.extend(known.modified.map(|modified| ("if-modified-since", modified)));
            }
        }
        let request = WebRequest {
            sensor: Arc::clone(&self.sensor),
            http: Arc::clone(http),
            keys: Arc::clone(&self.world.keys),
            values: BTreeMap::from([("cursor", cursor.clone()), ("page", page.clone())]),
            headers,
            now: self.world.clock.now(),
            timeout: EXCHANGE_TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
            decode: self.poll.reading.decode,
            text_decoding: self.poll.reading.text_decoding.clone(),
        };
        self.world.web.fetch(request).await
    }

    /// Returns the items of a server's page, and the next page.
    fn page_of_web(&self, answer: &WebAnswer, page: &Json) -> Result<(Vec<Document>, Option<Json>), SourceError> {
        if is_empty(&answer.body, self.poll.reading.decode) {
            return Ok((Vec::new(), None));
        }
        let body = match self.poll.reading.decode {
            Decode::Json => parse_json(&answer.body, None, self.poll.reading.text_decoding.invalid)
                .map_err(|error| SourceError::new(SensorErrorKind::Protocol, format!("the answer is not JSON: {error}")))?,
            Decode::Text => {
                let text = std::str::from_utf8(&answer.body)
                    .map_err(|_| SourceError::new(SensorErrorKind::Protocol, "the answer is not text in UTF-8"))?;
                Document::from_value(&text.into())
            }
        };
        let headers = Value::map(answer.headers.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))));
        let scope = self
            .config()
            .with("body", Value::from(body.root()))
            .with("headers", headers)
            .with("status", Value::Int(i64::from(answer.status)))
            .with("page", Value::from_json(page));
        self.page(&scope, &body)
    }

    /// Returns the items of an action's result, and the next page.
    fn page_of_result(&self, result: &Document, page: &Json) -> Result<(Vec<Document>, Option<Json>), SourceError> {
        let scope = self.config().with(RESULT, Value::from(result.root())).with("page", Value::from_json(page));
        self.page(&scope, result)
    }

    /// Returns the items of a page, and the next page.
    fn page(&self, scope: &Scope<'_>, whole: &Document) -> Result<(Vec<Document>, Option<Json>), SourceError> {
        let items = match &self.poll.items {
            None => vec![whole.clone()],
            Some(expression) => {
                let value = self.evaluate(expression, scope, "`items`")?;
                match (value.elements(), &value) {
                    (Some(elements), _) => elements.iter().map(document).collect::<Result<_, _>>()?,
                    // Some servers write an empty list so.
                    (None, value) if is_null(value) => Vec::new(),
                    (None, value) => {
                        let message = format!("`items` returns {}, but it must return a list", value.kind());
                        return Err(SourceError::new(SensorErrorKind::Emits, message));
                    }
                }
            }
        };
        let Some(next) = &self.poll.next_page else { return Ok((items, None)) };
        let scope = scope.clone().with("items", Value::list(items.iter().map(|item| Value::from(item.root()))));
        let mut budget = Budget::default();
        let next = match next.evaluate(&scope, &mut budget) {
            Ok(Value::Null | Value::Optional(None)) => None,
            Ok(value) => Some(value.to_json().map_err(|error| evaluation_error("`next_page`", &error))?),
            // The last page has no field for the next one.
            Err(error) if error.kind == ErrorKind::Missing => None,
            Err(error) => return Err(evaluation_error("`next_page`", &error)),
        };
        Ok((items, next.filter(|next| !next.is_null() && next.as_str() != Some(""))))
    }

    /// Decides which items are new, and where the poll ended.
    fn complete(&self, place: &PollState, cursor: Json, items: Vec<Item>, result: Option<&Document>) -> Result<PollOutcome, SourceError> {
        let value = match &self.poll.cursor {
            None => None,
            Some(written) if items.is_empty() && !moves_without_items(written) => Some(cursor),
            Some(written) => {
                let all = Value::list(items.iter().map(|item| Value::from(item.document.root())));
                let mut scope = self.config().with("items", all).with("cursor", Value::from_json(&cursor));
                if let Some(result) = result {
                    scope.set(RESULT, Value::from(result.root()));
                }
                let next = self.value(&written.next, &scope, "`next` of `cursor`")?;
                let bytes = next.to_string().len();
                if bytes > VALUE_BYTES_MAX {
                    let message = format!("`next` of `cursor` returns {bytes} bytes; the limit is {VALUE_BYTES_MAX}");
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                Some(next)
            }
        };
        let (is_skipped, now) = (self.skips_at(place), self.world.clock.now());
        let mut seen = place.seen_counts();
        let (mut ids, mut found) = (BTreeSet::new(), Vec::new());
        for (index, Item { document, page }) in items.into_iter().enumerate() {
            let mark = match &self.poll.only_new {
                Some(only_new) => self.id(only_new, &document),
                None => hash(document.bytes()),
            };
            // With ids, the same item on two pages is one item.
            if self.poll.only_new.is_some() && (!ids.insert(mark) || place.knows(mark)) {
                continue;
            }
            // A poll that was interrupted had this item before.
            if let Some(count) = seen.get_mut(&mark).filter(|count| **count > 0) {
                *count -= 1;
                continue;
            }
            if !is_skipped {
                found.push(NewItem { item: document, index, page, mark });
            }
        }
        Ok(PollOutcome::Complete { found, place: place.after(ids.into_iter(), value, now, self.memory(now)) })
    }

    /// Returns how long ids are remembered. Without a word of the author that is a day, or ten polls if they take longer.
    fn memory(&self, now: Timestamp) -> Memory {
        let remember = self.poll.remember;
        let ten_polls = || match &self.poll.times {
            PollTimes::Every(period) => period.saturating_mul(10),
            PollTimes::Cron(cron) => {
                let tenth = (0..10).try_fold(now, |time, _| cron.next_after(time));
                let micros = tenth.and_then(|tenth| u64::try_from(tenth.micros_since(now)).ok());
                micros.map_or(Duration::ZERO, Duration::from_micros)
            }
        };
        let long = remember.long.unwrap_or_else(|| ten_polls().clamp(DAY, REMEMBER_MAX));
        Memory { ids: remember.ids as usize, long }
    }

    /// Returns true if a poll only remembers its items. A test shows them, and a look for the end shows none.
    fn skips_at(&self, place: &PollState) -> bool {
        let is_skipped = !place.has_polled && self.poll.first == FirstPoll::Skip;
        match self.world.purpose {
            SourcePurpose::Run => is_skipped,
            SourcePurpose::Test => {
                if is_skipped {
                    self.world.lines.add("the first poll of this sensor only remembers these items (`first: skip`)".to_owned());
                }
                false
            }
            SourcePurpose::End => true,
        }
    }

    /// Returns the hash of an item's id. An item without one is identified by its content.
    fn id(&self, only_new: &Expression, item: &Document) -> u64 {
        let scope = self.config().with("item", Value::from(item.root()));
        match only_new.evaluate(&scope, &mut Budget::default()) {
            Ok(id) if !matches!(id, Value::Null | Value::Optional(None)) => {
                hash(id.to_json_text().unwrap_or_else(|_| item.root().raw().to_owned()).as_bytes())
            }
            Ok(_) | Err(_) => {
                // Once in a run: each poll may find the same items again.
                if !self.has_said_that_ids_are_missing.swap(true, Ordering::Relaxed) {
                    self.world.lines.add("an item has no id (`only_new`), so it is identified by its content".to_owned());
                }
                hash(item.bytes())
            }
        }
    }

    fn config(&self) -> Scope<'_> {
        Scope::new().with("config", Value::from_json(&self.sensor.config))
    }

    fn value<'a>(&'a self, expression: &'a Expression, scope: &Scope<'a>, place: &str) -> Result<Json, SourceError> {
        self.evaluate(expression, scope, place)?.to_json().map_err(|error| evaluation_error(place, &error))
    }

    fn evaluate<'a>(&self, expression: &'a Expression, scope: &Scope<'a>, place: &str) -> Result<Value<'a>, SourceError> {
        expression.evaluate(scope, &mut Budget::default()).map_err(|error| evaluation_error(place, &error))
    }
}

/// Returns true if a server has nothing to say, as with the status 204: an answer without a body has no items.
fn is_empty(body: &[u8], decode: Decode) -> bool {
    match decode {
        Decode::Json => body.trim_ascii().is_empty(),
        Decode::Text => body.is_empty(),
    }
}

/// Returns true if the next value is computed after each poll, not only after those that found items: it reads what an
/// action returned.
fn moves_without_items(cursor: &PollCursor) -> bool {
    cursor.next.reads_root(RESULT)
}

fn is_null(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Json(node) => node.is_null(),
        _ => false,
    }
}

fn document(value: &Value<'_>) -> Result<Document, SourceError> {
    if let Value::Json(node) = value {
        return Ok(node.to_document());
    }
    let text = value.to_json_text().map_err(|error| evaluation_error("`items`", &error))?;
    Document::parse(Bytes::from(text)).map_err(|error| SourceError::new(SensorErrorKind::Emits, format!("an item is not valid: {error}")))
}

fn evaluation_error(place: &str, error: &EvaluationError) -> SourceError {
    SourceError::new(SensorErrorKind::Emits, format!("{place} cannot be computed: {error}"))
}

fn status_error(status: u16) -> SourceError {
    let kind = match status {
        401 | 403 => SensorErrorKind::Auth,
        404 | 410 => SensorErrorKind::NotFound,
        408 | 504 => SensorErrorKind::Timeout,
        500.. => SensorErrorKind::Connect,
        _ => SensorErrorKind::Protocol,
    };
    SourceError::new(kind, format!("the server answered {status}"))
}
