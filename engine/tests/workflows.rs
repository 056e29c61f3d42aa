//! Workflows: which steps start when, how their ends affect others, and the workflow's result.

use ensue_engine::command::{Answer, ReportOutcome, Settings, TurnLimits};
use ensue_engine::executions::facts::{Evidence, FailureKind, Settlement};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::StreamId;
use ensue_engine::workflows::facts::SkippedBecause;
use ensue_test_support::spec::CatalogsHealth;
use serde_json::{Value, json};

use crate::support::site::report;
use crate::support::workflow::{StepPiece, does, fails, short, summarize};
use crate::support::{Pieces, Site, cancel, dismiss, settle, workers};

/// A site whose workflow `demo.flow` has these steps; `demo.say` needs a worker, the node itself runs
/// `demo.echo` at once.
fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    giving(steps, None)
}

fn giving<const N: usize>(steps: [StepPiece; N], result: Option<&Value>) -> Site {
    let pieces = Pieces::default().action("demo.say").action_with("demo.again", |action| action.idempotent = true);
    let mut site = Site::with(&pieces.workflow_giving("demo.flow", steps.into(), result));
    site.set(workers(100));
    site
}

/// The execution of a step of the workflow.
fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

fn item(site: &Site, flow: ExecutionId, name: &str, index: u32) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), step(site, flow, name).0, Role::Item(index)))
}

#[track_caller]
fn begin(site: &mut Site) -> (ExecutionId, Vec<String>) {
    let outcome = site.ask("demo.flow");
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    (flow, summarize(&outcome))
}

#[track_caller]
fn succeed(site: &mut Site, flow: ExecutionId, name: &str) -> Vec<String> {
    let child = step(site, flow, name);
    summarize(&site.succeed(child))
}

#[track_caller]
fn fail(site: &mut Site, flow: ExecutionId, name: &str) -> Vec<String> {
    let child = step(site, flow, name);
    summarize(&site.fail(child, FailureKind::ExitCode))
}

