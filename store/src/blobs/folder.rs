//! Blobs in a folder: one file each, named by the hash of its bytes. A file is written elsewhere in the
//! folder, synced and renamed.
//!
//! A file's time is that of the last attempt that published it. Two artifacts with the same bytes share one
//! file, which is removed when the later of them is due.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ensue_engine::ports::{BlobError, BlobPart, Blobs, KeptBlob, NewBlob};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;

use super::READ_BYTES_MAX;
use crate::disk_retention::{Disposable, PARTS, RetainedThing};
use crate::outputs::Now;
use crate::space::{LOOKED_AT_EVERY_BYTES, blocks, free_bytes};
use crate::sync::{Existing, create_private, existing, make_folder, sync_file, sync_folder};

/// The folder for unfinished files. Opening the store removes what a crash left there.
const NEW: &str = "new";

/// Limits on the stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobLimits {
    /// The maximum of all blobs together.
    pub quota_bytes: u64,
    /// How much of the disk stays free, so that artifacts never take the space that the log needs.
    pub free_bytes: u64,
}

/// Blobs in a folder; a clone is the same store.
#[derive(Clone)]
pub struct FolderBlobs(Arc<Store>);

struct Store {
    folder: PathBuf,
    limits: BlobLimits,
    now: Now,
    /// Returns the free space on a folder's disk.
    free_bytes: fn(&Path) -> u64,
    /// The disk space in use: the last total found, adjusted by changes since.
    used: AtomicU64,
    /// The change in disk space while a round looks. Its lock must be held to rename or remove files.
    since_looked: Mutex<i64>,
    begun: AtomicU64,
}

impl FolderBlobs {
    /// Opens the folder, creating it if necessary.
    pub fn open(folder: &Path, limits: BlobLimits, now: Now) -> io::Result<Self> {
        Self::open_on(folder, limits, now, free_bytes)
    }

    fn open_on(folder: &Path, limits: BlobLimits, now: Now, free_bytes: fn(&Path) -> u64) -> io::Result<Self> {
        let new = folder.join(NEW);
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        make_folder(&new)?;
        let (used, since_looked, begun) = (AtomicU64::new(0), Mutex::new(0), AtomicU64::new(0));
        Ok(Self(Arc::new(Store { folder: folder.to_owned(), limits, now, free_bytes, used, since_looked, begun })))
    }
}

impl Store {
    fn part_path(&self, part: u8) -> PathBuf {
        self.folder.join(format!("{part:02x}"))
    }

    fn path(&self, blob: &Digest) -> PathBuf {
        self.part_path(blob.as_bytes()[0]).join(blob.to_string())
    }

    fn changing(&self) -> MutexGuard<'_, i64> {
        self.since_looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Demands room for a blob of `whole` bytes, `unwritten` of which are not on the disk yet.
    fn demand_room(&self, SpaceNeed { whole, unwritten }: SpaceNeed) -> Result<(), BlobError> {
        let used = self.used.load(Ordering::Relaxed);
        if used.saturating_add(whole) > self.limits.quota_bytes {
            return Err(BlobError::Full(format!("{used} bytes are stored, and the quota is {}", self.limits.quota_bytes)));
        }
        let free = (self.free_bytes)(&self.folder);
        if free.saturating_sub(unwritten) < self.limits.free_bytes {
            return Err(BlobError::Full(format!(
                "{free} bytes of the disk are free, but {} are reserved for the log",
                self.limits.free_bytes
            )));
        }
        Ok(())
    }

    /// Renames a synced file to its final path. It replaces an existing file, which may be damaged.
    fn put(&self, beside: &Path, kept: KeptBlob) -> io::Result<()> {
        let path = self.path(&kept.digest);
        let part = self.part_path(kept.digest.as_bytes()[0]);
        let mut since_looked = self.changing();
        File::options().append(true).open(beside)?.set_modified(system_time((self.now)()))?;
        make_folder(&part)?;
        let before = existing(fs::metadata(&path))?.map_or(0, |about| blocks(about.len()));
        fs::rename(beside, &path)?;
        let grown = blocks(kept.bytes) as i64 - before as i64;
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_add_signed(grown)));
        *since_looked += grown;
        self.make_last(&part)
    }

    fn make_last(&self, part: &Path) -> io::Result<()> {
        sync_folder(part)?;
        sync_folder(&self.folder)
    }
}

/// The space that a blob needs.
#[derive(Clone, Copy)]
struct SpaceNeed {
    /// Its size in bytes.
    whole: u64,
    /// The bytes that are not on the disk yet.
    unwritten: u64,
}

/// A file that is being written. It is removed if it is dropped before it is kept.
struct New {
    store: Arc<Store>,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
    looked_at: u64,
    is_kept: bool,
}

