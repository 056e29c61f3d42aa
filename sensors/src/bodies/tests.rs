//! Tests which bodies are read, and as what.

use std::io::Write as _;

use ensue_engine::catalog::{DELIVERY_BYTES_DEFAULT, HookMethod, Repeats, TextDecoding, Verify};
use ensue_engine::explain::{Explain as _, Fault};
use ensue_engine::ports::HookConnection;
use proptest::prelude::*;
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
        body_bytes_max: DELIVERY_BYTES_DEFAULT,
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
    assert!(form("a=%FF".into()).to_string().contains("in the field `a`, the bytes at offset 0 are not valid UTF-8"));
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
    let bomb = format!("\"{}\"", " ".repeat(DELIVERY_BYTES_DEFAULT - 2));
    for (encoding, body) in [("gzip", gzip(bomb.as_bytes())), ("zstd", zstd::encode_all(bomb.as_bytes(), 3).unwrap())] {
        let request = request(&[("content-type", "application/json"), ("content-encoding", encoding)], body);
        let refusal = document(&hook(&[BodyForm::Json]), &request).unwrap_err();
        assert_eq!((refusal.slug(), refusal.fault()), ("body-too-large", Fault::TooLarge), "{encoding}");
    }
}

/// Reads a JSON text that is sent with a compression, where the hook has this limit of its own.
fn read_compressed(encoding: &str, body: Vec<u8>, own_max: Option<usize>) -> Result<Document, HookRefusal> {
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
        for own_max in [None, Some(1_500), Some(2 * DELIVERY_BYTES_DEFAULT)] {
            assert_eq!(read_compressed(encoding, body.clone(), own_max).unwrap().bytes(), &text, "{encoding}, {own_max:?}");
        }
        let refusal = read_compressed(encoding, body, Some(1_499)).unwrap_err();
        assert!(matches!(refusal, HookRefusal::TooLarge { bytes_max: 1_499 }), "{encoding}: {refusal}");
    }
}

#[test]
fn decompressed_body_may_be_a_hundred_times_as_large_as_it_is_sent_however_much_the_hook_takes() {
    let mut is_refused = [false; 2];
    for bytes in (1_000..8_000).step_by(9) {
        let body = gzip(blank(bytes).as_bytes());
        let times_max = body.len() * UNPACKED_TIMES_MAX;
        match read_compressed("gzip", body, Some(1 << 20)) {
            Ok(document) => assert!(document.bytes().len() <= times_max, "{bytes}"),
            Err(HookRefusal::TooLarge { bytes_max }) => assert!(bytes_max == times_max && bytes > times_max, "{bytes}"),
            Err(other) => panic!("{bytes}: {other}"),
        }
        is_refused[usize::from(bytes > times_max)] = true;
    }
    assert_eq!(is_refused, [true; 2], "some fit, and some do not");
}

#[test]
fn decompressed_body_is_within_the_limit_of_the_node() {
    // Digits that repeat too late to be compressed away.
    let mut state: u32 = 1;
    let mut digit = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_digit(state >> 29, 10).unwrap()
    };
    let digits: String = (0..DELIVERY_BYTES_DEFAULT - 2).map(|_| digit()).collect();
    for own_max in [None, Some(2 * DELIVERY_BYTES_DEFAULT)] {
        let fits = zstd::encode_all(format!("\"{digits}\"").as_bytes(), 1).unwrap();
        assert_eq!(read_compressed("zstd", fits, own_max).unwrap().bytes().len(), DELIVERY_BYTES_DEFAULT);
        let over = zstd::encode_all(format!("\"{digits}0\"").as_bytes(), 1).unwrap();
        let refusal = read_compressed("zstd", over, own_max).unwrap_err();
        assert!(matches!(refusal, HookRefusal::TooLarge { bytes_max: DELIVERY_BYTES_DEFAULT }), "{refusal}");
    }
}

#[test]
fn body_with_an_unknown_or_wrong_compression_is_rejected() {
    let compressed = |encoding: &str, body: &[u8]| {
        let request = request(&[("content-type", "application/json"), ("content-encoding", encoding)], body.to_vec());
        document(&hook(&[BodyForm::Json]), &request).unwrap_err().slug()
    };
    assert_eq!(compressed("compress", b"{}"), "unsupported-media-type");
    assert_eq!(compressed("gzip,gzip,gzip,gzip,gzip", b"{}"), "unsupported-media-type");
    assert_eq!(compressed("br", b"{}"), "body-unreadable");
    assert_eq!(compressed("gzip", b"{}"), "body-unreadable");
    assert_eq!(compressed("zstd", b"{}"), "body-unreadable");
    let whole = gzip(b"{\"a\":1}");
    assert_eq!(compressed("gzip", &whole[..whole.len() - 4]), "body-unreadable");
}

