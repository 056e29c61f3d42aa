//! The fold guard: finds the record whose folding into a view ends the process, or never ends, so that it is skipped.
//!
//! A panic is contained where it happens. The fold guard is for failures that cannot be contained: a full stack, an
//! abort, an endless loop. In the usual case it costs one small file per start, with the position from which the
//! views continue. If an earlier process continued from the same position and never got further, the next process
//! folds record by record, and notes each record before it folds it. The notes are in the kernel's buffers, not on
//! the disk: they must survive the end of the process, not a power failure. A view reports which records were left
//! out of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_engine::record::Position;
use ensue_views::ViewName;
use ensue_views::onlooker::{Care, Onlooker};
use serde::{Deserialize, Serialize};

use crate::crash_file::ENDS_MAX;

/// How many processes, including the current one, must have continued from the same position before the next records
/// are folded one by one.
const SUSPECT_FROM: u32 = 2;
/// How many records are then folded one by one: more than are ever folded at once.
const SUSPECT_RECORDS: u64 = 16 * 1024;
/// The maximum number of records that are remembered as left out. If a forgotten one ends a process again, it is
/// found again.
const LEFT_OUT_MAX: usize = 100;

/// How long one fold may take, counted in looks at it: while a process is suspended, no looks are counted either.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The time between two looks.
    pub(crate) look_every: Duration,
    /// How often the same fold is seen before it counts as endless.
    pub(crate) looks: u32,
}

impl Patience {
    /// A minute: folding one batch takes milliseconds.
    pub(crate) const MINUTE: Self = Self { look_every: Duration::from_secs(1), looks: 60 };
}

/// The content of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct GuardNotes {
    /// The release that wrote the file: another release may fold differently.
    release: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<Began>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folding: Option<Folding>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
}

/// The position from which the views continued when a process started.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Began {
    behind: Position,
    /// How many processes in a row have started there, including the current one.
    processes: u32,
}

/// A record that is being folded into a view.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Folding {
    what: LeftOut,
    /// How many processes in a row have started with it, including the current one.
    processes: u32,
}

/// A record, and the view that it is left out of, or may have to be left out of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    view: String,
    position: Position,
}

impl LeftOut {
    fn is(&self, view: ViewName, position: Position) -> bool {
        self.position == position && self.view == view.as_str()
    }
}

/// The records that are left out of views because they end the process; a clone refers to the same list.
#[derive(Clone, Default)]
pub(crate) struct AllLeftOut(Arc<Mutex<Vec<LeftOut>>>);

impl AllLeftOut {
    fn list(&self) -> MutexGuard<'_, Vec<LeftOut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, what: LeftOut) {
        let mut list = self.list();
        if list.len() >= LEFT_OUT_MAX {
            list.remove(0);
        }
        list.push(what);
    }

    fn why() -> String {
        format!("the process ended {ENDS_MAX} times while this was folded")
    }
}

/// A rebuild of the views leaves out the same records.
impl Onlooker for AllLeftOut {
    fn care(&self, first: Position, last: Position) -> Care {
        let is_among = self.list().iter().any(|one| (first..=last).contains(&one.position));
        if is_among { Care::OneByOne } else { Care::AtOnce }
    }

    fn begin_all(&mut self, _: Position) {}

    fn begin_one(&mut self, view: ViewName, position: Position) -> Option<String> {
        self.list().iter().any(|one| one.is(view, position)).then(Self::why)
    }

    fn end(&mut self) {}

    fn note_stored(&mut self, _: Position) {}
}

/// Observes the folding of the live views.
pub struct FoldGuard {
    path: PathBuf,
    /// The fold during which the previous process ended, as far as known.
    found: Option<Folding>,
    /// The position up to which records are folded one by one.
    suspect_until: Option<Position>,
    began: Option<Began>,
    folding: Option<Folding>,
    left_out: AllLeftOut,
    under_way: Arc<UnderWay>,
    /// Ends the watch when it is dropped; `None` if there is no watch.
    _watch: Option<SyncSender<()>>,
}

impl FoldGuard {
    /// Reads the notes of earlier processes, and notes that this process continues after `behind`. Endless folds are
    /// not watched for yet.
    pub fn open(path: &Path, behind: Position) -> Self {
        let found: GuardNotes = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let found = if found.release == crate::release::RELEASE { found } else { GuardNotes::default() };
        let processes = found.began.filter(|began| began.behind == behind).map_or(0, |began| began.processes) + 1;
        let under_way = Arc::new(UnderWay::default());
        let guard = Self {
            path: path.to_owned(),
            found: found.folding,
            suspect_until: (processes >= SUSPECT_FROM).then(|| Position(behind.0.saturating_add(SUSPECT_RECORDS))),
            began: Some(Began { behind, processes }),
            folding: None,
            left_out: AllLeftOut(Arc::new(Mutex::new(found.left_out))),
            under_way,
            _watch: None,
        };
        guard.write();
        guard
    }

