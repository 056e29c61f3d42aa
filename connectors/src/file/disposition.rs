//! What happens to a file once its messages are in the log: it is deleted, or moved into a folder.
//!
//! Folders are opened beneath those that the operator allows, and files are named in open folders only. A link that somebody
//! plants, or a folder that is replaced by one, leads nothing out, and no file is replaced.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ensue_engine::catalog::AfterFile;
use rustix::fs::{AtFlags, Mode, mkdirat, unlinkat};
use rustix::io::Errno;

use super::access::{FolderAccess, resolve_missing};
use super::folder::{Folder, FolderEntry, Look};
use super::glob::Glob;
use super::safe_open::{Use, open_folder, open_resolved};
use crate::error::{SensorErrorKind, SourceError};

/// How many names are tried for a file that is moved.
const MOVE_NAMES_MAX: u32 = 1_000;

/// What happens to a file once its messages are in the log.
pub(super) enum FileDisposition {
    /// It stays.
    Keep,
    /// It is deleted.
    Delete,
    /// It is moved into the folder of this name next to it.
    MoveBeside(String),
    /// It is moved into this folder.
    MoveInto(MoveTarget),
}

/// A folder that files are moved into.
pub(super) struct MoveTarget {
    /// The folder that the operator allows, open.
    allowed: OwnedFd,
    /// The path beneath it.
    below: PathBuf,
    /// The resolved path.
    path: PathBuf,
}

impl FileDisposition {
    /// Resolves what the author wants against what the operator allows. Blocks.
    ///
    /// # Errors
    /// If files may not be moved to the folder, if it is not one, or if it is the one that is watched.
    pub(super) fn resolve(written: &AfterFile, (base, glob): (&Path, &Glob), allowed: &FolderAccess) -> Result<Self, SourceError> {
        let after = match written {
            AfterFile::Keep => Self::Keep,
            AfterFile::Delete => Self::Delete,
            AfterFile::Move(into) if into.starts_with('/') => Self::MoveInto(MoveTarget::resolve(into, allowed)?),
            AfterFile::Move(into) => Self::MoveBeside(into.clone()),
        };
        if let (Self::MoveInto(target), AfterFile::Move(written)) = (&after, written)
            && target.path == base
            && glob.depth().is_none_or(|depth| depth == 1)
        {
            let message = format!("files cannot be moved to `{written}`: they are read from there");
            return Err(SourceError::new(SensorErrorKind::NotFound, message));
        }
        Ok(after)
    }

    /// Returns true if files are moved into the folder with this name and path.
    pub(super) fn is_target(&self, name: &str, path: &Path) -> bool {
        match self {
            Self::Keep | Self::Delete => false,
            Self::MoveBeside(into) => into == name,
            Self::MoveInto(target) => target.path == path,
        }
    }
}

impl MoveTarget {
    fn resolve(written: &str, allowed: &FolderAccess) -> Result<Self, SourceError> {
        let unusable = |error: &io::Error| {
            let kind = if error.kind() == io::ErrorKind::PermissionDenied { SensorErrorKind::Auth } else { SensorErrorKind::NotFound };
            SourceError::new(kind, format!("files cannot be moved to `{written}`: {error}"))
        };
        let denied = |why: &str| SourceError::new(SensorErrorKind::EgressDenied, format!("files may not be moved to `{written}`: {why}"));
        let path = resolve_missing(Path::new(written)).map_err(|error| unusable(&error))?;
        if allowed.is_hidden(&path) {
            return Err(denied("the folder belongs to the node itself or contains its secrets, which no setting allows"));
        }
        let Some(root) = allowed.writable_root(&path) else {
            return Err(denied("an operator can allow it under `actions.writable` in `ensue.yaml`"));
        };
        let opened = open_resolved(root).map_err(|error| unusable(&error))?;
        let below = path.strip_prefix(root).unwrap_or(Path::new("")).to_owned();
        let target = Self { allowed: opened, below, path };
        match open_folder(&target.allowed, &target.below, Use::Name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(&error)),
            // It is made for the first file.
            Ok(_) | Err(_) => Ok(target),
        }
    }

    /// Opens the folder, and makes it if it is not there.
    fn open(&self) -> io::Result<OwnedFd> {
        let Some(name) = self.below.file_name() else { return open_folder(&self.allowed, &self.below, Use::Name) };
        let above = open_folder(&self.allowed, self.below.parent().unwrap_or(Path::new("")), Use::Name)?;
        open_or_create(&above, name)
    }
}

impl Folder {
    /// Deletes or moves a file, unless it changed. Blocks.
    pub(super) fn finish(&self, below_text: &str, was: &Look) -> io::Result<()> {
        if matches!(self.after, FileDisposition::Keep) {
            return Ok(());
        }
        let below = Path::new(below_text);
        let (within, name) = (below.parent().unwrap_or(Path::new("")), below.file_name().unwrap_or_default());
        let folder = self.open_within(within)?;
        let changed = || io::Error::other("it changed meanwhile");
        let entry = FolderEntry::at(&folder, name)?;
        let look = if entry.is_link { Look::at(&self.open_file(below_text)?)? } else { entry.look };
        if look != *was {
            return Err(changed());
        }
        let (into, path) = match &self.after {
            FileDisposition::Keep => return Ok(()),
            FileDisposition::Delete => return Ok(unlinkat(&folder, name, AtFlags::empty())?),
            FileDisposition::MoveBeside(into) => (open_or_create(&folder, OsStr::new(into)), self.base().join(within).join(into)),
            // Elsewhere, it would lead to something else.
            FileDisposition::MoveInto(_) if entry.is_link => return Err(io::Error::other("a link is not moved to another folder")),
            FileDisposition::MoveInto(target) => (target.open(), target.path.clone()),
        };
        let not_usable = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR | Errno::LOOP) => io::Error::other(format!("`{}` is a link, or no folder", path.display())),
            _ => io::Error::new(error.kind(), format!("the folder `{}` cannot be used: {error}", path.display())),
        };
        let into = into.map_err(not_usable)?;
        for number in 0..MOVE_NAMES_MAX {
            let mut new = name.to_os_string();
            if number > 0 {
                new.push(format!(".{number}"));
            }
            if self.is_hidden(&path.join(&new)) {
                return Err(io::Error::other(format!("`{}` belongs to the node itself", path.join(&new).display())));
            }
            match move_entry((&folder, name), (&into, &new)) {
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
                // Somebody who may write the folder may have put another file there just before.
                Ok(()) if FolderEntry::at(&into, &new)? == entry => return Ok(()),
                Ok(()) => {
                    move_entry((&into, &new), (&folder, name))?;
                    return Err(changed());
                }
            }
        }
        Err(io::Error::other(format!("{MOVE_NAMES_MAX} files of that name are in `{}`", path.display())))
    }
}

/// Opens a folder in another one, and makes it if it is not there.
fn open_or_create(within: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let open = || open_folder(within, Path::new(name), Use::Name);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match mkdirat(within, name, Mode::from_raw_mode(0o777)) {
        Err(error) if error != Errno::EXIST => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    open()
}

/// Gives a file another name, unless that one is taken.
fn move_entry((from, name): (&OwnedFd, &OsStr), (into, new): (&OwnedFd, &OsStr)) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{RenameFlags, renameat_with};

        match renameat_with(from, name, into, new, RenameFlags::NOREPLACE) {
            // Some file systems cannot do it in one step.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            moved => return moved,
        }
    }
    // A link fails if the name is taken, so that no file is replaced.
    rustix::fs::linkat(from, name, into, new, AtFlags::empty())?;
    unlinkat(from, name, AtFlags::empty())
}
