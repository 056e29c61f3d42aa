//! The worker's ports, controlled by the test.
//!
//! They follow the test's script and record what they receive; the expectations are in the tests.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{Catalog, Catalogs};
use ensue_engine::command::{Answer, Ask, Command, Refusal};
use ensue_engine::ids::AttemptId;
use ensue_engine::names::{KeyRef, VarName};
use ensue_engine::ports::{
    BlobError, BlobPart, Blobs, CommitReceipt, KeptBlob, NewBlob, OutputError, OutputPart, OutputStream, Outputs, Reply, Secret, Submit,
    SubmitError,
};
use ensue_engine::record::{BodyHandle, CatalogRevision, Digest, Position};
use ensue_engine::vars::reads::VarReads;
use ensue_executor::Clock;
use ensue_executor::ports::{Bodies, BodyError, KeyError, KeyUser, Keys, PackFiles, Vars};
use tokio::sync::{mpsc, watch};

use super::{SECRET, attempt};

/// Answers as scripted, then always with success; rejected commands are recorded as well.
pub(super) struct ScriptedSubmit {
    pub(super) answers: Mutex<VecDeque<Result<Answer, SubmitError>>>,
    pub(super) asked: mpsc::UnboundedSender<Ask>,
}

impl Submit for ScriptedSubmit {
    fn submit(&self, command: Command, reply: Reply) {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Answer::Done));
        if matches!(answer, Ok(_) | Err(SubmitError::Refused(_))) {
            let _ = self.asked.send(command.ask);
        }
        reply(answer.map(|answer| CommitReceipt { position: Position(9), answer }));
    }
}

pub(crate) fn refuse_with(refusal: Refusal) -> Result<Answer, SubmitError> {
    Err(SubmitError::Refused(refusal))
}

/// Knows one catalog.
pub(super) struct OneCatalog(pub(super) Arc<Catalog>);

impl Catalogs for OneCatalog {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        (revision == self.0.revision()).then(|| self.0.clone())
    }
}

/// Stores the bodies of dispatches.
pub(super) struct KeptBodies {
    pub(super) kept: Mutex<BTreeMap<Digest, Bytes>>,
    pub(super) hand: Hand,
}

/// Where bodies are stored.
#[derive(Clone, Copy)]
pub(super) enum Hand {
    AtHand,
    InTheLog,
}

impl Bodies for KeptBodies {
    fn at_hand(&self, digest: &Digest) -> Option<Bytes> {
        match self.hand {
            Hand::AtHand => self.kept.lock().unwrap().get(digest).cloned(),
            Hand::InTheLog => None,
        }
    }

    fn read(&self, handle: &BodyHandle) -> Result<Bytes, BodyError> {
        let kept = self.kept.lock().unwrap();
        kept.get(&handle.digest).cloned().ok_or(BodyError::Erased(handle.digest))
    }
}

/// Has a value for each key except the unset one.
pub(super) struct TwoKeys;

impl Keys for TwoKeys {
    fn open(&self, key: &KeyRef, _: &KeyUser) -> Result<Option<Secret>, KeyError> {
        Ok((key.name() != "unset").then(|| Secret::new(SECRET.as_bytes().to_vec())))
    }
}

/// Has one var, `sync.cursor`, whose value is among the bodies.
pub(super) struct OneVar;

/// The value of that var.
pub(super) const CURSOR: &str = r#"{"page":7}"#;

impl Vars for OneVar {
    fn read_by(&self, reads: &VarReads) -> Vec<(VarName, BodyHandle)> {
        let name: VarName = "sync.cursor".parse().unwrap();
        let is_read = match reads {
            VarReads::Nothing => false,
            VarReads::Named(names) => names.contains(&name),
            VarReads::All => true,
        };
        let value = BodyHandle { digest: Digest::of(CURSOR.as_bytes()), bytes: CURSOR.len() as u64, at: Position(5) };
        is_read.then_some((name, value)).into_iter().collect()
    }
}

/// Has all packs in one folder.
pub(super) struct PackFolder(pub(super) PathBuf);

impl PackFiles for PackFolder {
    fn folder(&self, _pack: &Digest) -> PathBuf {
        self.0.clone()
    }
}

