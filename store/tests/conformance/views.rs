//! The behavior that every view store must have: changes are atomic, rows are returned byte for byte, and
//! lists match the query.

mod counts;
mod folding;
mod listing;
mod retention;
mod series;

use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::ids::Id;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::store::{AllPassedOver, Change, Changes, NewRow, PASSED_OVER_MAX, PassedOver};
use ensue_views::view_retention::RetainedViews;
use ensue_views::{ListQuery, Row, RowReach, Term, ViewError, ViewName, ViewReader};
use tempfile::TempDir;

use super::crash_disk::{disk_of_this_test, place};
use ensue_store::memory::MemoryViews;
use ensue_store::sqlite::views::SqliteViews;
use ensue_test_support::NOON;
use ensue_test_support::records::LOG;

/// A store with a reader of it.
struct Subject {
    store: Box<dyn RetainedViews>,
    reader: Arc<dyn ViewReader>,
    _folder: Option<TempDir>,
}

impl Subject {
    fn in_memory() -> Self {
        let views = MemoryViews::new();
        Self { reader: Arc::new(views.reader()), store: Box::new(views), _folder: None }
    }

    fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let views = SqliteViews::open(&folder.path().join("views.sqlite"), LOG).unwrap();
        Self { reader: Arc::new(views.reader()), store: Box::new(views), _folder: Some(folder) }
    }

    fn on_a_crash_disk() -> Self {
        let views = SqliteViews::open_at(&place(&disk_of_this_test(1), "views.sqlite"), LOG).unwrap();
        Self { reader: Arc::new(views.reader()), store: Box::new(views), _folder: None }
    }

    fn insert(&mut self, view: ViewName, rows: impl IntoIterator<Item = NewRow>) {
        let through = self.store.position().next();
        let rows = rows.into_iter().map(|row| (view, Change::Insert(row))).collect();
        self.store.apply(&Changes { through, rows, ..Changes::default() }).unwrap();
    }

    fn change(&mut self, view: ViewName, change: Change) -> Result<(), ViewError> {
        let through = self.store.position().next();
        self.store.apply(&Changes { through, rows: vec![(view, change)], ..Changes::default() })
    }

    fn dump(&self) -> Vec<(ViewName, Row)> {
        let mut shown = Vec::new();
        self.reader.dump(&mut |view, row| shown.push((view, row.clone()))).unwrap();
        shown
    }

    fn positions(&self, query: &ListQuery) -> Vec<u64> {
        self.reader.list(query).unwrap().iter().map(|row| row.position.0).collect()
    }
}

macro_rules! on_every_view_store {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[test] fn $case() { super::$case(&mut crate::conformance::views::Subject::in_memory()); })*
        }
        mod on_sqlite {
            $(#[test] fn $case() { super::$case(&mut crate::conformance::views::Subject::on_sqlite()); })*
        }
        mod on_a_crash_disk {
            $(#[test] fn $case() { super::$case(&mut crate::conformance::views::Subject::on_a_crash_disk()); })*
        }
    };
}
use on_every_view_store;

on_every_view_store! {
    empty_store_is_at_position_0_and_has_no_rows
    row_is_found_by_its_key
    key_finds_only_the_row_of_its_view
    key_that_is_not_an_id_finds_nothing_among_ids
    only_rows_of_the_requested_keys_are_loaded
    update_changes_only_the_document_and_the_status
    removed_row_is_gone_and_its_key_is_free
    row_is_replaced_atomically
    invalid_change_changes_nothing
    changes_that_do_not_advance_are_rejected
    changes_without_rows_move_the_position
    longest_document_round_trips
    clearing_removes_everything
    skipped_records_are_reported_until_the_views_are_cleared
    dump_shows_every_row_in_order
    reader_sees_all_of_a_change_or_none
}

fn id(number: u64) -> Id {
    Id::root(NOON, u128::from(number))
}

fn time(seconds: u64) -> Timestamp {
    NOON.plus_millis(seconds * 1_000)
}

