//! The paths that settings name.
//!
//! Only this type resolves them, so a file that the node alone opens is hidden from programs without a further step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Resolves the paths that settings name, and remembers those that programs must not reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedPaths {
    base: PathBuf,
    hidden: BTreeSet<PathBuf>,
}

impl NamedPaths {
    /// Resolves paths from a folder; from the current one if it is empty.
    pub(super) fn from_folder(base: &Path) -> Self {
        Self { base: base.to_owned(), hidden: BTreeSet::new() }
    }

    /// Resolves the path of a file or folder that the node alone opens, and hides it from all programs.
    pub fn hide(&mut self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.base.join(path);
        self.hidden.insert(path.clone());
        path
    }

    /// Resolves a path that programs may be allowed to reach: that of data and packs, which have rules of their own, one that
    /// the settings share with programs, or the file of authorities that are trusted. Such a file has no secret, and is often
    /// that of the machine, which programs need as well.
    pub(super) fn share(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base.join(path)
    }

    /// Hides what another one has hidden.
    pub(super) fn hide_all_of(&mut self, other: Self) {
        self.hidden.extend(other.hidden);
    }

    /// Returns the hidden paths.
    pub(crate) fn hidden_paths(&self) -> impl Iterator<Item = &Path> {
        self.hidden.iter().map(PathBuf::as_path)
    }
}
