//! Who may write to a log: the lease of a node lets it go first, and the epoch fences off older writers.
//!
//! A lease may be judged wrongly without harm, because each append compares the epoch.

use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ids::LogId;
use ensue_engine::record::Epoch;
use uuid::Uuid;

use crate::database::{Database, LogRow};
use crate::error::DatabaseError;
use crate::lease::{Beating, LEASE, LeaseObserver, Node, beat, listen_for_release, release};
use crate::log::{Led, PostgresLog};
use crate::schema::NewLog;
use crate::session::{ConnectionPurpose, STATEMENT_TIMEOUT, Session};

/// How often a waiting node tries to reach a database that it cannot reach.
const REACH_EVERY: Duration = Duration::from_secs(1);

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

/// What a node waits for that wants to lead a log.
#[derive(Clone, Copy, Debug)]
pub enum WaitsFor<'w> {
    /// The end of the lease of the node with this name.
    Leader(&'w str),
    /// The database, which cannot be reached.
    Database(&'w DatabaseError),
}

/// Whether a node continues to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitDecision {
    /// It waits.
    GoOn,
    /// It gives up.
    GiveUp,
}

impl Database {
    /// Opens the log for writing, under a new epoch. The log is created if necessary.
    pub fn lead(&self, log: LogId, node: &Node, if_led: IfLed) -> Result<PostgresLog, DatabaseError> {
        let begin = Instant::now();
        self.lead_after(log, node, &mut |waits_for| match (waits_for, if_led) {
            (WaitsFor::Leader(_), IfLed::WaitFor(most)) if begin.elapsed() < most => WaitDecision::GoOn,
            (WaitsFor::Leader(_) | WaitsFor::Database(_), IfLed::WaitFor(_) | IfLed::Fail) => WaitDecision::GiveUp,
        })
    }

    /// Opens the log for writing once no other node leads it. `wait` is called again and again until then.
    pub fn lead_after(
        &self,
        log: LogId,
        node: &Node,
        wait: &mut dyn FnMut(WaitsFor<'_>) -> WaitDecision,
    ) -> Result<PostgresLog, DatabaseError> {
        let mut observed = LeaseObserver::default();
        let taken = loop {
            // More became known while the node waited, perhaps from another server than this one.
            let taken = self.take(log, node, &mut observed, wait).and_then(|mut taken| match self.check(&mut taken.session) {
                Ok(()) => Ok(taken),
                Err(error) => {
                    // If this fails too, other nodes wait for the end of the lease.
                    let _ = release(&mut taken.session, taken.number, node.id, taken.epoch);
                    Err(error)
                }
            });
            let failure = match taken {
                Err(error @ (DatabaseError::Unavailable(..) | DatabaseError::NotPrimary { .. } | DatabaseError::Failed { .. })) => error,
                taken => break taken?,
            };
            // The state of the leader is unknown meanwhile, and the leader cannot beat either.
            observed.reset();
            if wait(WaitsFor::Database(&failure)) == WaitDecision::GiveUp {
                return Err(failure);
            }
            thread::sleep(REACH_EVERY);
        };
        let TakenLog { mut session, number, epoch } = taken;
        self.known_logs().has_begun(&mut session, number, epoch);
        let beating = Beating::start(self.clone(), node.clone(), (number, epoch)).map_err(|error| DatabaseError::Failed {
            at: self.display_name().to_owned(),
            why: format!("the thread of the lease cannot be started: {error}"),
        })?;
        PostgresLog::of(self.clone(), Led { session, id: log, number, epoch, node: node.clone(), beating: Some(beating) })
    }

    /// Waits until no other node leads the log, and takes it.
    fn take(
        &self,
        log: LogId,
        node: &Node,
        observed: &mut LeaseObserver,
        wait: &mut dyn FnMut(WaitsFor<'_>) -> WaitDecision,
    ) -> Result<TakenLog, DatabaseError> {
        let mut session = self.connect(ConnectionPurpose::Write, &format!("{}/{log}", node.name))?;
        let mut row = match self.find(&mut session, log)? {
            Some(row) => row,
            None => self.create(&mut session, log, NewLog::Open)?,
        };
        let mut watched = (row.leader, row.epoch);
        let (mut tries, mut is_ready) = (0, false);
        loop {
            if row.state != "open" {
                return Err(DatabaseError::Unfinished { at: self.display_name().to_owned(), log });
            }
            let leader = row.leader.filter(|leader| *leader != node.id);
            let known = match leader {
                Some(leader) => self.node(&mut session, leader)?,
                None => None,
            };
            let is_over = match &known {
                Some((_, beats)) => observed.note(*beats, Instant::now()),
                // Nobody leads it, or a node that was never seen.
                None => true,
            };
            if is_over {
                tries += 1;
                // A node beats before it leads, so that it can be observed from the beginning.
                beat(&mut session, node).map_err(|meaning| self.error_from(&meaning))?;
                match self.try_lead(&mut session, &row, node, known.as_ref().map(|(_, beats)| *beats))? {
                    Some(epoch) => return Ok(TakenLog { number: row.number, session, epoch }),
                    None if tries >= TRIES_MAX => return Err(led(log, known)),
                    None => {}
                }
            } else {
                let name = known.as_ref().map_or("another node", |(name, _)| name);
                if wait(WaitsFor::Leader(name)) == WaitDecision::GiveUp {
                    return Err(led(log, known));
                }
                if std::mem::replace(&mut is_ready, true) {
                    session.wait_for_notification(Instant::now() + self.look_every());
                } else {
                    // The next look follows at once, so that no release is missed. Without notifications, looking is enough.
                    let _ = listen_for_release(&session);
                    self.get_ready();
                }
            }
            row = self.row(&mut session, log)?.ok_or_else(|| DatabaseError::NoLog { at: self.display_name().to_owned(), log })?;
            if (row.leader, row.epoch) != watched {
                watched = (row.leader, row.epoch);
                observed.reset();
            }
        }
    }

    /// Takes the log, or returns `None` if another node was faster or the leader lives. Nothing is read before this commit
    /// is acknowledged.
    fn try_lead(&self, session: &mut Session, row: &LogRow, node: &Node, beats: Option<i64>) -> Result<Option<Epoch>, DatabaseError> {
        const SQL: &str = "SELECT outcome, now_epoch FROM ensue.lead($1, $2, $3, $4)";
        let rows = session.commit(SQL, &[&row.number, &node.id, &row.epoch, &beats], Instant::now() + STATEMENT_TIMEOUT);
        let rows = rows.map_err(|meaning| self.error_from(&meaning))?;
        let Some(told) = rows.first() else { return Ok(None) };
        Ok((told.get::<_, &str>(0) == "led").then(|| Epoch(told.get::<_, i64>(1).unsigned_abs())))
    }

    /// Returns the name and the beats of a node.
    pub(crate) fn node(&self, session: &mut Session, id: Uuid) -> Result<Option<(String, i64)>, DatabaseError> {
        let rows = session.query("SELECT name, beats FROM ensue.nodes WHERE id = $1", &[&id], Instant::now() + STATEMENT_TIMEOUT);
        let rows = rows.map_err(|meaning| self.error_from(&meaning))?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }
}

/// A log that was taken.
struct TakenLog {
    session: Session,
    number: i32,
    epoch: Epoch,
}

fn led(log: LogId, known: Option<(String, i64)>) -> DatabaseError {
    let leader = known.map_or_else(|| "another one".to_owned(), |(name, _)| name);
    DatabaseError::Led { log, leader, seconds: LEASE.as_secs() }
}
