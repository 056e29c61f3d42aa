//! Ports: the plain, blocking traits through which the core uses the outside world. The edges implement them.
//!
//! Asynchronous code must call them on a thread where blocking is allowed.

use bytes::Bytes;
use ensue_expression::Document;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::catalog::HookMethod;
use crate::command::{Answer, Command, DedupeEntry, DedupeKey, Refusal};
use crate::executions::facts::OUTPUT_TAIL_BYTES_MAX;
use crate::explain::Explain;
use crate::ids::{AttemptId, EventId, ExecutionId, Id, IdentityId, LogId, TokenId};
use crate::names::{KeyRef, Names, SensorRef};
use crate::record::{Body, Digest, Epoch, Head, Position, Record, Revision, StreamId};

/// The records of one commit, all or none.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The id under which the commit's outcome can be looked up.
    pub id: Option<Id>,
    /// The records, in order.
    pub records: Vec<Record>,
    /// The keys that were accepted with them.
    pub seen: Vec<(DedupeKey, DedupeEntry)>,
}

/// A log, as its only writer uses it.
pub trait Log: Send {
    /// Returns the log's id.
    fn id(&self) -> LogId;
    /// Returns the epoch under which this writer writes.
    fn epoch(&self) -> Epoch;
    /// Returns the newest position and the chain's hash there.
    fn head(&self) -> Result<Head, LogError>;
    /// Appends all of the batch or nothing, after `head` and under `epoch`. The batch's keys are in the same
    /// transaction; a batch may contain only keys. When this returns, the batch is on the disk. The log itself looks up
    /// a commit whose outcome it did not learn.
    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError>;
    /// Returns where these keys were seen. Only the writer asks, so the answer cannot be stale.
    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError>;
    /// Opens a reader with its own connection.
    fn reader(&self) -> Result<Box<dyn LogReader>, LogError>;
    /// Releases the memory and the disk space of what it keeps for speed only. It fills again as it is used.
    fn release_caches(&mut self);
}

/// A reader of a log.
pub trait LogReader: Send {
    /// Returns the newest position and the chain's hash there.
    fn head(&self) -> Result<Head, LogError>;
    /// Returns the records after a position, in order.
    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Returns the records of a stream after a revision, in order. Fails if a record between them is hidden.
    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Returns the record with an id, or `None` if there is no such record.
    fn record_by_id(&self, id: Id) -> Result<Option<Record>, LogError>;
    /// Returns the body of the record at a position, or `None` if there is no such record or it has no body.
    fn body_at(&self, position: Position) -> Result<Option<Body>, LogError>;
    /// Returns the batch that a position belongs to, or `None` if there is no such position.
    fn batch_at(&self, position: Position) -> Result<Option<Id>, LogError>;
    /// Fails if the indexes of records and keys do not agree with them. Takes as long as reading all of them.
    fn check_indexes(&self) -> Result<(), LogError>;
    /// Releases the memory of what it caches for speed. The caches fill again as they are used.
    fn release_caches(&self);
}

/// How much is read at once: the first limit that is reached ends it, but at least one record is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// The maximum number of records.
    pub records: usize,
    /// The maximum size of facts and bodies, in bytes as stored.
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
    /// The log has moved on: another writer appended to it.
    #[error("the log is at {}, but the batch was built for an older head", .0.position)]
    Behind(Head),
    /// A newer epoch has the right to write.
    #[error("epoch {0} now writes to this log; this node must stop")]
    Deposed(Epoch),
    /// One record cannot be stored; nothing of the batch was.
    #[error("record {record} of the batch cannot be stored: {why}")]
    Refused {
        /// Its index in the batch.
        record: usize,
        /// The reason.
        why: String,
    },
    /// The disk is full; nothing of the batch was stored.
    #[error("the disk is full; nothing was written")]
    Full,
    /// It is unknown whether the batch was stored, and it cannot be looked up now.
    #[error("the node cannot tell whether the batch was written")]
    Unknown,
    /// The log lacks records that it acknowledged before.
    #[error("{0}")]
    Rewritten(String),
    /// The store has failed permanently and cannot be used until it is reopened.
    #[error("the store has failed: {0}")]
    Dead(String),
}

