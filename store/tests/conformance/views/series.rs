//! Counts over time: they add up, follow the rights of the caller, are bounded, and old ones leave.

use ensue_engine::record::Position;
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::executions::Status;
use ensue_views::rules::RuleActivity;
use ensue_views::series::{Bucket, ExecutionOutcome, Increment, SERIES_KEYS_MAX, SeriesBy, SeriesCounts, SeriesKind, SeriesQuery};
use ensue_views::store::{Changes, CountQuery};
use ensue_views::{Column, Filter, ListQuery, Projector, ReachLimits, RowReach, RowScope, Totals, ViewName, ViewReader};

use super::{Subject, on_every_view_store};

on_every_view_store! {
    increments_add_up_by_minute_and_by_hour
    limits_hide_what_belongs_elsewhere
    further_names_of_an_hour_are_counted_together
    old_minutes_leave_and_their_hours_stay
    counts_agree_with_the_rows_of_any_reach
}

fn all(kind: SeriesKind, bucket: Bucket, by: SeriesBy) -> SeriesQuery {
    SeriesQuery { kind, bucket, from: i64::MIN, until: i64::MAX, by, names: Vec::new(), reach: RowReach::Everything }
}

/// Returns the counts of every kind, by outcome and by name, in minutes and hours.
pub(super) fn everything(reader: &dyn ViewReader) -> Vec<SeriesCounts> {
    let mut counts = Vec::new();
    for kind in SeriesKind::ALL {
        for bucket in Bucket::ALL {
            counts.extend([SeriesBy::Outcome, SeriesBy::Name].map(|by| reader.series(&all(kind, bucket, by)).unwrap()));
        }
    }
    counts
}

fn increment(minute: i64, name: &str, outcome: &'static str, count: u64) -> Increment {
    let pack = name.split('.').next().unwrap();
    Increment { kind: SeriesKind::Events, minute, name: name.to_owned(), scope: Some(RowScope::of_pack(pack)), outcome, count }
}

fn add(subject: &mut Subject, increments: Vec<Increment>) {
    let through = subject.store.position().next();
    subject.store.apply(&Changes { through, increments, ..Changes::default() }).unwrap();
}

fn within(limits: &[&str]) -> RowReach {
    RowReach::Within(
        ReachLimits { all_of: vec![limits.iter().map(|limit| limit.parse().unwrap()).collect()], asked: Vec::new(), itself: None }.into(),
    )
}

/// The key of a series, and its counts by bucket.
type PlainSeries<'a> = (Option<&'a str>, Vec<(i64, u64)>);

/// Returns counts in a form that is short to write.
fn to_plain(counts: &SeriesCounts) -> Vec<PlainSeries<'_>> {
    counts.iter().map(|(key, counts)| (key.as_deref(), counts.iter().map(|(at, count)| (*at, *count)).collect())).collect()
}

fn increments_add_up_by_minute_and_by_hour(subject: &mut Subject) {
    add(subject, vec![increment(119, "a.x", "matched", 2), increment(120, "a.x", "erred", 1)]);
    add(subject, vec![increment(120, "b.y", "matched", 4), increment(120, "a.x", "matched", 8)]);
    let read = |query: &SeriesQuery| subject.reader.series(query).unwrap();
    let minutes = read(&all(SeriesKind::Events, Bucket::Minute, SeriesBy::Outcome));
    assert_eq!(to_plain(&minutes), [(Some("erred"), vec![(120, 1)]), (Some("matched"), vec![(119, 2), (120, 12)])]);
    let hours = read(&all(SeriesKind::Events, Bucket::Hour, SeriesBy::Name));
    assert_eq!(to_plain(&hours), [(Some("a.x"), vec![(1, 2), (2, 9)]), (Some("b.y"), vec![(2, 4)])]);
    let one = SeriesQuery {
        from: 120,
        names: vec!["a.x".to_owned(), "c.z".to_owned()],
        ..all(SeriesKind::Events, Bucket::Minute, SeriesBy::Nothing)
    };
    assert_eq!(to_plain(&read(&one)), [(None, vec![(120, 9)])]);
    assert_eq!(to_plain(&read(&SeriesQuery { until: 120, ..one })), []);
    assert_eq!(to_plain(&read(&all(SeriesKind::Deliveries, Bucket::Minute, SeriesBy::Nothing))), []);
    subject.store.clear().unwrap();
    assert_eq!(to_plain(&subject.reader.series(&all(SeriesKind::Events, Bucket::Hour, SeriesBy::Nothing)).unwrap()), []);
}

fn limits_hide_what_belongs_elsewhere(subject: &mut Subject) {
    let mut of_nowhere = increment(5, "a.z", "matched", 16);
    of_nowhere.scope = None;
    add(subject, vec![increment(5, "a.x", "matched", 1), increment(5, "b.y", "matched", 2), of_nowhere]);
    let counted = |reach| {
        let query = SeriesQuery { reach, ..all(SeriesKind::Events, Bucket::Minute, SeriesBy::Nothing) };
        subject.reader.series(&query).unwrap().values().flat_map(|counts| counts.values()).sum::<u64>()
    };
    assert_eq!(counted(RowReach::Everything), 19);
    assert_eq!(counted(within(&["pack=a"])), 1);
    assert_eq!(counted(within(&["pack=a", "pack=b"])), 3);
    assert_eq!(counted(within(&["pack=*"])), 3, "what belongs nowhere is hidden");
    assert_eq!(counted(within(&["label:site=eu"])), 0);
    assert_eq!(counted(RowReach::nothing()), 0);
}

