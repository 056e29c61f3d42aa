//! Sensors that poll servers which do not behave: they hang, say something else than they should, page without end, go
//! back in time, or ask to be left alone permanently.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ensue_connectors::world::{ActionAnswer, ActionOrder, Actions, SourcePurpose, Web, WebAnswer, WebRequest};
use ensue_connectors::{
    Body, Connect, Connectors, Lag, MESSAGE_BYTES_MAX, Message, MessageSource as Running, Pending, PullOutcome, Room, SensorErrorKind,
    SourceError, Token, World, check_cursor,
};
use ensue_engine::catalog::{
    FirstPoll, HttpBody, HttpRequest, Invalid, PollCursor, PollMemory, PollSource, PollTarget, PollTimes, PolledAction, Reading, Sensor,
    Source, TextDecoding,
};
use ensue_engine::schedule::{Cron, Zone};
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Expression, Roots, Template};
use serde_json::{Value, json};
use support::{CollectedLines, RuntimeClock};
use tokio::time::Instant;

const ROOM: Room = Room { messages: 500, bytes: 1 << 20 };
const MINUTE: Duration = Duration::from_secs(60);
/// Ten seconds after polls by the minute are due.
const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_010_000_000);

/// What a server answers to the `page` of a request, when it was asked so often before; `None` if it hangs.
type Answers = Box<dyn Fn(&Value, u64) -> Option<WebAnswer> + Send + Sync>;

/// A server, and what it was asked.
struct Server {
    answer: Answers,
    asked: Mutex<Vec<Request>>,
}

