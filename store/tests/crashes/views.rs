//! Views on a disk that fails: complete at one of their earlier positions, or empty; never partial, and never
//! ahead of the log.

use bytes::Bytes;
use ensue_disk::fault::{Failure, Fault, Lasting};
use ensue_engine::ids::Id;
use ensue_views::store::{Change, Changes, NewRow};
use ensue_views::{Row, RowScope, Term, ViewName, ViewReader, ViewStore};

use super::*;
use ensue_store::sqlite::views::SqliteViews;
use ensue_test_support::NOON;

/// The number of batches of rows that are folded.
const POSITIONS: u64 = 25;

fn letter(position: u64) -> NewRow {
    let id = Id::root(NOON, u128::from(position));
    NewRow {
        key: Term::Id(id),
        position: Position(position),
        began_at: NOON.plus_millis(position),
        columns: vec![Some("github.webhook".into()), Some("open".into())],
        scope: Some(RowScope::of_pack("github")),
        document: Bytes::from(format!(r#"{{"id":"{id}","position":{position},"sensor":"github.webhook"}}"#)),
    }
}

fn changes(through: u64) -> Changes {
    Changes { through: Position(through), rows: vec![(ViewName::DeadLetters, Change::Insert(letter(through)))], ..Changes::default() }
}

fn open(disk: &Disk) -> Result<SqliteViews, String> {
    SqliteViews::open_at(&place(disk, "views.sqlite"), LOG).map_err(|error| error.to_string())
}

/// Continues to fold at the position of the views.
fn fold(disk: &Disk) -> Result<(), String> {
    let mut views = open(disk)?;
    while views.position().0 < POSITIONS {
        let next = views.position().0 + 1;
        views.apply(&changes(next)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn dump(views: &SqliteViews) -> (Position, Vec<Row>) {
    let mut rows = Vec::new();
    let position = views.reader().dump(&mut |_, row| rows.push(row.clone())).unwrap();
    (position, rows)
}

#[test]
fn views_match_their_position_whichever_operation_fails() {
    let disk = Disk::new("views-count", 0, Sectors::Bytes512);
    fold(&disk).unwrap();
    let (operations, whole) = (disk.operations(), dump(&open(&disk).unwrap()));
    for nth in 1..=operations {
        let disk = Disk::new("views", nth, sectors(nth));
        disk.fail(Fault { nth, of: None, failure: Failure::Io, lasting: Lasting::Once });
        let _ = fold(&disk);
        disk.cut_power();
        disk.mend();
        let views = open(&disk).unwrap();
        let (position, rows) = dump(&views);
        let expected: Vec<u64> = (1..=position.0).collect();
        let found: Vec<u64> = rows.iter().map(|row| row.position.0).collect();
        assert_eq!(found, expected, "operation {nth}");
        drop(views);
        fold(&disk).unwrap();
        assert_eq!(dump(&open(&disk).unwrap()), whole, "operation {nth}");
    }
}