/// A dead letter that is open.
fn letter(number: u64, sensor: &str) -> NewRow {
    NewRow {
        key: Term::Id(id(number)),
        position: Position(number),
        began_at: time(number),
        columns: vec![Some(sensor.into()), Some("open".into())],
        scope: None,
        document: Bytes::from(format!(r#"{{"id":"{}","position":{number},"sensor":"{sensor}"}}"#, id(number))),
    }
}

/// A token: a view with a status.
fn token(number: u64, name: &str, status: &str) -> NewRow {
    NewRow {
        key: Term::Id(id(number)),
        position: Position(number),
        began_at: time(number),
        columns: vec![Some(name.into()), Some(status.into())],
        scope: None,
        document: Bytes::from(format!(r#"{{"name":"{name}","status":"{status}"}}"#)),
    }
}

fn letters() -> ListQuery {
    ListQuery::newest(ViewName::DeadLetters, RowReach::Everything)
}

fn empty_store_is_at_position_0_and_has_no_rows(subject: &mut Subject) {
    assert_eq!((subject.store.position(), subject.reader.position().unwrap()), (Position(0), Position(0)));
    assert_eq!(subject.dump(), []);
    for view in ViewName::ALL {
        assert_eq!(subject.reader.list(&ListQuery::newest(view, RowReach::Everything)).unwrap(), [], "{view}");
    }
}

fn row_is_found_by_its_key(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [letter(1, "garden.gauge"), letter(2, "garden.bell")]);
    let row = subject.reader.get(ViewName::DeadLetters, &id(2).to_string()).unwrap().unwrap();
    assert_eq!(row, Row { key: id(2).to_string(), position: Position(2), document: letter(2, "garden.bell").document });
    assert_eq!(subject.reader.get(ViewName::DeadLetters, &id(3).to_string()).unwrap(), None);
    assert_eq!(subject.reader.position().unwrap(), subject.store.position());
}

fn key_finds_only_the_row_of_its_view(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [letter(1, "garden.gauge")]);
    assert_eq!(subject.reader.get(ViewName::Tokens, &id(1).to_string()).unwrap(), None);
}

fn key_that_is_not_an_id_finds_nothing_among_ids(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [letter(1, "garden.gauge")]);
    let no_ids = [String::new(), "north".into(), id(1).to_string().to_uppercase(), format!("{} ", id(1)), "' OR 1 = 1 --".into()];
    for key in no_ids {
        assert_eq!(subject.reader.get(ViewName::DeadLetters, &key).unwrap(), None, "{key:?}");
    }
}

fn only_rows_of_the_requested_keys_are_loaded(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, (1..=5).map(|number| letter(number, "garden.gauge")));
    let keys = [5, 9, 2].map(|number| Term::Id(id(number)));
    let mut loaded: Vec<u64> = subject.store.load(ViewName::DeadLetters, &keys).unwrap().iter().map(|row| row.position.0).collect();
    loaded.sort_unstable();
    assert_eq!(loaded, [2, 5]);
}

fn update_changes_only_the_document_and_the_status(subject: &mut Subject) {
    subject.insert(ViewName::Tokens, [token(1, "ana", "active"), token(2, "bo", "active")]);
    let changed = NewRow { began_at: time(99), ..token(1, "eve", "revoked") };
    subject.change(ViewName::Tokens, Change::Update(changed.clone())).unwrap();
    let tokens = || ListQuery::newest(ViewName::Tokens, RowReach::Everything);
    assert_eq!(subject.positions(&tokens().with(ensue_views::Column::Status, "revoked")), [1]);
    assert_eq!(subject.positions(&tokens().with(ensue_views::Column::Name, "ana")), [1], "a name stays");
    assert_eq!(subject.positions(&ListQuery { until: Some(time(2)), ..tokens() }), [1], "a beginning stays");
    let row = subject.reader.get(ViewName::Tokens, &id(1).to_string()).unwrap().unwrap();
    assert_eq!(row.document, changed.document);
}

