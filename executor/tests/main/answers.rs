//! Answers of servers in every charset, compression and form, read as they are meant or refused with the place.

use std::io::Write as _;
use std::sync::{Arc, Mutex, mpsc};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use encoding_rs::{Encoding, ISO_8859_15, SHIFT_JIS, UTF_8, WINDOWS_1251};
use ensue_engine::catalog::{HttpRequest, Invalid, Run, TextDecoding};
use ensue_engine::command::{Ask, MessageContent, Report, ReportOutcome, SaidArtifact};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ports::{BlobError, BlobPart, Blobs, NewBlob};
use ensue_engine::record::Digest;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::server::{Server, answer};
use crate::world::{LEASE, Plan, SECRET, World, body, failure, get, result, template};

fn parsed_as(url: &str, form: &str) -> HttpRequest {
    HttpRequest { parse: Some(template(json!(form))), ..get(url) }
}

fn world(server: &Server, request: HttpRequest) -> World {
    Plan::new(Run::Http(Box::new(request))).allow(server.address).begin()
}

/// Makes a request to a server that answers this.
async fn report_of(status: &'static str, headers: &[(&str, &str)], sent: &[u8], form: Option<&str>) -> Report {
    let answer = answer(status, headers, sent);
    let server = Server::start(move |_| answer.clone()).await;
    let request = HttpRequest { parse: form.map(|form| template(json!(form))), ..get(&server.url("/")) };
    let mut world = world(&server, request);
    world.dispatch(1, json!({}));
    loop {
        // An artifact is reported before the end.
        if let Some(Ask::ReportAttempt(report)) = world.asked.recv().await {
            return report;
        }
    }
}

