//! Who may write to a log: the lease of a node lets it go first, and the epoch fences off older writers.
//!
//! A lease may be judged wrongly without harm, because each append compares the epoch.

use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ids::LogId;
use ensue_engine::record::Epoch;
use uuid::Uuid;

use crate::database::{Database, LogRow, STATEMENT_TIMEOUT};
use crate::error::DatabaseError;
use crate::lease::{Beating, LEASE, Node, Observed, beat};
use crate::log::{Led, PostgresLog};
use crate::session::{Purpose, Session};

/// How often a waiting node looks at the beats of the leader.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often a take-over is tried if other nodes try at the same moment.
const TRIES_MAX: usize = 5;

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
