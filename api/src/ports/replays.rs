//! Recorded executions that are folded once more.

use std::collections::BTreeMap;

use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, PackName, RuleRef};
use ensue_engine::time::Timestamp;
use ensue_packs::PackFile;

use super::Declined;
use crate::patience::Patience;

/// What folds recorded executions once more.
pub trait Replays: Send + Sync {
    /// Says which of these executions go as they went. Blocking, and long: it reads a part of the log, and stops when
    /// `patience` ends.
    ///
    /// # Errors
    /// Where there is no such execution, or the pack cannot be tried as it is written.
    fn replay(&self, asked: &ToReplay, patience: &Patience) -> Result<Replayed, Declined>;
}

/// Which executions are replayed, and by what.
#[derive(Clone, Debug)]
pub struct ToReplay {
    /// Which.
    pub which: ReplayedWhich,
    /// Another version of an installed pack, by which they are replayed; none means by what they went by.
    pub pack: Option<PackFiles>,
}

/// Which executions are replayed.
#[derive(Clone, Debug)]
pub enum ReplayedWhich {
    /// This one.
    One(ExecutionId),
    /// The newest that are no steps of others.
    Last {
        /// How many.
        count: u32,
        /// Of this action.
        action: Option<ActionRef>,
        /// Asked for by this rule.
        rule: Option<RuleRef>,
        /// Asked for from then on.
        since: Option<Timestamp>,
    },
}

/// A pack as it is written.
#[derive(Clone, Debug)]
pub struct PackFiles {
    /// Its name.
    pub name: PackName,
    /// Its files, by their paths in the pack.
    pub files: BTreeMap<String, PackFile>,
}

/// What came of replaying.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// How many go as they went.
    pub same: u64,
    /// How many go another way.
    pub differ: u64,
    /// How many cannot be replayed.
    pub unreplayable: u64,
    /// Those that do not go as they went, or cannot be replayed, the newest first.
    pub executions: Vec<ReplayedExecution>,
}

/// An execution that does not go as it went, or cannot be replayed.
#[derive(Clone, Debug)]
pub struct ReplayedExecution {
    /// It.
    pub execution: ExecutionId,
    /// Its action.
    pub action: Option<ActionRef>,
    /// What differs first; nothing where it cannot be replayed.
    pub differences: Vec<ReplayDifference>,
    /// Why it cannot be replayed.
    pub error: Option<String>,
}

/// What differs.
#[derive(Clone, Debug)]
pub struct ReplayDifference {
    /// The way to the step; empty for the execution itself.
    pub step: String,
    /// What of it: a name of a closed list.
    pub what: &'static str,
    /// Where in it, a JSON pointer.
    pub pointer: String,
    /// What was recorded.
    pub recorded: Option<serde_json::Value>,
    /// What would be.
    pub would: Option<serde_json::Value>,
}
