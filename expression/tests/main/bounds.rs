//! Hostile inputs stay within their limits on a small stack, and no operator hides an exceeded limit.

use std::thread::Builder;

use ensue_expression::{
    Budget, Document, EVALUATION_BYTES_MAX, EVALUATION_STEPS_MAX, ErrorKind, EvaluationError, Expression, SOURCE_BYTES_MAX,
    SOURCE_DEPTH_MAX, Scope,
};
use serde_json::{Value as Json, json};

use super::roots;

/// The smallest stack of a caller's thread.
const SMALL_STACK_BYTES: usize = 256 << 10;

/// Runs on a small stack, so that an overflow aborts the test instead of hiding in a large stack.
fn on_a_small_stack(act: impl FnOnce() + Send + 'static) {
    let thread = Builder::new().stack_size(SMALL_STACK_BYTES).spawn(act).expect("a thread starts");
    thread.join().expect("the thread's own assertions hold");
}

fn evaluate(source: &str, event: &Json) -> (Result<Json, EvaluationError>, Budget) {
    let event = Document::from_value(event);
    let expression = Expression::compile(source, &roots()).unwrap_or_else(|error| panic!("{source}: {error}"));
    let scope = Scope::new().with("event", event.root());
    let mut budget = Budget::default();
    let result = expression.evaluate(&scope, &mut budget).and_then(|value| value.to_json());
    // The explanation is bounded as well.
    expression.explain(&scope, &mut Budget::default());
    (result, budget)
}

#[track_caller]
fn exhausts(source: &str, event: &Json) {
    let (result, budget) = evaluate(source, event);
    let error = result.expect_err(source);
    assert_eq!(error.kind, ErrorKind::Budget, "{source}: {error}");
    // An operation is charged before it runs, and its cost may be large.
    let is_bounded = budget.steps_spent() > EVALUATION_STEPS_MAX || budget.bytes_spent() > EVALUATION_BYTES_MAX;
    assert!(is_bounded || error.message.contains("nests deeper"), "{source}: {error}");
}

#[test]
fn source_is_limited_before_it_is_parsed() {
    for (source, message) in [
        ("1 + ".repeat(SOURCE_BYTES_MAX), "longer than 8192 bytes"),
        ("(".repeat(4_000), "nested deeper than 64 levels"),
        ("[".repeat(4_000), "nested deeper than 64 levels"),
        ("{1:".repeat(2_000), "nested deeper than 64 levels"),
        ("true ? 1 : ".repeat(700), "ends where a value"),
        ("true ? ".repeat(1_000), "nested deeper than 64 levels"),
        ("!".repeat(8_000), "ends where a value"),
        ("-".repeat(8_000), "ends where a value"),
        ("!!(!!!!!!(!!!!(((((!!(!!(!!!!((".repeat(4) + "1", "the expression ends where"),
        ("size(".repeat(1_000), "nested deeper than 64 levels"),
        ("[1].map(x, ".repeat(700), "nested deeper than 64 levels"),
        ("-(1 + 2 * (".repeat(60), "nested deeper than 64 levels"),
    ] {
        on_a_small_stack(move || {
            let error = Expression::compile(&source, &roots()).expect_err("hostile");
            assert!(error.message.contains(message), "{}: {error}", &source[..20]);
        });
    }
}

#[test]
fn error_span_starts_and_ends_at_character_boundaries() {
    for source in [
        r#""\u00aé""#,
        r#""\u00é😀""#,
        r#""\x1😀""#,
        r#"b'\x😀'"#,
        r#""\U0000000é""#,
        r#""\12é""#,
        "\"\\é",
        "é",
        "1 + 😀 + 2",
        "'é\n'",
        "`é`",
    ] {
        let error = Expression::compile(source, &roots()).expect_err(source);
        assert!(source.get(error.span.clone()).is_some(), "{source}: {error:?}");
    }
}

#[test]
fn long_flat_source_does_not_count_as_nested() {
    let long = SOURCE_BYTES_MAX - 50;
    for source in [
        format!("1{}", "+1".repeat(long / 2)),
        format!("true{}", "||true".repeat(long / 6)),
        format!("true{}", " && true".repeat(long / 8)),
        format!("event.?a{}.hasValue()", ".b".repeat(long / 2)),
        format!("{}1", "true ? 1 : ".repeat(long / 11)),
        format!("{}true", "!".repeat(long)),
        format!("{}1", "-".repeat(long)),
        format!("[1]{}", ".map(x,x)".repeat(long / 9)),
        format!("''{}", ".trim()".repeat(long / 7)),
        format!("[{}]", "1,".repeat(long / 2)),
    ] {
        on_a_small_stack(move || {
            let (result, _) = evaluate(&source, &json!({}));
            assert!(result.is_ok(), "{}: {result:?}", &source[..20]);
        });
    }
}

