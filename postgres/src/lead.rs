//! Who may write to a log: the lease of a node, and the epoch.
//!
//! A lease may be judged wrongly without harm, because the epoch fences off the older writer. No clocks are compared: a
//! node's lease is over for an observer who has read the same count of its beats for some time of the observer's own
//! monotonic clock.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ids::LogId;
use ensue_engine::record::Epoch;
use uuid::Uuid;

use crate::classify::Meaning;
use crate::database::{Database, LogRow, STATEMENT_TIMEOUT};
use crate::error::DatabaseError;
use crate::log::{Led, PostgresLog};
use crate::session::{Purpose, Session};

/// How often a node beats.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How long the beats of a node must stand still until its lease is over.
pub const LEASE: Duration = Duration::from_secs(3);

/// How often a waiting node looks at the beats of the leader.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often a take-over is tried if other nodes try at the same moment.
const TRIES_MAX: usize = 5;

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
pub struct Observed {
    last: Option<(i64, Instant)>,
}

impl Observed {
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
    pub fn interrupted(&mut self) {
        self.last = None;
    }
}

/// What to do while another node leads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfLed {
    /// Wait until its lease is over, at most for this time.
    WaitFor(Duration),
    /// Fail.
    Fail,
}

impl Database {
    /// Opens the log for writing, under a new epoch. The log is created if necessary.
    pub fn lead(&self, log: LogId, node: &Node, if_led: IfLed) -> Result<PostgresLog, DatabaseError> {
        let mut session = self.connect(Purpose::Write, &format!("{}/{log}", node.name))?;
        let row = match self.find(&mut session, log)? {
            Some(row) => row,
            None => self.create(&mut session, log, "open")?,
        };
        // A node beats before it leads, so that it can be observed from the beginning.
        beat(&mut session, node).map_err(|meaning| self.failed(&meaning))?;
        let epoch = self.take(&mut session, log, row, node, if_led)?;
        let beating = Beating::start(self.clone(), node.clone()).map_err(|error| DatabaseError::Failed {
            at: self.shown().to_owned(),
            why: format!("the thread of the lease cannot be started: {error}"),
        })?;
        let number = self.row(&mut session, log)?.map(|row| row.number);
        let number = number.ok_or_else(|| DatabaseError::NoLog { at: self.shown().to_owned(), log })?;
        PostgresLog::of(self.clone(), Led { session, id: log, number, epoch, node: node.clone(), beating: Some(beating) })
    }

    /// Waits until no other node leads the log, and takes it.
    fn take(&self, session: &mut Session, log: LogId, first: LogRow, node: &Node, if_led: IfLed) -> Result<Epoch, DatabaseError> {
        let begin = Instant::now();
        let mut row = first;
        let mut observed = Observed::default();
        let mut watched = (row.leader, row.epoch);
        let mut tries = 0;
        loop {
            if row.state != "open" {
                return Err(DatabaseError::Unfinished { at: self.shown().to_owned(), log });
            }
            let leader = row.leader.filter(|leader| *leader != node.id);
            let known = match leader {
                Some(leader) => self.node(session, leader)?,
                None => None,
            };
            let is_over = match &known {
                Some((_, beats)) => observed.note(*beats, Instant::now()),
                // Nobody leads it, or a node that was never seen.
                None => true,
            };
            if is_over {
                tries += 1;
                match self.try_lead(session, &row, node, known.as_ref().map(|(_, beats)| *beats))? {
                    Some(epoch) => return Ok(epoch),
                    None if tries >= TRIES_MAX => return Err(led(log, known)),
                    None => {}
                }
            } else if matches!(if_led, IfLed::Fail) || matches!(if_led, IfLed::WaitFor(most) if begin.elapsed() >= most) {
                return Err(led(log, known));
            } else {
                thread::sleep(LOOK_EVERY);
            }
            row = self.row(session, log)?.ok_or_else(|| DatabaseError::NoLog { at: self.shown().to_owned(), log })?;
            if (row.leader, row.epoch) != watched {
                watched = (row.leader, row.epoch);
                observed.interrupted();
            }
        }
    }

