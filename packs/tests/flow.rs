//! Flow control of rules: the reported errors, and the engine's form of a valid one.

use ensue_engine::catalog::{Control, Does, Excess, LockConflict};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_packs::{build, library};

use crate::support::{checked, demo, shown_with};

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

#[test]
fn complete_flow_control_is_accepted() {
    assert_eq!(shown_with(&[("rules/paced.yaml", PACED)]), "");
}

#[test]
fn engine_gets_flow_controls_in_their_fixed_order() {
    let packs: Vec<_> = library().into_iter().chain([demo(&[("rules/paced.yaml", PACED)])]).collect();
    let checked = checked(&packs[packs.len() - 1..], &[]);
    let ids = |_: &_| RuleId(Id::root(Timestamp::from_micros(1), 1));
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(ids))).collect();
    let catalog = build(CatalogRevision(1), &installed).unwrap();
    let flow = catalog.rules()[&"demo.paced".parse().unwrap()].flow.clone().unwrap();
    let stages: Vec<_> = flow.stages().iter().map(|stage| (stage.does, stage.key.as_ref().map(|key| key.source().trim()))).collect();
    assert_eq!(
        stages,
        [
            (Does::Dedupe { within_millis: 600_000 }, Some("event.id")),
            (Does::Throttle { limit: 5, per_millis: 60_000, excess: Excess::Delay }, None),
            (Does::Debounce { quiet_millis: 30_000 }, Some("event.payload.host")),
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
    let reported = checked(
        &[demo(&[(
            "rules/paced.yaml",
            "trigger: demo.ping\nlocal: { host: event.payload.host }\ndedupe: { key: local.host, within: 1m }\naction: core.noop\n",
        )])],
        &[],
    );
    assert!(reported.diagnostics.iter().all(|one| !one.message.contains("local.host")), "{:?}", reported.diagnostics);
}
