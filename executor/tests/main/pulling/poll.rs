//! Sensors that ask a server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use ensue_engine::catalog::{
    self, FirstPoll, HttpBody, HttpRequest, PollCursor, PollMemory, PollSource, PollTimes, RequestSigning, SigningScheme, TextDecoding,
    UsedConnection,
};
use ensue_engine::names::ConnectionName;
use ensue_engine::time::Timestamp;
use ensue_executor::connections::{
    BreakerSettings, ConnectionErrorKind, ConnectionSettings, ConnectionStatus, ConnectionUser, ConnectionsHost, Endpoint, HttpAuth,
    HttpEndpoint,
};
use ensue_executor::ports::KeyError;
use reqwest::header::HeaderMap;

use super::*;
use crate::server::{ReceivedRequest, Server};
use crate::world::NOON;

fn request(url: &str) -> HttpRequest {
    HttpRequest {
        connection: None,
        without_connection: None,
        url: template(&json!(url)),
        method: template(&json!("GET")),
        headers: template(&json!({})),
        query: template(&json!({})),
        body: HttpBody::None,
        parse: None,
        text_decoding: TextDecoding::default(),
        signing: None,
    }
}

fn ask_http(request: HttpRequest) -> catalog::PollTarget {
    catalog::PollTarget::Http(Arc::new(request))
}

