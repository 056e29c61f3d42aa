//! Tests which bodies are read, and as what.

use std::io::Write as _;

use ensue_engine::catalog::{Repeats, Verify};
use ensue_engine::explain::{Explain as _, Fault};
use ensue_engine::ports::HookConnection;
use serde_json::json;

use super::*;
use crate::limits::{FIELDS_MAX, FILE_BYTES_MAX};

fn hook(accepts: &[BodyForm]) -> Webhook {
    Webhook { accepts: accepts.to_vec(), ..Webhook::of(Verify::None, Repeats::Drop) }
}

fn request(headers: &[(&str, &str)], body: impl Into<Bytes>) -> HookRequest {
    HookRequest {
        sensor: "shop.orders".parse().unwrap(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        query: Vec::new(),
        body: body.into(),
        method: HookMethod::Post,
        path: Vec::new(),
        url: String::new(),
        connection: HookConnection::default(),
    }
}

fn read(accepts: &[BodyForm], content_type: &str, body: impl Into<Bytes>) -> Result<Value, HookRefusal> {
    document(&hook(accepts), &request(&[("content-type", content_type)], body)).map(|document| document.root().to_value())
}

fn multipart(body: &str) -> Result<Value, HookRefusal> {
    let body = body.replace('\n', "\r\n");
    read(&[BodyForm::Multipart], "multipart/form-data; boundary=\"XX\"", body)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn json_body_keeps_its_bytes() {
    let request = request(&[("content-type", "application/json; charset=utf-8")], r#"{ "a":1 }"#);
    let document = document(&hook(&[BodyForm::Json]), &request).unwrap();
    assert_eq!(document.bytes(), &request.body);
}

#[test]
fn form_is_an_object_of_texts_and_lists() {
    let read = read(&[BodyForm::Form], "application/x-www-form-urlencoded", "a=1&b=x+y%26&a=2&empty=&bare&a=3&%C3%A9=%E2%82%AC").unwrap();
    assert_eq!(read, json!({ "a": ["1", "2", "3"], "b": "x y&", "empty": "", "bare": "", "é": "€" }));
}

#[test]
fn form_with_invalid_text_or_too_many_fields_is_rejected() {
    let form = |body: String| read(&[BodyForm::Form], "application/x-www-form-urlencoded", body).unwrap_err();
    assert!(form("a=%FF".into()).to_string().contains("not UTF-8"));
    let many = form("a=1&".repeat(FIELDS_MAX + 1));
    assert_eq!((many.slug(), many.fault()), ("body-unreadable", Fault::Malformed));
}

#[test]
fn multipart_body_has_fields_and_files() {
    let body = "preamble\n--XX\nContent-Disposition: form-data; name=\"title\"\n\nA \"b\"\n--XX\nContent-Disposition: form-data; \
                name=\"doc\"; filename=\"a\\\"b;c.txt\"\nContent-Type: text/plain\n\nfirst\nsecond\n--XX--\nepilogue";
    let read = multipart(body).unwrap();
    let file = json!({ "name": "doc", "filename": "a\"b;c.txt", "type": "text/plain", "text": "first\r\nsecond" });
    assert_eq!(read, json!({ "title": "A \"b\"", "files": [file] }));
}

#[test]
fn file_that_is_not_text_is_in_base64() {
    let head = b"--XX\r\nContent-Disposition: form-data; name=\"p\"; filename=\"p.png\"\r\n\r\n";
    let body = [&head[..], &[0xff, 0x00], b"\r\n--XX--"].concat();
    let read = read(&[BodyForm::Multipart], "multipart/form-data; boundary=XX", body).unwrap();
    assert_eq!(read["files"][0]["base64"], "/wA=");
}

#[test]
fn file_over_the_limit_is_too_large() {
    let text = "x".repeat(FILE_BYTES_MAX + 1);
    let refusal = multipart(&format!("--XX\nContent-Disposition: form-data; name=\"p\"; filename=\"p\"\n\n{text}\n--XX--")).unwrap_err();
    assert_eq!((refusal.slug(), refusal.fault()), ("body-too-large", Fault::TooLarge));
    let fits = "x".repeat(FILE_BYTES_MAX);
    assert!(multipart(&format!("--XX\nContent-Disposition: form-data; name=\"p\"; filename=\"p\"\n\n{fits}\n--XX--")).is_ok());
}

#[test]
fn forms_have_at_most_so_many_fields_and_parts() {
    for (count, fits) in [(FIELDS_MAX, true), (FIELDS_MAX + 1, false)] {
        let form = read(&[BodyForm::Form], "application/x-www-form-urlencoded", "a=1&".repeat(count));
        assert_eq!(form.is_ok_and(|read| read["a"].as_array().unwrap().len() == count), fits, "{count} fields");
        let part = "--XX\nContent-Disposition: form-data; name=\"a\"\n\n1\n";
        let parts = multipart(&(part.repeat(count) + "--XX--"));
        assert_eq!(parts.is_ok_and(|read| read["a"].as_array().unwrap().len() == count), fits, "{count} parts");
    }
}

#[test]
fn incomplete_or_malformed_multipart_body_is_rejected() {
    for bad in [
        "",
        "nothing",
        "--XX",
        "--XX\nContent-Disposition: form-data; name=\"a\"\n\nvalue",
        "--XX\nContent-Disposition: form-data\n\nvalue\n--XX--",
        "--XX\nContent-Disposition: attachment; name=\"a\"\n\nvalue\n--XX--",
        "--XXYY\nContent-Disposition: form-data; name=\"a\"\n\nvalue\n--XX--",
        "--XX\nContent-Disposition: form-data; name=\"a\"\nContent-Transfer-Encoding: base64\n\nvalue\n--XX--",
        "--XX\nContent-Disposition: form-data; name=\"files\"\n\nx\n--XX\nContent-Disposition: form-data; name=\"p\"; filename=\"p\"\n\nx\n--XX--",
    ] {
        let refusal = multipart(bad).unwrap_err();
        assert_eq!(refusal.slug(), "body-unreadable", "{bad:?}: {refusal}");
    }
    assert!(read(&[BodyForm::Multipart], "multipart/form-data", "--XX--").is_err());
}

#[test]
fn text_and_xml_are_texts() {
    for content_type in ["text/plain", "application/xml", "application/soap+xml", "text/csv; charset=UTF-8"] {
        assert_eq!(read(&[BodyForm::Text], content_type, "<a/>").unwrap(), json!("<a/>"), "{content_type}");
    }
    assert!(read(&[BodyForm::Text], "text/plain", vec![0xff]).is_err());
    assert_eq!(read(&[BodyForm::Text], "text/plain; charset=latin1", "a").unwrap_err().slug(), "unsupported-media-type");
}

#[test]
fn form_that_the_hook_does_not_list_is_not_read() {
    for (content_type, accepts) in [
        ("application/x-www-form-urlencoded", BodyForm::Json),
        ("application/json", BodyForm::Form),
        ("text/plain", BodyForm::Json),
        ("multipart/form-data; boundary=XX", BodyForm::Form),
        ("application/octet-stream", BodyForm::Text),
    ] {
        let refusal = read(&[accepts], content_type, "{}").unwrap_err();
        assert_eq!(refusal.slug(), "unsupported-media-type", "{content_type}");
    }
}

#[test]
fn compressed_body_is_decompressed() {
    let text = br#"{"a":"0123456789"}"#;
    for (encoding, body) in [("gzip", gzip(text)), ("zstd", zstd::encode_all(&text[..], 3).unwrap()), ("identity", text.to_vec())] {
        let request = request(&[("content-type", "application/json"), ("content-encoding", encoding)], body);
        let document = document(&hook(&[BodyForm::Json]), &request).unwrap();
        assert_eq!(&document.bytes()[..], text, "{encoding}");
    }
}

#[test]
fn compressed_bomb_is_too_large() {
    let bomb = format!("\"{}\"", " ".repeat(UNPACKED_BYTES_MAX - 2));
    for (encoding, body) in [("gzip", gzip(bomb.as_bytes())), ("zstd", zstd::encode_all(bomb.as_bytes(), 3).unwrap())] {
        let request = request(&[("content-type", "application/json"), ("content-encoding", encoding)], body);
        let refusal = document(&hook(&[BodyForm::Json]), &request).unwrap_err();
        assert_eq!((refusal.slug(), refusal.fault()), ("body-too-large", Fault::TooLarge), "{encoding}");
    }
}

/// Reads a JSON text that is sent with a compression, where the hook has this limit of its own.
fn decompressed(encoding: &str, body: Vec<u8>, own_max: Option<usize>) -> Result<Document, HookRefusal> {
    let hook = Webhook { body_bytes_max: own_max.map(|bytes| u32::try_from(bytes).unwrap()), ..hook(&[BodyForm::Json]) };
    document(&hook, &request(&[("content-type", "application/json"), ("content-encoding", encoding)], body))
}

/// Returns a JSON text of this length, which takes next to nothing when it is compressed.
fn blank(bytes: usize) -> String {
    format!("\"{}\"", " ".repeat(bytes - 2))
}

#[test]
fn decompressed_body_is_within_the_hook_s_own_limit() {
    let text = blank(1_500);
    for (encoding, body) in [("gzip", gzip(text.as_bytes())), ("zstd", zstd::encode_all(text.as_bytes(), 3).unwrap())] {
        assert!(body.len() < 100, "it is small as it is sent");
        for own_max in [None, Some(1_500), Some(2 * UNPACKED_BYTES_MAX)] {
            assert_eq!(decompressed(encoding, body.clone(), own_max).unwrap().bytes(), &text, "{encoding}, {own_max:?}");
        }
        let refusal = decompressed(encoding, body, Some(1_499)).unwrap_err();
        assert!(matches!(refusal, HookRefusal::TooLarge { bytes_max: 1_499 }), "{encoding}: {refusal}");
    }
}

#[test]
fn decompressed_body_may_be_a_hundred_times_as_large_as_it_is_sent_however_much_the_hook_takes() {
    let mut is_refused = [false; 2];
    for bytes in (1_000..8_000).step_by(9) {
        let body = gzip(blank(bytes).as_bytes());
        let times_max = body.len() * UNPACKED_TIMES_MAX;
        match decompressed("gzip", body, Some(1 << 20)) {
            Ok(document) => assert!(document.bytes().len() <= times_max, "{bytes}"),
            Err(HookRefusal::TooLarge { bytes_max }) => assert!(bytes_max == times_max && bytes > times_max, "{bytes}"),
            Err(other) => panic!("{bytes}: {other}"),
        }
        is_refused[usize::from(bytes > times_max)] = true;
    }
    assert_eq!(is_refused, [true; 2], "some fit, and some do not");
}

#[test]
fn decompressed_body_is_within_the_limit_of_all_hooks() {
    // Digits that repeat too late to be compressed away.
    let mut state: u32 = 1;
    let mut digit = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_digit(state >> 29, 10).unwrap()
    };
    let digits: String = (0..UNPACKED_BYTES_MAX - 2).map(|_| digit()).collect();
    for own_max in [None, Some(2 * UNPACKED_BYTES_MAX)] {
        let fits = zstd::encode_all(format!("\"{digits}\"").as_bytes(), 1).unwrap();
        assert_eq!(decompressed("zstd", fits, own_max).unwrap().bytes().len(), UNPACKED_BYTES_MAX);
        let over = zstd::encode_all(format!("\"{digits}0\"").as_bytes(), 1).unwrap();
        let refusal = decompressed("zstd", over, own_max).unwrap_err();
        assert!(matches!(refusal, HookRefusal::TooLarge { bytes_max: UNPACKED_BYTES_MAX }), "{refusal}");
    }
}

#[test]
fn zstd_may_look_back_eight_mebibytes_and_no_further() {
    for (window_log, fits) in [(ZSTD_WINDOW_LOG_MAX, true), (ZSTD_WINDOW_LOG_MAX + 1, false)] {
        let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        writer.window_log(window_log).unwrap();
        // Without an end in sight, the window is as large as it may become.
        writer.write_all(b"[1,").unwrap();
        writer.flush().unwrap();
        writer.write_all(b"2]").unwrap();
        let read = decompressed("zstd", writer.finish().unwrap(), None);
        assert_eq!(read.is_ok(), fits, "{window_log}: {read:?}");
        assert!(fits || matches!(read, Err(HookRefusal::Unreadable { .. })), "{read:?}");
    }
}

#[test]
fn body_with_an_unknown_or_wrong_compression_is_rejected() {
    let compressed = |encoding: &str, body: &[u8]| {
        let request = request(&[("content-type", "application/json"), ("content-encoding", encoding)], body.to_vec());
        document(&hook(&[BodyForm::Json]), &request).unwrap_err().slug()
    };
    assert_eq!(compressed("br", b"{}"), "unsupported-media-type");
    assert_eq!(compressed("gzip, gzip", b"{}"), "unsupported-media-type");
    assert_eq!(compressed("gzip", b"{}"), "body-unreadable");
    assert_eq!(compressed("zstd", b"{}"), "body-unreadable");
    let whole = gzip(b"{\"a\":1}");
    assert_eq!(compressed("gzip", &whole[..whole.len() - 4]), "body-unreadable");
}

#[test]
fn only_a_delivery_without_a_body_by_get_or_delete_is_null() {
    let empty = |method| document(&hook(&[BodyForm::Json]), &HookRequest { method, ..request(&[], Bytes::new()) });
    for method in [HookMethod::Get, HookMethod::Delete] {
        assert!(empty(method).unwrap().root().is_null());
    }
    for method in [HookMethod::Post, HookMethod::Put] {
        assert_eq!(empty(method).unwrap_err().slug(), "unsupported-media-type");
    }
}
