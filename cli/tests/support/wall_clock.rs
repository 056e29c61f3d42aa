//! A wall clock for nodes that differs from the machine's: libfaketime fakes it. The monotonic clock stays the
//! kernel's.

use std::path::{Path, PathBuf};

use super::NodeFolder;

/// The offset of the node's wall clock.
pub(crate) struct WallClock(PathBuf);

impl WallClock {
    /// Creates a place whose nodes see this clock.
    pub(crate) fn for_nodes_at(place: NodeFolder, library: &Path) -> (Self, NodeFolder) {
        let file = place.path().join("faketime");
        let clock = Self(file.clone());
        clock.is_off_by(0);
        let place = place
            .with_variable("LD_PRELOAD", &library.display().to_string())
            .with_variable("FAKETIME_TIMESTAMP_FILE", &file.display().to_string())
            .with_variable("FAKETIME_NO_CACHE", "1")
            .with_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .with_variable("FAKETIME_DONT_RESET", "1");
        (clock, place)
    }

    /// Sets the offset from the machine's clock.
    pub(crate) fn is_off_by(&self, seconds: i64) {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(beside, &self.0).unwrap();
    }
}

/// Finds the library for programs with threads, where Debian and others install it.
pub(crate) fn libfaketime() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let within = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    let candidates = folders
        .iter()
        .map(PathBuf::from)
        .chain(within)
        .flat_map(|folder| ["faketime/libfaketimeMT.so.1", "libfaketimeMT.so.1"].map(|name| folder.join(name)));
    candidates.into_iter().find(|path| path.is_file())
}
