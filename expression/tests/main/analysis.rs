//! What is known of an expression before it is evaluated.

use ensue_expression::{Access, Literal, Value};
use proptest::prelude::*;

use super::compile;

fn reads(source: &str) -> Vec<(String, Access)> {
    let paths = compile(source).reads();
    paths.into_iter().map(|path| (path.segments.join("."), path.access)).collect()
}

#[test]
fn the_paths_that_are_read_are_known_with_their_places() {
    let source = r#"event.payload.action == "x" && event["payload"].labels[0].name != config.name"#;
    let paths = compile(source).reads();
    let written: Vec<_> = paths.iter().map(|path| &source[path.span.clone()]).collect();
    assert_eq!(written, ["event.payload.action", "event[\"payload\"].labels", "config.name"]);
    assert_eq!(paths[1].segments, ["event", "payload", "labels"]);
}

#[test]
fn a_path_is_read_for_its_value_its_absence_or_its_presence() {
    assert_eq!(
        reads("has(event.a.b) && event.?c.orValue(config.d) == local"),
        [
            ("event.a.b".to_owned(), Access::Presence),
            ("event.c".to_owned(), Access::Optional),
            ("config.d".to_owned(), Access::Required),
            ("local".to_owned(), Access::Required),
        ]
    );
}

#[test]
fn a_variable_of_a_macro_is_no_path() {
    let read = reads("event.list.all(x, x.name == config.name && event.list.exists(event, event.y))");
    let names: Vec<_> = read.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["event.list", "config.name", "event.list"]);
}

proptest! {
    #[test]
    fn literals_are_equal_as_keys_exactly_when_they_are_equal_in_the_language(
        one in any_number(), other in any_number(),
    ) {
        let equality = ensue_expression::Expression::compile(
            "a == b", &ensue_expression::Roots::new(["a", "b"])).unwrap();
        let scope = ensue_expression::Scope::new().with("a", one.clone()).with("b", other.clone());
        let is_equal = equality.holds(&scope, &mut ensue_expression::Budget::default()).unwrap();
        prop_assert_eq!(Literal::of(&one) == Literal::of(&other), is_equal);
    }
}

/// Numbers of all types, close to each other and to the edges where they cannot be told apart.
fn any_number() -> impl Strategy<Value = Value<'static>> {
    let edges =
        prop::sample::select(vec![0.0, 1.0, -1.0, 9_007_199_254_740_992.0, 9_223_372_036_854_775_808.0, 18_446_744_073_709_551_616.0]);
    (edges, -2..3_i32, 0..3).prop_map(|(edge, offset, form)| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the casts saturate on purpose")]
        match form {
            0 => Value::Double(edge + 0.5 * f64::from(offset)),
            1 => Value::Int((edge as i64).saturating_add(i64::from(offset))),
            _ => Value::Uint((edge as u64).saturating_add_signed(i64::from(offset))),
        }
    })
}
