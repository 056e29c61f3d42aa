//! The checker's inferences agree with evaluation: tested on generated expressions and documents.

use ensue_expression::{
    Budget, CheckBudget, Document, ErrorKind, Expression, FindingKind, Knowledge, MapType, Occurrence, Others, Purpose, Scope, Value,
    ValueType,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use Occurrence::{Always, Sometimes};

/// The declared type of the documents below.
fn document_type() -> ValueType {
    let inner = MapType::new(Others::None).with("name", ValueType::text(), Always).with("size", ValueType::integer(), Sometimes);
    let fields = MapType::new(Others::None)
        .with("text", ValueType::text(), Always)
        .with("env", ValueType::one_of(["dev", "prod"]), Always)
        .with("count", ValueType::integer(), Always)
        .with("load", ValueType::number(), Always)
        .with("flag", ValueType::boolean(), Always)
        .with("tags", ValueType::list(ValueType::text()), Always)
        .with("counts", ValueType::list(ValueType::integer()), Always)
        .with("note", ValueType::text().or_null(), Sometimes)
        .with("limit", ValueType::integer(), Sometimes)
        .with("owner", ValueType::map(inner.clone()), Always)
        .with("label", ValueType::map(inner), Sometimes)
        .with("any", ValueType::json(), Sometimes);
    ValueType::map(fields)
}

fn names() -> Knowledge {
    Knowledge::new().with("e", document_type())
}

fn document() -> impl Strategy<Value = Json> {
    let owner = || {
        (any_of(&["ada", "bob", ""]), proptest::option::of(-2_i64..9)).prop_map(|(name, size)| with(json!({ "name": name }), "size", size))
    };
    let anything = prop_oneof![Just(json!(null)), Just(json!(1.5)), Just(json!("a")), Just(json!({ "a": 1 })), Just(json!([1]))];
    (
        (any_of(&["", "a", "ab", "dev"]), any_of(&["dev", "prod"]), -2_i64..9, any::<bool>()),
        prop_oneof![(-2_i64..9).prop_map(Json::from), (-2.0..9.0).prop_map(Json::from)],
        (proptest::collection::vec(any_of(&["a", "b"]), 0..3), proptest::collection::vec(-2_i64..9, 0..3)),
        (proptest::option::of(prop_oneof![Just(json!(null)), Just(json!("a"))]), proptest::option::of(-2_i64..9)),
        (owner(), proptest::option::of(owner()), proptest::option::of(anything)),
    )
        .prop_map(|((text, env, count, flag), load, (tags, counts), (note, limit), (owner, label, any))| {
            let fields = json!({
                "text": text, "env": env, "count": count, "load": load, "flag": flag, "tags": tags, "counts": counts, "owner": owner,
            });
            with(with(with(with(fields, "note", note), "limit", limit), "label", label), "any", any)
        })
}

fn any_of(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(texts)
}

fn with<T: Into<Json>>(mut fields: Json, name: &str, value: Option<T>) -> Json {
    if let Some(value) = value {
        fields[name] = value.into();
    }
    fields
}

/// Operands of all kinds, most of which fit together.
fn leaf() -> impl Strategy<Value = String> {
    any_of(&[
        "e.text",
        "e.env",
        "e.count",
        "e.load",
        "e.flag",
        "e.tags",
        "e.counts",
        "e.owner.name",
        "e.owner.size",
        "e.note",
        "e.limit",
        "e.label.name",
        "e.label.size",
        "e.any",
        "e.any.a",
        "e[\"text\"]",
        "e.tags[0]",
        "e.counts[1]",
        "e.?note",
        "e.?label.?size",
        "e.?limit.orValue(3)",
        "e.?label.?name.orValue(\"ada\")",
        "\"dev\"",
        "\"a\"",
        "\"\"",
        "1",
        "5",
        "-1",
        "1.5",
        "2.0",
        "true",
        "false",
        "null",
        "[]",
        "[1, 5]",
        "[\"dev\", \"a\"]",
        "{\"a\": 1}",
        "optional.none()",
        "timestamp(\"2026-01-31T09:00:00Z\")",
        "string",
        "int",
    ])
    .prop_map(str::to_owned)
}

fn wild() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 24, 3, |part| {
        let two = || (part.clone(), part.clone());
        prop_oneof![
            (any_of(&["==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%", "&&", "||"]), two())
                .prop_map(|(operator, (one, other))| format!("({one} {operator} {other})")),
            (any_of(&["&&", "||"]), two()).prop_map(|(operator, (one, other))| format!("({one} {operator} {other})")),
            (any_of(&["==", "!="]), leaf(), leaf()).prop_map(|(operator, one, other)| format!("({one} {operator} {other})")),
            part.clone().prop_map(|part| format!("!({part})")),
            (part.clone(), two()).prop_map(|(condition, (then, otherwise))| format!("({condition} ? {then} : {otherwise})")),
            any_of(&["has(e.note)", "has(e.label)", "has(e.label.size)", "has(e.text)", "has(e.any)", "has(e.any.a)"])
                .prop_map(str::to_owned),
            (any_of(&["size", "string", "int", "double", "type", "timestamp", "json_text", "math.abs"]), part.clone())
                .prop_map(|(function, part)| format!("{function}({part})")),
            (
                part.clone(),
                any_of(&[
                    "startsWith(\"d\")",
                    "contains(\"a\")",
                    "lowerAscii()",
                    "split(\"\")",
                    "first()",
                    "reverse()",
                    "hasValue()",
                    "value()"
                ])
            )
                .prop_map(|(part, method)| format!("({part}).{method}")),
            (
                part.clone(),
                any_of(&["all", "exists", "filter", "map", "exists_one"]),
                any_of(&["x == \"a\"", "x > 1", "x == x", "true", "x"])
            )
                .prop_map(|(part, name, body)| format!("({part}).{name}(x, {body})")),
            two().prop_map(|(one, other)| format!("({one}).orValue({other})")),
            two().prop_map(|(one, other)| format!("({one}).optMap(x, {other})")),
            two().prop_map(|(one, other)| format!("[{one}, {other}]")),
            (part.clone(), any_of(&["[0]", "[?0]", "[5]", ".a", ".?a", "[\"a\"]"])).prop_map(|(part, link)| format!("({part}){link}")),
            two().prop_map(|(one, other)| format!("cel.bind(y, {one}, y == {other})")),
        ]
    })
}

