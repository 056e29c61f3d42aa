//! Waits until something in a folder may have changed: the system reports it, or enough time has passed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::world::World;

/// How long changes are collected before they are looked at.
const COLLECTED: Duration = Duration::from_millis(20);

/// Reports changes in a folder.
pub(super) struct Wake {
    changed: Arc<Notify>,
    /// None if the system cannot report changes. Then only time counts.
    _watcher: Option<RecommendedWatcher>,
}

impl Wake {
    /// Starts watching.
    pub(super) fn of(folder: &Path, is_deep: bool, world: &World) -> Self {
        let changed = Arc::new(Notify::new());
        // Whatever was changed before is found by the first look.
        changed.notify_one();
        let told = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file does not change it, and would wake this repeatedly.
            if event.map_or(true, |event| !event.kind.is_access()) {
                told.notify_one();
            }
        });
        let mode = if is_deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let watcher = watcher.and_then(|mut watcher| watcher.watch(folder, mode).map(|()| watcher));
        let watcher = watcher.map_err(|error| {
            world.lines.add(format!("the system does not report changes of files, so they are found only by `rescan`: {error}"));
        });
        Self { changed, _watcher: watcher.ok() }
    }

    /// Waits for a change, but at most this long.
    pub(super) async fn wait(&self, world: &World, at_most: Duration) {
        tokio::select! {
            () = self.changed.notified() => world.clock.sleep(COLLECTED).await,
            () = world.clock.sleep(at_most) => {}
        }
    }
}