#[test]
fn deepest_allowed_nesting_runs_on_a_small_stack() {
    let depth = SOURCE_DEPTH_MAX - 2;
    let nested = |open: &str, inner: &str, close: &str, depth: usize| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
    for source in [
        nested("(", "1", ")", depth),
        nested("[", "1", "]", depth),
        nested("{'a': ", "1", "}", depth),
        nested("-(1 + ", "1", ")", depth),
        nested("true && (false || ", "true", ")", depth),
        nested("1 == 1 ? ", "1", " : 0", depth),
        nested("(1 == 1 ? ", "1", " : 0)", depth / 2),
        nested("[1].map(x, ", "1", ")", depth),
        nested("[1].all(x, x > 0 && ", "true", ")", depth * 3 / 4),
        nested("optional.of(1).optMap(x, ", "1", ").value()", depth),
        nested("cel.bind(x, 1, ", "1", ")", depth),
        nested("string(", "1", ")", depth),
        nested("{'a': 1}['a'] + [0].map(x, 1 * ", "1", ")[0]", depth / 3),
    ] {
        on_a_small_stack(move || {
            let (result, _) = evaluate(&source, &json!({}));
            assert!(result.is_ok(), "{}: {result:?}", &source[..20]);
        });
    }
}

#[test]
fn source_with_a_tree_deeper_than_its_brackets_is_rejected_on_compile() {
    let source = format!("{}1{}", "(1 + 2 * -[1 == 2 ? 1 : ".repeat(60), "][0])".repeat(60));
    on_a_small_stack(move || {
        let error = Expression::compile(&source, &roots()).expect_err("deep");
        assert!(error.message.contains("nested"), "{error}");
    });
}

#[test]
fn nested_loops_end_within_the_budget() {
    let items: Vec<i64> = (0..1_000).collect();
    let event = json!({"items": items});
    exhausts("event.items.all(a, event.items.all(b, event.items.all(c, a + b + c >= 0)))", &event);
    exhausts("event.items.exists(a, event.items.exists(b, a + b < 0))", &event);
    exhausts("event.items.map(a, event.items.map(b, a * b))", &event);
}

#[test]
fn exhausted_budget_is_absorbed_by_no_operator() {
    let event = json!({"items": (0..1_000).collect::<Vec<i64>>()});
    let costly = "event.items.all(a, event.items.all(b, a + b >= 0))";
    for source in [
        format!("{costly} || true"),
        format!("true || {costly} || true"),
        format!("{costly} && false"),
        format!("[1].exists(x, {costly} || true)"),
        format!("[1, 2].all(x, {costly} && false)"),
        format!("has({{'a': {costly}}}.a) || true"),
        format!("optional.of({costly}).hasValue() || true"),
    ] {
        if source.starts_with("true ||") {
            assert_eq!(evaluate(&source, &event).0, Ok(json!(true)));
        } else {
            exhausts(&source, &event);
        }
    }
}

#[test]
fn memory_is_charged_before_it_is_allocated() {
    let doubled = |seed: &str, times: usize| {
        let mut source = String::new();
        for at in 0..times {
            source += &format!("cel.bind(v{}, {}, ", at, if at == 0 { seed.to_owned() } else { format!("v{} + v{}", at - 1, at - 1) });
        }
        source + &format!("size(v{})", times - 1) + &")".repeat(times)
    };
    exhausts("lists.range(2000000000)", &json!({}));
    exhausts("lists.range(9223372036854775807)", &json!({}));
    exhausts(&doubled("'0123456789abcdef'", 40), &json!({}));
    exhausts(&doubled("b'0123456789abcdef'", 40), &json!({}));
    exhausts(&doubled("[1, 2]", 40), &json!({}));
    exhausts("lists.range(2000).map(x, 'x').join().replace('', lists.range(4000).map(x, 'y').join())", &json!({}));
    exhausts(
        "'%.100f'.format([1.0]).replace('', '%.100f'.format([1.0])).replace('', '%.100f'.format([1.0])).replace('0', '%.100f'.format([1.0]))",
        &json!({}),
    );
}

#[test]
fn shared_parts_do_not_make_a_traversal_endless() {
    // Forty levels of eight: 8^40 evaluations from a few hundred nodes.
    let mut source = String::from("cel.bind(v0, 1, ");
    for at in 1..40 {
        source += &format!("cel.bind(v{at}, [{}], ", vec![format!("v{}", at - 1); 8].join(", "));
    }
    for use_of in ["v39", "json_text(v39)", "v39 == v39", "'%s'.format([v39])", "[v39, v39].distinct()"] {
        let source = format!("{source}{use_of}{}", ")".repeat(40));
        let (result, _) = evaluate(&source, &json!({}));
        assert_eq!(result.expect_err(use_of).kind, ErrorKind::Budget, "{use_of}");
    }
}

