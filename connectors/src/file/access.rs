//! What the operator lets file sensors reach, with resolved paths.

use std::io;
use std::path::{Path, PathBuf};

use crate::world::Folders;

/// The folders that a sensor may use, and the paths that it may not.
pub(super) struct FolderAccess {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
}

impl FolderAccess {
    /// Resolves the paths of the operator. Blocks.
    pub(super) fn resolve(folders: &Folders) -> Self {
        let resolved = |paths: &[PathBuf]| paths.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        // What is hidden may be created later, and its folder may be a link.
        let hidden = |path: &PathBuf| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            resolve_missing(&path).unwrap_or(path)
        };
        let hidden = folders.hidden.iter().map(hidden).collect();
        Self { readable: resolved(&folders.readable), writable: resolved(&folders.writable), hidden }
    }

    /// Returns true if a resolved path is never reached.
    pub(super) fn is_hidden(&self, path: &Path) -> bool {
        self.hidden.iter().any(|hidden| path.starts_with(hidden))
    }

    /// Returns true if something below a folder is never reached.
    pub(super) fn hides_something_in(&self, folder: &Path) -> bool {
        self.hidden.iter().any(|hidden| hidden.starts_with(folder))
    }

    /// Returns the outermost folder whose files may be changed that contains a resolved path.
    pub(super) fn writable_root(&self, path: &Path) -> Option<&Path> {
        outermost(self.writable.iter(), path)
    }

    /// Returns the outermost folder whose files may be read that contains a resolved path.
    pub(super) fn readable_root(&self, path: &Path) -> Option<&Path> {
        outermost(self.readable.iter().chain(&self.writable), path)
    }
}

fn outermost<'a>(allowed: impl Iterator<Item = &'a PathBuf>, path: &Path) -> Option<&'a Path> {
    allowed.map(PathBuf::as_path).filter(|allowed| path.starts_with(allowed)).min_by_key(|allowed| allowed.components().count())
}

/// Resolves a path of which the last parts may not be there yet.
pub(super) fn resolve_missing(path: &Path) -> io::Result<PathBuf> {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        match there.canonicalize() {
            Ok(resolved) => return Ok(missing.iter().rev().fold(resolved, |path, name| path.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match (there.parent(), there.file_name()) {
                (Some(parent), Some(name)) => {
                    missing.push(name);
                    there = parent;
                }
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}