/// Why a log cannot be read.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Unavailable)]
pub enum LogError {
    /// A record differs from what was written, or is from a newer release.
    #[error("the record at position {position} cannot be read: {why}")]
    #[explain(
        slug = "log-unreadable",
        hint = "run `ensue log verify` to find the damage, and restore the data directory from its last good backup"
    )]
    Unreadable {
        /// The position of the record.
        position: Position,
        /// The reason.
        why: String,
    },
    /// An index of the records is damaged; the records themselves may be intact.
    #[error("an index of the log is damaged: {0}")]
    #[explain(
        slug = "log-index-damaged",
        hint = "make a copy of the data directory and run `ensue log verify`; if it reports only an index, the records are intact: stop the \
            node, run `sqlite3 ensue-data/log.sqlite 'REINDEX; INSERT OR IGNORE INTO seen_places SELECT scope, prefix, number \
            FROM seen'`, and verify again; otherwise restore the last backup"
    )]
    Index(String),
    /// The store has failed.
    #[error("the log cannot be read: {0}")]
    #[explain(slug = "log-unavailable", hint = "check the disk of the data directory and the node's own log")]
    Store(String),
    /// The database that has the log does not answer. The same call may succeed later.
    #[error("the log cannot be reached: {0}")]
    #[explain(slug = "log-unavailable", hint = "try again; if it stays so, check the database and the node's own log")]
    Unavailable(String),
}

/// A secret value: never shown, never written in clear text, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Creates a secret from its bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes, for the one place that needs them.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

/// The minimum length in bytes of a key's value, without surrounding white space, that is masked in the
/// output of programs and the responses of servers. Shorter values would also match unrelated text.
pub const MASKED_BYTES_MIN: usize = 8;

/// Returns the part of a key's value that is masked: all of it except surrounding white space. Returns `None`
/// if it is too short.
pub fn masked_part(value: &[u8]) -> Option<&[u8]> {
    Some(value.trim_ascii()).filter(|part| part.len() >= MASKED_BYTES_MIN)
}

/// Where secrets are kept.
pub trait Vault: Send + Sync {
    /// Stores a version of a key's value, sealed. It takes effect once the log says so.
    fn put_key(&self, key: &KeyRef, version: u32, value: &Secret) -> Result<(), VaultError>;
    /// Unseals a version of a key's value; returns `None` if there is no such version.
    fn open_key(&self, key: &KeyRef, version: u32) -> Result<Option<Secret>, VaultError>;
    /// Returns the stored versions.
    fn key_versions(&self) -> Result<Vec<(KeyRef, u32)>, VaultError>;
    /// Destroys a version of a key's value.
    fn destroy_key(&self, key: &KeyRef, version: u32) -> Result<(), VaultError>;
    /// Stores the SHA-256 of a token's secret. It takes effect once the log says so.
    fn put_token(&self, token: TokenId, hash: [u8; 32]) -> Result<(), VaultError>;
    /// Returns the stored hashes.
    fn tokens(&self) -> Result<Vec<(TokenId, [u8; 32])>, VaultError>;
    /// Destroys a token's hash.
    fn destroy_token(&self, token: TokenId) -> Result<(), VaultError>;
    /// Stores what is known of an identity, sealed. It takes effect once the log says so.
    fn put_profile(&self, identity: IdentityId, profile: &Secret) -> Result<(), VaultError>;
    /// Unseals the stored profiles.
    fn profiles(&self) -> Result<Vec<(IdentityId, Secret)>, VaultError>;
    /// Destroys the profile of an identity.
    fn destroy_profile(&self, identity: IdentityId) -> Result<(), VaultError>;
    /// Stores values that belong to the ways in, sealed, all or none. A value replaces the one of the same name.
    fn put_all(&self, kind: SealedKind, values: &[(String, Secret)]) -> Result<(), VaultError>;
    /// Unseals the values of a kind, by their names.
    fn list(&self, kind: SealedKind) -> Result<Vec<(String, Secret)>, VaultError>;
    /// Destroys a value.
    fn destroy(&self, kind: SealedKind, name: &str) -> Result<(), VaultError>;
}

