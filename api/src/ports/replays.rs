//! Replays: folding recorded executions again.

use std::collections::BTreeMap;

use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, PackName, RuleRef};
use ensue_engine::time::Timestamp;
use ensue_packs::PackFile;

use super::PortError;
use crate::patience::Patience;

/// Replays recorded executions.
pub trait Replays: Send + Sync {
    /// Returns which of these executions would run as they did. Blocking, and long: it reads a part of the log,
    /// and stops when `patience` ends.
    ///
    /// # Errors
    /// If there is no such execution, or the pack cannot be tested as written.
    fn replay(&self, asked: &ToReplay, patience: &Patience) -> Result<ReplayResult, PortError>;
}

/// The executions to replay, and the definitions to replay them with.
#[derive(Clone, Debug)]
pub struct ToReplay {
    /// The executions.
    pub which: ReplayedWhich,
    /// Another version of an installed pack to replay them with; none means the definitions that they ran with.
    pub pack: Option<PackFiles>,
}

/// The executions to replay.
#[derive(Clone, Debug)]
pub enum ReplayedWhich {
    /// This one.
    One(ExecutionId),
    /// The newest that are not steps of others.
    Last {
        /// How many.
        count: u32,
        /// Only executions of this action.
        action: Option<ActionRef>,
        /// Only executions requested by this rule.
        rule: Option<RuleRef>,
        /// Only executions requested at or after this time.
        since: Option<Timestamp>,
    },
}

/// The files of a pack.
#[derive(Clone, Debug)]
pub struct PackFiles {
    /// Its name.
    pub name: PackName,
    /// Its files by their paths in the pack.
    pub files: BTreeMap<String, PackFile>,
}

/// The result of a replay.
#[derive(Clone, Debug, Default)]
pub struct ReplayResult {
    /// The number of executions that would run as they did.
    pub same: u64,
    /// The number of executions that would run differently.
    pub differ: u64,
    /// The number of executions that cannot be replayed.
    pub unreplayable: u64,
    /// The executions that would run differently or cannot be replayed, newest first.
    pub executions: Vec<ReplayedExecution>,
}

/// An execution that would run differently or cannot be replayed.
#[derive(Clone, Debug)]
pub struct ReplayedExecution {
    /// The execution.
    pub execution: ExecutionId,
    /// Its action.
    pub action: Option<ActionRef>,
    /// The first differences; empty if it cannot be replayed.
    pub differences: Vec<ReplayDifference>,
    /// Why it cannot be replayed.
    pub error: Option<String>,
}

/// A difference.
#[derive(Clone, Debug)]
pub struct ReplayDifference {
    /// The path to the step; empty for the execution itself.
    pub step: String,
    /// The aspect that differs: a name from a closed list.
    pub what: &'static str,
    /// The place in it, as a JSON pointer.
    pub pointer: String,
    /// The recorded value.
    pub recorded: Option<serde_json::Value>,
    /// The value that it would have.
    pub would: Option<serde_json::Value>,
}
