//! The resulting catalog: its rules can be evaluated and its actions can run.

use std::collections::BTreeMap;

use ensue_engine::catalog::{Builtin, Extra, Run, Scheme, Source, Verify};
use ensue_engine::ids::{EventId, Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::rules::judge::{EventView, Plan, Verdict, judge};
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_packs::{BuildError, Manifest, PackSource, build, check, library};
use serde_json::json;

use crate::support::demo;

const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

fn install(packs: &[PackSource]) -> Vec<(PackSource, Manifest)> {
    let checked = check(packs, &BTreeMap::new());
    assert!(!checked.has_errors(), "{:?}", checked.diagnostics);
    let mut next = 0;
    let ids = |_: &_| {
        next += 1;
        RuleId(Id::root(NOON, next))
    };
    let mut ids = ids;
    checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(&mut ids))).collect()
}

fn pull_request(action: &str) -> Document {
    Document::from_value(&json!({
        "action": action,
        "number": 7,
        "pull_request": { "title": "Say \"hi\"; $(reboot)", "draft": false, "merged": false, "user": { "login": "ada" } },
        "repository": { "full_name": "acme/rocket" },
        "sender": { "login": "ada" },
    }))
}

#[test]
fn library_catalog_evaluates_a_pull_request() {
    let catalog = build(CatalogRevision(3), &install(&library())).unwrap();
    assert_eq!(catalog.revision(), CatalogRevision(3));
    let payload = pull_request("opened");
    let trigger = "github.pull_request".parse().unwrap();
    assert!(catalog.triggers()[&trigger].payload.misfits(payload.root(), Extra::Allowed).is_empty());
    let event = EventView { id: EventId(Id::root(NOON, 1)), trigger: &trigger, source: "test", time: NOON, payload: &payload, only: None };
    let verdicts: BTreeMap<String, serde_json::Value> = judge(&catalog, &event)
        .verdicts
        .into_iter()
        .map(|one| match one.verdict {
            Verdict::Matched(Plan::Run { params, .. }) => {
                (one.rule.name.to_string(), serde_json::from_slice(params.content.as_ref().unwrap()).unwrap())
            }
            other => panic!("{}: {other:?}", one.rule.name),
        })
        .collect();
    insta::assert_json_snapshot!(verdicts);
}

#[test]
fn installed_pack_with_a_too_complex_schema_still_opens() {
    let doubled = "payload:\n  schema:\n    anyOf:\n      - properties: { a: { $ref: '#' } }\n      - properties: { a: { $ref: '#' } }\n";
    let plain = demo(&[("triggers/ping.yaml", "payload: { host: string }\n")]);
    let packs = [library(), vec![plain]].concat();
    let mut packs = install(&packs);
    let complex = demo(&[("triggers/ping.yaml", doubled)]);
    let checked = check(&[library(), vec![complex.clone()]].concat(), &BTreeMap::new());
    assert!(checked.diagnostics.iter().any(|one| one.code.slug() == "schema_too_complex" && one.line == 3), "{:?}", checked.diagnostics);
    let (source, _) = packs.iter_mut().find(|(source, _)| source.origin == complex.origin).unwrap();
    *source = complex;
    let catalog = build(CatalogRevision(1), &packs).unwrap();
    let trigger = "demo.ping".parse().unwrap();
    let payload = Document::from_value(&json!({}));
    let misfits = catalog.triggers()[&trigger].payload.misfits(payload.root(), Extra::Allowed);
    assert!(misfits[0].message.contains("too complex"), "{misfits:?}");
}

#[test]
fn installed_pack_with_a_number_whose_text_differs_still_opens() {
    let mut packs = install(&[library(), vec![demo(&[])]].concat());
    let inexact = demo(&[
        ("rules/greet.yaml", "trigger: demo.ping\naction: core.shell\nwith: { script: 'true', env: { PY: 3.10 } }\n"),
        (
            "actions/ship.yaml",
            "parameters: { long: { type: [object], default: [{ PY: 3.10 }] }, short: 'object = {\"PY\": 3.10}' }\n\
             run: { shell: { script: make } }\n",
        ),
    ]);
    assert!(check(&[library(), vec![inexact.clone()]].concat(), &BTreeMap::new()).has_errors());
    let (source, _) = packs.iter_mut().find(|(source, _)| source.origin == inexact.origin).unwrap();
    *source = inexact;
    build(CatalogRevision(1), &packs).unwrap();
}

#[test]
fn installed_webhook_that_names_a_content_type_twice_still_opens() {
    let mut packs = install(&[library(), vec![demo(&[])]].concat());
    let sensor = "webhook:\n  verify: { scheme: github, key: demo.token }\n  types: { text/plain: json, Text/Plain: form }\n\
                  emits:\n  - trigger: demo.ping\n";
    let twice = demo(&[("sensors/hook.yaml", sensor)]);
    assert!(check(&[library(), vec![twice.clone()]].concat(), &BTreeMap::new()).has_errors());
    let (source, _) = packs.iter_mut().find(|(source, _)| source.origin == twice.origin).unwrap();
    *source = twice;
    build(CatalogRevision(1), &packs).unwrap();
}

