//! `ensue rules`: triggers, conditions, actions and versions of rules.

mod backfill;
pub(super) mod backtest;
mod judgements;
mod versions;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{AsOf, Asking, PageArgs, print_list};
use crate::client::segment;
use crate::nearest;
use crate::report::CommandResult;
use crate::table::{Column, cell, pairs, text, time};
use backfill::Backfill;
use backtest::Backtest;
use judgements::Judgements;
use versions::{Diff, Restore, Versions};

/// List, backtest and restore rules, and set their mode.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue rules list
  ensue rules backtest packs/release/rules/ship_on_tag.yaml --since 30d
  ensue rules set release.ship_on_tag shadow   judged, recorded, not acted on")]
pub(crate) enum RulesCommand {
    /// List rules.
    #[command(after_help = "\
Examples:
  ensue rules list
  ensue rules list --limit 200 -o json")]
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a rule.
    #[command(after_help = "\
Examples:
  ensue rules show release.ship_on_tag
  ensue rules show release.ship_on_tag --as-of 2d     its mode and definition two days ago
  ensue rules show release.ship_on_tag -o json")]
    Show {
        /// The rule.
        rule: String,
        #[command(flatten)]
        as_of: AsOf,
    },
    /// Evaluate a rule over past events, and compare the result with what it did.
    #[command(after_help = "\
Examples:
  ensue rules backtest release.ship_on_tag --since 7d
  ensue rules backtest packs/release/rules/ship_on_tag.yaml --since 30d
  ensue rules backtest packs/release --since 30d     all rules of a pack
  ensue rules backtest packs/release --max-new 5 --max-lost 0     for CI")]
    Backtest(Backtest),
    /// List what a rule decided about past events, and which parts of its condition decided.
    #[command(after_help = "\
Examples:
  ensue rules judgements release.ship_on_tag
  ensue rules judgements release.ship_on_tag --verdict not_matched --since 1d
  ensue rules judgements release.ship_on_tag --definitions now")]
    Judgements(Judgements),
    /// Run a scheduled rule for a past time range. Times that fired already are skipped.
    #[command(after_help = "\
Examples:
  ensue rules backfill backup.nightly --since 7d --dry-run
  ensue rules backfill backup.nightly --since 2026-03-01T00:00:00Z --until 2026-03-08T00:00:00Z")]
    Backfill(Backfill),
    /// List the versions of a rule: each change of its file, the newest first.
    #[command(after_help = "\
Examples:
  ensue rules versions release.ship_on_tag
  ensue rules versions release.ship_on_tag -o json")]
    Versions(Versions),
    /// Compare two versions of a rule.
    #[command(after_help = "\
Examples:
  ensue rules diff release.ship_on_tag 12        with what is installed
  ensue rules diff release.ship_on_tag 12 17")]
    Diff(Diff),
    /// Write the file of an earlier version of a rule into the folder of packs.
    #[command(after_help = "\
Examples:
  ensue rules restore release.ship_on_tag 12
  ensue rules restore release.ship_on_tag 12 --packs /srv/packs")]
    Restore(Restore),
    /// Set the mode of a rule.
    #[command(after_help = "\
Examples:
  ensue rules set release.ship_on_tag shadow     matches are recorded only
  ensue rules set release.ship_on_tag enabled
  ensue rules set release.ship_on_tag disabled")]
    Set {
        /// The rule.
        rule: String,
        /// The new mode.
        #[arg(value_enum)]
        mode: Mode,
    },
}

/// What becomes of a rule's matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Matches run the action.
    Enabled,
    /// The rule is not evaluated.
    Disabled,
    /// Matches are recorded, and nothing runs.
    Shadow,
}

