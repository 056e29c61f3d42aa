//! `ensue rules backtest`: what a rule would have done with the events that came.

use std::path::{Path, PathBuf};

use clap::Args;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use crate::ago::moment_of;
use crate::commands::Asking;
use crate::commands::check::{counted, name_of_pack};
use crate::report::{Exit, Failure, Outcome};
use crate::table::{pairs, text};

/// How long the node may take, in seconds: it reads a part of the log.
const PATIENCE_SECONDS: u64 = 600;

/// How many events of a kind are listed for people.
const LISTED_MAX: usize = 10;

/// What is tried, and over what.
#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// The rule, or the file of a rule in its pack's folder, as it is now.
    rule: String,
    /// Which rule of the file, where it has several.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// From when on the events were taken in: a time, or how long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Before when they were.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
    /// Only events behind this position of the log.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// End with 1 where the rule would act on more events than so many on which it did not.
    #[arg(long, value_name = "N")]
    max_new: Option<u64>,
}

impl Backtest {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let (rule, file) = match self.file()? {
            Some((rule, path, text)) => (rule, json!({ "path": path, "text": text })),
            None => (self.rule.clone(), Value::Null),
        };
        let client = asking.client()?;
        let asked = json!({ "rule": rule, "file": file, "since": self.since, "until": self.until, "after": self.after });
        let answer = client.post_and_wait("/rules/backtest", &asked, PATIENCE_SECONDS).await?;
        asking.output.print_one(&answer.body, |told| shown(&rule, told));
        let count = |part: &Value| part.as_u64().unwrap_or_default();
        let (new, unreadable) = (count(&answer.body["new"]["count"]), count(&answer.body["unreadable"]));
        if self.max_new.is_some() && unreadable > 0 {
            return Err(Failure::new(format!(
                "{} cannot be read any more, and nobody knows what `{rule}` would do with them",
                counted(usize::try_from(unreadable).unwrap_or(usize::MAX), "event")
            ))
            .hint("begin behind them, with `--since` or `--after`"));
        }
        match self.max_new {
            Some(most) if new > most => Err(Failure::new(format!(
                "`{rule}` would act on {} on which it did not; {most} may be",
                counted(usize::try_from(new).unwrap_or(usize::MAX), "event")
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Gives the rule that a file is about, its path in its pack and its text; none where no file is named.
    fn file(&self) -> Result<Option<(String, String, String)>, Failure> {
        let path = Path::new(&self.rule);
        if !path.is_file() {
            if self.rule.ends_with(".yaml") || self.rule.contains('/') {
                return Err(Failure::with(Exit::Missing, format!("there is no file `{}`", self.rule)));
            }
            return Ok(None);
        }
        let unreadable = |path: &Path, why: &dyn std::fmt::Display| Failure::new(format!("cannot read {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|why| unreadable(path, &why))?;
        let whole = path.canonicalize().map_err(|why| unreadable(path, &why))?;
        let Some((pack, inside)) = pack_of(&whole) else {
            return Err(Failure::new(format!("{} is in no pack: no folder around it has a `pack.yaml`", path.display()))
                .hint("name a file in a pack's `rules/`: the rule is tried with what its pack has"));
        };
        let stem = whole.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let rule = format!("{pack}.{}", self.name.as_deref().unwrap_or(stem));
        Ok(Some((rule, inside, text)))
    }
}

/// Gives the name of the pack that a file is in, and its path there.
fn pack_of(file: &Path) -> Option<(String, String)> {
    let folder: PathBuf = file.ancestors().skip(1).find(|folder| folder.join("pack.yaml").is_file())?.to_owned();
    let inside = file.strip_prefix(&folder).ok()?.to_str()?.replace('\\', "/");
    Some((name_of_pack(&folder)?, inside))
}

/// A backtest for people.
fn shown(rule: &str, told: &Value) -> String {
    let judged = told["judged"].as_u64().unwrap_or_default();
    let range = format!(
        "{} of its triggers, from position {} to {}",
        counted(usize::try_from(judged).unwrap_or(usize::MAX), "event"),
        text(told, "after"),
        text(told, "until")
    );
    let unreadable = told["unreadable"].as_u64().filter(|count| *count > 0);
    let mut shown = pairs(&[
        ("rule", rule.to_owned()),
        ("over", range),
        ("erased", unreadable.map(|count| count.to_string()).unwrap_or_default()),
        ("happened", outcomes(&told["happened"])),
        ("would", outcomes(&told["would"])),
        ("matched", text(told, "matched")),
        ("new", text(&told["new"], "count")),
        ("lost", text(&told["lost"], "count")),
        ("erred", text(&told["erred"], "count")),
    ]);
    for (kind, says) in [("new", "would act, and did not"), ("lost", "acted, and would not"), ("erred", "would err")] {
        let events = told[kind]["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        if events.is_empty() {
            continue;
        }
        shown.push_str(&format!("\n{kind}: {says}\n"));
        for event in events.iter().take(LISTED_MAX) {
            let outcome = |name: &str| event[name].as_str().unwrap_or("not matched").to_owned();
            let why = event["error"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            shown.push_str(&format!("  {}  {} → {}{why}\n", text(event, "event"), outcome("happened"), outcome("would")));
        }
        let count = told[kind]["count"].as_u64().unwrap_or_default();
        let more = count.saturating_sub(events.len().min(LISTED_MAX) as u64);
        if more > 0 {
            shown.push_str(&format!("  and {more} more\n"));
        }
    }
    shown
}

/// How many came to each outcome, in a line.
fn outcomes(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten().map(|(outcome, count)| format!("{count} {outcome}"));
    let line = counts.collect::<Vec<_>>().join(", ");
    if line.is_empty() { "nothing".to_owned() } else { line }
}
