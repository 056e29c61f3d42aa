//! Opens folders beneath an open one, part by part, without following a link: whoever may write a folder cannot lead a
//! path out of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, open, openat};

/// What a folder is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// To read which entries it has.
    List,
    /// To name entries in it. This works even if the folder may not be listed.
    Name,
}

impl Use {
    fn flags(self) -> OFlags {
        let access = match self {
            #[cfg(target_os = "linux")]
            Self::Name => OFlags::PATH,
            #[cfg(not(target_os = "linux"))]
            Self::Name => OFlags::RDONLY,
            Self::List => OFlags::RDONLY,
        };
        access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
    }
}

/// Opens a folder by its resolved path.
pub(super) fn open_resolved(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, Use::Name.flags(), Mode::empty())?)
}

/// Opens a folder beneath another one. An empty path is the other one itself.
///
/// # Errors
/// Also if a part of the path is a link, `..`, or no folder.
pub(super) fn open_folder(within: impl AsFd, below: &Path, wanted: Use) -> io::Result<OwnedFd> {
    let mut opened: Option<OwnedFd> = None;
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
        let flags = if parts.peek().is_some() { Use::Name } else { wanted }.flags();
        let at = opened.as_ref().map_or(within.as_fd(), AsFd::as_fd);
        opened = Some(openat(at, name, flags, Mode::empty())?);
    }
    match opened {
        Some(opened) => Ok(opened),
        None => Ok(openat(within, ".", wanted.flags(), Mode::empty())?),
    }
}
