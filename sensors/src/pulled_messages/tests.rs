//! What messages of pulling sensors make.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{
    AfterFile, Emit, EmitKey, Field, Fields, FileChange, FileContent, FileSource, FileStart, FirstPoll, HttpBody, HttpRequest, Invalid,
    PollMemory, PollSource, PollTarget, PollTimes, Presence, ProcessSource, Reading, Restart, Schema, TextDecoding, Type,
};
use ensue_engine::record::Digest;
use ensue_expression::{Expression, Roots, Template};
use serde_json::{Value as Json, json};

use super::*;
use crate::message::Token;

fn roots() -> Roots {
    Roots::new(["line", "item", "index", "page", "file", "config"])
}

fn template(value: &Json) -> Template {
    Template::compile(value, &roots()).unwrap()
}

fn expression(source: &str) -> Expression {
    Expression::compile(source, &roots()).unwrap()
}

fn reading(decode: Decode) -> Reading {
    Reading { decode, ..Reading::default() }
}

fn process(reading: Reading) -> Source {
    Source::Process(Arc::new(ProcessSource {
        command: vec!["./watch.py".to_owned()],
        beside: BTreeSet::new(),
        input: None,
        env: Vec::new(),
        grace: Duration::from_secs(10),
        restart: Restart::Always,
        reading,
        pack: Digest::of(b"pack"),
    }))
}

fn file(content: FileContent) -> Source {
    Source::File(Arc::new(FileSource {
        path: template(&json!("/srv/in/*")),
        on: BTreeSet::from([FileChange::Created]),
        settle: Duration::from_secs(2),
        content,
        start: FileStart::Now,
        rescan: Duration::from_secs(300),
        after: AfterFile::Keep,
        reading: reading(Decode::Text),
    }))
}

fn poll() -> Source {
    Source::Poll(Arc::new(PollSource {
        times: PollTimes::Every(Duration::from_secs(60)),
        asked: PollTarget::Http(Arc::new(HttpRequest {
            connection: None,
            without_connection: None,
            url: template(&json!("http://a.example/")),
            method: template(&json!("GET")),
            headers: template(&json!({})),
            query: template(&json!({})),
            body: HttpBody::None,
            parse: None,
            text_decoding: TextDecoding::default(),
            signing: None,
        })),
        items: None,
        next_page: None,
        pages_max: 1,
        items_max: 1,
        cursor: None,
        only_new: None,
        remember: PollMemory::default(),
        first: FirstPoll::Skip,
        reading: reading(Decode::Json),
    }))
}

fn sensor(source: Source, emits: Vec<Emit>) -> Sensor {
    let config = Arc::new(json!({ "level": 3 }));
    Sensor { name: "dev.watch".parse().unwrap(), description: String::new(), source, emits, config }
}

fn emit(when: Option<&str>, payload: Option<Json>) -> Emit {
    Emit {
        trigger: "dev.changed".parse().unwrap(),
        when: when.map(expression),
        dedupe: EmitKey::Natural,
        payload: payload.map(|payload| template(&payload)),
        version: None,
    }
}

fn message(body: Body, about: Json) -> Message {
    let Json::Object(about) = about else { panic!("an object") };
    Message { token: Token(1), body, about, key: None, time: None }
}

fn bytes(text: &'static [u8]) -> Body {
    Body::Bytes(Bytes::from_static(text))
}

fn payloads(made: MessageResult) -> Vec<Json> {
    match made {
        MessageResult::Events(events) => events.iter().map(|event| event.payload.root().to_value()).collect(),
        other => panic!("{other:?}"),
    }
}

