//! Tests of what is specific to views in a file: durability, removal, and replacement.

use std::time::Duration;

use ensue_engine::record::Position;
use ensue_test_support::story::Story;
use ensue_views::store::{AllPassedOver, Changes, Order, PASSED_OVER_MAX, PassedOver};
use ensue_views::view_retention::{Round, ViewRetention, Walk};
use ensue_views::{Column, Filter, ListQuery, Projector, Row, RowReach, ViewError, ViewName, ViewReader, ViewStore};
use rusqlite::{Connection, StatementStatus};
use tempfile::TempDir;

use super::SqliteViews;
use super::sql_query::SqlQuery;

fn story() -> Story {
    Story::of_everything()
}

fn views_in(folder: &TempDir, story: &Story) -> SqliteViews {
    SqliteViews::open(&folder.path().join("views.sqlite"), story.log()).unwrap()
}

fn fold_views(folder: &TempDir, story: &Story) -> SqliteViews {
    let mut views = views_in(folder, story);
    Projector::new().advance(&mut views, story.records()).unwrap();
    views
}

fn dump(reader: &dyn ViewReader) -> Vec<(ViewName, Row)> {
    let mut shown = Vec::new();
    reader.dump(&mut |view, row| shown.push((view, row.clone()))).unwrap();
    shown
}

#[test]
fn reopened_file_has_the_same_content() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let before = dump(&fold_views(&folder, &story).reader());
    let again = views_in(&folder, &story);
    assert_eq!(again.position().0, story.records().len() as u64);
    assert_eq!(dump(&again.reader()), before);
}

#[test]
fn write_ahead_log_is_freed_with_the_caches_and_the_content_stays() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let mut views = fold_views(&folder, &story);
    let before = dump(&views.reader());
    let bytes = || std::fs::metadata(folder.path().join("views.sqlite-wal")).unwrap().len();
    assert!(bytes() > 0);
    views.release_caches();
    assert_eq!((bytes(), dump(&views.reader())), (0, before));
}

#[test]
fn removed_executions_leave_no_rows_in_side_tables_and_free_their_space() {
    let mut story = Story::new();
    for _ in 0..300 {
        let event = story.event("garden.rained", "{}");
        let execution = story.executed_with("garden.drain", event, "garden.open_gate", &[("site", "north"), ("team", "water")]);
        let attempt = story.start(execution);
        story.succeed(execution, attempt);
    }
    story.later(7_200_000);
    story.event("garden.knocked", "{}");
    let folder = tempfile::tempdir().unwrap();
    let mut views = fold_views(&folder, &story);
    let labelled = |views: &SqliteViews| -> i64 {
        views.connection.query_row("SELECT count(*) FROM executions_by_label", [], |row| row.get(0)).unwrap()
    };
    let pages = |views: &SqliteViews| -> i64 { views.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap() };
    let (rows, before) = (labelled(&views), pages(&views));
    assert_eq!(rows, 600);
    let retention = ViewRetention { executions: Some(std::time::Duration::from_secs(3_600)) };
    let mut walk = Walk::default();
    while walk.round(&mut views, retention, Duration::ZERO).unwrap() == Round::More {}
    assert_eq!((labelled(&views), views.made.removed.executions), (0, 300));
    views.shrink().unwrap();
    assert!(pages(&views) < before, "{} pages of {before}", pages(&views));
}

#[test]
fn first_skipped_records_are_stored_by_position_and_the_rest_counted() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let mut views = views_in(&folder, &story);
    for batch in 1..=3 {
        let through = Position(batch * PASSED_OVER_MAX as u64);
        let mut passed_over = AllPassedOver::default();
        for position in through.0 - PASSED_OVER_MAX as u64 + 1..=through.0 {
            passed_over.add(PassedOver { view: ViewName::Rules, position: Position(position), message: "it stumbled".to_owned() });
        }
        views.apply(&Changes { through, passed_over, ..Changes::default() }).unwrap();
    }
    drop(views);
    let file = Connection::open(folder.path().join("views.sqlite")).unwrap();
    let rows: i64 = file.query_row("SELECT count(*) FROM passed_over", [], |row| row.get(0)).unwrap();
    drop(file);
    assert_eq!((rows as usize, views_in(&folder, &story).passed_over()), (PASSED_OVER_MAX, 3 * PASSED_OVER_MAX as u64));
}

