//! `ensue rules backtest`: reports what a rule would have done with past events.

use std::path::{Path, PathBuf};

use clap::Args;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use crate::ago::moment_of;
use crate::client::Client;
use crate::commands::Asking;
use crate::commands::check::{count_noun, name_of_pack};
use crate::report::{CommandResult, Exit, Failure};
use crate::table::{pairs, text};

/// The time limit for the node, in seconds: it reads a part of the log.
const PATIENCE_SECONDS: u64 = 600;

/// The most events of a kind listed for people.
const LISTED_MAX: usize = 10;

/// What is tried, and over what.
#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// The rule, the file of a rule in its pack's folder, or the folder of a pack for all of its
    /// rules.
    rule: String,
    /// Which rule of the file or pack, if it has several.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only events received since this time, or since so long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Only events received before this time.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
    /// Only events after this position of the log.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Exit with code 1 if the rule would act on more than N events on which it did not act.
    #[arg(long, value_name = "N")]
    max_new: Option<u64>,
    /// Exit with code 1 if the rule would not act on more than N events on which it acted. An event
    /// that makes its condition fail counts as one.
    #[arg(long, value_name = "N")]
    max_lost: Option<u64>,
    /// Exit with code 1 if more than N events are new or lost.
    #[arg(long, value_name = "N")]
    max_changed: Option<u64>,
}

/// A rule that is tried.
struct BacktestRule {
    /// Its ref.
    rule: String,
    /// Its new file; null if it is tried as installed.
    file: Value,
    /// Whether the pack no longer has it, so that it acts on nothing.
    is_removed: bool,
}

/// How many events differ from what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Differences {
    new: u64,
    lost: u64,
    unreadable: u64,
}

impl Backtest {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        let folder = Path::new(&self.rule);
        if !folder.join("pack.yaml").is_file() {
            let tried = match self.file()? {
                Some((rule, path, text)) => BacktestRule { rule, file: json!({ "path": path, "text": text }), is_removed: false },
                None => BacktestRule { rule: self.rule.clone(), file: Value::Null, is_removed: false },
            };
            let answer = self.request(&client, &tried).await?;
            asking.output.print_one(&answer, |told| render(&tried.rule, told));
            return self.check_limits(&format!("`{}`", tried.rule), Differences::of(&answer, false));
        }
        let mut all = rules_of(folder)?;
        let pack = name_of_pack(folder).unwrap_or_default();
        let installed = client.get("/rules", &[("pack", pack.clone()), ("limit", "200".to_owned())]).await?;
        let by_events = installed["items"].as_array().into_iter().flatten().filter(|rule| rule["schedule"].is_null());
        for rule in by_events.filter_map(|rule| rule["ref"].as_str()) {
            if all.iter().all(|tried| tried.rule != rule) {
                all.push(BacktestRule { rule: rule.to_owned(), file: Value::Null, is_removed: true });
            }
        }
        if let Some(name) = &self.name {
            all.retain(|tried| tried.rule == format!("{pack}.{name}"));
        }
        if all.is_empty() {
            return Err(Failure::with(Exit::Missing, format!("{} has no such rule for events", folder.display())));
        }
        let (mut differences, mut answers, mut people) = (Differences::default(), Vec::new(), String::new());
        for tried in &all {
            let mut answer = self.request(&client, tried).await?;
            differences = differences.and(Differences::of(&answer, tried.is_removed));
            if !people.is_empty() {
                people.push('\n');
            }
            people.push_str(&render(&tried.rule, &answer));
            if tried.is_removed {
                people.push_str("  the pack no longer has this rule, so all of its executions count as lost\n");
            }
            answer["rule"] = json!(tried.rule);
            answer["removed"] = json!(tried.is_removed);
            answers.push(answer);
        }
        asking.output.print_one(&json!({ "items": answers }), |_| people);
        self.check_limits(&format!("the pack `{pack}`"), differences)
    }

    async fn request(&self, client: &Client, tried: &BacktestRule) -> Result<Value, Failure> {
        let asked = json!({ "rule": tried.rule, "file": tried.file, "since": self.since, "until": self.until, "after": self.after });
        Ok(client.post_and_wait("/rules/backtest", &asked, PATIENCE_SECONDS).await?.body)
    }

    /// Fails if there are more differences than allowed.
    fn check_limits(&self, what: &str, found: Differences) -> CommandResult {
        let is_gate = self.max_new.or(self.max_lost).or(self.max_changed).is_some();
        let events = |count: u64| count_noun(usize::try_from(count).unwrap_or(usize::MAX), "event");
        if is_gate && found.unreadable > 0 {
            let message = format!("{} can no longer be read, so what {what} would do with them is unknown", events(found.unreadable));
            return Err(Failure::new(message).hint("start after them, with `--since` or `--after`"));
        }
        let over = |most: Option<u64>, count: u64| most.filter(|most| count > *most);
        if let Some(most) = over(self.max_new, found.new) {
            return Err(Failure::new(format!(
                "{what} would act on {} on which it did not act before; the limit is {most}",
                events(found.new)
            )));
        }
        if let Some(most) = over(self.max_lost, found.lost) {
            return Err(Failure::new(format!(
                "{what} would not act, or would err, on {} on which it acted before; the limit is {most}",
                events(found.lost)
            )));
        }
        let changed = found.new.saturating_add(found.lost);
        match over(self.max_changed, changed) {
            Some(most) => Err(Failure::new(format!("{what} would decide differently on {}; the limit is {most}", events(changed)))),
            None => Ok(()),
        }
    }

    /// Returns the rule that a file is about, the file's path in its pack and its text; `None` if no file is
    /// named.
    fn file(&self) -> Result<Option<(String, String, String)>, Failure> {
        let path = Path::new(&self.rule);
        if !path.is_file() {
            if self.rule.ends_with(".yaml") || self.rule.contains('/') {
                let failure =
                    Failure::with(Exit::Missing, format!("there is no file `{}`, and no pack in a folder with that name", self.rule));
                return Err(failure);
            }
            return Ok(None);
        }
        let text = std::fs::read_to_string(path).map_err(|why| unreadable(path, &why))?;
        let whole = path.canonicalize().map_err(|why| unreadable(path, &why))?;
        let Some((pack, inside)) = pack_of(&whole) else {
            return Err(Failure::new(format!("{} does not belong to a pack: no folder above it has a `pack.yaml`", path.display()))
                .hint("name a file in a pack's `rules/`: the rule is tested with the rest of its pack"));
        };
        let stem = whole.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let rule = format!("{pack}.{}", self.name.as_deref().unwrap_or(stem));
        Ok(Some((rule, inside, text)))
    }
}

