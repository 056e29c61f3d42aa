//! A pack's digest, and its immutable copy under that name: nothing runs from the folder a pack was read
//! from.
//!
//! This module does not decide which copies are still needed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ensue_engine::explain::Explain;
use ensue_engine::record::Digest;
use thiserror::Error;

use crate::read::{FileMode, PackFile, PackSource, ReadError};

/// The prefix of the digest's input, so that nothing else has the same digest.
const DIGEST_CONTEXT: &[u8] = b"ensue pack v1\n";

/// Why a pack's copy cannot be written or read.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "pack-copy-unusable", fault = World)]
pub enum CopyError {
    /// The copy cannot be written.
    #[error("cannot write the pack's copy at {}: {source}", path.display())]
    Io {
        /// The path that was written.
        path: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// The copy cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copy's content does not match its name.
    #[error("the pack's copy at {} was changed: it is now {found}; delete that folder and install the pack again", path.display())]
    Changed {
        /// The folder, named after its expected digest.
        path: PathBuf,
        /// The digest of its actual content.
        found: Digest,
    },
}

impl PackSource {
    /// Returns the BLAKE3 digest of the files, sorted by path: each path, whether it is a program, and its
    /// content.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(DIGEST_CONTEXT);
        for (path, file) in &self.files {
            let mode = match file.mode {
                FileMode::Plain => 0,
                FileMode::Executable => 1,
            };
            // Lengths come first, so that no two sets of files produce the same bytes.
            hasher.update(&(path.len() as u64).to_le_bytes()).update(path.as_bytes());
            hasher.update(&[mode]);
            hasher.update(&(file.bytes.len() as u64).to_le_bytes()).update(&file.bytes);
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }

    /// Writes the copy `<packs>/<digest>/` and returns its folder; an existing copy is left as it is. For several packs,
    /// [`NewCopies`] waits for the disk only once.
    ///
    /// # Errors
    ///
    /// Fails if the file system does, and leaves no partial copy under the final name.
    pub fn write_copy(&self, packs: &Path) -> Result<PathBuf, CopyError> {
        let mut copies = NewCopies::in_folder(packs);
        copies.write(self)?;
        copies.keep()?;
        Ok(packs.join(self.digest().to_string()))
    }

    /// Reads the copy of `digest`, and verifies its content.
    ///
    /// # Errors
    ///
    /// Fails if the copy does not exist or its content does not match its name.
    pub fn read_copy(packs: &Path, digest: Digest) -> Result<Self, CopyError> {
        let path = packs.join(digest.to_string());
        let source = Self::read(&path)?;
        let found = source.digest();
        if found == digest { Ok(source) } else { Err(CopyError::Changed { path, found }) }
    }
}

/// A file in a stored copy of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopiedFile {
    /// Its content.
    Present(Vec<u8>),
    /// The pack has no such file.
    Absent,
    /// There is no such copy, or no longer.
    CopyGone,
}

impl CopiedFile {
    /// Reads one file of a copy in the folder `packs`, and nothing else: whether the copy as a whole is unchanged is not
    /// checked. `path` is the path of a file of a pack.
    ///
    /// # Errors
    /// Fails if the file system does.
    pub fn read(packs: &Path, digest: Digest, path: &str) -> io::Result<Self> {
        let copy = packs.join(digest.to_string());
        match fs::read(copy.join(path)) {
            Ok(content) => Ok(Self::Present(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(if copy.try_exists()? { Self::Absent } else { Self::CopyGone }),
            Err(error) => Err(error),
        }
    }
}

/// Copies of packs that are written next to their destinations, then synced together, and then renamed: each is complete
/// or absent. Plain files get the mode 0444, programs 0555.
#[must_use = "copies that are not kept are absent"]
pub struct NewCopies<'p> {
    packs: &'p Path,
    /// The folder of the copies, opened before anything is written to it, so that syncing it reports each error of writing
    /// back. None until the first copy.
    opened: Option<fs::File>,
    written: BTreeMap<Digest, StagedCopy>,
}

/// A copy that was found, or that was written and waits to be synced and renamed.
enum StagedCopy {
    Before,
    Beside(PathBuf),
}

impl<'p> NewCopies<'p> {
    /// Creates an empty set of copies for the folder `packs`.
    pub fn in_folder(packs: &'p Path) -> Self {
        Self { packs, opened: None, written: BTreeMap::new() }
    }