impl NewBlob for New {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        if self.bytes + bytes.len() as u64 > self.looked_at {
            self.looked_at = self.bytes + (bytes.len() as u64).max(LOOKED_AT_EVERY_BYTES);
            self.store.demand_room(SpaceNeed { whole: self.bytes + bytes.len() as u64, unwritten: bytes.len() as u64 })?;
        }
        self.file.write_all(bytes).map_err(|error| blob_error(&error))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn keep(mut self: Box<Self>) -> Result<KeptBlob, BlobError> {
        self.store.demand_room(SpaceNeed { whole: self.bytes, unwritten: 0 })?;
        sync_file(&self.file, &self.path).map_err(|error| blob_error(&error))?;
        let kept = KeptBlob { digest: Digest::from_bytes(*self.hasher.finalize().as_bytes()), bytes: self.bytes };
        self.store.put(&self.path, kept).map_err(|error| blob_error(&error))?;
        self.is_kept = true;
        Ok(kept)
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.is_kept {
            // If this fails, the next opening removes the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Blobs for FolderBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed);
        let path = self.0.folder.join(NEW).join(number.to_string());
        let file = create_private(&path, Existing::Replaced).map_err(|error| blob_error(&error))?;
        let hasher = blake3::Hasher::new();
        Ok(Box::new(New { store: self.0.clone(), path, file, hasher, bytes: 0, looked_at: 0, is_kept: false }))
    }

    fn read(&self, blob: &Digest, offset: u64, bytes_max: usize) -> Result<Option<BlobPart>, BlobError> {
        let read = || -> io::Result<Option<BlobPart>> {
            let Some(file) = existing(File::open(self.0.path(blob)))? else { return Ok(None) };
            let size = file.metadata()?.len();
            let room = size.saturating_sub(offset).min(bytes_max.min(READ_BYTES_MAX) as u64);
            let mut bytes = vec![0; room as usize];
            file.read_exact_at(&mut bytes, offset.min(size))?;
            Ok(Some(BlobPart { bytes: Bytes::from(bytes), size }))
        };
        read().map_err(|error| blob_error(&error))
    }
}

impl Disposable for FolderBlobs {
    type Name = Digest;

    fn begin_round(&self) {
        *self.0.changing() = 0;
    }

    fn look_at(&self, part: u8) -> io::Result<Vec<RetainedThing<Digest>>> {
        let Some(entries) = existing(fs::read_dir(self.0.part_path(part)))? else { return Ok(Vec::new()) };
        let mut kept = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some(about) = existing(entry.metadata())? else { continue };
            kept.push(RetainedThing { name, bytes: blocks(about.len()), since: Some(timestamp(about.modified()?)) });
        }
        Ok(kept)
    }

    fn throw_away(&self, _: u8, things: &[RetainedThing<Digest>]) -> io::Result<u64> {
        let mut freed = 0;
        for thing in things {
            let path = self.0.path(&thing.name);
            let _changing = self.0.changing();
            // It may have been published again in the meantime.
            let Some(about) = existing(fs::metadata(&path))? else { continue };
            if Some(timestamp(about.modified()?)) == thing.since {
                fs::remove_file(&path)?;
                freed += thing.bytes;
            }
        }
        let _ = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(freed)));
        Ok(freed)
    }

    fn note_usage(&self, bytes: u64) {
        let came = std::mem::take(&mut *self.0.changing());
        self.0.used.store(bytes.saturating_add_signed(came), Ordering::Relaxed);
    }

    fn used_bytes(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let micros = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    Timestamp::from_micros(micros)
}

fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(time.micros()).unwrap_or(0))
}

fn blob_error(error: &io::Error) -> BlobError {
    BlobError::Store(error.to_string())
}