    /// Takes the log, or returns `None` if another node was faster or the leader lives. Nothing is read before this commit
    /// is acknowledged.
    fn try_lead(&self, session: &mut Session, row: &LogRow, node: &Node, beats: Option<i64>) -> Result<Option<Epoch>, DatabaseError> {
        const SQL: &str = "SELECT outcome, now_epoch FROM ensue.lead($1, $2, $3, $4)";
        let rows = session.commit(SQL, &[&row.number, &node.id, &row.epoch, &beats], Instant::now() + STATEMENT_TIMEOUT);
        let rows = rows.map_err(|meaning| self.failed(&meaning))?;
        let Some(told) = rows.first() else { return Ok(None) };
        Ok((told.get::<_, &str>(0) == "led").then(|| Epoch(told.get::<_, i64>(1).unsigned_abs())))
    }

    /// Returns the name and the beats of a node.
    fn node(&self, session: &mut Session, id: Uuid) -> Result<Option<(String, i64)>, DatabaseError> {
        let rows = session.query("SELECT name, beats FROM ensue.nodes WHERE id = $1", &[&id], Instant::now() + STATEMENT_TIMEOUT);
        let rows = rows.map_err(|meaning| self.failed(&meaning))?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }
}

fn led(log: LogId, known: Option<(String, i64)>) -> DatabaseError {
    let leader = known.map_or_else(|| "another one".to_owned(), |(name, _)| name);
    DatabaseError::Led { log, leader, seconds: LEASE.as_secs() }
}

fn beat(session: &mut Session, node: &Node) -> Result<(), Meaning> {
    session.query("SELECT ensue.beat($1, $2)", &[&node.id, &node.name], Instant::now() + STATEMENT_TIMEOUT).map(|_| ())
}

/// Releases a log that a node leads.
pub(crate) fn release(session: &mut Session, number: i32, node: Uuid, epoch: Epoch) -> Result<(), Meaning> {
    let deadline = Instant::now() + BEAT_EVERY;
    session.query("SELECT ensue.release($1, $2, $3)", &[&number, &node, &epoch.0.cast_signed()], deadline).map(|_| ())
}

/// The thread that beats for a node. It ends when this is dropped.
pub(crate) struct Beating {
    /// The thread hears that this is gone. It is not waited for, because it may wait for a database that is gone.
    _stop: Sender<()>,
}

impl Beating {
    fn start(database: Database, node: Node) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        thread::Builder::new().name("postgres-lease".to_owned()).spawn(move || {
            let mut session: Option<Session> = None;
            loop {
                if session.as_ref().is_none_or(Session::is_closed) {
                    session = database.connect(Purpose::Beat, &format!("{}/lease", node.name)).ok();
                }
                if let Some(open) = session.as_mut()
                    && let Err(why) = beat(open, &node)
                {
                    tracing::warn!(why = %why, "the node could not renew its lease");
                    session = None;
                }
                if !matches!(stopped.recv_timeout(BEAT_EVERY), Err(RecvTimeoutError::Timeout)) {
                    break;
                }
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn lease_is_over_after_three_seconds_without_a_beat() {
        let begin = Instant::now();
        let mut observed = Observed::default();
        assert!(!observed.note(7, begin));
        assert!(!observed.note(7, begin + 2 * SECOND));
        assert!(observed.note(7, begin + 3 * SECOND));
    }

    #[test]
    fn beat_renews_the_lease() {
        let begin = Instant::now();
        let mut observed = Observed::default();
        observed.note(7, begin);
        assert!(!observed.note(8, begin + 3 * SECOND));
        assert!(!observed.note(8, begin + 5 * SECOND));
        assert!(observed.note(8, begin + 6 * SECOND));
    }

    #[test]
    fn time_without_a_reading_does_not_count() {
        let begin = Instant::now();
        let mut observed = Observed::default();
        observed.note(7, begin);
        observed.interrupted();
        assert!(!observed.note(7, begin + 60 * SECOND));
    }
}
