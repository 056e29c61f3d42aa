//! Quotas: what an identity uses is counted from the log, and its tier limits it exactly.

use std::collections::BTreeMap;

use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::quota::{Quota, Tier, Tiers};
use ensue_engine::command::{Answer, Ask, Command, Conflict, Refusal, Settings};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, IdentityId, TokenId};
use ensue_engine::record::{Actor, CredentialId, Record, StreamId};
use ensue_engine::time::Timestamp;
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use proptest::prelude::*;
use serde_json::json;

use crate::support::workflow::does;
use crate::support::{Pieces, Site, ana, asked_by, cancel};

const HOUR_MILLIS: u64 = 3_600_000;
const DAY_MILLIS: u64 = 24 * HOUR_MILLIS;

fn identity(number: u128) -> IdentityId {
    IdentityId(Id::root(NOON, 5_000 + number))
}

/// An identity with one of its tokens.
fn as_identity(number: u128) -> Actor {
    Actor::Identity { id: identity(number), by: CredentialId::Token(TokenId(Id::root(NOON, 6_000 + number))) }
}

fn settings(tier: Tier) -> Settings {
    let tiers = Tiers::new([("free".parse().unwrap(), tier)].into(), vec![("trial".parse().unwrap(), "free".parse().unwrap())]);
    Settings { workers: 10, tiers: tiers.unwrap(), ..Settings::default() }
}

/// A site where the identities 0 and 1 are in the group `trial`, which has this tier, and 2 is in none.
fn site(tier: Tier) -> Site {
    let pieces = Pieces::default().action("demo.say").trigger("demo.pushed").rule("demo.on_push", "demo.pushed", "true", "demo.say");
    let mut site = Site::with(&pieces.workflow("demo.both", [does("first", "demo.say"), does("second", "demo.say")]));
    site.set(settings(tier));
    for number in 0..3 {
        let groups = if number < 2 { vec!["trial".parse().unwrap()] } else { Vec::new() };
        site.when(asked_by(Actor::Operator, Ask::AddIdentity { id: identity(number), kind: IdentityKind::Person, groups }));
    }
    site
}

fn send(site: &mut Site, number: u128, events: usize) -> Outcome {
    let events = (0..events).map(|_| site.event("demo.pushed", &json!({}))).collect();
    site.when(asked_by(as_identity(number), Ask::ReceiveEvents(events)))
}

fn run(site: &mut Site, number: u128, action: &str) -> Outcome {
    let command = Command { actor: as_identity(number), ..site.request(action) };
    site.when(command)
}

#[track_caller]
fn execution(outcome: &Outcome) -> ExecutionId {
    let Answer::Execution(execution) = outcome.answer() else { panic!("it was requested") };
    execution
}

/// Ends all open work.
fn end_all(site: &mut Site) {
    let at_work = |site: &Site| site.engine().executions().at_work().next().map(|(id, _)| *id);
    while let Some(execution) = at_work(site) {
        site.succeed(execution);
    }
}

/// Returns the limit that a request would exceed: what, used, limit.
#[track_caller]
fn expect_exceeded(outcome: &Outcome) -> (Quota, u64, u64, Option<Timestamp>) {
    let Some(Refusal::QuotaExceeded(why)) = outcome.result().as_ref().err() else { panic!("it was not refused for a quota: {outcome:?}") };
    (why.what, why.used, why.limit, why.resets_at)
}

#[test]
fn events_over_the_limit_of_a_day_are_refused_until_the_day_ends() {
    let mut site = site(Tier { events_per_day: Some(3), ..Tier::default() });
    assert_eq!(send(&mut site, 0, 2).result().as_ref().err(), None);
    let tomorrow = NOON.plus_millis(DAY_MILLIS / 2);
    let before = site.records().len();
    assert_eq!(expect_exceeded(&send(&mut site, 0, 2)), (Quota::EventsPerDay, 2, 3, Some(tomorrow)), "all or none");
    assert_eq!(site.records().len(), before, "nothing is recorded");
    assert_eq!(send(&mut site, 0, 1).result().as_ref().err(), None);
    assert_eq!(expect_exceeded(&send(&mut site, 0, 1)), (Quota::EventsPerDay, 3, 3, Some(tomorrow)));
    for other in [1, 2, 2, 2, 2] {
        assert_eq!(send(&mut site, other, 1).result().as_ref().err(), None, "another identity has its own count, or no tier");
    }
    site.later(DAY_MILLIS / 2);
    assert_eq!(send(&mut site, 0, 3).result().as_ref().err(), None);
    assert_eq!(expect_exceeded(&send(&mut site, 0, 1)).3, Some(tomorrow.plus_millis(DAY_MILLIS)));
}

