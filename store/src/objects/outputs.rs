//! Outputs in a folder, which a thread copies to the shared store while they are written.
//!
//! An object holds what a stream printed from an offset on, and its part is named by the stream and the offset. The last
//! object of an attempt says how much was copied and how much was printed, so that a copy that lacks something says so.
//! Each object has a seal, which only a node of the log can make.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ensue_engine::ids::AttemptId;
use ensue_engine::ports::{OutputError, OutputPart, OutputState, OutputStream, Outputs};
use lru::LruCache;
use serde::{Deserialize, Serialize};

use super::{Object, ObjectError, ObjectKind, ObjectOwner, ObjectPart, Objects, OutputSeal, expire};
use crate::disk_retention::{Disposable, Expiring, Round, Step};
use crate::outputs::{CopyState, FolderOutputs, Now, index};

/// How often new output is copied.
const COPY_EVERY: Duration = Duration::from_secs(5);
/// The maximum number of bytes copied in one call.
const CALL_BYTES_MAX: usize = 1024 * 1024;
/// The maximum number of attempts whose output waits to be copied, while the shared store does not answer.
const WAITING_MAX: usize = 100_000;
/// How many attempts without output in the shared store are remembered, and for how long.
const ABSENT_MAX: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
const ABSENT_FOR: Duration = Duration::from_secs(10);

/// The name of the object that ends an attempt's output.
const END: &str = "end";

/// Outputs in a folder and in a shared store.
///
/// Of each stream, the shared store has the beginning, as long as it allows. What was printed in the last seconds before a
/// node was killed may be missing from it.
pub struct SharedOutputs {
    sharing: Arc<Sharing>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Sharing {
    local: FolderOutputs,
    objects: Arc<dyn Objects>,
    seal: OutputSeal,
    now: Now,
    waiting: Mutex<CopyQueue>,
    /// Held while outputs are copied to the shared store.
    copying: Mutex<()>,
    /// Held while an output is copied from there, so that nobody takes the copied part for the whole.
    fetching: Mutex<()>,
}

struct CopyQueue {
    /// The attempts with output that this process copies.
    attempts: BTreeMap<AttemptId, CopiedOutput>,
    /// The attempts that began under another process, which may have copied output of theirs.
    inherited: BTreeSet<AttemptId>,
    /// What is known of the output of such attempts. It may lack what they printed last, until their program is heard here.
    taken_over: BTreeMap<AttemptId, CopyState>,
    /// When attempts were found to have no output in the shared store.
    absent: LruCache<AttemptId, Instant>,
}

/// How much of an attempt's output was copied.
#[derive(Clone, Copy, Default)]
struct CopiedOutput {
    /// The bytes of each stream.
    bytes: [u64; 2],
    /// Whether there may be more in the folder.
    has_more: bool,
    is_finished: bool,
    /// Whether more may have been printed than this process knows.
    is_beginning: bool,
}

/// The content of the last object.
#[derive(Serialize, Deserialize)]
struct SharedOutputEnd {
    /// How many bytes each stream printed.
    stdout_bytes: u64,
    stderr_bytes: u64,
    /// How many bytes of each stream were copied. An end without a seal does not say it.
    #[serde(default)]
    copied: Option<[u64; 2]>,
    /// Whether more may have been printed: the machine of the attempt was lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_beginning: bool,
}

impl SharedOutputEnd {
    /// Returns the number of copied bytes of a stream, or 0 if it is unknown.
    fn copied_bytes(&self, stream: OutputStream) -> u64 {
        self.copied.map_or(0, |copied| copied[index(stream)])
    }
}

impl SharedOutputs {
    /// Shares the outputs of a folder, from a thread of its own that ends with this value.
    pub fn of(local: FolderOutputs, (objects, seal): (Arc<dyn Objects>, OutputSeal), now: Now) -> io::Result<Self> {
        let (attempts, inherited, taken_over) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let waiting = CopyQueue { attempts, inherited, taken_over, absent: LruCache::new(ABSENT_MAX) };
        let (waiting, copying, fetching) = (Mutex::new(waiting), Mutex::default(), Mutex::default());
        let sharing = Arc::new(Sharing { local, objects, seal, now, waiting, copying, fetching });
        let (stop, stopped) = sync_channel(1);
        let of_thread = sharing.clone();
        let thread = std::thread::Builder::new().name("share-outputs".into()).spawn(move || of_thread.copy_until(&stopped))?;
        Ok(Self { sharing, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the outputs in the folder.
    pub fn folder(&self) -> &FolderOutputs {
        &self.sharing.local
    }

    /// Copies what is not copied yet.
    pub fn copy(&self) -> Result<(), ObjectError> {
        self.sharing.copy()
    }

    /// Registers the attempts that were running when the node before stopped, as [`FolderOutputs::go_on`] does.
    pub fn go_on(&self, attempts: Vec<AttemptId>) -> Vec<OutputError> {
        self.sharing.waiting().inherited.extend(attempts.iter().copied());
        self.sharing.local.go_on(attempts)
    }
}

impl Expiring for SharedOutputs {
    fn used_bytes(&self) -> u64 {
        Disposable::used_bytes(&self.sharing.local)
    }

    /// The last part also removes old outputs from the shared store.
    fn step(&self, round: &mut Round) -> io::Result<Step> {
        let step = round.step(&self.sharing.local)?;
        if matches!(step, Step::Over(_)) {
            expire(&*self.sharing.objects, ObjectKind::Output, (round.limits(), (self.sharing.now)()));
        }
        Ok(step)
    }
}

impl Drop for SharedOutputs {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that copies outputs to the shared store panicked");
        }
    }
}

impl Outputs for SharedOutputs {
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        self.sharing.take_over(attempt);
        self.sharing.local.append_at(attempt, stream, offset, bytes)?;
        let mut waiting = self.sharing.waiting();
        waiting.hear(attempt);
        waiting.attempts.entry(attempt).or_default().has_more = true;
        Ok(())
    }

