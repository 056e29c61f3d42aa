//! The way to the sequencer: what waits for it, how much of that there may be, and who is answered.
//!
//! What becomes of a command is the sequencer's.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_api::queues::Held;
use ensue_api::worker_queues::WorkerQueue;
use ensue_api::{QueueName, Queues};
use ensue_engine::command::Command;
use ensue_engine::ports::{Committed, Reply, Submit, SubmitError};

use super::Gauges;
use super::gather::comes_from_inside;
use super::queues::TellQueues;

/// How many times its length a parsed document takes: its text, and the places of its parts.
const DOCUMENT_COPIES: usize = 2;

/// The longest that one waits for the queues to be told of.
const TELL_WITHIN: Duration = Duration::from_secs(5);

/// The way to the sequencer, shared by all who ask.
#[derive(Clone)]
pub struct SequencerHandle {
    pub(super) sender: SyncSender<Item>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) queues: Queues,
}

/// What the sequencer hears.
pub(super) enum Item {
    Command(Waiting),
    TellQueues(TellQueues),
    Stop,
}

impl Submit for SequencerHandle {
    fn submit(&self, mut command: Command, reply: Reply) {
        let since = Instant::now();
        let bytes = compress_bodies(&mut command);
        let Some(held) = self.held(&command, bytes) else { return reply(Err(SubmitError::Busy)) };
        let waiting = Waiting { command: Box::new(command), bytes, reply: Some(reply), is_offered: false, since, held: Some(held) };
        match self.sender.try_send(Item::Command(waiting)) {
            Ok(()) => {}
            Err(TrySendError::Full(Item::Command(waiting))) => waiting.answer(Err(SubmitError::Busy)),
            Err(TrySendError::Disconnected(Item::Command(waiting))) => waiting.answer(Err(SubmitError::Stopping)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

impl SequencerHandle {
    /// Takes up room for a command that waits; none where there is none. Bytes are only asked of what comes from outside.
    fn held(&self, command: &Command, bytes: usize) -> Option<[Held; 2]> {
        let one = self.queues.of(QueueName::Commands).enter(1)?;
        // An event waits as it is kept, and as the document that it was judged by.
        let documents: usize = command.events().iter().map(|event| event.payload.bytes().len() * DOCUMENT_COPIES).sum();
        let (queue, amount) = (self.queues.of(QueueName::CommandBytes), (bytes + documents) as u64);
        let bytes = if comes_from_inside(command) { queue.enter_anyway(amount) } else { queue.enter(amount)? };
        Some([one, bytes])
    }

    /// Gives what can be seen from outside.
    pub fn gauges(&self) -> &Arc<Gauges> {
        &self.gauges
    }

    /// Gives the queues of executions as they stand after the commands before; for threads that may block.
    ///
    /// # Errors
    /// Where the sequencer is busy for long, or stops.
    pub fn worker_queues(&self) -> Result<Vec<WorkerQueue>, SubmitError> {
        let (tell, told) = sync_channel(1);
        self.sender.try_send(Item::TellQueues(tell)).map_err(|refused| match refused {
            TrySendError::Full(_) => SubmitError::Busy,
            TrySendError::Disconnected(_) => SubmitError::Stopping,
        })?;
        told.recv_timeout(TELL_WITHIN).map_err(|refused| match refused {
            RecvTimeoutError::Timeout => SubmitError::Busy,
            RecvTimeoutError::Disconnected => SubmitError::Stopping,
        })
    }

    /// Asks the sequencer to answer what waits and then to end.
    pub fn stop(&self) {
        // A sequencer that is gone already needs no asking.
        let _ = self.sender.send(Item::Stop);
    }
}

/// The way to the log for those who wait for the answer.
pub trait Asking: Submit {
    /// Submits a command and waits for the answer; for threads that may block.
    fn ask(&self, command: Command) -> Result<Committed, SubmitError>;
}

impl Asking for SequencerHandle {
    fn ask(&self, command: Command) -> Result<Committed, SubmitError> {
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

/// Compressing is the caller's work: it happens on the callers' threads, side by side. Gives how many bytes are left.
fn compress_bodies(command: &mut Command) -> usize {
    let mut bytes = 0;
    command.change_bodies(|body| {
        *body = ensue_store::encode::compress(body.clone());
        bytes += body.content.as_ref().map_or(0, Bytes::len);
    });
    bytes
}

/// A command that waits for its batch, and who waits for it: they are answered, whatever becomes of the sequencer.
pub(super) struct Waiting {
    pub(super) command: Box<Command>,
    /// The bytes of the bodies that it brings, as they are kept.
    pub(super) bytes: usize,
    pub(super) reply: Option<Reply>,
    /// Whether it was offered to the core: from then on it may be in the log.
    pub(super) is_offered: bool,
    /// When it was handed over.
    pub(super) since: Instant,
    /// Its room in the queues, until it is answered.
    held: Option<[Held; 2]>,
}

impl Waiting {
    pub(super) fn answer(mut self, outcome: Result<Committed, SubmitError>) {
        self.held = None;
        if let Some(reply) = self.reply.take() {
            reply(outcome);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply(Err(if self.is_offered { SubmitError::Unknown } else { SubmitError::Stopping }));
        }
    }
}
