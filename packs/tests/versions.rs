//! Versions of triggers: their upcasts, and the refs of senders that name a version.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::Trigger;
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::TriggerRef;
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_packs::{Code, PackSource, build, check};
use serde_json::json;

use crate::support::{check_packs, demo, shown_with};

const SECOND: &str = "payload: { sku: string, qty: integer }\nversion: 2\nupcasts: { 1: '${{ {\"sku\": payload.item, \"qty\": 1} }}' }\n";

fn trigger(text: &str) -> String {
    shown_with(&[("triggers/ordered.yaml", text)])
}

fn codes(changes: &[(&str, &str)]) -> Vec<Code> {
    check_packs(&[demo(changes)], &[]).diagnostics.iter().map(|one| one.code).collect()
}

fn install_triggers(text: &str) -> BTreeMap<TriggerRef, Arc<Trigger>> {
    let checked = check_packs(&[demo(&[("triggers/ordered.yaml", text)])], &[]);
    let id = RuleId(Id::root(Timestamp::from_micros(0), 1));
    let packs: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(|_| id))).collect();
    build(CatalogRevision(1), &packs).expect("these packs have no errors").triggers().clone()
}

#[test]
fn trigger_with_an_upcast_for_each_older_version_is_accepted() {
    assert_eq!(trigger(SECOND), "");
    let third =
        "payload: { sku: string }\nversion: 3\nupcasts:\n  1: { article: '${{ payload.item }}' }\n  2: { sku: '${{ payload.article }}' }\n";
    assert_eq!(trigger(third), "");
    let triggers = install_triggers(third);
    let payload = Document::from_value(&json!({ "item": "tea" }));
    let newest = triggers[&"demo.ordered".parse().unwrap()].newest(TriggerVersion::FIRST, &payload).unwrap();
    assert_eq!(newest.root().raw(), r#"{"sku":"tea"}"#);
}

#[test]
fn trigger_without_a_version_has_the_first() {
    let triggers = install_triggers("payload: { sku: string }\n");
    assert_eq!(triggers[&"demo.ordered".parse().unwrap()].version, TriggerVersion::FIRST);
}

#[test]
fn missing_upcast_is_reported_with_what_to_write() {
    let reported = trigger("payload: { sku: string }\nversion: 3\nupcasts: { 2: { sku: '${{ payload.item }}' } }\n");
    assert!(reported.contains("error[version_gap]: no upcast turns a payload of version 1 into the next"), "{reported}");
    let reported = trigger("version: 3\n");
    assert!(reported.contains("no upcast turns a payload of version 1, 2 into the next"), "{reported}");
}

#[test]
fn upcast_of_a_version_that_is_not_older_is_reported() {
    let reported = trigger("version: 2\nupcasts: { 1: { a: 1 }, 2: { a: 1 } }\n");
    assert!(reported.contains("error[version_gap]: 2 is not an older version: the newest is 2"), "{reported}");
    let reported = trigger("version: 2\nupcasts: { old: { a: 1 } }\n");
    assert!(reported.contains("error[invalid_value]: `old` is not the number of a version"), "{reported}");
    let reported = trigger("version: 101\n");
    assert!(reported.contains("error[invalid_value]"), "{reported}");
}

#[test]
fn upcasts_are_type_checked() {
    let unknown = trigger("version: 2\nupcasts: { 1: { sku: '${{ event.payload.item }}' } }\n");
    assert!(unknown.contains("error["), "{unknown}");
    let unfit = trigger("payload: { qty: integer }\nversion: 2\nupcasts: { 1: { qty: 'many' } }\n");
    assert!(unfit.contains("`qty` of the payload of `demo.ordered`"), "{unfit}");
    let computed = trigger("payload: { qty: integer }\nversion: 2\nupcasts: { 1: '${{ 7 }}' }\n");
    assert!(computed.contains("error["), "{computed}");
    let lacking = trigger("payload: { sku: string, qty: integer }\nversion: 2\nupcasts: { 1: { sku: '${{ payload.item }}' } }\n");
    assert!(lacking.contains("qty"), "{lacking}");
}

#[test]
fn senders_name_versions_that_exist() {
    let sends = |trigger: &str| format!("webhook: {{ verify: {{ scheme: none }} }}\nemits:\n  - trigger: {trigger}\n");
    let emits = |trigger: &str| format!("run:\n  emit: {{ trigger: {trigger}, payload: {{ item: tea }} }}\n");
    let ordered = ("triggers/ordered.yaml", SECOND);
    for (trigger, is_known) in [("demo.ordered@1", true), ("demo.ordered@3", false), ("demo.ping@2", false)] {
        let of_sensor = codes(&[ordered, ("sensors/door.yaml", &sends(trigger))]);
        let of_action = codes(&[ordered, ("actions/tell.yaml", &emits(trigger))]);
        assert_eq!(
            (of_sensor.contains(&Code::UnknownVersion), of_action.contains(&Code::UnknownVersion)),
            (!is_known, !is_known),
            "{trigger}"
        );
    }
    let older = codes(&[ordered, ("actions/tell.yaml", &emits("demo.ordered@1"))]);
    assert_eq!(older, [], "the schema of an older version is not known");
    let newest = codes(&[ordered, ("actions/tell.yaml", &emits("demo.ordered"))]);
    assert_ne!(newest, []);
}

#[test]
fn rule_cannot_listen_to_a_version() {
    let reported = shown_with(&[("triggers/ordered.yaml", SECOND), ("rules/greet.yaml", "trigger: demo.ordered@1\naction: core.echo\n")]);
    assert!(reported.contains("error[invalid_ref]"), "{reported}");
}

#[test]
fn pack_with_a_lower_version_than_the_installed_one_is_found() {
    let live = install_triggers(SECOND);
    let lowered = |text: &str| {
        let packs: Vec<PackSource> = ensue_packs::library().into_iter().chain([demo(&[("triggers/ordered.yaml", text)])]).collect();
        let checked = check(&packs, &BTreeMap::new());
        checked.good.iter().flat_map(|pack| pack.lowered_versions(&live)).map(|one| (one.code, one.message)).collect::<Vec<_>>()
    };
    assert_eq!(lowered(SECOND), []);
    let message = "version 1 of `demo.ordered` is lower than the installed version 2".to_owned();
    assert_eq!(lowered("payload: { item: string }\n"), [(Code::VersionLowered, message)]);
}
