//! A folder and the files in it that match a pattern. Files are opened below the folder only: a link that leads out of
//! it is refused by the kernel.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ensue_engine::catalog::{AfterFile, FILES_MAX};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, statat};

use super::access::FolderAccess;
use super::disposition::FileDisposition;
use super::glob::Glob;
use super::safe_open::{Use, open_folder, open_resolved};
use crate::error::{SensorErrorKind, SourceError};
use crate::world::Folders;

/// How deep folders are searched.
const DEPTH_MAX: usize = 32;
/// The maximum number of entries that are looked at, matching or not.
const ENTRIES_MAX: usize = 20 * FILES_MAX;

/// The files that are wanted.
pub(super) struct FileSelection {
    /// Their path, with patterns.
    pub(super) path: String,
    /// What happens to them once their messages are in the log.
    pub(super) after: AfterFile,
}

/// A folder.
pub(super) struct Folder {
    /// The resolved path.
    base: PathBuf,
    opened: OwnedFd,
    glob: Glob,
    allowed: FolderAccess,
    /// What happens to files once their messages are in the log.
    pub(super) after: FileDisposition,
}

/// What a file was when it was looked at. Any change of its content changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    /// When it was modified, in nanoseconds.
    pub(super) modified: i128,
}

impl Look {
    /// Looks at an open file.
    pub(super) fn at(file: &File) -> io::Result<Self> {
        Ok(Self::of(&file.metadata()?))
    }

    fn of(about: &Metadata) -> Self {
        let modified = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        Self { device: about.dev(), inode: about.ino(), bytes: about.size(), modified }
    }

    /// Returns bytes that differ whenever the file does.
    pub(super) fn mark(&self) -> Vec<u8> {
        format!("{} {} {} {}", self.device, self.inode, self.bytes, self.modified).into_bytes()
    }
}

/// An entry of a folder. A link is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderEntry {
    pub(super) look: Look,
    pub(super) is_link: bool,
    kind: FileType,
}

impl FolderEntry {
    /// Looks at an entry of an open folder.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions, reason = "the types of the fields differ by system")]
    pub(super) fn at(folder: impl AsFd, name: &OsStr) -> io::Result<Self> {
        let about = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(about.st_mode);
        let negative = "the system describes the file by a negative number";
        let look = Look {
            device: u64::try_from(about.st_dev).map_err(|_| io::Error::other(negative))?,
            inode: about.st_ino,
            bytes: u64::try_from(about.st_size).map_err(|_| io::Error::other(negative))?,
            modified: i128::from(about.st_mtime) * 1_000_000_000 + i128::from(about.st_mtime_nsec),
        };
        Ok(Self { look, is_link: kind == FileType::Symlink, kind })
    }
}

impl Folder {
    /// Opens the folder of the wanted files. Blocks.
    pub(super) fn open(wanted: &FileSelection, folders: &Folders) -> Result<Self, SourceError> {
        let invalid =
            || SourceError::new(SensorErrorKind::NotFound, format!("`{}` is not an absolute path without `.` and `..`", wanted.path));
        let glob = Glob::parse(&wanted.path).ok_or_else(invalid)?;
        let not_found = |error: io::Error| {
            let kind = if error.kind() == io::ErrorKind::PermissionDenied { SensorErrorKind::Auth } else { SensorErrorKind::NotFound };
            SourceError::new(kind, format!("the folder `{}` cannot be read: {error}", glob.base))
        };
        let base = Path::new(&glob.base).canonicalize().map_err(not_found)?;
        let allowed = FolderAccess::resolve(folders);
        let is_changed = wanted.after != AfterFile::Keep;
        let root = if is_changed { allowed.writable_root(&base) } else { allowed.readable_root(&base) };
        let Some(root) = root.filter(|_| !allowed.is_hidden(&base)) else {
            let (what, setting) = if is_changed { ("changed", "writable") } else { ("read", "readable") };
            let message =
                format!("files in `{}` may not be {what}; an operator can allow it under `actions.{setting}` in `ensue.yaml`", glob.base);
            return Err(SourceError::new(SensorErrorKind::EgressDenied, message));
        };
        let below = base.strip_prefix(root).unwrap_or(Path::new(""));
        let opened = open_resolved(root).and_then(|root| open_folder(root, below, Use::List)).map_err(not_found)?;
        let after = FileDisposition::resolve(&wanted.after, (&base, &glob), &allowed)?;
        Ok(Self { base, opened, glob, allowed, after })
    }