    /// Writes the files of a pack, unless there is a copy of them already. The copy is absent until
    /// [`keep`](Self::keep).
    ///
    /// # Errors
    ///
    /// Fails if the file system does.
    pub fn write(&mut self, source: &PackSource) -> Result<(), CopyError> {
        let digest = source.digest();
        if self.written.contains_key(&digest) {
            return Ok(());
        }
        let written = if self.packs.join(digest.to_string()).is_dir() {
            StagedCopy::Before
        } else {
            self.open()?;
            let beside = self.packs.join(format!(".{digest}.new"));
            write_files(source, &beside)?;
            StagedCopy::Beside(beside)
        };
        self.written.insert(digest, written);
        Ok(())
    }

    /// Opens the folder of the copies, and creates it if necessary.
    fn open(&mut self) -> Result<(), CopyError> {
        if self.opened.is_some() {
            return Ok(());
        }
        let packs = self.packs;
        fs::create_dir_all(packs).map_err(io_error_at(packs))?;
        sync_folder(packs.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))).map_err(io_error_at(packs))?;
        self.opened = Some(fs::File::open(packs).map_err(io_error_at(packs))?);
        Ok(())
    }

    /// Syncs the copies and gives them their names.
    ///
    /// # Errors
    ///
    /// Fails if the file system does, and leaves no partial copy under a final name.
    pub fn keep(self) -> Result<(), CopyError> {
        let besides: Vec<(Digest, &Path)> = self
            .written
            .iter()
            .filter_map(|(digest, written)| match written {
                StagedCopy::Before => None,
                StagedCopy::Beside(beside) => Some((*digest, beside.as_path())),
            })
            .collect();
        if let Some(opened) = &self.opened {
            sync_all(opened, besides.iter().map(|(_, beside)| *beside)).map_err(io_error_at(self.packs))?;
        }
        for (digest, beside) in besides {
            let target = self.packs.join(digest.to_string());
            fs::rename(beside, &target).map_err(io_error_at(&target))?;
        }
        if self.written.is_empty() {
            return Ok(());
        }
        // For copies that were there before: the process that wrote one may have ended before the folder's entry was on disk.
        sync_folder(self.packs).map_err(io_error_at(self.packs))
    }
}

fn io_error_at(path: &Path) -> impl FnOnce(std::io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::Io { path, source }
}

/// Writes the files of a pack into a new folder.
fn write_files(source: &PackSource, beside: &Path) -> Result<(), CopyError> {
    if beside.exists() {
        // Left behind by an interrupted run.
        fs::remove_dir_all(beside).map_err(io_error_at(beside))?;
    }
    fs::create_dir(beside).map_err(io_error_at(beside))?;
    make_readable(beside).map_err(io_error_at(beside))?;
    for (inside, file) in &source.files {
        let path = beside.join(inside);
        let folder = path.parent().unwrap_or(beside);
        fs::create_dir_all(folder).map_err(io_error_at(folder))?;
        for made in folder.ancestors().take_while(|made| *made != beside) {
            make_readable(made).map_err(io_error_at(made))?;
        }
        write_file(&path, file).map_err(io_error_at(&path))?;
    }
    Ok(())
}

fn write_file(path: &Path, file: &PackFile) -> std::io::Result<()> {
    let mut out = fs::File::create_new(path)?;
    out.write_all(&file.bytes)?;
    set_read_only(&out, file.mode)
}

/// Opens a folder to everyone who may enter its parent, regardless of the process's umask: programs may run
/// as another user.
#[cfg(unix)]
fn make_readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_readable(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn set_read_only(file: &fs::File, mode: FileMode) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let bits = match mode {
        FileMode::Plain => 0o444,
        FileMode::Executable => 0o555,
    };
    file.set_permissions(fs::Permissions::from_mode(bits))
}