#[test]
fn repeat_of_an_event_uses_nothing() {
    let mut site = site(Tier { events_per_day: Some(1), ..Tier::default() });
    for repeat in 0..3 {
        let event = site.keyed_event("demo.pushed", &json!({}), "first", Conflict::IsRefused);
        let outcome = site.when(asked_by(as_identity(0), Ask::ReceiveEvents(vec![event])));
        assert_eq!(outcome.result().as_ref().err(), None, "repeat {repeat}");
    }
    assert_eq!(expect_exceeded(&send(&mut site, 0, 1)).1, 1);
}

#[test]
fn executions_are_limited_by_hour_and_by_how_many_are_open() {
    let mut site = site(Tier { executions_per_hour: Some(3), concurrent: Some(2), ..Tier::default() });
    let first = execution(&run(&mut site, 0, "demo.say"));
    run(&mut site, 0, "demo.say");
    let outcome = run(&mut site, 0, "demo.say");
    assert_eq!(expect_exceeded(&outcome), (Quota::Concurrent, 2, 2, None));
    let why = outcome.result().as_ref().err().unwrap();
    assert_eq!((why.slug(), why.fault()), ("quota-exceeded", Fault::Busy));
    assert!(why.hint().unwrap().contains("executions has ended"), "{:?}", why.hint());
    site.when(cancel(first));
    end_all(&mut site);
    assert_eq!(run(&mut site, 0, "demo.say").result().as_ref().err(), None, "the end of one makes room");
    end_all(&mut site);
    let next_hour = NOON.plus_millis(HOUR_MILLIS);
    assert_eq!(expect_exceeded(&run(&mut site, 0, "demo.say")), (Quota::ExecutionsPerHour, 3, 3, Some(next_hour)));
    site.later(HOUR_MILLIS);
    assert_eq!(run(&mut site, 0, "demo.say").result().as_ref().err(), None);
}

#[test]
fn steps_and_executions_of_rules_use_nothing_and_go_on_over_the_limit() {
    let mut site = site(Tier { events_per_day: Some(1), executions_per_hour: Some(1), concurrent: Some(1) });
    let workflow = execution(&run(&mut site, 0, "demo.both"));
    send(&mut site, 0, 1).then(&["event.received", "enforcement.made", "execution.requested", "attempt.started"]);
    let used = site.engine().usage().of(&identity(0));
    assert_eq!(Quota::ALL.map(|quota| used.level(quota, site.now()).used), [1, 1, 1]);
    end_all(&mut site);
    let ended = |record: &Record| record.stream == StreamId::Execution(workflow) && record.kind() == "execution.succeeded";
    assert!(site.records().iter().any(ended), "open work continues");
}

#[test]
fn token_without_an_identity_and_the_sender_at_a_hook_have_no_tier() {
    let mut site = site(Tier { events_per_day: Some(0), executions_per_hour: Some(0), concurrent: Some(0) });
    for actor in [ana(), Actor::Sensor("demo.hook".parse().unwrap())] {
        let event = site.event("demo.pushed", &json!({}));
        assert_eq!(site.when(asked_by(actor, Ask::ReceiveEvents(vec![event]))).result().as_ref().err(), None);
    }
    assert_eq!(expect_exceeded(&send(&mut site, 0, 1)).1, 0);
    assert_eq!(site.engine().usage().count(), 0, "what is refused is not counted");
}

#[test]
fn check_of_a_request_reports_that_the_quota_is_used_up() {
    let mut site = site(Tier { events_per_day: Some(1), ..Tier::default() });
    send(&mut site, 0, 1);
    let events = vec![site.event("demo.pushed", &json!({}))];
    let outcome = site.when(asked_by(as_identity(0), Ask::Check(Box::new(Ask::ReceiveEvents(events)))));
    assert_eq!(expect_exceeded(&outcome).1, 1);
}

#[test]
fn clock_that_was_set_back_does_not_start_the_day_again() {
    let mut site = site(Tier { events_per_day: Some(1), ..Tier::default() });
    send(&mut site, 0, 1);
    site.clock_steps_to(NOON.minus_millis(DAY_MILLIS));
    assert_eq!(expect_exceeded(&send(&mut site, 0, 1)), (Quota::EventsPerDay, 1, 1, Some(NOON.plus_millis(DAY_MILLIS / 2))));
}

#[test]
fn rows_of_an_earlier_day_are_dropped_unless_something_is_open() {
    let mut site = site(Tier::default());
    send(&mut site, 0, 1);
    run(&mut site, 1, "demo.say");
    assert_eq!(site.engine().usage().count(), 2);
    site.later(DAY_MILLIS);
    send(&mut site, 2, 1);
    let used = site.engine().usage();
    assert_eq!((used.count(), used.of(&identity(1)).level(Quota::Concurrent, site.now()).used), (2, 1));
    end_all(&mut site);
    site.when(asked_by(Actor::Operator, Ask::EraseIdentity(identity(2))));
    site.later(DAY_MILLIS);
    send(&mut site, 0, 1);
    assert_eq!(site.engine().usage().count(), 1);
}

