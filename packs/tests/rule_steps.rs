//! Rules with steps: the reported errors, and the engine's form of a valid one.

use ensue_engine::catalog::{Run, Schema, WorkflowInput};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_packs::{build, library};

use crate::support::{check_packs, demo, shown_with};

const GREET: &str = r#"trigger: demo.ping
when: event.payload.host != "test"
local:
  host: event.payload.host.lowerAscii()
steps:
  look:
    if: event.payload.?load.orValue(0.0) > 1.0
    action: core.echo
    with: { message: "${{ local.host }} of ${{ config.owner }}" }
  tell:
    needs: [look]
    action: core.echo
    with: { message: "${{ steps.look.result.message }}, said ${{ rule.ref }}" }
priority: 5
"#;

/// The findings of a pack with this rule.
fn rule(text: &str) -> String {
    shown_with(&[("rules/greet.yaml", text)])
}

#[test]
fn rule_with_steps_is_accepted() {
    assert_eq!(rule(GREET), "");
}

#[test]
fn engine_gets_the_steps_as_the_rule_s_workflow() {
    let packs: Vec<_> = library().into_iter().chain([demo(&[("rules/greet.yaml", GREET)])]).collect();
    let checked = check_packs(&packs[packs.len() - 1..], &[]);
    let ids = |_: &_| RuleId(Id::root(Timestamp::from_micros(1), 1));
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(ids))).collect();
    let catalog = build(CatalogRevision(1), &installed).unwrap();
    let rule = &catalog.rules()[&"demo.greet".parse().unwrap()];
    assert_eq!((rule.action.name.as_str(), rule.priority, rule.action.local.len()), ("demo.greet", Some(5), 1));
    assert!(matches!(&rule.action.parameters, Schema::Fields(fields) if fields.0.is_empty()));
    let Run::Workflow(workflow) = &rule.action.run else { panic!("{:?}", rule.action.run) };
    assert_eq!((workflow.input(), workflow.steps().len()), (WorkflowInput::Event, 2));
    assert!(!catalog.actions().contains_key(&"demo.greet".parse().unwrap()), "it is no action that somebody else can run");
}

#[test]
fn rule_has_either_an_action_or_steps() {
    insta::assert_snapshot!(rule("trigger: demo.ping\naction: core.noop\nsteps:\n  one: { action: core.noop }\n"));
    insta::assert_snapshot!(rule("trigger: demo.ping\nwhen: 'true'\n"));
    insta::assert_snapshot!(rule("trigger: demo.ping\nsteps:\n  one: { action: core.noop }\nwith: { a: 1 }\n"));
}

#[test]
fn steps_of_a_rule_read_its_event_and_the_steps_they_need() {
    insta::assert_snapshot!(rule(
        "trigger: demo.ping\n\
         steps:\n\
         \x20 one: { action: core.echo, with: { message: '${{ params.host }}' } }\n\
         \x20 two: { action: core.echo, with: { message: '${{ steps.one.status }} ${{ event.payload.hots }}' } }\n\
         \x20 three: { needs: four, action: core.ehco }\n"
    ));
}

#[test]
fn steps_of_a_rule_must_be_a_mapping() {
    insta::assert_snapshot!(rule("trigger: demo.ping\nsteps:\n  - { action: core.noop }\n"));
}
