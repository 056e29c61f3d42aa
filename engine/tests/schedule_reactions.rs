//! Schedules of rules and sensors: what sets and ends them, when they fire, and what happens to missed times.

use ensue_engine::catalog::Mode;
use ensue_engine::fact::Fact;
use ensue_engine::ids::RuleId;
use ensue_engine::record::Record;
use ensue_engine::schedule::facts::EndedBecause;
use ensue_engine::schedule::plan::{Misfire, Plan, When};
use ensue_engine::schedule::{Cron, Zone};
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_test_support::NOON;
use ensue_test_support::spec::{CatalogsHealth, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::definitions::{cron, every};
use crate::support::{Pieces, Site, accept_clock, fields, fire_timers, note_start, retry, set_mode};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MICROS: i64 = 1_000;

const FIRES: &[&str] = &["timer.fired", "event.received", "timer.set", "enforcement.made", "execution.requested", "attempt.started"];

fn pieces() -> Pieces {
    Pieces::default().trigger("core.schedule").trigger("demo.tick").action_at_once("demo.say")
}

fn with(plan: Plan) -> Pieces {
    pieces().scheduled_rule("demo.one", "demo.say", plan)
}

fn site(plan: Plan) -> Site {
    Site::with(&with(plan))
}

fn all(plan: Plan) -> Plan {
    Plan { misfire: Misfire::FireAll, ..plan }
}

/// The due time and the delay in each event.
fn event_times(records: &[Record]) -> Vec<(Timestamp, i64)> {
    let events = records.iter().filter(|record| matches!(record.fact, Fact::EventReceived(_)));
    events.map(event_time).collect()
}

fn event_time(event: &Record) -> (Timestamp, i64) {
    let payload: Value = serde_json::from_slice(event.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap();
    (payload["scheduled_at"].as_str().unwrap().parse().unwrap(), payload["late_seconds"].as_i64().unwrap())
}

fn times(outcome: &Outcome) -> Vec<Timestamp> {
    event_times(outcome.records()).into_iter().map(|(time, _)| time).collect()
}

/// Fires everything due, as a node does: again until nothing is left.
fn fire_all_due(site: &mut Site) -> Vec<Timestamp> {
    let mut fired = Vec::new();
    for _ in 0..10_000 {
        let outcome = site.when(fire_timers());
        if outcome.records().is_empty() {
            return fired;
        }
        fired.extend(times(&outcome));
    }
    panic!("it fires without end");
}

fn next_due(site: &Site) -> Option<Timestamp> {
    site.engine().timers().next_due()
}

fn end_reasons(outcome: &Outcome) -> Vec<EndedBecause> {
    outcome.facts().filter_map(|fact| if let Fact::ScheduleEnded(fact) = fact { Some(fact.why) } else { None }).collect()
}

#[test]
fn installing_a_rule_sets_its_schedule() {
    let site = site(every(HOUR));
    let kinds: Vec<&str> = site.records().iter().map(Record::kind).collect();
    assert_eq!(kinds, ["pack.installed", "schedule.set", "timer.set"]);
    assert_eq!(next_due(&site), Some(NOON.plus_millis(HOUR)));
}

#[test]
fn due_time_creates_an_event_for_the_rule_and_sets_the_next_timer() {
    let mut site = site(every(HOUR));
    site.after(HOUR - 1).then(&[]);
    let outcome = site.after(1).then(FIRES);
    assert_eq!(event_times(outcome.records()), [(NOON.plus_millis(HOUR), 0)]);
    assert_eq!(next_due(&site), Some(NOON.plus_millis(2 * HOUR)));
    site.when(fire_timers()).then(&[]);
}

#[test]
fn each_scheduled_time_starts_its_own_cause_chain_with_stable_ids() {
    let chain = || {
        let mut site = site(every(HOUR));
        let first = site.after(HOUR).then(FIRES).records().to_vec();
        let second = site.after(HOUR).then(FIRES).records().to_vec();
        (first, second)
    };
    let (first, second) = chain();
    for records in [&first, &second] {
        let root = &records[0];
        assert_eq!((root.cause.parent, root.cause.root), (None, root.id));
        assert!(records.iter().all(|record| record.cause.root == root.id));
        assert_eq!(records[1].cause.parent, Some(root.id));
        assert_eq!(records[1].cause.depth, 0);
    }
    assert_ne!(first[0].id, second[0].id);
    let ids = |(first, second): (Vec<Record>, Vec<Record>)| first.into_iter().chain(second).map(|record| record.id).collect::<Vec<_>>();
    assert_eq!(ids((first, second)), ids(chain()));
}

#[test]
fn only_the_scheduled_rule_evaluates_its_schedule_event() {
    let pieces = with(every(HOUR)).scheduled_rule("demo.two", "demo.say", every(DAY)).rule("demo.listens", "core.schedule", "", "demo.say");
    let mut site = Site::with(&pieces);
    let outcome = site.after(HOUR).then(FIRES);
    let Some(Fact::EnforcementMade(made)) = outcome.facts().nth(3) else { panic!("a rule was enforced") };
    assert_eq!(made.rule.as_str(), "demo.one");
    // An event that a caller sends with the same name does not belong to a schedule.
    let sent = site.receive("core.schedule", &json!({ "scheduled_at": "now", "late_seconds": 0 }));
    let rules: Vec<&str> =
        sent.facts().filter_map(|fact| if let Fact::EnforcementMade(made) = fact { Some(made.rule.as_str()) } else { None }).collect();
    assert_eq!(rules, ["demo.listens"]);
}

#[test]
fn restart_between_a_due_time_and_its_reaction_changes_nothing() {
    let mut whole = site(every(HOUR));
    whole.later(HOUR);
    whole.when(fire_timers()).then(FIRES);
    let mut halved = site(every(HOUR));
    halved.restart();
    halved.later(HOUR);
    halved.restart();
    halved.when(fire_timers()).then(FIRES);
    halved.restart();
    halved.when(fire_timers()).then(&[]);
    let ids = |site: &Site| site.records().iter().map(|record| record.id).collect::<Vec<_>>();
    assert_eq!(ids(&whole), ids(&halved));
}

#[test]
fn newest_missed_time_fires_and_the_others_are_recorded_as_missed() {
    let mut site = site(every(HOUR));
    site.later(5 * HOUR + 90 * SECOND);
    let outcome = site.when(fire_timers());
    assert_eq!(outcome.kinds()[..4], ["timer.fired", "schedule.missed", "event.received", "timer.set"]);
    assert_eq!(event_times(outcome.records()), [(NOON.plus_millis(5 * HOUR), 90)]);
    let Some(Fact::ScheduleMissed(missed)) = outcome.facts().nth(1) else { panic!("missed times are reported") };
    assert_eq!((missed.from, missed.until), (NOON.plus_millis(HOUR), NOON.plus_millis(5 * HOUR)));
    assert_eq!(next_due(&site), Some(NOON.plus_millis(6 * HOUR)));
}

#[test]
fn skipped_misfire_does_not_fire() {
    let mut site = site(Plan { misfire: Misfire::Skip, ..every(HOUR) });
    site.later(5 * HOUR + 90 * SECOND);
    site.when(fire_timers()).then(&["timer.fired", "schedule.missed", "timer.set"]);
    assert_eq!(times(&site.after(HOUR - 90 * SECOND)), [NOON.plus_millis(6 * HOUR)]);
}

#[test]
fn missed_times_fire_one_by_one_in_order() {
    let mut site = site(all(cron("0 * * * *", "UTC")));
    site.later(3 * HOUR + MINUTE);
    assert_eq!(fire_all_due(&mut site), [1, 2, 3].map(|hours| NOON.plus_millis(hours * HOUR)));
    assert!(!site.records().iter().any(|record| record.kind() == "schedule.missed"));
}

#[test]
fn newest_hundred_missed_times_fire_and_the_rest_are_recorded() {
    for plan in [every(MINUTE), cron("* * * * *", "UTC")] {
        let mut site = site(all(plan));
        site.later(1_000 * MINUTE);
        let fired = fire_all_due(&mut site);
        assert_eq!(fired, (901..=1_000).map(|minutes| NOON.plus_millis(minutes * MINUTE)).collect::<Vec<_>>());
        let missed: Vec<_> = site.records().iter().filter(|record| record.kind() == "schedule.missed").collect();
        assert_eq!(missed.len(), 1);
    }
}

#[test]
fn one_time_schedule_fires_exactly_once() {
    let at = NOON.plus_millis(HOUR);
    let plan = || Plan::new(When::At(at));
    let mut site = site(plan());
    let outcome = site.after(DAY);
    assert_eq!(event_times(outcome.records()), [(at, 23 * 3_600)]);
    assert_eq!(end_reasons(&outcome), [EndedBecause::Over]);
    site.when(note_start());
    site.install(&with(plan())).then(&["pack.installed"]);
    site.when(set_mode("demo.one", Mode::Disabled)).then(&["rule.mode_set", "schedule.ended"]);
    site.when(set_mode("demo.one", Mode::Enabled)).then(&["rule.mode_set", "schedule.set", "schedule.ended"]);
    assert_eq!(next_due(&site), None);
}

#[test]
fn upgrade_keeps_the_phase_of_an_unchanged_schedule_and_restarts_others() {
    let mut site = site(every(HOUR));
    site.later(40 * MINUTE);
    site.install(&with(every(HOUR)).action("demo.more")).then(&["pack.installed"]);
    assert_eq!(next_due(&site), Some(NOON.plus_millis(HOUR)));
    site.install(&with(all(every(HOUR)))).then(&["pack.installed"]);
    assert_eq!(next_due(&site), Some(NOON.plus_millis(HOUR)));
    let outcome = site.install(&with(every(2 * HOUR))).then(&["pack.installed", "schedule.ended", "schedule.set", "timer.set"]);
    assert_eq!(end_reasons(&outcome), [EndedBecause::Changed]);
    assert_eq!(next_due(&site), Some(NOON.plus_millis(2 * HOUR + 40 * MINUTE)));
    assert_eq!(site.engine().timers().pending(), 1);
}

#[test]
fn removing_a_rule_or_its_schedule_ends_the_timer() {
    for (pieces, why) in
        [(pieces(), EndedBecause::Removed), (pieces().rule("demo.one", "demo.tick", "", "demo.say"), EndedBecause::Changed)]
    {
        let mut site = site(every(HOUR));
        let outcome = site.install(&pieces).then(&["pack.installed", "schedule.ended"]);
        assert_eq!(end_reasons(&outcome), [why]);
        site.after(DAY).then(&[]);
    }
}

#[test]
fn deleted_and_recreated_rule_starts_a_new_schedule() {
    let mut site = site(every(HOUR));
    site.later(40 * MINUTE);
    let another = with(every(HOUR)).without_rule("demo.one").rule_with("demo.one", "core.schedule", "", "demo.say", |rule| {
        rule.id = RuleId(ensue_engine::ids::Id::root(NOON, 77));
        rule.schedule = Some(std::sync::Arc::new(every(HOUR)));
    });
    let outcome = site.install(&another).then(&["pack.installed", "schedule.ended", "schedule.set", "timer.set"]);
    assert_eq!(end_reasons(&outcome), [EndedBecause::Removed]);
    assert_eq!(next_due(&site), Some(NOON.plus_millis(HOUR + 40 * MINUTE)));
}

#[test]
fn disabled_rule_has_no_timer_and_a_shadow_rule_has_one() {
    let mut site = site(every(HOUR));
    let outcome = site.when(set_mode("demo.one", Mode::Disabled)).then(&["rule.mode_set", "schedule.ended"]);
    assert_eq!(end_reasons(&outcome), [EndedBecause::Disabled]);
    site.after(HOUR).then(&[]);
    site.when(set_mode("demo.one", Mode::Shadow)).then(&["rule.mode_set", "schedule.set", "timer.set"]);
    site.when(set_mode("demo.one", Mode::Enabled)).then(&["rule.mode_set"]);
    site.when(set_mode("demo.one", Mode::Shadow)).then(&["rule.mode_set"]);
    site.after(HOUR).then(&["timer.fired", "event.received", "timer.set", "enforcement.made"]);
}

#[test]
fn sensor_emits_events_of_its_triggers() {
    let payload = json!({ "at": "${{ scheduled_at }}", "late": "${{ late_seconds }}" });
    let pieces = pieces().timer("demo.hourly", "demo.tick", every(HOUR), Some(&payload)).rule("demo.hears", "demo.tick", "", "demo.say");
    let mut site = Site::with(&pieces);
    site.later(HOUR + 5 * SECOND);
    let outcome = site.when(fire_timers()).then(FIRES);
    let event = &outcome.records()[1];
    let Fact::EventReceived(fact) = &event.fact else { panic!("it is an event") };
    assert_eq!((fact.source.as_str(), fact.sensor.as_ref().map(|sensor| sensor.as_str())), ("demo.hourly", Some("demo.hourly")));
    let payload = Document::parse(event.body.as_ref().unwrap().content.clone().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(payload.bytes()).unwrap(), json!({ "at": "2026-03-28T13:00:00.000000Z", "late": 5 }));
}

#[test]
fn timer_event_that_misfits_is_recorded_and_the_next_time_is_scheduled() {
    let strict = pieces().trigger_taking("demo.tick", fields([("at", ensue_engine::catalog::Type::Integer)]));
    let pieces = strict.timer("demo.hourly", "demo.tick", every(HOUR), Some(&json!({ "at": "${{ scheduled_at }}" })));
    let mut site = Site::with(&pieces);
    let outcome = site.after(HOUR).then(&["timer.fired", "delivery.refused", "timer.set"]);
    let Some(Fact::DeliveryRefused(refused)) = outcome.facts().nth(1) else { panic!("it is kept") };
    assert!(refused.reason.contains("/at"), "{}", refused.reason);
}

#[test]
fn unbuildable_catalog_does_not_stop_a_schedule_permanently() {
    let mut site = site(every(HOUR));
    site.set_catalogs(CatalogsHealth::Gone);
    let fired = site.after(HOUR).then(&["timer.fired", "reaction.parked"]).records()[0].position;
    site.when(note_start()).then(&["node.started"]);
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(note_start()).then(&["node.started", "timer.set"]);
    assert_eq!(next_due(&site), Some(NOON.plus_millis(2 * HOUR)));
    // The parked reaction can still be retried, once.
    let outcome = site.when(retry(fired));
    assert_eq!(times(&outcome), [NOON.plus_millis(HOUR)]);
    assert_eq!(site.engine().timers().pending(), 1);
    assert_eq!(times(&site.after(HOUR)), [NOON.plus_millis(2 * HOUR)]);
}

#[test]
fn missed_times_fire_once_despite_a_parked_reaction_and_a_restart() {
    for plan in [every(HOUR), cron("0 * * * *", "UTC"), all(every(HOUR))] {
        let mut site = site(plan.clone());
        site.set_catalogs(CatalogsHealth::Gone);
        let fired = site.after(5 * HOUR + MINUTE).records()[0].position;
        site.set_catalogs(CatalogsHealth::Whole);
        let mut reported = times(&site.when(note_start()));
        reported.extend(fire_all_due(&mut site));
        reported.extend(times(&site.when(retry(fired))));
        reported.sort_unstable();
        let expected: Vec<Timestamp> = match plan.misfire {
            Misfire::FireAll => (1..=5).map(|hour| NOON.plus_millis(hour * HOUR)).collect(),
            Misfire::FireOnce | Misfire::Skip => vec![NOON.plus_millis(5 * HOUR)],
        };
        assert_eq!(reported, expected, "{plan}");
        assert_eq!(next_due(&site), Some(NOON.plus_millis(6 * HOUR)), "{plan}");
    }
}

#[test]
fn interval_computed_after_a_clock_step_starts_at_the_new_time() {
    let mut site = site(every(HOUR));
    site.set_catalogs(CatalogsHealth::Gone);
    let fired = site.after(HOUR).records()[0].position;
    let back = Timestamp::from_micros(NOON.micros() - DAY.cast_signed() * MICROS);
    site.clock_steps_to(back);
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(retry(fired));
    assert_eq!(next_due(&site), Some(back.plus_millis(HOUR)));
}

#[test]
fn schedule_missing_after_a_panic_is_set_by_the_next_start() {
    let mut site = Site::with(&pieces());
    site.set_catalogs(CatalogsHealth::Broken);
    site.install_unseen(&with(every(HOUR))).then(&["pack.installed", "reaction.parked"]);
    site.set_catalogs(CatalogsHealth::Whole);
    site.later(MINUTE);
    site.when(note_start()).then(&["node.started", "schedule.set", "timer.set"]);
    assert_eq!(next_due(&site), Some(NOON.plus_millis(HOUR + MINUTE)));
}

#[test]
fn many_schedules_are_set_and_ended_in_several_turns() {
    let mut many = pieces();
    for rule in 0..350 {
        many = many.scheduled_rule(&format!("demo.r{rule:03}"), "demo.say", every(HOUR + rule));
    }
    let mut site = Site::with(&many);
    assert_eq!(site.engine().timers().pending(), 350);
    let mut changed = pieces();
    for rule in 0..350 {
        changed = changed.scheduled_rule(&format!("demo.r{rule:03}"), "demo.say", every(DAY + rule));
    }
    let outcome = site.install(&changed);
    assert_eq!(end_reasons(&outcome), vec![EndedBecause::Changed; 350]);
    assert_eq!((site.engine().timers().pending(), site.engine().schedules().iter().count()), (350, 350));
    site.install(&pieces());
    assert_eq!((site.engine().timers().pending(), site.engine().schedules().iter().count()), (0, 0));
}

#[test]
fn clock_step_shifts_intervals_but_not_cron_times() {
    let mut periods = site(every(HOUR));
    periods.later(20 * MINUTE);
    let back = Timestamp::from_micros(NOON.micros() - DAY.cast_signed() * MICROS);
    periods.clock_steps_to(back);
    assert_eq!(next_due(&periods), Some(back.plus_millis(40 * MINUTE)));
    assert_eq!(times(&periods.after(40 * MINUTE)), [back.plus_millis(40 * MINUTE)]);
    let mut clocks = site(cron("0 * * * *", "UTC"));
    clocks.later(20 * MINUTE);
    clocks.clock_steps_to(NOON.plus_millis(50 * MINUTE));
    assert_eq!(next_due(&clocks), Some(NOON.plus_millis(HOUR)));
}

#[test]
fn clock_jump_far_forward_holds_schedules_until_accepted() {
    let mut site = site(cron("0 * * * *", "UTC"));
    site.clock_steps_to(NOON.plus_millis(5 * HOUR + MINUTE));
    site.when(fire_timers()).then(&[]);
    site.when(accept_clock());
    assert_eq!(times(&site.when(fire_timers())), [NOON.plus_millis(5 * HOUR)]);
}

#[test]
fn time_is_delayed_by_a_stable_share_of_its_jitter() {
    let plan = || Plan { jitter: std::time::Duration::from_secs(600), ..cron("0 * * * *", "UTC") };
    let draw = || {
        let mut site = site(plan());
        let mut dues = Vec::new();
        for _ in 0..20 {
            let due = next_due(&site).unwrap();
            let scheduled_at = {
                site.step_clock(due);
                times(&site.when(fire_timers()))[0]
            };
            let late = due.micros_since(scheduled_at) / MICROS;
            assert!((0..600_000).contains(&late), "{late}");
            assert_eq!(scheduled_at.micros() % (3_600 * 1_000 * MICROS), 0);
            dues.push(late);
        }
        dues
    };
    let (once, again) = (draw(), draw());
    assert_eq!(once, again);
    assert!(once.iter().max() > once.iter().min(), "{once:?}");
}

#[test]
fn plan_with_changed_jitter_is_set_again() {
    let mut site = site(cron("0 * * * *", "UTC"));
    let late = || Plan { jitter: std::time::Duration::from_secs(600), ..cron("0 * * * *", "UTC") };
    let outcome = site.install(&with(late()));
    assert_eq!(end_reasons(&outcome), [EndedBecause::Changed]);
    assert_eq!(outcome.kinds().iter().filter(|kind| **kind == "schedule.set").count(), 1);
    site.install(&with(late())).then(&["pack.installed"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Even over daylight saving changes, the times that fire are those that `ensue cron next` prints, each
    /// once and never early.
    #[test]
    fn fired_times_equal_those_of_the_cron_expression(
        expression in prop::sample::select(vec!["30 2 * * *", "*/20 * * * *", "0 */2 * * *", "15 1,2,3 * * *", "0 9 * * 1-5", "59 23 L * *"]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]),
        begin in 0_u64..800,
        steps in prop::collection::vec(1_u64..2_000, 20..60),
        is_restarted in any::<bool>(),
    ) {
        let mut site = Site::with(&pieces());
        site.step_clock(NOON.plus_millis(begin * DAY));
        site.install(&with(all(cron(expression, zone))));
        let set_at = site.now();
        let mut fired = Vec::new();
        for minutes in steps {
            site.later(minutes * MINUTE);
            if is_restarted {
                site.restart();
            }
            let now = site.now();
            let times = fire_all_due(&mut site);
            prop_assert!(times.iter().all(|time| *time <= now));
            fired.extend(times);
        }
        let plan = Cron::parse(expression, zone.parse::<Zone>().unwrap()).unwrap();
        let expected = std::iter::successors(plan.next_after(set_at), |time| plan.next_after(*time)).take_while(|time| *time <= site.now());
        prop_assert_eq!(fired, expected.collect::<Vec<_>>());
    }
}
