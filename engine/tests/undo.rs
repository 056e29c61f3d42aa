//! Undoing a workflow that does not succeed: in which order, by which actions, and the result if an undo
//! fails.

use std::time::Duration;

use ensue_engine::command::Answer;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::Body;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::random::again;
use crate::support::site::report_giving;
use crate::support::workflow::{StepPiece, does, fails, summarize, times};
use crate::support::{Pieces, Site, cancel, workers};

/// A site whose workflow `demo.flow` has these steps; `demo.say` and `demo.take_back` need a worker.
fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    let mut site = Site::with(&Pieces::default().action("demo.say").action("demo.take_back").workflow("demo.flow", steps));
    site.set(workers(100));
    site
}

/// A step that is undone with its own name.
fn undoable(name: &str) -> StepPiece {
    does(name, "demo.say").undone_by("demo.take_back", &json!({ "of": name }))
}

#[track_caller]
fn begin(site: &mut Site) -> ExecutionId {
    let Answer::Execution(flow) = site.ask("demo.flow").answer() else { panic!("an execution was asked for") };
    flow
}

fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

fn item(site: &Site, flow: ExecutionId, name: &str, index: u32) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), step(site, flow, name).0, Role::Item(index)))
}

fn undo(site: &Site, flow: ExecutionId, name: &str, index: u32) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Undo(&name.parse().unwrap(), index)))
}

#[track_caller]
fn gives(site: &mut Site, execution: ExecutionId, result: &Value) -> Vec<String> {
    let report = report_giving(execution, site.attempt(execution), Body::json(result.to_string()));
    summarize(&site.when(report))
}

