//! Keeps a store of views up to date with the log: folds batches of records, and determines which rows
//! change.
//!
//! It neither reads a log nor waits: the follower in the node does. An internal error in one fold only
//! affects that view and that record; all other folds continue, and a rebuild skips the same records.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use ensue_engine::explain::panic_text;
use ensue_engine::record::{Position, Record};

use crate::artifacts::Artifact;
use crate::audit::AuditEntry;
use crate::dead_letters::DeadLetter;
use crate::enforcements::Enforcement;
use crate::events::Event;
use crate::executions::Execution;
use crate::inquiries::Inquiry;
use crate::keys::Key;
use crate::locks::LockClaims;
use crate::onlooker::{Care, Nobody, Onlooker};
use crate::packs::Pack;
use crate::parked_reactions::ParkedReaction;
use crate::rules::RuleActivity;
use crate::schedules::Schedule;
use crate::series::{self, Increment};
use crate::store::{AllPassedOver, Change, Changes, MESSAGE_CHARS_MAX, NewRow, PassedOver, Row, ViewError, ViewStore};
use crate::tokens::Token;
use crate::totals::Totals;
use crate::vars::Var;
use crate::view::{Life, Term, Touch, View, ViewName};

/// The maximum number of a view's rows that are cached between batches because they are likely to change
/// again.
pub const ROWS_AT_HAND_MAX: usize = 10_000;

/// Folds records into views, batch by batch. A row that is likely to change again is cached as its struct,
/// and written as JSON once a batch. The cache never affects the output.
#[derive(Default)]
pub struct Projector {
    events: Fold<Event>,
    enforcements: Fold<Enforcement>,
    executions: Fold<Execution>,
    artifacts: Fold<Artifact>,
    inquiries: Fold<Inquiry>,
    rules: Fold<RuleActivity>,
    schedules: Fold<Schedule>,
    locks: Fold<LockClaims>,
    packs: Fold<Pack>,
    keys: Fold<Key>,
    vars: Fold<Var>,
    tokens: Fold<Token>,
    audit: Fold<AuditEntry>,
    dead_letters: Fold<DeadLetter>,
    parked_reactions: Fold<ParkedReaction>,
    totals: Fold<Totals>,
}

/// Runs the same code for every fold.
macro_rules! each_fold {
    ($projector:ident, $fold:ident => $do:expr) => {{
        each_fold!(@ $projector, $fold => $do; events enforcements executions artifacts inquiries rules schedules locks packs keys vars tokens audit dead_letters parked_reactions totals);
    }};
    (@ $projector:ident, $fold:ident => $do:expr; $($view:ident)*) => {
        $({ let $fold = &mut $projector.$view; $do; })*
    };
}

impl Projector {
    /// Creates a projector with an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds the next records of the log into the store. Records that it knows already are skipped; if one is
    /// missing, nothing changes. After an error the store is as it was, and the same records can be offered
    /// again.
    pub fn advance(&mut self, store: &mut dyn ViewStore, records: &[Record]) -> Result<Position, ViewError> {
        self.advance_under(store, records, &mut Nobody)
    }

    /// Like [`advance`](Self::advance), with an observer of each fold.
    pub fn advance_under(
        &mut self,
        store: &mut dyn ViewStore,
        records: &[Record],
        onlooker: &mut dyn Onlooker,
    ) -> Result<Position, ViewError> {
        self.advance_telling(store, records, onlooker, &mut |_, _| {})
    }

    /// Like [`advance_under`](Self::advance_under). `told` gets the position before, and the changes once they are stored.
    pub fn advance_telling(
        &mut self,
        store: &mut dyn ViewStore,
        records: &[Record],
        onlooker: &mut dyn Onlooker,
        told: &mut dyn FnMut(Position, Changes),
    ) -> Result<Position, ViewError> {
        let at = store.position();
        let known = records.partition_point(|record| record.position <= at);
        let Some(first) = records.get(known) else { return Ok(at) };
        if first.position != at.next() {
            return Err(ViewError::Gap { at, next: first.position });
        }
        let changes = self.project(&records[known..], &mut |view, keys| store.load(view, keys), onlooker);
        let mut elapsed = store.elapsed();
        let ended = elapsed.fold(&records[known..]);
        let stored = changes.and_then(|changes| {
            let changes = Changes { elapsed, ended, ..changes };
            store.apply(&changes).map(|()| changes)
        });
        match stored {
            Ok(changes) => {
                onlooker.note_stored(store.position());
                told(at, changes);
                Ok(store.position())
            }
            Err(error) => {
                *self = Self::new();
                Err(error)
            }
        }
    }

