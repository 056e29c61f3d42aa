//! The tests of a pack: each error is reported at its place, and valid tests are understood.

use std::collections::BTreeMap;

use ensue_packs::cases::{CaseInput, Closeness, Mock, Mocks, Status, StepPath, Subject};
use ensue_packs::{Colour, PackSource, library, tests};
use serde_json::json;

use crate::one_mistake::{Slip, findings_of_slips};
use crate::support::demo;

const TEST: &str = "tests/ship.test.yaml";

/// Steps to mock: they run, ask, sleep, fail, and have several items.
const STEPS: (&str, &str) = (
    "actions/go.yaml",
    "parameters: { regions: '[string] = []' }\nrun:\n  workflow:\n    steps:\n      build: { action: demo.made }\n      wide: { for_each: params.regions, action: demo.made }\n\
     \x20     ask: { inquiry: { title: Going, answer: { go: boolean }, assignees: ana } }\n      wait: { sleep: 1h }\n      stop: { if: 'false', fail: nope }\n\
     \x20     within: { action: demo.inner }\n",
);
const INNER: (&str, &str) = ("actions/inner.yaml", "run: { workflow: { steps: { deep: { action: core.noop } } } }\n");
const MADE: (&str, &str) = ("actions/made.yaml", "result: { url: string }\nrun: { shell: { script: make } }\n");

#[test]
fn shape_of_a_test_is_checked_like_that_of_other_files() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("a mapping for a list", &[(TEST, "it: ships\n")]),
        Slip("a misspelt field", &[(TEST, "- it: ships\n  run: { action: demo.ship, with: { version: v1 } }\n  expects: {}\n")]),
        Slip("no name", &[(TEST, "- run: { action: demo.ship, with: { version: v1 } }\n  expect: {}\n")]),
        Slip("neither events nor a run", &[(TEST, "- it: ships\n  expect: []\n")]),
        Slip("both", &[(TEST, "- it: ships\n  given: {}\n  run: { action: demo.ship, with: { version: v1 } }\n  expect: {}\n")]),
        Slip("nothing given", &[(TEST, "- it: ships\n  given: {}\n  expect: []\n")]),
        Slip(
            "one event and several",
            &[(TEST, "- it: ships\n  given: { event: { trigger: demo.ping }, events: [{ trigger: demo.ping }] }\n  expect: []\n")]
        ),
        Slip("a list expected of a run", &[(TEST, "- it: ships\n  run: { action: demo.ship, with: { version: v1 } }\n  expect: []\n")]),
        Slip(
            "one decision that is not a list",
            &[(TEST, "- it: ships\n  given: { event: { trigger: demo.ping } }\n  expect: { rule: demo.greet }\n")]
        ),
        Slip(
            "a status that there is not",
            &[(TEST, "- it: ships\n  run: { action: demo.ship, with: { version: v1 } }\n  expect: { status: success }\n")]
        ),
        Slip(
            "a status of a step that there is not",
            &[(TEST, "- it: goes\n  run: { action: demo.go }\n  expect: { steps: { build: skiped } }\n"), STEPS, INNER, MADE,]
        ),
        Slip("an invalid time", &[(TEST, "- it: ships\n  given: { event: { trigger: demo.ping, time: noon } }\n  expect: []\n")]),
    ]));
}

