//! Reruns: what they take over from the earlier execution, and what they run.

use ensue_engine::command::{Answer, Command, Refusal};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::history::History;
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::Body;
use ensue_engine::workflows::facts::RerunFrom;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::site::report_giving;
use crate::support::workflow::{StepPiece, does, fails, summarize, times};
use crate::support::{Pieces, Site, answer_inquiry, cancel, workers};

fn pieces<const N: usize>(steps: [StepPiece; N]) -> Pieces {
    let pieces = Pieces::default().trigger("demo.ping").action("demo.say").action("demo.other").action_at_once("demo.echo");
    pieces.inquiry("core.inquiry").workflow("demo.flow", steps)
}

fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    let mut site = Site::with(&pieces(steps));
    site.set(workers(100));
    site
}

fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

fn item(site: &Site, flow: ExecutionId, name: &str, item: u32) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), step(site, flow, name).0, Role::Item(item)))
}

fn gives(site: &mut Site, execution: ExecutionId, result: &Value) -> Outcome {
    let report = report_giving(execution, site.attempt(execution), Body::json(result.to_string()));
    site.when(report)
}

fn again(site: &mut Site, of: ExecutionId, from: RerunFrom) -> (ExecutionId, Vec<String>) {
    let command = site.rerun(of, from);
    let outcome = site.when(command);
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    (flow, summarize(&outcome))
}

fn from(step: &str) -> RerunFrom {
    RerunFrom::Step(step.parse().unwrap())
}

