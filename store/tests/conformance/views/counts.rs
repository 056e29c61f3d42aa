//! Counts of executions, which stores keep by group: they agree with the rows after any change.

use std::collections::BTreeMap;

use ensue_engine::record::Position;
use ensue_views::store::{Change, CountQuery, Counts, Filter, Group, NewRow};
use ensue_views::{Column, ListQuery, ReachLimits, RowReach, RowScope, Term, ViewName};

use super::{Subject, id, letter, on_every_view_store, time};

on_every_view_store! {
    counts_of_executions_agree_with_their_rows_after_any_change
}

const STATUSES: [&str; 3] = ["running", "succeeded", "failed"];
/// The columns of executions by which they are counted, in the order of a row.
const COUNTED: [Column; 3] = [Column::Status, Column::Action, Column::Rule];

/// Returns one of 60 different executions.
fn execution(number: u64, status: &str) -> NewRow {
    let action = ["garden.water", "garden.dig"][number as usize % 2];
    let rule = ["garden.dry", "garden.late", ""][number as usize % 3];
    let scope = |place: &str| Some(RowScope { place: place.to_owned(), root_action: Some(action.to_owned()) });
    let scope = [scope("garden"), scope("garden\nsite=eu"), scope("shop\nsite=us"), Some(RowScope::of_pack("shop")), None];
    let rule = Some(rule).filter(|rule| !rule.is_empty()).map(Term::from);
    let columns = vec![Some(status.into()), Some(action.into()), rule, Some(Term::Id(id(number))), None, None, None];
    NewRow { columns, scope: scope[number as usize % 5].clone(), began_at: time(number), ..letter(number, "") }
}

fn reaches() -> Vec<RowReach> {
    let within = |limits: &[&str]| {
        let limits = limits.iter().map(|limit| limit.parse().unwrap()).collect();
        RowReach::Within(ReachLimits { all_of: vec![limits], ..ReachLimits::default() }.into())
    };
    let limits: [&[&str]; 4] =
        [&["pack=garden"], &["action=garden.water"], &["label:site=eu,action=garden.d*", "pack=shop"], &["pack=core"]];
    limits.iter().map(|limits| within(limits)).chain([RowReach::Everything, RowReach::nothing()]).collect()
}

/// Counts rows one by one.
fn count_rows(rows: &BTreeMap<u64, NewRow>, query: &CountQuery) -> Counts {
    let value = |row: &NewRow, of: &Column| {
        let at = COUNTED.iter().position(|column| column == of).unwrap();
        row.columns[at].as_ref().map(ToString::to_string)
    };
    let mut groups: BTreeMap<Vec<Option<String>>, u64> = BTreeMap::new();
    for row in rows.values().filter(|row| query.rows.reach.covers(row.scope.as_ref())) {
        if query.rows.filters.iter().all(|filter| value(row, &filter.column).is_some_and(|value| filter.any_of.contains(&value))) {
            *groups.entry(query.by.iter().map(|by| value(row, by)).collect()).or_default() += 1;
        }
    }
    Counts::of(groups.into_iter().map(|(values, count)| Group { values, count }).collect(), false)
}

fn counts_of_executions_agree_with_their_rows_after_any_change(subject: &mut Subject) {
    let mut rows: BTreeMap<u64, NewRow> = (1..=60).map(|number| (number, execution(number, "running"))).collect();
    subject.insert(ViewName::Executions, rows.values().cloned());
    for step in 0..4_u64 {
        for number in (1..=60).filter(|number| number % 4 == step) {
            let ended = execution(number, STATUSES[number as usize % 3]);
            subject.change(ViewName::Executions, Change::Update(ended.clone())).unwrap();
            rows.insert(number, ended);
            if number % 8 == step {
                subject.change(ViewName::Executions, Change::Remove { position: Position(number) }).unwrap();
                rows.remove(&number);
            }
        }
        let filters = [
            vec![],
            vec![Filter::is(Column::Rule, "garden.dry")],
            vec![Filter::any_of(Column::Status, vec!["failed".to_owned(), "running".to_owned()]), Filter::is(Column::Action, "garden.dig")],
        ];
        for (reach, filters) in reaches().into_iter().flat_map(|reach| filters.iter().map(move |filters| (reach.clone(), filters.clone())))
        {
            for by in [&[][..], &[Column::Status], &[Column::Action, Column::Rule], &COUNTED] {
                let rows_of = ListQuery { filters: filters.clone(), ..ListQuery::newest(ViewName::Executions, reach.clone()) };
                let query = CountQuery { rows: rows_of, by: by.to_vec() };
                assert!(query.is_of_groups());
                assert_eq!(subject.reader.count(&query).unwrap(), count_rows(&rows, &query), "{query:?}");
            }
        }
    }
    subject.store.clear().unwrap();
    let all = CountQuery { rows: ListQuery::newest(ViewName::Executions, RowReach::Everything), by: vec![Column::Status] };
    assert_eq!(subject.reader.count(&all).unwrap().groups, []);
}
