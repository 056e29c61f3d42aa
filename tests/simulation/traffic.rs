//! What clients ask and what becomes of it: requests, their copies on the way, and the answers.

use std::sync::Arc;

use ensue_engine::executions::facts::Settlement;
use ensue_engine::ids::ExecutionId;
use ensue_engine::ports::{Committed, SubmitError};

use crate::ground::Ground;
use crate::pack::WrittenMode;

/// The number of a request.
pub(crate) type RequestNumber = u64;

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// To send an event.
    Send {
        /// The trigger's number.
        trigger: u64,
        /// The payload.
        payload: String,
        /// The key under which it is to be accepted once.
        key: Option<String>,
    },
    /// To deliver at the pack's webhook.
    Deliver {
        /// The body.
        payload: String,
        /// The id of the delivery, under which it is to be accepted once.
        delivery: Option<String>,
        /// How it is signed.
        signature: Signature,
    },
    /// To run an action.
    Run {
        /// The action.
        action: String,
        /// Its parameters.
        params: String,
    },
    /// To run an execution again that has ended.
    Rerun {
        /// The execution.
        execution: ExecutionId,
        /// What of it: `failed`, or a step; all of it without.
        from: Option<&'static str>,
        /// Another value of the parameter `n`.
        n: Option<u64>,
    },
    /// To end an execution.
    Cancel(ExecutionId),
    /// To say what became of an indeterminate execution.
    Settle(ExecutionId, Settlement),
    /// To set a rule's mode.
    SetMode(String, WrittenMode),
    /// To set the pack's key.
    SetKey(u64),
    /// To remove the pack's key.
    RemoveKey,
    /// To have the packs folder read again.
    TakeInPacks,
    /// To see what it wrote: the event at a position.
    See {
        /// The event.
        event: String,
        /// The position that it was answered with.
        position: u64,
    },
}

/// How a delivery is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// As it should be.
    Right,
    /// With another key.
    OfAnotherKey,
    /// For another body.
    OfAnotherBody,
    /// Not at all.
    None,
}

/// By which way a request goes to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Straight to its ports.
    Ports,
    /// Over the API's own routes.
    Http,
}

/// A request, as its client remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The client.
    pub(crate) client: usize,
    /// What it wants.
    pub(crate) wish: Wish,
    /// By which way it goes.
    pub(crate) by: By,
    /// The key under which it is to be carried out once.
    pub(crate) under: Option<String>,
    /// How often it was tried again.
    pub(crate) retries: u32,
    /// The last answer that came.
    pub(crate) heard: Option<Outcome>,
    /// What the node said to each copy that arrived.
    pub(crate) said: Vec<Said>,
    /// How many copies arrived at a node.
    pub(crate) arrivals: u32,
}

/// What the node said to a copy of a request.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Its place among what came to nodes.
    pub(crate) place: usize,
    /// What was said.
    pub(crate) outcome: Outcome,
}

/// How a request ended, as far as whoever says so knows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It was done.
    Done(Committed),
    /// What was asked to be seen is there.
    Seen,
    /// The views have not come so far.
    NotYet,
    /// It was not done, and the node says why.
    Not(String),
    /// Nobody knows.
    Unknown,
    /// There was no node.
    NoNode,
}

impl From<Result<Committed, SubmitError>> for Outcome {
    fn from(result: Result<Committed, SubmitError>) -> Self {
        match result {
            Ok(committed) => Self::Done(committed),
            Err(SubmitError::Unknown) => Self::Unknown,
            Err(error) => Self::Not(error.to_string()),
        }
    }
}

/// An answer that a node gave.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// The request.
    pub(crate) request: RequestNumber,
    /// The incarnation of the node that gave it.
    pub(crate) node: u32,
    /// Its place among what came to nodes.
    pub(crate) place: usize,
    /// The answer; none where the node forgot to give one.
    pub(crate) outcome: Option<Outcome>,
}

/// The promise of exactly one answer; dropped unkept, it says so.
pub(crate) struct Promise {
    ground: Arc<Ground>,
    request: RequestNumber,
    node: u32,
    place: usize,
    is_kept: bool,
}

impl Promise {
    /// Promises an answer.
    pub(crate) fn new(ground: Arc<Ground>, request: RequestNumber, node: u32) -> Self {
        let place = ground.witness().take(request, node, ground.now());
        Self { ground, request, node, place, is_kept: false }
    }

    /// Notes how long its client itself has it take, in microseconds.
    pub(crate) fn takes(&self, micros: u64) {
        self.ground.witness().note_own(self.place, micros);
    }

    /// Keeps the promise.
    pub(crate) fn keep(mut self, outcome: Outcome) {
        self.is_kept = true;
        self.answer(Some(outcome));
    }

    fn answer(&self, outcome: Option<Outcome>) {
        self.ground.answer(Answered { request: self.request, node: self.node, place: self.place, outcome });
    }

    /// Lets go of it: whoever asked has gone away.
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