/// The kinds of values that belong to the ways in, or to what nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Names)]
pub enum SealedKind {
    /// By the id of a session: the SHA-256 of its secret, and its last use.
    Session,
    /// By the id of a session: the state of its refresh tokens.
    Family,
    /// By the id of a key: an Ed25519 key that signs access tokens.
    Signing,
    /// By the id of a session: the login at an issuer that it came from, with the issuer's refresh token.
    Issuer,
    /// By the id of an identity: the hash of its password.
    Password,
    /// By the id of an identity: the secret of its one-time codes.
    Otp,
    /// By the id of a code: the SHA-256 of a login code, and what it is for.
    Code,
    /// Under one name: the key by which the node recognizes devices that have logged in before.
    Device,
    /// Under one name: the key by which the node knows the tokens of attempts.
    Program,
    /// By the id of a token: when it was last used.
    Use,
    /// Under one name: the key that seals outputs in a shared store, and since when they are sealed.
    Output,
}

/// Why the vault cannot carry out a request.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Unavailable)]
pub enum VaultError {
    /// A value differs from the one that was sealed: it was changed, moved, or sealed with another master
    /// key.
    #[error("the value of `{0}` cannot be decrypted: it is damaged, or it was sealed under another master key")]
    #[explain(
        slug = "vault-integrity",
        hint = "set the value again with `ensue keys set {0}`, or start the node with the master key that the value was sealed under"
    )]
    Integrity(String),
    /// Another store has the value, and does not provide it now.
    #[error("the value of the key `{key}` is not available: {why}")]
    #[explain(
        slug = "key-unavailable",
        hint = "check the store under `key_providers` in ensue.yaml, and whether the node may reach it; the value is read again at the next use"
    )]
    Unavailable {
        /// The key.
        key: String,
        /// Why, without a secret.
        why: String,
    },
    /// The store has failed.
    #[error("the vault cannot be used: {0}")]
    #[explain(slug = "vault-unavailable", hint = "check the disk of the data directory and the node's own log")]
    Store(String),
}

/// A stream of an attempt's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Names)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error: log messages for people.
    Stderr,
}

/// The most lines of an attempt's standard error that are shown with its failure.
pub const OUTPUT_TAIL_LINES_MAX: usize = 20;

