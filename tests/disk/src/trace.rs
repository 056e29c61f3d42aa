//! The trace of a disk: its operations, and a checksum of all of them.
//!
//! The trace holds no content, because SQLite draws some of it at random.

use std::collections::VecDeque;
use std::fmt;

/// How many operations are remembered; the checksum covers all of them.
pub const OPERATIONS_REMEMBERED_MAX: usize = 4096;

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file is opened.
    Open,
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write,
    /// A file is truncated or extended.
    Truncate,
    /// A file is synced.
    Sync,
    /// A file is created.
    Create,
    /// A file is removed.
    Remove,
    /// A file is renamed.
    Rename,
    /// The names in the folder are synced.
    SyncFolder,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It succeeded.
    Done,
    /// It failed and did nothing, except that a failed sync may have written some of the data.
    Failed,
    /// It did a part and then failed.
    Part,
    /// It found no space.
    NoSpace,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number, counted from 1 since the disk was created.
    pub number: u64,
    /// The kind of operation.
    pub kind: Kind,
    /// The file's name; empty for the folder.
    pub file: String,
    /// The offset in the file.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, kind, file, offset, bytes, outcome } = self;
        write!(f, "{number} {kind:?} {file} {bytes} bytes at {offset}: {outcome:?}")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    number: u64,
    sum: u64,
    newest: VecDeque<Operation>,
}

impl Trace {
    /// Returns the number of operations so far.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    pub(crate) fn newest(&self) -> Vec<Operation> {
        self.newest.iter().cloned().collect()
    }

    pub(crate) fn note(&mut self, kind: Kind, file: &str, (offset, bytes): (u64, u64), outcome: Outcome) {
        self.number += 1;
        for byte in file.bytes() {
            self.mix(u64::from(byte));
        }
        for number in [kind as u64, offset, bytes, outcome as u64] {
            self.mix(number);
        }
        if self.newest.len() == OPERATIONS_REMEMBERED_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(Operation { number: self.number, kind, file: file.to_owned(), offset, bytes, outcome });
    }

    /// FNV-1a, a number at a time.
    fn mix(&mut self, number: u64) {
        self.sum = (self.sum ^ number).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(17);
    }
}