#[test]
fn first_listed_group_of_a_caller_sets_its_tier() {
    let tier = |events| Tier { events_per_day: Some(events), ..Tier::default() };
    let name = |text: &str| text.parse().unwrap();
    let named = BTreeMap::from([(name("free"), tier(1)), (name("paid"), tier(9))]);
    let listed = vec![("staff".parse().unwrap(), name("paid")), ("trial".parse().unwrap(), name("free"))];
    let tiers = Tiers::new(named.clone(), listed.clone()).unwrap();
    let of = |groups: &[&str]| tiers.of(|group| groups.contains(&group.as_str())).map(|(tier, _)| tier.to_string());
    assert_eq!(of(&["trial", "staff"]).as_deref(), Some("paid"));
    assert_eq!(of(&["trial"]).as_deref(), Some("free"));
    assert_eq!(of(&["others"]), None);
    let twice = [listed.clone(), listed].concat();
    assert!(Tiers::new(named.clone(), twice).unwrap_err().to_string().contains("`staff` is listed more than once"));
    let unknown = vec![("staff".parse().unwrap(), name("gold"))];
    assert!(Tiers::new(named, unknown).unwrap_err().to_string().contains("`gold`"));
}

/// What a caller does in a random history.
#[derive(Clone, Debug)]
enum Act {
    Send { by: u128, events: usize },
    Run { by: u128, action: &'static str },
    EndAll,
    Wait { millis: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u128, 1..4_usize).prop_map(|(by, events)| Act::Send { by, events }),
        4 => (0..3_u128, prop::sample::select(vec!["demo.say", "demo.both"])).prop_map(|(by, action)| Act::Run { by, action }),
        1 => Just(Act::EndAll),
        2 => prop::sample::select(vec![60_000, HOUR_MILLIS, 7 * HOUR_MILLIS, DAY_MILLIS]).prop_map(|millis| Act::Wait { millis }),
    ]
}

/// Counts by the records alone what an identity has used at a time.
fn recount(records: &[Record], of: IdentityId, now: Timestamp) -> [u64; 3] {
    let is_of = |record: &&Record| matches!(&record.actor, Actor::Identity { id, .. } if *id == of);
    let within = |record: &&Record, millis: u64| record.time.unix_millis() / millis == now.unix_millis() / millis;
    let events = records.iter().filter(is_of).filter(|record| matches!(record.fact, Fact::EventReceived(_)));
    let requested = || records.iter().filter(is_of).filter(|record| matches!(record.fact, Fact::ExecutionRequested(_)));
    let has_ended = |stream: &StreamId| records.iter().any(|record| record.stream == *stream && record.fact.execution_end().is_some());
    [
        events.filter(|record| within(record, DAY_MILLIS)).count() as u64,
        requested().filter(|record| within(record, HOUR_MILLIS)).count() as u64,
        requested().filter(|record| !has_ended(&record.stream)).count() as u64,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn use_equals_a_recount_of_the_log_and_never_exceeds_the_limit(acts in prop::collection::vec(act(), 1..30)) {
        let tier = Tier { events_per_day: Some(6), executions_per_hour: Some(4), concurrent: Some(3) };
        let mut site = site(tier);
        for act in acts {
            let is_refused = match act {
                Act::Send { by, events } => {
                    let free = 6 - recount(site.records(), identity(by), site.now())[0].min(6);
                    let outcome = send(&mut site, by, events);
                    prop_assert_eq!(outcome.result().as_ref().err().is_some(), by < 2 && events as u64 > free);
                    outcome.result().as_ref().err().cloned()
                }
                Act::Run { by, action } => {
                    let [_, hour, open] = recount(site.records(), identity(by), site.now());
                    let outcome = run(&mut site, by, action);
                    prop_assert_eq!(outcome.result().as_ref().err().is_some(), by < 2 && (hour >= 4 || open >= 3));
                    outcome.result().as_ref().err().cloned()
                }
                Act::EndAll => { end_all(&mut site); None }
                Act::Wait { millis } => { site.later(millis); None }
            };
            prop_assert!(is_refused.is_none_or(|why| matches!(why, Refusal::QuotaExceeded(_))));
            for number in 0..3 {
                let used = site.engine().usage().of(&identity(number));
                let levels = Quota::ALL.map(|quota| used.level(quota, site.now()).used);
                prop_assert_eq!(levels, recount(site.records(), identity(number), site.now()), "identity {}", number);
                if number < 2 {
                    prop_assert!(levels[0] <= 6 && levels[1] <= 4 && levels[2] <= 3, "{levels:?}");
                }
            }
        }
    }
}
