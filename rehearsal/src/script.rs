//! Plays the outside world with the mocks of a case.

use std::collections::BTreeMap;

use ensue_engine::catalog::Extra;
use ensue_engine::catalog::Schema;
use ensue_engine::effect::Dispatch;
use ensue_engine::names::ActionRef;
use ensue_expression::Document;
use ensue_packs::cases::{Mock, Mocks, StepPath};
use ensue_packs::whole_schema;
use serde_json::Value;

use crate::error::RehearsalError;
use crate::example::example;
use crate::history::ExecutionPath;
use crate::stage::{AttemptOutcome, InquiryOutcome, OutsideWorld};

/// The mocks that apply to a case.
#[derive(Clone, Copy, Debug)]
pub struct Script<'c> {
    /// The mocks of the case.
    pub mocks: &'c BTreeMap<StepPath, Mocks>,
    /// The results of actions for which the case has no mock.
    pub actions: &'c BTreeMap<ActionRef, Value>,
}

impl OutsideWorld for Script<'_> {
    fn attempt(&mut self, way: &ExecutionPath, dispatch: &Dispatch, _params: &Value) -> Result<Option<AttemptOutcome>, RehearsalError> {
        let Some(mocks) = self.mocks.get(&way.path) else {
            return Ok(self.actions.get(&dispatch.action).cloned().map(AttemptOutcome::Result));
        };
        match self.pick(way, mocks, dispatch.number as usize - 1)? {
            Mock::Result(result) => Ok(Some(AttemptOutcome::Result(result.clone()))),
            Mock::Raw(raw) => Ok(Some(AttemptOutcome::Raw(raw.clone()))),
            Mock::Error(failure) => Ok(Some(AttemptOutcome::Failed(failure.clone()))),
            Mock::Answer { .. } | Mock::Event(_) | Mock::CancelledBy(_) | Mock::Expired => Ok(None),
        }
    }

    fn answer(&mut self, way: &ExecutionPath, question: &Value, given: usize) -> Result<InquiryOutcome, RehearsalError> {
        let schema = &question["answer"];
        let unsaid = || RehearsalError::NoAnswer { path: way.path.clone(), like: example(schema).to_string() };
        let mocks = self.mocks.get(&way.path).ok_or_else(unsaid)?;
        match self.pick(way, mocks, given)? {
            Mock::Answer { answer, by } => {
                fits(answer, schema).map_err(|why| RehearsalError::AnswerRefused { path: way.path.clone(), why })?;
                Ok(InquiryOutcome::Answer { answer: answer.clone(), by: by.clone() })
            }
            Mock::Expired => Ok(InquiryOutcome::Nothing),
            Mock::Result(_) | Mock::Raw(_) | Mock::Error(_) | Mock::Event(_) | Mock::CancelledBy(_) => Err(unsaid()),
        }
    }

    fn await_event(&mut self, way: &ExecutionPath, trigger: &str) -> Result<Option<Value>, RehearsalError> {
        let unsaid = || RehearsalError::NoEvent { path: way.path.clone(), trigger: trigger.to_owned() };
        match self.pick(way, self.mocks.get(&way.path).ok_or_else(unsaid)?, 0)? {
            Mock::Event(payload) => Ok(Some(payload.clone())),
            Mock::Expired => Ok(None),
            Mock::Result(_) | Mock::Raw(_) | Mock::Error(_) | Mock::Answer { .. } | Mock::CancelledBy(_) => Err(unsaid()),
        }
    }

    fn cancelling_event(&mut self, way: &ExecutionPath, given: usize) -> Result<Option<Value>, RehearsalError> {
        let Some(mocks) = self.mocks.get(&way.path) else { return Ok(None) };
        match self.pick(way, mocks, given)? {
            Mock::CancelledBy(payload) => Ok(Some(payload.clone())),
            Mock::Result(_) | Mock::Raw(_) | Mock::Error(_) | Mock::Answer { .. } | Mock::Event(_) | Mock::Expired => Ok(None),
        }
    }
}

impl<'c> Script<'c> {
    /// Picks the mock for an item or turn, and for its attempt or answer, counted from 0.
    fn pick(&self, way: &ExecutionPath, mocks: &'c Mocks, nth: usize) -> Result<&'c Mock, RehearsalError> {
        let mut at = mocks;
        for index in way.items.iter().map(|item| *item as usize).chain([nth]) {
            match at {
                Mocks::One(mock) => return Ok(mock),
                Mocks::Each(each) => {
                    let over = || RehearsalError::MocksOver { path: way.path.clone(), has: each.len(), number: index + 1 };
                    at = each.get(index).ok_or_else(over)?;
                }
            }
        }
        match at {
            Mocks::One(mock) => Ok(mock),
            Mocks::Each(each) => Err(RehearsalError::MocksOver { path: way.path.clone(), has: each.len(), number: each.len() + 1 }),
        }
    }
}

fn fits(answer: &Value, schema: &Value) -> Result<(), String> {
    let schema = whole_schema(schema.clone()).map_err(|misfit| format!("the answer's schema is not a JSON Schema: {misfit}"))?;
    let document = Document::from_value(answer);
    let misfits = Schema::Whole(schema).misfits(document.root(), Extra::Refused);
    let misfits: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    if misfits.is_empty() { Ok(()) } else { Err(misfits.join("; ")) }
}