/// The parameters of the last requested execution.
fn last_params(outcome: &Outcome) -> Value {
    let record = outcome.records().iter().rev().find(|record| record.kind() == "execution.requested").expect("an undo was asked for");
    serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

/// Why the workflow failed.
fn failure(outcome: &Outcome) -> (FailureKind, String) {
    let failed = outcome.records().iter().find_map(|record| match &record.fact {
        Fact::ExecutionFailed(fact) if fact.part_of.is_none() => Some((fact.error.kind, fact.error.message.clone())),
        _ => None,
    });
    failed.expect("the workflow has failed")
}

#[test]
fn undo_runs_in_reverse_order_after_everything_ended() {
    let mut site = site([
        undoable("left"),
        undoable("right"),
        does("plain", "demo.say"),
        fails("stop", "no").needs(["left"]),
        does("reported", "demo.say").needs(["stop"]).starts_if("always()"),
    ]);
    let flow = begin(&mut site);
    for name in ["plain", "right"] {
        site.succeed(step(&site, flow, name));
    }
    assert_eq!(summarize(&site.succeed(step(&site, flow, "left"))), ["left succeeded", "stop did not start: no", "reported asked"]);
    // Cleanup steps come before it.
    assert_eq!(summarize(&site.succeed(step(&site, flow, "reported"))), ["reported succeeded", "2 to undo", "undo of left asked"]);
    site.restart();
    assert_eq!(summarize(&site.succeed(undo(&site, flow, "left", 0))), ["undo of left succeeded", "undo of right asked"]);
    let outcome = site.succeed(undo(&site, flow, "right", 0));
    assert_eq!(summarize(&outcome), ["undo of right succeeded", "flow failed"]);
    assert_eq!(failure(&outcome), (FailureKind::ChildFailed, "step `stop` failed: no".to_owned()));
}

#[test]
fn succeeded_workflow_undoes_nothing() {
    let mut site = site([undoable("left")]);
    let flow = begin(&mut site);
    assert_eq!(summarize(&site.succeed(step(&site, flow, "left"))), ["left succeeded", "flow succeeded"]);
}

#[test]
fn undo_reads_the_result_of_its_step_or_item() {
    let beds = does("beds", "demo.say")
        .over("['a', 'b', 'c']")
        .undone_by("demo.take_back", &json!({ "at": "${{ index }}", "item": "${{ item }}", "gave": "${{ result }}" }));
    let mut site = site([beds, does("then", "demo.say").needs(["beds"])]);
    let flow = begin(&mut site);
    for (index, made) in [(2, "third"), (0, "first")] {
        let bed = item(&site, flow, "beds", index);
        gives(&mut site, bed, &json!({ "made": made }));
    }
    // The middle one fails: there is nothing to undo for it, and the others are undone.
    let outcome = site.fail(item(&site, flow, "beds", 1), FailureKind::ExitCode);
    assert_eq!(summarize(&outcome)[2..], ["then skipped: failing", "2 to undo", "undo of beds[0] asked"]);
    assert_eq!(last_params(&outcome), json!({ "at": 0, "item": "a", "gave": { "made": "first" } }));
    let outcome = site.succeed(undo(&site, flow, "beds", 0));
    assert_eq!(last_params(&outcome), json!({ "at": 2, "item": "c", "gave": { "made": "third" } }));
    assert_eq!(summarize(&site.succeed(undo(&site, flow, "beds", 2))), ["undo of beds[2] succeeded", "flow failed"]);
}

#[test]
fn repeated_step_is_undone_once_with_its_result() {
    let pages = does("pages", "demo.say").repeat(times(2)).undone_by("demo.take_back", &json!({ "gave": "${{ result }}" }));
    let mut site = site([pages, does("then", "demo.say").needs(["pages"])]);
    let flow = begin(&mut site);
    for iteration in 1..=2 {
        let turn = ExecutionId(Id::derive(site.engine().log(), step(&site, flow, "pages").0, Role::Iteration(iteration)));
        gives(&mut site, turn, &json!(iteration));
    }
    let outcome = site.fail(step(&site, flow, "then"), FailureKind::ExitCode);
    assert_eq!(
        (summarize(&outcome), last_params(&outcome)),
        (vec!["then failed".into(), "1 to undo".into(), "undo of pages asked".into()], json!({ "gave": 2 }))
    );
}

#[test]
fn failed_undo_is_retried_then_recorded_and_the_other_undos_still_run() {
    let mut site =
        site([undoable("first"), undoable("second").needs(["first"]).undo_retried(again(2)), fails("stop", "no").needs(["second"])]);
    let flow = begin(&mut site);
    site.succeed(step(&site, flow, "first"));
    site.succeed(step(&site, flow, "second"));
    let second = undo(&site, flow, "second", 0);
    site.fail(second, FailureKind::ExitCode).then(&["attempt.failed", "timer.set"]);
    site.after(60_000);
    assert_eq!(summarize(&site.fail(second, FailureKind::ExitCode)), ["undo of second failed", "undo of first asked"]);
    let outcome = site.succeed(undo(&site, flow, "first", 0));
    assert_eq!(summarize(&outcome), ["undo of first succeeded", "flow failed"]);
    let (kind, message) = failure(&outcome);
    let expected = "1 of 2 undos failed; the first was that of `second`: it did not work; it was undone because step `stop` failed: no";
    assert_eq!((kind, message.as_str()), (FailureKind::UndoFailed, expected));
}

#[test]
fn undo_with_an_expression_error_is_recorded_and_others_run() {
    let broken = does("broken", "demo.say").undone_by("demo.take_back", &json!({ "of": "${{ result.missing.more }}" }));
    let mut site = site([undoable("first"), broken.needs(["first"]), fails("stop", "no").needs(["broken"])]);
    let flow = begin(&mut site);
    site.succeed(step(&site, flow, "first"));
    let outcome = site.succeed(step(&site, flow, "broken"));
    let last = summarize(&outcome)[2..].join(", ");
    assert!(last.starts_with("2 to undo, undo of broken did not start: ") && last.ends_with("undo of first asked"), "{last}");
    let (kind, _) = failure(&site.succeed(undo(&site, flow, "first", 0)));
    assert_eq!(kind, FailureKind::UndoFailed);
}

#[test]
fn cancel_starts_the_undo_and_a_second_cancel_ends_it() {
    let mut site = site([undoable("first"), undoable("second").needs(["first"]), does("slow", "demo.say").needs(["second"])]);
    let flow = begin(&mut site);
    site.succeed(step(&site, flow, "first"));
    site.succeed(step(&site, flow, "second"));
    site.when(cancel(flow));
    let slow = step(&site, flow, "slow");
    assert_eq!(summarize(&site.fail(slow, FailureKind::Cancelled)), ["slow cancelled", "2 to undo", "undo of second asked"]);
    let second = undo(&site, flow, "second", 0);
    assert!(site.when(cancel(flow)).kinds().contains(&"execution.cancel_requested"));
    assert_eq!(summarize(&site.fail(second, FailureKind::Cancelled)), ["undo of second cancelled", "flow cancelled"]);
}

#[test]
fn timed_out_workflow_is_undone_as_well() {
    let pieces = Pieces::default()
        .action("demo.say")
        .action("demo.take_back")
        .workflow("demo.flow", [undoable("first"), does("slow", "demo.say").needs(["first"])]);
    let mut site = Site::with(&pieces.change_action("demo.flow", |action| action.limit = Some(Duration::from_secs(60))));
    site.set(workers(100));
    let flow = begin(&mut site);
    site.succeed(step(&site, flow, "first"));
    site.after(60_000);
    let slow = step(&site, flow, "slow");
    assert_eq!(summarize(&site.fail(slow, FailureKind::Cancelled)), ["slow cancelled", "1 to undo", "undo of first asked"]);
    assert_eq!(summarize(&site.succeed(undo(&site, flow, "first", 0))), ["undo of first succeeded", "flow timed out"]);
}

#[test]
fn cancelled_inner_workflow_undoes_before_the_outer_one() {
    let outer = does("inner", "demo.flow").undone_by("demo.take_back", &json!({}));
    let pieces = Pieces::default()
        .action("demo.say")
        .action("demo.take_back")
        .workflow("demo.flow", [undoable("first"), does("slow", "demo.say").needs(["first"])])
        .workflow("demo.outer", [undoable("before"), outer.needs(["before"])]);
    let mut site = Site::with(&pieces);
    site.set(workers(100));
    let Answer::Execution(outer) = site.ask("demo.outer").answer() else { panic!("an execution was asked for") };
    site.succeed(step(&site, outer, "before"));
    let inner = step(&site, outer, "inner");
    site.succeed(step(&site, inner, "first"));
    site.when(cancel(outer));
    let slow = step(&site, inner, "slow");
    assert_eq!(summarize(&site.fail(slow, FailureKind::Cancelled)), ["slow cancelled", "1 to undo", "undo of first asked"]);
    let outcome = site.succeed(undo(&site, inner, "first", 0));
    // The inner one did not succeed, so the outer one does not undo it.
    assert_eq!(summarize(&outcome), ["undo of first succeeded", "inner cancelled", "1 to undo", "undo of before asked"]);
}

#[test]
fn events_during_an_undo_do_not_change_the_outcome() {
    let pieces = Pieces::default()
        .action("demo.say")
        .action("demo.take_back")
        .workflow("demo.flow", [undoable("first"), fails("stop", "no").needs(["first"])]);
    let mut site = Site::with(&pieces.change_action("demo.flow", |action| action.limit = Some(Duration::from_secs(60))));
    site.set(workers(100));
    let flow = begin(&mut site);
    site.succeed(step(&site, flow, "first"));
    assert_eq!(summarize(&site.after(60_000)), [""; 0]);
    site.when(cancel(flow));
    let outcome = site.succeed(undo(&site, flow, "first", 0));
    assert_eq!(summarize(&outcome), ["undo of first succeeded", "flow failed"]);
    assert_eq!(failure(&outcome), (FailureKind::ChildFailed, "step `stop` failed: no".to_owned()));
}
