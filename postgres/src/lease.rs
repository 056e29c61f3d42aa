//! The lease of a node: its beats, and how another node judges them.
//!
//! No clocks are compared: a lease is over for an observer who has read the same count of beats for some time of the
//! observer's own monotonic clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::record::{Epoch, Head};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::classify::Meaning;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::session::{ConnectionPurpose, STATEMENT_TIMEOUT, Session};

/// How often a node beats.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How long the count of beats must stay the same until the lease is over.
pub const LEASE: Duration = Duration::from_secs(3);

/// After this time, an append that is not acknowledged is slow.
pub const SLOW: Duration = Duration::from_secs(5);

/// A node, as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id, which it keeps over restarts.
    pub id: Uuid,
    /// Its name, for people.
    pub name: String,
}

/// Whether a lease is over, as one observer sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaseObserver {
    last: Option<(i64, Instant)>,
}

impl LeaseObserver {
    /// Notes a count of beats that was read, and returns true if the lease is over. A read that failed is not noted: an
    /// outage of the database ends no lease, because nobody beats and nobody reads.
    pub fn note(&mut self, beats: i64, now: Instant) -> bool {
        match self.last {
            Some((last, since)) if last == beats => now.saturating_duration_since(since) >= LEASE,
            Some(_) | None => {
                self.last = Some((beats, now));
                false
            }
        }
    }

    /// Begins again after a time without a reading, in which the node may have beaten.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

/// Notes that a node lives which leads no log yet.
pub(crate) fn beat(session: &mut Session, node: &Node) -> Result<(), Meaning> {
    const SQL: &str = "SELECT ensue.beat($1, $2, NULL, NULL, NULL, NULL)";
    session.query(SQL, &[&node.id, &node.name], Instant::now() + STATEMENT_TIMEOUT).map(|_| ())
}

/// Notes that a node lives, and the newest head of the log that it leads whose append was acknowledged.
fn beat_for(session: &mut Session, node: &Node, (number, epoch): (i32, Epoch), head: Head) -> Result<(), Meaning> {
    const SQL: &str = "SELECT ensue.beat($1, $2, $3, $4, $5, $6)";
    let (epoch, position, chain) = (epoch.0.cast_signed(), head.position.0.cast_signed(), head.chain.as_bytes().to_vec());
    let parameters: [&(dyn ToSql + Sync); 6] = [&node.id, &node.name, &number, &epoch, &position, &chain];
    session.query(SQL, &parameters, Instant::now() + STATEMENT_TIMEOUT).map(|_| ())
}

/// Releases a log that a node leads, and wakes the nodes that wait.
pub(crate) fn release(session: &mut Session, number: i32, node: Uuid, epoch: Epoch) -> Result<(), Meaning> {
    const SQL: &str = "SELECT ensue.release($1, $2, $3)";
    // A commit with a notification holds a lock of the whole server, so it must not wait for a standby.
    const WAKE: &str = "BEGIN; SET LOCAL synchronous_commit = off; NOTIFY ensue_released; COMMIT";
    let deadline = Instant::now() + BEAT_EVERY;
    session.query(SQL, &[&number, &node, &epoch.0.cast_signed()], deadline)?;
    // Nodes that are not woken look again soon.
    let _ = session.batch(WAKE, deadline);
    Ok(())
}

/// Lets the server notify a connection when a node releases its log.
pub(crate) fn listen_for_release(session: &Session) -> Result<(), Meaning> {
    session.batch("LISTEN ensue_released", Instant::now() + STATEMENT_TIMEOUT)
}

/// What the last beats of a node found out about its log; a clone watches the same one.
#[derive(Clone, Debug, Default)]
pub struct LeadWatch(Arc<LeadState>);

#[derive(Debug, Default)]
struct LeadState {
    is_lost: AtomicBool,
    is_silent: AtomicBool,
    /// Why the log in the database is not the one that was written.
    rewritten: Mutex<Option<String>>,
    /// Since when an append waits for its acknowledgement.
    appends_since: Mutex<Option<Instant>>,
}

impl LeadWatch {
    /// Returns true once another node leads the log.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost.load(Ordering::Relaxed)
    }