    /// Returns the resolved path of the folder.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Returns the absolute path of a file below the folder.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.base.join(below)
    }

    /// Returns true if files are in folders below, too.
    pub(super) fn is_deep(&self) -> bool {
        self.glob.depth() != Some(1)
    }

    /// Returns true if a path is never reached.
    pub(super) fn is_hidden(&self, path: &Path) -> bool {
        self.allowed.is_hidden(path)
    }

    /// Opens a folder below this one, to name entries in it. Blocks.
    pub(super) fn open_within(&self, below: &Path) -> io::Result<OwnedFd> {
        open_folder(&self.opened, below, Use::Name)
    }

    /// Returns the matching files, by their path below the folder. Links are not followed here: what they lead to is
    /// looked at when it is opened. Blocks.
    pub(super) fn scan(&self) -> Result<BTreeMap<String, Look>, SourceError> {
        let unreadable = |error: io::Error| {
            SourceError::new(SensorErrorKind::NotFound, format!("the folder `{}` cannot be read: {error}", self.base.display()))
        };
        self.check_still_there().map_err(unreadable)?;
        let mut found = BTreeMap::new();
        let mut pending = vec![(String::new(), 1)];
        let (depth_max, mut entries) = (self.glob.depth().unwrap_or(DEPTH_MAX).min(DEPTH_MAX), 0);
        while let Some((below, depth)) = pending.pop() {
            let opened = open_folder(&self.opened, Path::new(&below), Use::List);
            let (folder, listed) = match opened.and_then(|folder| Ok((Dir::read_from(&folder)?, folder))) {
                Ok((listed, folder)) => (folder, listed),
                // A folder that is gone meanwhile has no files. The folder of the sensor must be there.
                Err(_) if depth > 1 => continue,
                Err(error) => return Err(unreadable(error)),
            };
            for entry in listed.flatten() {
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                entries += 1;
                if entries > ENTRIES_MAX {
                    let message = format!("the folder `{}` has more than {ENTRIES_MAX} entries", self.base.display());
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                let Some(text) = name.to_str().filter(|name| !matches!(*name, "." | "..")) else { continue };
                let below = if below.is_empty() { text.to_owned() } else { format!("{below}/{text}") };
                let path = self.base.join(&below);
                if self.is_hidden(&path) {
                    continue;
                }
                let Ok(entry) = FolderEntry::at(&folder, name) else { continue };
                if entry.kind == FileType::Directory {
                    if depth < depth_max && !self.after.is_target(text, &path) {
                        pending.push((below, depth + 1));
                    }
                } else if self.glob.matches(&below)
                    && let Some(look) = self.look(&below, &entry)
                {
                    if found.len() >= FILES_MAX {
                        let message = format!("more than {FILES_MAX} files match `{}`", self.base.display());
                        return Err(SourceError::new(SensorErrorKind::Limit, message));
                    }
                    found.insert(below, look);
                }
            }
        }
        Ok(found)
    }

    /// Returns the files in a folder below this one, whatever their names, by their path below this one. Blocks.
    pub(super) fn files_in(&self, within: &str) -> io::Result<Vec<(String, Look)>> {
        let folder = open_folder(&self.opened, Path::new(within), Use::List)?;
        let mut files = Vec::new();
        for entry in Dir::read_from(&folder)?.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let (Some(text), Ok(entry)) = (name.to_str(), FolderEntry::at(&folder, name)) else { continue };
            let below = if within.is_empty() { text.to_owned() } else { format!("{within}/{text}") };
            if entry.kind == FileType::RegularFile && !self.is_hidden(&self.base.join(&below)) {
                files.push((below, entry.look));
            }
        }
        Ok(files)
    }

    /// Fails if another folder has the path of the open one now, or none: a new run finds it.
    fn check_still_there(&self) -> io::Result<()> {
        let (there, opened) = (fs::metadata(&self.base)?, FolderEntry::at(&self.opened, OsStr::new("."))?.look);
        if (there.dev(), there.ino()) == (opened.device, opened.inode) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "another folder has its path now"))
    }

    /// Looks at a matching entry. Returns `None` if it is neither a file nor a link to a file in the folder.
    fn look(&self, below: &str, entry: &FolderEntry) -> Option<Look> {
        match entry.kind {
            FileType::RegularFile => Some(entry.look),
            FileType::Symlink => {
                let linked = self.open_file(below).ok()?.metadata().ok()?;
                linked.is_file().then(|| Look::of(&linked))
            }
            _ => None,
        }
    }

    /// Opens a file below the folder. Blocks, but not on a pipe.
    ///
    /// # Errors
    /// Also if the path leads out of the folder over a link, or to something that is never reached.
    pub(super) fn open_file(&self, below: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.opened_below(below, flags)?);
        if self.allowed.hides_something_in(&self.base) && self.is_hidden(&path_of(&file, &self.base.join(below))?) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(file)
    }

    #[cfg(target_os = "linux")]
    fn opened_below(&self, below: &str, flags: OFlags) -> io::Result<OwnedFd> {
        use rustix::fs::{ResolveFlags, openat2};

        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.opened, below, flags, Mode::empty(), within)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn opened_below(&self, below: &str, flags: OFlags) -> io::Result<OwnedFd> {
        // Without a kernel that checks each part, no link is followed at the end, and the path is checked before.
        let path = self.base.join(below).canonicalize()?;
        if !path.starts_with(&self.base) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(rustix::fs::openat(&self.opened, below, flags | OFlags::NOFOLLOW, Mode::empty())?)
    }
}

/// Returns the path of an open file, whatever link led to it.
fn path_of(file: &File, named: &Path) -> io::Result<PathBuf> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;

        if let Ok(path) = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
            return Ok(path);
        }
    }
    let _ = file;
    named.canonicalize()
}
