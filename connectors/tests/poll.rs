//! Sensors that poll servers which do not behave: they hang, say something else than they should, page without end, go
//! back in time, or ask to be left alone permanently.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/support/world_of_sources.rs"]
mod world_of_sources;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ensue_connectors::world::{
    self, ActionAnswer, ActionOrder, Actions, Clock as _, Folders, Keys, Program, ProgramOrder, Programs, Purpose, Web, WebAnswer,
    WebRequest,
};
use ensue_connectors::{Body, Connect, Connectors, Pending, Pulled, Room, SensorErrorKind, Source as Running, SourceError, Token, World};
use ensue_engine::catalog::{
    Asked, Decode, FirstPoll, HttpBody, HttpRequest, OnPoison, PoisonLimit, PollCursor, PollSource, PollTimes, Reading, Sensor, Source,
};
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Expression, Roots, Template};
use serde_json::{Value, json};
use world_of_sources::{Collected, MachineClock};

const ROOM: Room = Room { messages: 500, bytes: 1 << 20 };
const MINUTE: Duration = Duration::from_secs(60);

/// What a server answers to the `page` of a request, when it was asked so often before; `None` if it hangs.
type Answers = Box<dyn Fn(&Value, u64) -> Option<WebAnswer> + Send + Sync>;

/// A server, and how often it was asked.
struct Server {
    answer: Answers,
    asked: Mutex<u64>,
}

impl Web for Server {
    fn fetch(&self, order: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        match (self.answer)(&order.values["page"], *asked) {
            Some(answer) => Box::pin(std::future::ready(Ok(answer))),
            // As the executor's client does it.
            None => Box::pin(async move {
                tokio::time::sleep(order.timeout).await;
                Err(SourceError::new(SensorErrorKind::Timeout, "the server did not answer in time"))
            }),
        }
    }
}

/// The machine's clock, of which the time passes only while everything waits.
struct PausedClock(Timestamp, tokio::time::Instant);

impl world::Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.micros() + i64::try_from(self.1.elapsed().as_micros()).unwrap())
    }

    fn sleep(&self, long: Duration) -> Pending<'_, ()> {
        Box::pin(tokio::time::sleep(long))
    }
}

/// Polls reach nothing else.
struct Nothing;

impl Actions for Nothing {
    fn run(&self, _: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>> {
        panic!("it runs no action")
    }
}

impl Programs for Nothing {
    fn start(&self, _: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>> {
        panic!("it starts no program")
    }
}

impl Keys for Nothing {
    fn open(&self, _: &KeyRef, _: &SensorRef) -> Result<Secret, SourceError> {
        panic!("it opens no key")
    }

    fn listed(&self, _: &PackName) -> Vec<KeyRef> {
        Vec::new()
    }

    fn lists_connection(&self, _: &PackName, _: &str) -> bool {
        false
    }
}

fn expression(source: &str) -> Expression {
    Expression::compile(source, &Roots::new(["config", "cursor", "items", "item", "page", "body", "headers", "status"])).unwrap()
}

fn poll() -> PollSource {
    let template = |value: Value| Template::compile(&value, &Roots::new(["config", "cursor", "page"])).unwrap();
    PollSource {
        times: PollTimes::Every(MINUTE),
        asked: Asked::Http(Arc::new(HttpRequest {
            connection: None,
            without_connection: None,
            url: template(json!("http://a.example/items")),
            method: template(json!("GET")),
            headers: template(json!({})),
            query: template(json!({})),
            body: HttpBody::None,
        })),
        items: Some(expression("body.items")),
        next_page: None,
        pages_max: 5,
        items_max: 100,
        cursor: None,
        only_new: None,
        first: FirstPoll::Emit,
        reading: Reading { decode: Decode::Json, schema: None, poison: PoisonLimit::default(), on_poison: OnPoison::Letter },
    }
}

fn says(status: u16, body: &str) -> WebAnswer {
    let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
    WebAnswer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()), retry_after: None }
}

