//! Dead letters: each is handled once, and none is forgotten.

use ensue_engine::command::{Answer, Ask, Command, ObservedEvent, Refusal, RefusedDelivery, RetriedDelivery};
use ensue_engine::events::facts::DeliveredWith;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::record::{Body, Cause};
use ensue_engine::workflows::facts::RerunFrom;
use ensue_test_support::spec::Outcome;
use serde_json::json;

use crate::support::workflow::does;
use crate::support::{Pieces, Site, ana, asked_by, cancel, workers};

fn site() -> Site {
    let pieces = Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.greet", "demo.ping", "", "demo.say");
    let mut site = Site::with(&pieces.workflow("demo.flow", [does("one", "demo.say")]));
    site.set(workers(100));
    site
}

fn refuse_delivery(site: &mut Site) -> Id {
    let body = Body::json(&br#"{"n":1}"#[..]);
    let with = Some(DeliveredWith::default());
    let letter = RefusedDelivery { sensor: "demo.hook".parse().unwrap(), trigger: None, reason: "it does not fit".into(), body, with };
    let outcome = site.when(asked_by(ana(), Ask::KeepDelivery(letter))).then(&["delivery.refused"]);
    outcome.records()[0].id
}

fn retry(of: Id, events: Vec<ObservedEvent>) -> Command {
    let cause = Cause::root(of, None).from_parent(of);
    asked_by(ana(), Ask::RetryDelivery(RetriedDelivery { of, cause, events }))
}

fn dismiss(of: Id) -> Command {
    asked_by(ana(), Ask::DismissDeadLetter { of })
}

/// The command that reruns a failed execution once.
fn rerun(site: &Site, of: ensue_engine::ids::ExecutionId) -> Command {
    let mut command = site.rerun_of(of, RerunFrom::Failed, None).unwrap();
    let Ask::RequestExecution(request) = command.ask else { panic!("a rerun asks for an execution") };
    command.ask = Ask::RetryExecution(request);
    command
}

fn events_of(outcome: &Outcome) -> Vec<Id> {
    match outcome.answer() {
        Answer::Events(events) => events.iter().map(|event| event.id.0).collect(),
        other => panic!("events were accepted: {other:?}"),
    }
}

#[test]
fn refused_delivery_can_be_retried_once_and_is_caused_by_the_refusal() {
    let mut site = site();
    let of = refuse_delivery(&mut site);
    let event = site.event("demo.ping", &json!({ "n": 1 }));
    let outcome = site.when(retry(of, vec![event]));
    let outcome = outcome.then(&["event.received", "dead_letter.retried", "enforcement.made", "execution.requested", "attempt.started"]);
    assert_eq!((outcome.records()[0].cause.root, outcome.records()[0].cause.parent), (of, Some(of)));
    let Some(Fact::DeadLetterRetried(retried)) = outcome.facts().nth(1) else { panic!("it is reported") };
    assert_eq!((retried.of, retried.events.iter().map(|event| event.0).collect::<Vec<_>>()), (of, events_of(&outcome)));
    let event = site.event("demo.ping", &json!({ "n": 1 }));
    site.when(retry(of, vec![event])).then_refused(&Refusal::DeadLetterNotOpen(of));
    site.when(dismiss(of)).then_refused(&Refusal::DeadLetterNotOpen(of));
}

#[test]
fn retry_of_a_letter_without_matching_events_closes_it() {
    let mut site = site();
    let of = refuse_delivery(&mut site);
    site.when(retry(of, Vec::new())).then(&["dead_letter.retried"]);
    site.when(retry(of, Vec::new())).then_refused(&Refusal::DeadLetterNotOpen(of));
}

#[test]
fn dismissed_letter_stays_closed_after_a_restart() {
    let mut site = site();
    let (of, other) = (refuse_delivery(&mut site), refuse_delivery(&mut site));
    site.when(dismiss(of)).then(&["dead_letter.dismissed"]);
    site.restart();
    site.when(dismiss(of)).then_refused(&Refusal::DeadLetterNotOpen(of));
    site.when(dismiss(other)).then(&["dead_letter.dismissed"]);
}

#[test]
fn dead_letter_of_an_execution_is_closed_by_one_retry_or_any_rerun() {
    let mut site = site();
    let failed = |site: &mut Site| {
        let execution = site.run("demo.say");
        site.fail(execution, FailureKind::ExitCode);
        execution
    };
    let execution = failed(&mut site);
    assert!(site.engine().dead_letters().is_open(execution.0));
    let command = rerun(&site, execution);
    site.when(command.clone()).then(&["execution.requested", "attempt.started"]);
    site.when(command).then_refused(&Refusal::DeadLetterNotOpen(execution.0));
    let other = failed(&mut site);
    let by_hand = site.rerun_of(other, RerunFrom::Start, None).unwrap();
    site.when(by_hand);
    site.when(dismiss(other.0)).then_refused(&Refusal::DeadLetterNotOpen(other.0));
}

#[test]
fn only_failed_executions_outside_of_workflows_are_letters() {
    let mut site = site();
    let succeeded = site.run("demo.say");
    site.succeed(succeeded);
    let cancelled = site.run("demo.say");
    site.when(cancel(cancelled));
    site.fail(cancelled, FailureKind::Cancelled);
    assert_eq!(site.engine().dead_letters().count(), 0);
    let flow = site.run("demo.flow");
    let step = site.engine().executions().iter().map(|(id, _)| *id).find(|id| *id != flow).unwrap();
    site.fail(step, FailureKind::ExitCode);
    assert!(site.engine().dead_letters().is_open(flow.0) && !site.engine().dead_letters().is_open(step.0));
}