fn last_params(outcome: &Outcome) -> Value {
    let record = outcome.records().iter().rev().find(|record| record.kind() == "execution.requested").expect("a step was asked for");
    serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

fn one_two_three() -> [StepPiece; 3] {
    [
        does("one", "demo.say"),
        does("two", "demo.say").needs(["one"]).with(&json!({ "n": "${{ steps.one.result.n }}" })),
        does("three", "demo.echo").needs(["two"]),
    ]
}

#[test]
fn rerun_from_failed_takes_over_succeeded_steps_with_their_results() {
    let mut site = site(one_two_three());
    let flow = site.run("demo.flow");
    let one = step(&site, flow, "one");
    gives(&mut site, one, &json!({ "n": 7 }));
    site.fail(step(&site, flow, "two"), FailureKind::ExitCode);
    assert_eq!(site.phase(flow), None);
    site.restart();
    let command = site.rerun(flow, RerunFrom::Failed);
    let outcome = site.when(command);
    let Answer::Execution(second) = outcome.answer() else { panic!("an execution was asked for") };
    assert_eq!(summarize(&outcome), ["flow asked", "again from failed", "one taken over", "two asked"]);
    assert_eq!(last_params(&outcome), json!({ "n": 7 }));
    let two = step(&site, second, "two");
    assert_eq!(summarize(&site.succeed(two))[..2], ["two succeeded", "three asked"]);
    let three = step(&site, second, "three");
    assert_eq!(summarize(&site.succeed(three)), ["three succeeded", "flow succeeded"]);
}

#[test]
fn rerun_of_a_rerun_takes_over_the_same_steps() {
    let mut site = site(one_two_three());
    let flow = site.run("demo.flow");
    let one = step(&site, flow, "one");
    gives(&mut site, one, &json!({ "n": 7 }));
    site.fail(step(&site, flow, "two"), FailureKind::ExitCode);
    let (second, _) = again(&mut site, flow, RerunFrom::Failed);
    site.fail(step(&site, second, "two"), FailureKind::ExitCode);
    let (_, begun) = again(&mut site, second, RerunFrom::Failed);
    assert_eq!(begun, ["flow asked", "again from failed", "one taken over", "two asked"]);
}

#[test]
fn rerun_from_a_step_repeats_it_and_its_dependents_only() {
    let beside = does("beside", "demo.say");
    let [one, two, three] = one_two_three();
    let mut site = site([one, two, three, beside]);
    let flow = site.run("demo.flow");
    let one = step(&site, flow, "one");
    gives(&mut site, one, &json!({ "n": 7 }));
    for name in ["beside", "two", "three"] {
        site.succeed(step(&site, flow, name));
    }
    assert_eq!(site.phase(flow), None);
    let (second, begun) = again(&mut site, flow, from("two"));
    assert_eq!(begun, ["flow asked", "again from two", "one taken over", "two asked", "beside taken over"]);
    assert_eq!(summarize(&site.succeed(step(&site, second, "two"))), ["two succeeded", "three asked"]);
}

#[test]
fn rerun_from_the_start_takes_nothing_over() {
    let mut site = site(one_two_three());
    let flow = site.run("demo.flow");
    site.fail(step(&site, flow, "one"), FailureKind::ExitCode);
    assert_eq!(again(&mut site, flow, RerunFrom::Start).1, ["flow asked", "one asked"]);
}

#[test]
fn succeeded_items_are_taken_over_and_the_others_run() {
    let each = || does("each", "demo.say").over("[1, 2, 3]");
    let mut site = site([each(), does("after", "demo.echo").needs(["each"])]);
    let flow = site.run("demo.flow");
    for index in [0, 2] {
        site.succeed(item(&site, flow, "each", index));
    }
    site.fail(item(&site, flow, "each", 1), FailureKind::ExitCode);
    let (second, begun) = again(&mut site, flow, RerunFrom::Failed);
    assert_eq!(begun, ["flow asked", "again from failed", "each of 3", "each[0] taken over", "each[1] asked", "each[2] taken over"]);
    let reported = summarize(&site.succeed(item(&site, second, "each", 1)));
    assert_eq!(reported, ["each[1] succeeded", "each ended", "after asked"]);
}

#[test]
fn step_whose_needed_items_are_all_taken_over_is_taken_over_too() {
    let each = does("each", "demo.say").over("[1, 2]");
    let mut site = site([each, does("then", "demo.say").needs(["each"]), does("last", "demo.say").needs(["then"])]);
    let flow = site.run("demo.flow");
    (0..2).for_each(|index| drop(site.succeed(item(&site, flow, "each", index))));
    site.succeed(step(&site, flow, "then"));
    site.fail(step(&site, flow, "last"), FailureKind::ExitCode);
    let (_, begun) = again(&mut site, flow, RerunFrom::Failed);
    let expected = ["each of 2", "each[0] taken over", "each[1] taken over", "each ended", "then taken over", "last asked"];
    assert_eq!(begun[2..], expected);
}

#[test]
fn items_of_a_changed_list_all_run() {
    let each = || does("each", "demo.say").over("params.list");
    let mut site = site([each()]);
    let command = site.request_with("demo.flow", &json!({ "list": [1, 2] }), None);
    let Answer::Execution(flow) = site.when(command).answer() else { panic!("an execution was asked for") };
    site.succeed(item(&site, flow, "each", 0));
    site.fail(item(&site, flow, "each", 1), FailureKind::ExitCode);
    let command = site.rerun_with(flow, RerunFrom::Failed, Some(&json!({ "list": [1, 3] })));
    assert_eq!(summarize(&site.when(command))[2..], ["each of 2", "each[0] asked", "each[1] asked"]);
}

#[test]
fn repeated_step_is_taken_over_as_a_unit() {
    let polled = does("poll", "demo.say").repeat(times(2));
    let then = does("then", "demo.say").needs(["poll"]).with(&json!({ "n": "${{ steps.poll.result.n }}" }));
    let mut site = site([polled, then]);
    let flow = site.run("demo.flow");
    for (turn, n) in [(1, 3), (2, 4)] {
        let turn = ExecutionId(Id::derive(site.engine().log(), step(&site, flow, "poll").0, Role::Iteration(turn)));
        gives(&mut site, turn, &json!({ "n": n }));
    }
    site.fail(step(&site, flow, "then"), FailureKind::ExitCode);
    let command = site.rerun(flow, RerunFrom::Failed);
    let outcome = site.when(command);
    assert_eq!(summarize(&outcome)[2..], ["poll taken over", "then asked"]);
    assert_eq!(last_params(&outcome), json!({ "n": 4 }));
}

#[test]
fn undone_step_runs_again_in_a_rerun() {
    let done = does("done", "demo.say").undone_by("demo.echo", &json!({}));
    let mut site = site([done, does("kept", "demo.say"), fails("stop", "no").needs(["done", "kept"])]);
    let flow = site.run("demo.flow");
    for name in ["done", "kept"] {
        site.succeed(step(&site, flow, name));
    }
    let undo = ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Undo(&"done".parse().unwrap(), 0)));
    site.succeed(undo);
    assert_eq!(site.phase(flow), None);
    let (_, begun) = again(&mut site, flow, RerunFrom::Failed);
    assert_eq!(begun[2..], ["done asked", "kept taken over"]);
}

#[test]
fn taken_over_step_is_not_undone_by_the_rerun() {
    let done = does("done", "demo.say").undone_by("demo.echo", &json!({}));
    let mut site = site([done, does("last", "demo.say").needs(["done"])]);
    let flow = site.run("demo.flow");
    for name in ["done", "last"] {
        site.succeed(step(&site, flow, name));
    }
    let (second, _) = again(&mut site, flow, from("last"));
    let outcome = site.fail(step(&site, second, "last"), FailureKind::ExitCode);
    assert_eq!(summarize(&outcome), ["last failed", "flow failed"]);
}