fn removed_row_is_gone_and_its_key_is_free(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [letter(1, "garden.gauge")]);
    subject.change(ViewName::DeadLetters, Change::Remove { position: Position(1) }).unwrap();
    assert_eq!(subject.dump(), []);
    subject.insert(ViewName::DeadLetters, [NewRow { key: Term::Id(id(1)), ..letter(7, "garden.gauge") }]);
    assert_eq!(subject.reader.get(ViewName::DeadLetters, &id(1).to_string()).unwrap().unwrap().position, Position(7));
}

fn row_is_replaced_atomically(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [letter(1, "garden.gauge")]);
    let replaced = NewRow { key: Term::Id(id(1)), ..letter(2, "garden.bell") };
    let rows = vec![Change::Remove { position: Position(1) }, Change::Insert(replaced)];
    let rows = rows.into_iter().map(|change| (ViewName::DeadLetters, change)).collect();
    subject.store.apply(&Changes { through: Position(9), rows, ..Changes::default() }).unwrap();
    assert_eq!(subject.positions(&letters()), [2]);
}

fn invalid_change_changes_nothing(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [letter(1, "garden.gauge"), letter(2, "garden.bell")]);
    let before = (subject.dump(), subject.store.position());
    let misfits = [
        Change::Insert(NewRow { key: Term::Id(id(1)), ..letter(3, "garden.gauge") }),
        Change::Insert(NewRow { position: Position(1), ..letter(3, "garden.gauge") }),
        Change::Update(letter(3, "garden.gauge")),
        Change::Update(NewRow { key: Term::Id(id(2)), ..letter(1, "garden.gauge") }),
        Change::Remove { position: Position(3) },
    ];
    for misfit in misfits {
        let good = [
            Change::Insert(letter(8, "garden.new")),
            Change::Update(NewRow { document: Bytes::from_static(b"{}"), ..letter(1, "garden.gauge") }),
            Change::Remove { position: Position(2) },
        ];
        let rows = good.into_iter().chain([misfit.clone()]).map(|change| (ViewName::DeadLetters, change)).collect();
        let refused = subject.store.apply(&Changes { through: Position(50), rows, ..Changes::default() });
        assert!(matches!(refused, Err(ViewError::Misfit { view: ViewName::DeadLetters, .. })), "{misfit:?}: {refused:?}");
        assert_eq!((subject.dump(), subject.store.position()), before, "{misfit:?}");
    }
    subject.insert(ViewName::DeadLetters, [letter(8, "garden.new")]);
    assert_eq!(subject.positions(&letters().with(ensue_views::Column::Sensor, "garden.new")), [8], "the store continues");
}

fn changes_that_do_not_advance_are_rejected(subject: &mut Subject) {
    subject.store.apply(&Changes { through: Position(5), ..Changes::default() }).unwrap();
    for through in [Position(4), Position(5)] {
        let refused = subject.store.apply(&Changes {
            through,
            rows: vec![(ViewName::DeadLetters, Change::Insert(letter(1, "a.b")))],
            ..Changes::default()
        });
        assert!(matches!(refused, Err(ViewError::Gap { at: Position(5), .. })), "{refused:?}");
    }
    assert_eq!(subject.dump(), []);
}

fn changes_without_rows_move_the_position(subject: &mut Subject) {
    subject.store.apply(&Changes { through: Position(7), ..Changes::default() }).unwrap();
    assert_eq!((subject.store.position(), subject.reader.position().unwrap()), (Position(7), Position(7)));
}

fn longest_document_round_trips(subject: &mut Subject) {
    let text: String = "🌧 \\\" é ".chars().cycle().take(ensue_views::view::DOCUMENT_BYTES_MAX / 4).collect();
    let document = Bytes::from(serde_json::to_vec(&serde_json::json!({ "text": text, "id": id(1).to_string() })).unwrap());
    subject.insert(ViewName::DeadLetters, [NewRow { document: document.clone(), ..letter(1, "garden.gauge") }]);
    assert_eq!(subject.reader.get(ViewName::DeadLetters, &id(1).to_string()).unwrap().unwrap().document, document);
}