    fn accepted_offset(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        self.sharing.take_over(attempt);
        self.sharing.local.accepted_offset(attempt, stream)
    }

    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError> {
        self.sharing.take_over(attempt);
        self.sharing.local.note_printed(attempt, stream, bytes)?;
        self.sharing.waiting().hear(attempt);
        Ok(())
    }

    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError> {
        self.sharing.take_over(attempt);
        let state = self.sharing.waiting().taken_over.get(&attempt).copied().unwrap_or(CopyState::Whole);
        let finished = self.sharing.local.finish_as(attempt, state);
        let mut waiting = self.sharing.waiting();
        if state == CopyState::Beginning {
            // Also where there is nothing to copy, so that nobody reads that nothing was printed.
            waiting.attempts.entry(attempt).or_default();
        }
        if let Some(copied) = waiting.attempts.get_mut(&attempt) {
            // It may be finished twice, and is no more than it was at first.
            let is_beginning = copied.is_beginning || state == CopyState::Beginning;
            *copied = CopiedOutput { has_more: true, is_finished: true, is_beginning, ..*copied };
        }
        if finished.is_ok() {
            waiting.taken_over.remove(&attempt);
        }
        finished
    }

    fn read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, OutputError> {
        self.sharing.take_over(attempt);
        let part = self.sharing.local.read(attempt, stream, offset, bytes_max)?;
        if part.state != OutputState::Open || self.sharing.is_written_here(attempt) || self.sharing.is_absent(attempt) {
            return Ok(part);
        }
        self.sharing.fetch_missing(attempt, stream)?;
        self.sharing.local.read(attempt, stream, offset, bytes_max)
    }

    fn tail(&self, attempt: AttemptId) -> Option<String> {
        self.sharing.local.tail(attempt)
    }
}

impl CopyQueue {
    /// Notes that the program of an attempt is heard here: how much it prints is known from now on.
    fn hear(&mut self, attempt: AttemptId) {
        if self.taken_over.get(&attempt) == Some(&CopyState::Beginning) {
            self.taken_over.remove(&attempt);
        }
    }

