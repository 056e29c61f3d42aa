//! Programs of actions that run until a test lets them go on.
//!
//! An execution is `running` from the moment at which a node notes that its attempt begins. The program starts a moment
//! later. If the node is killed in between, nobody knows whether the program ran, and the execution becomes
//! `indeterminate`. So a test that kills a node waits for something that the program itself has written.

use std::path::{Path, PathBuf};

use super::NodeFolder;
use super::states::until;

/// A program that has written a line into the file `begun` of its private directory, and now waits there for the file `go`.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its private directory.
    pub(crate) folder: PathBuf,
    /// The first line that it wrote.
    pub(crate) wrote: String,
}

impl Running {
    /// Waits until so many programs of a node run, and returns them.
    pub(crate) async fn all(place: &NodeFolder, many: usize) -> Vec<Self> {
        until("the programs run", async || {
            let folders = std::fs::read_dir(place.data().join("attempts")).into_iter().flatten().flatten();
            let folders: Vec<PathBuf> = folders.map(|folder| folder.path()).collect();
            let running: Vec<Self> = folders.iter().filter_map(|folder| Self::of(folder)).collect();
            if running.len() == many { Ok(running) } else { Err(format!("{running:?} run, of {folders:?}")) }
        })
        .await
    }

    /// Waits until one program runs.
    pub(crate) async fn one(place: &NodeFolder) -> Self {
        Self::all(place, 1).await.remove(0)
    }

    fn of(folder: &Path) -> Option<Self> {
        let begun = std::fs::read_to_string(folder.join("begun")).ok()?;
        let (wrote, _) = begun.split_once('\n')?;
        let wrote = wrote.to_owned();
        (!folder.join("go").exists()).then(|| Self { folder: folder.to_owned(), wrote })
    }

    /// Lets it go on.
    pub(crate) fn let_go(&self) {
        std::fs::write(self.folder.join("go"), "").unwrap();
    }
}
