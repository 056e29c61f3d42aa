//! Tests of the views that result from a log.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up is a failed test")]

mod bounds;
mod changed_rows;
mod counts;
mod dead_letters;
mod enforcements;
mod executions;
mod garden;
mod inquiries;
mod life;
mod locks;
mod projector;
mod reach;
mod retention;
mod rules;
mod schedules;
mod series;
mod shelf;
mod small_views;
mod workflows;

use std::collections::BTreeMap;

use ensue_engine::record::Record;
use ensue_views::View;
use ensue_views::view::Touch;

/// Folds a log into one view, in the plainest way.
fn fold<V: View>(records: &[Record]) -> BTreeMap<String, V> {
    let mut rows: BTreeMap<String, V> = BTreeMap::new();
    for record in records {
        let Some(Touch::Begins(key) | Touch::Changes(key)) = V::key(record) else { continue };
        let key = key.to_string();
        if let Some(row) = V::project(rows.remove(&key), record) {
            rows.insert(key, row);
        }
    }
    rows
}

/// Folds a log into the only row of a view.
#[track_caller]
fn only<V: View>(records: &[Record]) -> V {
    let mut rows = fold::<V>(records);
    assert_eq!(rows.len(), 1, "{} has rows {:?}", V::NAME, rows.keys());
    rows.pop_first().unwrap().1
}
