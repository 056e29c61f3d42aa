//! Outputs in memory: for tests, and as a model for the folder.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use ensue_engine::ports::{OutputError, OutputPart, OutputState, OutputStream, Outputs};

use super::{OUTPUT_BYTES_MAX, OutputCounts, PrintedPart, READ_BYTES_MAX, index};

/// Outputs in memory.
pub struct MemoryOutputs {
    bytes_max: u64,
    attempts: Mutex<BTreeMap<AttemptId, MemoryOutput>>,
}

#[derive(Default)]
struct MemoryOutput {
    streams: [Vec<u8>; 2],
    counts: OutputCounts,
    is_finished: bool,
    is_removed: bool,
}

impl MemoryOutputs {
    /// Creates a store that keeps at most `bytes_max` bytes of an attempt's two streams together.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, attempts: Mutex::default() }
    }

    /// Removes the output of a finished attempt.
    pub fn throw_away(&self, attempt: AttemptId) {
        if let Some(printed) = self.attempts().get_mut(&attempt)
            && printed.is_finished
        {
            *printed = MemoryOutput { is_finished: true, is_removed: true, ..MemoryOutput::default() };
        }
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<AttemptId, MemoryOutput>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryOutputs {
    fn default() -> Self {
        Self::new(OUTPUT_BYTES_MAX)
    }
}

impl Outputs for MemoryOutputs {
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        let mut attempts = self.attempts();
        let printed = attempts.entry(attempt).or_default();
        if printed.is_finished {
            // Output that was taken may be reported again.
            let until = offset.saturating_add(bytes.len() as u64);
            let is_known = printed.counts.accepted_bytes(stream) >= until;
            return if is_known { Ok(()) } else { Err(OutputError::Store { attempt, why: "it was finished".to_owned() }) };
        }
        let fresh = printed.counts.admit(PrintedPart { attempt, stream, offset, bytes }, self.bytes_max)?;
        printed.streams[index(stream)].extend_from_slice(&bytes[fresh]);
        Ok(())
    }

    fn accepted_offset(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        Ok(self.attempts().get(&attempt).map_or(0, |printed| printed.counts.accepted_bytes(stream)))
    }

    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError> {
        let mut attempts = self.attempts();
        if bytes == attempts.get(&attempt).map_or(0, |printed| printed.counts.accepted_bytes(stream)) {
            return Ok(());
        }
        let printed = attempts.entry(attempt).or_default();
        if printed.is_finished {
            let is_known = printed.counts.accepted_bytes(stream) >= bytes;
            return if is_known { Ok(()) } else { Err(OutputError::Store { attempt, why: "it was finished".to_owned() }) };
        }
        printed.counts.note_printed(stream, bytes);
        Ok(())
    }

    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError> {
        if let Some(printed) = self.attempts().get_mut(&attempt) {
            printed.is_finished |= printed.counts != OutputCounts::default();
        }
        Ok(())
    }

    fn read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, OutputError> {
        let attempts = self.attempts();
        let Some(printed) = attempts.get(&attempt).filter(|printed| !printed.is_removed) else {
            let state = if attempts.contains_key(&attempt) { OutputState::Removed } else { OutputState::Open };
            return Ok(OutputPart { bytes: Bytes::new(), next: offset, state });
        };
        let kept = &printed.streams[index(stream)];
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(kept.len());
        let end = start.saturating_add(bytes_max.min(READ_BYTES_MAX)).min(kept.len());
        let is_all = printed.is_finished && end == kept.len();
        let state = if is_all { printed.counts.final_state(stream) } else { OutputState::Open };
        Ok(OutputPart { bytes: Bytes::copy_from_slice(&kept[start..end]), next: offset + (end - start) as u64, state })
    }
}
