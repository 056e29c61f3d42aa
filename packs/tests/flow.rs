//! Flow control of rules: the reported errors, and the engine's form of a valid one.

use std::sync::Arc;

use ensue_engine::catalog::{Acts, Control, Does, Excess, LockConflict, RetryAfter, Rule};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_packs::build;

use crate::support::{check_packs, demo, shown_with};

const PACED: &str = r#"trigger: demo.ping
local: { host: event.payload.host.lowerAscii() }
missing: { for: 26h }
throttle: { limit: 5, per: 1m, excess: delay }
window: { count: 3, within: 5m, key: local.host }
dedupe: { key: event.id, within: 10m }
concurrency: { limit: 2, key: event.payload.host, conflict: skip }
debounce: { quiet: 30s, key: "${{ event.payload.host }}" }
action: core.echo
with: { message: "${{ events.map(e, e.payload.host) }}, the last of ${{ event.payload.host }}" }
"#;

/// The findings of a rule with this flow control.
fn rule(text: &str) -> String {
    shown_with(&[("rules/paced.yaml", &format!("trigger: demo.ping\naction: core.noop\n{text}"))])
}

/// The engine's form of a rule of the demo.
fn install(rule: &str) -> Arc<Rule> {
    let packs = [demo(&[("rules/paced.yaml", rule), OTHER])];
    let checked = check_packs(&packs, &[]);
    let ids = |_: &_| RuleId(Id::root(Timestamp::from_micros(1), 1));
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(ids))).collect();
    let catalog = build(CatalogRevision(1), &installed).expect("the pack is valid");
    catalog.rules()[&"demo.paced".parse().expect("a ref")].clone()
}

/// What a flow control does.
fn does(control: &str) -> Does {
    let rule = install(&format!("trigger: [demo.ping, demo.pong]\naction: core.noop\n{control}\n"));
    rule.flow.as_ref().expect("the rule has one").stages()[0].does.clone()
}

/// Another trigger.
const OTHER: (&str, &str) = ("triggers/pong.yaml", "payload:\n  host: string\n");

#[test]
fn each_kind_of_window_is_accepted() {
    let of = ["demo.pong", "demo.ping"].map(|name| name.parse().unwrap()).into();
    assert_eq!(does("window: { until: 10m }"), Does::Digest { count: 100, until_millis: 600_000 });
    assert_eq!(does("window: { until: 10m, count: 5, key: event.payload.host }"), Does::Digest { count: 5, until_millis: 600_000 });
    assert_eq!(does("window: { of: [demo.pong, demo.ping], within: 1h }"), Does::Each { of, within_millis: 3_600_000 });
    let distinct = install("trigger: demo.ping\naction: core.noop\nwindow: { count: 3, distinct: event.payload.host, within: 5m }\n");
    let stage = distinct.flow.as_ref().unwrap().stages()[0].clone();
    assert_eq!(stage.does, Does::Distinct { count: 3, within_millis: 300_000 });
    assert_eq!(stage.distinct.map(|value| value.source().to_owned()), Some("event.payload.host".to_owned()));
}

#[test]
fn debounce_takes_a_limit_and_all_events() {
    let of = |most_millis, acts| Does::Debounce { quiet_millis: 30_000, most_millis, acts };
    assert_eq!(does("debounce: { quiet: 30s, most: 10m }"), of(Some(600_000), Acts::OnLast));
    assert_eq!(does("debounce: { quiet: 30s, events: all }"), of(None, Acts::OnAll));
    assert_eq!(does("debounce: { quiet: 30s, most: 10m, events: last }"), of(Some(600_000), Acts::OnLast));
    let rule = "trigger: demo.ping\ndebounce: { quiet: 1m, events: all }\naction: core.echo\nwith: { message: '${{ events.size() }}' }\n";
    assert_eq!(shown_with(&[("rules/a.yaml", rule)]), "");
}

#[test]
fn invalid_debounce_is_reported() {
    insta::assert_snapshot!(rule("debounce: { quiet: 10m, most: 10m }\n"));
    insta::assert_snapshot!(rule("debounce: { quiet: 1m, events: every }\n"));
    insta::assert_snapshot!(rule("debounce: { quiet: 1m, events: all }\nwindow: { count: 2, within: 1m }\n"));
}

#[test]
fn invalid_combination_of_window_fields_is_reported() {
    insta::assert_snapshot!(rule("window: { count: 3, within: 1m, until: 1m }\n"));
    insta::assert_snapshot!(rule("window: { count: 3 }\n"));
    insta::assert_snapshot!(rule("window: { within: 1m }\n"));
    insta::assert_snapshot!(rule("window: { until: 1m, distinct: event.payload.host }\n"));
    insta::assert_snapshot!(rule("window: { within: 1m, of: [demo.ping, demo.pong], count: 2 }\n"));
    insta::assert_snapshot!(rule("window: { until: 1m, count: 101 }\n"));
}

#[test]
fn invalid_list_of_a_window_is_reported() {
    insta::assert_snapshot!(rule("window: { within: 1m, of: [demo.ping, demo.pnig] }\n"));
    insta::assert_snapshot!(rule("window: { within: 1m, of: [demo.ping, demo.ping] }\n"));
    insta::assert_snapshot!(rule("window: { within: 1m, of: [demo.ping] }\n"));
}

#[test]
fn different_value_of_a_window_must_be_a_scalar() {
    insta::assert_snapshot!(rule("window: { within: 1m, count: 2, distinct: event.payload }\n"));
}

