//! The packs folder: read at the start, and at each change while the node runs if the operator wants that. A
//! file saved while the node starts counts as a change: the folder is watched before it is first read.
//!
//! `catalogs` decides what a pack means and which catalog results; this file decides when to read and what to
//! report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ensue_engine::command::{Ask, Command, PackChange};
use ensue_engine::names::PackName;
use ensue_engine::ports::SubmitError;
use ensue_engine::record::{Actor, CatalogRevision};
use ensue_packs::{Colour, Diagnostic, Severity};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::Value;
use thiserror::Error;

use crate::catalogs::{CatalogError, FoundPacks, NodeCatalogs, find_packs};
use crate::clock::SteppedClock;
use crate::config::AcceptedPermissions;
use crate::sequencer::Asking;

/// How long the folder must be quiet before it is read: an editor saves in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// How long changes may continue before the folder is read anyway.
const QUIET_PATIENCE: Duration = Duration::from_secs(2);
/// How many times a change is retried if the node was too busy to accept it.
const TRIES_MAX: u32 = 20;
/// How long to wait before such a retry.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The packs folder, and the way from it into the catalog.
pub struct PacksFolder {
    /// The folder.
    pub path: PathBuf,
    /// The operator's settings for packs.
    pub settings: BTreeMap<PackName, Value>,
    /// The longest body of a delivery that the node takes.
    pub delivery_bytes_max: usize,
    /// What the packs of the folder may do with other packs.
    pub accepted: AcceptedPermissions,
    /// The catalogs.
    pub catalogs: Arc<NodeCatalogs>,
    /// The access to the sequencer.
    pub sequencer: Arc<dyn Asking>,
    /// The source of ids of rules.
    pub clock: Arc<dyn SteppedClock>,
}

/// The result of reading the folder.
#[derive(Debug, Default)]
pub struct PacksRead {
    /// The versions that are live since then, by pack; none if the pack was removed.
    pub live: BTreeMap<PackName, Option<String>>,
    /// The catalog's revision since which they are live.
    pub revision: CatalogRevision,
    /// The packs that have errors and were not installed.
    pub refused: BTreeSet<PackName>,
    /// The packs that had errors and now equal the installed version again.
    pub mended: BTreeSet<PackName>,
    /// The messages for the operator, each a few lines.
    pub findings: Vec<String>,
}

/// Why the contents of the folder do not become the catalog.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TakeInError {
    /// The catalog cannot be built.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The change was refused.
    #[error("the change of the packs was rejected: {0}")]
    Refused(#[from] SubmitError),
}

impl PacksFolder {
    /// Brings the catalog in line with the library and the folder. Errors in a pack are reported, and do not
    /// stop the other packs.
    pub fn take_in(&self) -> Result<PacksRead, TakeInError> {
        self.take_in_what(find_packs(&self.path, &self.settings))
    }

    /// Brings the catalog in line with what was found in the library and the folder.
    pub(crate) fn take_in_what(&self, mut found: FoundPacks) -> Result<PacksRead, TakeInError> {
        let mut findings = found.unreadable;
        findings.extend(found.checked.diagnostics.iter().map(|one| one.render(Colour::Plain)));
        let installed = self.catalogs.current();
        found.checked.good.retain(|pack| {
            let mut unfit = pack.lowered_versions(installed.triggers());
            unfit.extend(pack.body_findings(self.delivery_bytes_max));
            if unfit.is_empty() {
                return true;
            }
            findings.extend(unfit.iter().map(|one| one.render(Colour::Plain)));
            found.findings.entry(pack.name.clone()).or_default().extend(unfit);
            found.broken.insert(pack.name.clone());
            false
        });
        // A pack whose only errors are in its tests is installed.
        let is_refused = |name: &PackName| found.checked.good.iter().all(|good| good.name != *name);
        let refused = found.findings.iter().filter(|(name, of_pack)| of_pack.iter().any(is_error) && is_refused(name));
        let refused = refused.map(|(name, _)| name.clone()).collect();
        self.catalogs.set_findings(found.findings);
        let proposal = self.catalogs.propose(found.checked, &found.broken, self.accepted, &*self.clock)?;
        let mut live = BTreeMap::new();
        for change in &proposal.changes {
            match change {
                PackChange::Install { name, version, .. } => live.insert(name.clone(), Some(version.clone())),
                PackChange::Remove { name } => live.insert(name.clone(), None),
                PackChange::Permit { .. } => continue,
            };
        }
        if !proposal.changes.is_empty() {
            let ask = Ask::ChangePacks { base: proposal.base, changes: proposal.changes };
            self.sequencer.ask(Command { actor: Actor::Engine, trace: None, ask })?;
        }
        Ok(PacksRead { live, revision: self.catalogs.current().revision(), refused, mended: BTreeSet::new(), findings })
    }
}

