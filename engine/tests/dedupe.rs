//! One event per dedupe key: within 24 hours, within a batch, within a command.

use ensue_engine::command::{
    Answer, Conflict, DEDUPE_MILLIS, DedupeKey, EmittedBefore, Novelty, ObservedEvent, ReceivedEvent, Refusal, SignedBody,
};
use ensue_engine::fact::Fact;
use ensue_engine::ids::EventId;
use ensue_engine::record::{DEPTH_MAX, Digest, Position, StreamId};
use ensue_test_support::spec::Outcome;
use serde_json::json;

use crate::support::site::{receive_events, report_emitting, result_of_one};
use crate::support::{Pieces, Site};

fn site() -> Site {
    Site::with(&Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.one", "demo.ping", "", "demo.say"))
}

fn send(site: &mut Site, key: &str, n: u32, conflict: Conflict) -> ReceivedEvent {
    let event = site.keyed_event("demo.ping", &json!({ "n": n }), key, conflict);
    result_of_one(&site.when(receive_events(vec![event])))
}

#[test]
fn duplicate_key_returns_the_first_event_s_id_and_position() {
    let mut site = site();
    let first = send(&mut site, "a", 1, Conflict::IsRefused);
    let records = site.records().len();
    let again = send(&mut site, "a", 1, Conflict::IsRefused);
    assert_eq!(again, ReceivedEvent { novelty: Novelty::Repeat, ..first.clone() });
    assert_eq!(site.records().len(), records);
    assert_ne!(send(&mut site, "b", 1, Conflict::IsRefused).id, first.id);
}

#[test]
fn dedupe_key_is_remembered_across_a_restart() {
    let mut site = site();
    let first = send(&mut site, "a", 1, Conflict::IsRefused);
    site.restart();
    assert_eq!(send(&mut site, "a", 1, Conflict::IsRefused), ReceivedEvent { novelty: Novelty::Repeat, ..first });
}

#[test]
fn key_is_accepted_again_after_24_hours_on_an_otherwise_idle_log() {
    let mut site = site();
    let first = send(&mut site, "a", 1, Conflict::IsRefused);
    site.later(DEDUPE_MILLIS - 1);
    assert_eq!(send(&mut site, "a", 1, Conflict::IsRefused).novelty, Novelty::Repeat);
    site.later(1);
    let second = send(&mut site, "a", 1, Conflict::IsRefused);
    assert_eq!(second.novelty, Novelty::New);
    assert_ne!(second.id, first.id);
    assert_eq!(send(&mut site, "a", 1, Conflict::IsRefused), ReceivedEvent { novelty: Novelty::Repeat, ..second });
}

#[test]
fn another_event_with_the_key_is_rejected_if_bytes_must_match() {
    let mut site = site();
    let first = send(&mut site, "a", 1, Conflict::IsRefused);
    let other = site.keyed_event("demo.ping", &json!({ "n": 2 }), "a", Conflict::IsRefused);
    site.when(receive_events(vec![other])).then_refused(&Refusal::KeyReused { position: first.position });
}

#[test]
fn another_event_with_the_key_is_a_repeat_if_the_sender_s_id_decides() {
    let mut site = site();
    let first = send(&mut site, "a", 1, Conflict::IsRepeat);
    assert_eq!(send(&mut site, "a", 2, Conflict::IsRepeat), ReceivedEvent { novelty: Novelty::Repeat, ..first });
}

#[test]
fn duplicate_key_in_one_batch_is_a_repeat() {
    let mut site = site();
    let events = [1, 1].map(|n| site.keyed_event("demo.ping", &json!({ "n": n }), "a", Conflict::IsRefused));
    let reported = events.map(|event| site.offer(&receive_events(vec![event])));
    let [Ok(Answer::Events(first)), Ok(Answer::Events(second))] = reported else { panic!("both are taken: {reported:?}") };
    assert_eq!(second[0], ReceivedEvent { novelty: Novelty::Repeat, ..first[0].clone() });
    let outcome = site.commit();
    assert_eq!(outcome.kinds().iter().filter(|kind| **kind == "event.received").count(), 1);
}

#[test]
fn key_of_a_rolled_back_batch_is_free() {
    let mut site = site();
    let event = site.keyed_event("demo.ping", &json!({}), "a", Conflict::IsRefused);
    site.offer(&receive_events(vec![event.clone()])).unwrap();
    site.undo();
    assert_eq!(result_of_one(&site.when(receive_events(vec![event]))).novelty, Novelty::New);
}

#[test]
fn duplicate_key_in_one_command_is_a_repeat() {
    let mut site = site();
    let first = site.keyed_event("demo.ping", &json!({ "n": 1 }), "a", Conflict::IsRefused);
    let between = site.event("demo.ping", &json!({ "n": 3 }));
    let second = site.keyed_event("demo.ping", &json!({ "n": 1 }), "a", Conflict::IsRefused);
    let outcome = site.when(receive_events(vec![first.clone(), between.clone(), second]));
    let Answer::Events(reported) = outcome.answer() else { panic!("events were sent in") };
    let reported: Vec<_> = reported.iter().map(|event| (event.id, event.position.0, event.novelty)).collect();
    let at = outcome.records()[0].position.0;
    assert_eq!(reported, [(first.id, at, Novelty::New), (between.id, at + 1, Novelty::New), (first.id, at, Novelty::Repeat)]);
}

#[test]
fn different_events_with_one_key_in_a_command_are_rejected_or_merged() {
    let mut site = site();
    for conflict in [Conflict::IsRefused, Conflict::IsRepeat] {
        let events = [1, 2].map(|n| site.keyed_event("demo.ping", &json!({ "n": n }), "a", conflict));
        let outcome = site.when(receive_events(events.to_vec()));
        match conflict {
            Conflict::IsRefused => drop(outcome.then_refused(&Refusal::KeyReused { position: Position(0) })),
            Conflict::IsRepeat => {
                let Answer::Events(reported) = outcome.answer() else { panic!("events were sent in") };
                assert_eq!((reported[1].id, reported[1].novelty), (reported[0].id, Novelty::Repeat));
            }
        }
    }
    let said = Refusal::KeyReused { position: Position(0) }.to_string();
    assert_eq!(said, "the dedupe key was already used in the same request for another event; a key identifies a single event");
}

#[test]
fn emitted_event_with_a_seen_key_is_not_accepted_again() {
    let mut site = site();
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution);
    let keyed = site.keyed_event("demo.ping", &json!({ "n": 1 }), "a", Conflict::IsRefused);
    let emitted = ensue_engine::command::ObservedEvent {
        dedupe: keyed.dedupe.clone(),
        ..site.emitted_event(attempt.id, "demo.ping", &json!({ "n": 1 }))
    };
    site.when(receive_events(vec![keyed]));
    site.when(report_emitting(execution, attempt, emitted)).then(&["attempt.succeeded", "execution.succeeded"]);
}

