//! What attempts print: kept up to a cap, read while it is written, in a folder or in memory.
//!
//! Output is not in the log: it may be lost with the disk, and be thrown away before its execution is.

mod folder;
mod memory;

use ensue_engine::ports::{OutputState, OutputStream};

pub use folder::FolderOutputs;
pub use memory::MemoryOutputs;

/// How many bytes of an attempt's two streams are kept together, where nothing else is said: 10 MiB.
pub const OUTPUT_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// The most bytes that are read at once: 4 MiB.
pub const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much of an attempt's streams was kept and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    kept: [u64; 2],
    dropped: [u64; 2],
}

impl Counts {
    /// Takes note of `bytes` that were printed, and gives how many of them are kept.
    fn admit(&mut self, stream: OutputStream, bytes: usize, bytes_max: u64) -> usize {
        let room = bytes_max.saturating_sub(self.kept.iter().sum());
        // What follows a gap is not kept either: a stream is whole up to its mark.
        let room = if self.dropped[index(stream)] > 0 { 0 } else { usize::try_from(room).unwrap_or(usize::MAX) };
        let kept = bytes.min(room);
        self.kept[index(stream)] += kept as u64;
        self.dropped[index(stream)] += (bytes - kept) as u64;
        kept
    }

    /// Gives the state of a finished stream.
    fn finished(&self, stream: OutputStream) -> OutputState {
        match self.dropped[index(stream)] {
            0 => OutputState::Complete,
            bytes_dropped => OutputState::Truncated { bytes_dropped },
        }
    }
}

fn index(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}
