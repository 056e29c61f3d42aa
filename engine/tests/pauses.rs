//! Paused executions: nothing of them starts, running attempts end, and everything held up follows once they
//! are resumed.

use std::time::Duration;

use ensue_engine::catalog::{OnExpire, Period, Since, Wait};
use ensue_engine::command::{Answer, Ask, Command, Refusal};
use ensue_engine::executions::facts::{Evidence, FailureKind};
use ensue_engine::executions::state::Phase;
use ensue_engine::ids::{ExecutionId, Id, Role};
use serde_json::json;

use crate::support::random::again;
use crate::support::workflow::{StepPiece, awaits, does, fails, summarize};
use crate::support::{Pieces, Site, ana, answer_inquiry, asked_by, cancel, workers};

fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    let pieces = Pieces::default().trigger("demo.ping").action("demo.say").action_at_once("demo.echo").sleep("demo.sleep");
    let pieces = pieces.action_with("demo.retry", |action| action.retry = Some(again(3)));
    let pieces = pieces.inquiry("core.inquiry").awaiting("core.wait").workflow("demo.inner", [does("in", "demo.say")]);
    let mut site = Site::with(&pieces.workflow("demo.flow", steps));
    site.set(workers(100));
    site
}

fn pause(execution: ExecutionId) -> Command {
    asked_by(ana(), Ask::PauseExecution { execution })
}

fn resume(execution: ExecutionId) -> Command {
    asked_by(ana(), Ask::ResumeExecution { execution })
}

fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

/// Checks that no state of pauses is left.
#[track_caller]
fn assert_nothing_is_held(site: &Site) {
    let saved: serde_json::Value = serde_json::from_slice(&site.engine().save().json).unwrap();
    let held = [&saved["executions"]["aside"], &saved["executions"]["paused"], &saved["timers"]["aside"], &saved["health"]["held"]];
    assert_eq!(held, [&json!([]); 4]);
    assert_eq!(site.engine().health().owed_count(), 0);
}

#[test]
fn steps_of_a_paused_workflow_start_only_after_resume() {
    let mut site = site([does("one", "demo.say"), does("two", "demo.say").needs(["one"])]);
    let flow = site.run("demo.flow");
    site.when(pause(flow)).then(&["execution.paused"]);
    let one = step(&site, flow, "one");
    site.succeed(one).then(&["attempt.succeeded", "execution.succeeded", "reaction.held"]);
    site.restart();
    assert_eq!(summarize(&site.when(resume(flow))), ["two asked"]);
    assert_eq!(summarize(&site.succeed(step(&site, flow, "two"))), ["two succeeded", "flow succeeded"]);
    assert_nothing_is_held(&site);
}

#[test]
fn paused_execution_in_the_queue_lets_others_pass() {
    let mut site = site([does("one", "demo.say"), does("two", "demo.say")]);
    site.set(workers(1));
    let flow = site.run("demo.flow");
    site.when(pause(flow));
    let (one, two) = (step(&site, flow, "one"), step(&site, flow, "two"));
    let other = site.run("demo.say");
    assert_eq!((site.phase(two), site.phase(other)), (Some(Phase::Queued), Some(Phase::Queued)));
    assert_eq!(site.engine().executions().queued_count(), 1);
    site.succeed(one);
    assert!(site.has_attempt(other), "the paused one does not block it");
    site.when(resume(flow));
    assert_eq!(site.phase(two), Some(Phase::Queued));
    site.succeed(other);
    assert!(site.has_attempt(two));
    site.succeed(two);
    assert_nothing_is_held(&site);
}

#[test]
fn timer_due_during_a_pause_fires_at_once_on_resume() {
    let mut site = site([does("nap", "demo.sleep").with(&json!({ "duration": "10s" }))]);
    let flow = site.run("demo.flow");
    site.when(pause(flow));
    site.after(60_000).then(&[]);
    assert_eq!(site.engine().timers().next_due(), None);
    site.restart();
    site.when(resume(flow));
    assert_eq!(summarize(&site.after(0)), ["nap succeeded", "flow succeeded"]);
    assert_nothing_is_held(&site);
}

#[test]
fn failed_attempt_is_retried_only_after_resume() {
    let mut site = site([does("one", "demo.retry")]);
    let flow = site.run("demo.flow");
    site.when(pause(flow));
    let one = step(&site, flow, "one");
    site.fail(one, FailureKind::ExitCode).then(&["attempt.failed", "timer.set"]);
    site.after(60_000).then(&[]);
    site.when(resume(flow));
    site.after(0).then(&["timer.fired", "attempt.started"]);
}

#[test]
fn lost_attempt_that_never_began_waits_for_resume() {
    let mut site = site([does("one", "demo.say"), does("two", "demo.echo")]);
    let flow = site.run("demo.flow");
    site.when(pause(flow));
    for name in ["one", "two"] {
        let lost = step(&site, flow, name);
        site.lose(lost, Evidence::NotBegun);
        assert_eq!(site.phase(lost), Some(Phase::Queued));
    }
    site.when(resume(flow));
    assert!(site.has_attempt(step(&site, flow, "one")) && site.has_attempt(step(&site, flow, "two")));
}