#[test]
fn views_of_another_log_are_rebuilt() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    drop(fold_views(&folder, &story));
    let other = ensue_engine::ids::LogId(ensue_engine::ids::Id::root(ensue_test_support::NOON, 99));
    let anew = SqliteViews::open(&folder.path().join("views.sqlite"), other).unwrap();
    assert_eq!((anew.position(), dump(&anew.reader()).len()), (Position(0), 0));
}

#[test]
fn views_of_other_fold_versions_are_rebuilt() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    drop(fold_views(&folder, &story));
    let file = Connection::open(folder.path().join("views.sqlite")).unwrap();
    file.execute("UPDATE made SET versions = 'events/0'", []).unwrap();
    drop(file);
    assert_eq!(views_in(&folder, &story).position(), Position(0));
}

#[test]
fn views_of_a_newer_release_are_rebuilt() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    drop(fold_views(&folder, &story));
    let file = Connection::open(folder.path().join("views.sqlite")).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    assert_eq!(views_in(&folder, &story).position(), Position(0));
}

#[test]
fn file_that_is_not_a_database_is_rebuilt() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    std::fs::write(folder.path().join("views.sqlite"), "rain ".repeat(10_000)).unwrap();
    assert_eq!(views_in(&folder, &story).position(), Position(0));
}

#[test]
fn damaged_page_is_an_error_that_recommends_a_rebuild() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let path = folder.path().join("views.sqlite");
    fold_views(&folder, &story).close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8192..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let reader = super::SqliteViewReader::new(std::sync::Arc::new(super::Readers::of(path.as_path().into())));
    let damaged = reader.list(&ListQuery::newest(ViewName::Events, RowReach::Everything));
    assert!(matches!(damaged, Err(ViewError::NotWhole(_))), "{damaged:?}");
}

/// Returns the content of a file after it was opened and checked, or `None` if it is damaged. A file that was
/// created again is empty.
fn reopen_and_dump(folder: &TempDir, story: &Story) -> Option<Vec<(ViewName, Row)>> {
    let views = views_in(folder, story);
    if views.position() == Position(0) || views.reader().look_through().is_err() {
        return None;
    }
    Some(dump(&views.reader()))
}

#[test]
fn flipped_bit_leaves_the_same_rows_or_is_detected() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let path = folder.path().join("views.sqlite");
    fold_views(&folder, &story).close().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let before = reopen_and_dump(&folder, &story).unwrap();
    let mut found = 0;
    // Every byte would take too long. A step that divides no page size reaches all parts of all pages.
    for at in (0..whole.len()).step_by(4_001) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        for suffix in ["-wal", "-shm"] {
            drop(std::fs::remove_file(folder.path().join(format!("views.sqlite{suffix}"))));
        }
        std::fs::write(&path, bytes).unwrap();
        match reopen_and_dump(&folder, &story) {
            Some(after) => assert_eq!(after, before, "byte {at}"),
            None => found += 1,
        }
    }
    assert!(found > 3, "{found}");
}

#[test]
fn swapped_row_marks_the_views_damaged_until_others_replace_them() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let mut views = fold_views(&folder, &story);
    let file = Connection::open(folder.path().join("views.sqlite")).unwrap();
    let changed = "UPDATE events SET document = (SELECT document FROM events ORDER BY position LIMIT 1)";
    file.execute(changed, []).unwrap();
    drop(file);
    assert!(!views.is_damaged());
    let damaged = views.reader().list(&ListQuery::newest(ViewName::Events, RowReach::Everything));
    assert!(matches!(damaged, Err(ViewError::NotWhole(_))), "{damaged:?}");
    assert!(views.is_damaged());
    let mut beside = SqliteViews::open(&folder.path().join("views.rebuilt.sqlite"), story.log()).unwrap();
    Projector::new().advance(&mut beside, story.records()).unwrap();
    views.adopt(beside).unwrap();
    assert!(!views.is_damaged());
    assert!(views.reader().list(&ListQuery::newest(ViewName::Events, RowReach::Everything)).is_ok());
}

#[test]
fn views_with_an_inconsistent_position_are_rebuilt() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    drop(fold_views(&folder, &story));
    let file = Connection::open(folder.path().join("views.sqlite")).unwrap();
    file.execute("UPDATE made SET position = position + 4", []).unwrap();
    drop(file);
    assert_eq!(views_in(&folder, &story).position(), Position(0));
}

