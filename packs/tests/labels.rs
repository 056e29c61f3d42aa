//! Labels of actions: the reported errors, and the engine's form of valid ones.

use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_packs::{build, library};
use serde_json::json;

use crate::support::{check_packs, demo, lint_packs, shown_with};

const ACTION: &str = "parameters: { region: string, wave: 'integer = 1', hosts: '[string] = []' }\nrun: { shell: { script: make } }\n";

/// The findings of an action with these labels.
fn action(labels: &str) -> String {
    shown_with(&[("actions/deploy.yaml", &format!("{ACTION}labels: {labels}\n"))])
}

#[test]
fn label_is_a_literal_or_computed_scalar() {
    assert_eq!(action("{ site: '${{ params.region }}', team: web, wave: 'wave ${{ params.wave }}', n: 3, canary: true }"), "");
    assert_eq!(action("{}"), "");
}

#[test]
fn engine_gets_labels_by_their_names() {
    let text = format!("{ACTION}labels: {{ team: web, site: '${{{{ params.region }}}}', wave: '${{{{ params.wave }}}}' }}\n");
    let packs: Vec<_> = library().into_iter().chain([demo(&[("actions/deploy.yaml", &text)])]).collect();
    let checked = check_packs(&packs[packs.len() - 1..], &[]);
    let ids = |_: &_| RuleId(Id::root(Timestamp::from_micros(1), 1));
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(ids))).collect();
    let catalog = build(CatalogRevision(1), &installed).unwrap();
    let params = Document::from_value(&json!({ "region": "eu", "wave": 2 }));
    let labels = catalog.actions()[&"demo.deploy".parse().unwrap()].labels_of(params.root()).unwrap();
    let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("site", "eu"), ("team", "web"), ("wave", "2")]);
}

#[test]
fn invalid_label_is_reported() {
    insta::assert_snapshot!(action("{ Site-1: eu, site: '', hosts: '${{ params.hosts }}', who: '${{ execution.actor }}' }"));
    insta::assert_snapshot!(action("{ team: [web], note: ~, text: \"one\\ntwo\" }"));
    insta::assert_snapshot!(action("[site]"));
    let many: Vec<String> = (0..17).map(|n| format!("l{n}: x")).collect();
    insta::assert_snapshot!(action(&format!("{{ {} }}", many.join(", "))));
}

#[test]
fn parameter_read_only_by_a_label_counts_as_used() {
    let text = "parameters: { region: string }\nrun: { shell: { script: make } }\nlabels: { site: '${{ params.region }}' }\n";
    let pack = demo(&[("actions/deploy.yaml", text)]);
    let found = lint_packs(&[pack]).diagnostics;
    assert!(found.iter().all(|one| !one.file.ends_with("deploy.yaml")), "{found:?}");
}