/// What a server was asked.
#[derive(Clone)]
struct Request {
    at: Instant,
    headers: Vec<(&'static str, String)>,
    cursor: Value,
}

impl Web for Server {
    fn fetch(&self, order: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(Request { at: Instant::now(), headers: order.headers, cursor: order.values["cursor"].clone() });
        match (self.answer)(&order.values["page"], asked.len() as u64) {
            Some(answer) => Box::pin(std::future::ready(Ok(answer))),
            // As the executor's client does it.
            None => Box::pin(async move {
                let error = |_| SourceError::new(SensorErrorKind::Timeout, "the server did not answer in time");
                tokio::time::timeout(order.timeout, std::future::pending()).await.map_err(error)
            }),
        }
    }
}

fn expression(source: &str) -> Expression {
    Expression::compile(source, &Roots::new(["config", "cursor", "items", "item", "page", "body", "headers", "status"])).unwrap()
}

fn poll() -> PollSource {
    let template = |value: Value| Template::compile(&value, &Roots::new(["config", "cursor", "page"])).unwrap();
    PollSource {
        times: PollTimes::Every(MINUTE),
        asked: PollTarget::Http(Arc::new(HttpRequest {
            connection: None,
            without_connection: None,
            url: template(json!("http://a.example/items")),
            method: template(json!("GET")),
            headers: template(json!({})),
            query: template(json!({})),
            body: HttpBody::None,
            parse: None,
            text_decoding: TextDecoding::default(),
            signing: None,
        })),
        items: Some(expression("body.items")),
        next_page: None,
        pages_max: 5,
        items_max: 100,
        cursor: None,
        only_new: None,
        remember: PollMemory::default(),
        first: FirstPoll::Emit,
        reading: Reading::default(),
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
    lines: Arc<CollectedLines>,
}

impl Polling {
    async fn begin(
        poll: PollSource,
        cursor: Option<Document>,
        answer: impl Fn(&Value, u64) -> Option<WebAnswer> + Send + Sync + 'static,
    ) -> Self {
        Self::begin_for(SourcePurpose::Run, poll, cursor, answer).await
    }

    async fn begin_for(
        purpose: SourcePurpose,
        poll: PollSource,
        cursor: Option<Document>,
        answer: impl Fn(&Value, u64) -> Option<WebAnswer> + Send + Sync + 'static,
    ) -> Self {
        let server = Arc::new(Server { answer: Box::new(answer), asked: Mutex::default() });
        let lines = Arc::new(CollectedLines::default());
        let world =
            World { purpose, clock: Arc::new(RuntimeClock::at(BEGIN)), web: server.clone(), lines: lines.clone(), ..support::world() };
        Self { source: open_poll(poll, world, cursor).await, server, lines }
    }

    /// Returns the numbers of the next messages, and settles them; or how the run ends.
    async fn next(&mut self) -> Result<Vec<u64>, SourceError> {
        let messages = expect_messages(self.source.next(ROOM).await?);
        self.source.settle(&tokens(&messages)).await.unwrap();
        Ok(numbers(&messages))
    }

    /// Returns the next messages within a room, unsettled.
    async fn next_unsettled(&mut self, room: Room) -> Vec<Message> {
        expect_messages(self.source.next(room).await.unwrap())
    }

    async fn fails(&mut self) -> SourceError {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }

    fn request_count(&self) -> usize {
        self.server.asked.lock().unwrap().len()
    }

    fn requests(&self) -> Vec<Request> {
        self.server.asked.lock().unwrap().clone()
    }
}

fn sensor(source: Source) -> Sensor {
    Sensor { name: "dev.poll".parse().unwrap(), description: String::new(), source, emits: Vec::new(), config: Arc::new(json!({})) }
}

async fn open_poll(poll: PollSource, world: World, cursor: Option<Document>) -> Box<dyn Running> {
    let sensor = sensor(Source::Poll(Arc::new(poll)));
    if let Some(cursor) = &cursor {
        check_cursor(&sensor, cursor).unwrap();
    }
    Connectors.open(Arc::new(sensor), Arc::new(world), cursor).await.unwrap()
}

#[test]
fn cursor_that_a_poll_cannot_read_is_refused_with_its_form() {
    let sensor = sensor(Source::Poll(Arc::new(poll())));
    for foreign in [json!(3), json!("3"), json!(null), json!([true]), json!({ "value": 3 }), json!({ "polled": "yes" })] {
        let misfit = check_cursor(&sensor, &Document::from_value(&foreign)).unwrap_err();
        let form = "a `poll` cannot continue from this cursor: it is an object like {\"polled\": true, \"value\": 8}";
        assert!(misfit.to_string().starts_with(form), "{misfit}");
    }
    check_cursor(&sensor, &Document::from_value(&json!({ "polled": true, "value": 3 }))).unwrap();
}

fn expect_messages(pulled: PullOutcome) -> Vec<Message> {
    let PullOutcome::Messages(messages) = pulled else { panic!("a poll is never done") };
    messages
}

fn tokens(messages: &[Message]) -> Vec<Token> {
    messages.iter().map(|message| message.token).collect()
}

/// Returns the number in each item.
fn numbers(messages: &[Message]) -> Vec<u64> {
    let number = |message: &Message| match &message.body {
        Body::Json(item) => Some(item.root().get("n").unwrap().as_i64().unwrap().unsigned_abs()),
        Body::Progress => None,
        other => panic!("{other:?}"),
    };
    messages.iter().filter_map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn server_that_hangs_ends_the_run_after_a_minute_and_can_be_left_before() {
    let mut polling = Polling::begin(poll(), None, |_, _| None).await;
    let left = tokio::time::timeout(Duration::from_secs(30), polling.source.next(ROOM)).await;
    assert!(left.is_err(), "nothing comes");
    let error = polling.fails().await;
    assert_eq!((error.kind, polling.request_count()), (SensorErrorKind::Timeout, 1));
    polling.source.close().await;
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_not_of_its_type_makes_no_message() {
    for (answer, kind) in [
        (says(200, "<html>Please log in</html>"), SensorErrorKind::Protocol),
        (says(200, r#"{"items": {"n": 1}}"#), SensorErrorKind::Emits),
        (says(200, r#"{"error": "none"}"#), SensorErrorKind::Emits),
        (says(302, ""), SensorErrorKind::Protocol),
        (says(500, r#"{"items": []}"#), SensorErrorKind::Connect),
        // Only with a time to come back does it ask to be left alone.
        (says(503, ""), SensorErrorKind::Connect),
    ] {
        let said = answer.clone();
        let mut polling = Polling::begin(poll(), None, move |_, _| Some(answer.clone())).await;
        assert_eq!(polling.next().await.unwrap_err().kind, kind, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answer_with_two_fields_of_one_name_has_the_last_only_if_the_author_lets_it_pass() {
    let answer = |_: &Value, _: u64| Some(says(200, r#"{"items": [], "items": [{"n": 1, "t": "cut \ud83d", "n": 7}]}"#));
    let mut polling = Polling::begin(poll(), None, answer).await;
    let error = polling.next().await.unwrap_err();
    assert_eq!(error.kind, SensorErrorKind::Protocol);
    assert!(error.message.starts_with("the answer is not JSON: line 1, column 15"), "{}", error.message);
    let text_decoding = TextDecoding { invalid: Invalid::Replace, ..TextDecoding::default() };
    let replacing = PollSource { reading: Reading { text_decoding, ..poll().reading }, ..poll() };
    let mut polling = Polling::begin(replacing, None, answer).await;
    assert_eq!(polling.next().await.unwrap(), [7]);
}

#[tokio::test(start_paused = true)]
async fn answer_without_a_body_or_with_null_as_its_items_is_an_empty_poll() {
    for empty in [says(204, ""), says(200, ""), says(200, " \n"), says(200, r#"{"items": null}"#)] {
        let next_page = Some(expression("body.next"));
        let answer = move |_: &Value, asked: u64| Some(if asked == 1 { empty.clone() } else { items([7]) });
        let mut polling = Polling::begin(PollSource { next_page, ..poll() }, None, answer).await;
        let mut all = Vec::new();
        while all.is_empty() {
            all = polling.next().await.unwrap();
        }
        assert_eq!((all, polling.request_count()), (vec![7], 2));
    }
}

#[tokio::test(start_paused = true)]
async fn pages_without_end_are_a_failure_and_make_no_message() {
    let next_page = Some(expression("body.next"));
    let page = |next: u64| says(200, &json!({ "items": [{ "n": next }], "next": next }).to_string());
    let mut growing = Polling::begin(PollSource { next_page, ..poll() }, None, move |_, asked| Some(page(asked))).await;
    let error = growing.next().await.unwrap_err();
    assert_eq!((error.kind, growing.request_count()), (SensorErrorKind::Limit, 5), "{}", error.message);

    let next_page = Some(expression("body.next"));
    let mut same = Polling::begin(PollSource { next_page, ..poll() }, None, move |_, _| Some(page(7))).await;
    let error = same.next().await.unwrap_err();
    assert_eq!((error.kind, same.request_count()), (SensorErrorKind::Protocol, 2), "{}", error.message);
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
    let messages = polling.next_unsettled(ROOM).await;
    let place = polling.source.cursor_at(messages.last().unwrap().token).unwrap();
    let text = String::from_utf8(place.bytes().to_vec()).unwrap();
    assert!(text.contains('9') && !text.contains('4'), "{text}");
}

#[tokio::test(start_paused = true)]
async fn server_that_keeps_limiting_its_rate_fails_the_sensor_after_the_fifth_time() {
    let answer = |_: &Value, _: u64| Some(WebAnswer { retry_after: Some(Duration::from_secs(100)), ..says(429, "") });
    let begin = Instant::now();
    let mut polling = Polling::begin(poll(), None, answer).await;
    let error = polling.fails().await;
    assert_eq!((error.kind, error.retry_after, polling.request_count()), (SensorErrorKind::Limit, Some(Duration::from_secs(100)), 5));
    assert!(begin.elapsed() >= 4 * Duration::from_secs(100), "it waits as long as the server asks: {:?}", begin.elapsed());
    assert_eq!(polling.lines.0.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn server_that_asks_for_a_year_of_rest_is_asked_again_after_an_hour() {
    let year = Duration::from_secs(365 * 24 * 3_600);
    let answer =
        move |_: &Value, asked: u64| Some(if asked == 1 { WebAnswer { retry_after: Some(year), ..says(503, "") } } else { items([1]) });
    let begin = Instant::now();
    let mut polling = Polling::begin(poll(), None, answer).await;
    assert_eq!(polling.next().await.unwrap(), [1]);
    assert!(begin.elapsed() <= Duration::from_secs(3_600) + MINUTE, "{:?}", begin.elapsed());
}

/// Answers with each of these in turn, and with the last one from then on.
fn in_turn(answers: Vec<WebAnswer>) -> impl Fn(&Value, u64) -> Option<WebAnswer> + Send + Sync + 'static {
    move |_, asked| Some(answers[usize::try_from(asked - 1).unwrap().min(answers.len() - 1)].clone())
}

fn throttled_answer(seconds: u64) -> WebAnswer {
    WebAnswer { retry_after: Some(Duration::from_secs(seconds)), ..says(429, "") }
}

#[tokio::test(start_paused = true)]
async fn any_other_answer_ends_a_row_of_requests_to_be_left_alone() {
    for other in [says(304, ""), items([]), items([1])] {
        let said = other.clone();
        let mut answers = vec![throttled_answer(1); 4];
        answers.push(other);
        answers.extend(vec![throttled_answer(1); 4]);
        answers.push(items([2]));
        answers.extend(vec![throttled_answer(1); 5]);
        let mut polling = Polling::begin(poll(), None, in_turn(answers)).await;
        let mut all = Vec::new();
        while !all.contains(&2) {
            all.extend(polling.next().await.unwrap());
        }
        let error = polling.fails().await;
        assert_eq!((error.kind, polling.request_count()), (SensorErrorKind::Limit, 15), "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn period_holds_after_a_short_rest_and_a_long_rest_holds_after_the_period() {
    // Polls are due ten seconds before, and fifty seconds after the beginning.
    for (rest, again_after) in [(Some(1), 50), (Some(49), 50), (Some(51), 51), (Some(130), 130), (None, 60)] {
        let answer = WebAnswer { retry_after: rest.map(Duration::from_secs), ..says(429, "") };
        let mut polling = Polling::begin(poll(), None, in_turn(vec![answer, items([1])])).await;
        polling.next().await.unwrap();
        let requests = polling.requests();
        assert_eq!((requests[1].at - requests[0].at).as_secs(), again_after, "a rest of {rest:?} seconds");
    }
}

#[tokio::test(start_paused = true)]
async fn server_is_asked_once_in_each_period() {
    let mut polling = Polling::begin(poll(), None, |_, asked| Some(items([asked]))).await;
    for number in 1..=4 {
        assert_eq!(polling.next().await.unwrap(), [number]);
    }
    let seconds: Vec<u64> = polling.requests().iter().map(|request| (request.at - polling.requests()[0].at).as_secs()).collect();
    assert_eq!(seconds, [0, 50, 110, 170]);
}

#[tokio::test(start_paused = true)]
async fn server_compares_with_what_it_said_before_only_while_the_cursor_stays() {
    let cursor = Some(PollCursor { start: expression("0"), next: expression("items.size() > 0 ? items[0].n : cursor") });
    let marked = |answer: WebAnswer, etag: &str| {
        let mut answer = answer;
        answer.headers.extend([("etag".to_owned(), etag.to_owned()), ("last-modified".to_owned(), format!("at {etag}"))]);
        answer
    };
    let answers = vec![
        marked(items([5]), "a"),
        marked(items([5]), "b"),
        says(304, ""),
        marked(items([6]), "c"),
        marked(items([]), "d"),
        items([]),
        items([9]),
    ];
    let mut polling = Polling::begin(PollSource { cursor, ..poll() }, None, in_turn(answers)).await;
    let mut all = Vec::new();
    while !all.contains(&9) {
        all.extend(polling.next().await.unwrap());
    }
    let requests = polling.requests();
    let asked: Vec<_> = requests.iter().map(|request| (request.cursor.as_u64().unwrap(), request.headers.clone())).collect();
    let compared = |etag: &str| vec![("if-none-match", etag.to_owned()), ("if-modified-since", format!("at {etag}"))];
    assert_eq!(
        asked,
        [
            (0, vec![]),
            // The answer `a` was for another cursor.
            (5, vec![]),
            (5, compared("b")),
            (5, compared("b")),
            (6, vec![]),
            (6, compared("d")),
            // The last answer had nothing to compare with.
            (6, vec![]),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn pages_are_asked_for_without_a_comparison_and_known_by_their_items() {
    let next_page = Some(expression("page == null ? 2 : null"));
    let answer = |_: &Value, asked: u64| {
        let mut answer = items([asked]);
        answer.headers.insert("etag".to_owned(), "a".to_owned());
        Some(answer)
    };
    let mut polling = Polling::begin(PollSource { next_page, ..poll() }, None, answer).await;
    let both = polling.next_unsettled(ROOM).await;
    assert_eq!(numbers(&both), [1, 2]);
    let places: Vec<_> = both.iter().map(|message| (message.about["index"].clone(), message.about["page"].clone())).collect();
    assert_eq!(places, [(json!(0), Value::Null), (json!(1), json!(2))]);
    polling.source.settle(&tokens(&both)).await.unwrap();
    assert_eq!(polling.next().await.unwrap(), [3, 4]);
    assert!(polling.requests().iter().all(|request| request.headers.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn next_poll_returns_the_same_items_again_without_ids_and_none_with_them() {
    for at_once in [true, false] {
        let mut polling = Polling::begin(poll(), None, |_, _| Some(items([1, 2]))).await;
        for _ in 0..3 {
            let both = polling.next_unsettled(ROOM).await;
            assert_eq!(numbers(&both), [1, 2]);
            if at_once {
                polling.source.settle(&tokens(&both)).await.unwrap();
            } else {
                polling.source.settle(&[both[0].token]).await.unwrap();
                polling.source.settle(&[both[1].token]).await.unwrap();
            }
        }
        // The cursor that is in the log leads to the same as the one that is kept.
        let after = polling.source.cursor_at(Token(0));
        let mut next = Polling::begin(poll(), after, |_, _| Some(items([1, 2]))).await;
        assert_eq!(next.next().await.unwrap(), [1, 2]);
    }
    let only_new = || PollSource { only_new: Some(expression("item.n")), ..poll() };
    let mut polling = Polling::begin(only_new(), None, |_, asked| Some(items([1, 2, asked + 9]))).await;
    for expected in [&[1, 2, 10][..], &[11], &[12]] {
        assert_eq!(polling.next().await.unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn interrupted_poll_continues_with_as_many_equal_items_as_are_left() {
    for only_new in [None, Some("item.n + item.m")] {
        let source = || PollSource { only_new: only_new.map(expression), ..poll() };
        // Without ids, equal items count one by one. With ids, each of these is another one.
        let all = [(7, 0), (7, 1), (7, 2), (8, 5), (7, 3)];
        let answer = move |_: &Value, _: u64| {
            let item = |(n, m): (u64, u64)| json!({ "n": n, "m": if only_new.is_some() { m } else { 0 } });
            Some(says(200, &json!({ "items": all.map(item) }).to_string()))
        };
        for count in 0..=all.len() {
            let mut polling = Polling::begin(source(), None, answer).await;
            let mut before = Vec::new();
            while before.len() < count {
                let one = polling.next_unsettled(Room { messages: 1, ..ROOM }).await;
                assert_eq!(one.len(), 1);
                polling.source.settle(&tokens(&one)).await.unwrap();
                before.extend(numbers(&one));
            }
            let mut next = Polling::begin(source(), polling.source.cursor_at(Token(0)).filter(|_| count > 0), answer).await;
            let rest: Vec<u64> = match (count == all.len(), only_new) {
                (false, _) => next.next().await.unwrap(),
                // The poll is complete, so that this is the next one.
                (true, None) => continue,
                (true, Some(_)) => Vec::new(),
            };
            before.extend(rest);
            before.sort_unstable();
            assert_eq!(before, [7, 7, 7, 7, 8], "{only_new:?}, after {count}");
        }
    }
}

/// Returns what a server answers that has seven items, none in some polls, and then one more.
fn away(empty: std::ops::Range<u64>) -> impl Fn(&Value, u64) -> Option<WebAnswer> + Send + Sync + 'static {
    move |_, asked| {
        Some(match asked {
            asked if empty.contains(&asked) => items([]),
            asked if asked < empty.start => items(0..7),
            _ => items(0..8),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_were_away_for_some_polls_are_not_new() {
    let source = || PollSource { only_new: Some(expression("item.n")), ..poll() };
    let mut polling = Polling::begin(source(), None, away(2..14)).await;
    assert_eq!(polling.next().await.unwrap(), (0..7).collect::<Vec<_>>());
    assert_eq!(polling.next().await.unwrap(), [7], "after twelve polls without an item");
    assert_eq!(polling.request_count(), 14);
    // The same if a new run begins while they are away, from the cursor in the log.
    let mut polling = Polling::begin(source(), None, away(2..14)).await;
    polling.next().await.unwrap();
    let mut next = Polling::begin(source(), polling.source.cursor_at(Token(0)), away(0..12)).await;
    assert_eq!(next.next().await.unwrap(), [7]);
}

#[tokio::test(start_paused = true)]
async fn items_that_were_away_for_longer_than_the_author_allows_are_new() {
    let remember = PollMemory { long: Some(60 * MINUTE), ..PollMemory::default() };
    for (polls, expected) in [(55, vec![7]), (75, (0..8).collect())] {
        let source = PollSource { only_new: Some(expression("item.n")), remember, ..poll() };
        let mut polling = Polling::begin(source, None, away(2..2 + polls)).await;
        let first = polling.next().await.unwrap();
        assert_eq!(first.len(), 7);
        let mut then = Vec::new();
        while then.is_empty() {
            then = polling.next().await.unwrap();
        }
        assert_eq!(then, expected, "after {polls} minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn items_are_remembered_for_ten_polls_if_those_take_longer_than_a_day() {
    let times = [PollTimes::Every(48 * 60 * MINUTE), PollTimes::Cron(Box::new(Cron::parse("0 9 * * 1", Zone::UTC).unwrap()))];
    for times in times {
        let source = PollSource { only_new: Some(expression("item.n")), times, ..poll() };
        let mut polling = Polling::begin(source, None, away(2..11)).await;
        assert_eq!(polling.next().await.unwrap().len(), 7);
        assert_eq!(polling.next().await.unwrap(), [7]);
    }
}

#[tokio::test(start_paused = true)]
async fn cursor_in_the_middle_of_a_poll_has_what_was_returned_until_there() {
    let cursor = || Some(PollCursor { start: expression("0"), next: expression("items[1].n") });
    let source = || PollSource { cursor: cursor(), ..poll() };
    let answer = |_: &Value, _: u64| Some(items([4, 5]));
    let mut polling = Polling::begin(source(), None, answer).await;
    let both = polling.next_unsettled(ROOM).await;
    let [middle, end] = [0, 1].map(|index: usize| polling.source.cursor_at(both[index].token));
    assert_eq!(polling.source.cursor_at(Token(0)).unwrap().root().to_value(), json!({ "polled": false }));
    for (place, cursor, expected) in [(middle, 0, &[5][..]), (end, 5, &[4, 5])] {
        let mut next = Polling::begin(source(), place, answer).await;
        assert_eq!(next.next().await.unwrap(), expected);
        assert_eq!(next.requests()[0].cursor, json!(cursor));
    }
}

#[tokio::test(start_paused = true)]
async fn look_for_the_end_remembers_each_item_and_a_test_shows_each() {
    let source = |first| PollSource { only_new: Some(expression("item.n")), first, ..poll() };
    let answer = |_: &Value, asked: u64| Some(items(1..asked + 2));
    for first in [FirstPoll::Emit, FirstPoll::Skip] {
        let mut end = Polling::begin_for(SourcePurpose::End, source(first), None, answer).await;
        let moved = end.next_unsettled(ROOM).await;
        assert!(matches!(moved[0].body, Body::Progress) && moved.len() == 1);
        let mut next = Polling::begin(source(first), end.source.cursor_at(moved[0].token), answer).await;
        assert_eq!(next.next().await.unwrap(), [3], "the items 1 and 2 are remembered");
        let mut shown = Polling::begin_for(SourcePurpose::Test, source(first), None, answer).await;
        assert_eq!(shown.next().await.unwrap(), [1, 2]);
        assert_eq!(shown.lines.0.lock().unwrap().len(), usize::from(first == FirstPoll::Skip));
        let mut run = Polling::begin(source(first), None, answer).await;
        let expected = if first == FirstPoll::Skip { vec![] } else { vec![1, 2] };
        assert_eq!((run.next().await.unwrap(), run.next().await.unwrap()), (expected, vec![3]));
    }
}

#[tokio::test(start_paused = true)]
async fn answer_without_items_is_one_item_up_to_the_limit_and_has_only_its_beginning_above_it() {
    let answer = |bytes: usize| says(200, &format!("\"{}\"", "x".repeat(bytes - 2)));
    let answers = vec![answer(MESSAGE_BYTES_MAX), answer(MESSAGE_BYTES_MAX + 1)];
    let mut polling = Polling::begin(PollSource { items: None, ..poll() }, None, in_turn(answers)).await;
    let first = polling.next_unsettled(ROOM).await;
    assert!(matches!(&*first, [Message { body: Body::Json(item), .. }] if item.bytes().len() == MESSAGE_BYTES_MAX));
    polling.source.settle(&tokens(&first)).await.unwrap();
    let second = polling.next_unsettled(ROOM).await;
    let [Message { body: Body::Cut { head, whole }, .. }] = &*second else { panic!("{} messages", second.len()) };
    assert_eq!((head.len(), *whole), (64 << 10, MESSAGE_BYTES_MAX as u64 + 1));
}

#[tokio::test(start_paused = true)]
async fn lag_is_that_of_the_newest_poll_with_an_item() {
    let mut polling = Polling::begin(poll(), None, in_turn(vec![items([]), items([1]), items([])])).await;
    assert_eq!(polling.next().await.unwrap(), [0; 0]);
    assert_eq!(polling.source.lag(), Lag::Unknown);
    assert_eq!(polling.next().await.unwrap(), [1]);
    let read_at = Lag::NewestAt(BEGIN.plus_millis(50_001));
    assert_eq!(polling.source.lag(), read_at);
    tokio::time::timeout(10 * MINUTE, polling.source.next(ROOM)).await.expect_err("nothing comes");
    assert_eq!((polling.source.lag(), polling.request_count() > 5), (read_at, true));
}

#[tokio::test(start_paused = true)]
async fn poll_that_is_left_while_it_is_under_way_continues() {
    // The first page comes at once, the second one never, the whole poll is asked for once.
    let next_page = Some(expression("page == null ? 2 : null"));
    let answer = |page: &Value, _: u64| page.is_null().then(|| items([1]));
    let mut polling = Polling::begin(PollSource { next_page, ..poll() }, None, answer).await;
    for _ in 0..5 {
        tokio::time::timeout(Duration::from_secs(10), polling.source.next(ROOM)).await.expect_err("nothing comes");
    }
    assert_eq!(polling.request_count(), 2);
    assert_eq!(polling.fails().await.kind, SensorErrorKind::Timeout);
    assert_eq!(polling.requests()[0].at.elapsed(), MINUTE);
}

/// An action that returns these in turn, with the cursors that it was given.
struct Action {
    answers: Mutex<Vec<ActionAnswer>>,
    cursors: Mutex<Vec<Value>>,
}

impl Actions for Action {
    fn run(&self, order: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>> {
        self.cursors.lock().unwrap().push(order.values["cursor"].clone());
        Box::pin(std::future::ready(Ok(self.answers.lock().unwrap().remove(0))))
    }
}

#[tokio::test(start_paused = true)]
async fn action_moves_the_cursor_even_without_an_item_and_may_ask_to_be_left_alone() {
    let result = |items: Value, next: u64| ActionAnswer::Result(Document::from_value(&json!({ "items": items, "next": next })));
    let answers = vec![
        result(json!([{ "n": 1 }, { "n": 2 }]), 5),
        ActionAnswer::Throttled { retry_after: Duration::from_secs(200) },
        result(json!([]), 6),
        result(json!([{ "n": 3 }]), 7),
    ];
    let action = Arc::new(Action { answers: Mutex::new(answers), cursors: Mutex::default() });
    let expression = |source: &str| Expression::compile(source, &Roots::new(["config", "cursor", "items", "result", "page"])).unwrap();
    let with = Template::compile(&json!({}), &Roots::new(["config", "cursor", "page"])).unwrap();
    let source = PollSource {
        asked: PollTarget::Action(PolledAction { action: "dev.list".parse().unwrap(), with }),
        items: Some(expression("result.items")),
        cursor: Some(PollCursor { start: expression("0"), next: expression("result.next") }),
        ..poll()
    };
    let world = World { clock: Arc::new(RuntimeClock::at(BEGIN)), actions: action.clone(), ..support::world() };
    let begin = Instant::now();
    let mut source = open_poll(source, world, None).await;
    let mut all = Vec::new();
    for (expected, cursor) in [(&[1, 2][..], 5), (&[], 6), (&[3], 7)] {
        let messages = expect_messages(source.next(ROOM).await.unwrap());
        assert_eq!(numbers(&messages), expected);
        source.settle(&tokens(&messages)).await.unwrap();
        assert_eq!(source.cursor_at(Token(0)).unwrap().root().get("value").unwrap().as_i64(), Some(cursor));
        all.extend(messages);
    }
    assert_eq!(*action.cursors.lock().unwrap(), [json!(0), json!(5), json!(5), json!(6)]);
    let indexes: Vec<_> = all.iter().filter_map(|message| message.about.get("index").and_then(Value::as_u64)).collect();
    assert_eq!(indexes, [0, 1, 0]);
    // Fifty seconds until the next poll, and then the rest that was asked for, which ends within a period.
    assert_eq!(begin.elapsed().as_secs(), 50 + 200 + 40);
}

#[tokio::test(start_paused = true)]
async fn page_that_names_no_other_one_is_the_last() {
    for last in [json!({}), json!({ "next": null }), json!({ "next": "" })] {
        let next_page = Some(expression("body.next"));
        let last_page = last.clone();
        let answer = move |page: &Value, asked: u64| {
            let mut body = if page.is_null() { json!({ "next": "second" }) } else { last_page.clone() };
            body["items"] = json!([{ "n": asked }]);
            Some(says(200, &body.to_string()))
        };
        let mut polling = Polling::begin(PollSource { next_page, ..poll() }, None, answer).await;
        assert_eq!(polling.next().await.unwrap(), [1, 2], "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn item_on_two_pages_is_one_item_only_if_items_have_ids() {
    for (only_new, expected) in [(None, &[1, 2, 2, 3, 3][..]), (Some("item.n"), &[1, 2, 3])] {
        let next_page = Some(expression("page == null ? 2 : null"));
        let answer = |page: &Value, _: u64| Some(items(if page.is_null() { [1, 2].iter() } else { [2, 3, 3].iter() }.copied()));
        let mut polling = Polling::begin(PollSource { next_page, only_new: only_new.map(expression), ..poll() }, None, answer).await;
        assert_eq!(polling.next().await.unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn run_by_a_cron_expression_waits_until_it_is_due_and_a_test_asks_at_once() {
    let cron = || PollTimes::Cron(Box::new(Cron::parse("*/10 * * * *", Zone::UTC).unwrap()));
    for (purpose, first) in [(SourcePurpose::Run, 590), (SourcePurpose::Test, 0), (SourcePurpose::End, 0)] {
        let begin = Instant::now();
        let source = PollSource { times: cron(), ..poll() };
        let mut polling = Polling::begin_for(purpose, source, None, |_, asked| Some(items([asked]))).await;
        polling.next().await.unwrap();
        polling.next().await.unwrap();
        let seconds: Vec<u64> = polling.requests().iter().map(|request| (request.at - begin).as_secs()).collect();
        assert_eq!(seconds, if first == 0 { [0, 590] } else { [590, 1_190] }, "{purpose:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn poll_ends_with_its_source() {
    let mut polling = Polling::begin(poll(), None, |_, _| None).await;
    tokio::time::timeout(Duration::from_secs(15), polling.source.next(ROOM)).await.expect_err("nothing comes");
    let Polling { source, server, .. } = polling;
    assert!(Arc::strong_count(&server) > 1);
    source.close().await;
    // What waits for the server ends in its own turn.
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&server), 1, "nobody waits for the server");
}