/// The body of the last record of a kind.
fn body(site: &Site, kind: &str) -> Value {
    let record = site.records().iter().rev().find(|record| record.kind() == kind).expect("there is such a record");
    serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

/// Checks that the state has nothing left of a workflow that has ended.
fn assert_nothing_is_left(site: &Site) {
    let saved: Value = serde_json::from_slice(&site.engine().save().json).unwrap();
    let no_waits = json!({ "open": [], "keyed": [], "others": [], "paths": [] });
    assert_eq!(
        saved["workflows"],
        json!({ "open": [], "steps": [], "items": [], "unasked": [], "unasked_items": [], "undoable": [], "chosen": [], "waits": no_waits, "cancels": no_waits })
    );
    assert_eq!(site.engine().executions().iter().count(), 0);
}

#[test]
fn steps_start_as_soon_as_the_steps_that_they_need_succeeded() {
    let diamond = [
        does("last", "demo.say").needs(["left", "right"]),
        does("right", "demo.say").needs(["first"]),
        does("left", "demo.say").needs(["first"]),
        does("first", "demo.say"),
    ];
    let mut site = site(diamond);
    let (flow, begun) = begin(&mut site);
    assert_eq!(begun, ["flow asked", "first asked"]);
    assert_eq!(succeed(&mut site, flow, "first"), ["first succeeded", "right asked", "left asked"]);
    assert_eq!(succeed(&mut site, flow, "left"), ["left succeeded"]);
    assert_eq!(succeed(&mut site, flow, "right"), ["right succeeded", "last asked"]);
    assert_eq!(succeed(&mut site, flow, "last"), ["last succeeded", "flow succeeded"]);
    assert_nothing_is_left(&site);
}

#[test]
fn step_reads_earlier_steps_and_the_workflow_returns_its_result_template() {
    let steps = [
        does("first", "demo.say"),
        does("second", "demo.say")
            .needs(["first"])
            .with(&json!({ "done": "${{ steps.first.result.done }}", "of": "${{ steps.first.status }}", "text": "${{ params.text }}!" })),
    ];
    let mut site = giving(steps, Some(&json!({ "both": "${{ [steps.first.result.done, steps.second.error == null] }}" })));
    let (flow, _) = begin(&mut site);
    succeed(&mut site, flow, "first");
    assert_eq!(body(&site, "execution.requested"), json!({ "done": true, "of": "succeeded", "text": "hello!" }));
    succeed(&mut site, flow, "second");
    assert_eq!(body(&site, "execution.succeeded"), json!({ "both": [true, true] }));
}

#[test]
fn result_of_an_ended_step_is_fetched_from_the_log_after_a_restart() {
    let steps = [
        does("first", "demo.say"),
        does("beside", "demo.say"),
        does("second", "demo.say")
            .needs(["first", "beside"])
            .with(&json!({ "text": "${{ params.text + string(steps.first.result.done) }}" })),
    ];
    let mut site = site(steps);
    let (flow, _) = begin(&mut site);
    succeed(&mut site, flow, "first");
    site.restart();
    assert_eq!(succeed(&mut site, flow, "beside"), ["beside succeeded", "second asked"]);
    assert_eq!(body(&site, "execution.requested"), json!({ "text": "hellotrue" }));
}

#[test]
fn failed_workflow_ends_once_its_running_steps_have_ended() {
    let steps = [
        does("build", "demo.say"),
        does("beside", "demo.say"),
        does("ship", "demo.say").needs(["build"]),
        does("tell", "demo.say").needs(["ship"]).starts_if("always()"),
        does("mend", "demo.say").needs(["build"]).starts_if("failed()"),
        does("later", "demo.say").needs(["beside"]),
    ];
    let mut site = site(steps);
    let (flow, _) = begin(&mut site);
    let failed = fail(&mut site, flow, "build");
    assert_eq!(failed, ["build failed", "ship skipped: failing", "tell asked", "mend asked"]);
    assert_eq!(succeed(&mut site, flow, "beside"), ["beside succeeded", "later skipped: failing"]);
    assert_eq!(succeed(&mut site, flow, "mend"), ["mend succeeded"]);
    assert_eq!(succeed(&mut site, flow, "tell"), ["tell succeeded", "flow failed"]);
    let Fact::ExecutionFailed(end) = &site.records().last().unwrap().fact else { panic!("the workflow failed") };
    assert_eq!((end.error.kind, end.error.message.as_str()), (FailureKind::ChildFailed, "step `build` failed: it did not work"));
    assert_nothing_is_left(&site);
}

#[test]
fn tolerated_failure_does_not_fail_the_workflow_and_is_readable() {
    let steps = [
        does("try", "demo.say").tolerate_failure(),
        does("next", "demo.say").needs(["try"]),
        does("mend", "demo.say").needs(["try"]).starts_if("failed()").with(&json!({ "why": "${{ steps.try.error.kind }}" })),
    ];
    let mut site = site(steps);
    let (flow, _) = begin(&mut site);
    assert_eq!(fail(&mut site, flow, "try"), ["try failed", "next asked", "mend asked"]);
    assert_eq!(body(&site, "execution.requested"), json!({ "why": "exit_code" }));
    succeed(&mut site, flow, "next");
    assert_eq!(succeed(&mut site, flow, "mend"), ["mend succeeded", "flow succeeded"]);
}

#[test]
fn step_with_a_false_condition_is_skipped_and_so_are_its_dependents() {
    let steps = [
        does("first", "demo.say"),
        does("no", "demo.say").needs(["first"]).starts_if("steps.first.result.done == false"),
        does("after_no", "demo.say").needs(["no"]),
        does("anyway", "demo.say").needs(["no"]).starts_if("steps.no.status == 'skipped' && always()"),
        does("wrong", "demo.say").needs(["no"]).starts_if("failed()"),
    ];
    let mut site = site(steps);
    let (flow, _) = begin(&mut site);
    assert_eq!(
        succeed(&mut site, flow, "first"),
        ["first succeeded", "no skipped: condition", "after_no skipped: needs", "anyway asked", "wrong skipped: condition"]
    );
    assert_eq!(succeed(&mut site, flow, "anyway"), ["anyway succeeded", "flow succeeded"]);
}

#[test]
fn workflow_whose_steps_are_all_skipped_succeeds_at_once() {
    let mut site = site([does("no", "demo.say").starts_if("false"), does("after", "demo.say").needs(["no"])]);
    assert_eq!(begin(&mut site).1, ["flow asked", "no skipped: condition", "after skipped: needs", "flow succeeded"]);
}

#[test]
fn expression_error_fails_its_step() {
    let steps = [
        does("first", "demo.say"),
        does("unless", "demo.say").needs(["first"]).starts_if("steps.first.result.nothing == 1").tolerate_failure(),
        does("given", "demo.say").needs(["first"]).with(&json!({ "n": "${{ steps.first.result.nothing }}" })).tolerate_failure(),
        fails("stop", "rate ${{ 1 + 1 }}").needs(["first"]),
    ];
    let mut site = site(steps);
    let (flow, _) = begin(&mut site);
    let reported = succeed(&mut site, flow, "first");
    assert!(reported[1].starts_with("unless did not start: ") && reported[2].starts_with("given did not start: "), "{reported:?}");
    assert_eq!(reported[3..], ["stop did not start: rate 2", "flow failed"]);
}

#[test]
fn step_runs_for_each_item_with_limited_parallelism() {
    let steps = [
        does("each", "demo.say").over("['a', 'b', 'c']").parallel(2).with(&json!({ "of": "${{ item }}", "n": "${{ index }}" })),
        does("after", "demo.say").needs(["each"]).with(&json!({ "all": "${{ steps.each.items.map(i, i.result.done) }}" })),
    ];
    let mut site = site(steps);
    let (flow, begun) = begin(&mut site);
    assert_eq!(begun, ["flow asked", "each of 3", "each[0] asked", "each[1] asked"]);
    assert_eq!(body(&site, "execution.requested"), json!({ "of": "b", "n": 1 }));
    let first = item(&site, flow, "each", 0);
    assert_eq!(summarize(&site.succeed(first)), ["each[0] succeeded", "each[2] asked"]);
    for index in [2, 1] {
        let next = item(&site, flow, "each", index);
        site.succeed(next);
    }
    assert_eq!(body(&site, "execution.requested"), json!({ "all": [true, true, true] }));
    assert_eq!(succeed(&mut site, flow, "after"), ["after succeeded", "flow succeeded"]);
    assert_nothing_is_left(&site);
}

#[test]
fn skipped_step_has_no_items() {
    let steps = [
        does("each", "demo.say").over("[1]").starts_if("false"),
        does("after", "demo.say").needs(["each"]).starts_if("always()").with(&json!({ "all": "${{ steps.each.items }}" })),
    ];
    let mut site = site(steps);
    begin(&mut site);
    assert_eq!(body(&site, "execution.requested"), json!({ "all": [] }));
}

#[test]
fn failed_item_fails_the_step_once_the_others_have_ended() {
    let mut site = site([does("each", "demo.say").over("[1, 2, 3]").parallel(2)]);
    let (flow, _) = begin(&mut site);
    let items: Vec<ExecutionId> = (0..3).map(|index| item(&site, flow, "each", index)).collect();
    assert_eq!(summarize(&site.fail(items[1], FailureKind::ExitCode)), ["each[1] failed", "each[2] asked"]);
    site.succeed(items[0]);
    let ended = summarize(&site.succeed(items[2]));
    let why = "1 of 3 items failed; the first was item 1: it did not work";
    assert_eq!(ended, ["each[2] succeeded".to_owned(), format!("each ended: {why}"), "flow failed".to_owned()]);
}

#[test]
fn fail_fast_stops_the_other_items_after_a_failure() {
    let mut site = site([does("each", "demo.say").over("[1, 2, 3]").parallel(2).fail_fast()]);
    let (flow, _) = begin(&mut site);
    let items: Vec<ExecutionId> = (0..2).map(|index| item(&site, flow, "each", index)).collect();
    let outcome = site.fail(items[0], FailureKind::ExitCode);
    assert_eq!(outcome.kinds(), ["attempt.failed", "execution.failed", "execution.cancel_requested"]);
    let ended = summarize(&site.fail(items[1], FailureKind::Cancelled));
    assert_eq!(ended.last().unwrap(), "flow failed");
    assert!(ended[1].starts_with("each ended: 2 of 3 items failed"), "{ended:?}");
}

#[test]
fn empty_list_succeeds_at_once_and_a_non_list_fails() {
    let mut site = site([
        does("none", "demo.say").over("[]"),
        does("no_list", "demo.say").over("params.text").tolerate_failure(),
        does("no_item", "demo.say").over("[1, 2]").with(&json!({ "n": "${{ 1 / (index - 1) }}" })).tolerate_failure(),
    ]);
    let (flow, begun) = begin(&mut site);
    let expected = [
        "flow asked",
        "none of 0",
        "none ended",
        "no_list did not start: `for_each` returns \"hello\", but it must return a list",
        "no_item of 2",
        "no_item[0] asked",
    ];
    assert_eq!(begun[..6], expected);
    assert!(begun[6].starts_with("no_item[1] did not start: "), "{begun:?}");
    let first = item(&site, flow, "no_item", 0);
    let ended = summarize(&site.succeed(first));
    assert!(ended[1].starts_with("no_item ended: 1 of 2 items failed"), "{ended:?}");
    assert_eq!(ended[2], "flow succeeded");
}

#[test]
fn failing_step_cancels_its_siblings_if_it_says_so() {
    let mut site = site([does("check", "demo.say").cancels_others(), does("beside", "demo.say"), does("also", "demo.say")]);
    let (flow, _) = begin(&mut site);
    let child = step(&site, flow, "check");
    let outcome = site.fail(child, FailureKind::ExitCode);
    assert_eq!(outcome.kinds().iter().filter(|kind| **kind == "execution.cancel_requested").count(), 2);
    for name in ["beside", "also"] {
        let child = step(&site, flow, name);
        site.fail(child, FailureKind::Cancelled);
    }
    let Fact::ExecutionFailed(end) = &site.records().last().unwrap().fact else { panic!("the workflow failed") };
    assert_eq!(end.error.message, "step `check` failed: it did not work");
}

#[test]
fn cancel_leaves_only_always_steps_and_a_second_cancel_ends_those_too() {
    let steps = || {
        [
            does("run", "demo.say"),
            does("after", "demo.say").needs(["run"]),
            does("clean", "demo.say").needs(["after"]).starts_if("always()"),
            does("failed", "demo.say").needs(["run"]).starts_if("failed()"),
        ]
    };
    let mut once = site(steps());
    let (flow, _) = begin(&mut once);
    assert_eq!(once.when(cancel(flow)).kinds(), ["execution.cancel_requested", "execution.cancel_requested"]);
    let ended = fail_cancelled(&mut once, flow, "run");
    assert_eq!(ended, ["run cancelled", "after skipped: cancelled", "clean asked", "failed skipped: cancelled"]);
    assert_eq!(succeed(&mut once, flow, "clean"), ["clean succeeded", "flow cancelled"]);
    assert_nothing_is_left(&once);

    let mut twice = site(steps());
    let (flow, _) = begin(&mut twice);
    twice.when(cancel(flow));
    fail_cancelled(&mut twice, flow, "run");
    assert_eq!(twice.when(cancel(flow)).kinds(), ["execution.cancel_requested", "execution.cancel_requested"]);
    assert_eq!(twice.when(cancel(flow)).kinds(), [""; 0]);
    assert_eq!(fail_cancelled(&mut twice, flow, "clean"), ["clean cancelled", "flow cancelled"]);
}

#[track_caller]
fn fail_cancelled(site: &mut Site, flow: ExecutionId, name: &str) -> Vec<String> {
    let child = step(site, flow, name);
    summarize(&site.fail(child, FailureKind::Cancelled))
}

#[test]
fn cancelled_step_fails_its_workflow() {
    let mut site = site([does("run", "demo.say"), does("after", "demo.say").needs(["run"])]);
    let (flow, _) = begin(&mut site);
    let child = step(&site, flow, "run");
    site.when(cancel(child));
    let ended = fail_cancelled(&mut site, flow, "run");
    assert_eq!(ended, ["run cancelled", "after skipped: failing", "flow failed"]);
}

#[test]
fn step_can_be_a_nested_workflow() {
    let inner = [does("deep", "demo.say")];
    let pieces = Pieces::default()
        .action("demo.say")
        .workflow_giving("demo.inner", inner.into(), Some(&json!({ "deep": "${{ steps.deep.result.done }}" })))
        .workflow(
            "demo.flow",
            [
                does("inside", "demo.inner"),
                does("out", "demo.say").needs(["inside"]).with(&json!({ "of": "${{ steps.inside.result.deep }}" })),
            ],
        );
    let mut site = Site::with(&pieces);
    let (flow, begun) = begin(&mut site);
    assert_eq!(begun, ["flow asked", "inside asked", "deep asked"]);
    let inside = step(&site, flow, "inside");
    let deep = step(&site, inside, "deep");
    assert_eq!(summarize(&site.succeed(deep)), ["deep succeeded", "inside succeeded", "out asked"]);
    assert_eq!(body(&site, "execution.requested"), json!({ "of": true }));
    assert_eq!(succeed(&mut site, flow, "out"), ["out succeeded", "flow succeeded"]);
}

#[test]
fn cancel_reaches_the_innermost_workflow() {
    let pieces = Pieces::default()
        .action("demo.say")
        .workflow("demo.inner", [does("deep", "demo.say"), does("after", "demo.say").needs(["deep"])])
        .workflow("demo.flow", [does("inside", "demo.inner")]);
    let mut site = Site::with(&pieces);
    let (flow, _) = begin(&mut site);
    let inside = step(&site, flow, "inside");
    site.when(cancel(flow));
    let deep = step(&site, inside, "deep");
    let ended = summarize(&site.fail(deep, FailureKind::Cancelled));
    assert_eq!(ended, ["deep cancelled", "after skipped: cancelled", "inside cancelled", "flow cancelled"]);
    assert_nothing_is_left(&site);
}

#[test]
fn recursive_workflow_ends_at_a_depth_of_sixteen() {
    let pieces = Pieces::default().workflow("demo.flow", [does("again", "demo.flow")]);
    let mut site = Site::with(&pieces);
    let outcome = site.ask("demo.flow");
    let asked = summarize(&outcome).iter().filter(|line| *line == "again asked").count();
    assert_eq!(asked, 16);
    let deepest = "again did not start: `demo.flow` would be nested 17 workflows deep; the limit is 16";
    assert!(summarize(&outcome).iter().any(|line| line == deepest));
    assert_eq!(summarize(&outcome).last().unwrap(), "flow failed");
    assert_nothing_is_left(&site);
}

#[test]
fn indeterminate_step_waits_for_a_person_and_continues_with_the_answer() {
    let mut site = site([does("run", "demo.say"), does("after", "demo.say").needs(["run"])]);
    let (flow, _) = begin(&mut site);
    let child = step(&site, flow, "run");
    assert_eq!(site.lose(child, Evidence::MayHaveBegun).kinds(), ["attempt.lost", "execution.became_indeterminate", "inquiry.opened"]);
    let settled = summarize(&site.when(settle(child, Settlement::Succeeded)));
    assert_eq!(settled, ["run succeeded", "after asked"]);
}

#[test]
fn late_report_on_a_step_of_an_ended_workflow_is_rejected() {
    let mut site = site([does("run", "demo.again")]);
    let (flow, _) = begin(&mut site);
    let child = step(&site, flow, "run");
    let attempt = site.attempt(child);
    site.when(cancel(flow));
    site.fail(child, FailureKind::Cancelled);
    let head = site.head();
    assert!(site.when(report(child, attempt, ReportOutcome::Succeeded)).result().is_err());
    assert_eq!(site.head(), head);
}

#[test]
fn steps_are_ordered_by_their_priority_or_the_workflow_s() {
    let steps = [does("plain", "demo.say"), does("urgent", "demo.say").priority(50), does("late", "demo.say").priority(-1)];
    let pieces = Pieces::default().action("demo.say").workflow("demo.flow", steps);
    let mut site = Site::with(&pieces.with_priority("demo.flow", 10));
    site.set(workers(1));
    let first = site.run("demo.say");
    let between = site.run("demo.say");
    let (flow, _) = begin(&mut site);
    let mut order = Vec::new();
    let mut running = first;
    for _ in 0..4 {
        let outcome = site.succeed(running);
        let next = outcome.records().iter().find(|record| record.kind() == "attempt.started").expect("somebody waits");
        let StreamId::Execution(id) = next.stream else { panic!("attempts are those of executions") };
        (order, running) = ([order, vec![id]].concat(), id);
    }
    assert_eq!(order, [step(&site, flow, "urgent"), step(&site, flow, "plain"), between, step(&site, flow, "late")]);
}

#[test]
fn queued_step_never_starts_once_its_workflow_is_cancelled() {
    let mut site = site([does("each", "demo.say").over("[1, 2, 3, 4]").parallel(3), does("beside", "demo.say")]);
    site.set(workers(1));
    let (flow, _) = begin(&mut site);
    let running = item(&site, flow, "each", 0);
    site.set(Settings { turn: TurnLimits { drafts: 2, ..TurnLimits::default() }, ..workers(4) });
    let ended = summarize(&site.when(cancel(flow)));
    assert_eq!(ended, ["each[1] cancelled", "each[2] cancelled", "beside cancelled"]);
    let ended = summarize(&site.fail(running, FailureKind::Cancelled));
    assert_eq!(ended.last().unwrap(), "flow cancelled");
    assert_eq!(site.records().iter().filter(|record| record.kind() == "attempt.started").count(), 1);
    assert_eq!(site.records().iter().filter(|record| record.kind() == "execution.cancel_requested").count(), 5);
    assert_nothing_is_left(&site);
}

#[test]
fn failure_that_cancels_siblings_also_ends_items_not_yet_started() {
    let mut site = site([does("check", "demo.say").cancels_others(), does("each", "demo.say").over("[1, 2, 3]").parallel(1)]);
    let (flow, _) = begin(&mut site);
    fail(&mut site, flow, "check");
    let first = item(&site, flow, "each", 0);
    let ended = summarize(&site.fail(first, FailureKind::Cancelled));
    let why = "1 of 3 items failed; the first was item 0: it was cancelled";
    assert_eq!(ended, ["each[0] cancelled".to_owned(), format!("each ended: {why}"), "flow failed".to_owned()]);
    assert_nothing_is_left(&site);
}

#[test]
fn cancel_ends_items_of_an_always_step_only_if_it_started_before() {
    let each = || does("each", "demo.say").over("[1, 2, 3]").parallel(1).starts_if("always()");
    let mut before = site([each()]);
    let (flow, _) = begin(&mut before);
    before.when(cancel(flow));
    let first = item(&before, flow, "each", 0);
    assert_eq!(summarize(&before.fail(first, FailureKind::Cancelled)).last().unwrap(), "flow cancelled");

    let mut after = site([does("run", "demo.say"), each().needs(["run"])]);
    let (flow, _) = begin(&mut after);
    after.when(cancel(flow));
    assert_eq!(fail_cancelled(&mut after, flow, "run"), ["run cancelled", "each of 3", "each[0] asked"]);
    let first = item(&after, flow, "each", 0);
    assert_eq!(summarize(&after.succeed(first)), ["each[0] succeeded", "each[1] asked"]);
}

#[test]
fn cancelled_sibling_does_not_cancel_others_itself() {
    let steps = [
        does("check", "demo.say").cancels_others(),
        does("beside", "demo.say").cancels_others(),
        does("mend", "demo.say").needs(["check"]).starts_if("failed()"),
    ];
    let mut site = site(steps);
    let (flow, _) = begin(&mut site);
    assert_eq!(fail(&mut site, flow, "check"), ["check failed", "mend asked"]);
    assert_eq!(fail_cancelled(&mut site, flow, "beside"), ["beside cancelled"]);
    assert_eq!(succeed(&mut site, flow, "mend"), ["mend succeeded", "flow failed"]);
}

#[test]
fn second_cancel_reaches_cleanup_steps_of_nested_workflows() {
    let inner = [does("deep", "demo.say"), does("clean", "demo.say").needs(["deep"]).starts_if("always()")];
    let pieces = Pieces::default().action("demo.say").workflow("demo.inner", inner).workflow("demo.flow", [does("inside", "demo.inner")]);
    let mut site = Site::with(&pieces);
    let (flow, _) = begin(&mut site);
    let inside = step(&site, flow, "inside");
    site.when(cancel(flow));
    assert_eq!(fail_cancelled(&mut site, inside, "deep"), ["deep cancelled", "clean asked"]);
    assert_eq!(site.when(cancel(flow)).kinds(), ["execution.cancel_requested"; 3]);
    assert_eq!(fail_cancelled(&mut site, inside, "clean"), ["clean cancelled", "inside cancelled", "flow cancelled"]);
    assert_nothing_is_left(&site);
}

/// A workflow whose first step had no consequences: its reaction was parked and dismissed.
fn stuck_workflow() -> (Site, ExecutionId) {
    let mut site =
        site([does("first", "demo.say"), does("second", "demo.say").needs(["first"]), does("third", "demo.say").needs(["second"])]);
    let (flow, _) = begin(&mut site);
    let first = step(&site, flow, "first");
    site.set(Settings { turn: TurnLimits { drafts: 2, ..TurnLimits::default() }, ..workers(1) });
    let report = report(first, site.attempt(first), ReportOutcome::Succeeded);
    site.turn(report);
    let of = site.engine().health().next_owed(None).expect("what follows is owed").of;
    site.park("it cannot be worked out");
    site.when(dismiss(of));
    (site, flow)
}

#[test]
fn cancel_ends_a_stuck_workflow() {
    let (mut site, flow) = stuck_workflow();
    assert!(site.engine().executions().get(&flow).is_some());
    assert_eq!(summarize(&site.when(cancel(flow))), ["second skipped: cancelled", "third skipped: cancelled", "flow cancelled"]);
    assert_nothing_is_left(&site);
}

#[test]
fn cancel_ends_a_workflow_whose_catalog_cannot_be_built() {
    let mut site = site([does("first", "demo.say"), does("second", "demo.say").needs(["first"])]);
    let (flow, _) = begin(&mut site);
    site.set_catalogs(CatalogsHealth::Gone);
    site.when(cancel(flow));
    assert_eq!(fail_cancelled(&mut site, flow, "first"), ["first cancelled", "flow cancelled"]);
    assert_nothing_is_left(&site);
}

#[test]
fn stuck_workflow_that_was_cancelled_twice_ends_with_another_cancel() {
    let (mut site, flow) = stuck_workflow();
    site.set(Settings { turn: TurnLimits { drafts: 1, ..TurnLimits::default() }, ..workers(1) });
    for _ in 0..2 {
        site.turn(cancel(flow));
        let of = site.engine().health().next_owed(None).expect("what follows is owed").of;
        site.park("it cannot be worked out");
        site.turn(dismiss(of));
    }
    site.set(workers(1));
    assert_eq!(summarize(&site.when(cancel(flow))), ["second skipped: cancelled", "third skipped: cancelled", "flow cancelled"]);
}

#[test]
fn cancel_of_many_waiting_executions_leaves_little_owed() {
    let steps = |fast: bool| {
        let each = does("each", "demo.say").over("lists.range(3000)").parallel(3000);
        [if fast { each.fail_fast() } else { each }]
    };
    let mut cancelled = site(steps(false));
    cancelled.set(workers(1));
    let (flow, _) = begin(&mut cancelled);
    cancelled.turn(cancel(flow));
    assert!(cancelled.engine().health().owed_count() <= 101, "{}", cancelled.engine().health().owed_count());

    let mut failed = site(steps(true));
    failed.set(workers(1));
    let (flow, _) = begin(&mut failed);
    let first = item(&failed, flow, "each", 0);
    let report = report(first, failed.attempt(first), crate::support::site::failed_outcome(FailureKind::ExitCode));
    failed.turn(report);
    assert!(failed.engine().health().owed_count() <= 101, "{}", failed.engine().health().owed_count());
    failed.serve_all();
    assert_nothing_is_left(&failed);
}

#[test]
fn parked_reaction_leaves_no_worker_idle() {
    let mut site = site([does("first", "demo.say"), does("second", "demo.say").needs(["first"])]);
    site.set(workers(1));
    let (flow, _) = begin(&mut site);
    let waits = site.run("demo.say");
    site.set_catalogs(CatalogsHealth::Broken);
    let first = step(&site, flow, "first");
    let outcome = site.succeed(first);
    assert_eq!(outcome.kinds(), ["attempt.succeeded", "execution.succeeded", "reaction.parked", "attempt.started"]);
    assert_eq!(outcome.records().last().unwrap().stream, StreamId::Execution(waits));
}

#[test]
fn items_that_cannot_start_leave_no_reactions_owed() {
    let each = does("each", "demo.say").over("lists.range(3000)").with(&json!({ "n": "${{ 1 / 0 }}" }));
    let mut site = site([each]);
    let request = site.request("demo.flow");
    site.turn(request);
    assert_eq!(site.engine().health().owed_count(), 1);
    let rest = site.serve_all();
    assert_eq!(summarize(&rest).last().unwrap(), "flow failed");
    assert_nothing_is_left(&site);
}

#[test]
fn cost_per_step_does_not_grow_with_the_workflow() {
    // Measured in records, not in time: each step has the same number.
    let chain = |length: usize| {
        let steps = (0..length).map(|n| {
            let step = does(&format!("s{n}"), "demo.echo");
            if n == 0 { step } else { step.needs([&format!("s{}", n - 1)]) }
        });
        let pieces = Pieces::default().action_at_once("demo.echo").workflow_giving("demo.flow", steps.collect(), None);
        let mut site = Site::with(&pieces);
        let (flow, _) = begin(&mut site);
        for n in 0..length {
            succeed(&mut site, flow, &format!("s{n}"));
        }
        assert_nothing_is_left(&site);
        site.records().len()
    };
    let short = chain(10);
    assert_eq!(chain(110) - short, 10 * (chain(20) - short));
    let wide = |width: usize| {
        let each = does("each", "demo.echo").over(&format!("lists.range({width})")).with(&json!({ "n": "${{ item }}" }));
        let last = does("last", "demo.echo").needing((0..width).map(|n| format!("s{n}")));
        let steps = (0..width).map(|n| does(&format!("s{n}"), "demo.echo")).chain([each, last]);
        let pieces = Pieces::default().action_at_once("demo.echo").workflow_giving("demo.flow", steps.collect(), None);
        let mut site = Site::with(&pieces);
        let (flow, _) = begin(&mut site);
        for n in 0..width {
            succeed(&mut site, flow, &format!("s{n}"));
        }
        succeed(&mut site, flow, "last");
        for n in 0..width {
            let each = item(&site, flow, "each", n as u32);
            site.succeed(each);
        }
        assert_nothing_is_left(&site);
        site.records().len()
    };
    let narrow = wide(10);
    assert_eq!(wide(110) - narrow, 10 * (wide(20) - narrow));
}

#[test]
fn skip_reason_is_one_of_four() {
    let names =
        [SkippedBecause::Condition, SkippedBecause::Needs, SkippedBecause::Failing, SkippedBecause::Cancelled].map(SkippedBecause::as_str);
    assert_eq!(names, ["condition", "needs", "failing", "cancelled"]);
}

#[test]
fn cancelled_items_and_turns_do_not_cancel_others_themselves() {
    for beside in [
        does("beside", "demo.say").over("[1]").cancels_others(),
        does("beside", "demo.say").repeat(crate::support::workflow::times(3)).cancels_others(),
    ] {
        let steps = [does("check", "demo.say").cancels_others(), beside, does("mend", "demo.say").needs(["check"]).starts_if("failed()")];
        let mut site = site(steps);
        let (flow, _) = begin(&mut site);
        assert_eq!(fail(&mut site, flow, "check"), ["check failed", "mend asked"]);
        let of_step = step(&site, flow, "beside").0;
        let log = site.engine().log();
        let children = [Role::Item(0), Role::Iteration(1)].map(|role| ExecutionId(Id::derive(log, of_step, role)));
        let child = children.into_iter().find(|child| site.engine().executions().get(child).is_some()).expect("it runs");
        let ended = summarize(&site.fail(child, FailureKind::Cancelled));
        assert!(ended.iter().all(|line| !line.starts_with("mend")), "{ended:?}");
        assert_eq!(succeed(&mut site, flow, "mend"), ["mend succeeded", "flow failed"]);
    }
}

#[test]
fn nested_workflows_of_a_cancelled_one_run_their_cleanup() {
    let inner = [does("work", "demo.say"), does("release", "demo.say").needs(["work"]).starts_if("always()")];
    let each = does("each", "demo.inner").over("lists.range(8)").parallel(8);
    let pieces = Pieces::default().action("demo.say").workflow("demo.inner", inner).workflow("demo.flow", [each]);
    let mut site = Site::with(&pieces);
    site.set(workers(1));
    let (flow, _) = begin(&mut site);
    let runs = |site: &Site| {
        let running = site.engine().executions().iter().find(|(id, _)| site.has_attempt(**id));
        running.map(|(id, execution)| (*id, execution.part_of.as_ref().unwrap().step.to_string()))
    };
    let (work, _) = runs(&site).expect("the first works");
    site.set(Settings { turn: TurnLimits { drafts: 3, ..TurnLimits::default() }, ..workers(1) });
    site.turn(cancel(flow));
    assert!(site.engine().health().owed_count() > 0, "the others are not asked yet");
    let worked = report(work, site.attempt(work), ReportOutcome::Succeeded);
    site.turn(worked);
    site.serve_all();
    site.set(workers(1));
    let mut released = 0;
    while let Some((running, name)) = runs(&site) {
        assert_eq!(name, "release");
        site.succeed(running);
        released += 1;
    }
    assert_eq!(released, 8);
    assert_nothing_is_left(&site);
    let ends = site.records().iter().filter_map(short).filter(|line| line.starts_with("each[") && line.ends_with("cancelled")).count();
    assert_eq!(ends, 8);
}

#[test]
fn waiting_execution_is_not_open_work() {
    let pieces =
        Pieces::default().sleep("demo.sleep").workflow("demo.flow", [does("wait", "demo.sleep").with(&json!({ "duration": "1h" }))]);
    let mut site = Site::with(&pieces);
    begin(&mut site);
    assert_eq!(site.engine().executions().open_work(), 0);
}