    /// Notes that an attempt has output to copy beyond these bytes of each stream. It may have finished.
    fn copy_beyond(&mut self, attempt: AttemptId, bytes: [u64; 2]) {
        let copied = self.attempts.entry(attempt).or_default();
        for (known, bytes) in copied.bytes.iter_mut().zip(bytes) {
            *known = bytes.max(*known);
        }
        copied.has_more = true;
    }
}

impl Sharing {
    fn waiting(&self) -> MutexGuard<'_, CopyQueue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy_until(&self, stopped: &Receiver<()>) {
        let mut has_failed = false;
        loop {
            let is_over = stopped.recv_timeout(COPY_EVERY) != Err(RecvTimeoutError::Timeout);
            match self.copy() {
                Ok(()) => has_failed = false,
                Err(error) if !has_failed => {
                    tracing::warn!(%error, "outputs are not copied to the shared store; they are copied later");
                    has_failed = true;
                }
                Err(_) => {}
            }
            if is_over {
                return;
            }
        }
    }

    fn copy(&self) -> Result<(), ObjectError> {
        let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_some();
        let due: Vec<AttemptId> =
            self.waiting().attempts.iter().filter(|(_, copied)| copied.has_more).map(|(attempt, _)| *attempt).collect();
        let mut call = Call::default();
        for attempt in due {
            // What is printed from here on is seen by the next round.
            let copied = self.waiting().attempts.get_mut(&attempt).map(|copied| {
                copied.has_more = false;
                *copied
            });
            let Some(mut copied) = copied else { continue };
            let gathered = self.gather(attempt, &mut copied, &mut call);
            call.attempts.insert(attempt, copied);
            if let Err(error) = gathered {
                self.put_back(&call.attempts);
                return Err(error);
            }
            if call.bytes >= CALL_BYTES_MAX {
                self.send(std::mem::take(&mut call))?;
            }
        }
        self.send(call)
    }

    /// Adds what is new in an attempt's output.
    fn gather(&self, attempt: AttemptId, copied: &mut CopiedOutput, call: &mut Call) -> Result<(), ObjectError> {
        let bytes_max = self.objects.bytes_max(ObjectKind::Output);
        for stream in OutputStream::ALL {
            let at = index(stream);
            loop {
                let room = usize::try_from(bytes_max - copied.bytes[at].min(bytes_max)).unwrap_or(usize::MAX).min(CALL_BYTES_MAX);
                // Output that cannot be read is not copied; its reader here gets the error.
                let part = self.local.read(attempt, stream, copied.bytes[at], room);
                let Some(part) = part.ok().filter(|part| !part.bytes.is_empty()) else { break };
                let name = format!("{}/{}", stream.as_str(), copied.bytes[at]);
                copied.bytes[at] = part.next;
                call.add(self.seal_part(attempt, name, &part.bytes));
                if call.bytes >= CALL_BYTES_MAX {
                    self.put(call)?;
                }
            }
        }
        if copied.is_finished {
            let [stdout_bytes, stderr_bytes] = OutputStream::ALL.map(|stream| self.printed_bytes(attempt, stream));
            let end = SharedOutputEnd { stdout_bytes, stderr_bytes, copied: Some(copied.bytes), is_beginning: copied.is_beginning };
            let content = serde_json::to_vec(&end).map_err(|error| ObjectError(error.to_string()))?;
            call.ends.push(self.seal_part(attempt, END.to_owned(), &content));
        }
        Ok(())
    }

    fn seal_part(&self, attempt: AttemptId, part: String, content: &[u8]) -> Object {
        let content = self.seal.append_seal((attempt, &part), content);
        Object { owner: owner(attempt), part, content }
    }

    /// Returns how many bytes of a finished stream were printed, as far as is known.
    fn printed_bytes(&self, attempt: AttemptId, stream: OutputStream) -> u64 {
        let kept = self.local.accepted_offset(attempt, stream).unwrap_or_default();
        match self.local.read(attempt, stream, kept, 1).map(|part| part.state) {
            Ok(OutputState::Truncated { bytes_dropped }) => kept + bytes_dropped,
            Ok(OutputState::Open | OutputState::Complete | OutputState::Removed) | Err(_) => kept,
        }
    }