#[test]
fn nesting_of_values_is_limited() {
    let source = format!("[1]{}", ".map(x,[x])".repeat(700));
    on_a_small_stack(move || exhausts(&source, &json!({})));
    let source = format!("optional.of(1){}", ".optMap(x,optional.of(x))".repeat(300));
    on_a_small_stack(move || exhausts(&source, &json!({})));
}

#[test]
fn deep_document_is_compared_and_copied_on_a_small_stack() {
    on_a_small_stack(|| {
        let text = format!("{}{}", "[".repeat(128), "]".repeat(128));
        let event: Json = serde_json::from_str(&text).unwrap_or_else(|_| {
            // serde_json stops at 127 levels.
            serde_json::from_str(&text[1..255]).unwrap()
        });
        let (result, _) = evaluate("event == event && event == json_parse(json_text(event))", &event);
        assert_eq!(result, Ok(json!(true)));
        let (result, _) = evaluate("[[[[event]]]]", &event);
        assert_eq!(result.unwrap_err().kind, ErrorKind::Budget);
    });
}

#[test]
fn patterns_run_in_linear_time_and_bounded_memory() {
    let text = "a".repeat(100 << 10) + "!";
    let (result, budget) = evaluate("event.text.matches('(a+)+$')", &json!({"text": text}));
    assert_eq!(result, Ok(json!(false)));
    assert!(budget.steps_spent() > 100, "a match costs by length");
    let error = Expression::compile("'a'.matches('(\\\\w{1000}){1000}')", &roots()).unwrap_err();
    assert!(error.message.contains("needs more than"), "{error}");
    let (result, _) = evaluate("'a'.matches(event.pattern)", &json!({"pattern": "(\\w{1000}){1000}"}));
    assert_eq!(result.unwrap_err().kind, ErrorKind::Invalid);
    let (result, _) = evaluate("'a'.matches(event.pattern)", &json!({"pattern": "a".repeat(2_000)}));
    assert_eq!(result.unwrap_err().kind, ErrorKind::Invalid);
    let patterns: Vec<_> = (1..1_000).map(|at| format!("a{{{at}}}")).collect();
    exhausts("event.patterns.exists(p, 'b'.matches(p))", &json!({"patterns": patterns}));
    let (result, _) = evaluate("event.items.all(x, x.matches(event.pattern))", &json!({"items": vec!["ab"; 500], "pattern": "^a"}));
    assert_eq!(result, Ok(json!(true)), "one pattern is compiled once");
}

#[test]
fn operations_on_long_texts_are_charged_by_length() {
    let event = json!({"text": "x".repeat(1 << 20), "same": "x".repeat(1 << 20)});
    exhausts("lists.range(1000).all(i, event.text == event.same)", &event);
    exhausts("lists.range(1000).all(i, event.text.contains('y') || true)", &event);
    exhausts("lists.range(1000).map(i, event.text + 'y')", &event);
    exhausts("lists.range(1000).map(i, sha256(event.text))", &event);
}

#[test]
fn loop_over_a_large_document_is_charged_for_what_it_visits() {
    let fields: serde_json::Map<_, _> = (0..100_000).map(|at| (format!("k{at:06}"), json!(at))).collect();
    let event = json!({"fields": fields, "escaped": vec!["\u{1}".repeat(1 << 16); 4]});
    exhausts("lists.range(1000).all(i, event.fields.k099999 > 0)", &event);
    exhausts("lists.range(1000).all(i, event.fields.?nothing.hasValue() == false)", &event);
    exhausts("lists.range(1000).all(i, 'x' in event.escaped || true)", &event);
    exhausts("lists.range(1000).all(i, event.escaped.all(e, true))", &event);
    exhausts("event.fields == event.fields && event.fields.all(k, true)", &event);
}

#[test]
fn evaluations_may_share_a_budget() {
    let expression = Expression::compile("lists.range(100).all(x, x >= 0)", &roots()).unwrap();
    let mut budget = Budget::steps(1_000);
    let scope = Scope::new();
    assert_eq!(expression.holds(&scope, &mut budget), Ok(true));
    let once = budget.steps_spent();
    assert!((300..1_000).contains(&once), "{once}");
    assert_eq!(expression.holds(&scope, &mut budget).unwrap_err().kind, ErrorKind::Budget);
}