#[test]
fn names_and_values_in_a_test_are_checked() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("an action", &[(TEST, "- it: ships\n  run: { action: demo.shipp }\n  expect: {}\n")]),
        Slip("a parameter", &[(TEST, "- it: ships\n  run: { action: demo.ship, with: { versoin: v1 } }\n  expect: {}\n")]),
        Slip("a parameter's type", &[(TEST, "- it: ships\n  run: { action: demo.ship, with: { version: 1 } }\n  expect: {}\n")]),
        Slip("a parameter that is missing", &[(TEST, "- it: ships\n  run: { action: demo.ship }\n  expect: {}\n")]),
        Slip("a trigger", &[(TEST, "- it: ships\n  given: { event: { trigger: demo.pong } }\n  expect: []\n")]),
        Slip("a payload", &[(TEST, "- it: ships\n  given: { event: { trigger: demo.ping, payload: { host: 1 } } }\n  expect: []\n")]),
        Slip("a setting", &[(TEST, "- it: ships\n  config: { ownr: a }\n  given: { event: { trigger: demo.ping } }\n  expect: []\n")]),
        Slip("a rule", &[(TEST, "- it: ships\n  given: { event: { trigger: demo.ping } }\n  expect: [{ rule: greet }]\n")]),
        Slip(
            "a rule of another pack",
            &[(TEST, "- it: ships\n  given: { event: { trigger: demo.ping } }\n  expect: [{ rule: examples.answer_hello }]\n")]
        ),
        Slip(
            "what a rule gives",
            &[(TEST, "- it: ships\n  given: { event: { trigger: demo.ping } }\n  expect: [{ rule: demo.greet, with: { mesage: a } }]\n")]
        ),
        Slip(
            "the end of what is not run",
            &[(TEST, "- it: ships\n  given: { event: { trigger: demo.ping } }\n  expect: [{ rule: demo.greet, status: succeeded }]\n")]
        ),
        Slip(
            "a step",
            &[(TEST, "- it: goes\n  run: { action: demo.go }\n  expect: { steps: { biuld: succeeded } }\n"), STEPS, INNER, MADE]
        ),
        Slip(
            "a step within",
            &[(TEST, "- it: goes\n  run: { action: demo.go }\n  expect: { steps: { within.dep: succeeded } }\n"), STEPS, INNER, MADE,]
        ),
        Slip(
            "a step of what has none",
            &[(TEST, "- it: ships\n  run: { action: demo.ship, with: { version: v1 } }\n  expect: { steps: { build: succeeded } }\n")]
        ),
    ]));
}

fn mock_files(mocks: &'static str) -> [(&'static str, &'static str); 4] {
    [(TEST, mocks), STEPS, INNER, MADE]
}

#[test]
fn mock_must_match_its_step() {
    const CASES: [(&str, &str); 14] = [
        ("of no step", "- it: goes\n  run: { action: demo.go }\n  mocks: { biuld: { result: {} } }\n  expect: {}\n"),
        ("of no rule", "- it: goes\n  given: { event: { trigger: demo.ping } }\n  mocks: { great: { result: {} } }\n  expect: []\n"),
        ("empty", "- it: goes\n  run: { action: demo.go }\n  mocks: { build: {} }\n  expect: {}\n"),
        (
            "two in one",
            "- it: goes\n  run: { action: demo.go }\n  mocks: { build: { result: { url: a }, error: { kind: signal } } }\n  expect: {}\n",
        ),
        (
            "a result that does not fit",
            "- it: goes\n  run: { action: demo.go }\n  mocks: { build: { result: { url: 7 } } }\n  expect: {}\n",
        ),
        ("an error of no kind", "- it: goes\n  run: { action: demo.go }\n  mocks: { build: { error: { kind: exit } } }\n  expect: {}\n"),
        ("an answer of an action", "- it: goes\n  run: { action: demo.go }\n  mocks: { build: { answer: {} } }\n  expect: {}\n"),
        ("a result of a question", "- it: goes\n  run: { action: demo.go }\n  mocks: { ask: { result: {} } }\n  expect: {}\n"),
        (
            "an answer that does not fit",
            "- it: goes\n  run: { action: demo.go }\n  mocks: { ask: { answer: { go: perhaps } } }\n  expect: {}\n",
        ),
        (
            "who answers, and no answer",
            "- it: goes\n  run: { action: demo.go }\n  mocks: { ask: { expired: true, by: ana } }\n  expect: {}\n",
        ),
        ("of a sleep", "- it: goes\n  run: { action: demo.go }\n  mocks: { wait: { result: {} } }\n  expect: {}\n"),
        ("of a workflow", "- it: goes\n  run: { action: demo.go }\n  mocks: { within: { result: {} } }\n  expect: {}\n"),
        (
            "a list in a list of attempts",
            "- it: goes\n  run: { action: demo.go }\n  mocks: { build: [[{ result: { url: a } }]] }\n  expect: {}\n",
        ),
        ("of the event of a wait", "- it: goes\n  run: { action: demo.go }\n  mocks: { build: { event: {} } }\n  expect: {}\n"),
    ];
    let files: Vec<_> = CASES.iter().map(|(_, text)| mock_files(text)).collect();
    let leaked: &'static [[(&'static str, &'static str); 4]] = Vec::leak(files);
    let slips: Vec<Slip> = CASES.iter().zip(leaked).map(|((what, _), files)| Slip(what, files)).collect();
    insta::assert_snapshot!(findings_of_slips(&slips));
}