const _: () = assert!(PARTS == 1 << u8::BITS, "a part is one byte of a hash");

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::AtomicU64 as Seconds;

    use super::*;
    use crate::disk_retention::{RetentionLimits, Round, Step};
    use crate::space::BLOCK_BYTES;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
    const LIMITS: BlobLimits = BlobLimits { quota_bytes: 1 << 30, free_bytes: 0 };

    struct Site {
        folder: tempfile::TempDir,
        seconds: Arc<Seconds>,
    }

    impl Site {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), seconds: Arc::default() }
        }

        fn open(&self, limits: BlobLimits) -> FolderBlobs {
            let seconds = self.seconds.clone();
            let now: Now = Arc::new(move || NOON.plus_millis(seconds.load(Ordering::Relaxed) * 1_000));
            FolderBlobs::open(self.folder.path(), limits, now).unwrap()
        }

        fn round(&self, blobs: &FolderBlobs, keep_seconds: u64) -> u64 {
            let limits = RetentionLimits { quota_bytes: LIMITS.quota_bytes, keep: Some(Duration::from_secs(keep_seconds)) };
            let mut round = Round::begin(limits, NOON.plus_millis(self.seconds.load(Ordering::Relaxed) * 1_000));
            loop {
                if let Step::Over(thrown) = round.step(blobs).unwrap() {
                    return thrown.things;
                }
            }
        }
    }

    fn keep(blobs: &FolderBlobs, bytes: &[u8]) -> Result<KeptBlob, BlobError> {
        let mut new = blobs.begin()?;
        new.write(bytes)?;
        new.keep()
    }

    #[test]
    fn blob_file_is_private_and_named_by_its_hash() {
        let site = Site::new();
        let kept = keep(&site.open(LIMITS), b"hello").unwrap();
        let path = site.folder.path().join(&Digest::of(b"hello").to_string()[..2]).join(kept.digest.to_string());
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(site.folder.path().join(NEW)).unwrap().count(), 0);
    }

    #[test]
    fn unfinished_blob_leaves_nothing() {
        let site = Site::new();
        let blobs = site.open(LIMITS);
        let mut new = blobs.begin().unwrap();
        new.write(b"half").unwrap();
        drop(new);
        assert_eq!(fs::read_dir(site.folder.path().join(NEW)).unwrap().count(), 0);
        std::mem::forget(blobs.begin().unwrap());
        site.open(LIMITS);
        assert_eq!(fs::read_dir(site.folder.path().join(NEW)).unwrap().count(), 0);
    }

    #[test]
    fn shared_blob_is_removed_with_the_later_of_its_artifacts() {
        let site = Site::new();
        let blobs = site.open(LIMITS);
        let shared = keep(&blobs, b"shared").unwrap().digest;
        let alone = keep(&blobs, b"alone").unwrap().digest;
        assert_eq!(blobs.used_bytes(), 2 * BLOCK_BYTES);
        site.seconds.store(3_600, Ordering::Relaxed);
        keep(&blobs, b"shared").unwrap();
        assert_eq!(blobs.used_bytes(), 2 * BLOCK_BYTES);
        site.seconds.store(3_700, Ordering::Relaxed);
        assert_eq!(site.round(&blobs, 3_600), 1);
        assert!(blobs.read(&alone, 0, 10).unwrap().is_none());
        assert_eq!(blobs.read(&shared, 0, 10).unwrap().unwrap().bytes, "shared");
        site.seconds.store(7_300, Ordering::Relaxed);
        assert_eq!(site.round(&blobs, 3_600), 1);
        assert!(blobs.read(&shared, 0, 10).unwrap().is_none());
        assert_eq!(blobs.used_bytes(), 0);
    }

    #[test]
    fn blob_stored_again_since_the_listing_stays() {
        let site = Site::new();
        let blobs = site.open(LIMITS);
        let digest = keep(&blobs, b"again").unwrap().digest;
        let part = digest.as_bytes()[0];
        let seen = blobs.look_at(part).unwrap();
        site.seconds.store(60, Ordering::Relaxed);
        keep(&blobs, b"again").unwrap();
        assert_eq!(blobs.throw_away(part, &seen).unwrap(), 0);
        assert!(blobs.read(&digest, 0, 1).unwrap().is_some());
    }

    #[test]
    fn blob_over_the_quota_is_rejected() {
        let site = Site::new();
        let blobs = site.open(BlobLimits { quota_bytes: 3 * BLOCK_BYTES, free_bytes: 0 });
        keep(&blobs, &[1; 5_000]).unwrap();
        assert!(matches!(keep(&blobs, &[2; 5_000]), Err(BlobError::Full(_))));
        assert_eq!(fs::read_dir(site.folder.path().join(NEW)).unwrap().count(), 0);
    }

    #[test]
    fn artifacts_leave_disk_space_to_the_log() {
        let site = Site::new();
        let blobs = site.open(BlobLimits { free_bytes: u64::MAX, ..LIMITS });
        assert!(matches!(keep(&blobs, b"x"), Err(BlobError::Full(_))));
    }

    /// A disk of 100 KiB with nothing else on it.
    fn free_of_a_small_disk(folder: &Path) -> u64 {
        let new = fs::read_dir(folder.join(NEW)).unwrap();
        100 * 1024 - new.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>()
    }

    #[test]
    fn existing_blob_does_not_need_space_again() {
        let site = Site::new();
        let limits = BlobLimits { free_bytes: 30 * 1024, ..LIMITS };
        let blobs = FolderBlobs::open_on(site.folder.path(), limits, Arc::new(|| NOON), free_of_a_small_disk).unwrap();
        assert!(keep(&blobs, &[1; 60 * 1024]).is_ok());
        assert!(matches!(keep(&blobs, &[2; 80 * 1024]), Err(BlobError::Full(_))));
    }

    #[test]
    fn damaged_file_is_repaired_by_storing_the_same_content_again() {
        let site = Site::new();
        let blobs = site.open(LIMITS);
        let digest = keep(&blobs, b"whole").unwrap().digest;
        let longer = [7; BLOCK_BYTES as usize + 1];
        for damaged in [&b"who"[..], b"whale", &longer] {
            fs::write(blobs.0.path(&digest), damaged).unwrap();
            keep(&blobs, b"whole").unwrap();
            assert_eq!(blobs.read(&digest, 0, 10).unwrap().unwrap().bytes, "whole");
        }
        assert_eq!(fs::read_dir(site.folder.path().join(NEW)).unwrap().count(), 0);
    }
}
