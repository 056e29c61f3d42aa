//! The requests of clients: their copies in transit, and the answers.

use std::sync::Arc;

use ensue_engine::executions::facts::Settlement;
use ensue_engine::ids::ExecutionId;
use ensue_engine::ports::{CommitReceipt, SubmitError};

use crate::ground::WorldGround;
use crate::pack::WrittenMode;

/// The number of a request.
pub(crate) type RequestNumber = u64;

/// A request that a client wants to make.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// Send an event.
    Send {
        /// The trigger's number.
        trigger: u64,
        /// The payload.
        payload: String,
        /// The dedupe key, if any.
        key: Option<String>,
    },
    /// Deliver to the pack's webhook.
    Deliver {
        /// The body.
        payload: String,
        /// The id of the delivery, with which it must be accepted once.
        delivery: Option<String>,
        /// Its signature.
        signature: Signature,
    },
    /// Run an action.
    Run {
        /// The action.
        action: String,
        /// Its parameters.
        params: String,
    },
    /// Rerun an execution that has ended.
    Rerun {
        /// The execution.
        execution: ExecutionId,
        /// Where to start: `failed` or a step; from the start if `None`.
        from: Option<&'static str>,
        /// A new value of the parameter `n`.
        n: Option<u64>,
    },
    /// Cancel an execution.
    Cancel(ExecutionId),
    /// Settle an indeterminate execution.
    Settle(ExecutionId, Settlement),
    /// Set a rule's mode.
    SetMode(String, WrittenMode),
    /// Set the pack's key.
    SetKey(u64),
    /// Remove the pack's key.
    RemoveKey,
    /// Reread the packs folder.
    TakeInPacks,
    /// Read what the client wrote: the event at a position.
    See {
        /// The event.
        event: String,
        /// The position in the answer.
        position: u64,
    },
}

/// The signature of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// A valid one.
    Right,
    /// With another key.
    OfAnotherKey,
    /// For another body.
    OfAnotherBody,
    /// None.
    None,
}

/// The way of a request to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Directly to its ports.
    Ports,
    /// Through the API's own routes.
    Http,
}

/// A request, as its client remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The client.
    pub(crate) client: usize,
    /// Its wish.
    pub(crate) wish: Wish,
    /// Its way to the node.
    pub(crate) by: Transport,
    /// The idempotency key, if any.
    pub(crate) under: Option<String>,
    /// How many times it was retried.
    pub(crate) retries: u32,
    /// The last answer that arrived.
    pub(crate) heard: Option<Outcome>,
    /// The node's answer to each copy that arrived.
    pub(crate) said: Vec<CopyAnswer>,
    /// How many copies arrived at a node.
    pub(crate) arrivals: u32,
}

/// The node's answer to a copy of a request.
#[derive(Clone, Debug)]
pub(crate) struct CopyAnswer {
    /// Its index among the requests that came to nodes.
    pub(crate) place: usize,
    /// The answer.
    pub(crate) outcome: Outcome,
}

/// The outcome of a request, as far as the observer knows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It was done.
    Done(CommitReceipt),
    /// What the client wanted to read is there.
    Seen,
    /// The views have not reached the position yet.
    NotYet,
    /// It was not done, and the node reports the reason.
    Not(String),
    /// It is unknown.
    Unknown,
    /// There was no node.
    NoNode,
}

impl From<Result<CommitReceipt, SubmitError>> for Outcome {
    fn from(result: Result<CommitReceipt, SubmitError>) -> Self {
        match result {
            Ok(committed) => Self::Done(committed),
            Err(SubmitError::Unknown) => Self::Unknown,
            Err(error) => Self::Not(error.to_string()),
        }
    }
}

/// An answer that a node gave.
#[derive(Clone, Debug)]
pub(crate) struct NodeAnswer {
    /// The incarnation of the node.
    pub(crate) request: RequestNumber,
    /// The incarnation of the node that gave it.
    pub(crate) node: u32,
    /// Its index among the requests that came to nodes.
    pub(crate) place: usize,
    /// The answer, or `None` if the node never produced one.
    pub(crate) outcome: Option<Outcome>,
}

/// The promise of exactly one answer. Dropping it without an answer reports that.
pub(crate) struct Promise {
    ground: Arc<WorldGround>,
    request: RequestNumber,
    node: u32,
    place: usize,
    is_kept: bool,
}

impl Promise {
    /// Promises an answer.
    pub(crate) fn new(ground: Arc<WorldGround>, request: RequestNumber, node: u32) -> Self {
        let place = ground.witness().take(request, node, ground.now());
        Self { ground, request, node, place, is_kept: false }
    }

    /// Notes how long the client itself makes it take, in microseconds.
    pub(crate) fn takes(&self, micros: u64) {
        self.ground.witness().note_own(self.place, micros);
    }

    /// Sends the answer.
    pub(crate) fn keep(mut self, outcome: Outcome) {
        self.is_kept = true;
        self.answer(Some(outcome));
    }

    fn answer(&self, outcome: Option<Outcome>) {
        self.ground.answer(NodeAnswer { request: self.request, node: self.node, place: self.place, outcome });
    }

    /// Releases the promise because the client has disconnected.
    pub(crate) fn let_go(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.ground.witness().let_go(self.place, self.ground.now());
        if !self.is_kept {
            self.answer(None);
        }
    }
}
