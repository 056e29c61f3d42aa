//! Lists: every query returns what a check of each row would.

use ensue_engine::record::Position;
use ensue_views::store::{CountQuery, Filter, Group, LIST_ROWS_MAX, NewRow, Order};
use ensue_views::{Column, ListQuery, ReachLimits, RowReach, RowScope, Term, ViewError, ViewName};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Subject, id, letter, letters, on_every_view_store, time};

on_every_view_store! {
    newest_rows_come_first_by_default
    list_has_a_limit_and_a_maximum_limit
    list_continues_after_a_position
    paging_while_rows_are_added_neither_skips_nor_repeats
    unknown_filter_of_a_view_is_rejected
    impossible_value_finds_nothing
    several_values_of_a_filter_find_each_row_once_in_order
    rows_are_counted_by_the_values_of_columns
    rows_of_keys_are_listed_in_the_order_of_positions
    rows_between_two_keys_are_listed_in_the_order_of_positions
    filter_value_is_never_interpreted
    time_range_includes_its_start_and_excludes_its_end
    clock_that_went_back_hides_no_row
    every_query_equals_a_scan_of_all_rows
}

/// The positions of no rows.
const NOTHING: [u64; 0] = [];

fn newest_rows_come_first_by_default(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [2, 3, 1].map(|number| letter(number, "garden.gauge")));
    assert_eq!(subject.positions(&letters()), [3, 2, 1]);
    assert_eq!(subject.positions(&ListQuery { order: Order::OldestFirst, ..letters() }), [1, 2, 3]);
}

fn list_has_a_limit_and_a_maximum_limit(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, (1..=LIST_ROWS_MAX as u64 + 1).map(|number| letter(number, "garden.gauge")));
    assert_eq!(subject.positions(&letters()).len(), 50);
    assert_eq!(subject.positions(&ListQuery { limit: 0, ..letters() }), NOTHING);
    assert_eq!(subject.positions(&ListQuery { limit: usize::MAX, ..letters() }).len(), LIST_ROWS_MAX);
}

fn list_continues_after_a_position(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [2, 4, 6].map(|number| letter(number, "garden.gauge")));
    let newest = |after: u64| ListQuery { after: Some(Position(after)), ..letters() };
    let oldest = |after: u64| ListQuery { order: Order::OldestFirst, ..newest(after) };
    assert_eq!(subject.positions(&newest(4)), [2]);
    assert_eq!(subject.positions(&newest(5)), [4, 2], "the position need not be a row's");
    assert_eq!(subject.positions(&oldest(4)), [6]);
    assert_eq!(subject.positions(&newest(u64::MAX)), [6, 4, 2]);
    assert_eq!(subject.positions(&oldest(u64::MAX)), NOTHING);
    assert_eq!(subject.positions(&newest(0)), NOTHING);
}

fn paging_while_rows_are_added_neither_skips_nor_repeats(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, (1..=20).map(|number| letter(number, ["garden.gauge", "garden.bell"][number as usize % 2])));
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let before = subject.positions(&ListQuery { order, limit: 1_000, ..letters().with(Column::Sensor, "garden.bell") });
        let mut query = ListQuery { order, limit: 3, ..letters().with(Column::Sensor, "garden.bell") };
        let mut seen = Vec::new();
        loop {
            let page = subject.positions(&query);
            let Some(last) = page.last() else { break };
            query.after = Some(Position(*last));
            seen.extend(page);
            if seen.len() < 20 {
                let next = subject.store.position().0 + 100;
                subject.insert(ViewName::DeadLetters, [letter(next * 2 + 1, "garden.bell"), letter(next * 2, "garden.gauge")]);
            }
        }
        let mut distinct = seen.clone();
        distinct.dedup();
        assert_eq!(distinct, seen);
        assert!(seen.starts_with(&before), "{order:?}: {seen:?} is not {before:?} and what was added");
    }
}

fn unknown_filter_of_a_view_is_rejected(subject: &mut Subject) {
    let refused = subject.reader.list(&letters().with(Column::Action, "garden.water"));
    assert!(matches!(refused, Err(ViewError::NoColumn { view: ViewName::DeadLetters, column: Column::Action })), "{refused:?}");
}

