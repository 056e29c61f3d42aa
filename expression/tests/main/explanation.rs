//! Explanations of an expression's result.

use ensue_expression::{Budget, ErrorKind, Explanation, Outcome, Part, Route, Scope, Value};
use proptest::prelude::*;

use super::{EVENT, compile, document};

fn explain(source: &str) -> Explanation {
    let event = document(EVENT);
    let owners = Value::list(["acme", "bolt"].map(Value::from));
    let config = Value::map([("owner", Value::from("acme")), ("owners", owners), ("limit", Value::from(3_i64))]);
    let scope = Scope::new().with("event", event.root()).with("config", config);
    compile(source).explain(&scope, &mut Budget::default())
}

fn decisive(source: &str) -> Vec<String> {
    explain(source).decisive().iter().map(ToString::to_string).collect()
}

#[test]
fn each_part_is_a_line_with_the_compared_values() {
    let explanation =
        explain("event.payload.action == \"closed\"\n  && event.payload.repository.owner.login == config.owner && !event.payload.draft");
    assert_eq!(
        explanation.to_string(),
        "event.payload.action == \"closed\"  → false   (event.payload.action = \"opened\")\n\
         event.payload.repository.owner.login == config.owner  → true   (\"acme\" = \"acme\")\n\
         event.payload.draft  → false"
    );
    assert_eq!(*explanation.outcome(), Outcome::Truth(false));
}

