//! Errors in expressions that are found before evaluation.

use ensue_expression::{CheckBudget, Expression, FindingKind, Knowledge, MapType, Occurrence, Others, Purpose, ValueType};

use FindingKind::{AlwaysFalse, AlwaysTrue, Erring, Impossible, MayBeMissing, NotBoolean, Unfit, UnknownField, UnlikelyField};
use Occurrence::{Always, Sometimes};

fn sample_knowledge() -> Knowledge {
    let label = MapType::new(Others::Are(ValueType::json())).with("name", ValueType::text(), Always);
    let payload = MapType::new(Others::Undeclared)
        .with("action", ValueType::one_of(["opened", "labeled"]), Always)
        .with("title", ValueType::text(), Always)
        .with("number", ValueType::integer(), Always)
        .with("load", ValueType::number(), Always)
        .with("draft", ValueType::boolean(), Always)
        .with("tags", ValueType::list(ValueType::text()), Always)
        .with("repo", ValueType::object(), Always)
        .with("label", ValueType::map(label).or_null(), Sometimes)
        .with("assignee", ValueType::object().or_null(), Sometimes)
        .with("note", ValueType::text().or_null(), Sometimes)
        .with("limit", ValueType::integer().or_null(), Sometimes);
    let event = MapType::new(Others::None).with("payload", ValueType::map(payload), Always).with("time", ValueType::text(), Always);
    Knowledge::new().with("event", ValueType::map(event)).with("config", ValueType::json()).with("local", ValueType::anything())
}

/// The findings of a condition: the kind, and the part of the source.
fn findings_of(source: &str) -> Vec<(FindingKind, String)> {
    let source = source.replace("p.", "event.payload.");
    let expression = Expression::compile(&source, &sample_knowledge().roots()).unwrap_or_else(|error| panic!("{source}: {error}"));
    let findings = expression.infer(&sample_knowledge(), Purpose::Condition, &mut CheckBudget::default()).findings;
    findings.into_iter().map(|finding| (finding.kind, source[finding.span].replace("event.payload.", "p."))).collect()
}

#[track_caller]
fn finds(source: &str, kind: FindingKind, part: &str) {
    assert_eq!(findings_of(source), [(kind, part.to_owned())], "{source}");
}

#[track_caller]
fn finds_nothing(sources: &[&str]) {
    for source in sources {
        assert_eq!(findings_of(source), [], "{source}");
    }
}

fn hint(source: &str) -> String {
    let source = source.replace("p.", "event.payload.");
    let expression = Expression::compile(&source, &sample_knowledge().roots()).unwrap_or_else(|error| panic!("{source}: {error}"));
    let findings = expression.infer(&sample_knowledge(), Purpose::Condition, &mut CheckBudget::default()).findings;
    findings.into_iter().filter_map(|finding| finding.hint).collect::<Vec<_>>().join("; ").replace("event.payload.", "p.")
}

#[test]
fn typical_conditions_have_no_findings() {
    finds_nothing(&[
        "p.action == \"opened\"",
        "p.title.lowerAscii().contains(\"crash\") && !p.draft",
        "p.repo.owner.login == config.owner && p.repo.stars > 10",
        "p.tags.exists(tag, tag.startsWith(\"v\")) || p.number in [1, 2, 3]",
        "size(p.tags) > 2 && p.tags[0] == \"bug\"",
        "p.number * 2 + 1 > 5 && p.load > 0.5",
        "p.action == \"opened\" ? p.draft : p.title != \"\"",
        "timestamp(event.time).getHours(\"Europe/Berlin\") < 9 && timestamp(event.time) > timestamp(\"2026-01-01T00:00:00Z\")",
        "p.repo.list.map(x, x.name).filter(n, n != \"\").size() > 0",
        "cel.bind(t, p.title.trim(), t != \"\" && t != \"x\")",
        "{\"a\": 1, \"b\": p.number}.a == p.number",
        "event.payload[config.name] == 1",
        "true",
    ]);
}

#[test]
fn undeclared_field_is_found_at_any_depth() {
    finds("p.titel == \"x\"", UnknownField, "p.titel");
    finds("has(p.titel)", UnknownField, "p.titel");
    finds("p.?titel.orValue(\"\") == \"x\"", UnknownField, "p.?titel");
    finds("event.paylaod.x == 1", UnknownField, "event.paylaod");
    finds("p.?label.nmae.orValue(\"\") == \"x\"", UnlikelyField, "p.?label.nmae");
    finds_nothing(&["p.repo.titel == \"x\"", "p.?label.?color.orValue(\"\") == \"x\""]);
}