#[test]
fn unreadable_document_is_an_error_and_not_a_panic() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let views = fold_views(&folder, &story);
    let file = Connection::open(folder.path().join("views.sqlite")).unwrap();
    file.execute("UPDATE events SET document = x'0203'", []).unwrap();
    let damaged = views.reader().list(&ListQuery::newest(ViewName::Events, RowReach::Everything));
    assert!(matches!(damaged, Err(ViewError::NotWhole(_))), "{damaged:?}");
}

#[test]
fn rebuilt_views_replace_the_live_ones() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let (early, late) = story.records().split_at(100);
    let mut live = views_in(&folder, &story);
    let reader = live.reader();
    let mut projector = Projector::new();
    projector.advance(&mut live, early).unwrap();
    assert_eq!(reader.position().unwrap(), Position(100));

    let mut beside = SqliteViews::open(&folder.path().join("views.rebuilt.sqlite"), story.log()).unwrap();
    Projector::new().advance(&mut beside, early).unwrap();
    live.adopt(beside).unwrap();

    assert_eq!(reader.position().unwrap(), Position(100), "a reader goes over to them");
    projector.advance(&mut live, late).unwrap();
    let straight = tempfile::tempdir().unwrap();
    assert_eq!(dump(&reader), dump(&fold_views(&straight, &story).reader()));
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["views.sqlite", "views.sqlite-shm", "views.sqlite-wal"]);
}

#[test]
fn lagging_rebuilt_views_do_not_replace_the_live_ones() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let mut live = fold_views(&folder, &story);
    let beside = SqliteViews::open(&folder.path().join("views.rebuilt.sqlite"), story.log()).unwrap();
    assert!(matches!(live.adopt(beside), Err(ViewError::Gap { .. })));
    assert_eq!(live.reader().position().unwrap(), live.position());
}

/// For every combination of filters, an index finds the rows, in the order of positions.
#[test]
fn no_filter_combination_scans_or_sorts_a_whole_view() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let views = fold_views(&folder, &story);
    for view in [
        ViewName::Events,
        ViewName::Enforcements,
        ViewName::Executions,
        ViewName::Artifacts,
        ViewName::Inquiries,
        ViewName::Rules,
        ViewName::DeadLetters,
    ] {
        let columns = view.columns();
        for chosen in 1_u32..1 << columns.len() {
            let filters = columns.iter().enumerate().filter(|(at, _)| chosen & (1 << at) != 0).map(|(_, column)| *column);
            let mut query = ListQuery { after: Some(Position(9)), ..ListQuery::newest(view, RowReach::Everything) };
            for column in filters {
                // A status that is looked up in separate tables must be a valid one.
                query = match (view, column) {
                    (ViewName::Inquiries, Column::Status) => query.with(column, "open"),
                    (ViewName::Executions, Column::Status) => query.with(column, "failed"),
                    _ => query.with(column, story.log().to_string()),
                };
            }
            for order in [Order::NewestFirst, Order::OldestFirst] {
                for since in [None, Some(ensue_test_support::NOON)] {
                    let query = ListQuery { order, since, ..query.clone() };
                    let plan = plan(&views.connection, &SqlQuery::of(&query).unwrap());
                    let is_found = plan.contains(&format!("USING INDEX {view}_by_")) || plan.contains(&format!("SEARCH {view}_by_"));
                    assert!(is_found, "{query:?}: {plan}");
                    assert!(!plan.contains("TEMP B-TREE") && !plan.contains(&format!("SCAN {view}")), "{query:?}: {plan}");
                }
            }
        }
    }
}