impl Differences {
    /// Returns the differences in an answer. For a removed rule, everything that it did is lost.
    fn of(answer: &Value, is_removed: bool) -> Self {
        let count = |part: &Value| part.as_u64().unwrap_or_default();
        let unreadable = count(&answer["unreadable"]);
        if is_removed {
            return Self { new: 0, lost: count(&answer["happened"]["executed"]), unreadable };
        }
        Self { new: count(&answer["new"]["count"]), lost: count(&answer["lost"]["count"]) + count(&answer["erred"]["count"]), unreadable }
    }

    fn and(self, other: Self) -> Self {
        Self {
            new: self.new.saturating_add(other.new),
            lost: self.lost.saturating_add(other.lost),
            unreadable: self.unreadable.saturating_add(other.unreadable),
        }
    }
}

pub(crate) fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{} cannot be read: {why}", path.display()))
}

/// Returns the event-driven rules in the files of a pack's folder.
fn rules_of(folder: &Path) -> Result<Vec<BacktestRule>, Failure> {
    let Some(pack) = name_of_pack(folder) else {
        return Err(Failure::new(format!("`{}` does not contain the name of its pack", folder.join("pack.yaml").display())));
    };
    let rules = folder.join("rules");
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&rules) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(unreadable(&rules, &error)),
    };
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(|why| unreadable(&path, &why))?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        // The node rejects a file that is not YAML, and reports where.
        let document: Value = serde_saphyr::from_str(&text).unwrap_or_default();
        // A scheduled rule does not depend on events.
        let by_events = |rule: &Value| rule["schedule"].is_null();
        let names: Vec<String> = match document["rules"].as_object() {
            Some(several) => several.iter().filter(|(_, rule)| by_events(rule)).map(|(name, _)| name.clone()).collect(),
            None => by_events(&document).then(|| stem.clone()).into_iter().collect(),
        };
        for name in names {
            let file = json!({ "path": format!("rules/{stem}.yaml"), "text": text });
            all.push(BacktestRule { rule: format!("{pack}.{name}"), file, is_removed: false });
        }
    }
    Ok(all)
}

/// Returns the name of a file's pack, and its path there.
pub(crate) fn pack_of(file: &Path) -> Option<(String, String)> {
    let folder: PathBuf = file.ancestors().skip(1).find(|folder| folder.join("pack.yaml").is_file())?.to_owned();
    let inside = file.strip_prefix(&folder).ok()?.to_str()?.replace('\\', "/");
    Some((name_of_pack(&folder)?, inside))
}

/// Returns a backtest for people.
fn render(rule: &str, told: &Value) -> String {
    let judged = told["judged"].as_u64().unwrap_or_default();
    let range = format!(
        "{} of its triggers, from position {} to {}",
        count_noun(usize::try_from(judged).unwrap_or(usize::MAX), "event"),
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
    for (kind, says) in [("new", "would act, but did not"), ("lost", "acted, but would not"), ("erred", "would err")] {
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

/// Returns the count of each outcome, on one line.
fn outcomes(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten().map(|(outcome, count)| format!("{count} {outcome}"));
    let line = counts.collect::<Vec<_>>().join(", ");
    if line.is_empty() { "nothing".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(max_new: Option<u64>, max_lost: Option<u64>, max_changed: Option<u64>) -> Backtest {
        let (rule, name) = ("shop.large".to_owned(), None);
        Backtest { rule, name, since: None, until: None, after: None, max_new, max_lost, max_changed }
    }

    #[test]
    fn gates_check_new_lost_and_changed_matches() {
        let answer = json!({ "new": { "count": 2 }, "lost": { "count": 3 }, "erred": { "count": 4 }, "happened": { "executed": 9 } });
        let found = Differences::of(&answer, false);
        assert_eq!(found, Differences { new: 2, lost: 7, unreadable: 0 });
        assert_eq!(Differences::of(&answer, true), Differences { new: 0, lost: 9, unreadable: 0 });
        let is_fine = |gate: Backtest| gate.check_limits("`shop.large`", found).is_ok();
        assert!(is_fine(gate(None, None, None)) && is_fine(gate(Some(2), Some(7), Some(9))));
        for gate in [gate(Some(1), None, None), gate(None, Some(6), None), gate(None, None, Some(8))] {
            assert!(!is_fine(gate));
        }
        assert!(gate(None, Some(9), None).check_limits("`shop.large`", Differences { unreadable: 1, ..found }).is_err());
    }
}
