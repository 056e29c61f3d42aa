//! Pulling sensors: what sets and ends them, what their runs may write, and how few records an outage makes.

use std::collections::BTreeMap;

use ensue_engine::command::{
    Answer, Ask, Command, Conflict, Dedupe, DedupeKey, Novelty, ObservedEvent, PartState, Refusal, RefusedDelivery, SensorBatch,
    SensorParts, Settings,
};
use ensue_engine::dead_letters::state::SENSOR_DEAD_LETTERS_MAX;
use ensue_engine::effect::{Effect, RunSensor};
use ensue_engine::engine::Engine;
use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::fact::Fact;
use ensue_engine::ids::SensorId;
use ensue_engine::record::{Actor, Body, Digest, Record};
use ensue_engine::sensors::cursor::{CHANGES_MAX, CURSOR_INLINE_BYTES_MAX, Cursor, CursorInvalid, NewCursor, StoredCursor, WholeCursor};
use ensue_engine::sensors::cursor_change::ChangeUnfit;
use ensue_engine::sensors::decide::SENSOR_BATCH_DRAFTS_MAX;
use ensue_engine::sensors::facts::{SensorAdvanced, SensorEndedBecause, SensorError, SensorErrorKind, SensorFailed, SensorMode};
use ensue_engine::sensors::state::{FAILING_PARTS_MAX, FAILURES_ANNOUNCED, Pulling, SensorPhase};
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Pieces, Site, ana, asked_by, note_start};

const FEED: &str = "demo.feed";

fn pieces() -> Pieces {
    Pieces::default().trigger("demo.item").action_at_once("demo.say")
}

fn site() -> Site {
    Site::with(&pieces().process(FEED, "demo.item", "./feed"))
}

fn feed(site: &Site) -> (SensorId, Pulling) {
    let (id, pulling) = site.engine().sensors().of(&FEED.parse().unwrap()).expect("the sensor is set");
    (id, pulling.clone())
}

fn cursor(text: &str) -> Cursor {
    Cursor::of_json(text).unwrap()
}

/// A batch of the current run, read after the log's cursor.
fn batch(site: &Site, events: Vec<ObservedEvent>, to: Option<&str>) -> SensorBatch {
    let (sensor, pulling) = feed(site);
    SensorBatch {
        sensor,
        run: pulling.run,
        read: u32::try_from(events.len()).unwrap(),
        events,
        refused: Vec::new(),
        unkept: 0,
        passed: 0,
        after: pulling.cursor.map(|cursor| cursor.digest()),
        cursor: to.map(|to| cursor(to).into()),
    }
}

fn take(batch: SensorBatch) -> Command {
    asked_by(Actor::Sensor(FEED.parse().unwrap()), Ask::TakeSensorBatch(batch))
}

fn items<const N: usize>(site: &mut Site, numbers: [u32; N]) -> Vec<ObservedEvent> {
    numbers
        .into_iter()
        .map(|n| ObservedEvent { sensor: Some(FEED.parse().unwrap()), ..site.event("demo.item", &json!({ "n": n })) })
        .collect()
}

/// An event with a dedupe key in the sensor's own scope, as the node makes them.
fn keyed_event(site: &mut Site, key: &str) -> ObservedEvent {
    let [event] = <[ObservedEvent; 1]>::try_from(items(site, [1])).unwrap();
    let dedupe_key = DedupeKey { scope: format!("sensor/{FEED}/demo.item"), hash: Digest::of(key.as_bytes()) };
    ObservedEvent { dedupe: Some(Dedupe { key: dedupe_key, content: event.body.digest, conflict: Conflict::IsRepeat }), ..event }
}

fn set(mode: SensorMode) -> Command {
    asked_by(ana(), Ask::SetSensorMode { sensor: FEED.parse().unwrap(), mode })
}

fn rewind(to: Option<&str>) -> Command {
    asked_by(ana(), Ask::SetSensorCursor { sensor: FEED.parse().unwrap(), cursor: to.map(cursor) })
}

fn restart() -> Command {
    asked_by(ana(), Ask::RestartSensor { sensor: FEED.parse().unwrap() })
}

fn note_started(site: &Site) -> Command {
    let (sensor, pulling) = feed(site);
    asked_by(Actor::Engine, Ask::NoteSensorStarted { sensor, run: pulling.run, release: "0.1.0".into() })
}

fn note_failed(site: &Site, failures: u32) -> Command {
    let (id, pulling) = feed(site);
    let error = SensorError::new(SensorErrorKind::Connect, "the server is away");
    let failed = SensorFailed { id, run: pulling.run, error, failures, retry_at: site.now().plus_millis(1_000) };
    asked_by(Actor::Engine, Ask::NoteSensorFailed(failed))
}

/// The current run reads these events up to a cursor.
fn read(site: &mut Site, events: Vec<ObservedEvent>, to: Option<&str>) -> Outcome {
    let command = take(batch(site, events, to));
    site.when(command)
}

fn start(site: &mut Site) -> Outcome {
    let command = note_started(site);
    site.when(command)
}