#[test]
fn rerun_repeats_a_step_with_a_new_action_and_ignores_a_removed_step() {
    let mut site =
        site([does("gone", "demo.say"), does("same", "demo.say"), does("other", "demo.say"), fails("stop", "no").needs(["same"])]);
    let flow = site.run("demo.flow");
    for name in ["gone", "other", "same"] {
        site.succeed(step(&site, flow, name));
    }
    assert_eq!(site.phase(flow), None);
    site.install(&pieces([does("same", "demo.say"), does("other", "demo.other"), does("new", "demo.say")]));
    let (_, begun) = again(&mut site, flow, RerunFrom::Failed);
    assert_eq!(begun[2..], ["same taken over", "other asked", "new asked"]);
}

#[test]
fn rerun_reevaluates_a_skipped_step_and_takes_over_its_dependents() {
    let skipped = does("skipped", "demo.say").starts_if("false");
    let then = does("then", "demo.say").needs(["skipped"]).starts_if("always()");
    let mut site = site([skipped, then, fails("stop", "no").needs(["then"])]);
    let flow = site.run("demo.flow");
    site.succeed(step(&site, flow, "then"));
    let (_, begun) = again(&mut site, flow, RerunFrom::Failed);
    assert_eq!(begun[2..4], ["skipped skipped: condition", "then taken over"]);
}

fn asking() -> [StepPiece; 2] {
    let question = json!({ "title": "Ship?", "answer": { "type": "object" }, "assignees": ["bo"] });
    [does("ask", "core.inquiry").with(&question), does("ship", "demo.say").needs(["ask"])]
}

fn answer_and_fail(site: &mut Site) -> ExecutionId {
    let flow = site.run("demo.flow");
    let asks = step(site, flow, "ask");
    let inquiry = site.engine().inquiries().of(&asks).expect("it asks").0;
    site.when(answer_inquiry(inquiry, "bo", &json!({ "ship": true }), None));
    site.fail(step(site, flow, "ship"), FailureKind::ExitCode);
    flow
}

#[test]
fn answer_is_taken_over_if_the_question_is_identical() {
    let mut site = site(asking());
    let flow = answer_and_fail(&mut site);
    let (_, begun) = again(&mut site, flow, RerunFrom::Failed);
    assert_eq!(begun[2..], ["ask taken over", "ship asked"]);
}

#[test]
fn inquiry_from_another_catalog_revision_is_opened_again() {
    let mut site = site(asking());
    let flow = answer_and_fail(&mut site);
    site.install(&pieces(asking()));
    let (second, begun) = again(&mut site, flow, RerunFrom::Failed);
    assert_eq!(begun[2..], ["ask asked"]);
    assert_eq!(site.phase(step(&site, second, "ask")), Some(Phase::Asking));
}

#[test]
fn rerun_belongs_to_the_cause_chain_of_the_original() {
    let mut site = site(one_two_three());
    let flow = site.run("demo.flow");
    site.fail(step(&site, flow, "one"), FailureKind::ExitCode);
    let command = site.rerun(flow, RerunFrom::Start);
    let outcome = site.when(command);
    let record = &outcome.records()[0];
    let Fact::ExecutionRequested(fact) = &record.fact else { panic!("it is asked for first") };
    assert_eq!((fact.rerun_of, record.cause.parent, record.cause.root), (Some(flow), Some(flow.0), flow.0));
}

#[test]
fn open_execution_cannot_be_rerun() {
    let mut site = site(one_two_three());
    let flow = site.run("demo.flow");
    let command = site.rerun(flow, RerunFrom::Failed);
    site.when(command).then_refused(&Refusal::NotEnded(flow));
}

#[test]
fn cancelled_rerun_keeps_what_it_took_over() {
    let mut site = site(one_two_three());
    let flow = site.run("demo.flow");
    let one = step(&site, flow, "one");
    gives(&mut site, one, &json!({ "n": 7 }));
    site.fail(step(&site, flow, "two"), FailureKind::ExitCode);
    let (second, _) = again(&mut site, flow, RerunFrom::Failed);
    site.when(cancel(second));
    site.when(cancel(second));
    let running = step(&site, second, "two");
    site.fail(running, FailureKind::Cancelled);
    assert_eq!(again(&mut site, second, RerunFrom::Failed).1[2..], ["one taken over", "two asked"]);
}

impl Site {
    /// The rerun command, as an edge creates it from the log.
    fn rerun(&self, of: ExecutionId, from: RerunFrom) -> Command {
        self.rerun_with(of, from, None)
    }

    /// The same, with these parameters.
    fn rerun_with(&self, of: ExecutionId, from: RerunFrom, params: Option<&Value>) -> Command {
        self.rerun_of(of, from, params).expect("it is in the log")
    }
}

#[test]
fn history_knows_how_an_execution_ended() {
    let mut site = site(one_two_three());
    let flow = site.run("demo.flow");
    let history = |site: &Site| History::of(flow, &site.of_stream(flow)).expect("it was asked for");
    assert_eq!(history(&site).end, None);
    site.fail(step(&site, flow, "one"), FailureKind::ExitCode);
    assert!(history(&site).end.is_some());
}
