//! Steps that wait for an event: from when on, for which event, and with which result.

use std::time::Duration;

use ensue_engine::catalog::{OnExpire, Period, Since, Wait};
use ensue_engine::command::Answer;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::{Body, Position};
use ensue_engine::workflows::facts::SkippedBecause;
use ensue_engine::workflows::wait_index::Form;
use ensue_expression::Document;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::site::report_giving;
use crate::support::workflow::{StepPiece, awaits, does, expression, summarize};
use crate::support::{Pieces, Site, cancel, workers};

fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    let pieces = Pieces::default().trigger("demo.done").trigger("demo.other").action("demo.say").awaiting("core.wait");
    let mut site = Site::with(&pieces.workflow("demo.flow", steps));
    site.set(workers(100));
    site
}

/// A wait for the event whose `n` equals that of the parameters.
fn for_n(since: Since) -> Wait {
    wait("event.payload.n == params.n", since)
}

fn wait(when: &str, since: Since) -> Wait {
    Wait {
        trigger: "demo.done".parse().unwrap(),
        when: Some(expression(when)),
        since,
        expires: Some(Period::Fixed(Duration::from_secs(60))),
        on_expire: OnExpire::Fail,
    }
}

#[track_caller]
fn begin(site: &mut Site, n: &Value) -> (ExecutionId, Vec<String>) {
    let command = site.request_with("demo.flow", &json!({ "n": n }), None);
    let outcome = site.when(command);
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    (flow, summarize(&outcome))
}

fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