fn fail(site: &mut Site, failures: u32) -> Outcome {
    let command = note_failed(site, failures);
    site.when(command)
}

/// The runs that the effects ask for.
fn runs(effects: &[Effect]) -> Vec<RunSensor> {
    effects.iter().filter_map(|effect| if let Effect::RunSensor(run) = effect { Some((**run).clone()) } else { None }).collect()
}

fn stops(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::StopSensor { .. })).count()
}

fn end_reasons(outcome: &Outcome) -> Vec<SensorEndedBecause> {
    outcome.facts().filter_map(|fact| if let Fact::SensorEnded(fact) = fact { Some(fact.why) } else { None }).collect()
}

fn inline(text: &str) -> Option<StoredCursor> {
    Some(WholeCursor::Inline(text.to_owned()).into())
}

#[test]
fn installing_a_pulling_sensor_sets_it_and_runs_it() {
    let site = site();
    let kinds: Vec<&str> = site.records().iter().map(Record::kind).collect();
    assert_eq!(kinds, ["pack.installed", "sensor.set"]);
    let (id, _) = feed(&site);
    let run = RunSensor { id, sensor: FEED.parse().unwrap(), run: 1, cursor: None, failures: 0, running_since: None };
    assert_eq!(runs(site.effects()), [run]);
}

#[test]
fn timer_sensor_has_no_runs_and_no_mode() {
    let mut site = Site::with(&pieces().timer(FEED, "demo.item", crate::support::definitions::every(60_000), None));
    assert!(runs(site.effects()).is_empty());
    for command in [set(SensorMode::Disabled), rewind(None), restart()] {
        site.when(command).then_refused(&Refusal::SensorDoesNotPull(FEED.parse().unwrap()));
    }
}

#[test]
fn upgrade_keeps_the_sensor_and_its_cursor() {
    let mut site = site();
    let events = items(&mut site, [1]);
    read(&mut site, events, Some("1")).then(&["event.received", "sensor.advanced"]);
    let before = feed(&site);
    let more = pieces().process(FEED, "demo.item", "./feed").trigger("demo.other");
    site.install(&more).then(&["pack.installed"]);
    assert_eq!(feed(&site), before);
}

#[test]
fn another_identity_is_another_sensor_without_a_cursor() {
    let mut site = site();
    read(&mut site, Vec::new(), Some("7")).then(&["sensor.advanced"]);
    let (old, _) = feed(&site);
    let outcome = site.install(&pieces().process(FEED, "demo.item", "./other")).then(&["pack.installed", "sensor.ended", "sensor.set"]);
    assert_eq!(end_reasons(&outcome), [SensorEndedBecause::Changed]);
    let (new, pulling) = feed(&site);
    assert_ne!(new, old);
    assert_eq!((pulling.cursor, pulling.run), (None, 1));
    assert_eq!((stops(outcome.effects()), runs(outcome.effects()).len()), (1, 1));
}

#[test]
fn removed_sensor_stops_and_its_batches_are_refused() {
    let mut site = site();
    let late = batch(&site, Vec::new(), Some("1"));
    let outcome = site.install(&pieces()).then(&["pack.installed", "sensor.ended"]);
    assert_eq!((end_reasons(&outcome), stops(outcome.effects())), (vec![SensorEndedBecause::Removed], 1));
    let refusal = Refusal::StaleRun { sensor: late.sensor, run: late.run };
    site.when(take(late)).then_refused(&refusal);
}

