//! Replays: the recorded executions that would run differently, and the first difference in each.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ensue_derive::wire;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, PackName, RuleRef};
use ensue_engine::time::Timestamp;
use ensue_packs::{FileMode, PackFile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ports::{PackFiles, ReplayDifference, ReplayResult, ReplayedExecution, ReplayedWhich, ToReplay};
use crate::problem::Problem;
use crate::query::bad;

/// The default number of executions to replay.
const LAST: u32 = 100;
/// The maximum number of executions to replay.
const LAST_MAX: u32 = 10_000;

/// The executions to replay, and the definitions to replay them with.
#[wire(Deserialize)]
#[schemars(rename = "ReplayAsked")]
#[serde(deny_unknown_fields)]
pub(crate) struct WireToReplay {
    /// This execution; without it, the newest executions that are not steps of others.
    #[serde(default)]
    execution: Option<ExecutionId>,
    /// How many of the newest executions; 100 by default, at most 10,000.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    last: Option<u32>,
    /// Only executions of this action.
    #[serde(default)]
    action: Option<ActionRef>,
    /// Only executions requested by this rule.
    #[serde(default)]
    rule: Option<RuleRef>,
    /// Only executions requested at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Another version of an installed pack to replay them with; without it, the definitions that they ran
    /// with.
    #[serde(default)]
    pack: Option<WirePack>,
}

/// The files of a pack.
#[wire(Deserialize)]
#[schemars(rename = "PackFiles")]
#[serde(deny_unknown_fields)]
struct WirePack {
    name: PackName,
    /// Its files by their paths in it: `rules/greet.yaml`.
    files: BTreeMap<String, WirePackFile>,
}

/// A file of a pack.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PackFile")]
#[serde(deny_unknown_fields)]
struct WirePackFile {
    /// Its contents, in Base64 (RFC 4648 §4).
    base64: String,
    /// Whether it is executable.
    #[serde(default)]
    mode: WireFileMode,
}

/// Whether a file is executable.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[schemars(rename = "FileMode")]
#[serde(rename_all = "snake_case")]
enum WireFileMode {
    /// It can only be read.
    #[default]
    Plain,
    /// It is executable.
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

/// The executions that would run differently.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Replay")]
pub(crate) struct WireReplayed {
    /// The number of executions that would run as they did.
    same: u64,
    /// The number of executions that would run differently.
    differ: u64,
    /// The number of executions that cannot be replayed.
    unreplayable: u64,
    /// The first 100 executions that would not run as they did, newest first, followed by those that cannot be
    /// replayed.
    executions: Vec<WireReplayedExecution>,
}

/// An execution that would run differently or cannot be replayed.
#[wire(Serialize)]
#[schemars(rename = "ReplayedExecution")]
struct WireReplayedExecution {
    execution: ExecutionId,
    action: Option<ActionRef>,
    /// The first differences; later ones follow from them. Empty if it cannot be replayed.
    differences: Vec<WireReplayDifference>,
    /// Why it cannot be replayed.
    error: Option<String>,
}

/// A difference.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayDifference")]
struct WireReplayDifference {
    /// The path to the step, with its items and turns from 0: `deploy[2].check`; empty for the execution
    /// itself.
    step: String,
    /// The aspect that differs.
    what: &'static str,
    /// The place in it, as a JSON Pointer (RFC 6901).
    pointer: String,
    /// The recorded value; null if there was none.
    recorded: Option<Value>,
    /// The value that it would have; null if there would be none.
    would: Option<Value>,
}

impl From<ReplayResult> for WireReplayed {
    fn from(told: ReplayResult) -> Self {
        let ReplayResult { same, differ, unreplayable, executions } = told;
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
