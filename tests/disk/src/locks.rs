//! The locks that SQLite's connections hold on a file, and the index of its write-ahead log that they share.
//!
//! Both belong to one process and disappear with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sqlite_vfs::LockKind;
use sqlite_vfs::wip::WalIndexLock;

/// The size of one region of the index.
pub(crate) const REGION_BYTES: usize = 32768;

/// The identity of a connection's handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HandleId(pub(crate) u64);

#[derive(Default)]
pub(crate) struct Locks {
    held: BTreeMap<HandleId, LockKind>,
    /// The handles that have the index open.
    indexed: BTreeSet<HandleId>,
    regions: Vec<Box<[u8; REGION_BYTES]>>,
    exclusive: BTreeMap<u8, HandleId>,
    shared: BTreeMap<u8, BTreeSet<HandleId>>,
}

impl Locks {
    pub(crate) fn of(&self, handle: HandleId) -> LockKind {
        self.held.get(&handle).copied().unwrap_or(LockKind::None)
    }

    /// Raises or lowers a connection's lock. Returns true on success.
    pub(crate) fn set(&mut self, handle: HandleId, wanted: LockKind) -> bool {
        let mut others = self.held.iter().filter(|(other, _)| **other != handle).map(|(_, lock)| *lock);
        let is_free = match wanted {
            LockKind::None => true,
            LockKind::Shared => {
                self.of(handle) != LockKind::None || !others.any(|lock| matches!(lock, LockKind::Pending | LockKind::Exclusive))
            }
            LockKind::Reserved | LockKind::Pending => {
                !others.any(|lock| matches!(lock, LockKind::Reserved | LockKind::Pending | LockKind::Exclusive))
            }
            LockKind::Exclusive => !others.any(|lock| lock != LockKind::None),
        };
        match (is_free, wanted) {
            (true, LockKind::None) => {
                self.held.remove(&handle);
            }
            (true, _) => {
                self.held.insert(handle, wanted);
            }
            (false, _) => {}
        }
        is_free
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.held.values().any(|lock| matches!(lock, LockKind::Reserved | LockKind::Pending | LockKind::Exclusive))
    }

    /// Locks or unlocks slots of the index. Returns true on success.
    pub(crate) fn set_slots(&mut self, handle: HandleId, slots: Range<u8>, wanted: WalIndexLock) -> bool {
        let is_free = slots.clone().all(|slot| {
            let is_mine = self.exclusive.get(&slot).is_none_or(|holder| *holder == handle);
            let mut readers = self.shared.get(&slot).into_iter().flatten();
            match wanted {
                WalIndexLock::None => true,
                WalIndexLock::Shared => is_mine,
                WalIndexLock::Exclusive => is_mine && !readers.any(|reader| *reader != handle),
            }
        });
        if is_free {
            for slot in slots {
                self.release_slot(handle, slot);
                match wanted {
                    WalIndexLock::None => {}
                    WalIndexLock::Shared => {
                        self.shared.entry(slot).or_default().insert(handle);
                    }
                    WalIndexLock::Exclusive => {
                        self.exclusive.insert(slot, handle);
                    }
                }
            }
        }
        is_free
    }

    /// Opens the index. The first to open it starts with an empty one, as on a real machine, because an
    /// earlier index may no longer match the files.
    pub(crate) fn open_index(&mut self, handle: HandleId) {
        if self.indexed.is_empty() {
            self.forget_index();
        }
        self.indexed.insert(handle);
    }

    /// Returns a region of the index and creates it if necessary.
    pub(crate) fn region(&mut self, number: u32) -> &mut [u8; REGION_BYTES] {
        let number = number as usize;
        while self.regions.len() <= number {
            self.regions.push(Box::new([0; REGION_BYTES]));
        }
        &mut self.regions[number]
    }

    pub(crate) fn forget_index(&mut self) {
        self.regions.clear();
    }

    /// Releases everything that a connection holds.
    pub(crate) fn release(&mut self, handle: HandleId) {
        self.held.remove(&handle);
        self.indexed.remove(&handle);
        self.exclusive.retain(|_, holder| *holder != handle);
        for readers in self.shared.values_mut() {
            readers.remove(&handle);
        }
    }

    fn release_slot(&mut self, handle: HandleId, slot: u8) {
        if self.exclusive.get(&slot) == Some(&handle) {
            self.exclusive.remove(&slot);
        }
        if let Some(readers) = self.shared.get_mut(&slot) {
            readers.remove(&handle);
        }
    }
}