#[test]
fn empty_body_is_null_by_any_method_and_of_any_type_but_a_form_and_a_text() {
    let all = [BodyForm::Json, BodyForm::Form, BodyForm::Text];
    let empty = |method, headers: &[(&str, &str)], accepts: &[BodyForm]| {
        let request = HookRequest { method, ..request(headers, Bytes::new()) };
        document(&hook(accepts), &request).map(|document| document.root().to_value()).unwrap()
    };
    for method in HookMethod::ALL {
        for headers in [&[][..], &[("content-type", "")], &[("content-type", "application/json")], &[("content-type", "image/png")]] {
            assert_eq!(empty(method, headers, &all), Value::Null, "{method:?}, {headers:?}");
        }
    }
    assert_eq!(empty(HookMethod::Post, &[("content-type", "application/x-www-form-urlencoded")], &all), json!({}));
    assert_eq!(empty(HookMethod::Post, &[("content-type", "text/plain")], &all), json!(""));
    assert_eq!(empty(HookMethod::Post, &[("content-type", "text/plain")], &[BodyForm::Json]), Value::Null);
    assert_eq!(read(&[BodyForm::Json], "application/json", " \n").unwrap(), Value::Null, "nor is white space a value");
}

#[test]
fn body_without_a_type_is_judged_by_itself() {
    let apparent =
        |accepts: &[BodyForm], body: &'static str| document(&hook(accepts), &request(&[], body)).map(|document| document.root().to_value());
    assert_eq!(apparent(&[BodyForm::Json], "{}").unwrap(), json!({}));
    assert_eq!(apparent(&[BodyForm::Json], "a=1").unwrap_err().slug(), "body-not-json");
    assert_eq!(apparent(&[BodyForm::Text], "{}").unwrap(), json!("{}"));
    assert_eq!(apparent(&[BodyForm::Form], "a=1").unwrap(), json!({ "a": "1" }));
    let all = [BodyForm::Json, BodyForm::Form, BodyForm::Multipart, BodyForm::Text];
    assert_eq!(apparent(&all, " [1]").unwrap(), json!([1]));
    assert_eq!(apparent(&all, "[1").unwrap_err().slug(), "body-not-json");
    assert_eq!(apparent(&all, "a=1").unwrap(), json!("a=1"));
    assert_eq!(apparent(&[BodyForm::Json, BodyForm::Form], "a=1").unwrap(), json!({ "a": "1" }));
    assert_eq!(apparent(&[BodyForm::Multipart], "--XX").unwrap_err().slug(), "unsupported-media-type");
}

