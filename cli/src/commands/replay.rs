//! `ensue replay`: replays recorded executions with their own definitions or with another version of a pack.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use ensue_engine::time::Timestamp;
use ensue_packs::{FileMode, PackSource};
use serde_json::{Value, json};

use crate::ago::moment_of;
use crate::commands::Asking;
use crate::commands::check::{count_noun, name_of_pack};
use crate::ids;
use crate::report::{CommandResult, Exit, Failure, eprint_line, printable};
use crate::table::text;

/// The time limit for the node, in seconds: it reads a part of the log.
const PATIENCE_SECONDS: u64 = 600;

/// The most executions shown to people.
const SHOWN_MAX: usize = 20;

/// Replay recorded executions, and report changed decisions. The report shows the first decision
/// that would differ, and why. Results and answers come from the log: nothing runs, nobody is asked, and nothing is recorded.
///
/// Without --against, executions are replayed with the definitions that they ran with, and every
/// decision must be the same. With --against, they are replayed with another version of a pack.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue replay 019c…                                  one execution, with its steps
  ensue replay --last 500                             the newest: for a new release of Ensue
  ensue replay --against packs/release --last 500     for CI: exits with 1 if a decision differs
  ensue replay --against packs/release --action release.ship --since 30d")]
pub(crate) struct Replay {
    /// The execution [default: the newest executions that are not steps].
    #[arg(conflicts_with_all = ["last", "action", "rule", "since"])]
    id: Option<String>,
    /// The folder of an installed pack: replay with its current files.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// The number of the newest executions to replay.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: u32,
    /// Only items of this action.
    #[arg(long, value_name = "REF")]
    action: Option<String>,
    /// Only executions requested by this rule.
    #[arg(long, value_name = "REF")]
    rule: Option<String>,
    /// Only executions requested since this time, or since so long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
}

impl Replay {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let pack = self.against.as_deref().map(pack).transpose()?;
        let client = asking.client()?;
        let id = ids::whole_if_any(&client, &[ids::EXECUTION], self.id).await?;
        let asked = match &id {
            Some(id) => json!({ "execution": id, "pack": pack }),
            None => json!({ "last": self.last, "action": self.action, "rule": self.rule, "since": self.since, "pack": pack }),
        };
        let answer = client.post_and_wait("/executions/replay", &asked, PATIENCE_SECONDS).await?;
        let told = &answer.body;
        asking.output.print_one(told, render);
        let count = |name: &str| usize::try_from(told[name].as_u64().unwrap_or_default()).unwrap_or(usize::MAX);
        match (count("same"), count("differ"), count("unreplayable")) {
            (0, 0, 0) => {
                Err(Failure::with(Exit::Missing, "there is no execution to replay")
                    .hint("list the executions with `ensue executions list`"))
            }
            (_, 0, 0) => Ok(()),
            (0, 0, all) => Err(Failure::new(format!("{} cannot be replayed", count_noun(all, "execution")))),
            (_, 0, some) => {
                eprint_line(format!("{} cannot be replayed, so their course is unknown", count_noun(some, "execution")));
                Ok(())
            }
            (_, differ, _) => Err(Failure::new(format!("{} would take another course", count_noun(differ, "execution")))),
        }
    }
}

/// Reads a pack's folder in the form in which it is sent.
fn pack(folder: &Path) -> Result<Value, Failure> {
    let Some(name) = name_of_pack(folder) else {
        return Err(Failure::with(Exit::Missing, format!("there is no pack in `{}`", folder.display()))
            .hint("name the folder of one pack, with its `pack.yaml`: `--against packs/release`"));
    };
    let source = PackSource::read(folder).map_err(|error| Failure::new(error.to_string()))?;
    let files = source.files.into_iter().map(|(path, file)| {
        let mode = match file.mode {
            FileMode::Plain => "plain",
            FileMode::Executable => "executable",
        };
        (path, json!({ "base64": BASE64_STANDARD.encode(&file.bytes), "mode": mode }))
    });
    Ok(json!({ "name": name, "files": Value::Object(files.collect()) }))
}

/// Returns the results for people.
fn render(told: &Value) -> String {
    let mut shown = String::new();
    let executions = told["executions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for execution in executions.iter().take(SHOWN_MAX) {
        shown.push_str(&format!("{}  {}\n", text(execution, "execution"), text(execution, "action")));
        if let Some(why) = execution["error"].as_str() {
            shown.push_str(&format!("  cannot be replayed: {}\n", printable(why)));
        }
        for difference in execution["differences"].as_array().into_iter().flatten() {
            shown.push_str(&printable(&format!("  {}\n", line(difference))));
        }
    }
    let counts = ["same", "differ", "unreplayable"].map(|name| told[name].as_u64().unwrap_or_default());
    let rest = (counts[1] + counts[2]).saturating_sub(executions.len().min(SHOWN_MAX) as u64);
    if rest > 0 {
        shown.push_str(&format!("and {rest} more\n"));
    }
    if !shown.is_empty() {
        shown.push('\n');
    }
    let parts = [("the same", counts[0]), ("another way", counts[1]), ("cannot be replayed", counts[2])];
    let parts: Vec<String> = parts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
    shown.push_str(&parts.join(", "));
    shown
}

/// Returns a difference on one line.
fn line(difference: &Value) -> String {
    let side = |name: &str| match &difference[name] {
        Value::Null => "nothing".to_owned(),
        Value::String(said) => said.clone(),
        other => other.to_string(),
    };
    let step = text(difference, "step");
    let step = if step.is_empty() { "the execution itself".to_owned() } else { step };
    let (what, pointer) = (text(difference, "what"), text(difference, "pointer"));
    let pointer = if pointer.is_empty() { pointer } else { format!(" {pointer}") };
    format!("{step}: {what}{pointer}: {} → {}", side("recorded"), side("would"))
}