/// The output: the beginning of each stream, its length, and whether it has ended.
#[derive(Default)]
pub(crate) struct KeptOutputs {
    kept: Mutex<BTreeMap<(AttemptId, OutputStream), StreamHead>>,
    in_all: Mutex<BTreeMap<(AttemptId, OutputStream), u64>>,
    finished: Mutex<Vec<AttemptId>>,
    changes: watch::Sender<u64>,
}

/// The beginning of a stream, and its length.
type StreamHead = (Vec<u8>, u64);

const KEPT_BYTES_MAX: usize = 64 << 10;

impl KeptOutputs {
    pub(crate) fn stream_head(&self, number: u32, stream: OutputStream) -> StreamHead {
        self.kept.lock().unwrap().get(&(attempt(number), stream)).cloned().unwrap_or_default()
    }

    /// Returns the total length of the output, as reported at its end.
    pub(crate) fn printed_in_all(&self, number: u32, stream: OutputStream) -> u64 {
        self.in_all.lock().unwrap().get(&(attempt(number), stream)).copied().unwrap_or_default()
    }

    /// Returns true if the total length of the output was reported.
    pub(crate) fn is_known_in_all(&self, number: u32, stream: OutputStream) -> bool {
        self.in_all.lock().unwrap().contains_key(&(attempt(number), stream))
    }

    pub(crate) fn is_finished(&self, number: u32) -> bool {
        self.finished.lock().unwrap().contains(&attempt(number))
    }

    /// Waits until a text was printed.
    pub(crate) async fn says(&self, number: u32, stream: OutputStream, text: &str) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if String::from_utf8_lossy(&self.stream_head(number, stream).0).contains(text) {
                return;
            }
            changes.changed().await.unwrap();
        }
    }
}

impl Outputs for KeptOutputs {
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        assert!(!self.finished.lock().unwrap().contains(&attempt), "printed after the end");
        let mut kept = self.kept.lock().unwrap();
        let (head, total) = kept.entry((attempt, stream)).or_default();
        assert_eq!(offset, *total, "output is reported in its order");
        let room = KEPT_BYTES_MAX - head.len();
        head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        *total += bytes.len() as u64;
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn accepted_offset(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        Ok(self.kept.lock().unwrap().get(&(attempt, stream)).map_or(0, |(_, total)| *total))
    }

    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError> {
        assert!(!self.finished.lock().unwrap().contains(&attempt), "reported after the end");
        self.in_all.lock().unwrap().insert((attempt, stream), bytes);
        Ok(())
    }

    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError> {
        self.finished.lock().unwrap().push(attempt);
        Ok(())
    }

    fn read(&self, attempt: AttemptId, _: OutputStream, _: u64, _: usize) -> Result<OutputPart, OutputError> {
        Err(OutputError::Store { attempt, why: "nobody reads here".into() })
    }
}

/// The files that were given away.
#[derive(Clone, Default)]
pub(crate) struct KeptBlobs(Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>);

impl KeptBlobs {
    pub(crate) fn content(&self, blob: &Digest) -> Vec<u8> {
        self.0.lock().unwrap()[blob].clone()
    }
}

impl Blobs for KeptBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        Ok(Box::new(WrittenBlob { blobs: self.clone(), bytes: Vec::new() }))
    }

    fn read(&self, _: &Digest, _: u64, _: usize) -> Result<Option<BlobPart>, BlobError> {
        Err(BlobError::Store("nobody reads here".into()))
    }
}

struct WrittenBlob {
    blobs: KeptBlobs,
    bytes: Vec<u8>,
}

impl NewBlob for WrittenBlob {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn keep(self: Box<Self>) -> Result<KeptBlob, BlobError> {
        let kept = KeptBlob { digest: Digest::of(&self.bytes), bytes: self.bytes.len() as u64 };
        self.blobs.0.lock().unwrap().insert(kept.digest, self.bytes);
        Ok(kept)
    }
}

/// A clock that the test moves.
pub(crate) struct HandClock {
    now: watch::Sender<Duration>,
}

impl Default for HandClock {
    fn default() -> Self {
        Self { now: watch::Sender::new(Duration::ZERO) }
    }
}

impl HandClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Duration {
        *self.now.borrow()
    }

    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut now = self.now.subscribe();
            let _ = now.wait_for(|now| *now >= moment).await;
        })
    }
}
