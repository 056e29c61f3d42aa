//! The results of expressions, one rule per sentence.

use ensue_expression::planted_bug::BUGGY_FIELD;
use ensue_expression::{Budget, ErrorKind, Expression, Roots, Scope};
use serde_json::json;

use super::{error_of, gives, roots};

#[test]
fn fields_are_read_with_their_own_type() {
    gives("event.payload.action", &json!("opened"));
    gives("event.payload.number - 8", &json!(-1));
    gives("event.payload.big", &json!(u64::MAX));
    gives("event.payload.ratio * 2.0", &json!(0.5));
    gives("event.payload.assignee == null", &json!(true));
    gives("event.payload.labels[1].name", &json!("urgent"));
    gives(r#"event["payload"]["action"]"#, &json!("opened"));
    gives("event.payload.title", &json!("Grüße \"an\" alle"));
    gives("event.payload.labels", &json!([{"name": "bug"}, {"name": "urgent"}]));
}

#[test]
fn field_is_read_whatever_its_name() {
    let source = format!("{{'{BUGGY_FIELD}': 1}}.{BUGGY_FIELD}");
    gives(&source, &json!(1));
}

#[test]
fn numbers_are_equal_by_value_across_types() {
    for source in [
        "1 == 1.0",
        "1u == 1",
        "1.0 == 1u",
        "event.payload.number == 7u",
        "event.payload.number == 7.0",
        "1 in [2.0, 1.0]",
        "{1: 'a'}[1.0] == 'a'",
        "[1, {'a': 2u}] == [1.0, {'a': 2}]",
        "9223372036854775807 != 9223372036854775808.0",
    ] {
        gives(source, &json!(true));
    }
    gives("1 == '1'", &json!(false));
    gives("null == 0", &json!(false));
    gives("double('NaN') == double('NaN')", &json!(false));
}

#[test]
fn numbers_are_ordered_across_types_and_other_values_are_not() {
    gives("1 < 1.5 && 2u > 1 && -1 < 0u", &json!(true));
    gives("9007199254740992.0 < 9007199254740993 || 9007199254740993 > 9007199254740992.0", &json!(false));
    gives("'a' < 'b' && b'a' <= b'b' && false < true", &json!(true));
    assert_eq!(error_of("1 < 'a'").kind, ErrorKind::Type);
    assert_eq!(error_of("[1] < [2]").kind, ErrorKind::Type);
}

#[test]
fn arithmetic_is_checked_and_never_mixes_types() {
    gives("7 / 2 * 2 + 7 % 2 - -1", &json!(8));
    gives("-7 / 2", &json!(-3));
    gives("1.0 / 0.0 > 1e308", &json!(true));
    for (source, kind) in [
        ("9223372036854775807 + 1", ErrorKind::Overflow),
        ("-9223372036854775808 / -1", ErrorKind::Overflow),
        ("-(-9223372036854775808)", ErrorKind::Overflow),
        ("0u - 1u", ErrorKind::Overflow),
        ("1 / 0", ErrorKind::DivisionByZero),
        ("1 % 0", ErrorKind::DivisionByZero),
        ("1 + 1.0", ErrorKind::Type),
        ("1 + 1u", ErrorKind::Type),
        ("'a' + 1", ErrorKind::Type),
        ("duration('999999999999h')", ErrorKind::Overflow),
    ] {
        assert_eq!(error_of(source).kind, kind, "{source}");
    }
}

#[test]
fn minus_before_a_number_is_part_of_it_even_after_a_not() {
    gives("-9223372036854775808 < 0 && - 1 == -1", &json!(true));
    gives("!-1 == 0 || true", &json!(true));
    assert_eq!(error_of("--null").kind, ErrorKind::Type);
    assert_eq!(error_of("--9223372036854775808").kind, ErrorKind::Overflow);
    assert!(Expression::compile("!-event", &roots()).is_err());
}

#[test]
fn sort_orders_numbers_exactly_and_errs_on_values_without_an_order() {
    gives("[2, 1u, 1.5].sort()", &json!([1, 1.5, 2]));
    // As doubles, the three are pairwise equal, although two of them are not equal exactly.
    gives(
        "[9007199254740993, 9007199254740992.0, 9007199254740992].sort()",
        &json!([9_007_199_254_740_992.0, 9_007_199_254_740_992_i64, 9_007_199_254_740_993_i64]),
    );
    gives("[[2, 'b'], [1, 'a'], [1, 'c']].sortBy(pair, pair[0])", &json!([[1, "a"], [1, "c"], [2, "b"]]));
    gives("[2, 3u, 1.5].max()", &json!(3));
    gives("[2, 3u, 1.5].min()", &json!(1.5));
    gives("['2026-01-02', '2026-01-10', ''].max()", &json!("2026-01-10"));
    for (source, kind) in [
        ("[].max()", ErrorKind::Invalid),
        ("[[1]].max()", ErrorKind::Type),
        ("[1, 'a'].min()", ErrorKind::Type),
        ("[0.0 / 0.0].max()", ErrorKind::Invalid),
        ("[1.0, 0.0 / 0.0, 2.0].min()", ErrorKind::Invalid),
        ("[1, 'a'].sort()", ErrorKind::Type),
        ("[[1], [2]].sort()", ErrorKind::Type),
        ("[1.0, 0.0 / 0.0].sort()", ErrorKind::Invalid),
        ("lists.range(100).map(i, i % 2 == 0 ? double(i) : 0.0 / 0.0).sort()", ErrorKind::Invalid),
        ("[1, 2].sortBy(x, x == 1 ? 'a' : null)", ErrorKind::Type),
        ("{'a': 1}.sortBy(key, key)", ErrorKind::Type),
        ("math.greatest(0.0 / 0.0, 1)", ErrorKind::Invalid),
        ("math.least(1, 0.0 / 0.0)", ErrorKind::Invalid),
    ] {
        assert_eq!(error_of(source).kind, kind, "{source}");
    }
}

#[test]
fn error_next_to_a_decisive_operand_is_absorbed() {
    gives("1 / 0 > 0 || true", &json!(true));
    gives("1 / 0 > 0 && false", &json!(false));
    gives("[1, 0].exists(x, 1 / x > 0)", &json!(true));
    gives("[0, 1].all(x, 1 / x > 1)", &json!(false));
    assert_eq!(error_of("1 / 0 > 0 || false").kind, ErrorKind::DivisionByZero);
    assert_eq!(error_of("1 / 0 > 0 && true").kind, ErrorKind::DivisionByZero);
    assert_eq!(error_of("[0, 1].exists(x, 1 / x > 1)").kind, ErrorKind::DivisionByZero);
    assert_eq!(error_of("1 && true").kind, ErrorKind::Type);
}

#[test]
fn missing_field_error_names_it_and_suggests_the_optional_form() {
    let error = error_of("event.payload.sender.login == 'ada'");
    assert_eq!(error.kind, ErrorKind::Missing);
    assert_eq!(error.message, "`event.payload` has no field `sender`");
    assert_eq!(error.span, 13..20);
    assert_eq!(error.hint.as_deref(), Some("write `event.payload.?sender.?login.orValue(\"\")`"));
}

#[test]
fn null_on_the_path_is_reported_with_the_optional_form() {
    let error = error_of("event.payload.assignee.login");
    assert_eq!(error.kind, ErrorKind::Type);
    assert_eq!(error.message, "`event.payload.assignee` is null and has no field `login`");
    assert_eq!(error.hint.as_deref(), Some("write `event.payload.?assignee.?login.orValue(\"\")`"));
    gives("event.payload.?assignee.?login.orValue(\"\")", &json!(""));
}

#[test]
fn optional_value_is_present_or_absent_and_never_an_error() {
    gives("event.payload.?action.orValue('none')", &json!("opened"));
    gives("event.payload.?nothing.orValue('none')", &json!("none"));
    gives("event.payload.?nothing.deeper.still.hasValue()", &json!(false));
    gives("event.payload.labels[?1].name.value()", &json!("urgent"));
    gives("event.payload.labels[?9].hasValue()", &json!(false));
    gives("optional.none().or(optional.of(2)).value()", &json!(2));
    gives("optional.of(2).orValue(1 / 0)", &json!(2));
    gives("event.payload.?number.optMap(n, n + 1).orValue(0)", &json!(8));
    gives("[?event.payload.?nothing, ?event.payload.?number]", &json!([7]));
    gives("{?'n': event.payload.?nothing, 'm': 1}", &json!({"m": 1}));
    gives("optional.ofNonZeroValue('').hasValue()", &json!(false));
    assert_eq!(error_of("optional.none().value()").kind, ErrorKind::Missing);
}

#[test]
fn has_tests_a_field_without_reading_it() {
    gives("has(event.payload.action) && !has(event.payload.nothing)", &json!(true));
    gives("has(event.payload.assignee)", &json!(true));
    assert_eq!(error_of("has(event.nothing.deeper)").kind, ErrorKind::Missing);
}

#[test]
fn macros_iterate_over_lists_and_over_maps_in_key_order() {
    gives("event.payload.labels.map(l, l.name)", &json!(["bug", "urgent"]));
    gives("event.payload.labels.exists(l, l.name == 'bug')", &json!(true));
    gives("event.payload.labels.exists_one(l, l.name.size() > 3)", &json!(true));
    gives("[1, 2, 3, 4].filter(x, x % 2 == 0).map(x, x > 2, x * x)", &json!([16]));
    gives("event.payload.counts.map(k, k)", &json!(["a", "b", "c"]));
    gives("event.payload.counts.transformList(k, v, k + string(v))", &json!(["a1", "b2", "c3"]));
    gives("event.payload.counts.transformMap(k, v, v > 1, v * 10)", &json!({"b": 20, "c": 30}));
    gives("['x', 'y'].transformMapEntry(i, v, {v: i})", &json!({"x": 0, "y": 1}));
    gives("['a', 'b'].all(i, v, (i == 0) == (v == 'a'))", &json!(true));
    gives("['bb', 'a'].sortBy(s, s.size())", &json!(["a", "bb"]));
    gives("[1, 2].map(x, [3, 4].map(y, x * y))", &json!([[3, 4], [6, 8]]));
    gives("cel.bind(n, event.payload.number, n * n)", &json!(49));
}

#[test]
fn variable_hides_an_outer_one_only_inside_its_macro() {
    gives("[1, 2].map(x, [x].map(x, x + 10)[0] + x)", &json!([12, 14]));
    gives("[1].map(event, event)[0] == 1 && event.payload.number == 7", &json!(true));
    gives("[1].map(event, .event.payload.number)", &json!([7]));
}

#[test]
fn text_is_counted_in_characters() {
    gives("size('Grüße')", &json!(5));
    gives("'Grüße'.charAt(2)", &json!("ü"));
    gives("'Grüße'.indexOf('e')", &json!(4));
    gives("'tacocat'.lastIndexOf('a', 3)", &json!(1));
    gives("'tacocat'.lastIndexOf('a', 5)", &json!(5));
    gives("'Grüße'.substring(2, 4)", &json!("üß"));
    gives("'Grüße'.upperAscii().lowerAscii()", &json!("grüße"));
    gives("'refs/tags/v1'.split('/')[2]", &json!("v1"));
    gives("'a,b,c'.split(',', 2)", &json!(["a", "b,c"]));
    gives("'abc'.split('')", &json!(["a", "b", "c"]));
    gives("['a', 'b'].join('-') + ' x '.trim()", &json!("a-bx"));
    gives("'banana'.replace('an', 'o', 1)", &json!("boana"));
    gives("'ab'.reverse() + [1, 2].reverse().map(x, string(x)).join()", &json!("ba21"));
    gives("strings.quote('a\"b\\n')", &json!("\"a\\\"b\\n\""));
    gives("'%s: %d of %.1f%% (%x)'.format(['x', 3, 12.345, 255])", &json!("x: 3 of 12.3% (ff)"));
    assert_eq!(error_of("'abc'.charAt(4)").kind, ErrorKind::Overflow);
}

#[test]
fn literals_have_all_their_forms() {
    gives(r#"'\x41\u00e9\U0001F600\101\n' + r'\n' + """a"b"""  + '''it's'''"#, &json!("Aé😀A\n\\na\"bit's"));
    gives("b'\\xff' == bytes(b'\\377')", &json!(true));
    gives("0xFF + -0x1", &json!(254));
    gives("[1, 2,] + [3]", &json!([1, 2, 3]));
    gives("{'a': 1, 2: 'b', true: null}", &json!({"a": 1, "2": "b", "true": null}));
    gives("1e3 + .5", &json!(1000.5));
    gives("1 // one\n + 1", &json!(2));
}

#[test]
fn conversions_keep_the_value_or_fail() {
    gives("int('42') + int(3.9) + int(2u)", &json!(47));
    gives("string(1.0) + string(1e21) + string(0.00001) + string(-0.0)", &json!("11e+211e-05-0"));
    gives("string(true) + string(b'x')", &json!("truex"));
    gives("bool('true')", &json!(true));
    gives("type(1) == int && type('') == string && type(type(1)) == type", &json!(true));
    for source in ["int('x')", "int(1e19)", "uint(-1)", "bool('yes')", "string(b'\\xff')", "timestamp('today')"] {
        assert!(matches!(error_of(source).kind, ErrorKind::Invalid | ErrorKind::Overflow), "{source}");
    }
}

#[test]
fn time_is_a_value_with_zones() {
    gives("timestamp('2026-01-31T23:30:00Z') + duration('1h')", &json!("2026-02-01T00:30:00Z"));
    gives("timestamp('2026-07-01T22:30:00Z').getHours('Europe/Berlin')", &json!(0));
    gives("timestamp('2026-07-01T22:30:00Z').getDate('+02:00')", &json!(2));
    gives("timestamp('2026-07-01T00:00:00Z').getDayOfWeek()", &json!(3));
    gives("timestamp('2026-07-01T00:00:00Z') - timestamp('2026-06-30T00:00:00Z') == duration('24h')", &json!(true));
    gives("duration('90m').getHours()", &json!(1));
    gives("duration('-1.5s')", &json!("-1.5s"));
    gives("timestamp('2026-01-01T00:00:00.250Z')", &json!("2026-01-01T00:00:00.25Z"));
    assert_eq!(error_of("timestamp('9999-12-31T23:59:59Z') + duration('1s')").kind, ErrorKind::Overflow);
    assert_eq!(error_of("timestamp(0).getHours('Mars/Base')").kind, ErrorKind::Invalid);
}

#[test]
fn lists_and_numbers_have_their_functions() {
    gives("[3, 1, 2].sort()", &json!([1, 2, 3]));
    gives("[1, 1.0, 2, 'a', 'a'].distinct()", &json!([1, 2, "a"]));
    gives("[1, [2, [3]]].flatten()", &json!([1, 2, [3]]));
    gives("[1, [2, [3]]].flatten(5)", &json!([1, 2, 3]));
    gives("[1, 2, 3, 4].slice(1, 3)", &json!([2, 3]));
    gives("lists.range(3)", &json!([0, 1, 2]));
    gives("[1, 2].first().value() + [1, 2].last().value()", &json!(3));
    gives("math.greatest(1, 2.5, 2u)", &json!(2.5));
    gives("math.least([3, 1, 2])", &json!(1));
    gives("math.abs(-3) + math.sign(-2) + math.bitAnd(6, 3)", &json!(4));
    gives("math.round(-2.5)", &json!(-3.0));
    gives("math.bitShiftRight(-1, 63)", &json!(1));
    assert_eq!(error_of("[1, 'a'].sort()").kind, ErrorKind::Type);
}

#[test]
fn data_has_text_forms() {
    gives("base64.encode(b'hello') + string(base64.decode('aGVsbG8'))", &json!("aGVsbG8=hello"));
    gives("json_parse('{\"a\": [1, 2.5]}').a[1]", &json!(2.5));
    gives("json_text({'b': 1, 'a': [null, 'x']})", &json!("{\"a\":[null,\"x\"],\"b\":1}"));
    gives("json_text(event.payload.counts)", &json!("{\"a\":1,\"b\":2,\"c\":3}"));
    gives("sha256('')", &json!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    assert_eq!(error_of("json_parse('{\"a\": 1, \"a\": 2}')").kind, ErrorKind::Invalid);
}

#[test]
fn pattern_version_and_network_tests_take_the_subject_first() {
    gives("'v1.2.3'.matches('^v[0-9]+')", &json!(true));
    gives("matches('abc', 'b') && !'abc'.matches('^b')", &json!(true));
    gives("'src/a/b.rs'.glob('src/**/*.rs') && 'src/b.rs'.glob('src/**/*.rs')", &json!(true));
    gives("'src/a/b.rs'.glob('src/*.rs')", &json!(false));
    gives("'main.yaml'.glob('*.{yml,yaml}') && 'x1'.glob('x[0-9]') && !'x1'.glob('x[!0-9]')", &json!(true));
    gives("'v1.4.0'.semver('^1.2') && !'2.0.0'.semver('^1.2')", &json!(true));
    gives("semver('v1.4.0-rc.1').minor + semver.compare('1.10.0', '1.9.0')", &json!(5));
    gives("'10.1.2.3'.cidr('10.0.0.0/8') && !'11.0.0.1'.cidr('10.0.0.0/8')", &json!(true));
    gives("'::ffff:10.1.2.3'.cidr('10.0.0.0/8') && '2001:db8::1'.cidr('2001:db8::/32')", &json!(true));
    assert_eq!(error_of("'x'.cidr('10.0.0.0/8')").kind, ErrorKind::Invalid);
    assert_eq!(error_of("'a'.matches('(' + '')").kind, ErrorKind::Invalid);
}

#[test]
fn whole_expression_may_be_in_braces() {
    let expression = Expression::compile("  ${{ event.payload.action }} ", &roots()).unwrap();
    assert_eq!(expression.source(), " event.payload.action ");
    let error = Expression::compile("${{ evnt }}", &roots()).unwrap_err();
    assert_eq!(error.span, 4..8);
}

#[test]
fn dotted_roots_are_separate_names() {
    let roots = Roots::new(["a.b", "a"]);
    let expression = Expression::compile("a.b.c", &roots).unwrap();
    assert_eq!(expression.reads()[0].segments, ["a.b", "c"]);
    let expression = Expression::compile("a.c", &roots).unwrap();
    assert_eq!(expression.reads()[0].segments, ["a", "c"]);
}

#[test]
fn name_is_looked_up_from_the_innermost_container_outwards() {
    let roots = Roots::new(["a.b.x", "a.y", "y", "z"]).within("a.b");
    for (source, read) in [
        ("x", "a.b.x"),
        ("x.field", "a.b.x.field"),
        ("y", "a.y"),
        (".y", "y"),
        ("z", "z"),
        ("b.x", "a.b.x"),
        ("a.b.x", "a.b.x"),
        ("[1].map(y, .y + y)", "y"),
    ] {
        let expression = Expression::compile(source, &roots).unwrap();
        assert_eq!(expression.reads()[0].segments.join("."), read, "{source}");
    }
    assert_eq!(Expression::compile(".x", &roots).unwrap_err().message, "unknown name `x`");
    let function = Expression::compile("least(1, 2)", &Roots::default().within("math")).unwrap();
    assert_eq!(function.holds(&Scope::new(), &mut Budget::default()).unwrap_err().message, "expected true or false, not an int");
}

/// Sources that do not compile, with the message, its place, and the hint.
const MISTAKES: &[(&str, &str, (usize, usize), &str)] = &[
    ("", "the expression is empty", (0, 0), ""),
    ("evnt.payload", "unknown name `evnt`", (0, 4), "did you mean `event`?"),
    ("nothing_like_it", "unknown name `nothing_like_it`", (0, 15), "available names: `event`, `config`, `local`"),
    ("event.payload ==", "the expression ends where a value is expected", (16, 16), ""),
    ("0x", "the hexadecimal number has no digits", (0, 2), ""),
    ("event.a = 1", "unknown operator `=`", (8, 9), "write `==`"),
    ("event.a & event.b", "unknown operator `&`", (8, 9), "write `&&`"),
    ("event.a | event.b", "unexpected character `|`", (8, 9), "write `||`; to call a function, use a method: `text.lowerAscii()`"),
    ("event.a | upper", "unexpected character `|`", (8, 9), "there are no filters; write `text.upperAscii()`"),
    ("event.a|default('x')", "unexpected character `|`", (7, 8), "there are no filters; write `event.payload.?field.orValue(\"other\")`"),
    ("event.a and event.b", "expected an operator or the end of the expression, not `and`", (8, 11), "write `&&`"),
    ("\u{201c}a\u{201d}", "unexpected character `\u{201c}`", (0, 3), "use straight quotes: `\"` or `'`"),
    ("(1", "the expression ends where the closing `)` is expected", (2, 2), ""),
    ("[1, 2", "the expression ends where `,` or the closing `]` of this list is expected", (5, 5), ""),
    ("'abc", "the string is not closed", (0, 4), ""),
    ("'a\\qb'", "unknown escape `\\q`", (2, 4), "write `\\\\` for a backslash, or use a raw string: `r\"…\"`"),
    (
        "9223372036854775808",
        "the number does not fit in an int",
        (0, 19),
        "write an integer up to 18446744073709551615 with a `u` at its end",
    ),
    ("12px", "not a number", (0, 4), "write a duration as `duration(\"12px\")`; put a string in quotes"),
    ("event.a.startswith('x')", "unknown method `startswith`", (8, 18), "did you mean `startsWith`?"),
    ("event.a.size(1)", "`size` does not accept 1 arguments", (8, 15), "write `size(x)`"),
    ("trim('x')", "unknown function `trim`", (0, 4), "write `text.trim()`"),
    ("now()", "unknown function `now`", (0, 3), "expressions cannot read the clock; use `event.time` or `execution.started_at`"),
    ("has(event)", "`has` needs a field", (4, 9), "write `has(event.payload.field)`, or `\"key\" in map` for an index"),
    ("event.a.all(1, true)", "expected the name of the macro's variable, not `1`", (12, 13), ""),
    ("event.a.all(x.y, true)", "a macro's variable must be a plain name", (12, 14), ""),
    ("[1].map(x, y)", "unknown name `y`", (11, 12), "put a string in quotes: `\"y\"`"),
    ("Message{a: 1}", "unknown name `Message`", (0, 7), "available names: `event`, `config`, `local`"),
    ("event.A{a: 1}", "message types are not supported", (0, 8), "write a map: `{\"field\": value}`"),
    ("event.in", "`in` is a keyword", (6, 8), "write `[\"in\"]`"),
    ("'a'.matches('(')", "invalid pattern: unclosed group", (12, 15), ""),
    ("'a'.glob('[a')", "invalid glob `[a`: `[` is not closed", (9, 13), ""),
    ("if", "`if` is a reserved word", (0, 2), "write `condition ? value : other`"),
    ("1 2", "expected an operator or the end of the expression, not `2`", (2, 3), ""),
];

#[test]
fn compile_error_has_a_message_place_and_hint() {
    for &(source, message, (start, end), hint) in MISTAKES {
        let error = Expression::compile(source, &roots()).expect_err(source);
        assert_eq!(error.message, message, "{source}");
        assert_eq!(error.span, start..end, "{source}");
        assert_eq!(error.hint.as_deref().unwrap_or_default(), hint, "{source}");
    }
}
