//! The state of one log: a table for each noun, the views of them, and how records change them.
//!
//! Code that decides or reacts is a function of [`State`]; only [`Engine`](crate::engine::Engine) calls these
//! functions.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::access::quota::state::Usage;
use crate::access::state::Access;
use crate::catalog::state::InstalledPacks;
use crate::dead_letters::state::DeadLetters;
use crate::executions::state::{Executions, Phase};
use crate::fact::{ByNoun, Fact, RuleFact};
use crate::health::state::Health;
use crate::ids::{ExecutionId, LogId};
use crate::inquiries::state::Inquiries;
use crate::locks::state::Locks;
use crate::record::{CatalogRevision, Position, Record, Revision, StreamId};
use crate::rules::flow::state::Flows;
use crate::rules::state::Rules;
use crate::schedule::state::Schedules;
use crate::sensors::state::Sensors;
use crate::table::{Table, undone_together};
use crate::time::Timestamp;
use crate::timers::state::{TimerOwner, Timers};
use crate::vars::state::Vars;
use crate::workflows::state::Workflows;

/// The form that [`State::save`] writes and reads. A state of another form is rebuilt from the log: older forms
/// do not have all that identities and keys have now, nor what identities have used, nor pulling sensors, nor
/// when the first match of a row was held, nor how many items of a step may fail, nor what had ended before the clock was
/// set back, nor the changes of cursors.
pub const STATE_FORMAT: u32 = 16;

/// The state after the records of one log.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    log: LogId,
    tables: Tables,
}