/// The rows of each combination of values are in the order of positions, and are merged.
#[test]
fn several_values_of_a_filter_are_merged_and_not_sorted() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let views = fold_views(&folder, &story);
    let any = |column, values: &[&str]| Filter::any_of(column, values.iter().map(|value| (*value).to_owned()).collect());
    let (actions, statuses) = (any(Column::Action, &["a.b", "a.c"]), any(Column::Status, &["failed", "timed_out", "cancelled"]));
    let rules = any(Column::Rule, &["r.a", "r.b", "r.c"]);
    for filters in [vec![statuses.clone()], vec![actions.clone()], vec![actions.clone(), statuses.clone()], vec![actions, rules, statuses]]
    {
        let query = ListQuery { filters, after: Some(Position(9)), ..ListQuery::newest(ViewName::Executions, RowReach::Everything) };
        let plan = plan(&views.connection, &SqlQuery::of(&query).unwrap());
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN executions"), "{query:?}: {plan}");
    }
    let query = ListQuery { keys: Some(vec![WORKFLOW.to_owned(); 200]), ..ListQuery::newest(ViewName::Executions, RowReach::Everything) };
    let plan = plan(&views.connection, &SqlQuery::of(&query).unwrap());
    assert!(plan.contains("autoindex_executions_1 (key=?)"), "{plan}");
}

/// The execution of a workflow.
const WORKFLOW: &str = "019c1f3a-0000-7000-8000-00000000000a";

/// How much a page reads depends neither on the number of rows nor on how many of them match.
#[test]
fn page_takes_constant_steps_however_many_rows_exist() {
    let steps = |rows: i64, wanted: &str, query: ListQuery| {
        let (folder, story) = (tempfile::tempdir().unwrap(), story());
        let views = views_in(&folder, &story);
        // The rows that come first are the ones that do not match.
        let is_wanted = match query.order {
            Order::NewestFirst => "position <= 20".to_owned(),
            Order::OldestFirst => format!("position > {rows} - 20"),
        };
        // A step is not requested by a rule.
        let is_of_a_workflow = query.filters.iter().any(|filter| filter.column == Column::Parent);
        let (rule, parent) =
            if is_of_a_workflow { ("NULL", format!("x'{}'", WORKFLOW.replace('-', ""))) } else { ("1", "NULL".to_owned()) };
        let filled = format!(
            "INSERT INTO names (number, name) VALUES (1, 'a.b'), (2, 'c.d');
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
             INSERT INTO executions SELECT n, randomblob(16), n, iif(n % 2, 'failed', 'queued'), 1, {rule}, randomblob(16), {parent}, NULL, NULL, NULL, x'00' FROM n;
             UPDATE executions SET status = '{wanted}' WHERE {is_wanted};
             INSERT INTO names (number, name) VALUES (3, 'site=eu'), (4, 'team=web');
             INSERT INTO executions_by_label SELECT 3, status, position FROM executions;
             INSERT INTO executions_by_label SELECT 4, status, position FROM executions;"
        );
        views.connection.execute_batch(&filled).unwrap();
        let asked = SqlQuery::of(&query).unwrap();
        let mut statement = views.connection.prepare(&asked.sql).unwrap();
        let mut found = statement.query(rusqlite::params_from_iter(&asked.values)).unwrap();
        let mut count = 0;
        while found.next().unwrap().is_some() {
            count += 1;
        }
        drop(found);
        (count, statement.get_status(StatementStatus::VmStep))
    };
    for (wanted, order) in [
        ("succeeded", Order::NewestFirst),
        ("failed", Order::NewestFirst),
        ("succeeded", Order::OldestFirst),
        ("failed", Order::OldestFirst),
    ] {
        let query = || ListQuery { limit: 10, order, ..ListQuery::newest(ViewName::Executions, RowReach::Everything) };
        let of_status = || query().with(Column::Status, wanted);
        for (query, found) in [
            (query(), 10),
            (of_status(), 10),
            (of_status().with(Column::Action, "a.b"), 10),
            (of_status().with(Column::Rule, "a.b"), 10),
            (of_status().with(Column::Rule, "a.b").with(Column::Action, "a.b"), 10),
            (query().with(Column::Label, "site=eu"), 10),
            (of_status().with(Column::Label, "site=eu"), 10),
            (of_status().with(Column::Label, "site=eu").with(Column::Label, "team=web"), 10),
            (query().with(Column::Label, "site=us"), 0),
            (query().with(Column::Action, "a.b"), 10),
            (query().with(Column::Rule, "a.b"), 10),
            (query().with(Column::Rule, "a.b").with(Column::Action, "a.b"), 10),
            (query().with(Column::Rule, "a.b").with(Column::Action, "c.d"), 0),
            (query().with(Column::Rule, "nobody's").with(Column::Action, "a.b"), 0),
            (query().with(Column::Parent, WORKFLOW), 10),
            (of_status().with(Column::Parent, WORKFLOW), 10),
            (query().with(Column::Parent, WORKFLOW).with(Column::Action, "a.b"), 10),
            (query().with(Column::Parent, WORKFLOW).with(Column::Action, "c.d"), 0),
            (of_status().with(Column::Parent, WORKFLOW).with(Column::Action, "a.b"), 10),
            (of_status().with(Column::Parent, WORKFLOW).with(Column::Action, "c.d"), 0),
            (query().with(Column::Parent, WORKFLOW).with(Column::Rule, "a.b"), 0),
            (of_status().with(Column::Parent, WORKFLOW).with(Column::Rule, "a.b").with(Column::Action, "a.b"), 0),
        ] {
            let (few, many) = (steps(100, wanted, query.clone()), steps(20_000, wanted, query.clone()));
            assert_eq!(few.0, found, "{query:?}");
            assert_eq!(few, many, "{query:?}");
        }
    }
}

