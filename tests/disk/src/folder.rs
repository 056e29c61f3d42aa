//! The names in a folder. A power cut leaves them as they were at some moment since they were last synced.
//!
//! File systems keep changes of names in order, so no other mixture is possible.

use std::collections::BTreeMap;

use crate::random::Random;

/// The identity of a file, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) u64);

type Names = BTreeMap<String, FileId>;

#[derive(Debug, Default)]
pub(crate) struct Folder {
    now: Names,
    /// The names at the last sync, and after each change since.
    since: Vec<Names>,
}

impl Folder {
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, FileId)> {
        self.now.iter().map(|(name, file)| (name.as_str(), *file))
    }

    pub(crate) fn file(&self, name: &str) -> Option<FileId> {
        self.now.get(name).copied()
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Names)) {
        self.since.push(self.now.clone());
        change(&mut self.now);
    }

    pub(crate) fn sync(&mut self) {
        self.since.clear();
    }

    /// Goes back to some moment since the last sync. Returns how many changes were lost.
    pub(crate) fn cut_power(&mut self, random: &mut Random) -> u64 {
        let mut moments = std::mem::take(&mut self.since);
        let chosen = random.below(moments.len() as u64 + 1) as usize;
        if chosen == moments.len() {
            return 0;
        }
        let lost = moments.len() - chosen;
        self.now = moments.swap_remove(chosen);
        lost as u64
    }
}
