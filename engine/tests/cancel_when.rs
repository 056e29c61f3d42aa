//! Steps that an event cancels: which steps, by which event, and what is first if an answer, a timer or a cancel
//! comes at the same moment.

use std::time::Duration;

use ensue_engine::catalog::{OnExpire, Period, Since, Wait};
use ensue_engine::command::{Answer, Ask, Command, Refusal};
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::site::receive_events;
use crate::support::workflow::{StepPiece, awaits, does, expression, summarize};
use crate::support::{Pieces, Site, ana, answer_inquiry, asked_by, cancel, workers};

const REFUNDED: &str = "shop.refunded";
const SAME_ORDER: &str = "event.payload.order == params.order";

fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    let pieces = Pieces::default().trigger(REFUNDED).trigger("shop.paid").action("demo.say").sleep("core.sleep");
    let pieces = pieces.inquiry("core.inquiry").awaiting("core.wait");
    let mut site = Site::with(&pieces.workflow("demo.flow", steps));
    site.set(workers(100));
    site
}

/// Asks Bo, until the order is refunded.
fn asks(since: Since) -> StepPiece {
    let question = json!({ "title": "Ship?", "answer": { "type": "object" }, "assignees": ["bo"], "expires": "1m" });
    does("ask", "core.inquiry").with(&question).cancelled_by(REFUNDED, SAME_ORDER, since)
}

fn sleeps() -> StepPiece {
    does("nap", "core.sleep").with(&json!({ "duration": "1m" })).cancelled_by(REFUNDED, SAME_ORDER, Since::Start)
}

/// Waits for the payment of the order, until it is refunded.
fn waits_for(trigger: &str) -> StepPiece {
    let wait = Wait {
        trigger: trigger.parse().unwrap(),
        when: Some(expression(SAME_ORDER)),
        since: Since::Start,
        expires: Some(Period::Fixed(Duration::from_secs(60))),
        on_expire: OnExpire::Fail,
    };
    awaits("paid", wait).cancelled_by(REFUNDED, SAME_ORDER, Since::Start)
}

/// Reads the end of a step, whatever it is.
fn then(step: &str) -> StepPiece {
    let read = json!({
        "status": format!("${{{{ steps.{step}.status }}}}"),
        "event": format!("${{{{ steps.{step}.event }}}}"),
        "result": format!("${{{{ steps.{step}.result }}}}"),
    });
    does("then", "demo.say").needs([step]).starts_if("always()").with(&read)
}

#[track_caller]
fn begin(site: &mut Site, order: u32) -> (ExecutionId, Vec<String>) {
    let command = site.request_with("demo.flow", &json!({ "order": order }), None);
    let outcome = site.when(command);
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    (flow, summarize(&outcome))
}

fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

fn refund(site: &mut Site, order: u32) -> Outcome {
    site.receive(REFUNDED, &json!({ "order": order, "why": "torn" }))
}

/// Offers two commands in one batch, whether they are accepted or not.
fn together(site: &mut Site, commands: &[Command; 2]) -> Vec<String> {
    for command in commands {
        drop(site.offer(command));
    }
    let mut told = summarize(&site.commit());
    told.extend(summarize(&site.serve_all()));
    told
}