    /// Returns true while the database does not answer.
    pub fn is_silent(&self) -> bool {
        self.0.is_silent.load(Ordering::Relaxed)
    }

    /// Returns true while an append waits for longer than [`SLOW`]: the server answers, but does not acknowledge it, as
    /// without its synchronous standby.
    pub fn is_slow(&self) -> bool {
        let since = *self.0.appends_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= SLOW)
    }

    /// Returns why the log in the database is not the one that this node wrote, once it is not.
    pub fn rewritten(&self) -> Option<String> {
        self.0.rewritten.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that an append begins, or that none is under way.
    pub(crate) fn append_began(&self, at: Option<Instant>) {
        *self.0.appends_since.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// The thread that beats for a node. It ends when this is dropped.
pub(crate) struct Beating {
    /// The thread hears that this is gone. It is not waited for, because it may wait for a database that is gone.
    _stop: SyncSender<()>,
    pub(crate) watch: LeadWatch,
}

impl Beating {
    /// Starts the thread, which also looks whether the node still leads the log with this number under this epoch.
    pub(crate) fn start(database: Database, node: Node, (number, epoch): (i32, Epoch)) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel::<()>(0);
        let watch = LeadWatch::default();
        let noted = watch.clone();
        thread::Builder::new().name("postgres-lease".to_owned()).spawn(move || {
            let mut session: Option<Session> = None;
            loop {
                if session.as_ref().is_none_or(Session::is_closed) {
                    session = match database.connect(ConnectionPurpose::Beat, &format!("{}/lease", node.name)) {
                        Ok(session) => Some(session),
                        Err(error) => {
                            if matches!(error, DatabaseError::Rewritten { .. }) {
                                *noted.0.rewritten.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                            }
                            None
                        }
                    };
                }
                if let Some(open) = session.as_mut() {
                    let head = database.known_logs().head(number);
                    match beat_for(open, &node, (number, epoch), head).and_then(|()| epoch_of(open, number)) {
                        Ok(now) => noted.0.is_lost.store(now > epoch, Ordering::Relaxed),
                        Err(why) => {
                            tracing::warn!(why = %why, "the node could not renew its lease");
                            session = None;
                        }
                    }
                }
                noted.0.is_silent.store(session.is_none(), Ordering::Relaxed);
                if !matches!(stopped.recv_timeout(BEAT_EVERY), Err(RecvTimeoutError::Timeout)) {
                    break;
                }
            }
        })?;
        Ok(Self { _stop: stop, watch })
    }
}

/// Returns the newest epoch of a log.
fn epoch_of(session: &mut Session, number: i32) -> Result<Epoch, Meaning> {
    let rows = session.query("SELECT epoch FROM ensue.logs WHERE number = $1", &[&number], Instant::now() + STATEMENT_TIMEOUT)?;
    let row = rows.first().ok_or_else(|| Meaning::Refused("the row of the log is gone".to_owned()))?;
    Ok(Epoch(row.get::<_, i64>(0).unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn lease_is_over_after_three_seconds_without_a_beat() {
        let begin = Instant::now();
        let mut observed = LeaseObserver::default();
        assert!(!observed.note(7, begin));
        assert!(!observed.note(7, begin + 2 * SECOND));
        assert!(observed.note(7, begin + 3 * SECOND));
    }

    #[test]
    fn beat_renews_the_lease() {
        let begin = Instant::now();
        let mut observed = LeaseObserver::default();
        observed.note(7, begin);
        assert!(!observed.note(8, begin + 3 * SECOND));
        assert!(!observed.note(8, begin + 5 * SECOND));
        assert!(observed.note(8, begin + 6 * SECOND));
    }

    #[test]
    fn time_without_a_reading_does_not_count() {
        let begin = Instant::now();
        let mut observed = LeaseObserver::default();
        observed.note(7, begin);
        observed.reset();
        assert!(!observed.note(7, begin + 60 * SECOND));
    }
}