fn is_error(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Error
}

/// Reports changes of a watched folder to its owner.
pub(crate) type Tell = Box<dyn Fn(PacksNews) + Send>;

/// The result of a change in the packs folder.
#[derive(Debug)]
#[non_exhaustive]
pub enum PacksNews {
    /// The folder was read.
    Read(PacksRead),
    /// The change could not be applied; the installed packs stay.
    Failed(String),
}

/// Messages to the thread that reads the folder.
enum WatcherMessage {
    /// Something in the folder changed.
    Changed,
    /// The node stops.
    Stop,
}

/// Stops watching when it is dropped.
pub(crate) struct WatchedFolder(SyncSender<WatcherMessage>);

impl Drop for WatchedFolder {
    fn drop(&mut self) {
        // A full channel is soon read; a closed one needs no message.
        let _ = self.0.send(WatcherMessage::Stop);
    }
}

/// Changes in the folder since this was created.
pub(crate) struct FolderChanges {
    /// The folder's path as the system reports it in its events.
    path: PathBuf,
    watcher: RecommendedWatcher,
    teller: SyncSender<WatcherMessage>,
    told: Receiver<WatcherMessage>,
}

impl FolderChanges {
    /// Starts to watch the folder.
    ///
    /// # Errors
    /// Fails if the folder does not exist or cannot be watched.
    pub(crate) fn of(folder: &Path) -> Result<Self, notify::Error> {
        let path = folder.canonicalize().map_err(notify::Error::io)?;
        // One waiting change represents all changes; the other place is for the stop message.
        let (teller, told) = sync_channel(2);
        let mut watcher = notify::recommended_watcher(on_change(path.clone(), teller.clone()))?;
        watcher.watch(&path, RecursiveMode::Recursive)?;
        if let Some(around) = path.parent() {
            // The folder itself may be moved away and replaced by another.
            watcher.watch(around, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { path, watcher, teller, told })
    }
}

impl PacksFolder {
    /// Reads the folder after each change that settles, including earlier ones; `tell` gets the result.
    /// `at_start` is the result of reading the folder at the start.
    pub(crate) fn watch(self, changes: FolderChanges, at_start: PacksRead, tell: Tell) -> Result<WatchedFolder, notify::Error> {
        let FolderChanges { path, watcher, teller, told } = changes;
        let watching = Watching { folder: self, path, watcher, known: at_start.findings.into_iter().collect(), refused: at_start.refused };
        std::thread::Builder::new().name("packs".into()).spawn(move || watching.run(&told, &tell)).map_err(notify::Error::io)?;
        Ok(WatchedFolder(teller))
    }

    fn take_in_patiently(&self) -> Result<PacksRead, TakeInError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.take_in() {
                Err(TakeInError::Refused(SubmitError::Busy)) if tries < TRIES_MAX => std::thread::sleep(TRY_AGAIN_AFTER),
                done => return done,
            }
        }
    }
}

/// The thread's own data: what it watches with, and what it already reported.
struct Watching {
    folder: PacksFolder,
    /// The folder's path as the system reports it in its events.
    path: PathBuf,
    watcher: RecommendedWatcher,
    known: BTreeSet<String>,
    refused: BTreeSet<PackName>,
}

impl Watching {
    fn run(mut self, told: &Receiver<WatcherMessage>, tell: &Tell) {
        while let Ok(WatcherMessage::Changed) = told.recv() {
            if !is_quiet(told) {
                return;
            }
            // The folder may be a different one by now, with the same name.
            let _ = self.watcher.unwatch(&self.path);
            if let Err(error) = self.watcher.watch(&self.path, RecursiveMode::Recursive) {
                tell(PacksNews::Failed(format!("the packs folder cannot be watched ({error}); the installed packs stay active")));
                continue;
            }
            match self.folder.take_in_patiently() {
                Ok(read) => tell(PacksNews::Read(self.news(read))),
                Err(TakeInError::Refused(SubmitError::Stopping)) => return,
                Err(error) => tell(PacksNews::Failed(error.to_string())),
            }
        }
    }

    /// Removes messages that were reported before and still hold.
    fn news(&mut self, mut read: PacksRead) -> PacksRead {
        let findings = std::mem::take(&mut read.findings);
        read.findings = findings.iter().filter(|finding| !self.known.contains(*finding)).cloned().collect();
        self.known = findings.into_iter().collect();
        let refused = std::mem::replace(&mut self.refused, read.refused.clone());
        read.mended = refused.into_iter().filter(|pack| !read.refused.contains(pack) && !read.live.contains_key(pack)).collect();
        read
    }
}

