//! Static analysis of expressions.

use ensue_expression::{Access, Expression, Extent, Literal, Roots, Value};
use proptest::prelude::*;

use super::compile;

fn reads(source: &str) -> Vec<(String, Access)> {
    let paths = compile(source).reads();
    paths.into_iter().map(|path| (path.segments.join("."), path.access)).collect()
}

#[test]
fn read_paths_are_found_with_their_places() {
    let source = r#"event.payload.action == "x" && event["payload"].labels[0].name != config.name"#;
    let paths = compile(source).reads();
    let written: Vec<_> = paths.iter().map(|path| &source[path.span.clone()]).collect();
    assert_eq!(written, ["event.payload.action", "event[\"payload\"].labels", "config.name"]);
    assert_eq!(paths[1].segments, ["event", "payload", "labels"]);
}

#[test]
fn names_of_a_map_that_are_read_or_looked_for_are_found() {
    let roots = Roots::new(["config", "event", "headers"]);
    let names = |source: &str| -> Vec<Option<String>> {
        let expression = Expression::compile(source, &roots).unwrap();
        expression.names_read("headers").into_iter().map(|read| read.name).collect()
    };
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        names("headers['x-a'] == config.a && has(headers.b) && headers[?'c'].orValue('') == ''"),
        [name("x-a"), name("b"), name("c")]
    );
    assert_eq!(names("!('x-a' in headers) || 'b' in event.headers"), [name("x-a")]);
    assert_eq!(names("event.payload.headers == 1"), []);
    for all in
        ["headers", "headers[config.name]", "config.name in headers", "headers.exists(h, h == 'a')", "[headers]", "headers.size() > 1"]
    {
        assert_eq!(names(all), [None], "{all}");
    }
    assert_eq!(names("headers[headers['x-a']]"), [None, name("x-a")]);
}

#[test]
fn path_is_read_for_its_value_its_absence_or_its_presence() {
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
fn macro_variable_is_not_a_path() {
    let read = reads("event.list.all(x, x.name == config.name && event.list.exists(event, event.y))");
    let names: Vec<_> = read.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["event.list", "config.name", "event.list"]);
}

#[test]
fn analysis_finds_the_element_fields_read_from_a_list_or_assumes_all() {
    for (source, fields) in [
        ("event.list.size()", Some(vec![])),
        ("size(event.list) > size(config.other)", Some(vec![])),
        ("has(event.list)", Some(vec![])),
        ("event.list.map(x, x.status)", Some(vec!["status"])),
        ("event.list.map(x, x['status'])", Some(vec!["status"])),
        ("event.list.exists(x, has(x.error) && x.error.kind == config[x.status])", Some(vec!["error", "status"])),
        ("event.list.filter(x, x.status == 'failed').map(y, y.at)", Some(vec!["at", "status"])),
        ("event.list.map(x, x.status == 'failed', x.at).size()", Some(vec!["at", "status"])),
        ("event.list.filter(x, x.status == 'failed').size()", Some(vec!["status"])),
        ("event.list.sortBy(x, x.at)[0].status", Some(vec!["at", "status"])),
        ("event.list[0].status == event.list[config.at].status", Some(vec!["status"])),
        ("config.hosts.all(host, event.list.exists(x, x.host == host.name))", Some(vec!["host", "name"])),
        ("event.list", None),
        ("event.list[0]", None),
        ("event.list[0][config.field]", None),
        ("event.list == []", None),
        ("event.list.map(x, x)", None),
        ("event.list.map(x, [x])", None),
        ("event.list.filter(x, x.status == 'failed')", None),
        ("event.list.filter(x, x.status == 'failed')[0]", None),
        ("event.list.map(x, x[config.field])", None),
        ("event.list.exists(x, config.hosts.exists(y, y == x))", None),
        ("cel.bind(list, event.list, list.size())", None),
        ("json_text(event.list)", None),
        ("(config.flag ? event.list : []).size()", None),
        ("[event.list].size()", None),
    ] {
        let read: Vec<Extent> =
            compile(source).reads().into_iter().filter(|path| path.segments.ends_with(&["list".into()])).map(|path| path.extent).collect();
        let expected = fields.map_or(Extent::Whole, |fields| Extent::FieldsOfElements(fields.into_iter().map(str::to_owned).collect()));
        assert!(read.iter().all(|extent| *extent == expected) && !read.is_empty(), "{source}: {read:?}");
    }
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

/// Numbers of all types, close to each other and to the limits of precision.
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
