//! What this process knows of the logs in a database. A server that lacks it is an old primary, or a standby that was
//! promoted without it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ensue_engine::record::{Epoch, Head, Position};

use crate::classify::Meaning;
use crate::schema::schema_of;
use crate::session::{STATEMENT_TIMEOUT, Session};

/// The timeline on which a primary writes. Each promotion begins a new one, with a higher number.
const TIMELINE: &str = "SELECT ('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 16, '0'))::bit(64)::bigint";

/// What is known of each log, by its number; a clone is the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownLogs(Arc<Mutex<BTreeMap<i32, KnownLog>>>);

/// What is known of a log.
#[derive(Clone, Copy, Debug, Default)]
struct KnownLog {
    /// The newest epoch that this process began.
    epoch: Epoch,
    /// The newest head that is confirmed.
    head: Head,
    /// The newest timeline of a server that had both. A service may not show it.
    timeline: Option<i64>,
}

/// How a server compares with what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerComparison {
    /// It has everything.
    Complete,
    /// It lacks something, and wrote before another server was promoted that has it. Or that is not certain.
    Old,
    /// It lacks records up to this position that were confirmed, and wrote last.
    Rewritten(Position),
}

impl KnownLogs {
    /// Notes that this process began an epoch on a server.
    pub(crate) fn has_begun(&self, session: &mut Session, number: i32, epoch: Epoch) {
        self.note(session, number, |known| known.epoch = known.epoch.max(epoch));
    }

    /// Notes a head that was read on a server, and which no promotion may remove.
    pub(crate) fn has_read(&self, session: &mut Session, number: i32, head: Head) {
        if self.head(number).position < head.position {
            self.note(session, number, |known| known.head = head);
        }
    }

    /// Notes a head whose append was acknowledged.
    pub(crate) fn has_appended(&self, number: i32, head: Head) {
        if let Some(known) = self.lock().get_mut(&number) {
            known.head = head;
        }
    }

    /// Returns the newest confirmed head of a log.
    pub(crate) fn head(&self, number: i32) -> Head {
        self.lock().get(&number).map_or_else(Head::default, |known| known.head)
    }

    /// Compares a primary with what is known.
    pub(crate) fn compare(&self, session: &mut Session) -> Result<ServerComparison, Meaning> {
        let known = self.lock().clone();
        if known.is_empty() {
            return Ok(ServerComparison::Complete);
        }
        let rows = session.query("SELECT number, epoch FROM ensue.logs", &[], Instant::now() + STATEMENT_TIMEOUT)?;
        let epochs: BTreeMap<i32, Epoch> = rows.iter().map(|row| (row.get(0), Epoch(row.get::<_, i64>(1).unsigned_abs()))).collect();
        let now = timeline(session)?;
        for (number, known) in known {
            let has_epoch = epochs.get(&number).is_some_and(|epoch| *epoch >= known.epoch);
            if has_epoch && has_head(session, number, known.head)? {
                continue;
            }
            return Ok(match (now, known.timeline) {
                (Some(now), Some(newest)) if now >= newest => ServerComparison::Rewritten(known.head.position),
                _ => ServerComparison::Old,
            });
        }
        self.lock().values_mut().for_each(|known| known.timeline = known.timeline.max(now));
        Ok(ServerComparison::Complete)
    }

    fn note(&self, session: &mut Session, number: i32, change: impl FnOnce(&mut KnownLog)) {
        let is_new = !self.lock().contains_key(&number);
        // A server that does not answer is compared again at the next connection.
        let timeline = if is_new { timeline(session).unwrap_or_default() } else { None };
        let mut logs = self.lock();
        let known = logs.entry(number).or_default();
        known.timeline = known.timeline.max(timeline);
        change(known);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, KnownLog>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if a head is in a log.
fn has_head(session: &mut Session, number: i32, head: Head) -> Result<bool, Meaning> {
    if head.position == Position(0) {
        return Ok(true);
    }
    let sql = format!("SELECT last, chain FROM {}.batches WHERE first <= $1 ORDER BY first DESC LIMIT 1", schema_of(number));
    let place = head.position.0.cast_signed();
    let rows = session.query(&sql, &[&place], Instant::now() + STATEMENT_TIMEOUT)?;
    Ok(rows.first().is_some_and(|row| row.get::<_, i64>(0) == place && row.get::<_, &[u8]>(1) == head.chain.as_bytes()))
}

/// Returns the timeline on which a primary writes; `None` if the server does not show it.
fn timeline(session: &mut Session) -> Result<Option<i64>, Meaning> {
    match session.query(TIMELINE, &[], Instant::now() + STATEMENT_TIMEOUT) {
        Ok(rows) => Ok(rows.first().map(|row| row.get(0))),
        Err(Meaning::Refused(why)) => {
            tracing::debug!(why = %why, "the server does not show its timeline");
            Ok(None)
        }
        Err(meaning) => Err(meaning),
    }
}
