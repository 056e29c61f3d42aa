//! Tests of counts of rows, and of the records that views skipped.

use ensue_engine::ids::Id;
use ensue_engine::record::Position;
use ensue_test_support::NOON;
use ensue_views::store::{AllPassedOver, CountQuery, Counts, GROUPS_MAX, Group, PASSED_OVER_MAX, PassedOver};
use ensue_views::{Column, ListQuery, RowReach, ViewError, ViewName};

fn of_executions(by: &[Column]) -> CountQuery {
    CountQuery { rows: ListQuery::newest(ViewName::Executions, RowReach::Everything), by: by.to_vec() }
}

#[test]
fn count_is_added_up_from_what_is_kept_only_if_that_says_it() {
    let rows = || of_executions(&[]).rows;
    let kept = |rows: ListQuery| CountQuery { rows, by: vec![Column::Status] }.is_of_groups();
    for by in [&[][..], &[Column::Status], &[Column::Action, Column::Rule], &[Column::Status, Column::Action, Column::Rule]] {
        assert!(of_executions(by).is_of_groups(), "{by:?}");
    }
    assert!(kept(rows().with(Column::Action, "garden.open_gate").with(Column::Rule, "garden.drain")));
    // The order, the place and the limit do not matter, and the groups are kept by place.
    let nothing = RowReach::nothing();
    assert!(kept(ListQuery { after: Some(Position(7)), limit: 1, reach: nothing, ..rows() }));
    for query in [
        ListQuery { since: Some(NOON), ..rows() },
        ListQuery { until: Some(NOON), ..rows() },
        ListQuery { keys: Some(Vec::new()), ..rows() },
        ListQuery { between: Some((Id::root(NOON, 1), Id::root(NOON, 2))), ..rows() },
        rows().with(Column::Label, "site=eu"),
        rows().with(Column::Status, "failed").with(Column::Parent, "x"),
        ListQuery { view: ViewName::Inquiries, ..rows() },
    ] {
        assert!(!kept(query.clone()), "{query:?}");
    }
    for by in [&[Column::Parent][..], &[Column::Status, Column::RerunOf]] {
        assert!(!of_executions(by).is_of_groups(), "{by:?}");
    }
}

#[test]
fn rows_are_counted_by_columns_of_which_each_has_one_value() {
    for (query, column) in [
        (of_executions(&[Column::Status, Column::Label]), Column::Label),
        (of_executions(&[Column::Trigger]), Column::Trigger),
        (CountQuery { rows: ListQuery::newest(ViewName::Inquiries, RowReach::Everything), by: vec![Column::Assignee] }, Column::Assignee),
    ] {
        let refused = query.check().unwrap_err();
        assert!(matches!(refused, ViewError::NoColumn { column: found, .. } if found == column), "{refused:?}");
    }
    let by_filter = CountQuery { rows: of_executions(&[]).rows.with(Column::Sensor, "x"), by: vec![Column::Status] };
    assert!(matches!(by_filter.check(), Err(ViewError::NoColumn { column: Column::Sensor, .. })));
    let by_label = CountQuery { rows: of_executions(&[]).rows.with(Column::Label, "site=eu"), by: vec![Column::Status, Column::Parent] };
    assert!(by_label.check().is_ok());
}

fn group(value: Option<&str>, count: u64) -> Group {
    Group { values: vec![value.map(str::to_owned)], count }
}

#[test]
fn largest_groups_come_first_and_those_of_one_size_by_their_values() {
    let groups = vec![group(Some("b"), 2), group(Some("gone"), 0), group(None, 2), group(Some("a"), 2), group(Some("z"), 3)];
    let counts = Counts::of(groups, true);
    assert_eq!(counts.groups, [group(Some("z"), 3), group(None, 2), group(Some("a"), 2), group(Some("b"), 2)]);
    assert_eq!((counts.counted, counts.groups_count, counts.is_cut), (9, 4, true));
}

#[test]
fn groups_that_are_left_out_are_counted() {
    let groups = (0..GROUPS_MAX + 5).map(|number| group(Some(&format!("{number:03}")), if number == 204 { 9 } else { 1 })).collect();
    let counts = Counts::of(groups, false);
    assert_eq!((counts.groups.len(), counts.groups_count as usize, counts.counted as usize), (GROUPS_MAX, GROUPS_MAX + 5, GROUPS_MAX + 13));
    assert_eq!(counts.groups[0], group(Some("204"), 9));
}

#[test]
fn first_skipped_records_are_named_and_all_are_counted() {
    let skipped = |number: usize| PassedOver { view: ViewName::Events, position: Position(number as u64), message: String::new() };
    let some = |from: usize, to: usize| {
        let mut some = AllPassedOver::default();
        (from..to).for_each(|number| some.add(skipped(number)));
        some
    };
    let named = |all: &AllPassedOver| all.first().iter().map(|one| one.position.0 as usize).collect::<Vec<_>>();
    let mut all = some(0, PASSED_OVER_MAX - 1);
    all.extend(&some(500, 503));
    assert_eq!((all.count() as usize, all.first().len()), (PASSED_OVER_MAX + 2, PASSED_OVER_MAX));
    assert_eq!(named(&all)[PASSED_OVER_MAX - 2..], [PASSED_OVER_MAX - 2, 500]);
    all.extend(&some(600, 602));
    assert_eq!((all.count() as usize, named(&all).last()), (PASSED_OVER_MAX + 4, Some(&500)));
    assert_eq!(AllPassedOver::of(all.first().to_vec(), all.count()), all);
}