    /// Starts a thread that ends the process if a fold does not finish. Returns an error if the thread cannot be
    /// started.
    pub(crate) fn with_watch(mut self, patience: Patience) -> std::io::Result<Self> {
        let (watch, ended) = sync_channel(0);
        let watched = self.under_way.clone();
        std::thread::Builder::new().name("views-watch".into()).spawn(move || watched.watch(&ended, patience))?;
        self._watch = Some(watch);
        Ok(self)
    }

    /// Returns the records that are left out, for a rebuild of the views.
    pub(crate) fn left_out(&self) -> AllLeftOut {
        self.left_out.clone()
    }

    fn is_suspect(&self, position: Position) -> bool {
        self.suspect_until.is_some_and(|until| position <= until)
    }

    fn write(&self) {
        let left_out = self.left_out.list().clone();
        if self.began.is_none() && self.folding.is_none() && left_out.is_empty() {
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "`views-crash.json` cannot be removed")
                }
                Ok(()) | Err(_) => {}
            }
            return;
        }
        let written =
            GuardNotes { release: crate::release::RELEASE.to_owned(), began: self.began, folding: self.folding.clone(), left_out };
        let text = serde_json::to_vec(&written).expect("numbers and texts always have a JSON form");
        // Without the note, the worst case is one more start that ends in the same way.
        if let Err(error) = std::fs::write(&self.path, text) {
            tracing::warn!(%error, "`views-crash.json` cannot be written");
        }
    }
}

impl Onlooker for FoldGuard {
    fn care(&self, first: Position, last: Position) -> Care {
        if self.is_suspect(first) { Care::OneByOne } else { self.left_out.care(first, last) }
    }

    fn begin_all(&mut self, last: Position) {
        self.under_way.begin(FoldInProgress::All { last });
    }

    fn begin_one(&mut self, view: ViewName, position: Position) -> Option<String> {
        if let Some(why) = self.left_out.begin_one(view, position) {
            return Some(why);
        }
        if self.is_suspect(position) {
            let before = self.found.as_ref().filter(|found| found.what.is(view, position)).map_or(0, |found| found.processes);
            let what = LeftOut { view: view.as_str().to_owned(), position };
            if before >= ENDS_MAX {
                tracing::error!(%view, %position, "a record that ended the process {ENDS_MAX} times while it was folded is left out of a view: report this");
                self.left_out.add(what);
                self.found = None;
                self.write();
                return Some(AllLeftOut::why());
            }
            self.folding = Some(Folding { what, processes: before + 1 });
            self.write();
        }
        self.under_way.begin(FoldInProgress::One { view, position });
        None
    }

    fn end(&mut self) {
        self.under_way.end();
        if self.folding.take().is_some() {
            self.write();
        }
    }

    /// Only stored records count as progress: the next process meets again the records that were folded but not
    /// stored. Views that are built next to the live ones catch up with the position of the live ones.
    fn note_stored(&mut self, through: Position) {
        if self.began.is_some_and(|began| through > began.behind) {
            self.began = None;
            self.write();
        }
    }
}

/// A process that stops in an orderly way leaves no suspicion.
impl Drop for FoldGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            (self.began, self.folding) = (None, None);
            self.write();
        }
    }
}

/// The fold in progress.
#[derive(Clone, Copy)]
enum FoldInProgress {
    /// All records up to a position.
    All { last: Position },
    /// One record into one view.
    One { view: ViewName, position: Position },
}

impl fmt::Display for FoldInProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All { last } => write!(f, "the records up to position {last}"),
            Self::One { view, position } => write!(f, "the record at position {position} into `{view}`"),
        }
    }
}

/// The fold in progress, as seen from outside.
#[derive(Default)]
struct UnderWay(Mutex<(u64, Option<FoldInProgress>)>);

impl UnderWay {
    fn now(&self) -> MutexGuard<'_, (u64, Option<FoldInProgress>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, fold: FoldInProgress) {
        let mut now = self.now();
        *now = (now.0 + 1, Some(fold));
    }

    fn end(&self) {
        self.now().1 = None;
    }

    /// Looks at the fold until the guard is gone. An endless fold ends the whole process: a single thread cannot be
    /// ended, and the next process finds the record.
    fn watch(&self, ended: &Receiver<()>, patience: Patience) {
        let (mut seen, mut looks) = (0, 0);
        while ended.recv_timeout(patience.look_every) == Err(RecvTimeoutError::Timeout) {
            let (number, fold) = *self.now();
            looks = if fold.is_some() && number == seen { looks + 1 } else { 0 };
            seen = number;
            if let Some(fold) = fold.filter(|_| looks >= patience.looks) {
                tracing::error!(%fold,
                    "folding into the views does not finish: the process ends, and the next one finds the record that causes it"
                );
                std::process::abort();
            }
        }
    }
}

#[cfg(test)]
mod tests;
