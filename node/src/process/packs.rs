//! The packs folder's part of a start: it is read while the log is opened, taken in, and watched if the operator
//! wants that.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::JoinHandle;

use ensue_engine::names::PackName;
use serde_json::Value;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::to_start_error;
use crate::catalogs::{FoundPacks, find_packs};
use crate::config::{Config, Reread};
use crate::packs_folder::{FolderChanges, PacksFolder, PacksNews, PacksRead, TakeInError, WatchedFolder};
use crate::start_error::{StartError, machine};

/// The maximum number of reports about packs that wait for their receiver; the node's own log notes that further ones
/// were dropped.
const NEWS_WAITING_MAX: usize = 64;

/// The packs folder while it is being read.
pub(super) struct LookedFor {
    changing: Option<FolderChanges>,
    finding: JoinHandle<FoundPacks>,
}

impl LookedFor {
    /// Starts to watch the packs folder for changes if the operator wants that. Then reads and checks the folder, and
    /// builds the installed packs, while the log is opened: with many rules each of these takes a while.
    pub(super) fn begin(config: &Config) -> Result<Self, StartError> {
        let changing = match config.reread {
            Reread::AtStart => None,
            Reread::OnChange => Some(FolderChanges::of(&config.packs).map_err(|why| watch_error(&config.packs, &why))?),
        };
        let (path, settings) = (config.packs.clone(), pack_values(config));
        let finding = std::thread::Builder::new().name("packs-find".into()).spawn(move || find_packs(&path, &settings));
        Ok(Self { changing, finding: finding.map_err(|why| machine("reading the packs folder", &why))? })
    }

    /// Waits for the packs that were found, and returns them with the watcher of later changes.
    pub(super) fn wait_for_packs(self) -> (FoundPacks, Option<FolderChanges>) {
        match self.finding.join() {
            Ok(found) => (found, self.changing),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

pub(super) fn pack_values(config: &Config) -> BTreeMap<PackName, Value> {
    config.pack_settings.iter().map(|(name, settings)| (name.clone(), Value::Object(settings.config.clone()))).collect()
}

pub(super) fn not_taken_in(error: TakeInError) -> StartError {
    match error {
        TakeInError::Catalog(error) => error.into(),
        TakeInError::Refused(error) => to_start_error("installing the packs", &error),
    }
}

/// Has the packs folder read at each change, and returns the receiver of reports about it.
pub(super) fn watch_packs(
    folder: PacksFolder,
    changes: FolderChanges,
    at_start: PacksRead,
) -> Result<(WatchedFolder, mpsc::Receiver<PacksNews>), StartError> {
    let (sender, news) = mpsc::channel(NEWS_WAITING_MAX);
    let path = folder.path.clone();
    let tell = Box::new(move |one| send_news(&sender, one));
    let watched = folder.watch(changes, at_start, tell).map_err(|why| watch_error(&path, &why))?;
    Ok((watched, news))
}

/// Sends a report about the folder to whoever prints it, without waiting.
fn send_news(to: &mpsc::Sender<PacksNews>, news: PacksNews) {
    match to.try_send(news) {
        Ok(()) => {}
        // The node is stopping, and nobody needs the last report about the folder.
        Err(TrySendError::Closed(_)) => tracing::debug!("a report about the packs has no receiver"),
        Err(TrySendError::Full(_)) => {
            tracing::warn!(waiting = NEWS_WAITING_MAX, "a report about the packs is dropped: too many are waiting")
        }
    }
}

fn watch_error(folder: &Path, why: &notify::Error) -> StartError {
    machine(&format!("watching the packs folder `{}`", folder.display()), why)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// Counts warnings.
    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicUsize>);

    impl Subscriber for Warnings {
        fn enabled(&self, of: &Metadata<'_>) -> bool {
            *of.level() <= Level::WARN
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// Reports twice to a channel with room for one report, and returns the number of warnings.
    fn warnings_of(to: &mpsc::Sender<PacksNews>) -> usize {
        let warnings = Warnings::default();
        tracing::subscriber::with_default(warnings.clone(), || {
            for _ in 0..2 {
                send_news(to, PacksNews::Failed("the folder is gone".to_owned()));
            }
        });
        warnings.0.load(Ordering::Relaxed)
    }

    #[test]
    fn dropped_report_is_a_warning_unless_the_node_is_stopping() {
        let (sender, receiver) = mpsc::channel(1);
        assert_eq!(warnings_of(&sender), 1);
        drop(receiver);
        assert_eq!(warnings_of(&sender), 0);
    }
}
