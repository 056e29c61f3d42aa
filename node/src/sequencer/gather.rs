//! Gathering: selects which of the waiting commands go into the next batch.
//!
//! The core decides what a batch does with them.

use std::sync::mpsc::TryRecvError;

use ensue_engine::command::{Command, Precedence};

use super::Sequencer;
use super::handle::{SequencerMessage, WaitingCommand};
use super::start_rates::contended_slots;

/// The maximum number of commands in one batch: a caller waits for the other commands of the batch, but not forever.
pub(super) const BATCH_COMMANDS_MAX: usize = 512;
/// The size of a batch in bytes at which no further command is added to it.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The minimum number of commands from outside in a batch, whatever else waits.
const COMMANDS_FROM_OUTSIDE_MIN: usize = 8;

impl Sequencer {
    /// Takes the commands of the next batch. Commands that the log itself leads to, such as reports, go first, but never alone. While
    /// executions wait for a slot, no more commands are taken from outside than slots can become free. Otherwise batches grow, reports are
    /// delayed behind them, and accepted work is never finished.
    pub(super) fn gather(&mut self) -> Vec<WaitingCommand> {
        let mut inside = Vec::new();
        if let Some(item) = self.came.take() {
            self.sort(item, &mut inside);
        }
        while inside.len() < BATCH_COMMANDS_MAX && self.outside.len() < BATCH_COMMANDS_MAX {
            match self.receiver.try_recv() {
                Ok(item) => self.sort(item, &mut inside),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.is_stopping = true;
                    break;
                }
            }
        }
        let most = if inside.len() >= BATCH_COMMANDS_MAX {
            // More of the log's own commands may wait after these, and a wide workflow may lead to more for minutes:
            // others are accepted in between.
            COMMANDS_FROM_OUTSIDE_MIN
        } else {
            let slots = contended_slots(self.sequencing.engine(), &self.settings);
            slots.map_or(BATCH_COMMANDS_MAX, |slots| (slots as usize).max(COMMANDS_FROM_OUTSIDE_MIN))
        };
        let mut bytes = 0;
        for _ in 0..most {
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
            let Some(waiting) = self.outside.pop_front() else { break };
            bytes += waiting.bytes;
            inside.push(waiting);
        }
        inside
    }

    fn sort(&mut self, item: SequencerMessage, inside: &mut Vec<WaitingCommand>) {
        match item {
            SequencerMessage::Command(waiting) if comes_from_inside(&waiting.command) => inside.push(waiting),
            SequencerMessage::Command(waiting) => self.outside.push_back(waiting),
            SequencerMessage::TellQueues(tell, held) => {
                let told = self.rates.report(self.sequencing.engine(), self.clock.now(), &self.settings);
                drop(held);
                // The caller may have gone.
                let _ = tell.try_send(told);
            }
            SequencerMessage::ReleaseCaches(_held) => {
                self.log.release_caches();
                self.sequencing.release_caches();
                *self.reader.borrow_mut() = None;
            }
            SequencerMessage::Stop => self.is_stopping = true,
        }
    }
}

/// Returns true if the command comes into a batch before those from outside.
pub(super) fn comes_from_inside(command: &Command) -> bool {
    command.ask.precedence() == Precedence::First
}

#[cfg(test)]
mod tests {
    use ensue_engine::command::{Ask, DedupeKey, RequestKey};
    use ensue_engine::ids::{ExecutionId, Id};
    use ensue_engine::record::Digest;
    use ensue_engine::time::Timestamp;

    use super::*;

    #[test]
    fn cancel_with_an_idempotency_key_is_taken_before_other_commands() {
        let id = ExecutionId(Id::root(Timestamp::from_micros(1), 1));
        let hash = Digest::of(b"key");
        let once = |ask: Ask| {
            let request = RequestKey { key: DedupeKey { scope: "requests/ana".to_owned(), hash }, content: hash };
            Ask::Once { request, ask: Box::new(ask) }
        };
        assert_eq!(once(Ask::CancelExecution { execution: id }).precedence(), Precedence::First);
        assert_eq!(once(Ask::ReceiveEvents(Vec::new())).precedence(), Precedence::Later);
    }
}
