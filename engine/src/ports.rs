//! What the core needs of the world: plain, blocking traits that the edges implement.
//!
//! Who calls them from asynchronous code does so on a thread where blocking is allowed.

use bytes::Bytes;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::command::{Answer, Command, DedupeKey, Refusal, Seen};
use crate::ids::{AttemptId, Id, LogId, TokenId};
use crate::names::{KeyRef, SensorRef};
use crate::record::{Body, Digest, Epoch, Head, Position, Record, Revision, StreamId};

/// The records of one commit, whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The id under which the commit's outcome can be looked up.
    pub id: Option<Id>,
    /// The records, in order.
    pub records: Vec<Record>,
    /// The keys that were accepted with them.
    pub seen: Vec<(DedupeKey, Seen)>,
}

/// A log, as its one writer holds it.
pub trait Log: Send {
    /// Gives the log's id.
    fn id(&self) -> LogId;
    /// Gives the epoch under which this writer writes.
    fn epoch(&self) -> Epoch;
    /// Gives the newest position and the chain's hash there.
    fn head(&self) -> Result<Head, LogError>;
    /// Appends the batch whole or not at all, after `head`, with the right to write of `epoch`; its keys are in the same
    /// transaction, and may be all that it has. What it gives is on the disk.
    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError>;
    /// Says which of these keys were seen. Only the writer asks, so the answer cannot be stale.
    fn seen(&self, keys: &[DedupeKey]) -> Result<Vec<Option<Seen>>, LogError>;
    /// Opens a reader with a connection of its own.
    fn reader(&self) -> Result<Box<dyn LogReader>, LogError>;
}

/// A reader of a log.
pub trait LogReader: Send {
    /// Gives the newest position and the chain's hash there.
    fn head(&self) -> Result<Head, LogError>;
    /// Gives the records after a position, in order.
    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Gives the records of a stream after a revision, in order. Fails where one between them is hidden.
    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Gives the record with an id; none where there is no such record.
    fn record_by_id(&self, id: Id) -> Result<Option<Record>, LogError>;
    /// Gives the body of the record at a position; none where there is no such record, or it has no body.
    fn body_at(&self, position: Position) -> Result<Option<Body>, LogError>;
    /// Gives the batch that a position belongs to; none where there is no such position.
    fn batch_at(&self, position: Position) -> Result<Option<Id>, LogError>;
    /// Fails where what records and keys are found by does not agree with them. Takes as long as reading all of them.
    fn check_indexes(&self) -> Result<(), LogError>;
}

/// How much is read at once: what comes first ends it, but one record is always given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// The most records.
    pub records: usize,
    /// The most bytes of facts and bodies, as they are kept.
    pub bytes: usize,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self { records: 1_000, bytes: 4 * 1024 * 1024 }
    }
}

/// Why a batch was not appended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log has moved on: somebody else wrote.
    #[error("the log is at {}, but the batch was built for an older head", .0.position)]
    Behind(Head),
    /// The right to write has passed to a newer epoch.
    #[error("epoch {0} now writes to this log; this node must stop")]
    Deposed(Epoch),
    /// One record cannot be kept; nothing of the batch was.
    #[error("record {record} of the batch cannot be stored: {why}")]
    Refused {
        /// Its index in the batch.
        record: usize,
        /// Why.
        why: String,
    },
    /// The disk is full; nothing of the batch was kept.
    #[error("the disk is full; nothing was written")]
    Full,
    /// It is unknown whether the batch was kept; it can be looked up by its id.
    #[error("the node cannot tell whether the batch was written")]
    Unknown,
    /// The store has failed for good: nothing more can be trusted to it until it was opened anew.
    #[error("the store has failed: {0}")]
    Dead(String),
}

/// Why a log cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// A record is not what was written, or of a newer release.
    #[error("the record at position {position} cannot be read: {why}")]
    Unreadable {
        /// Where.
        position: Position,
        /// Why.
        why: String,
    },
    /// What records are found by is not what it was; the records themselves may well be.
    #[error("an index of the log is damaged: {0}")]
    Index(String),
    /// The store has failed.
    #[error("the log cannot be read: {0}")]
    Store(String),
}

/// A secret value: never shown, never written in clear, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes of a secret.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Gives the bytes, to the one place that needs them.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

/// The fewest bytes of a key's value, white space around it not counted, that are masked in what programs print and servers answer. Fewer
/// would be found where nobody wrote them.
pub const MASKED_BYTES_MIN: usize = 8;

/// Returns the part of a key's value that is masked: all of it but the white space around it. None where it is too short.
pub fn masked_part(value: &[u8]) -> Option<&[u8]> {
    Some(value.trim_ascii()).filter(|part| part.len() >= MASKED_BYTES_MIN)
}

/// Where secrets are kept.
pub trait Vault: Send + Sync {
    /// Keeps a version of a key's value, sealed. It counts once the log says so.
    fn put_key(&self, key: &KeyRef, version: u32, value: &Secret) -> Result<(), VaultError>;
    /// Opens a version of a key's value; none where there is none.
    fn open_key(&self, key: &KeyRef, version: u32) -> Result<Option<Secret>, VaultError>;
    /// Lists the versions that are kept.
    fn key_versions(&self) -> Result<Vec<(KeyRef, u32)>, VaultError>;
    /// Destroys a version of a key's value.
    fn destroy_key(&self, key: &KeyRef, version: u32) -> Result<(), VaultError>;
    /// Keeps the SHA-256 of a token's secret. It counts once the log says so.
    fn put_token(&self, token: TokenId, hash: [u8; 32]) -> Result<(), VaultError>;
    /// Lists the hashes that are kept.
    fn tokens(&self) -> Result<Vec<(TokenId, [u8; 32])>, VaultError>;
    /// Destroys a token's hash.
    fn destroy_token(&self, token: TokenId) -> Result<(), VaultError>;
}