#[test]
fn batch_is_one_commit_of_events_letters_and_cursor() {
    let mut site = site();
    let events = items(&mut site, [1, 2]);
    let poison = RefusedDelivery {
        sensor: FEED.parse().unwrap(),
        trigger: None,
        reason: "the message is not JSON".into(),
        body: Body::raw(&b"?"[..]),
        with: None,
    };
    let batch = SensorBatch { read: 4, passed: 1, refused: vec![poison], ..batch(&site, events, Some(r#"{"line":4}"#)) };
    let outcome = site.when(take(batch)).then(&["event.received", "event.received", "delivery.refused", "sensor.advanced"]);
    let batches: Vec<_> = outcome.records().iter().map(|record| record.batch).collect();
    assert!(batches.windows(2).all(|pair| pair[0] == pair[1]));
    let Some(Fact::SensorAdvanced(fact)) = outcome.facts().last() else { panic!("the cursor moved") };
    assert_eq!((fact.read, fact.made, fact.repeated, fact.refused, fact.passed), (4, 2, 0, 1, 1));
    let (_, pulling) = feed(&site);
    assert_eq!((pulling.cursor, pulling.events, pulling.refused), (inline(r#"{"line":4}"#), 2, 1));
    assert_eq!(pulling.last_event_at, Some(site.now()));
}

#[test]
fn sensor_skips_to_the_end_unless_it_has_read_on() {
    let mut site = site();
    read(&mut site, Vec::new(), Some("1")).then(&["sensor.advanced"]);
    let skip = |after: &str| {
        let after = Some(Digest::of(after.as_bytes()));
        asked_by(ana(), Ask::SkipSensor { sensor: FEED.parse().unwrap(), after, cursor: cursor("9") })
    };
    site.when(skip("0")).then_refused(&Refusal::CursorMoved { sensor: FEED.parse().unwrap() });
    site.when(skip("1")).then(&["sensor.cursor_set"]);
    assert_eq!(feed(&site).1.cursor, inline("9"));
}

#[test]
fn sensor_with_too_many_open_dead_letters_adds_none_until_some_are_settled() {
    let mut site = site();
    let poison = RefusedDelivery {
        sensor: FEED.parse().unwrap(),
        trigger: None,
        reason: "the message is not JSON".into(),
        body: Body::raw(&b"?"[..]),
        with: None,
    };
    let open = |site: &Site| site.engine().dead_letters().count_of(&FEED.parse().unwrap());
    let refusing = |site: &Site, count: u64| SensorBatch { refused: vec![poison.clone(); count as usize], ..batch(site, Vec::new(), None) };
    while open(&site) < SENSOR_DEAD_LETTERS_MAX {
        let count = (SENSOR_DEAD_LETTERS_MAX - open(&site)).min(SENSOR_BATCH_DRAFTS_MAX as u64);
        let full = refusing(&site, count);
        site.turn(take(full));
    }
    let refusal = Refusal::TooManyDeadLetters { sensor: FEED.parse().unwrap(), open: SENSOR_DEAD_LETTERS_MAX };
    let another = refusing(&site, 1);
    site.when(take(another.clone())).then_refused(&refusal);
    let events = items(&mut site, [1]);
    read(&mut site, events, Some("1")).then(&["event.received", "sensor.advanced"]);
    let refused = feed(&site).1.refused;
    let counted = SensorBatch { read: 3, unkept: 3, ..batch(&site, Vec::new(), Some("2")) };
    site.when(take(counted)).then(&["sensor.advanced"]);
    assert_eq!((feed(&site).1.refused, open(&site)), (refused + 3, SENSOR_DEAD_LETTERS_MAX), "they are counted, and not kept");
    let cursor = feed(&site).1.cursor;
    let without_cursor = SensorBatch { read: 2, unkept: 2, after: None, ..batch(&site, Vec::new(), None) };
    site.when(take(without_cursor)).then(&["sensor.advanced"]);
    assert_eq!((feed(&site).1.refused, &feed(&site).1.cursor), (refused + 5, &cursor), "the cursor stays");
    let letter = site.records().iter().find(|record| matches!(record.fact, Fact::DeliveryRefused(_))).unwrap().id;
    site.when(asked_by(ana(), Ask::DismissDeadLetter { of: letter })).then(&["dead_letter.dismissed"]);
    assert_eq!(open(&site), SENSOR_DEAD_LETTERS_MAX - 1);
    site.when(take(another)).then(&["delivery.refused"]);
}

#[test]
fn batch_that_was_read_after_another_cursor_is_refused() {
    let mut site = site();
    let refusal = Refusal::CursorMoved { sensor: FEED.parse().unwrap() };
    let first = batch(&site, Vec::new(), Some("1"));
    site.when(take(first.clone())).then(&["sensor.advanced"]);
    // The same batch again, as a second loop would send it.
    site.when(take(first)).then_refused(&refusal);
    let ahead = SensorBatch { after: Some(cursor("2").digest()), ..batch(&site, Vec::new(), Some("3")) };
    site.when(take(ahead)).then_refused(&refusal);
    let without = SensorBatch { after: None, ..batch(&site, Vec::new(), Some("2")) };
    site.when(take(without)).then_refused(&refusal);
    read(&mut site, Vec::new(), Some("2")).then(&["sensor.advanced"]);
}

#[test]
fn source_without_a_cursor_relies_on_keys() {
    let mut site = site();
    let event = keyed_event(&mut site, "a");
    read(&mut site, vec![event], None).then(&["event.received"]);
    let again = keyed_event(&mut site, "a");
    let outcome = read(&mut site, vec![again], None).then(&[]);
    let Answer::Events(received) = outcome.answer() else { panic!("events were taken") };
    assert_eq!(received.iter().map(|event| event.novelty).collect::<Vec<_>>(), [Novelty::Repeat]);
}

#[test]
fn long_cursor_is_stored_as_the_body_of_its_record() {
    let mut site = site();
    let long = format!("\"{}\"", "x".repeat(CURSOR_INLINE_BYTES_MAX));
    let outcome = read(&mut site, Vec::new(), Some(&long)).then(&["sensor.advanced"]);
    let record = &outcome.records()[0];
    assert_eq!(record.body.as_ref().unwrap().content.as_deref(), Some(long.as_bytes()));
    let (_, pulling) = feed(&site);
    assert_eq!(pulling.cursor, record.body_handle().map(|handle| WholeCursor::Body(handle).into()));
    read(&mut site, Vec::new(), Some("1")).then(&["sensor.advanced"]);
}

/// A cursor that remembers many things.
fn remembering(things: impl Iterator<Item = u32>) -> Cursor {
    cursor(&json!(things.map(|thing| format!("thing {thing:04}")).collect::<Vec<_>>()).to_string())
}

/// The current run reads this far from the cursor of the log, as a node offers it.
fn advance(site: &mut Site, known: &Cursor, to: &Cursor) -> Outcome {
    let batch = SensorBatch { cursor: Some(NewCursor::after(Some(known), to.clone())), ..batch(site, Vec::new(), None) };
    site.when(take(SensorBatch { after: Some(known.digest()), ..batch }))
}

fn expect_advanced(outcome: &Outcome) -> SensorAdvanced {
    let advanced = outcome.facts().find_map(|fact| if let Fact::SensorAdvanced(fact) = fact { Some(fact.clone()) } else { None });
    advanced.expect("the cursor moved")
}

#[test]
fn cursor_that_hardly_differs_is_recorded_as_a_change() {
    for count in [100, 5_000] {
        let mut site = site();
        let mut known = remembering(0..count);
        read(&mut site, Vec::new(), Some(known.as_str())).then(&["sensor.advanced"]);
        let whole = feed(&site).1.cursor.unwrap().whole().clone();
        for more in count + 1..count + 6 {
            let new = remembering(0..more);
            let outcome = advance(&mut site, &known, &new).then(&["sensor.advanced"]);
            let fact = expect_advanced(&outcome);
            assert!(fact.cursor.is_none() && fact.change.is_some() && outcome.records()[0].body.is_none());
            let bytes = outcome.records()[0].fact_json.len();
            assert!(bytes < 300, "{bytes}: {}", String::from_utf8_lossy(&outcome.records()[0].fact_json));
            known = new;
            let stored = feed(&site).1.cursor.unwrap();
            assert_eq!((stored.digest(), stored.whole()), (known.digest(), &whole));
            assert_eq!(stored.put_together(remembering(0..count).as_str()), Ok(known.clone()));
        }
    }
}

#[test]
fn cursor_is_recorded_whole_once_its_changes_are_larger_or_many() {
    let mut site = site();
    let mut known = remembering(0..100);
    read(&mut site, Vec::new(), Some(known.as_str())).then(&["sensor.advanced"]);
    let (mut changes, mut wholes, mut bytes) = (0, 0, 0);
    for more in 101..250 {
        let new = remembering(0..more);
        let outcome = advance(&mut site, &known, &new).then(&["sensor.advanced"]);
        *(if expect_advanced(&outcome).change.is_some() { &mut changes } else { &mut wholes }) += 1;
        bytes += outcome.records()[0].fact_json.len();
        known = new;
    }
    assert!((6..12).contains(&wholes) && changes > 10 * wholes, "{changes} changes, {wholes} wholes");
    assert!(bytes < 149 * 500, "{bytes}");

    let long = |step: usize| cursor(&format!("\"{}{step}\"", "x".repeat(200_000)));
    let mut known = long(0);
    read(&mut site, Vec::new(), Some(known.as_str())).then(&["sensor.advanced"]);
    let whole_at = (1..=CHANGES_MAX + 1).find(|step| {
        let new = long(*step);
        let is_whole = expect_advanced(&advance(&mut site, &known, &new).then(&["sensor.advanced"])).change.is_none();
        known = new;
        is_whole
    });
    assert_eq!(whole_at, Some(CHANGES_MAX + 1));
}

#[test]
fn cursor_that_is_short_or_another_is_recorded_whole() {
    for (known, new) in [
        (cursor(r#"{"line":7}"#), cursor(r#"{"line":8}"#)),
        (remembering(0..100), remembering(100..200)),
        (remembering(0..100), remembering(0..5)),
        // One is in its fact, the other in a body.
        (remembering(0..310), remembering(0..320)),
        (remembering(0..320), remembering(0..310)),
    ] {
        let mut site = site();
        read(&mut site, Vec::new(), Some(known.as_str())).then(&["sensor.advanced"]);
        assert_eq!(expect_advanced(&advance(&mut site, &known, &new).then(&["sensor.advanced"])).change, None);
        assert_eq!(feed(&site).1.cursor.unwrap().digest(), new.digest());
    }
}

#[test]
fn changed_cursor_is_kept_across_runs_and_restarts_until_it_is_set() {
    let mut site = site();
    let (known, new) = (remembering(0..100), remembering(0..101));
    read(&mut site, Vec::new(), Some(known.as_str())).then(&["sensor.advanced"]);
    advance(&mut site, &known, &new).then(&["sensor.advanced"]);
    let stored = feed(&site).1.cursor.unwrap();
    assert_eq!(stored.short(), Some(Ok(new.clone())));
    let saved = site.engine().save();
    assert_eq!(
        Engine::load(site.engine().log(), &saved).unwrap().sensors().of(&FEED.parse().unwrap()),
        Some((feed(&site).0, &feed(&site).1))
    );
    site.restart();
    let again = site.when(note_start());
    assert_eq!(runs(again.effects())[0].cursor.as_ref(), Some(&stored));
    // A batch after the cursor that was recorded whole comes too late.
    let refusal = Refusal::CursorMoved { sensor: FEED.parse().unwrap() };
    advance(&mut site, &known, &remembering(0..102)).then_refused(&refusal);
    site.when(rewind(Some("7"))).then(&["sensor.cursor_set"]);
    assert_eq!(feed(&site).1.cursor, inline("7"));
}

#[test]
fn changes_of_another_cursor_are_an_error() {
    let mut site = site();
    let (known, new) = (remembering(0..5_000), remembering(0..5_001));
    read(&mut site, Vec::new(), Some(known.as_str())).then(&["sensor.advanced"]);
    advance(&mut site, &known, &new).then(&["sensor.advanced"]);
    let stored = feed(&site).1.cursor.unwrap();
    assert_eq!(stored.put_together(remembering(1..5_001).as_str()), Err(CursorInvalid::Unfit(ChangeUnfit::Other)));
    assert!(matches!(stored.put_together("[]"), Err(CursorInvalid::Unfit(ChangeUnfit::NoPiece { .. }))));
    assert_eq!(stored.short(), None);
}

#[test]
fn batch_over_the_limit_is_refused() {
    let mut site = site();
    let event = items(&mut site, [1]).remove(0);
    let too_many = vec![event; SENSOR_BATCH_DRAFTS_MAX + 1];
    let outcome = read(&mut site, too_many, Some("1"));
    assert!(matches!(outcome.result(), Err(Refusal::TooLarge(_))), "{:?}", outcome.result());
}

#[test]
fn batch_is_refused_while_too_much_is_open_and_moves_no_cursor() {
    let mut site = site();
    site.set(Settings { open_work_max: 0, ..Settings::default() });
    let events = items(&mut site, [1]);
    let offered = batch(&site, events, Some("1"));
    site.when(take(offered.clone())).then_refused(&Refusal::TooMuchOpen { open: 0, max: 0 });
    site.set(Settings::default());
    site.when(take(offered)).then(&["event.received", "sensor.advanced"]);
}

#[test]
fn start_of_a_node_begins_new_runs_from_the_cursor_and_old_runs_are_refused() {
    let mut site = site();
    read(&mut site, Vec::new(), Some("5")).then(&["sensor.advanced"]);
    let old = batch(&site, Vec::new(), Some("6"));
    site.restart();
    let outcome = site.when(note_start()).then(&["node.started"]);
    let again = runs(outcome.effects());
    assert_eq!((again[0].run, again[0].cursor.clone()), (2, inline("5")));
    let refusal = Refusal::StaleRun { sensor: old.sensor, run: 1 };
    site.when(take(old)).then_refused(&refusal);
    read(&mut site, Vec::new(), Some("6")).then(&["sensor.advanced"]);
}

#[test]
fn disabled_sensor_stays_disabled_over_restarts_and_upgrades() {
    let mut site = site();
    let late = batch(&site, Vec::new(), Some("1"));
    let outcome = site.when(set(SensorMode::Disabled)).then(&["sensor.mode_set"]);
    assert_eq!(stops(outcome.effects()), 1);
    let refusal = Refusal::StaleRun { sensor: late.sensor, run: 1 };
    site.when(take(late)).then_refused(&refusal);
    site.when(set(SensorMode::Disabled)).then(&[]);
    site.restart();
    assert!(runs(site.when(note_start()).effects()).is_empty());
    let outcome = site.install(&pieces().process(FEED, "demo.item", "./other")).then(&["pack.installed", "sensor.ended", "sensor.set"]);
    assert!(runs(outcome.effects()).is_empty());
    let outcome = site.when(set(SensorMode::Enabled)).then(&["sensor.mode_set"]);
    assert_eq!(runs(outcome.effects()).len(), 1);
}

#[test]
fn rewound_sensor_continues_from_the_given_cursor() {
    let mut site = site();
    read(&mut site, Vec::new(), Some("9")).then(&["sensor.advanced"]);
    let ahead = batch(&site, Vec::new(), Some("10"));
    let outcome = site.when(rewind(Some("3"))).then(&["sensor.cursor_set"]);
    let Some(Fact::SensorCursorSet(fact)) = outcome.facts().next() else { panic!("the cursor was set") };
    assert_eq!(fact.from, Some(cursor("9").digest()));
    let again = runs(outcome.effects());
    assert_eq!((again[0].run, again[0].cursor.clone()), (2, inline("3")));
    let refusal = Refusal::StaleRun { sensor: ahead.sensor, run: 1 };
    site.when(take(ahead)).then_refused(&refusal);
    let outcome = site.when(rewind(None)).then(&["sensor.cursor_set"]);
    assert_eq!(runs(outcome.effects())[0].cursor, None);
}

#[test]
fn outage_of_a_hundred_failures_has_seven_records_and_one_event() {
    let mut site = site_with_rules_about_outages();
    start(&mut site).then(&["sensor.started"]);
    start(&mut site).then(&[]);
    let (mut recorded, mut events) = (0, Vec::new());
    for failures in 1..=100 {
        site.later(1_000);
        let outcome = fail(&mut site, failures);
        recorded += outcome.facts().filter(|fact| matches!(fact, Fact::SensorFailed(_))).count();
        events.extend(payloads(&outcome, InternalTrigger::SensorFailed));
    }
    assert_eq!(recorded, 7, "1, 2, 4, 8, 16, 32 and 64");
    let since = NOON.plus_millis(1_000);
    let event = json!({
        "sensor": FEED, "source": "process", "kind": "connect", "error": "the server is away", "failures": FAILURES_ANNOUNCED,
        "since": since,
    });
    assert_eq!(events, [event]);
    let outcome = start(&mut site);
    let recovered = payloads(&outcome, InternalTrigger::SensorRecovered);
    assert_eq!(recovered, [json!({ "sensor": FEED, "source": "process", "failures": 64, "since": since })]);
    let SensorPhase::Running { failures, .. } = feed(&site).1.phase else { panic!("it runs") };
    assert_eq!(failures, 64, "the back-off of a flapping sensor continues");
    site.when(restart()).then(&["sensor.restarted"]);
    assert_eq!(feed(&site).1.phase.failures(), 0);
}

/// A sensor, with rules about its outages.
fn site_with_rules_about_outages() -> Site {
    let pieces = pieces().process(FEED, "demo.item", "./feed").trigger("core.sensor_failed").trigger("core.sensor_recovered");
    let pieces = pieces.rule("demo.down", "core.sensor_failed", "", "demo.say").rule("demo.up", "core.sensor_recovered", "", "demo.say");
    Site::with(&pieces)
}

/// Lets the current run fail up to a number of times in a row, a second apart. Returns the announced outages.
fn fail_up_to(site: &mut Site, failures: u32) -> Vec<Value> {
    let mut announced = Vec::new();
    for failures in 1..=failures {
        site.later(1_000);
        announced.extend(payloads(&fail(site, failures), InternalTrigger::SensorFailed));
    }
    announced
}

#[test]
fn outage_is_announced_once_however_often_its_sensor_is_run_again() {
    let mut site = site_with_rules_about_outages();
    start(&mut site);
    let since = site.now().plus_millis(1_000);
    assert_eq!(fail_up_to(&mut site, FAILURES_ANNOUNCED).len(), 1);
    for again in [restart(), rewind(Some("7")), set(SensorMode::Enabled)] {
        if matches!(again.ask, Ask::SetSensorMode { .. }) {
            site.when(set(SensorMode::Disabled)).then(&["sensor.mode_set"]);
        }
        site.when(again);
        assert_eq!(fail_up_to(&mut site, 2 * FAILURES_ANNOUNCED), [Value::Null; 0], "the outage is the same");
    }
    site.restart();
    site.when(note_start());
    assert_eq!(fail_up_to(&mut site, 2 * FAILURES_ANNOUNCED), [Value::Null; 0]);
    let recovered = payloads(&start(&mut site), InternalTrigger::SensorRecovered);
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0]["since"], json!(since), "it began with the first failure");
    // The next outage is another one.
    let since = site.now().plus_millis(1_000);
    let announced = fail_up_to(&mut site, 2 * FAILURES_ANNOUNCED);
    assert_eq!(
        announced.iter().map(|one| (&one["failures"], &one["since"])).collect::<Vec<_>>(),
        [(&json!(FAILURES_ANNOUNCED), &json!(since))]
    );
}

/// A sensor, with rules about its parts.
fn site_with_rules_about_parts() -> Site {
    let pieces = pieces().process(FEED, "demo.item", "./feed");
    let pieces = pieces.trigger("core.sensor_part_failed").trigger("core.sensor_part_recovered");
    let pieces = pieces.rule("demo.down", "core.sensor_part_failed", "", "demo.say");
    Site::with(&pieces.rule("demo.up", "core.sensor_part_recovered", "", "demo.say"))
}

/// The current run reports parts.
fn report(site: &mut Site, reported: &[(&str, PartState)]) -> Outcome {
    let (sensor, pulling) = feed(site);
    let parts = reported.iter().map(|(part, state)| ((*part).to_owned(), state.clone())).collect();
    site.when(asked_by(Actor::Engine, Ask::NoteSensorParts(SensorParts { sensor, run: pulling.run, parts })))
}

fn away() -> PartState {
    PartState::Failing { error: "the server is away".to_owned() }
}

/// Returns the kinds of the records about parts.
fn records_of_parts(outcome: &Outcome) -> Vec<&'static str> {
    let kind = |fact: &Fact| match fact {
        Fact::SensorPartFailed(_) => Some("failed"),
        Fact::SensorPartRecovered(_) => Some("recovered"),
        _ => None,
    };
    outcome.facts().filter_map(kind).collect()
}

#[test]
fn part_that_fails_is_recorded_and_announced_once_until_it_recovers() {
    let mut site = site_with_rules_about_parts();
    start(&mut site);
    let since = site.now();
    let outcome = report(&mut site, &[("a", away()), ("b", PartState::Running)]);
    assert_eq!(records_of_parts(&outcome), ["failed"]);
    let announced = payloads(&outcome, InternalTrigger::SensorPartFailed);
    assert_eq!(announced, [json!({ "sensor": FEED, "source": "process", "part": "a", "error": "the server is away" })]);
    site.later(1_000);
    assert_eq!(records_of_parts(&report(&mut site, &[("a", away())])), [""; 0]);
    assert!(matches!(feed(&site).1.phase, SensorPhase::Running { .. }), "the sensor reads its other parts");
    let outcome = report(&mut site, &[("a", PartState::Running)]);
    assert_eq!(records_of_parts(&outcome), ["recovered"]);
    let recovered = payloads(&outcome, InternalTrigger::SensorPartRecovered);
    assert_eq!(recovered, [json!({ "sensor": FEED, "source": "process", "part": "a", "since": since })]);
    assert_eq!(site.engine().sensors().part(feed(&site).0, "a"), None);
}

#[test]
fn part_that_fails_in_the_next_run_too_is_not_announced_again() {
    let mut site = site_with_rules_about_parts();
    let since = site.now();
    report(&mut site, &[("a", away())]);
    for again in 0..3 {
        site.later(1_000);
        site.when(restart());
        let outcome = report(&mut site, &[("a", away())]);
        assert_eq!(records_of_parts(&outcome), ["failed"], "it fails in run {again}, too");
        assert_eq!(payloads(&outcome, InternalTrigger::SensorPartFailed), [Value::Null; 0]);
    }
    let id = feed(&site).0;
    assert_eq!(site.engine().sensors().part(id, "a").map(|part| part.since), Some(since));
}

#[test]
fn part_that_a_run_does_not_report_is_forgotten_when_the_next_one_begins() {
    let mut site = site_with_rules_about_parts();
    report(&mut site, &[("gone", away()), ("b", away())]);
    let id = feed(&site).0;
    site.when(restart());
    report(&mut site, &[("b", away())]);
    assert!(site.engine().sensors().part(id, "gone").is_some(), "it may still be reported");
    site.restart();
    site.when(note_start());
    assert_eq!(site.engine().sensors().parts(id).collect::<Vec<_>>(), ["b"]);
    let outcome = report(&mut site, &[("gone", away())]);
    assert_eq!(payloads(&outcome, InternalTrigger::SensorPartFailed).len(), 1, "it is another failure");
}

#[test]
fn parts_of_a_sensor_are_limited_and_those_of_earlier_runs_make_room() {
    let mut site = site();
    let many: Vec<String> = (0..FAILING_PARTS_MAX + 5).map(|number| format!("{number:03}")).collect();
    let reported: Vec<(&str, PartState)> = many.iter().map(|name| (name.as_str(), away())).collect();
    assert_eq!(records_of_parts(&report(&mut site, &reported)).len(), FAILING_PARTS_MAX);
    assert_eq!(records_of_parts(&report(&mut site, &[("further", away())])), [""; 0]);
    site.when(restart());
    assert_eq!(records_of_parts(&report(&mut site, &[("further", away())])), ["failed"]);
    let id = feed(&site).0;
    assert_eq!(site.engine().sensors().parts(id).count(), FAILING_PARTS_MAX);
    assert!(site.engine().sensors().part(id, "further").is_some());
}

#[test]
fn part_that_works_again_makes_room_for_one_that_fails_in_the_same_report() {
    let mut site = site();
    let many: Vec<String> = (0..FAILING_PARTS_MAX).map(|number| format!("{number:03}")).collect();
    let reported: Vec<(&str, PartState)> = many.iter().map(|name| (name.as_str(), away())).collect();
    report(&mut site, &reported);
    // By name, the one that fails is before the one that makes room for it.
    let outcome = report(&mut site, &[("!further", away()), ("!more", away()), ("050", PartState::Running)]);
    assert_eq!(records_of_parts(&outcome), ["recovered", "failed"]);
    let id = feed(&site).0;
    let is_failing = |part: &str| site.engine().sensors().part(id, part).is_some();
    assert_eq!((is_failing("!further"), is_failing("!more"), is_failing("050")), (true, false, false));
    assert_eq!(site.engine().sensors().parts(id).count(), FAILING_PARTS_MAX);
}

#[test]
fn report_of_parts_by_a_run_that_is_over_is_ignored() {
    let mut site = site();
    let (sensor, pulling) = feed(&site);
    site.when(restart());
    let parts = BTreeMap::from([("a".to_owned(), away())]);
    let late = asked_by(Actor::Engine, Ask::NoteSensorParts(SensorParts { sensor, run: pulling.run, parts }));
    site.when(late).then(&[]);
    assert_eq!(site.engine().sensors().part(sensor, "a"), None);
}

#[test]
fn outage_that_was_not_announced_is_announced_after_a_restart_by_hand() {
    let mut site = site_with_rules_about_outages();
    start(&mut site);
    let since = site.now().plus_millis(1_000);
    assert_eq!(fail_up_to(&mut site, FAILURES_ANNOUNCED - 1), [Value::Null; 0]);
    site.when(restart()).then(&["sensor.restarted"]);
    let announced = fail_up_to(&mut site, FAILURES_ANNOUNCED);
    assert_eq!(announced.iter().map(|one| &one["since"]).collect::<Vec<_>>(), [&json!(since)]);
    assert_eq!(payloads(&start(&mut site), InternalTrigger::SensorRecovered).len(), 1);
    fail_up_to(&mut site, FAILURES_ANNOUNCED - 1);
    assert_eq!(payloads(&start(&mut site), InternalTrigger::SensorRecovered), [Value::Null; 0], "nobody knew of that outage");
}

/// The payloads of the events of one of the engine's own triggers.
fn payloads(outcome: &Outcome, trigger: InternalTrigger) -> Vec<Value> {
    let is_one = |record: &&Record| matches!(&record.fact, Fact::EventReceived(event) if event.trigger == trigger.trigger());
    let payload = |record: &Record| serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap();
    outcome.records().iter().filter(is_one).map(payload).collect()
}

#[test]
fn reports_of_a_run_that_is_over_are_ignored() {
    let mut site = site();
    let (late_start, late_failure) = (note_started(&site), note_failed(&site, 1));
    site.when(restart()).then(&["sensor.restarted"]);
    site.when(late_start).then(&[]);
    site.when(late_failure).then(&[]);
}

/// What a random story does next.
#[derive(Clone, Debug)]
enum Step {
    Read { to: u8, after: bool },
    Fail(u32),
    Start,
    Mode(bool),
    Rewind(Option<u8>),
    Restart,
    NodeStarts,
    Install(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<u8>(), prop::bool::weighted(0.8)).prop_map(|(to, after)| Step::Read { to, after }),
        (1_u32..20).prop_map(Step::Fail),
        Just(Step::Start),
        any::<bool>().prop_map(Step::Mode),
        prop::option::of(any::<u8>()).prop_map(Step::Rewind),
        Just(Step::Restart),
        Just(Step::NodeStarts),
        (0_u8..3).prop_map(Step::Install),
    ]
}

fn run_story(steps: &[Step]) -> Site {
    let mut site = site();
    for step in steps {
        site.later(100);
        let is_set = site.engine().sensors().of(&FEED.parse().unwrap()).is_some();
        match step {
            Step::Install(0) => drop(site.install(&pieces())),
            Step::Install(which) => drop(site.install(&pieces().process(FEED, "demo.item", &format!("./feed{which}")))),
            Step::NodeStarts => {
                site.restart();
                site.when(note_start());
            }
            Step::Mode(true) => drop(site.when(set(SensorMode::Enabled))),
            Step::Mode(false) => drop(site.when(set(SensorMode::Disabled))),
            Step::Rewind(to) => drop(site.when(rewind(to.map(|to| to.to_string()).as_deref()))),
            Step::Restart => drop(site.when(restart())),
            Step::Read { .. } | Step::Fail(_) | Step::Start if !is_set => {}
            Step::Read { to, after } => {
                let events = items(&mut site, [u32::from(*to)]);
                let batch = batch(&site, events, Some(&to.to_string()));
                let after = if *after { batch.after } else { Some(cursor("\"elsewhere\"").digest()) };
                site.when(take(SensorBatch { after, ..batch }));
            }
            Step::Fail(failures) => drop(fail(&mut site, *failures)),
            Step::Start => drop(start(&mut site)),
        }
    }
    site
}

proptest! {
    #[test]
    fn state_of_sensors_is_the_fold_of_the_log_and_survives_a_restart(steps in prop::collection::vec(step(), 1..40)) {
        let mut site = run_story(&steps);
        let mut engine = Engine::new(site.engine().log());
        site.records().iter().for_each(|record| engine.apply(record));
        engine.commit();
        prop_assert_eq!(engine.sensors(), site.engine().sensors());
        let saved = site.engine().save();
        let loaded = Engine::load(site.engine().log(), &saved).unwrap();
        prop_assert_eq!(loaded.sensors(), site.engine().sensors());
        site.restart();
        prop_assert_eq!(engine.sensors(), site.engine().sensors());
    }

    /// The sum of the effects is what should run: each enabled sensor with its newest run and its cursor then.
    #[test]
    fn effects_run_exactly_the_enabled_sensors(steps in prop::collection::vec(step(), 1..40)) {
        let site = run_story(&steps);
        let mut running: BTreeMap<SensorId, u64> = BTreeMap::new();
        for effect in site.effects() {
            match effect {
                Effect::RunSensor(run) => drop(running.insert(run.id, run.run)),
                Effect::StopSensor { id } => drop(running.remove(id)),
                Effect::Dispatch(_) | Effect::Stop { .. } | Effect::Release { .. } => {}
            }
        }
        let sensors = site.engine().sensors();
        let wanted: BTreeMap<SensorId, u64> = sensors
            .iter()
            .filter(|(_, pulling)| sensors.mode(&pulling.sensor) == SensorMode::Enabled)
            .map(|(id, pulling)| (id, pulling.run))
            .collect();
        prop_assert_eq!(running, wanted);
    }
}
