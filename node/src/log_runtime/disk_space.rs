//! The space on the disk of the data directory, for the sequencer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::sequencer::Space;

/// How often the free space is checked.
const SPACE_EVERY: Duration = Duration::from_millis(200);

/// The space on the disk of the data directory.
pub(crate) struct DiskSpace {
    folder: PathBuf,
    min_free_bytes: u64,
    seen: Option<(Instant, bool)>,
}

impl DiskSpace {
    /// Checks the disk of a folder, which must have this much free space.
    pub(crate) fn new(folder: PathBuf, min_free_bytes: u64) -> Self {
        Self { folder, min_free_bytes, seen: None }
    }

    fn has_enough_free(&self) -> bool {
        // If a machine does not report its free space, the store reports when it is full.
        rustix::fs::statvfs(&self.folder).map_or(true, |about| about.f_bavail.saturating_mul(about.f_frsize) >= self.min_free_bytes)
    }
}

impl Space for DiskSpace {
    fn has_room(&mut self, release: &mut dyn FnMut()) -> bool {
        if let Some((seen, has_room)) = self.seen
            && seen.elapsed() < SPACE_EVERY
        {
            return has_room;
        }
        let mut has_room = self.has_enough_free();
        if !has_room {
            release();
            has_room = self.has_enough_free();
        }
        self.seen = Some((Instant::now(), has_room));
        has_room
    }

    fn was_full(&mut self) {
        self.seen = Some((Instant::now(), false));
    }
}