#[test]
fn operations_on_the_wrong_types_are_found() {
    finds("size(p.number) > 3", Unfit, "p.number");
    finds("p.number.startsWith(\"x\")", Unfit, "p.number");
    finds("p.title.startsWith(1)", Unfit, "1");
    finds("p.title - 1 == 2", Unfit, "p.title - 1");
    finds("1 + 1.0 == 2.0", Unfit, "1 + 1.0");
    finds("p.number * 0.5 > 1.0", Unfit, "p.number * 0.5");
    finds("p.title.length > 3", Unfit, "p.title.length");
    finds("p.number.exists(x, x)", Unfit, "p.number");
    finds("event.time < timestamp(\"2026-01-01T00:00:00Z\")", Unfit, "event.time < timestamp(\"2026-01-01T00:00:00Z\")");
    finds("p.title > 3", Unfit, "p.title > 3");
    finds("\"a\" in p.title", Unfit, "p.title");
    finds("p.title.orValue(\"\") == \"x\"", Unfit, "p.title");
    finds("p.tags[\"a\"] == \"x\"", Unfit, "\"a\"");
    finds("p.repo.x + true == 1", Unfit, "p.repo.x + true");
}

#[test]
fn comparisons_of_never_equal_values_are_found() {
    finds("p.number == \"7\"", Impossible, "p.number == \"7\"");
    finds("p.title != 7", Impossible, "p.title != 7");
    finds("p.action == \"open\"", Impossible, "p.action == \"open\"");
    finds("p.action in [\"closed\", \"merged\"]", Impossible, "p.action in [\"closed\", \"merged\"]");
    finds("p.number in [\"1\", \"2\"]", Impossible, "p.number in [\"1\", \"2\"]");
    finds("p.action == \"opened\" && p.number == \"7\"", Impossible, "p.number == \"7\"");
    finds("p.repo.created == timestamp(event.time)", Impossible, "p.repo.created == timestamp(event.time)");
    assert_eq!(hint("p.number == \"7\""), "write `p.number == 7`");
    assert_eq!(hint("p.title == 7"), "write `p.title == \"7\"`");
    assert_eq!(hint("p.action == \"open\""), "did you mean `\"opened\"`?");
    assert_eq!(hint("event.time < timestamp(\"2026-01-01T00:00:00Z\")"), "convert it to a timestamp: `timestamp(event.time)`");
}

#[test]
fn condition_must_be_boolean() {
    finds("p.title", NotBoolean, "p.title");
    finds("p.draft && p.number", NotBoolean, "p.number");
    finds("!p.title", NotBoolean, "p.title");
    finds("p.title ? true : false", NotBoolean, "p.title");
    finds("p.tags.all(tag, tag)", NotBoolean, "tag");
    assert_eq!(hint("p.title"), "compare it: `p.title != \"\"`");
    assert_eq!(hint("p.tags"), "check its size: `size(p.tags) > 0`");
    assert_eq!(hint("p.repo.?x"), "add a default for when it is absent: `p.repo.?x.orValue(false)`");
    finds_nothing(&["p.repo.x", "p.repo.?x.orValue(false)", "p.draft"]);
}

#[test]
fn constant_conditions_are_found() {
    finds("\"a\" == \"b\"", AlwaysFalse, "\"a\" == \"b\"");
    finds("1 > 2 || p.draft", AlwaysFalse, "1 > 2");
    finds("has(p.title)", AlwaysTrue, "has(p.title)");
    finds("size(p.tags) >= 0", AlwaysTrue, "size(p.tags) >= 0");
    finds("p.draft || true", AlwaysTrue, "p.draft || true");
    finds("p.title == null", AlwaysFalse, "p.title == null");
    finds("p.number == 1 && p.number == 2", AlwaysFalse, "p.number == 2");
    finds("p.number > 5 && p.title != \"\" && p.number < 3", AlwaysFalse, "p.number < 3");
    finds("p.action != \"opened\" || p.action != \"labeled\"", AlwaysTrue, "p.action != \"labeled\"");
    finds("p.number == 1 || p.number != 1", AlwaysTrue, "p.number != 1");
    finds("p.draft && !p.draft", AlwaysFalse, "!p.draft");
    finds("p.action == \"opened\" ? p.action == \"labeled\" : p.draft", AlwaysFalse, "p.action == \"labeled\"");
    finds_nothing(&[
        "p.number == 1 || p.number == 2",
        "p.number > 1 && p.number < 3",
        "p.action == \"opened\" && p.action != \"labeled\"",
        // If the field is missing, the second operand makes it false.
        "p.limit == 1 && has(p.limit)",
    ]);
}