#[test]
fn answer_and_event_are_accepted_during_a_pause_and_held() {
    let question = json!({ "title": "Ship?", "answer": {}, "assignees": ["bo"] });
    let wait = Wait {
        trigger: "demo.ping".parse().unwrap(),
        when: None,
        since: Since::Start,
        expires: Some(Period::Fixed(Duration::from_secs(60))),
        on_expire: OnExpire::Fail,
    };
    let mut site = site([does("ask", "core.inquiry").with(&question), awaits("ci", wait), does("then", "demo.say").needs(["ask", "ci"])]);
    let flow = site.run("demo.flow");
    site.when(pause(flow));
    let inquiry = site.engine().inquiries().of(&step(&site, flow, "ask")).expect("it asks").0;
    site.when(answer_inquiry(inquiry, "bo", &json!(true), None)).then(&["inquiry.answered", "reaction.held"]);
    site.receive("demo.ping", &json!({})).then(&["event.received", "wait.matched", "reaction.held"]);
    site.after(120_000).then(&[]);
    let mut lines = summarize(&site.when(resume(flow)));
    lines.sort();
    assert_eq!(lines, ["ask succeeded", "ci succeeded", "then asked"]);
    site.succeed(step(&site, flow, "then"));
    assert_nothing_is_held(&site);
}

#[test]
fn pause_holds_nested_workflows_and_an_inner_pause_outlasts_it() {
    let mut site = site([does("inner", "demo.inner"), does("after", "demo.say").needs(["inner"])]);
    let flow = site.run("demo.flow");
    let inner = step(&site, flow, "inner");
    let within = step(&site, inner, "in");
    site.when(pause(flow));
    site.when(pause(inner));
    assert_eq!(summarize(&site.succeed(within)), ["in succeeded"]);
    assert_eq!(summarize(&site.when(resume(flow))), [""; 0]);
    assert_eq!(summarize(&site.when(resume(inner))), ["inner succeeded", "after asked"]);
    site.succeed(step(&site, flow, "after"));
    assert_nothing_is_held(&site);
}

#[test]
fn cancel_of_a_paused_workflow_ends_and_undoes_it() {
    let done = does("done", "demo.say").undone_by("demo.echo", &json!({}));
    let mut site = site([done, does("more", "demo.say").needs(["done"]), does("nap", "demo.sleep").with(&json!({ "duration": "10s" }))]);
    let flow = site.run("demo.flow");
    site.when(pause(flow));
    site.succeed(step(&site, flow, "done"));
    assert_eq!(summarize(&site.when(cancel(flow))), ["nap cancelled", "more skipped: cancelled", "1 to undo", "undo of done asked"]);
    let undo = ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Undo(&"done".parse().unwrap(), 0)));
    assert_eq!(summarize(&site.succeed(undo)), ["undo of done succeeded", "flow cancelled"]);
    assert_nothing_is_held(&site);
}

#[test]
fn workflow_that_fails_while_paused_is_undone_after_resume() {
    let done = does("done", "demo.say").undone_by("demo.say", &json!({}));
    let mut site = site([done, does("other", "demo.say")]);
    let flow = site.run("demo.flow");
    site.succeed(step(&site, flow, "done"));
    site.when(pause(flow));
    assert_eq!(summarize(&site.fail(step(&site, flow, "other"), FailureKind::ExitCode)), ["other failed"]);
    assert_eq!(summarize(&site.when(resume(flow))), ["1 to undo", "undo of done asked"]);
    site.when(pause(flow)).then_refused(&Refusal::IsEnding(flow));
}

#[test]
fn workflow_timeout_is_held_during_a_pause() {
    let pieces = Pieces::default().action("demo.say").workflow("demo.inner", [does("in", "demo.say")]);
    let mut site =
        Site::with(&pieces.workflow("demo.flow", [does("inner", "demo.inner").timeout(60), fails("stop", "no").starts_if("false")]));
    site.set(workers(10));
    let flow = site.run("demo.flow");
    site.when(pause(flow));
    site.after(120_000).then(&[]);
    site.when(resume(flow));
    let lines = summarize(&site.after(0));
    assert!(site.phase(step(&site, flow, "inner")).is_some() && lines.is_empty(), "{lines:?}");
    let within = step(&site, step(&site, flow, "inner"), "in");
    let lines = summarize(&site.fail(within, FailureKind::Cancelled));
    assert_eq!(lines, ["in cancelled", "inner timed out", "flow failed"]);
}

#[test]
fn ended_execution_cannot_be_paused_nor_an_unpaused_one_resumed() {
    let mut site = site([does("one", "demo.say")]);
    let flow = site.run("demo.flow");
    let one = step(&site, flow, "one");
    site.when(resume(flow)).then_refused(&Refusal::NotPaused { execution: flow, by: None });
    site.when(pause(flow));
    site.when(pause(flow)).then(&[]);
    site.when(resume(one)).then_refused(&Refusal::NotPaused { execution: one, by: Some(flow) });
    site.when(cancel(flow));
    site.fail(one, FailureKind::Cancelled);
    site.when(pause(flow)).then_refused(&Refusal::NotOpen(flow));
    assert_nothing_is_held(&site);
}

#[test]
fn single_action_can_be_paused_before_it_starts() {
    let mut site = site([does("one", "demo.say")]);
    site.set(workers(0));
    let Answer::Execution(alone) = site.ask("demo.say").answer() else { panic!("an execution was asked for") };
    site.when(pause(alone));
    site.set(workers(1));
    assert_eq!(site.engine().executions().open_work(), 0);
    site.when(resume(alone)).then(&["execution.resumed", "attempt.started"]);
}
