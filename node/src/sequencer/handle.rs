//! The handle of the sequencer: what waits for it, the limits on that, and how callers are answered.
//!
//! The sequencer decides what happens to a command.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SendError, Sender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_api::queues::QueuePermit;
use ensue_api::worker_queues::WorkerQueue;
use ensue_api::{QueueName, Queues};
use ensue_engine::command::Command;
use ensue_engine::ports::{CommitReceipt, Reply, Submit, SubmitError};

use super::Gauges;
use super::gather::comes_from_inside;
use super::start_rates::TellQueues;

/// How many times its length a parsed document takes: its text, and the positions of its parts.
const DOCUMENT_COPIES: usize = 2;

/// The maximum wait for the report about the queues.
const TELL_WITHIN: Duration = Duration::from_secs(5);

/// The handle of the sequencer, shared by all callers.
#[derive(Clone)]
pub struct SequencerHandle {
    /// Has no cap of its own: each message but the last takes up room in the queue `commands`.
    pub(super) sender: Sender<SequencerMessage>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) queues: Queues,
}

/// A message to the sequencer.
pub(super) enum SequencerMessage {
    Command(WaitingCommand),
    TellQueues(TellQueues, QueuePermit),
    ReleaseCaches(QueuePermit),
    Stop,
}

impl Submit for SequencerHandle {
    fn submit(&self, mut command: Command, reply: Reply) {
        let since = Instant::now();
        let bytes = compress_bodies(&mut command);
        let Some(held) = self.reserve_room(&command, bytes) else { return reply(Err(SubmitError::Busy)) };
        let waiting = WaitingCommand { command: Box::new(command), bytes, reply: Some(reply), is_offered: false, since, held: Some(held) };
        match self.sender.send(SequencerMessage::Command(waiting)) {
            Err(SendError(SequencerMessage::Command(waiting))) => waiting.answer(Err(SubmitError::Stopping)),
            Ok(()) | Err(SendError(SequencerMessage::TellQueues(..) | SequencerMessage::ReleaseCaches(_) | SequencerMessage::Stop)) => {}
        }
    }
}

impl SequencerHandle {
    /// Reserves room for a waiting command, or returns `None` if there is none. The limit on bytes applies only to
    /// commands from outside.
    fn reserve_room(&self, command: &Command, bytes: usize) -> Option<[QueuePermit; 2]> {
        let one = self.queues.of(QueueName::Commands).enter(1)?;
        // A waiting event takes its stored size and that of the document that it was checked with.
        let documents: usize = command.events().iter().map(|event| event.payload.bytes().len() * DOCUMENT_COPIES).sum();
        let (queue, amount) = (self.queues.of(QueueName::CommandBytes), (bytes + documents) as u64);
        let bytes = if comes_from_inside(command) { queue.enter_anyway(amount) } else { queue.enter(amount)? };
        Some([one, bytes])
    }

    /// Returns the values that are visible from outside.
    pub fn gauges(&self) -> &Arc<Gauges> {
        &self.gauges
    }

    /// Returns the state of the queues of executions after all earlier commands; for threads that may block.
    ///
    /// # Errors
    /// If the sequencer is busy for long, or stops.
    pub fn worker_queues(&self) -> Result<Vec<WorkerQueue>, SubmitError> {
        let one = self.queues.of(QueueName::Commands).enter(1).ok_or(SubmitError::Busy)?;
        let (tell, told) = sync_channel(1);
        self.sender.send(SequencerMessage::TellQueues(tell, one)).map_err(|_| SubmitError::Stopping)?;
        told.recv_timeout(TELL_WITHIN).map_err(|refused| match refused {
            RecvTimeoutError::Timeout => SubmitError::Busy,
            RecvTimeoutError::Disconnected => SubmitError::Stopping,
        })
    }

    /// Asks the sequencer to release what the log's writer and reader cache. If the queue of commands is full, the node is
    /// not idle, and nothing happens.
    pub(crate) fn release_caches(&self) {
        let Some(one) = self.queues.of(QueueName::Commands).enter(1) else { return };
        // A sequencer that has ended has no caches.
        let _ = self.sender.send(SequencerMessage::ReleaseCaches(one));
    }

    /// Asks the sequencer to answer the waiting commands and then to end.
    pub fn stop(&self) {
        // A sequencer that has already ended does not need the message.
        let _ = self.sender.send(SequencerMessage::Stop);
    }
}

/// Access to the log for callers that wait for the answer.
pub trait Asking: Submit {
    /// Submits a command and waits for the answer; for threads that may block.
    fn ask(&self, command: Command) -> Result<CommitReceipt, SubmitError>;
}

impl Asking for SequencerHandle {
    fn ask(&self, command: Command) -> Result<CommitReceipt, SubmitError> {
        let (sender, receiver) = sync_channel(1);
        self.submit(
            command,
            Box::new(move |outcome| {
                let _ = sender.send(outcome);
            }),
        );
        receiver.recv().unwrap_or(Err(SubmitError::Stopping))
    }
}

/// Compresses the bodies on the callers' threads, in parallel. Returns how many bytes are left.
pub(super) fn compress_bodies(command: &mut Command) -> usize {
    let mut bytes = 0;
    command.change_bodies(|body| {
        *body = ensue_store::encode::compress(body.clone());
        bytes += body.content.as_ref().map_or(0, Bytes::len);
    });
    bytes
}

/// A command that waits for its batch, with its caller, which gets an answer whatever happens to the sequencer.
pub(super) struct WaitingCommand {
    pub(super) command: Box<Command>,
    /// The size of the bodies in the command in their stored form, in bytes.
    pub(super) bytes: usize,
    pub(super) reply: Option<Reply>,
    /// Whether it was offered to the core: after that it may be in the log.
    pub(super) is_offered: bool,
    /// When it was submitted.
    pub(super) since: Instant,
    /// Its room in the queues, until it is answered.
    held: Option<[QueuePermit; 2]>,
}

impl WaitingCommand {
    pub(super) fn answer(mut self, outcome: Result<CommitReceipt, SubmitError>) {
        self.held = None;
        if let Some(reply) = self.reply.take() {
            reply(outcome);
        }
    }
}

impl Drop for WaitingCommand {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply(Err(if self.is_offered { SubmitError::Unknown } else { SubmitError::Stopping }));
        }
    }
}
