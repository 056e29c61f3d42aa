//! The data directory: one folder on a local disk, used by one process at a time.
//!
//! This module defines where everything is; the stores define the contents. What must not be stored with the
//! data, the master key and the outside head, is in the state folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::explain::Explain;
use rustix::process::{Pid, test_kill_process};
use thiserror::Error;

use crate::{spare_file, sync};

/// How long to wait for a lock whose process has ended: a program that this process was just starting has a
/// copy of the lock until it runs.
const COPY_PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A data directory that this process owns until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process uses it.
    #[error("the data directory {} is in use by process {holder}", .path.display())]
    #[explain(slug = "data-in-use", fault = Conflict,
        hint = "use --server URL to connect to the node that uses it, or stop that node first")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process id of the other one; `unknown` if it has not written it yet.
        holder: String,
    },
    /// It does not lie on a local disk.
    #[error("the data directory {} is on {kind}, which does not support reliable locks and syncs", .path.display())]
    #[explain(slug = "data-not-local", fault = Conflict, hint = "use --data to name a directory on a local disk")]
    NotLocal {
        /// The directory.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// It is unusable for another reason.
    #[error("the data directory {} cannot be used: {source}", .path.display())]
    #[explain(slug = "data-unusable", fault = World)]
    Unusable {
        /// The directory, or the unusable part of it.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

impl DataDir {
    /// Locks the directory, creating it if necessary.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source: io::Error| DataDirError::Unusable { path: path.to_owned(), source };
        if !path.exists() {
            sync::create_folder(path).map_err(unusable)?;
        }
        let path = fs::canonicalize(path).map_err(unusable)?;
        demand_local(&path)?;
        let lock = lock(&path)?;
        Ok(Self { path, lock })
    }

    /// Returns the directory's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The records and the dedupe keys.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.sqlite")
    }

    /// The id of the log that the directory belongs to, if that log is in a database.
    pub fn log_elsewhere(&self) -> PathBuf {
        self.path.join("log-elsewhere")
    }

    /// The sealed secrets.
    pub fn vault(&self) -> PathBuf {
        self.path.join("vault.sqlite")
    }

    /// The views, which may be lost and rebuilt.
    pub fn views(&self) -> PathBuf {
        self.path.join("views.sqlite")
    }

    /// The immutable copies of packs, one folder per digest.
    pub fn packs(&self) -> PathBuf {
        self.path.join("packs")
    }

    /// The output of attempts.
    pub fn outputs(&self) -> PathBuf {
        self.path.join("outputs")
    }

    /// Files, by their content.
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// The checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The attempts that reached the outside world.
    pub fn begun_attempts(&self) -> PathBuf {
        self.path.join("begun")
    }

    /// The actions of polls that reached the outside world.
    pub fn polls_begun(&self) -> PathBuf {
        self.path.join("polls_begun")
    }

    /// The last deliveries at each hook, which may be lost.
    pub fn deliveries(&self) -> PathBuf {
        self.path.join("deliveries")
    }

    /// Notes on the folding of the views, for the process that follows one that the folding ended.
    pub fn views_crash(&self) -> PathBuf {
        self.path.join("views-crash.json")
    }

    /// The key that signs the cursors of lists.
    pub fn cursor_key(&self) -> PathBuf {
        self.path.join("cursor.key")
    }

    /// What the supervisors of running programs keep.
    pub fn supervisors(&self) -> PathBuf {
        self.path.join("supervisors")
    }

    /// The report of the last crash.
    pub fn crash(&self) -> PathBuf {
        self.path.join("crash.json")
    }

    /// Returns how many bytes are free for this process on the directory's disk.
    pub fn free_bytes(&self) -> Result<u64, DataDirError> {
        match rustix::fs::statvfs(&self.path) {
            Ok(about) => Ok(about.f_bavail.saturating_mul(about.f_frsize)),
            Err(errno) => Err(DataDirError::Unusable { path: self.path.clone(), source: errno.into() }),
        }
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing is not enough, because a process with a copy would still hold the lock. If this fails, the
        // end of the process releases it.
        let _ = self.lock.unlock();
    }
}

/// Takes the lock. The kernel releases it when the process ends, however it ends, and every process with a
/// copy as well.
fn lock(folder: &Path) -> Result<File, DataDirError> {
    let path = folder.join("lock");
    let unusable = |source: io::Error| DataDirError::Unusable { path: path.clone(), source };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(unusable)?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&mut file);
                if !holder.is_some_and(has_ended) || since.elapsed() >= COPY_PATIENCE {
                    let holder = holder.map_or_else(|| "unknown".to_owned(), |holder| holder.to_string());
                    return Err(DataDirError::InUse { path: folder.to_owned(), holder });
                }
                thread::sleep(LOOK_EVERY);
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
    }
    // Before anything is written, because a full disk accepts nothing.
    spare_file::keep(folder);
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
    Ok(file)
}