fn impossible_value_finds_nothing(subject: &mut Subject) {
    subject.insert(ViewName::Events, [event(1, "garden.rained", "api", 1)]);
    let events = || ListQuery::newest(ViewName::Events, RowReach::Everything);
    assert_eq!(subject.positions(&events().with(Column::Correlation, "yesterday")), NOTHING);
    assert_eq!(subject.positions(&events().with(Column::Trigger, "garden.snowed")), NOTHING);
    assert_eq!(subject.positions(&events().with(Column::Trigger, "")), NOTHING);
}

fn several_values_of_a_filter_find_each_row_once_in_order(subject: &mut Subject) {
    let of = |number: u64| event(number, ["garden.rained", "garden.frozen", "garden.dried"][number as usize % 3], "api", 1);
    subject.insert(ViewName::Events, (1..=9).map(of));
    let either = |triggers: &[&str]| Filter::any_of(Column::Trigger, triggers.iter().map(|one| (*one).to_owned()).collect());
    let events = |triggers| ListQuery { filters: vec![either(triggers)], ..ListQuery::newest(ViewName::Events, RowReach::Everything) };
    assert_eq!(subject.positions(&events(&["garden.rained", "garden.dried", "garden.rained"])), [9, 8, 6, 5, 3, 2]);
    assert_eq!(
        subject.positions(&ListQuery { order: Order::OldestFirst, limit: 3, ..events(&["garden.rained", "garden.dried"]) }),
        [2, 3, 5]
    );
    assert_eq!(subject.positions(&events(&["garden.snowed", "garden.frozen"])), [7, 4, 1]);
    let many: Vec<String> = (0..200).map(|number| format!("garden.number_{number}")).chain(["garden.frozen".to_owned()]).collect();
    let of_many =
        ListQuery { filters: vec![Filter::any_of(Column::Trigger, many)], ..ListQuery::newest(ViewName::Events, RowReach::Everything) };
    assert_eq!(subject.positions(&of_many), [7, 4, 1]);
}

fn rows_are_counted_by_the_values_of_columns(subject: &mut Subject) {
    let of = |number: u64| {
        event(number, ["garden.rained", "garden.frozen"][number as usize % 2], ["api", "gate", "api"][number as usize % 3], 1)
    };
    subject.insert(ViewName::Events, (1..=9).map(of));
    let count = |rows: ListQuery, by: &[Column]| {
        let counts = subject.reader.count(&CountQuery { rows, by: by.to_vec() }).unwrap();
        let group =
            |group: &Group| (group.values.iter().map(|value| value.clone().unwrap_or_default()).collect::<Vec<_>>().join(" "), group.count);
        (counts.groups.iter().map(group).collect::<Vec<_>>(), counts.counted, counts.is_cut)
    };
    let events = || ListQuery::newest(ViewName::Events, RowReach::Everything);
    let of = |name: &str, count: u64| (name.to_owned(), count);
    assert_eq!(count(events(), &[Column::Trigger]), (vec![of("garden.frozen", 5), of("garden.rained", 4)], 9, false));
    let both = vec![of("garden.frozen api", 3), of("garden.rained api", 3), of("garden.frozen gate", 2), of("garden.rained gate", 1)];
    assert_eq!(count(events(), &[Column::Trigger, Column::Source]), (both, 9, false));
    let since = ListQuery { since: Some(time(8)), limit: 1, after: Some(Position(2)), ..events() };
    assert_eq!(count(since.with(Column::Trigger, "garden.frozen"), &[Column::Source]), (vec![of("api", 1)], 1, false));
    assert_eq!(count(events(), &[]), (vec![of("", 9)], 9, false));
    assert_eq!(count(events().with(Column::Correlation, "yesterday"), &[Column::Trigger]), (vec![], 0, false));
    let refused = subject.reader.count(&CountQuery { rows: events(), by: vec![Column::Label] });
    assert!(matches!(refused, Err(ViewError::NoColumn { .. })), "{refused:?}");
}