#[test]
fn body_is_read_in_the_charset_that_its_sender_names() {
    let json = |content_type: &str, body: &'static [u8]| read(&[BodyForm::Json], content_type, body);
    for content_type in ["application/json;charset=utf8", "application/json; charset=\"UTF-8\"", "application/json; charset=us-ascii"] {
        assert_eq!(json(content_type, br#"{"a":"b"}"#).unwrap(), json!({ "a": "b" }), "{content_type}");
    }
    assert_eq!(json("application/json; charset=ISO-8859-15", b"\"10 \xa4\"").unwrap(), json!("10 €"));
    assert_eq!(json("application/json", b"\xef\xbb\xbf\"a\"").unwrap(), json!("a"), "a byte order mark is skipped");
    assert_eq!(json("application/json", b"\xff\xfe\"\0a\0\"\0").unwrap(), json!("a"), "and names the charset");
    let form = "application/x-www-form-urlencoded; charset=windows-1252";
    assert_eq!(read(&[BodyForm::Form], form, "city=M%FCnchen&caf%E9=").unwrap(), json!({ "city": "München", "café": "" }));
    assert_eq!(read(&[BodyForm::Text], "text/plain; charset=windows-1252", &b"caf\xe9"[..]).unwrap(), json!("café"));
    let xml = &b"<?xml version=\"1.0\" encoding=\"windows-1251\"?><a>\xcf</a>"[..];
    let text = read(&[BodyForm::Text], "application/xml", xml).unwrap();
    assert!(text.as_str().unwrap().ends_with("<a>П</a>"), "the document names its charset: {text}");
    let refusal = json("application/json; charset=ebcdic", b"{}").unwrap_err();
    assert_eq!(refusal.slug(), "unsupported-media-type");
    assert!(refusal.to_string().contains("in the charset `ebcdic`"), "{refusal}");
}

#[test]
fn declaration_of_utf_16_in_a_document_that_is_not_is_ignored() {
    for label in ["utf-16", "UTF-16LE", "unicode", "ucs-2", "csunicode", "unicodefffe", "unheard-of"] {
        let xml = format!("<?xml version=\"1.0\" encoding=\"{label}\"?><a>\u{e9}</a>");
        assert_eq!(read(&[BodyForm::Text], "text/xml", xml.clone()).unwrap(), json!(xml));
    }
}

#[test]
fn only_a_document_declares_its_charset() {
    let all = [BodyForm::Json, BodyForm::Form, BodyForm::Text];
    let hook = Webhook { types: [("application/x-report".to_owned(), BodyForm::Json)].into(), ..hook(&all) };
    let read = |headers: &[(&str, &str)], body: &str| {
        document(&hook, &request(headers, body.to_owned())).map(|document| document.root().to_value()).unwrap()
    };
    let (mentions, report) = ("<meta charset=latin1>\u{e9}", r#"{"a":"<meta charset=latin1>\u{e9}"}"#);
    for content_type in ["text/plain", "text/csv", "application/yaml"] {
        assert_eq!(read(&[("content-type", content_type)], mentions), json!(mentions), "{content_type}");
    }
    let report = report.replace("\\u{e9}", "\u{e9}");
    for content_type in ["application/json", "application/x-report"] {
        assert_eq!(read(&[("content-type", content_type)], &report), json!({ "a": mentions }), "{content_type}");
    }
    assert_eq!(read(&[], &report), json!({ "a": mentions }));
    assert_eq!(
        read(&[("content-type", "application/x-www-form-urlencoded")], "a=<meta charset%3Dlatin1>%C3%A9&b=<meta charset=latin1>"),
        json!({ "a": mentions, "b": "<meta charset=latin1>" })
    );
    for headers in [&[("content-type", "text/html")][..], &[("content-type", "application/xhtml+xml")], &[]] {
        assert_eq!(read(headers, mentions), json!("<meta charset=latin1>\u{c3}\u{a9}"), "{headers:?}");
    }
}

#[test]
fn byte_order_mark_belongs_to_a_whole_body_and_not_to_its_fields() {
    let form = "application/x-www-form-urlencoded";
    let text = |bytes: &[u16]| bytes.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>();
    let in_utf_16 = text(&"\u{feff}a=%C3%A9".encode_utf16().collect::<Vec<_>>());
    for (content_type, body, expected) in [
        (form, b"a=%EF%BB%BFx&%EF%BB%BFb=1".to_vec(), json!({ "a": "\u{feff}x", "\u{feff}b": "1" })),
        ("application/x-www-form-urlencoded; charset=iso-8859-1", b"a=%FF%FEab".to_vec(), json!({ "a": "\u{ff}\u{fe}ab" })),
        (form, b"\xef\xbb\xbfa=1&b=%EF%BB%BF".to_vec(), json!({ "a": "1", "b": "\u{feff}" })),
        (form, in_utf_16, json!({ "a": "\u{e9}" })),
    ] {
        assert_eq!(read(&[BodyForm::Form], content_type, body).unwrap(), expected);
    }
    let part = "--XX\nContent-Disposition: form-data; name=\"\u{feff}a\"\n\n\u{feff}x\n--XX--";
    assert_eq!(multipart(part).unwrap(), json!({ "\u{feff}a": "\u{feff}x" }));
    let head = b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\xfeab\r\n--XX--";
    let latin = "multipart/form-data; boundary=XX; charset=iso-8859-1";
    assert_eq!(read(&[BodyForm::Multipart], latin, &head[..]).unwrap(), json!({ "a": "\u{ff}\u{fe}ab" }));
    let form = "multipart/form-data; boundary=XX";
    let part = b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX--";
    assert_eq!(read(&[BodyForm::Multipart], form, [b"\xef\xbb\xbf", &part[..]].concat()).unwrap(), json!({ "a": "1" }));
    // Text before the first boundary is allowed, and is never a part.
    let refusal = read(&[BodyForm::Multipart], form, [b"\xff\xfe", &part[..]].concat()).unwrap_err();
    assert_eq!(refusal.slug(), "body-unreadable", "{refusal}");
}

#[test]
fn empty_multipart_body_is_an_empty_form() {
    assert_eq!(read(&[BodyForm::Multipart], "multipart/form-data; boundary=XX", "").unwrap(), json!({}));
    assert_eq!(read(&[BodyForm::Multipart], "multipart/form-data", "").unwrap_err().slug(), "body-unreadable");
}

#[test]
fn page_of_another_site_must_declare_a_type_that_the_hook_accepts() {
    let hook = Webhook { types: [("text/plain".to_owned(), BodyForm::Json)].into(), ..hook(&[BodyForm::Json, BodyForm::Form]) };
    let of_a_page = |method, mark: (&str, &str), content_type: Option<&str>, body: &str| {
        let mut headers = vec![mark];
        headers.extend(content_type.map(|kind| ("content-type", kind)));
        let request = HookRequest { method, ..request(&headers, body.to_owned()) };
        document(&hook, &request).map(|document| document.root().to_value())
    };
    let (cross, null) = (("sec-fetch-site", "cross-site"), ("origin", "null"));
    for mark in [cross, ("sec-fetch-site", "same-site"), ("sec-fetch-site", ""), ("origin", "https://evil.example.test"), null] {
        for (content_type, body) in [(None, ""), (None, "{}"), (Some("image/png"), ""), (Some("text/html"), ""), (Some(""), "{}")] {
            let refusal = of_a_page(HookMethod::Post, mark, content_type, body).unwrap_err();
            assert_eq!(refusal.slug(), "unsupported-media-type", "{mark:?}, {content_type:?}, {body:?}");
        }
        for content_type in ["application/json", "text/plain"] {
            assert_eq!(of_a_page(HookMethod::Post, mark, Some(content_type), "{}").unwrap(), json!({}));
            assert_eq!(of_a_page(HookMethod::Post, mark, Some(content_type), "").unwrap(), Value::Null);
        }
        assert_eq!(of_a_page(HookMethod::Get, mark, None, "").unwrap(), Value::Null, "a GET has never needed a type");
        assert!(of_a_page(HookMethod::Get, mark, None, "{}").is_err());
    }
    for mark in [("sec-fetch-site", "none"), ("sec-fetch-site", "same-origin"), ("user-agent", "curl")] {
        assert_eq!(of_a_page(HookMethod::Post, mark, None, "{}").unwrap(), json!({}), "{mark:?}");
        assert_eq!(of_a_page(HookMethod::Post, mark, Some("image/png"), "").unwrap(), Value::Null, "{mark:?}");
    }
    let both = [cross, ("sec-fetch-site", "none")];
    assert!(document(&hook, &request(&both, "{}")).is_err(), "one of two headers is enough");
}

#[test]
fn charset_of_the_hook_is_for_bodies_that_name_none() {
    let text_decoding = TextDecoding { charset: Some("windows-1252".into()), ..TextDecoding::default() };
    let hook = Webhook { text_decoding, ..hook(&[BodyForm::Json, BodyForm::Form]) };
    let read = |content_type: &str, body: &'static [u8]| {
        document(&hook, &request(&[("content-type", content_type)], body)).map(|document| document.root().to_value())
    };
    assert_eq!(read("application/json", b"\"caf\xe9\"").unwrap(), json!("café"));
    assert_eq!(read("application/x-www-form-urlencoded", b"a=%E9").unwrap(), json!({ "a": "é" }));
    assert_eq!(read("application/json; charset=utf-8", "\"café\"".as_bytes()).unwrap(), json!("café"));
}

#[test]
fn further_types_are_read_as_the_form_that_the_author_names() {
    let types = [("application/csp-report".to_owned(), BodyForm::Json), ("text/plain".to_owned(), BodyForm::Json)];
    let hook = Webhook { types: types.into(), ..hook(&[BodyForm::Form]) };
    let read =
        |content_type: &str| document(&hook, &request(&[("content-type", content_type)], "{}")).map(|document| document.root().to_value());
    assert_eq!(read("Application/CSP-Report; charset=utf-8").unwrap(), json!({}));
    assert_eq!(read("text/plain").unwrap(), json!({}));
    let refusal = read("application/json").unwrap_err().to_string();
    assert!(refusal.contains("`application/x-www-form-urlencoded`, `application/csp-report`, `text/plain`"), "{refusal}");
}

#[test]
fn what_is_not_valid_is_rejected_with_its_place_or_replaced() {
    let invalid = |invalid, accepts: &[BodyForm], content_type: &str, body: &'static [u8]| {
        let hook = Webhook { text_decoding: TextDecoding { invalid, charset: None }, ..hook(accepts) };
        document(&hook, &request(&[("content-type", content_type)], body)).map(|document| document.root().to_value())
    };
    let form = "application/x-www-form-urlencoded";
    for (accepts, content_type, body, place, replaced) in [
        (BodyForm::Json, "application/json", &b"{\"t\": \"caf\xe9\"}"[..], "offset 10", json!({ "t": "caf\u{fffd}" })),
        (BodyForm::Json, "application/json", br#"{"t":"cut \ud83d"}"#, "column 11", json!({ "t": "cut \u{fffd}" })),
        (BodyForm::Json, "application/json", br#"{"a": 1, "a": 2}"#, "column 10", json!({ "a": 2 })),
        (BodyForm::Form, form, b"a=1&b=%FF", "in the field `b`", json!({ "a": "1", "b": "\u{fffd}" })),
        (BodyForm::Text, "text/plain", b"ab\xff", "offset 2", json!("ab\u{fffd}")),
    ] {
        let refusal = invalid(Invalid::Reject, &[accepts], content_type, body).unwrap_err();
        assert!(refusal.to_string().contains(place), "{refusal}");
        assert_eq!(refusal.fault(), Fault::Malformed);
        assert_eq!(invalid(Invalid::Replace, &[accepts], content_type, body).unwrap(), replaced);
    }
    assert!(invalid(Invalid::Replace, &[BodyForm::Json], "application/json", b"{oops").is_err());
}

proptest! {
    #[test]
    fn json_of_any_charset_and_compression_is_the_same_document(
        text in "[a-zA-Z0-9 äöüßéèàçñ]{0,40}",
        charset in 0..5usize,
        coding in 0..5usize,
    ) {
        let label = ["utf-8", "windows-1252", "iso-8859-15", "gb18030", "macintosh"][charset];
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
        let value = json!({ "text": text, "n": 1 });
        let body = value.to_string();
        let (bytes, _, is_lossy) = encoding.encode(&body);
        prop_assert!(!is_lossy);
        let (coding, bytes) = match coding {
            0 => ("gzip", gzip(&bytes)),
            1 => ("zstd", zstd::encode_all(&bytes[..], 1).unwrap()),
            2 => ("identity", bytes.into_owned()),
            3 => ("gzip, zstd", zstd::encode_all(&gzip(&bytes)[..], 1).unwrap()),
            _ => ("zstd,gzip", gzip(&zstd::encode_all(&bytes[..], 1).unwrap())),
        };
        let content_type = format!("application/json; charset={label}");
        let request = request(&[("content-type", &content_type), ("content-encoding", coding)], bytes);
        prop_assert_eq!(document(&hook(&[BodyForm::Json]), &request).unwrap().root().to_value(), value);
    }

    #[test]
    fn fields_of_a_form_are_any_texts(fields in proptest::collection::btree_map("[a\u{feff}\u{fffe}é]{1,4}", any::<String>(), 0..4), marked in any::<bool>()) {
        let fields: std::collections::BTreeMap<String, String> =
            fields.into_iter().map(|(name, value)| (name, if marked { format!("\u{feff}{value}") } else { value })).collect();
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let body = fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect::<Vec<_>>().join("&");
        prop_assert_eq!(read(&[BodyForm::Form], "application/x-www-form-urlencoded", body).unwrap(), json!(fields));
    }

    #[test]
    fn any_bytes_are_the_same_text_or_rejected_with_their_place(bytes in proptest::collection::vec(any::<u8>(), 1..60)) {
        match read(&[BodyForm::Text], "text/plain", bytes.clone()) {
            Ok(text) => {
                let marks: &[&[u8]] = &[b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
                if !marks.iter().any(|mark| bytes.starts_with(mark)) {
                    prop_assert_eq!(text.as_str().unwrap().as_bytes(), &bytes[..]);
                }
            }
            Err(refusal) => prop_assert!(refusal.to_string().contains("offset"), "{}", refusal),
        }
    }
}
