//! Time: steps of the clock are recorded before any decision that depends on them, and due timers fire between two
//! batches.
//!
//! The core decides which timers exist and what follows from them.

use std::time::Duration;

use ensue_engine::batch::{BatchInputs, OfferOutcome};
use ensue_engine::command::{Ask, Command, Moment, Nothing};
use ensue_engine::engine::Engine;
use ensue_engine::ports::AppendError;
use ensue_engine::record::Actor;

use super::bodies::LoggedBodies;
use super::{Sequencer, SequencerError, Turn};
use crate::clock::{ClockStep, SteppedClock};

/// The maximum wait for a timer before the clock is read again.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// The steps of the clock that are not in the log yet.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// The steps, oldest first.
    steps: Vec<ClockStep>,
    /// How many of them are in the batch in progress.
    offered: usize,
}

impl Steps {
    /// Starts with a step that was not observed: a clock that is behind the log was set back while no node ran.
    pub(super) fn before_the_start(engine: &Engine, clock: &dyn SteppedClock) -> Self {
        Self { steps: clock.go_on_from(engine.time()).into_iter().collect(), offered: 0 }
    }

    /// The batch is in the log.
    pub(super) fn note_written(&mut self) {
        self.steps.drain(..std::mem::take(&mut self.offered));
    }

    /// The batch was rolled back.
    pub(super) fn undone(&mut self) {
        self.offered = 0;
    }
}

impl Sequencer {
    /// Returns the time until something happens because of time alone: a timer is due, errors of a rule are due to be
    /// counted, or more attempts may start in a queue in which some wait. Returns `None` if nothing of this kind is
    /// pending.
    pub fn until_due(&self) -> Option<Duration> {
        let (engine, now) = (self.sequencing.engine(), self.clock.now());
        let due = engine.next_due().map(|due| Duration::from_micros(u64::try_from(due.micros_since(now)).unwrap_or(0)));
        let start = self.rates.until_start(engine, now, &self.settings);
        due.into_iter().chain(start).min().map(|wait| wait.min(LOOK_EVERY))
    }

    /// Returns true if something must be recorded only because time has passed.
    pub(super) fn is_due(&mut self) -> bool {
        while let Some(step) = self.clock.take_step() {
            self.take_step(step);
        }
        !self.steps.steps.is_empty() || !self.is_stopping && self.until_due() == Some(Duration::ZERO)
    }

    fn take_step(&mut self, step: ClockStep) {
        self.rates.step(step);
        self.steps.steps.push(step);
    }

    /// Returns the time and the random bits for a decision. Steps of the clock are in the batch before it: otherwise
    /// a step of the clock would count as elapsed time for waiting work.
    pub(super) fn moment(&mut self) -> Moment {
        loop {
            let told = self.clock.moment_or_step();
            if let Err(step) = told {
                self.take_step(step);
            }
            while let Some(step) = self.steps.steps.get(self.steps.offered).copied() {
                self.steps.offered += 1;
                let at = Moment { time: step.to, entropy: self.clock.entropy() };
                self.offer_own(Ask::NoteClockStep { from: step.from, to: step.to }, &at);
            }
            if let Ok(at) = told {
                self.rates.allow(self.sequencing.engine(), at.time, &mut self.settings);
                return at;
            }
        }
    }

    /// Fires due timers, and starts the attempts that may start by now: one turn's worth. What is due immediately
    /// after that follows in the next turn.
    pub(super) fn fire(&mut self) -> Result<Turn, SequencerError> {
        let at = self.moment();
        if !self.is_stopping && self.sequencing.engine().next_due().is_some_and(|due| due <= at.time) {
            self.offer_own(Ask::FireTimers, &at);
        }
        if !self.is_stopping && self.rates.until_start(self.sequencing.engine(), at.time, &self.settings) == Some(Duration::ZERO) {
            self.offer_own(Ask::StartQueued, &at);
        }
        match self.append() {
            Ok(batch) => {
                self.release_effects(&batch);
                Ok(Turn::Taken)
            }
            Err(AppendError::Refused { why, .. }) => {
                tracing::error!(%why, "the store rejected the records of due timers: the node tries again");
                Ok(Turn::NoRoom)
            }
            Err(error) => self.still_owed(&error),
        }
    }

    fn offer_own(&mut self, ask: Ask, at: &Moment) {
        let bodies = LoggedBodies::of(&*self.log, &self.reader, self.plain);
        let beside = BatchInputs { catalogs: &*self.catalogs, bodies: &bodies, seen: &Nothing, settings: &self.settings };
        let command = Command { actor: Actor::Engine, trace: None, ask };
        match self.sequencing.offer(&command, at, &beside) {
            OfferOutcome::Taken { .. } => {}
            OfferOutcome::Refused(refusal) => tracing::error!(%refusal, "a command of a due timer was refused"),
            OfferOutcome::Needs(bodies) => tracing::error!(bodies = bodies.len(), "a command of a due timer needs bodies"),
        }
    }
}