/// Returns the process id written in a lock, or `None` if it has not been written yet.
fn holder(lock: &mut File) -> Option<Pid> {
    let mut holder = String::new();
    lock.rewind().ok()?;
    lock.take(20).read_to_string(&mut holder).ok()?;
    Pid::from_raw(holder.trim().parse().ok()?)
}

/// Returns true if there is no such process of any user.
fn has_ended(process: Pid) -> bool {
    test_kill_process(process) == Err(rustix::io::Errno::SRCH)
}

#[cfg(target_os = "linux")]
fn demand_local(path: &Path) -> Result<(), DataDirError> {
    let about = rustix::fs::statfs(path).map_err(|errno| DataDirError::Unusable { path: path.to_owned(), source: errno.into() })?;
    // The magic numbers have 32 bits; the field is signed on some machines.
    match remote_kind(about.f_type as u32) {
        Some(kind) => Err(DataDirError::NotLocal { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

/// Other systems do not report it as one number; there the operator is responsible.
#[cfg(not(target_os = "linux"))]
fn demand_local(_: &Path) -> Result<(), DataDirError> {
    Ok(())
}

/// Returns the name of the file system with a `statfs` magic number, if it is one that is not reliable.
#[cfg(target_os = "linux")]
fn remote_kind(magic: u32) -> Option<&'static str> {
    match magic {
        0x0000_6969 => Some("NFS"),
        0x0000_517B | 0xFE53_4D42 | 0xFF53_4D42 => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x6573_5546 => Some("FUSE"),
        0x5346_414F | 0x6B41_4653 => Some("AFS"),
        0x00C3_6400 => Some("Ceph"),
        0x7375_7245 => Some("Coda"),
        0x0BD0_0BD0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        0x0116_1970 => Some("GFS2"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn new_directory_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("a/b/ensue-data")).unwrap();
        assert_eq!(fs::metadata(data.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(data.path().is_absolute());
    }

    #[test]
    fn second_open_is_rejected_with_the_holder_s_pid() {
        let folder = tempfile::tempdir().unwrap();
        let _first = DataDir::open(folder.path()).unwrap();
        let refusal = DataDir::open(folder.path()).unwrap_err();
        assert!(refusal.to_string().contains(&format!("process {}", std::process::id())), "{refusal}");
        assert!(refusal.hint().unwrap().contains("--server"));
    }

    #[test]
    fn dropped_directory_is_free_again() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDir::open(folder.path()).unwrap());
        assert!(DataDir::open(folder.path()).is_ok());
    }

    /// Returns the process id of a program that has ended.
    fn ended_process_id() -> u32 {
        let mut program = Command::new("true").spawn().unwrap();
        program.wait().unwrap();
        program.id()
    }

    #[test]
    fn open_waits_for_a_lock_inherited_by_a_child_of_a_killed_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, format!("{}\n", ended_process_id())).unwrap();
        let lock = File::open(&path).unwrap();
        lock.try_lock().unwrap();
        let mut copy = Command::new("sleep").arg("0.3").stdin(lock).spawn().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(data.path().join("lock")).unwrap(), format!("{}\n", std::process::id()));
        copy.wait().unwrap();
    }

    #[test]
    fn dropped_directory_is_free_even_if_a_child_holds_a_copy_of_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let mut copy = Command::new("sleep").arg("60").stdin(data.lock.try_clone().unwrap()).spawn().unwrap();
        drop(data);
        let again = DataDir::open(folder.path());
        copy.kill().and_then(|()| copy.wait()).unwrap();
        assert!(again.is_ok());
    }

    #[test]
    fn lock_file_left_by_a_crash_locks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock"), "4242424242\n").unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(data.path().join("lock")).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn file_is_rejected_as_a_data_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(DataDir::open(file.path()), Err(DataDirError::Unusable { .. })));
    }

    #[test]
    fn free_space_is_read_from_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        assert!(data.free_bytes().unwrap() > 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_rejected_and_local_ones_accepted() {
        for (magic, kind) in [(0x6969, "NFS"), (0xFF53_4D42, "SMB"), (0x517B, "SMB"), (0x0102_1997, "9p"), (0x6573_5546, "FUSE")] {
            assert_eq!(remote_kind(magic), Some(kind));
        }
        let (ext4, xfs, btrfs, tmpfs, overlay) = (0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630);
        for local in [ext4, xfs, btrfs, tmpfs, overlay] {
            assert_eq!(remote_kind(local), None);
        }
    }
}
