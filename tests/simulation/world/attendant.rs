//! The people around a world: they cancel and pause open executions, settle those that wait for a decision,
//! and retry parked reactions.
//!
//! The clients' requests are in `requests.rs`.

use ensue_engine::command::{Ask, Command, InquiryAnswer};
use ensue_engine::executions::facts::Settlement;
use ensue_engine::executions::state::Phase;
use ensue_engine::ids::InquiryId;
use ensue_engine::record::{Actor, Body};
use ensue_expression::Document;
use serde_json::json;

use super::{Event, World};
use crate::clients::settlement;
use crate::sometimes;

/// How often a person looks.
const LOOK_MICROS: u64 = 3_000_000;
/// The probability that a person who looks resumes a paused execution.
const RESUMES: f64 = 0.3;
/// How soon after a cancel a person restarts the node, at least and at most, in microseconds.
const RESTART_MICROS_LEAST: f64 = 500.0;
const RESTART_MICROS_MOST: f64 = 1e6;

impl World {
    /// A person looks. In some worlds executions wait for a decision for a long time.
    pub(super) fn attend(&mut self) {
        self.after(LOOK_MICROS, Event::Attend);
        if self.is_paused() {
            return;
        }
        self.cancel_what_runs();
        self.pause_and_resume();
        self.run_again();
        self.change_vars();
        self.attend_to_sensors();
        if self.ground.is_healed() || self.random.chance(self.ground.plan.settles) {
            self.settle();
        }
    }

    /// Restarts the node that has just been told to cancel something, as people do when something hangs.
    pub(super) fn restart(&mut self, number: u32) {
        if !self.ground.is_healed() && self.node.as_ref().is_some_and(|node| node.number == number) {
            self.ground.trace("attendant", format!("restarts #{number}"));
            sometimes!("a node was restarted soon after a cancel");
            self.bury();
        }
    }

    fn cancel_what_runs(&mut self) {
        let Some(node) = self.node.as_ref().filter(|node| node.accepts()) else { return };
        let number = node.number;
        let running = node.look(|engine| {
            let running = engine.executions().iter().filter(|(_, open)| matches!(open.phase, Phase::Running(_)));
            running.map(|(id, _)| *id).collect::<Vec<_>>()
        });
        let mut is_cancelled = false;
        for execution in running.unwrap_or_default() {
            if self.ground.strikes(self.ground.plan.cancels) {
                self.ground.trace("attendant", format!("cancels {execution}"));
                let actor = Actor::Token("attendant".to_owned());
                node.submit(Command { actor, trace: None, ask: Ask::CancelExecution { execution } });
                is_cancelled = true;
            }
        }
        if is_cancelled && self.ground.strikes(self.ground.plan.restarts) {
            let after = self.random.log_uniform(RESTART_MICROS_LEAST, RESTART_MICROS_MOST) as u64;
            self.after(after, Event::Restart(number));
        }
    }

    /// Pauses something and resumes it sooner or later.
    fn pause_and_resume(&mut self) {
        let Some(node) = self.node.as_ref().filter(|node| node.accepts()) else { return };
        let Some((open, paused)) = node.look(|engine| {
            let executions = engine.executions();
            let open: Vec<_> = executions.iter().map(|(id, _)| *id).collect();
            let paused: Vec<_> = open.iter().copied().filter(|id| executions.is_paused(id)).collect();
            (open, paused)
        }) else {
            return;
        };
        let command = |ask| Command { actor: Actor::Token("attendant".to_owned()), trace: None, ask };
        for execution in paused {
            if self.ground.is_healed() || self.random.chance(RESUMES) {
                self.ground.trace("attendant", format!("resumes {execution}"));
                node.submit(command(Ask::ResumeExecution { execution }));
            }
        }
        if !open.is_empty() && self.ground.strikes(self.ground.plan.holds_up) {
            let execution = open[self.random.below(open.len() as u64) as usize];
            self.ground.trace("attendant", format!("pauses {execution}"));
            node.submit(command(Ask::PauseExecution { execution }));
        }
    }

    fn settle(&mut self) {
        let Some(node) = self.node.as_ref().filter(|node| node.accepts()) else { return };
        let Some((indeterminate, parked)) = node.look(|engine| {
            let waits =
                engine.executions().iter().filter(|(_, open)| matches!(open.phase, Phase::Indeterminate { .. } | Phase::Settled { .. }));
            let waits: Vec<_> = waits.map(|(id, _)| (*id, engine.inquiries().of(id).map(|(inquiry, _)| inquiry))).collect();
            let parked: Vec<_> = engine.health().parked_reactions().map(|(of, _)| *of).collect();
            (waits, parked)
        }) else {
            return;
        };
        sometimes!(!indeterminate.is_empty(), "an execution was indeterminate");
        sometimes!(!parked.is_empty(), "a reaction was parked");
        let actor = Actor::Token("attendant".to_owned());
        for (execution, inquiry) in indeterminate {
            let outcome = settlement(&mut self.random);
            self.ground.trace("attendant", format!("settles {execution}: {outcome:?}"));
            let ask = match inquiry.filter(|_| self.random.chance(0.5)) {
                Some(inquiry) => Ask::AnswerInquiry(answer(inquiry, &outcome)),
                None => Ask::SettleExecution { execution, outcome, result: None },
            };
            node.submit(Command { actor: actor.clone(), trace: None, ask });
        }
        for of in parked {
            self.ground.trace("attendant", format!("retries the reaction to {of}"));
            node.submit(Command { actor: actor.clone(), trace: None, ask: Ask::RetryReaction { of } });
        }
    }
}

/// Returns the same decision as an answer to the node's inquiry.
fn answer(inquiry: InquiryId, outcome: &Settlement) -> InquiryAnswer {
    let answer = match outcome {
        Settlement::Succeeded => json!({ "outcome": "succeeded" }),
        Settlement::Failed { error } => json!({ "outcome": "failed", "error": error }),
        Settlement::Retry => json!({ "outcome": "retry" }),
    };
    let (by, roles) = ("attendant".to_owned(), vec!["operator".to_owned()]);
    InquiryAnswer {
        inquiry,
        by,
        name: None,
        roles,
        behalf: None,
        digest: None,
        body: Body::json(answer.to_string()),
        answer: Document::from_value(&answer),
    }
}
