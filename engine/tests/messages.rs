//! Messages of running attempts: progress, events and artifacts, each once, and none from an attempt that has
//! ended.

use ensue_engine::command::{MessageContent, Refusal};
use ensue_engine::executions::facts::Evidence;
use ensue_engine::executions::messages::{ARTIFACTS_MAX, EMITTED_MAX, PROGRESS_BYTES_MAX, PROGRESS_MAX};
use ensue_engine::executions::state::{Attempt, Phase};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, ExecutionId, Id, Role};
use ensue_engine::record::Body;
use serde_json::json;

use crate::support::site::{artifact, progress, take_message};
use crate::support::{Pieces, Site, cancel};

fn site() -> Site {
    let pieces = Pieces::default()
        .trigger("demo.ping")
        .action("demo.say")
        .action_with("demo.urgent", |action| action.idempotent = true)
        .rule("demo.rule", "demo.ping", "event.payload.n == 1", "demo.say");
    Site::with(&pieces)
}

fn running() -> (Site, ExecutionId, Attempt) {
    let mut site = site();
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution);
    (site, execution, attempt)
}

fn event(site: &Site, attempt: Attempt, index: u32) -> MessageContent {
    let id = EventId(Id::derive(site.engine().log(), attempt.id.0, Role::Emit(index)));
    MessageContent::Event(Box::new(site.observed_event(id, "demo.ping", &json!({ "n": 1 }))))
}