    fn put(&self, call: &mut Call) -> Result<(), ObjectError> {
        self.objects.put(&call.objects, (self.now)())?;
        call.objects.clear();
        call.bytes = 0;
        Ok(())
    }

    /// Stores what was gathered, and notes how far each attempt was copied.
    fn send(&self, call: Call) -> Result<(), ObjectError> {
        let put = |objects: &[Object]| if objects.is_empty() { Ok(()) } else { self.objects.put(objects, (self.now)()) };
        // An end has the counts of the other objects, so it is stored last.
        if let Err(error) = put(&call.objects).and_then(|()| put(&call.ends)) {
            self.put_back(&call.attempts);
            return Err(error);
        }
        let mut waiting = self.waiting();
        for (attempt, copied) in call.attempts {
            if copied.is_finished {
                waiting.attempts.remove(&attempt);
            } else if let Some(known) = waiting.attempts.get_mut(&attempt) {
                known.bytes = copied.bytes;
            }
        }
        Ok(())
    }

    /// Marks attempts whose output could not be copied.
    fn put_back(&self, attempts: &BTreeMap<AttemptId, CopiedOutput>) {
        let mut waiting = self.waiting();
        for attempt in attempts.keys() {
            if let Some(known) = waiting.attempts.get_mut(attempt) {
                known.has_more = true;
            }
        }
    }

    /// Forgets the oldest finished attempts if too many wait.
    fn forget_some(&self) {
        let mut waiting = self.waiting();
        let excess = waiting.attempts.len().saturating_sub(WAITING_MAX);
        let finished = waiting.attempts.iter().filter(|(_, copied)| copied.is_finished).map(|(attempt, _)| *attempt);
        let forgotten: BTreeSet<AttemptId> = finished.take(excess).collect();
        if !forgotten.is_empty() {
            waiting.attempts.retain(|attempt, _| !forgotten.contains(attempt));
            tracing::warn!(
                attempts = forgotten.len(),
                "the output of attempts stays on this node only, because too many wait to be copied"
            );
        }
    }

    /// Copies what another process shared of an attempt's output, before this one adds to it.
    fn take_over(&self, attempt: AttemptId) {
        let is_inherited = || self.waiting().inherited.contains(&attempt);
        if !is_inherited() {
            return;
        }
        let _fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have taken it over meanwhile.
        if !is_inherited() {
            return;
        }
        let fetched = self.objects.parts(&owner(attempt)).map_err(FetchError::from);
        let fetched = fetched.and_then(|parts| if parts.is_empty() { Ok(None) } else { self.fetch(attempt, parts).map(Some) });
        let is_printed_here = self.is_printed_here(attempt);
        let mut waiting = self.waiting();
        // Together with what is known of it, for which other threads wait until then.
        waiting.inherited.remove(&attempt);
        match fetched {
            // What this machine printed before is here, and was not copied yet.
            Ok(None) if is_printed_here => waiting.copy_beyond(attempt, [0; 2]),
            // Its machine may be lost, with all that the attempt printed before the first copy.
            Ok(None) => {
                waiting.taken_over.insert(attempt, CopyState::Beginning);
            }
            Ok(Some(FetchedOutput { bytes, state })) => {
                let state = if state == CopyState::Unchecked { state } else { CopyState::Beginning };
                waiting.taken_over.insert(attempt, state);
                waiting.copy_beyond(attempt, bytes);
            }
            Err(error) => {
                // Where nothing of it is here, its readers look in the shared store again.
                if is_printed_here {
                    waiting.taken_over.insert(attempt, CopyState::Beginning);
                }
                drop(waiting);
                tracing::warn!(%attempt, %error, "what an attempt printed under another node cannot be read");
            }
        }
    }

    /// Returns true if the folder has a part of what an attempt printed.
    fn is_printed_here(&self, attempt: AttemptId) -> bool {
        OutputStream::ALL.into_iter().any(|stream| self.local.accepted_offset(attempt, stream).is_ok_and(|bytes| bytes > 0))
    }

