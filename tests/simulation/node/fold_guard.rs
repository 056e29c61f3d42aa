//! The guard of folds of a node that may be killed: what it had noted then stays where it is.

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
    /// There until it is dropped.
    guard: Option<FoldGuard>,
    path: PathBuf,
    life: Arc<Life>,
}

impl KilledFoldGuard {
    /// Opens the node's own, which nobody watches: a watch goes by real time, and a world that hangs is found with its seed.
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

    fn kept(&mut self, through: Position) {
        self.guard.iter_mut().for_each(|guard| guard.kept(through));
    }
}

/// The code of a dead node runs on, and the guard takes its notes away.
impl Drop for KilledFoldGuard {
    fn drop(&mut self) {
        let noted = std::fs::read(&self.path).ok().filter(|_| self.life.was_killed());
        drop(self.guard.take());
        if let Some(noted) = noted {
            // Without the notes the worst is that this life does not count.
            let _ = std::fs::write(&self.path, noted);
        }
    }
}
