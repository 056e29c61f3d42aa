//! The output of attempts: kept up to a cap, readable while it is written, in a folder or in memory.
//!
//! Output is not in the log. It may be lost with the disk, and it may be removed before its execution is.

mod folder;
mod memory;
mod removed_outputs;

use std::ops::Range;

use ensue_engine::ids::AttemptId;
use ensue_engine::ports::{OutputError, OutputState, OutputStream};

pub use folder::{CHUNK_BYTES, CopyState, FolderOutputs, Now, OutputLimits};
pub use memory::MemoryOutputs;

/// How many bytes of an attempt's two streams are kept together by default: 10 MiB.
pub const OUTPUT_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// The maximum number of bytes read at once: 4 MiB.
pub const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much of an attempt's streams was kept and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OutputCounts {
    kept: [u64; 2],
    dropped: [u64; 2],
}

/// Output from an offset on, before it is known how much of it is new.
#[derive(Clone, Copy)]
struct PrintedPart<'a> {
    attempt: AttemptId,
    stream: OutputStream,
    offset: u64,
    bytes: &'a [u8],
}

impl OutputCounts {
    /// Counts printed output, and returns the range of its bytes to keep: those that are new and for which
    /// there is room.
    fn admit(&mut self, printed: PrintedPart<'_>, bytes_max: u64) -> Result<Range<usize>, OutputError> {
        let PrintedPart { attempt, stream, offset, bytes } = printed;
        let at = index(stream);
        let room = bytes_max.saturating_sub(self.kept.iter().sum());
        // Output after dropped bytes is not kept either: a stream is complete up to its mark.
        let room = if self.dropped[at] > 0 { 0 } else { usize::try_from(room).unwrap_or(usize::MAX) };
        let taken = self.accepted_bytes(stream);
        let missing = offset.saturating_sub(taken);
        if missing > 0 && room > 0 {
            return Err(OutputError::Gap { attempt, taken, offset });
        }
        let known = usize::try_from(taken.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let kept = (bytes.len() - known).min(room);
        self.kept[at] += kept as u64;
        // The missing bytes were printed beyond the cap, so they would not have been kept.
        self.dropped[at] += missing + (bytes.len() - known - kept) as u64;
        Ok(known..known + kept)
    }

    /// Notes how many bytes of a stream were printed in total.
    fn note_printed(&mut self, stream: OutputStream, bytes: u64) {
        self.dropped[index(stream)] += bytes.saturating_sub(self.accepted_bytes(stream));
    }

    /// Returns how many bytes of a stream were printed, as far as is known here.
    fn accepted_bytes(&self, stream: OutputStream) -> u64 {
        self.kept[index(stream)] + self.dropped[index(stream)]
    }

    /// Returns the state of a finished stream.
    fn final_state(&self, stream: OutputStream) -> OutputState {
        match self.dropped[index(stream)] {
            0 => OutputState::Complete,
            bytes_dropped => OutputState::Truncated { bytes_dropped },
        }
    }
}

/// Returns the place of a stream in a pair of values.
pub(crate) fn index(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}