/// Declares the tables of the nouns once: the saved form, the accessor of each, and what is committed and
/// undone.
macro_rules! tables {
    ($($(#[$doc:meta])* $noun:ident: $tables:ty,)*) => {
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        struct Tables {
            /// The position and time of the newest record that is folded in, under the only key 0.
            newest: Table<u8, (Position, Timestamp)>,
            /// The number of records in each stream that may get more.
            streams: Table<StreamId, Revision>,
            $($(#[$doc])* $noun: $tables,)*
        }

        impl State {
            $($(#[$doc])* pub fn $noun(&self) -> &$tables {
                &self.tables.$noun
            })*

            /// Makes everything that was folded since the last commit permanent.
            pub fn commit(&mut self) {
                self.tables.commit();
            }

            /// Undoes everything that was folded since the last commit.
            pub fn undo(&mut self) {
                self.tables.undo();
            }
        }

        undone_together!(Tables { newest, streams, $($noun),* });
    };
}

tables! {
    /// The installed packs.
    packs: InstalledPacks,
    /// The modes, errors and suspensions of rules.
    rules: Rules,
    /// The open executions.
    executions: Executions,
    /// The open workflows.
    workflows: Workflows,
    /// The inquiries that open executions wait for.
    inquiries: Inquiries,
    /// The pending timers.
    timers: Timers,
    /// The schedules of rules and sensors.
    schedules: Schedules,
    /// The pulling sensors, and how far each has read.
    sensors: Sensors,
    /// The keys that the flow control of rules remembers, and the enforcements it holds.
    flows: Flows,
    /// The locks, their holders, and the executions that wait for them.
    locks: Locks,
    /// The vars.
    vars: Vars,
    /// The keys and tokens.
    access: Access,
    /// How much each identity has used.
    usage: Usage,
    /// The open dead letters.
    dead_letters: DeadLetters,
    /// The reactions that are owed, held or parked.
    health: Health,
}

/// A saved state in a versioned format: JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// The version of the format.
    pub format: u32,
    /// The state.
    pub json: Bytes,
}

/// Why a saved state cannot be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The format is that of another release.
    #[error("the state has form {0}, but this release reads form {STATE_FORMAT}")]
    Format(u32),
    /// The format is right, but the content is not valid.
    #[error("the state is damaged: {0}")]
    Damaged(String),
}

impl State {
    /// Returns the state of an empty log.
    pub fn new(log: LogId) -> Self {
        Self { log, tables: Tables::default() }
    }

    /// Returns the log's id.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Returns the position of the newest record that is folded in.
    pub fn position(&self) -> Position {
        self.tables.newest.get(&0).map(|(position, _)| *position).unwrap_or_default()
    }

    /// Returns the time of the newest record that is folded in.
    pub fn time(&self) -> Timestamp {
        self.tables.newest.get(&0).map(|(_, time)| *time).unwrap_or_default()
    }

    /// Returns the revision that the next record of a stream gets.
    pub fn next_revision(&self, stream: &StreamId) -> Revision {
        match stream {
            StreamId::Event(_) => Revision(1),
            StreamId::Enforcement(id) => self.tables.flows.next_revision(*id),
            stream => self.tables.streams.get(stream).map_or(Revision(1), |revision| revision.next()),
        }
    }

    /// Returns the catalog's newest revision.
    pub fn catalog_revision(&self) -> CatalogRevision {
        self.tables.packs.revision()
    }

    /// Returns when time alone causes the next record: a timer fires, rule errors are counted, or the expiry of
    /// a key is reported. `None` if there is no such time.
    pub fn next_due(&self) -> Option<Timestamp> {
        let warning = self.access().all_keys().next_warning().map(|due| self.timers().not_held(due));
        self.timers().next_due().into_iter().chain(self.rules().next_due()).chain(warning).min()
    }

    /// Folds one record into the state. This is the only place where the state changes. It never fails on a
    /// valid log, and can be undone until [`commit`](Self::commit), so a caller that folds many records
    /// should commit from time to time.
    pub fn apply(&mut self, record: &Record) {
        let state = &mut self.tables;
        state.newest.insert(0, (record.position, record.time));
        match &record.stream {
            // This stream has one record and never gets another.
            StreamId::Event(_) => {}
            // Only while the enforcement is held.
            StreamId::Enforcement(id) => state.flows.note(*id, record.revision),
            stream => state.streams.insert(stream.clone(), record.revision),
        }
        match record.fact.by_noun() {
            ByNoun::EventFact(fact) => {
                state.rules.apply_event(record, fact);
                state.sensors.apply_event(record, fact);
                state.usage.apply_event(record, fact);
                state.dead_letters.apply_event(record, fact);
            }
            ByNoun::RuleFact(fact) => {
                state.rules.apply(record, fact, &state.health);
                if let RuleFact::EnforcementMade(made) = fact {
                    state.flows.apply_made(record, made, &state.timers);
                }
            }
            ByNoun::FlowFact(fact) => {
                state.flows.apply(record, fact, &state.timers);
                if fact.ends_a_hold() {
                    state.timers.forget_all(&record.stream);
                }
            }
            ByNoun::ExecutionFact(fact) => {
                state.workflows.apply_execution(record, fact, &state.executions);
                state.usage.apply_execution(record, fact, &state.executions);
                state.executions.apply(record, fact);
                state.dead_letters.apply_execution(record, fact);
                if fact.is_end() {
                    state.timers.forget_all(&record.stream);
                    state.inquiries.forget(&record.stream);
                    state.streams.remove(&record.stream);
                }
            }
            ByNoun::StepFact(fact) => {
                state.workflows.apply_step(record, fact);
                state.executions.apply_step(fact);
            }
            ByNoun::InquiryFact(fact) => {
                state.inquiries.apply(record, fact);
                state.executions.apply_inquiry(record, fact);
            }
            ByNoun::TimerFact(fact) => {
                state.timers.apply(record, fact);
                state.schedules.apply_timer(record, fact);
                state.executions.apply_timer(record, fact, &state.workflows);
                state.workflows.apply_timer(record, fact, &state.executions);
            }
            ByNoun::ScheduleFact(fact) => {
                state.schedules.apply(fact);
                state.timers.apply_schedule(fact);
            }
            ByNoun::SensorFact(fact) => state.sensors.apply(record, fact),
            ByNoun::CatalogFact(fact) => state.packs.apply(record, fact),
            ByNoun::VarFact(fact) => state.vars.apply(record, fact),
            ByNoun::AccessFact(fact) => {
                state.access.apply(fact);
                state.usage.apply_access(fact);
            }
            ByNoun::KeyFact(fact) => state.access.apply_key(fact),
            ByNoun::AuditFact(_) => {}
            ByNoun::DeadLetterFact(fact) => state.dead_letters.apply(fact),
            ByNoun::HealthFact(fact) => {
                state.health.apply(record, fact);
                state.sensors.apply_health(fact);
                state.timers.apply_clock(record, fact);
                let _ = state.access.apply_clock(record.time, fact);
                state.executions.apply_health(record, fact);
            }
        }
        self.tables.settle_locks(record);
        self.tables.settle_pauses(record);
    }

    /// Returns the saved form of the state, including what is not committed. `load(save(e))` continues
    /// exactly like `e`.
    pub fn save(&self) -> SavedState {
        let json =
            serde_json::to_vec(&self.in_saved_form()).expect("the state holds only text, numbers and lists, which always have a JSON form");
        SavedState { format: STATE_FORMAT, json: json.into() }
    }

    /// Returns the form that is saved, in the format [`STATE_FORMAT`], so that a large state can be written
    /// piece by piece and is never in memory twice.
    pub fn in_saved_form(&self) -> &impl Serialize {
        &self.tables
    }

    /// Restores a state from its saved form.
    pub fn load(log: LogId, saved: &SavedState) -> Result<Self, LoadError> {
        let mut json = serde_json::Deserializer::from_slice(&saved.json);
        let state = Self::of_saved_form(log, saved.format, &mut json)?;
        json.end().map_err(|why| LoadError::Damaged(why.to_string()))?;
        Ok(state)
    }

    /// Restores a state from what [`in_saved_form`](Self::in_saved_form) returned, reading it piece by piece.
    pub fn of_saved_form<'de, D: Deserializer<'de>>(log: LogId, format: u32, saved: D) -> Result<Self, LoadError> {
        if format != STATE_FORMAT {
            return Err(LoadError::Format(format));
        }
        let mut tables = Tables::deserialize(saved).map_err(|why| LoadError::Damaged(why.to_string()))?;
        tables.health.index();
        tables.dead_letters.index();
        tables.executions.index();
        tables.locks.index();
        Ok(Self { log, tables })
    }
}

impl Tables {
    /// Updates the locks of an execution after a record: it takes them, waits for them, or releases them.
    fn settle_locks(&mut self, record: &Record) {
        let StreamId::Execution(id) = record.stream else { return };
        match &record.fact {
            Fact::ExecutionRequested(fact) if !fact.locks.is_empty() => self.locks.enroll(id, fact, record.position),
            Fact::LockAwaited(_) => self.locks.apply_wait(id),
            Fact::LockAcquired(fact) => self.locks.acquire(id, &fact.lock, record.position),
            _ => {}
        }
        if self.locks.claimant(&id).is_none() {
            return;
        }
        match self.executions.get(&id).map(|execution| execution.phase) {
            None => self.locks.release(id),
            Some(Phase::Withdrawn(_)) => self.locks.wait_no_more(id),
            // A delayed execution takes its place when its time comes; one that is retried has its locks
            // already.
            Some(Phase::Delayed) => {}
            Some(Phase::Blocked) if self.locks.begin(id, record.position) => self.executions.unblock(&id, record.time),
            Some(Phase::Blocked) => {}
            Some(_) if self.locks.begin(id, record.position) => {}
            Some(_) => self.executions.block(&id),
        }
    }

    /// Sets aside everything below a paused execution, and restores what is no longer below one.
    fn settle_pauses(&mut self, record: &Record) {
        let StreamId::Execution(of) = record.stream else { return };
        let changed = self.executions.apply_pause(record);
        if let Some(changed) = changed.filter(|changed| !self.executions.is_paused(changed)) {
            self.health.release(changed);
        }
        if changed.is_some() {
            let open: Vec<ExecutionId> = self.executions.iter().map(|(id, _)| *id).collect();
            open.iter().for_each(|id| self.settle_pause(id));
        } else if self.executions.has_paused() {
            self.settle_pause(&of);
        }
    }

    fn settle_pause(&mut self, id: &ExecutionId) {
        let owner = TimerOwner::Execution(*id);
        if self.executions.held_by(id, &self.workflows).is_some() {
            self.executions.set_aside(id);
            self.locks.set_aside(*id);
            self.timers.set_aside(owner);
        } else {
            self.executions.put_back(id);
            self.locks.put_back(*id);
            self.timers.put_back(owner);
        }
    }
}