#[test]
fn errors_of_literals_are_found() {
    finds("p.number / 0 > 1", Erring, "p.number / 0");
    finds("[1, 2][5] == p.number", Erring, "[1, 2][5]");
    finds("[p.title, \"a\"][2] == \"x\"", Erring, "[p.title, \"a\"][2]");
    finds("timestamp(event.time) > timestamp(\"tomorrow\")", Erring, "timestamp(\"tomorrow\")");
    finds("timestamp(event.time) - timestamp(event.time) > duration(\"1 day\")", Erring, "duration(\"1 day\")");
    finds("p.number > 9223372036854775807 + 1", Erring, "9223372036854775807 + 1");
}

#[test]
fn missing_field_that_makes_the_whole_fail_is_found() {
    finds("p.label.name == \"bug\"", MayBeMissing, "p.label");
    finds("p.note.startsWith(\"x\") && p.note != \"xy\"", MayBeMissing, "p.note");
    finds("p.limit > 3 ? true : false", MayBeMissing, "p.limit");
    assert_eq!(hint("p.label.name == \"bug\""), "write `p.?label.?name.orValue(\"\")`, or check first with `has(p.label)`");
    assert_eq!(hint("p.note.startsWith(\"x\")"), "write `p.?note.orValue(\"\").startsWith(\"x\")`, or check first with `has(p.note)`");
    assert_eq!(hint("p.limit > 3"), "write `p.?limit.orValue(0)`, or check first with `has(p.limit)`");
    assert_eq!(hint("p.assignee.admin"), "write `p.?assignee.?admin.orValue(false)`, or check first with `has(p.assignee)`");
    assert_eq!(
        hint("p.assignee.teams.size() == 2"),
        "write `p.?assignee.?teams.orValue([]).size()`, or check first with `has(p.assignee)`"
    );
}

#[test]
fn field_that_is_tested_or_absorbed_is_not_reported() {
    finds_nothing(&[
        "p.action == \"labeled\" && p.label.name == \"bug\"",
        "p.label.name == \"bug\" && p.action == \"labeled\"",
        "p.label.name == \"bug\" || p.draft",
        "has(p.label) && p.label.name == \"bug\"",
        "!has(p.label) || p.label.name == \"bug\"",
        "has(p.label) ? p.label.name == \"bug\" : false",
        "p.draft ? p.label.name == \"bug\" : false",
        "p.?label.?name.orValue(\"\") == \"bug\"",
        "p.?label.optMap(l, l.name == \"bug\").orValue(false)",
        "\"label\" in event.payload && p.label.name == \"bug\"",
        "p.tags.exists(tag, tag == p.label.name)",
    ]);
}

#[test]
fn one_error_is_reported_once() {
    finds("!(p.title.length > 3 && p.draft) == true", Unfit, "p.title.length");
    finds("size(size(p.number)) > 1 && p.draft", Unfit, "p.number");
    finds("[p.titel, p.title].exists(x, x == \"a\")", UnknownField, "p.titel");
}

#[test]
fn condition_narrows_the_types_after_it() {
    let when = Expression::compile("event.payload.action == \"opened\" && has(event.payload.label)", &sample_knowledge().roots())
        .expect("it compiles");
    let after = sample_knowledge().assuming(&when);
    let infer = |source: &str| {
        Expression::compile(source, &after.roots()).expect("it compiles").infer(&after, Purpose::Value, &mut CheckBudget::default())
    };
    assert_eq!(infer("event.payload.label.name").findings, []);
    let kinds: Vec<_> = infer("event.payload.action == \"labeled\" ? 1 : 2").findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [AlwaysFalse]);
}

#[test]
fn hostile_expression_is_checked_within_bounds() {
    let nested = (0..20).fold("p.number == 1".to_owned(), |inner, _| format!("(({inner}) == true && p.number == 2)"));
    let long = vec!["p.limit == 1"; 250].join(" && ");
    let built = format!("[{}]{}.size() > 0", "1", ".map(a, [a])".repeat(60));
    let opened = ".a".repeat(900);
    for source in [nested, long, built, format!("local{opened} == 1")] {
        findings_of(&source);
    }
}
