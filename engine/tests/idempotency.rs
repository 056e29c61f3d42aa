//! Requests with an idempotency key: carried out once within 24 hours, with the same answer for repeats.

use ensue_engine::command::{
    Answer, Ask, Command, Conflict, DEDUPE_MILLIS, DedupeKey, FirstAnswer, Novelty, Refusal, RequestKey, SeenEvent,
};
use ensue_engine::record::Digest;
use serde_json::json;

use crate::support::site::receive_events;
use crate::support::{Pieces, Site, ana, asked_by};

fn site() -> Site {
    Site::with(&Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.one", "demo.ping", "", "demo.say"))
}

fn key() -> DedupeKey {
    DedupeKey { scope: "requests/ana".to_owned(), hash: Digest::of(b"1") }
}

/// The same command with the key; a text identifies the content of the request.
fn once(command: Command, content: &str) -> Command {
    let request = RequestKey { key: key(), content: Digest::of(content.as_bytes()) };
    asked_by(ana(), Ask::Once { request, ask: Box::new(command.ask) })
}

fn recall(site: &mut Site) -> Option<FirstAnswer> {
    match site.when(asked_by(ana(), Ask::Recall(key()))).answer() {
        Answer::Before(before) => Some(before),
        _ => None,
    }
}

#[test]
fn request_with_a_key_is_carried_out_once_even_after_a_restart() {
    let mut site = site();
    let command = site.request("demo.say");
    let first = site.when(once(command.clone(), "say"));
    let Answer::Execution(execution) = first.answer() else { panic!("an execution was asked for") };
    let position = first.records().last().unwrap().position;
    let records = site.records().len();
    for _ in 0..2 {
        let Answer::Before(before) = site.when(once(command.clone(), "say")).answer() else { panic!("it was carried out before") };
        assert_eq!((before.execution, before.position), (Some(execution), position));
        assert_eq!(recall(&mut site), Some(before));
        site.restart();
    }
    assert_eq!(site.records().len(), records);
}

#[test]
fn different_request_with_the_same_key_is_rejected() {
    let mut site = site();
    let command = site.request("demo.say");
    let position = site.when(once(command.clone(), "say")).records().last().unwrap().position;
    site.when(once(command, "say it louder")).then_refused(&Refusal::RequestDiffers { position });
}

#[test]
fn key_is_free_again_after_24_hours() {
    let mut site = site();
    let command = site.request("demo.say");
    let first = site.when(once(command.clone(), "say")).answer();
    site.later(DEDUPE_MILLIS - 1);
    assert!(matches!(site.when(once(command.clone(), "say")).answer(), Answer::Before(_)));
    site.later(1);
    assert_eq!(recall(&mut site), None);
    let second = site.when(once(command, "say something else")).answer();
    assert!(matches!(second, Answer::Execution(_)) && second != first, "{second:?}");
}

#[test]
fn rejected_request_leaves_its_key_free() {
    let mut site = site();
    let seen = site.keyed_event("demo.ping", &json!({ "n": 1 }), "a", Conflict::IsRefused);
    let position = site.when(receive_events(vec![seen])).records()[0].position;
    let other = site.keyed_event("demo.ping", &json!({ "n": 2 }), "a", Conflict::IsRefused);
    site.when(once(receive_events(vec![other]), "two")).then_refused(&Refusal::KeyReused { position });
    assert_eq!(recall(&mut site), None);
}

#[test]
fn repeated_events_are_returned_as_new_or_repeat_like_the_first_time() {
    let mut site = site();
    let before = site.keyed_event("demo.ping", &json!({ "n": 1 }), "a", Conflict::IsRefused);
    site.when(receive_events(vec![before]));
    let new = site.event("demo.ping", &json!({ "n": 2 }));
    let twin = site.keyed_event("demo.ping", &json!({ "n": 3 }), "b", Conflict::IsRefused);
    let twins_twin = site.keyed_event("demo.ping", &json!({ "n": 3 }), "b", Conflict::IsRefused);
    let again = site.keyed_event("demo.ping", &json!({ "n": 1 }), "a", Conflict::IsRefused);
    let Answer::Events(reported) = site.when(once(receive_events(vec![again, new, twin, twins_twin]), "four")).answer() else {
        panic!("events")
    };
    let reported: Vec<SeenEvent> = reported.iter().map(SeenEvent::from).collect();
    let novelties: Vec<Novelty> = reported.iter().map(|event| event.novelty).collect();
    assert_eq!(novelties, [Novelty::Repeat, Novelty::New, Novelty::New, Novelty::Repeat]);
    let before = recall(&mut site).unwrap();
    assert_eq!((before.execution, before.events), (None, reported));
}

#[test]
fn request_that_changed_nothing_is_remembered_too() {
    let mut site = site();
    let event = |site: &mut Site| site.keyed_event("demo.ping", &json!({ "n": 1 }), "a", Conflict::IsRefused);
    let first = event(&mut site);
    site.when(receive_events(vec![first]));
    let again = event(&mut site);
    assert!(site.when(once(receive_events(vec![again]), "again")).records().is_empty());
    let before = recall(&mut site).unwrap();
    assert_eq!(before.execution, None);
    assert_eq!(before.events.iter().map(|event| event.novelty).collect::<Vec<_>>(), [Novelty::Repeat]);
}

#[test]
fn dry_run_has_the_same_answer_and_no_effect() {
    let mut site = site();
    let records = site.records().len();
    let check = |command: Command| asked_by(ana(), Ask::Check(Box::new(command.ask)));
    let event = site.keyed_event("demo.ping", &json!({ "n": 1 }), "a", Conflict::IsRefused);
    assert!(matches!(site.when(check(receive_events(vec![event.clone()]))).answer(), Answer::Events(_)));
    let command = site.request("demo.say");
    assert!(matches!(site.when(check(command)).answer(), Answer::Execution(_)));
    assert_eq!(site.records().len(), records);
    let Answer::Events(reported) = site.when(receive_events(vec![event])).answer() else { panic!("events") };
    assert_eq!(reported[0].novelty, Novelty::New, "the key was not used up");
}
