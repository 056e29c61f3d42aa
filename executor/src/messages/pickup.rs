//! Takes in a file from an attempt's private directory, while others may write there.
//!
//! The file must be a plain file with a single name that lies beneath that directory, reached through real
//! folders only. Anything else is refused with its reason. This module does not know the artifact's name.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use ensue_engine::ports::{BlobError, Blobs, KeptBlob};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use thiserror::Error;

use crate::programs::INNER;

/// The number of bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The size of a block in which a file's allocation is counted, in bytes, on every file system.
const BLOCK_BYTES: u64 = 512;

/// A file to take in.
pub(super) struct PickUp {
    /// The attempt's private directory.
    pub(super) directory: PathBuf,
    /// The file's path, as the program states it.
    pub(super) path: String,
    /// The maximum size of the file, in bytes.
    pub(super) bytes_max: u64,
}

/// Why a file is not taken.
#[derive(Debug, Error)]
pub(super) enum PickUpError {
    #[error("`{0}` is not a path inside the attempt's own directory")]
    Outside(String),
    #[error("`{0}` cannot be opened: {1}; links are not followed")]
    Unopened(String, Errno),
    #[error("`{0}` is {1}, not a regular file")]
    NotPlain(String, &'static str),
    #[error("`{0}` has {1} names; a file with more than one is rejected")]
    ManyNames(String, u64),
    #[error("`{0}` has {1} bytes; the limit is {2}")]
    TooLarge(String, u64, u64),
    #[error("`{0}` changed while it was being read; close the file before you report it")]
    Changed(String),
    #[error("`{0}` cannot be read: {1}")]
    Unread(String, std::io::Error),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl PickUp {
    /// Takes the file in. The returned blob is on the disk. Blocks.
    pub(super) fn take(&self, blobs: &dyn Blobs) -> Result<KeptBlob, PickUpError> {
        let name = || self.path.chars().take(200).collect::<String>();
        let beneath = self.beneath().ok_or_else(|| PickUpError::Outside(name()))?;
        let unopened = |errno| PickUpError::Unopened(name(), errno);
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(CWD, &self.directory, folder, Mode::empty()).map_err(unopened)?;
        // Look at it first without opening it: opening something that is not a plain file may have effects.
        let found = open_beneath(&directory, beneath, OFlags::PATH).map_err(unopened)?;
        let about = fstat(&found).map_err(unopened)?;
        let kind = FileType::from_raw_mode(about.st_mode);
        if kind != FileType::RegularFile {
            return Err(PickUpError::NotPlain(name(), describe_kind(kind)));
        }
        let opened = open_beneath(&directory, beneath, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map_err(unopened)?;
        let before = fstat(&opened).map_err(unopened)?;
        if (before.st_dev, before.st_ino) != (about.st_dev, about.st_ino) {
            return Err(PickUpError::Changed(name()));
        }
        if before.st_nlink != 1 {
            return Err(PickUpError::ManyNames(name(), before.st_nlink as u64));
        }
        let size = size(&before);
        if size > self.bytes_max {
            return Err(PickUpError::TooLarge(name(), size, self.bytes_max));
        }
        let length = length(&before);
        let mut file = File::from(opened);
        let mut new = blobs.begin()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut read = 0;
        loop {
            match file.read(&mut chunk).map_err(|error| PickUpError::Unread(name(), error))? {
                0 => break,
                more => {
                    read += more as u64;
                    // The file grows, and its writer might never stop.
                    if read > length {
                        return Err(PickUpError::Changed(name()));
                    }
                    new.write(&chunk[..more])?;
                }
            }
        }
        let after = fstat(&file).map_err(unopened)?;
        if read != length || has_changed(&before, &after) {
            return Err(PickUpError::Changed(name()));
        }
        Ok(new.keep()?)
    }

    /// Returns the path beneath the private directory, or none if it is not a valid path there or belongs to
    /// the files that the action was given.
    fn beneath(&self) -> Option<&Path> {
        let given = Path::new(&self.path);
        let beneath = if given.is_absolute() { given.strip_prefix(&self.directory).ok()? } else { given };
        let is_plain = beneath.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let first = beneath.components().find(|part| matches!(part, Component::Normal(_)))?;
        (is_plain && first.as_os_str() != INNER && !self.path.contains('\0')).then_some(beneath)
    }
}

/// Opens a path beneath a folder without following links.
fn open_beneath(folder: &OwnedFd, beneath: &Path, how: OFlags) -> Result<OwnedFd, Errno> {
    match open_at_once(folder, beneath, how) {
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP) => open_step_by_step(folder, beneath, how),
        opened => opened,
    }
}

#[cfg(target_os = "linux")]
fn open_at_once(folder: &OwnedFd, beneath: &Path, how: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};

    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(folder, beneath, how | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
}

#[cfg(not(target_os = "linux"))]
fn open_at_once(_: &OwnedFd, _: &Path, _: OFlags) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// Does the same step by step, folder by folder, for a kernel that has no call for it, or if a sandbox around
/// this process forbids the call.
fn open_step_by_step(folder: &OwnedFd, beneath: &Path, how: OFlags) -> Result<OwnedFd, Errno> {
    let parts: Vec<_> = beneath.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let (last, folders) = parts.split_last().ok_or(Errno::INVAL)?;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    for part in folders {
        at = Some(openat(at.as_ref().unwrap_or(folder), part.as_os_str(), step, Mode::empty())?);
    }
    openat(at.as_ref().unwrap_or(folder), last.as_os_str(), how | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn length(about: &Stat) -> u64 {
    u64::try_from(about.st_size).unwrap_or(u64::MAX)
}

/// Returns the size that a file takes: its length if it has holes, its blocks if it has more of them than it
/// needs.
fn size(about: &Stat) -> u64 {
    let blocks = u64::try_from(about.st_blocks).unwrap_or(u64::MAX).saturating_mul(BLOCK_BYTES);
    // The last block is never full.
    length(about).max(blocks.saturating_sub(u64::try_from(about.st_blksize).unwrap_or(0)))
}

fn has_changed(before: &Stat, after: &Stat) -> bool {
    let written = |about: &Stat| (about.st_size, about.st_mtime, about.st_mtime_nsec, about.st_nlink);
    written(before) != written(after)
}

fn describe_kind(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::Symlink => "a link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::RegularFile | FileType::Unknown => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::{Arc, Mutex};

    use ensue_engine::ports::{BlobPart, NewBlob};
    use ensue_engine::record::Digest;
    use tempfile::TempDir;

    use super::*;

    const BYTES_MAX: u64 = 100_000;

    #[derive(Clone, Default)]
    struct CollectedBlobs(Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>);

    type Change = Arc<dyn Fn() + Send + Sync>;

    struct New(CollectedBlobs, Vec<u8>, Option<Change>);

    impl NewBlob for New {
        fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
            if let Some(meanwhile) = &self.2 {
                meanwhile();
            }
            self.1.extend_from_slice(bytes);
            Ok(())
        }

        fn keep(self: Box<Self>) -> Result<KeptBlob, BlobError> {
            let kept = KeptBlob { digest: Digest::of(&self.1), bytes: self.1.len() as u64 };
            self.0.0.lock().unwrap().insert(kept.digest, self.1);
            Ok(kept)
        }
    }

    impl Blobs for CollectedBlobs {
        fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
            Ok(Box::new(New(self.clone(), Vec::new(), None)))
        }

        fn read(&self, _: &Digest, _: u64, _: usize) -> Result<Option<BlobPart>, BlobError> {
            Ok(None)
        }
    }

    /// Changes something while a file is being read.
    struct Meanwhile(CollectedBlobs, Change);

    impl Blobs for Meanwhile {
        fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
            Ok(Box::new(New(self.0.clone(), Vec::new(), Some(self.1.clone()))))
        }

        fn read(&self, _: &Digest, _: u64, _: usize) -> Result<Option<BlobPart>, BlobError> {
            Ok(None)
        }
    }

    fn take(folder: &Path, path: &str) -> Result<KeptBlob, PickUpError> {
        PickUp { directory: folder.to_owned(), path: path.to_owned(), bytes_max: BYTES_MAX }.take(&CollectedBlobs::default())
    }

    #[test]
    fn plain_file_below_the_directory_is_collected() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        fs::write(folder.path().join("out/report.csv"), "a,b\n").unwrap();
        let whole = folder.path().join("out/report.csv");
        for path in ["out/report.csv", "./out/./report.csv", whole.to_str().unwrap()] {
            assert_eq!(take(folder.path(), path).unwrap(), KeptBlob { digest: Digest::of(b"a,b\n"), bytes: 4 }, "{path}");
        }
    }

