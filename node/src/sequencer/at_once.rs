//! Attempts that take no time: they end in the batch that starts them, so a chain of them does not wait for the disk
//! at each step.
//!
//! Such an attempt has no effect besides its report. If the batch is not written, neither has happened.

use bytes::Bytes;
use ensue_engine::batch::{BatchInputs, OfferOutcome};
use ensue_engine::command::{Command, Nothing};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::Pace;

use super::Sequencer;
use super::bodies::LoggedBodies;
use super::handle::compress_bodies;

/// The maximum number of attempts that end in one batch before it is written: callers wait for them.
pub(super) const ENDED_MAX: usize = 64;
/// The maximum number of records in a batch that still accepts ends of attempts.
const RECORDS_MAX: usize = 1_000;

impl Sequencer {
    /// Ends the attempts that the batch starts and that take no time, then those that follow from them, up to a limit.
    /// A worker runs the others after the commit. Returns how many have ended.
    pub(super) fn end_at_once(&mut self) -> usize {
        let (mut ended, mut next) = (0, 0);
        while ended < ENDED_MAX && self.sequencing.batch().records.len() < RECORDS_MAX {
            let Some(effect) = self.sequencing.effects().get(next) else { break };
            let Effect::Dispatch(dispatch) = effect else {
                next += 1;
                continue;
            };
            let dispatch = dispatch.clone();
            match self.report_at_once(&dispatch) {
                Some(report) if self.is_taken(&report) => {
                    self.sequencing.drop_effect(next);
                    ended += 1;
                }
                // The log refuses some reports. The worker knows what to report instead.
                Some(_) | None => next += 1,
            }
        }
        ended
    }

    fn report_at_once(&mut self, dispatch: &Dispatch) -> Option<Command> {
        let execution = self.sequencing.engine().executions().get(&dispatch.execution)?;
        if execution.pace != Pace::AtOnce {
            return None;
        }
        let params = self.params_in_batch(dispatch)?;
        // The keys of events are looked up in the log, which only happens for reports of a worker.
        let mut report = self.listener.at_once(dispatch, &params).filter(|report| report.events().is_empty())?;
        compress_bodies(&mut report);
        Some(report)
    }

    /// Returns the parameters of an attempt if its execution was requested in this batch.
    fn params_in_batch(&self, dispatch: &Dispatch) -> Option<Bytes> {
        let index = dispatch.params.at.0.checked_sub(self.sequencing.committed_head().position.next().0)?;
        let record = self.sequencing.batch().records.get(usize::try_from(index).ok()?)?;
        let body = record.body.as_ref().filter(|body| body.digest == dispatch.params.digest)?;
        (self.plain)(body).ok()?
    }

    fn is_taken(&mut self, report: &Command) -> bool {
        let at = self.moment();
        let bodies = LoggedBodies::of(&*self.log, &self.reader, self.plain);
        let beside = BatchInputs { catalogs: &*self.catalogs, bodies: &bodies, seen: &Nothing, settings: &self.settings };
        matches!(self.sequencing.offer(report, &at, &beside), OfferOutcome::Taken { .. })
    }
}