fn refusal(made: MessageResult) -> PulledRefusal {
    match made {
        MessageResult::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn line_of_a_program_is_the_payload_without_a_template() {
    let sensor = sensor(process(reading(Decode::Json)), vec![emit(None, None)]);
    assert_eq!(payloads(events_of(&sensor, &message(bytes(b"{\"a\":1}"), json!({})))), [json!({ "a": 1 })]);
}

#[test]
fn emits_read_the_line_and_the_configuration() {
    let emits = vec![
        emit(Some("line.level >= config.level"), Some(json!({ "loud": "${{ line.level }}" }))),
        emit(Some("line.level < config.level"), Some(json!({ "quiet": "${{ line.level }}" }))),
    ];
    let sensor = sensor(process(reading(Decode::Json)), emits);
    let made = |line: &'static [u8]| payloads(events_of(&sensor, &message(bytes(line), json!({}))));
    assert_eq!(made(b"{\"level\":4}"), [json!({ "loud": 4 })]);
    assert_eq!(made(b"{\"level\":1}"), [json!({ "quiet": 1 })]);
}

#[test]
fn message_that_no_emit_fits_is_passed() {
    let sensor = sensor(process(reading(Decode::Json)), vec![emit(Some("line.level > 9"), None)]);
    assert!(matches!(events_of(&sensor, &message(bytes(b"{\"level\":1}"), json!({}))), MessageResult::Passed));
}

#[test]
fn progress_makes_nothing_even_if_an_emit_has_no_condition() {
    let sensor = sensor(process(reading(Decode::Json)), vec![emit(None, None)]);
    assert!(matches!(events_of(&sensor, &message(Body::Progress, json!({}))), MessageResult::Nothing));
}

#[test]
fn message_that_is_not_of_the_declared_form_is_refused() {
    let of = |decode| sensor(process(reading(decode)), vec![emit(None, None)]);
    let (json, text) = (of(Decode::Json), of(Decode::Text));
    assert!(matches!(refusal(events_of(&json, &message(bytes(b"{\"a\":"), json!({})))), PulledRefusal::NotJson(_)));
    assert!(matches!(refusal(events_of(&json, &message(bytes(b""), json!({})))), PulledRefusal::NotJson(_)));
    let invalid = refusal(events_of(&text, &message(bytes(b"ab\xff"), json!({}))));
    assert!(matches!(invalid, PulledRefusal::NotText(ensue_content::DecodeError::Malformed { offset: 2, .. })), "{invalid:?}");
    assert_eq!(payloads(events_of(&text, &message(bytes(b"a\0b"), json!({})))), [json!("a\0b")]);
}

fn replacing(decode: Decode) -> Sensor {
    let text_decoding = TextDecoding { invalid: Invalid::Replace, ..TextDecoding::default() };
    sensor(process(Reading { text_decoding, ..reading(decode) }), vec![emit(None, None)])
}

#[test]
fn messages_are_read_in_the_charset_that_the_author_names() {
    let text_decoding = TextDecoding { charset: Some("windows-1252".into()), ..TextDecoding::default() };
    let of = |decode, line: &'static [u8]| {
        let sensor = sensor(process(Reading { text_decoding: text_decoding.clone(), ..reading(decode) }), vec![emit(None, None)]);
        payloads(events_of(&sensor, &message(bytes(line), json!({}))))
    };
    assert_eq!(of(Decode::Text, b"price: 10 \x80"), [json!("price: 10 €")]);
    assert_eq!(of(Decode::Json, b"{\"city\":\"M\xfcnchen\"}"), [json!({ "city": "München" })]);
}

#[test]
fn byte_order_mark_of_a_whole_file_tells_its_charset_and_that_of_a_line_is_a_part_of_it() {
    let of = |content, text: &'static [u8]| {
        let sensor = sensor(file(content), vec![emit(None, Some(json!("${{ file.body }}")))]);
        payloads(events_of(&sensor, &message(bytes(text), json!({ "file": {} }))))
    };
    assert_eq!(of(FileContent::Whole, b"\xff\xfea\0"), [json!("a")]);
    assert_eq!(of(FileContent::Whole, b"\xef\xbb\xbfa"), [json!("a")]);
    let line = sensor(file(FileContent::Tail), vec![emit(None, Some(json!("${{ line }}")))]);
    assert_eq!(payloads(events_of(&line, &message(bytes(b"\xef\xbb\xbfa"), json!({ "file": {} })))), [json!("\u{feff}a")]);
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced_if_the_author_wants_it() {
    let of = |decode, text: &'static [u8]| payloads(events_of(&replacing(decode), &message(bytes(text), json!({}))));
    assert_eq!(of(Decode::Text, b"GET /caf\xe9 HTTP/1.1"), [json!("GET /caf\u{fffd} HTTP/1.1")]);
    assert_eq!(of(Decode::Text, "GET /café".as_bytes()), [json!("GET /café")]);
    assert_eq!(of(Decode::Text, b"\xff\xfea\0"), [json!("\u{fffd}\u{fffd}a\0")], "a line has no byte order mark");
    assert_eq!(of(Decode::Json, b"{\"path\":\"/caf\xe9\"}"), [json!({ "path": "/caf\u{fffd}" })]);
    assert!(matches!(
        events_of(&replacing(Decode::Json), &message(bytes(b"\xe9"), json!({}))),
        MessageResult::Refused(PulledRefusal::NotJson(_))
    ));
}

#[test]
fn replaced_message_is_refused_if_it_is_too_large_then() {
    let grows = message(Body::Bytes(Bytes::from(vec![0xff; MESSAGE_BYTES_MAX / 2])), json!({}));
    assert!(matches!(refusal(events_of(&replacing(Decode::Text), &grows)), PulledRefusal::TooLarge { .. }));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_text_if_invalid_ones_are_replaced(text: Vec<u8>) {
        let made = payloads(events_of(&replacing(Decode::Text), &message(Body::Bytes(text.clone().into()), json!({}))));
        proptest::prop_assert_eq!(made, [json!(String::from_utf8_lossy(&text))]);
    }
}

#[test]
fn message_over_the_size_limit_is_refused_with_its_size() {
    let sensor = sensor(process(reading(Decode::Text)), vec![emit(None, None)]);
    let of = |body| refusal(events_of(&sensor, &message(body, json!({}))));
    assert!(matches!(of(Body::Cut { head: Bytes::new(), whole: 5_000_000 }), PulledRefusal::TooLarge { bytes: 5_000_000 }));
    let over = Bytes::from(vec![b'a'; MESSAGE_BYTES_MAX + 1]);
    assert!(matches!(of(Body::Bytes(over)), PulledRefusal::TooLarge { .. }));
    let just = message(Body::Bytes(Bytes::from(vec![b'a'; MESSAGE_BYTES_MAX])), json!({}));
    assert!(matches!(events_of(&sensor, &just), MessageResult::Events(_)));
}

#[test]
fn message_that_does_not_fit_the_schema_is_refused_with_the_misfit() {
    let level = Field {
        name: "level".to_owned(),
        title: None,
        description: None,
        kind: Type::Integer,
        presence: Presence::Required,
        is_code: false,
    };
    let schema = Some(Schema::Fields(Fields(vec![level])));
    let sensor = sensor(process(Reading { schema, ..reading(Decode::Json) }), vec![emit(None, None)]);
    let refused = refusal(events_of(&sensor, &message(bytes(b"{\"level\":\"x\"}"), json!({}))));
    assert!(refused.to_string().contains("level"), "{refused}");
    assert!(matches!(events_of(&sensor, &message(bytes(b"{\"level\":1}"), json!({}))), MessageResult::Events(_)));
}

#[test]
fn failing_expression_refuses_the_whole_message() {
    let sensor = sensor(process(reading(Decode::Json)), vec![emit(None, None), emit(Some("line.level > 1"), None)]);
    let refused = refusal(events_of(&sensor, &message(bytes(b"{}"), json!({}))));
    assert_eq!(refused.trigger().map(TriggerRef::as_str), Some("dev.changed"));
}

#[test]
fn endless_expressions_of_a_message_are_stopped() {
    let loops = "lists.range(9000).exists(a, lists.range(9000).exists(b, a + b < 0))";
    let sensor = sensor(process(reading(Decode::Json)), vec![emit(Some(loops), None)]);
    assert!(matches!(events_of(&sensor, &message(bytes(b"{}"), json!({}))), MessageResult::Refused(PulledRefusal::Emit(_))));
}

#[test]
fn item_of_a_poll_is_read_with_its_index_and_page() {
    let payload = json!({ "id": "${{ item.id }}", "at": "${{ [index, page] }}" });
    let sensor = sensor(poll(), vec![emit(None, Some(payload))]);
    let item = Body::Json(Document::from_value(&json!({ "id": 7 })));
    let made = payloads(events_of(&sensor, &message(item, json!({ "index": 2, "page": "next" }))));
    assert_eq!(made, [json!({ "id": 7, "at": [2, "next"] })]);
}

#[test]
fn file_is_read_with_its_content_or_without() {
    let about = json!({ "file": { "name": "a.txt", "bytes": 2 } });
    let payload = json!({ "name": "${{ file.name }}", "text": "${{ file.body }}" });
    let whole = sensor(file(FileContent::Whole), vec![emit(None, Some(payload))]);
    assert_eq!(payloads(events_of(&whole, &message(bytes(b"hi"), about.clone()))), [json!({ "name": "a.txt", "text": "hi" })]);
    let nothing = sensor(file(FileContent::Nothing), vec![emit(None, None)]);
    assert_eq!(payloads(events_of(&nothing, &message(Body::Nothing, about))), [json!({ "name": "a.txt", "bytes": 2 })]);
}

#[test]
fn line_of_a_file_is_read_with_its_file() {
    let payload = json!({ "line": "${{ line }}", "of": "${{ file.name }}" });
    let sensor = sensor(file(FileContent::Tail), vec![emit(None, Some(payload))]);
    let about = json!({ "file": { "name": "a.log" } });
    assert_eq!(payloads(events_of(&sensor, &message(bytes(b"x"), about))), [json!({ "line": "x", "of": "a.log" })]);
}