#[test]
fn rule_can_say_how_its_action_is_retried() {
    let rule =
        install("trigger: demo.ping\naction: demo.ship\nwith: { version: '1' }\nretry: { attempts: 3, respect_retry_after: false }\n");
    let retry = rule.retry.clone().unwrap();
    assert_eq!((retry.attempts, retry.retry_after), (3, RetryAfter::Ignored));
    assert!(install("trigger: demo.ping\naction: core.noop\n").retry.is_none());
}

#[test]
fn retry_of_a_rule_requires_an_action_with_attempts() {
    insta::assert_snapshot!(shown_with(&[(
        "rules/a.yaml",
        "trigger: demo.ping\nsteps: { a: { action: core.noop } }\nretry: { attempts: 2 }\n"
    )]));
    insta::assert_snapshot!(shown_with(&[(
        "rules/a.yaml",
        "trigger: demo.ping\naction: core.sleep\nwith: { duration: 1s }\nretry: { attempts: 2 }\n"
    )]));
    insta::assert_snapshot!(rule("retry: { attempts: 1 }\n"));
}

#[test]
fn complete_flow_control_is_accepted() {
    assert_eq!(shown_with(&[("rules/paced.yaml", PACED)]), "");
}

#[test]
fn engine_gets_flow_controls_in_their_fixed_order() {
    let flow = install(PACED).flow.clone().unwrap();
    let stages: Vec<_> =
        flow.stages().iter().map(|stage| (stage.does.clone(), stage.key.as_ref().map(|key| key.source().trim()))).collect();
    assert_eq!(
        stages,
        [
            (Does::Dedupe { within_millis: 600_000 }, Some("event.id")),
            (Does::Throttle { limit: 5, per_millis: 60_000, excess: Excess::Delay }, None),
            (Does::Debounce { quiet_millis: 30_000, most_millis: None, acts: Acts::OnLast }, Some("event.payload.host")),
            (Does::Window { count: 3, within_millis: 300_000 }, Some("local.host")),
            (Does::Missing { for_millis: 93_600_000 }, None),
            (Does::Concurrency { limit: 2, conflict: LockConflict::Skip }, Some("event.payload.host")),
        ]
    );
    assert!(flow.stages().is_sorted_by_key(|stage| stage.does.control()) && flow.stages().len() == Control::ALL.len());
}

#[test]
fn concurrency_of_rules_and_actions_is_checked() {
    insta::assert_snapshot!(rule("concurrency: { limit: 0, key: event.payload, conflict: wait }\n"));
    insta::assert_snapshot!(rule("concurrency: { key: params.host }\n"));
    let action = "parameters: { host: string, tags: [string] }\nrun: { shell: { script: make } }\n";
    let of = |text: &str| shown_with(&[("actions/deploy.yaml", &format!("{action}concurrency: {text}\n"))]);
    assert_eq!(of("{}"), "");
    assert_eq!(of("{ limit: 3, key: params.host, conflict: cancel_running }"), "");
    insta::assert_snapshot!(of("{ limit: 1000000, key: params.tags, conflict: cancel }"));
    insta::assert_snapshot!(of("{ key: params.hots }"));
    insta::assert_snapshot!(of("{ key: execution.id }"));
}

#[test]
fn missing_and_invalid_settings_are_reported() {
    insta::assert_snapshot!(rule("dedupe: { key: event.id }\nthrottle: { per: 1m }\ndebounce: { quiet: 0s }\n"));
    insta::assert_snapshot!(rule(
        "throttle: { limit: 0, per: 1m, excess: wait }\nwindow: { count: 1, within: 5 m }\nmissing: { after: 1h }\n"
    ));
}

#[test]
fn key_must_be_a_scalar_and_its_fields_must_exist() {
    insta::assert_snapshot!(rule("dedupe: { key: event.payload.hots, within: 1m }\ndebounce: { key: event.payload, quiet: 1m }\n"));
}

#[test]
fn events_are_readable_only_with_a_window_and_only_in_what_runs() {
    insta::assert_snapshot!(shown_with(&[
        ("rules/a.yaml", "trigger: demo.ping\nwhen: events.size() > 2\nwindow: { count: 3, within: 1m }\naction: core.noop\n"),
        ("rules/b.yaml", "trigger: demo.ping\naction: core.echo\nwith: { message: '${{ events.size() }}' }\n"),
        (
            "rules/c.yaml",
            "trigger: demo.ping\nwindow: { count: 3, within: 1m }\nsteps:\n  say: { action: core.echo, with: { message: '${{ events[0].payload.host }}' } }\n\
             \x20 wrong: { action: core.echo, with: { message: '${{ events[0].payload.hots }}' } }\n",
        ),
    ]));
}

#[test]
fn events_are_not_readable_with_a_debounce() {
    let rule = "trigger: demo.ping\ndebounce: { quiet: 1m }\naction: core.echo\nwith: { message: '${{ events.size() }}' }\n";
    let reported = shown_with(&[("rules/a.yaml", rule)]);
    assert!(reported.contains("`events` can be read only in the `with` and the `steps` of a rule that has `window`"), "{reported}");
}

#[test]
fn local_value_read_only_by_a_key_counts_as_used() {
    let reported = check_packs(
        &[demo(&[(
            "rules/paced.yaml",
            "trigger: demo.ping\nlocal: { host: event.payload.host }\ndedupe: { key: local.host, within: 1m }\naction: core.noop\n",
        )])],
        &[],
    );
    assert!(reported.diagnostics.iter().all(|one| !one.message.contains("local.host")), "{:?}", reported.diagnostics);
}
