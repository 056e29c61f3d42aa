//! Documents: what is read, what is rejected, and where.

use std::borrow::Cow;

use bytes::Bytes;
use ensue_expression::{Budget, Document, Expression, JSON_DEPTH_MAX, Node, NodeKind, Number, Scope};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{document, roots};

#[track_caller]
fn expect_refusal(text: impl AsRef<[u8]>, at: (usize, usize), message: &str) {
    let error = Document::parse(Bytes::copy_from_slice(text.as_ref())).expect_err("it is not JSON");
    assert!(error.message.contains(message), "`{}` does not say `{message}`", error.message);
    assert_eq!((error.line, error.column), at, "{error}");
}

#[test]
fn fields_elements_and_scalars_are_read_in_place() {
    let document = document(r#" {"a": [1, {"b": "x"}], "c": -2.5e3, "d": true, "e": null, "f": "y"} "#);
    let root = document.root();
    assert_eq!(root.kind(), NodeKind::Object);
    assert_eq!(root.len(), 5);
    let inner = root.get("a").and_then(|a| a.at(1)).and_then(|one| one.get("b")).and_then(Node::as_str);
    assert!(matches!(inner, Some(Cow::Borrowed("x"))));
    assert_eq!(root.get("c").and_then(Node::as_f64), Some(-2500.0));
    assert_eq!(root.get("d").and_then(Node::as_bool), Some(true));
    assert!(root.get("e").is_some_and(Node::is_null));
    assert_eq!(root.get("a").map(Node::raw), Some(r#"[1, {"b": "x"}]"#));
    assert!(root.get("g").is_none());
    assert!(root.get("f").and_then(|f| f.get("g")).is_none());
    let keys: Vec<_> = root.entries().map(|(key, _)| key.into_owned()).collect();
    assert_eq!(keys, ["a", "c", "d", "e", "f"]);
}

#[test]
fn key_is_found_however_it_is_escaped() {
    let document = document(r#"{"\u0061b": 1, "a\\u0062": 2, "\ud83d\ude00": 3}"#);
    assert_eq!(document.root().get("ab").and_then(Node::as_i64), Some(1));
    assert_eq!(document.root().get("a\\u0062").and_then(Node::as_i64), Some(2));
    assert_eq!(document.root().get("😀").and_then(Node::as_i64), Some(3));
    assert!(document.root().get("a").is_none());
    assert!(document.root().get("abc").is_none());
}

#[test]
fn integer_is_exact_within_64_bits() {
    for (text, number) in [
        ("0", Number::Int(0)),
        ("-9223372036854775808", Number::Int(i64::MIN)),
        ("9223372036854775808", Number::Uint(1 << 63)),
        ("18446744073709551615", Number::Uint(u64::MAX)),
        ("18446744073709551616", Number::Double(18_446_744_073_709_551_616.0)),
        ("1.0", Number::Double(1.0)),
        ("1.38e-23", Number::Double(1.38e-23)),
    ] {
        assert_eq!(document(text).root().number(), Some(number), "{text}");
    }
}

#[test]
fn invalid_json_is_rejected_with_its_place() {
    expect_refusal("", (1, 1), "ends where a value");
    expect_refusal("{\"a\": 1,\n \"é\": 2, \"a\": 3}", (2, 10), "duplicate key `a`");
    expect_refusal(r#"{"a": 1, "\u0061": 2}"#, (1, 10), "duplicate key `a`");
    expect_refusal("[1, 2", (1, 6), "the array is not closed");
    expect_refusal("{\"a\": 1", (1, 8), "the object is not closed");
    expect_refusal("[1,]", (1, 4), "expected a value");
    expect_refusal("{\"a\":1,}", (1, 8), "unexpected comma before `}`");
    expect_refusal("{a: 1}", (1, 2), "a key in double quotes");
    expect_refusal("{\"a\" 1}", (1, 6), "expected `:`");
    expect_refusal("[1 2]", (1, 4), "expected `,` or `]`");
    expect_refusal("[1}", (1, 3), "expected `,` or `]`");
    expect_refusal("1 2", (1, 3), "after the end");
    expect_refusal("\u{feff}1", (1, 1), "byte order mark");
    expect_refusal(b"\"\xff\"", (1, 2), "invalid UTF-8");
    expect_refusal("\"a\nb\"", (1, 3), "unescaped control character");
    expect_refusal("\"abc", (1, 1), "the string is not closed");
    expect_refusal(r#""\x""#, (1, 2), "unknown escape");
    expect_refusal(r#""\ud800""#, (1, 2), "lone surrogate");
    expect_refusal(r#""\udc00\ud800""#, (1, 2), "lone surrogate");
    expect_refusal(r#""\ud800\u0061""#, (1, 2), "lone surrogate");
    expect_refusal("01", (1, 1), "an extra zero");
    expect_refusal("-", (1, 2), "expected a digit");
    expect_refusal("1.", (1, 3), "after a decimal point");
    expect_refusal("1e", (1, 3), "after an exponent");
    expect_refusal("1e400", (1, 1), "too large");
    expect_refusal("9".repeat(400), (1, 1), "too large");
    expect_refusal("tru", (1, 1), "expected a value");
    expect_refusal("nul", (1, 1), "expected a value");
    expect_refusal("NaN", (1, 1), "expected a value");
}

#[test]
fn document_nesting_is_limited() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    document(&nested(JSON_DEPTH_MAX));
    expect_refusal(nested(JSON_DEPTH_MAX + 1), (1, JSON_DEPTH_MAX + 1), "nested deeper");
    expect_refusal("[".repeat(1_000_000), (1, JSON_DEPTH_MAX + 1), "nested deeper");
}

#[test]
fn duplicate_is_found_among_many_keys() {
    let keys = |count: usize| (0..count).map(|at| format!("\"k{at}\":0")).collect::<Vec<_>>().join(",");
    for count in [1, 2, 127, 128, 129, 5_000] {
        document(&format!("{{{}}}", keys(count)));
        let twice = format!("{{{},\"k0\":1}}", keys(count));
        let error = Document::parse(Bytes::from(twice)).unwrap_err();
        assert!(error.message.contains("duplicate key `k0`"), "{count}: {error}");
    }
    document(r#"{"a": {"k": 1}, "b": {"k": 1}, "k": [{"k": 1}, {"k": 1}]}"#);
}

#[test]
fn document_keeps_its_original_bytes() {
    let text = " {\"b\" : 1.50, \"a\":\"\\u0041\"}\n";
    assert_eq!(document(text).bytes(), text.as_bytes());
}

#[test]
fn document_from_a_value_equals_it() {
    let value = json!({"z": [1, 2.5, "a\n\"b\"", null, true, {}, []], "a": u64::MAX});
    assert_eq!(Document::from_value(&value).root().to_value(), value);
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            prop::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..8).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn tape_equals_serde_json_on_any_document(value in any_json(), is_pretty in any::<bool>()) {
        let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let expected: Json = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(document(&text).root().to_value(), expected);
    }

    #[test]
    fn text_of_a_value_equals_that_of_its_tree(value in any_json(), is_made in any::<bool>()) {
        let given = Document::from_value(&value);
        let source = if is_made { "json_text([{'made': event}, optional.of(event), 'text', 1.5, 7u, b'bytes', duration('90s')])" } else { "json_text(event)" };
        let expression = Expression::compile(source, &roots()).unwrap();
        let text = expression.evaluate(&Scope::new().with("event", given.root()), &mut Budget::default()).unwrap();
        let expected = if is_made { json!([{"made": value}, value, "text", 1.5, 7, "Ynl0ZXM=", "90s"]) } else { value };
        prop_assert_eq!(text.as_str().unwrap(), expected.to_string());
    }

    #[test]
    fn damaged_document_is_rejected_exactly_when_serde_json_rejects_it(
        value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let ours = Document::parse(Bytes::from(bytes.clone()));
        match (serde_json::from_slice::<Json>(&bytes), ours) {
            (Ok(expected), Ok(document)) => prop_assert_eq!(document.root().to_value(), expected),
            (Err(_), Err(_)) => {}
            // The one thing that serde_json accepts.
            (Ok(_), Err(error)) => prop_assert!(error.message.contains("duplicate key"), "{}", error),
            (Err(error), Ok(_)) => prop_assert!(false, "serde_json: {}", error),
        }
    }
}