fn further_names_of_an_hour_are_counted_together(subject: &mut Subject) {
    let names: Vec<String> = (0..SERIES_KEYS_MAX + 30).map(|number| format!("a.t{number:03}")).collect();
    for batch in names.chunks(70) {
        add(subject, batch.iter().map(|name| increment(7, name, "matched", 1)).collect());
    }
    // The first names are known in this hour, and the next hour has room again.
    add(subject, vec![increment(8, &names[0], "matched", 1), increment(60, &names[SERIES_KEYS_MAX], "matched", 1)]);
    let read = |reach| subject.reader.series(&SeriesQuery { reach, ..all(SeriesKind::Events, Bucket::Hour, SeriesBy::Name) }).unwrap();
    let counts = read(RowReach::Everything);
    assert_eq!(counts.len(), SERIES_KEYS_MAX + 2);
    assert_eq!(counts[&None].iter().collect::<Vec<_>>(), [(&0, &30)]);
    assert_eq!(counts[&Some(names[0].clone())][&0], 2);
    assert_eq!(counts[&Some(names[SERIES_KEYS_MAX].clone())].iter().collect::<Vec<_>>(), [(&1, &1)]);
    assert!(!read(within(&["pack=a"])).contains_key(&None), "what is not told apart is hidden from callers with limits");
}

fn old_minutes_leave_and_their_hours_stay(subject: &mut Subject) {
    add(subject, vec![increment(0, "a.x", "matched", 1), increment(61, "a.x", "matched", 2)]);
    add(subject, vec![increment(Bucket::Minute.retained_count(), "a.x", "matched", 4)]);
    let read = |bucket| shown_counts(&*subject.reader, bucket);
    assert_eq!(read(Bucket::Minute), [(61, 2), (Bucket::Minute.retained_count(), 4)]);
    assert_eq!(read(Bucket::Hour), [(0, 1), (1, 2), (48, 4)]);
    add(subject, vec![increment(Bucket::Hour.retained_count() * 60, "a.x", "matched", 8)]);
    let read = |bucket| shown_counts(&*subject.reader, bucket);
    assert_eq!(read(Bucket::Minute), [(Bucket::Hour.retained_count() * 60, 8)]);
    assert_eq!(read(Bucket::Hour), [(1, 2), (48, 4), (Bucket::Hour.retained_count(), 8)]);
}

fn shown_counts(reader: &dyn ViewReader, bucket: Bucket) -> Vec<(i64, u64)> {
    let counts = reader.series(&all(SeriesKind::Events, bucket, SeriesBy::Nothing)).unwrap();
    counts.values().flatten().map(|(at, count)| (*at, *count)).collect()
}

fn counts_agree_with_the_rows_of_any_reach(subject: &mut Subject) {
    let story = Story::of_everything();
    for batch in story.records().chunks(11) {
        Projector::new().advance(&mut *subject.store, batch).unwrap();
    }
    assert_eq!(subject.store.position(), Position(story.records().len() as u64));
    let reader = &*subject.reader;
    let sum = |kind, reach: &RowReach, outcome: Option<&str>| -> u64 {
        let query = SeriesQuery { reach: reach.clone(), ..all(kind, Bucket::Minute, SeriesBy::Outcome) };
        let counts = reader.series(&query).unwrap();
        counts.iter().filter(|(key, _)| outcome.is_none() || key.as_deref() == outcome).flat_map(|(_, counts)| counts.values()).sum()
    };
    let rows = |view, reach: &RowReach, status: Option<Status>| {
        let mut rows = ListQuery::newest(view, reach.clone());
        rows.filters.extend(status.map(|status| Filter::is(Column::Status, status.as_str())));
        reader.count(&CountQuery { rows, by: Vec::new() }).unwrap().counted
    };
    let packs: Vec<String> = ["pack=garden", "pack=core", "pack=*", "label:site=eu", "action=core.*"].map(str::to_owned).to_vec();
    let reaches = packs.iter().map(|limit| within(&[limit])).chain([RowReach::Everything, RowReach::nothing()]);
    let mut ended = 0;
    for reach in reaches {
        assert_eq!(sum(SeriesKind::Events, &reach, None), rows(ViewName::Events, &reach, None), "{reach:?}");
        assert_eq!(sum(SeriesKind::Enforcements, &reach, None), rows(ViewName::Enforcements, &reach, None), "{reach:?}");
        let requested = sum(SeriesKind::Executions, &reach, Some(ExecutionOutcome::Requested.as_str()));
        assert_eq!(requested, rows(ViewName::Executions, &reach, None), "{reach:?}");
        for status in [Status::Succeeded, Status::Failed, Status::TimedOut, Status::Cancelled] {
            let counted = sum(SeriesKind::Executions, &reach, Some(status.as_str()));
            assert_eq!(counted, rows(ViewName::Executions, &reach, Some(status)), "{status:?} {reach:?}");
            ended += counted;
        }
    }
    assert!(ended > 0);
    let rules = reader.list(&ListQuery::newest(ViewName::Rules, RowReach::Everything)).unwrap();
    let erred: u64 = rules.iter().map(|row| row.read::<RuleActivity>().unwrap().erred).sum();
    assert!(erred > 0);
    assert_eq!(sum(SeriesKind::RuleErrors, &RowReach::Everything, None), erred);
    let totals: Totals = reader.get(ViewName::Totals, "log").unwrap().unwrap().read().unwrap();
    assert_eq!(sum(SeriesKind::Deliveries, &RowReach::Everything, Some("refused")), totals.deliveries_refused);
    assert_eq!(Bucket::Minute.begins(Bucket::Minute.of(NOON)), NOON);
}