#[test]
fn progress_is_recorded_with_its_text_as_the_body() {
    let (mut site, execution, attempt) = running();
    let outcome = site.when(progress(execution, attempt, 0)).then(&["attempt.progressed"]);
    let record = &outcome.records()[0];
    let Fact::AttemptProgressed(fact) = &record.fact else { panic!("it progressed") };
    assert_eq!((fact.attempt, fact.index, fact.thousandths), (attempt.id, 0, Some(400)));
    assert_eq!(record.body, Some(Body::json(&br#"{"message":"on its way"}"#[..])));
    assert_eq!(record.cause.parent, Some(attempt.id.0));
    assert_eq!(outcome.effects(), []);
}

#[test]
fn progress_is_limited_to_one() {
    let (mut site, execution, attempt) = running();
    let outcome = site.when(take_message(execution, attempt, 0, MessageContent::Progress { thousandths: Some(1001), body: None }));
    let Some(Fact::AttemptProgressed(fact)) = outcome.facts().next() else { panic!("it progressed") };
    assert_eq!(fact.thousandths, Some(1000));
}

#[test]
fn repeated_message_changes_nothing_even_after_a_restart() {
    let (mut site, execution, attempt) = running();
    site.when(progress(execution, attempt, 0)).then(&["attempt.progressed"]);
    site.when(take_message(execution, attempt, 1, artifact("a.csv"))).then(&["artifact.kept"]);
    let emits = event(&site, attempt, 2);
    site.when(take_message(execution, attempt, 2, emits)).then(&[
        "attempt.emitted",
        "event.received",
        "enforcement.made",
        "execution.requested",
        "attempt.started",
    ]);
    site.restart();
    site.when(progress(execution, attempt, 0)).then(&[]);
    site.when(take_message(execution, attempt, 1, artifact("a.csv"))).then(&[]);
    let emits = event(&site, attempt, 2);
    site.when(take_message(execution, attempt, 2, emits)).then(&[]);
}

#[test]
fn gap_in_message_indexes_is_allowed() {
    let (mut site, execution, attempt) = running();
    site.when(progress(execution, attempt, 4)).then(&["attempt.progressed"]);
    site.when(progress(execution, attempt, 3)).then(&[]);
    site.when(progress(execution, attempt, 5)).then(&["attempt.progressed"]);
}

#[test]
fn emitted_event_is_one_level_deeper_than_its_attempt() {
    let (mut site, execution, attempt) = running();
    let emits = event(&site, attempt, 0);
    let outcome = site.when(take_message(execution, attempt, 0, emits));
    let [emitted, received, ..] = outcome.records() else { panic!("it is received: {:?}", outcome.kinds()) };
    let Fact::AttemptEmitted(fact) = &emitted.fact else { panic!("it emitted") };
    assert_eq!((fact.event.0, received.cause.parent), (received.id, Some(attempt.id.0)));
    assert_eq!((received.cause.root, received.cause.depth), (execution.0, emitted.cause.depth + 1));
}

#[test]
fn later_attempt_emits_and_stores_independently() {
    let mut site = site();
    let execution = site.run("demo.urgent");
    let first = site.attempt(execution);
    site.when(take_message(execution, first, 0, artifact("a.csv"))).then(&["artifact.kept"]);
    site.lose(execution, Evidence::MayHaveBegun);
    let second = site.attempt(execution);
    let outcome = site.when(take_message(execution, second, 0, artifact("a.csv"))).then(&["artifact.kept"]);
    assert_eq!(outcome.records()[0].id, Id::derive(site.engine().log(), second.id.0, Role::Artifact(0)));
    site.when(take_message(execution, first, 1, artifact("b.csv"))).then_refused(&Refusal::NotRunning(first.id));
}

#[test]
fn message_of_an_attempt_that_does_not_run_is_rejected() {
    let (mut site, execution, attempt) = running();
    let wrong = Attempt { token: attempt.token + 1, ..attempt };
    site.when(progress(execution, wrong, 0)).then_refused(&Refusal::WrongToken { attempt: attempt.id, given: attempt.token + 1 });
    site.lose(execution, Evidence::MayHaveBegun);
    assert!(matches!(site.phase(execution), Some(Phase::Indeterminate { .. })));
    site.when(progress(execution, attempt, 0)).then_refused(&Refusal::NotRunning(attempt.id));
    site.when(cancel(execution));
    site.when(progress(execution, attempt, 0)).then_refused(&Refusal::NotOpen(execution));
}

#[test]
fn messages_of_a_cancelling_attempt_are_accepted() {
    let (mut site, execution, attempt) = running();
    site.when(cancel(execution));
    site.when(take_message(execution, attempt, 0, artifact("half.csv"))).then(&["artifact.kept"]);
}

#[test]
fn attempt_has_a_maximum_number_of_messages() {
    let (mut site, execution, attempt) = running();
    let refused = |what, max| Refusal::TooManyMessages { attempt: attempt.id, what, max };
    let mut index = 0..;
    let mut next = || index.next().unwrap();
    for _ in 0..PROGRESS_MAX {
        site.when(take_message(execution, attempt, next(), MessageContent::Progress { thousandths: None, body: None }))
            .then(&["attempt.progressed"]);
    }
    site.when(progress(execution, attempt, next())).then_refused(&refused("progress reports", PROGRESS_MAX));
    for _ in 0..ARTIFACTS_MAX {
        site.when(take_message(execution, attempt, next(), artifact("a"))).then(&["artifact.kept"]);
    }
    site.when(take_message(execution, attempt, next(), artifact("a"))).then_refused(&refused("artifacts", ARTIFACTS_MAX));
    for _ in 0..EMITTED_MAX {
        let index = next();
        let id = EventId(Id::derive(site.engine().log(), attempt.id.0, Role::Emit(index)));
        let event = MessageContent::Event(Box::new(site.observed_event(id, "demo.ping", &json!({ "n": 0 }))));
        site.when(take_message(execution, attempt, index, event)).then(&["attempt.emitted", "event.received"]);
    }
    let index = next();
    let emits = event(&site, attempt, index);
    site.when(take_message(execution, attempt, index, emits)).then_refused(&refused("events", EMITTED_MAX));
}

#[test]
fn unusable_message_is_recorded_once_with_its_reason() {
    let (mut site, execution, attempt) = running();
    let unusable = || MessageContent::Unusable { reason: "the file `out` is a link".to_owned() };
    let outcome = site.when(take_message(execution, attempt, 3, unusable())).then(&["message.refused"]);
    let Some(Fact::MessageRefused(fact)) = outcome.facts().next() else { panic!("it is refused") };
    assert_eq!((fact.index, fact.reason.as_str()), (3, "the file `out` is a link"));
    site.when(take_message(execution, attempt, 3, unusable())).then(&[]);
}

#[test]
fn progress_body_has_a_size_limit() {
    let (mut site, execution, attempt) = running();
    let body = Some(Body::json(vec![b'x'; PROGRESS_BYTES_MAX as usize + 1]));
    let outcome = site.when(take_message(execution, attempt, 0, MessageContent::Progress { thousandths: None, body }));
    assert!(matches!(outcome.result(), Err(Refusal::TooLarge(_))), "{:?}", outcome.result());
}