    #[test]
    fn file_outside_of_the_directory_is_rejected() {
        let outer = TempDir::new().unwrap();
        fs::write(outer.path().join("secret"), "s").unwrap();
        let folder = outer.path().join("private");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::create_dir(folder.join(INNER)).unwrap();
        fs::write(folder.join(INNER).join("TOKEN"), "t").unwrap();
        for path in ["../secret", "sub/../../secret", "/etc/hostname", "", ".", "a\0b", ".ensue/TOKEN", "./.ensue/TOKEN"] {
            assert!(matches!(take(&folder, path), Err(PickUpError::Outside(_))), "{path:?}");
        }
    }

    #[test]
    fn links_are_followed_nowhere_in_a_path() {
        let outer = TempDir::new().unwrap();
        fs::write(outer.path().join("secret"), "s").unwrap();
        let folder = outer.path().join("private");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("own"), "o").unwrap();
        symlink("/etc/shadow", folder.join("out")).unwrap();
        symlink(outer.path(), folder.join("up")).unwrap();
        symlink("own", folder.join("alias")).unwrap();
        symlink("/proc/self", folder.join("magic")).unwrap();
        for path in ["out", "up/secret", "alias", "magic/environ"] {
            let refused = take(&folder, path).unwrap_err();
            assert!(matches!(refused, PickUpError::Unopened(..) | PickUpError::NotPlain(..)), "{path}: {refused}");
        }
    }

    #[test]
    fn stepwise_path_resolution_rejects_the_same_paths() {
        let outer = TempDir::new().unwrap();
        fs::write(outer.path().join("secret"), "s").unwrap();
        let folder = outer.path().join("private");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(folder.join("sub/own"), "o").unwrap();
        symlink(outer.path(), folder.join("up")).unwrap();
        symlink("sub/own", folder.join("alias")).unwrap();
        let directory = openat(CWD, &folder, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let open = |path: &str| open_step_by_step(&directory, Path::new(path), OFlags::RDONLY);
        assert!(open("sub/own").is_ok());
        assert!(open("up/secret").is_err() && open("alias").is_err());
    }

    #[test]
    fn special_file_is_rejected_without_blocking() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        rustix::fs::mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        for path in ["folder", "pipe", "socket"] {
            assert!(matches!(take(folder.path(), path), Err(PickUpError::NotPlain(..))), "{path}");
        }
        assert!(matches!(take(folder.path(), "missing"), Err(PickUpError::Unopened(..))));
    }

    #[test]
    fn file_with_a_hard_link_elsewhere_is_rejected() {
        let outer = TempDir::new().unwrap();
        let folder = outer.path().join("private");
        fs::create_dir(&folder).unwrap();
        fs::write(outer.path().join("secret"), "s").unwrap();
        fs::hard_link(outer.path().join("secret"), folder.join("mine")).unwrap();
        assert!(matches!(take(&folder, "mine"), Err(PickUpError::ManyNames(_, 2))));
    }

    #[test]
    fn sparse_file_counts_with_its_length() {
        let folder = TempDir::new().unwrap();
        File::create(folder.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(take(folder.path(), "sparse"), Err(PickUpError::TooLarge(_, size, BYTES_MAX)) if size == 1 << 40));
        File::create(folder.path().join("holes")).unwrap().set_len(BYTES_MAX).unwrap();
        assert_eq!(take(folder.path(), "holes").unwrap().bytes, BYTES_MAX);
    }

    #[test]
    fn file_that_changes_while_it_is_read_is_rejected() {
        let append = |path: &Path| {
            use std::io::Write;
            File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
        };
        // The times of a file advance in steps of some milliseconds.
        let overwrite = |path: &Path| {
            let modified = || fs::metadata(path).unwrap().modified().unwrap();
            let before = modified();
            while modified() == before {
                fs::write(path, vec![2; 3 * CHUNK_BYTES / 2]).unwrap();
            }
        };
        let link = |path: &Path| drop(fs::hard_link(path, path.with_extension("second")));
        let changes: [fn(&Path); 3] = [append, overwrite, link];
        for (name, change) in ["append", "overwrite", "link"].into_iter().zip(changes) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("changing");
            fs::write(&path, vec![1; 3 * CHUNK_BYTES / 2]).unwrap();
            let pick_up = PickUp { directory: folder.path().to_owned(), path: "changing".to_owned(), bytes_max: BYTES_MAX };
            let kept = CollectedBlobs::default();
            let refused = pick_up.take(&Meanwhile(kept.clone(), Arc::new(move || change(&path)))).unwrap_err();
            assert!(matches!(refused, PickUpError::Changed(_)), "{name}: {refused}");
            assert!(kept.0.lock().unwrap().is_empty(), "{name}");
        }
    }
}
