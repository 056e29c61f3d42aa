//! A folder and the files in it that match a pattern. Files are opened below the folder only: a link that leads out of
//! it is refused by the kernel.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ensue_engine::catalog::FILES_MAX;
use rustix::fs::{Mode, OFlags};

use super::glob::Glob;
use crate::error::{SensorErrorKind, SourceError};
use crate::world::Folders;

/// How deep folders are searched.
const DEPTH_MAX: usize = 32;
/// The maximum number of entries that are looked at, matching or not.
const ENTRIES_MAX: usize = 20 * FILES_MAX;

/// The files that are wanted.
pub(super) struct Wanted {
    /// Their path, with patterns.
    pub(super) path: String,
    /// A name of folders that are skipped: files are moved there.
    pub(super) skipped: Option<String>,
    /// Whether files are moved or deleted.
    pub(super) is_changed: bool,
}

/// A folder.
pub(super) struct Folder {
    /// The resolved path.
    base: PathBuf,
    opened: File,
    glob: Glob,
    hidden: Vec<PathBuf>,
    skipped: Option<String>,
}

/// What a file was when it was looked at. Any change of its content changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    modified: i128,
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

impl Folder {
    /// Opens the folder of the wanted files. Blocks.
    pub(super) fn open(wanted: &Wanted, folders: &Folders) -> Result<Self, SourceError> {
        let invalid =
            || SourceError::new(SensorErrorKind::NotFound, format!("`{}` is not an absolute path without `.` and `..`", wanted.path));
        let glob = Glob::parse(&wanted.path).ok_or_else(invalid)?;
        let not_found = |error: io::Error| {
            let kind = if error.kind() == io::ErrorKind::PermissionDenied { SensorErrorKind::Auth } else { SensorErrorKind::NotFound };
            SourceError::new(kind, format!("the folder `{}` cannot be read: {error}", glob.base))
        };
        let base = Path::new(&glob.base).canonicalize().map_err(not_found)?;
        let resolved =
            |paths: &[PathBuf]| -> Vec<PathBuf> { paths.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect() };
        let hidden = resolved(&folders.hidden);
        let may = |allowed: &[PathBuf]| resolved(allowed).iter().any(|allowed| base.starts_with(allowed));
        let is_allowed = may(&folders.writable) || (!wanted.is_changed && may(&folders.readable));
        if !is_allowed || hidden.iter().any(|hidden| base.starts_with(hidden)) {
            let (what, setting) = if wanted.is_changed { ("changed", "writable") } else { ("read", "readable") };
            let message =
                format!("files in `{}` may not be {what}; an operator can allow it under `actions.{setting}` in `ensue.yaml`", glob.base);
            return Err(SourceError::new(SensorErrorKind::EgressDenied, message));
        }
        let opened = File::open(&base).map_err(not_found)?;
        Ok(Self { base, opened, glob, hidden, skipped: wanted.skipped.clone() })
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

    /// Returns the matching files, by their path below the folder. Links are not followed here: what they lead to is
    /// looked at when it is opened. Blocks.
    pub(super) fn scan(&self) -> Result<BTreeMap<String, Look>, SourceError> {
        let mut found = BTreeMap::new();
        let mut pending = vec![(String::new(), 1)];
        let (depth_max, mut entries) = (self.glob.depth().unwrap_or(DEPTH_MAX).min(DEPTH_MAX), 0);
        while let Some((below, depth)) = pending.pop() {
            let folder = if below.is_empty() { self.base.clone() } else { self.base.join(&below) };
            let listed = match fs::read_dir(&folder) {
                Ok(listed) => listed,
                // A folder that is gone meanwhile has no files. The folder of the sensor must be there.
                Err(_) if depth > 1 => continue,
                Err(error) => {
                    return Err(SourceError::new(
                        SensorErrorKind::NotFound,
                        format!("the folder `{}` cannot be read: {error}", folder.display()),
                    ));
                }
            };
            for entry in listed.flatten() {
                entries += 1;
                if entries > ENTRIES_MAX {
                    let message = format!("the folder `{}` has more than {ENTRIES_MAX} entries", self.base.display());
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                let Ok(name) = entry.file_name().into_string() else { continue };
                let (path, below) = (entry.path(), if below.is_empty() { name.clone() } else { format!("{below}/{name}") });
                if self.hidden.iter().any(|hidden| path.starts_with(hidden)) {
                    continue;
                }
                let Ok(about) = entry.metadata() else { continue };
                if about.is_dir() {
                    if depth < depth_max && self.skipped.as_ref() != Some(&name) {
                        pending.push((below, depth + 1));
                    }
                } else if self.glob.matches(&below)
                    && let Some(look) = self.look(&below, &about)
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

    /// Looks at a matching entry. Returns `None` if it is neither a file nor a link to a file in the folder.
    fn look(&self, below: &str, about: &Metadata) -> Option<Look> {
        if about.is_file() {
            return Some(Look::of(about));
        }
        if !about.is_symlink() {
            return None;
        }
        let linked = self.open_file(below).ok()?.metadata().ok()?;
        linked.is_file().then(|| Look::of(&linked))
    }

    /// Opens a file below the folder. Blocks, but not on a pipe.
    ///
    /// # Errors
    /// Also if the path leads out of the folder over a link.
    pub(super) fn open_file(&self, below: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(self.opened_below(below, flags)?.into())
    }

    #[cfg(target_os = "linux")]
    fn opened_below(&self, below: &str, flags: OFlags) -> io::Result<std::os::fd::OwnedFd> {
        use rustix::fs::{ResolveFlags, openat2};

        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.opened, below, flags, Mode::empty(), within)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn opened_below(&self, below: &str, flags: OFlags) -> io::Result<std::os::fd::OwnedFd> {
        // Without a kernel that checks each part, no link is followed at the end, and the path is checked before.
        let path = self.base.join(below).canonicalize()?;
        if !path.starts_with(&self.base) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(rustix::fs::openat(&self.opened, below, flags | OFlags::NOFOLLOW, Mode::empty())?)
    }
}
