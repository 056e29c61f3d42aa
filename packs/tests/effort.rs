//! Packs that are much work to check: the check ends, and says so where it gave up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ensue_packs::{Checked, check, check_until, library};

use crate::support::demo;

const TRIGGER: (&str, &str) = ("triggers/ping.yaml", "payload: { q: any }\n");

fn checked(files: &[(&str, &str)]) -> Checked {
    check(&[library(), vec![demo(files)]].concat(), &BTreeMap::new())
}

fn slugs(checked: &Checked) -> Vec<&'static str> {
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
        let checked = checked(&[TRIGGER, ("rules/x.yaml", &doubling_rule(14, when))]);
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
    let few = checked(&[TRIGGER, ("rules/x.yaml", &rule(20))]);
    assert!(!few.has_errors(), "{:?}", few.diagnostics);
    let many = checked(&[TRIGGER, ("rules/x.yaml", &rule(2_000))]);
    assert_eq!(slugs(&many).iter().filter(|slug| **slug == "too_many_patterns").count(), 1, "{:?}", slugs(&many));
    assert!(many.good.iter().all(|pack| pack.name.as_str() != "demo"));
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
        let few = checked(&[("triggers/ping.yaml", &schema(100))]);
        assert!(!few.has_errors(), "{:?}", few.diagnostics);
        let many = checked(&[("triggers/ping.yaml", &schema(600))]);
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
