//! The place of a SQLite file: its path, and the file system through which it is accessed.
//!
//! A node's files are on the machine's file system; only tests use another one.

use std::fs;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::sync;

/// How much of a file is rewritten at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A file, and how it is accessed.
#[derive(Clone, Debug)]
pub struct SqliteFile {
    /// Its path.
    pub path: PathBuf,
    /// The file system.
    pub files: FileSystem,
}

/// How SQLite files are accessed: the name of SQLite's VFS, and the operations that Ensue itself performs.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    /// The name under which it is registered with SQLite; `None` for the machine's own.
    pub vfs: Option<&'static str>,
    /// Returns true if a file exists.
    pub exists: fn(&Path) -> bool,
    /// Creates an empty file that only its owner can read. Fails if it exists.
    pub create: fn(&Path) -> io::Result<()>,
    /// Makes the names in a folder durable.
    pub sync_folder: fn(&Path) -> io::Result<()>,
    /// Removes a file.
    pub remove: fn(&Path) -> io::Result<()>,
    /// Renames a file, replacing an existing one.
    pub rename: fn(&Path, &Path) -> io::Result<()>,
    /// Writes the content of a file once more, and syncs it. Does nothing if the file does not exist.
    pub write_again: fn(&Path) -> io::Result<()>,
}

impl FileSystem {
    /// The machine's own file system.
    pub const MACHINE: Self = Self {
        vfs: None,
        exists: |path| path.exists(),
        create: |path| sync::create_private(path, sync::Existing::Kept).map(|_| ()),
        sync_folder: sync::sync_folder,
        remove: |path| fs::remove_file(path),
        rename: |from, to| fs::rename(from, to),
        write_again,
    };
}

impl From<&Path> for SqliteFile {
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), files: FileSystem::MACHINE }
    }
}

impl SqliteFile {
    /// Returns the path of a file that SQLite keeps next to this one.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    }

    pub(super) fn exists(&self) -> bool {
        (self.files.exists)(&self.path)
    }

    /// Creates an empty durable file. SQLite syncs the folder for its journals, but not for the file itself.
    pub(super) fn create(&self) -> io::Result<()> {
        (self.files.create)(&self.path)?;
        self.sync_folder()
    }

    pub(super) fn sync_folder(&self) -> io::Result<()> {
        (self.files.sync_folder)(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Removes the file and those that SQLite keeps next to it.
    pub(super) fn remove(&self) -> Result<(), String> {
        for suffix in ["-wal", "-shm", ""] {
            let path = self.beside(suffix);
            match (self.files.remove)(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(format!("{} cannot be removed: {error}", path.display())),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

fn write_again(path: &Path) -> io::Result<()> {
    let mut file = match fs::File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let start = file.stream_position()?;
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return file.sync_all();
        }
        file.seek(io::SeekFrom::Start(start))?;
        file.write_all(&chunk[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewritten_file_has_the_same_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats");
        let content: Vec<u8> = (0..3 * CHUNK_BYTES + 17).map(|number| (number % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        write_again(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
        write_again(&folder.path().join("none")).unwrap();
        assert!(!folder.path().join("none").exists());
    }
}
