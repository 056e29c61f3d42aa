//! Schedules compared with an oracle that counts moments one by one and shares nothing with them except the
//! time zone data.

mod clocks;
mod mistakes;
mod model;

use chrono::{Datelike, NaiveDate, NaiveDateTime};
use ensue_engine::schedule::{Cron, Occasion, ScheduleError, Zone};
use ensue_engine::time::Timestamp;
use proptest::prelude::*;

use self::clocks::{Change, ZONES, changes};
use self::model::{Item, Model, models};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn second(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// A cron expression in the time zone with this name.
fn cron(expression: &str, zone: &str) -> Result<Cron, ScheduleError> {
    Cron::parse(expression, zone.parse()?)
}

/// The next due moments.
fn next(expression: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = cron(expression, zone).unwrap();
    let due = std::iter::successors(schedule.next_after(at(from)), |due| schedule.next_after(*due));
    due.take(count).map(|due| due.to_string().replace(".000000", "")).collect()
}

#[test]
fn skipped_local_time_is_due_once_right_after_the_gap() {
    let spring = "2026-03-28T12:00:00Z";
    assert_eq!(next("30 2 * * *", "Europe/Paris", spring, 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    let several = next("*/15 2 * * *", "Europe/Paris", spring, 2);
    assert_eq!(several, ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"], "once, however much was skipped");
    assert_eq!(next("0 2,3 * * *", "Europe/Paris", spring, 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"], "the two are one moment");
    assert_eq!(next("@daily", "Africa/Cairo", "2026-04-23T12:00:00Z", 2), ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"]);
}

#[test]
fn repeated_local_time_is_due_the_first_time() {
    let autumn = "2026-10-24T12:00:00Z";
    assert_eq!(next("30 2 * * *", "Europe/Paris", autumn, 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    assert_eq!(next("0,30 2 * * *", "Europe/Paris", autumn, 3), ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:00:00Z"]);
    let in_the_second = next("30 2 * * *", "Europe/Paris", "2026-10-25T01:10:00Z", 1);
    assert_eq!(in_the_second, ["2026-10-26T01:30:00Z"], "also where one asks in between");
}

#[test]
fn hourly_expression_is_due_in_every_elapsed_hour() {
    let autumn = "2026-10-24T23:45:00Z";
    assert_eq!(next("30 * * * *", "Europe/Paris", autumn, 3), ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]);
    assert_eq!(next("30 0-23 * * *", "Europe/Paris", autumn, 3), next("30 * * * *", "Europe/Paris", autumn, 3), "however it is written");
    let spring = "2026-03-29T00:15:00Z";
    assert_eq!(next("30 * * * *", "Europe/Paris", spring, 2), ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"]);
    assert_eq!(next("0 */2 * * *", "Europe/Paris", spring, 1), ["2026-03-29T02:00:00Z"], "02:00 is skipped, and 04:00 is next");
}

#[test]
fn day_skipped_by_a_zone_is_due_at_the_end_of_the_gap() {
    // Samoa crossed the date line, and had no 30 December 2011.
    assert_eq!(next("0 9 30 12 *", "Pacific/Apia", "2011-06-01T00:00:00Z", 2), ["2011-12-30T10:00:00Z", "2012-12-29T19:00:00Z"]);
    let hourly = next("0 * * * *", "Pacific/Apia", "2011-12-30T08:30:00Z", 3);
    assert_eq!(hourly, ["2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T11:00:00Z"]);
}

#[test]
fn occasion_reports_the_clock_change_at_a_due_time() {
    let occasions = |expression: &str, from: &str| -> Vec<Occasion> {
        let cron = Cron::parse(expression, "Europe/Paris".parse().unwrap()).unwrap();
        let due = std::iter::successors(cron.next_after(at(from)), |due| cron.next_after(*due));
        due.take(3).map(|due| cron.firing(due).occasion).collect()
    };
    assert_eq!(occasions("30 2 * * *", "2026-03-27T12:00:00Z"), [Occasion::Usual, Occasion::Skipped, Occasion::Usual]);
    assert_eq!(occasions("30 2 * * *", "2026-10-24T12:00:00Z"), [Occasion::FirstOfTwo, Occasion::Usual, Occasion::Usual]);
    assert_eq!(occasions("30 * * * *", "2026-10-25T00:10:00Z"), [Occasion::FirstOfTwo, Occasion::SecondOfTwo, Occasion::Usual]);
}

#[test]
fn named_expressions_equal_their_cron_forms() {
    let from = "2026-03-28T12:30:00Z";
    let cases = [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@ANNUALLY", "0 0 1 1 *"),
        ("0 0 * * sat-sun", "0 0 * * 0,6"),
        ("0 0 ? jan-MAR Mon", "0 0 * 1-3 1"),
    ];
    for (name, expression) in cases {
        assert_eq!(next(name, "UTC", from, 5), next(expression, "UTC", from, 5), "{name}");
    }
}

#[test]
fn schedule_ends_with_its_years_and_at_the_maximum_time() {
    assert_eq!(next("0 0 12 1 1 * 2027-2028", "UTC", "2026-01-01T00:00:00Z", 9), ["2027-01-01T12:00:00Z", "2028-01-01T12:00:00Z"]);
    assert_eq!(next("0 0 * * *", "UTC", "4999-12-29T12:00:00Z", 9), ["4999-12-30T00:00:00Z", "4999-12-31T00:00:00Z"]);
    assert_eq!(next("* * * * *", "UTC", "9999-12-31T23:59:59Z", 9), Vec::<String>::new());
}

/// When the model is due around a clock change, counted one step after the other: the rule as the reference
/// states it.
fn due_by_counting(model: &Model, change: &Change) -> Vec<i64> {
    let step = model.step();
    let mut shown = std::collections::BTreeSet::new();
    let mut due = Vec::new();
    let mut before: Option<i64> = None;
    for moment in change.around(step) {
        let reading = change.reading(moment);
        let is_new = shown.insert(reading);
        let has_skipped = before.is_some_and(|before| (before + step..reading).step_by(step as usize).any(|skipped| model.names(skipped)));
        let is_due = if model.is_by_hours() { model.names(reading) } else { has_skipped || (is_new && model.names(reading)) };
        if is_due {
            due.push(moment);
        }
        before = Some(reading);
    }
    due
}

/// Each moment within so many seconds of a change is checked.
const NEAR: i64 = 3 * 3_600;

fn agrees_around(model: &Model, change: &Change) {
    let text = model.to_string();
    let expected = due_by_counting(model, change);
    let schedule = match cron(&text, change.zone) {
        Ok(schedule) => schedule,
        Err(ScheduleError::Never { .. }) if expected.is_empty() => return,
        Err(why) => panic!("`{text}`: {why}"),
    };
    let (first, last) = change.checked_range();
    let reported = |moment: Option<&i64>| moment.map(|moment| second(*moment).to_string());
    // From each due moment near the change and some of the others, from just before and just after it, and
    // from the edges of the change.
    let is_near = |due: i64| (due - change.moment).abs() < NEAR;
    let rarely = expected.len() / 16 + 1;
    let dues = expected.iter().enumerate().filter(|(nth, due)| is_near(**due) || nth % rarely == 0).map(|(_, due)| *due);
    let edges = [first, change.moment - 1, change.moment, change.moment + 1];
    let froms = dues.flat_map(|due| [due - 1, due, due + 1]).chain(edges);
    for from in froms.filter(|from| (first..last).contains(from)) {
        let rightly = expected.get(expected.partition_point(|due| *due <= from)).filter(|due| **due < last);
        for fraction in [0, 999_999] {
            let from = Timestamp::from_micros(from * 1_000_000 + fraction);
            let given = schedule.next_after(from);
            assert!(given.is_none_or(|given| given > from), "`{text}` in {} from {from}: {given:?} is not later", change.zone);
            let given = given.map(|given| given.micros() / 1_000_000).filter(|given| *given < last);
            assert_eq!(reported(given.as_ref()), reported(rightly), "`{text}` in {} from {from}", change.zone);
        }
    }
}

#[test]
fn due_times_around_clock_changes_of_forty_zones_match_counting() {
    let mut draw = model::Draw::default();
    assert_eq!(ZONES.len(), 40);
    let mut judged = 0;
    for zone in ZONES {
        for change in changes(zone) {
            for _ in 0..2 {
                agrees_around(&draw.one(model::by_minutes()), &change);
            }
            judged += 1;
        }
    }
    assert!(judged > 1_000, "{judged} changes were judged: the zones have lost theirs");
}

#[test]
fn due_seconds_around_clock_changes_match_counting() {
    let mut draw = model::Draw::default();
    for zone in ZONES {
        for change in changes(zone).into_iter().take(2) {
            agrees_around(&draw.one(model::by_seconds()), &change);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn due_days_match_counting(model in model::by_days()) {
        let text = model.to_string();
        let named: Vec<NaiveDate> = days().filter(|day| model.names_day(*day)).collect();
        match Cron::parse(&text, Zone::UTC) {
            Err(why) => prop_assert!(named.is_empty(), "`{}` has days: {}", text, why),
            Ok(cron) => {
                let begin = NaiveDateTime::from(first_day()).and_utc().timestamp() - 1;
                let due = std::iter::successors(cron.next_after(second(begin)), |due| cron.next_after(*due));
                let given: Vec<NaiveDate> = due.map(day_of).take_while(|day| day.year() < LAST_YEAR).collect();
                prop_assert_eq!(given, named, "`{}`", text);
            }
        }
    }

    #[test]
    fn next_due_time_is_later_with_none_in_between(model in models(), from in -62_135_596_800_i64..95_617_584_000, zone in 0..ZONES.len()) {
        let text = model.to_string();
        let Ok(schedule) = cron(&text, ZONES[zone]) else { return Ok(()) };
        let from = second(from);
        let Some(due) = schedule.next_after(from) else { return Ok(()) };
        prop_assert!(due > from);
        prop_assert_eq!(schedule.next_after(from), Some(due), "it is the same each time");
        let between = Timestamp::from_micros(from.micros() + (due.micros() - from.micros()) / 2);
        if between < due {
            prop_assert_eq!(schedule.next_after(between), Some(due), "`{}` in {} from {}", text, ZONES[zone], between);
        }
        prop_assert!(schedule.next_after(due).is_none_or(|next| next > due));
    }
}

/// The year in which counting days ends.
const LAST_YEAR: i32 = 2061;

fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2020, 1, 1).unwrap()
}

fn days() -> impl Iterator<Item = NaiveDate> {
    first_day().iter_days().take_while(|day| day.year() < LAST_YEAR)
}

fn day_of(due: Timestamp) -> NaiveDate {
    chrono::DateTime::from_timestamp_micros(due.micros()).unwrap().date_naive()
}

#[test]
fn oracle_matches_known_dates() {
    let named = |day: Vec<Item>, weekday: Vec<Item>| -> Vec<String> {
        let model = Model::of_days(day, weekday);
        days().filter(|day| model.names_day(*day)).take(3).map(|day| day.to_string()).collect()
    };
    assert_eq!(named(vec![Item::LastDay], vec![Item::All]), ["2020-01-31", "2020-02-29", "2020-03-31"]);
    assert_eq!(named(vec![Item::LastWorkday], vec![Item::All]), ["2020-01-31", "2020-02-28", "2020-03-31"]);
    assert_eq!(named(vec![Item::Near(1)], vec![Item::All]), ["2020-01-01", "2020-02-03", "2020-03-02"]);
    assert_eq!(named(vec![Item::All], vec![Item::Last(5)]), ["2020-01-31", "2020-02-28", "2020-03-27"]);
    assert_eq!(named(vec![Item::All], vec![Item::Nth(1, 2)]), ["2020-01-13", "2020-02-10", "2020-03-09"]);
}