fn rows_of_keys_are_listed_in_the_order_of_positions(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, (1..=6).map(|number| letter(number, ["garden.bell", "garden.gauge"][number as usize % 2])));
    let keys = |numbers: &[u64]| Some(numbers.iter().map(|number| id(*number).to_string()).collect());
    let of = |numbers: &[u64]| ListQuery { keys: keys(numbers), ..letters() };
    assert_eq!(subject.positions(&of(&[2, 5, 4, 99, 2])), [5, 4, 2]);
    assert_eq!(subject.positions(&of(&[2, 5, 4]).with(Column::Sensor, "garden.bell")), [4, 2]);
    assert_eq!(subject.positions(&ListQuery { order: Order::OldestFirst, after: Some(Position(2)), ..of(&[2, 5, 4]) }), [4, 5]);
    assert_eq!(subject.positions(&of(&[])), NOTHING);
    assert_eq!(subject.positions(&ListQuery { keys: Some(vec!["no id".to_owned()]), ..letters() }), NOTHING);
}

fn rows_between_two_keys_are_listed_in_the_order_of_positions(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [2, 4, 6, 8].map(|number| letter(number, "garden.gauge")));
    let between = |first: u64, last: u64| ListQuery { between: Some((id(first), id(last))), ..letters() };
    assert_eq!(subject.positions(&between(4, 6)), [6, 4]);
    assert_eq!(subject.positions(&between(3, 100)), [8, 6, 4]);
    assert_eq!(subject.positions(&ListQuery { limit: 1, ..between(1, 8) }), [8]);
    assert_eq!(subject.positions(&between(9, 100)), NOTHING);
    let reach = RowReach::nothing();
    assert_eq!(subject.positions(&ListQuery { reach, ..between(1, 100) }), NOTHING);
}

fn filter_value_is_never_interpreted(subject: &mut Subject) {
    let name = "'; DROP TABLE dead_letters; --\0\u{1F327}";
    subject.insert(ViewName::DeadLetters, [letter(1, name), letter(2, "garden.gauge")]);
    assert_eq!(subject.positions(&letters().with(Column::Sensor, name)), [1]);
    assert_eq!(subject.positions(&letters().with(Column::Sensor, "garden.%")), NOTHING);
    assert_eq!(subject.positions(&letters()), [2, 1]);
}

fn time_range_includes_its_start_and_excludes_its_end(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, (1..=5).map(|number| letter(number, "garden.gauge")));
    let between = |since: u64, until: u64| ListQuery { since: Some(time(since)), until: Some(time(until)), ..letters() };
    assert_eq!(subject.positions(&between(2, 4)), [3, 2]);
    assert_eq!(subject.positions(&between(4, 4)), NOTHING);
    assert_eq!(subject.positions(&between(6, 9)), NOTHING);
    assert_eq!(subject.positions(&between(0, 1)), NOTHING);
}

fn clock_that_went_back_hides_no_row(subject: &mut Subject) {
    // Far enough apart to be distinguished by their positions.
    let at = |position: u64, seconds: u64| NewRow { began_at: time(seconds), ..letter(position, "garden.gauge") };
    subject.insert(ViewName::DeadLetters, [at(1, 100), at(5_000, 10), at(10_000, 50), at(15_000, 20), at(15_001, 500)]);
    let between = |since: u64, until: u64| ListQuery { since: Some(time(since)), until: Some(time(until)), ..letters() };
    assert_eq!(subject.positions(&between(10, 21)), [15_000, 5_000]);
    assert_eq!(subject.positions(&between(50, 101)), [10_000, 1]);
    assert_eq!(subject.positions(&between(20, 1_000)), [15_001, 15_000, 10_000, 1]);
}

fn event(number: u64, trigger: &str, source: &str, correlation: u64) -> NewRow {
    NewRow { columns: vec![Some(trigger.into()), Some(source.into()), Some(Term::Id(id(correlation)))], ..letter(number, "") }
}

const VALUES: u64 = 3;

