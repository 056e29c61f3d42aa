//! The space on the disk of the data directory, for the sequencer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::sequencer::Space;

/// How often the free space is checked.
const SPACE_EVERY: Duration = Duration::from_millis(200);

/// The space on the disk of the data directory.
pub(crate) struct DiskSpace {
    /// Returns how many bytes are free, or `None` if the machine does not report that.
    free_bytes: Box<dyn Fn() -> Option<u64> + Send>,
    min_free_bytes: u64,
    seen: Option<(Instant, bool)>,
}

impl DiskSpace {
    /// Checks the disk of a folder, which must have this much free space.
    pub(crate) fn new(folder: PathBuf, min_free_bytes: u64) -> Self {
        let free_bytes = move || rustix::fs::statvfs(&folder).ok().map(|about| about.f_bavail.saturating_mul(about.f_frsize));
        Self { free_bytes: Box::new(free_bytes), min_free_bytes, seen: None }
    }

    fn has_enough_free(&self) -> bool {
        // If a machine does not report its free space, the store reports when it is full.
        (self.free_bytes)().is_none_or(|free| free >= self.min_free_bytes)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const MIN_FREE: u64 = 100;

    /// Returns whether there is room on a disk with so many free bytes, of which a release frees more, and how often it was asked to.
    fn room_with(free: u64, freed: u64) -> (bool, u64) {
        let now = Arc::new(AtomicU64::new(free));
        let seen = now.clone();
        let free_bytes = Box::new(move || Some(seen.load(Ordering::Relaxed)));
        let mut space = DiskSpace { free_bytes, min_free_bytes: MIN_FREE, seen: None };
        let mut releases = 0;
        let has_room = space.has_room(&mut || {
            releases += 1;
            now.fetch_add(freed, Ordering::Relaxed);
        });
        (has_room, releases)
    }

    #[test]
    fn space_that_is_freed_counts_and_nothing_is_freed_while_there_is_room() {
        assert_eq!(room_with(MIN_FREE, 1), (true, 0));
        assert_eq!(room_with(MIN_FREE - 1, 1), (true, 1));
        assert_eq!(room_with(MIN_FREE - 2, 1), (false, 1));
    }
}
