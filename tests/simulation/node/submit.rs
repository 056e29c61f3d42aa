//! The submission of commands to the sequencer of a node that may die, and the turns that the sequencer
//! takes.

use std::sync::{Arc, Mutex, PoisonError};

use ensue_engine::command::{Command, Refusal};
use ensue_engine::ports::{CommitReceipt, Reply, Submit, SubmitError};
use ensue_node::parts::{Asking, Sequencer, SequencerHandle, Turn};

use super::lock;
use crate::ground::WorldGround;
use crate::life::Life;

/// Submits commands to the sequencer of a node that may die.
pub(super) struct LivingSubmit {
    pub(super) handle: SequencerHandle,
    pub(super) life: Arc<Life>,
    pub(super) ground: Arc<WorldGround>,
}

impl Submit for LivingSubmit {
    fn submit(&self, command: Command, reply: Reply) {
        if self.life.is_over() {
            return reply(Err(SubmitError::Unknown));
        }
        self.life.ask();
        let ground = self.ground.clone();
        let reply = move |outcome: Result<CommitReceipt, SubmitError>| {
            if matches!(outcome, Err(SubmitError::Refused(Refusal::Bug(_)))) {
                ground.witness().note_refused(ground.now());
            }
            reply(outcome);
        };
        self.handle.submit(command, Box::new(reply));
    }
}

/// The same for callers that wait for the answer: while they wait, the sequencer takes its turns.
pub(super) struct Pump {
    pub(super) submit: Arc<LivingSubmit>,
    pub(super) sequencer: Mutex<Option<Sequencer>>,
    pub(super) failed: Mutex<Option<String>>,
}

impl Pump {
    pub(super) fn turn(&self) -> Turn {
        let mut sequencer = self.sequencer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(machine) = sequencer.as_mut() else { return Turn::Ended };
        let turned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.turn()));
        let why = match turned {
            Ok(Ok(turn)) => return turn,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the sequencer panicked".to_owned(),
        };
        if !self.submit.life.is_over() {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        }
        // Its drop answers the waiting commands, as in a node whose sequencer's thread has ended.
        *sequencer = None;
        Turn::Ended
    }
}

impl Submit for Pump {
    fn submit(&self, command: Command, reply: Reply) {
        self.submit.submit(command, reply);
    }
}

impl Asking for Pump {
    fn ask(&self, command: Command) -> Result<CommitReceipt, SubmitError> {
        let told: Arc<Mutex<Option<Result<CommitReceipt, SubmitError>>>> = Arc::default();
        let tell = told.clone();
        self.submit(command, Box::new(move |outcome| *lock(&tell) = Some(outcome)));
        loop {
            if let Some(outcome) = lock(&told).take() {
                return if self.submit.life.is_over() { Err(SubmitError::Unknown) } else { outcome };
            }
            match self.turn() {
                Turn::Taken => {}
                Turn::Idle | Turn::NoRoom | Turn::Ended => return lock(&told).take().unwrap_or(Err(SubmitError::Stopping)),
            }
        }
    }
}