impl Mode {
    fn verb(self) -> &'static str {
        match self {
            Self::Enabled => "enable",
            Self::Disabled => "disable",
            Self::Shadow => "shadow",
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::whole("RULE", |rule| cell(rule, "ref")),
    Column::whole("MODE", |rule| cell(rule, "mode")),
    Column::cut("TRIGGERS", |rule| names(&rule["triggers"])),
    Column::whole("NEXT", |rule| time(&rule["schedule"], "next_at")),
    Column::cut("ACTION", |rule| cell(rule, "action")),
    Column::whole("MATCHED", match_count),
    Column::whole("ERRED", |rule| cell(rule, "erred")),
];

impl RulesCommand {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self {
            Self::List { page } => {
                print_list(asking, &client, "/rules", &page.query(), COLUMNS).await?;
            }
            Self::Show { rule, as_of } => {
                let read = client.get(&format!("/rules/{}", segment(&rule)), &as_of.query()).await;
                let rule = if as_of.is_now() { nearest::or_nearest(&client, "/rules", &rule, read).await? } else { read? };
                asking.output.print_one(&rule, |rule| {
                    pairs(&[
                        ("rule", text(rule, "ref")),
                        ("description", text(rule, "description")),
                        ("mode", text(rule, "mode")),
                        ("triggers", names(&rule["triggers"])),
                        ("schedule", text(&rule["schedule"], "plan")),
                        ("next", next(&rule["schedule"])),
                        ("fired", text(&rule["schedule"], "fired_at")),
                        ("missed", missed_times(&rule["schedule"])),
                        ("when", text(rule, "when")),
                        ("flow", flow(rule)),
                        ("action", text(rule, "action")),
                        ("suspended", suspension(rule)),
                        ("matched", match_count(rule)),
                        ("of these", match_outcomes(rule)),
                        ("errors", errors(rule)),
                        ("erred", text(rule, "erred")),
                    ])
                });
            }
            Self::Backtest(backtest) => return backtest.run(asking).await,
            Self::Judgements(judgements) => return judgements.run(asking).await,
            Self::Versions(versions) => return versions.run(asking).await,
            Self::Diff(diff) => return diff.run(asking).await,
            Self::Restore(restore) => return restore.run(asking).await,
            Self::Backfill(backfill) => return backfill.run(asking, &client).await,
            Self::Set { rule, mode } => {
                let answered = client.post(&format!("/rules/{}/{}", segment(&rule), mode.verb()), &json!({})).await;
                let answer = nearest::or_nearest(&client, "/rules", &rule, answered).await?;
                asking.output.print_one(&answer.body, |rule| text(rule, "mode"));
            }
        }
        Ok(())
    }
}

/// Returns when a schedule fires next, if it does; empty for a rule without one.
fn next(schedule: &Value) -> String {
    match &schedule["is_over"] {
        Value::Bool(true) => "never: the schedule is over".to_owned(),
        _ => text(schedule, "next_at"),
    }
}

/// Returns the times that a schedule missed last.
fn missed_times(schedule: &Value) -> String {
    match &schedule["missed"] {
        Value::Null => String::new(),
        missed => format!("from {} until {} ({})", text(missed, "from"), text(missed, "until"), text(missed, "misfire")),
    }
}

/// Returns how often a rule matched, whatever the outcome.
fn match_count(rule: &Value) -> String {
    let counts = rule["matched"].as_object().into_iter().flat_map(|counts| counts.values());
    counts.filter_map(Value::as_u64).sum::<u64>().to_string()
}

/// The outcomes of matches, in the order in which they are shown.
const OUTCOMES: [&str; 8] = ["executed", "held", "superseded", "deduplicated", "throttled", "skipped", "shadowed", "rejected"];

/// Returns the outcomes of a rule's matches; empty if all were acted on.
fn match_outcomes(rule: &Value) -> String {
    let count = |outcome: &&str| rule["matched"][*outcome].as_u64().filter(|count| *count > 0);
    let told: Vec<String> = OUTCOMES.iter().filter_map(|outcome| Some(format!("{} {outcome}", count(outcome)?))).collect();
    if told.iter().all(|one| one.ends_with("executed")) { String::new() } else { told.join(", ") }
}

/// Returns the flow control of a rule, one line each, in the order in which they are applied.
fn flow(rule: &Value) -> String {
    let controls = rule["flow"].as_array().map(Vec::as_slice).unwrap_or_default();
    let told = controls.iter().map(|control| {
        let key = control["key"].as_str().map(|key| format!(", for each {key}")).unwrap_or_default();
        format!("{}: {}{key}", text(control, "control"), text(control, "does"))
    });
    told.collect::<Vec<_>>().join("\n")
}

fn errors(rule: &Value) -> String {
    let errors = rule["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let told = errors
        .iter()
        .map(|error| format!("{} times, last on {}: {}", text(error, "count"), text(error, "last_event"), text(error, "message")));
    told.collect::<Vec<_>>().join("\n")
}

fn suspension(rule: &Value) -> String {
    match &rule["suspended"] {
        Value::Null => String::new(),
        loop_ => format!(
            "since {}: its events triggered each other, {} levels deep; enable it again after fixing that",
            text(loop_, "at"),
            text(loop_, "depth")
        ),
    }
}

/// Returns a list of names on one line.
fn names(list: &Value) -> String {
    let names = list.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn shown_outcomes_match_the_api() {
        let document: Value = serde_json::from_str(include_str!("../../../docs/reference/openapi.json")).unwrap();
        let counted = document["components"]["schemas"]["Matches"]["properties"].as_object().unwrap();
        assert_eq!(counted.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(OUTCOMES));
    }

    #[test]
    fn skipped_matches_are_shown() {
        let rule = json!({ "matched": { "executed": 2, "skipped": 1, "throttled": 0 } });
        assert_eq!(match_outcomes(&rule), "2 executed, 1 skipped");
    }
}