    /// Returns true if this process writes the output of an attempt.
    fn is_written_here(&self, attempt: AttemptId) -> bool {
        self.waiting().attempts.contains_key(&attempt)
    }

    /// Returns true if the shared store was found to have no output of an attempt a moment ago.
    fn is_absent(&self, attempt: AttemptId) -> bool {
        self.waiting().absent.get(&attempt).is_some_and(|since| since.elapsed() < ABSENT_FOR)
    }

    /// Copies the output of an attempt from the shared store, if the folder does not have it. `wanted` is named in an error
    /// that concerns both streams.
    fn fetch_missing(&self, attempt: AttemptId, wanted: OutputStream) -> Result<(), OutputError> {
        let failed = |why: String| OutputError::Store { attempt, why };
        let _fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        // A process that was killed may have left the beginning of a copy.
        self.local.discard_copy(attempt)?;
        if self.local.has(attempt).map_err(|error| failed(error.to_string()))? {
            return Ok(());
        }
        let parts = self.objects.parts(&owner(attempt)).map_err(|error| failed(error.to_string()))?;
        if parts.is_empty() {
            self.waiting().absent.put(attempt, Instant::now());
            return Ok(());
        }
        let copied = self.local.begin_copy(attempt).map_err(FetchError::from).and_then(|()| {
            let fetched = self.fetch(attempt, parts)?;
            Ok(self.local.finish_copy(attempt, fetched.state)?)
        });
        copied.map_err(|error| {
            if let Err(error) = self.local.discard_copy(attempt) {
                tracing::warn!(%attempt, %error, "a part of an output that was not copied to its end cannot be removed");
            }
            match error {
                FetchError::Shared(error) => failed(error.to_string()),
                FetchError::Local(error) => error,
                FetchError::Damaged { stream, why } => OutputError::Damaged { attempt, stream: stream.unwrap_or(wanted).as_str(), why },
            }
        })
    }

    /// Copies an attempt's output from these parts in the shared store. Only bytes that a node sealed reach the folder, or
    /// those of an attempt from before there were seals.
    fn fetch(&self, attempt: AttemptId, parts: Vec<ObjectPart>) -> Result<FetchedOutput, FetchError> {
        let mut is_checked = true;
        let end = match parts.iter().any(|part| part.name == END) {
            true => self.objects.get(&owner(attempt), &[END.to_owned()])?.pop(),
            false => None,
        };
        let end = end.map(|end| {
            let content = self.unseal_part(attempt, end, &mut is_checked).ok_or_else(|| FetchError::from_damage(None, NOT_SEALED))?;
            serde_json::from_slice::<SharedOutputEnd>(&content)
                .map_err(|_| FetchError::from_damage(None, "its end in the shared store cannot be read"))
        });
        let end = end.transpose()?;
        let mut chunks: Vec<Chunk> = parts.into_iter().filter_map(Chunk::of).collect();
        chunks.sort_by_key(|chunk| chunk.offset);
        let mut fetched = [0; 2];
        let beside = if self.seal.is_older(attempt) { 0 } else { OutputSeal::BYTES };
        let mut chunks = chunks.as_slice();
        while !chunks.is_empty() {
            let (some, rest) = chunks.split_at(count_within(chunks, CALL_BYTES_MAX as u64));
            let names: Vec<String> = some.iter().map(|chunk| chunk.part.name.clone()).collect();
            let objects = self.objects.get(&owner(attempt), &names)?;
            let mut objects: BTreeMap<String, Object> = objects.into_iter().map(|object| (object.part.clone(), object)).collect();
            for Chunk { stream, offset, part } in some {
                let bytes = &mut fetched[index(*stream)];
                // A chunk that was sent again may begin earlier and end later.
                if part.bytes.checked_sub(beside).is_some_and(|content| offset.saturating_add(content) <= *bytes) {
                    continue;
                }
                if *offset > *bytes {
                    // Nobody knows what is between, and so the end of a copy that never was complete does not count it either.
                    if end.as_ref().is_none_or(|end| end.is_beginning && end.copied_bytes(*stream) <= *bytes) {
                        continue;
                    }
                    return Err(FetchError::from_damage(Some(*stream), LACKING));
                }
                let Some(object) = objects.remove(&part.name) else {
                    return Err(ObjectError(format!("the part `{}` of an output was removed meanwhile", part.name)).into());
                };
                let Some(content) = self.unseal_part(attempt, object, &mut is_checked) else {
                    return Err(FetchError::from_damage(Some(*stream), NOT_SEALED));
                };
                self.local.append_at(attempt, *stream, *offset, &content)?;
                *bytes = offset.saturating_add(content.len() as u64).max(*bytes);
            }
            chunks = rest;
        }
        if let Some(end) = &end {
            for stream in OutputStream::ALL {
                if fetched[index(stream)] < end.copied_bytes(stream) {
                    return Err(FetchError::from_damage(Some(stream), LACKING));
                }
            }
            self.local.note_printed(attempt, OutputStream::Stdout, end.stdout_bytes)?;
            self.local.note_printed(attempt, OutputStream::Stderr, end.stderr_bytes)?;
        }
        let state = match (is_checked, end) {
            (true, Some(SharedOutputEnd { is_beginning: false, .. })) => CopyState::Whole,
            (true, Some(_) | None) => CopyState::Beginning,
            (false, _) => CopyState::Unchecked,
        };
        Ok(FetchedOutput { bytes: fetched, state })
    }

