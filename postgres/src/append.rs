//! How a batch is appended until its outcome is known: over the calls of a database, or of a model of one.

use ensue_engine::ids::Id;
use ensue_engine::ports::{AppendError, Batch};
use ensue_engine::record::{Epoch, Head, Position};

use crate::classify::Meaning;

/// The calls that append one batch. Each is a transaction of its own.
pub(crate) trait Calls {
    /// Appends the batch.
    fn append(&mut self) -> Result<AppendReply, Meaning>;
    /// Looks at the log once no other append runs. When this returns, what it found is as safe as an acknowledged commit.
    fn settle(&mut self) -> Result<LogTail, Meaning>;
    /// Finds the record that a constraint rejected, by its index in the batch.
    fn find_rejected(&mut self) -> Option<usize>;
    /// Waits before the next try. Returns false if the time is up.
    fn pause(&mut self) -> bool;
}

/// The answer to an append.
#[derive(Debug)]
pub(crate) enum AppendReply {
    /// The batch is in the log.
    Kept,
    /// The log has another head.
    Behind(Head),
    /// The log has another epoch.
    Deposed(Epoch),
    /// A record does not fit.
    Rejected(AppendError),
}

/// What is in the log after the head for which a batch was made.
#[derive(Debug)]
pub(crate) struct LogTail {
    /// The newest epoch.
    pub(crate) epoch: Epoch,
    /// The newest position.
    pub(crate) head: Head,
    /// The batch that follows the head, if there is one.
    pub(crate) batch: Option<Id>,
}

/// Appends a batch until the outcome is known, or the time is up.
pub(crate) fn append(calls: &mut impl Calls, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
    let appended = Position(head.0.wrapping_add(batch.records.len() as u64));
    let mut appending = Appending { calls, batch, head, epoch, is_open: false };
    loop {
        let meaning = match appending.attempt() {
            Ok(Ok(())) => return Ok(appended),
            Ok(Err(error)) => return Err(error),
            Err(meaning) => meaning,
        };
        if let Some(error) = appending.handle_failure(meaning) {
            return Err(error);
        }
        if !appending.calls.pause() {
            return Err(AppendError::Unknown);
        }
    }
}

struct Appending<'a, C> {
    calls: &'a mut C,
    batch: &'a Batch,
    head: Position,
    epoch: Epoch,
    /// Whether a call before this one may have been committed.
    is_open: bool,
}

impl<C: Calls> Appending<'_, C> {
    /// Sends the batch once. If an earlier call may have been committed, this is looked up first.
    fn attempt(&mut self) -> Result<Result<(), AppendError>, Meaning> {
        // A batch that has only keys is not looked up: appending it again changes nothing.
        let is_open = self.is_open && !self.batch.records.is_empty();
        if is_open {
            match self.settle()? {
                SettleOutcome::Kept => return Ok(Ok(())),
                SettleOutcome::Error(error) => return Ok(Err(error)),
                SettleOutcome::Missing => {}
            }
        }
        Ok(match self.calls.append()? {
            AppendReply::Kept => Ok(()),
            // The first call may have arrived after its outcome was looked up.
            AppendReply::Behind(_) if is_open => match self.settle()? {
                SettleOutcome::Kept => Ok(()),
                SettleOutcome::Error(error) => Err(error),
                SettleOutcome::Missing => return Err(Meaning::Unknown("the head of the log changed".to_owned())),
            },
            AppendReply::Behind(head) => Err(AppendError::Behind(head)),
            AppendReply::Deposed(epoch) => Err(AppendError::Deposed(epoch)),
            AppendReply::Rejected(error) => Err(error),
        })
    }

    fn settle(&mut self) -> Result<SettleOutcome, Meaning> {
        let LogTail { epoch, head, batch } = self.calls.settle()?;
        Ok(match batch {
            Some(_) if batch == self.batch.id => SettleOutcome::Kept,
            _ if epoch != self.epoch => SettleOutcome::Error(AppendError::Deposed(epoch)),
            None if head.position == self.head => SettleOutcome::Missing,
            Some(_) | None => SettleOutcome::Error(AppendError::Behind(head)),
        })
    }

    /// Returns the error of the append, or `None` if it is tried again.
    fn handle_failure(&mut self, meaning: Meaning) -> Option<AppendError> {
        match meaning {
            Meaning::Unknown(why) => {
                tracing::warn!(why = %why, "the outcome of an append is unknown; the node looks it up");
                self.is_open = true;
                None
            }
            Meaning::Again(why) | Meaning::NotPrimary(why) => {
                tracing::warn!(why = %why, "an append was not carried out; the node tries again");
                None
            }
            Meaning::Full => Some(if self.is_open { AppendError::Unknown } else { AppendError::Full }),
            Meaning::Rewritten(why) => Some(AppendError::Rewritten(why)),
            Meaning::Constraint(why) => Some(self.rejected_by_constraint(why)),
            Meaning::Refused(why) => {
                tracing::error!(why = %why, "the database refuses an append");
                Some(if self.is_open { AppendError::Unknown } else { AppendError::Dead(why) })
            }
        }
    }

    /// Returns the error for a batch that a constraint rejected, which does not say whose record it was.
    fn rejected_by_constraint(&mut self, why: String) -> AppendError {
        match self.calls.find_rejected().and_then(|step| Some((step, self.batch.records.get(step)?))) {
            Some((step, record)) => ensue_store::batch::id_refused(step, record.id),
            None => AppendError::Refused { record: 0, why },
        }
    }
}

/// What became of a batch.
enum SettleOutcome {
    Kept,
    Missing,
    Error(AppendError),
}

#[cfg(test)]
mod tests {
    use ensue_store::memory::MemoryLog;
    use ensue_test_support::records::{LOG, Writer, event};

    use super::*;

    /// A database that gives each answer once, the last one first.
    struct Answers {
        appends: Vec<Result<AppendReply, Meaning>>,
        settles: Vec<Result<LogTail, Meaning>>,
    }

    impl Calls for Answers {
        fn append(&mut self) -> Result<AppendReply, Meaning> {
            self.appends.pop().unwrap()
        }

        fn settle(&mut self) -> Result<LogTail, Meaning> {
            self.settles.pop().unwrap()
        }

        fn find_rejected(&mut self) -> Option<usize> {
            None
        }

        fn pause(&mut self) -> bool {
            true
        }
    }

    #[test]
    fn batch_is_not_sent_again_to_a_log_that_went_back() {
        let batch = Writer::of(&MemoryLog::new(LOG)).batch([event(1)]);
        let found = LogTail { epoch: Epoch(1), head: Head { position: Position(4), ..Head::default() }, batch: None };
        let mut answers = Answers { appends: vec![Err(Meaning::Unknown("no answer".to_owned()))], settles: vec![Ok(found)] };
        let appended = append(&mut answers, &batch, Position(5), Epoch(1));
        assert!(matches!(appended, Err(AppendError::Behind(head)) if head.position == Position(4)), "{appended:?}");
    }
}