/// Forwards that something changed. Mere access is ignored, otherwise reading the folder would trigger another
/// reading.
fn on_change(folder: PathBuf, teller: SyncSender<WatcherMessage>) -> impl FnMut(notify::Result<notify::Event>) {
    move |event| match event {
        Ok(event) if event.kind.is_access() => {}
        Ok(event) if !event.need_rescan() && event.paths.iter().all(|path| !is_read(path, &folder)) => {}
        // A full channel already contains a message that something changed.
        Ok(_) => drop(teller.try_send(WatcherMessage::Changed)),
        Err(error) => {
            tracing::warn!(%error, "the packs folder is not watched completely");
            drop(teller.try_send(WatcherMessage::Changed));
        }
    }
}

/// Returns true if the node reads this path: it is in the folder, and is neither an editor's swap file nor part
/// of version control.
fn is_read(path: &Path, folder: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(folder) else { return false };
    inside.components().all(|part| part.as_os_str().to_str().is_none_or(|name| !name.starts_with('.') && !name.ends_with('~')))
}

/// Waits until nothing has changed for a while. Returns true if the node still runs.
fn is_quiet(told: &Receiver<WatcherMessage>) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < QUIET_PATIENCE {
        match told.recv_timeout(QUIET) {
            Ok(WatcherMessage::Changed) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(WatcherMessage::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use ensue_engine::catalog::DELIVERY_BYTES_DEFAULT;
    use ensue_engine::catalog::state::InstalledPacks;
    use ensue_engine::command::Answer;
    use ensue_engine::ids::{Id, LogId};
    use ensue_engine::ports::{CommitReceipt, Log as _, Reply, Submit};
    use ensue_engine::record::Position;
    use ensue_engine::time::Timestamp;
    use ensue_store::memory::MemoryLog;

    use super::*;
    use crate::clock::SystemClock;

    /// Longer than reading a folder takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Accepts every change.
    struct AcceptingSequencer;

    impl Submit for AcceptingSequencer {
        fn submit(&self, _: Command, reply: Reply) {
            reply(Ok(CommitReceipt { position: Position(1), answer: Answer::Catalog(CatalogRevision(1)) }));
        }
    }

    impl Asking for AcceptingSequencer {
        fn ask(&self, _: Command) -> Result<ensue_engine::ports::CommitReceipt, SubmitError> {
            Ok(CommitReceipt { position: Position(1), answer: Answer::Catalog(CatalogRevision(1)) })
        }
    }

    #[test]
    fn file_saved_during_the_start_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (packs, copies) = (folder.path().join("packs"), folder.path().join("copies"));
        std::fs::create_dir(&packs).unwrap();
        let log = MemoryLog::new(LogId(Id::root(Timestamp::from_micros(1), 1)));
        let packs_folder = PacksFolder {
            path: packs.clone(),
            settings: BTreeMap::new(),
            delivery_bytes_max: DELIVERY_BYTES_DEFAULT,
            accepted: AcceptedPermissions::default(),
            catalogs: Arc::new(NodeCatalogs::open(copies, InstalledPacks::default(), log.reader().unwrap()).unwrap()),
            sequencer: Arc::new(AcceptingSequencer),
            clock: Arc::new(SystemClock::default()),
        };
        let changes = FolderChanges::of(&packs).unwrap();
        let at_start = packs_folder.take_in().unwrap();
        std::fs::create_dir(packs.join("late")).unwrap();
        std::fs::write(packs.join("late/pack.yaml"), "name: late\nversion: 1.0.0\n").unwrap();
        let (sender, news) = sync_channel(1);
        let watched = packs_folder.watch(changes, at_start, Box::new(move |one| drop(sender.send(one)))).unwrap();
        let PacksNews::Read(read) = news.recv_timeout(PATIENCE).unwrap() else { panic!("it was not read") };
        assert!(read.live.contains_key(&"late".parse().unwrap()), "{read:?}");
        drop(watched);
    }

    #[test]
    fn editor_s_temporary_file_is_not_a_change() {
        let folder = Path::new("/packs");
        assert!(!is_read(Path::new("/packs/release/rules/.ship.yaml.swp"), folder));
        assert!(!is_read(Path::new("/packs/.git/index"), folder));
        assert!(!is_read(Path::new("/packs/release/rules/ship.yaml~"), folder));
        assert!(is_read(Path::new("/packs/release/rules/ship.yaml"), folder));
        assert!(is_read(folder, folder));
    }

    #[test]
    fn file_outside_of_the_packs_folder_is_not_a_change() {
        assert!(!is_read(Path::new("/ensue.yaml"), Path::new("/packs")));
    }
}