fn last_params(outcome: &Outcome) -> Value {
    let record = outcome.records().iter().rev().find(|record| record.kind() == "execution.requested").expect("a step was asked for");
    serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

#[track_caller]
fn assert_nothing_waits(site: &Site) {
    let saved: Value = serde_json::from_slice(&site.engine().save().json).unwrap();
    assert_eq!(saved["workflows"]["waits"], json!({ "open": [], "keyed": [], "others": [], "paths": [] }));
}

#[test]
fn step_waits_for_its_event_and_later_steps_read_it() {
    let then = does("then", "demo.say")
        .needs(["ci"])
        .with(&json!({ "said": "${{ steps.ci.event.payload.said }}", "by": "${{ steps.ci.event.trigger }}" }));
    let mut site = site([awaits("ci", for_n(Since::Start)), then]);
    let (flow, begun) = begin(&mut site, &json!(7));
    assert_eq!(begun[1..], ["ci awaits demo.done", "ci asked"]);
    assert_eq!(site.phase(step(&site, flow, "ci")), Some(Phase::Awaiting));
    assert_eq!(site.engine().executions().open_work(), 0);
    assert_eq!(summarize(&site.receive("demo.done", &json!({ "n": 8 }))), [""; 0]);
    assert_eq!(summarize(&site.receive("demo.other", &json!({ "n": 7 }))), [""; 0]);
    site.restart();
    let outcome = site.receive("demo.done", &json!({ "n": 7.0, "said": "green" }));
    assert_eq!(summarize(&outcome), ["ci has come", "ci succeeded", "then asked"]);
    assert_eq!(last_params(&outcome), json!({ "said": "green", "by": "demo.done" }));
    site.succeed(step(&site, flow, "then"));
    assert_nothing_waits(&site);
}

#[test]
fn event_before_the_step_counts_with_since_start() {
    let mut site = site([does("build", "demo.say"), awaits("ci", for_n(Since::Start)).needs(["build"])]);
    site.receive("demo.done", &json!({ "n": 7 }));
    let (flow, begun) = begin(&mut site, &json!(7));
    assert_eq!(begun[1..], ["ci awaits demo.done", "build asked"]);
    assert_eq!(summarize(&site.receive("demo.done", &json!({ "n": 7 }))), ["ci has come"]);
    assert_eq!(summarize(&site.receive("demo.done", &json!({ "n": 7 }))), [""; 0]);
    assert_eq!(summarize(&site.succeed(step(&site, flow, "build"))), ["build succeeded", "ci asked", "ci succeeded", "flow succeeded"]);
    assert_nothing_waits(&site);
}

#[test]
fn since_step_counts_only_later_events_and_its_condition_reads_steps() {
    let ci = awaits("ci", wait("event.payload.n == steps.build.result.n", Since::Step)).needs(["build"]);
    let mut site = site([does("build", "demo.say"), ci]);
    let (flow, begun) = begin(&mut site, &json!(0));
    assert_eq!(begun[1..], ["build asked"]);
    assert_eq!(summarize(&site.receive("demo.done", &json!({ "n": 3 }))), [""; 0]);
    let build = step(&site, flow, "build");
    let report = report_giving(build, site.attempt(build), Body::json(r#"{"n":3}"#));
    assert_eq!(summarize(&site.when(report)), ["build succeeded", "ci awaits demo.done", "ci asked"]);
    assert_eq!(summarize(&site.receive("demo.done", &json!({ "n": 3 }))), ["ci has come", "ci succeeded", "flow succeeded"]);
}

#[test]
fn expirable_wait_succeeds_without_an_event_at_its_timeout() {
    let absent = Wait { on_expire: OnExpire::Succeed, ..for_n(Since::Start) };
    let then = does("then", "demo.say").needs(["ci"]).with(&json!({ "came": "${{ steps.ci.event != null }}" }));
    let mut site = site([awaits("ci", absent), then]);
    let (flow, _) = begin(&mut site, &json!(7));
    site.restart();
    let outcome = site.after(60_000);
    assert_eq!(summarize(&outcome), ["ci succeeded", "then asked"]);
    assert_eq!(last_params(&outcome), json!({ "came": false }));
    assert_eq!(summarize(&site.succeed(step(&site, flow, "then"))), ["then succeeded", "flow succeeded"]);
    assert_nothing_waits(&site);

    let (flow, _) = begin(&mut site, &json!(7));
    let outcome = site.receive("demo.done", &json!({ "n": 7 }));
    assert_eq!(last_params(&outcome), json!({ "came": true }), "an event in time counts as ever");
    site.succeed(step(&site, flow, "then"));
}

#[test]
fn wait_ends_with_its_event_or_its_timeout_but_never_both() {
    let mut site = site([awaits("ci", for_n(Since::Start))]);
    let (flow, _) = begin(&mut site, &json!(7));
    let outcome = site.after(60_000);
    assert_eq!(summarize(&outcome), ["ci failed", "flow failed"]);
    let error = outcome.records().iter().find_map(|record| match &record.fact {
        Fact::ExecutionFailed(fact) if fact.part_of.is_some() => Some((fact.error.kind, fact.error.message.clone())),
        _ => None,
    });
    assert_eq!(error, Some((FailureKind::Expired, "no such event came within 1m".to_owned())));
    assert_eq!(summarize(&site.receive("demo.done", &json!({ "n": 7 }))), [""; 0]);
    assert!(site.engine().executions().get(&flow).is_none());
    assert_nothing_waits(&site);
}

#[test]
fn cancel_ends_waiting_steps() {
    let mut site = site([awaits("ci", for_n(Since::Start)), awaits("late", for_n(Since::Start)).needs(["ci"])]);
    let (flow, _) = begin(&mut site, &json!(7));
    let outcome = summarize(&site.when(cancel(flow)));
    assert_eq!(
        outcome,
        ["ci cancelled".to_owned(), format!("late skipped: {}", SkippedBecause::Cancelled.as_str()), "flow cancelled".to_owned()]
    );
    assert_nothing_waits(&site);
}

#[test]
fn wait_condition_that_errs_is_no_match_and_is_reported_once() {
    let mut site = site([awaits("ci", wait("event.payload.deep.n > params.n", Since::Start))]);
    begin(&mut site, &json!(7));
    assert_eq!(summarize(&site.receive("demo.done", &json!({}))), ["ci erred"]);
    assert_eq!(summarize(&site.receive("demo.done", &json!({}))), [""; 0]);
    assert_eq!(summarize(&site.receive("demo.done", &json!({ "deep": { "n": 8 } }))), ["ci has come", "ci succeeded", "flow succeeded"]);
}

#[test]
fn event_wakes_only_the_matching_waits_of_many() {
    let mut site = site([awaits("ci", for_n(Since::Start))]);
    let flows: Vec<ExecutionId> = (0..300).map(|n| begin(&mut site, &json!(n % 3)).0).collect();
    let payload = Document::from_value(&json!({ "n": 1 }));
    let waits = site.engine().workflows().waits();
    assert_eq!(waits.candidates(&"demo.done".parse().unwrap(), (&payload, Form::AsItCame), Position(u64::MAX)).len(), 100);
    let ended = summarize(&site.receive("demo.done", &json!({ "n": 1 }))).iter().filter(|line| *line == "flow succeeded").count();
    assert_eq!((ended, flows.len()), (100, 300));
    let left = site.engine().executions().iter().filter(|(_, open)| open.phase == Phase::Awaiting).count();
    assert_eq!(left, 200);
}

#[test]
fn waiting_steps_are_served_before_rules() {
    let pieces = Pieces::default().trigger("demo.done").action("demo.say").awaiting("core.wait");
    let pieces = pieces.rule("demo.rule", "demo.done", "event.payload.n == 7", "demo.say");
    let mut site = Site::with(&pieces.workflow("demo.flow", [awaits("ci", for_n(Since::Start))]));
    site.set(workers(100));
    begin(&mut site, &json!(7));
    let outcome = summarize(&site.receive("demo.done", &json!({ "n": 7 })));
    assert_eq!(outcome, ["ci has come", "ci succeeded", "flow succeeded", "flow asked"]);
}

#[test]
fn wait_is_found_by_all_values_that_its_condition_requires() {
    let when = "event.payload.action == 'completed' && event.payload.n == params.n && event.payload.n > 0";
    let mut site = site([awaits("ci", wait(when, Since::Start))]);
    (0..30).for_each(|n| drop(begin(&mut site, &json!(n))));
    let waits = site.engine().workflows().waits();
    let found = |payload: &Value| {
        waits.candidates(&"demo.done".parse().unwrap(), (&Document::from_value(payload), Form::AsItCame), Position(u64::MAX)).len()
    };
    assert_eq!(
        (found(&json!({ "action": "completed", "n": 3 })), found(&json!({ "action": "begun", "n": 3 })), found(&json!({}))),
        (1, 0, 0)
    );
}
