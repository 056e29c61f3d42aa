//! The private directory of an attempt: created fresh, for its owner only, and removed at the end whatever
//! happened.
//!
//! It is not a wall: a program of the same user can reach other files.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::INNER;

/// How deep to look into a directory that cannot be removed at once.
const OPENED_DEPTH_MAX: usize = 64;

/// Creates a folder for its owner only. Blocks.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Lets a group, and nobody else except the owner, pass through a folder without listing it. Blocks.
pub fn let_pass(folder: &Path, group: u32) -> io::Result<()> {
    chown(folder, None, Some(group))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o710))
}

/// Makes a folder that this group may pass through, if there is one. Blocks.
#[cfg(target_os = "linux")]
pub(crate) fn make_for(folder: &Path, group: Option<u32>) -> io::Result<()> {
    make(folder)?;
    group.map_or(Ok(()), |group| let_pass(folder, group))
}

/// Creates the folder for private directories, and removes whatever an earlier process left there. Blocks.
pub(crate) fn prepare(folder: &Path) -> io::Result<()> {
    make(folder)?;
    remove_others(folder, &BTreeSet::new());
    Ok(())
}

/// Removes everything in a folder except the kept paths. Blocks.
pub(crate) fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| !kept.contains(path)) {
        if let Err(error) = remove(&path) {
            tracing::warn!(%error, path = %path.display(), "an old private directory could not be removed");
        }
    }
}

/// An attempt's private directory.
#[derive(Debug)]
pub(crate) struct PrivateDirectory {
    path: PathBuf,
}

impl PrivateDirectory {
    /// Creates the directory, which must not exist yet, with the given files inside `.ensue`: their names and
    /// contents. Without files, `.ensue` is not created. Blocks.
    pub(crate) fn create<'f>(path: PathBuf, files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder.create(&path)?;
        let directory = Self { path };
        let inner = directory.path.join(INNER);
        let mut files = files.into_iter().peekable();
        if files.peek().is_some() {
            builder.create(&inner)?;
        }
        for (name, bytes) in files {
            if name.contains('/') {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("`{name}` is not a valid name for a private file: it contains a `/`"),
                ));
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            options.open(inner.join(name))?.write_all(bytes)?;
        }
        Ok(directory)
    }

    /// Leaves it to anyone who knows its path.
    pub(crate) fn leave(mut self) {
        self.path = PathBuf::new();
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file that was created with it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(INNER).join(name)
    }

    /// Removes it with all its content. Blocks.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        let path = std::mem::take(&mut self.path);
        remove(&path)
    }
}

impl Drop for PrivateDirectory {
    /// Removes it if the attempt was dropped midway.
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty()
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "a private directory could not be removed");
        }
    }
}

/// Removes a private directory with all its content. Succeeds if it is already gone. Blocks.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let again = match try_remove(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => error,
    };
    if again.kind() != io::ErrorKind::PermissionDenied {
        return Err(again);
    }
    // A program may have removed its own permissions on a directory.
    let _ = open_up(path, 0);
    try_remove(path)
}

fn try_remove(path: &Path) -> io::Result<()> {
    // Most programs leave nothing in it, and then there is no need to look into it.
    match fs::remove_dir(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory) => {}
        removed => return removed,
    }
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn open_up(path: &Path, depth: usize) -> io::Result<()> {
    if depth > OPENED_DEPTH_MAX || !fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        open_up(&entry?.path(), depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn make_directory(folder: &TempDir, files: &[(&str, &[u8])]) -> PrivateDirectory {
        PrivateDirectory::create(folder.path().join("attempt"), files.iter().copied()).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_directory_is_accessible_only_to_its_owner() {
        let folder = TempDir::new().unwrap();
        let private = make_directory(&folder, &[("TOKEN", b"t0k3n")]);
        assert_eq!(mode(private.path()), 0o700);
        assert_eq!(mode(&private.file("TOKEN")), 0o600);
        assert_eq!(fs::read(private.file("TOKEN")).unwrap(), b"t0k3n");
    }

    #[test]
    fn private_directory_is_removed_even_if_the_program_locked_parts_of_it() {
        let folder = TempDir::new().unwrap();
        let private = make_directory(&folder, &[]);
        let locked = private.path().join("a/b");
        fs::create_dir_all(&locked).unwrap();
        fs::write(locked.join("c"), "").unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        private.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn private_directories_of_an_earlier_process_are_removed_at_the_start() {
        let folder = TempDir::new().unwrap();
        let private = make_directory(&folder, &[("TOKEN", b"t0k3n")]);
        private.leave();
        prepare(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn link_in_the_directory_is_removed_and_not_followed() {
        let folder = TempDir::new().unwrap();
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("keep"), "").unwrap();
        let private = make_directory(&folder, &[]);
        std::os::unix::fs::symlink(outside.path(), private.path().join("link")).unwrap();
        private.remove().unwrap();
        assert!(outside.path().join("keep").exists());
    }

    #[test]
    fn failed_creation_leaves_no_partial_directory_and_keeps_an_existing_one() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("attempt");
        assert!(PrivateDirectory::create(path.clone(), [("TOKEN", &b"t0k3n"[..]), ("../out", b"")]).is_err());
        assert!(!path.exists());
        fs::create_dir(&path).unwrap();
        assert!(PrivateDirectory::create(path.clone(), []).is_err());
        assert!(path.exists());
    }
}