    /// Returns the changes of rows that these records cause. `load` returns rows that are not cached. If it
    /// fails, or the changes are not stored, the projector is ahead of the store and must be created again,
    /// as [`advance`](Self::advance) does.
    pub fn project(&mut self, records: &[Record], load: &mut Load<'_>, onlooker: &mut dyn Onlooker) -> Result<Changes, ViewError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(Changes::default()) };
        let at_once = match onlooker.care(first.position, last.position) {
            Care::AtOnce => self.fold_at_once((records, last.position), load, onlooker)?,
            Care::OneByOne => None,
        };
        if let Some(changes) = at_once {
            return Ok(changes);
        }
        let mut changes = Changes { through: last.position, ..Changes::default() };
        each_fold!(self, fold => fold.fold_one_by_one(records, load, (onlooker, &mut changes.passed_over))?);
        changes.increments = self.increments(records);
        // Our code ran before for each of these rows: each was written once right after each of its records.
        each_fold!(self, fold => fold.finish(&mut changes));
        Ok(changes)
    }

    /// Returns what the counts over time grow by, once the records are folded.
    fn increments(&self, records: &[Record]) -> Vec<Increment> {
        series::increments(records, |id| self.executions.touched.get(&id)?.now.as_ref())
    }

    /// Returns the changes, or `None` if there is an internal error anywhere in them. Then the projector is
    /// reset to the state of the store, so that the affected records can be found and only those are skipped.
    fn fold_at_once(
        &mut self,
        (records, last): (&[Record], Position),
        load: &mut Load<'_>,
        onlooker: &mut dyn Onlooker,
    ) -> Result<Option<Changes>, ViewError> {
        let folded = catch_unwind(AssertUnwindSafe(|| {
            onlooker.begin_all(last);
            let mut load = |view, keys: &[Term]| {
                onlooker.end();
                let rows = load(view, keys);
                onlooker.begin_all(last);
                rows
            };
            each_fold!(self, fold => fold.fetch(records, &mut load)?);
            for record in records {
                each_fold!(self, fold => fold.fold(record));
            }
            let mut changes = Changes { through: last, increments: self.increments(records), ..Changes::default() };
            each_fold!(self, fold => fold.finish(&mut changes));
            Ok(Some(changes))
        }));
        onlooker.end();
        folded.unwrap_or_else(|_| {
            *self = Self::new();
            Ok(None)
        })
    }
}

/// Returns the rows that a store has under some keys of a view.
pub type Load<'a> = dyn FnMut(ViewName, &[Term]) -> Result<Vec<Row>, ViewError> + 'a;

/// The rows of one view: those that this batch touches, and those that are cached for the next.
struct Fold<V: View> {
    touched: BTreeMap<V::Key, Slot<V>>,
    at_hand: BTreeMap<V::Key, V>,
}

/// A row while a batch is folded.
struct Slot<V> {
    /// The record that began the stored row with this key.
    stored: Option<Position>,
    now: Option<V>,
}

impl<V: View> Default for Fold<V> {
    fn default() -> Self {
        Self { touched: BTreeMap::new(), at_hand: BTreeMap::new() }
    }
}

