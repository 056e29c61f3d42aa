//! Lists the attempts whose output was removed, one list per part of the folder, to distinguish removed
//! output from output that never existed.
//!
//! The list itself is bounded: of the oldest attempts it only remembers up to which time they were.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use ensue_engine::ids::{AttemptId, Id};

use crate::sync;

/// The maximum number of attempts that one list names. 256 lists of them take at most 64 MiB.
pub(super) const NAMED_MAX: usize = 16 * 1024;

/// The size of a list's head: the format, and the time up to which attempts may have been forgotten.
const HEAD_BYTES: usize = 16;
const FORM: &[u8; 8] = b"removed1";
const ID_BYTES: usize = 16;

/// The attempts of one part of the folder whose output was removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RemovedOutputs {
    /// In milliseconds. Attempts with older ids may have been removed; nothing else is known about them.
    forgotten_until: u64,
    named: BTreeSet<AttemptId>,
}

impl RemovedOutputs {
    /// Reads a list. Without a file, nothing was removed. A tail torn by a power failure is ignored.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Ok(Self::default()) };
        let (form, until) = head.split_at(FORM.len());
        if form != FORM {
            return Err(io::Error::other("the list of removed outputs was written by another release"));
        }
        let forgotten_until = until.try_into().map_or(0, u64::from_le_bytes);
        let named = rest.chunks_exact(ID_BYTES).filter_map(|id| id.try_into().ok()).map(|id| AttemptId(Id::from_bytes(id))).collect();
        Ok(Self { forgotten_until, named })
    }

    /// Returns true if the output of an attempt was removed, or may have been.
    pub(super) fn has(&self, attempt: AttemptId) -> bool {
        self.named.contains(&attempt) || attempt.0.unix_millis() < self.forgotten_until
    }

    /// Returns true if the list names an attempt.
    pub(super) fn names(&self, attempt: AttemptId) -> bool {
        self.named.contains(&attempt)
    }

    /// Adds attempts to the list. They are on the disk when this returns.
    pub(super) fn add(mut self, path: &Path, attempts: &[AttemptId]) -> io::Result<()> {
        if self.named.len() + attempts.len() <= NAMED_MAX && !self.named.is_empty() {
            let mut file = File::options().append(true).open(path)?;
            // A torn tail must not shift what follows it.
            let torn = (file.metadata()?.len() as usize).saturating_sub(HEAD_BYTES) % ID_BYTES;
            if torn == 0 {
                let ids: Vec<u8> = attempts.iter().flat_map(|attempt| *attempt.0.as_bytes()).collect();
                file.write_all(&ids)?;
                return sync::sync_file(&file, path);
            }
        }
        self.named.extend(attempts);
        // Ids begin with their time, so the first are the oldest.
        let kept = if self.named.len() > NAMED_MAX { NAMED_MAX / 2 } else { NAMED_MAX };
        while self.named.len() > kept {
            let Some(oldest) = self.named.pop_first() else { break };
            self.forgotten_until = self.forgotten_until.max(oldest.0.unix_millis() + 1);
        }
        let mut bytes = FORM.to_vec();
        bytes.extend(self.forgotten_until.to_le_bytes());
        bytes.extend(self.named.iter().flat_map(|attempt| *attempt.0.as_bytes()));
        sync::replace(path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::time::Timestamp;

    use super::*;

    fn attempt(seconds: u64, number: u128) -> AttemptId {
        AttemptId(Id::root(Timestamp::from_micros(1_774_699_200_000_000).plus_millis(seconds * 1_000), number))
    }

    #[test]
    fn added_entries_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("removed");
        assert_eq!(RemovedOutputs::read(&path).unwrap(), RemovedOutputs::default());
        for number in 0..10 {
            RemovedOutputs::read(&path).unwrap().add(&path, &[attempt(number, 1), attempt(number, 2)]).unwrap();
        }
        let removed = RemovedOutputs::read(&path).unwrap();
        assert!((0..10).all(|number| removed.has(attempt(number, 1)) && removed.has(attempt(number, 2))));
        assert!(!removed.has(attempt(3, 3)));
    }

    #[test]
    fn torn_tail_loses_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("removed");
        RemovedOutputs::default().add(&path, &[attempt(1, 1), attempt(2, 1)]).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        RemovedOutputs::read(&path).unwrap().add(&path, &[attempt(3, 1)]).unwrap();
        let removed = RemovedOutputs::read(&path).unwrap();
        assert_eq!([1, 2, 3].map(|second| removed.has(attempt(second, 1))), [true, false, true]);
    }

    #[test]
    fn oldest_entries_are_remembered_only_by_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("removed");
        let all: Vec<AttemptId> = (0..NAMED_MAX as u64).map(|second| attempt(second, 1)).collect();
        RemovedOutputs::default().add(&path, &all[..NAMED_MAX / 2]).unwrap();
        RemovedOutputs::read(&path).unwrap().add(&path, &all[NAMED_MAX / 2..]).unwrap();
        RemovedOutputs::read(&path).unwrap().add(&path, &[attempt(1_000_000, 1)]).unwrap();
        let removed = RemovedOutputs::read(&path).unwrap();
        assert_eq!(removed.named.len(), NAMED_MAX / 2);
        assert!(all.iter().all(|attempt| removed.has(*attempt)) && removed.has(attempt(1_000_000, 1)));
        assert!(!removed.has(attempt(1_000_001, 2)));
    }
}
