//! The fold guard: finds the record whose folding into a view ends the process, or never ends, so that it is passed over.
//!
//! A panic is contained where it happens; this is for what cannot be: a full stack, an abort, a loop without an end. In the usual case
//! it costs one small file a start: from where the views go on. Who finds that a process before it went on from the same place and never
//! got further folds record by record, and notes each before. The notes are in the kernel's hands, not on the disk: they are to outlive
//! the process, not a power cut. Which record is left out of a view is told by the view.

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

/// How many processes must have gone on from the same place for the next records to be folded one by one, the newest included.
const SUSPECT_FROM: u32 = 2;
/// How many records are folded one by one then: more than are ever folded at once.
const SUSPECT_RECORDS: u64 = 16 * 1024;
/// The most records that are remembered to be left out; what ended no process any more for so long is found again when it does.
const LEFT_OUT_MAX: usize = 100;

/// How long one fold may take, in looks at it: a process that stood still was not looked at either.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How often is looked.
    pub(crate) look_every: Duration,
    /// How often the same fold is seen before it counts as one without an end.
    pub(crate) looks: u32,
}

impl Patience {
    /// A minute: what is folded at once takes milliseconds.
    pub(crate) const MINUTE: Self = Self { look_every: Duration::from_secs(1), looks: 60 };
}

/// What the file says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Written {
    /// The release that wrote it: another one may fold otherwise.
    release: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<Began>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folding: Option<Folding>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
}

/// From where the views went on when a process began.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Began {
    behind: Position,
    /// How many processes in a row have begun there, this one included.
    processes: u32,
}

/// A record that is being folded into a view.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Folding {
    what: LeftOut,
    /// How many processes in a row have begun with it, this one included.
    processes: u32,
}

/// A record, and the view that it is left out of, or may have to be.
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

/// The records that are left out of views because they end the process; a clone is the same list.
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

/// Whoever makes views anew leaves out the same.
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

    fn kept(&mut self, _: Position) {}
}

/// Looks on while the live views are folded.
pub struct FoldGuard {
    path: PathBuf,
    /// In what the process before this one ended, as far as is known.
    found: Option<Folding>,
    /// Up to where records are folded one by one.
    suspect_until: Option<Position>,
    began: Option<Began>,
    folding: Option<Folding>,
    left_out: AllLeftOut,
    under_way: Arc<UnderWay>,
    /// Ends the watch when it is dropped; none where nobody watches.
    _watch: Option<SyncSender<()>>,
}

impl FoldGuard {
    /// Reads what the processes before this one left, and notes that this one goes on behind `behind`. Nobody watches for a fold without
    /// an end yet.
    pub fn open(path: &Path, behind: Position) -> Self {
        let found: Written = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let found = if found.release == crate::release::RELEASE { found } else { Written::default() };
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

    /// Has a thread look on that ends the process where a fold does not come to its end; an error is that there is none to be had.
    pub(crate) fn watched(mut self, patience: Patience) -> std::io::Result<Self> {
        let (watch, ended) = sync_channel(0);
        let watched = self.under_way.clone();
        std::thread::Builder::new().name("views-watch".into()).spawn(move || watched.watch(&ended, patience))?;
        self._watch = Some(watch);
        Ok(self)
    }

    /// Gives what is left out, for whoever makes the views anew.
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
        let written = Written { release: crate::release::RELEASE.to_owned(), began: self.began, folding: self.folding.clone(), left_out };
        let text = serde_json::to_vec(&written).expect("numbers and texts always have a JSON form");
        // Without the note the worst is one more start that ends alike.
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
        self.under_way.begin(Fold::All { last });
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
        self.under_way.begin(Fold::One { view, position });
        None
    }

    fn end(&mut self) {
        self.under_way.end();
        if self.folding.take().is_some() {
            self.write();
        }
    }

    /// Only what is kept is further: what a process folded and did not keep, the next one meets again. Views that are built beside the
    /// live ones come to where those stand.
    fn kept(&mut self, through: Position) {
        if self.began.is_some_and(|began| through > began.behind) {
            self.began = None;
            self.write();
        }
    }
}

/// What is stopped in order leaves no suspicion.
impl Drop for FoldGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            (self.began, self.folding) = (None, None);
            self.write();
        }
    }
}

/// What is being folded.
#[derive(Clone, Copy)]
enum Fold {
    /// All records up to a position.
    All { last: Position },
    /// One record into one view.
    One { view: ViewName, position: Position },
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All { last } => write!(f, "the records up to position {last}"),
            Self::One { view, position } => write!(f, "the record at position {position} into `{view}`"),
        }
    }
}

/// What is being folded, as it is seen from outside.
#[derive(Default)]
struct UnderWay(Mutex<(u64, Option<Fold>)>);

impl UnderWay {
    fn now(&self) -> MutexGuard<'_, (u64, Option<Fold>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, fold: Fold) {
        let mut now = self.now();
        *now = (now.0 + 1, Some(fold));
    }

    fn end(&self) {
        self.now().1 = None;
    }

    /// Looks at it until the guard is gone. A fold without an end takes the process with it: no thread can be ended alone, and the next
    /// process finds which record it was.
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