impl<V: View> Fold<V> {
    /// Creates a slot for each key that the records touch.
    fn fetch(&mut self, records: &[Record], load: &mut Load<'_>) -> Result<(), ViewError> {
        let mut missing = BTreeMap::new();
        for touch in records.iter().filter_map(V::key) {
            let key = match touch {
                Touch::Begins(key) => {
                    self.touched.entry(key).or_insert(Slot { stored: None, now: None });
                    continue;
                }
                Touch::Changes(key) => key,
            };
            if self.touched.contains_key(&key) {
                continue;
            }
            match self.at_hand.remove(&key) {
                Some(row) => {
                    self.touched.insert(key, Slot { stored: Some(row.position()), now: Some(row) });
                }
                None => {
                    missing.insert(key.clone().into(), key.clone());
                    self.touched.insert(key, Slot { stored: None, now: None });
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let terms: Vec<Term> = missing.keys().cloned().collect();
        for row in load(V::NAME, &terms)? {
            let term = V::NAME.key(&row.key);
            let Some(slot) = term.and_then(|term| missing.get(&term)).and_then(|key| self.touched.get_mut(key)) else { continue };
            *slot = Slot { stored: Some(row.position), now: Some(row.read()?) };
        }
        Ok(())
    }

    /// Returns the stored row for a record, undecoded; nothing if it is cached.
    fn load_stored(&self, touch: &Touch<V::Key>, load: &mut Load<'_>) -> Result<Vec<Row>, ViewError> {
        match touch {
            Touch::Changes(key) if !self.touched.contains_key(key) && !self.at_hand.contains_key(key) => {
                load(V::NAME, &[key.clone().into()])
            }
            Touch::Begins(_) | Touch::Changes(_) => Ok(Vec::new()),
        }
    }

    fn fold(&mut self, record: &Record) {
        let Some(Touch::Begins(key) | Touch::Changes(key)) = V::key(record) else { return };
        if let Some(slot) = self.touched.get_mut(&key) {
            slot.now = V::project(slot.now.take(), record);
        }
    }

    /// Creates slots, folds and writes, one record at a time. A record that causes a panic, or that the
    /// observer forbids, is skipped, and its row stays as it was.
    fn fold_one_by_one(
        &mut self,
        records: &[Record],
        load: &mut Load<'_>,
        (onlooker, passed_over): (&mut dyn Onlooker, &mut AllPassedOver),
    ) -> Result<(), ViewError> {
        for record in records {
            let (mut unread, mut before) = (None, None);
            let folded = catch_unwind(AssertUnwindSafe(|| {
                // The touched row is determined by the fact alone, which cannot end the process.
                let Some(touch) = V::key(record) else { return Ok(None) };
                let mut stored = self.load_stored(&touch, load)?;
                if let Some(why) = onlooker.begin_one(V::NAME, record.position) {
                    return Ok(Some(why));
                }
                let (Touch::Begins(key) | Touch::Changes(key)) = touch;
                unread = (!self.touched.contains_key(&key)).then(|| key.clone());
                self.fetch(std::slice::from_ref(record), &mut |_, _| Ok(std::mem::take(&mut stored)))?;
                unread = None;
                if let Some(slot) = self.touched.get_mut(&key) {
                    let row = V::project(slot.now.clone(), record);
                    before = Some((key.clone(), std::mem::replace(&mut slot.now, row)));
                    // A row that cannot be written is found with the record that caused it.
                    drop(slot.now.as_ref().map(|row| to_new_row(&key, row)));
                }
                Ok(None)
            }));
            onlooker.end();
            let why = match folded {
                Ok(forbidden) => forbidden?,
                Err(panic) => {
                    // The row could not be read, so nothing is known about it; the next use reads it again.
                    if let Some(key) = unread {
                        self.touched.remove(&key);
                    }
                    let slot = before.and_then(|(key, row)| Some((self.touched.get_mut(&key)?, row)));
                    if let Some((slot, row)) = slot {
                        slot.now = row;
                    }
                    Some(message_of(&*panic))
                }
            };
            if let Some(message) = why {
                passed_over.add(PassedOver { view: V::NAME, position: record.position, message });
            }
        }
        Ok(())
    }

    /// Writes the changes, in the order of the log, and caches rows that are likely to change again.
    fn finish(&mut self, changes: &mut Changes) {
        let mut rows = Vec::with_capacity(self.touched.len());
        for (key, slot) in std::mem::take(&mut self.touched) {
            let position = slot.now.as_ref().map(V::position);
            if let Some(stored) = slot.stored.filter(|stored| position != Some(*stored)) {
                changes.rows.push((V::NAME, Change::Remove { position: stored }));
            }
            let Some(row) = slot.now else { continue };
            let new = to_new_row(&key, &row);
            rows.push(if slot.stored == position { Change::Update(new) } else { Change::Insert(new) });
            if row.life() == Life::Alive {
                self.at_hand.insert(key, row);
            }
        }
        // Filling a table in its own order appends at its end.
        rows.sort_by_key(|change| match change {
            Change::Insert(row) | Change::Update(row) => row.position,
            Change::Remove { position } => *position,
        });
        changes.rows.extend(rows.into_iter().map(|change| (V::NAME, change)));
        while self.at_hand.len() > ROWS_AT_HAND_MAX {
            self.at_hand.pop_first();
        }
    }
}

/// Converts a row to its stored form.
fn to_new_row<V: View>(key: &V::Key, row: &V) -> NewRow {
    let document = serde_json::to_vec(row).expect("views hold only text, numbers and lists, which always have a JSON form");
    NewRow {
        key: key.clone().into(),
        position: row.position(),
        began_at: row.began_at(),
        columns: row.columns(),
        scope: row.scope(),
        document: Bytes::from(document),
    }
}

/// Returns the message of a panic, truncated to the stored length.
fn message_of(panic: &(dyn Any + Send)) -> String {
    panic_text(panic).chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