#[test]
fn mock_of_an_action_must_match_its_result_and_a_workflow_has_none() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("another type", &[("actions/made.yaml", "result: { url: string }\nrun: { shell: { script: make } }\nmock: { url: [] }\n")]),
        Slip("of a workflow", &[("actions/inner.yaml", "run: { workflow: { steps: { deep: { action: core.noop } } } }\nmock: { a: 1 }\n")]),
    ]));
}

/// The demo with these tests, and the library.
fn with(text: &str) -> Vec<PackSource> {
    library().into_iter().chain([demo(&[(TEST, text), STEPS, INNER, MADE])]).collect()
}

#[test]
fn test_is_parsed_with_its_place() {
    let packs = with(
        "- it: judges\n  given: { event: { trigger: demo.ping, payload: { host: '${{ not.computed }}' } } }\n  expect: []\n\
         - it: goes\n  config: { owner: other }\n  run: { action: demo.go }\n  mocks:\n    wide: [{ result: { url: a } }, [{ error: { kind: lost } }]]\n    within.deep: { result: 1 }\n\
         \x20 expect:\n    exactly: true\n    steps: { within.deep: skipped }\n",
    );
    let tested = tests(&packs, &BTreeMap::new());
    let shown: String = tested.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
    assert_eq!(shown, "");
    let (place, suite) = tested.suites.last().unwrap();
    assert_eq!((*place, suite.pack.as_str()), (packs.len() - 1, "demo"));
    let [judges, goes] = suite.cases.as_slice() else { panic!("there are two cases") };
    assert_eq!((judges.file.as_str(), judges.line, goes.line), ("packs/demo/tests/ship.test.yaml", 1, 4));
    let Subject::Events { given, expect } = &judges.subject else { panic!("it is given an event") };
    let [CaseInput::Event(event)] = given.as_slice() else { panic!("it is given one event") };
    assert_eq!((&event.payload, expect.len(), judges.mocks.is_none()), (&json!({ "host": "${{ not.computed }}" }), 0, true));
    let Subject::Run { expect, .. } = &goes.subject else { panic!("it is a run") };
    assert_eq!(goes.config, *json!({ "owner": "other" }).as_object().unwrap());
    assert_eq!((expect.closeness, expect.steps[0].is.status), (Closeness::Equals, Some(Status::Skipped)));
    let mocks = goes.mocks.as_ref().unwrap();
    assert!(matches!(mocks[&StepPath::of("within.deep")], Mocks::One(Mock::Result(_))));
    assert!(matches!(&mocks[&StepPath::of("wide")], Mocks::Each(each) if matches!(each[1], Mocks::Each(_))));
}

#[test]
fn test_catalog_has_the_pack_s_rules_defaults_and_dependencies() {
    let packs = with("- it: judges\n  given: { event: { trigger: demo.ping } }\n  expect: []\n");
    let tested = tests(&packs, &BTreeMap::from([("demo".parse().unwrap(), json!({ "owner": "an operator" }))]));
    let (_, suite) = tested.suites.iter().find(|(_, suite)| suite.pack.as_str() == "demo").unwrap();
    let catalog = suite.catalog(&suite.cases[0]).unwrap();
    assert_eq!(*catalog.rules().values().next().unwrap().config, json!({ "owner": "acme" }));
    let packs: Vec<&str> = catalog.packs().keys().map(|pack| pack.as_str()).collect();
    assert_eq!(packs, ["core", "demo", "github"]);
    assert_eq!(catalog.rules().keys().map(|rule| rule.as_str()).collect::<Vec<_>>(), ["demo.greet"]);
}

#[test]
fn setting_given_only_in_tests_does_not_prevent_them() {
    let files = [
        ("pack.yaml", "name: demo\nversion: 1.0.0\nconfig: { owner: string }\n"),
        (TEST, "- it: ships\n  config: { owner: acme }\n  given: { event: { trigger: demo.ping } }\n  expect: []\n"),
    ];
    let packs: Vec<PackSource> = library().into_iter().chain([demo(&files)]).collect();
    let tested = tests(&packs, &BTreeMap::new());
    assert!(tested.diagnostics.is_empty(), "{:?}", tested.diagnostics);
    assert_eq!(tested.suites.last().map(|(_, suite)| suite.pack.as_str()), Some("demo"));
    insta::assert_snapshot!(findings_of_slips(&[Slip(
        "without it",
        &[("pack.yaml", "name: demo\nversion: 1.0.0\nconfig: { owner: string }\n"),]
    )]));
}
