//! Commands in short calls.

use ensue_engine::catalog::Mode;
use ensue_engine::command::{Ask, Command, InquiryAnswer, PackChange, Settings};
use ensue_engine::executions::facts::{Evidence, Settlement};
use ensue_engine::ids::{AttemptId, ExecutionId, InquiryId};
use ensue_engine::record::{Actor, Body, CatalogRevision, Chain, Digest, Head, Position};
use ensue_expression::Document;
use serde_json::Value;

use super::rule_id;

/// The person who sends commands.
pub(crate) fn ana() -> Actor {
    Actor::Token("ana".into())
}

/// The worker that reports.
pub(crate) fn worker() -> Actor {
    Actor::Worker("local".into())
}

pub(crate) fn asked_by(actor: Actor, ask: Ask) -> Command {
    Command { actor, trace: None, ask }
}

pub(crate) fn workers(workers: u32) -> Settings {
    Settings { workers, ..Settings::default() }
}

pub(crate) fn cancel(execution: ExecutionId) -> Command {
    asked_by(ana(), Ask::CancelExecution { execution })
}

pub(crate) fn lose((execution, attempt): (ExecutionId, AttemptId), evidence: Evidence) -> Command {
    asked_by(worker(), Ask::LoseAttempt { execution, attempt, evidence, error: None })
}

pub(crate) fn settle(execution: ExecutionId, outcome: Settlement) -> Command {
    asked_by(ana(), Ask::SettleExecution { execution, outcome, result: None })
}

/// The answer of a person with a name and roles.
pub(crate) fn answer_inquiry(inquiry: InquiryId, who: &str, answer: &Value, digest: Option<Digest>) -> Command {
    let mut words = who.split(' ').map(str::to_owned);
    let by = words.next().unwrap_or_default();
    let (body, plain) = (Body::json(answer.to_string()), Document::from_value(answer));
    let ask = InquiryAnswer { inquiry, by: by.clone(), name: None, roles: words.collect(), behalf: None, digest, body, answer: plain };
    asked_by(Actor::Token(by), Ask::AnswerInquiry(ask))
}

pub(crate) fn fire_timers() -> Command {
    asked_by(Actor::Engine, Ask::FireTimers)
}

pub(crate) fn accept_clock() -> Command {
    asked_by(ana(), Ask::AcceptClock)
}

pub(crate) fn note_restore(known: Position) -> Command {
    asked_by(Actor::Operator, Ask::NoteRestore { known: Head { position: known, chain: Chain::default() } })
}

pub(crate) fn note_start() -> Command {
    asked_by(Actor::Engine, Ask::NoteStart { release: "0.1.0".into() })
}

pub(crate) fn set_mode(rule: &str, mode: Mode) -> Command {
    asked_by(ana(), Ask::SetRuleMode { rule: rule.parse().unwrap(), rule_id: rule_id(rule), mode })
}

pub(crate) fn retry(of: Position) -> Command {
    asked_by(ana(), Ask::RetryReaction { of })
}

pub(crate) fn dismiss(of: Position) -> Command {
    asked_by(ana(), Ask::DismissReaction { of })
}

/// A pack may do this with other packs; without a list, everything. `base` is the current revision of the catalog.
pub(crate) fn permit_at(base: CatalogRevision, pack: &str, permissions: Option<&[&str]>) -> Command {
    let permissions = permissions.map(|list| list.iter().map(|permission| permission.parse().unwrap()).collect());
    let change = PackChange::Permit { name: pack.parse().unwrap(), permissions };
    asked_by(Actor::Engine, Ask::ChangePacks { base, changes: vec![change] })
}