#[test]
fn part_shows_the_values_it_read() {
    let lines = |source: &str| explain(source).lines().remove(0);
    let cases = [
        ("event.payload.title.startsWith('x')", r#"event.payload.title = "Grüße \"an\" alle""#),
        ("size(event.payload.labels) > 5", "size(event.payload.labels) = 2"),
        ("event.payload.number < config.limit", "7 is not < 3"),
        ("event.payload.action != config.owner", r#""opened" ≠ "acme""#),
        ("event.payload.action in config.owners", r#""opened" is not in ["acme","bolt"]"#),
        ("event.payload.action in ['a', 'b']", r#"event.payload.action = "opened""#),
        ("event.payload.?label.?name.orValue('') == 'bug'", r#"event.payload.?label.?name.orValue('') = """#),
        ("event.payload.?label.hasValue()", "event.payload.?label = nothing"),
        ("has(event.payload.number)", "event.payload.number = 7"),
        ("event.payload.title.split(' ')[0] == 'x'", r#"event.payload.title.split(' ')[0] = "Grüße""#),
        ("'bug' in event.payload.labels.map(l, l.name)", r#"event.payload.labels.map(l, l.name) = ["bug","urgent"]"#),
        ("event.payload.number == event.payload.labels.size()", "7 ≠ 2"),
    ];
    for (source, note) in cases {
        assert!(lines(source).ends_with(&format!("   ({note})")), "{}", lines(source));
    }
    assert_eq!(lines("has(event.payload.nope)"), "has(event.payload.nope)  → false");
}

#[test]
fn decisive_parts_alone_keep_the_outcome() {
    assert_eq!(
        decisive("event.payload.number == 7 && event.payload.action == 'closed'"),
        ["event.payload.action == 'closed'  → false   (event.payload.action = \"opened\")"]
    );
    assert_eq!(decisive("false || (true && 1 == 1)"), ["true  → true", "1 == 1  → true"]);
    assert_eq!(decisive("!(true && 1 == 2)"), ["1 == 2  → false"]);
    assert_eq!(decisive("1 == 2 ? true : 2 == 3"), ["1 == 2  → false", "2 == 3  → false"]);
    // Of two false operands, one is enough, and the first is used.
    assert_eq!(decisive("(true && 1 == 2) && 2 == 3"), ["1 == 2  → false"]);
}

#[test]
fn non_decisive_parts_are_listed_separately() {
    let explanation = explain("event.payload.number == 7 && event.payload.action == 'closed'");
    let others: Vec<_> = explanation.others().iter().map(|part| part.source.as_str()).collect();
    assert_eq!(others, ["event.payload.number == 7"]);
}

#[test]
fn error_is_decisive_together_with_what_could_not_absorb_it() {
    assert_eq!(
        decisive("event.payload.number == 7 && event.payload.assignee.login == 'ada'"),
        [
            "event.payload.number == 7  → true   (event.payload.number = 7)",
            "event.payload.assignee.login == 'ada'  → error: `event.payload.assignee` is null and has no field `login`"
        ]
    );
    assert_eq!(decisive("event.payload.nope && 1 == 2"), ["1 == 2  → false"]);
}

/// The ways to flip the result, as `part → truth`, with the parts that already have the right value.
fn flips(source: &str) -> Vec<String> {
    let explanation = explain(source);
    let shown = explanation.flips().into_iter().map(|flip| {
        let turns: Vec<_> = flip.turns.iter().map(|turn| format!("{} → {}", turn.part.source, turn.to)).collect();
        let already: Vec<_> = flip.already.iter().map(|part| part.source.as_str()).collect();
        format!("{}: {}; {}", flip.to, turns.join(", "), already.join(", "))
    });
    shown.collect()
}

#[test]
fn flips_are_listed_with_the_parts_that_already_hold() {
    assert_eq!(flips("event.payload.draft && event.payload.number == 7"), ["true: event.payload.draft → true; event.payload.number == 7"]);
    assert_eq!(flips("event.payload.draft && 1 == 2"), ["true: event.payload.draft → true, 1 == 2 → true; "]);
    assert_eq!(flips("event.payload.draft || 1 == 2"), ["true: event.payload.draft → true; ", "true: 1 == 2 → true; "]);
    assert_eq!(
        flips("event.payload.draft || (1 == 2 && 2 == 3)"),
        ["true: event.payload.draft → true; ", "true: 1 == 2 → true, 2 == 3 → true; "]
    );
    assert_eq!(flips("!event.payload.draft"), ["false: event.payload.draft → true; "]);
    assert_eq!(
        flips("event.payload.nope && 1 == 1"),
        ["true: event.payload.nope → true; 1 == 1", "false: event.payload.nope → false; ", "false: 1 == 1 → false; "]
    );
    assert_eq!(
        flips("has(event.payload.nope) ? event.payload.nope == 1 : false"),
        ["true: false → true; has(event.payload.nope)", "true: has(event.payload.nope) → true, event.payload.nope == 1 → true; "]
    );
}

#[test]
fn every_intermediate_value_has_its_place() {
    fn values<'p>(part: &'p Part, shown: &mut Vec<(&'p str, String)>) {
        shown.push((&part.source, part.outcome.to_string()));
        part.parts.iter().for_each(|part| values(part, shown));
    }
    let source = "event.payload.title.split(' ')[0].size() == config.limit + 2";
    let explanation = explain(source);
    let mut shown = Vec::new();
    values(&explanation.root, &mut shown);
    let shown: Vec<_> = shown.iter().map(|(source, value)| (*source, value.as_str())).collect();
    assert_eq!(
        shown,
        [
            (source, "true"),
            ("event.payload.title.split(' ')[0].size()", "5"),
            ("event.payload.title.split(' ')[0]", r#""Grüße""#),
            ("event.payload.title.split(' ')", r#"["Grüße","\"an\"","alle"]"#),
            ("event.payload.title", r#""Grüße \"an\" alle""#),
            ("config.limit + 2", "5"),
            ("config.limit", "3"),
        ]
    );
    let sum = &explanation.root.parts[1];
    assert_eq!(&source[sum.span.clone()], "config.limit + 2");
}

#[test]
fn macro_lists_its_decisive_elements() {
    let elements = |source: &str| {
        let explanation = explain(source);
        let elements = explanation.root.elements.clone().unwrap_or_else(|| panic!("{source}"));
        let decided: Vec<_> = elements.decided.iter().map(|one| format!("{} {} {}", one.at, one.value, one.part)).collect();
        (explanation.root.note.unwrap_or_default(), decided)
    };
    let (note, decided) = elements("event.payload.labels.exists(l, l.name == 'urgent')");
    assert_eq!(note, r#"true for element 1: {"name":"urgent"}"#);
    assert_eq!(decided, [r#"1 {"name":"urgent"} l.name == 'urgent'  → true   (l.name = "urgent")"#]);
    let (note, decided) = elements("event.payload.labels.exists(l, l.name == 'nope')");
    assert_eq!((note.as_str(), decided.len()), ("true for none of 2 elements", 2));
    let (note, _) = elements("event.payload.labels.all(l, l.name == 'bug')");
    assert_eq!(note, r#"false for element 1: {"name":"urgent"}"#);
    let (note, _) = elements("event.payload.labels.all(l, l.size() == 1)");
    assert_eq!(note, "true for all of 2 elements");
    let (note, _) = elements("event.payload.labels.exists_one(l, l.size() == 1)");
    assert_eq!(note, "true for more than one of 2 elements");
    let (note, decided) = elements("event.payload.counts.exists(key, count, count == 3 && key != 'a')");
    assert_eq!(note, r#"true for element "c": 3"#);
    assert_eq!(decided.len(), 1);
    let (note, _) = elements("event.payload.labels.all(l, l.colour == 'red')");
    assert_eq!(note, r#"at element 0: {"name":"bug"}"#);
    let (note, _) = elements("[].exists(l, l == 1)");
    assert_eq!(note, "there are no elements");
}

#[test]
fn branch_not_taken_shows_its_would_be_value() {
    let explanation = explain("has(event.payload.nope) ? event.payload.number == 7 : event.payload.draft");
    let shown: Vec<_> = explanation.root.parts.iter().map(|part| (part.outcome.to_string(), part.route)).collect();
    assert_eq!(shown, [("false".to_owned(), Route::Taken), ("true".to_owned(), Route::NotTaken), ("false".to_owned(), Route::Taken)]);
}

#[test]
fn budget_error_is_explained_by_the_part_that_exceeds_the_budget() {
    let list = format!("[{}]", vec!["1"; 200].join(","));
    let source = format!("1 == 1 && {list}.all(a, {list}.all(b, {list}.all(c, a == b)))");
    let explanation = explain(&source);
    assert!(matches!(explanation.outcome(), Outcome::Erred(error) if error.kind == ErrorKind::Budget));
    assert_eq!(explanation.decisive().len(), 1);
    assert!(explanation.decisive()[0].source.starts_with("[1,1,1"));
    assert!(explanation.flips().is_empty(), "nothing beside it could change that");
}

#[test]
fn explanation_is_bounded_for_every_expression() {
    let deep = format!("{}1 == 1{}", "(true && ".repeat(60), ")".repeat(60));
    let wide = vec!["event.payload.number == 8"; 250].join(" || ");
    let called = format!("event.payload.title{} == ''", ".trim()".repeat(1000));
    let macros = "event.payload.labels.all(a, ".repeat(20) + "true" + &")".repeat(20);
    for source in [deep, wide, called, macros] {
        let explanation = explain(&source);
        let text = explanation.to_json().to_string();
        assert!(text.len() < 4 << 20, "{} bytes", text.len());
        let mut steps_left = 1000;
        let event = document(EVENT);
        let brief = compile(&source);
        let scope = Scope::new().with("event", event.root());
        let brief = brief.explain_conditions(&scope, &mut Budget::default(), &mut steps_left);
        assert_eq!(brief.outcome(), explanation.outcome(), "the steps of the parts do not change the outcome");
    }
}

#[test]
fn long_values_are_truncated() {
    let lines = explain("event.payload == event").lines();
    assert_eq!(lines, ["event.payload == event  → false   ({… 10 fields} ≠ {… 2 fields})"]);
}

#[test]
fn explanation_can_be_written_as_json() {
    let json = explain("event.payload.draft && event.payload.nope == 1").to_json();
    assert_eq!(json["decisive"][0]["source"], "event.payload.draft");
    assert_eq!(json["flips"][0]["turns"][1]["part"]["error"]["span"], serde_json::json!({ "start": 36, "end": 41 }));
    assert_eq!(json["explanation"]["shape"], "all");
    assert_eq!(json["explanation"]["parts"][0]["outcome"], "false");
    assert_eq!(json["explanation"]["parts"][1]["outcome"], "error");
}

/// The kind of a smallest part of a generated condition.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaf {
    True,
    False,
    Erring,
    Value,
}

const LEAVES: [Leaf; 4] = [Leaf::True, Leaf::False, Leaf::Erring, Leaf::Value];

impl Leaf {
    /// Its source: all have the same length, so that a part can be overwritten in place.
    fn source(self) -> &'static str {
        match self {
            Self::True => "(1 == 1)",
            Self::False => "(1 == 2)",
            Self::Erring => "(1/0==1)",
            Self::Value => "(1  + 2)",
        }
    }
}

/// Conditions of `&&`, `||`, `!` and `? :` over leaves that are true, false, fail, or are not conditions.
fn any_condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(LEAVES.to_vec()).prop_map(|leaf| leaf.source().to_owned());
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" && "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" || "))),
            inner.clone().prop_map(|part| format!("!{part}")),
            (inner.clone(), inner.clone(), inner).prop_map(|(condition, then, otherwise)| format!("({condition} ? {then} : {otherwise})")),
        ]
    })
}

/// The result of a condition: true, false, or neither.
fn verdict(source: &str) -> Option<bool> {
    compile(source).holds(&Scope::new(), &mut Budget::default()).ok()
}

/// The source with a part overwritten in place, including parentheses.
fn replace_part(source: &str, part: &Part, by: Leaf) -> String {
    assert_eq!(part.span.len(), by.source().len(), "each leaf is of one length: {}", part.source);
    format!("{}{}{}", &source[..part.span.start], by.source(), &source[part.span.end..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn explanation_has_the_same_result_as_evaluation(source in any_condition()) {
        let expression = compile(&source);
        let explained = expression.explain(&Scope::new(), &mut Budget::default());
        match expression.evaluate(&Scope::new(), &mut Budget::default()) {
            Ok(Value::Bool(truth)) => prop_assert_eq!(explained.outcome(), &Outcome::Truth(truth)),
            Ok(value) => prop_assert_eq!(explained.outcome(), &Outcome::Value(value.brief())),
            Err(error) => prop_assert_eq!(explained.outcome(), &Outcome::Erred(error)),
        }
        prop_assert!(!explained.decisive().is_empty());
    }

    #[test]
    fn decisive_parts_alone_force_the_verdict(source in any_condition(), chosen in prop::collection::vec(0..4_usize, 40)) {
        let before = verdict(&source);
        let expression = compile(&source);
        let explanation = expression.explain(&Scope::new(), &mut Budget::default());
        let mut source = source;
        for (other, leaf) in explanation.others().into_iter().zip(chosen) {
            source = replace_part(&source, other, LEAVES[leaf]);
        }
        prop_assert_eq!(verdict(&source), before, "{}", source);
    }

    #[test]
    fn applying_a_flip_changes_the_result_and_no_subset_does(source in any_condition()) {
        let before = verdict(&source);
        let expression = compile(&source);
        let explanation = expression.explain(&Scope::new(), &mut Budget::default());
        let flips = explanation.flips();
        prop_assert!(flips.iter().any(|flip| Some(flip.to) != before), "every verdict can be flipped");
        for flip in &flips {
            prop_assert_ne!(Some(flip.to), before);
            for chosen in 0..1_u32 << flip.turns.len().min(10) {
                let mut turned = source.clone();
                for (_, turn) in flip.turns.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1) {
                    turned = replace_part(&turned, turn.part, if turn.to { Leaf::True } else { Leaf::False });
                }
                let is_whole = chosen.count_ones() as usize == flip.turns.len();
                prop_assert_eq!(verdict(&turned) == Some(flip.to), is_whole, "{} is {}", turned, flip.to);
            }
        }
    }
}