/// Returns a possible value of a column. The first is the one that most rows have.
fn value(view: ViewName, column: Column, choice: u64) -> Term {
    match column {
        Column::Correlation | Column::Event | Column::Execution | Column::Parent | Column::RerunOf => Term::Id(id(1_000 + choice)),
        Column::Status if view == ViewName::Inquiries => ["open", "answered", "cancelled"][choice as usize % 3].into(),
        Column::Status if view == ViewName::DeadLetters => ["open", "retried", "dismissed"][choice as usize % 3].into(),
        Column::Status => ["succeeded", "failed", "queued"][choice as usize % 3].into(),
        Column::Outcome => ["executed", "rejected", "shadowed"][choice as usize % 3].into(),
        Column::Trigger | Column::Source | Column::Rule | Column::Action | Column::Sensor | Column::Name | Column::Assignee => {
            ["garden.a", "garden.b", "garden.c"][choice as usize % 3].into()
        }
        Column::Actor => ["token/a", "token/b", "operator"][choice as usize % 3].into(),
        Column::What => ["key.set", "rule.mode_set", "event.received"][choice as usize % 3].into(),
        Column::Of => ["key/garden.a", "key/garden.b", "key/garden.c"][choice as usize % 3].into(),
        Column::Label => ["site=a", "site=b", "site=c"][choice as usize % 3].into(),
    }
}

/// Returns true if a row may lack the column.
fn may_lack(view: ViewName, column: Column) -> bool {
    match view {
        ViewName::Executions => matches!(column, Column::Rule | Column::Parent | Column::RerunOf),
        ViewName::Inquiries => column == Column::Parent,
        ViewName::DeadLetters => column == Column::Sensor,
        ViewName::Audit => column == Column::Of,
        _ => false,
    }
}

fn row_of(view: ViewName, number: u64, choice: u64, seconds: u64) -> NewRow {
    let columns = view.columns().iter().enumerate().map(|(at, column)| {
        let choice = choice / VALUES.pow(at as u32) % VALUES;
        match (column, value(view, *column, choice)) {
            (_, _) if choice == 2 && may_lack(view, *column) => None,
            // A query asks for one of them, or for all of them.
            (Column::Assignee | Column::Label, Term::Text(_)) if choice == 2 => {
                Some(Term::Texts((0..VALUES).map(|one| value(view, *column, one).to_string()).collect()))
            }
            (Column::Assignee | Column::Label, Term::Text(one)) => Some(Term::Texts(vec![one])),
            (_, value) => Some(value),
        }
    });
    let key = match view.key(&id(number).to_string()) {
        Some(key @ Term::Id(_)) => key,
        Some(Term::Text(_) | Term::Texts(_)) | None => format!("key_{number}").as_str().into(),
    };
    let scope = view.is_scoped().then(|| scope_of(choice)).flatten();
    NewRow { key, columns: columns.collect(), scope, began_at: time(seconds), ..letter(number, "") }
}

/// Returns one of the scopes that rows have, or none.
fn scope_of(choice: u64) -> Option<RowScope> {
    let scope = |place: &str, action: &str| RowScope { place: place.to_owned(), root_action: Some(action.to_owned()) };
    match choice % 5 {
        0 => Some(scope("garden", "garden.water")),
        1 => Some(scope("garden\nsite=eu", "core.http")),
        2 => Some(scope("shop\nsite=eu", "garden.dig")),
        3 => Some(RowScope::of_pack("garden")),
        _ => None,
    }
}

/// Returns one of the reaches of queries.
fn reach_of(choice: u64) -> RowReach {
    let within = |limits: &[&[&str]], asked: &[&str]| {
        let list = |list: &&[&str]| list.iter().map(|limit| limit.parse().unwrap()).collect();
        let asked = asked.iter().map(ToString::to_string).collect();
        RowReach::Within(ReachLimits { all_of: limits.iter().map(list).collect(), asked, itself: None }.into())
    };
    match choice % 8 {
        0 => within(&[&["pack=garden"]], &[]),
        1 => within(&[&["label:site=eu"]], &[]),
        2 => within(&[&["pack=*,action=garden.*", "pack=shop"]], &[]),
        3 => within(&[&["action=core.http", "pack=garden"], &["label:site=eu"]], &[]),
        4 => within(&[&["pack=nothing"]], &["garden.a"]),
        5 => within(&[&["pack=garden,hook=garden.bell"]], &[]),
        _ => RowReach::Everything,
    }
}