fn last_params(outcome: &Outcome) -> Value {
    let record = outcome.records().iter().rev().find(|record| record.kind() == "execution.requested").expect("a step was asked for");
    serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

#[track_caller]
fn assert_nothing_waits(site: &Site) {
    let saved: Value = serde_json::from_slice(&site.engine().save().json).unwrap();
    let nothing = json!({ "open": [], "keyed": [], "others": [], "paths": [] });
    assert_eq!([&saved["workflows"]["waits"], &saved["workflows"]["cancels"]], [&nothing; 2]);
    assert_eq!(saved["inquiries"]["open"], json!([]));
}

#[test]
fn event_withdraws_an_inquiry_and_the_step_counts_as_skipped() {
    let mut site = site([asks(Since::Start), then("ask")]);
    let (flow, begun) = begin(&mut site, 7);
    assert_eq!(begun[1..], ["ask would be cancelled by shop.refunded", "ask asked"]);
    let ask = step(&site, flow, "ask");
    let inquiry = site.engine().inquiries().of(&ask).unwrap().0;
    assert_eq!(summarize(&refund(&mut site, 8)), [""; 0], "another order");
    site.restart();
    let outcome = refund(&mut site, 7);
    assert_eq!(summarize(&outcome), ["ask is cancelled by its event", "withdrawn", "ask cancelled", "then asked"]);
    let event = outcome.records().iter().find(|record| record.kind() == "event.received").unwrap().id;
    let by = outcome.facts().find_map(|fact| match fact {
        Fact::InquiryWithdrawn(fact) => fact.by,
        _ => None,
    });
    assert_eq!(by.map(|by| by.0), Some(event));
    let read = last_params(&outcome);
    assert_eq!((&read["status"], &read["result"]), (&json!("skipped"), &Value::Null));
    assert_eq!((&read["event"]["payload"]["why"], &read["event"]["trigger"]), (&json!("torn"), &json!(REFUNDED)));
    site.when(answer_inquiry(inquiry, "bo", &json!({}), None)).then_refused(&Refusal::InquiryClosed(inquiry));
    assert_eq!(summarize(&site.succeed(step(&site, flow, "then"))), ["then succeeded", "flow succeeded"]);
    assert_nothing_waits(&site);
}

#[test]
fn answer_before_the_event_counts() {
    let mut site = site([asks(Since::Start), then("ask")]);
    let (flow, _) = begin(&mut site, 7);
    let inquiry = site.engine().inquiries().of(&step(&site, flow, "ask")).unwrap().0;
    let outcome = site.when(answer_inquiry(inquiry, "bo", &json!({}), None));
    assert_eq!(summarize(&outcome), ["ask succeeded", "then asked"]);
    assert_eq!((&last_params(&outcome)["status"], &last_params(&outcome)["event"]), (&json!("succeeded"), &Value::Null));
    assert_eq!(summarize(&refund(&mut site, 7)), [""; 0]);
    assert_eq!(summarize(&site.succeed(step(&site, flow, "then"))), ["then succeeded", "flow succeeded"]);
    assert_nothing_waits(&site);
}

#[test]
fn first_of_an_answer_and_an_event_in_one_batch_counts() {
    for is_answer_first in [true, false] {
        let mut site = site([asks(Since::Start), then("ask")]);
        let (flow, _) = begin(&mut site, 7);
        let inquiry = site.engine().inquiries().of(&step(&site, flow, "ask")).unwrap().0;
        let event = site.event(REFUNDED, &json!({ "order": 7 }));
        let (answer, event) = (answer_inquiry(inquiry, "bo", &json!({}), None), receive_events(vec![event]));
        let commands = if is_answer_first { [answer, event] } else { [event, answer] };
        let told = together(&mut site, &commands);
        let expected = if is_answer_first {
            vec!["ask succeeded", "then asked"]
        } else {
            vec!["ask is cancelled by its event", "withdrawn", "ask cancelled", "then asked"]
        };
        assert_eq!(told, expected);
        site.succeed(step(&site, flow, "then"));
        assert_nothing_waits(&site);
    }
}

#[test]
fn event_ends_a_sleep_and_a_wait() {
    for (steps, name) in [(sleeps(), "nap"), (waits_for("shop.paid"), "paid")] {
        let mut site = site([steps, then(name)]);
        let (flow, _) = begin(&mut site, 7);
        site.restart();
        let outcome = refund(&mut site, 7);
        assert_eq!(summarize(&outcome), [&format!("{name} is cancelled by its event"), &format!("{name} cancelled"), "then asked"]);
        assert_eq!((&last_params(&outcome)["status"], &last_params(&outcome)["event"]["payload"]["order"]), (&json!("skipped"), &json!(7)));
        assert_eq!(summarize(&site.after(60_000)), [""; 0], "its timer is gone");
        assert_eq!(summarize(&site.succeed(step(&site, flow, "then"))), ["then succeeded", "flow succeeded"]);
        assert_nothing_waits(&site);
    }
}

#[test]
fn end_of_a_sleep_before_the_event_counts() {
    let mut site = site([sleeps(), then("nap")]);
    let (flow, _) = begin(&mut site, 7);
    let outcome = site.after(60_000);
    assert_eq!(summarize(&outcome), ["nap succeeded", "then asked"]);
    assert_eq!(last_params(&outcome)["event"], Value::Null);
    assert_eq!(summarize(&refund(&mut site, 7)), [""; 0]);
    site.succeed(step(&site, flow, "then"));
    assert_nothing_waits(&site);
}

#[test]
fn awaited_event_before_the_canceling_one_counts() {
    let mut site = site([does("build", "demo.say"), waits_for("shop.paid").needs(["build"]), then("paid")]);
    let (flow, _) = begin(&mut site, 7);
    assert_eq!(summarize(&site.receive("shop.paid", &json!({ "order": 7 }))), ["paid has come"]);
    assert_eq!(summarize(&refund(&mut site, 7)), [""; 0], "its wait is over, though it has not begun");
    let outcome = site.succeed(step(&site, flow, "build"));
    assert_eq!(summarize(&outcome), ["build succeeded", "paid asked", "paid succeeded", "then asked"]);
    assert_eq!(last_params(&outcome)["event"]["trigger"], json!("shop.paid"));
    site.succeed(step(&site, flow, "then"));
    assert_nothing_waits(&site);
}

#[test]
fn event_that_is_awaited_and_cancels_is_the_awaited_one() {
    let mut site = site([waits_for(REFUNDED)]);
    begin(&mut site, 7);
    assert_eq!(summarize(&refund(&mut site, 7)), ["paid has come", "paid succeeded", "flow succeeded"]);
    assert_nothing_waits(&site);
}

#[test]
fn event_before_the_step_skips_it_and_asks_nobody() {
    let mut site = site([does("build", "demo.say"), asks(Since::Start).needs(["build"]), then("ask")]);
    let (flow, begun) = begin(&mut site, 7);
    assert_eq!(begun[1..], ["ask would be cancelled by shop.refunded", "build asked"]);
    assert_eq!(summarize(&refund(&mut site, 7)), ["ask is cancelled by its event"]);
    site.restart();
    let outcome = site.succeed(step(&site, flow, "build"));
    assert_eq!(summarize(&outcome), ["build succeeded", "ask skipped: event", "then asked"]);
    let read = last_params(&outcome);
    assert_eq!((&read["status"], &read["event"]["payload"]["order"]), (&json!("skipped"), &json!(7)));
    site.succeed(step(&site, flow, "then"));
    assert_nothing_waits(&site);
}

#[test]
fn since_step_counts_only_events_after_its_beginning() {
    let mut site = site([does("build", "demo.say"), asks(Since::Step).needs(["build"])]);
    let (flow, _) = begin(&mut site, 7);
    assert_eq!(summarize(&refund(&mut site, 7)), [""; 0]);
    let outcome = site.succeed(step(&site, flow, "build"));
    assert_eq!(summarize(&outcome), ["build succeeded", "ask would be cancelled by shop.refunded", "ask asked"]);
    assert_eq!(summarize(&refund(&mut site, 7)), ["ask is cancelled by its event", "withdrawn", "ask cancelled", "flow succeeded"]);
    assert_nothing_waits(&site);
}

#[test]
fn steps_after_a_canceled_one_are_skipped_and_the_workflow_succeeds() {
    let mut site = site([asks(Since::Start), does("ship", "demo.say").needs(["ask"])]);
    begin(&mut site, 7);
    let told = summarize(&refund(&mut site, 7));
    assert_eq!(told[2..], ["ask cancelled", "ship skipped: needs", "flow succeeded"]);
    assert_nothing_waits(&site);
}

#[test]
fn cancel_of_the_workflow_before_the_event_cancels_the_step() {
    let mut site = site([asks(Since::Start)]);
    let (flow, _) = begin(&mut site, 7);
    let event = site.event(REFUNDED, &json!({ "order": 7 }));
    let told = together(&mut site, &[cancel(flow), receive_events(vec![event])]);
    assert_eq!(told, ["ask cancelled", "flow cancelled"]);
    assert_nothing_waits(&site);
}

#[test]
fn paused_workflow_ends_its_canceled_step_once_it_is_resumed() {
    for piece in [asks(Since::Start), sleeps()] {
        let mut site = site([piece]);
        let (flow, _) = begin(&mut site, 7);
        site.when(asked_by(ana(), Ask::PauseExecution { execution: flow }));
        assert_eq!(summarize(&refund(&mut site, 7)).len(), 1);
        assert_eq!(summarize(&site.after(120_000)), [""; 0], "no timer fires meanwhile");
        site.restart();
        let told = summarize(&site.when(asked_by(ana(), Ask::ResumeExecution { execution: flow })));
        assert!(told.ends_with(&["flow succeeded".to_owned()]) && told.iter().any(|line| line.ends_with(" cancelled")), "{told:?}");
        assert_nothing_waits(&site);
    }
}

#[test]
fn canceled_sleep_does_not_succeed_when_its_workflow_is_canceled_as_well() {
    let mut site = site([sleeps()]);
    let (flow, _) = begin(&mut site, 7);
    site.when(asked_by(ana(), Ask::PauseExecution { execution: flow }));
    refund(&mut site, 7);
    assert_eq!(site.phase(step(&site, flow, "nap")), Some(Phase::Woken));
    assert_eq!(summarize(&site.when(cancel(flow))), ["nap cancelled", "flow cancelled"]);
    assert_nothing_waits(&site);
}

#[test]
fn condition_that_fails_is_recorded_once_and_cancels_nothing() {
    let piece = does("nap", "core.sleep").with(&json!({ "duration": "1m" }));
    let mut site = site([piece.cancelled_by(REFUNDED, "event.payload.missing == params.order", Since::Start)]);
    begin(&mut site, 7);
    let told: Vec<Vec<String>> = (0..2).map(|_| summarize(&refund(&mut site, 7))).collect();
    assert!(told.concat().len() <= 1, "{told:?}");
    assert_eq!(summarize(&site.after(60_000)), ["nap succeeded", "flow succeeded"]);
    assert_nothing_waits(&site);
}