#[tokio::test]
async fn author_names_the_charset_of_answers_that_name_none_and_what_is_replaced() {
    let decoding = |charset: Option<&str>, invalid| TextDecoding { charset: charset.map(str::to_owned), invalid };
    for (kind, sent, text_decoding, expected) in [
        ("text/csv", &b"M\xfcnchen;10 \x80"[..], decoding(Some("windows-1252"), Invalid::Reject), json!("München;10 €")),
        ("application/json", b"{\"city\":\"M\xfcnchen\"}", decoding(Some("latin1"), Invalid::Reject), json!({ "city": "München" })),
        ("text/plain", b"caf\xe9", decoding(None, Invalid::Replace), json!("caf\u{fffd}")),
        ("application/json", br#"{"a":1,"a":2}"#, decoding(None, Invalid::Replace), json!({ "a": 2 })),
    ] {
        let answer = answer("200 OK", &[("content-type", kind)], sent);
        let server = Server::start(move |_| answer.clone()).await;
        let request = HttpRequest { text_decoding, ..get(&server.url("/")) };
        assert_eq!(result(&world(&server, request).report_of(json!({})).await)["body"], expected, "{kind}");
    }
}

async fn body_of(headers: &[(&str, &str)], sent: &[u8]) -> Value {
    result(&report_of("200 OK", headers, sent, None).await)["body"].clone()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn compress(bytes: &[u8], coding: &str) -> Vec<u8> {
    match coding {
        "gzip" => gzip(bytes),
        "deflate" => {
            let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "br" => {
            let mut packed = Vec::new();
            let mut writer = brotli::CompressorWriter::new(&mut packed, 4096, 4, 20);
            writer.write_all(bytes).unwrap();
            drop(writer);
            packed
        }
        "zstd" => zstd::stream::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn json_in_another_charset_is_json() {
    let sent = b"{\"price\": \"10 \xa4\"}";
    assert_eq!(body_of(&[("content-type", "application/json; charset=ISO-8859-15")], sent).await, json!({ "price": "10 €" }));
    assert_eq!(body_of(&[JSON], "\u{feff}{\"a\": 1}".as_bytes()).await, json!({ "a": 1 }));
}

#[tokio::test]
async fn compressed_answer_is_decompressed_though_nobody_asked() {
    let answer = answer("200 OK", &[("content-encoding", "gzip"), JSON], gzip(b"{\"a\": 1}"));
    let server = Server::start(move |_| answer.clone()).await;
    let headers = template(json!({ "accept-encoding": "identity" }));
    let report = world(&server, HttpRequest { headers, ..get(&server.url("/")) }).report_of(json!({})).await;
    assert_eq!(result(&report)["body"], json!({ "a": 1 }));
    assert_eq!(result(&report)["headers"]["content-encoding"], "gzip", "the headers are those that were sent");
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"), "the author's");
}

#[tokio::test]
async fn request_accepts_what_can_be_decompressed() {
    let server = Server::start(|_| answer("204 No Content", &[], "")).await;
    world(&server, get(&server.url("/"))).report_of(json!({})).await;
    let headers = template(json!({ "range": "bytes=0-9" }));
    world(&server, HttpRequest { headers, ..get(&server.url("/")) }).report_of(json!({})).await;
    let accepted = server.requests().iter().map(|asked| asked.header("accept-encoding").map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(accepted, [Some("gzip, deflate, br, zstd".to_owned()), Some("identity".to_owned())], "a part cannot be decompressed");
}

#[tokio::test]
async fn answer_that_grows_too_large_is_an_output_limit() {
    let bomb = gzip(&vec![b' '; 11 << 20]);
    let report = report_of("200 OK", &[("content-encoding", "gzip"), JSON], &bomb, None).await;
    assert!(failure(&report, FailureKind::OutputLimit).message.contains("when it is decompressed"));
    assert_eq!((&body(&report)["status"], &body(&report)["body"]), (&json!(200), &Value::Null));
}

#[tokio::test]
async fn repetitive_answer_is_read_in_every_compression() {
    let items = vec![json!({ "id": null, "state": "ok" }); 60_000];
    let text = json!(items).to_string();
    for coding in ["gzip", "br", "zstd"] {
        let packed = compress(text.as_bytes(), coding);
        let report = report_of("200 OK", &[("content-encoding", coding), JSON], &packed, None).await;
        assert_eq!(result(&report)["body"].as_array().unwrap().len(), items.len(), "{coding}: {} bytes", packed.len());
    }
}

#[tokio::test]
async fn content_type_that_a_proxy_repeats_is_read_once() {
    for headers in [&[JSON, JSON][..], &[("content-type", "application/json, application/json")]] {
        assert_eq!(body_of(headers, b"{\"a\": 1}").await, json!({ "a": 1 }));
    }
}

#[tokio::test]
async fn answer_that_is_not_what_it_says_is_unreadable_with_its_place() {
    for (headers, sent, place) in [
        (&[JSON][..], b"{\"a\": 1, \"a\": 2}".as_slice(), "line 1, column 10"),
        (&[JSON], b"{\"t\": \"cut \\ud83d\"}", "line 1, column 12"),
        (&[JSON], b"{\"t\": \"caf\xe9\"}", "offset 10"),
        (&[JSON], b"<html>", "line 1, column 1"),
        (&[("content-type", "text/plain")], b"caf\xe9", "offset 3"),
        (&[], b"caf\xe9", "offset 3"),
        (&[("content-type", "text/plain; charset=ebcdic")], b"a", "the charset `ebcdic` is not known"),
        (&[("content-encoding", "gzip"), JSON], b"{}", "not valid `gzip`"),
        (&[("content-encoding", "lzma"), JSON], b"{}", "compressed as `lzma`"),
    ] {
        let report = report_of("200 OK", headers, sent, None).await;
        let message = &failure(&report, FailureKind::AnswerUnreadable).message;
        assert!(message.contains(place) && message.contains("answered 200, but its body"), "{place}: {message}");
        assert_eq!((&body(&report)["status"], &body(&report)["body"]), (&json!(200), &Value::Null), "the rest is kept");
    }
}

#[tokio::test]
async fn author_decides_what_the_answer_becomes() {
    let sent = b"{\"a\": 1, \"a\": 2}";
    let read = |kind: &'static str, sent: &'static [u8], form: &'static str| async move {
        result(&report_of("200 OK", &[("content-type", kind)], sent, Some(form)).await)["body"].clone()
    };
    assert_eq!(read("application/json", sent, "text").await, json!("{\"a\": 1, \"a\": 2}"));
    assert_eq!(read("text/plain", b"{\"a\": 1}", "json").await, json!({ "a": 1 }));
    assert_eq!(read("application/octet-stream", b"[1]", "json").await, json!([1]));
    assert_eq!(read("image/png", b"\x89PNG\x00", "base64").await, json!("iVBORwA="));
    assert_eq!(read("text/plain", b"a", "artifact").await, json!({ "artifact": "body", "bytes": 1, "media_type": "text/plain" }));
    let report = report_of("200 OK", &[], b"a", Some("yaml")).await;
    assert!(failure(&report, FailureKind::ParametersInvalid).message.contains("`parse` is `yaml`; use one of `json`, `text`"));
}

#[tokio::test]
async fn empty_answer_is_null_in_every_form() {
    for form in [None, Some("json"), Some("text"), Some("base64"), Some("artifact")] {
        for (status, headers) in [("204 No Content", &[][..]), ("200 OK", &[JSON]), ("200 OK", &[("content-encoding", "gzip")])] {
            let report = report_of(status, headers, b"", form).await;
            assert_eq!(result(&report)["body"], Value::Null, "{status} {form:?}");
        }
    }
    assert_eq!(body_of(&[JSON], b" \n").await, Value::Null);
}

#[tokio::test]
async fn binary_answer_is_an_artifact() {
    let png = b"\x89PNG\r\n\x1a\n\x00\xff".as_slice();
    let headers = [("content-type", "image/png; x=1"), ("content-disposition", "attachment; filename=\"../a b.png\"")];
    let (packed, plain) =
        (answer("200 OK", &[("content-encoding", "gzip"), headers[0], headers[1]], gzip(png)), answer("200 OK", &headers[..1], png));
    let server = Server::start(move |asked| if asked.line().contains("/logo%20x.png") { plain.clone() } else { packed.clone() }).await;
    for (path, name) in [("/", "a b.png"), ("/v1/logo%20x.png?size=2", "logo x.png")] {
        let mut world = world(&server, get(&server.url(path)));
        world.dispatch(1, json!({}));
        let Some(Ask::TakeMessage(message)) = world.asked.recv().await else { panic!("the artifact is reported first") };
        let MessageContent::Artifact(SaidArtifact { name: said, media_type, blob, bytes }) = message.said else {
            panic!("it is an artifact")
        };
        assert_eq!((said.as_str(), media_type.unwrap().as_str(), bytes), (name, "image/png", 10));
        assert_eq!(world.blobs.content(&blob), png);
        let report = world.report().await;
        assert_eq!(result(&report)["body"], json!({ "artifact": name, "bytes": 10, "media_type": "image/png" }));
    }
}

#[tokio::test]
async fn artifact_without_a_usable_name_is_named_by_its_url() {
    let headers = [("content-type", "image/png"), ("content-disposition", "attachment; filename*=UTF-8''%E2%80%AE")];
    let answer = answer("200 OK", &headers, "PNG");
    let server = Server::start(move |_| answer.clone()).await;
    let mut world = world(&server, get(&server.url("/logo.png")));
    world.dispatch(1, json!({}));
    let Some(Ask::TakeMessage(_)) = world.asked.recv().await else { panic!("the artifact is reported first") };
    assert_eq!(result(&world.report().await)["body"]["artifact"], "logo.png");
}

/// A store of files that fails.
struct FailingBlobs(fn() -> BlobError);

impl Blobs for FailingBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        Err((self.0)())
    }

    fn read(&self, _: &Digest, _: u64, _: usize) -> Result<Option<BlobPart>, BlobError> {
        Err((self.0)())
    }
}

#[tokio::test]
async fn answer_that_cannot_be_stored_now_may_be_stored_later() {
    let answer = answer("200 OK", &[("content-type", "image/png")], "PNG");
    let server = Server::start(move |_| answer.clone()).await;
    let errors: [fn() -> BlobError; 2] = [|| BlobError::Full("the disk is full".into()), || BlobError::Store("input/output error".into())];
    for error in errors {
        let plan = Plan::new(Run::Http(Box::new(get(&server.url("/"))))).allow(server.address);
        let report = plan.store(Arc::new(FailingBlobs(error))).begin().report_of(json!({})).await;
        let failure = failure(&report, FailureKind::Sandbox);
        assert!(failure.may_pass(false), "{}", failure.message);
        let hint = "; to have them in the result, write `parse: json`, `parse: text` or `parse: base64`";
        assert!(failure.message.contains(&error().to_string()) && failure.message.ends_with(hint), "{}", failure.message);
        assert_eq!((&body(&report)["status"], &body(&report)["body"]), (&json!(200), &Value::Null));
    }
    let plan = Plan::new(Run::Http(Box::new(get(&server.url("/"))))).allow(server.address);
    let report = plan.settings(|settings| settings.artifact_bytes_max = 2).begin().report_of(json!({})).await;
    let failure = failure(&report, FailureKind::OutputLimit);
    assert!(failure.message.contains("they are 3 bytes; the limit is 2"), "{}", failure.message);
}

/// A store of files that says when a file comes, and panics as soon as the test drops the other end.
struct PanickingBlobs {
    tell: tokio::sync::mpsc::UnboundedSender<()>,
    until: Mutex<mpsc::Receiver<()>>,
}

impl Blobs for PanickingBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        self.tell.send(()).unwrap();
        let _ = self.until.lock().unwrap().recv();
        panic!("the store ends in the middle of its work")
    }

    fn read(&self, _: &Digest, _: u64, _: usize) -> Result<Option<BlobPart>, BlobError> {
        Ok(None)
    }
}

/// Returns a world whose first attempt is storing its answer, and what ends that.
async fn storing() -> (World, mpsc::Sender<()>) {
    let answer = answer("200 OK", &[("content-type", "image/png")], "PNG");
    let server = Server::start(move |_| answer.clone()).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (end, until) = mpsc::channel();
    let plan = Plan::new(Run::Http(Box::new(get(&server.url("/"))))).allow(server.address);
    let world = plan.store(Arc::new(PanickingBlobs { tell, until: Mutex::new(until) })).begin();
    world.dispatch(1, json!({}));
    told.recv().await.unwrap();
    (world, end)
}

#[tokio::test]
async fn answer_whose_storing_is_interrupted_fails() {
    let (mut world, end) = storing().await;
    drop(end);
    let report = world.report().await;
    assert!(failure(&report, FailureKind::Sandbox).message.contains("an internal error of the node"));
}

#[tokio::test]
async fn answer_whose_storing_ends_with_the_node_is_left_to_the_next_one() {
    let (mut world, end) = storing().await;
    let (stopped, ()) = tokio::join!(world.executor.stop(LEASE), async { drop(end) });
    assert!(stopped.left_running.is_empty() && stopped.ended.is_empty());
    assert!(world.asked.try_recv().is_err(), "nothing is reported: the next start finds it open");
}

#[tokio::test]
async fn status_of_a_failure_stays_the_failure_whatever_its_body_is() {
    let large = vec![b'x'; 11 << 20];
    for (headers, sent, kept) in [
        (&[JSON][..], b"{oops".as_slice(), json!("{oops")),
        (&[JSON], b"caf\xe9", json!({ "base64": "Y2Fm6Q==" })),
        (&[("content-type", "image/png")], b"PNG", json!({ "base64": "UE5H" })),
        (&[("content-encoding", "gzip"), JSON], b"abc", json!({ "base64": "YWJj" })),
        (&[JSON], &large, Value::Null),
    ] {
        let report = report_of("503 Service Unavailable", headers, sent, None).await;
        assert_eq!(failure(&report, FailureKind::HttpStatus).detail, Some(503));
        assert_eq!(body(&report)["body"], kept);
    }
    let server = Server::start(|_| b"HTTP/1.1 404 Not Found\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf".to_vec()).await;
    failure(&world(&server, get(&server.url("/"))).report_of(json!({})).await, FailureKind::HttpStatus);
}

#[tokio::test]
async fn key_in_a_compressed_answer_of_another_charset_is_masked() {
    let sent: Vec<u8> = format!("\u{feff}{{\"token\":\"{SECRET}\"}}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let answer = answer("200 OK", &[("content-encoding", "gzip"), JSON], gzip(&sent));
    let server = Server::start(move |_| answer.clone()).await;
    let headers = template(json!({ "authorization": "Bearer ${{ keys['test.token'] }}" }));
    for form in [json!(null), json!("text")] {
        let request = HttpRequest { headers: headers.clone(), parse: Some(template(form.clone())), ..get(&server.url("/")) };
        let report = world(&server, request).report_of(json!({})).await;
        let shown = result(&report)["body"].to_string();
        assert!(shown.contains("[redacted test.token]") && !shown.contains(SECRET), "{shown}");
    }
}

#[tokio::test]
async fn header_that_is_not_utf_8_is_shown_without_a_loss() {
    let raw = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-name: caf\xe9\r\n\r\n".to_vec();
    let server = Server::start(move |_| raw.clone()).await;
    let report = world(&server, get(&server.url("/"))).report_of(json!({})).await;
    assert_eq!(result(&report)["headers"]["x-name"], "café");
}

/// The charsets of the property, with what the header says.
const CHARSETS: [(&str, Charset); 6] = [
    ("", Charset::Of(UTF_8)),
    ("; charset=utf-8", Charset::Utf8WithMark),
    ("", Charset::Utf16),
    ("; charset=ISO-8859-15", Charset::Of(ISO_8859_15)),
    ("; charset=windows-1251", Charset::Of(WINDOWS_1251)),
    ("; charset=Shift_JIS", Charset::Of(SHIFT_JIS)),
];
const CODINGS: [&str; 5] = ["identity", "gzip", "deflate", "br", "zstd"];

#[derive(Clone, Copy, Debug)]
enum Charset {
    Of(&'static Encoding),
    Utf8WithMark,
    Utf16,
}

/// Writes JSON in a charset. What the charset does not have is escaped.
fn encode(text: &str, charset: Charset) -> Vec<u8> {
    let encoding = match charset {
        Charset::Utf8WithMark => return format!("\u{feff}{text}").into_bytes(),
        Charset::Utf16 => return format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Charset::Of(encoding) => encoding,
    };
    let mut bytes = Vec::new();
    for character in text.chars() {
        let plain = character.to_string();
        let (encoded, _, is_lossy) = encoding.encode(&plain);
        if is_lossy || encoding.decode_without_bom_handling(&encoded).0 != plain.as_str() {
            let mut units = [0; 2];
            character.encode_utf16(&mut units).iter().for_each(|unit| bytes.extend_from_slice(format!("\\u{unit:04x}").as_bytes()));
        } else {
            bytes.extend_from_slice(&encoded);
        }
    }
    bytes
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-zA-Zäöüß€жя日本¥~\\\\\"]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("\\PC{0,6}", inner, 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A server whose next answer the test sets.
struct SettableServer {
    runtime: Runtime,
    server: Server,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl SettableServer {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&answer);
        let server = runtime.block_on(Server::start(move |_| shared.lock().unwrap().clone()));
        Self { runtime, server, answer }
    }

    fn report_of(&self, headers: &[(&str, &str)], sent: &[u8], form: Option<&str>) -> Report {
        *self.answer.lock().unwrap() = answer("200 OK", headers, sent);
        let url = self.server.url("/");
        let request = form.map_or_else(|| get(&url), |form| parsed_as(&url, form));
        self.runtime.block_on(async { world(&self.server, request).report_of(json!({})).await })
    }
}

#[test]
fn any_document_in_any_charset_and_compression_is_the_same_document() {
    let server = SettableServer::start();
    let cases = (documents(), 0..CHARSETS.len(), 0..CODINGS.len());
    proptest!(ProptestConfig::with_cases(96), |((document, charset, coding) in cases)| {
        let (declared, charset) = CHARSETS[charset];
        let sent = compress(&encode(&document.to_string(), charset), CODINGS[coding]);
        let kind = format!("application/json{declared}");
        let report = server.report_of(&[("content-type", &kind), ("content-encoding", CODINGS[coding])], &sent, None);
        prop_assert_eq!(&result(&report)["body"], &document);
    });
}

#[test]
fn any_bytes_come_back_or_are_refused_with_their_place() {
    let server = SettableServer::start();
    let bodies = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..200),
        "\\PC{1,60}".prop_map(String::into_bytes),
        documents().prop_map(|document| document.to_string().into_bytes()),
        // Many of these are JSON, and many others almost.
        "(\\{|\\}|\\[|\\]|:|,|\"a\"|\"b\"|1|-2\\.5|null| |\n){1,8}".prop_map(String::into_bytes),
    ];
    let cases = (bodies, 0..CODINGS.len());
    proptest!(ProptestConfig::with_cases(96), |((bytes, coding) in cases)| {
        prop_assume!(!matches!(bytes[..], [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0xEF, 0xBB, 0xBF, ..]));
        let sent = compress(&bytes, CODINGS[coding]);
        let headers = [("content-type", "application/octet-stream"), ("content-encoding", CODINGS[coding])];
        let encoded = result(&server.report_of(&headers, &sent, Some("base64")))["body"].clone();
        prop_assert_eq!(&BASE64_STANDARD.decode(encoded.as_str().unwrap()).unwrap(), &bytes);

        let report = server.report_of(&headers, &sent, Some("text"));
        match std::str::from_utf8(&bytes) {
            Ok(text) => prop_assert_eq!(&result(&report)["body"], &json!(text)),
            Err(error) => {
                let message = &failure(&report, FailureKind::AnswerUnreadable).message;
                prop_assert!(message.contains(&format!("offset {} ", error.valid_up_to())), "{message}");
            }
        }
        let report = server.report_of(&headers, &sent, Some("json"));
        let expected = if bytes.trim_ascii().is_empty() { Ok(Value::Null) } else { serde_json::from_slice::<Value>(&bytes) };
        match (&report.outcome, expected) {
            (ReportOutcome::Succeeded, Ok(expected)) => prop_assert_eq!(&result(&report)["body"], &expected),
            (ReportOutcome::Succeeded, Err(error)) => prop_assert!(false, "it is read, though {error}: {}", result(&report)),
            (ReportOutcome::Failed(_), expected) => {
                let message = &failure(&report, FailureKind::AnswerUnreadable).message;
                // Of two fields with the same name, serde reads the last.
                prop_assert!(expected.is_err() || message.contains("duplicate key"), "{message}");
            }
        }
    });
}