fn clearing_removes_everything(subject: &mut Subject) {
    subject.insert(ViewName::DeadLetters, [letter(1, "garden.gauge")]);
    subject.insert(ViewName::Tokens, [token(2, "ana", "active")]);
    subject.store.clear().unwrap();
    assert_eq!((subject.store.position(), subject.reader.position().unwrap()), (Position(0), Position(0)));
    assert_eq!(subject.dump(), []);
    subject.insert(ViewName::DeadLetters, [letter(1, "garden.bell")]);
    assert_eq!(subject.positions(&letters().with(ensue_views::Column::Sensor, "garden.bell")), [1]);
    assert_eq!(subject.positions(&ListQuery { since: Some(NOON), ..letters() }), [1]);
}

fn dump_shows_every_row_in_order(subject: &mut Subject) {
    subject.insert(ViewName::Tokens, [token(4, "bo", "active"), token(3, "ana", "active")]);
    subject.insert(ViewName::DeadLetters, [letter(9, "garden.gauge"), letter(6, "garden.bell")]);
    let shown: Vec<(ViewName, u64)> = subject.dump().iter().map(|(view, row)| (*view, row.position.0)).collect();
    let expected = [(ViewName::Tokens, 3), (ViewName::Tokens, 4), (ViewName::DeadLetters, 6), (ViewName::DeadLetters, 9)];
    assert_eq!(shown, expected);
    assert_eq!(subject.reader.dump(&mut |_, _| ()).unwrap(), subject.store.position());
}

fn reader_sees_all_of_a_change_or_none(subject: &mut Subject) {
    const ROUNDS: u64 = 100;
    const PER_ROUND: u64 = 5;
    let reader = subject.reader.clone();
    let watcher = std::thread::spawn(move || {
        while reader.position().unwrap() < Position(ROUNDS) {
            let mut seen = 0;
            let position = reader.dump(&mut |_, _| seen += 1).unwrap();
            assert_eq!(seen, position.0 * PER_ROUND);
            assert_eq!(reader.list(&ListQuery { limit: 1_000, ..letters() }).unwrap().len() as u64 % PER_ROUND, 0);
        }
    });
    for round in 0..ROUNDS {
        subject.insert(ViewName::DeadLetters, (1..=PER_ROUND).map(|number| letter(round * PER_ROUND + number, "garden.gauge")));
    }
    watcher.join().unwrap();
}

fn skipped_records_are_reported_until_the_views_are_cleared(subject: &mut Subject) {
    let one = |position| PassedOver { view: ViewName::Rules, position: Position(position), message: "it stumbled".to_owned() };
    let counts = |subject: &Subject| (subject.store.passed_over(), subject.reader.passed_over().unwrap().count());
    assert_eq!(subject.reader.passed_over().unwrap(), AllPassedOver::default());
    let half = PASSED_OVER_MAX as u64 / 2 + 5;
    for positions in [1..=half, half + 1..=2 * half, 2 * half + 1..=3 * half] {
        let mut passed_over = AllPassedOver::default();
        let through = Position(*positions.end());
        positions.map(one).for_each(|one| passed_over.add(one));
        subject.store.apply(&Changes { through, passed_over, ..Changes::default() }).unwrap();
        assert_eq!(counts(subject), (through.0, through.0));
    }
    let named = (1..=PASSED_OVER_MAX as u64).map(one).collect::<Vec<_>>();
    assert_eq!(subject.reader.passed_over().unwrap().first(), named);
    subject.store.clear().unwrap();
    assert_eq!(subject.reader.passed_over().unwrap(), AllPassedOver::default());
    assert_eq!(counts(subject), (0, 0));
}