fn fits(row: &NewRow, query: &ListQuery) -> bool {
    let reached = match &query.reach {
        RowReach::Everything => true,
        RowReach::Within(within) => {
            let at = query.view.columns().iter().position(|column| *column == Column::Assignee);
            let asks = at.and_then(|at| row.columns[at].as_ref()).is_some_and(|assignees| match assignees {
                Term::Texts(several) => several.iter().any(|one| within.asked.contains(one)),
                Term::Id(_) | Term::Text(_) => within.asked.contains(&assignees.to_string()),
            });
            asks || within.covers(row.scope.as_ref())
        }
    };
    if !reached {
        return false;
    }
    let wanted = |filter: &Filter| {
        let at = query.view.columns().iter().position(|column| *column == filter.column);
        at.and_then(|at| row.columns[at].as_ref()).is_some_and(|value| match value {
            Term::Texts(several) => several.iter().any(|one| filter.any_of.contains(one)),
            Term::Id(_) | Term::Text(_) => filter.any_of.contains(&value.to_string()),
        })
    };
    let beyond = match (query.after, query.order) {
        (None, _) => true,
        (Some(after), Order::NewestFirst) => row.position < after,
        (Some(after), Order::OldestFirst) => row.position > after,
    };
    query.filters.iter().all(wanted)
        && beyond
        && query.since.is_none_or(|since| since <= row.began_at)
        && query.until.is_none_or(|until| row.began_at < until)
}

/// The rows, each as its gap to the previous one, its values and its time, and the queries.
type Case = (Vec<(u64, u64, u64)>, Vec<(u8, u64, u8, Option<u64>, Option<u64>, Option<u64>, usize)>);

fn cases() -> impl Strategy<Value = Case> {
    let row = (1..900u64, 0..81u64, 0..40u64);
    let query = (
        any::<u8>(),
        0..81u64,
        any::<u8>(),
        proptest::option::of(0..45u64),
        proptest::option::of(0..45u64),
        proptest::option::of(0..20_000u64),
        0..12usize,
    );
    (proptest::collection::vec(row, 0..40), proptest::collection::vec(query, 1..20))
}

fn every_query_equals_a_scan_of_all_rows(subject: &mut Subject) {
    let mut runner = TestRunner::new(Config { cases: 48, ..Config::with_source_file(file!()) });
    let subject = std::cell::RefCell::new(subject);
    runner
        .run(&cases(), |(rows, queries)| {
            let subject = &mut *subject.borrow_mut();
            subject.store.clear().unwrap();
            let mut position = 0;
            let rows: Vec<NewRow> = rows
                .iter()
                .map(|(gap, choice, seconds)| {
                    position += gap;
                    (position, *choice, *seconds)
                })
                .flat_map(|(position, choice, seconds)| ViewName::ALL.map(|view| (view, row_of(view, position, choice, seconds))))
                .map(|(view, row)| {
                    subject.insert(view, [row.clone()]);
                    row
                })
                .collect();
            for (which, choice, order, since, until, after, limit) in queries {
                for (at, view) in ViewName::ALL.into_iter().enumerate() {
                    let filters = view.columns().iter().enumerate().filter(|(at, _)| which >> at & 1 == 1).map(|(at, column)| {
                        let wanted = choice / VALUES.pow(at as u32) % VALUES;
                        let values =
                            (wanted..=wanted + u64::from(order >> 1 & 1)).map(|one| value(view, *column, one % VALUES).to_string());
                        Filter::any_of(*column, values.collect())
                    });
                    let query = ListQuery {
                        view,
                        keys: None,
                        between: None,
                        reach: reach_of(choice),
                        filters: filters.collect(),
                        since: since.map(time),
                        until: until.map(time),
                        order: if order % 2 == 0 { Order::NewestFirst } else { Order::OldestFirst },
                        after: after.map(Position),
                        limit,
                    };
                    let of_view = rows.iter().skip(at).step_by(ViewName::ALL.len());
                    let mut expected: Vec<u64> = of_view.filter(|row| fits(row, &query)).map(|row| row.position.0).collect();
                    if query.order == Order::NewestFirst {
                        expected.reverse();
                    }
                    expected.truncate(limit);
                    prop_assert_eq!(subject.positions(&query), expected, "{:?}", query);
                }
            }
            Ok(())
        })
        .unwrap();
}
