//! A pack as files in memory, read from a folder or given: bounded, without links, with portable names.
//!
//! The content of the files is not examined.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ensue_engine::explain::Explain;
use thiserror::Error;

/// The most bytes that a pack may have.
pub const PACK_BYTES_MAX: u64 = 64 << 20;
/// The most files that a pack may have.
pub const PACK_FILES_MAX: usize = 50_000;
/// The nesting limit of a pack's folders.
pub const PACK_DEPTH_MAX: usize = 16;
/// The longest path of a file inside a pack, in bytes.
pub const PATH_BYTES_MAX: usize = 512;

/// The files of a pack, by their path inside it (`rules/greet.yaml`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackSource {
    /// The name shown before each file's path: the folder it was read from, or `library/core`.
    pub origin: String,
    /// The files.
    pub files: BTreeMap<String, PackFile>,
}

/// A file of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackFile {
    /// Its content.
    pub bytes: Bytes,
    /// Whether it is executable.
    pub mode: FileMode,
}

/// Whether a file is executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// A plain file.
    Plain,
    /// A program.
    Executable,
}

/// Why a folder cannot be read as a pack.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "pack-unreadable")]
pub enum ReadError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    #[explain(fault = World)]
    Io {
        /// The path that was read.
        path: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// A link: what it names may change, or lie outside the pack.
    #[error("{} is a link, but a pack can contain only files; replace it with a copy", .0.display())]
    #[explain(fault = Invalid)]
    Link(PathBuf),
    /// A socket, pipe or device.
    #[error("{} is neither a file nor a folder; remove it from the pack", .0.display())]
    #[explain(fault = Invalid)]
    Special(PathBuf),
    /// A file's path is not portable.
    #[error("`{0}` cannot be a path in a pack; use UTF-8 without control characters, `\\` or `..`, at most {PATH_BYTES_MAX} bytes")]
    #[explain(fault = Invalid)]
    BadPath(String),
    /// Too many bytes.
    #[error("{} has more than {PACK_BYTES_MAX} bytes; keep large data elsewhere", .0.display())]
    #[explain(fault = TooLarge)]
    TooLarge(PathBuf),
    /// Too many files.
    #[error("{} has more than {PACK_FILES_MAX} files", .0.display())]
    #[explain(fault = TooLarge)]
    TooManyFiles(PathBuf),
    /// Too deep.
    #[error("{} nests deeper than {PACK_DEPTH_MAX} folders", .0.display())]
    #[explain(fault = TooLarge)]
    TooDeep(PathBuf),
}

impl PackSource {
    /// Creates a pack's source from given files; none of them is a program.
    pub fn of<P: Into<String>, B: Into<Bytes>>(
        origin: impl Into<String>,
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Result<Self, ReadError> {
        let mut source = Self { origin: origin.into(), files: BTreeMap::new() };
        for (path, bytes) in files {
            source.put(path.into(), bytes)?;
        }
        Ok(source)
    }

    /// Gives a file this content. A file that is there stays a program or a plain file; a new one is plain.
    ///
    /// # Errors
    ///
    /// Fails if the path is not portable.
    pub fn put(&mut self, path: String, bytes: impl Into<Bytes>) -> Result<(), ReadError> {
        check_path(&path)?;
        let file = self.files.entry(path).or_insert(PackFile { bytes: Bytes::new(), mode: FileMode::Plain });
        file.bytes = bytes.into();
        Ok(())
    }

    /// Reads the folder of a pack.
    ///
    /// Files and folders whose names begin with a dot are skipped, as is `__pycache__`: they belong to the
    /// author's tools.
    ///
    /// # Errors
    ///
    /// Fails on links, special files, names that are not portable, and anything over a limit.
    pub fn read(folder: &Path) -> Result<Self, ReadError> {
        let mut reading =
            PackReader { root: folder, bytes: 0, source: Self { origin: folder.display().to_string(), files: BTreeMap::new() } };
        reading.folder(folder, "", 0)?;
        Ok(reading.source)
    }

    /// Reads every pack of a folder of packs, ordered by name: each subfolder whose name does not begin with
    /// a dot.
    ///
    /// # Errors
    ///
    /// Fails if the folder itself cannot be listed. The error of one pack is returned as that pack's result.
    pub fn read_all(folder: &Path) -> Result<Vec<Result<Self, ReadError>>, ReadError> {
        let mut packs = Vec::new();
        for path in entries(folder)? {
            if !is_hidden(&path) && path.is_dir() {
                packs.push(Self::read(&path));
            }
        }
        Ok(packs)
    }
}

struct PackReader<'a> {
    root: &'a Path,
    bytes: u64,
    source: PackSource,
}

