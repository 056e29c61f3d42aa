//! Repeated steps: the reported errors, and the engine's form of a valid one.

use std::time::Duration;

use ensue_engine::catalog::{Period, Run};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_packs::{build, library};

use crate::support::{check_packs, demo, shown_with};

const ACTIONS: &str = "actions:
  page:
    parameters: { url: string }
    result: { items: [string], next: 'string?' }
    run: { shell: { script: fetch, env: { URL: '${{ params.url }}' } } }
";

const PAGES: &str = r#"parameters: { url: string }
result: { first: string }
run:
  workflow:
    steps:
      pages:
        repeat: { while: "previous == null || has(previous.next)", every: 250ms, max: 1000, collect: result.items }
        action: demo.page
        with: { url: "${{ previous == null ? params.url : previous.?next.orValue(\"\") }}" }
      check:
        needs: pages
        repeat: { until: result.items.size() > iteration, max: 20 }
        action: demo.page
        with: { url: "${{ params.url }}/${{ string(iteration) }}" }
    result: { first: "${{ string(steps.pages.result[0]) + steps.check.result.items[0] }}" }
"#;

/// The findings of a pack with this workflow.
fn workflow(text: &str) -> String {
    shown_with(&[("actions/several.yaml", ACTIONS), ("actions/pages.yaml", text)])
}

/// The findings of a step with these fields.
fn step(fields: &str) -> String {
    workflow(&format!("parameters: {{ url: string }}\nrun:\n  workflow:\n    steps:\n      pages: {{ {fields} }}\n"))
}

#[test]
fn repeated_step_is_accepted() {
    assert_eq!(workflow(PAGES), "");
}

#[test]
fn engine_gets_the_repetition_as_written() {
    let packs: Vec<_> = library().into_iter().chain([demo(&[("actions/several.yaml", ACTIONS), ("actions/pages.yaml", PAGES)])]).collect();
    let checked = check_packs(&packs[packs.len() - 1..], &[]);
    let ids = |_: &_| RuleId(Id::root(Timestamp::from_micros(1), 1));
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(ids))).collect();
    let catalog = build(CatalogRevision(1), &installed).unwrap();
    let Run::Workflow(workflow) = &catalog.actions()[&"demo.pages".parse().unwrap()].run else { panic!("it is a workflow") };
    let repeat = |name: &str| workflow.step(&name.parse().unwrap()).unwrap().repeat.clone().unwrap();
    let (pages, check) = (repeat("pages"), repeat("check"));
    assert!(pages.while_holds.is_some() && pages.until.is_none() && pages.collect.is_some());
    assert!(matches!(pages.every, Some(Period::Fixed(every)) if every == Duration::from_millis(250)));
    assert_eq!(pages.max, 1_000);
    assert!(check.while_holds.is_none() && check.until.is_some() && check.collect.is_none());
    assert!(check.every.is_none() && check.max == 20);
}

#[test]
fn repetition_without_an_end_is_reported() {
    insta::assert_snapshot!(step("action: demo.page, with: { url: x }, repeat: { until: 'true' }"));
    insta::assert_snapshot!(step("action: demo.page, with: { url: x }, repeat: { max: 0, every: soon, times: 3 }"));
}

#[test]
fn conditions_must_be_boolean_and_collect_a_list() {
    insta::assert_snapshot!(step(
        "action: demo.page, with: { url: x }, repeat: { max: 2, while: previous.next, until: result.items, collect: result.next }"
    ));
}

#[test]
fn turn_reads_only_what_exists_of_the_previous_one() {
    insta::assert_snapshot!(step("action: demo.page, with: { url: '${{ result.next }}' }, repeat: { max: 2, until: 'item == 1' }"));
}

#[test]
fn only_an_action_without_for_each_can_be_repeated() {
    insta::assert_snapshot!(step("fail: oops, repeat: { max: 2 }"));
    insta::assert_snapshot!(step("action: demo.page, with: { url: x }, for_each: '[1]', repeat: { max: 2 }"));
}