/// Texts, integers and conditions whose types always fit; the fields that they read always exist.
fn fitting() -> impl Strategy<Value = String> {
    let test = prop_oneof![
        (
            any_of(&["e.text", "e.env", "e.owner.name", "\"a\"", "\"dev\"", "e.text.lowerAscii()", "string(e.count)"]),
            any_of(&["==", "!=", "<", ">="]),
            any_of(&["e.text", "\"a\"", "e.env", "\"x\" + e.text"])
        ),
        (
            any_of(&["e.count", "size(e.tags)", "3", "e.count * 2", "e.counts.size()"]),
            any_of(&["==", "!=", "<", ">", "<="]),
            any_of(&["e.count", "5", "0", "e.count + 1", "size(e.text)"])
        ),
        (any_of(&["e.text", "\"a\"", "e.env"]), any_of(&["in"]), any_of(&["e.tags", "[\"a\", \"dev\"]", "[e.text, e.env]"])),
        (
            any_of(&["e.flag", "e.text.startsWith(\"a\")", "e.tags.exists(x, x == \"a\")", "e.counts.all(n, n > 1)", "has(e.note)"]),
            any_of(&["=="]),
            any_of(&["true", "false", "e.flag"])
        ),
    ]
    .prop_map(|(one, operator, other)| format!("{one} {operator} {other}"));
    test.prop_recursive(4, 16, 3, |part| {
        prop_oneof![
            (part.clone(), any_of(&["&&", "||"]), part.clone()).prop_map(|(one, operator, other)| format!("({one} {operator} {other})")),
            part.clone().prop_map(|part| format!("!({part})")),
            (part.clone(), part.clone(), part).prop_map(|(condition, then, otherwise)| format!("({condition} ? {then} : {otherwise})")),
        ]
    })
}