#[test]
fn signed_body_is_accepted_once_whatever_its_headers() {
    let mut site = site();
    let of_body =
        |body: &str, index| SignedBody { body: DedupeKey { scope: "signed/demo.hook".into(), hash: Digest::of(body.as_bytes()) }, index };
    let deliver = |site: &mut Site, body: &str, keys: &[&str]| {
        let events = (0..).zip(keys).map(|(index, key)| {
            let event = site.keyed_event("demo.ping", &json!({ "n": 1 }), key, Conflict::IsRepeat);
            ensue_engine::command::ObservedEvent { signed: Some(of_body(body, index)), ..event }
        });
        let events = events.collect();
        match site.when(receive_events(events)).answer() {
            Answer::Events(events) => events,
            other => panic!("{other:?}"),
        }
    };
    let first = deliver(&mut site, "a", &["1", "2"]);
    assert!(first.iter().all(|event| event.novelty == Novelty::New));
    let repeats: Vec<_> = first.iter().map(|event| ReceivedEvent { novelty: Novelty::Repeat, ..event.clone() }).collect();
    assert_eq!(deliver(&mut site, "a", &["3", "4"]), repeats);
    site.restart();
    // Other headers may select other events: the first one of the body is returned for an event that the body
    // did not create.
    assert_eq!(deliver(&mut site, "a", &["5", "6", "7"]), [repeats.clone(), vec![repeats[0].clone()]].concat());
    assert_eq!(deliver(&mut site, "b", &["8"])[0].novelty, Novelty::New);
    site.later(DEDUPE_MILLIS);
    assert_eq!(deliver(&mut site, "a", &["9"])[0].novelty, Novelty::New);
}

/// Sends an event again, as a person asks for it.
fn emit_again(site: &mut Site, of: EventId) -> Outcome {
    let record = site.records().iter().find(|record| record.stream == StreamId::Event(of)).unwrap().clone();
    let event = ObservedEvent { repeats: EmittedBefore::of(&record), ..site.event("demo.ping", &json!({ "n": 1 })) };
    site.when(receive_events(vec![event]))
}

#[test]
fn event_that_is_emitted_again_is_new_and_caused_by_the_first() {
    let mut site = site();
    let first = send(&mut site, "a", 1, Conflict::IsRefused);
    let second = result_of_one(&emit_again(&mut site, first.id));
    assert_eq!(second.novelty, Novelty::New);
    assert_ne!(second.id, first.id);
    let cause = |of: EventId| site.records().iter().find(|record| record.id == of.0).unwrap().cause.clone();
    let (of_first, of_second) = (cause(first.id), cause(second.id));
    assert_eq!((of_second.parent, of_second.root, of_second.depth), (Some(first.id.0), of_first.root, of_first.depth + 1));
    let requested = site.records().iter().filter(|record| matches!(record.fact, Fact::ExecutionRequested(_))).count();
    assert_eq!(requested, 2, "the rule matched both");
}

#[test]
fn event_emitted_again_and_again_from_the_last_one_ends_as_a_loop_does() {
    let mut site = site();
    let mut last = send(&mut site, "a", 1, Conflict::IsRefused).id;
    for _ in 0..DEPTH_MAX {
        last = result_of_one(&emit_again(&mut site, last)).id;
    }
    emit_again(&mut site, last).then_refused(&Refusal::TooDeep { max: DEPTH_MAX });
}
