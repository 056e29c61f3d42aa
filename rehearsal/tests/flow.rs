//! Tests flow control in cases: time passes between events, and until nothing is held.

use crate::support::{failures, run};

const LAST: (&str, &str) = (
    "rules/last.yaml",
    "trigger: demo.ping\ndebounce: { quiet: 30s, key: event.payload.host }\naction: core.echo\nwith: { message: '${{ event.payload.?load.orValue(0) }}' }\n",
);

fn event(host: &str, load: u32, after: &str) -> String {
    format!("{{ trigger: demo.ping, payload: {{ host: {host}, load: {load} }}, after: {after} }}")
}

#[track_caller]
fn passes(rule: (&str, &str), events: &[String], expect: &str) {
    for mocks in ["", "  mocks: {}\n"] {
        let case = format!("- it: goes\n  given: {{ events: [{}] }}\n{mocks}  expect: [{expect}]\n", events.join(", "));
        let verdicts = run(&[rule], &case);
        assert_eq!(failures(&verdicts[0]), "", "{case}");
    }
}

#[test]
fn debounce_acts_on_the_last_match_once_it_is_quiet() {
    let events = [event("a", 1, "0s"), event("a", 2, "29s"), event("a", 3, "30s")];
    passes(
        LAST,
        &events,
        "{ rule: demo.last, outcome: superseded }, { rule: demo.last, with: { message: 2 } }, { rule: demo.last, with: { message: 3 } }",
    );
}

#[test]
fn duplicates_and_throttled_matches_can_be_expected() {
    let rule = (
        "rules/some.yaml",
        "trigger: demo.ping\ndedupe: { within: 10m, key: 'event.payload.?load.orValue(0)' }\nthrottle: { limit: 1, per: 1h }\naction: core.noop\n",
    );
    let events = [event("a", 1, "0s"), event("a", 1, "9m"), event("a", 2, "0s"), event("a", 1, "1h")];
    passes(
        rule,
        &events,
        "{ rule: demo.some }, { rule: demo.some, outcome: deduplicated }, { rule: demo.some, outcome: throttled }, { rule: demo.some }",
    );
}

#[test]
fn window_passes_its_events_to_the_rule_s_steps() {
    let rule = (
        "rules/three.yaml",
        "trigger: demo.ping\nwindow: { count: 3, within: 1h }\nsteps:\n  say: { action: core.echo, with: { message: '${{ events.map(e, e.payload.host) }}' } }\n",
    );
    let events = ["a", "b", "c"].map(|host| event(host, 1, "1m"));
    let case = format!(
        "- it: gathers\n  given: {{ events: [{}] }}\n  mocks: {{}}\n  expect:\n    - {{ rule: demo.three, outcome: superseded, error: {{ message: window_filled }} }}\n\
         \x20   - {{ rule: demo.three, outcome: superseded }}\n    - {{ rule: demo.three, status: succeeded, steps: {{ say: {{ result: {{ message: [a, b, c] }} }} }} }}\n",
        events.join(", ")
    );
    assert_eq!(failures(&run(&[rule], &case)[0]), "");
}

#[test]
fn missing_acts_when_no_match_follows() {
    let rule = ("rules/silent.yaml", "trigger: demo.ping\nmissing: { for: 26h, key: event.payload.host }\naction: core.noop\n");
    let events = [event("a", 1, "0s"), event("a", 2, "25h"), event("b", 3, "0s")];
    passes(rule, &events, "{ rule: demo.silent, outcome: superseded }, { rule: demo.silent }, { rule: demo.silent }");
}

#[test]
fn digest_passes_all_its_events_to_the_rule() {
    let rule = (
        "rules/digest.yaml",
        "trigger: demo.ping\nwindow: { until: 10m, key: event.payload.host }\naction: core.echo\nwith: { message: '${{ events.map(e, e.payload.load) }}' }\n",
    );
    let events = [event("a", 1, "0s"), event("b", 2, "1m"), event("a", 3, "8m"), event("a", 4, "1m")];
    passes(
        rule,
        &events,
        "{ rule: demo.digest, outcome: superseded }, { rule: demo.digest, with: { message: [2] } }, \
         { rule: demo.digest, with: { message: [1, 3] } }, { rule: demo.digest, with: { message: [4] } }",
    );
}

#[test]
fn limited_debounce_acts_in_a_steady_stream() {
    let rule = (
        "rules/calm.yaml",
        "trigger: demo.ping\ndebounce: { quiet: 1m, most: 2m, events: all }\naction: core.echo\nwith: { message: '${{ events.map(e, e.payload.load) }}' }\n",
    );
    let events: Vec<String> = (1..=5).map(|load| event("a", load, "50s")).collect();
    passes(
        rule,
        &events,
        "{ rule: demo.calm, outcome: superseded }, { rule: demo.calm, outcome: superseded }, { rule: demo.calm, with: { message: [1, 2, 3] } }, \
         { rule: demo.calm, outcome: superseded }, { rule: demo.calm, with: { message: [4, 5] } }",
    );
}

#[test]
fn window_of_different_values_can_be_tested() {
    let rule = (
        "rules/differ.yaml",
        "trigger: demo.ping\nwindow: { count: 2, distinct: event.payload.host, within: 10m }\naction: core.echo\nwith: { message: '${{ events.map(e, e.payload.load) }}' }\n",
    );
    let events = [event("a", 1, "0s"), event("a", 2, "1m"), event("b", 3, "1m")];
    passes(
        rule,
        &events,
        "{ rule: demo.differ, outcome: superseded }, { rule: demo.differ, outcome: superseded }, { rule: demo.differ, with: { message: [2, 3] } }",
    );
}

#[test]
fn window_of_several_triggers_passes_the_newest_of_each_in_the_order_of_its_list() {
    let built = ("triggers/built.yaml", "payload: { host: string, load: integer }\n");
    let rule = (
        "rules/both.yaml",
        "trigger: [demo.ping, demo.built]\nwindow: { of: [demo.built, demo.ping], within: 10m, key: event.payload.host }\naction: core.echo\nwith: { message: '${{ events.map(e, e.payload.load) }}' }\n",
    );
    let built_at = |host: &str, load: u32, after: &str| event(host, load, after).replace("demo.ping", "demo.built");
    let events = [
        event("a", 1, "0s"),
        event("a", 2, "1m"),
        event("b", 3, "0s"),
        built_at("a", 4, "1m"),
        built_at("b", 5, "9m"),
        event("b", 6, "1m"),
        built_at("a", 7, "0s"),
    ];
    let case = format!(
        "- it: waits for both\n  given: {{ events: [{}] }}\n  expect:\n\
         \x20   - {{ rule: demo.both, outcome: superseded, error: {{ message: newer }} }}\n\
         \x20   - {{ rule: demo.both, outcome: superseded, error: {{ message: window_filled }} }}\n\
         \x20   - {{ rule: demo.both, outcome: superseded, error: {{ message: window_passed }} }}\n\
         \x20   - {{ rule: demo.both, with: {{ message: [4, 2] }} }}\n\
         \x20   - {{ rule: demo.both, outcome: superseded, error: {{ message: window_filled }} }}\n\
         \x20   - {{ rule: demo.both, with: {{ message: [5, 6] }} }}\n\
         \x20   - {{ rule: demo.both, outcome: superseded, error: {{ message: window_passed }} }}\n",
        events.join(", ")
    );
    assert_eq!(failures(&run(&[built, rule], &case)[0]), "");
}