    /// Returns the content of an object that a node sealed. Of an attempt from before there were seals, it returns any other
    /// content too, and notes that.
    fn unseal_part(&self, attempt: AttemptId, object: Object, is_checked: &mut bool) -> Option<Vec<u8>> {
        match self.seal.strip_seal((attempt, &object.part), object.content) {
            Ok(content) => Some(content),
            Err(content) => {
                *is_checked = false;
                self.seal.is_older(attempt).then_some(content)
            }
        }
    }
}

/// An output that was copied from the shared store.
struct FetchedOutput {
    /// How many bytes of each stream it has.
    bytes: [u64; 2],
    state: CopyState,
}

const NOT_SEALED: &str = "its bytes in the shared store are not those that a node wrote";
const LACKING: &str = "bytes of it are missing in the shared store";

/// Objects to be stored in one call, and the attempts that are copied with it.
#[derive(Default)]
struct Call {
    objects: Vec<Object>,
    ends: Vec<Object>,
    bytes: usize,
    attempts: BTreeMap<AttemptId, CopiedOutput>,
}

impl Call {
    fn add(&mut self, object: Object) {
        self.bytes += object.content.len();
        self.objects.push(object);
    }
}

/// Why output was not copied from the shared store.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Shared(#[from] ObjectError),
    #[error(transparent)]
    Local(#[from] OutputError),
    #[error("{why}")]
    Damaged { stream: Option<OutputStream>, why: &'static str },
}

impl FetchError {
    fn from_damage(stream: Option<OutputStream>, why: &'static str) -> Self {
        Self::Damaged { stream, why }
    }
}

fn owner(attempt: AttemptId) -> ObjectOwner {
    ObjectOwner { kind: ObjectKind::Output, name: attempt.to_string() }
}

/// A part with what a stream printed from an offset on.
struct Chunk {
    stream: OutputStream,
    offset: u64,
    part: ObjectPart,
}

impl Chunk {
    fn of(part: ObjectPart) -> Option<Self> {
        let (stream, offset) = part.name.split_once('/')?;
        let stream = OutputStream::ALL.into_iter().find(|known| known.as_str() == stream)?;
        Some(Self { stream, offset: offset.parse().ok()?, part })
    }
}

/// Returns how many of the first chunks have at most so many bytes together; at least one.
fn count_within(chunks: &[Chunk], bytes_max: u64) -> usize {
    let mut bytes = 0;
    let fits = |chunk: &&Chunk| {
        bytes += chunk.part.bytes;
        bytes <= bytes_max
    };
    chunks.iter().take_while(fits).count().max(1)
}