/// The output of attempts. It is not in the log, except for the end of what a failed attempt printed.
pub trait Outputs: Send + Sync {
    /// Appends output to a stream from `offset` on, up to the cap. Bytes over the cap are counted, and marked
    /// once at the end. Bytes that were accepted before are skipped, so that repeats are stored once.
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError>;
    /// Returns the offset up to which a stream was accepted, whether stored or only counted.
    fn accepted_offset(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError>;
    /// Records how many bytes were printed to a stream in total, when its program ends. Bytes that were never
    /// reported count as not stored.
    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError>;
    /// Marks an attempt's streams as complete: nothing more will be appended.
    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError>;
    /// Returns the content of a stream from an offset on.
    fn read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, OutputError>;
    /// Returns the last lines that an attempt printed to standard error, or `None` if it printed nothing or its
    /// output is not stored.
    fn tail(&self, attempt: AttemptId) -> Option<String> {
        let printed = self.accepted_offset(attempt, OutputStream::Stderr).ok()?;
        let offset = printed.saturating_sub(OUTPUT_TAIL_BYTES_MAX as u64);
        let part = self.read(attempt, OutputStream::Stderr, offset, OUTPUT_TAIL_BYTES_MAX).ok()?;
        let text = String::from_utf8_lossy(&part.bytes);
        let whole_lines = match text.split_once('\n') {
            Some((_, rest)) if offset > 0 && !rest.is_empty() => rest,
            Some(_) | None => &text,
        };
        let lines: Vec<&str> = whole_lines.trim_end().lines().collect();
        let last = lines[lines.len().saturating_sub(OUTPUT_TAIL_LINES_MAX)..].join("\n");
        (!last.is_empty()).then_some(last)
    }
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

/// Whether a stream of output is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputState {
    /// More may come.
    Open,
    /// This was all.
    Complete,
    /// This was all that was stored; more bytes were printed, beyond the cap or before a machine was lost.
    Truncated {
        /// The number of bytes that were not stored; 0 if nobody knows it.
        bytes_dropped: u64,
    },
    /// It was removed, because it was old or the space was needed.
    Removed,
}

/// Why output cannot be stored or read.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Unavailable)]
pub enum OutputError {
    /// Earlier bytes are missing.
    #[error(
        "the output of attempt {attempt} continues at byte {offset}, but only the bytes before {taken} were received: send it from there"
    )]
    #[explain(slug = "output-unavailable", hint = "check the disk of the data directory and the node's own log")]
    Gap {
        /// The attempt.
        attempt: AttemptId,
        /// The offset up to which the stream was accepted.
        taken: u64,
        /// The offset of the new bytes.
        offset: u64,
    },
    /// The stored bytes differ from those that were written.
    #[error("the `{stream}` of attempt {attempt} is damaged: {why}")]
    #[explain(
        slug = "output-damaged",
        hint = "restore it from a backup, in the folder `outputs` of the data directory or in the store that the nodes share; the result and the timeline are in the log"
    )]
    Damaged {
        /// The attempt.
        attempt: AttemptId,
        /// The stream.
        stream: &'static str,
        /// The damage, for people.
        why: &'static str,
    },
    /// The store has failed.
    #[error("the output of attempt {attempt} cannot be used: {why}")]
    #[explain(slug = "output-unavailable", hint = "check the disk of the data directory and the node's own log")]
    Store {
        /// The attempt.
        attempt: AttemptId,
        /// The reason.
        why: String,
    },
}

/// Files that attempts produced, by the hash of their bytes. They are not in the log.
pub trait Blobs: Send + Sync {
    /// Begins a blob. It exists once it is kept, and leaves nothing behind if it is dropped before.
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError>;
    /// Returns a part of a blob, or `None` if there is no such blob or the offset is past its end.
    fn read(&self, blob: &Digest, offset: u64, bytes_max: usize) -> Result<Option<BlobPart>, BlobError>;
}

/// A blob that is being written.
pub trait NewBlob: Send {
    /// Appends bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError>;
    /// Stores the blob. When this returns, it is on the disk.
    fn keep(self: Box<Self>) -> Result<KeptBlob, BlobError>;
}

/// A stored blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBlob {
    /// The hash of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A part of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPart {
    /// The bytes.
    pub bytes: Bytes,
    /// The size of the whole blob.
    pub size: u64,
}

/// Why blobs cannot be stored or read.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "artifact-unavailable", fault = Unavailable, hint = "check the disk of the data directory and the node's own log")]
pub enum BlobError {
    /// There is not enough space.
    #[error("there is no room for more artifacts: {0}")]
    Full(String),
    /// The store has failed.
    #[error("the artifact store cannot be used: {0}")]
    Store(String),
}

