//! Rules with steps: one execution per match, whose steps read the stored event.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{Action, Fields, OnExpire, OnLost, Run, RunAs, Schema, Since, Wait, Workflow, WorkflowInput};
use ensue_engine::executions::facts::{ExecutionRequested, FailureKind};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::{BodyHandle, Digest};
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::definitions::expression;
use crate::support::random::again;
use crate::support::workflow::{StepPiece, awaits, does, steps_of, summarize};
use crate::support::{Pieces, Site, workers};

/// A site whose rule `demo.greet` on `demo.ping` has these steps and the local value `host`.
fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    let workflow = Workflow::new(WorkflowInput::Event, steps_of(steps.into()), None).unwrap();
    let pieces = Pieces::default().trigger("demo.ping").trigger("demo.pong").action("demo.say").awaiting("core.wait").rule_with(
        "demo.greet",
        "demo.ping",
        "event.payload.host != 'test'",
        "demo.say",
        |rule| {
            rule.local = vec![("host".to_owned(), expression("event.payload.host + '!'"))];
            rule.with = crate::support::definitions::template(&json!({}));
            rule.action = Arc::new(Action {
                name: "demo.greet".parse().unwrap(),
                description: String::new(),
                parameters: Schema::Fields(Fields::default()),
                result: None,
                output: None,
                local: rule.local.clone(),
                run: Run::Workflow(Arc::new(workflow)),
                run_as: RunAs::Pack,
                has_token: false,
                timeout: Duration::ZERO,
                limit: None,
                grace: Duration::ZERO,
                idempotent: false,
                on_lost: OnLost::Ask,
                retry: None,
                concurrency: None,
                priority: 0,
                queue: Default::default(),
                config: Arc::new(json!({})),
                pack: Digest::of(b"demo"),
                templates: std::collections::BTreeMap::new(),
                labels: std::collections::BTreeMap::new(),
            });
        },
    );
    let mut site = Site::with(&pieces);
    site.set(workers(10));
    site
}

fn requests_with_params(outcome: &Outcome) -> Vec<(ExecutionRequested, Option<BodyHandle>, Value)> {
    let asked = outcome.records().iter().filter_map(|record| match &record.fact {
        Fact::ExecutionRequested(fact) => {
            let params = serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap();
            Some((fact.clone(), record.body_handle(), params))
        }
        _ => None,
    });
    asked.collect()
}

#[test]
fn match_is_one_execution_whose_steps_read_event_locals_and_each_other() {
    let first = does("first", "demo.say").with(&json!({
        "host": "${{ event.payload.host }}", "local": "${{ local.host }}", "about": "${{ [event.id, event.trigger, event.source, rule.ref] }}",
    }));
    let second = does("second", "demo.say").needs(["first"]).with(&json!({ "n": "${{ [steps.first.status, event.payload.n] }}" }));
    let mut site = site([first, second]);
    let kinds = ["event.received", "enforcement.made", "execution.requested", "execution.requested", "attempt.started"];
    let outcome = site.receive("demo.ping", &json!({ "host": "web", "n": 7 })).then(&kinds);
    let asked_for = requests_with_params(&outcome);
    let (whole, _, params) = &asked_for[0];
    let event = &outcome.records()[0];
    assert_eq!((whole.action.as_str(), whole.rule.as_ref().unwrap().as_str(), params), ("demo.greet", "demo.greet", &json!({})));
    let given = whole.given.as_ref().unwrap();
    assert_eq!(Some(given.payload), event.body_handle(), "the payload is not copied");
    let about = json!([event.id.to_string(), "demo.ping", "api", "demo.greet"]);
    assert_eq!(asked_for[1].2, json!({ "host": "web", "local": "web!", "about": about }));

    let flow = outcome.records()[2].id;
    let child = ExecutionId(Id::derive(site.engine().log(), flow, Role::Step(&"first".parse().unwrap())));
    site.restart();
    let outcome = site.succeed(child);
    assert_eq!(requests_with_params(&outcome)[0].2, json!({ "n": ["succeeded", 7] }));
}

#[test]
fn step_of_a_rule_uses_its_own_retry_settings() {
    let mut site = site([does("first", "demo.say").retry(again(2))]);
    let outcome = site.receive("demo.ping", &json!({ "host": "web" }));
    let child = ExecutionId(Id::derive(site.engine().log(), outcome.records()[2].id, Role::Step(&"first".parse().unwrap())));
    assert_eq!(site.fail(child, FailureKind::ExitCode).kinds(), ["attempt.failed", "timer.set"]);
}

#[test]
fn event_that_does_not_match_starts_no_steps() {
    let mut site = site([does("first", "demo.say")]);
    site.receive("demo.ping", &json!({ "host": "test" })).then(&["event.received"]);
}

#[test]
fn local_value_that_errs_rejects_the_match_before_any_step() {
    let mut site = site([does("first", "demo.say")]);
    let outcome = site.receive("demo.ping", &json!({ "host": 1 })).then(&["event.received", "enforcement.made"]);
    assert!(format!("{:?}", outcome.records()[1].fact).contains("Rejected"));
}

#[test]
fn unrenderable_step_fails_the_whole_execution() {
    let mut site = site([does("first", "demo.say").with(&json!({ "n": "${{ event.payload.nothing }}" }))]);
    let outcome = site.receive("demo.ping", &json!({ "host": "web" }));
    let Fact::ExecutionFailed(end) = &outcome.records().last().unwrap().fact else { panic!("{:?}", outcome.kinds()) };
    assert_eq!(end.error.kind, FailureKind::ChildFailed);
    assert_eq!(site.engine().executions().iter().count(), 0);
}

#[test]
fn rule_s_event_and_awaited_event_are_separate() {
    let when = Some(crate::support::workflow::expression("event.payload.host + '!' == local.host"));
    let wait = Wait { trigger: "demo.pong".parse().unwrap(), when, since: Since::Start, expires: None, on_expire: OnExpire::Fail };
    let mut site = site([awaits("pong", wait)]);
    site.receive("demo.ping", &json!({ "host": "a" }));
    assert_eq!(summarize(&site.receive("demo.pong", &json!({ "host": "b" }))), [""; 0]);
    assert_eq!(summarize(&site.receive("demo.pong", &json!({ "host": "a" }))), ["pong has come", "pong succeeded", "flow succeeded"]);
}