#[test]
fn merged_pull_request_matches_the_celebrate_rule() {
    let catalog = build(CatalogRevision(1), &install(&library())).unwrap();
    let mut value = pull_request("closed").root().to_value();
    value["pull_request"]["merged"] = json!(true);
    let payload = Document::from_value(&value);
    let trigger = "github.pull_request".parse().unwrap();
    let event = EventView { id: EventId(Id::root(NOON, 1)), trigger: &trigger, source: "test", time: NOON, payload: &payload, only: None };
    let matched: Vec<String> = judge(&catalog, &event).verdicts.into_iter().map(|one| one.rule.name.to_string()).collect();
    assert_eq!(matched, ["examples.celebrate_merge", "examples.note_pull_request"]);
}

#[test]
fn github_delivery_is_verified_with_its_key() {
    let catalog = build(CatalogRevision(1), &install(&library())).unwrap();
    let sensor = &catalog.sensors()[&"github.webhook".parse().unwrap()];
    assert!(
        matches!(&sensor.source, Source::Webhook(webhook) if matches!(&webhook.verify, Verify::Proof { scheme: Scheme::Github, key } if key.as_str() == "github.webhook_secret"))
    );
}

#[test]
fn core_pack_has_the_built_in_actions() {
    let catalog = build(CatalogRevision(1), &install(&library())).unwrap();
    let builtin = |name: &str| match catalog.actions()[&name.parse().unwrap()].run {
        Run::Builtin(builtin) => Some(builtin),
        Run::Process(_) | Run::Shell(_) | Run::Http(_) | Run::Mail(_) | Run::Emit { .. } | Run::Workflow(_) => None,
    };
    assert_eq!(builtin("core.echo"), Some(Builtin::Echo));
    assert_eq!(builtin("core.noop"), Some(Builtin::Noop));
    assert_eq!(builtin("core.emit"), Some(Builtin::Emit));
    assert_eq!(builtin("core.set_var"), Some(Builtin::SetVar));
    assert!(builtin("core.http").is_none());
}

#[test]
fn rule_without_an_id_is_a_build_error() {
    let mut packs = install(&library().into_iter().chain([demo(&[])]).collect::<Vec<_>>());
    packs.iter_mut().for_each(|(_, manifest)| manifest.rules.clear());
    assert!(matches!(build(CatalogRevision(1), &packs), Err(BuildError::NoRuleId(_))));
}

#[test]
fn pack_with_a_missing_dependency_is_a_build_error() {
    let packs = install(&library().into_iter().chain([demo(&[])]).collect::<Vec<_>>());
    let alone: Vec<_> = packs.into_iter().filter(|(source, _)| source.origin == "packs/demo").collect();
    let refusal = build(CatalogRevision(1), &alone).unwrap_err();
    assert!(refusal.to_string().contains("core.echo") || refusal.to_string().contains("github"), "{refusal}");
}

#[test]
fn manifest_round_trips() {
    let manifest = install(&library()).remove(1).1;
    let text = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
}

#[test]
fn copy_builds_the_same_catalog_as_the_original() {
    let data = tempfile::tempdir().unwrap();
    let packs = install(&library());
    let copies: Vec<(PackSource, Manifest)> = packs
        .iter()
        .map(|(source, manifest)| {
            source.write_copy(data.path()).unwrap();
            (PackSource::read_copy(data.path(), source.digest()).unwrap(), manifest.clone())
        })
        .collect();
    let catalog = build(CatalogRevision(1), &copies).unwrap();
    assert_eq!(catalog.rules().len(), 4);
    assert_eq!(catalog.packs()[&"core".parse().unwrap()].digest, library()[0].digest());
}

#[test]
fn http_action_waits_in_its_own_queue_unless_it_names_another() {
    let run = "run: { http: { url: 'https://example.test/' } }\n";
    let pack = demo(&[
        ("actions/call.yaml", run),
        ("actions/call_slowly.yaml", &format!("{run}queue: slow\n")),
        ("actions/call_among_others.yaml", &format!("{run}queue: default\n")),
        ("actions/build.yaml", "run: { shell: { script: make } }\n"),
    ]);
    let catalog = build(CatalogRevision(1), &install(&[library(), vec![pack]].concat())).unwrap();
    let queue = |name: &str| catalog.actions()[&name.parse().unwrap()].queue.to_string();
    let names = ["demo.call", "core.http", "demo.call_slowly", "demo.call_among_others", "demo.build", "core.noop"];
    assert_eq!(names.map(queue), ["http", "http", "slow", "default", "default", "default"]);
}