/// Nor on how many inquiries have other assignees, or the same ones and are closed.
#[test]
fn query_by_assignee_takes_constant_steps_however_many_inquiries_exist() {
    let steps = |rows: i64, mine: &[&str]| {
        let (folder, story) = (tempfile::tempdir().unwrap(), story());
        let views = views_in(&folder, &story);
        let filled = format!(
            "INSERT INTO names (number, name) VALUES (1, 'ana'), (2, 'role:leads'), (3, 'role:others');
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
             INSERT INTO inquiries SELECT n, randomblob(16), n, iif(n <= 20, 'open', 'answered'), randomblob(16), NULL, NULL, NULL, x'00' FROM n;
             INSERT INTO inquiries_by_assignee SELECT 1, status, position FROM inquiries;
             INSERT INTO inquiries_by_assignee SELECT 2, status, position FROM inquiries;
             INSERT INTO inquiries_by_assignee SELECT 3, 'open', position FROM inquiries WHERE status <> 'open';"
        );
        views.connection.execute_batch(&filled).unwrap();
        let mine = Filter::any_of(Column::Assignee, mine.iter().map(ToString::to_string).collect());
        let query = ListQuery { limit: 10, filters: vec![mine], ..ListQuery::newest(ViewName::Inquiries, RowReach::Everything) };
        let query = query.with(Column::Status, "open");
        let asked = SqlQuery::of(&query).unwrap();
        let mut statement = views.connection.prepare(&asked.sql).unwrap();
        let found: Vec<i64> =
            statement.query_map(rusqlite::params_from_iter(&asked.values), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        (found, statement.get_status(StatementStatus::VmStep))
    };
    for mine in [&["ana"][..], &["ana", "role:leads"], &["ana", "role:leads", "role:nobody"]] {
        let (few, many) = (steps(100, mine), steps(20_000, mine));
        assert_eq!(few.0, (11..=20).rev().collect::<Vec<i64>>(), "{mine:?}");
        assert_eq!(few, many, "{mine:?}");
    }
}

/// The depth of a page in a list does not matter either, even with a time range.
#[test]
fn deep_page_takes_as_many_steps_as_the_first_one() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let views = views_in(&folder, &story);
    let filled = format!(
        "INSERT INTO names (number, name) VALUES (1, 'a.b');
         INSERT INTO spans (span, earliest, latest) SELECT n, n * 1024, n * 1024 + 1023 FROM (WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 19) SELECT n FROM n);
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
         INSERT INTO executions SELECT n, randomblob(16), n, 'failed', 1, NULL, randomblob(16), x'{}', NULL, NULL, NULL, x'00' FROM n;",
        WORKFLOW.replace('-', "")
    );
    views.connection.execute_batch(&filled).unwrap();
    let read = |query: &ListQuery| {
        let asked = SqlQuery::of(query).unwrap();
        let mut statement = views.connection.prepare(&asked.sql).unwrap();
        let found: Vec<i64> =
            statement.query_map(rusqlite::params_from_iter(&asked.values), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        (found, statement.get_status(StatementStatus::VmStep))
    };
    let at = |micros| Some(ensue_engine::time::Timestamp::from_micros(micros));
    let (since, until) = (at(2_000), at(18_000));
    let all = || ListQuery::newest(ViewName::Executions, RowReach::Everything);
    let of_a_workflow = || all().with(Column::Parent, WORKFLOW);
    for filtered in [all(), all().with(Column::Action, "a.b"), of_a_workflow(), of_a_workflow().with(Column::Action, "a.b")] {
        for (order, near, far) in [(Order::OldestFirst, 2_100, 17_000), (Order::NewestFirst, 17_900, 3_000)] {
            for (since, until) in [(None, None), (since, None), (None, until), (since, until)] {
                let page = |after| read(&ListQuery { order, since, until, limit: 10, after: Some(Position(after)), ..filtered.clone() });
                let ((near, few), (far, many)) = (page(near), page(far));
                assert_eq!((near.len(), far.len()), (10, 10));
                assert_eq!(few, many, "{order:?} {since:?} {until:?}");
            }
        }
    }
}

