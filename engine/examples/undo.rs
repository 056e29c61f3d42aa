//! Measures four ways to undo the changes of a batch: the undo log of [`Table`], the same undo log over an
//! ordered map of the standard library, a full copy of that map for each batch, and a persistent map whose
//! old root is kept. `docs/decisions/undo.md` lists the figures and the decision.
//!
//!     cargo run --release -p ensue-engine --example undo

#![allow(clippy::disallowed_types, reason = "an example may measure time; the core may not")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue_engine::table::Table;
use rpds::RedBlackTreeMapSync;

/// The number of executions that go through a batch from request to end.
const LIVES: u64 = 64;
/// The number of batches between two undos. A disk fails far less often than this.
const UNDO_EVERY: u64 = 100;
/// The number of batches between two snapshots.
const SNAPSHOT_EVERY: u32 = 100;
/// How long each variant is measured.
const MEASURED_FOR: Duration = Duration::from_secs(2);

/// A row about the size of an open execution.
#[derive(Clone)]
struct Row {
    action: String,
    actor: String,
    trace: String,
    numbers: [u64; 12],
}

impl Row {
    fn of(key: u64) -> Self {
        Self {
            action: "examples.greet_pull_request".to_owned(),
            actor: "sensor/github.webhook".to_owned(),
            trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            numbers: [key; 12],
        }
    }

    fn touch(&mut self) {
        self.numbers[0] += 1;
        black_box((&self.action, &self.actor, &self.trace));
    }
}

/// A map that can undo the changes of a batch.
trait Undoable {
    const NAME: &'static str;
    fn insert(&mut self, key: u64, row: Row);
    fn change(&mut self, key: u64);
    fn remove(&mut self, key: u64);
    fn commit(&mut self);
    fn undo(&mut self);
    fn rows(&self) -> usize;
}

/// The core's own way: it remembers each row as it was before the batch changed it.
#[derive(Default)]
struct UndoLog(Table<u64, Arc<Row>>);

impl Undoable for UndoLog {
    const NAME: &'static str = "undo log (Table)";

    fn insert(&mut self, key: u64, row: Row) {
        self.0.insert(key, Arc::new(row));
    }

    fn change(&mut self, key: u64) {
        self.0.change(&key, |row| Arc::make_mut(row).touch());
    }

    fn remove(&mut self, key: u64) {
        self.0.remove(&key);
    }

    fn commit(&mut self) {
        self.0.commit();
    }

    fn undo(&mut self) {
        self.0.undo();
    }

    fn rows(&self) -> usize {
        self.0.len()
    }
}

/// The same over a map whose copies share nothing.
#[derive(Default)]
struct UndoLogOverTree {
    now: BTreeMap<u64, Row>,
    before: Vec<(u64, Option<Row>)>,
}

impl Undoable for UndoLogOverTree {
    const NAME: &'static str = "undo log (BTreeMap)";

    fn insert(&mut self, key: u64, row: Row) {
        self.before.push((key, self.now.insert(key, row)));
    }

    fn change(&mut self, key: u64) {
        if let Some(row) = self.now.get_mut(&key) {
            self.before.push((key, Some(row.clone())));
            row.touch();
        }
    }

    fn remove(&mut self, key: u64) {
        if let Some(row) = self.now.remove(&key) {
            self.before.push((key, Some(row)));
        }
    }

    fn commit(&mut self) {
        self.before.clear();
    }

    fn undo(&mut self) {
        while let Some((key, row)) = self.before.pop() {
            match row {
                Some(row) => self.now.insert(key, row),
                None => self.now.remove(&key),
            };
        }
    }

    fn rows(&self) -> usize {
        self.now.len()
    }
}

/// The core's own way while a snapshot is being saved: each run is copied once. Snapshots are taken far more
/// often here than in a running node.
#[derive(Default)]
struct BesideSnapshots {
    now: Table<u64, Arc<Row>>,
    snapshot: Table<u64, Arc<Row>>,
    batches: u32,
}

impl Undoable for BesideSnapshots {
    const NAME: &'static str = "undo log (Table), snapshots";

    fn insert(&mut self, key: u64, row: Row) {
        self.now.insert(key, Arc::new(row));
    }

