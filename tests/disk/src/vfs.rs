//! SQLite's access to the disks: a virtual file system that is registered once.
//!
//! It decides nothing: the disk decides what an operation does and whether it fails.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

// This crate provides SQLite's functions, which the virtual file system calls.
use rusqlite as _;
use sqlite_vfs::wip::{WalIndex, WalIndexLock};
use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenKind, OpenOptions, Vfs};

use crate::disk::{Disk, Handle, Names, Opening};
use crate::locks::REGION_BYTES;
use crate::paths::find_disk;

/// The name under which SQLite knows these disks.
pub const VFS: &str = "ensue-disk";

pub(crate) fn register() {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| sqlite_vfs::register(VFS, Disks, false).expect("a new name is taken by SQLite"));
}

struct Disks;

impl Vfs for Disks {
    type Handle = OpenFile;

    fn open(&self, path: &str, options: OpenOptions) -> io::Result<OpenFile> {
        let (disk, name) = find_disk(Path::new(path))?;
        let opening = match options.access {
            OpenAccess::Read | OpenAccess::Write => Opening::There,
            OpenAccess::Create => Opening::Made,
            OpenAccess::CreateNew => Opening::MadeNew,
        };
        let names = match options.kind {
            OpenKind::Wal | OpenKind::MainJournal | OpenKind::SuperJournal => Names::Too,
            OpenKind::MainDb | OpenKind::TempDb | OpenKind::TempJournal | OpenKind::TransientDb | OpenKind::SubJournal => Names::Not,
        };
        let handle = disk.open(&name, opening)?;
        Ok(OpenFile { disk, handle, names })
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        let (disk, name) = find_disk(Path::new(path))?;
        disk.remove(&name)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        let (disk, name) = find_disk(Path::new(path))?;
        Ok(disk.exists(&name))
    }

    fn access(&self, path: &str, _: bool) -> io::Result<bool> {
        self.exists(path)
    }

    fn temporary_name(&self) -> String {
        // Temporary tables are kept in memory; a file for one has no disk and is rejected.
        String::new()
    }

    fn random(&self, buffer: &mut [i8]) {
        buffer.fill(0);
    }

    /// Another thread may be about to release the lock: SQLite asks a hundred times for a reader's place,
    /// then fails.
    fn sleep(&self, duration: Duration) -> Duration {
        std::thread::sleep(duration);
        duration
    }
}

struct OpenFile {
    disk: Disk,
    handle: Handle,
    /// Whether the next sync also syncs the names.
    names: Names,
}

impl DatabaseHandle for OpenFile {
    type WalIndex = Index;

    fn size(&self) -> io::Result<u64> {
        self.disk.size(self.handle)
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read(self.handle, buffer, offset)
    }

    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write(self.handle, bytes, offset)
    }

    fn sync(&mut self, _: bool) -> io::Result<()> {
        self.disk.sync(self.handle, self.names)?;
        self.names = Names::Not;
        Ok(())
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.disk.set_len(self.handle, size)
    }

    fn lock(&mut self, lock: LockKind) -> io::Result<bool> {
        self.disk.locks(self.handle, |locks| locks.set(self.handle.id, lock))
    }

    fn reserved(&mut self) -> io::Result<bool> {
        self.disk.locks(self.handle, |locks| locks.is_reserved())
    }

    fn current_lock(&self) -> io::Result<LockKind> {
        self.disk.locks(self.handle, |locks| locks.of(self.handle.id))
    }

    fn wal_index(&self, is_read_only: bool) -> io::Result<Index> {
        if is_read_only {
            return Err(ErrorKind::PermissionDenied.into());
        }
        self.disk.locks(self.handle, |locks| locks.open_index(self.handle.id))?;
        Ok(Index { disk: self.disk.clone(), handle: self.handle, pulled: BTreeMap::new() })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.disk.close(self.handle);
    }
}

/// A connection's copy of the index of the write-ahead log.
struct Index {
    disk: Disk,
    handle: Handle,
    /// The regions as the connection read them; its own changes are the differences from these.
    pulled: BTreeMap<u32, Box<[u8; REGION_BYTES]>>,
}

/// The unit in which SQLite changes the index.
const WORD_BYTES: usize = 4;

impl WalIndex for Index {
    fn map(&mut self, region: u32) -> io::Result<[u8; REGION_BYTES]> {
        let data = self.disk.locks(self.handle, |locks| *locks.region(region))?;
        self.pulled.insert(region, Box::new(data));
        Ok(data)
    }

    fn lock(&mut self, slots: Range<u8>, lock: WalIndexLock) -> io::Result<bool> {
        self.disk.locks(self.handle, |locks| locks.set_slots(self.handle.id, slots, lock))
    }

    fn delete(self) -> io::Result<()> {
        self.disk.locks(self.handle, |locks| locks.forget_index())
    }

    fn pull(&mut self, region: u32, data: &mut [u8; REGION_BYTES]) -> io::Result<()> {
        self.disk.locks(self.handle, |locks| *data = *locks.region(region))?;
        self.pulled.insert(region, Box::new(*data));
        Ok(())
    }

    fn push(&mut self, region: u32, data: &[u8; REGION_BYTES]) -> io::Result<()> {
        let pulled = self.pulled.entry(region).or_insert_with(|| Box::new([0; REGION_BYTES]));
        // Other connections may have changed other words in the meantime: a reader notes how far it reads
        // while a writer commits.
        self.disk.locks(self.handle, |locks| {
            let words = data.chunks_exact(WORD_BYTES).zip(pulled.chunks_exact(WORD_BYTES));
            for ((new, old), shared) in words.zip(locks.region(region).chunks_exact_mut(WORD_BYTES)) {
                if new != old {
                    shared.copy_from_slice(new);
                }
            }
        })?;
        **pulled = *data;
        Ok(())
    }
}