fn items(numbers: impl IntoIterator<Item = u64>) -> WebAnswer {
    let items: Vec<Value> = numbers.into_iter().map(|n| json!({ "n": n })).collect();
    says(200, &json!({ "items": items }).to_string())
}

struct Polling {
    source: Box<dyn Running>,
    server: Arc<Server>,
    lines: Arc<Collected>,
}

impl Polling {
    async fn begin(
        poll: PollSource,
        cursor: Option<Document>,
        answer: impl Fn(&Value, u64) -> Option<WebAnswer> + Send + Sync + 'static,
    ) -> Self {
        let server = Arc::new(Server { answer: Box::new(answer), asked: Mutex::new(0) });
        let lines = Arc::new(Collected::default());
        let world = World {
            purpose: Purpose::Run,
            seed: 1,
            clock: Arc::new(PausedClock(MachineClock.now(), tokio::time::Instant::now())),
            web: server.clone(),
            programs: Arc::new(Nothing),
            actions: Arc::new(Nothing),
            keys: Arc::new(Nothing),
            folders: Arc::new(Folders::default()),
            lines: lines.clone(),
        };
        let source = Source::Poll(Arc::new(poll));
        let sensor = Sensor {
            name: "dev.poll".parse().unwrap(),
            description: String::new(),
            source,
            emits: Vec::new(),
            config: Arc::new(json!({})),
        };
        let source = Connectors.open(Arc::new(sensor), Arc::new(world), cursor).await.unwrap();
        Self { source, server, lines }
    }

    /// Returns the numbers of the next messages, and settles them; or how the run ends.
    async fn next(&mut self) -> Result<Vec<u64>, SourceError> {
        let Pulled::Messages(messages) = self.source.next(ROOM).await? else { panic!("a poll is never done") };
        let tokens: Vec<Token> = messages.iter().map(|message| message.token).collect();
        self.source.settle(&tokens).await.unwrap();
        let number = |body: &Body| {
            if let Body::Json(item) = body { item.root().get("n").unwrap().to_document().bytes().clone() } else { Bytes::new() }
        };
        let numbers = messages.iter().filter(|message| !matches!(message.body, Body::Progress));
        Ok(numbers.map(|message| std::str::from_utf8(&number(&message.body)).unwrap().parse().unwrap()).collect())
    }

    async fn fails(&mut self) -> SourceError {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }

    fn asked(&self) -> u64 {
        *self.server.asked.lock().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_hangs_ends_the_run_after_a_minute_and_can_be_left_before() {
    let mut polling = Polling::begin(poll(), None, |_, _| None).await;
    let left = tokio::time::timeout(Duration::from_secs(30), polling.source.next(ROOM)).await;
    assert!(left.is_err(), "nothing comes");
    let error = polling.fails().await;
    assert_eq!((error.kind, polling.asked()), (SensorErrorKind::Timeout, 1));
    polling.source.close().await;
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_not_of_its_type_makes_no_message() {
    for (answer, kind) in [
        (says(200, "<html>Please log in</html>"), SensorErrorKind::Protocol),
        (says(200, ""), SensorErrorKind::Protocol),
        (says(200, r#"{"items": {"n": 1}}"#), SensorErrorKind::Emits),
        (says(200, r#"{"error": "none"}"#), SensorErrorKind::Emits),
        (says(302, ""), SensorErrorKind::Protocol),
        (says(500, r#"{"items": []}"#), SensorErrorKind::Connect),
    ] {
        let said = answer.clone();
        let mut polling = Polling::begin(poll(), None, move |_, _| Some(answer.clone())).await;
        assert_eq!(polling.next().await.unwrap_err().kind, kind, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_without_end_are_a_failure_and_make_no_message() {
    let next_page = Some(expression("body.next"));
    let page = |next: u64| says(200, &json!({ "items": [{ "n": next }], "next": next }).to_string());
    let mut growing = Polling::begin(PollSource { next_page, ..poll() }, None, move |_, asked| Some(page(asked))).await;
    let error = growing.next().await.unwrap_err();
    assert_eq!((error.kind, growing.asked()), (SensorErrorKind::Limit, 5), "{}", error.message);

    let next_page = Some(expression("body.next"));
    let mut same = Polling::begin(PollSource { next_page, ..poll() }, None, move |_, _| Some(page(7))).await;
    let error = same.next().await.unwrap_err();
    assert_eq!((error.kind, same.asked()), (SensorErrorKind::Protocol, 2), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn more_items_than_allowed_are_a_failure_and_make_no_message() {
    let mut polling = Polling::begin(poll(), None, |_, _| Some(items(0..101))).await;
    let error = polling.next().await.unwrap_err();
    assert_eq!(error.kind, SensorErrorKind::Limit, "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn server_that_goes_back_in_time_makes_no_event_twice() {
    // A replica that is behind returns an older list, without the newest items, and then all again.
    let lists = [vec![1, 2, 3], vec![1], vec![1, 2, 3], vec![1, 2, 3, 4]];
    let only_new = Some(expression("item.n"));
    let answer = move |_: &Value, asked: u64| Some(items(lists[usize::try_from(asked - 1).unwrap().min(3)].clone()));
    let mut polling = Polling::begin(PollSource { only_new, ..poll() }, None, answer).await;
    let mut all = Vec::new();
    while !all.contains(&4) {
        all.extend(polling.next().await.unwrap());
    }
    assert_eq!(all, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn value_that_goes_back_is_asked_for_as_the_author_wrote_it() {
    // `next` decides: with the maximum of both, an older answer moves nothing back.
    let cursor = || Some(PollCursor { start: expression("0"), next: expression("(items.map(i, i.n) + [cursor]).max()") });
    let answer = |_: &Value, asked: u64| Some(items(if asked == 1 { [9] } else { [4] }));
    let mut polling = Polling::begin(PollSource { cursor: cursor(), ..poll() }, None, answer).await;
    assert_eq!(polling.next().await.unwrap(), [9]);
    let Pulled::Messages(messages) = polling.source.next(ROOM).await.unwrap() else { panic!("a poll is never done") };
    let place = polling.source.cursor_at(messages.last().unwrap().token).unwrap();
    let text = String::from_utf8(place.bytes().to_vec()).unwrap();
    assert!(text.contains('9') && !text.contains('4'), "{text}");
}

#[tokio::test(start_paused = true)]
async fn server_that_keeps_limiting_its_rate_fails_the_sensor_after_the_fifth_time() {
    let answer = |_: &Value, _: u64| Some(WebAnswer { retry_after: Some(Duration::from_secs(100)), ..says(429, "") });
    let begin = tokio::time::Instant::now();
    let mut polling = Polling::begin(poll(), None, answer).await;
    let error = polling.fails().await;
    assert_eq!((error.kind, error.retry_after, polling.asked()), (SensorErrorKind::Limit, Some(Duration::from_secs(100)), 5));
    assert!(begin.elapsed() >= 4 * Duration::from_secs(100), "it waits as long as the server asks: {:?}", begin.elapsed());
    assert_eq!(polling.lines.0.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn server_that_asks_for_a_year_of_rest_is_asked_again_after_an_hour() {
    let year = Duration::from_secs(365 * 24 * 3_600);
    let answer =
        move |_: &Value, asked: u64| Some(if asked == 1 { WebAnswer { retry_after: Some(year), ..says(503, "") } } else { items([1]) });
    let begin = tokio::time::Instant::now();
    let mut polling = Polling::begin(poll(), None, answer).await;
    assert_eq!(polling.next().await.unwrap(), [1]);
    assert!(begin.elapsed() <= Duration::from_secs(3_600) + MINUTE, "{:?}", begin.elapsed());
}
