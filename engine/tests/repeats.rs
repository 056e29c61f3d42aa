//! Repeated steps: when there is another turn, what it reads, and the step's final result.

use std::time::Duration;

use ensue_engine::command::Answer;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::Body;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::site::report_giving;
use crate::support::workflow::{StepPiece, does, times};
use crate::support::{Pieces, Site, cancel, workers};

fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    let mut site = Site::with(&Pieces::default().action("demo.say").workflow("demo.flow", steps));
    site.set(workers(100));
    site
}

#[track_caller]
fn begin(site: &mut Site) -> (ExecutionId, Outcome) {
    let outcome = site.ask("demo.flow");
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    (flow, outcome)
}

/// The execution of a turn of a step, counted from 1.
fn turn(site: &Site, flow: ExecutionId, step: &str, iteration: u32) -> ExecutionId {
    let of_step = Id::derive(site.engine().log(), flow.0, Role::Step(&step.parse().unwrap()));
    ExecutionId(Id::derive(site.engine().log(), of_step, Role::Iteration(iteration)))
}

#[track_caller]
fn gives(site: &mut Site, execution: ExecutionId, result: &Value) -> Outcome {
    let report = report_giving(execution, site.attempt(execution), Body::json(result.to_string()));
    site.when(report)
}

/// The parameters of the last requested execution.
fn last_params(outcome: &Outcome) -> Value {
    let record = outcome.records().iter().rev().find(|record| record.kind() == "execution.requested").expect("a turn was asked for");
    serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

/// The step's result, and why it failed.
fn step_end(outcome: &Outcome) -> (Value, Option<String>) {
    let ended = outcome.records().iter().find_map(|record| match &record.fact {
        Fact::StepEnded(fact) => {
            let body = record.body.as_ref().and_then(|body| body.content.as_ref());
            Some((
                body.map_or(Value::Null, |content| serde_json::from_slice(content).unwrap()),
                fact.error.as_ref().map(|error| error.message.clone()),
            ))
        }
        _ => None,
    });
    ended.expect("the step has ended")
}

#[test]
fn step_repeats_until_its_condition_holds_and_has_the_last_turn_s_result() {
    let check = does("check", "demo.say").repeat(times(9).until("result.rate < 2")).with(&json!({ "n": "${{ iteration }}" }));
    let after = does("after", "demo.say").needs(["check"]).with(&json!({ "rate": "${{ steps.check.result.rate }}" }));
    let mut site = site([check, after]);
    let (flow, begun) = begin(&mut site);
    assert_eq!(last_params(&begun), json!({ "n": 1 }));
    let first = turn(&site, flow, "check", 1);
    let outcome = gives(&mut site, first, &json!({ "rate": 3 }));
    let kinds = ["attempt.succeeded", "execution.succeeded", "execution.requested", "attempt.started"];
    assert_eq!(last_params(&outcome.then(&kinds)), json!({ "n": 2 }));
    site.restart();
    let second = turn(&site, flow, "check", 2);
    let outcome = gives(&mut site, second, &json!({ "rate": 1 }));
    assert_eq!((step_end(&outcome), last_params(&outcome)), ((Value::Null, None), json!({ "rate": 1 })));
}

#[test]
fn repeated_step_reads_pages_in_order_and_collects_their_items() {
    let pages = does("pages", "demo.say")
        .repeat(times(1_000).while_holds("previous == null || previous.next != null").collect("result.items"))
        .with(&json!({ "url": "${{ previous == null ? 'first' : previous.next }}" }));
    let after = does("after", "demo.say").needs(["pages"]).with(&json!({ "all": "${{ steps.pages.result }}" }));
    let mut site = site([pages, after]);
    let (flow, begun) = begin(&mut site);
    assert_eq!(last_params(&begun), json!({ "url": "first" }));
    let page = turn(&site, flow, "pages", 1);
    let outcome = gives(&mut site, page, &json!({ "items": [1, "a]"], "next": "second" }));
    assert_eq!(last_params(&outcome), json!({ "url": "second" }));
    let page = turn(&site, flow, "pages", 2);
    gives(&mut site, page, &json!({ "items": [], "next": "third" }));
    let page = turn(&site, flow, "pages", 3);
    let outcome = gives(&mut site, page, &json!({ "items": [{ "b": [2] }], "next": null }));
    let all = json!([1, "a]", { "b": [2] }]);
    assert_eq!((step_end(&outcome), last_params(&outcome)), ((all.clone(), None), json!({ "all": all })));
}

#[test]
fn repetition_whose_condition_is_false_has_no_turn_and_no_result() {
    let none = does("none", "demo.say").repeat(times(3).while_holds("false"));
    let empty = does("empty", "demo.say").repeat(times(3).while_holds("false").collect("result"));
    let after = does("after", "demo.say")
        .needs(["none", "empty"])
        .with(&json!({ "both": "${{ [steps.none.result, steps.empty.result, steps.none.status] }}" }));
    let mut site = site([none, empty, after]);
    let (_, outcome) = begin(&mut site);
    assert_eq!(last_params(&outcome), json!({ "both": [null, [], "succeeded"] }));
}

#[test]
fn turn_starts_after_the_interval_from_the_previous_one() {
    let mut site = site([does("check", "demo.say").repeat(times(5).until("result.done").every(Duration::from_secs(30)))]);
    let (flow, _) = begin(&mut site);
    let first = turn(&site, flow, "check", 1);
    let kinds = ["attempt.succeeded", "execution.succeeded", "execution.requested", "timer.set"];
    gives(&mut site, first, &json!({ "done": false })).then(&kinds);
    let second = turn(&site, flow, "check", 2);
    assert_eq!(site.phase(second), Some(Phase::Delayed));
    site.after(29_999).then(&[]);
    site.after(1).then(&["timer.fired", "attempt.started"]);
    gives(&mut site, second, &json!({ "done": true })).then(&[
        "attempt.succeeded",
        "execution.succeeded",
        "step.ended",
        "execution.succeeded",
    ]);
}

#[test]
fn step_succeeds_after_the_maximum_of_turns() {
    let mut site = site([does("check", "demo.say").repeat(times(2).until("false"))]);
    let (flow, _) = begin(&mut site);
    for iteration in 1..=2 {
        let next = turn(&site, flow, "check", iteration);
        gives(&mut site, next, &json!({}));
    }
    assert_eq!(site.records().last().unwrap().kind(), "execution.succeeded");
    assert_eq!(site.engine().executions().iter().count(), 0);
}

#[test]
fn failed_turn_fails_the_step() {
    let mut site = site([does("check", "demo.say").repeat(times(5))]);
    let (flow, _) = begin(&mut site);
    let first = turn(&site, flow, "check", 1);
    site.succeed(first);
    let second = turn(&site, flow, "check", 2);
    let outcome = site.fail(second, FailureKind::ExitCode);
    assert_eq!(step_end(&outcome).1.as_deref(), Some("turn 2 failed: it did not work"));
    assert_eq!(outcome.kinds().last(), Some(&"execution.failed"));
}

#[test]
fn expression_error_fails_the_repeated_step_with_the_reason() {
    let wrong = [
        (times(5).until("result.nothing == 1"), "nothing"),
        (times(5).while_holds("previous == null || previous.nothing"), "nothing"),
        (times(1).collect("result"), "must return a list"),
    ];
    for (repeat, says) in wrong {
        let mut site = site([does("check", "demo.say").repeat(repeat)]);
        let (flow, _) = begin(&mut site);
        let first = turn(&site, flow, "check", 1);
        let outcome = gives(&mut site, first, &json!({ "n": 1 }));
        let why = step_end(&outcome).1.unwrap();
        assert!(why.contains(says), "{why}");
        assert_eq!(outcome.kinds().last(), Some(&"execution.failed"));
    }
}

#[test]
fn cancel_ends_the_repetition() {
    let steps = || [does("check", "demo.say").repeat(times(5).every(Duration::from_secs(30)))];
    let mut running = site(steps());
    let (flow, _) = begin(&mut running);
    running.when(cancel(flow));
    let first = turn(&running, flow, "check", 1);
    let outcome = gives(&mut running, first, &json!({}));
    assert_eq!(step_end(&outcome).1.as_deref(), Some("1 turns were made before it was cancelled"));
    assert_eq!(outcome.kinds().last(), Some(&"execution.cancelled"));

    let mut waiting = site(steps());
    let (flow, _) = begin(&mut waiting);
    let first = turn(&waiting, flow, "check", 1);
    waiting.succeed(first);
    assert_eq!(waiting.when(cancel(flow)).kinds().last(), Some(&"execution.cancelled"));
    assert_eq!((waiting.engine().timers().pending(), waiting.engine().executions().iter().count()), (0, 0));
}

#[test]
fn collected_values_are_limited_however_little_is_read_for_them() {
    let large = "x".repeat(1 << 20);
    let steps = [does("check", "demo.say").repeat(times(100).collect("[params.large]"))];
    let mut site = site(steps);
    let request = site.request_with("demo.flow", &json!({ "large": large }), None);
    let Answer::Execution(flow) = site.when(request).answer() else { panic!("an execution was asked for") };
    let mut last = None;
    for iteration in 1..=100 {
        let child = turn(&site, flow, "check", iteration);
        last = Some(site.succeed(child));
    }
    let (_, error) = step_end(&last.unwrap());
    assert!(error.unwrap().contains("at turn 4; collect less of each turn"));
}

#[test]
fn unread_results_do_not_count_for_the_limit_of_collected_values() {
    let large = json!("x".repeat(3 << 20));
    let mut site = site([does("check", "demo.say").repeat(times(2).collect("[iteration]"))]);
    let (flow, _) = begin(&mut site);
    for iteration in 1..=2 {
        let child = turn(&site, flow, "check", iteration);
        let outcome = gives(&mut site, child, &large);
        if iteration == 2 {
            assert_eq!(step_end(&outcome), (json!([1, 2]), None));
        }
    }
}

#[test]
fn last_turn_that_succeeds_despite_a_cancel_counts() {
    let mut site = site([does("check", "demo.say").repeat(times(1)), does("tell", "demo.say").needs(["check"]).starts_if("always()")]);
    let (flow, _) = begin(&mut site);
    site.when(cancel(flow));
    let child = turn(&site, flow, "check", 1);
    let outcome = gives(&mut site, child, &json!(7));
    assert_eq!(step_end(&outcome), (json!(null), None));
}