/// A row has one state, so merging neither loses nor duplicates rows.
#[test]
fn filter_without_a_status_returns_all_statuses_in_order() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let views = fold_views(&folder, &story);
    for (view, by) in [(ViewName::Executions, Column::Action), (ViewName::Executions, Column::Rule), (ViewName::Enforcements, Column::Rule)]
    {
        let all = views.reader().list(&ListQuery { limit: 1_000, ..ListQuery::newest(view, RowReach::Everything) }).unwrap();
        let name = |row: &Row| {
            let document: serde_json::Value = serde_json::from_slice(&row.document).unwrap();
            document[by.as_str()].as_str().map(str::to_owned)
        };
        let names: std::collections::BTreeSet<String> = all.iter().filter_map(name).collect();
        assert!(!names.is_empty(), "{view} by {by}");
        for wanted in names {
            let expected: Vec<Row> = all.iter().filter(|row| name(row).as_ref() == Some(&wanted)).cloned().collect();
            let found = views
                .reader()
                .list(&ListQuery { limit: 1_000, ..ListQuery::newest(view, RowReach::Everything) }.with(by, &*wanted))
                .unwrap();
            assert_eq!(found, expected, "{view} by {by} {wanted}");
        }
    }
}

#[test]
fn unfiltered_list_is_read_in_primary_key_order() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let views = fold_views(&folder, &story);
    for view in ViewName::ALL {
        for order in [Order::NewestFirst, Order::OldestFirst] {
            let query = ListQuery {
                order,
                after: Some(Position(9)),
                since: Some(ensue_test_support::NOON),
                ..ListQuery::newest(view, RowReach::Everything)
            };
            let plan = plan(&views.connection, &SqlQuery::of(&query).unwrap());
            let is_in_order = plan.contains(&format!("SEARCH {view} USING INTEGER PRIMARY KEY")) && !plan.contains("TEMP B-TREE");
            assert!(is_in_order, "{view} {order:?}: {plan}");
        }
    }
}

fn plan(connection: &Connection, asked: &SqlQuery) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", asked.sql)).unwrap();
    let steps = statement.query_map(rusqlite::params_from_iter(&asked.values), |row| row.get::<_, String>(3)).unwrap();
    steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

#[test]
fn released_caches_of_views_are_empty_and_change_no_answer() {
    let (folder, mut story) = (tempfile::tempdir().unwrap(), story());
    let mut views = fold_views(&folder, &story);
    let reader = views.reader();
    let before = dump(&reader);
    assert_eq!((views.readers.open_count(), views.names.is_empty()), (1, false));
    views.release_caches();
    assert_eq!((views.readers.open_count(), views.names.is_empty()), (0, true));
    assert_eq!(dump(&reader), before);
    // The names get the numbers that they had.
    let event = story.event("garden.rained", "{}");
    story.execute("garden.drain", event, "garden.open_gate");
    Projector::new().advance(&mut views, story.records()).unwrap();
    let at_once = tempfile::tempdir().unwrap();
    assert_eq!(dump(&reader), dump(&fold_views(&at_once, &story).reader()));
}

#[test]
fn connection_in_use_stays_open_when_caches_are_released() {
    let (folder, story) = (tempfile::tempdir().unwrap(), story());
    let mut views = fold_views(&folder, &story);
    let reader = views.reader();
    let mut shown = 0;
    reader
        .dump(&mut |_, _| {
            if shown == 0 {
                views.release_caches();
                assert_eq!(views.readers.open_count(), 1);
            }
            shown += 1;
        })
        .unwrap();
    assert!(shown > 1, "the query continued");
}