    fn change(&mut self, key: u64) {
        self.now.change(&key, |row| Arc::make_mut(row).touch());
    }

    fn remove(&mut self, key: u64) {
        self.now.remove(&key);
    }

    fn commit(&mut self) {
        self.now.commit();
        self.batches += 1;
        if self.batches.is_multiple_of(SNAPSHOT_EVERY) {
            self.snapshot = self.now.clone();
        }
    }

    fn undo(&mut self) {
        self.now.undo();
    }

    fn rows(&self) -> usize {
        self.now.len().max(self.snapshot.len())
    }
}

/// Copies the whole map before each batch.
#[derive(Default)]
struct CopiedMap {
    now: BTreeMap<u64, Row>,
    before: BTreeMap<u64, Row>,
}

impl Undoable for CopiedMap {
    const NAME: &'static str = "copy for each batch (BTreeMap)";

    fn insert(&mut self, key: u64, row: Row) {
        self.now.insert(key, row);
    }

    fn change(&mut self, key: u64) {
        if let Some(row) = self.now.get_mut(&key) {
            row.touch();
        }
    }

    fn remove(&mut self, key: u64) {
        self.now.remove(&key);
    }

    fn commit(&mut self) {
        self.before = self.now.clone();
    }

    fn undo(&mut self) {
        self.now = self.before.clone();
    }

    fn rows(&self) -> usize {
        self.now.len()
    }
}

/// Keeps the old root: a change copies the path that leads to it. Uses `Arc` for counting because the state
/// moves to a thread.
struct Persistent {
    now: RedBlackTreeMapSync<u64, Row>,
    before: RedBlackTreeMapSync<u64, Row>,
}

impl Default for Persistent {
    fn default() -> Self {
        Self { now: RedBlackTreeMapSync::new_sync(), before: RedBlackTreeMapSync::new_sync() }
    }
}

impl Undoable for Persistent {
    const NAME: &'static str = "persistent map (rpds)";

    fn insert(&mut self, key: u64, row: Row) {
        self.now.insert_mut(key, row);
    }

    fn change(&mut self, key: u64) {
        if let Some(row) = self.now.get_mut(&key) {
            row.touch();
        }
    }

    fn remove(&mut self, key: u64) {
        self.now.remove_mut(&key);
    }

    fn commit(&mut self) {
        self.before = self.now.clone();
    }

    fn undo(&mut self) {
        self.now = self.before.clone();
    }

    fn rows(&self) -> usize {
        self.now.size()
    }
}

/// Runs batches of executions from start to end next to `standing` open ones. Returns the time per batch.
fn measure<M: Undoable + Default>(standing: u64) -> Duration {
    let mut map = M::default();
    for key in 0..standing {
        map.insert(spread(key), Row::of(key));
    }
    map.commit();
    let mut next = standing;
    let mut batches = 0;
    let begin = Instant::now();
    while begin.elapsed() < MEASURED_FOR {
        let first = next;
        for life in 0..LIVES {
            let key = spread(next);
            map.insert(key, Row::of(next));
            map.change(key);
            map.change(spread((batches * LIVES + life) % standing));
            next += 1;
        }
        for key in first..next {
            map.change(spread(key));
            map.remove(spread(key));
        }
        batches += 1;
        if batches % UNDO_EVERY == 0 { map.undo() } else { map.commit() }
    }
    let took = begin.elapsed();
    assert_eq!(map.rows() as u64, standing, "what came has gone, in every way of counting it");
    took / u32::try_from(batches).unwrap_or(u32::MAX)
}

/// Spreads keys like ids from many senders: keys that are close in time are not close in the map.
fn spread(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn print_figures<M: Undoable + Default>(standing: u64) {
    println!("{standing:>8} open   {:<32} {:>10.1} µs a batch of {LIVES}", M::NAME, measure::<M>(standing).as_secs_f64() * 1e6);
}

fn main() {
    for standing in [100, 10_000, 100_000] {
        print_figures::<UndoLog>(standing);
        print_figures::<BesideSnapshots>(standing);
        print_figures::<UndoLogOverTree>(standing);
        print_figures::<Persistent>(standing);
        print_figures::<CopiedMap>(standing);
    }
}
