//! Replays: which recorded executions would go another way, and where first.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, PackName, RuleRef};
use ensue_engine::time::Timestamp;
use ensue_packs::{FileMode, PackFile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ports::{PackFiles, ReplayDifference, Replayed, ReplayedExecution, ReplayedWhich, ToReplay};
use crate::problem::Problem;
use crate::query::bad;
use crate::shapes;

/// How many executions are replayed where nobody says.
const LAST: u32 = 100;
/// How many are replayed at the most.
const LAST_MAX: u32 = 10_000;

/// Which executions are replayed, and by what.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ReplayAsked")]
#[serde(deny_unknown_fields)]
pub(crate) struct WireToReplay {
    /// This one; without it, the newest that are no steps of others.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    #[serde(default)]
    execution: Option<ExecutionId>,
    /// How many of the newest; 100 where nothing is said, 10,000 at most.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    last: Option<u32>,
    /// Only those of this action.
    #[schemars(with = "Option<shapes::ActionRef>")]
    #[serde(default)]
    action: Option<ActionRef>,
    /// Only those that this rule asked for.
    #[schemars(with = "Option<shapes::RuleRef>")]
    #[serde(default)]
    rule: Option<RuleRef>,
    /// Only those that were asked for from then on.
    #[schemars(with = "Option<shapes::Timestamp>")]
    #[serde(default)]
    since: Option<Timestamp>,
    /// Another version of an installed pack, by which they are replayed; without it, by what they went by.
    #[serde(default)]
    pack: Option<WirePack>,
}

/// A pack as it is written.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PackFiles")]
#[serde(deny_unknown_fields)]
struct WirePack {
    #[schemars(with = "shapes::PackName")]
    name: PackName,
    /// Its files by their paths in it: `rules/greet.yaml`.
    files: BTreeMap<String, WirePackFile>,
}

/// A file of a pack.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PackFile")]
#[serde(deny_unknown_fields)]
struct WirePackFile {
    /// What is in it, in Base64 (RFC 4648 §4).
    base64: String,
    /// Whether it can be run.
    #[serde(default)]
    mode: WireFileMode,
}

/// Whether a file can be run.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[schemars(rename = "FileMode")]
#[serde(rename_all = "snake_case")]
enum WireFileMode {
    /// It is only read.
    #[default]
    Plain,
    /// It can be run.
    Executable,
}

impl TryFrom<WireToReplay> for ToReplay {
    type Error = Problem;

    fn try_from(asked: WireToReplay) -> Result<Self, Problem> {
        let WireToReplay { execution, last, action, rule, since, pack } = asked;
        if last.is_some_and(|last| !(1..=LAST_MAX).contains(&last)) {
            return Err(bad("last", format!("must be a whole number from 1 to {LAST_MAX}")).into());
        }
        let is_filtered = last.is_some() || action.is_some() || rule.is_some() || since.is_some();
        let which = match execution {
            Some(_) if is_filtered => {
                return Err(bad("execution", "names the execution to replay: leave out the fields that select several").into());
            }
            Some(execution) => ReplayedWhich::One(execution),
            None => ReplayedWhich::Last { count: last.unwrap_or(LAST), action, rule, since },
        };
        let pack = pack.map(|WirePack { name, files }| -> Result<PackFiles, Problem> {
            let files = files.into_iter().map(|(path, file)| {
                let bytes = BASE64_STANDARD.decode(&file.base64).map_err(|_| bad("base64", format!("of `{path}` is not valid Base64")))?;
                let mode = match file.mode {
                    WireFileMode::Plain => FileMode::Plain,
                    WireFileMode::Executable => FileMode::Executable,
                };
                Ok((path, PackFile { bytes: bytes.into(), mode }))
            });
            Ok(PackFiles { name, files: files.collect::<Result<_, Problem>>()? })
        });
        Ok(Self { which, pack: pack.transpose()? })
    }
}

/// Which executions would go another way.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Replay")]
pub(crate) struct WireReplayed {
    /// How many go as they went.
    same: u64,
    /// How many go another way.
    differ: u64,
    /// How many cannot be replayed.
    unreplayable: u64,
    /// The first 100 that do not go as they went: the newest first, and behind them those that cannot be replayed.
    executions: Vec<WireReplayedExecution>,
}

/// An execution that does not go as it went, or cannot be replayed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayedExecution")]
struct WireReplayedExecution {
    #[schemars(with = "shapes::ExecutionId")]
    execution: ExecutionId,
    #[schemars(with = "Option<shapes::ActionRef>")]
    action: Option<ActionRef>,
    /// What differs first: what comes behind it follows from it. Nothing where it cannot be replayed.
    differences: Vec<WireReplayDifference>,
    /// Why it cannot be replayed.
    error: Option<String>,
}

/// What differs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayDifference")]
struct WireReplayDifference {
    /// The way to the step, with its items and turns from 0: `deploy[2].check`; empty for the execution itself.
    step: String,
    /// What of it.
    what: &'static str,
    /// Where in that, a JSON Pointer (RFC 6901).
    pointer: String,
    /// What was recorded; null where nothing was.
    recorded: Option<Value>,
    /// What would be; null where nothing would.
    would: Option<Value>,
}

impl From<Replayed> for WireReplayed {
    fn from(told: Replayed) -> Self {
        let Replayed { same, differ, unreplayable, executions } = told;
        Self { same, differ, unreplayable, executions: executions.into_iter().map(WireReplayedExecution::from).collect() }
    }
}

impl From<ReplayedExecution> for WireReplayedExecution {
    fn from(told: ReplayedExecution) -> Self {
        let ReplayedExecution { execution, action, differences, error } = told;
        Self { execution, action, differences: differences.into_iter().map(WireReplayDifference::from).collect(), error }
    }
}

impl From<ReplayDifference> for WireReplayDifference {
    fn from(told: ReplayDifference) -> Self {
        let ReplayDifference { step, what, pointer, recorded, would } = told;
        Self { step, what, pointer, recorded, would }
    }
}
