//! Packs that are much work to check: the check ends, and says so where it gave up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ensue_packs::{CheckResult, check, check_until, library};

use crate::support::demo;

const TRIGGER: (&str, &str) = ("triggers/ping.yaml", "payload: { q: any }\n");

fn check_demo(files: &[(&str, &str)]) -> CheckResult {
    check(&[library(), vec![demo(files)]].concat(), &BTreeMap::new())
}

fn slugs(checked: &CheckResult) -> Vec<&'static str> {
    checked.diagnostics.iter().map(|one| one.code.slug()).collect()
}

/// Returns a rule whose `local` names are maps. Each map holds the previous name in eight fields.
fn doubling_rule(names: usize, when: &str) -> String {
    let mut rule = "trigger: demo.ping\nlocal:\n  a0: event.payload.q\n".to_owned();
    for name in 1..=names {
        let fields: Vec<String> = (0..8).map(|field| format!("\"f{field}\": local.a{}", name - 1)).collect();
        let _ = writeln!(rule, "  a{name}: '{{{}}}'", fields.join(", "));
    }
    let _ = write!(rule, "when: {when}\naction: core.noop\n");
    rule
}

#[test]
fn rule_whose_values_multiply_is_checked() {
    for when in ["local.a14.f0 == local.a14.f1", "local.a14.f0.f1 == 1", "local.a14 in [local.a13]", "local.a14.exists(k, k == local.a13)"]
    {
        let checked = check_demo(&[TRIGGER, ("rules/x.yaml", &doubling_rule(14, when))]);
        assert!(!checked.has_errors(), "{when}: {:?}", checked.diagnostics);
    }
}

#[test]
fn regular_expressions_are_limited_by_the_work_of_compiling_them_all() {
    let rule = |count: usize| {
        let local: String = (0..count).fold(String::new(), |mut all, name| {
            let _ = writeln!(all, "  a{name}: event.payload.q.matches('^{name}\\\\w$')");
            all
        });
        format!("trigger: demo.ping\nlocal:\n{local}action: core.noop\n")
    };
    let few = check_demo(&[TRIGGER, ("rules/x.yaml", &rule(20))]);
    assert!(!few.has_errors(), "{:?}", few.diagnostics);
    let many = check_demo(&[TRIGGER, ("rules/x.yaml", &rule(2_000))]);
    assert_eq!(slugs(&many).iter().filter(|slug| **slug == "too_many_patterns").count(), 1, "{:?}", slugs(&many));
    assert!(many.good.iter().all(|pack| pack.name.as_str() != "demo"));
}

/// Returns a rule that passes one list of values.
fn passing_rule(values: impl IntoIterator<Item = String>) -> String {
    let values: String = values.into_iter().fold(String::new(), |mut all, value| {
        let _ = writeln!(all, "    - '${{{{ {value} }}}}'");
        all
    });
    format!("trigger: demo.ping\naction: demo.look\nwith:\n  saw:\n{values}")
}

const LOOK: (&str, &str) = ("actions/look.yaml", "parameters: { saw: [any] }\nrun: { shell: { script: make } }\n");

fn pattern(number: usize) -> String {
    format!("event.payload.q.matches(\"^{number}\\\\w$\")")
}

#[test]
fn one_value_with_too_many_patterns_is_compiled_until_the_limit() {
    let few = check_demo(&[TRIGGER, LOOK, ("rules/x.yaml", &passing_rule((0..20).map(pattern)))]);
    assert!(!few.has_errors(), "{:?}", few.diagnostics);
    // What comes after the limit is not reached, so it is not reported.
    let values = (0..2_000).map(pattern).chain(["unknown".to_owned()]);
    let many = check_demo(&[TRIGGER, LOOK, ("rules/x.yaml", &passing_rule(values))]);
    assert_eq!(slugs(&many), ["too_many_patterns"]);
}

#[test]
fn one_value_whose_expressions_do_not_compile_is_compiled_until_the_limit() {
    let values = (0..2_000).map(|number| format!("event.payload.q.matches(\"^{number}\\\\w$\") ||"));
    let many = check_demo(&[TRIGGER, LOOK, ("rules/x.yaml", &passing_rule(values))]);
    assert_eq!(slugs(&many).iter().filter(|slug| **slug == "too_many_patterns").count(), 1);
    // A report names the first 1,000 errors and counts the others.
    let others = many.diagnostics.iter().find_map(|one| one.message.strip_suffix(" more diagnostics are not shown"));
    let others: usize = others.unwrap().parse().unwrap();
    assert!(others < 100, "{others} more");
}

#[test]
fn check_that_is_given_up_within_one_value_ends_there() {
    // The last expression does not parse, so that all that asks is the compilation of the others.
    let ask = |count: usize, until: usize| {
        let values = (0..count).map(|number| format!("event.payload.q == {number}")).chain(["1 +".to_owned()]);
        let packs = [library(), vec![demo(&[TRIGGER, LOOK, ("rules/x.yaml", &passing_rule(values))])]].concat();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let outcome = check_until(&packs, &BTreeMap::new(), &(Arc::new(move || counter.fetch_add(1, Ordering::Relaxed) >= until) as _));
        (outcome.is_some(), asked.load(Ordering::Relaxed))
    };
    let (_, asked_without) = ask(0, usize::MAX);
    let (is_whole, asked) = ask(2_000, usize::MAX);
    assert!(is_whole && asked >= asked_without + 1_900, "asked {asked} times, {asked_without} without the value");
    let (is_whole, asked_until_given_up) = ask(2_000, asked - 1_500);
    assert!(!is_whole && asked_until_given_up < asked - 1_400, "asked {asked_until_given_up} of {asked} times");
}

#[test]
fn patterns_of_schemas_count_as_regular_expressions() {
    let fields = |count: usize| {
        (0..count).fold("payload:\n".to_owned(), |mut all, name| {
            let _ = writeln!(all, "  f{name}: {{ type: string, pattern: '^a{name}$' }}");
            all
        })
    };
    let whole = |count: usize| {
        let properties: Vec<String> = (0..count).map(|name| format!("f{name}: {{ type: string, pattern: '^a{name}$' }}")).collect();
        format!("payload:\n  schema: {{ type: object, properties: {{ {} }} }}\n", properties.join(", "))
    };
    for schema in [&fields as &dyn Fn(usize) -> String, &whole] {
        let few = check_demo(&[("triggers/ping.yaml", &schema(100))]);
        assert!(!few.has_errors(), "{:?}", few.diagnostics);
        let many = check_demo(&[("triggers/ping.yaml", &schema(600))]);
        assert!(slugs(&many).contains(&"too_many_patterns"), "{:?}", slugs(&many));
    }
}

#[test]
fn check_that_was_given_up_returns_nothing() {
    let packs = [library(), vec![demo(&[TRIGGER, ("rules/x.yaml", "trigger: demo.ping\naction: core.noop\n")])]].concat();
    let finished = check_until(&packs, &BTreeMap::new(), &(Arc::new(|| false) as _)).expect("nothing stops it");
    assert!(!finished.has_errors(), "{:?}", finished.diagnostics);
    assert!(check_until(&packs, &BTreeMap::new(), &(Arc::new(|| true) as _)).is_none());
}
