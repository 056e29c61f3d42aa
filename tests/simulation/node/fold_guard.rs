//! The fold guard of a node that may be killed: its notes at that moment stay in place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_engine::record::Position;
use ensue_node::parts::FoldGuard;
use ensue_views::ViewName;
use ensue_views::onlooker::{Care, Onlooker};

use crate::life::Life;
use crate::sometimes;

/// The node's own guard, in a node that may be killed.
pub(super) struct KilledFoldGuard {
    /// Present until dropped.
    guard: Option<FoldGuard>,
    path: PathBuf,
    life: Arc<Life>,
}

impl KilledFoldGuard {
    /// Opens the node's own guard without a watchdog: a watchdog uses real time, and a world that hangs is
    /// found by its seed.
    pub(super) fn open(path: &Path, behind: Position, life: Arc<Life>) -> Self {
        Self { guard: Some(FoldGuard::open(path, behind)), path: path.to_owned(), life }
    }
}

impl Onlooker for KilledFoldGuard {
    fn care(&self, first: Position, last: Position) -> Care {
        let care = self.guard.as_ref().map_or(Care::AtOnce, |guard| guard.care(first, last));
        sometimes!(care == Care::OneByOne, "records were folded one by one");
        care
    }

    fn begin_all(&mut self, last: Position) {
        self.guard.iter_mut().for_each(|guard| guard.begin_all(last));
    }

    fn begin_one(&mut self, view: ViewName, position: Position) -> Option<String> {
        self.guard.as_mut()?.begin_one(view, position)
    }

    fn end(&mut self) {
        self.guard.iter_mut().for_each(FoldGuard::end);
    }

    fn note_stored(&mut self, through: Position) {
        self.guard.iter_mut().for_each(|guard| guard.note_stored(through));
    }
}

/// The code of a dead node keeps running, and the guard would remove its notes.
impl Drop for KilledFoldGuard {
    fn drop(&mut self) {
        let noted = std::fs::read(&self.path).ok().filter(|_| self.life.was_killed());
        drop(self.guard.take());
        if let Some(noted) = noted {
            // Without the notes, the worst case is that this life is not counted.
            let _ = std::fs::write(&self.path, noted);
        }
    }
}