impl PackReader<'_> {
    fn folder(&mut self, folder: &Path, inside: &str, depth: usize) -> Result<(), ReadError> {
        if depth > PACK_DEPTH_MAX {
            return Err(ReadError::TooDeep(folder.to_owned()));
        }
        for path in entries(folder)? {
            if is_hidden(&path) {
                continue;
            }
            let name = path.file_name().unwrap_or_default();
            let name = name.to_str().ok_or_else(|| ReadError::BadPath(path.display().to_string()))?;
            let inside = if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
            let meta = fs::symlink_metadata(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
            if meta.is_symlink() {
                return Err(ReadError::Link(path));
            } else if meta.is_dir() {
                self.folder(&path, &inside, depth + 1)?;
            } else if meta.is_file() {
                self.file(&path, inside)?;
            } else {
                return Err(ReadError::Special(path));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, inside: String) -> Result<(), ReadError> {
        check_path(&inside)?;
        if self.source.files.len() >= PACK_FILES_MAX {
            return Err(ReadError::TooManyFiles(self.root.to_owned()));
        }
        let failed = |source| ReadError::Io { path: path.to_owned(), source };
        let file = fs::File::open(path).map_err(failed)?;
        let mode = mode_of(&file.metadata().map_err(failed)?);
        let mut bytes = Vec::new();
        let left = PACK_BYTES_MAX - self.bytes;
        // One byte more than the remaining budget, so that a file that grows while it is read is detected.
        file.take(left + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > left {
            return Err(ReadError::TooLarge(self.root.to_owned()));
        }
        self.bytes += bytes.len() as u64;
        self.source.files.insert(inside, PackFile { bytes: bytes.into(), mode });
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| ReadError::Io { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
        if paths.len() > PACK_FILES_MAX {
            return Err(ReadError::TooManyFiles(folder.to_owned()));
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") || name == b"__pycache__"
}

fn check_path(path: &str) -> Result<(), ReadError> {
    let is_bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.len() > PATH_BYTES_MAX || path.contains('\\') || path.chars().any(char::is_control) || path.split('/').any(is_bad_part) {
        return Err(ReadError::BadPath(path.chars().take(120).collect()));
    }
    Ok(())
}

#[cfg(unix)]
pub(crate) fn mode_of(meta: &fs::Metadata) -> FileMode {
    use std::os::unix::fs::PermissionsExt;
    if meta.permissions().mode() & 0o111 == 0 { FileMode::Plain } else { FileMode::Executable }
}

#[cfg(not(unix))]
pub(crate) fn mode_of(_meta: &fs::Metadata) -> FileMode {
    FileMode::Plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_read_with_executables_and_without_hidden_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("rules")).unwrap();
        fs::create_dir_all(folder.path().join(".git")).unwrap();
        fs::write(folder.path().join("pack.yaml"), "name: a\n").unwrap();
        fs::write(folder.path().join("rules/b.yaml"), "x").unwrap();
        fs::write(folder.path().join(".git/config"), "x").unwrap();
        let source = PackSource::read(folder.path()).unwrap();
        assert_eq!(source.files.keys().collect::<Vec<_>>(), ["pack.yaml", "rules/b.yaml"]);
    }

    #[cfg(unix)]
    #[test]
    fn executable_file_is_distinguished_from_a_plain_one() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("run.sh");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let source = PackSource::read(folder.path()).unwrap();
        assert_eq!(source.files["run.sh"].mode, FileMode::Executable);
    }

    #[cfg(unix)]
    #[test]
    fn link_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("pack.yaml")).unwrap();
        assert!(matches!(PackSource::read(folder.path()), Err(ReadError::Link(_))));
    }

    #[test]
    fn path_that_leaves_the_pack_is_rejected() {
        for path in ["../a", "a//b", "/a", "a/./b", "a\\b", "a\nb", ""] {
            assert!(matches!(PackSource::of("x", [(path, "")]), Err(ReadError::BadPath(_))), "{path:?}");
        }
    }

    #[test]
    fn pack_over_its_size_limit_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("big")).unwrap();
        file.set_len(PACK_BYTES_MAX + 1).unwrap();
        assert!(matches!(PackSource::read(folder.path()), Err(ReadError::TooLarge(_))));
    }
}
