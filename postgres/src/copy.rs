//! A copy of a log into a database: it cannot be opened as a log before its chain is verified.

use std::thread;
use std::time::Instant;

use ensue_engine::explain::Explain;
use ensue_engine::ids::LogId;
use ensue_engine::ports::{Log as _, VaultError};
use ensue_store::transfer::{Source, TransferError, transfer};
use ensue_store::verify::{VerifyError, VerifySummary, verify};
use thiserror::Error;
use uuid::Uuid;

use crate::database::{Database, LOOK_EVERY};
use crate::error::DatabaseError;
use crate::lease::{LeaseObserver, Node};
use crate::log::{Led, PostgresLog};
use crate::reader::PostgresLogReader;
use crate::schema::{NewLog, schema_of};
use crate::session::{ConnectionPurpose, STATEMENT_TIMEOUT, Session};
use crate::side_stores::{Lead, PostgresEnvelopes, PostgresPacks};

/// Why a log was not copied into a database.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum CopyIntoError {
    /// The database cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    Database(#[from] DatabaseError),
    /// The records were not copied.
    #[error(transparent)]
    #[explain(transparent)]
    Transfer(#[from] TransferError),
    /// The secrets were not copied.
    #[error(transparent)]
    #[explain(transparent)]
    Secrets(#[from] VaultError),
    /// The packs were not copied.
    #[error("the packs were not copied: {0}")]
    #[explain(slug = "catalog-unbuildable", fault = World, hint = "copy the log again once the reason is gone: the next copy replaces this one")]
    Packs(String),
    /// The copy differs from its source.
    #[error(transparent)]
    #[explain(transparent)]
    Verify(#[from] VerifyError),
}

impl Database {
    /// Copies a log that nobody writes to. What an interrupted copy left is removed first. `progress` receives the number of
    /// records that are copied, and then of those that are verified. `beside` copies the secrets and the packs.
    pub fn copy_from(
        &self,
        log: LogId,
        from: &dyn Source,
        mut progress: impl FnMut(CopyStep, u64),
        beside: impl FnOnce(PostgresEnvelopes, PostgresPacks) -> Result<(), CopyIntoError>,
    ) -> Result<VerifySummary, CopyIntoError> {
        let head = from.head().map_err(TransferError::Read)?;
        let mut target = self.begin_copy(log)?;
        transfer(from, &mut target, |done| progress(CopyStep::Copying, done))?;
        let session = self.connect(ConnectionPurpose::Read, "copy")?;
        let reader = PostgresLogReader::of(self, session, log, target.number());
        let verified = verify(&reader, Some(head), |at| progress(CopyStep::Verifying, at.0))?;
        let lead = Lead::default();
        lead.note(target.epoch());
        beside(PostgresEnvelopes::open(self, log, lead.clone())?, PostgresPacks::open(self, log, lead)?)?;
        self.finish_copy(log)?;
        Ok(verified)
    }

    /// Lists the logs. Fails if there is none.
    pub fn logs_to_copy(&self) -> Result<Vec<LogId>, DatabaseError> {
        match self.logs()? {
            logs if logs.is_empty() => Err(DatabaseError::Empty { at: self.display_name().to_owned() }),
            logs => Ok(logs),
        }
    }

    /// Fails if a node leads the log. If its leader does not beat, it is gone after the time of a lease.
    pub fn demand_no_leader(&self, log: LogId) -> Result<(), DatabaseError> {
        let mut session = self.connect(ConnectionPurpose::Read, "copy")?;
        let mut observed = LeaseObserver::default();
        let mut first: Option<(Uuid, i64, i64)> = None;
        loop {
            let row = self.row(&mut session, log)?.ok_or_else(|| DatabaseError::NoLog { at: self.display_name().to_owned(), log })?;
            let Some(leader) = row.leader else { return Ok(()) };
            let Some((name, beats)) = self.node(&mut session, leader)? else { return Ok(()) };
            if first.get_or_insert((leader, row.epoch, beats)) != &(leader, row.epoch, beats) {
                return Err(DatabaseError::InUse { log, leader: name });
            }
            if observed.note(beats, Instant::now()) {
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn begin_copy(&self, log: LogId) -> Result<PostgresLog, DatabaseError> {
        self.prepare()?;
        self.demand_no_other(log)?;
        let mut session = self.connect(ConnectionPurpose::Write, "copy")?;
        if let Some(row) = self.row(&mut session, log)? {
            if row.state != "copying" {
                return Err(DatabaseError::Exists { at: self.display_name().to_owned(), log });
            }
            self.discard(&mut session, row.number)?;
        }
        let row = match self.create(&mut session, log, NewLog::Copying) {
            Ok(row) => row,
            Err(error) => {
                // Another log may have been created at the same moment.
                self.demand_no_other(log)?;
                return Err(error);
            }
        };
        let node = Node { id: Uuid::nil(), name: "copy".to_owned() };
        let epoch = ensue_engine::record::Epoch(row.epoch.unsigned_abs());
        PostgresLog::of(self.clone(), Led { session, id: log, number: row.number, epoch, node, beating: None })
    }

    /// Fails if the database has another log: no node could tell which one is its own.
    fn demand_no_other(&self, log: LogId) -> Result<(), DatabaseError> {
        match self.logs()?.into_iter().find(|found| *found != log) {
            Some(other) => Err(DatabaseError::Occupied { at: self.display_name().to_owned(), other }),
            None => Ok(()),
        }
    }

    /// Removes what an interrupted copy left.
    fn discard(&self, session: &mut Session, number: i32) -> Result<(), DatabaseError> {
        let schema = schema_of(number);
        let sql =
            format!("BEGIN; DELETE FROM ensue.logs WHERE number = {number} AND state = 'copying'; DROP SCHEMA {schema} CASCADE; COMMIT");
        session.batch(&sql, Instant::now() + STATEMENT_TIMEOUT).map_err(|meaning| self.error_from(&meaning))
    }

    fn finish_copy(&self, log: LogId) -> Result<(), DatabaseError> {
        let mut session = self.connect(ConnectionPurpose::Write, "copy")?;
        let id = Uuid::from_bytes(*log.0.as_bytes());
        let opened = session.commit(
            "UPDATE ensue.logs SET state = 'open' WHERE id = $1 AND state = 'copying' RETURNING number",
            &[&id],
            Instant::now() + STATEMENT_TIMEOUT,
        );
        match opened.map_err(|meaning| self.error_from(&meaning))?.first() {
            Some(_) => Ok(()),
            None => Err(DatabaseError::NoLog { at: self.display_name().to_owned(), log }),
        }
    }
}

/// What a copy is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStep {
    /// Copying records.
    Copying,
    /// Verifying the copy.
    Verifying,
}