fn evaluate_with<T>(expression: &Expression, document: &Json, act: impl FnOnce(Result<Value<'_>, ErrorKind>) -> T) -> T {
    let document = Document::from_value(document);
    let scope = Scope::new().with("e", document.root());
    act(expression.evaluate(&scope, &mut Budget::default()).map_err(|error| error.kind))
}

/// The truth value of a part of the source on its own.
fn truth_of(source: &str, document: &Json) -> Option<bool> {
    let expression = Expression::compile(source, &names().roots()).ok()?;
    evaluate_with(&expression, document, |value| value.ok().and_then(|value| value.as_bool()))
}

/// The document without the field that is written as `e.label`.
fn without(document: &Json, path: &str) -> Json {
    let mut changed = document.clone();
    let (owner, name) = path.rsplit_once('.').expect("a path has a dot");
    let owner = owner.split('.').skip(1).fold(&mut changed, |object, name| &mut object[name]);
    if let Some(fields) = owner.as_object_mut() {
        fields.remove(name);
    }
    changed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn every_value_is_among_those_that_were_inferred(source in wild(), document in document()) {
        let Ok(expression) = Expression::compile(&source, &names().roots()) else { return Ok(()) };
        let inferred = expression.infer(&names(), Purpose::Value, &mut CheckBudget::default());
        evaluate_with(&expression, &document, |value| {
            if let Ok(value) = value {
                prop_assert!(inferred.value.admits(&value), "{source} gives {value:?} with {document}, inferred was {:?}", inferred.value);
            }
            Ok(())
        })?;
    }

    #[test]
    fn conditions_inferred_as_constant_are_constant(source in wild(), document in document()) {
        let Ok(expression) = Expression::compile(&source, &names().roots()) else { return Ok(()) };
        for finding in expression.infer(&names(), Purpose::Value, &mut CheckBudget::default()).findings {
            // Next to another operand, or after a condition, it holds only together with that one.
            if finding.message.contains("beside") || finding.message.contains("either") || source.contains(" ? ") {
                continue;
            }
            let part = &expression.source()[finding.span.clone()];
            let truth = truth_of(part, &document);
            match finding.kind {
                FindingKind::AlwaysTrue => prop_assert_ne!(truth, Some(false), "{} in {} with {}", part, source, document),
                FindingKind::AlwaysFalse => prop_assert_ne!(truth, Some(true), "{} in {} with {}", part, source, document),
                FindingKind::NotBoolean => prop_assert_eq!(truth, None, "{} in {} with {}", part, source, document),
                _ => {}
            }
        }
    }

    #[test]
    fn well_typed_expression_causes_no_type_error(source in fitting(), document in document()) {
        let expression = Expression::compile(&source, &names().roots()).expect("it is an expression");
        let inferred = expression.infer(&names(), Purpose::Condition, &mut CheckBudget::default());
        if inferred.findings.iter().any(|finding| finding.kind.is_never_right()) {
            return Ok(());
        }
        evaluate_with(&expression, &document, |value| {
            prop_assert_ne!(value.as_ref().err(), Some(&ErrorKind::Type), "{} with {}", source, document);
            Ok(())
        })?;
    }

    #[test]
    fn expression_inferred_to_fail_without_a_field_does_fail(source in wild(), document in document()) {
        let Ok(expression) = Expression::compile(&source, &names().roots()) else { return Ok(()) };
        for finding in expression.infer(&names(), Purpose::Value, &mut CheckBudget::default()).findings {
            if finding.kind == FindingKind::MayBeMissing {
                let path = &source[finding.span.clone()];
                evaluate_with(&expression, &without(&document, path), |value| {
                    prop_assert!(value.is_err(), "{source} without {path} gives {value:?} with {document}");
                    Ok(())
                })?;
            }
        }
    }
}

#[test]
fn list_or_map_of_json_or_of_other_values_may_hold_those_values() {
    let document = json!({ "yes": true, "list": [], "map": {}, "n": 0 });
    let knowledge = Knowledge::new().with("e", ValueType::json());
    for source in [
        "(e.yes ? [timestamp(0)] : e.list)[0]",
        "(e.yes ? [1.0 / 0.0] : e.list)[0]",
        "(e.yes ? [[duration('1s')]] : e.list)[0][0]",
        "(e.yes ? {'a': timestamp(0)} : e.map).a",
        "(e.yes ? {'a': [duration('1s')]} : e.map)['a'][0]",
        "[e.map, {'a': b'x'}].map(m, m)[1].a",
    ] {
        let expression = Expression::compile(source, &knowledge.roots()).unwrap();
        let inferred = expression.infer(&knowledge, Purpose::Value, &mut CheckBudget::default()).value;
        evaluate_with(&expression, &document, |value| {
            let value = value.unwrap();
            assert!(inferred.admits(&value), "`{source}` is {}, and was to be {inferred}", value.brief());
        });
    }
    let json = Expression::compile("(e.yes ? [1, 'a'] : e.list)[0]", &knowledge.roots()).unwrap();
    assert_eq!(json.infer(&knowledge, Purpose::Value, &mut CheckBudget::default()).value.to_string(), ValueType::json().to_string());
}