#[cfg(not(unix))]
fn set_read_only(file: &fs::File, _mode: FileMode) -> std::io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions)
}

/// Writes everything in some folders of an opened folder to the disk: at once where the system can do that, because a call
/// for each file waits for the disk each time.
fn sync_all<'p>(opened: &fs::File, folders: impl Iterator<Item = &'p Path>) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::syncfs(opened) {
        Err(rustix::io::Errno::NOSYS) => {}
        synced => return Ok(synced?),
    }
    #[cfg(not(target_os = "linux"))]
    let _ = opened;
    for folder in folders {
        sync_each(folder)?;
    }
    Ok(())
}

fn sync_each(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_each(&path)?;
        } else {
            fs::File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack() -> PackSource {
        let mut source = PackSource::of("a", [("pack.yaml", "name: a\n"), ("actions/run.sh", "#!/bin/sh\n")]).unwrap();
        source.files.get_mut("actions/run.sh").unwrap().mode = FileMode::Executable;
        source
    }

    #[test]
    fn digest_of_a_pack_matches_its_pinned_value() {
        assert_eq!(pack().digest().to_string(), "34ebff0a8aeb724ed693b784984d50bf5af2d78d0c3bb057d33914fdc6c38caf");
    }

    #[test]
    fn name_content_and_mode_each_change_the_digest() {
        let digest = pack().digest();
        let mut renamed = pack();
        let file = renamed.files.remove("actions/run.sh").unwrap();
        renamed.files.insert("actions/ran.sh".into(), file);
        let mut edited = pack();
        edited.files.get_mut("pack.yaml").unwrap().bytes = "name: b\n".into();
        let mut plain = pack();
        plain.files.get_mut("actions/run.sh").unwrap().mode = FileMode::Plain;
        for other in [renamed, edited, plain] {
            assert_ne!(other.digest(), digest);
        }
        let mut moved = pack();
        moved.origin = "elsewhere".into();
        assert_eq!(moved.digest(), digest);
    }

    #[test]
    fn copy_reads_back_as_the_original() {
        let data = tempfile::tempdir().unwrap();
        let path = pack().write_copy(data.path()).unwrap();
        assert_eq!(pack().write_copy(data.path()).unwrap(), path, "writing twice changes nothing");
        let back = PackSource::read_copy(data.path(), pack().digest()).unwrap();
        assert_eq!(back.files, pack().files);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn modified_copy_is_rejected() {
        let data = tempfile::tempdir().unwrap();
        let path = pack().write_copy(data.path()).unwrap();
        fs::remove_file(path.join("pack.yaml")).unwrap();
        fs::write(path.join("pack.yaml"), "name: b\n").unwrap();
        let refusal = PackSource::read_copy(data.path(), pack().digest()).unwrap_err();
        assert!(matches!(refusal, CopyError::Changed { .. }), "{refusal}");
    }

    #[test]
    fn copies_are_absent_until_all_of_them_are_kept() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("packs");
        let other = PackSource::of("b", [("pack.yaml", "name: b\n")]).unwrap();
        let are_there = || [&pack(), &other].map(|pack| PackSource::read_copy(&folder, pack.digest()).is_ok());
        let mut interrupted = NewCopies::in_folder(&folder);
        interrupted.write(&pack()).unwrap();
        interrupted.write(&other).unwrap();
        assert_eq!(are_there(), [false, false]);
        drop(interrupted);
        assert_eq!(are_there(), [false, false]);
        let mut copies = NewCopies::in_folder(&folder);
        for pack in [&pack(), &other, &pack()] {
            copies.write(pack).unwrap();
        }
        assert_eq!(are_there(), [false, false]);
        copies.keep().unwrap();
        assert_eq!(are_there(), [true, true]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing is left beside them");
    }

    #[test]
    fn keeping_no_copies_creates_no_folder() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("packs");
        NewCopies::in_folder(&folder).keep().unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn leftovers_of_an_interrupted_copy_do_not_matter() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join(format!(".{}.new", pack().digest()))).unwrap();
        pack().write_copy(data.path()).unwrap();
        assert!(PackSource::read_copy(data.path(), pack().digest()).is_ok());
    }
}