fn poll(url: &str) -> PollSource {
    PollSource {
        times: PollTimes::Every(Duration::from_millis(50)),
        asked: ask_http(request(url)),
        items: Some(expression("body.items")),
        next_page: None,
        pages_max: 5,
        items_max: 100,
        cursor: None,
        only_new: Some(expression("item.id")),
        remember: PollMemory::default(),
        first: FirstPoll::Emit,
        reading: reading(Decode::Json),
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn ok(body: &Value) -> Vec<u8> {
    answer("200 OK", "content-type: application/json\r\n", &body.to_string())
}

fn items(ids: impl IntoIterator<Item = u32>) -> Value {
    json!({ "items": ids.into_iter().map(|id| json!({ "id": id })).collect::<Vec<_>>() })
}

fn ids(messages: &[Message]) -> Vec<u64> {
    bodies(messages).iter().filter_map(|body| body["id"].as_u64()).collect()
}

/// Answers by the number of the request, from 0.
async fn serve(answers: impl Fn(u32, &ReceivedRequest) -> Vec<u8> + Send + Sync + 'static) -> Server {
    let count = AtomicU32::new(0);
    Server::start(move |asked| answers(count.fetch_add(1, Ordering::Relaxed), asked)).await
}

async fn open_poll(outside: &Outside, source: PollSource, cursor: Option<&Document>) -> Box<dyn Running> {
    outside.open(Source::Poll(Arc::new(source)), cursor).await.unwrap()
}

async fn error_of(
    answers: impl Fn(u32, &ReceivedRequest) -> Vec<u8> + Send + Sync + 'static,
    change: impl Fn(PollSource) -> PollSource,
) -> SourceError {
    let outside = Outside::new();
    let server = serve(answers).await;
    let mut source = open_poll(&outside, change(poll(&server.url("/items"))), None).await;
    next(&mut source).await.unwrap_err()
}

#[tokio::test]
async fn only_items_with_a_new_id_make_messages() {
    let outside = Outside::new();
    let server = serve(|number, _| ok(&items(if number == 0 { 1..3 } else { 2..5 }))).await;
    let mut source = open_poll(&outside, poll(&server.url("/items")), None).await;
    let all = settle_next(&mut source, 4).await;
    assert_eq!(ids(&all), [1, 2, 3, 4]);
    assert_eq!(all.iter().map(|message| message.about["index"].clone()).collect::<Vec<_>>(), [0, 1, 1, 2].map(Value::from));
    assert!(is_silent(&mut source).await);
}

#[tokio::test]
async fn first_poll_is_skipped_unless_it_is_wanted() {
    let outside = Outside::new();
    let server = serve(|number, _| ok(&items(if number == 0 { 1..3 } else { 1..4 }))).await;
    let mut source = open_poll(&outside, PollSource { first: FirstPoll::Skip, ..poll(&server.url("/")) }, None).await;
    let all = settle_next(&mut source, 2).await;
    assert_eq!(bodies(&all), [json!("progress"), json!({ "id": 3 })]);
}

#[tokio::test]
async fn cursor_is_passed_to_the_next_poll_and_to_the_next_run() {
    let outside = Outside::new();
    let server = serve(|_, asked| {
        let since: u32 = asked.line().split("since=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
        ok(&items(since + 1..(since + 3).min(6)))
    })
    .await;
    let source = || PollSource {
        asked: ask_http(HttpRequest { query: template(&json!({ "since": "${{ cursor }}" })), ..request(&server.url("/items")) }),
        cursor: Some(PollCursor { start: expression("0"), next: expression("items.map(i, i.id).max()") }),
        only_new: None,
        ..poll(&server.url("/items"))
    };
    let mut first = open_poll(&outside, source(), None).await;
    assert_eq!(ids(&settle_next(&mut first, 2).await), [1, 2]);
    let more = messages(&mut first).await;
    assert_eq!(ids(&more), [3, 4]);
    let half = first.cursor_at(more[0].token).unwrap();
    let whole = first.cursor_at(more[1].token).unwrap();
    drop(first);
    // The first message was committed, the second was not.
    let mut second = open_poll(&outside, source(), Some(&half)).await;
    assert_eq!(ids(&settle_next(&mut second, 2).await), [4, 5]);
    let mut third = open_poll(&outside, source(), Some(&whole)).await;
    assert_eq!(ids(&settle_next(&mut third, 1).await), [5]);
}

#[tokio::test]
async fn pages_are_followed_to_the_last() {
    let outside = Outside::new();
    let server = serve(|_, asked| {
        let page = asked.line().split("page=").nth(1).and_then(|rest| rest.split(' ').next()).map_or(1, |page| page.parse().unwrap());
        let next = if page < 3 { json!(page + 1) } else { Value::Null };
        ok(&json!({ "items": [{ "id": page }], "next": next }))
    })
    .await;
    let source = PollSource {
        asked: ask_http(HttpRequest { query: template(&json!({ "page": "${{ page }}" })), ..request(&server.url("/items")) }),
        next_page: Some(expression("body.next")),
        ..poll(&server.url("/items"))
    };
    let mut source = open_poll(&outside, source, None).await;
    let all = settle_next(&mut source, 3).await;
    assert_eq!(ids(&all), [1, 2, 3]);
    assert_eq!(all[2].about["page"], json!(3));
}

#[tokio::test]
async fn poll_that_breaks_off_makes_no_messages_and_knows_nothing() {
    let outside = Outside::new();
    let server = serve(|number, asked| match (number, asked.line().contains("page=2")) {
        (1, true) => answer("500 Internal Server Error", "", ""),
        (_, true) => ok(&json!({ "items": [{ "id": 2 }] })),
        (_, false) => ok(&json!({ "items": [{ "id": 1 }], "next": 2 })),
    })
    .await;
    let source = || PollSource {
        asked: ask_http(HttpRequest { query: template(&json!({ "page": "${{ page }}" })), ..request(&server.url("/items")) }),
        next_page: Some(expression("body.next")),
        ..poll(&server.url("/items"))
    };
    let mut first = open_poll(&outside, source(), None).await;
    assert_eq!(next(&mut first).await.unwrap_err().kind, SensorErrorKind::Connect);
    let mut second = open_poll(&outside, source(), None).await;
    assert_eq!(ids(&settle_next(&mut second, 2).await), [1, 2]);
}

#[tokio::test]
async fn pages_without_an_end_are_an_error() {
    let paged = |next: &'static str| move |source: PollSource| PollSource { next_page: Some(expression(next)), ..source };
    let error = error_of(|number, _| ok(&json!({ "items": [{ "id": number }], "next": number + 1 })), paged("body.next")).await;
    assert_eq!((error.kind, error.message.as_str()), (SensorErrorKind::Limit, "a poll has more than 5 pages (`max_pages`)"));
    let same = error_of(|_, _| ok(&json!({ "items": [], "next": "same" })), paged("body.next")).await;
    assert!(same.message.contains("the same page again"), "{same}");
    let many = error_of(|_, _| ok(&items(0..101)), |source| source).await;
    assert!(many.message.contains("`max_items`"), "{many}");
}

#[tokio::test]
async fn answer_that_is_not_what_it_says_is_an_error() {
    let lie = error_of(|_, _| answer("200 OK", "content-type: application/json\r\n", "<html>"), |source| source).await;
    assert_eq!(lie.kind, SensorErrorKind::Protocol, "{lie}");
    let other = error_of(|_, _| ok(&json!({ "items": 7 })), |source| source).await;
    assert!(other.message.contains("must return a list"), "{other}");
    let missing = error_of(|_, _| ok(&json!({})), |source| source).await;
    assert_eq!(missing.kind, SensorErrorKind::Emits, "{missing}");
}

#[tokio::test]
async fn refusals_of_a_server_have_their_kinds() {
    for (status, kind) in [
        ("401 Unauthorized", SensorErrorKind::Auth),
        ("404 Not Found", SensorErrorKind::NotFound),
        ("400 Bad Request", SensorErrorKind::Protocol),
        ("502 Bad Gateway", SensorErrorKind::Connect),
    ] {
        let error = error_of(move |_, _| answer(status, "", ""), |source| source).await;
        assert_eq!(error.kind, kind, "{status}");
    }
    let denied = error_of(|_, _| ok(&json!({})), |source| PollSource { asked: ask_http(request("http://192.0.2.1/")), ..source }).await;
    assert_eq!(denied.kind, SensorErrorKind::EgressDenied, "{denied}");
}

#[tokio::test]
async fn answer_without_a_body_is_an_empty_poll() {
    let outside = Outside::new();
    let server = serve(|number, _| match number {
        0 => answer("204 No Content", "", ""),
        1 => answer("200 OK", "content-type: application/json\r\n", " \n"),
        2 => answer("200 OK", "", ""),
        _ => answer("200 OK", "content-type: application/json\r\n", r#"[{ "id": 1 }]"#),
    })
    .await;
    let source = PollSource { items: Some(expression("body")), ..poll(&server.url("/")) };
    let mut source = open_poll(&outside, source, None).await;
    let all = settle_next(&mut source, 2).await;
    assert_eq!(bodies(&all), [json!("progress"), json!({ "id": 1 })]);
    assert!(server.requests().len() >= 4);
}

#[tokio::test]
async fn answer_is_read_in_its_charset_and_without_its_compression() {
    let outside = Outside::new();
    let server = serve(|number, _| {
        let (headers, text) = match number {
            0 => ("content-type: application/json; charset=ISO-8859-15\r\n", b"{\"items\": [{ \"id\": \"\xa4\" }]}".as_slice()),
            _ => ("content-type: application/json\r\n", "\u{feff}{\"items\": [{ \"id\": \"b\" }]}".as_bytes()),
        };
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut writer, text).unwrap();
        let body = writer.finish().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-encoding: gzip\r\n{headers}\r\n", body.len());
        [head.as_bytes(), &body].concat()
    })
    .await;
    let mut source = open_poll(&outside, poll(&server.url("/items")), None).await;
    assert_eq!(bodies(&settle_next(&mut source, 2).await), [json!({ "id": "€" }), json!({ "id": "b" })]);
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("gzip, deflate, br, zstd"));
}

#[tokio::test]
async fn text_of_a_poll_may_declare_its_charset_itself() {
    let outside = Outside::new();
    let server = serve(|_, _| {
        let body = b"<?xml version=\"1.0\" encoding=\"windows-1251\"?><a>\xcf</a>";
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: text/xml\r\n\r\n", body.len()).as_bytes(), body].concat()
    })
    .await;
    let source = PollSource { items: Some(expression("[{'id': body}]")), reading: reading(Decode::Text), ..poll(&server.url("/")) };
    let mut source = open_poll(&outside, source, None).await;
    let all = bodies(&settle_next(&mut source, 1).await);
    assert!(all[0]["id"].as_str().unwrap().ends_with("<a>П</a>"), "{all:?}");
}

#[tokio::test]
async fn answer_that_cannot_be_read_is_an_error_with_its_place() {
    let error = error_of(|_, _| b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n[\"\xe9\"".to_vec(), |source| source).await;
    assert_eq!(error.kind, SensorErrorKind::Protocol);
    assert!(error.message.contains("offset 2"), "{error}");
    let packed = error_of(|_, _| answer("200 OK", "content-encoding: br\r\n", "not brotli"), |source| source).await;
    assert!(packed.kind == SensorErrorKind::Protocol && packed.message.contains("not valid `br`"), "{packed}");
}

#[tokio::test]
async fn redirects_without_an_end_are_an_error_of_the_server() {
    let round = error_of(|_, _| answer("302 Found", "location: /items\r\n", ""), |source| source).await;
    assert_eq!(round.kind, SensorErrorKind::Protocol, "{round}");
    let odd = error_of(|_, _| answer("302 Found", "location: file:///etc/passwd\r\n", ""), |source| source).await;
    assert_eq!(odd.kind, SensorErrorKind::Protocol, "{odd}");
}

#[tokio::test]
async fn server_that_asks_to_be_left_alone_is_left_alone() {
    let outside = Outside::new();
    let server = serve(|number, _| match number {
        0 => answer("429 Too Many Requests", "retry-after: 1\r\n", ""),
        _ => ok(&items(1..2)),
    })
    .await;
    let mut source = open_poll(&outside, poll(&server.url("/items")), None).await;
    let begin = std::time::Instant::now();
    assert_eq!(ids(&settle_next(&mut source, 1).await), [1]);
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
    assert!(outside.lines()[0].contains("left alone for 1 seconds"), "{:?}", outside.lines());
}

#[tokio::test]
async fn server_that_knows_its_answer_need_not_repeat_it() {
    let outside = Outside::new();
    let server = serve(|_, asked| match asked.header("if-none-match") {
        Some("\"one\"") => answer("304 Not Modified", "", ""),
        _ => answer("200 OK", "etag: \"one\"\r\n", &items(1..2).to_string()),
    })
    .await;
    let mut source = open_poll(&outside, poll(&server.url("/items")), None).await;
    assert_eq!(ids(&settle_next(&mut source, 1).await), [1]);
    is_silent_until(&mut source, "the server is asked again", || server.requests().len() >= 3).await;
    assert!(server.requests().iter().skip(1).all(|asked| asked.header("if-none-match") == Some("\"one\"")));
}

#[tokio::test]
async fn server_that_goes_back_in_time_repeats_nothing_with_ids() {
    let outside = Outside::new();
    let server = serve(|number, _| {
        ok(&items(match number {
            0 => 3..5,
            1 => 1..3,
            _ => 3..6,
        }))
    })
    .await;
    let mut source = open_poll(&outside, poll(&server.url("/items")), None).await;
    assert_eq!(ids(&settle_next(&mut source, 5).await), [3, 4, 1, 2, 5]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test]
async fn key_is_sent_in_a_header_and_never_shown() {
    let outside = Outside::new();
    let server = serve(|_, _| answer("403 Forbidden", "", "")).await;
    let headers = template(&json!({ "authorization": "Bearer ${{ keys[\"dev.token\"] }}" }));
    let source = PollSource { asked: ask_http(HttpRequest { headers, ..request(&server.url("/")) }), ..poll(&server.url("/")) };
    let mut source = open_poll(&outside, source, None).await;
    let error = next(&mut source).await.unwrap_err();
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer sesame-open-wide"));
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[tokio::test]
async fn poll_with_a_signature_is_refused_before_it_is_sent() {
    let outside = Outside::new();
    let server = serve(|_, _| answer("200 OK", "", "")).await;
    let signing = Some(RequestSigning { scheme: SigningScheme::Standard, key: template(&json!("${{ keys[\"dev.token\"] }}")) });
    let source = PollSource { asked: ask_http(HttpRequest { signing, ..request(&server.url("/")) }), ..poll(&server.url("/")) };
    let error = next(&mut open_poll(&outside, source, None).await).await.unwrap_err();
    assert!(error.to_string().contains("cannot be signed"), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn key_that_a_server_repeats_is_masked_in_its_answer_and_in_errors() {
    let outside = Outside::new();
    let server = serve(|number, asked| {
        let sent = asked.header("authorization").unwrap_or_default();
        let body = json!({ "items": [{ "id": number, "heard": sent, "database": "password-of-the-database" }] }).to_string();
        match number {
            0 => answer("200 OK", &format!("content-type: application/json\r\nx-heard: {sent}\r\n"), &body),
            _ => answer("200 OK", &format!("content-type: application/json; charset=\"{sent}\"\r\n"), &body),
        }
    })
    .await;
    let headers = template(&json!({ "authorization": "Bearer ${{ keys[\"dev.token\"] }}" }));
    let source = PollSource {
        asked: ask_http(HttpRequest { headers, ..request(&server.url("/")) }),
        items: Some(expression("body.items.map(i, {'id': i, 'header': headers['x-heard']})")),
        ..poll(&server.url("/"))
    };
    let mut source = open_poll(&outside, source, None).await;
    let all = settle_next(&mut source, 1).await;
    let item = json!({ "id": 0, "heard": "Bearer [redacted dev.token]", "database": "[redacted ensue.database_password]" });
    assert_eq!(bodies(&all), [json!({ "id": item, "header": "Bearer [redacted dev.token]" })]);
    let error = next(&mut source).await.unwrap_err();
    assert!(error.message.contains("the charset `Bearer [redacted dev.token]` is not known"), "{error}");
}

/// Polls a connection once, and returns the error of the poll and the state of the connection.
async fn state_of_connection(
    answers: impl Fn(u32, &ReceivedRequest) -> Vec<u8> + Send + Sync + 'static,
) -> (SourceError, ConnectionStatus) {
    let server = serve(answers).await;
    let http = HttpEndpoint {
        url: server.url("/api/").parse().unwrap(),
        auth: HttpAuth::None,
        headers: HeaderMap::new(),
        ca: None,
        timeout: PATIENCE,
        connect_timeout: PATIENCE,
        test_path: None,
    };
    let settings =
        ConnectionSettings { endpoint: Endpoint::Http(Box::new(http)), packs: None, max: 4, breaker: BreakerSettings::default() };
    let orders: ConnectionName = "orders".parse().unwrap();
    let egress = EgressPolicy::allowing(vec!["127.0.0.1".parse().unwrap()]);
    let all = BTreeMap::from([(orders.clone(), settings)]);
    let connections = Arc::new(Connections::new(all, egress, Arc::new(SystemClock::new()), Arc::new(NoKeys)));
    let outside = Outside::with(connections.clone());
    let request = HttpRequest { connection: Some(UsedConnection::Named(orders.clone())), ..request("/items") };
    let mut source = open_poll(&outside, PollSource { asked: ask_http(request), ..poll("") }, None).await;
    (next(&mut source).await.unwrap_err(), connections.status(&orders).unwrap())
}

/// Opens no key: the connection of the test has none.
struct NoKeys;

impl ConnectionsHost for NoKeys {
    fn open(&self, _: &KeyRef, _: &ConnectionUser) -> Result<Option<Secret>, KeyError> {
        Ok(None)
    }

    fn now(&self) -> Timestamp {
        NOON
    }
}

#[tokio::test]
async fn answer_that_cannot_be_read_says_nothing_against_a_connection() {
    for (headers, body) in [("content-type: application/json; charset=ebcdic\r\n", "{}"), ("content-encoding: br\r\n", "not brotli")] {
        let (error, state) = state_of_connection(move |_, _| answer("200 OK", headers, body)).await;
        assert_eq!((error.kind, state.succeeded, state.failed), (SensorErrorKind::Protocol, 1, 0), "{error}");
    }
    let (error, state) = state_of_connection(|_, _| answer("200 OK", "", &" ".repeat(20 << 20))).await;
    assert_eq!((error.kind, state.succeeded, state.failed), (SensorErrorKind::Limit, 1, 0), "{error}");
}

#[tokio::test]
async fn redirects_that_are_not_followed_count_against_a_connection() {
    for location in ["/api/items", "file:///etc/passwd"] {
        let (error, state) = state_of_connection(move |_, _| answer("302 Found", &format!("location: {location}\r\n"), "")).await;
        assert_eq!((error.kind, state.succeeded, state.failed), (SensorErrorKind::Protocol, 0, 1), "{error}");
        assert_eq!(state.last_error.map(|error| error.kind), Some(ConnectionErrorKind::Protocol));
    }
}

#[tokio::test]
async fn foreign_cursor_is_rejected() {
    let outside = Outside::new();
    let cursor = Document::from_value(&json!({ "tail": {} }));
    let error = outside.open(Source::Poll(Arc::new(poll("http://127.0.0.1:1/"))), Some(&cursor)).await.err().unwrap();
    assert_eq!(error.kind, SensorErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn all_values_of_a_repeated_header_are_read() {
    let outside = Outside::new();
    let server = serve(|_, _| answer("200 OK", "content-type: application/json\r\nx-part: one\r\nx-part: two\r\n", "{}")).await;
    let source = PollSource { items: Some(expression("[{'id': headers['x-part']}]")), ..poll(&server.url("/items")) };
    let mut source = open_poll(&outside, source, None).await;
    assert_eq!(bodies(&settle_next(&mut source, 1).await), [json!({ "id": "one, two" })]);
}