/// Why the vault cannot do what it is asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A value is not what was sealed: it was changed, moved, or sealed under another master key.
    #[error("the value of `{0}` cannot be decrypted: it is damaged, or it was sealed under another master key")]
    Integrity(String),
    /// The store has failed.
    #[error("the vault cannot be used: {0}")]
    Store(String),
}

/// A stream of an attempt's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error: the log, for people.
    Stderr,
}

impl OutputStream {
    /// Lists both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Gives the stream's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What attempts print. Not in the log.
pub trait Outputs: Send + Sync {
    /// Adds what was printed to a stream from `offset` on, up to the cap; what is over is counted, and marked once at the end. What
    /// was taken before is passed over, so that what is told twice is kept once.
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError>;
    /// Gives up to which offset a stream was taken, kept or only counted.
    fn taken(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError>;
    /// Says how many bytes were printed to a stream in all, as its program ends: those that were never told count as not kept.
    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError>;
    /// Says that nothing more will be added to an attempt's streams.
    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError>;
    /// Gives what stands in a stream from an offset on.
    fn read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, OutputError>;
}

/// A part of a stream of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPart {
    /// The bytes.
    pub bytes: Bytes,
    /// The offset after them.
    pub next: u64,
    /// Whether more may come.
    pub state: OutputState,
}

/// Whether a stream of output is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputState {
    /// More may come.
    Open,
    /// This was all.
    Complete,
    /// This was all that was kept; so many bytes were printed beyond the cap.
    Truncated {
        /// The bytes that were not kept.
        bytes_dropped: u64,
    },
    /// It was thrown away, because it was old or the room was needed.
    Removed,
}

/// Why outputs cannot be kept or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutputError {
    /// What comes before is missing.
    #[error(
        "the output of attempt {attempt} continues at byte {offset}, but only the bytes before {taken} were received: send it from there"
    )]
    Gap {
        /// The attempt.
        attempt: AttemptId,
        /// Up to where the stream was taken.
        taken: u64,
        /// Where it was to go on.
        offset: u64,
    },
    /// What is there is not what was written.
    #[error("the `{stream}` of attempt {attempt} is damaged: {why}")]
    Damaged {
        /// The attempt.
        attempt: AttemptId,
        /// The stream.
        stream: &'static str,
        /// How, for people.
        why: &'static str,
    },
    /// The store has failed.
    #[error("the output of attempt {attempt} cannot be used: {why}")]
    Store {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        why: String,
    },
}

/// Files that attempts gave away, by the hash of their bytes. Not in the log.
pub trait Blobs: Send + Sync {
    /// Begins a blob; it is there once it is kept, and leaves nothing where it is dropped before.
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError>;
    /// Gives a part of a blob; none where there is no such blob, or no more.
    fn read(&self, blob: &Digest, offset: u64, bytes_max: usize) -> Result<Option<BlobPart>, BlobError>;
}

/// A blob that is being written.
pub trait NewBlob: Send {
    /// Adds bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError>;
    /// Keeps it: what it gives is on the disk.
    fn keep(self: Box<Self>) -> Result<KeptBlob, BlobError>;
}

/// A blob that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBlob {
    /// The hash of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub bytes: u64,
}

/// A part of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPart {
    /// The bytes.
    pub bytes: Bytes,
    /// How many the whole blob has.
    pub size: u64,
}

/// Why blobs cannot be kept or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlobError {
    /// There is no room for more.
    #[error("there is no room for more artifacts: {0}")]
    Full(String),
    /// The store has failed.
    #[error("the artifact store cannot be used: {0}")]
    Store(String),
}

/// One request at a webhook, before it is an event.
#[derive(Clone, Debug)]
pub struct HookRequest {
    /// The sensor it came to.
    pub sensor: SensorRef,
    /// Its headers, names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// Its query parameters.
    pub query: Vec<(String, String)>,
    /// Its raw body.
    pub body: Bytes,
}

/// The way into a log: commands go to its sequencer, answers come back after the commit.
pub trait Submit: Send + Sync {
    /// Hands a command to the sequencer and returns at once. `reply` is called exactly once, on the sequencer's thread: it must
    /// not block. After a stop it is called with [`SubmitError::Stopping`].
    fn submit(&self, command: Command, reply: Reply);
}

/// What is called with the outcome of a command.
pub type Reply = Box<dyn FnOnce(Result<Committed, SubmitError>) + Send>;

/// A command whose records are on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The newest position that the caller must see to see what it wrote.
    pub position: Position,
    /// What the caller is told.
    pub answer: Answer,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// It is not allowed; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many commands wait; nothing was changed.
    #[error("too many commands are waiting for the log; try again in a second")]
    Busy,
    /// The disk is full, or nearly; nothing was changed.
    #[error("the disk that holds the log is full: the node accepts no input until there is free space")]
    StorageFull,
    /// The node is stopping; nothing was changed.
    #[error("the node is stopping; try again when it is back")]
    Stopping,
    /// The log failed while the command was being written: it is unknown whether it counts.
    #[error("the log failed during this write: the node cannot tell whether your request was saved; ask again when the node is back")]
    Unknown,
}