/// One request at a webhook, before it is an event.
#[derive(Clone, Debug)]
pub struct HookRequest {
    /// The sensor that received it.
    pub sensor: SensorRef,
    /// Its headers, with names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// Its query parameters.
    pub query: Vec<(String, String)>,
    /// Its raw body.
    pub body: Bytes,
    /// How many bytes the body may have on this node, also when it is decompressed. The sensor may allow fewer.
    pub body_bytes_max: usize,
    /// Its method.
    pub method: HookMethod,
    /// The parameters of its path.
    pub path: Vec<(String, String)>,
    /// The public URL to which it was sent, with its query.
    pub url: String,
    /// What is known of its connection.
    pub connection: HookConnection,
}

/// What is known of the connection of a delivery.
#[derive(Clone, Debug, Default)]
pub struct HookConnection {
    /// The client certificate whose chain the node's own TLS verified, in the DER format.
    pub certificate: Option<Vec<u8>>,
    /// Whether a trusted proxy passed the delivery on.
    pub from: HookPeer,
    /// The network of the sender, as text: its address, or the first 64 bits of an IPv6 address. Empty if it is not known.
    pub network: String,
}

/// The other side of the connection of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookPeer {
    /// Anybody, whose headers prove nothing.
    #[default]
    Anybody,
    /// A trusted proxy.
    TrustedProxy,
}

/// What the sender of a delivery gets as a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookReply {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What came of a delivery whose sender waits for the reply.
#[derive(Clone, Debug)]
pub struct Came {
    /// How it ended.
    pub how: CameHow,
    /// The id of its first event; `None` if there is none.
    pub event: Option<EventId>,
    /// The execution and its address; `None` if there is none.
    pub execution: Option<(ExecutionId, String)>,
    /// The status of the execution; `None` if there is none.
    pub status: Option<&'static str>,
    /// The result of the execution, if it succeeded.
    pub result: Option<Document>,
    /// The kind of failure of the execution, if it failed.
    pub error_kind: Option<&'static str>,
}

/// How a delivery ended whose sender waits for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameHow {
    /// The execution succeeded.
    Succeeded,
    /// The execution failed, was canceled or timed out.
    Failed,
    /// The execution has not ended in time.
    Late,
    /// There is no event or no execution.
    Nothing,
}

/// The way into a log: commands go to its sequencer, and answers come back after the commit.
pub trait Submit: Send + Sync {
    /// Sends a command to the sequencer and returns immediately. `reply` is called exactly once, on the
    /// sequencer's thread, and must not block. After a stop it is called with [`SubmitError::Stopping`].
    fn submit(&self, command: Command, reply: Reply);
}

/// The callback for the outcome of a command.
pub type Reply = Box<dyn FnOnce(Result<CommitReceipt, SubmitError>) + Send>;

/// A command whose records are on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitReceipt {
    /// The newest position that the caller must see to read its own writes.
    pub position: Position,
    /// The answer to the caller.
    pub answer: Answer,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Unavailable)]
pub enum SubmitError {
    /// The command is not allowed; nothing was changed.
    #[error(transparent)]
    #[explain(transparent)]
    Refused(#[from] Refusal),
    /// Too many commands are waiting; nothing was changed.
    #[error("too many commands are waiting for the log; try again in a second")]
    #[explain(slug = "busy", fault = Busy, hint = "send it again in a second")]
    Busy,
    /// The disk is full, or nearly full; nothing was changed.
    #[error("the disk that holds the log is full: the node accepts no input until there is free space")]
    #[explain(slug = "storage-full", hint = "free some space on the disk of the data directory; the node then continues by itself")]
    StorageFull,
    /// The node is stopping; nothing was changed.
    #[error("the node is stopping; try again when it is back")]
    #[explain(slug = "stopping", hint = "send it again when the node is back")]
    Stopping,
    /// The log failed while the command was being written: it is unknown whether the command was recorded.
    #[error("the log failed during this write: the node cannot tell whether your request was saved; ask again when the node is back")]
    #[explain(slug = "outcome-unknown", hint = "send it again with the same dedupe key: it counts only once")]
    Unknown,
}
